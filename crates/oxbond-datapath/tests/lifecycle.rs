//! Installing, adopting, removing; what is refused; what stays out of our hands.
#![allow(clippy::unwrap_used, reason = "tests state their expectations so")]

mod common;

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use common::{Stand, best_hook, departures, ifindex, port, ports};
use oxbond_core::table::{LINGER, Receive, TransmitTable};
use oxbond_datapath::{DataPath, DatapathError, Hook, LeftReason, PinnedProgram, TestInput};
use oxbond_lab::capture;
use oxbond_lab::netns::Namespace;
use oxbond_lab::proc::wait_until;

/// What the receive program answers.
const REDIRECTED: u32 = 7;
const DROPPED: u32 = 2;

const SOON: Duration = oxbond_lab::machine::PATIENCE;

fn both() -> TransmitTable {
    TransmitTable::failover(ports([0, 1]))
}

#[test]
fn root_adopting_changes_nothing() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    stand.host().run(|| -> Result<()> {
        let first = stand.install(None, &both())?;
        let before = (
            first.front(),
            first.hooks()?,
            first.ports()?,
            first.table()?,
            first.counters()?,
        );
        drop(first);
        let mut second = stand.adopt()?;
        assert_eq!(
            before,
            (
                second.front(),
                second.hooks()?,
                second.ports()?,
                second.table()?,
                second.counters()?
            )
        );
        assert!(!second.set_table(&both())?, "the same table is not written");
        assert!(
            !second.refresh_port(port(0))?,
            "the same device is not written"
        );
        assert_eq!(second.drain(), []);
        Ok(())
    })
}

#[test]
fn root_nothing_stays_behind() -> Result<()> {
    for hook in [None, Some(Hook::Clsact)] {
        let stand = Stand::new(&["p0", "p1"])?;
        let host = stand.host();
        host.run(|| -> Result<()> {
            let mut path = stand.install(hook, &both())?;
            path.detach_port(port(1))?;
            assert_eq!(path.ports()?, [(port(0), stand.port_ifindex(0)?)]);
            assert!(!host.execute("tc", "qdisc show dev p1")?.contains("clsact"));
            Ok(path.remove()?)
        })?;
        assert!(!stand.bpffs.dir().exists());
        for device in ["p0", "p1", "inner0"] {
            assert!(
                !host
                    .execute("tc", &format!("qdisc show dev {device}"))?
                    .contains("clsact"),
                "{device}"
            );
        }
        // With no program at the inner end, what the bond sends ends there.
        let traffic = stand.traffic().run(Duration::from_millis(100))?;
        assert_eq!(traffic.there.received, 0);
        // The place is free again.
        host.run(|| stand.install(hook, &both()).map(drop))?;
    }
    Ok(())
}

#[test]
fn root_a_port_that_receives_nothing_here_is_sent_on_as_before() -> Result<()> {
    for hook in [None, Some(Hook::Clsact)] {
        let stand = Stand::new(&["p0", "p1"])?;
        let host = stand.host();
        let counters = || host.run(|| Ok::<_, anyhow::Error>(stand.adopt()?.counters()?.ports));
        let traffic = || stand.traffic().run(Duration::from_millis(100));
        host.run(|| stand.install(hook, &both()).map(drop))?;
        // The two know each other's addresses from here on.
        assert_eq!(traffic()?.lost(), 0);
        host.run(|| -> Result<()> {
            let mut path = stand.adopt()?;
            path.set_receiving(port(0), false)?;
            assert_eq!(path.hooks()?.ports[0], (port(0), None));
            Ok(path.set_receiving(port(0), false)?)
        })?;
        // The kernels at both ends say things of their own until here.
        let before = counters()?;
        let there = traffic()?.there;
        assert_eq!(there.received, there.sent);
        let after = counters()?;
        assert_eq!(after[0].1.rx_packets, before[0].1.rx_packets);
        assert!(after[0].1.tx_packets >= before[0].1.tx_packets + there.sent);
        assert_eq!(after[1].1.tx_packets, before[1].1.tx_packets);

        host.run(|| -> Result<()> {
            let mut path = stand.adopt()?;
            path.set_receiving(port(0), true)?;
            path.set_receiving(port(0), true)?;
            let (_, hook_now) = path.hooks()?.ports[0];
            assert_eq!(hook_now, Some(hook.unwrap_or_else(best_hook)));
            Ok(())
        })?;
        assert_eq!(traffic()?.lost(), 0);
        assert!(counters()?[0].1.rx_packets > after[0].1.rx_packets);
        host.run(|| -> Result<()> {
            let mut path = stand.adopt()?;
            path.set_receiving(port(0), false)?;
            path.detach_port(port(0))?;
            let refused = path.set_receiving(port(0), true);
            assert!(matches!(refused, Err(DatapathError::Contract(_))));
            Ok(path.remove()?)
        })?;
    }
    Ok(())
}

#[test]
fn root_clsact_of_others_stays() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    let host = stand.host();
    host.execute("tc", "qdisc add dev p0 clsact")?;
    host.run(|| -> Result<()> {
        let path = stand.install(Some(Hook::Clsact), &both())?;
        host.execute(
            "tc",
            "filter add dev p1 egress prio 7 protocol all u32 match u32 0 0 classid 1:1",
        )?;
        let shown = host.execute("tc", "filter show dev p1 ingress")?;
        assert!(
            shown.contains("oxbond") && shown.contains("direct-action"),
            "{shown}"
        );
        Ok(path.remove()?)
    })?;
    assert!(
        host.execute("tc", "qdisc show dev p0")?.contains("clsact"),
        "made by somebody else"
    );
    assert!(
        host.execute("tc", "qdisc show dev p1")?.contains("clsact"),
        "used by somebody else"
    );
    assert!(
        host.execute("tc", "filter show dev p1 egress")?
            .contains("pref 7")
    );
    assert!(
        !host
            .execute("tc", "filter show dev p1 ingress")?
            .contains("oxbond")
    );
    assert!(
        !host
            .execute("tc", "qdisc show dev inner0")?
            .contains("clsact")
    );
    Ok(())
}

#[test]
fn root_tcx_programs_of_others_stay() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    stand.host().run(|| -> Result<()> {
        let foreign = match foreign_tcx(stand.port_ifindex(0)?) {
            Err(error) if best_hook() == Hook::Clsact => {
                assert_eq!(
                    error.downcast::<io::Error>()?.raw_os_error(),
                    Some(libc::EINVAL),
                    "no tcx, no foreign tcx"
                );
                return Ok(());
            }
            other => other?,
        };
        let path = stand.install(None, &both())?;
        let traffic = stand.traffic().run(Duration::from_millis(200))?;
        assert_eq!(traffic.lost(), 0, "{traffic:?}");
        path.remove()?;
        let mut info = fs::read_to_string(format!("/proc/self/fdinfo/{}", foreign.as_raw_fd()))?;
        info.retain(|letter| !letter.is_whitespace());
        assert!(
            info.contains(&format!("ifindex:{}", stand.port_ifindex(0)?)),
            "still attached: {info}"
        );
        Ok(())
    })
}

#[test]
fn root_what_cannot_be_adopted_is_named() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    let dir = stand.bpffs.dir();
    stand.host().run(|| -> Result<()> {
        assert!(matches!(DataPath::adopt(&dir), Err(DatapathError::NotInstalled(_))));
        drop(stand.install(None, &both())?);
        assert!(matches!(DataPath::install(&dir, stand.front), Err(DatapathError::AlreadyInstalled(_))));

        let swap = |one: &str, other: &str| -> Result<()> {
            let (one, other, aside) = (dir.join(one), dir.join(other), dir.join("maps/aside"));
            fs::rename(&one, &aside)?;
            fs::rename(&other, &one)?;
            Ok(fs::rename(&aside, &other)?)
        };
        swap("maps/ports", "maps/tables")?;
        let error = DataPath::adopt(&dir).unwrap_err();
        assert!(matches!(&error, DatapathError::AbiMismatch { path, .. } if path.ends_with("maps/tables")), "{error}");
        swap("maps/ports", "maps/tables")?;
        drop(DataPath::adopt(&dir)?);

        fs::remove_file(dir.join("programs/port_rx"))?;
        let error = DataPath::adopt(&dir).unwrap_err();
        assert!(error.to_string().contains("programs/port_rx"), "{error}");
        DataPath::wipe(&dir)?;
        assert!(!dir.exists());
        Ok(())
    })
}

#[test]
fn root_refusals_leave_nothing() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    let dir = stand.bpffs.dir();
    stand.host().run(|| -> Result<()> {
        let elsewhere =
            std::env::temp_dir().join(format!("oxbond-no-bpffs-{}", std::process::id()));
        assert!(matches!(
            DataPath::install(&elsewhere, stand.front),
            Err(DatapathError::NotBpffs(_))
        ));
        assert!(!elsewhere.exists());

        let no_such = oxbond_datapath::Front {
            inner_ifindex: 4_000_000,
            ..stand.front
        };
        assert!(matches!(
            DataPath::install(&dir, no_such),
            Err(DatapathError::NoInterface(4_000_000))
        ));
        assert!(!dir.exists());

        let mut path = stand.install(None, &both())?;
        assert!(matches!(
            path.attach_port(port(2), 4_000_000),
            Err(DatapathError::NoInterface(4_000_000))
        ));
        let p0 = stand.port_ifindex(0)?;
        assert!(matches!(
            path.attach_port(port(2), p0),
            Err(DatapathError::Contract(_))
        ));
        assert!(matches!(
            path.attach_port(port(0), stand.front.bond_ifindex),
            Err(DatapathError::Contract(_))
        ));
        assert!(matches!(
            path.detach_port(port(2)),
            Err(DatapathError::Contract(_))
        ));
        let twice = TransmitTable::failover(ports([0, 0]));
        assert!(matches!(
            path.set_table(&twice),
            Err(DatapathError::Contract(_))
        ));
        assert_eq!(path.table()?, both());
        assert_eq!(path.ports()?.len(), 2);
        Ok(())
    })
}

#[test]
fn root_the_documented_capabilities_suffice() -> Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
    let stand = Stand::new(&["p0", "p1"])?;
    let indices = [stand.port_ifindex(0)?, stand.port_ifindex(1)?];
    stand.host().run(|| -> Result<()> {
        let only = |effective| -> Result<()> {
            Ok(set_capabilities(
                None,
                CapabilitySets {
                    effective,
                    ..capabilities(None)?
                },
            )?)
        };
        let serving = CapabilitySet::BPF | CapabilitySet::NET_ADMIN;
        only(serving | CapabilitySet::PERFMON)?;
        drop(DataPath::install(&stand.bpffs.dir(), stand.front)?);
        only(serving)?;
        let mut path = stand.adopt()?;
        for index in [0, 1] {
            path.attach_port(port(index), indices[index])?;
        }
        path.set_table(&both())?;
        path.refresh_port(port(0))?;
        path.counters()?;
        path.hooks()?;
        path.detach_port(port(1))?;
        Ok(path.remove()?)
    })
}

#[test]
fn root_an_inactive_port_keeps_only_control_frames() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    let middle = stand.rig.middle()?;
    stand
        .host()
        .run(|| stand.install(None, &both()).map(drop))?;
    let lldp: &[u8] = b"\x01\x80\xc2\x00\x00\x0e\x02\x00\x00\x00\x00\x01\x88\xcc__________________________________________________";
    let nearest_bridge_range = b"\x01\x80\xc2\x00\x00\x10\x02\x00\x00\x00\x00\x01\x88\xcc______________________________________________";
    let data = b"\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x88\xcc__________________________________________________";
    let counters = |index: usize| -> Result<_> {
        stand
            .host()
            .run(|| Ok(stand.adopt()?.counters()?.ports[index].1))
    };

    let on_port = LldpSocket::open(stand.host(), "p1")?;
    let on_bond = LldpSocket::open(stand.host(), "bond0")?;
    for frame in [&data[..], nearest_bridge_range, lldp] {
        capture::send(middle, "sw1", frame)?;
    }
    wait_until(SOON, "the backup port's stack has the LLDP frame", || {
        on_port.received() == Some(lldp.to_vec())
    })?;
    assert_eq!(on_port.received(), None, "and nothing else");
    assert_eq!(on_bond.received(), None);
    assert!(counters(1)?.rx_inactive >= 2);
    let rx_before = counters(1)?.rx_packets;

    // On the active port everything is the bond's.
    let on_active = LldpSocket::open(stand.host(), "p0")?;
    capture::send(middle, "sw0", lldp)?;
    wait_until(SOON, "the bond has the LLDP frame", || {
        on_bond.received() == Some(lldp.to_vec())
    })?;
    assert_eq!(on_active.received(), None);

    stand.host().run(|| {
        stand
            .adopt()?
            .set_table(&TransmitTable {
                receive: Receive::Ports(ports([0, 1])),
                ..TransmitTable::failover(ports([0, 1]))
            })
            .map_err(anyhow::Error::from)
    })?;
    capture::send(middle, "sw1", data)?;
    wait_until(SOON, "the bond has the backup's frame", || {
        on_bond.received() == Some(data.to_vec())
    })?;
    assert!(counters(1)?.rx_packets > rx_before);
    Ok(())
}

#[test]
fn root_the_port_used_before_delivers_for_a_moment() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    let (unicast, multicast) = ([0x02; 64], [0x03; 64]);
    let lingering = TransmitTable {
        linger: Some(port(0)),
        ..TransmitTable::failover(ports([1, 0]))
    };
    stand.host().run(|| -> Result<()> {
        let mut path = stand.install(None, &both())?;
        let input = TestInput {
            repeat: 1,
            ifindex: stand.port_ifindex(0)?,
            cb: [0; 5],
        };
        let arrive = |path: &DataPath, frame: &[u8]| -> Result<u32> {
            Ok(path.test_run(PinnedProgram::PortRx, frame, input)?.returned)
        };
        let mut begun = Instant::now();
        wait_until(SOON, "a run falls into the time of grace", || {
            // The table is new each time, so the grace begins anew.
            path.set_table(&both()).unwrap();
            assert!(path.set_table(&lingering).unwrap());
            begun = Instant::now();
            assert_eq!(arrive(&path, &multicast).unwrap(), DROPPED);
            arrive(&path, &unicast).unwrap() == REDIRECTED
        })?;
        assert_eq!(path.table()?, lingering);
        assert!(
            !path.set_table(&lingering)?,
            "nothing to write, so the grace is not prolonged"
        );
        // However long a run takes, it has not begun later.
        let mut last = begun;
        wait_until(SOON, "the grace ends", || {
            let run = Instant::now();
            let ended = arrive(&path, &unicast).unwrap() == DROPPED;
            if !ended {
                last = run;
            }
            ended
        })?;
        let grace = last - begun;
        assert!(grace <= LINGER, "{grace:?}");
        Ok(())
    })
}

#[test]
fn root_what_was_under_way_when_the_link_died_is_delivered() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    let mut path = stand.host().run(|| stand.install(None, &both()))?;
    let ifindexes = [stand.port_ifindex(0)?, stand.port_ifindex(1)?];
    let arrive = |path: &DataPath, index: usize, frame: &[u8]| -> Result<u32> {
        let input = TestInput {
            repeat: 1,
            ifindex: ifindexes[index],
            cb: [0; 5],
        };
        Ok(path.test_run(PinnedProgram::PortRx, frame, input)?.returned)
    };
    // A run takes place in the network namespace of its caller.
    stand.host().run(|| -> Result<()> {
        assert_eq!(arrive(&path, 0, &[0x02; 64])?, REDIRECTED);
        assert_eq!(arrive(&path, 1, &[0x02; 64])?, DROPPED);
        stand.rig.cut(0)?;
        let mut begun = Instant::now();
        wait_until(SOON, "a run falls into the time of grace", || {
            // Another table in between: the port is left anew.
            path.set_table(&TransmitTable::failover(ports([1, 0])))
                .unwrap();
            begun = Instant::now();
            path.set_table(&both()).unwrap();
            let other = arrive(&path, 1, &[0x03; 64]).unwrap();
            assert_eq!(other, REDIRECTED, "the other port takes over");
            assert_eq!(path.left().unwrap(), port(0).bit());
            assert_eq!(
                arrive(&path, 0, &[0x03; 64]).unwrap(),
                DROPPED,
                "to a group, so it comes on the other port too"
            );
            arrive(&path, 0, &[0x02; 64]).unwrap() == REDIRECTED
        })?;
        wait_until(SOON, "the grace ends", || {
            arrive(&path, 0, &[0x02; 64]).unwrap() == DROPPED
        })?;
        let grace = begun.elapsed();
        assert!(grace >= LINGER, "{grace:?}");
        Ok(())
    })
}

#[test]
fn root_a_vanished_port_is_left_and_another_can_take_its_place() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    let host = stand.host();
    host.run(|| stand.install(None, &both()).map(drop))?;
    let meter = stand.traffic().start()?;
    meter.wait_flowing(100, SOON)?;
    host.ip("link del p0")?;
    meter.wait_flowing(100, SOON)?;
    drop(meter);
    host.run(|| -> Result<()> {
        let mut path = stand.adopt()?;
        assert_eq!(path.left()?, port(0).bit());
        let reasons: Vec<_> = departures(&mut path)
            .iter()
            .map(|record| record.reason)
            .collect();
        assert!(
            matches!(
                reasons[..],
                [LeftReason::Down | LeftReason::Gone | LeftReason::NoCarrier]
            ),
            "{reasons:?}"
        );
        assert_eq!(
            path.hooks()?.ports[0],
            (port(0), None),
            "the hook went with the device"
        );
        assert!(matches!(
            path.refresh_port(port(0)),
            Err(DatapathError::NoInterface(_))
        ));
        path.set_table(&TransmitTable::failover(ports([1])))?;
        path.detach_port(port(0))?;

        host.ip("link add p0 type veth peer name q0")?;
        path.attach_port(port(0), ifindex(host, "p0")?)?;
        assert_eq!(path.counters()?.ports[0].1, Default::default());
        path.set_table(&both())?;
        // Down and without carrier: passed over at once.
        path.test_run(
            PinnedProgram::BondTx,
            &[0; 64],
            TestInput {
                repeat: 1,
                ifindex: 0,
                cb: [0; 5],
            },
        )?;
        assert_eq!(path.left()?, port(0).bit());
        Ok(path.remove()?)
    })
}

#[test]
fn root_a_port_set_down_by_hand_is_left() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    stand
        .host()
        .run(|| stand.install(None, &both()).map(drop))?;
    let meter = stand.traffic().start()?;
    meter.wait_flowing(100, SOON)?;
    stand.host().set_link("p0", false)?;
    meter.wait_flowing(100, SOON)?;
    let report = meter.stop(Duration::from_secs(2))?;
    assert_eq!(report.there.lost, 0, "{report:?}");
    stand.host().run(|| -> Result<()> {
        let records = departures(&mut stand.adopt()?);
        assert_eq!(
            records.iter().map(|record| record.port).collect::<Vec<_>>(),
            [port(0)]
        );
        Ok(())
    })
}

#[test]
fn root_records_wake_the_daemon() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    let mut path = stand.host().run(|| stand.install(None, &both()))?;
    assert!(!readable(&path, Duration::ZERO)?);
    let _traffic = stand.traffic().start()?;
    stand.rig.cut(0)?;
    assert!(readable(&path, SOON)?);
    let records = departures(&mut path);
    assert_eq!(records.len(), 1);
    assert!(!readable(&path, Duration::ZERO)?, "once told, it is quiet");
    Ok(())
}

fn readable(path: &DataPath, patience: Duration) -> Result<bool> {
    let fd = path.ring_fd();
    let mut fds = [rustix::event::PollFd::new(
        &fd,
        rustix::event::PollFlags::IN,
    )];
    Ok(rustix::event::poll(&mut fds, Some(&patience.try_into()?))? == 1)
}

/// A packet socket for LLDP on one interface. Bound to its EtherType, it stands behind the traffic-control hook.
struct LldpSocket(OwnedFd);

impl LldpSocket {
    fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        let index = ifindex(namespace, interface)?;
        namespace.run(|| {
            let protocol = 0x88cc_u16.to_be();
            let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            // SAFETY: no pointers.
            let fd = unsafe { libc::socket(libc::AF_PACKET, kind, i32::from(protocol)) };
            anyhow::ensure!(fd >= 0, io::Error::last_os_error());
            // SAFETY: a new descriptor that nobody else owns.
            let socket = Self(unsafe { OwnedFd::from_raw_fd(fd) });
            // SAFETY: plain data for which zero is a value.
            let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = protocol;
            address.sll_ifindex = index as i32;
            // SAFETY: the address and its length.
            let bound = unsafe {
                libc::bind(
                    fd,
                    (&raw const address).cast(),
                    size_of_val(&address) as u32,
                )
            };
            anyhow::ensure!(bound == 0, io::Error::last_os_error());
            Ok(socket)
        })
    }

    fn received(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 2048];
        // SAFETY: the buffer and its length.
        let got = unsafe {
            libc::recv(
                self.0.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
            )
        };
        buffer.truncate(usize::try_from(got).ok()?);
        Some(buffer)
    }
}

/// Somebody else's program on tcx ingress that passes everything on.
fn foreign_tcx(ifindex: u32) -> Result<OwnedFd> {
    // r0 = -1 (TCX_NEXT); exit
    let instructions: [u64; 2] = [0xffff_ffff_0000_00b7, 0x95];
    let license = c"GPL";
    // BPF_PROG_LOAD: type SCHED_CLS, number of instructions, their address, the license's address.
    let mut load = [0_u64; 16];
    load[0] = 3 | (instructions.len() as u64) << 32;
    load[1] = instructions.as_ptr() as u64;
    load[2] = license.as_ptr() as u64;
    // SAFETY: the attributes and their size; the addresses in them outlive the call.
    let program = unsafe { libc::syscall(libc::SYS_bpf, 5, load.as_mut_ptr(), size_of_val(&load)) };
    anyhow::ensure!(program >= 0, io::Error::last_os_error());
    // SAFETY: a new descriptor that nobody else owns.
    let program = unsafe { OwnedFd::from_raw_fd(program as i32) };
    // BPF_LINK_CREATE: program, interface, BPF_TCX_INGRESS.
    let mut create = [program.as_raw_fd() as u32, ifindex, 46, 0];
    // SAFETY: the attributes and their size.
    let link =
        unsafe { libc::syscall(libc::SYS_bpf, 28, create.as_mut_ptr(), size_of_val(&create)) };
    anyhow::ensure!(link >= 0, io::Error::last_os_error());
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(link as i32) })
}

#[test]
fn wiping_nothing_is_no_error() -> Result<()> {
    Ok(DataPath::wipe(Path::new("/nonexistent/oxbond"))?)
}
