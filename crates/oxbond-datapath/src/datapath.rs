//! One bond's data path as the daemon handles it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use oxbond_core::port::{MAX_PORTS, PortId};
use oxbond_core::standing::StandingAnswer;
use oxbond_core::table::{LINGER, TransmitTable};
use oxbond_core::time::Instant;

use crate::abi::{
    ABI_MAGIC, ABI_VERSION, Abi, HINTS, HOOK_CLSACT, Hints, PORT_LENT, Port, QDISC_OURS,
    RawArrivals, RawBondCounters, RawLoads, RawPortCounters, Standing, Table,
};
use crate::attach::{self, Attachment};
use crate::error::DatapathError;
use crate::load::Loaded;
use crate::pins::{Pins, unpin};
use crate::records::{LEFT_BYTES, Record, Rings, TAPPED_BYTES};
use crate::sys::{
    ArrayMap, MAP_TYPE_ARRAY, MAP_TYPE_PERCPU_ARRAY, MAP_TYPE_RINGBUF, MapShape, TestInput, TestRun,
};
use crate::{clsact, sys};

/// What kind of device carries the bond's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontKind {
    /// A netkit pair, in mode L2; the program runs in the device's own transmit. Minimum kernel version: 6.7.
    Netkit,
    /// A veth pair; the program runs at the inner end's ingress.
    Veth,
}

impl fmt::Display for FrontKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Netkit => "netkit",
            Self::Veth => "veth",
        })
    }
}

/// The pair of devices that makes the bond's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Front {
    /// What they are.
    pub kind: FrontKind,
    /// The end with the bond's name.
    pub bond_ifindex: u32,
    /// The end behind it.
    pub inner_ifindex: u32,
}

/// How a program hangs on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// In the transmit of a netkit device.
    Netkit,
    /// On tcx, by a pinned link.
    Tcx,
    /// On clsact, as a direct-action filter.
    Clsact,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Netkit => "netkit",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        })
    }
}

/// Which hook is used where; `None` where the program no longer hangs (device gone, or taken off by somebody).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// The transmit program's.
    pub front: Option<Hook>,
    /// The receive program's on each port, by rising [`PortId`].
    pub ports: Vec<(PortId, Option<Hook>)>,
}

/// What a port has carried for the bond since it was attached, counted by the programs. A segmentation-offload frame
/// counts as one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames handed to the port.
    pub tx_packets: u64,
    /// Their bytes, from the destination address on.
    pub tx_bytes: u64,
    /// Frames taken from the port.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames dropped because the port does not receive for the bond.
    pub rx_inactive: u64,
    /// Part of `tx_packets`: sent here although the table names another port, which was dead.
    pub tx_moved: u64,
    /// LACPDUs of the partner answered in the daemon's place: see [`oxbond_core::standing`].
    pub lacp_answered: u64,
}

/// All counters of a bond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Each attached port's, by rising [`PortId`].
    pub ports: Vec<(PortId, PortCounters)>,
    /// Frames of the bond dropped because no port could take them.
    pub tx_no_port: u64,
    /// How often a program left a port by itself.
    pub ports_left: u64,
}

/// What the buckets of a measured table have carried in a span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loads {
    /// How long the span was.
    pub over: Duration,
    /// Bytes sent by bucket, in the sequence of the table.
    pub buckets: Vec<u64>,
    /// Bytes of exempt frames.
    pub exempt: u64,
}

/// When frames last arrived on a port, by `CLOCK_MONOTONIC` to the precision of the kernel's tick (1 to 10 ms).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrivals {
    /// The port.
    pub port: PortId,
    /// The last frame of any kind, `None` while there was none.
    pub any: Option<Instant>,
    /// The last frame of ARP or IPv6.
    pub neighbour: Option<Instant>,
}

/// A program that can be test-run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinnedProgram {
    /// Chooses the port of a frame that the host sends.
    BondTx,
    /// Takes or refuses a frame that a port receives.
    PortRx,
}

/// A bond's data path in the kernel. Dropping the value leaves everything running.
pub struct DataPath {
    pins: Pins,
    front: Front,
    front_flags: u32,
    maps: Maps,
    programs: Programs,
    rings: Rings,
    measured: Option<Measured>,
}

/// What [`DataPath::loads`] has told already.
struct Measured {
    /// Of the table in this slot,
    slot: u32,
    /// until then,
    time_ns: u64,
    /// this much.
    told: RawLoads,
}

#[derive(Debug)]
struct Maps {
    control: ArrayMap,
    tables: ArrayMap,
    ports: ArrayMap,
    port_counters: ArrayMap,
    bond_counters: ArrayMap,
    loads: ArrayMap,
    arrivals: ArrayMap,
    standing: ArrayMap,
    hints: ArrayMap,
    abi: ArrayMap,
}

#[derive(Debug)]
struct Programs {
    bond_tx: OwnedFd,
    port_rx: OwnedFd,
    find_netdev: OwnedFd,
}

const MAP_NAMES: [&str; 12] = [
    "control",
    "tables",
    "ports",
    "port_counters",
    "bond_counters",
    "loads",
    "arrivals",
    "standing",
    "hints",
    "abi",
    "left_records",
    "tapped_frames",
];
const PROGRAM_NAMES: [&str; 3] = ["bond_tx", "port_rx", "find_netdev"];

/// Added to the flags of a port in [`Abi::front_flags`]: ports go on clsact even where tcx is to be had.
const CLSACT_ONLY: u32 = 4;

const FRONT_NETKIT: u32 = 1;
const FRONT_VETH: u32 = 2;

impl DataPath {
    /// Loads the programs, hangs the transmit program on the front device and pins everything under `pin_dir`, which is
    /// made. There is no port yet and no table: every frame is dropped and counted.
    ///
    /// On an error nothing stays behind. Uses some 20 MB for a moment, given back before it returns.
    pub fn install(pin_dir: &Path, front: Front) -> Result<Self, DatapathError> {
        Self::install_on(pin_dir, front, None)
    }

    /// As [`Self::install`], with the choice of hook taken away: `Some(Hook::Clsact)` uses clsact for this front (if it
    /// is a veth) and for every port even where the kernel has tcx. Other values are the same as `None`.
    pub fn install_on(
        pin_dir: &Path,
        front: Front,
        hook: Option<Hook>,
    ) -> Result<Self, DatapathError> {
        let pins = Pins::new(pin_dir);
        pins.check_free()?;
        let loaded = Loaded::open(front.inner_ifindex, &MAP_NAMES, &PROGRAM_NAMES)?;
        let installed = pins
            .create()
            .and_then(|()| Self::install_loaded(Pins::new(pin_dir), front, hook, loaded));
        if installed.is_err() {
            // The error that counts is the first one.
            let _ = pins.remove();
        }
        installed
    }

    fn install_loaded(
        pins: Pins,
        front: Front,
        hook: Option<Hook>,
        loaded: Loaded,
    ) -> Result<Self, DatapathError> {
        let paths = MAP_NAMES.iter().map(|name| pins.map(name));
        let paths = paths.chain(PROGRAM_NAMES.iter().map(|name| pins.program(name)));
        for (fd, path) in loaded.maps.iter().chain(&loaded.programs).zip(paths) {
            sys::pin(fd.as_fd(), &path)
                .map_err(|error| DatapathError::kernel(format!("pin {}", path.display()), error))?;
        }
        let mut path = Self::assemble(pins, front, 0, loaded.maps, loaded.programs)?;

        let clsact_only = hook == Some(Hook::Clsact);
        let (device, attached) = match front.kind {
            FrontKind::Netkit => (
                front.bond_ifindex,
                attach::to_netkit(path.programs.bond_tx.as_fd(), front.bond_ifindex),
            ),
            FrontKind::Veth => (
                front.inner_ifindex,
                attach::to_ingress(
                    path.programs.bond_tx.as_fd(),
                    front.inner_ifindex,
                    clsact_only,
                ),
            ),
        };
        let attachment = attached
            .map_err(|error| device_error("attach the transmit program to", device, error))?;
        path.front_flags = attachment.flags() | if clsact_only { CLSACT_ONLY } else { 0 };
        let abi = path.expected_abi();
        let kept = keep(&attachment, &path.pins.front_link()).and_then(|()| {
            path.maps
                .abi
                .set(0, &abi)
                .map_err(|error| DatapathError::kernel("write map abi", error))
        });
        if let Err(error) = kept {
            // The error that counts is the first one.
            let _ = attachment.undo(device);
            return Err(error);
        }
        Ok(path)
    }

    /// Takes over a running data path without writing anything: checks who made it and the shape of every map.
    ///
    /// [`DatapathError::NotInstalled`] when there is none, [`DatapathError::AbiMismatch`] when it is another version's.
    pub fn adopt(pin_dir: &Path) -> Result<Self, DatapathError> {
        let pins = Pins::new(pin_dir);
        if !pins.dir().exists() {
            return Err(DatapathError::NotInstalled(pin_dir.to_owned()));
        }
        let open = |path: std::path::PathBuf| match sys::open_pinned(&path) {
            Ok(fd) => Ok(fd),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(DatapathError::AbiMismatch {
                    path,
                    mismatch: "this pin is missing".to_owned(),
                })
            }
            Err(error) => Err(DatapathError::kernel(
                format!("open {}", path.display()),
                error,
            )),
        };
        let mut maps = Vec::new();
        for name in MAP_NAMES {
            let path = pins.map(name);
            let map = open(path.clone())?;
            let shape = sys::map_shape(map.as_fd())
                .map_err(|error| DatapathError::kernel(format!("look at map {name}"), error))?;
            let wanted = expected_shape(name);
            if shape != wanted {
                return Err(DatapathError::AbiMismatch {
                    path,
                    mismatch: format!("it is {shape:?}, not {wanted:?}"),
                });
            }
            maps.push(map);
        }
        let programs = PROGRAM_NAMES
            .iter()
            .map(|name| open(pins.program(name)))
            .collect::<Result<_, _>>()?;
        // The front is read from the map right below; until then any will do.
        let nowhere = Front {
            kind: FrontKind::Veth,
            bond_ifindex: 0,
            inner_ifindex: 0,
        };
        let mut path = Self::assemble(pins, nowhere, 0, maps, programs)?;

        let abi: Abi = path
            .maps
            .abi
            .get(0)
            .map_err(|error| DatapathError::kernel("read map abi", error))?;
        let kind = match abi.front_kind {
            FRONT_NETKIT => Some(FrontKind::Netkit),
            FRONT_VETH => Some(FrontKind::Veth),
            _ => None,
        };
        if let Some(kind) = kind {
            path.front = Front {
                kind,
                bond_ifindex: abi.bond_ifindex,
                inner_ifindex: abi.inner_ifindex,
            };
            path.front_flags = abi.front_flags;
        }
        let wanted = path.expected_abi();
        if kind.is_none() || abi != wanted {
            return Err(DatapathError::AbiMismatch {
                path: path.pins.map("abi"),
                mismatch: format!("it was made by {abi:?}, this is {wanted:?}"),
            });
        }
        Ok(path)
    }

    fn assemble(
        pins: Pins,
        front: Front,
        front_flags: u32,
        maps: Vec<OwnedFd>,
        programs: Vec<OwnedFd>,
    ) -> Result<Self, DatapathError> {
        let few = || DatapathError::Contract("fewer maps or programs than names".to_owned());
        let [
            control,
            tables,
            ports,
            port_counters,
            bond_counters,
            loads,
            arrivals,
            standing,
            hints,
            abi,
            left_records,
            tapped_frames,
        ] = <[OwnedFd; 12]>::try_from(maps).map_err(|_few| few())?;
        let [bond_tx, port_rx, find_netdev] =
            <[OwnedFd; 3]>::try_from(programs).map_err(|_few| few())?;
        Ok(Self {
            pins,
            front,
            front_flags,
            maps: Maps {
                control: ArrayMap::new(control),
                tables: ArrayMap::new(tables),
                ports: ArrayMap::new(ports),
                port_counters: ArrayMap::new(port_counters),
                bond_counters: ArrayMap::new(bond_counters),
                loads: ArrayMap::new(loads),
                arrivals: ArrayMap::new(arrivals),
                standing: ArrayMap::new(standing),
                hints: ArrayMap::new(hints),
                abi: ArrayMap::new(abi),
            },
            programs: Programs {
                bond_tx,
                port_rx,
                find_netdev,
            },
            rings: Rings::new(left_records, tapped_frames)?,
            measured: None,
        })
    }

    const fn expected_abi(&self) -> Abi {
        Abi {
            magic: ABI_MAGIC,
            version: ABI_VERSION,
            table_size: size_of::<Table>() as u32,
            port_size: size_of::<Port>() as u32,
            front_kind: match self.front.kind {
                FrontKind::Netkit => FRONT_NETKIT,
                FrontKind::Veth => FRONT_VETH,
            },
            bond_ifindex: self.front.bond_ifindex,
            inner_ifindex: self.front.inner_ifindex,
            front_flags: self.front_flags,
        }
    }

    /// The devices it was installed on.
    pub const fn front(&self) -> Front {
        self.front
    }

    /// Lets a port take part: finds its `net_device`, clears its counters and hangs the receive program on its ingress
    /// (after programs that hang there already). It carries nothing before a table names it.
    pub fn attach_port(&mut self, port: PortId, ifindex: u32) -> Result<(), DatapathError> {
        if let Some((other, _)) = self
            .ports()?
            .into_iter()
            .find(|(id, index)| *id == port || *index == ifindex)
        {
            return Err(DatapathError::Contract(format!(
                "attach of port {} (interface {ifindex}), but port {} is in its place",
                port.index(),
                other.index()
            )));
        }
        let netdev = self.find_netdev(ifindex)?;
        self.maps
            .port_counters
            .clear_per_cpu::<RawPortCounters>(port.index() as u32)
            .and_then(|()| {
                self.maps
                    .arrivals
                    .clear_per_cpu::<RawArrivals>(port.index() as u32)
            })
            .map_err(|error| DatapathError::kernel("clear a port's counters", error))?;
        self.set_standing_answer(port, None)?;
        self.write_hint(port, ifindex)?;
        // Known to the programs before the first frame comes in, so that it is counted at the right place.
        self.write_port(
            port,
            Port {
                netdev,
                ifindex,
                flags: 0,
            },
        )?;
        let attached = self.hang_receive(port);
        if attached.is_err() {
            self.write_port(port, Port::default())?;
        }
        attached
    }

    /// Hangs the receive program on the ingress of a port that the programs know.
    fn hang_receive(&self, port: PortId) -> Result<(), DatapathError> {
        let raw = self.read_port(port)?;
        let clsact_only = self.front_flags & CLSACT_ONLY != 0;
        let attachment =
            attach::to_ingress(self.programs.port_rx.as_fd(), raw.ifindex, clsact_only).map_err(
                |error| device_error("attach the receive program to", raw.ifindex, error),
            )?;
        let flags = raw.flags & !(HOOK_CLSACT | QDISC_OURS) | attachment.flags();
        let kept = keep(&attachment, &self.pins.port_link(port))
            .and_then(|()| self.write_port(port, Port { flags, ..raw }));
        if kept.is_err() {
            // The error that counts is the first one.
            let _ = unpin(&self.pins.port_link(port));
            let _ = attachment.undo(raw.ifindex);
        }
        kept
    }

    /// Whether what arrives on an attached port comes here, or goes the way of all frames there. What is sent on it is the
    /// same: without this, the table's next port would carry that, and switches would look for the bond there.
    pub fn set_receiving(&mut self, port: PortId, receiving: bool) -> Result<(), DatapathError> {
        let raw = self.read_port(port)?;
        if raw.ifindex == 0 {
            return Err(DatapathError::Contract(format!(
                "set_receiving of port {}, which is not attached",
                port.index()
            )));
        }
        let pin = self.pins.port_link(port);
        let hook = attach::hook(&pin, raw.ifindex, raw.flags)
            .map_err(|error| DatapathError::kernel("look at the hooks", error))?;
        match (hook, receiving) {
            (None, true) => self.hang_receive(port),
            (Some(_), false) => self.take_receive_off(port, raw),
            _ => Ok(()),
        }
    }

    fn take_receive_off(&self, port: PortId, raw: Port) -> Result<(), DatapathError> {
        attach::release(&self.pins.port_link(port))?;
        detach_filter(raw.ifindex, raw.flags)
    }

    /// A port that is attached is another bond's: what is said there of LACP goes to that one.
    pub fn lend_port(&mut self, port: PortId) -> Result<(), DatapathError> {
        let raw = self.read_port(port)?;
        let flags = raw.flags | PORT_LENT;
        self.write_port(port, Port { flags, ..raw })
    }

    /// Takes the receive program off a port and forgets the port. The interface may be gone already. The table in force
    /// should no longer name it; if it does, the programs treat it as dead.
    pub fn detach_port(&mut self, port: PortId) -> Result<(), DatapathError> {
        let raw = self.read_port(port)?;
        if raw.ifindex == 0 {
            return Err(DatapathError::Contract(format!(
                "detach of port {}, which is not attached",
                port.index()
            )));
        }
        self.take_receive_off(port, raw)?;
        self.set_standing_answer(port, None)?;
        self.write_port(port, Port::default())
    }

    /// What the receive program may answer the partner of LACP on this port in the daemon's place; `None` for nothing. Only
    /// while the table asks for frames of the slow protocols.
    pub fn set_standing_answer(
        &mut self,
        port: PortId,
        answer: Option<&StandingAnswer>,
    ) -> Result<(), DatapathError> {
        let raw = answer.map_or(Ok(Standing::NONE), Standing::new);
        let raw =
            raw.map_err(|why| DatapathError::Contract(format!("set_standing_answer: {why}")))?;
        self.maps
            .standing
            .set(port.index() as u32, &raw)
            .map_err(|error| DatapathError::kernel("write map standing", error))
    }

    /// The ports attached and their interface indices, by rising [`PortId`].
    pub fn ports(&self) -> Result<Vec<(PortId, u32)>, DatapathError> {
        let mut ports = Vec::new();
        for port in (0..MAX_PORTS as u8).filter_map(PortId::new) {
            let raw = self.read_port(port)?;
            if raw.ifindex != 0 {
                ports.push((port, raw.ifindex));
            }
        }
        Ok(ports)
    }

    /// Finds a port's `net_device` anew. `false` when the programs had the right one.
    pub fn refresh_port(&mut self, port: PortId) -> Result<bool, DatapathError> {
        let raw = self.read_port(port)?;
        if raw.ifindex == 0 {
            return Err(DatapathError::Contract(format!(
                "refresh of port {}, which is not attached",
                port.index()
            )));
        }
        let netdev = self.find_netdev(raw.ifindex)?;
        if netdev == raw.netdev {
            return Ok(false);
        }
        self.write_port(port, Port { netdev, ..raw })?;
        Ok(true)
    }

    /// Puts a table in force: writes the spare slot, then flips the word. `false`, with nothing written, when the same
    /// table is in force and no port of it has been left.
    ///
    /// A program that is in the middle of a frame finishes with the table it began with. Only if two calls follow each
    /// other within that time (below a microsecond) can it see parts of both; the frame may then be dropped or take
    /// another port of the bond.
    pub fn set_table(&mut self, table: &TransmitTable) -> Result<bool, DatapathError> {
        let mut wanted = Table::new(table)
            .map_err(|why| DatapathError::Contract(format!("set_table: {why}")))?;
        let (slot, current) = self.current()?;
        if current.left == 0 && current.same_orders(&wanted) {
            return Ok(false);
        }
        if wanted.linger != 0 {
            wanted.linger_until = sys::monotonic_ns() + LINGER.as_nanos() as u64;
        }
        let spare = 1 - slot;
        if wanted.measured().is_some() {
            self.maps
                .loads
                .clear_per_cpu::<RawLoads>(spare)
                .map_err(|error| DatapathError::kernel("clear the loads", error))?;
        }
        self.maps
            .tables
            .set(spare, &wanted)
            .map_err(|error| DatapathError::kernel("write map tables", error))?;
        self.maps
            .control
            .set(0, &spare)
            .map_err(|error| DatapathError::kernel("write map control", error))?;
        self.measured = Some(Measured {
            slot: spare,
            time_ns: sys::monotonic_ns(),
            told: RawLoads::NONE,
        });
        Ok(true)
    }

    /// The table in force.
    pub fn table(&self) -> Result<TransmitTable, DatapathError> {
        let (_, table) = self.current()?;
        table
            .to_transmit_table()
            .ok_or_else(|| DatapathError::AbiMismatch {
                path: self.pins.map("tables"),
                mismatch: "it holds a table that this version never writes".to_owned(),
            })
    }

    /// The set of ports that the programs have left since the table was put in force.
    pub fn left(&self) -> Result<u32, DatapathError> {
        self.current().map(|(_, table)| table.left)
    }

    /// Reads all counters.
    pub fn counters(&self) -> Result<Counters, DatapathError> {
        let failed = |error| DatapathError::kernel("read the counters", error);
        let mut counters = Counters::default();
        for (port, _) in self.ports()? {
            let mut sum = PortCounters::default();
            for cpu in self
                .maps
                .port_counters
                .get_per_cpu::<RawPortCounters>(port.index() as u32)
                .map_err(failed)?
            {
                sum.tx_packets += cpu.tx_packets;
                sum.tx_bytes += cpu.tx_bytes;
                sum.rx_packets += cpu.rx_packets;
                sum.rx_bytes += cpu.rx_bytes;
                sum.rx_inactive += cpu.rx_inactive;
                sum.tx_moved += cpu.tx_moved;
                sum.lacp_answered += cpu.lacp_answered;
            }
            counters.ports.push((port, sum));
        }
        for cpu in self
            .maps
            .bond_counters
            .get_per_cpu::<RawBondCounters>(0)
            .map_err(failed)?
        {
            counters.tx_no_port += cpu.tx_no_port;
            counters.ports_left += cpu.ports_left;
        }
        Ok(counters)
    }

    /// What the table's buckets have carried since the last call, or since the table was put in force if that is later.
    /// `None` when they are not measured, and from the first call after [`Self::adopt`], which cannot know since when.
    pub fn loads(&mut self) -> Result<Option<Loads>, DatapathError> {
        let (slot, table) = self.current()?;
        let Some(buckets) = table.measured() else {
            return Ok(None);
        };
        let time_ns = sys::monotonic_ns();
        let mut sum = RawLoads::NONE;
        let cpus = self.maps.loads.get_per_cpu::<RawLoads>(slot);
        for cpu in cpus.map_err(|error| DatapathError::kernel("read the loads", error))? {
            for (sum, bytes) in sum.buckets.iter_mut().zip(cpu.buckets) {
                *sum += bytes;
            }
            sum.exempt += cpu.exempt;
        }
        let before = self.measured.replace(Measured {
            slot,
            time_ns,
            told: sum,
        });
        Ok(before.filter(|before| before.slot == slot).map(|before| {
            let told = before.told.buckets.iter();
            let since = sum.buckets.iter().zip(told).map(|(sum, told)| sum - told);
            Loads {
                over: Duration::from_nanos(time_ns.saturating_sub(before.time_ns)),
                buckets: since.take(buckets).collect(),
                exempt: sum.exempt - before.told.exempt,
            }
        }))
    }

    /// When frames last arrived on each attached port, by rising [`PortId`]. The times stand still while the table does
    /// not ask for them ([`Tap::arrivals`](oxbond_core::table::Tap::arrivals)).
    pub fn arrivals(&self) -> Result<Vec<Arrivals>, DatapathError> {
        let time = |ns: u64| (ns != 0).then(|| Instant::from_nanos(ns));
        let mut arrivals = Vec::new();
        for (port, _) in self.ports()? {
            let cpus = self
                .maps
                .arrivals
                .get_per_cpu::<RawArrivals>(port.index() as u32)
                .map_err(|error| DatapathError::kernel("read the arrivals", error))?;
            let (any, neighbour) = cpus.iter().fold((0, 0), |(any, neighbour), cpu| {
                (cpu.any.max(any), cpu.neighbour.max(neighbour))
            });
            arrivals.push(Arrivals {
                port,
                any: time(any),
                neighbour: time(neighbour),
            });
        }
        Ok(arrivals)
    }

    /// Readable (poll, epoll) when [`Self::drain`] has something to give.
    pub fn ring_fd(&self) -> BorrowedFd<'_> {
        self.rings.fd()
    }

    /// What the programs have told since the last call: the ports that they left, then the frames that they tapped, each
    /// oldest first; of the frames at most 256 at once. Full buffers lose records. Of left ports never the fact:
    /// [`Self::left`] has it.
    pub fn drain(&mut self) -> Vec<Record> {
        self.rings.drain()
    }

    /// Which hook is used where.
    pub fn hooks(&self) -> Result<Hooks, DatapathError> {
        let failed = |error| DatapathError::kernel("look at the hooks", error);
        let (device, flags) = (self.front_device(), self.front_flags);
        let front = attach::hook(&self.pins.front_link(), device, flags).map_err(failed)?;
        let mut ports = Vec::new();
        for (port, ifindex) in self.ports()? {
            let flags = self.read_port(port)?.flags;
            ports.push((
                port,
                attach::hook(&self.pins.port_link(port), ifindex, flags).map_err(failed)?,
            ));
        }
        Ok(Hooks { front, ports })
    }

    /// Runs a program on a frame without a network, counters and latch included. The frame goes nowhere.
    pub fn test_run(
        &self,
        program: PinnedProgram,
        frame: &[u8],
        input: TestInput,
    ) -> Result<TestRun, DatapathError> {
        let fd = match program {
            PinnedProgram::BondTx => &self.programs.bond_tx,
            PinnedProgram::PortRx => &self.programs.port_rx,
        };
        sys::test_run(fd.as_fd(), frame, input)
            .map_err(|error| DatapathError::kernel(format!("test-run {program:?}"), error))
    }

    /// Takes the programs off every device and removes all pins.
    pub fn remove(self) -> Result<(), DatapathError> {
        for (port, _) in self.ports()? {
            self.take_receive_off(port, self.read_port(port)?)?;
        }
        detach_filter(self.front_device(), self.front_flags)?;
        self.pins.remove()
    }

    /// Removes what is pinned in a directory without understanding it: the way out of [`DatapathError::AbiMismatch`].
    /// Filters on clsact stay on their devices; deleting the front device and the next [`Self::attach_port`] replace
    /// them.
    pub fn wipe(pin_dir: &Path) -> Result<(), DatapathError> {
        Pins::new(pin_dir).remove()
    }

    /// The device on which the transmit program hangs.
    const fn front_device(&self) -> u32 {
        match self.front.kind {
            FrontKind::Netkit => self.front.bond_ifindex,
            FrontKind::Veth => self.front.inner_ifindex,
        }
    }

    fn current(&self) -> Result<(u32, Table), DatapathError> {
        let slot: u32 = self
            .maps
            .control
            .get(0)
            .map_err(|error| DatapathError::kernel("read map control", error))?;
        let table = self
            .maps
            .tables
            .get(slot)
            .map_err(|error| DatapathError::kernel("read map tables", error))?;
        Ok((slot, table))
    }

    fn read_port(&self, port: PortId) -> Result<Port, DatapathError> {
        self.maps
            .ports
            .get(port.index() as u32)
            .map_err(|error| DatapathError::kernel("read map ports", error))
    }

    fn write_port(&self, port: PortId, raw: Port) -> Result<(), DatapathError> {
        self.maps
            .ports
            .set(port.index() as u32, &raw)
            .map_err(|error| DatapathError::kernel("write map ports", error))
    }

    /// Tells the receive program where to look for a port first. Ports whose interfaces share a place are found all the
    /// same, by a search.
    fn write_hint(&self, port: PortId, ifindex: u32) -> Result<(), DatapathError> {
        let hints = self.maps.hints.get::<Hints>(0).and_then(|mut hints| {
            hints.ports[ifindex as usize % HINTS] = port.index() as u8;
            self.maps.hints.set(0, &hints)
        });
        hints.map_err(|error| DatapathError::kernel("write map hints", error))
    }

    /// Address of an interface's `net_device`: a test run whose frame is "on" that interface makes the kernel put the
    /// device into the frame, where a program can read it.
    fn find_netdev(&self, ifindex: u32) -> Result<u64, DatapathError> {
        let input = TestInput {
            repeat: 1,
            ifindex,
            cb: [0; 5],
        };
        let run = sys::test_run(self.programs.find_netdev.as_fd(), &[0; 60], input)
            .map_err(|error| device_error("find the kernel's structure of", ifindex, error))?;
        let [low, high, ..] = run.cb;
        match u64::from(high) << 32 | u64::from(low) {
            0 => Err(DatapathError::NoInterface(ifindex)),
            netdev => Ok(netdev),
        }
    }
}

impl fmt::Debug for DataPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataPath")
            .field("pins", &self.pins)
            .field("front", &self.front)
            .finish_non_exhaustive()
    }
}

/// Pins what would otherwise go with its descriptor.
fn keep(attachment: &Attachment, pin: &Path) -> Result<(), DatapathError> {
    match attachment {
        Attachment::Link(link) => sys::pin(link.as_fd(), pin)
            .map_err(|error| DatapathError::kernel(format!("pin {}", pin.display()), error)),
        Attachment::Clsact { .. } => Ok(()),
    }
}

fn detach_filter(ifindex: u32, flags: u32) -> Result<(), DatapathError> {
    if flags & HOOK_CLSACT == 0 {
        return Ok(());
    }
    clsact::detach_ingress(ifindex, flags & QDISC_OURS != 0).map_err(|error| {
        DatapathError::kernel(format!("take the filter off interface {ifindex}"), error)
    })
}

fn device_error(what: &str, ifindex: u32, error: io::Error) -> DatapathError {
    match error.raw_os_error() {
        Some(libc::ENODEV) => DatapathError::NoInterface(ifindex),
        _ => DatapathError::kernel(format!("{what} interface {ifindex}"), error),
    }
}

/// The shape of a map by name, as the object defines it.
fn expected_shape(name: &str) -> MapShape {
    let array = |value_size: usize, max_entries: u32| MapShape {
        map_type: MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: value_size as u32,
        max_entries,
    };
    let per_cpu = |value_size, max_entries| MapShape {
        map_type: MAP_TYPE_PERCPU_ARRAY,
        ..array(value_size, max_entries)
    };
    let ring = |bytes| MapShape {
        map_type: MAP_TYPE_RINGBUF,
        key_size: 0,
        value_size: 0,
        max_entries: bytes,
    };
    match name {
        "control" => array(4, 1),
        "tables" => array(size_of::<Table>(), 2),
        "ports" => array(size_of::<Port>(), MAX_PORTS as u32),
        "port_counters" => per_cpu(size_of::<RawPortCounters>(), MAX_PORTS as u32),
        "bond_counters" => per_cpu(size_of::<RawBondCounters>(), 1),
        "loads" => per_cpu(size_of::<RawLoads>(), 2),
        "arrivals" => per_cpu(size_of::<RawArrivals>(), MAX_PORTS as u32),
        "standing" => array(size_of::<Standing>(), MAX_PORTS as u32),
        "hints" => array(size_of::<Hints>(), 1),
        "abi" => array(size_of::<Abi>(), 1),
        "left_records" => ring(LEFT_BYTES),
        _ => ring(TAPPED_BYTES),
    }
}
