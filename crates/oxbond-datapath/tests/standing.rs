//! The standing answer, byte for byte: a partner's LACPDU answered in the daemon's place, and every reason not to.
#![allow(clippy::unwrap_used, reason = "tests state their expectations so")]

mod common;

use std::time::Duration;

use anyhow::Result;
use common::{Stand, port, ports};
use oxbond_core::standing::{SPACING, StandingAnswer};
use oxbond_core::table::{Tap, TransmitTable};
use oxbond_core::time::Instant;
use oxbond_datapath::{DataPath, PinnedProgram, Record, TestInput};
use oxbond_lab::capture::{self, Capture};
use oxbond_lab::proc::wait_until;
use oxbond_wire::MacAddr;
use oxbond_wire::lacp::{Information, Lacpdu, State, VERSION};

const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

const SHOT: u32 = 2;
const REDIRECT: u32 = 7;

const SOON: Duration = oxbond_lab::machine::PATIENCE;

/// What we say of ourselves and of the partner.
const TOLD: Lacpdu = Lacpdu {
    version: VERSION,
    actor: Information {
        system_priority: 0xffff,
        system: OURS,
        key: 15,
        port_priority: 255,
        port: 1,
        state: State(0x3f),
    },
    partner: Information {
        system_priority: 0x8000,
        system: THEIRS,
        key: 0x1234,
        port_priority: 7,
        port: 0x0203,
        state: State(0x0c),
    },
    collector_max_delay: 0x0506,
};

/// What the partner says, in agreement.
fn heard() -> Lacpdu {
    Lacpdu {
        version: VERSION,
        actor: Information {
            state: State(0x3f),
            ..TOLD.partner
        },
        partner: TOLD.actor,
        collector_max_delay: 0,
    }
}

fn now() -> Instant {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Instant::from_nanos(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

/// The partner's silence is not waited for: the answer is due.
fn due() -> StandingAnswer {
    StandingAnswer {
        frame: TOLD.frame(OURS),
        from: Instant::from_nanos(1),
        until: now() + Duration::from_secs(60),
    }
}

fn table() -> TransmitTable {
    TransmitTable {
        tap: Tap {
            slow_protocols: true,
            ..Tap::default()
        },
        ..TransmitTable::failover(ports([0, 1]))
    }
}

/// What becomes of a frame that arrives on port 0.
fn run(path: &DataPath, ifindex: u32, frame: &[u8]) -> Result<(u32, Vec<u8>)> {
    let input = TestInput {
        repeat: 1,
        ifindex,
        cb: [0; 5],
    };
    let run = path.test_run(PinnedProgram::PortRx, frame, input)?;
    Ok((run.returned, run.frame))
}

#[test]
fn root_the_answer_tells_the_partner_of_itself_and_of_us() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    stand.host().run(|| {
        let mut path = stand.install(None, &table())?;
        let ifindex = stand.port_ifindex(0)?;
        let answered = |path: &DataPath| path.counters().unwrap().ports[0].1.lacp_answered;
        // With its flags as they are now, the partner finds itself understood: also one that has given us up already.
        for flags in [0x3f, 0x3d, 0x0f, 0x8f, 0x9d] {
            let mut pdu = heard();
            pdu.actor.state = State(flags);
            path.set_standing_answer(port(0), Some(&due()))?;
            let before = answered(&path);
            let (fate, answer) = run(&path, ifindex, &pdu.frame(THEIRS))?;
            assert_eq!(fate, REDIRECT, "{flags:x}");
            let mut wanted = TOLD;
            wanted.partner.state = State(flags);
            assert_eq!(Lacpdu::parse(&answer[14..])?, wanted);
            assert_eq!(answer, wanted.frame(OURS), "and nothing else");
            assert_eq!(answered(&path), before + 1);
        }
        // Other versions are longer.
        let mut long = heard().frame(THEIRS);
        long[15] = 2;
        long.resize(180, 0x77);
        path.set_standing_answer(port(0), Some(&due()))?;
        let (fate, answer) = run(&path, ifindex, &long)?;
        assert_eq!(fate, REDIRECT);
        let mut wanted = TOLD;
        wanted.partner.state = State(0x3f);
        assert_eq!(answer, wanted.frame(OURS));
        // The daemon sees each of them as it came.
        let seen = path.drain();
        assert_eq!(seen.len(), 6);
        for record in seen {
            let Record::Frame(tapped) = record else {
                panic!("{record:?}")
            };
            assert_eq!(tapped.frame[6..12], THEIRS.octets());
        }
        Ok(())
    })
}

#[test]
fn root_nobody_else_is_answered() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    stand.host().run(|| {
        let mut path = stand.install(None, &table())?;
        let ifindex = stand.port_ifindex(0)?;
        let silent = |path: &DataPath, what: &str, frame: &[u8]| {
            let (fate, after) = run(path, ifindex, frame).unwrap();
            assert_eq!((fate, &after[..]), (SHOT, frame), "{what}");
        };
        let good = heard().frame(THEIRS);
        silent(&path, "no answer stands", &good);
        let times = |from: Instant, until: Instant| StandingAnswer {
            from,
            until,
            ..due()
        };
        let second = Duration::from_secs(1);
        path.set_standing_answer(
            port(0),
            Some(&times(now() + 60 * second, now() + 90 * second)),
        )?;
        silent(&path, "the daemon is not late", &good);
        path.set_standing_answer(
            port(0),
            Some(&times(Instant::from_nanos(1), now() - second)),
        )?;
        silent(&path, "the daemon has been gone for too long", &good);
        path.set_standing_answer(port(1), Some(&due()))?;
        silent(&path, "another port's answer stands", &good);

        path.set_standing_answer(port(0), Some(&due()))?;
        // Every bit of who the partner is and who it thinks we are.
        for at in (18..32).chain(38..52) {
            for bit in 0..8 {
                let mut frame = good.clone();
                frame[at] ^= 1 << bit;
                silent(&path, &format!("bit {bit} of byte {at}"), &frame);
            }
        }
        let flags = |flags: u8| {
            let mut pdu = heard();
            pdu.actor.state = State(flags);
            pdu.frame(THEIRS)
        };
        silent(&path, "not in sync", &flags(0x37));
        silent(&path, "cannot aggregate any more", &flags(0x3b));
        for (at, what) in [
            (14, "no LACPDU"),
            (17, "actor's length"),
            (37, "partner's length"),
        ] {
            let mut frame = good.clone();
            frame[at] ^= 3;
            silent(&path, what, &frame);
        }
        for len in 14..124 {
            silent(&path, "cut short", &good[..len]);
        }

        // It stood all the while; and a storm is answered as often as the standard allows.
        assert_eq!(run(&path, ifindex, &good)?.0, REDIRECT);
        silent(&path, "answered just now", &good);
        path.set_standing_answer(port(0), None)?;
        silent(&path, "the answer is taken back", &good);
        Ok(())
    })
}

/// On a real link: the answer leaves where the PDU came from, as often as PDUs come.
#[test]
fn root_answers_leave_on_the_port() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    let middle = stand.rig.middle()?;
    let mut path = stand.host().run(|| stand.install(None, &table()))?;
    path.set_standing_answer(port(0), Some(&due()))?;
    let wire = Capture::start(middle, "sw0")?;
    let mut wanted = TOLD;
    wanted.partner.state = State(0x3f);
    let wanted = wanted.frame(OURS);
    let answers = |wire: &Capture| {
        let frames = wire.frames();
        let ours = frames.iter().filter(|f| !f.outgoing && f.data == wanted);
        ours.map(|frame| frame.at).collect::<Vec<_>>()
    };
    // A storm of 40 PDUs a second for 2 s.
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        capture::send(middle, "sw0", &heard().frame(THEIRS))?;
        std::thread::sleep(Duration::from_millis(25));
    }
    wire.wait_for(SOON, "an answer", |f| !f.outgoing && f.data == wanted)?;
    // Where this test was kept from sending, there was nothing to answer.
    let asked: Vec<Duration> = wire
        .frames()
        .iter()
        .filter(|frame| frame.outgoing)
        .map(|frame| frame.at)
        .collect();
    let turns = |spacing: Duration| {
        let mut turns: Vec<Duration> = Vec::new();
        for at in &asked {
            if turns.last().is_none_or(|last| *at - *last >= spacing) {
                turns.push(*at);
            }
        }
        turns.len()
    };
    let near = Duration::from_millis(20);
    let (least, most) = (turns(SPACING + near), turns(SPACING - near));
    wait_until(SOON, "every answer is seen", || {
        answers(&wire).len() >= least
    })?;
    let times = answers(&wire);
    assert!(
        least >= 2 && times.len() <= most,
        "{least} {most} {times:?}"
    );
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] >= SPACING - near, "{times:?}");
    }
    Ok(())
}
