//! What the core reports: typed events with their causes, the source of logs, history and `explain`.

use core::time::Duration;

use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

use crate::port::{Duplex, PortId};

/// Why something changed. One word for machines; [`core::fmt::Display`] says it to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Cause {
    /// The bond starts, or its state was restored.
    Start,
    /// A port joined.
    PortAdded {
        /// Its name.
        port: String,
    },
    /// A port was taken out.
    PortRemoved {
        /// Its name.
        port: String,
    },
    /// A port lost its link (and its down delay ran out).
    LinkDown {
        /// Its name.
        port: String,
    },
    /// A port's link is back (and its up delay ran out).
    LinkUp {
        /// Its name.
        port: String,
    },
    /// The data path left a port whose carrier was gone.
    LeftInPath {
        /// Its name.
        port: String,
    },
    /// Options were changed.
    Options {
        /// Names of the options, comma separated.
        names: String,
    },
    /// The user set the bond's address.
    BondMac,
    /// The user set the bond up or down.
    BondAdmin,
}

/// Something worth telling. The wording of its [`core::fmt::Display`] follows the driver's log lines, which people
/// search for, with the cause added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Event {
    /// A port joined.
    PortAdded {
        /// The port.
        port: PortId,
        /// Its name.
        name: String,
        /// It carries traffic at once.
        active: bool,
        /// Its link is up.
        link_up: bool,
    },
    /// A port was taken out.
    PortRemoved {
        /// Its name.
        name: String,
    },
    /// A link went away; the port is given up when the delay has passed.
    LinkGoingDown {
        /// The port.
        name: String,
        /// Down delay ahead.
        delay: Duration,
    },
    /// A link came back within its down delay.
    LinkUpAgain {
        /// The port.
        name: String,
        /// How long it was away.
        after: Duration,
    },
    /// A port's link is down for good.
    LinkDown {
        /// The port.
        name: String,
    },
    /// A link came back; the port is used when the delay has passed.
    LinkComingUp {
        /// The port.
        name: String,
        /// Up delay ahead.
        delay: Duration,
    },
    /// A link was lost again within its up delay.
    LinkDownAgain {
        /// The port.
        name: String,
        /// How long it was there.
        after: Duration,
    },
    /// A port's link is up for good.
    LinkUp {
        /// The port.
        name: String,
        /// Mb/s, where known.
        speed_mbps: Option<u32>,
        /// Duplex.
        duplex: Duplex,
    },
    /// Another port is the active one.
    ActivePort {
        /// The one before, if any.
        from: Option<String>,
        /// The one now, if any.
        to: Option<String>,
        /// Why.
        cause: Cause,
        /// How much of its up delay was cut short.
        earlier_by: Option<Duration>,
    },
    /// The bond can carry traffic, or no longer.
    Carrier {
        /// Whether it can.
        up: bool,
        /// Why it changed.
        cause: Cause,
    },
    /// The bond's address changed.
    BondMac {
        /// The address now.
        mac: MacAddr,
    },
    /// Options were changed.
    OptionsChanged {
        /// Name and new value of each.
        changes: Vec<(String, String)>,
    },
    /// A given value was adapted, as the driver does (delays are rounded down to whole monitor intervals).
    ValueRounded {
        /// Option name.
        option: String,
        /// What was asked for.
        asked: String,
        /// What is used.
        used: String,
    },
}
