//! Any bytes as each message: what is read is written, and reads the same again, for us and for
//! serde_json. We may refuse more than serde_json does; we may not read anything differently.

use std::num::NonZeroU32;

use x402_core::json::{Located, RawJson};
use x402_core::wire::{
    PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo, SettleResponse,
    SupportedKind, SupportedResponse, VerifyRequest, VerifyResponse,
};
use x402_core::{EncodeError, Message, Network, base64, limits};

use crate::json::agreed;
use crate::tree::Tree;

pub use crate::json::mutate;

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

/// Panics if anything above is not so.
pub fn check(json: &[u8]) {
    // The reader itself, on any JSON.
    if let Some((raw, _)) = agreed(json) {
        assert!(raw.same_value(raw) && raw.contains(raw));
    }
    round!(PaymentRequired<'_>, json);
    round!(PaymentRequirements<'_>, json);
    round!(ResourceInfo<'_>, json);
    round!(PaymentPayload<'_>, json);
    round!(VerifyRequest<'_>, json);
    round!(VerifyResponse<'_>, json);
    round!(SettleResponse<'_>, json);
    round!(SupportedResponse<'_>, json);
    round!(SupportedKind<'_>, json);
}

/// The message as it is written, if it was read from `json`.
fn rewritten<'a, M: Message<'a>>(parsed: Result<M, Located>, json: &[u8]) -> Option<Vec<u8>> {
    let message = match parsed {
        Ok(message) => message,
        Err(error) => {
            assert!(error.at <= json.len());
            error.place(json).to_string();
            return None;
        }
    };
    let Ok(len) = message.encoded_len() else {
        assert_eq!(message.encode(&mut []), Err(EncodeError::UnnamedNetwork));
        return None;
    };
    let mut written = vec![0; len];
    assert_eq!(message.encode(&mut written).unwrap().len(), len);
    // Beside what is decided by, more is kept than is read as a tree.
    if let Some(before) = Tree::read(json) {
        let after = Tree::read(&written).unwrap();
        assert_eq!(normal(&after), normal(&before), "{}", text(&written));
    }

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

fn text(json: &[u8]) -> &str {
    std::str::from_utf8(json).unwrap()
}

/// Evens out what a message may spell in two ways: members in any order, an optional field that is
/// `null` or absent, a version number in a string or left out of a request, a network by name or by
/// id.
fn normal(tree: &Tree) -> Tree {
    match tree {
        Tree::Object(members) => {
            let version = tree.get("paymentPayload").and_then(|payload| payload.get("x402Version"));
            let version = version.filter(|_| tree.get("x402Version").is_none());
            let mut even: Vec<_> = members
                .iter()
                .map(|(key, value)| (key.as_str(), value))
                .chain(version.map(|version| ("x402Version", version)))
                .filter(|(_, value)| !matches!(value, Tree::Word(word) if word == "null"))
                .filter(|(key, value)| {
                    let may_be_empty = ["transaction", "network"].contains(key);
                    !(may_be_empty && value.text() == Some(""))
                })
                .map(|(key, value)| (key.to_owned(), normal_member(key, value)))
                .collect();
            even.sort_by(|(one, _), (other, _)| one.cmp(other));
            Tree::Object(even)
        }
        Tree::Array(entries) => Tree::Array(entries.iter().map(normal).collect()),
        other => other.clone(),
    }
}

fn normal_member(key: &str, value: &Tree) -> Tree {
    if let ("x402Version" | "maxTimeoutSeconds", Tree::Number(number)) = (key, value) {
        let whole = RawJson::parse(number.as_bytes()).unwrap().as_u64();
        return Tree::Number(whole.map_or(number.clone(), |whole| whole.to_string()));
    }
    match (key, value.text()) {
        ("x402Version", Some(text @ ("1" | "2"))) => Tree::Number(text.to_owned()),
        ("network", Some(text)) => {
            let id = Network::parse(text).ok().and_then(Network::caip2);
            Tree::Text(id.map_or(text, Network::as_str).to_owned())
        }
        _ => normal(value),
    }
}
