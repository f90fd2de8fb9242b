//! Stations behind the bond are announced where they are reached now.

use oxbond_core::action::Action;
use oxbond_core::input::{Guest, Input};
use oxbond_wire::MacAddr;
use oxbond_wire::ethernet::Header;
use oxbond_wire::rarp;

use crate::rig::{LINK_DOWN, Rig, ms};

fn guest(number: u16, vlans: &[u16]) -> Guest {
    let [high, low] = number.to_be_bytes();
    Guest {
        mac: MacAddr([2, 0x77, 0, 0, high, low]),
        vlans: vlans.to_vec(),
    }
}

/// When guests were announced, and who.
fn announced(rig: &Rig) -> Vec<(u64, MacAddr)> {
    let of = |(at, action): &(u64, Action)| {
        let Action::SendFrame { frame } = action else {
            return None;
        };
        let (header, _) = Header::parse(frame).unwrap();
        (header.ether_type == rarp::ETHER_TYPE).then_some((*at, header.source))
    };
    rig.log.iter().filter_map(of).collect()
}

fn rig(options: &[&str], guests: u16) -> Rig {
    let mut rig = Rig::settled(options, &["a", "b", "c"]);
    rig.guests = (0..guests).map(|number| guest(number, &[])).collect();
    rig
}

#[test]
fn after_a_failover_every_guest_once_and_soon() {
    for mode in [
        &["mode=active-backup", "miimon=100"][..],
        &["mode=balance-tlb", "miimon=100"],
        &["mode=balance-alb", "miimon=100"],
        &["mode=balance-xor", "miimon=100"],
        &["mode=802.3ad", "lacp_strict=off"],
    ] {
        let mut rig = rig(mode, 500);
        rig.at(1000);
        rig.log.clear();
        rig.link_down("a").at(5000);
        let told = announced(&rig);
        assert_eq!(told.len(), 500, "{mode:?}");
        let mut macs: Vec<MacAddr> = told.iter().map(|(_, mac)| *mac).collect();
        macs.dedup();
        assert_eq!(macs.len(), 500, "{mode:?}: each once");
        let (first, last) = (told[0].0, told[499].0);
        assert!(first == 1000 && last <= 1050, "{mode:?}: {first} to {last}");
        for at in first..=last {
            let burst = told.iter().filter(|(when, _)| (at..at + 5).contains(when));
            assert!(burst.count() <= 50, "{mode:?}");
        }
        let table = |action: &Action| matches!(action, Action::SetTransmitTable { .. });
        let asked = rig.log.iter().position(|(_, a)| *a == Action::ListGuests);
        let written = rig.log.iter().position(|(_, action)| table(action));
        assert!(written < asked, "{mode:?}: by the new port");
    }
}

#[test]
fn in_their_vlans_and_nobody_twice() {
    let mut rig = rig(&["mode=active-backup", "miimon=100"], 0);
    rig.guests = vec![
        guest(1, &[100, 7]),
        guest(1, &[]),
        guest(1, &[]),
        Guest {
            mac: MacAddr::BROADCAST,
            vlans: vec![],
        },
        Guest {
            mac: MacAddr::ZERO,
            vlans: vec![],
        },
    ];
    rig.link_down("a");
    let frames = rig.take(|action| match action {
        Action::SendFrame { frame } => Some(frame.clone()),
        _ => None,
    });
    let mac = guest(1, &[]).mac;
    let wanted = [
        rarp::announcement(mac, &[]),
        rarp::announcement(mac, &[100, 7]),
    ];
    assert_eq!(frames, wanted);
}

#[test]
fn as_often_as_the_bonds_own_addresses() {
    for (options, times) in [
        (
            &["num_grat_arp=3", "peer_notif_delay=500"][..],
            &[1000, 1500, 2000][..],
        ),
        (&["num_grat_arp=0"], &[]),
    ] {
        let options = [&["mode=active-backup", "miimon=100"], options].concat();
        let mut rig = rig(&options, 1);
        rig.at(1000);
        rig.link_down("a").at(5000);
        let told: Vec<u64> = announced(&rig).iter().map(|(at, _)| *at).collect();
        assert_eq!(told, times);
    }
}

/// The list is made anew with every failover; what was left of the older one is dropped.
#[test]
fn a_second_failover_starts_again() {
    let mut rig = rig(&["mode=active-backup", "miimon=100"], 500);
    rig.at(1000);
    rig.link_down("a").at(1010);
    rig.guests.truncate(60);
    rig.log.clear();
    rig.link_down("b").at(2000);
    assert_eq!(announced(&rig).len(), 60);
    rig.log.clear();
    rig.link_down("c").at(3000);
    rig.link_up("a");
    rig.tell(Input::BondAdmin { up: false });
    rig.log.clear();
    rig.at(4000);
    assert_eq!(announced(&rig), [], "a bond that is down");
}

#[test]
fn nothing_moves_nobody_is_told() {
    for (mode, port) in [
        ("mode=balance-rr", "a"),
        ("mode=broadcast", "a"),
        ("mode=active-backup", "b"),
    ] {
        let mut rig = rig(&[mode, "miimon=100"], 3);
        rig.link_down(port);
        rig.now = rig.now + ms(1000);
        rig.link(port, LINK_DOWN);
        assert_eq!(announced(&rig), [], "{mode}");
    }
}
