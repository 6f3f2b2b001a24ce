//! Runs `x402_fuzz::json`.
#![cfg_attr(fuzzing, no_main)]

x402_fuzz::target!(json, mutate);
