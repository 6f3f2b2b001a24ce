//! Any bytes as a header value: both ways of decoding agree, and a message that is read is written
//! as a header that reads the same.

use x402_core::wire::{PaymentPayload, PaymentRequired, SettleResponse};
use x402_core::{Message, Version, base64, http, limits};

use crate::{Blind, Dice, json};

macro_rules! round {
    ($message:ty, $header:expr) => {{
        let mut scratch = vec![0; base64::decoded_len($header.len())];
        if let Ok(message) = <$message>::decode_header($header, &mut scratch)
            && let Ok(len) = message.header_len()
        {
            let mut written = vec![0; len];
            assert_eq!(message.encode_header(&mut written).unwrap().len(), len);
            // The written header may be longer than the read one, and so be refused.
            if len <= limits::HEADER_BYTES {
                let mut scratch = vec![0; base64::decoded_len(len)];
                let again = <$message>::decode_header(&written, &mut scratch).unwrap();
                let mut rewritten = vec![0; len];
                assert_eq!(again.encode_header(&mut rewritten).unwrap(), written);
            }
        }
    }};
}

/// Panics if anything above is not so.
pub fn check(header: &[u8]) {
    let mut scratch = vec![0; base64::decoded_len(header.len())];
    let mut in_place = header.to_vec();
    let decoded = base64::decode(header, &mut scratch);
    assert_eq!(base64::decode_in_place(&mut in_place), decoded);

    let headers = [("host", &b"x"[..]), ("Payment-Signature", header)];
    assert_eq!(http::payment(headers), Ok(Some((Some(Version::V2), header))));

    round!(PaymentRequired<'_>, header);
    round!(PaymentPayload<'_>, header);
    round!(SettleResponse<'_>, header);
}

/// Changes an input in ways that leave more of it sound than blind ones do: three times of four the
/// JSON in it is changed.
pub fn mutate(input: &[u8], max: usize, dice: &mut Dice, blind: &mut Blind<'_>) -> Vec<u8> {
    let mut json = input.to_vec();
    let Some(json) = base64::decode_in_place(&mut json).ok().filter(|_| !dice.one_in(4)) else {
        return blind(input, max);
    };
    let json = json::mutate(json, max.div_ceil(4) * 3, dice, blind);
    let mut header = vec![0; base64::encoded_len(json.len())];
    base64::encode(&json, &mut header).unwrap();
    header
}
