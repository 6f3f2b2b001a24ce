//! Runs `x402_fuzz::seller`.
#![cfg_attr(fuzzing, no_main)]

x402_fuzz::target!(seller, mutate);
