//! Owned messages over the recorded traffic: serde both ways, and nothing lost.
#![allow(missing_docs)]

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use x402_core::{EncodeError, ParseError, Version};
use x402_std::message::{
    Json, PaymentPayload, PaymentRequired, SettleResponse, SupportedResponse, VerifyRequest,
    VerifyResponse, decode_header,
};

/// Reads `json` as `T` and writes it again: the same value, but for `null`s of optional fields.
fn round_trip<T: Serialize + DeserializeOwned + std::fmt::Debug>(json: &str) -> T {
    let message: T = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let written = serde_json::to_value(&message).unwrap();
    assert_eq!(written, without_nulls(serde_json::from_str(json).unwrap()), "{json}");
    // Inside another structure, as users keep messages.
    let kept = serde_json::to_string(&vec![(1, &message)]).unwrap();
    let (_, again) = serde_json::from_str::<Vec<(u8, T)>>(&kept).unwrap().pop().unwrap();
    assert_eq!(serde_json::to_value(&again).unwrap(), written);
    message
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        Value::Array(elements) => elements.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

#[test]
fn every_recorded_message_survives() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../x402-core/tests/vectors");
    let mut seen = [0; 7];
    for folder in ["e2e-ts", "e2e-py", "e2e-v1", "e2e-sei", "e2e-1ly"] {
        for file in fs::read_dir(vectors.join(folder)).unwrap() {
            let path = file.unwrap().path();
            let recording: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let malformed = path.file_name().unwrap().to_string_lossy().starts_with("malformed");
            for exchange in recording["exchanges"].as_array().unwrap() {
                let (request, response) = (&exchange["request"], &exchange["response"]);
                let (asked, answered) = (request["body"].as_str(), response["body"].as_str());
                match request["path"].as_str().unwrap() {
                    "/verify" => {
                        round_trip::<VerifyRequest>(asked.unwrap());
                        round_trip::<VerifyResponse>(answered.unwrap());
                        seen[0] += 1;
                    }
                    "/settle" => {
                        round_trip::<VerifyRequest>(asked.unwrap());
                        round_trip::<SettleResponse>(answered.unwrap());
                        seen[1] += 1;
                    }
                    "/supported" => {
                        round_trip::<SupportedResponse>(answered.unwrap());
                        seen[2] += 1;
                    }
                    _ => {}
                }
                let headers =
                    [request, response].map(|message| message["headers"].as_array().unwrap());
                for header in headers.into_iter().flatten().filter(|_| !malformed) {
                    let name = header[0].as_str().unwrap().to_lowercase();
                    if ![
                        "payment-required",
                        "payment-signature",
                        "x-payment",
                        "payment-response",
                        "x-payment-response",
                    ]
                    .contains(&name.as_str())
                    {
                        continue;
                    }
                    let json = decode_header(header[1].as_str().unwrap().as_bytes()).unwrap();
                    let json = String::from_utf8(json).unwrap();
                    match name.as_str() {
                        "payment-required" => {
                            round_trip::<PaymentRequired>(&json);
                            seen[3] += 1;
                        }
                        "payment-signature" | "x-payment" => {
                            round_trip::<PaymentPayload>(&json);
                            seen[4] += 1;
                        }
                        _ => {
                            round_trip::<SettleResponse>(&json);
                            seen[5] += 1;
                        }
                    }
                }
                if response["status"] == 402 && answered.unwrap().contains("x402Version") {
                    round_trip::<PaymentRequired>(answered.unwrap());
                    seen[6] += 1;
                }
            }
        }
    }
    // If a recording goes missing, so does its check.
    assert_eq!(seen, [26, 23, 12, 27, 27, 23, 5]);
}

#[test]
fn either_version_can_be_written() {
    let offer = x402_std::seller::exact(
        "base-sepolia",
        "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
        "$0.01",
    );
    let terms =
        x402_std::seller::Offers::new([offer.unwrap()]).with_description("weather", "text/plain");
    let v2 = terms.challenge(Version::V2, "why").unwrap();
    let v1 = terms.challenge(Version::V1, "why").unwrap();
    let mut converted = PaymentRequired::from_json(v2.as_bytes()).unwrap();
    converted.x402_version = Version::V1;
    assert_eq!(converted.to_json().unwrap(), v1);
    let mut converted = PaymentRequired::from_json(v1.as_bytes()).unwrap();
    converted.x402_version = Version::V2;
    assert_eq!(converted.to_json().unwrap(), v2);
    // A network without a v1 name cannot be offered in v1.
    let offer = converted.accepts.get_mut(0).unwrap();
    (offer.network, offer.v1) = ("eip155:5042002".parse().unwrap(), None);
    converted.x402_version = Version::V1;
    assert_eq!(converted.to_json(), Err(EncodeError::UnnamedNetwork));
    assert!(serde_json::to_string(&converted).is_err());
}

#[test]
fn refuses_what_the_core_refuses() {
    let twice = r#"{"isValid":true,"isValid":false}"#;
    let error = VerifyResponse::from_json(twice.as_bytes()).unwrap_err();
    assert_eq!(error.error, ParseError::DuplicateKey);
    let error = serde_json::from_str::<VerifyResponse>(twice).unwrap_err();
    assert!(error.to_string().contains("duplicate key"), "{error}");
    assert!(serde_json::from_str::<Json>("[1,]").is_err());
    assert!("not a network".parse::<x402_std::message::NetworkId>().is_err());
    let kept = r#"{"isValid":false,"invalidReason":"x","new":{"a" : [1.0, 1e2]}}"#;
    let message = VerifyResponse::from_json(kept.as_bytes()).unwrap();
    assert_eq!(message.other.as_ref().map(Json::as_str), Some(r#"{"new":{"a" : [1.0, 1e2]}}"#));
    assert_eq!(message.to_json().unwrap(), kept);
}

#[test]
fn debug_shows_no_payment() {
    let json =
        r#"{"x402Version":1,"scheme":"exact","network":"base","payload":{"signature":"0xSECRET"}}"#;
    let payment = PaymentPayload::from_json(json.as_bytes()).unwrap();
    assert!(!format!("{payment:?}").contains("SECRET"));
}
