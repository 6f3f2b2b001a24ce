use core::fmt;

use crate::base58;

/// A Solana address: 32 bytes, written in base58.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub [u8; 32]);

impl Address {
    /// Characters of the longest address.
    pub const CHARS: usize = 44;

    /// Reads base58 of exactly 32 bytes; `None` for anything else. Every address has one spelling.
    pub fn parse(text: &str) -> Option<Self> {
        base58::decode(text).map(Self)
    }

    /// Writes the text at the end of `out` and returns it.
    pub fn base58(self, out: &mut [u8; Self::CHARS]) -> &str {
        base58::encode(&self.0, out).unwrap_or("")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.base58(&mut [0; Self::CHARS]))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Address {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}", defmt::Display2Format(self));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn reads_and_writes_one_spelling() {
        for text in [
            "11111111111111111111111111111111",
            "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
            "ComputeBudget111111111111111111111111111111",
            "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
            "JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFG", // 32 bytes of 255
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Address::parse("11111111111111111111111111111111"), Some(Address([0; 32])));
        let highest = "JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFG";
        assert_eq!(Address::parse(highest), Some(Address([0xff; 32])));
        for wrong in [
            "",
            "1",
            "111111111111111111111111111111111",
            "JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFH",
            "0PjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
            "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v ",
        ] {
            assert_eq!(Address::parse(wrong), None, "{wrong}");
        }
    }
}
