//! H43.10: counters; each moves exactly once per stimulus.

use oxbond_core::lacp::Counters;
use oxbond_wire::lacp::State;
use oxbond_wire::marker::{Kind, Marker};

use crate::rig::{OTHER, PARTNER, Rig, config, id};

/// What changed, as `name +n`.
fn moved(rig: &mut Rig, stimulus: impl FnOnce(&mut Rig)) -> Vec<String> {
    let flat = |counters: Counters| {
        let json = serde_json::to_value(counters).unwrap();
        let mut flat: Vec<(String, u64)> = Vec::new();
        for (name, value) in json.as_object().unwrap() {
            match value.as_object() {
                None => flat.push((name.clone(), value.as_u64().unwrap())),
                Some(inner) => flat.extend(
                    inner
                        .iter()
                        .map(|(name, value)| (format!("refused.{name}"), value.as_u64().unwrap())),
                ),
            }
        }
        flat
    };
    let before = flat(rig.port(0).counters);
    stimulus(rig);
    rig.drain();
    let after = flat(rig.port(0).counters);
    let pairs = before.into_iter().zip(after);
    let changed = pairs.filter(|((_, before), (_, after))| before != after);
    changed
        .map(|((name, before), (_, after))| format!("{name} +{}", after - before))
        .collect()
}

#[test]
fn h10_counters() {
    let mut rig = Rig::new(config(), 1);
    rig.agree(&[0]);
    rig.run(5_000);
    let marker = Marker {
        version: 1,
        kind: Kind::Information,
        port: 1,
        system: PARTNER,
        transaction: 1,
    };
    assert_eq!(
        moved(&mut rig, |rig| {
            rig.hear_good(0);
        }),
        ["lacpdus_rx +1"]
    );
    assert_eq!(
        moved(&mut rig, |rig| {
            rig.hear_bytes(0, &marker.emit());
        }),
        ["marker_response_tx +1", "marker_rx +1"]
    );
    let response = Marker {
        kind: Kind::Response,
        ..marker
    };
    assert_eq!(
        moved(&mut rig, |rig| {
            rig.hear_bytes(0, &response.emit());
        }),
        ["marker_response_rx +1"]
    );
    assert_eq!(
        moved(&mut rig, |rig| {
            rig.lacp.flush(rig.now, id(0));
        }),
        ["marker_tx +1"]
    );
    let mut bytes = rig.good(0).emit();
    bytes[0] = 3;
    assert_eq!(
        moved(&mut rig, |rig| {
            rig.hear_bytes(0, &bytes);
        }),
        ["unknown_rx +1"]
    );
    bytes[0] = 11;
    assert_eq!(
        moved(&mut rig, |rig| {
            rig.hear_bytes(0, &bytes);
        }),
        ["illegal_rx +1", "refused.subtype +1"]
    );
    assert_eq!(
        moved(&mut rig, |rig| {
            rig.run(30_000);
        }),
        ["lacpdus_tx +1"]
    );

    rig.hear_good(0).run(3_000);
    let no_sync = |rig: &mut Rig| {
        rig.hear(0, |pdu| pdu.actor.state.0 &= !State::SYNC.0);
    };
    assert_eq!(moved(&mut rig, no_sync), ["lacpdus_rx +1", "lacpdus_tx +1"]);
    assert_eq!(
        moved(&mut rig, |rig| {
            rig.hear_good(0);
        }),
        [
            "lacpdus_rx +1",
            "lacpdus_tx +1",
            "partner_sync_transitions +1"
        ]
    );
    rig.run(3_000);
    let other = |rig: &mut Rig| {
        rig.hear(0, |pdu| pdu.actor.system = OTHER);
    };
    assert_eq!(
        moved(&mut rig, other),
        [
            "actor_sync_transitions +1",
            "lacpdus_rx +1",
            "lacpdus_tx +1",
            "partner_changes +1"
        ]
    );
    rig.run(3_000);
    let key = |rig: &mut Rig| rig.configure(|config| config.ad_user_port_key = 1);
    assert_eq!(moved(&mut rig, key), ["actor_changes +1", "lacpdus_tx +1"]);
}

#[test]
fn h10_debug_information() {
    let mut rig = Rig::new(config(), 1);
    assert_eq!(rig.port(0).heard, None);
    rig.agree(&[0]);
    rig.run(1_500);
    let port = rig.port(0);
    assert_eq!(port.heard.unwrap().as_millis(), 1_500, "LastRxTime");
    let json = serde_json::to_value(&port).unwrap();
    assert_eq!(json["receive"], "current");
    assert_eq!(json["mux"], "distributing");
    assert_eq!(json["reason"], serde_json::Value::Null);
}
