//! Base58 with Bitcoin's alphabet, as Solana writes keys, signatures and blockhashes.

use core::num::NonZeroUsize;

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Returns the characters that `len` bytes take at most.
pub const fn encoded_len(len: usize) -> usize {
    // log(256) / log(58) is a little below 1.3658.
    len.saturating_mul(13658).div_ceil(10000)
}

/// Most bytes that are written in base58: those of a signature.
const BYTES: usize = 64;
/// Words of 32 bits that hold any number as long as [`BYTES`] take in text.
const WORDS: usize = 17;

/// Digits read at once, and how many values they have: fewer than 2^32.
const GROUP: usize = 5;
const GROUP_VALUES: u64 = 58 * 58 * 58 * 58 * 58;

/// Reads exactly `N` bytes, which are 64 at most; `None` for anything else. Every value has one
/// spelling.
///
/// ```
/// use x402_svm::base58;
/// assert_eq!(base58::decode("112"), Some([0, 0, 1]));
/// assert_eq!(base58::decode::<2>("112"), None);
/// ```
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    const { assert!(N <= BYTES, "more bytes than a signature has") };
    if text.len() > encoded_len(N) {
        return None;
    }
    let mut all = [0; 4 * WORDS];
    let (words, _) = all.as_chunks_mut::<4>();
    let mut seen = 0;
    let (first, groups) = text.as_bytes().as_rchunks::<GROUP>();
    if let Some(lowest) = words.last_mut() {
        *lowest = value_of(first, &mut seen).to_be_bytes();
    }
    for (before, group) in groups.iter().enumerate() {
        let mut carry = u64::from(value_of(group, &mut seen));
        // Each group makes the number longer by a word at most.
        for word in words.iter_mut().rev().take(before.saturating_add(2)) {
            let wide = u64::from(u32::from_be_bytes(*word));
            let wide = wide.wrapping_mul(GROUP_VALUES).wrapping_add(carry);
            let [high @ .., a, b, c, d] = wide.to_be_bytes();
            *word = [a, b, c, d];
            carry = u32::from_be_bytes(high).into();
        }
    }
    if seen > DIGIT_BITS {
        return None;
    }
    let (above, bytes) = all.split_last_chunk()?;
    // A leading zero byte is a leading 1, no more and no fewer.
    let ones = text.bytes().take_while(|&digit| digit == b'1').count();
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    (above.iter().all(|byte| *byte == 0) && ones == zeros).then_some(*bytes)
}

/// Returns the number of a few digits, and adds the bits of each to `seen`.
fn value_of(digits: &[u8], seen: &mut u8) -> u32 {
    digits.iter().fold(0, |value, digit| {
        let digit = VALUES.get(usize::from(*digit)).copied().unwrap_or(NO_DIGIT);
        *seen |= digit;
        value.wrapping_mul(58).wrapping_add(digit.into())
    })
}

/// In place of a digit's value, for other characters.
const NO_DIGIT: u8 = 255;
/// The bits that the values of digits use.
const DIGIT_BITS: u8 = 63;

/// The value of each character.
static VALUES: [u8; 128] = values();

/// Runs at compile time only.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
const fn values() -> [u8; 128] {
    let mut values = [NO_DIGIT; 128];
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
    encode_by::<N, HALF_WORD, DIGITS>(bytes, out)
}

/// Half of the machine's longest dividend; no core divides twice as much.
const HALF_WORD: usize = size_of::<usize>() / 2;

/// As many digits as have fewer values than such a half.
const DIGITS: u32 = match HALF_WORD {
    1 => 1,
    2 => 2,
    _ => 5,
};

/// Divides `LIMB` bytes at a time, and gets `DIGITS` digits of each division of the whole.
fn encode_by<'o, const N: usize, const LIMB: usize, const DIGITS: u32>(
    bytes: &[u8; N],
    out: &'o mut [u8],
) -> Option<&'o str> {
    let scale = const {
        match NonZeroUsize::new(58usize.pow(DIGITS)) {
            Some(scale) => scale,
            None => NonZeroUsize::MIN,
        }
    };
    let mut rest = *bytes;
    let zeros = rest.iter().take_while(|&&byte| byte == 0).count();
    let mut start = out.len();
    let mut is_left = zeros < N;
    while is_left {
        let mut digits = 0;
        let (high, limbs) = rest.as_rchunks_mut::<LIMB>();
        for byte in high {
            let wide = (digits << 8) | usize::from(*byte);
            [.., *byte] = (wide / scale).to_be_bytes();
            digits = wide % scale;
        }
        for limb in limbs {
            let wide = limb.iter().fold(digits, |wide, byte| (wide << 8) | usize::from(*byte));
            *limb = (wide / scale).to_be_bytes().last_chunk().copied().unwrap_or([0; LIMB]);
            digits = wide % scale;
        }
        is_left = rest != [0; N];
        for _ in 0..DIGITS {
            if digits == 0 && !is_left {
                break;
            }
            start = start.checked_sub(1)?;
            *out.get_mut(start)? = *ALPHABET.get(digits % 58)?;
            digits /= 58;
        }
    }
    let from = start.checked_sub(zeros)?;
    out.get_mut(from..start)?.fill(b'1');
    core::str::from_utf8(out.get(from..)?).ok()
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

    /// Digit by digit and byte by byte.
    fn plain_decode<const N: usize>(text: &str) -> Option<[u8; N]> {
        let mut bytes = std::vec::Vec::new();
        for digit in text.bytes() {
            let mut carry = ALPHABET.iter().position(|other| *other == digit)?;
            for byte in bytes.iter_mut().rev() {
                carry += usize::from(*byte) * 58;
                *byte = u8::try_from(carry % 256).unwrap();
                carry /= 256;
            }
            if carry != 0 {
                bytes.insert(0, u8::try_from(carry).unwrap());
            }
        }
        let ones = text.bytes().take_while(|digit| *digit == b'1').count();
        [std::vec![0; ones], bytes].concat().try_into().ok()
    }

    fn plain_encode(bytes: &[u8]) -> std::string::String {
        let mut digits = std::vec::Vec::<usize>::new();
        for byte in bytes {
            let mut carry = usize::from(*byte);
            for digit in &mut digits {
                carry += *digit * 256;
                *digit = carry % 58;
                carry /= 58;
            }
            while carry != 0 {
                digits.push(carry % 58);
                carry /= 58;
            }
        }
        let zeros = bytes.iter().take_while(|byte| **byte == 0).map(|_| 0);
        let digits = zeros.chain(digits.into_iter().rev());
        digits.map(|digit| char::from(ALPHABET[digit])).collect()
    }

    #[test]
    fn as_digit_by_digit() {
        fn compare<const N: usize>(mut random: impl FnMut() -> u64) {
            for round in 0..if cfg!(miri) { 2 } else { 500 } {
                // Some with zeros or ones of every length in front, or behind.
                let mut bytes = [0u8; N].map(|_| random().to_be_bytes()[0]);
                let fill = if round % 2 == 0 { 0 } else { 255 };
                let some = usize::try_from(random()).unwrap() % (2 * N + 2);
                match round % 3 {
                    0 => bytes.iter_mut().take(some).for_each(|byte| *byte = fill),
                    1 => bytes.iter_mut().rev().take(some).for_each(|byte| *byte = fill),
                    _ => {}
                }
                let text = plain_encode(&bytes);
                let mut out = std::vec![0; text.len()];
                assert_eq!(encode_by::<N, 1, 1>(&bytes, &mut out), Some(&*text), "{bytes:?}");
                assert_eq!(encode_by::<N, 2, 2>(&bytes, &mut out), Some(&*text), "{bytes:?}");
                assert_eq!(encode(&bytes, &mut out), Some(&*text), "{bytes:?}");
                assert_eq!(encode(&bytes, out.get_mut(1..).unwrap_or(&mut [])).is_some(), N == 0);
                assert_eq!(decode(&text), Some(bytes), "{text}");
                // And a text that is one of that length or of another, or none.
                let mut text = text.into_bytes();
                if !text.is_empty() {
                    let place = usize::try_from(random()).unwrap() % text.len();
                    text[place] = b"1z0JKl\x7f2"[usize::try_from(random() % 8).unwrap()];
                }
                match random() % 4 {
                    0 => text.push(b'z'),
                    1 => drop(text.pop()),
                    _ => {}
                }
                let text = std::string::String::from_utf8(text).unwrap();
                assert_eq!(decode::<N>(&text), plain_decode(&text), "{text}");
            }
        }
        let mut state = 1u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        compare::<0>(&mut random);
        compare::<1>(&mut random);
        compare::<2>(&mut random);
        compare::<3>(&mut random);
        compare::<4>(&mut random);
        compare::<7>(&mut random);
        compare::<31>(&mut random);
        compare::<32>(&mut random);
        compare::<33>(&mut random);
        compare::<64>(&mut random);
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
