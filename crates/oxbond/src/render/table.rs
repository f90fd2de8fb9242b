//! Status for people: a block per bond, a row per port.
//!
//! ```text
//! bond0  active-backup  up  active enp3s0  02:00:5e:00:53:01  mtu 9000
//!   ports: 2 expected, 2 attached, 1 carrying; 3 failovers; engine ebpf (veth, tcx)
//!   PORT    LINK     ROLE    SPEED    FAILURES  WHY
//!   enp3s0  up 3m    active  10 Gb/s         0  primary
//!   enp4s0  down 2s  backup  -               4  no carrier
//! ```
//!
//! A bond in mode 802.3ad has a line more: `lacp: aggregator 1 of 2 ports, key 15; partner 02:00:5e:00:53:02, key 15`; one of
//! the kernel's driver, where that shows attributes that we do not know: `attributes not known here: 35=01`.
//!
//! Plain ASCII but for names; colours only when asked for.

use core::time::Duration;

use oxbond_core::driver::RawAttribute;
use oxbond_core::lacp;
use oxbond_core::status::{MiiStatus, PortRole, PortStatus};

use crate::report::{BondReport, EngineReport};

/// Columns to assume where the terminal does not tell.
pub(crate) const DEFAULT_WIDTH: usize = 80;

/// Fewest columns the last column is given, however narrow the terminal.
const WHY_WIDTH_MIN: usize = 16;

const GAP: &str = "  ";

/// All bonds, an empty line between two. `width` is the number of columns to stay within where that is possible: only
/// reasons are wrapped, nothing is cut off.
pub(crate) fn table(bonds: &[BondReport], colour: bool, width: usize) -> String {
    if bonds.is_empty() {
        return "no bonds\n".to_owned();
    }
    let paint = Paint { colour };
    let blocks: Vec<String> = bonds.iter().map(|bond| block(bond, paint, width)).collect();
    blocks.join("\n")
}

fn block(bond: &BondReport, paint: Paint, width: usize) -> String {
    let status = &bond.status;
    let mut head = vec![
        paint.bold(&printable(&status.name)),
        status.options.mode.word().to_owned(),
        if status.carrier {
            paint.green("up")
        } else {
            paint.red("down")
        },
    ];
    if let Some(active) = &status.active_port {
        head.push(format!("active {}", printable(active)));
    }
    head.extend([status.mac.to_string(), format!("mtu {}", bond.engine.mtu)]);

    let numbers = format!(
        "ports: {} expected, {} attached, {} carrying",
        status.expected.len(),
        status.attached(),
        status.carrying()
    );
    let wanting = status.carrying() == 0 || status.attached() < status.expected.len();
    let mut facts = vec![if wanting {
        paint.yellow(&numbers)
    } else {
        numbers
    }];
    if let Some(failovers) = status.failovers.filter(|failovers| *failovers > 0) {
        let s = if failovers == 1 { "" } else { "s" };
        facts.push(format!("{failovers} failover{s}"));
    }
    facts.push(engine(&bond.engine));

    let mut lines = vec![head.join(GAP), format!("  {}", facts.join("; "))];
    lines.extend(
        status
            .lacp
            .as_ref()
            .map(|lacp| format!("  lacp: {}", aggregation(lacp))),
    );
    if !status.raw.is_empty() {
        lines.push(format!("  {}", raw(&status.raw)));
    }
    format!("{}\n{}", lines.join("\n"), rows(bond, paint, width))
}

/// What carries it, and whether anybody has it under management.
fn engine(engine: &EngineReport) -> String {
    let managed = (!engine.managed).then_some("not managed");
    let parts = [engine.front.as_deref(), engine.hook.as_deref(), managed];
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    match parts.as_slice() {
        [] => format!("engine {}", engine.engine),
        parts => format!("engine {} ({})", engine.engine, parts.join(", ")),
    }
}

/// What else the driver shows.
fn raw(attributes: &[RawAttribute]) -> String {
    let each = attributes
        .iter()
        .map(|attribute| format!("{}={}", attribute.number, attribute.value));
    let each: Vec<String> = each.collect();
    format!("attributes not known here: {}", each.join(" "))
}

/// What the ports have come to with their partner.
fn aggregation(lacp: &lacp::Status) -> String {
    let Some(active) = lacp.active() else {
        return "no aggregator is active".to_owned();
    };
    let ports = active.ports.len();
    let key = |key: Option<u16>| key.map_or_else(String::new, |key| format!(", key {key}"));
    let partner = match active.partner_system {
        None => String::new(),
        Some(system) if system.is_zero() => "; no partner".to_owned(),
        Some(system) => format!("; partner {system}{}", key(active.partner_key)),
    };
    format!(
        "aggregator {} of {ports} port{}{}{partner}",
        active.id,
        if ports == 1 { "" } else { "s" },
        key(active.actor_key)
    )
}

/// A cell and the colour it is shown in.
struct Cell {
    text: String,
    paint: fn(Paint, &str) -> String,
}

impl Cell {
    fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            paint: |_, text| text.to_owned(),
        }
    }
}

/// Columns before the last; the numbers of `FAILURES` stand to the right.
const COLUMNS: [&str; 5] = ["PORT", "LINK", "ROLE", "SPEED", "FAILURES"];
const FAILURES: usize = 4;

fn rows(bond: &BondReport, paint: Paint, width: usize) -> String {
    let status = &bond.status;
    let mut rows: Vec<([Cell; 5], String)> = status.ports.iter().map(port_row).collect();
    for name in status.missing() {
        let missing = Cell {
            text: "missing".to_owned(),
            paint: Paint::red,
        };
        let cells = [
            Cell::plain(printable(name)),
            missing,
            Cell::plain("-"),
            Cell::plain("-"),
            Cell::plain("-"),
        ];
        let why = bond
            .hindered
            .get(name)
            .map_or("expected, but not in the bond", |why| why);
        rows.push((cells, why.to_owned()));
    }
    if rows.is_empty() {
        return String::new();
    }
    let widths: [usize; 5] = core::array::from_fn(|column| {
        rows.iter()
            .map(|(cells, _)| columns(&cells[column].text))
            .chain([COLUMNS[column].len()])
            .max()
            .unwrap_or(0)
    });
    let indent = GAP.len() + widths.iter().map(|width| width + GAP.len()).sum::<usize>();
    let mut text = String::new();
    let mut line = |cells: &[Cell; 5], why: &str| {
        text.push_str(GAP);
        for (column, cell) in cells.iter().enumerate() {
            let fill = widths[column] - columns(&cell.text);
            if column == FAILURES {
                pad(&mut text, fill);
            }
            text.push_str(&(cell.paint)(paint, &cell.text));
            if column != FAILURES {
                pad(&mut text, fill);
            }
            text.push_str(GAP);
        }
        let wrapped = wrap(why, width.saturating_sub(indent).max(WHY_WIDTH_MIN));
        for (number, line) in wrapped.iter().enumerate() {
            if number > 0 {
                text.push('\n');
                pad(&mut text, indent);
            }
            text.push_str(line);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    };
    line(&COLUMNS.map(Cell::plain), "WHY");
    for (cells, why) in &rows {
        line(cells, why);
    }
    text
}

fn port_row(port: &PortStatus) -> ([Cell; 5], String) {
    let (word, paint): (_, fn(Paint, &str) -> String) = match port.mii_status {
        MiiStatus::Up => ("up", Paint::green),
        MiiStatus::GoingDown => ("going down", Paint::yellow),
        MiiStatus::Down => ("down", Paint::red),
        MiiStatus::GoingBack => ("going back", Paint::yellow),
    };
    let role = match port.role {
        PortRole::Active => Cell {
            text: "active".to_owned(),
            paint: Paint::bold,
        },
        PortRole::Backup => Cell::plain("backup"),
    };
    let cells = [
        Cell::plain(printable(&port.name)),
        Cell {
            text: match port.since {
                Some(since) => format!("{word} {}", ago(since)),
                None => word.to_owned(),
            },
            paint,
        },
        role,
        Cell::plain(port.speed_mbps.map_or_else(|| "-".to_owned(), speed)),
        Cell::plain(port.link_failure_count.to_string()),
    ];
    let mut why = printable(&port.reason);
    if !port.raw.is_empty() {
        why += &format!("; {}", raw(&port.raw));
    }
    (cells, why)
}

/// `100 Mb/s`, `2.5 Gb/s`, `10 Gb/s`.
fn speed(mbps: u32) -> String {
    if mbps < 1000 {
        format!("{mbps} Mb/s")
    } else if mbps.is_multiple_of(1000) {
        format!("{} Gb/s", mbps / 1000)
    } else {
        format!("{:.1} Gb/s", f64::from(mbps) / 1000.0)
    }
}

/// The largest unit that is full: `0s`, `59s`, `3m`, `2h`, `400d`.
fn ago(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Interface names may hold any byte but a few; none of them may reach the terminal as a command.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

fn pad(text: &mut String, spaces: usize) {
    text.extend(core::iter::repeat_n(' ', spaces));
}

pub(super) fn columns(text: &str) -> usize {
    text.chars().count()
}

/// Breaks at spaces; a word longer than a line stands alone.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        // There is always a last line.
        let Some(line) = lines.last_mut() else {
            continue;
        };
        if line.is_empty() {
            line.push_str(word);
        } else if columns(line) + 1 + columns(word) <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// Colours, if wanted.
#[derive(Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    fn bold(self, text: &str) -> String {
        self.sgr("1", text)
    }

    fn green(self, text: &str) -> String {
        self.sgr("32", text)
    }

    fn yellow(self, text: &str) -> String {
        self.sgr("33", text)
    }

    fn red(self, text: &str) -> String {
        self.sgr("31", text)
    }

    /// "Select graphic rendition" of ECMA-48, which every terminal in use knows.
    fn sgr(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(
            [10, 100, 1000, 2500, 10_000, 400_000].map(speed).join(" "),
            "10 Mb/s 100 Mb/s 1 Gb/s 2.5 Gb/s 10 Gb/s 400 Gb/s"
        );
        let times = [0, 59, 60, 3599, 3600, 86_399, 86_400, 34_560_000]
            .map(|s| ago(Duration::from_secs(s)));
        assert_eq!(times.join(" "), "0s 59s 1m 59m 1h 23h 1d 400d");
    }

    #[test]
    fn wrapping_loses_nothing() {
        assert_eq!(wrap("a bb ccc dddd", 6), ["a bb", "ccc", "dddd"]);
        assert_eq!(
            wrap("incomprehensibilities x", 6),
            ["incomprehensibilities", "x"]
        );
        assert_eq!(wrap("", 6), [""]);
    }
}
