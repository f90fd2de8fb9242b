//! H43.6: Mux machine. 6.6, that no frame passes where a port does not collect or distribute, is the data path's; what it
//! is told is checked here.

use oxbond_core::lacp::{Config, MuxState};
use oxbond_wire::lacp::{Lacpdu, State};

use crate::rig::{DOWN, Rig, UP, config, fast, id};

fn coupled() -> Config {
    Config {
        coupled_control: true,
        ..config()
    }
}

/// What the tester says of itself.
fn says(state: u8) -> impl Fn(&mut Lacpdu) {
    move |pdu| pdu.actor.state = State(state)
}
const ATTACHED: u8 = 0x0d;
const COLLECTING: u8 = 0x1d;
const UNATTACHED: u8 = 0x05;

#[test]
fn h6_1_two_seconds_while_another_port_looks() {
    let mut rig = Rig::new(config(), 2);
    rig.run(100).hear_good(0);
    assert_eq!(rig.port(0).mux, MuxState::Waiting);
    rig.run(1_800).hear_good(0);
    assert_eq!(
        rig.reason(0),
        "waits for other ports to come along, at most 0.2 s"
    );
    rig.run(199);
    assert_eq!(rig.port(0).mux, MuxState::Waiting);
    rig.run(1);
    assert!(rig.port(0).mux.is_attached());
}

#[test]
fn h6_1_ports_whose_partners_answer_one_second_apart_attach_together() {
    let mut rig = Rig::new(config(), 2);
    rig.hear_good(0).run(1_000);
    rig.hear_good(1);
    assert!(
        rig.port(0).mux.is_attached() && rig.port(1).mux.is_attached(),
        "and at once"
    );
    assert!(rig.distributes(0) || rig.collects(0));
}

#[test]
fn h6_1_no_wait_when_there_is_nothing_to_wait_for() {
    let mut rig = Rig::new(config(), 2);
    rig.hear_good(0).hear_good(1).hear_good(0).hear_good(1);
    assert_eq!(rig.lacp.distributing(), [id(0), id(1)]);
    // A port whose link comes later joins at once.
    rig.add(2, DOWN);
    rig.run(30_000).link(2, UP);
    rig.hear_good(2).hear_good(2);
    assert!(rig.distributes(2));
    // A port that nobody answers on does not hold the next one.
    rig.add(3, UP);
    rig.run(10_000);
    rig.add(4, UP);
    rig.hear_good(4).hear_good(4);
    assert!(rig.distributes(4));
}

#[test]
fn h6_2_attached_shows_sync_and_nothing_more() {
    let mut rig = Rig::new(config(), 1);
    rig.forget();
    rig.hear(0, says(UNATTACHED));
    assert_eq!(rig.port(0).mux, MuxState::Attached);
    let state = rig.last_on(0).actor.state;
    assert_eq!(state.0 & 0x38, State::SYNC.0);
}

#[test]
fn h6_3_independent_control_step_by_step() {
    let mut rig = Rig::new(config(), 1);
    rig.hear(0, says(UNATTACHED)).hear(0, says(UNATTACHED));
    assert!(!rig.collects(0));
    assert_eq!(rig.reason(0), "partner has not attached this port");
    rig.run(1_000).hear(0, says(ATTACHED));
    assert!(rig.collects(0) && !rig.distributes(0), "really collecting");
    assert_eq!(rig.last_on(0).actor.state.0 & 0x38, 0x18);
    assert_eq!(rig.reason(0), "partner is in sync and does not collect");
    rig.hear(0, says(COLLECTING));
    assert!(rig.distributes(0));
    assert_eq!(rig.port(0).mux, MuxState::Distributing);
}

#[test]
fn h6_4_coupled_control_together() {
    let mut rig = Rig::new(coupled(), 1);
    rig.hear(0, says(UNATTACHED)).hear(0, says(ATTACHED));
    assert_eq!(rig.port(0).mux, MuxState::CollectingDistributing);
    assert_eq!(rig.last_on(0).actor.state.0 & 0x38, 0x38);
    assert_eq!(rig.traffic.len(), 1);
    // Changed while it carries traffic, to and fro: nothing is lost.
    rig.hear(0, says(COLLECTING));
    rig.configure(|config| config.coupled_control = false);
    assert!(rig.distributes(0));
    assert_eq!(rig.port(0).mux, MuxState::Distributing);
    rig.configure(|config| config.coupled_control = true);
    assert_eq!(rig.port(0).mux, MuxState::CollectingDistributing);
    assert_eq!(rig.traffic.len(), 1);
}

#[test]
fn h6_5_the_partner_withdraws() {
    let mut rig = Rig::new(config(), 1);
    rig.agree(&[0]);
    rig.hear(0, says(ATTACHED));
    assert!(rig.collects(0) && !rig.distributes(0));
    rig.hear_good(0);
    assert!(rig.distributes(0));
    rig.hear(0, says(UNATTACHED));
    assert!(!rig.collects(0) && !rig.distributes(0));

    let mut rig = Rig::new(coupled(), 1);
    rig.agree(&[0]);
    rig.hear(0, says(ATTACHED));
    assert!(rig.distributes(0), "coupled does not look at Collecting");
    rig.hear(0, says(UNATTACHED));
    assert!(!rig.collects(0));
}

/// Before a PDU says that we collect, the data path has been told to.
#[test]
fn h6_6_the_data_path_is_told_before_the_partner() {
    use oxbond_core::lacp::Output;
    let mut rig = Rig::new(config(), 1);
    rig.hear(0, says(UNATTACHED));
    rig.lacp
        .received(rig.now, id(0), &rig.good(0).frame(crate::rig::mac(9)));
    let outputs: Vec<Output> = core::iter::from_fn(|| rig.lacp.poll()).collect();
    let changed = outputs.iter().position(|output| *output == Output::Changed);
    let sent = outputs
        .iter()
        .position(|output| matches!(output, Output::Send { .. }));
    assert!(changed.unwrap() < sent.unwrap());
}

#[test]
fn h6_7_each_visible_change_is_told() {
    let mut rig = Rig::new(config(), 2);
    rig.agree(&[0, 1]);
    rig.run(1_500).forget();
    rig.configure(|config| config.ad_user_port_key = 1);
    let told = rig.last_on(0).actor;
    assert_eq!((told.key, told.state.0 & 0x38), (64 + 15, 0), "detached");
    rig.forget().run(100);
    rig.hear(0, says(UNATTACHED)).hear(1, says(UNATTACHED));
    assert_eq!(rig.last_on(0).actor.state.0 & 0x38, 0x08, "attached");
    rig.run(1_000).forget();
    rig.hear(0, says(ATTACHED));
    assert_eq!(rig.last_on(0).actor.state.0 & 0x38, 0x18, "collecting");
}

#[test]
fn h6_8_standby_waits() {
    let mut rig = Rig::new(
        Config {
            max_ports: 1,
            ..config()
        },
        2,
    );
    rig.agree(&[0]);
    rig.run_hearing(300_000, 10_000, &[0, 1]);
    let port = rig.port(1);
    assert_eq!(port.mux, MuxState::Waiting);
    assert!(!port.actor.state.has(State::SYNC));
    assert!(
        rig.sent_on(1)
            .iter()
            .all(|pdu| !pdu.actor.state.has(State::SYNC))
    );
}

/// The partner does not hear us any more and says so: Expired first, without Collecting.
#[test]
fn h6_9_one_way_fault() {
    let mut rig = Rig::new(fast(), 1);
    rig.agree(&[0]);
    for _ in 0..3 {
        rig.run(1_000).hear_good(0);
        assert!(rig.distributes(0));
    }
    // Three seconds after the last PDU of ours it heard.
    rig.hear(0, says(0x80 | ATTACHED));
    assert!(!rig.distributes(0), "with that very PDU");
    // And the other way round: we hear nothing.
    rig.hear_good(0).run(3_000);
    assert!(!rig.distributes(0));
    assert!(
        !rig.last_on(0).actor.state.has(State::COLLECTING),
        "so that the partner stops"
    );
}
