//! Any bytes as a header value: both ways of decoding agree, and a message that is read is written
//! as a header that reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use x402_core::wire::{PaymentPayload, PaymentRequired, SettleResponse};
use x402_core::{Message, Version, base64, http, limits};

macro_rules! round {
    ($message:ty, $header:expr) => {{
        let mut scratch = vec![0; base64::decoded_len($header.len())];
        if let Ok(message) = <$message>::decode_header($header, &mut scratch)
            && let Ok(len) = message.header_len()
        {
            let mut written = vec![0; len];
            assert_eq!(message.encode_header(&mut written).unwrap().len(), len);
            // What is written may be longer than what was read, and so be refused.
            if len <= limits::HEADER_BYTES {
                let mut scratch = vec![0; base64::decoded_len(len)];
                let again = <$message>::decode_header(&written, &mut scratch).unwrap();
                let mut rewritten = vec![0; len];
                assert_eq!(again.encode_header(&mut rewritten).unwrap(), written);
            }
        }
    }};
}

fuzz_target!(|header: &[u8]| {
    let mut scratch = vec![0; base64::decoded_len(header.len())];
    let mut in_place = header.to_vec();
    let decoded = base64::decode(header, &mut scratch);
    assert_eq!(base64::decode_in_place(&mut in_place), decoded);

    let headers = [("host", &b"x"[..]), ("Payment-Signature", header)];
    assert_eq!(http::payment(headers), Ok(Some((Version::V2, header))));

    round!(PaymentRequired<'_>, header);
    round!(PaymentPayload<'_>, header);
    round!(SettleResponse<'_>, header);
});
