//! The properties of `x402_fuzz` in as much time as a test may take: on the files in `corpus/`, on
//! random bytes, and on those files with changes.
//!
//! The files are also the regressions: the input of every failure found, here or by libFuzzer, is
//! put into `corpus/<target>/` under a name that says what it was, and stays.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use x402_fuzz::{Blind, Dice};

/// Few enough cases for a debug build; `PROPTEST_CASES=25600` runs a hundred times as many.
/// Nothing is written into the source tree on failure.
fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = cases.saturating_mul(default.cases) / 256;
    ProptestConfig { cases, failure_persistence: None, ..default }
}

/// Every target, and its number of cases.
macro_rules! properties {
    ($($name:ident $cases:literal)*) => {
        $(mod $name {
            use x402_fuzz::$name::{check, mutate};

            #[test]
            fn committed() {
                super::committed(stringify!($name), check);
            }

            #[test]
            fn changed() {
                super::changed(stringify!($name), $cases, check, mutate);
            }
        })*

        #[test]
        fn every_target_is_here() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
            let files = files(&folder).into_iter().map(|path| path.with_extension(""));
            let names: Vec<_> = files.map(|path| path.file_name().unwrap().to_owned()).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

properties! {
    amount 20000
    base64 5000
    buyer 12000
    claims 60000
    eip712 3000
    exact_evm 16000
    exact_svm 3000
    header 6000
    json 4000
    messages 2500
    seller 10000
    svm_message 30000
}

type Mutate = fn(&[u8], usize, &mut Dice, &mut Blind<'_>) -> Vec<u8>;

/// Longer than any file in the corpus.
const MAX: usize = 1 << 14;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn corpus(target: &str) -> Vec<PathBuf> {
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target))
}

fn committed(target: &str, check: fn(&[u8])) {
    for path in corpus(target) {
        println!("{}", path.display());
        check(&fs::read(&path).unwrap());
    }
}

fn changed(target: &str, count: u32, check: fn(&[u8]), mutate: Mutate) {
    let corpus: Vec<_> = corpus(target).iter().map(|path| fs::read(path).unwrap()).collect();
    let words = dictionary();
    let start = prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..400),
        7 => prop::sample::select(corpus.clone()),
    ];
    let steps = prop::collection::vec(any::<u64>().no_shrink(), 0..5);
    let input_of = |(start, steps): (Vec<u8>, Vec<u64>)| {
        steps.into_iter().fold(start, |input, step| {
            let (mut dice, mut blind) = (Dice::new(step), Dice::new(!step));
            mutate(&input, MAX, &mut dice, &mut |bytes, max| {
                blindly(bytes, max, &mut blind, &corpus, &words)
            })
        })
    };
    let result = TestRunner::new(cases(count)).run(&(start, steps), |seed| {
        check(&input_of(seed));
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, seed)) => {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{target}-failure"));
            fs::write(&path, input_of(seed)).unwrap();
            panic!("{reason}\nThe input is in {}; it belongs into the corpus.", path.display());
        }
        Err(error) => panic!("{error}"),
    }
}

/// One change that knows nothing of what the bytes are.
fn blindly(
    bytes: &[u8],
    max: usize,
    dice: &mut Dice,
    corpus: &[Vec<u8>],
    words: &[Vec<u8>],
) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = dice.below(bytes.len() + 1);
    let most = dice.pick(&[4, 4, 64]);
    let len = 1 + dice.below(most);
    let end = bytes.len().min(at + len);
    match dice.below(9) {
        0 if at < end => bytes[at] ^= 1 << dice.below(8),
        1 if at < end => bytes[at] = dice.pick(b"\0\x01\x7f\x80\xff0129az-+/=\\\"[]{},: "),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let chunk = bytes[at..end].to_vec();
            (0..1 + dice.below(4)).for_each(|_| drop(bytes.splice(at..at, chunk.clone())));
        }
        4 => {
            let new: Vec<_> = (0..len).map(|_| dice.below(256) as u8).collect();
            drop(bytes.splice(at..at, new));
        }
        5 => {
            let other = &corpus[dice.below(corpus.len())];
            bytes.truncate(at);
            bytes.extend(&other[dice.below(other.len() + 1)..]);
        }
        6 => {
            let word = &words[dice.below(words.len())];
            drop(bytes.splice(at..at, word.iter().copied()));
        }
        7 => {
            let word = &words[dice.below(words.len())];
            let end = bytes.len().min(at + word.len());
            drop(bytes.splice(at..end, word.iter().copied()));
        }
        _ if at < end => {
            let to = dice.below(bytes.len() - (end - at) + 1);
            bytes.copy_within(at..end, to);
        }
        _ => bytes.push(dice.below(256) as u8),
    }
    bytes.truncate(max);
    bytes
}

/// The words of `x402.dict`: a line each, in quotation marks, with `\"` and `\\` for themselves.
fn dictionary() -> Vec<Vec<u8>> {
    let lines = include_str!("../x402.dict").lines();
    let words = lines.filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    words.map(|word| word.replace("\\\"", "\"").replace("\\\\", "\\").into_bytes()).collect()
}
