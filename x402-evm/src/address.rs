use core::fmt;

use x402_core::crypto::keccak256;
use x402_core::json::JsonStr;

/// An Ethereum address. Read in any letter case, written with EIP-55's checksum.
///
/// ```
/// use x402_evm::Address;
/// let address = Address::parse("0x036cbd53842c5426634e7929541ec2318f3dcf7e").unwrap();
/// assert_eq!(address.to_string(), "0x036CbD53842c5426634e7929541eC2318f3dCF7e");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub [u8; 20]);

impl Address {
    /// Characters of an address.
    pub const CHARS: usize = 42;

    /// Reads `0x` and 40 hexadecimal digits of any case; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        hex_array(text).map(Self)
    }

    /// Reads as [`Address::parse`], but refuses mixed case that is not the checksum: for addresses
    /// that people type.
    pub fn parse_typed(text: &str) -> Option<Self> {
        let address = Self::parse(text)?;
        let upper = text.bytes().any(|b| b.is_ascii_uppercase());
        let lower = text.bytes().skip(2).any(|b| b.is_ascii_lowercase());
        let checked = !(upper && lower) || address.checksummed(&mut [0; Self::CHARS]) == text;
        checked.then_some(address)
    }

    pub(crate) fn read(text: JsonStr<'_>) -> Option<Self> {
        Self::parse(text.as_str()?)
    }

    /// Writes the text with EIP-55's checksum into `out` and returns it.
    pub fn checksummed(self, out: &mut [u8; Self::CHARS]) -> &str {
        let [zero, x, digits @ ..] = out;
        (*zero, *x) = (b'0', b'x');
        hex::encode_to_slice(self.0, digits).ok();
        let hash = keccak256(&[digits.as_slice()]);
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(hash) {
            let [high, low] = pair;
            if byte & 0x80 != 0 {
                high.make_ascii_uppercase();
            }
            if byte & 0x08 != 0 {
                low.make_ascii_uppercase();
            }
        }
        core::str::from_utf8(out).unwrap_or("")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.checksummed(&mut [0; Self::CHARS]))
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

/// Reads `0x` and exactly `2 * N` hexadecimal digits.
pub(crate) fn hex_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, odd) = text.strip_prefix("0x")?.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !odd.is_empty() {
        return None;
    }
    // All at once and judged at the end, which becomes vector code where there is some.
    let (mut bytes, mut wrong) = ([0; N], 0);
    for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
        let (high, low) = (nibble(high), nibble(low));
        wrong |= high | low;
        *byte = high << 4 | low;
    }
    (wrong < 16).then_some(bytes)
}

/// Returns the value of a hexadecimal digit; above 15 for anything else.
const fn nibble(digit: u8) -> u8 {
    let (number, letter) = (digit.wrapping_sub(b'0'), (digit | 0x20).wrapping_sub(b'a'));
    if number < 10 {
        number
    } else if letter < 6 {
        letter.wrapping_add(10)
    } else {
        u8::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn eip55_examples_in_any_case() {
        // From EIP-55's own list.
        for text in [
            "0x52908400098527886E0F7030069857D2E4169EE7",
            "0xde709f2102306220921060314715629080e2fb77",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
            "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.to_string(), text);
            let digits = &text[2..];
            for spelling in [digits.to_lowercase(), digits.to_uppercase(), digits.into()] {
                let spelling = std::format!("0x{spelling}");
                assert_eq!(Address::parse(&spelling), Some(address));
                assert_eq!(Address::parse_typed(&spelling), Some(address));
            }
            let swapped = text.replace('a', "A").replace('b', "B");
            let mixed = swapped != text && swapped.bytes().any(|b| matches!(b, b'c'..=b'f'));
            assert_eq!(Address::parse_typed(&swapped).is_none(), mixed, "{swapped}");
        }
        for wrong in [
            "",
            "0x",
            "52908400098527886E0F7030069857D2E4169EE7",
            "0X52908400098527886E0F7030069857D2E4169EE7",
            "0x52908400098527886E0F7030069857D2E4169EE",
            "0x52908400098527886E0F7030069857D2E4169EE70",
            "0x52908400098527886E0F7030069857D2E4169EEg",
        ] {
            assert_eq!(Address::parse(wrong), None, "{wrong}");
        }
    }
}
