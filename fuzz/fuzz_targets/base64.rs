//! Runs `x402_fuzz::base64`.
#![cfg_attr(fuzzing, no_main)]

x402_fuzz::target!(base64);
