//! Options set together, checked as a whole.

use oxbond_core::bond::Bond;
use oxbond_core::option::{
    BondContext, BondOptions, Mode, OptionChange, OptionError, OptionId, PortOptionChange,
};
use oxbond_core::time::Instant;
use proptest::prelude::*;

use crate::rig::{Rig, changes};

fn apply(words: &[&str]) -> Result<BondOptions, OptionError> {
    BondOptions::default()
        .apply(&changes(words), &BondContext::default())
        .map(|applied| applied.options)
}

/// Each refusal of the driver, measured: same errno, same text; and ours adds the way out.
#[test]
fn refusals_of_the_driver() {
    let parse = |name: &str, text: &str| OptionChange::parse(name, text).unwrap_err();
    for (error, errno, text, way_out) in [
        (
            apply(&["mode=4", "arp_interval=100"]).unwrap_err(),
            13,
            "option not supported in mode",
            "it exists in mode balance-rr, active-backup, balance-xor, broadcast",
        ),
        (
            apply(&["miimon=100", "arp_interval=100"]).unwrap_err(),
            22,
            "ARP monitoring cannot be used with MII monitoring",
            "leave out arp_interval",
        ),
        (
            apply(&["miimon=100", "arp_validate=all"]).unwrap_err(),
            22,
            "ARP validating cannot be used with MII monitoring",
            "leave out arp_validate",
        ),
        (
            apply(&["updelay=100"]).unwrap_err(),
            1,
            "Operation not permitted",
            "miimon=100",
        ),
        (
            apply(&["mode=1", "lacp_rate=fast"]).unwrap_err(),
            13,
            "option not supported in mode",
            "it exists in mode 802.3ad",
        ),
        (
            apply(&["mode=1", "packets_per_slave=3"]).unwrap_err(),
            13,
            "option not supported in mode",
            "balance-rr",
        ),
        (
            parse("packets_per_slave", "70000"),
            22,
            "invalid option value",
            "allowed values: 0 - 65535",
        ),
        (
            parse("ad_actor_system", "01:00:00:00:00:01"),
            22,
            "invalid option value",
            "unicast",
        ),
        (
            parse("arp_ip_target", "1.2.3.4,1.2.3.4"),
            22,
            "invalid option value",
            "",
        ),
        (
            parse("arp_ip_target", "0.0.0.0"),
            22,
            "invalid option value",
            "",
        ),
        (
            parse("ns_ip6_target", "ff02::1"),
            22,
            "invalid option value",
            "",
        ),
        (
            parse("resend_igmp", "300"),
            22,
            "invalid option value",
            "allowed values: 0 - 255",
        ),
        (
            parse("use_carrier", "0"),
            22,
            "option obsolete, use_carrier cannot be disabled",
            "",
        ),
        (
            parse("mode", "actve-backup"),
            22,
            "invalid option value",
            "did you mean active-backup?",
        ),
        (
            parse("mode", "7"),
            22,
            "invalid option value",
            "802.3ad (4)",
        ),
    ] {
        let driver = error.driver.unwrap();
        assert_eq!((driver.errno, driver.text), (errno, text), "{error}");
        assert!(error.way_out.contains(way_out), "{error}");
    }
}

#[test]
fn every_name_and_every_notation_is_read() {
    for (name, text, same) in [
        ("xmit-hash-policy", "layer3+4", "xmit_hash_policy=1"),
        ("peer_notify_delay", "100", "peer_notif_delay=100"),
        ("num_unsol_na", "3", "num_grat_arp=3"),
        ("all-ports-active", "on", "all_slaves_active=1"),
        ("mode", "802.3ad", "mode=4"),
        ("miimon", "off", "miimon=0"),
        ("lacp_active", "default", "lacp_active=on"),
        ("active-port", "eth0", "active_slave=eth0"),
    ] {
        assert_eq!(
            OptionChange::parse(name, text).unwrap(),
            changes(&[same])[0]
        );
    }
    let error = OptionChange::parse("mimon", "100").unwrap_err().to_string();
    assert_eq!(
        error,
        "option mimon=100: there is no such option; did you mean miimon?"
    );
    let error = OptionChange::parse("prio", "3").unwrap_err().to_string();
    assert_eq!(
        error,
        "option prio=3: this is an option of a port, not of the bond; set it on a port"
    );
    assert!(PortOptionChange::parse("miimon", "100").is_err());
}

#[test]
fn the_order_of_a_set_does_not_matter() {
    let options = apply(&[
        "updelay=200",
        "lacp_rate=fast",
        "miimon=100",
        "mode=802.3ad",
    ])
    .unwrap();
    assert_eq!((options.mode, options.updelay), (Mode::Ieee8023ad, 200));
    assert_eq!(
        apply(&["mode=balance-alb"]).unwrap().miimon,
        100,
        "modes without ARP monitoring bring a monitor"
    );
    assert!(
        apply(&["num_grat_arp=2", "num_unsol_na=3"])
            .unwrap_err()
            .to_string()
            .contains("given twice")
    );
    assert!(apply(&["num_grat_arp=2", "num_unsol_na=2"]).is_ok());
}

#[test]
fn delays_are_whole_monitor_intervals_and_the_user_hears_of_it() {
    let now = Instant::ZERO;
    let words = changes(&["mode=active-backup", "miimon=50", "updelay=120"]);
    let mut bond = Bond::new(now, "bond9", None, &words).unwrap();
    assert_eq!(bond.options().updelay, 100);
    let told = std::iter::from_fn(|| bond.poll_action()).any(|action| {
        matches!(action, oxbond_core::action::Action::Event(event) if event.to_string() == "option updelay: 120 adapted to 100")
    });
    assert!(told);

    let mut rig = Rig::new(&["mode=active-backup", "miimon=100", "updelay=300"], &["a"]);
    rig.set(&["miimon=200"]).unwrap();
    assert_eq!(
        (rig.bond.options().miimon, rig.bond.options().updelay),
        (200, 200)
    );
    rig.set(&["miimon=0"]).unwrap();
    assert_eq!(rig.bond.options().updelay, 0);
    assert_eq!(
        rig.story(),
        [
            "option miimon: set to 200, option updelay: set to 200",
            "option updelay: 300 adapted to 200",
            "option miimon: set to 0, option updelay: set to 0",
            "option updelay: 200 adapted to 0",
        ]
    );
}

#[test]
fn a_set_is_applied_whole_or_not_at_all() {
    let mut rig = Rig::new(&["mode=active-backup", "miimon=100"], &["a", "b"]);
    let before = rig.bond.clone();
    for words in [
        &["resend_igmp=5", "lacp_rate=fast"][..],
        &["primary=b", "mode=balance-xor"],
        &["num_grat_arp=5", "active_slave=c"],
        &["updelay=100", "miimon=0"],
        &["miimon=200", "arp_interval=100"],
    ] {
        rig.set(words).unwrap_err();
        assert_eq!(rig.bond, before, "{words:?}");
    }
    assert!(rig.log.is_empty());
}

#[test]
fn the_driver_wants_the_bond_down_or_empty_for_some() {
    let active_backup = changes(&["mode=active-backup", "miimon=100"]);
    let options = BondOptions::default()
        .apply(&active_backup, &BondContext::default())
        .unwrap()
        .options;
    let driver = |word: &str, up, ports: &[&str]| {
        let context = BondContext {
            up,
            ports,
            own_engine: false,
        };
        let refused = options.apply(&changes(&[word]), &context).unwrap_err();
        refused.driver.unwrap().text
    };
    let (has_ports, is_up) = (
        "unable to set option because the bond device has slaves",
        "unable to set option because the bond is up",
    );
    assert_eq!(driver("mode=balance-xor", true, &["a"]), has_ports);
    assert_eq!(driver("mode=balance-xor", true, &[]), is_up);
    assert_eq!(driver("fail_over_mac=active", false, &["a"]), has_ports);
    assert_eq!(driver("ad_select=count", true, &[]), is_up);
}

/// Our own engine monitors by ARP in every mode, and so need not be given miimon in those in which the driver must.
#[test]
fn arp_monitoring_in_more_modes_than_the_driver() {
    let ours = |from: &BondOptions, words: &[&str]| {
        let context = BondContext {
            own_engine: true,
            ..BondContext::default()
        };
        from.apply(&changes(words), &context)
            .map(|applied| (applied.options, applied.adapted.len()))
    };
    let fresh = BondOptions::default();
    for mode in ["mode=802.3ad", "mode=balance-tlb", "mode=balance-alb"] {
        let words = [
            mode,
            "arp_interval=200",
            "arp_validate=all",
            "arp_missed_max=3",
        ];
        let (options, adapted) = ours(&fresh, &words).unwrap();
        assert_eq!((options.arp_interval, options.miimon, adapted), (200, 0, 0));
        assert_eq!(ours(&fresh, &[mode]).unwrap().0.miimon, 100);
        assert_eq!(
            ours(&fresh, &[mode, "arp_interval=0"]).unwrap().0.miimon,
            100
        );
        // It is kept when the mode changes; the driver drops it.
        let (asking, _) = ours(&fresh, &["mode=active-backup", "arp_interval=200"]).unwrap();
        let (options, _) = ours(&asking, &[mode]).unwrap();
        assert_eq!((options.arp_interval, options.miimon), (200, 0));
        let (options, _) = ours(&asking, &[mode, "miimon=50"]).unwrap();
        assert_eq!((options.arp_interval, options.miimon), (0, 50));
        let driver = asking
            .apply(&changes(&[mode]), &BondContext::default())
            .unwrap();
        assert_eq!(
            (driver.options.arp_interval, driver.options.miimon),
            (0, 100)
        );
    }
}

proptest! {
    /// Any set, sensible or not: either refused, or the result is a fixed point that can be asked for as it is.
    #[test]
    fn an_accepted_set_is_consistent(
        mode in 0..7_u8,
        picks in proptest::collection::vec((0..OptionId::ALL.len(), 0..400_u32), 0..8),
    ) {
        let mut set = changes(&[&format!("mode={mode}")]);
        for (index, number) in picks {
            let id = OptionId::ALL[index];
            if let Ok(change) = OptionChange::parse(id.name(), &number.to_string())
                && !set.iter().any(|other| other.id == id)
            {
                set.push(change);
            }
        }
        if let Ok(applied) = BondOptions::default().apply(&set, &BondContext::default()) {
            let options = applied.options;
            prop_assert!(options.miimon == 0 || options.arp_interval == 0);
            prop_assert!(options.miimon > 0 || options.updelay + options.downdelay + options.peer_notif_delay == 0);
            prop_assert_eq!(options.updelay.checked_rem(options.miimon).unwrap_or(0), 0);
            let again = options.changes_from(&BondOptions::default());
            let reached = BondOptions::default().apply(&again, &BondContext::default()).unwrap();
            if options.miimon > 0 || !matches!(options.mode, Mode::Ieee8023ad | Mode::BalanceTlb | Mode::BalanceAlb) {
                prop_assert_eq!(&reached.options, &options);
            }
            prop_assert!(reached.adapted.is_empty());
            let json = serde_json::to_string(&options).unwrap();
            prop_assert_eq!(serde_json::from_str::<BondOptions>(&json).unwrap(), options);
        }
    }
}
