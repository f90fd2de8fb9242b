//! Thin safe wrappers over bpf(2): what aya does not do (netkit links, shapes of pinned maps, links by pin).
//!
//! The structures are the kernel's UAPI; a call passes only the length that it fills, which every kernel that has the
//! command accepts.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::abi::{Plain, bytes_of, from_bytes};

/// Where a program hangs in the kernel (`enum bpf_attach_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum AttachType {
    /// Minimum kernel version: 6.6.
    TcxIngress = 46,
    /// In the transmit of a netkit device. Minimum kernel version: 6.7.
    NetkitPrimary = 54,
}

/// What a link is (`enum bpf_link_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkKind {
    Tcx,
    Netkit,
    Other(u32),
}

/// What the kernel says of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkInfo {
    pub(crate) kind: LinkKind,
    /// 0 when the device is gone.
    pub(crate) ifindex: u32,
}

/// The shape of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapShape {
    pub(crate) map_type: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
}

/// What a test run gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// The program's return value.
    pub returned: u32,
    /// Mean nanoseconds of one run.
    pub nanoseconds: u32,
    /// `__sk_buff.cb` after the last run.
    pub cb: [u32; 5],
    /// The frame after the last run.
    pub frame: Vec<u8>,
}

/// What goes into a test run beside the frame.
#[derive(Clone, Copy, Debug)]
pub struct TestInput {
    /// How often to run.
    pub repeat: u32,
    /// `__sk_buff.ifindex`: the device the frame is on; 0 for the loopback.
    pub ifindex: u32,
    /// `__sk_buff.cb` before the first run.
    pub cb: [u32; 5],
}

pub(crate) const MAP_TYPE_ARRAY: u32 = 2;
pub(crate) const MAP_TYPE_PERCPU_ARRAY: u32 = 6;
pub(crate) const MAP_TYPE_RINGBUF: u32 = 27;

const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_DETACH: libc::c_long = 34;

/// More than any kernel's `__sk_buff` has (48 in 6.18).
const SK_BUFF_WORDS: usize = 128;

const BPF_LINK_TYPE_TCX: u32 = 11;
const BPF_LINK_TYPE_NETKIT: u32 = 13;

#[derive(Clone, Copy)]
#[repr(C)]
struct ElemAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct ObjAttr {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct TestRunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct LinkCreateAttr {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    pad: u32,
    expected_revision: u64,
}

/// `struct bpf_map_info`, its head.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct MapInfoHead {
    map_type: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

/// `struct bpf_link_info` with the part of tcx and netkit, which are alike.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct LinkInfoHead {
    link_type: u32,
    id: u32,
    prog_id: u32,
    pad: u32,
    ifindex: u32,
    attach_type: u32,
}

/// `struct __sk_buff` up to `ifindex` and `cb`. The kernel takes a shorter context than it knows.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct SkBuff {
    len: u32,
    pkt_type: u32,
    mark: u32,
    queue_mapping: u32,
    protocol: u32,
    vlan_present: u32,
    vlan_tci: u32,
    vlan_proto: u32,
    priority: u32,
    ingress_ifindex: u32,
    ifindex: u32,
    tc_index: u32,
    cb: [u32; 5],
}

// SAFETY: repr(C), only u32.
unsafe impl Plain for MapInfoHead {}
// SAFETY: repr(C), only u32.
unsafe impl Plain for LinkInfoHead {}

/// One bpf(2) call. The attributes may hold addresses, which is what makes this unsafe.
///
/// # Safety
///
/// `Attr` is the kernel's structure for `command` without implicit padding, and its addresses point to memory of the
/// lengths that the command reads and writes, which nobody else uses during the call.
unsafe fn bpf<Attr>(command: libc::c_long, attr: &mut Attr) -> io::Result<i32> {
    // SAFETY: as this function requires; the size tells the kernel how far `attr` reaches.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attr),
            size_of::<Attr>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as i32)
    }
}

fn address<T: ?Sized>(value: &T) -> u64 {
    std::ptr::from_ref(value).cast::<u8>() as usize as u64
}

fn address_mut<T: ?Sized>(value: &mut T) -> u64 {
    std::ptr::from_mut(value).cast::<u8>() as usize as u64
}

fn fd_number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

/// Pins a map, program or link. The directory must be on a bpffs.
pub(crate) fn pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjAttr {
        pathname: address(name.as_bytes_with_nul()),
        bpf_fd: fd_number(fd),
        file_flags: 0,
    };
    // SAFETY: BPF_OBJ_PIN reads a terminated string at `pathname`, which `name` keeps alive.
    unsafe { bpf(BPF_OBJ_PIN, &mut attr) }.map(drop)
}

/// Opens a pinned map, program or link.
pub(crate) fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjAttr {
        pathname: address(name.as_bytes_with_nul()),
        bpf_fd: 0,
        file_flags: 0,
    };
    // SAFETY: BPF_OBJ_GET reads a terminated string at `pathname`, which `name` keeps alive.
    let fd = unsafe { bpf(BPF_OBJ_GET, &mut attr) }?;
    // SAFETY: the call returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a program to a device through a link; the link lives as long as the descriptor or a pin of it.
pub(crate) fn link_create(
    program: BorrowedFd<'_>,
    ifindex: u32,
    attach_type: AttachType,
) -> io::Result<OwnedFd> {
    let mut attr = LinkCreateAttr {
        prog_fd: fd_number(program),
        target_ifindex: ifindex,
        attach_type: attach_type as u32,
        flags: 0,
        relative_fd: 0,
        pad: 0,
        expected_revision: 0,
    };
    // SAFETY: BPF_LINK_CREATE for these types reads no memory beyond the attributes.
    let fd = unsafe { bpf(BPF_LINK_CREATE, &mut attr) }?;
    // SAFETY: the call returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[derive(Clone, Copy)]
#[repr(C)]
struct LinkDetachAttr {
    link_fd: u32,
}

/// Takes a link's program off its device now, and not some time after the last descriptor and pin have gone.
pub(crate) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkDetachAttr {
        link_fd: fd_number(link),
    };
    // SAFETY: BPF_LINK_DETACH reads no memory beyond the attributes.
    unsafe { bpf(BPF_LINK_DETACH, &mut attr) }.map(drop)
}

/// What a link is and on which device.
pub(crate) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let head: LinkInfoHead = info(link)?;
    let kind = match head.link_type {
        BPF_LINK_TYPE_TCX => LinkKind::Tcx,
        BPF_LINK_TYPE_NETKIT => LinkKind::Netkit,
        other => LinkKind::Other(other),
    };
    Ok(LinkInfo {
        kind,
        ifindex: head.ifindex,
    })
}

/// The shape of a map.
pub(crate) fn map_shape(map: BorrowedFd<'_>) -> io::Result<MapShape> {
    let head: MapInfoHead = info(map)?;
    Ok(MapShape {
        map_type: head.map_type,
        key_size: head.key_size,
        value_size: head.value_size,
        max_entries: head.max_entries,
    })
}

fn info<T: Plain + Default>(fd: BorrowedFd<'_>) -> io::Result<T> {
    let mut value = T::default();
    let mut attr = InfoAttr {
        bpf_fd: fd_number(fd),
        info_len: size_of::<T>() as u32,
        info: address_mut(&mut value),
    };
    // SAFETY: the kernel writes at most `info_len` bytes at `info`, which is `value`; any bytes are a valid `T`.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(value)
}

/// A map whose keys are the indices of an array.
#[derive(Debug)]
pub(crate) struct ArrayMap(OwnedFd);

impl ArrayMap {
    /// Takes a descriptor whose shape the caller has checked: keys of four bytes.
    pub(crate) const fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// The element at an index.
    pub(crate) fn get<T: Plain>(&self, index: u32) -> io::Result<T> {
        self.read(index, size_of::<T>())
            .and_then(|bytes| from_bytes(&bytes).ok_or_else(|| io::ErrorKind::InvalidData.into()))
    }

    /// Replaces the element at an index. Readers in the kernel may see a part of the old and a part of the new.
    pub(crate) fn set<T: Plain>(&self, index: u32, value: &T) -> io::Result<()> {
        self.write(index, bytes_of(value))
    }

    /// Every CPU's element at an index of a per-CPU array.
    pub(crate) fn get_per_cpu<T: Plain>(&self, index: u32) -> io::Result<Vec<T>> {
        let stride = size_of::<T>().next_multiple_of(8);
        let bytes = self.read(index, stride * possible_cpus()?)?;
        Ok(bytes.chunks_exact(stride).filter_map(from_bytes).collect())
    }

    /// Zeroes every CPU's element at an index of a per-CPU array.
    pub(crate) fn clear_per_cpu<T: Plain>(&self, index: u32) -> io::Result<()> {
        self.write(
            index,
            &vec![0; size_of::<T>().next_multiple_of(8) * possible_cpus()?],
        )
    }

    fn read(&self, index: u32, len: usize) -> io::Result<Vec<u8>> {
        let mut value = vec![0_u8; len];
        let mut attr = ElemAttr {
            map_fd: fd_number(self.0.as_fd()),
            pad: 0,
            key: address(&index),
            value: address_mut(value.as_mut_slice()),
            flags: 0,
        };
        // SAFETY: the key is four bytes (see `new`), and `value` has the map's value size: the callers' types are those
        // that the shapes of the maps were checked against.
        unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut attr) }?;
        Ok(value)
    }

    fn write(&self, index: u32, value: &[u8]) -> io::Result<()> {
        let mut attr = ElemAttr {
            map_fd: fd_number(self.0.as_fd()),
            pad: 0,
            key: address(&index),
            value: address(value),
            flags: 0,
        };
        // SAFETY: as in `read`; the kernel only reads here.
        unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut attr) }.map(drop)
    }
}

impl AsFd for ArrayMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Runs a traffic-control program on a frame without a network. Minimum kernel version: 5.9 (for `ifindex`).
///
/// `frame` starts at the destination address and has at least 14 bytes, else EINVAL.
pub(crate) fn test_run(
    program: BorrowedFd<'_>,
    frame: &[u8],
    input: TestInput,
) -> io::Result<TestRun> {
    let context = SkBuff {
        ifindex: input.ifindex,
        cb: input.cb,
        ..SkBuff::default()
    };
    // The kernel refuses to write less than the whole of its own structure.
    let mut after = [0_u32; SK_BUFF_WORDS];
    let mut changed = vec![0_u8; frame.len()];
    let mut attr = TestRunAttr {
        prog_fd: fd_number(program),
        retval: 0,
        data_size_in: frame.len() as u32,
        data_size_out: changed.len() as u32,
        data_in: address(frame),
        data_out: address_mut(changed.as_mut_slice()),
        repeat: input.repeat,
        duration: 0,
        ctx_size_in: size_of::<SkBuff>() as u32,
        ctx_size_out: size_of_val(&after) as u32,
        ctx_in: address(&context),
        ctx_out: address_mut(&mut after),
    };
    // SAFETY: every address is that of a live local or of `frame`, with its length beside it.
    unsafe { bpf(BPF_PROG_TEST_RUN, &mut attr) }?;
    Ok(TestRun {
        returned: attr.retval,
        nanoseconds: attr.duration,
        cb: control_block(&after),
        frame: {
            changed.truncate(attr.data_size_out as usize);
            changed
        },
    })
}

/// `__sk_buff.cb` out of the whole structure.
fn control_block(words: &[u32; SK_BUFF_WORDS]) -> [u32; 5] {
    const CB: usize = std::mem::offset_of!(SkBuff, cb) / 4;
    std::array::from_fn(|index| words[CB + index])
}

/// CPUs that the machine may ever have: as many elements has a per-CPU value.
fn possible_cpus() -> io::Result<usize> {
    let text = fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = text
        .trim()
        .rsplit([',', '-'])
        .next()
        .and_then(|last| last.parse::<usize>().ok());
    last.map(|last| last + 1)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}
/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of `bpf_ktime_get_ns`.
pub(crate) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` outlives the call, which cannot fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// A descriptor that is readable when one of these is. They must outlive it.
pub(crate) fn epoll_of(watched: &[BorrowedFd<'_>]) -> io::Result<OwnedFd> {
    // SAFETY: takes no address.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if epoll < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call returned a new descriptor that nobody else owns.
    let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
    for fd in watched {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: 0,
        };
        // SAFETY: `event` outlives the call; both descriptors are open.
        let added = unsafe {
            libc::epoll_ctl(
                epoll.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                fd.as_raw_fd(),
                &raw mut event,
            )
        };
        if added < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(epoll)
}
