//! Reads keys from the forms in which people keep them.

use std::fmt;
use std::str::FromStr;

use x402_core::crypto::{ed25519, secp256k1};
use x402_svm::base58;
use zeroize::Zeroizing;

use super::{EvmWallet, SvmWallet};

/// The reason why a text is no key. It never shows the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// Not 64 hexadecimal digits, or not a key of the curve.
    Evm,
    /// Neither base58 of 64 or 32 bytes nor an array of 64 numbers.
    Svm,
    /// A key for Solana with the public half of another key.
    OtherHalf,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Evm => "not an EVM key: give 64 hexadecimal digits",
            Self::Svm => {
                "not a Solana key: give base58 of 64 or 32 bytes, or an array of 64 numbers"
            }
            Self::OtherHalf => "not a Solana key: its public half is that of another key",
        })
    }
}

impl std::error::Error for KeyError {}

/// Reads a key for EVM networks: 64 hexadecimal digits, with `0x` before them or without.
///
/// # Errors
/// [`KeyError::Evm`].
pub fn evm_key(text: &str) -> Result<secp256k1::LocalKey, KeyError> {
    let text = text.trim();
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut *bytes)
        .map_err(|_| KeyError::Evm)?;
    secp256k1::LocalKey::from_bytes(&bytes).ok_or(KeyError::Evm)
}

/// Reads a key for Solana: a seed and its public key, in base58 or as an array of numbers like the Solana
/// CLI's, or a seed alone in base58.
///
/// # Errors
/// [`KeyError::Svm`] or [`KeyError::OtherHalf`].
pub fn svm_key(text: &str) -> Result<ed25519::LocalKey, KeyError> {
    let text = text.trim();
    if let Some(seed) = base58::decode::<32>(text).map(Zeroizing::new) {
        return Ok(ed25519::LocalKey::from_seed(&seed));
    }
    let keypair = base58::decode::<64>(text).map(Zeroizing::new).or_else(|| numbers(text));
    let keypair = keypair.ok_or(KeyError::Svm)?;
    ed25519::LocalKey::from_keypair(&keypair).ok_or(KeyError::OtherHalf)
}

/// Reads an array of 64 numbers. A JSON reader would leave copies of the key in memory.
fn numbers(text: &str) -> Option<Zeroizing<[u8; 64]>> {
    let text = text.strip_prefix('[')?.strip_suffix(']')?;
    let mut bytes = Zeroizing::new([0; 64]);
    let mut numbers = text.split(',');
    for byte in bytes.iter_mut() {
        let digits = numbers.next()?.trim();
        *byte = digits.parse().ok().filter(|_| digits.bytes().all(|it| it.is_ascii_digit()))?;
    }
    numbers.next().is_none().then_some(bytes)
}

/// As [`evm_key`].
impl FromStr for EvmWallet<secp256k1::LocalKey> {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        evm_key(text).map(Self::new)
    }
}

/// As [`svm_key`].
impl FromStr for SvmWallet<ed25519::LocalKey> {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        svm_key(text).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_every_form_they_are_kept_in() {
        // anvil's second account.
        let digits = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
        let address = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
        for text in [digits.to_owned(), format!("0x{digits}"), format!(" {digits}\n")] {
            let wallet: EvmWallet<secp256k1::LocalKey> = text.parse().unwrap();
            assert_eq!(wallet.address().to_string(), address, "{text}");
        }
        for text in
            ["", "0x", &digits[1..], &format!("{digits}0"), &"0".repeat(64), &"f".repeat(64)]
        {
            assert_eq!(evm_key(text).err(), Some(KeyError::Evm), "{text}");
        }
        let seed = [2; 32];
        let wallet = SvmWallet::new(ed25519::LocalKey::from_seed(&seed));
        let pair: [u8; 64] = [seed, wallet.address().0].concat().try_into().unwrap();
        let (mut short, mut long) = ([0; 44], [0; 88]);
        let array = format!("{pair:?}");
        for text in [
            base58::encode(&seed, &mut short).unwrap(),
            base58::encode(&pair, &mut long).unwrap(),
            &array,
            &array.replace(' ', ""),
        ] {
            let read: SvmWallet<ed25519::LocalKey> = text.parse().unwrap();
            assert_eq!(read.address(), wallet.address(), "{text}");
        }
        let other = array.replacen("[2,", "[3,", 1);
        assert_eq!(svm_key(&other).err(), Some(KeyError::OtherHalf));
        for text in [
            "",
            "[]",
            "[1]",
            digits,
            &array.replacen(", 2", "", 1),
            &array.replacen("2,", "+2,", 1),
        ] {
            assert_eq!(svm_key(text).err(), Some(KeyError::Svm), "{text}");
        }
    }
}
