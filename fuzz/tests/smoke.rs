//! Every target over its corpus and over mutations of it, without libFuzzer: what the fuzzers found once stays mended,
//! and what breaks a decoder on simple damage is seen at once.
#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use oxbond_fuzz::{Mutator, Target, seeds, targets};

/// Mutations of each target.
const MUTATIONS: usize = 500;

/// Longest time for one input. Far more than any takes: what takes this long hangs, or is quadratic at least.
const INPUT_TIME: Duration = Duration::from_secs(5);

#[test]
fn every_target_has_inputs_and_every_input_a_target() {
    let known = targets();
    for target in &known {
        let seeds = seeds(&target.name).unwrap();
        assert!(seeds.len() > 1, "{} has no corpus", target.name);
    }
    for directory in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).unwrap() {
        let name = directory.unwrap().file_name().into_string().unwrap();
        assert!(
            known.iter().any(|target| target.name == name),
            "nothing reads the corpus {name}"
        );
    }
}

#[test]
fn corpus_and_mutations_do_no_harm() {
    thread::scope(|scope| {
        for target in targets() {
            let work = move || smoke(&target);
            thread::Builder::new()
                .name("fuzz".to_owned())
                .spawn_scoped(scope, work)
                .unwrap();
        }
    });
}

fn smoke(target: &Target) {
    let begin = Instant::now();
    let seeds = seeds(&target.name).unwrap();
    for (path, input) in &seeds {
        attempt(target, input, path);
    }
    let mut mutator = Mutator::new(seeds.len() as u64);
    for _ in 0..MUTATIONS {
        let (path, one) = &seeds[mutator.below(seeds.len())];
        let (_, other) = &seeds[mutator.below(seeds.len())];
        attempt(target, &mutator.mutate(one, other), path);
    }
    println!(
        "{}: {} inputs and {MUTATIONS} mutations in {:?}",
        target.name,
        seeds.len(),
        begin.elapsed()
    );
}

/// Runs one input; what it breaks on is left in a file, so that it can be run again and kept.
fn attempt(target: &Target, input: &[u8], from: &Path) {
    let begin = Instant::now();
    let survived = catch_unwind(AssertUnwindSafe(|| target.run(input))).is_ok();
    let took = begin.elapsed();
    if survived && took < INPUT_TIME {
        return;
    }
    let kept: PathBuf = env::temp_dir().join(format!("oxbond-fuzz-{}", target.name));
    fs::write(&kept, input).unwrap();
    panic!(
        "{} breaks on {} (made from {}), after {took:?}",
        target.name,
        kept.display(),
        from.display()
    );
}
