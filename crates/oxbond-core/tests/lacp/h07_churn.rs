//! H43.7: churn detection.

use oxbond_core::lacp::{ChurnState, Event};
use oxbond_wire::lacp::State;

use crate::rig::{DOWN, Rig, UP, config, id};

#[test]
fn h7_1_to_7_5_churn_after_sixty_seconds_without_sync() {
    // Our Sync stays off on a standby port, the partner's on the other.
    let mut settings = config();
    settings.max_ports = 1;
    let mut rig = Rig::new(settings, 2);
    let no_sync = |rig: &mut Rig| {
        rig.hear(0, |pdu| pdu.actor.state.0 &= !State::SYNC.0)
            .hear_good(1);
    };
    no_sync(&mut rig);
    for _ in 0..29 {
        rig.run(2_000);
        no_sync(&mut rig);
    }
    rig.run(1_999);
    for index in [0, 1] {
        assert_ne!(rig.port(index).actor_churn, Some(ChurnState::Churned));
        assert_ne!(rig.port(index).partner_churn, Some(ChurnState::Churned));
    }
    rig.run(1);
    let (first, second) = (rig.port(0), rig.port(1));
    assert_eq!(
        (first.actor_churn, first.partner_churn),
        (Some(ChurnState::None), Some(ChurnState::Churned))
    );
    assert_eq!(
        (second.actor_churn, second.partner_churn),
        (Some(ChurnState::Churned), Some(ChurnState::None))
    );
    assert_eq!((first.partner_churned, second.actor_churned), (1, 1));
    assert_eq!((first.actor_churned, second.partner_churned), (0, 0));
    let told: Vec<_> = rig
        .events
        .iter()
        .filter(|(_, event)| matches!(event, Event::Churned { .. }))
        .collect();
    assert_eq!(told.len(), 2);
    assert!(rig.events.iter().any(|(_, event)| *event
        == Event::Churned {
            port: id(1).into(),
            actor: true
        }));

    // 7.3: cleared by Sync.
    rig.configure(|config| config.max_ports = 2);
    rig.hear_good(0).hear_good(1);
    for index in [0, 1] {
        let port = rig.port(index);
        assert_eq!(
            (port.actor_churn, port.partner_churn),
            (Some(ChurnState::None), Some(ChurnState::None))
        );
    }
}

#[test]
fn h7_6_link_down_and_up_start_anew() {
    let mut rig = Rig::new(config(), 1);
    rig.run(59_000).link(0, DOWN);
    rig.run(10_000);
    assert_eq!(rig.port(0).partner_churn, Some(ChurnState::Monitoring));
    rig.link(0, UP);
    rig.run(59_999);
    assert_eq!(rig.port(0).partner_churn, Some(ChurnState::Monitoring));
    rig.run(1);
    assert_eq!(rig.port(0).partner_churn, Some(ChurnState::Churned));
    rig.link(0, DOWN);
    assert_eq!(rig.port(0).partner_churn, Some(ChurnState::Monitoring));
    assert_eq!(rig.port(0).partner_churned, 1);
}

#[test]
fn h7_5_sync_that_is_lost_again_is_watched_anew() {
    let mut rig = Rig::new(config(), 1);
    rig.agree(&[0]);
    rig.run(80_000)
        .hear(0, |pdu| pdu.actor.state.0 &= !State::SYNC.0);
    assert_eq!(rig.port(0).partner_churn, Some(ChurnState::Monitoring));
    rig.run(59_999);
    assert_eq!(rig.port(0).partner_churn, Some(ChurnState::Monitoring));
    rig.run(1);
    assert_eq!(rig.port(0).partner_churn, Some(ChurnState::Churned));
}
