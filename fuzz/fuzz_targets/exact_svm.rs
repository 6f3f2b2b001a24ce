//! Runs `x402_fuzz::exact_svm`.
#![cfg_attr(fuzzing, no_main)]

x402_fuzz::target!(exact_svm, mutate);
