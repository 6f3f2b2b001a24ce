//! Properties that hold for any input: one module and one `check` for each target. libFuzzer runs
//! them (`fuzz_targets/`), and so do the tests (`tests/properties.rs`). Beside them is their shared
//! code: JSON as `serde_json` reads it, dice, and changes to JSON that leave it JSON.
#![forbid(unsafe_code)]

pub mod amount;
pub mod base64;
pub mod buyer;
pub mod claims;
pub mod eip712;
pub mod exact_evm;
pub mod exact_svm;
pub mod header;
pub mod json;
pub mod messages;
pub mod seller;
pub mod svm_message;

mod change;
mod dice;
mod tree;

use arbitrary::{Arbitrary, Unstructured};

pub use dice::Dice;

/// Changes bytes of which it knows nothing, to so many at most: libFuzzer does, or the tests do.
pub type Blind<'a> = dyn FnMut(&[u8], usize) -> Vec<u8> + 'a;

/// The `mutate` of targets that know no better.
pub fn blindly(input: &[u8], max: usize, _: &mut Dice, blind: &mut Blind<'_>) -> Vec<u8> {
    blind(input, max)
}

/// The input that libFuzzer makes of bytes; `None` if there are too few.
fn structured<'a, T: Arbitrary<'a>>(bytes: &'a [u8]) -> Option<T> {
    let enough = bytes.len() >= T::size_hint(0).0;
    enough.then(|| T::arbitrary_take_rest(Unstructured::new(bytes)).ok()).flatten()
}

/// Checks the files named as arguments.
pub fn check_files(check: fn(&[u8])) {
    for path in std::env::args_os().skip(1) {
        println!("{}", path.display());
        check(&std::fs::read(path).expect("a file"));
    }
}

/// All of a binary in `fuzz_targets/`. cargo-fuzz sets `cfg(fuzzing)`; without it the binary needs
/// neither libFuzzer nor a nightly compiler, and checks the files named as arguments.
///
/// Those with a `mutate` of their own say so: libFuzzer tries short inputs first, but only if it
/// changes them by itself.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        #[cfg(not(fuzzing))]
        fn main() {
            $crate::check_files($crate::$name::check);
        }

        #[cfg(fuzzing)]
        ::libfuzzer_sys::fuzz_target!(|input: &[u8]| $crate::$name::check(input));
    };
    ($name:ident, mutate) => {
        $crate::target!($name);

        #[cfg(fuzzing)]
        ::libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max: usize, seed: u32| {
            let mut blind = |bytes: &[u8], max: usize| {
                let mut changed = bytes.to_vec();
                changed.resize(max.max(bytes.len()), 0);
                let len = ::libfuzzer_sys::fuzzer_mutate(&mut changed, bytes.len(), max);
                changed.truncate(len);
                changed
            };
            let mut dice = $crate::Dice::new(seed.into());
            let changed = $crate::$name::mutate(&data[..size], max, &mut dice, &mut blind);
            let len = changed.len().min(max);
            data[..len].copy_from_slice(&changed[..len]);
            len
        });
    };
}
