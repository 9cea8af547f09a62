//! Every target with the inputs that are kept, and with changed ones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use stitch_common::clock::{Clock, SystemClock};

use super::TARGETS;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
}

fn kept(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(corpus(target))
        .unwrap_or_else(|error| panic!("no corpus of {target}: {error}"))
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

#[test]
fn every_kept_input_is_taken_or_refused() {
    for (name, target) in TARGETS {
        let inputs = kept(name);
        assert!(!inputs.is_empty(), "nothing is kept for {name}");
        inputs.iter().for_each(|input| target(input));
    }
}

#[test]
fn every_folder_of_kept_inputs_has_a_target() {
    let folder = corpus("");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(super::target(&name).is_some(), "{name}");
    }
}

/// Deep nesting, long names and many members: as long as a record of Kafka may be by default.
#[test]
fn a_large_input_takes_no_longer_than_its_size_explains() {
    const BYTES: usize = 1 << 20;
    let repeated = |part: &str| part.repeat(BYTES / part.len()).into_bytes();
    let inputs = [
        repeated("["),
        repeated("{\"a\":"),
        repeated("\"\\u0000"),
        repeated("a=1\n"),
        repeated("[[counter]]\n"),
        repeated("_c_/"),
        repeated("0"),
        vec![0xff; BYTES],
    ];
    for (name, target) in TARGETS {
        // Names are compared each with each, and a directory has few; an environment is bounded by the system.
        let bytes = if *name == "queue" { 4096 } else { BYTES / 16 };
        for input in &inputs {
            let began = SystemClock.now();
            target(&input[..bytes.min(input.len())]);
            assert!(
                SystemClock.now().since(began) < Duration::from_secs(20),
                "{name}"
            );
        }
    }
}

/// A kept input with some bytes changed, left out or put in.
fn changed(inputs: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), any::<u8>(), 0..3_u8);
    let edits = prop::collection::vec(edit, 0..6);
    (prop::sample::select(inputs), edits).prop_map(|(mut bytes, edits)| {
        for (at, byte, how) in edits {
            let at = at.index(bytes.len() + 1);
            match how {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                _ if at < bytes.len() => bytes[at] = byte,
                _ => bytes.push(byte),
            }
        }
        bytes
    })
}

#[test]
fn changed_inputs_are_taken_or_refused() {
    for (name, target) in TARGETS {
        let config = ProptestConfig::with_cases(200);
        let mut runner = proptest::test_runner::TestRunner::new(config);
        let outcome = runner.run(&changed(kept(name)), |input| {
            target(&input);
            Ok(())
        });
        assert!(outcome.is_ok(), "{name}: {outcome:?}");
    }
}
