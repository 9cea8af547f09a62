//! Every target with the inputs of its corpus, and with mutated ones.

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

fn inputs_of(target: &str) -> Vec<Vec<u8>> {
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
fn inputs_of_the_corpus_are_accepted_or_refused() {
    for (name, target) in TARGETS {
        let inputs = inputs_of(name);
        assert!(!inputs.is_empty(), "no inputs for {name}");
        inputs.iter().for_each(|input| target(input));
    }
}

#[test]
fn every_folder_of_the_corpus_has_a_target() {
    let folder = corpus("");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(super::target(&name).is_some(), "{name}");
    }
}

/// Deep nesting, long names and many members, up to the largest record of Kafka by default.
#[test]
fn large_inputs_take_time_in_proportion_to_their_size() {
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
        // Names are compared pairwise, and a directory has few; an environment is bounded by the system.
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

/// An input of the corpus with some bytes changed, removed or inserted.
fn mutated(inputs: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
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
fn mutated_inputs_are_accepted_or_refused() {
    for (name, target) in TARGETS {
        let config = ProptestConfig::with_cases(200);
        let mut runner = proptest::test_runner::TestRunner::new(config);
        let outcome = runner.run(&mutated(inputs_of(name)), |input| {
            target(&input);
            Ok(())
        });
        assert!(outcome.is_ok(), "{name}: {outcome:?}");
    }
}
