//! [`decode`] and [`encode`] of [`x402_core::base64`], with SIMD instructions if the feature `simd` is on:
//! input and output are the same, but their time then depends on the bytes. All headers of this crate go
//! through them.

#[cfg(not(feature = "simd"))]
pub use x402_core::base64::{decode, encode};
pub use x402_core::base64::{decoded_len, encoded_len};

#[cfg(feature = "simd")]
pub use simd::{decode, encode};

#[cfg(feature = "simd")]
mod simd {
    use base64_simd::{Out, STANDARD, STANDARD_NO_PAD};
    use x402_core::base64::digits;
    use x402_core::{EncodeError, ParseError};

    use super::{decoded_len, encoded_len};

    /// Decodes a header value into the front of `scratch`.
    ///
    /// Spaces and tabs around the value are skipped. Padding may be left out, but must be right if it is
    /// there. The unused bits of the last digit must be zero.
    ///
    /// # Errors
    /// [`ParseError::TooLong`], [`ParseError::NotBase64`], [`ParseError::ScratchTooSmall`].
    pub fn decode<'s>(header: &[u8], scratch: &'s mut [u8]) -> Result<&'s [u8], ParseError> {
        let digits = digits(header)?;
        let len = decoded_len(digits.len());
        let out = scratch.get_mut(..len).ok_or(ParseError::ScratchTooSmall)?;
        let decoded = STANDARD_NO_PAD.decode(digits, Out::from_slice(out));
        decoded.map(|bytes| &*bytes).map_err(|_| ParseError::NotBase64)
    }

    /// Writes bytes as padded base64 to the front of `out`, and returns that part.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode<'o>(bytes: &[u8], out: &'o mut [u8]) -> Result<&'o str, EncodeError> {
        let needed = encoded_len(bytes.len());
        let out = out.get_mut(..needed).ok_or_else(|| EncodeError::too_small(needed))?;
        Ok(STANDARD.encode_as_str(bytes, Out::from_slice(out)))
    }

    #[cfg(test)]
    mod tests {
        use proptest::prelude::*;
        use x402_core::base64 as core;
        use x402_core::limits;

        use super::*;

        /// Both decoders on one header, with every length of scratch that matters.
        fn is_the_core_s(header: &[u8]) {
            let needed = core::decoded_len(header.len().min(limits::HEADER_BYTES));
            for scratch in [0, needed.saturating_sub(4), needed, needed + 9] {
                let (mut ours, mut theirs) = (vec![0; scratch], vec![0; scratch]);
                assert_eq!(decode(header, &mut ours), core::decode(header, &mut theirs));
            }
        }

        #[test]
        fn edges_come_out_as_the_core_s() {
            let words = [
                "",
                " ",
                "=",
                "==",
                "====",
                "A",
                "A=",
                "A==",
                "A===",
                "AA",
                "AA=",
                "AA==",
                "AB==",
                "AAA",
                "AAA=",
                "AAB=",
                "AAE=",
                "AAAA",
                "AAAA=",
                "AAAA==",
                "AA=A",
                "A=AA",
                "AA==AA==",
                "AA AA",
                " \tAAAA\t ",
                "AAAA\r\n",
                "AA==\n",
                "-_-_",
                "+/+/",
                "Zm9v",
                "Zm9vYg==",
                "Zm9vYg",
                "Zm9vYh",
                "Zm9vYmE=",
                "Zm9vYmE",
                "Zm9vYmF=",
                "QUFB\0",
                "\u{e9}AAA",
                "A B=",
            ];
            for word in words {
                is_the_core_s(word.as_bytes());
            }
            for len in 0..200 {
                let good = "Zm9v".repeat(50);
                is_the_core_s(&good.as_bytes()[..len]);
                // One wrong byte at each place, in the part of each width of vector.
                for wrong in [b'-', b'_', b'=', b' ', b'\n', 0, 0x80, 0xff, b'@', b'[', b'`', b'{']
                {
                    let mut bad = good.as_bytes()[..200].to_vec();
                    bad[len] = wrong;
                    is_the_core_s(&bad);
                }
            }
            for over in [0, 1] {
                is_the_core_s(&vec![b'A'; limits::HEADER_BYTES + over]);
            }
            for last in 0..=u8::MAX {
                is_the_core_s(&[b'Z', last]);
                is_the_core_s(&[b'Z', b'm', last]);
                is_the_core_s(&[b'Z', b'm', b'9', last]);
            }
        }

        proptest! {
            #[test]
            fn bytes_come_out_as_the_core_s(bytes: Vec<u8>, room in 0usize..9) {
                let needed = encoded_len(bytes.len());
                for len in [needed + room, needed.saturating_sub(room + 1)] {
                    let (mut ours, mut theirs) = (vec![0; len], vec![0; len]);
                    prop_assert_eq!(encode(&bytes, &mut ours), core::encode(&bytes, &mut theirs));
                }
                let mut text = vec![0; needed];
                let header = encode(&bytes, &mut text).unwrap().to_owned();
                is_the_core_s(header.as_bytes());
                is_the_core_s(header.trim_end_matches('=').as_bytes());
            }

            #[test]
            fn near_misses_come_out_as_the_core_s(
                bytes: Vec<u8>,
                at: proptest::sample::Index,
                put: u8,
                cut: proptest::sample::Index,
            ) {
                let mut text = vec![0; encoded_len(bytes.len())];
                let mut header = encode(&bytes, &mut text).unwrap().as_bytes().to_vec();
                is_the_core_s(&header[..cut.index(header.len() + 1)]);
                if !header.is_empty() {
                    let at = at.index(header.len());
                    header[at] = put;
                    is_the_core_s(&header);
                }
            }

            #[test]
            fn texts_come_out_as_the_core_s(text in "[ \t]{0,3}[A-Za-z0-9+/]{0,90}[-_=]{0,3}[ \t\n]{0,2}") {
                is_the_core_s(text.as_bytes());
            }
        }
    }
}
