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
    (ones == zeros).then_some(bytes)
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
        let mut carry = 0;
        while ALPHABET[carry] != text[at] {
            carry += 1;
        }
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
}
