//! Runs `x402_fuzz::eip712`.
#![cfg_attr(fuzzing, no_main)]

x402_fuzz::target!(eip712);
