//! The header codec: standard base64 (RFC 4648 §4), with or without padding, in constant time. From
//! sellers, it also reads the alphabet for URLs.

use base64ct::{Base64, Base64Unpadded, Encoding};

use crate::error::{EncodeError, ParseError};
use crate::limits;

/// Returns the bytes of scratch that [`decode`] needs for a header of `len` bytes.
pub const fn decoded_len(len: usize) -> usize {
    (len / 4).saturating_mul(3).saturating_add((len % 4).saturating_mul(3) / 4)
}

/// Decodes a header value into the front of `scratch`.
///
/// Spaces and tabs around the value are stepped over, as HTTP has it. Padding may be left out, but
/// must be right where it is present. The unused bits of the last digit must be zero: one payment
/// has one spelling of each length.
///
/// # Errors
/// [`ParseError::TooLong`] above [`limits::HEADER_BYTES`], white space and padding included;
/// [`ParseError::NotBase64`]; [`ParseError::ScratchTooSmall`], never for [`decoded_len`] bytes.
pub fn decode<'s>(header: &[u8], scratch: &'s mut [u8]) -> Result<&'s [u8], ParseError> {
    let digits = digits(header)?;
    let out = scratch.get_mut(..decoded_len(digits.len())).ok_or(ParseError::ScratchTooSmall)?;
    unpadded(digits, out)?;
    Ok(out)
}

#[inline(never)] // twice the code otherwise
fn unpadded(digits: &[u8], out: &mut [u8]) -> Result<(), ParseError> {
    Base64Unpadded::decode(digits, out).map(drop).map_err(|_| ParseError::NotBase64)
}

/// Decodes a header value of either alphabet: that of RFC 4648 §4, or the one for URLs and file names
/// of §5. It is for a challenge or a receipt; a payment has one spelling.
///
/// # Errors
/// Those of [`decode`]; [`ParseError::NotBase64`] also if both alphabets are mixed.
pub fn decode_any<'s>(header: &[u8], scratch: &'s mut [u8]) -> Result<&'s [u8], ParseError> {
    match decode(header, scratch).map(<[u8]>::len) {
        Ok(len) => scratch.get(..len).ok_or(ParseError::ScratchTooSmall),
        Err(ParseError::NotBase64) => decode_url(header, scratch),
        Err(error) => Err(error),
    }
}

#[cold]
#[inline(never)]
fn decode_url<'s>(header: &[u8], scratch: &'s mut [u8]) -> Result<&'s [u8], ParseError> {
    let digits = digits(header)?;
    let out = scratch.get_mut(..decoded_len(digits.len())).ok_or(ParseError::ScratchTooSmall)?;
    if digits.iter().any(|digit| matches!(digit, b'+' | b'/')) {
        return Err(ParseError::NotBase64);
    }
    // Group by group, in the digits of the other alphabet.
    for (group, bytes) in digits.chunks(4).zip(out.chunks_mut(3)) {
        let mut standard = [0; 4];
        for (to, from) in standard.iter_mut().zip(group) {
            *to = match from {
                b'-' => b'+',
                b'_' => b'/',
                digit => *digit,
            };
        }
        unpadded(standard.get(..group.len()).unwrap_or_default(), bytes)?;
    }
    Ok(out)
}

/// Decodes a header value in place, and returns the decoded part of the same buffer.
///
/// # Errors
/// [`ParseError::TooLong`], [`ParseError::NotBase64`].
pub fn decode_in_place(header: &mut [u8]) -> Result<&[u8], ParseError> {
    let from = header.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let len = digits(header)?.len();
    let end = from.saturating_add(len);
    let digits = header.get_mut(from..end).ok_or(ParseError::NotBase64)?;
    Base64Unpadded::decode_in_place(digits).map_err(|_| ParseError::NotBase64)
}

/// Returns the base64 digits of a header value, without white space and padding, for a decoder of
/// one's own that takes none. It checks their number and the last of them as [`decode`] does. That
/// decoder must check that all of them are digits.
///
/// # Errors
/// [`ParseError::TooLong`], [`ParseError::NotBase64`].
pub fn digits(header: &[u8]) -> Result<&[u8], ParseError> {
    if header.len() > limits::HEADER_BYTES {
        return Err(ParseError::TooLong);
    }
    let mut text = header;
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    let digits = match text {
        [digits @ .., b'=', b'='] | [digits @ .., b'='] => digits,
        _ => text,
    };
    // A single digit beyond the groups is less than a byte.
    if digits.is_empty()
        || digits.len() % 4 == 1
        || (digits.len() != text.len() && !text.len().is_multiple_of(4))
    {
        return Err(ParseError::NotBase64);
    }
    // The bits that the last digit has beyond the last byte must be zero; base64ct does not check
    // them when it decodes in place.
    let canonical = match (digits.len() % 4, digits.last()) {
        (2, Some(last)) => b"AQgw".contains(last),
        (3, Some(last)) => b"AEIMQUYcgkosw048".contains(last),
        _ => true,
    };
    if canonical { Ok(digits) } else { Err(ParseError::NotBase64) }
}

/// Returns the characters of padded base64 for `len` bytes.
pub const fn encoded_len(len: usize) -> usize {
    len.div_ceil(3).saturating_mul(4)
}

/// Writes bytes as padded base64 to the front of `out`, and returns that part. It is for a message
/// that is JSON already. Messages write themselves in one pass: see
/// [`Message::encode_header`](crate::wire::Message::encode_header).
///
/// # Errors
/// [`EncodeError::BufferTooSmall`].
pub fn encode<'o>(bytes: &[u8], out: &'o mut [u8]) -> Result<&'o str, EncodeError> {
    let needed = encoded_len(bytes.len());
    let out = out.get_mut(..needed).ok_or_else(|| EncodeError::too_small(needed))?;
    Base64::encode(bytes, out).map_err(|_| EncodeError::too_small(needed))
}
