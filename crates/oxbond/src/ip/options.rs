//! The words behind `type bond` and `type bond_slave`, read with iproute2's rules and complaints.

use oxbond_config::ip::options::{self as grammar, Scope, WrongValue, find, full_name};
use oxbond_config::ip::words::is_short_for;
use oxbond_core::option::{Kind, OptionId, OptionSpec};
use oxbond_wire::MacAddr;

use super::Complaint;

/// Names and values of options, as the control API takes them.
pub(super) type Options = Vec<(String, String)>;

/// What `help` prints, and an unknown word.
fn usage(scope: Scope) -> String {
    let mut lines = Vec::new();
    let mut enumerations = Vec::new();
    for spec in scope.table() {
        let keyword = full_name(spec);
        let place = keyword.to_ascii_uppercase();
        lines.push(format!("[ {keyword} {place} ]"));
        if spec.iproute2 == "active_slave" {
            lines.push("[ clear_active_slave ]".to_owned());
        }
        if let Kind::Words(words) = spec.kind {
            let words: Vec<_> = words.iter().map(|word| word.name).collect();
            enumerations.push(format!("{place} := {}\n", words.join("|")));
        }
    }
    let (kind, indent) = match scope {
        Scope::Bond => ("bond", " ".repeat(16)),
        Scope::Port => ("bond_slave", " ".repeat(22)),
    };
    let lines = lines.join(&format!("\n{indent}"));
    let break_ = if enumerations.is_empty() { "" } else { "\n" };
    let usage = format!(
        "Usage: ... {kind} {lines}\n{break_}{}",
        enumerations.concat()
    );
    usage.trim_end().to_owned()
}

/// Reads them. `exists` tells whether a device of this name is there.
pub(super) fn parse(
    scope: Scope,
    words: &[String],
    mut exists: impl FnMut(&str) -> bool,
) -> Result<Options, Complaint> {
    let mut options = Options::new();
    // The last word of an option counts, as with several attributes of one kind in a netlink message.
    let mut put = |name: &str, value: String| {
        options.retain(|(known, _)| known != name);
        options.push((name.to_owned(), value));
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if scope == Scope::Bond && is_short_for(word, "clear_active_slave") {
            put(OptionId::ActiveSlave.name(), String::new());
            continue;
        }
        let Some(spec) = find(scope, word) else {
            let usage = usage(scope);
            return Err(Complaint::new(
                1,
                match scope {
                    _ if is_short_for(word, "help") => usage,
                    Scope::Bond => format!("bond: unknown command \"{word}\"?\n{usage}"),
                    Scope::Port => format!("bond_slave: unknown option \"{word}\"?\n{usage}"),
                },
            ));
        };
        let text = words.next().ok_or_else(Complaint::incomplete)?;
        put(spec.name, value(scope, spec, text, &mut exists)?);
    }
    Ok(options)
}

/// The value in our own notation.
fn value(
    scope: Scope,
    spec: &OptionSpec,
    text: &str,
    exists: &mut impl FnMut(&str) -> bool,
) -> Result<String, Complaint> {
    if spec.kind == Kind::PortName && !exists(text) {
        return Err(Complaint::no_device(text));
    }
    grammar::value(spec, text).map_err(|wrong| match wrong {
        WrongValue::NoSuchValue => {
            let name = full_name(spec);
            let why = match scope {
                Scope::Bond => format!("invalid {name}"),
                Scope::Port => format!("{name} is invalid"),
            };
            Complaint::new(255, format!("Error: argument \"{text}\" is wrong: {why}"))
        }
        WrongValue::NoIpv4(element) => Complaint::new(
            1,
            format!("Error: an IP address is expected rather than \"{element}\""),
        ),
        WrongValue::NoIpv6(element) => Complaint::new(
            1,
            format!("Error: inet6 address is expected rather than \"{element}\"."),
        ),
        WrongValue::NoMac => no_mac(text),
    })
}

/// A link-layer address, of which leading zeros may be left out.
pub(super) fn mac(text: &str) -> Result<MacAddr, Complaint> {
    grammar::mac(text).ok_or_else(|| no_mac(text))
}

/// `ip` hands what it has read over all the same, and the kernel refuses it.
fn no_mac(text: &str) -> Complaint {
    Complaint::new(
        2,
        format!("\"{text}\" is invalid lladdr.\nRTNETLINK answers: Invalid argument"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(scope: Scope, words: &str) -> Result<Options, Complaint> {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        parse(scope, &words, |name| ["enp3s0", "lo"].contains(&name))
    }

    /// The options that right words mean, written `name=value`.
    fn understood(scope: Scope, words: &str) -> String {
        let options = parsed(scope, words).unwrap_or_else(|e| panic!("{words}: {e:?}"));
        let options: Vec<_> = options
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        options.join(" ")
    }

    /// Words and the options they mean, each way of writing them that iproute2 6.1 was seen to accept.
    #[test]
    fn words_of_a_bond_are_understood() {
        let cases = [
            ("", ""),
            ("mode 802.3ad", "mode=802.3ad"),
            ("mode 4 miimon 100", "mode=802.3ad miimon=100"),
            ("miimon 100 mode 4", "miimon=100 mode=802.3ad"),
            ("m 1", "mode=active-backup"),
            ("mo balance-rr", "mode=balance-rr"),
            ("mi 1", "miimon=1"),
            ("mii 0x10", "miimon=16"),
            ("miimon 010", "miimon=8"),
            ("miimon 4294967295", "miimon=4294967295"),
            ("min 1", "min_links=1"),
            ("a enp3s0", "active_slave=enp3s0"),
            ("ac enp3s0", "active_slave=enp3s0"),
            ("al 1", "all_slaves_active=1"),
            ("c", "active_slave="),
            ("clear_active_slave miimon 5", "active_slave= miimon=5"),
            ("u 200", "updelay=200"),
            ("us 1", "use_carrier=1"),
            ("d 200", "downdelay=200"),
            ("p 300", "peer_notif_delay=300"),
            ("pa 0", "packets_per_slave=0"),
            ("pr enp3s0", "primary=enp3s0"),
            ("primary_ 2", "primary_reselect=failure"),
            ("primary lo primary enp3s0", "primary=enp3s0"),
            ("ar 100", "arp_interval=100"),
            (
                "arp_ip 10.0.0.1,10.0.0.2",
                "arp_ip_target=10.0.0.1,10.0.0.2",
            ),
            ("arp_ip_target 1.2.3.4,", "arp_ip_target=1.2.3.4"),
            ("arp_ip_target 1.2.3", "arp_ip_target=1.2.3.0"),
            ("arp_ip_target ,", "arp_ip_target="),
            ("arp_a all", "arp_all_targets=all"),
            ("arp_v 3", "arp_validate=all"),
            ("arp_missed_max 3", "arp_missed_max=3"),
            (
                "ns_ip6_target fe80::1,fe80::2",
                "ns_ip6_target=fe80::1,fe80::2",
            ),
            ("f follow", "fail_over_mac=follow"),
            ("x layer3+4", "xmit_hash_policy=layer3+4"),
            ("r 300", "resend_igmp=300"),
            ("n 5", "num_grat_arp=5"),
            ("num_u 5", "num_grat_arp=5"),
            ("num_grat_arp 1 num_unsol_na 2", "num_grat_arp=2"),
            ("l 3", "lp_interval=3"),
            ("la fast", "lacp_rate=fast"),
            ("lacp_r 0", "lacp_rate=slow"),
            ("lacp_active off", "lacp_active=off"),
            ("ad 2", "ad_select=count"),
            ("ad_select actor_port_prio", "ad_select=actor_port_prio"),
            ("ad_a 7", "ad_actor_sys_prio=7"),
            ("ad_actor_sys 7", "ad_actor_sys_prio=7"),
            (
                "ad_actor_syst 2:0:0:0:0:1",
                "ad_actor_system=02:00:00:00:00:01",
            ),
            ("ad_u 1023", "ad_user_port_key=1023"),
            ("t 0", "tlb_dynamic_lb=0"),
            ("coupled_control off", "coupled_control=off"),
            ("broadcast_neighbor 1", "broadcast_neighbor=on"),
            ("lacp_strict on", "lacp_strict=on"),
            ("mode 1 mode 2", "mode=balance-xor"),
        ];
        for (words, expected) in cases {
            assert_eq!(understood(Scope::Bond, words), expected, "{words}");
        }
    }

    #[test]
    fn words_of_a_port_are_understood() {
        let cases = [
            ("", ""),
            ("q 3", "queue_id=3"),
            ("queue_id 3 prio -7", "queue_id=3 prio=-7"),
            ("actor_port_prio 100", "actor_port_prio=100"),
        ];
        for (words, expected) in cases {
            assert_eq!(understood(Scope::Port, words), expected, "{words}");
        }
    }

    /// The first line and the exit code, as iproute2 6.1 gave them.
    #[test]
    fn wrong_words_are_complained_of_as_ip_does() {
        use Scope::{Bond, Port};
        let cases = [
            (
                Bond,
                "mode foo",
                255,
                "Error: argument \"foo\" is wrong: invalid mode",
            ),
            (
                Bond,
                "mode 9",
                255,
                "Error: argument \"9\" is wrong: invalid mode",
            ),
            (
                Bond,
                "mode",
                255,
                "Command line is not complete. Try option \"help\"",
            ),
            (
                Bond,
                "miimon abc",
                255,
                "Error: argument \"abc\" is wrong: invalid miimon",
            ),
            (
                Bond,
                "miimon -1",
                255,
                "Error: argument \"-1\" is wrong: invalid miimon",
            ),
            (
                Bond,
                "mi 4294967296",
                255,
                "Error: argument \"4294967296\" is wrong: invalid miimon",
            ),
            (
                Bond,
                "peer x",
                255,
                "Error: argument \"x\" is wrong: invalid peer_notify_delay",
            ),
            (
                Bond,
                "num_u 300",
                255,
                "Error: argument \"300\" is wrong: invalid num_grat_arp|num_unsol_na",
            ),
            (
                Bond,
                "xmit layer9",
                255,
                "Error: argument \"layer9\" is wrong: invalid xmit_hash_policy",
            ),
            (
                Bond,
                "use_carrier 300",
                255,
                "Error: argument \"300\" is wrong: invalid use_carrier",
            ),
            (
                Bond,
                "ad_user_port_key 70000",
                255,
                "Error: argument \"70000\" is wrong: invalid ad_user_port_key",
            ),
            (Bond, "foo 1", 1, "bond: unknown command \"foo\"?"),
            (
                Bond,
                "ns_ip6_t ::1",
                1,
                "bond: unknown command \"ns_ip6_t\"?",
            ),
            (Bond, "arp_m 3", 1, "bond: unknown command \"arp_m\"?"),
            (Bond, "lacp_a on", 1, "bond: unknown command \"lacp_a\"?"),
            (Bond, "coupled on", 1, "bond: unknown command \"coupled\"?"),
            (Bond, "num_peer 1", 1, "bond: unknown command \"num_peer\"?"),
            (Bond, "prio 1", 1, "bond: unknown command \"prio\"?"),
            (Bond, "primary nosuch", 1, "Cannot find device \"nosuch\""),
            (
                Bond,
                "arp_ip_target foo",
                1,
                "Error: an IP address is expected rather than \"foo\"",
            ),
            (
                Bond,
                "arp_ip_target 1.2.3.4.5",
                1,
                "Error: an IP address is expected rather than \"1.2.3.4.5\"",
            ),
            (
                Bond,
                "ns_ip6_target 1.2.3.4",
                1,
                "Error: inet6 address is expected rather than \"1.2.3.4\".",
            ),
            (Bond, "ad_actor_system foo", 2, "\"foo\" is invalid lladdr."),
            (Bond, "h", 1, "Usage: ... bond [ mode MODE ]"),
            (
                Port,
                "prio zzz",
                255,
                "Error: argument \"zzz\" is wrong: prio is invalid",
            ),
            (
                Port,
                "q 70000",
                255,
                "Error: argument \"70000\" is wrong: queue_id is invalid",
            ),
            (Port, "pri 1", 1, "bond_slave: unknown option \"pri\"?"),
            (
                Port,
                "miimon 1",
                1,
                "bond_slave: unknown option \"miimon\"?",
            ),
            (
                Port,
                "help",
                1,
                "Usage: ... bond_slave [ queue_id QUEUE_ID ]",
            ),
        ];
        for (scope, words, code, first) in cases {
            let complaint = parsed(scope, words).expect_err(words);
            assert_eq!(complaint.code, code, "{words}");
            assert_eq!(complaint.text.lines().next(), Some(first), "{words}");
        }
    }
}
