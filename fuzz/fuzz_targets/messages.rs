//! Runs `x402_fuzz::messages`.
#![cfg_attr(fuzzing, no_main)]

x402_fuzz::target!(messages, mutate);
