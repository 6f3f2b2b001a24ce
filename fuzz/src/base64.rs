//! Any bytes as a header value, and any bytes in one, for ours and for the crate `base64`: the
//! strict engines with and without padding together read what ours reads, and nothing else.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use x402_core::base64::{decode, decode_in_place, decoded_len, encode, encoded_len};
use x402_core::json::Writer;
use x402_core::{EncodeError, ParseError, limits};

pub use crate::blindly as mutate;

/// Panics if anything above is not so.
pub fn check(bytes: &[u8]) {
    decoded(bytes);
    let spaced = [b" \t", bytes, b"\t"].concat();
    decoded(&spaced);

    let header = STANDARD.encode(bytes);
    let mut out = vec![0; encoded_len(bytes.len())];
    assert_eq!(encode(bytes, &mut out), Ok(&header[..]));
    if let Some(short) = out.len().checked_sub(1) {
        assert_eq!(encode(bytes, &mut out[..short]), Err(EncodeError::too_small(header.len())));
    }
    decoded(header.as_bytes());
    decoded(STANDARD_NO_PAD.encode(bytes).as_bytes());
    written(bytes);

    // Every other spelling of the last digit is something else, or nothing.
    let Some((last, front)) = header.trim_end_matches('=').as_bytes().split_last() else { return };
    let (front, pad) = (&front[front.len() & !3..], &header[header.trim_end_matches('=').len()..]);
    let end = decoded(&[front, &[*last]].concat());
    for digit in b'+'..=b'z' {
        let others =
            [&b""[..], pad.as_bytes()].map(|pad| decoded(&[front, &[digit], pad].concat()));
        assert!(digit == *last || others.iter().all(|other| other.is_none() || *other != end));
    }
}

/// Decodes a header with both, which must agree.
fn decoded(header: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(header);
    let digits = text.trim_matches([' ', '\t']);
    let theirs = STANDARD.decode(digits).or_else(|_| STANDARD_NO_PAD.decode(digits)).ok();
    let expected = match theirs {
        _ if header.len() > limits::HEADER_BYTES => Err(ParseError::TooLong),
        Some(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => Err(ParseError::NotBase64),
    };
    let mut scratch = vec![0; decoded_len(header.len())];
    assert_eq!(decode(header, &mut scratch), expected.as_deref().map_err(|error| *error));
    let mut place = header.to_vec();
    assert_eq!(decode_in_place(&mut place), expected.as_deref().map_err(|error| *error));
    let bytes = expected.ok()?;
    let mut room = vec![0; bytes.len()];
    assert_eq!(decode(header, &mut room), Ok(&bytes[..]));
    let short = decode(header, &mut room[1..]);
    assert_eq!(short, Err(ParseError::ScratchTooSmall));
    Some(bytes)
}

/// Base64 of JSON, written in pieces, and JSON with base64 in it.
fn written(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let fill = |writer: &mut Writer<'_>| {
        writer.open('[').base64_of(bytes);
        for part in text.split(['a', ' ', '0']) {
            writer.string(part).integer(part.len() as u64);
        }
        writer.close(']');
    };
    let mut json = vec![0; 8 * bytes.len() + 64 + 4 * text.len() * 4];
    let mut writer = Writer::json(&mut json);
    fill(&mut writer);
    let json = writer.finish().unwrap();
    let first = format!("[\"{}\",", STANDARD.encode(bytes));
    assert!(json.starts_with(first.as_bytes()));
    let expected = STANDARD.encode(json);
    let mut header = vec![0; expected.len()];
    let mut writer = Writer::base64(&mut header);
    fill(&mut writer);
    assert_eq!(writer.finish(), Ok(expected.as_bytes()));
}
