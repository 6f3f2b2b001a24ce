//! Runs `x402_fuzz::svm_message`.
#![cfg_attr(fuzzing, no_main)]

x402_fuzz::target!(svm_message);
