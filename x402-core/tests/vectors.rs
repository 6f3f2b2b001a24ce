//! Golden tests: every message that the official SDKs were recorded with is read and written
//! again, and the specification's examples are written to the byte.

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{Kind, Recorded, Text, folder, normal, recorded, rewrite, rewrite_header, write};
use serde_json::Value;
use x402_core::json::RawJson;
use x402_core::wire::{
    Accepted, List, PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo,
    SettleResponse, V1Details, VerifyResponse,
};
use x402_core::{Amount, EncodeError, Message, Network, ParseError, Reason, Version};

/// The recorded texts that are no messages, and why: by a part of where they were recorded.
const REFUSED: &[(&str, Kind, ParseError)] = &[
    (
        "malformed-header-empty-object.json#0 payment-signature",
        Kind::Payload,
        ParseError::MissingField,
    ),
    ("malformed-header-not-base64.json#0 payment-signature", Kind::Payload, ParseError::NotBase64),
    ("eip3009/unsupported-version-3.json", Kind::Request, ParseError::UnsupportedVersion),
    // Answers with status 500 are {"error": text}.
    ("eip3009/payload-empty.json", Kind::Verified, ParseError::MissingField),
    ("eip3009/unregistered-scheme.json", Kind::Verified, ParseError::MissingField),
    ("eip3009/unsupported-version-3.json", Kind::Verified, ParseError::MissingField),
    ("eip3009/value-not-numeric.json", Kind::Verified, ParseError::MissingField),
    // A page for people.
    ("unpaid-402-browser-paywall.json#0 Required", Kind::Required, ParseError::UnexpectedByte),
];

fn refusal(recorded: &Recorded) -> Option<ParseError> {
    // Official v2 servers put the challenge in the header and `{}` in the body.
    if matches!(&recorded.text, Text::Body(body) if body == "{}") {
        return Some(ParseError::MissingField);
    }
    let found = REFUSED
        .iter()
        .find(|(origin, kind, _)| recorded.kind == *kind && recorded.origin.contains(origin));
    found.map(|(_, _, error)| *error)
}

#[test]
fn every_recorded_message_survives() {
    let mut read = BTreeMap::new();
    let mut refused = BTreeMap::new();
    for recorded in recorded() {
        let origin = &recorded.origin;
        let written = match (recorded.rewrite(), refusal(&recorded)) {
            (Err(error), Some(expected)) => {
                assert_eq!(error, expected, "{origin}");
                *refused.entry((recorded.kind, format!("{error:?}"))).or_insert(0) += 1;
                continue;
            }
            (Ok(written), None) => written,
            (got, expected) => panic!("{origin}: {got:?}, expected {expected:?}"),
        };
        *read.entry(recorded.kind).or_insert(0) += 1;

        // The same JSON value as the recorder, which is not our code, read.
        let json = recorded.json.clone().expect("the recorder read what we read");
        let ours: Value = serde_json::from_str(&written.json).expect("JSON");
        assert_eq!(ours, normal(recorded.kind, json), "{origin}");

        // Our text reads as the same message, from either form.
        assert_eq!(
            rewrite(recorded.kind, written.json.as_bytes()).as_ref(),
            Ok(&Ok(written)),
            "{origin}"
        );
        let written = recorded.rewrite().expect("again");
        let header = rewrite_header(recorded.kind, written.header.as_bytes());
        assert_eq!(header, Ok(Ok(written)), "{origin}");
    }
    // A walk that finds less than was recorded proves less than it says.
    let counts = [
        (Kind::Required, 36),
        (Kind::Payload, 28),
        (Kind::Request, 155),
        (Kind::Verified, 118),
        (Kind::Settled, 58),
        (Kind::Supported, 14),
    ];
    assert_eq!(read, BTreeMap::from(counts));
    let refused: Vec<_> =
        refused.iter().map(|((kind, error), count)| (*kind, error.as_str(), *count)).collect();
    let counts = [
        (Kind::Required, "MissingField", 27),
        (Kind::Required, "UnexpectedByte", 1),
        (Kind::Payload, "MissingField", 1),
        (Kind::Payload, "NotBase64", 1),
        (Kind::Request, "UnsupportedVersion", 1),
        (Kind::Verified, "MissingField", 4),
    ];
    assert_eq!(refused, counts);
}

#[test]
fn every_recorded_reason_is_known() {
    let index = fs::read_to_string(folder().join("negative/_index.json")).expect("readable");
    let index: Value = serde_json::from_str(&index).expect("JSON");
    let mut known = 0;
    for reason in index["distinctReasons"].as_array().expect("a list") {
        let reason = reason.as_str().expect("text");
        if reason != "VALID" && !reason.starts_with("HTTP500") {
            assert!(Reason::parse(reason).is_some(), "{reason}");
            known += 1;
        }
    }
    assert_eq!(known, 52);
}

#[test]
fn headers_in_our_key_order_come_out_to_the_byte() {
    let mut same = BTreeMap::new();
    for recorded in recorded() {
        let Text::Header(header) = &recorded.text else { continue };
        let Ok(written) = recorded.rewrite() else { continue };
        let (origin, name) = recorded.origin.split_once(' ').expect("file and header");
        let name = name.to_ascii_uppercase();
        // TypeScript servers write a challenge in the specification's order, as we do; Python
        // puts the asset before the amount. Payments and receipts come in several orders.
        let typescript =
            ["e2e-ts/", "e2e-sei/", "e2e-1ly/"].iter().any(|at| origin.starts_with(at))
                || origin.contains("__ts-server");
        if name == "PAYMENT-REQUIRED" && typescript {
            assert_eq!(*header, written.header, "{origin}");
        }
        let entry = same.entry(name).or_insert((0, 0));
        entry.0 += usize::from(*header == written.header);
        entry.1 += 1;
    }
    let counts = [
        ("PAYMENT-REQUIRED", (23, 29)),
        ("PAYMENT-RESPONSE", (14, 20)),
        ("PAYMENT-SIGNATURE", (0, 24)),
        ("X-PAYMENT", (2, 3)),
        ("X-PAYMENT-RESPONSE", (0, 3)),
    ];
    assert_eq!(same, counts.map(|(name, counts)| (name.to_owned(), counts)).into());
}

/// Specification v2 §5.1.1, without the white space.
const REQUIRED_V2: &str = concat!(
    r#"{"x402Version":2,"error":"PAYMENT-SIGNATURE header is required","#,
    r#""resource":{"url":"https://api.example.com/premium-data","#,
    r#""description":"Access to premium market data","mimeType":"application/json","#,
    r#""serviceName":"Example Market Data","tags":["market-data","finance"],"#,
    r#""iconUrl":"https://api.example.com/icon.png"},"#,
    r#""accepts":[{"scheme":"exact","network":"eip155:84532","amount":"10000","#,
    r#""asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","#,
    r#""payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C","maxTimeoutSeconds":60,"#,
    r#""extra":{"name":"USDC","version":"2"}}],"extensions":{}}"#,
);

/// The same challenge for a v1 buyer: what the offers took over from `resource`, and no more.
const REQUIRED_V2_AS_V1: &str = concat!(
    r#"{"x402Version":1,"error":"PAYMENT-SIGNATURE header is required","#,
    r#""accepts":[{"scheme":"exact","network":"base-sepolia","maxAmountRequired":"10000","#,
    r#""resource":"https://api.example.com/premium-data","#,
    r#""description":"Access to premium market data","mimeType":"application/json","#,
    r#""payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C","maxTimeoutSeconds":60,"#,
    r#""asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","#,
    r#""extra":{"name":"USDC","version":"2"}}],"extensions":{}}"#,
);

/// Specification v2 §5.2.1.
const PAYLOAD_V2: &str = concat!(
    r#"{"x402Version":2,"resource":{"url":"https://api.example.com/premium-data","#,
    r#""description":"Access to premium market data","mimeType":"application/json"},"#,
    r#""accepted":{"scheme":"exact","network":"eip155:84532","amount":"10000","#,
    r#""asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","#,
    r#""payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C","maxTimeoutSeconds":60,"#,
    r#""extra":{"name":"USDC","version":"2"}},"#,
    r#""payload":{"signature":"0x2d6a7588d6acca505cbf0d9a4a227e0c52c6c34008c8e8986a1283259764173608"#,
    r#"a2ce6496642e377d6da8dbbf5836e9bd15092f9ecab05ded3d6293af148b571c","#,
    r#""authorization":{"from":"0x857b06519E91e3A54538791bDbb0E22373e36b66","#,
    r#""to":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C","value":"10000","#,
    r#""validAfter":"1740672089","validBefore":"1740672154","#,
    r#""nonce":"0xf3746613c2d920b5fdabc0856f2aeb2d4f88ee6037b8cc5d04a71a4462f13480"}},"#,
    r#""extensions":{}}"#,
);

/// Specification v1 §5.1.1, in our key order and without `"outputSchema":null`.
const REQUIRED_V1: &str = concat!(
    r#"{"x402Version":1,"error":"X-PAYMENT header is required","#,
    r#""accepts":[{"scheme":"exact","network":"base-sepolia","maxAmountRequired":"10000","#,
    r#""resource":"https://api.example.com/premium-data","#,
    r#""description":"Access to premium market data","mimeType":"application/json","#,
    r#""payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C","maxTimeoutSeconds":60,"#,
    r#""asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","#,
    r#""extra":{"name":"USDC","version":"2"}}]}"#,
);

/// The same challenge for a v2 buyer.
const REQUIRED_V1_AS_V2: &str = concat!(
    r#"{"x402Version":2,"error":"X-PAYMENT header is required","#,
    r#""resource":{"url":"https://api.example.com/premium-data","#,
    r#""description":"Access to premium market data","mimeType":"application/json"},"#,
    r#""accepts":[{"scheme":"exact","network":"eip155:84532","amount":"10000","#,
    r#""asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","#,
    r#""payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C","maxTimeoutSeconds":60,"#,
    r#""extra":{"name":"USDC","version":"2"}}]}"#,
);

/// Specification v1 §5.2.1.
const PAYLOAD_V1: &str = concat!(
    r#"{"x402Version":1,"scheme":"exact","network":"base-sepolia","#,
    r#""payload":{"signature":"0x2d6a7588d6acca505cbf0d9a4a227e0c52c6c34008c8e8986a1283259764173608"#,
    r#"a2ce6496642e377d6da8dbbf5836e9bd15092f9ecab05ded3d6293af148b571c","#,
    r#""authorization":{"from":"0x857b06519E91e3A54538791bDbb0E22373e36b66","#,
    r#""to":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C","value":"10000","#,
    r#""validAfter":"1740672089","validBefore":"1740672154","#,
    r#""nonce":"0xf3746613c2d920b5fdabc0856f2aeb2d4f88ee6037b8cc5d04a71a4462f13480"}}}"#,
);

/// Specification v2 §5.3.1, in our key order.
const SETTLED_V2: &str = concat!(
    r#"{"success":true,"payer":"0x857b06519E91e3A54538791bDbb0E22373e36b66","#,
    r#""transaction":"0x1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcdef","#,
    r#""network":"eip155:84532"}"#,
);

/// [`SETTLED_V2`] in base64, by another encoder (Python's).
const SETTLED_V2_HEADER: &str = concat!(
    "eyJzdWNjZXNzIjp0cnVlLCJwYXllciI6IjB4ODU3YjA2NTE5RTkxZTNBNTQ1Mzg3OTFiRGJiMEUyMjM3M2UzNmI2",
    "NiIsInRyYW5zYWN0aW9uIjoiMHgxMjM0NTY3ODkwYWJjZGVmMTIzNDU2Nzg5MGFiY2RlZjEyMzQ1Njc4OTBhYmNk",
    "ZWYxMjM0NTY3ODkwYWJjZGVmIiwibmV0d29yayI6ImVpcDE1NTo4NDUzMiJ9",
);

/// Specification v1 §7.2, the failure.
const SETTLED_V1: &str = concat!(
    r#"{"success":false,"errorReason":"insufficient_funds","#,
    r#""payer":"0x857b06519E91e3A54538791bDbb0E22373e36b66","transaction":"","#,
    r#""network":"base-sepolia"}"#,
);

/// Specification v1 §7.1, the failure.
const VERIFIED: &str = concat!(
    r#"{"isValid":false,"invalidReason":"insufficient_funds","#,
    r#""payer":"0x857b06519E91e3A54538791bDbb0E22373e36b66"}"#,
);

/// Specification v2 §7.3, shortened.
const SUPPORTED: &str = concat!(
    r#"{"kinds":[{"x402Version":2,"scheme":"exact","network":"eip155:84532"},"#,
    r#"{"x402Version":1,"scheme":"exact","network":"solana-devnet","#,
    r#""extra":{"feePayer":"AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"}}],"#,
    r#""extensions":[],"signers":{"eip155:*":["0x1234567890abcdef1234567890abcdef12345678"]}}"#,
);

#[test]
fn the_specifications_examples_come_out_to_the_byte() {
    for (kind, json) in [
        (Kind::Required, REQUIRED_V2),
        (Kind::Required, REQUIRED_V2_AS_V1),
        (Kind::Required, REQUIRED_V1),
        (Kind::Required, REQUIRED_V1_AS_V2),
        (Kind::Payload, PAYLOAD_V2),
        (Kind::Payload, PAYLOAD_V1),
        (Kind::Settled, SETTLED_V2),
        (Kind::Settled, SETTLED_V1),
        (Kind::Verified, VERIFIED),
        (Kind::Supported, SUPPORTED),
    ] {
        let written = rewrite(kind, json.as_bytes()).expect(json).expect(json);
        assert_eq!(written.json, json);
    }
    let header =
        rewrite(Kind::Settled, SETTLED_V2.as_bytes()).expect("read").expect("written").header;
    assert_eq!(header, SETTLED_V2_HEADER);
}

fn raw(json: &str) -> RawJson<'_> {
    RawJson::parse(json.as_bytes()).expect(json)
}

fn offer() -> PaymentRequirements<'static> {
    PaymentRequirements {
        scheme: "exact".into(),
        network: Network::parse("eip155:84532").expect("CAIP-2"),
        amount: Amount::from(10_000),
        asset: "0x036CbD53842c5426634e7929541eC2318f3dCF7e".into(),
        pay_to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".into(),
        max_timeout_seconds: 60,
        extra: Some(raw(r#"{"name":"USDC","version":"2"}"#)),
        v1: None,
        other: Default::default(),
    }
}

fn resource() -> ResourceInfo<'static> {
    ResourceInfo {
        url: "https://api.example.com/premium-data".into(),
        description: Some("Access to premium market data".into()),
        mime_type: Some("application/json".into()),
        ..Default::default()
    }
}

#[test]
fn built_by_hand_they_are_the_same_bytes() {
    let offers = [offer()];
    let mut required = PaymentRequired {
        x402_version: Version::V2,
        error: Some("PAYMENT-SIGNATURE header is required".into()),
        resource: Some(ResourceInfo {
            service_name: Some("Example Market Data".into()),
            tags: Some(raw(r#"["market-data","finance"]"#)),
            icon_url: Some("https://api.example.com/icon.png".into()),
            ..resource()
        }),
        accepts: List::from(&offers[..]),
        extensions: Some(RawJson::EMPTY_OBJECT),
        other: Default::default(),
    };
    assert_eq!(write(&required).expect("v2").json, REQUIRED_V2);
    required.x402_version = Version::V1;
    assert_eq!(write(&required).expect("v1").json, REQUIRED_V2_AS_V1);

    // A v1 offer of one's own.
    let v1 = PaymentRequirements {
        network: Network::parse("base-sepolia").expect("a name"),
        v1: Some(V1Details::from(resource())),
        ..offer()
    };
    let offers = [v1];
    let mut required = PaymentRequired {
        error: Some("X-PAYMENT header is required".into()),
        resource: Some(resource()),
        accepts: List::from(&offers[..]),
        extensions: None,
        ..required
    };
    assert_eq!(write(&required).expect("v1").json, REQUIRED_V1);
    required.x402_version = Version::V2;
    assert_eq!(write(&required).expect("v2").json, REQUIRED_V1_AS_V2);

    let scheme_payload = raw(PAYLOAD_V1).get("payload").expect("there");
    let mut payload = PaymentPayload {
        resource: Some(resource()),
        accepted: Accepted::V2(offer()),
        payload: scheme_payload,
        extensions: Some(RawJson::EMPTY_OBJECT),
        other: Default::default(),
    };
    assert_eq!(write(&payload).expect("v2").json, PAYLOAD_V2);
    payload.accepted = Accepted::V1 { scheme: v1.scheme, network: v1.network };
    payload.extensions = None;
    assert_eq!(write(&payload).expect("v1").json, PAYLOAD_V1);

    let mut settled = SettleResponse {
        success: true,
        payer: Some("0x857b06519E91e3A54538791bDbb0E22373e36b66".into()),
        transaction: "0x1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcdef".into(),
        network: "eip155:84532".into(),
        ..Default::default()
    };
    let written = write(&settled).expect("settled");
    assert_eq!((written.json.as_str(), written.header.as_str()), (SETTLED_V2, SETTLED_V2_HEADER));
    settled.success = false;
    settled.error_reason = Some(Reason::InsufficientFunds.as_str().into());
    settled.transaction = "".into();
    settled.network = "base-sepolia".into();
    assert_eq!(write(&settled).expect("settled").json, SETTLED_V1);

    let verified = VerifyResponse {
        is_valid: false,
        invalid_reason: settled.error_reason,
        payer: settled.payer,
        ..Default::default()
    };
    assert_eq!(write(&verified).expect("verified").json, VERIFIED);
}

#[test]
fn one_challenge_is_written_in_either_version() {
    for (from, version, to) in [
        (REQUIRED_V2, Version::V2, REQUIRED_V2),
        (REQUIRED_V2, Version::V1, REQUIRED_V2_AS_V1),
        (REQUIRED_V1, Version::V1, REQUIRED_V1),
        (REQUIRED_V1, Version::V2, REQUIRED_V1_AS_V2),
        (REQUIRED_V1_AS_V2, Version::V1, REQUIRED_V1),
    ] {
        let mut required = PaymentRequired::parse(from.as_bytes()).expect(from);
        required.x402_version = version;
        assert_eq!(write(&required).expect(from).json, to);
    }
    // A network without a v1 name cannot be offered to a v1 buyer, and says so.
    let nameless = REQUIRED_V2.replace("eip155:84532", "eip155:84533");
    let mut required = PaymentRequired::parse(nameless.as_bytes()).expect("v2");
    required.x402_version = Version::V1;
    assert_eq!(write(&required), Err(EncodeError::UnnamedNetwork));
}

#[test]
fn open_parts_keep_their_bytes() {
    // White space, escapes, number spellings and unknown keys of an open part are the sender's.
    let odd = concat!(
        r#"{"x402Version":2,"accepted":{"scheme":"ex\u0061ct","network":"eip155:84532","#,
        r#""amount":"10000","asset":"USD₮0","payTo":"\ud83d\ude00","maxTimeoutSeconds":60,"#,
        r#""extra":{ "b" : 1.0e+1 , "a":[ ],"\u0061\n":null},"mine":{ }},"#,
        r#""payload":{"x" : -0.0},"extensions":{"e":{ "info":{}}},"yours":[1 ,2]}"#,
    );
    let written = rewrite(Kind::Payload, odd.as_bytes()).expect("read").expect("written");
    assert_eq!(written.json, odd);
}
