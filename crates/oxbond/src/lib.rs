//! `oxbond`: joins network interfaces on Linux. The command line talks to one daemon per network namespace.
//!
//! A library for the fuzz targets' sake: they reach [`decoders`]. To the program it is one call, [`run`].

mod cli;
mod control;
mod daemon;
pub mod decoders;
mod driver;
mod exit;
mod ip;
mod network;
mod paths;
mod refusal;
mod render;
mod report;
mod request;
mod sarif;

use std::process::ExitCode;

/// Does what the command line asks for.
pub fn run() -> ExitCode {
    let matches = cli::grammar().get_matches();
    match cli::run(&matches) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("oxbond: {failure}");
            ExitCode::from(failure.blame.exit_code())
        }
    }
}
