//! Mutated inputs for tests of what reads strangers' bytes.
//!
//! A test gives a corpus, which is a directory of small files, and what must hold for any bytes. It is
//! asked about each file as it is, and then about mutations of them: always the same ones, so that a test
//! that has passed passes again. With `FUZZ_SECONDS` in the environment they are others each time, for so
//! long; `.ci/fuzz` runs all such tests that way. What fails is made small first, and shown as a literal:
//! put it into the corpus.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// How many inputs are made in an ordinary run, and how long it takes at most.
const FEW: u64 = 4096;
const SHORT: Duration = Duration::from_secs(3);
/// How many inputs are made between two looks at the clock.
const ROUND: u32 = 64;
/// No input is longer, bytes.
const LONGEST: usize = 64 * 1024;

/// A change of an input.
#[derive(Debug, Clone)]
enum Mutation {
    /// One bit is another.
    Flip(Index, u8),
    /// Bytes come in.
    Insert(Index, Vec<u8>),
    /// Bytes go.
    Delete(Index, usize),
    /// A piece is there several times.
    Repeat(Index, usize, usize),
    /// A piece of another input comes in.
    Splice(Index, Index, Index, usize),
    /// It ends there.
    Cut(Index),
    /// A number is another one: of the kind at which sums go wrong.
    Number(Index, u64, usize),
}

fn mutation(tokens: &'static [&'static [u8]]) -> impl Strategy<Value = Mutation> {
    let piece = 1..64usize;
    let token = proptest::sample::select(tokens.to_vec()).prop_map(<[u8]>::to_vec);
    let edge = prop_oneof![
        Just(0),
        Just(u64::MAX),
        Just(1 << 31),
        Just((1 << 63) - 1),
        Just(1 << 40),
        any::<u64>()
    ];
    prop_oneof![
        2 => (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        2 => (any::<Index>(), vec(any::<u8>(), 1..16)).prop_map(|(at, new)| Mutation::Insert(at, new)),
        4 => (any::<Index>(), token).prop_map(|(at, new)| Mutation::Insert(at, new)),
        2 => (any::<Index>(), piece.clone()).prop_map(|(at, count)| Mutation::Delete(at, count)),
        1 => (any::<Index>(), piece.clone(), 2..200usize)
            .prop_map(|(at, count, times)| Mutation::Repeat(at, count, times)),
        2 => (any::<Index>(), any::<Index>(), any::<Index>(), 1..512usize)
            .prop_map(|(at, of, from, count)| Mutation::Splice(at, of, from, count)),
        1 => any::<Index>().prop_map(Mutation::Cut),
        1 => (any::<Index>(), edge, proptest::sample::select(vec![1, 2, 4, 8]))
            .prop_map(|(at, number, width)| Mutation::Number(at, number, width)),
    ]
}

fn apply(bytes: &mut Vec<u8>, mutation: &Mutation, corpus: &[Vec<u8>]) {
    let place = |at: &Index| at.index(bytes.len() + 1);
    match mutation {
        Mutation::Flip(at, bit) => {
            let at = place(at);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        Mutation::Insert(at, new) => {
            let at = place(at);
            bytes.splice(at..at, new.iter().copied());
        }
        Mutation::Delete(at, count) => {
            let at = place(at);
            bytes.drain(at..bytes.len().min(at + count));
        }
        Mutation::Repeat(at, count, times) => {
            let at = place(at);
            let piece = bytes[at..bytes.len().min(at + count)].repeat(*times);
            bytes.splice(at..at, piece);
        }
        Mutation::Splice(at, of, from, count) => {
            let at = place(at);
            let other = of.get(corpus);
            let from = from.index(other.len() + 1);
            let piece = &other[from..other.len().min(from + count)];
            bytes.splice(at..at, piece.iter().copied());
        }
        Mutation::Cut(at) => {
            let at = place(at);
            bytes.truncate(at);
        }
        Mutation::Number(at, number, width) => {
            let at = place(at);
            let end = bytes.len().min(at + width);
            let number = &number.to_be_bytes()[8 - width..];
            bytes.splice(at..end, number.iter().copied());
        }
    }
    bytes.truncate(LONGEST);
}

/// Asks `holds` about the files of `corpus` and about mutations of them; `tokens` are words of the format.
///
/// # Panics
/// `holds` panics, with the input that made it do so; or the corpus is empty.
pub fn fuzz(corpus: &Path, tokens: &'static [&'static [u8]], holds: impl Fn(&[u8])) {
    let mut files: Vec<_> = std::fs::read_dir(corpus)
        .unwrap_or_else(|error| panic!("{}: {error}", corpus.display()))
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    let inputs: Vec<Vec<u8>> = files.iter().filter_map(|path| std::fs::read(path).ok()).collect();
    assert!(!inputs.is_empty(), "{} is empty", corpus.display());
    inputs.iter().for_each(|input| holds(input));

    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let limit = seconds.map_or(SHORT, Duration::from_secs);
    let most = seconds.map_or(FEW, |_| u64::MAX);
    let strategy = (any::<Index>(), vec(mutation(tokens), 1..8));
    let made = |(first, mutations): &(Index, Vec<Mutation>)| {
        let mut bytes = first.get(&inputs).clone();
        mutations.iter().for_each(|mutation| apply(&mut bytes, mutation, &inputs));
        bytes
    };
    let config = Config { cases: ROUND, failure_persistence: None, ..Config::default() };
    let begin = Instant::now();
    let count = Cell::new(0_u64);
    let mut source = match seconds {
        Some(_) => TestRunner::new(config.clone()),
        None => {
            let same = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
            TestRunner::new_with_rng(config.clone(), same)
        }
    };
    while begin.elapsed() < limit && count.get() < most {
        // A runner that has had its cases asks about no more.
        let mut runner = TestRunner::new_with_rng(config.clone(), source.new_rng());
        let outcome = runner.run(&strategy, |plan| {
            let bytes = made(&plan);
            count.set(count.get() + 1);
            let asked = std::panic::AssertUnwindSafe(|| holds(&bytes));
            std::panic::catch_unwind(asked)
                .map_err(|_| TestCaseError::fail("it panicked: see above"))
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(reason, plan)) => {
                panic!("{reason}; the smallest such input: b\"{}\"", made(&plan).escape_ascii());
            }
            Err(TestError::Abort(reason)) => panic!("{reason}"),
        }
    }
    let count = count.get();
    println!("{}: {count} inputs in {} s", corpus.display(), begin.elapsed().as_secs());
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;

    /// Each round asks about other inputs, as many as are counted.
    #[test]
    fn every_round_has_inputs_of_its_own() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/report");
        let seen = RefCell::new(BTreeSet::new());
        let asked = Cell::new(0_u64);
        fuzz(Path::new(corpus), &[b"token"], |bytes| {
            asked.set(asked.get() + 1);
            seen.borrow_mut().insert(bytes.to_vec());
        });
        let rounds = seen.borrow().len() / ROUND as usize;
        assert!(rounds > 8 && asked.get() > FEW / 2, "{rounds} rounds, {} inputs", asked.get());
    }
}
