//! What the data path may say in our place, and machines that nobody called for a while.

use core::time::Duration;

use oxbond_core::lacp::{Config, Joining, Lacp, Output};
use oxbond_core::standing::{GRACE, LONGEST, StandingAnswer};
use oxbond_core::time::Instant;
use oxbond_wire::MacAddr;
use oxbond_wire::lacp::{Lacpdu, State};

use crate::rig::{DOWN, FULL, Rig, UP, at, config, fast, id, mac};

/// What a standing answer says.
fn said(rig: &Rig, index: u8) -> Lacpdu {
    let frame = &rig.standing[&id(index)].frame;
    assert_eq!(frame.len(), 124);
    assert_eq!(frame[6..12], mac(index).octets());
    Lacpdu::parse(&frame[14..]).unwrap()
}

#[test]
fn a_port_has_an_answer_exactly_while_it_distributes_with_a_partner() {
    let mut rig = Rig::new(fast(), 2);
    rig.run(10_000);
    assert!(rig.standing.is_empty(), "nobody to answer");
    rig.hear(0, |pdu| {
        pdu.actor.state = pdu.actor.state.with(State::SYNC, false);
    });
    assert!(rig.standing.is_empty(), "nothing agreed");
    rig.agree(&[0, 1]);
    for index in 0..2 {
        let pdu = said(&rig, index);
        assert_eq!(pdu, *rig.sent_on(index).last().unwrap(), "as last sent");
        assert!(pdu.actor.state.has(State::DISTRIBUTING | State::SYNC));
        assert_eq!(rig.port(index).partner, pdu.partner.into());
    }
    rig.hear(0, |pdu| {
        pdu.actor.state = pdu.actor.state.with(State::SYNC, false);
    });
    assert!(!rig.standing.contains_key(&id(0)), "it wants to leave");
    rig.link(1, DOWN);
    assert!(rig.standing.is_empty());
    rig.link(1, UP);
    rig.agree(&[0, 1]);
    rig.lacp.drain(rig.now, id(0));
    rig.drain();
    assert!(!rig.standing.contains_key(&id(0)), "we want to leave");
    rig.lacp.remove_port(rig.now, id(1));
    rig.drain();
    assert!(rig.standing.is_empty());
}

#[test]
fn every_pdu_renews_the_answer() {
    let mut rig = Rig::new(fast(), 1);
    let wants_fast = FULL | State::TIMEOUT;
    rig.agree(&[0]);
    rig.hear(0, |pdu| pdu.actor.state = wants_fast);
    for _ in 0..10 {
        rig.run(1_000);
        rig.hear(0, |pdu| pdu.actor.state = wants_fast);
        let (sent, _, _) = *rig.sent.last().unwrap();
        let answer = &rig.standing[&id(0)];
        assert_eq!(answer.from, sent + Duration::from_secs(1) + GRACE);
        assert_eq!(answer.until, sent + LONGEST);
    }
    // A partner that changes who it is is told so by the next answer, too.
    rig.hear(0, |pdu| {
        pdu.actor.state = wants_fast;
        pdu.actor.port_priority = 3;
    });
    if let Some(answer) = rig.standing.get(&id(0)) {
        let pdu = Lacpdu::parse(&answer.frame[14..]).unwrap();
        assert_eq!(pdu.partner.port_priority, 3);
    }
}

/// For 20 s nobody calls the machines; or they die and are read back from what was saved.
#[test]
fn an_absence_of_ours_is_no_silence_of_the_partner() {
    for restarted in [false, true] {
        let mut rig = Rig::new(fast(), 2);
        let wants_fast = FULL | State::TIMEOUT;
        rig.agree(&[0, 1]);
        for _ in 0..5 {
            rig.run(990);
            for index in 0..2 {
                rig.hear(index, |pdu| pdu.actor.state = wants_fast);
            }
        }
        let events = rig.events.len();
        rig.sent.clear();
        if restarted {
            let saved = serde_json::to_string(&rig.lacp).unwrap();
            rig.lacp = serde_json::from_str::<Lacp>(&saved).unwrap();
        }
        rig.now = rig.now + Duration::from_secs(20);
        // What a new daemon says first; or the timer.
        if restarted {
            rig.link(0, UP);
        } else {
            rig.lacp.handle_timeout(rig.now);
            rig.drain();
        }
        for index in 0..2 {
            assert_eq!(rig.sent_on(index).len(), 1, "it speaks at once");
            assert!(rig.distributes(index));
        }
        for _ in 0..5 {
            rig.run(990);
            for index in 0..2 {
                rig.hear(index, |pdu| pdu.actor.state = wants_fast);
            }
        }
        let news = &rig.events[events..];
        assert!(news.is_empty(), "{restarted}: {news:?}");
        // But a partner that is gone is found out as late as ever.
        rig.run(2_900);
        assert!(rig.distributes(0));
        rig.run(200);
        assert!(!rig.distributes(0) && !rig.distributes(1));
    }
}

/// A partner that died while nobody listened.
#[test]
fn after_an_absence_silence_counts_from_the_return() {
    let mut rig = Rig::new(fast(), 1);
    rig.agree(&[0]);
    rig.hear(0, |pdu| pdu.actor.state = FULL | State::TIMEOUT);
    rig.now = rig.now + Duration::from_secs(20);
    rig.run(2_900);
    assert!(rig.distributes(0));
    rig.run(200);
    assert!(!rig.distributes(0));
}

/// Two of ours at the slow rate in virtual time; the first one's daemon can go, and then its data path answers by the times
/// and with the flags that `oxbond-datapath`'s program goes by (its own test shows who is answered, and `bpf/lacp.h` how).
struct Slow {
    now: Instant,
    ends: [Lacp; 2],
    standing: Option<StandingAnswer>,
    away: bool,
    answered: Vec<Instant>,
}

impl Slow {
    fn agreed() -> Self {
        let ends = [1, 2].map(|last| {
            Lacp::new(Config {
                bond_mac: MacAddr([2, 0, 0, 0, 0, last]),
                ..config()
            })
        });
        let mut slow = Self {
            now: at(10_000),
            ends,
            standing: None,
            away: false,
            answered: Vec::new(),
        };
        for (side, end) in slow.ends.iter_mut().enumerate() {
            let joining = Joining {
                mac: mac(side as u8),
                priority: 255,
                link: UP,
            };
            end.add_port(slow.now, id(0), joining);
        }
        slow.run(Duration::from_secs(95));
        assert!(slow.ends.iter().all(|end| !end.distributing().is_empty()));
        slow
    }

    fn exchange(&mut self) {
        let mut quiet = false;
        while !std::mem::replace(&mut quiet, true) {
            for side in [0, 1] {
                while let Some(output) = self.ends[side].poll() {
                    quiet = false;
                    match output {
                        Output::Send { frame, .. } if side == 1 && self.away => self.answer(&frame),
                        Output::Send { frame, .. } => {
                            self.ends[1 - side].received(self.now, id(0), &frame);
                        }
                        Output::Standing { answer, .. } if side == 0 => self.standing = answer,
                        _ => {}
                    }
                }
            }
        }
    }

    fn answer(&mut self, heard: &[u8]) {
        let Some(answer) = &self.standing else {
            return;
        };
        if (answer.from..=answer.until).contains(&self.now) {
            let mut pdu = Lacpdu::parse(&answer.frame[14..]).unwrap();
            pdu.partner.state = Lacpdu::parse(&heard[14..]).unwrap().actor.state;
            self.answered.push(self.now);
            self.ends[1].received(self.now, id(0), &pdu.frame(mac(0)));
        }
    }

    fn run(&mut self, length: Duration) {
        let end = self.now + length;
        self.exchange();
        let from = usize::from(self.away);
        while let Some(next) = self.ends[from..]
            .iter()
            .filter_map(Lacp::next_timeout)
            .min()
            && next <= end
        {
            self.now = self.now.max(next);
            for lacp in &mut self.ends[from..] {
                lacp.handle_timeout(self.now);
            }
            self.exchange();
        }
        self.now = end;
    }
}

/// The partner gives up after 90 s, and speaks every 30 s: whenever in its rhythm our daemon goes, it is answered in time.
#[test]
fn a_slow_partner_is_answered_for_as_long_as_it_may_be() {
    for phase in 0..30 {
        let mut slow = Slow::agreed();
        slow.run(Duration::from_secs(phase));
        // A PDU out of turn: its successor is due 30 s after it or in the old rhythm.
        slow.ends[0].set_priority(slow.now, id(0), 7);
        slow.exchange();
        slow.away = true;
        let gone = slow.now;
        slow.run(LONGEST - Duration::from_secs(1));
        assert!(
            !slow.ends[1].distributing().is_empty(),
            "{phase}: {:?}",
            slow.ends[1].reason(slow.now, id(0))
        );
        let times = [&[gone], &slow.answered[..]].concat();
        let gaps = times
            .windows(2)
            .map(|pair| pair[1].saturating_since(pair[0]));
        let longest = gaps.max().unwrap();
        assert!(longest <= Duration::from_secs(61), "{phase}: {longest:?}");
        // And nobody relies on it for ever.
        slow.run(Duration::from_secs(1 + 30 + 91));
        assert!(slow.ends[1].distributing().is_empty());
    }
}
