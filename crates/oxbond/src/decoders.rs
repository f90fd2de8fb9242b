//! What the program reads that another process wrote, as the fuzz targets (`fuzz/`) need it: text in, what was understood
//! or the refusal out. The daemon and the client come here by their own ways.

use oxbond_core::bond::Bond;

use crate::control::protocol::{BondRequest, Call, PortRequest, Reply, Request};
use crate::daemon::state::SavedBond;
use crate::exit::Failure;
use crate::request::{parse_addresses, parse_mac, parse_options, parse_port_options};

/// Reads a line that a client sent, and the words in it: the call as it is written, or why the daemon refuses it.
pub fn call(line: &str) -> Result<String, String> {
    let call = Call::parse(line).map_err(|failure| failure.to_string())?;
    words(&call.request).map_err(|failure| failure.to_string())?;
    written(&call)
}

/// Reads a line that a daemon sent: the reply as it is written, or why the client refuses it.
pub fn reply(line: &str) -> Result<String, String> {
    let reply: Reply = serde_json::from_str(line).map_err(|e| e.to_string())?;
    written(&reply)
}

/// Reads a state file: the core in it, where our own engine has the bond, or why the daemon leaves it alone.
pub fn saved_bond(text: &str) -> Result<Option<Bond>, String> {
    SavedBond::parse(text).map(|saved| match saved {
        SavedBond::Ebpf(saved) => Some(saved.core),
        SavedBond::Kernel(_) => None,
    })
}

fn written(line: &impl serde::Serialize) -> Result<String, String> {
    serde_json::to_string(line).map_err(|e| e.to_string())
}

fn words(request: &Request) -> Result<(), Failure> {
    match request {
        Request::Up(bond) => of_bond(bond),
        Request::Apply { wanted } | Request::Plan { wanted } | Request::Try { wanted, .. } => {
            wanted
                .bonds
                .iter()
                .try_for_each(|bond| of_bond(&bond.request))
        }
        Request::AddPort { port, .. } | Request::SetPort { port, .. } => of_port(port),
        Request::Set { options, .. } => parse_options(options).map(drop),
        _ => Ok(()),
    }
}

fn of_bond(bond: &BondRequest) -> Result<(), Failure> {
    parse_options(&bond.options)?;
    bond.mac.as_deref().map(parse_mac).transpose()?;
    parse_addresses(&bond.addresses)?;
    bond.ports.iter().try_for_each(of_port)
}

fn of_port(port: &PortRequest) -> Result<(), Failure> {
    parse_port_options(&port.options).map(drop)
}
