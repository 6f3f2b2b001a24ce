//! Runs `x402_fuzz::header`.
#![cfg_attr(fuzzing, no_main)]

x402_fuzz::target!(header, mutate);
