//! A bond of the driver is gone on with.

use std::time::Duration;

use oxbond_core::action::Action;
use oxbond_core::bond::Bond;
use oxbond_core::driver::{ActiveAggregator, Pdus, Picture, PortAggregation, PortPicture, Traffic};
use oxbond_core::event::Event;
use oxbond_core::input::Input;
use oxbond_core::lacp::{Counters, MuxState};
use oxbond_core::option::{BondOptions, Mode, PortOptions};
use oxbond_core::port::PortId;
use oxbond_core::status::{MiiStatus, PortRole};
use oxbond_core::time::Instant;
use oxbond_wire::MacAddr;
use oxbond_wire::ethernet::Header;
use oxbond_wire::lacp::{Information, Lacpdu, State};

use crate::rig::{LINK_DOWN, LINK_UP, changes, mac_of};

const NOW: Instant = Instant::from_millis(5_000_000);
const SWITCH: MacAddr = MacAddr([2, 0x77, 0, 0, 0, 1]);

/// Ports `a` to `c`; the bond has the address of `a`, and `b` is active.
fn picture(mode: Mode) -> Picture {
    let port = |name: &str, number: u16| PortPicture {
        name: name.to_owned(),
        ifindex: 10 + u32::from(number),
        link: LINK_UP,
        mii_status: MiiStatus::Up,
        role: PortRole::Active,
        link_failure_count: 3,
        permanent_mac: mac_of(name),
        mac: mac_of("a"),
        options: PortOptions::default(),
        raw: Vec::new(),
        aggregation: (mode == Mode::Ieee8023ad).then(|| PortAggregation {
            aggregator: Some(4),
            actor_state: Some(0x3f),
            partner_state: Some(0x3f),
            churn: None,
            churned: (0, 0),
            pdus: Some(Pdus {
                actor: Information {
                    system_priority: 65_535,
                    system: mac_of("a"),
                    key: 9,
                    port_priority: 255,
                    port: number,
                    state: State(0x3f),
                },
                partner: Information {
                    system_priority: 100,
                    system: SWITCH,
                    key: 33,
                    port_priority: 7,
                    port: 40 + number,
                    state: State(0x3f),
                },
            }),
            counters: Counters::default(),
        }),
        traffic: Traffic::default(),
    };
    Picture {
        name: "bond0".to_owned(),
        ifindex: 9,
        up: true,
        carrier: true,
        mac: mac_of("a"),
        mac_is_random: false,
        mtu: 1500,
        options: BondOptions::default(),
        known: Vec::new(),
        raw: Vec::new(),
        active_port: mode.has_active_port().then(|| "b".to_owned()),
        active_aggregator: (mode == Mode::Ieee8023ad).then_some(ActiveAggregator {
            id: 4,
            ports: 3,
            actor_key: 9,
            partner_key: 33,
            partner_system: SWITCH,
        }),
        system: None,
        tx_dropped: 0,
        ports: vec![port("a", 1), port("b", 5), port("c", 3)],
    }
}

fn actions(bond: &mut Bond) -> Vec<Action> {
    std::iter::from_fn(|| bond.poll_action()).collect()
}

fn taken_over(picture: &Picture, options: &[&str]) -> (Bond, Vec<Action>) {
    let mut bond = Bond::take_over(NOW, picture, &changes(options)).unwrap();
    let actions = actions(&mut bond);
    (bond, actions)
}

#[test]
fn the_active_port_stays_and_nothing_is_announced() {
    let mut picture = picture(Mode::ActiveBackup);
    picture.ports[2].link = LINK_DOWN;
    picture.ports[2].mii_status = MiiStatus::Down;
    let options = ["mode=active-backup", "miimon=100", "updelay=30000"];
    let (bond, actions) = taken_over(&picture, &options);
    let silent = |action: &Action| {
        matches!(
            action,
            Action::SetTransmitTable { .. }
                | Action::SetCarrier { up: true, .. }
                | Action::Event(_)
        )
    };
    assert!(actions.iter().all(silent), "{actions:#?}");
    let told = |action: &Action| matches!(action, Action::Event(Event::ActivePort { .. }));
    assert!(!actions.iter().any(told), "{actions:#?}");
    let status = bond.status(NOW, &[]);
    assert_eq!(status.active_port.as_deref(), Some("b"));
    assert_eq!(status.mac, mac_of("a"));
    let mii: Vec<MiiStatus> = status.ports.iter().map(|port| port.mii_status).collect();
    assert_eq!(mii, [MiiStatus::Up, MiiStatus::Up, MiiStatus::Down]);
    assert_eq!(bond.table().senders().first(), PortId::new(1).as_ref());
}

#[test]
fn a_port_that_waits_goes_on_waiting() {
    let mut picture = picture(Mode::ActiveBackup);
    picture.ports[0].mii_status = MiiStatus::GoingBack;
    let options = ["mode=active-backup", "miimon=100", "updelay=1000"];
    let (mut bond, _) = taken_over(&picture, &options);
    assert_eq!(
        bond.status(NOW, &[]).ports[0].mii_status,
        MiiStatus::GoingBack
    );
    let later = NOW + Duration::from_millis(1000);
    bond.handle_timeout(later);
    assert_eq!(bond.status(later, &[]).ports[0].mii_status, MiiStatus::Up);
}

#[test]
fn a_partner_of_lacp_hears_the_same_of_us() {
    let picture = picture(Mode::Ieee8023ad);
    let options = [
        "mode=802.3ad",
        "miimon=100",
        "lacp_rate=fast",
        "coupled_control=on",
    ];
    let (mut bond, first) = taken_over(&picture, &options);
    let spoken = |action: &Action| matches!(action, Action::SendOnPort { .. });
    assert!(!first.iter().any(spoken), "{first:#?}");
    assert_eq!(bond.table().senders().len(), 3);
    let lacp = bond.lacp().unwrap();
    assert_eq!(lacp.active_aggregator(), Some(4));
    for port in lacp.ports(NOW) {
        assert_eq!(port.mux, MuxState::CollectingDistributing);
    }
    // What is sent when its time has come says what the driver said, from the same port number and address.
    let later = NOW + Duration::from_secs(1);
    bond.handle_timeout(later);
    let mut spoken = 0;
    for action in actions(&mut bond) {
        let Action::SendOnPort { port, frame } = action else {
            continue;
        };
        spoken += 1;
        let (header, body) = Header::parse(&frame).unwrap();
        let pdu = Lacpdu::parse(body).unwrap();
        let number = pdu.actor.port;
        assert_eq!(PortId::numbered(number), Some(port));
        let shown = picture.ports.iter().find(|port| {
            let pdus = port.aggregation.as_ref().unwrap().pdus.unwrap();
            pdus.actor.port == number
        });
        let shown = shown.unwrap();
        let pdus = shown.aggregation.as_ref().unwrap().pdus.unwrap();
        assert_eq!((pdu.actor, pdu.partner), (pdus.actor, pdus.partner));
        assert_eq!(header.source, shown.permanent_mac);
    }
    assert_eq!(spoken, 3);
}

#[test]
fn a_port_without_consent_begins_anew() {
    let mut picture = picture(Mode::Ieee8023ad);
    for port in &mut picture.ports[..2] {
        let pdus = port.aggregation.as_mut().unwrap().pdus.as_mut().unwrap();
        // The first: the partner is not in sync. The second: the partner knows us by another key than we would have.
        match pdus.actor.port {
            1 => pdus.partner.state = State(0x37),
            _ => pdus.actor.key = 15,
        }
    }
    let options = [
        "mode=802.3ad",
        "miimon=100",
        "lacp_rate=fast",
        "coupled_control=on",
    ];
    let (bond, _) = taken_over(&picture, &options);
    assert_eq!(bond.table().senders(), [PortId::numbered(3).unwrap()]);
}

#[test]
fn ports_leave_and_return_one_after_the_other() {
    let picture = picture(Mode::ActiveBackup);
    let (mut bond, _) = taken_over(&picture, &["mode=active-backup", "miimon=100"]);
    let before = bond.table().clone();
    let ids: Vec<PortId> = (0..3).filter_map(PortId::new).collect();
    for (port, id) in picture.ports.iter().zip(ids) {
        bond.handle(NOW, Input::RemovePort { port: id }).unwrap();
        let joined = bond
            .handle(
                NOW,
                Input::AddPort {
                    info: oxbond_core::port::PortInfo {
                        name: port.name.clone(),
                        ifindex: port.ifindex,
                        permanent_mac: port.permanent_mac,
                        mac: port.permanent_mac,
                        link: LINK_UP,
                    },
                    options: Vec::new(),
                    drained: false,
                },
            )
            .unwrap();
        assert_eq!(joined, oxbond_core::bond::Handled::Joined(id));
        assert_eq!(bond.mac(), mac_of("a"), "{}", port.name);
    }
    // In the same list order, in the same places.
    assert_eq!(bond.table().receive, before.receive);
    let names: Vec<String> = bond
        .status(NOW, &[])
        .ports
        .into_iter()
        .map(|p| p.name)
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn more_ports_than_there_are_places_are_refused() {
    let mut picture = picture(Mode::BalanceXor);
    let one = picture.ports[0].clone();
    let numbered = |number: u32| PortPicture {
        name: format!("p{number}"),
        ifindex: 10 + number,
        ..one.clone()
    };
    picture.ports = (0..40).map(numbered).collect();
    let options = changes(&["mode=balance-xor", "miimon=100"]);
    let refused = Bond::take_over(NOW, &picture, &options).unwrap_err();
    let said = refused.to_string();
    assert!(
        said.contains("bond0 has 40 ports") && said.contains("at most 32"),
        "{said}"
    );
    picture.ports.truncate(32);
    let bond = Bond::take_over(NOW, &picture, &options).unwrap();
    assert_eq!(bond.table().senders().len(), 32);
}
