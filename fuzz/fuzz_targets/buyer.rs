//! Runs `x402_fuzz::buyer`.
#![cfg_attr(fuzzing, no_main)]

x402_fuzz::target!(buyer, mutate);
