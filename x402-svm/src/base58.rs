//! Base58 with Bitcoin's alphabet, as Solana writes keys, signatures and blockhashes.

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Characters that `len` bytes take at most.
pub const fn encoded_len(len: usize) -> usize {
    // log(256) / log(58) is a little below 1.3658.
    len.saturating_mul(13658).div_ceil(10000)
}

/// Reads exactly `N` bytes; `None` for anything else. Every value has one spelling.
///
/// ```
/// use x402_svm::base58;
/// assert_eq!(base58::decode("112"), Some([0, 0, 1]));
/// assert_eq!(base58::decode::<2>("112"), None);
/// ```
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() > encoded_len(N) {
        return None;
    }
    let mut bytes = [0u8; N];
    // Five digits at a time, of which 58^5 values fit 32 bits, into four bytes at a time.
    for digits in text.as_bytes().chunks(5) {
        let (mut carry, mut scale) = (0u64, 1u32);
        for digit in digits {
            let value = VALUES.get(usize::from(*digit)).filter(|value| **value < 58)?;
            carry = carry.wrapping_mul(58).wrapping_add(u64::from(*value));
            scale = scale.wrapping_mul(58);
        }
        for limb in bytes.rchunks_mut(4) {
            let mut word = [0; 4];
            word.iter_mut().zip(limb.iter().rev()).for_each(|(to, from)| *to = *from);
            let word = u64::from(u32::from_le_bytes(word));
            carry = word.wrapping_mul(u64::from(scale)).wrapping_add(carry);
            for byte in limb.iter_mut().rev() {
                [*byte, ..] = carry.to_le_bytes();
                carry >>= 8;
            }
        }
        if carry != 0 {
            return None;
        }
    }
    // A leading zero byte is a leading 1, no more and no fewer.
    let ones = text.bytes().take_while(|&digit| digit == b'1').count();
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    (ones == zeros).then_some(bytes)
}

/// What each character stands for; 255 for those that are no digits.
static VALUES: [u8; 128] = values();

/// Runs at compile time only.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
const fn values() -> [u8; 128] {
    let mut values = [255; 128];
    let mut digit = 0u8;
    while digit < 58 {
        values[ALPHABET[digit as usize] as usize] = digit;
        digit += 1;
    }
    values
}

/// Writes the text at the end of `out`, which must hold [`encoded_len`] characters; `None` if it
/// is too short.
pub fn encode<'o, const N: usize>(bytes: &[u8; N], out: &'o mut [u8]) -> Option<&'o str> {
    let mut rest = *bytes;
    let zeros = rest.iter().take_while(|&&byte| byte == 0).count();
    let mut start = out.len();
    for (index, digit) in out.iter_mut().enumerate().rev() {
        if rest == [0; N] {
            break;
        }
        let mut carry = 0u32;
        for byte in &mut rest {
            let wide = (carry << 8) | u32::from(*byte);
            *byte = low(wide / 58);
            carry = wide % 58;
        }
        *digit = usize::try_from(carry).ok().and_then(|at| ALPHABET.get(at)).copied()?;
        start = index;
    }
    if rest != [0; N] {
        return None;
    }
    let from = start.checked_sub(zeros)?;
    for digit in out.iter_mut().skip(from).take(zeros) {
        *digit = b'1';
    }
    out.get(from..).and_then(|text| core::str::from_utf8(text).ok())
}

/// Runs at compile time only, where a wrong digit or length fails the build.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]
pub(crate) const fn literal(text: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    let mut at = 0;
    while at < text.len() {
        let mut carry = VALUES[text[at] as usize] as usize;
        assert!(carry < 58, "no digit");
        let mut place = 32;
        while place > 0 {
            place -= 1;
            carry += bytes[place] as usize * 58;
            bytes[place] = (carry & 0xff) as u8;
            carry >>= 8;
        }
        assert!(carry == 0, "more than 32 bytes");
        at += 1;
    }
    bytes
}

const fn low(wide: u32) -> u8 {
    let [low, ..] = wide.to_le_bytes();
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_of_each_length() {
        fn round<const N: usize>(bytes: [u8; N]) {
            let mut out = [0; 100];
            let text = encode(&bytes, &mut out).unwrap();
            assert!(text.len() <= encoded_len(N));
            assert_eq!(decode(text), Some(bytes));
            let mut tight = std::vec![0; text.len()];
            assert_eq!(encode(&bytes, &mut tight), Some(text));
            if !tight.is_empty() {
                assert_eq!(encode(&bytes, &mut tight[1..]), None);
            }
        }
        // Miri takes its time.
        for seed in (0..=255u8).step_by(if cfg!(miri) { 85 } else { 1 }) {
            round([seed; 32]);
            round([seed; 64]);
            round([seed]);
            let mut bytes = [seed; 32];
            for (place, byte) in bytes.iter_mut().enumerate() {
                *byte = byte.rotate_left(3).wrapping_mul(u8::try_from(place).unwrap());
            }
            round(bytes);
        }
        round([]);
        assert_eq!((encoded_len(32), encoded_len(64)), (44, 88));
    }

    #[test]
    fn what_is_no_number_of_that_length() {
        let highest = "JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFG";
        assert_eq!(decode(highest), Some([0xff; 32]));
        for text in [
            "JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFH",
            "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
            "1JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxF",
        ] {
            assert_eq!(decode::<32>(text), None, "{text}");
        }
        assert_eq!(decode("5Q"), Some([255]));
        for text in ["5R", "0Q", "OQ", "IQ", "lQ", "5 ", "\u{e9}", "\u{7f}", "", "111"] {
            assert_eq!(decode::<1>(text), None, "{text}");
        }
    }
}
