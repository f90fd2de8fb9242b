//! One bond's data path as the daemon handles it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use aya::maps::{Map, MapData, RingBuf};
use oxbond_core::port::{MAX_PORTS, PortId};
use oxbond_core::table::{LINGER, TransmitTable};
use oxbond_core::time::Instant;

use crate::abi::{
    ABI_MAGIC, ABI_VERSION, Abi, HOOK_CLSACT, LEFT_DOWN, LEFT_GONE, LEFT_NO_CARRIER, Port,
    QDISC_OURS, RawBondCounters, RawLeftRecord, RawPortCounters, Table, from_bytes,
};
use crate::attach::{self, Attachment};
use crate::error::DatapathError;
use crate::load::Loaded;
use crate::pins::{Pins, unpin};
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

/// Why a program left a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftReason {
    /// The link went down.
    NoCarrier,
    /// The interface was set down.
    Down,
    /// The interface no longer exists, or not at the address known ([`DataPath::refresh_port`]).
    Gone,
}

/// A program left a port by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftRecord {
    /// When, by `CLOCK_MONOTONIC`.
    pub time: Instant,
    /// Which.
    pub port: PortId,
    /// Why.
    pub reason: LeftReason,
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
    ring: RingBuf<MapData>,
}

#[derive(Debug)]
struct Maps {
    control: ArrayMap,
    tables: ArrayMap,
    ports: ArrayMap,
    port_counters: ArrayMap,
    bond_counters: ArrayMap,
    abi: ArrayMap,
}

#[derive(Debug)]
struct Programs {
    bond_tx: OwnedFd,
    port_rx: OwnedFd,
    find_netdev: OwnedFd,
}

const MAP_NAMES: [&str; 7] = [
    "control",
    "tables",
    "ports",
    "port_counters",
    "bond_counters",
    "abi",
    "left_records",
];
const PROGRAM_NAMES: [&str; 3] = ["bond_tx", "port_rx", "find_netdev"];

/// Bytes of the ring buffer; one page, the least the kernel gives.
const RING_BYTES: u32 = 4096;

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
            abi,
            ring,
        ] = <[OwnedFd; 7]>::try_from(maps).map_err(|_few| few())?;
        let [bond_tx, port_rx, find_netdev] =
            <[OwnedFd; 3]>::try_from(programs).map_err(|_few| few())?;
        let ring = MapData::from_fd(ring).and_then(|data| RingBuf::try_from(Map::RingBuf(data)));
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
                abi: ArrayMap::new(abi),
            },
            programs: Programs {
                bond_tx,
                port_rx,
                find_netdev,
            },
            ring: ring.map_err(|error| DatapathError::Load(format!("ring buffer: {error}")))?,
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
            .map_err(|error| DatapathError::kernel("clear a port's counters", error))?;
        // Known to the programs before the first frame comes in, so that it is counted at the right place.
        self.write_port(
            port,
            Port {
                netdev,
                ifindex,
                flags: 0,
            },
        )?;
        let clsact_only = self.front_flags & CLSACT_ONLY != 0;
        let attached = attach::to_ingress(self.programs.port_rx.as_fd(), ifindex, clsact_only)
            .map_err(|error| device_error("attach the receive program to", ifindex, error))
            .and_then(|attachment| {
                let flags = attachment.flags();
                let kept = keep(&attachment, &self.pins.port_link(port)).and_then(|()| {
                    self.write_port(
                        port,
                        Port {
                            netdev,
                            ifindex,
                            flags,
                        },
                    )
                });
                if kept.is_err() {
                    // The error that counts is the first one.
                    let _ = unpin(&self.pins.port_link(port));
                    let _ = attachment.undo(ifindex);
                }
                kept
            });
        if attached.is_err() {
            self.write_port(port, Port::default())?;
        }
        attached
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
        attach::release(&self.pins.port_link(port))?;
        detach_filter(raw.ifindex, raw.flags)?;
        self.write_port(port, Port::default())
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
        self.maps
            .tables
            .set(spare, &wanted)
            .map_err(|error| DatapathError::kernel("write map tables", error))?;
        self.maps
            .control
            .set(0, &spare)
            .map_err(|error| DatapathError::kernel("write map control", error))?;
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

    /// Readable (poll, epoll) when [`Self::drain`] has something to give.
    pub fn ring_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// The ports that programs have left since the last call, oldest first. Full buffers lose records, never the fact:
    /// [`Self::left`] has it.
    pub fn drain(&mut self) -> Vec<LeftRecord> {
        let mut records = Vec::new();
        while let Some(item) = self.ring.next() {
            records.extend(from_bytes::<RawLeftRecord>(&item).and_then(LeftRecord::new));
        }
        records
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
            let raw = self.read_port(port)?;
            attach::release(&self.pins.port_link(port))?;
            detach_filter(raw.ifindex, raw.flags)?;
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

impl LeftRecord {
    /// `None` for what the programs never write.
    fn new(raw: RawLeftRecord) -> Option<Self> {
        Some(Self {
            time: Instant::from_nanos(raw.time_ns),
            port: u8::try_from(raw.port).ok().and_then(PortId::new)?,
            reason: match raw.reason {
                LEFT_NO_CARRIER => LeftReason::NoCarrier,
                LEFT_DOWN => LeftReason::Down,
                LEFT_GONE => LeftReason::Gone,
                _ => return None,
            },
        })
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
    match name {
        "control" => array(4, 1),
        "tables" => array(size_of::<Table>(), 2),
        "ports" => array(size_of::<Port>(), MAX_PORTS as u32),
        "port_counters" => per_cpu(size_of::<RawPortCounters>(), MAX_PORTS as u32),
        "bond_counters" => per_cpu(size_of::<RawBondCounters>(), 1),
        "abi" => array(size_of::<Abi>(), 1),
        _ => MapShape {
            map_type: MAP_TYPE_RINGBUF,
            key_size: 0,
            value_size: 0,
            max_entries: RING_BYTES,
        },
    }
}
