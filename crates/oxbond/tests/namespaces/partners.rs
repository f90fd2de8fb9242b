//! 802.3ad with every kind of other end that is not the driver's (`driver`): another of ours, two at once, none, one that
//! is deaf or mute, a loop, a twin, and one that sends garbage or too much.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use oxbond_lab::capture::{Capture, Frame, Storm};
use oxbond_lab::machine::{End, PATIENCE};
use oxbond_lab::netns::Namespace;
use oxbond_lab::proc::wait_until;
use oxbond_lab::rig::{Plan, Topology, Way};
use oxbond_wire::MacAddr;
use oxbond_wire::lacp::{Information, LEN, Lacpdu, State};

use crate::common::{PEER, PORTS, Subject};

const FAST: &str = "--mode 802.3ad --miimon 100 --xmit-hash-policy layer3+4 --lacp-rate fast --lacp-strict on --coupled-control off";

/// A partner gives up 3 s after the last PDU it heard, and says so at once.
const SEEN_WITHIN: Duration = Duration::from_millis(3200);

/// An end without a partner asks every second, and the answer is enough.
const HEALED_WITHIN: Duration = Duration::from_millis(1500);

/// The least time of a storm that shows that something grows, or starves.
const STORM: Duration = Duration::from_secs(3);

const STORM_RATE: u32 = 10_000;

/// Memory, in KiB, that the daemon may take for what comes and goes. Bad frames leave nothing behind, however many.
const MOST_GROWN: u64 = 2048;

/// 3 PDUs in a second are the protocol's limit, and 10 answers to markers are ours.
const ANSWERS: usize = 13;

fn is_slow(frame: &Frame) -> bool {
    frame.ethertype() == 0x8809
}

fn reason(subject: &Subject, index: usize) -> String {
    let bond = subject.bond("bond0").unwrap();
    bond["ports"][index]["reason"].as_str().unwrap().to_owned()
}

fn wait_reason(subject: &Subject, index: usize, words: &str) {
    wait_until(PATIENCE, words, || reason(subject, index).contains(words))
        .unwrap_or_else(|e| panic!("{e}: {}", reason(subject, index)));
}

fn carrying(subject: &Subject) -> [bool; 2] {
    let bond = subject.bond("bond0").unwrap();
    [0, 1].map(|index| bond["ports"][index]["role"] == "active")
}

fn wait_carrying(subject: &Subject, wanted: [bool; 2]) {
    wait_until(PATIENCE, &format!("{wanted:?} carry"), || {
        carrying(subject) == wanted
    })
    .unwrap_or_else(|e| panic!("{e}: {:?}", [0, 1].map(|index| reason(subject, index))));
}

/// How often the daemon of one end has said this.
fn said(subject: &Subject, end: End, words: &str) -> usize {
    let log = match end {
        End::Host => subject.daemon(),
        End::Peer => subject.peer_daemon(),
    };
    log.unwrap().stderr().matches(words).count()
}

/// Two of ours, joined by two cables and agreed on both.
fn agreed() -> Subject {
    let subject = Subject::facing(FAST, FAST);
    wait_carrying(&subject, [true, true]);
    subject
}

/// A LACPDU as the peer sends it to the host's first port.
fn pdu_of_peer(cables: &Namespace) -> Vec<u8> {
    let wire = Capture::start(cables, "a0").unwrap();
    wire.wait_for(PATIENCE, "a LACPDU of the peer", |frame| {
        frame.outgoing && is_slow(frame)
    })
    .unwrap()
    .data
}

/// A capture file (libpcap, microseconds, Ethernet).
fn pcap(frames: &[Frame]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_ne_bytes());
    }
    for frame in frames {
        let length = u32::try_from(frame.data.len()).unwrap();
        let seconds = u32::try_from(frame.at.as_secs()).unwrap();
        for word in [seconds, frame.at.subsec_micros(), length, length] {
            file.extend(word.to_ne_bytes());
        }
        file.extend(&frame.data);
    }
    file
}

/// What tshark finds in frames: per frame, the values of `fields`.
fn dissected(frames: &[Frame], fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = std::process::Command::new("tshark");
    command.args(["-n", "-r", "-", "-T", "fields", "-E", "separator=;"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let pipe = std::process::Stdio::piped;
    let mut tshark = command
        .stdin(pipe())
        .stdout(pipe())
        .stderr(pipe())
        .spawn()
        .expect("tshark is installed (lab/install.sh test)");
    tshark
        .stdin
        .take()
        .unwrap()
        .write_all(&pcap(frames))
        .unwrap();
    let output = tshark.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let split = |line: &str| line.split(';').map(str::to_owned).collect();
    text.lines().map(split).collect()
}

#[test]
fn root_our_pdus_are_dissected_without_complaint() {
    let subject = Subject::new(Plan::new(Topology::Cabled, &PORTS));
    let cables = subject.rig.middle().unwrap();
    let wire = Capture::start(cables, "a0").unwrap();
    let mut subject = subject;
    subject.start_peer_daemon().unwrap();
    let ports = "--port enp3s0 --port enp4s0";
    subject
        .ok_at(End::Peer, &format!("up bond0 {ports} {FAST}"))
        .unwrap();
    subject.must(&format!(
        "up bond0 {ports} {FAST} --ad-user-port-key 3 --ad-actor-sys-prio 100"
    ));
    wait_carrying(&subject, [true, true]);
    // A marker, which our end answers.
    let mut marker = vec![
        1, 0x80, 0xc2, 0, 0, 2, 2, 0, 0, 0, 0, 9, 0x88, 0x09, 2, 1, 1, 16, 0, 7,
    ];
    marker.extend([2, 0, 0, 0, 0, 9, 0, 0, 0, 77]);
    marker.resize(14 + LEN, 0);
    oxbond_lab::capture::send(subject.rig.middle().unwrap(), "a0", &marker).unwrap();
    wire.wait_for(PATIENCE, "the answer to a marker", |frame| {
        !frame.outgoing && is_slow(frame) && frame.data[14] == 2
    })
    .unwrap();
    for outgoing in [false, true] {
        wire.wait_for(PATIENCE, "the PDU that says that all is well", |frame| {
            // Both states on the wire: actor's, partner's.
            let states = [frame.data[32], frame.data[52]];
            frame.outgoing == outgoing && is_slow(frame) && states == [0x3f, 0x3f]
        })
        .unwrap();
    }
    let frames: Vec<Frame> = wire.stop().unwrap().into_iter().filter(is_slow).collect();
    let fields = [
        "_ws.malformed",
        "_ws.expert.message",
        "slow.subtype",
        "lacp.version",
        "lacp.actor.sysid",
        "lacp.actor.sys_priority",
        "lacp.actor.key",
        "lacp.actor.port",
        "lacp.actor.state",
        "lacp.partner.sysid",
        "lacp.partner.key",
        "lacp.partner.state",
        "marker.tlvType",
        "marker.requesterPort",
        "marker.requesterSystem",
        "marker.requesterTransId",
    ];
    let rows = dissected(&frames, &fields);
    assert_eq!(rows.len(), frames.len());
    let mut last = [None, None];
    let mut answers = 0;
    for (frame, row) in frames.iter().zip(rows) {
        assert_eq!(row[..2], ["", ""], "malformed: {frame:?} {row:?}");
        if row[2] == "0x02" && !frame.outgoing {
            assert_eq!(
                row[12..],
                ["0x02,0x00", "7", "02:00:00:00:00:09", "77"],
                "{row:?}"
            );
            answers += 1;
        } else if row[2] == "0x01" {
            last[usize::from(frame.outgoing)] = Some(row);
        }
    }
    assert_eq!(answers, 1);
    let [Some(ours), Some(theirs)] = last else {
        panic!("LACPDUs both ways: {last:?}");
    };
    let ours_mac = subject.host().mac("bond0").unwrap();
    let theirs_mac = subject.rig.peer.mac("bond0").unwrap();
    assert_eq!(
        ours[3..12],
        [
            "0x01",
            &ours_mac,
            "100",
            "207",
            "1",
            "0x3f",
            &theirs_mac,
            "15",
            "0x3f"
        ]
    );
    assert_eq!(
        theirs[3..12],
        [
            "0x01",
            &theirs_mac,
            "65535",
            "15",
            "1",
            "0x3f",
            &ours_mac,
            "207",
            "0x3f"
        ]
    );
}

/// Two bonds at the other end: only one of them can be one aggregate with us.
#[test]
fn root_two_partners_at_once() {
    let mut subject = Subject::new(Plan::new(Topology::Cabled, &PORTS));
    subject.start_peer_daemon().unwrap();
    for (name, port) in [("bond0", PORTS[0]), ("bond1", PORTS[1])] {
        subject
            .ok_at(End::Peer, &format!("up {name} --port {port} {FAST}"))
            .unwrap();
    }
    subject.must(&format!("up bond0 --port enp3s0 --port enp4s0 {FAST}"));
    wait_until(PATIENCE, "one port carries", || {
        carrying(&subject) != [false, false]
    })
    .unwrap();
    let first = usize::from(carrying(&subject)[1]);
    let other = 1 - first;
    let partner = |index: usize| subject.rig.peer.mac(["bond0", "bond1"][index]).unwrap();
    let words = format!(
        "another partner, {} instead of {}",
        partner(other),
        partner(first)
    );
    wait_reason(&subject, other, &words);
    // And it stays so: the two do not take turns.
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(carrying(&subject), [first == 0, first == 1]);
    }
    // With the first partner gone the second one is as good.
    subject.rig.cut(first).unwrap();
    wait_carrying(&subject, [other == 0, other == 1]);
}

/// Bridges keep LACPDUs to themselves.
#[test]
fn root_a_bridge_that_eats_lacpdus() {
    let subject = Subject::switched();
    subject.must(&format!("up bond0 --port enp3s0 --port enp4s0 {FAST}"));
    for index in 0..2 {
        wait_reason(&subject, index, "partner never answered");
    }
    assert_eq!(carrying(&subject), [false, false]);
    assert!(!subject.host().has_carrier("bond0").unwrap());
}

/// Nothing tells of a silent fault but silence.
#[test]
fn metered_root_silent_faults_are_seen_and_healed_in_time() {
    let subject = agreed();
    // Who stops sending first, and why.
    let cases = [
        (
            Way::FromHost,
            End::Host,
            "not distributing: partner expects fast, hears slow",
        ),
        (
            Way::ToHost,
            End::Host,
            "not distributing: partner fell silent",
        ),
        (
            Way::Both,
            End::Host,
            "not distributing: partner fell silent",
        ),
        (
            Way::FromHost,
            End::Peer,
            "not distributing: partner fell silent",
        ),
        (
            Way::Both,
            End::Peer,
            "not distributing: partner fell silent",
        ),
    ];
    for (way, end, words) in cases {
        let before = said(&subject, end, words);
        let since = subject.rig.blackhole(0, way).unwrap();
        wait_until(PATIENCE, words, || said(&subject, end, words) > before).unwrap();
        let seen = since.elapsed();
        wait_carrying(&subject, [false, true]);
        if way != Way::FromHost {
            wait_reason(&subject, 0, "partner fell silent");
        } else {
            wait_reason(&subject, 0, "one-way link");
        }
        subject.wait_peer(&PEER[..1]).unwrap();
        let healed = [End::Host, End::Peer]
            .map(|end| said(&subject, end, "(slave enp3s0): collecting and distributing"));
        let since = subject.rig.restore(0).unwrap();
        wait_until(PATIENCE, "both ends distribute again", || {
            [End::Host, End::Peer]
                .map(|end| said(&subject, end, "(slave enp3s0): collecting and distributing"))
                .iter()
                .zip(healed)
                .all(|(now, before)| *now > before)
        })
        .unwrap();
        let healed = since.elapsed();
        eprintln!("{way:?}, {end:?}: seen in {seen:?}, healed in {healed:?}");
        assert!(seen <= SEEN_WITHIN, "{way:?}, {end:?}: seen in {seen:?}");
        assert!(
            healed <= HEALED_WITHIN,
            "{way:?}, {end:?}: healed in {healed:?}"
        );
    }
    assert_eq!(
        said(&subject, End::Host, "(slave enp4s0): not distributing"),
        0,
        "the other port had nothing to do with it"
    );
}

/// A partner made by hand, at the peer's end of the first cable.
struct Handmade<'a> {
    subject: &'a Subject,
    wire: Capture,
    pdu: Lacpdu,
}

impl<'a> Handmade<'a> {
    fn new(subject: &'a Subject) -> Self {
        let wire = Capture::start(&subject.rig.peer, PORTS[0]).unwrap();
        let everything = State(0x3d);
        let information = Information {
            system_priority: 1000,
            system: MacAddr([2, 0, 0, 0, 0, 9]),
            key: 7,
            port_priority: 255,
            port: 1,
            state: everything,
        };
        let pdu = Lacpdu {
            version: 1,
            actor: information,
            partner: information,
            collector_max_delay: 0,
        };
        Self { subject, wire, pdu }
    }

    /// What our port said last.
    fn heard(&self) -> Option<Information> {
        let frames = self.wire.frames();
        let slow = frames
            .iter()
            .rev()
            .filter(|frame| !frame.outgoing && is_slow(frame));
        slow.map(|frame| Lacpdu::parse(&frame.data[14..]).unwrap().actor)
            .next()
    }

    /// Says that all is well.
    fn speak(&mut self) {
        if let Some(us) = self.heard() {
            self.pdu.partner = us;
        }
        let frame = self.pdu.frame(self.pdu.actor.system);
        oxbond_lab::capture::send(&self.subject.rig.peer, PORTS[0], &frame).unwrap();
    }
}

/// We ask for a PDU every second; the partner sends one every four.
#[test]
fn root_a_partner_that_is_too_slow() {
    let subject = Subject::new(Plan::new(Topology::Cabled, &PORTS));
    subject.must(&format!("up bond0 --port enp3s0 {FAST}"));
    let mut partner = Handmade::new(&subject);
    wait_until(PATIENCE, "our port speaks", || partner.heard().is_some()).unwrap();
    wait_until(PATIENCE, "the port carries", || {
        partner.speak();
        subject.bond("bond0").unwrap()["ports"][0]["role"] == "active"
    })
    .unwrap();
    for _ in 0..2 {
        let next = Instant::now() + Duration::from_secs(4);
        wait_until(PATIENCE, "it is time", || Instant::now() >= next).unwrap();
        partner.speak();
    }
    wait_reason(
        &subject,
        0,
        "we expect fast, hear slow: LACPDUs came 4 s apart",
    );
}

/// Both ends of one cable are ports of one bond.
#[test]
fn root_a_looped_cable() {
    let subject = Subject::new(Plan::new(Topology::Cabled, &PORTS));
    let host = subject.host();
    host.ip("link add loop0 type veth peer name loop1").unwrap();
    subject.must(&format!("up bond0 --port loop0 --port loop1 {FAST}"));
    wait_reason(&subject, 0, "we hear our own LACPDUs, from loop1");
    wait_reason(&subject, 1, "we hear our own LACPDUs, from loop0");
    assert_eq!(carrying(&subject), [false, false]);
    for index in 0..2 {
        let counters = lacp_counters(&subject, index);
        assert!(counters["own_system"] > 0, "{counters:?}");
    }
    let words = "hears the LACPDUs of our own port loop";
    assert_eq!(
        said(&subject, End::Host, words),
        2,
        "each port says so once"
    );
}

/// Another machine was given our system id, as copies of a configuration are.
#[test]
fn root_a_partner_with_our_own_system_id() {
    let mut subject = Subject::new(Plan::new(Topology::Cabled, &PORTS));
    subject.start_peer_daemon().unwrap();
    let up =
        format!("up bond0 --port enp3s0 --port enp4s0 {FAST} --ad-actor-system 02:00:5e:00:53:01");
    subject.ok_at(End::Peer, &up).unwrap();
    subject.must(&up);
    for index in 0..2 {
        wait_reason(
            &subject,
            index,
            "the other end has our own system id 02:00:5e:00:53:01: set ad_actor_system",
        );
        let counters = lacp_counters(&subject, index);
        assert!(counters["own_system"] > 0, "{counters:?}");
    }
    assert_eq!(carrying(&subject), [false, false]);
    subject.must("set bond0 --ad-actor-system 02:00:5e:00:53:02");
    wait_carrying(&subject, [true, true]);
}

/// Memory of the daemon, in KiB.
fn resident(subject: &Subject) -> u64 {
    subject.daemon().unwrap().usage().unwrap().resident_kib
}

/// Frames of the slow protocols that a port has counted, whatever they were.
fn heard(subject: &Subject, index: usize) -> u64 {
    let counters = lacp_counters(subject, index);
    let each = [
        "lacpdus_rx",
        "marker_rx",
        "marker_response_rx",
        "unknown_rx",
        "illegal_rx",
        "tagged",
        "not_slow",
        "port_disabled",
        "own_system",
    ];
    each.iter().filter_map(|name| counters.get(*name)).sum()
}

/// The counters of LACP of one port that are not zero, by name; those of refused frames under the name of the reason.
fn lacp_counters(subject: &Subject, index: usize) -> BTreeMap<String, u64> {
    let bond = subject.bond("bond0").unwrap();
    let counters = bond["ports"][index]["lacp"]["counters"]
        .as_object()
        .unwrap()
        .clone();
    let refused = counters["refused"].as_object().unwrap().clone();
    let all = counters.into_iter().chain(refused);
    all.filter_map(|(name, count)| Some((name, count.as_u64().filter(|count| *count > 0)?)))
        .collect()
}

/// Each place from `from` on of a frame changed in three ways.
fn mutated(frame: &[u8], from: usize) -> Vec<Vec<u8>> {
    let change = |at: usize, flip: u8| {
        let mut frame = frame.to_vec();
        frame[at] ^= flip;
        frame
    };
    (from..frame.len())
        .flat_map(|at| [0x01, 0x80, 0xff].map(|flip| change(at, flip)))
        .collect()
}

/// Every truncation, every byte of a good PDU changed, tagged, too long, of other kinds, of our own system: each is counted
/// with its reason; the other port and the daemon go on, and so does this port as soon as its partner speaks again.
#[test]
fn root_bad_frames_on_one_port() {
    let subject = agreed();
    let cables = subject.rig.middle().unwrap();
    let good = pdu_of_peer(cables);
    let mut marker = good.clone();
    marker[14..18].copy_from_slice(&[2, 1, 1, 16]);
    let changed = |frame: &[u8], at: usize, bytes: &[u8]| {
        let mut frame = frame.to_vec();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let cut = |frame: &[u8]| {
        (15..frame.len())
            .map(|length| frame[..length].to_vec())
            .collect()
    };
    let tagged =
        |tag: [u8; 4]| [&good, &marker].map(|frame| [&frame[..12], &tag, &frame[12..]].concat());
    let system = subject.bond("bond0").unwrap()["lacp"]["system"].clone();
    let system: MacAddr = system.as_str().unwrap().parse().unwrap();
    let mut long = good.clone();
    long.resize(1514, 0xff);
    // What is sent, and what counts it how often.
    type Case<'a> = (&'a str, Vec<Vec<u8>>, &'a [(&'a str, u64)]);
    let cases: [Case<'_>; 11] = [
        (
            "cut LACPDUs",
            cut(&good),
            &[("truncated", 109), ("illegal_rx", 109)],
        ),
        (
            "cut markers",
            cut(&marker),
            &[("truncated", 109), ("illegal_rx", 109)],
        ),
        // Three lengths of TLVs; the rest is another good PDU, or of another subtype.
        (
            "bytes of a LACPDU",
            mutated(&good, 14),
            &[("tlv_length", 9), ("subtype", 3), ("illegal_rx", 12)],
        ),
        // A length; another subtype, of which one is legal; another kind; the rest are good markers.
        (
            "bytes of a marker",
            mutated(&marker, 14),
            &[
                ("tlv_length", 3),
                ("subtype", 2),
                ("illegal_rx", 5),
                ("unknown_rx", 4),
                ("marker_rx", 321),
            ],
        ),
        (
            "in a VLAN",
            tagged([0x81, 0, 0, 5]).to_vec(),
            &[("tagged", 2)],
        ),
        (
            "priority-tagged",
            tagged([0x81, 0, 0xe0, 0]).to_vec(),
            &[("tagged", 2)],
        ),
        (
            "in a service VLAN",
            tagged([0x88, 0xa8, 0, 5]).to_vec(),
            &[("tagged", 2)],
        ),
        ("too long", vec![long], &[]),
        (
            "subtypes",
            (0..=255)
                .filter(|subtype| *subtype != 1)
                .map(|subtype| changed(&good, 14, &[subtype]))
                .collect(),
            // As a marker, the LACPDU has a TLV of a wrong length.
            &[
                ("subtype", 246),
                ("unknown_rx", 8),
                ("tlv_length", 1),
                ("illegal_rx", 247),
            ],
        ),
        (
            "lengths of a marker",
            (0..=31)
                .filter(|length| *length != 16)
                .map(|length| changed(&marker, 17, &[length]))
                .collect(),
            &[("tlv_length", 31), ("illegal_rx", 31)],
        ),
        (
            "our own",
            vec![changed(&good, 20, &system.octets())],
            &[("own_system", 1)],
        ),
    ];
    let memory = resident(&subject);
    // Of another type, and so nothing to LACP.
    for frame in &mutated(&good, 12)[..6] {
        oxbond_lab::capture::send(cables, "a0", frame).unwrap();
    }
    for (what, frames, counted) in cases {
        let mut wanted = lacp_counters(&subject, 0);
        for (name, count) in counted {
            *wanted.entry((*name).to_owned()).or_default() += count;
        }
        // The daemon is told of some hundred frames at once; no wire is faster than it for long.
        for frames in frames.chunks(100) {
            let before = heard(&subject, 0);
            for frame in frames {
                oxbond_lab::capture::send(cables, "a0", frame).unwrap();
            }
            wait_until(PATIENCE, what, || {
                heard(&subject, 0) >= before + frames.len() as u64
            })
            .unwrap();
        }
        let of_these = |mut counters: BTreeMap<String, u64>| {
            let of_bad = [
                "truncated",
                "tlv_length",
                "subtype",
                "tagged",
                "own_system",
                "not_slow",
            ];
            let of_mib = [
                "illegal_rx",
                "unknown_rx",
                "marker_rx",
                "marker_response_rx",
            ];
            let known = of_bad.into_iter().chain(of_mib);
            counters.retain(|name, _| known.clone().any(|known| known == name));
            counters
        };
        let wanted = of_these(wanted);
        let seen = || of_these(lacp_counters(&subject, 0));
        // What the partner says meanwhile is heard too, so the last of these may not have been.
        wait_until(PATIENCE, what, || seen() == wanted)
            .unwrap_or_else(|e| panic!("{e}: {:?} and not {wanted:?}", seen()));
    }
    wait_carrying(&subject, [true, true]);
    assert_eq!(
        said(&subject, End::Host, "(slave enp4s0): not distributing"),
        0
    );
    assert_eq!(said(&subject, End::Host, "bug"), 0);
    let other = lacp_counters(&subject, 1);
    let refused = [
        "truncated",
        "tlv_length",
        "subtype",
        "tagged",
        "own_system",
        "illegal_rx",
        "unknown_rx",
    ];
    assert!(
        !refused.iter().any(|name| other.contains_key(*name)),
        "{other:?}"
    );
    let grown = resident(&subject).saturating_sub(memory);
    assert!(grown < MOST_GROWN, "{grown} KiB more");
    let report = subject
        .traffic(0)
        .flows(32)
        .run(Duration::from_millis(500))
        .unwrap();
    assert_eq!(report.lost(), 0, "{report}");
}

/// A storm of LACPDUs and markers on one port: the other port goes on, the daemon answers, and nothing grows.
#[test]
fn metered_root_a_storm_on_one_port() {
    let subject = agreed();
    let cables = subject.rig.middle().unwrap();
    let good = pdu_of_peer(cables);
    let mut marker = good.clone();
    marker[14..18].copy_from_slice(&[2, 1, 1, 16]);
    // A key that is another one each time makes the most work: nothing of it is agreed on.
    type Frames = Box<dyn FnMut(u64) -> Vec<u8> + Send>;
    let mut tagged = good.clone();
    tagged.splice(12..12, [0x81, 0, 0, 5]);
    // Each with the counter that tells of it.
    let kinds: [(&str, &str, Frames); 4] = [
        (
            "the same PDU",
            "lacpdus_rx",
            Box::new({
                let good = good.clone();
                move |_| good.clone()
            }),
        ),
        (
            "another key each time",
            "lacpdus_rx",
            Box::new(move |count| {
                let mut frame = good.clone();
                frame[26..28].copy_from_slice(&(count as u16).to_be_bytes());
                frame
            }),
        ),
        ("markers", "marker_rate", Box::new(move |_| marker.clone())),
        ("in a VLAN", "tagged", Box::new(move |_| tagged.clone())),
    ];
    for (what, counter, frame) in kinds {
        let count = || {
            lacp_counters(&subject, 0)
                .get(counter)
                .copied()
                .unwrap_or(0)
        };
        let counted = count();
        let kept = said(&subject, End::Host, "(slave enp4s0): not distributing");
        let memory = resident(&subject);
        let answers = Capture::start(cables, "a0").unwrap();
        let storm = Storm::start(cables, "a0", STORM_RATE, frame).unwrap();
        let end = Instant::now() + STORM;
        let mut slowest = Duration::ZERO;
        while Instant::now() < end {
            let asked = Instant::now();
            subject.must("status bond0");
            slowest = slowest.max(asked.elapsed());
        }
        let sent = storm.stop().unwrap();
        let replied = answers
            .frames()
            .iter()
            .filter(|frame| !frame.outgoing && is_slow(frame))
            .count();
        let grown = resident(&subject).saturating_sub(memory);
        let counted = count() - counted;
        eprintln!(
            "{what}: {sent} frames, status in {slowest:?} at most, {replied} answers, {counted} counted as {counter}, {grown} KiB more"
        );
        assert!(
            sent > u64::from(STORM_RATE) * STORM.as_secs() / 2,
            "{sent}: no storm"
        );
        assert!(
            slowest < Duration::from_secs(2),
            "{what}: status took {slowest:?}"
        );
        assert!(
            replied <= ANSWERS * (STORM.as_secs() as usize + 1),
            "{what}: {replied} answers"
        );
        // What the daemon is too slow for is lost before it: but not the most of it.
        assert!(
            counted > sent / 10,
            "{what}: {counted} counted as {counter}"
        );
        assert!(grown < MOST_GROWN, "{what}: {grown} KiB more");
        assert_eq!(
            said(&subject, End::Host, "(slave enp4s0): not distributing"),
            kept,
            "{what}"
        );
        wait_carrying(&subject, [true, true]);
    }
}
