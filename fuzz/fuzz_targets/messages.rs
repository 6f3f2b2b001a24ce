//! Any bytes as each message: what is read is written, and reads the same again, for us and for
//! serde_json. We may refuse more than serde_json does; we may not read anything differently.
#![no_main]

use std::num::NonZeroU32;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use x402_core::json::RawJson;
use x402_core::wire::{
    PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo, SettleResponse,
    SupportedKind, SupportedResponse, VerifyRequest, VerifyResponse,
};
use x402_core::{EncodeError, Message, Network, ParseError, base64, limits};

/// Read, written, read and written again.
macro_rules! round {
    ($message:ty, $json:expr) => {
        if let Some(written) = rewritten(<$message>::parse_located($json), $json)
            && written.len() <= limits::MESSAGE_BYTES
        {
            let again = <$message>::parse_located(&written);
            assert!(again.is_ok(), "{again:?}: {}", text(&written));
            assert_eq!(rewritten(again, &written).as_ref(), Some(&written));
        }
    };
}
fuzz_target!(|json: &[u8]| {
    values(json);
    round!(PaymentRequired<'_>, json);
    round!(PaymentRequirements<'_>, json);
    round!(ResourceInfo<'_>, json);
    round!(PaymentPayload<'_>, json);
    round!(VerifyRequest<'_>, json);
    round!(VerifyResponse<'_>, json);
    round!(SettleResponse<'_>, json);
    round!(SupportedResponse<'_>, json);
    round!(SupportedKind<'_>, json);
});

/// The reader against serde_json, on any JSON.
fn values(json: &[u8]) {
    let theirs = serde_json::from_slice::<Value>(json);
    match RawJson::parse(json) {
        Ok(ours) => {
            assert_eq!(read(ours.as_str().as_bytes()), theirs.unwrap());
            assert!(ours.same_value(ours) && ours.contains(ours));
        }
        Err(error) => {
            let stricter = matches!(
                error,
                ParseError::TooLong
                    | ParseError::TooDeep
                    | ParseError::TooComplex
                    | ParseError::DuplicateKey
            );
            assert!(theirs.is_err() || stricter, "{error}");
        }
    }
}

/// The message as it is written, if it was read from `json`.
fn rewritten<'a, M: Message<'a>>(
    parsed: Result<M, (ParseError, usize)>,
    json: &[u8],
) -> Option<Vec<u8>> {
    let message = match parsed {
        Ok(message) => message,
        Err((_, at)) => {
            assert!(at <= json.len());
            return None;
        }
    };
    let Ok(len) = message.encoded_len() else {
        assert_eq!(message.encode(&mut []), Err(EncodeError::UnnamedNetwork));
        return None;
    };
    let mut written = vec![0; len];
    assert_eq!(message.encode(&mut written).unwrap().len(), len);
    assert_eq!(normal(read(&written)), normal(read(json)), "{}", text(&written));

    let short = message.encode(&mut written[..len - 1]).map(<[u8]>::len);
    let needed = u32::try_from(len).ok().and_then(NonZeroU32::new).unwrap();
    assert_eq!(short, Err(EncodeError::BufferTooSmall { needed }));
    assert_eq!(message.encode(&mut written).unwrap().len(), len);

    let mut header = vec![0; message.header_len().unwrap()];
    let header = message.encode_header(&mut header).unwrap();
    if header.len() <= limits::HEADER_BYTES {
        assert_eq!(base64::decode(header, &mut vec![0; len]).unwrap(), written);
    }
    Some(written)
}

fn read(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap()
}

fn text(json: &[u8]) -> &str {
    std::str::from_utf8(json).unwrap()
}

/// Evens out what a message may spell in two ways: an optional field that is `null` or absent, a
/// version number in a string or left out of a request, a network by name or by id.
fn normal(value: Value) -> Value {
    match value {
        Value::Object(mut members) => {
            let inner =
                members.get("paymentPayload").and_then(|payload| payload.get("x402Version"));
            if let Some(version) = inner.cloned() {
                members.entry("x402Version").or_insert(version);
            }
            members.retain(|_, value| !value.is_null());
            let even = members.into_iter().map(|(key, value)| {
                let value = normal_member(&key, value);
                (key, value)
            });
            even.collect()
        }
        Value::Array(values) => values.into_iter().map(normal).collect(),
        other => other,
    }
}

fn normal_member(key: &str, value: Value) -> Value {
    match (key, value.as_str()) {
        ("x402Version", Some("1")) => 1.into(),
        ("x402Version", Some("2")) => 2.into(),
        ("network", Some(text)) => {
            let id = Network::parse(text).ok().and_then(Network::caip2);
            id.map_or(text, Network::as_str).into()
        }
        _ => normal(value),
    }
}
