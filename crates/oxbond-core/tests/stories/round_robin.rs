//! Each packet on the next port.

use std::collections::BTreeMap;

use oxbond_core::table::{BucketKey, Exempt, Receive, Spread};

use crate::rig::Rig;

const RR: &[&str] = &["mode=balance-rr", "miimon=100"];

/// Where the next 600 packets go, by the sequence number that the data path counts.
fn shares(rig: &Rig) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for sequence in 0..600 {
        *shares
            .entry(rig.goes_to(sequence).unwrap().to_owned())
            .or_default() += 1;
    }
    shares
}

fn each(shares: &[(&str, usize)]) -> BTreeMap<String, usize> {
    let owned = shares
        .iter()
        .map(|(name, share)| ((*name).to_owned(), *share));
    owned.collect()
}

#[test]
fn packets_take_turns_and_a_dead_ports_turns_go_round_the_others() {
    let mut rig = Rig::new(RR, &["a", "b", "c"]);
    let turns: Vec<_> = (0..6).map(|sequence| rig.goes_to(sequence)).collect();
    assert_eq!(turns, ["a", "b", "c", "a", "b", "c"].map(Some));
    assert_eq!(shares(&rig), each(&[("a", 200), ("b", 200), ("c", 200)]));
    assert_eq!(
        rig.port("b").reason,
        "carries its share of the frames, 1 of 3"
    );
    // The driver gives all of the dead port's turns to its neighbour: 200, 0, 400.
    rig.link_down("b");
    assert_eq!(shares(&rig), each(&[("a", 300), ("c", 300)]));
    rig.link_up("b");
    assert_eq!(shares(&rig), each(&[("a", 200), ("b", 200), ("c", 200)]));
}

#[test]
fn the_table_says_how_many_packets_make_a_turn() {
    let mut rig = Rig::new(RR, &["a", "b"]);
    for (word, packets_per_port) in [("8", 8), ("0", 0), ("1", 1)] {
        rig.set(&[&format!("packets_per_slave={word}")]).unwrap();
        let Spread::Buckets(buckets) = &rig.table.spread else {
            panic!("{:?}", rig.table.spread);
        };
        assert_eq!(buckets.key, BucketKey::Sequence { packets_per_port });
        assert_eq!(buckets.exempt, Exempt::Igmp);
    }
}

/// A switch must not see the groups of one host on all of its ports in turn.
#[test]
fn groups_are_reported_on_the_first_port_that_works() {
    let mut rig = Rig::new(RR, &["a", "b"]);
    let exempt = |rig: &Rig| {
        rig.name_of(rig.table.active(rig.standing()).unwrap())
            .to_owned()
    };
    assert_eq!(exempt(&rig), "a");
    rig.link_down("a");
    assert_eq!(exempt(&rig), "b");
}

#[test]
fn a_queue_belongs_to_its_port() {
    let mut rig = Rig::new(RR, &["a", "b"]);
    rig.set_port("b", "queue_id=2").unwrap();
    assert_eq!(rig.table.queues, [(2, rig.id("b"))]);
    let error = rig.set_port("a", "queue_id=2").unwrap_err();
    assert!(
        error.contains("port b has this queue id already"),
        "{error}"
    );
    rig.set_port("b", "queue_id=0").unwrap();
    assert_eq!(rig.table.queues, []);
}

#[test]
fn every_port_receives() {
    let rig = Rig::new(RR, &["a", "b"]);
    let all = vec![rig.id("a"), rig.id("b")];
    assert_eq!(rig.table.receive, Receive::Ports(all));
}
