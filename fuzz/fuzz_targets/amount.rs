//! Runs `x402_fuzz::amount`.
#![cfg_attr(fuzzing, no_main)]

x402_fuzz::target!(amount);
