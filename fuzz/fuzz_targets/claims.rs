//! Runs `x402_fuzz::claims`.
#![cfg_attr(fuzzing, no_main)]

x402_fuzz::target!(claims);
