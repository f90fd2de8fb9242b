//! `oxbond`: joins network interfaces on Linux. The command line talks to one daemon per network namespace.

mod cli;
mod control;
mod daemon;
mod exit;
mod ip;
mod paths;
mod render;
mod report;

use std::process::ExitCode;

fn main() -> ExitCode {
    let matches = cli::grammar().get_matches();
    match cli::run(&matches) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("oxbond: {failure}");
            ExitCode::from(failure.blame.exit_code())
        }
    }
}
