//! The words behind `ip route add`, as scripts, `up` lines and route files have them.

use core::fmt::Write as _;
use core::net::IpAddr;

use crate::model::{Network, Route};

/// A route and what was said with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RouteLine {
    /// The route.
    pub(super) route: Route,
    /// The device it is over.
    pub(super) device: Option<String>,
}

/// Types of routes that lead nowhere, or to this machine.
const OTHER_TYPES: [&str; 9] = [
    "anycast",
    "blackhole",
    "broadcast",
    "local",
    "multicast",
    "nat",
    "prohibit",
    "throw",
    "unreachable",
];

/// Reads the words. `is_v6` is the family of a default route that nothing else tells.
///
/// # Errors
///
/// Says which word is not taken over, or is wrong.
pub(super) fn read<'w>(
    words: impl IntoIterator<Item = &'w str>,
    is_v6: bool,
) -> Result<RouteLine, String> {
    let mut words = words.into_iter().peekable();
    let mut line = RouteLine {
        route: Route::new(Network::DEFAULT_V4, None),
        device: None,
    };
    words.next_if_eq(&"unicast");
    words.next_if_eq(&"to");
    let to = words.next().ok_or("it names no destination")?;
    if OTHER_TYPES.contains(&to) {
        return Err(format!("{to} routes are not taken over"));
    }
    while let Some(word) = words.next() {
        if word == "onlink" {
            line.route.on_link = true;
            continue;
        }
        words.next_if(|next| word == "via" && matches!(*next, "inet" | "inet6"));
        let value = words.next();
        let value = value.ok_or_else(|| format!("{word} lacks its value, or is not taken over"))?;
        let number = || {
            let wrong = |_| format!("{word} {value:?} is no number");
            value.parse::<u32>().map_err(wrong)
        };
        let is_short_for = |keyword: &str| word.len() > 1 && keyword.starts_with(word);
        match word {
            "via" => {
                let wrong = |_| format!("{value:?} is no IP address");
                line.route.via = Some(value.parse::<IpAddr>().map_err(wrong)?);
            }
            "dev" | "oif" => line.device = Some(value.to_owned()),
            "scope" if matches!(value, "link" | "global") => {}
            _ if is_short_for("metric")
                || is_short_for("priority")
                || is_short_for("preference") =>
            {
                line.route.metric = Some(number()?);
            }
            _ if is_short_for("table") && value == "main" => {}
            _ if is_short_for("table") => line.route.table = Some(number()?),
            // Who made it.
            _ if is_short_for("protocol") => {}
            _ => return Err(format!("{word} has no place in a route here")),
        }
    }
    line.route.to = match to {
        "default" | "any" | "all" => match line.route.via {
            Some(via) => Network::default_like(via),
            None if is_v6 => Network::DEFAULT_V6,
            None => Network::DEFAULT_V4,
        },
        "0/0" | "0" => Network::DEFAULT_V4,
        to => to.parse().map_err(|e| format!("{e}"))?,
    };
    let has_other_family = |via: IpAddr| via.is_ipv4() != line.route.to.address.is_ipv4();
    if line.route.via.is_some_and(has_other_family) {
        return Err("its router is of the other family".to_owned());
    }
    Ok(line)
}

/// The words of a route.
pub(super) fn write(route: &Route, device: &str) -> String {
    let mut text = route.to.to_string();
    // Writing to a string cannot fail.
    if let Some(via) = route.via {
        let _ = write!(text, " via {via}");
    }
    let _ = write!(text, " dev {device}");
    if let Some(metric) = route.metric {
        let _ = write!(text, " metric {metric}");
    }
    if let Some(table) = route.table {
        let _ = write!(text, " table {table}");
    }
    if route.on_link {
        text.push_str(" onlink");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_routes() {
        for (words, route) in [
            ("10.0.0.0/8 via 192.168.1.1", "10.0.0.0/8 via 192.168.1.1 -"),
            ("default via fd00::1 dev bond0", "::/0 via fd00::1 bond0"),
            (
                "unicast 10.0.0.1 via inet 10.9.9.9 tab 7 met 3 onlink",
                "10.0.0.1/32 via 10.9.9.9 metric 3 table 7 on-link -",
            ),
            (
                "to 0/0 dev bond0 proto static scope link table main",
                "0.0.0.0/0 bond0",
            ),
        ] {
            let line = read(words.split(' '), false).unwrap();
            let device = line.device.as_deref().unwrap_or("-");
            assert_eq!(format!("{} {device}", line.route), route, "{words}");
            let again = write(&line.route, device);
            assert_eq!(read(again.split(' '), false).unwrap().route, line.route);
        }
        for (words, why) in [
            ("10.0.0.0/8 via", "lacks"),
            ("10.0.0.1/8 via 10.0.0.2", "its network is 10.0.0.0/8"),
            ("10.0.0.0/8 src 10.0.0.1", "src has no place"),
            ("blackhole 10.0.0.0/8", "blackhole routes"),
            ("10.0.0.0/8 via fd00::1", "other family"),
            ("10.0.0.0/8 metric x", "no number"),
            ("", "no network"),
        ] {
            let error = read(words.split(' '), false).unwrap_err();
            assert!(error.contains(why), "{words}: {error}");
        }
    }
}
