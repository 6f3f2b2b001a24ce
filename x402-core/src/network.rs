//! Protocol versions and networks.

use core::fmt;

use crate::error::ParseError;
use crate::limits;

/// A version of the x402 protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Version {
    /// Version 1: `X-PAYMENT`, networks by name, the challenge in the body.
    V1,
    /// Version 2: `PAYMENT-SIGNATURE`, CAIP-2 networks, the challenge in a header.
    V2,
}

impl Version {
    /// Returns the number written as `x402Version`.
    pub const fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// Returns the version with this number.
    ///
    /// # Errors
    /// [`ParseError::UnsupportedVersion`].
    pub const fn from_number(number: u64) -> Result<Self, ParseError> {
        match number {
            1 => Ok(Self::V1),
            2 => Ok(Self::V2),
            _ => Err(ParseError::UnsupportedVersion),
        }
    }
}

/// A network: a CAIP-2 id such as `eip155:84532`, or a v1 name such as `base-sepolia`.
///
/// Two spellings of one network are different values; [`Network::is_same`] sees through that.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network<'a>(&'a str);

impl<'a> Network<'a> {
    /// Reads `namespace:reference` (CAIP-2) or a plain name of letters, digits and `-`.
    ///
    /// # Errors
    /// [`ParseError::InvalidNetwork`].
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        let name = |part: &str| {
            part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        let reference =
            |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        let valid = match text.split_once(':') {
            Some((namespace, chain)) => {
                (3..=8).contains(&namespace.len())
                    && name(namespace)
                    && (1..=32).contains(&chain.len())
                    && reference(chain)
            }
            None => (1..=limits::NETWORK_BYTES).contains(&text.len()) && name(text),
        };
        if valid { Ok(Self(text)) } else { Err(ParseError::InvalidNetwork) }
    }

    /// Returns the identifier as written.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Returns the CAIP-2 id, if this is one or a v1 name in the table.
    pub fn caip2(self) -> Option<Network<'a>> {
        if self.0.contains(':') {
            return Some(self);
        }
        V1_NAMES.iter().find(|(name, _)| *name == self.0).map(|(_, id)| Network(id))
    }

    /// Returns the v1 name, if this is one in the table or a CAIP-2 id that has one.
    pub fn v1_name(self) -> Option<&'static str> {
        V1_NAMES.iter().find(|(name, id)| *name == self.0 || *id == self.0).map(|(name, _)| *name)
    }

    /// Returns the chain id of an EVM network (CAIP-2 namespace `eip155`).
    pub fn eip155(self) -> Option<u64> {
        let reference = self.caip2()?.0.strip_prefix("eip155:")?;
        // No leading zeros or signs: one network has one spelling.
        let canonical =
            !reference.starts_with('0') && reference.bytes().all(|b| b.is_ascii_digit());
        if canonical { reference.parse().ok() } else { None }
    }

    /// Returns the reference of a Solana network: the start of its genesis hash in base58.
    pub fn solana(self) -> Option<&'a str> {
        self.caip2()?.0.strip_prefix("solana:")
    }

    /// Returns whether a text has the form of a transaction's id. On EVM networks: 32 bytes in
    /// hexadecimal, not all of them zero. On Solana: as many characters as 64 bytes take in base58.
    /// Elsewhere: anything.
    pub fn is_transaction(self, id: &str) -> bool {
        if self.solana().is_some() {
            let base58 = |byte: u8| byte.is_ascii_alphanumeric() && !b"0OIl".contains(&byte);
            return (64..=88).contains(&id.len()) && id.bytes().all(base58);
        }
        if self.eip155().is_some() {
            let digits = id.strip_prefix("0x").unwrap_or_default().as_bytes();
            let is_zero = digits.iter().all(|byte| *byte == b'0');
            return digits.len() == 64 && !is_zero && digits.iter().all(u8::is_ascii_hexdigit);
        }
        !id.is_empty()
    }

    /// Returns whether both name the same network, in either version's spelling.
    pub fn is_same(self, other: Network<'_>) -> bool {
        self.0 == other.0
            || match (self.caip2(), other.caip2()) {
                (Some(mine), Some(theirs)) => mine.0 == theirs.0,
                _ => false,
            }
    }
}

impl fmt::Display for Network<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Network<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The v1 names and their CAIP-2 ids: those of the official TypeScript SDK, then two that its
/// Python twin or the field uses. Where the two SDKs disagree on a chain id, TypeScript's agrees
/// with its own asset table and is taken.
pub static V1_NAMES: &[(&str, &str)] = &[
    ("base", "eip155:8453"),
    ("base-sepolia", "eip155:84532"),
    ("ethereum", "eip155:1"),
    ("sepolia", "eip155:11155111"),
    ("abstract", "eip155:2741"),
    ("abstract-testnet", "eip155:11124"),
    ("avalanche", "eip155:43114"),
    ("avalanche-fuji", "eip155:43113"),
    ("iotex", "eip155:4689"),
    ("sei", "eip155:1329"),
    ("sei-testnet", "eip155:1328"),
    ("polygon", "eip155:137"),
    ("polygon-amoy", "eip155:80002"),
    ("peaq", "eip155:3338"),
    ("story", "eip155:1514"),
    ("educhain", "eip155:41923"),
    ("skale-base-sepolia", "eip155:324705682"),
    ("megaeth", "eip155:4326"),
    ("monad", "eip155:143"),
    ("monad-testnet", "eip155:10143"),
    ("stable", "eip155:988"),
    ("stable-testnet", "eip155:2201"),
    ("celo", "eip155:42220"),
    ("celo-sepolia", "eip155:11142220"),
    ("flare", "eip155:14"),
    ("xdc", "eip155:50"),
    ("solana", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"),
    ("solana-devnet", "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"),
    ("solana-testnet", "solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z"),
];
