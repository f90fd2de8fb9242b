//! `oxbond plan`: what `oxbond apply` would do, in words.

use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;

use super::{files, say, unexpected};
use crate::control::client::Client;
use crate::control::protocol::{Reply, Request};
use crate::exit::{Blame, Failure};
use crate::network::Planned;
use crate::paths::RunPaths;

/// Version of the JSON form.
const PLAN_VERSION: u32 = 1;

pub(super) fn grammar() -> Command {
    Command::new("plan")
        .about("Show what 'oxbond apply' would do, step by step, and what each step interrupts")
        .after_help("Exit code: 0 without a difference between files and system, 7 with one; else as of every command.")
        .args(files::arguments())
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("A versioned JSON document"),
        )
}

pub(super) fn run(run_root: &Path, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let wanted = files::given(matches)?;
    let paths = RunPaths::here(run_root)?;
    let mut client = Client::connect(&paths.socket())?;
    let reply = client.call(Request::Plan { wanted })?;
    let Reply::Plan { steps } = reply else {
        return Err(unexpected(&reply));
    };
    say(&match matches.get_flag("json") {
        true => document(&steps)?,
        false => words(&steps),
    })?;
    Ok(match steps.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(Blame::Unready.exit_code()),
    })
}

fn document(steps: &[Planned]) -> Result<String, Failure> {
    let document = json!({ "version": PLAN_VERSION, "steps": steps });
    serde_json::to_string_pretty(&document)
        .map(|text| text + "\n")
        .map_err(|e| Failure::new(Blame::Bug, format!("cannot write the plan as JSON: {e}")))
}

fn words(steps: &[Planned]) -> String {
    if steps.is_empty() {
        return "nothing to change\n".to_owned();
    }
    let mut text = String::new();
    let mut told = None;
    for planned in steps {
        text += &planned.words;
        // Once for steps in a row that together interrupt one thing.
        if let Some(what) = planned
            .interrupts
            .as_ref()
            .filter(|what| told != Some(*what))
        {
            text += &format!("\n    interrupts: {what}");
        }
        told = planned.interrupts.as_ref();
        text += "\n";
    }
    if steps.iter().all(|planned| planned.interrupts.is_none()) {
        text += "no interruption\n";
    }
    text
}
