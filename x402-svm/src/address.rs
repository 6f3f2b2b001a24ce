use core::fmt;

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// A Solana address: 32 bytes, written in base58.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub [u8; 32]);

impl Address {
    /// Characters of the longest address.
    pub const CHARS: usize = 44;

    /// Reads base58 of exactly 32 bytes; `None` for anything else. Every address has one spelling.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > Self::CHARS {
            return None;
        }
        let mut bytes = [0u8; 32];
        for digit in text.bytes() {
            let value = ALPHABET.iter().position(|&known| known == digit)?;
            let mut carry = u32::try_from(value).ok()?;
            for byte in bytes.iter_mut().rev() {
                // At most 255 * 58 + 2^10.
                carry = u32::from(*byte).wrapping_mul(58).wrapping_add(carry);
                *byte = low(carry);
                carry >>= 8;
            }
            if carry != 0 {
                return None;
            }
        }
        // A leading zero byte is a leading 1, no more and no fewer.
        let ones = text.bytes().take_while(|&digit| digit == b'1').count();
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        (ones == zeros && !text.is_empty()).then_some(Self(bytes))
    }

    /// The text, written at the end of `out`.
    pub fn base58(self, out: &mut [u8; Self::CHARS]) -> &str {
        let mut bytes = self.0;
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        let mut start = out.len();
        for (index, digit) in out.iter_mut().enumerate().rev() {
            if bytes == [0; 32] {
                break;
            }
            let mut rest = 0u32;
            for byte in &mut bytes {
                let wide = (rest << 8) | u32::from(*byte);
                *byte = low(wide / 58);
                rest = wide % 58;
            }
            let known = usize::try_from(rest).ok().and_then(|rest| ALPHABET.get(rest));
            *digit = known.copied().unwrap_or(b'1');
            start = index;
        }
        let start = start.saturating_sub(zeros);
        for digit in out.iter_mut().skip(start).take(zeros) {
            *digit = b'1';
        }
        out.get(start..).and_then(|text| core::str::from_utf8(text).ok()).unwrap_or("")
    }
}

#[allow(clippy::cast_possible_truncation)] // the point of it
const fn low(wide: u32) -> u8 {
    wide as u8
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
        for seed in 0..=255u8 {
            let mut bytes = [seed; 32];
            for (place, byte) in bytes.iter_mut().enumerate() {
                *byte = byte.rotate_left(3).wrapping_mul(u8::try_from(place).unwrap());
            }
            let address = Address(bytes);
            assert_eq!(Address::parse(&address.to_string()), Some(address));
        }
    }
}
