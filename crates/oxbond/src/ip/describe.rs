//! What `ip -d link show` tells of a bond and of a port beyond an ordinary interface, in iproute2's words and order.

use oxbond_core::lacp::{self, ChurnState};
use oxbond_core::option::{Kind, Mode, OptionId, OptionValue, Switch};
use oxbond_core::status::{BondStatus, MiiStatus, PortRole, PortStatus};

use oxbond_wire::lacp::State;

use super::json::Json;

/// One fact.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fact {
    /// Its key in JSON.
    pub(super) key: &'static str,
    /// Its value in JSON.
    pub(super) value: Json,
    /// Key and value in the text form.
    pub(super) text: String,
}

/// The facts as one JSON object.
pub(super) fn object(facts: Vec<Fact>) -> Json {
    let members = facts.into_iter();
    Json::Object(
        members
            .map(|fact| (fact.key.to_owned(), fact.value))
            .collect(),
    )
}

/// The facts as text, each with a blank behind it.
pub(super) fn line(facts: &[Fact]) -> String {
    facts.iter().map(|fact| fact.text.clone() + " ").collect()
}

/// Options in the order of iproute2 7.1. It does not know `lacp_strict`, which is told when it is on.
const ORDER: [OptionId; 33] = [
    OptionId::Mode,
    OptionId::ActiveSlave,
    OptionId::Miimon,
    OptionId::Updelay,
    OptionId::Downdelay,
    OptionId::PeerNotifDelay,
    OptionId::UseCarrier,
    OptionId::ArpInterval,
    OptionId::ArpMissedMax,
    OptionId::ArpIpTarget,
    OptionId::NsIp6Target,
    OptionId::ArpValidate,
    OptionId::ArpAllTargets,
    OptionId::Primary,
    OptionId::PrimaryReselect,
    OptionId::FailOverMac,
    OptionId::XmitHashPolicy,
    OptionId::ResendIgmp,
    OptionId::NumGratArp,
    OptionId::AllSlavesActive,
    OptionId::MinLinks,
    OptionId::LpInterval,
    OptionId::PacketsPerSlave,
    OptionId::LacpActive,
    OptionId::LacpRate,
    OptionId::CoupledControl,
    OptionId::BroadcastNeighbor,
    OptionId::LacpStrict,
    OptionId::AdSelect,
    OptionId::AdActorSysPrio,
    OptionId::AdUserPortKey,
    OptionId::AdActorSystem,
    OptionId::TlbDynamicLb,
];

/// `info_data` of a bond.
pub(super) fn bond(status: &BondStatus) -> Vec<Fact> {
    let mut facts = Vec::new();
    for id in ORDER {
        facts.extend(option(status, id));
        if id == OptionId::AdSelect {
            facts.extend(aggregator(status));
        }
    }
    facts
}

/// `ad_info`: the active aggregator.
fn aggregator(status: &BondStatus) -> Option<Fact> {
    let active = status.lacp.as_ref()?.active()?;
    let members = [
        ("aggregator", active.id.to_string()),
        ("num_ports", active.linked.to_string()),
        ("actor_key", active.actor_key?.to_string()),
        ("partner_key", active.partner_key?.to_string()),
        ("partner_mac", active.partner_system?.to_string()),
    ];
    let text: Vec<String> = members
        .iter()
        .map(|(key, value)| format!("ad_{key} {value}"))
        .collect();
    let value = |text: String| match text.parse::<i64>() {
        Ok(number) => Json::number(number),
        Err(_) => Json::text(text),
    };
    let members = members.into_iter();
    Some(Fact {
        key: "ad_info",
        value: Json::Object(
            members
                .map(|(key, text)| (key.to_owned(), value(text)))
                .collect(),
        ),
        text: text.join(" "),
    })
}

fn option(status: &BondStatus, id: OptionId) -> Option<Fact> {
    let options = &status.options;
    let name = |port: &Option<String>| Some(OptionValue::Name(port.clone()?));
    let value = match id {
        OptionId::ActiveSlave => name(&status.active_port)?,
        OptionId::Primary => name(&status.primary)?,
        OptionId::AdActorSysPrio | OptionId::AdUserPortKey | OptionId::AdActorSystem
            if options.mode != Mode::Ieee8023ad =>
        {
            return None;
        }
        OptionId::LacpStrict if options.lacp_strict == Switch::Off => return None,
        id => options.value(id),
    };
    let spec = id.spec();
    let key = match id {
        OptionId::NumGratArp => "num_peer_notif",
        OptionId::LacpActive => "ad_lacp_active",
        OptionId::LacpRate => "ad_lacp_rate",
        _ => spec.iproute2,
    };
    let text = value.text(spec.kind);
    let json = match (id, &value) {
        (OptionId::ArpValidate, OptionValue::Number(0)) => Json::Null,
        (
            OptionId::CoupledControl | OptionId::BroadcastNeighbor | OptionId::LacpStrict,
            OptionValue::Number(number),
        ) => Json::Bool(*number != 0),
        (_, OptionValue::Number(number)) if !matches!(spec.kind, Kind::Words(_)) => {
            Json::number(*number)
        }
        (_, OptionValue::Ipv4(_) | OptionValue::Ipv6(_)) if text.is_empty() => return None,
        (_, OptionValue::Ipv4(list)) => Json::List(list.iter().map(json_text).collect()),
        (_, OptionValue::Ipv6(list)) => Json::List(list.iter().map(json_text).collect()),
        _ => Json::text(&text),
    };
    Some(Fact {
        key,
        value: json,
        text: format!("{} {text}", spec.iproute2),
    })
}

fn json_text(value: &impl ToString) -> Json {
    Json::text(value.to_string())
}

/// `info_slave_data` of a port.
pub(super) fn port(bond: &BondStatus, status: &PortStatus) -> Vec<Fact> {
    let word = |key, word: &str| Fact {
        key,
        value: Json::text(word),
        text: format!("{key} {word}"),
    };
    let number = |key, number: i64| Fact {
        key,
        value: Json::number(number),
        text: format!("{key} {number}"),
    };
    let role = match status.role {
        PortRole::Active => "ACTIVE",
        PortRole::Backup => "BACKUP",
    };
    let mii = match status.mii_status {
        MiiStatus::Up => "UP",
        MiiStatus::GoingDown => "GOING_DOWN",
        MiiStatus::Down => "DOWN",
        MiiStatus::GoingBack => "GOING_BACK",
    };
    let mut facts = vec![
        word("state", role),
        word("mii_status", mii),
        number("link_failure_count", status.link_failure_count.into()),
        word("perm_hwaddr", &status.permanent_mac.to_string()),
        number("queue_id", status.queue_id.into()),
        number("prio", status.prio.into()),
    ];
    if let Some(lacp) = &status.lacp
        && let Some(aggregator) = lacp.aggregator
    {
        facts.push(number("ad_aggregator_id", aggregator.into()));
        facts.extend(negotiated(lacp));
    }
    if bond.options.mode == Mode::Ieee8023ad {
        facts.push(number("actor_port_prio", status.actor_port_prio.into()));
    }
    facts
}

/// What LACP has come to on a port.
fn negotiated(port: &lacp::PortStatus) -> Vec<Fact> {
    let state = |key, words_key, state: State| {
        let words: Vec<&str> = FLAGS
            .iter()
            .filter(|(flag, _)| state.has(*flag))
            .map(|(_, word)| *word)
            .collect();
        let number = Fact {
            key,
            value: Json::number(i64::from(state.0)),
            text: format!("{key} {}", state.0),
        };
        let words = Fact {
            key: words_key,
            text: format!("{words_key} <{}>", words.join(",")),
            value: Json::List(words.into_iter().map(Json::text).collect()),
        };
        [number, words]
    };
    let churn = |key, state| {
        let word = match state {
            ChurnState::Monitoring => "MONITOR",
            ChurnState::Churned => "CHURN",
            ChurnState::None => "NO_CHURN",
        };
        Fact {
            key,
            value: Json::text(word),
            text: format!("{key} {word}"),
        }
    };
    let [actor, actor_words] = state(
        "ad_actor_oper_port_state",
        "ad_actor_oper_port_state_str",
        port.actor.state,
    );
    let [partner, partner_words] = state(
        "ad_partner_oper_port_state",
        "ad_partner_oper_port_state_str",
        port.partner.state,
    );
    let churns = [
        ("churn_actor_state", port.actor_churn),
        ("churn_partner_state", port.partner_churn),
    ];
    let churns = churns
        .into_iter()
        .filter_map(|(key, state)| Some(churn(key, state?)));
    [actor, actor_words, partner, partner_words]
        .into_iter()
        .chain(churns)
        .collect()
}

/// The flags of a participant in iproute2's words.
const FLAGS: [(State, &str); 8] = [
    (State::ACTIVITY, "active"),
    (State::TIMEOUT, "short_timeout"),
    (State::AGGREGATION, "aggregating"),
    (State::SYNC, "in_sync"),
    (State::COLLECTING, "collecting"),
    (State::DISTRIBUTING, "distributing"),
    (State::DEFAULTED, "defaulted"),
    (State::EXPIRED, "expired"),
];

#[cfg(test)]
pub(super) mod tests {
    use core::time::Duration;

    use oxbond_core::lacp::{Config, Joining, Lacp};
    use oxbond_core::option::{BondContext, BondOptions, LacpRate, OptionChange, Weight};
    use oxbond_core::port::{Duplex, LinkState, PortId, PortIndex};
    use oxbond_core::status::STATUS_VERSION;
    use oxbond_core::time::Instant;
    use oxbond_core::verdict::{Health, Verdict};
    use oxbond_wire::MacAddr;
    use oxbond_wire::lacp::{Information, Lacpdu};

    use super::*;

    /// What `ip` printed of the driver's.
    pub(in crate::ip) fn driver(command: &str) -> String {
        let samples = include_str!("../../tests/data/ip-link-of-the-driver.txt");
        let (_, printed) = samples.split_once(&format!("$ {command}\n")).unwrap();
        let end = printed.find("\n$ ").map_or(printed.len(), |at| at + 1);
        printed[..end].to_owned()
    }

    /// Without what iproute2 6.1 could not tell.
    pub(in crate::ip) fn like_driver(text: &str) -> String {
        let newer = |line: &&str| {
            !line.contains("\"coupled_control\"") && !line.contains("\"broadcast_neighbor\"")
        };
        let lines: Vec<&str> = text.lines().filter(newer).collect();
        (lines.join("\n") + "\n").replace("coupled_control on broadcast_neighbor off ", "")
    }

    /// A bond with these options.
    pub(in crate::ip) fn status(words: &str) -> BondStatus {
        let words: Vec<&str> = words.split_whitespace().collect();
        let changes: Vec<_> = words
            .chunks(2)
            .map(|pair| OptionChange::parse(pair[0], pair[1]).unwrap())
            .collect();
        let options = BondOptions::default()
            .apply(&changes, &BondContext::default())
            .unwrap()
            .options;
        BondStatus {
            version: STATUS_VERSION,
            name: "bond0".into(),
            carrier: true,
            verdict: Verdict::default(),
            mac: MacAddr::ZERO,
            options,
            primary: None,
            active_port: None,
            failovers: Some(0),
            lacp: None,
            ports: Vec::new(),
            expected: Vec::new(),
            hidden: Vec::new(),
            raw: Vec::new(),
        }
    }

    /// A port that works.
    pub(in crate::ip) fn port(mac: &str) -> PortStatus {
        PortStatus {
            id: PortIndex(0),
            name: "v0".into(),
            ifindex: 3,
            mii_status: MiiStatus::Up,
            role: PortRole::Active,
            speed_mbps: None,
            duplex: Duplex::Unknown,
            link_failure_count: 0,
            permanent_mac: mac.parse().unwrap(),
            mac: mac.parse().unwrap(),
            queue_id: 0,
            prio: 0,
            actor_port_prio: 255,
            weight: Weight::Fixed(1),
            lacp: None,
            drain: lacp::Drain::No,
            since: Some(Duration::ZERO),
            reason: String::new(),
            health: Health::Well,
            advice: None,
            raw: Vec::new(),
        }
    }

    /// Every mode, all defaults: the same keys in the same order with the same values.
    #[test]
    fn bonds_of_every_mode_have_the_drivers_keys_and_values() {
        for mode in Mode::ALL {
            let sample = match mode {
                Mode::Ieee8023ad => "ip -d -j link show bond81".to_owned(),
                mode => format!("ip -d -j link show m{}", mode.code()),
            };
            let document: Json = serde_json::from_str(&driver(&sample)).unwrap();
            let Json::List(entries) = document else {
                panic!("a list");
            };
            let expected = entries[0]
                .get("linkinfo")
                .unwrap()
                .get("info_data")
                .unwrap();
            let mut words = format!("mode {mode}");
            if *mode == Mode::Ieee8023ad {
                words += " lacp_rate fast lacp_active off ad_select bandwidth ad_actor_system 02:00:00:00:00:01 ad_user_port_key 7";
            }
            let mut facts = bond(&status(&words));
            facts.retain(|fact| !["coupled_control", "broadcast_neighbor"].contains(&fact.key));
            assert_eq!(object(facts).compact(), expected.compact(), "{mode}");
        }
    }

    /// Two bonds that have agreed: the driver's sample, and the words iproute2 puts in its text.
    #[test]
    fn what_lacp_knows_has_the_drivers_keys_and_values() {
        let end = |system: &str| Information {
            system_priority: 65_535,
            system: system.parse().unwrap(),
            key: 15,
            port_priority: 255,
            port: 1,
            state: State(63),
        };
        let (own, partner) = ("16:62:3c:0c:84:5c", "22:95:f9:49:c7:81");
        let mut lacp = Lacp::new(Config {
            lacp_rate: LacpRate::Fast,
            coupled_control: true,
            bond_mac: own.parse().unwrap(),
            ..Config::default()
        });
        let (now, id) = (Instant::from_millis(1), PortId::new(0).unwrap());
        let link = LinkState {
            admin_up: true,
            carrier: true,
            speed_mbps: Some(10_000),
            duplex: Duplex::Full,
        };
        let mac = own.parse().unwrap();
        lacp.add_port(
            now,
            id,
            Joining {
                mac,
                priority: 255,
                link,
            },
        );
        let pdu = Lacpdu {
            version: 1,
            actor: end(partner),
            partner: end(own),
            collector_max_delay: 0,
        };
        lacp.received(now, id, &pdu.frame(partner.parse().unwrap()));

        let sample = |command: &str, kind: &str| {
            let document: Json = serde_json::from_str(&driver(command)).unwrap();
            let Json::List(entries) = document else {
                panic!("a list");
            };
            entries[0]
                .get("linkinfo")
                .unwrap()
                .get(kind)
                .unwrap()
                .clone()
        };
        let mut status = status("mode 802.3ad lacp_rate fast");
        status.lacp = Some(lacp.status());
        let mut facts = bond(&status);
        facts.retain(|fact| !["coupled_control", "broadcast_neighbor"].contains(&fact.key));
        let one_port = sample("ip -d -j link show bond80", "info_data").compact();
        let one_port = one_port.replace("\"num_ports\":2", "\"num_ports\":1");
        assert_eq!(object(facts.clone()).compact(), one_port);
        assert!(line(&facts).contains(
            "ad_select stable ad_aggregator 1 ad_num_ports 1 ad_actor_key 15 ad_partner_key 15 ad_partner_mac 22:95:f9:49:c7:81 ad_actor_sys_prio 65535 "
        ));

        let mut port = port(own);
        port.lacp = lacp.ports(now).pop();
        let mut facts = super::port(&status, &port);
        assert!(line(&facts).ends_with(
            "prio 0 ad_aggregator_id 1 ad_actor_oper_port_state 63 \
             ad_actor_oper_port_state_str <active,short_timeout,aggregating,in_sync,collecting,distributing> \
             ad_partner_oper_port_state 63 \
             ad_partner_oper_port_state_str <active,short_timeout,aggregating,in_sync,collecting,distributing> \
             churn_actor_state NO_CHURN churn_partner_state NO_CHURN actor_port_prio 255 "
        ), "{}", line(&facts));
        // Newer than the sample.
        facts.retain(|fact| !fact.key.starts_with("churn") && fact.key != "actor_port_prio");
        let expected = sample("ip -d -j link show v80", "info_slave_data");
        assert_eq!(object(facts).compact(), expected.compact());
    }

    #[test]
    fn lists_and_newer_options_are_told_in_their_types() {
        let facts = bond(&status(
            "mode active-backup arp_interval 100 arp_ip_target 10.0.0.1,10.0.0.2 ns_ip6_target fe80::1 arp_validate all",
        ));
        let text = line(&facts);
        assert!(
            text.contains(
                "arp_ip_target 10.0.0.1,10.0.0.2 ns_ip6_target fe80::1 arp_validate all "
            ),
            "{text}"
        );
        let json = object(facts);
        assert_eq!(
            json.get("arp_ip_target").unwrap().compact(),
            r#"["10.0.0.1","10.0.0.2"]"#
        );
        assert_eq!(json.get_text("arp_validate"), Some("all"));
        let json = object(bond(&status(
            "mode 802.3ad coupled_control off lacp_strict on",
        )));
        assert_eq!(json.get("coupled_control"), Some(&Json::Bool(false)));
        assert_eq!(json.get("lacp_strict"), Some(&Json::Bool(true)));
        let facts = super::port(&status("mode 802.3ad"), &port("02:00:00:00:00:01"));
        assert!(line(&facts).ends_with("prio 0 actor_port_prio 255 "));
    }
}
