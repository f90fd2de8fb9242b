//! A traffic meter: numbered UDP datagrams at an even pace between two namespaces, and an exact account of what became of
//! each.
//!
//! Send times come from the sender, receive times from the receiving kernel, both on the monotonic clock. A gap that
//! the sender itself made (a machine too busy to send) shows as [`Stream::longest_pause`], so that a test can tell it from one
//! that the network made.

use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::net::sockopt::set_socket_send_buffer_size_force;
use rustix::thread::{ClockId, Timespec, clock_nanosleep_absolute, set_current_timer_slack};

use crate::netns::Namespace;
use crate::proc::wait_until;
use crate::receive::Receiver;

/// What every datagram begins with, before its flow (2 bytes) and number (4 bytes), all big-endian.
const MAGIC: [u8; 6] = *b"oxbond";
const HEADER: usize = 12;
/// How long the receiver goes on once everything has arrived, to catch duplicates.
const LINGER: Duration = Duration::from_millis(20);
/// How long a sender sleeps at most before it looks whether it is to stop, nanoseconds.
const NAP_NS: u64 = 50_000_000;

/// What to send; [`Traffic::start`] starts it.
#[derive(Debug, Clone)]
pub struct Traffic {
    ends: [(Namespace, IpAddr); 2],
    rate: u32,
    flows: u16,
    payload: usize,
    source_port: u16,
    both_ways: bool,
}

impl Traffic {
    /// From `from`'s address to `to`'s, IPv4 or IPv6: 1,000 datagrams per second of 64 bytes, one flow, one way.
    pub fn new(from: (&Namespace, IpAddr), to: (&Namespace, IpAddr)) -> Self {
        Self {
            ends: [(from.0.clone(), from.1), (to.0.clone(), to.1)],
            rate: 1000,
            flows: 1,
            payload: 64,
            source_port: 0,
            both_ways: false,
        }
    }

    /// Datagrams per second in each direction, all flows together, at least 1.
    #[must_use]
    pub fn rate(mut self, rate: u32) -> Self {
        self.rate = rate.max(1);
        self
    }

    /// Flows in each direction, told apart by source port and sent in turn, at least 1.
    #[must_use]
    pub fn flows(mut self, flows: u16) -> Self {
        self.flows = flows.max(1);
        self
    }

    /// UDP payload of each datagram, bytes; at least the meter's own 12.
    #[must_use]
    pub fn payload(mut self, payload: usize) -> Self {
        self.payload = payload.max(HEADER);
        self
    }

    /// Source port of the first flow, the others follow it; without it the kernel chooses. For hashes that must come
    /// out the same every time.
    #[must_use]
    pub fn source_port(mut self, first: u16) -> Self {
        self.source_port = first;
        self
    }

    /// Sends the same in the opposite direction too.
    #[must_use]
    pub fn both_ways(mut self) -> Self {
        self.both_ways = true;
        self
    }

    /// Opens the sockets and starts sending.
    ///
    /// # Errors
    /// If an address is not there, a port is taken, or without CAP_NET_ADMIN.
    pub fn start(self) -> Result<Meter> {
        let (started_ns, started) = crate::at_once(Instant::now);
        let clock = Clock {
            started,
            started_ns,
        };
        let there = Direction::start(&self, &self.ends[0], &self.ends[1], clock)?;
        let back = self
            .both_ways
            .then(|| Direction::start(&self, &self.ends[1], &self.ends[0], clock))
            .transpose()?;
        Ok(Meter { clock, there, back })
    }

    /// Sends for `length` and accounts; [`Meter::stop`] with a drain of 2 s.
    ///
    /// # Errors
    /// As [`Self::start`] and [`Meter::stop`].
    pub fn run(self, length: Duration) -> Result<Report> {
        let meter = self.start()?;
        std::thread::sleep(length);
        meter.stop(Duration::from_secs(2))
    }
}

#[derive(Debug, Clone, Copy)]
struct Clock {
    started: Instant,
    started_ns: u64,
}

impl Clock {
    /// Time since the start.
    fn now(&self) -> Duration {
        Duration::from_nanos(crate::monotonic_ns().saturating_sub(self.started_ns))
    }
}

/// Traffic under way; dropping it stops it without an account.
#[derive(Debug)]
pub struct Meter {
    clock: Clock,
    there: Direction,
    back: Option<Direction>,
}

impl Meter {
    /// The time of `moment` on the clock of the report, to set a cut beside the losses.
    pub fn time_of(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.clock.started)
    }

    /// Datagrams sent so far, all directions.
    pub fn sent(&self) -> u64 {
        self.directions()
            .map(|direction| direction.shared.sent.load(Ordering::Relaxed))
            .sum()
    }

    /// Datagrams received so far, duplicates left out, all directions.
    pub fn received(&self) -> u64 {
        self.directions()
            .map(|direction| direction.shared.received.load(Ordering::Relaxed))
            .sum()
    }

    /// Waits until `count` more datagrams have arrived in every direction: traffic flows (again).
    ///
    /// # Errors
    /// When `deadline` passes first.
    pub fn wait_flowing(&self, count: u64, deadline: Duration) -> Result<Duration> {
        let received = |direction: &Direction| direction.shared.received.load(Ordering::Relaxed);
        let before: Vec<_> = self.directions().map(received).collect();
        let what = format!("{count} more datagrams have arrived in every direction");
        wait_until(deadline, &what, || {
            self.directions()
                .zip(&before)
                .all(|(now, was)| received(now) >= was + count)
        })
    }

    /// Stops sending, waits up to `drain` for what is still under way, and accounts.
    ///
    /// # Errors
    /// If a socket failed.
    pub fn stop(mut self, drain: Duration) -> Result<Report> {
        for direction in self.directions() {
            direction.shared.stop_sending.store(true, Ordering::Release);
        }
        let there = self.there.finish(drain)?;
        let back = self
            .back
            .as_mut()
            .map(|direction| direction.finish(drain))
            .transpose()?;
        Ok(Report { there, back })
    }

    fn directions(&self) -> impl Iterator<Item = &Direction> {
        std::iter::once(&self.there).chain(&self.back)
    }
}

#[derive(Debug, Default)]
struct Shared {
    stop_sending: AtomicBool,
    stop_receiving: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
}

/// One direction's two threads.
#[derive(Debug)]
struct Direction {
    shared: Arc<Shared>,
    sender: Option<JoinHandle<Result<Sent>>>,
    receiver: Option<JoinHandle<Result<Arrived>>>,
}

impl Direction {
    fn start(
        traffic: &Traffic,
        (from, source): &(Namespace, IpAddr),
        (to, target): &(Namespace, IpAddr),
        clock: Clock,
    ) -> Result<Self> {
        let bind = |namespace: &Namespace, address: IpAddr, port: u16| {
            namespace
                .run(|| UdpSocket::bind((address, port)))
                .with_context(|| {
                    format!(
                        "cannot bind UDP {address} port {port} in {}",
                        namespace.label()
                    )
                })
        };
        let at_target = bind(to, *target, 0)?;
        let target = at_target.local_addr()?;
        let sockets = (0..traffic.flows)
            .map(|flow| {
                let port = if traffic.source_port == 0 {
                    0
                } else {
                    traffic.source_port + flow
                };
                let socket = bind(from, *source, port)?;
                // A full queue must be counted, not waited for.
                socket.set_nonblocking(true)?;
                set_socket_send_buffer_size_force(&socket, 8 << 20)?;
                Ok(socket)
            })
            .collect::<Result<Vec<_>>>()?;
        let shared = Arc::new(Shared::default());
        let mut receiver = Receiver::new(at_target.into(), HEADER)?;
        let (flows, share) = (traffic.flows, Arc::clone(&shared));
        let receiving = std::thread::spawn(move || receive(&mut receiver, flows, clock, &share));
        let (rate, payload, share) = (traffic.rate, traffic.payload, Arc::clone(&shared));
        let sending =
            std::thread::spawn(move || send(&sockets, target, rate, payload, clock, &share));
        Ok(Self {
            shared,
            sender: Some(sending),
            receiver: Some(receiving),
        })
    }

    fn finish(&mut self, drain: Duration) -> Result<Stream> {
        self.shared.stop_sending.store(true, Ordering::Release);
        let sent = join(&mut self.sender)?;
        let expected = self.shared.sent.load(Ordering::Acquire);
        // What has not come by the deadline is lost: the account says so, this wait does not fail.
        let _ = wait_until(drain, "all has arrived", || {
            self.shared.received.load(Ordering::Acquire) >= expected
        });
        std::thread::sleep(LINGER);
        self.shared.stop_receiving.store(true, Ordering::Release);
        Ok(account(&sent, &join(&mut self.receiver)?))
    }
}

impl Drop for Direction {
    fn drop(&mut self) {
        self.shared.stop_sending.store(true, Ordering::Release);
        self.shared.stop_receiving.store(true, Ordering::Release);
        // Failures of traffic whose account nobody asked for concern nobody.
        let _ = self.sender.take().map(JoinHandle::join);
        let _ = self.receiver.take().map(JoinHandle::join);
    }
}

fn join<T>(thread: &mut Option<JoinHandle<Result<T>>>) -> Result<T> {
    let thread = thread
        .take()
        .context("the traffic has been stopped already")?;
    thread
        .join()
        .unwrap_or_else(|_| Err(anyhow!("a traffic thread panicked")))
}

/// What the sender did: per flow its source port and when each number left.
#[derive(Debug, Default)]
struct Sent {
    flows: Vec<(u16, Vec<Duration>)>,
    refused: u64,
    first_refusal: Option<(Duration, String)>,
}

fn send(
    sockets: &[UdpSocket],
    target: SocketAddr,
    rate: u32,
    payload: usize,
    clock: Clock,
    shared: &Shared,
) -> Result<Sent> {
    set_current_timer_slack(NonZeroU64::new(1)).context("cannot make the sender's timer exact")?;
    let mut sent = Sent::default();
    for socket in sockets {
        sent.flows.push((socket.local_addr()?.port(), Vec::new()));
    }
    let mut datagram = vec![0; payload];
    datagram[..6].copy_from_slice(&MAGIC);
    let begin = crate::monotonic_ns();
    let mut turn = 0;
    while !shared.stop_sending.load(Ordering::Acquire) {
        // Deadlines are absolute: a sender that comes late catches up and the average stays exact.
        let due = begin + (u128::from(turn) * 1_000_000_000 / u128::from(rate)) as u64;
        let now = crate::monotonic_ns();
        if due > now {
            sleep_until(due.min(now + NAP_NS));
            if due > now + NAP_NS {
                continue;
            }
        }
        let flow = (turn % sockets.len() as u64) as usize;
        let times = &mut sent.flows[flow].1;
        datagram[6..8].copy_from_slice(&(flow as u16).to_be_bytes());
        datagram[8..12].copy_from_slice(&(times.len() as u32).to_be_bytes());
        let at = clock.now();
        match sockets[flow].send_to(&datagram, target) {
            Ok(_) => {
                times.push(at);
                shared.sent.fetch_add(1, Ordering::Release);
            }
            Err(error) => {
                sent.refused += 1;
                sent.first_refusal
                    .get_or_insert_with(|| (at, error.to_string()));
            }
        }
        turn += 1;
    }
    Ok(sent)
}

fn sleep_until(ns: u64) {
    let at = Timespec {
        tv_sec: (ns / 1_000_000_000).cast_signed(),
        tv_nsec: (ns % 1_000_000_000).cast_signed(),
    };
    // Interrupted early is no matter: the caller looks at the clock again or sends a little early.
    let _ = clock_nanosleep_absolute(ClockId::Monotonic, &at);
}

/// What the receiver saw, in order of arrival: flow, number, time.
#[derive(Debug, Default)]
struct Arrived {
    log: Vec<(u16, u32, Duration)>,
    overflowed: u32,
}

fn receive(receiver: &mut Receiver, flows: u16, clock: Clock, shared: &Shared) -> Result<Arrived> {
    let mut arrived = Arrived::default();
    let mut seen = vec![Vec::new(); flows.into()];
    loop {
        let last = shared.stop_receiving.load(Ordering::Acquire);
        let wait = if last {
            Duration::ZERO
        } else {
            Duration::from_millis(10)
        };
        receiver.receive(wait, |message| {
            let Some((flow, number)) = parse(message.data).filter(|&(flow, _)| flow < flows) else {
                return;
            };
            let at = Duration::from_nanos(message.at_ns.saturating_sub(clock.started_ns));
            arrived.log.push((flow, number, at));
            if mark(&mut seen[usize::from(flow)], number) {
                shared.received.fetch_add(1, Ordering::Release);
            }
        })?;
        if last {
            arrived.overflowed = receiver.overflowed();
            return Ok(arrived);
        }
    }
}

fn parse(datagram: &[u8]) -> Option<(u16, u32)> {
    let [flow0, flow1, number @ ..] = datagram.strip_prefix(&MAGIC)? else {
        return None;
    };
    Some((
        u16::from_be_bytes([*flow0, *flow1]),
        u32::from_be_bytes(number.get(..4)?.try_into().ok()?),
    ))
}

/// Notes a number as seen; whether it was new.
fn mark(seen: &mut Vec<bool>, number: u32) -> bool {
    let number = number as usize;
    if seen.len() <= number {
        seen.resize(number + 1, false);
    }
    !std::mem::replace(&mut seen[number], true)
}

/// The account of all directions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// From the first end to the second.
    pub there: Stream,
    /// From the second end to the first, if asked for.
    pub back: Option<Stream>,
}

impl Report {
    /// The directions measured.
    pub fn streams(&self) -> impl Iterator<Item = &Stream> {
        std::iter::once(&self.there).chain(&self.back)
    }

    /// Datagrams sent, all directions.
    pub fn sent(&self) -> u64 {
        self.streams().map(|stream| stream.sent).sum()
    }

    /// Datagrams lost, all directions.
    pub fn lost(&self) -> u64 {
        self.streams().map(|stream| stream.lost).sum()
    }

    /// Datagrams that the sender's own kernel refused, all directions.
    pub fn refused(&self) -> u64 {
        self.streams().map(|stream| stream.refused).sum()
    }

    /// The longest gap of any direction.
    pub fn longest_gap(&self) -> Gap {
        self.streams()
            .map(|stream| stream.longest_gap)
            .max_by_key(|gap| gap.length)
            .unwrap_or_default()
    }
}

/// A time without arrivals (or departures).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gap {
    /// When it began, on the meter's clock.
    pub from: Duration,
    /// How long it lasted.
    pub length: Duration,
}

/// The account of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Datagrams that the sending kernel took.
    pub sent: u64,
    /// Datagrams that it refused, which have no number and count as neither sent nor lost.
    pub refused: u64,
    /// When and why it first refused one.
    pub first_refusal: Option<(Duration, String)>,
    /// Datagrams that arrived, each counted once.
    pub received: u64,
    /// Datagrams sent that did not arrive.
    pub lost: u64,
    /// Arrivals beyond the first of the same datagram.
    pub duplicates: u64,
    /// Arrivals after one of a higher number of the same flow (RFC 4737, section 3.3).
    pub reordered: u64,
    /// Arrivals that the meter's own socket had no room for: they count as lost, but the network did not lose them.
    pub overflowed: u32,
    /// The longest time between two successive arrivals of any flow; from the first departure to the first arrival and,
    /// if the last datagram sent did not arrive, from the last arrival to the last departure, count too.
    pub longest_gap: Gap,
    /// The longest time between two successive departures: what the sender itself contributed to gaps.
    pub longest_pause: Gap,
    /// The flows, in order.
    pub flows: Vec<Flow>,
}

/// The account of one flow; members as in [`Stream`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the members are described at Stream")]
pub struct Flow {
    /// UDP source port, which tells the flow.
    pub source_port: u16,
    pub sent: u64,
    pub received: u64,
    pub lost: u64,
    pub duplicates: u64,
    pub reordered: u64,
    pub longest_gap: Gap,
    /// What is missing, in runs of successive numbers.
    pub lost_ranges: Vec<LostRange>,
}

/// A run of lost datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostRange {
    /// Number of the first, from 0 in each flow.
    pub first: u32,
    /// Number of the last.
    pub last: u32,
    /// When the first left, on the meter's clock.
    pub from: Duration,
    /// When the last left.
    pub to: Duration,
}

fn account(sent: &Sent, arrived: &Arrived) -> Stream {
    let flows: Vec<_> = sent
        .flows
        .iter()
        .enumerate()
        .map(|(index, (source_port, times))| {
            let log = arrived
                .log
                .iter()
                .filter(|&&(flow, ..)| usize::from(flow) == index);
            account_flow(
                *source_port,
                times,
                log.map(|&(_, number, at)| (number, at)),
            )
        })
        .collect();
    let mut departures: Vec<_> = sent
        .flows
        .iter()
        .flat_map(|(_, times)| times.iter().copied())
        .collect();
    departures.sort_unstable();
    // The datagram sent last decides whether the stream ended in a gap.
    let last_flow = sent
        .flows
        .iter()
        .zip(&flows)
        .max_by_key(|((_, times), _)| times.last().copied());
    let ended_lost = last_flow.is_some_and(|(_, flow)| flow.ends_lost());
    let arrivals = arrived.log.iter().map(|&(.., at)| at);
    let sum = |of: fn(&Flow) -> u64| flows.iter().map(of).sum();
    Stream {
        sent: sum(|flow| flow.sent),
        refused: sent.refused,
        first_refusal: sent.first_refusal.clone(),
        received: sum(|flow| flow.received),
        lost: sum(|flow| flow.lost),
        duplicates: sum(|flow| flow.duplicates),
        reordered: sum(|flow| flow.reordered),
        overflowed: arrived.overflowed,
        longest_gap: longest_gap(&departures, arrivals, ended_lost),
        longest_pause: longest_between(departures.iter().copied()),
        flows,
    }
}

impl Flow {
    fn ends_lost(&self) -> bool {
        self.lost_ranges
            .last()
            .is_some_and(|range| u64::from(range.last) + 1 == self.sent)
    }
}

fn account_flow(
    source_port: u16,
    times: &[Duration],
    log: impl Iterator<Item = (u32, Duration)> + Clone,
) -> Flow {
    let mut seen = Vec::new();
    let (mut received, mut duplicates, mut reordered) = (0, 0, 0);
    let mut highest = None;
    for (number, _) in log.clone() {
        if !mark(&mut seen, number) {
            duplicates += 1;
            continue;
        }
        received += 1;
        if highest.is_some_and(|highest| number < highest) {
            reordered += 1;
        }
        highest = highest.max(Some(number));
    }
    seen.resize(times.len(), false);
    let mut lost_ranges: Vec<LostRange> = Vec::new();
    for (number, &at) in (0_u32..)
        .zip(times)
        .filter(|&(number, _)| !seen[number as usize])
    {
        match lost_ranges.last_mut() {
            Some(range) if range.last + 1 == number => (range.last, range.to) = (number, at),
            _ => lost_ranges.push(LostRange {
                first: number,
                last: number,
                from: at,
                to: at,
            }),
        }
    }
    let sent = times.len() as u64;
    let ended_lost = seen.last() == Some(&false);
    let longest_gap = longest_gap(times, log.map(|(_, at)| at), ended_lost);
    Flow {
        source_port,
        sent,
        received,
        lost: sent - received,
        duplicates,
        reordered,
        longest_gap,
        lost_ranges,
    }
}

fn longest_gap(
    departures: &[Duration],
    arrivals: impl Iterator<Item = Duration>,
    ended_lost: bool,
) -> Gap {
    let head = departures.first().copied();
    let tail = departures.last().copied().filter(|_| ended_lost);
    longest_between(head.into_iter().chain(arrivals).chain(tail))
}

fn longest_between(moments: impl Iterator<Item = Duration>) -> Gap {
    let mut longest = Gap::default();
    let mut latest: Option<Duration> = None;
    for moment in moments {
        let from = latest.unwrap_or(moment);
        let length = moment.saturating_sub(from);
        if length > longest.length {
            longest = Gap { from, length };
        }
        latest = latest.max(Some(moment));
    }
    longest
}

impl fmt::Display for Report {
    /// A few lines for people, with what is missing and when.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there: {}", self.there)?;
        self.back
            .as_ref()
            .map_or(Ok(()), |back| write!(f, "\nback:  {back}"))
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |length: Duration| length.as_secs_f64() * 1000.0;
        write!(
            f,
            "{} sent, {} received, {} lost, {} twice, {} out of order; longest gap {:.1} ms at {:.3} s \
             (sender's longest pause {:.1} ms)",
            self.sent,
            self.received,
            self.lost,
            self.duplicates,
            self.reordered,
            ms(self.longest_gap.length),
            self.longest_gap.from.as_secs_f64(),
            ms(self.longest_pause.length),
        )?;
        if let Some((at, why)) = &self.first_refusal {
            write!(
                f,
                "; {} refused by the sending kernel, first at {:.3} s: {why}",
                self.refused,
                at.as_secs_f64()
            )?;
        }
        if self.overflowed > 0 {
            write!(
                f,
                "; {} of the lost had no room in the meter's own socket",
                self.overflowed
            )?;
        }
        for flow in &self.flows {
            for LostRange {
                first,
                last,
                from,
                to,
            } in &flow.lost_ranges
            {
                let (from, to) = (from.as_secs_f64(), to.as_secs_f64());
                write!(
                    f,
                    "\n  source port {}: {first} to {last} lost, sent {from:.4} to {to:.4} s",
                    flow.source_port
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn stream(times: &[u64], log: &[(u32, u64)]) -> Stream {
        let sent = Sent {
            flows: vec![(7, times.iter().map(|&t| ms(t)).collect())],
            ..Sent::default()
        };
        let log = log
            .iter()
            .map(|&(number, at)| (0, number, ms(at)))
            .collect();
        account(&sent, &Arrived { log, overflowed: 0 })
    }

    #[test]
    fn all_arrived() {
        let got = stream(&[0, 10, 20], &[(0, 1), (1, 11), (2, 21)]);
        assert_eq!(
            (
                got.sent,
                got.received,
                got.lost,
                got.duplicates,
                got.reordered
            ),
            (3, 3, 0, 0, 0)
        );
        assert_eq!(
            got.longest_gap,
            Gap {
                from: ms(1),
                length: ms(10)
            }
        );
        assert_eq!(
            got.longest_pause,
            Gap {
                from: ms(0),
                length: ms(10)
            }
        );
    }

    #[test]
    fn losses_are_told_in_runs_with_their_times() {
        let got = stream(&[0, 10, 20, 30, 40, 50], &[(0, 0), (3, 30), (4, 40)]);
        let run = |first, last, from, to| LostRange {
            first,
            last,
            from: ms(from),
            to: ms(to),
        };
        assert_eq!(
            got.flows[0].lost_ranges,
            [run(1, 2, 10, 20), run(5, 5, 50, 50)]
        );
        assert_eq!((got.received, got.lost), (3, 3));
        assert_eq!(
            got.longest_gap,
            Gap {
                from: ms(0),
                length: ms(30)
            }
        );
    }

    #[test]
    fn a_stream_that_dies_ends_in_a_gap() {
        let got = stream(&[0, 10, 20, 30, 90], &[(0, 0), (1, 10)]);
        assert_eq!(
            got.longest_gap,
            Gap {
                from: ms(10),
                length: ms(80)
            }
        );
    }

    #[test]
    fn a_stream_that_never_arrives_is_one_gap() {
        assert_eq!(
            stream(&[5, 10, 20], &[]).longest_gap,
            Gap {
                from: ms(5),
                length: ms(15)
            }
        );
    }

    #[test]
    fn duplicates_and_reordering_are_no_losses() {
        let got = stream(
            &[0, 1, 2, 3],
            &[(0, 0), (2, 2), (1, 3), (1, 4), (3, 5), (0, 6)],
        );
        assert_eq!(
            (got.received, got.lost, got.duplicates, got.reordered),
            (4, 0, 2, 1)
        );
    }

    #[test]
    fn flows_are_accounted_apart() {
        let sent = Sent {
            flows: vec![(1, vec![ms(0), ms(2)]), (2, vec![ms(1), ms(3)])],
            ..Sent::default()
        };
        let log = vec![(0, 0, ms(0)), (1, 0, ms(1)), (0, 1, ms(2))];
        let got = account(&sent, &Arrived { log, overflowed: 0 });
        assert_eq!((got.flows[0].lost, got.flows[1].lost, got.lost), (0, 1, 1));
        assert_eq!(got.longest_gap.length, ms(1));
    }

    #[test]
    fn foreign_datagrams_are_not_ours() {
        assert_eq!(parse(b"oxbond\x00\x02\x00\x00\x01\x00rest"), Some((2, 256)));
        for foreign in [
            &b""[..],
            b"oxbond",
            b"oxbond\x00\x02\x00\x00\x01",
            b"oxbind\x00\x02\x00\x00\x01\x00",
        ] {
            assert_eq!(parse(foreign), None);
        }
    }
}
