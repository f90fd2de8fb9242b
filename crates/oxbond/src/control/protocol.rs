//! The control protocol: one JSON document per line, both ways, over a Unix stream socket.
//!
//! A client sends a [`Call`] and reads [`Reply`] lines: exactly one for every request but [`Request::Events`], which
//! is answered by a [`Reply::Bonds`] snapshot and then by [`Reply::Event`]s until the client hangs up. Every event has
//! a sequence number; the snapshot carries the number of the last event it includes, so nothing is missed or seen twice.

use std::net::IpAddr;

use oxbond_config::model::{DesiredBond, DesiredPort, DesiredSelector};
use oxbond_config::span::Located;
use oxbond_core::engine::EngineChoice;
use oxbond_core::event::Event;
use oxbond_core::option::PortOptionChange;
use serde::{Deserialize, Serialize};

use crate::exit::{Blame, Failure};
use crate::network::{Planned, Wanted};
use crate::report::{BondReport, FrameReport};

/// Version of the protocol. A daemon refuses calls of another one.
pub(crate) const PROTOCOL_VERSION: u32 = 1;

/// A line from client to daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    /// [`PROTOCOL_VERSION`].
    pub(crate) version: u32,
    /// What is asked for.
    pub(crate) request: Request,
}

impl Call {
    /// Reads a line.
    pub(crate) fn parse(line: &str) -> Result<Self, Failure> {
        let call: Self = serde_json::from_str(line).map_err(|e| {
            let why = format!("the daemon does not understand the call: {e}");
            Failure::new(Blame::Daemon, why)
        })?;
        if call.version != PROTOCOL_VERSION {
            let why = format!(
                "the daemon speaks protocol {PROTOCOL_VERSION}, the client {}",
                call.version
            );
            return Err(Failure::new(Blame::Daemon, why));
        }
        Ok(call)
    }
}

/// What a client may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Create a bond.
    Up(BondRequest),
    /// Make the system be as wanted: create, change, remove what is ours.
    Apply {
        /// What is wanted.
        wanted: Wanted,
    },
    /// What [`Request::Apply`] would do.
    Plan {
        /// What is wanted.
        wanted: Wanted,
    },
    /// As [`Request::Apply`], for a trial: all goes back unless [`Request::Confirm`] comes in time.
    Try {
        /// What is wanted.
        wanted: Wanted,
        /// Time until all goes back, in milliseconds.
        timeout_ms: u64,
        /// What must hold.
        gates: Vec<Gate>,
        /// Time in which each of them must, in milliseconds.
        gates_within_ms: u64,
    },
    /// Keep what is on trial.
    Confirm,
    /// Go back from what is on trial now.
    Rollback,
    /// What has become of the trial.
    Trial,
    /// Remove a bond and give its ports back.
    Down {
        /// The bond.
        bond: String,
    },
    /// Join a port.
    AddPort {
        /// The bond.
        bond: String,
        /// The port.
        port: PortRequest,
    },
    /// Take a port out.
    RemovePort {
        /// The bond.
        bond: String,
        /// Name of the port.
        port: String,
    },
    /// Take a port out of the traffic without loss, or let it take part again.
    Drain {
        /// The bond.
        bond: String,
        /// Name of the port.
        port: String,
        /// Out; else back.
        out: bool,
    },
    /// Take a running bond of the kernel's driver under management, or move a bond to another engine.
    Adopt {
        /// The bond.
        bond: String,
        /// What is to carry it; [`EngineChoice::Auto`] leaves it where it is.
        engine: EngineChoice,
    },
    /// Change options of a bond, all or none.
    Set {
        /// The bond.
        bond: String,
        /// Option names and values.
        options: Vec<(String, String)>,
    },
    /// Change options of a port, all or none.
    SetPort {
        /// The bond.
        bond: String,
        /// Name and options.
        port: PortRequest,
    },
    /// All that runs, as something to be wanted.
    Wanted,
    /// The state of one bond, or of all.
    Status {
        /// Just this one.
        bond: Option<String>,
    },
    /// What would become of a frame that is sent through a bond now.
    Frame {
        /// The bond.
        bond: String,
        /// The frame from destination address on, with its VLAN tags.
        frame: Vec<u8>,
    },
    /// A snapshot, then every event.
    Events,
}

impl Request {
    /// It may change something, and is no end of a trial.
    pub(crate) const fn changes(&self) -> bool {
        !matches!(
            self,
            Self::Plan { .. }
                | Self::Confirm
                | Self::Rollback
                | Self::Trial
                | Self::Wanted
                | Self::Status { .. }
                | Self::Frame { .. }
                | Self::Events
        )
    }
}

/// Something that must hold for a trial to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Gate {
    /// Every wanted default gateway answers ARP or neighbour solicitations over its device.
    Gateway,
    /// In every wanted bond of mode 802.3ad an LACP partner has been seen.
    Partner,
}

/// What has become of a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TrialState {
    /// None was begun since the daemon was started.
    None,
    /// It waits for its confirmation.
    Pending {
        /// Time until all goes back, in milliseconds.
        left_ms: u64,
        /// What is waited for at the gates, in words.
        gates: Vec<String>,
    },
    /// It was confirmed.
    Confirmed,
    /// All went back.
    RolledBack {
        /// Why, in words.
        why: String,
        /// What could not be undone, in words.
        complaints: Vec<String>,
    },
}

/// A bond as asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BondRequest {
    /// Name of the front device.
    pub(crate) name: String,
    /// What should carry it.
    #[serde(default)]
    pub(crate) engine: EngineChoice,
    /// Option names and values. What a later `set` changes is in the core alone.
    pub(crate) options: Vec<(String, String)>,
    /// The ports, in list order.
    pub(crate) ports: Vec<PortRequest>,
    /// Ports by what they are.
    #[serde(default)]
    pub(crate) selectors: Vec<PortSelector>,
    /// How many ports there should be, where `selectors` expect more than have been found.
    #[serde(default)]
    pub(crate) expected: usize,
    /// MTU of bond and ports.
    pub(crate) mtu: Option<u32>,
    /// Address of the bond, as text.
    pub(crate) mac: Option<String>,
    /// Addresses with prefix length.
    pub(crate) addresses: Vec<String>,
    /// Default gateways, at most one for each address family.
    pub(crate) gateways: Vec<IpAddr>,
    /// It comes from a configuration file: `apply` removes it when no file names it any more.
    pub(crate) from_file: bool,
    /// The front device is left down, as `ip link add` leaves it.
    #[serde(default)]
    pub(crate) down: bool,
}

/// A port as asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PortRequest {
    /// Interface name.
    pub(crate) name: String,
    /// Option names and values.
    pub(crate) options: Vec<(String, String)>,
    /// A selector found it; no name was given.
    #[serde(default)]
    pub(crate) found: bool,
}

/// Ports by what they are: every interface that fits all that is given (see [`oxbond_config::select`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PortSelector {
    /// The address it was made with, as text.
    pub(crate) mac: Option<String>,
    /// Where it is plugged in, a pattern.
    pub(crate) path: Option<String>,
    /// Its driver, a pattern.
    pub(crate) driver: Option<String>,
    /// Its name, a pattern.
    pub(crate) name: Option<String>,
    /// How many should be found.
    pub(crate) expect: Option<u32>,
    /// Option names and values of each.
    pub(crate) options: Vec<(String, String)>,
}

/// A line from daemon to client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// Done; what was done, in words, empty when there was nothing to do.
    Done {
        /// A line for each change.
        changes: Vec<String>,
    },
    /// Not done, and nothing changed.
    Failed(Failure),
    /// What would be done.
    Plan {
        /// The steps, in order.
        steps: Vec<Planned>,
    },
    /// All that runs.
    Wanted(Box<Wanted>),
    /// What has become of the trial.
    Trial(TrialState),
    /// The state of bonds.
    Bonds {
        /// Sequence number of the last event this state includes.
        sequence: u64,
        /// The bonds, by name.
        bonds: Vec<BondReport>,
    },
    /// What would become of a frame.
    Frame(FrameReport),
    /// Something happened.
    Event(Numbered),
}

/// An event with its place in the daemon's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Numbered {
    /// Counts up by one; starts again at 1 with the daemon.
    pub(crate) sequence: u64,
    /// Wall-clock time, nanoseconds since 1970.
    pub(crate) unix_nanos: u64,
    /// The bond it is about.
    pub(crate) bond: String,
    /// What happened.
    pub(crate) event: Event,
    /// The same in words.
    pub(crate) text: String,
}

impl From<&DesiredBond> for BondRequest {
    fn from(bond: &DesiredBond) -> Self {
        let v4 = bond
            .device
            .gateway_v4
            .as_ref()
            .map(|gateway| IpAddr::from(gateway.value));
        let v6 = bond
            .device
            .gateway_v6
            .as_ref()
            .map(|gateway| IpAddr::from(gateway.value));
        Self {
            name: bond.name.value.clone(),
            engine: bond.engine_choice(),
            options: bond
                .options
                .iter()
                .map(|o| (o.value.id.to_string(), o.value.text()))
                .collect(),
            ports: bond.ports.iter().map(PortRequest::from).collect(),
            selectors: bond.selectors.iter().map(PortSelector::from).collect(),
            expected: 0,
            mtu: bond.device.mtu.as_ref().map(|mtu| mtu.value),
            mac: bond.device.mac.as_ref().map(|mac| mac.value.to_string()),
            addresses: bond
                .device
                .addresses
                .iter()
                .map(|address| address.value.to_string())
                .collect(),
            gateways: v4.into_iter().chain(v6).collect(),
            from_file: true,
            down: false,
        }
    }
}

impl From<&DesiredPort> for PortRequest {
    fn from(port: &DesiredPort) -> Self {
        Self {
            name: port.name.value.clone(),
            options: words(&port.options),
            found: false,
        }
    }
}

impl From<&DesiredSelector> for PortSelector {
    fn from(asked: &DesiredSelector) -> Self {
        let text = |value: &Option<Located<String>>| value.as_ref().map(|text| text.value.clone());
        Self {
            mac: asked.mac.as_ref().map(|mac| mac.value.to_string()),
            path: text(&asked.path),
            driver: text(&asked.driver),
            name: text(&asked.name),
            expect: asked.expect.as_ref().map(|expect| expect.value),
            options: words(&asked.options),
        }
    }
}

/// Options of a port as they travel.
fn words(options: &[Located<PortOptionChange>]) -> Vec<(String, String)> {
    let each = options.iter().map(|option| &option.value);
    each.map(|change| (change.id.to_string(), change.text()))
        .collect()
}
