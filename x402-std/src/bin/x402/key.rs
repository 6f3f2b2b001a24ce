//! The key that pays.

use std::path::PathBuf;

use clap::Args;
use x402_std::core::crypto::secp256k1::LocalKey;

use crate::{Failure, input};

/// Environment variable of the key, if no file is given.
const VARIABLE: &str = "X402_EVM_KEY";

/// As much of a key file as is read: there may be white space around the key.
const FILE_BYTES: usize = 1024;

#[derive(Args)]
pub(crate) struct KeySource {
    /// File with the private key in hexadecimal; without it, the environment variable
    /// X402_EVM_KEY is the key
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl KeySource {
    pub(crate) fn read(&self) -> Result<LocalKey, Failure> {
        let text = match (&self.key_file, std::env::var(VARIABLE)) {
            (Some(path), _) => String::from_utf8(input::file(path, FILE_BYTES)?).ok(),
            (None, Ok(text)) => Some(text),
            (None, Err(_)) => {
                let text = format!("no key: give --key-file, or set {VARIABLE}");
                return Err(Failure::unusable(text));
            }
        };
        let secret = text.and_then(|text| input::hex32(text.trim()));
        secret
            .and_then(|secret| LocalKey::from_bytes(&secret))
            .ok_or_else(|| Failure::unusable("not a private key of 64 hexadecimal digits"))
    }
}
