//! What is to be written so that a bond's options become others, and whether they have. Pure.

use oxbond_core::driver::Picture;
use oxbond_core::option::{
    BondOptions, Mode, OptionChange, OptionId, PortOptionChange, PortOptions,
};

use crate::engine::EngineError;

/// Delays that the driver counts in monitor intervals: they change with `miimon`, and are none without it.
const DELAYS: [OptionId; 3] = [
    OptionId::Updelay,
    OptionId::Downdelay,
    OptionId::PeerNotifDelay,
];

/// Options that the driver shows to administrators of the machine alone: those of a container must take its word.
const HIDDEN: [OptionId; 3] = [
    OptionId::AdActorSysPrio,
    OptionId::AdActorSystem,
    OptionId::AdUserPortKey,
];

/// Whether a bond of the driver can be told an option, in the mode that it will be in.
fn can_be_told(id: OptionId, options: &BondOptions) -> bool {
    id.spec().netlink.is_some()
        && id.spec().modes.contains(options.mode)
        && (options.miimon != 0 || !DELAYS.contains(&id))
}

/// The changes that must be made before the mode is another one, which does not have these options.
pub(super) fn parting_changes(now: &BondOptions, want: &BondOptions) -> Vec<OptionChange> {
    let mut changes = want.changes_from(now);
    changes.retain(|change| {
        can_be_told(change.id, now) && !change.id.spec().modes.contains(want.mode)
    });
    changes
}

/// The changes that make the options a bond has into those wanted, as far as its driver can be told.
pub(super) fn changes(now: &BondOptions, want: &BondOptions) -> Vec<OptionChange> {
    let scaled = |id| now.miimon != want.miimon && DELAYS.contains(&id);
    OptionId::ALL
        .iter()
        .filter(|id| can_be_told(**id, want))
        .filter(|id| want.value(**id) != now.value(**id) || scaled(**id))
        .map(|id| OptionChange {
            id: *id,
            value: want.value(*id),
        })
        .collect()
}

/// The same for a port.
pub(super) fn port_changes(
    now: &PortOptions,
    want: &PortOptions,
    mode: Mode,
) -> Vec<PortOptionChange> {
    let mut changes = want.changes_from(now);
    changes.retain(|change| {
        let spec = change.id.spec();
        spec.netlink.is_some() && spec.modes.contains(mode)
    });
    changes
}

/// Whether the driver shows these options as wanted.
///
/// # Errors
/// [`EngineError::NotTaken`] for the first that it does not.
pub(super) fn check(
    picture: &Picture,
    want: &BondOptions,
    ids: impl IntoIterator<Item = OptionId>,
) -> Result<(), EngineError> {
    for id in ids {
        let (wanted, shown) = (want.value(id), picture.options.value(id));
        if wanted == shown || !can_be_told(id, want) {
            continue;
        }
        if HIDDEN.contains(&id) && HIDDEN.iter().all(|id| !picture.known.contains(id)) {
            continue;
        }
        // It is remembered, and shown once that port joins.
        if id == OptionId::Primary
            && shown == BondOptions::default().value(id)
            && picture
                .ports
                .iter()
                .all(|port| Some(&port.name) != want.primary.as_ref())
        {
            continue;
        }
        return Err(EngineError::NotTaken {
            bond: picture.name.clone(),
            option: id.name().to_owned(),
            asked: want.text(id),
            shown: picture
                .known
                .contains(&id)
                .then(|| picture.options.text(id)),
            since: id.spec().since,
        });
    }
    Ok(())
}

/// Refuses what the driver never had.
///
/// # Errors
/// [`EngineError::NotTaken`] for the first.
pub(super) fn check_the_drivers(bond: &str, changes: &[OptionChange]) -> Result<(), EngineError> {
    let default = BondOptions::default();
    let own = changes.iter().find(|change| {
        change.id.spec().netlink.is_none() && default.value(change.id) != change.value
    });
    match own {
        None => Ok(()),
        Some(change) => Err(EngineError::NotTaken {
            bond: bond.to_owned(),
            option: change.id.name().to_owned(),
            asked: change.text(),
            shown: None,
            since: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(words: &str) -> BondOptions {
        let pair = |word: &str| {
            let (name, value) = word.split_once('=').unwrap();
            OptionChange::parse(name, value).unwrap()
        };
        let changes: Vec<_> = words.split_whitespace().map(pair).collect();
        let context = oxbond_core::option::BondContext::default();
        BondOptions::default()
            .apply(&changes, &context)
            .unwrap()
            .options
    }

    fn said(now: &BondOptions, want: &BondOptions) -> Vec<String> {
        changes(now, want).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_does_not_differ_is_not_written() {
        let options = with("mode=802.3ad lacp_rate=fast miimon=50 updelay=100");
        assert_eq!(said(&options, &options), [""; 0]);
    }

    #[test]
    fn delays_are_said_again_when_their_unit_changes_and_not_without_one() {
        let now = with("miimon=100 updelay=200");
        let want = BondOptions {
            miimon: 50,
            ..now.clone()
        };
        assert_eq!(
            said(&now, &want),
            [
                "miimon=50",
                "updelay=200",
                "downdelay=0",
                "peer_notif_delay=0"
            ]
        );
        let off = with("miimon=0");
        assert_eq!(said(&now, &off), ["miimon=0"]);
    }

    #[test]
    fn what_the_new_mode_does_not_have_is_not_said() {
        let now = with(
            "mode=active-backup arp_interval=100 arp_ip_target=10.0.0.1 arp_validate=all primary=p0",
        );
        let changes = [OptionChange::parse("mode", "802.3ad").unwrap()];
        let context = oxbond_core::option::BondContext::default();
        let want = now.apply(&changes, &context).unwrap().options;
        assert_eq!(
            said(&now, &want),
            [
                "mode=802.3ad",
                "miimon=100",
                "updelay=0",
                "downdelay=0",
                "peer_notif_delay=0"
            ]
        );
    }

    fn picture(options: BondOptions, known: &[OptionId]) -> Picture {
        Picture {
            name: "bond0".to_owned(),
            ifindex: 9,
            up: true,
            carrier: true,
            mac: oxbond_wire::MacAddr::ZERO,
            mac_is_random: false,
            mtu: 1500,
            options,
            known: known.to_vec(),
            raw: Vec::new(),
            active_port: None,
            active_aggregator: None,
            system: None,
            tx_dropped: 0,
            ports: Vec::new(),
        }
    }

    #[test]
    fn what_is_not_shown_was_not_taken_unless_it_is_hidden() {
        let want =
            with("mode=802.3ad miimon=100 lacp_strict=on ad_actor_sys_prio=7 lacp_rate=fast");
        let now = picture(with("mode=802.3ad miimon=100"), &[OptionId::LacpRate]);
        let refusal = |id| check(&now, &want, [id]).unwrap_err().to_string();
        assert_eq!(
            refusal(OptionId::LacpRate),
            "bond0 did not take lacp_rate=fast: the driver shows \"slow\""
        );
        assert_eq!(
            refusal(OptionId::LacpStrict),
            "bond0 did not take lacp_strict=on: the driver of this kernel does not know this option, which came with \
             Linux 7.2"
        );
        assert!(check(&now, &want, [OptionId::AdActorSysPrio]).is_ok());
        let administrator = picture(with("mode=802.3ad miimon=100"), &HIDDEN);
        assert!(check(&administrator, &want, [OptionId::AdActorSysPrio]).is_err());
    }

    #[test]
    fn a_primary_that_is_no_port_yet_is_remembered() {
        let want = with("mode=active-backup miimon=100 primary=p7");
        let now = picture(with("mode=active-backup miimon=100"), &[OptionId::Primary]);
        assert!(check(&now, &want, [OptionId::Primary]).is_ok());
    }

    /// On the way back from a mode, what was set in it goes first.
    #[test]
    fn what_only_the_old_mode_has_is_said_in_it() {
        let now = with("mode=802.3ad miimon=100 lacp_rate=fast");
        let want = with("mode=active-backup miimon=100");
        let parting = parting_changes(&now, &want);
        let words: Vec<_> = parting.iter().map(ToString::to_string).collect();
        assert_eq!(words, ["lacp_rate=slow"]);
        assert_eq!(said(&now, &want), ["mode=active-backup"]);
    }

    #[test]
    fn what_the_driver_never_had_is_refused_unless_it_changes_nothing() {
        let change = |value| [OptionChange::parse("lacp_fallback", value).unwrap()];
        let error = check_the_drivers("bond0", &change("individual")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "bond0 did not take lacp_fallback=individual: the driver does not have this option"
        );
        assert!(check_the_drivers("bond0", &change("strict")).is_ok());
    }
}
