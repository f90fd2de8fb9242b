//! Checking and applying a whole set of option changes: all or none.

use super::error::{DriverError, OptionError, OptionFault, nearest};
use super::options::{BondOptions, PortOptions};
use super::spec::{Changeable, ModeSet, OptionSpec};
use super::table::{OptionId, PortOptionId};
use super::value::{OptionChange, OptionValue, PortOptionChange};
use super::words::{ArpValidate, Mode, Switch};

/// What the bond is like while its options change. The default is a bond being created: down and empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct BondContext<'a> {
    /// The front device is set up.
    pub up: bool,
    /// Names of the ports in the bond.
    pub ports: &'a [&'a str],
    /// The bond is our own engine's, which changes every option while the bond works, and has some in more modes. The
    /// driver does neither: see [`OptionSpec::changeable`] and [`OptionSpec::extended_to`].
    pub own_engine: bool,
}

/// An option that ended with another value than asked for, or changed along with another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapted {
    /// The option.
    pub id: OptionId,
    /// Value asked for, or had before.
    pub asked: String,
    /// Value in use.
    pub used: String,
}

/// Outcome of a set of changes that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The options as they are to be in force.
    pub options: BondOptions,
    /// What differs from the wish, to be told to the user.
    pub adapted: Vec<Adapted>,
    /// `active_slave` was part of the set: the port to make active, `None` inside to choose anew.
    pub active_port: Option<Option<String>>,
}

/// Modes that come with miimon 100 when no monitor was chosen, as the driver cannot monitor by ARP in them.
pub(crate) const NEED_MIIMON: ModeSet =
    ModeSet::of(&[Mode::Ieee8023ad, Mode::BalanceTlb, Mode::BalanceAlb]);
/// What they set miimon to when it is 0, in milliseconds.
const FORCED_MIIMON: u32 = 100;

/// Transmit queues of a bond, ours and (unless its module was told otherwise) the driver's.
pub const TX_QUEUES: u16 = 16;

const DELAYS: [OptionId; 3] = [
    OptionId::Updelay,
    OptionId::Downdelay,
    OptionId::PeerNotifDelay,
];

impl BondOptions {
    /// Checks a set of changes as a whole and answers the options that result. Order within the set does not matter.
    ///
    /// Checks, in the driver's order for each option: the mode (the one that results) has it; the bond is empty or down
    /// where that is required and the value differs from the one in force; the value; then dependencies between options.
    /// Unlike the driver, `updelay` and the like keep their milliseconds when only `miimon` changes (the driver keeps
    /// their number of ticks, so that halving `miimon` halves the delays).
    pub fn apply(
        &self,
        changes: &[OptionChange],
        context: &BondContext<'_>,
    ) -> Result<Applied, OptionError> {
        let asked = |id: OptionId| {
            changes
                .iter()
                .find(|change| change.id == id)
                .map(|change| &change.value)
        };
        let mode = match asked(OptionId::Mode) {
            Some(value) => {
                value.check(OptionId::Mode.spec())?;
                let mut with_mode = self.clone();
                // `check` accepted it.
                let _ = with_mode.store(OptionId::Mode, value);
                with_mode.mode
            }
            None => self.mode,
        };

        let mut next = self.clone();
        let mut adapted = Vec::new();
        if mode != self.mode {
            next.arp_validate = ArpValidate::None;
            next.broadcast_neighbor = Switch::Off;
            if NEED_MIIMON.contains(mode) {
                if !context.own_engine {
                    next.arp_interval = 0;
                }
                let by_arp = match asked(OptionId::ArpInterval) {
                    Some(value) => context.own_engine && *value != OptionValue::Number(0),
                    None => next.arp_interval != 0,
                };
                if next.miimon == 0 && !by_arp {
                    next.miimon = FORCED_MIIMON;
                }
            }
            if mode == Mode::BalanceAlb {
                next.tlb_dynamic_lb = true;
            }
        }

        for (index, change) in changes.iter().enumerate() {
            let spec = change.id.spec();
            let refuse = |fault, way_out, driver| Err(refused(change, fault, way_out, driver));
            if let Some(other) = changes[..index].iter().find(|other| other.id == change.id)
                && other.value != change.value
            {
                let fault = OptionFault::Twice {
                    other: other.text(),
                };
                return refuse(fault, "give it once".to_owned(), None);
            }
            let settable = spec.settable_in(context.own_engine);
            if !settable.contains(mode) {
                let way_out = format!("it exists in mode {}", settable.words());
                return refuse(
                    OptionFault::Mode { mode },
                    way_out,
                    Some(&DriverError::MODE),
                );
            }
            if !context.own_engine && self.value(change.id) != change.value {
                check_changeable(change, spec, context)?;
            }
            change.value.check(spec)?;
            if !next.store(change.id, &change.value) {
                return Err(OptionError::bad_value(spec, &change.text()));
            }
        }

        next.settle_monitors(changes, &mut adapted)?;
        next.settle_delays(changes, &mut adapted)?;
        let active_port = match asked(OptionId::ActiveSlave) {
            Some(OptionValue::Name(name)) if name.is_empty() => Some(None),
            Some(OptionValue::Name(name)) if context.ports.contains(&name.as_str()) => {
                Some(Some(name.clone()))
            }
            Some(value) => {
                return Err(not_a_port(
                    &value.text(OptionId::ActiveSlave.spec().kind),
                    context,
                ));
            }
            None => None,
        };
        Ok(Applied {
            options: next,
            adapted,
            active_port,
        })
    }

    /// MII and ARP monitoring exclude each other: asked for both is an error, asked for one switches the other off.
    fn settle_monitors(
        &mut self,
        changes: &[OptionChange],
        adapted: &mut Vec<Adapted>,
    ) -> Result<(), OptionError> {
        let wanted = |id| {
            changes
                .iter()
                .find(|c| c.id == id && c.value != OptionValue::Number(0))
        };
        if wanted(OptionId::Miimon).is_some() {
            let clash = [
                (OptionId::ArpInterval, &DriverError::BOTH_MONITORS),
                (OptionId::ArpValidate, &DriverError::VALIDATE_WITH_MII),
            ];
            for (id, driver) in clash {
                if let Some(change) = wanted(id) {
                    let way_out = format!("leave out {id}, or set miimon=0");
                    return Err(refused(
                        change,
                        OptionFault::WithMiimon,
                        way_out,
                        Some(driver),
                    ));
                }
            }
            self.switch_off(OptionId::ArpInterval, adapted);
            self.switch_off(OptionId::ArpValidate, adapted);
        } else if wanted(OptionId::ArpInterval).is_some() {
            self.switch_off(OptionId::Miimon, adapted);
        }
        Ok(())
    }

    /// Delays count monitor intervals: none without a monitor, whole ones with it.
    fn settle_delays(
        &mut self,
        changes: &[OptionChange],
        adapted: &mut Vec<Adapted>,
    ) -> Result<(), OptionError> {
        for id in DELAYS {
            let change = changes
                .iter()
                .find(|c| c.id == id && c.value != OptionValue::Number(0));
            if self.miimon == 0 {
                if let Some(change) = change {
                    let way_out = "set miimon as well, for example miimon=100".to_owned();
                    let driver = Some(&DriverError::NO_MIIMON);
                    return Err(refused(change, OptionFault::NeedsMiimon, way_out, driver));
                }
                self.switch_off(id, adapted);
                continue;
            }
            let miimon = self.miimon;
            let delay = match id {
                OptionId::Updelay => &mut self.updelay,
                OptionId::Downdelay => &mut self.downdelay,
                _ => &mut self.peer_notif_delay,
            };
            let rounded = *delay - *delay % miimon;
            if rounded != *delay {
                adapted.push(Adapted {
                    id,
                    asked: delay.to_string(),
                    used: rounded.to_string(),
                });
                *delay = rounded;
            }
        }
        Ok(())
    }

    fn switch_off(&mut self, id: OptionId, adapted: &mut Vec<Adapted>) {
        let asked = self.text(id);
        // 0 is a value of every option this is called for.
        let _ = self.store(id, &OptionValue::Number(0));
        let used = self.text(id);
        if asked != used {
            adapted.push(Adapted { id, asked, used });
        }
    }
}

impl PortOptions {
    /// Checks a set of changes of one port as a whole and answers the options that result. `others` are the names and
    /// queue ids of the bond's other ports.
    pub fn apply(
        &self,
        changes: &[PortOptionChange],
        mode: Mode,
        others: &[(&str, u16)],
    ) -> Result<Self, OptionError> {
        let mut next = self.clone();
        for (index, change) in changes.iter().enumerate() {
            let spec = change.id.spec();
            let refuse = |fault, way_out: String, driver| {
                let (option, value) = (change.id.to_string(), change.text());
                Err(OptionError {
                    option,
                    value,
                    fault,
                    way_out,
                    driver,
                })
            };
            if let Some(other) = changes[..index].iter().find(|other| other.id == change.id)
                && other.value != change.value
            {
                return refuse(
                    OptionFault::Twice {
                        other: other.text(),
                    },
                    "give it once".to_owned(),
                    None,
                );
            }
            if !spec.modes.contains(mode) {
                let way_out = format!("it exists in mode {}", spec.modes.words());
                return refuse(
                    OptionFault::Mode { mode },
                    way_out,
                    Some(&DriverError::MODE),
                );
            }
            change.value.check(spec)?;
            if !next.store(change.id, &change.value) {
                return Err(OptionError::bad_value(spec, &change.text()));
            }
            if next.queue_id > TX_QUEUES {
                let fault = OptionFault::NoSuchQueue { queues: TX_QUEUES };
                let way_out = format!("choose one of 1 - {TX_QUEUES}, or 0 for none");
                return refuse(fault, way_out, Some(&DriverError::QUEUE_ID));
            }
            if change.id == PortOptionId::QueueId
                && next.queue_id != 0
                && let Some((port, _)) = others.iter().find(|(_, id)| *id == next.queue_id)
            {
                let fault = OptionFault::QueueIdTaken {
                    port: (*port).to_owned(),
                };
                return refuse(
                    fault,
                    "choose another, or 0 for none".to_owned(),
                    Some(&DriverError::QUEUE_ID),
                );
            }
        }
        Ok(next)
    }
}

fn check_changeable(
    change: &OptionChange,
    spec: &OptionSpec,
    context: &BondContext<'_>,
) -> Result<(), OptionError> {
    let (needs_empty, needs_down) = match spec.changeable {
        Changeable::Always => (false, false),
        Changeable::BondDown => (false, true),
        Changeable::NoPorts => (true, false),
        Changeable::BondDownNoPorts => (true, true),
    };
    let way_out = format!("it can be changed {}", spec.changeable.words());
    if needs_empty && !context.ports.is_empty() {
        return Err(refused(
            change,
            OptionFault::HasPorts,
            way_out,
            Some(&DriverError::HAS_PORTS),
        ));
    }
    if needs_down && context.up {
        return Err(refused(
            change,
            OptionFault::BondUp,
            way_out,
            Some(&DriverError::UP),
        ));
    }
    Ok(())
}

fn refused(
    change: &OptionChange,
    fault: OptionFault,
    way_out: String,
    driver: Option<&'static DriverError>,
) -> OptionError {
    OptionError {
        option: change.id.to_string(),
        value: change.text(),
        fault,
        way_out,
        driver,
    }
}

fn not_a_port(name: &str, context: &BondContext<'_>) -> OptionError {
    let mut way_out = match context.ports {
        [] => "the bond has no ports".to_owned(),
        ports => format!("its ports: {}", ports.join(", ")),
    };
    if let Some(port) = nearest(name, context.ports.iter().copied()) {
        way_out = format!("did you mean {port}? {way_out}");
    }
    OptionError {
        option: OptionId::ActiveSlave.to_string(),
        value: name.to_owned(),
        fault: OptionFault::NotAPort,
        way_out,
        driver: Some(&DriverError::INVALID),
    }
}
