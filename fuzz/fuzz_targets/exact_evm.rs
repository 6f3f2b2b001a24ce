//! Runs `x402_fuzz::exact_evm`.
#![cfg_attr(fuzzing, no_main)]

x402_fuzz::target!(exact_evm, mutate);
