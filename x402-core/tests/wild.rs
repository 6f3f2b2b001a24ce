//! Messages in the shape of public reports: each has something odd beside what can be paid.

mod common;

use serde_json::{Value, json};
use x402_core::buyer::{Decline, Policy, Wallet, choices, choose, read_challenge};
use x402_core::seller::settled;
use x402_core::wire::{
    Accepted, PaymentPayload, PaymentRequired, PaymentRequirements, SettleResponse,
    SupportedResponse, VerifyRequest, VerifyResponse,
};
use x402_core::{Message, ParseError, Reason, Version, base64, claim::ClaimState};

/// Keys of `extra` that two offers of the same price may have different.
const HINTS: &[&str] = &["recentBlockhash", "lastValidBlockHeight"];

fn wild(name: &str) -> Vec<Value> {
    let path = format!("{}/tests/wild_messages/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).expect("the file")).expect("JSON")
}

/// Pays USDC on Base.
struct OnBase;

impl Wallet for OnBase {
    fn pays(&self, offer: &PaymentRequirements<'_>) -> bool {
        offer.scheme == "exact" && offer.network.eip155() == Some(8453)
    }

    fn decimals(&self, _: &PaymentRequirements<'_>) -> Option<u8> {
        Some(6)
    }
}

fn chosen(json: &str) -> Result<usize, Decline> {
    let required =
        PaymentRequired::parse(json.as_bytes()).unwrap_or_else(|it| panic!("{it} {json}"));
    choose(&required, "", &OnBase, &Policy::default()).map(|choice| choice.index)
}

#[test]
fn the_good_offer_is_paid_and_the_odd_one_kept() {
    let all = wild("offers");
    assert!(all.len() >= 10);
    for case in all {
        let (name, payable) = (&case["name"], case["payable"].as_u64().expect("a place") as usize);
        let json = case["required"].to_string();
        assert_eq!(chosen(&json), Ok(payable), "{name}");
        let required = PaymentRequired::parse(json.as_bytes()).expect("read");
        let written = common::write(&required).expect("written").json;
        let again: Value = serde_json::from_str(&written).expect("JSON");
        assert_eq!(again, case["required"], "{name}");
        // The same in a header, in either alphabet.
        for url in [false, true] {
            let mut header = vec![0; base64::encoded_len(json.len())];
            let mut header = base64::encode(json.as_bytes(), &mut header).unwrap().to_owned();
            if url {
                header = header.replace('+', "-").replace('/', "_").replace('=', "");
            }
            let mut scratch = vec![0; base64::decoded_len(header.len())];
            let read = read_challenge(Some(header.as_bytes()), b"<html>", &mut scratch);
            assert_eq!(read.expect("read").accepts.len(), required.accepts.len(), "{name}");
        }
    }
}

const GOOD: &str = r#"{"scheme":"exact","network":"eip155:8453","amount":"3000","asset":"0xa","payTo":"0xb","maxTimeoutSeconds":60}"#;

/// The fault in an entry, and its place in the challenge.
#[test]
fn each_entry_says_what_is_wrong_with_it_and_where() {
    use ParseError::{
        DuplicateKey, EscapedKey, InvalidAmount, InvalidNetwork, InvalidString, MissingField,
        TooDeep, VersionMismatch, WrongType,
    };
    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    for (entry, error, place) in [
        ("null".to_owned(), WrongType, ""),
        ("7".into(), WrongType, ""),
        ("[]".into(), WrongType, ""),
        ("\"exact\"".into(), WrongType, ""),
        (deep.clone(), WrongType, ""),
        ("{}".into(), MissingField, "network"),
        (GOOD.replace("\"scheme\":\"exact\",", ""), MissingField, "scheme"),
        (GOOD.replace("\"exact\"", "5"), WrongType, "scheme"),
        (GOOD.replace("\"exact\"", "\"\\ud800\""), InvalidString, "scheme"),
        (GOOD.replace("eip155:8453", "algorand:a/b="), InvalidNetwork, "network"),
        (GOOD.replace("eip155:8453", "nowhere"), InvalidNetwork, "network"),
        (GOOD.replace("\"eip155:8453\"", "8453"), WrongType, "network"),
        (GOOD.replace("\"3000\"", "\"0.02\""), InvalidAmount, "amount"),
        (GOOD.replace("\"3000\"", "3000"), WrongType, "amount"),
        (GOOD.replace("\"3000\"", "null"), WrongType, "amount"),
        (GOOD.replace("\"amount\":\"3000\",", ""), MissingField, "amount"),
        (GOOD.replace("\"amount\"", "\"maxAmountRequired\""), VersionMismatch, ""),
        (GOOD.replace(",\"payTo\":\"0xb\"", ""), MissingField, "payTo"),
        (GOOD.replace("\"0xb\"", "{}"), WrongType, "payTo"),
        (GOOD.replace(":60", ":\"60\""), WrongType, "maxTimeoutSeconds"),
        (GOOD.replace(":60", ":60.5"), WrongType, "maxTimeoutSeconds"),
        (GOOD.replace(":60", ":60,\"extra\":[]"), WrongType, "extra"),
        (GOOD.replace(":60", ":60,\"extra\":\"x\""), WrongType, "extra"),
        (GOOD.replace(":60", ":60,\"extra\":{\"a\":1,\"a\":2}"), DuplicateKey, "extra.a"),
        (GOOD.replace(":60", &format!(":60,\"extra\":{{\"a\":{deep}}}")), TooDeep, "extra.a"),
        (GOOD.replace(":60", ":60,\"asset\":\"0xc\""), DuplicateKey, "asset"),
        (GOOD.replace("\"payTo\"", "\"pay\\u0054o\""), EscapedKey, "?"),
    ] {
        let json = format!(r#"{{"x402Version":2,"accepts":[{entry},{GOOD}]}}"#);
        assert_eq!(chosen(&json), Ok(1), "{entry}");
        let required = PaymentRequired::parse(json.as_bytes()).expect("read");
        let first = required.accepts.entries().next().expect("an entry");
        let (raw, located) = (first.raw.expect("read").as_str(), first.read.expect_err(&entry));
        assert_eq!((raw, located.error), (&*entry, error));
        let found = located.place(raw.as_bytes()).to_string();
        assert!(
            found == place || found.starts_with("extra.a[") && place == "extra.a",
            "{found} {entry}"
        );
        assert_eq!(
            choices(&required, "", &OnBase, &Policy::default()).next().and_then(Result::err),
            Some(Decline::Unreadable)
        );
        // Alone it is all there is.
        let json = format!(r#"{{"x402Version":2,"accepts":[{entry}]}}"#);
        assert_eq!(chosen(&json), Err(Decline::Unreadable), "{entry}");
        let required = PaymentRequired::parse(json.as_bytes()).expect("read");
        assert_eq!(common::write(&required).expect("written").json, json);
    }
    // A text that is no JSON is no list.
    let deep = |inside: &str| format!("{{\"a\":{}{inside}{}}}", "[".repeat(100), "]".repeat(100));
    let broken_deep = [
        deep("::: garbage nul }}}}"),
        deep("{\"a\" 1}"),
        deep("[1,]"),
        deep("1]").replace("]}", "}}"),
    ];
    for broken in broken_deep
        .iter()
        .map(String::as_str)
        .chain(["{", "}", "x", "{\"a\"}", "{\"a\":1", "[1,]", "tru", "\"\n\""])
    {
        let json = format!(r#"{{"x402Version":2,"accepts":[{broken},{GOOD}]}}"#);
        assert!(PaymentRequired::parse(json.as_bytes()).is_err(), "{json}");
    }
}

/// Where a message is wrong, by its path; keys alone are shown, and of those plain words.
#[test]
fn errors_have_a_place() {
    let place = |json: &str| {
        let error = VerifyRequest::parse_located(json.as_bytes()).expect_err(json);
        (error.error, error.place(json.as_bytes()).to_string())
    };
    let payload = format!(r#"{{"x402Version":2,"accepted":{GOOD},"payload":{{"a":"secret"}}}}"#);
    let request =
        format!(r#"{{"x402Version":2,"paymentPayload":{payload},"paymentRequirements":{GOOD}}}"#);
    assert!(VerifyRequest::parse(request.as_bytes()).is_ok());
    for (from, to, error, at) in [
        (
            "\"x402Version\":2,\"accepted\"",
            "\"accepted\"",
            ParseError::MissingField,
            "paymentPayload.x402Version",
        ),
        (",\"payload\":{\"a\":\"secret\"}", "", ParseError::MissingField, "paymentPayload.payload"),
        ("{\"a\":\"secret\"}", "[\"secret\"]", ParseError::WrongType, "paymentPayload.payload"),
        (",\"payTo\":\"0xb\"", "", ParseError::MissingField, "paymentPayload.accepted.payTo"),
        ("\"3000\"", "\"3e3\"", ParseError::InvalidAmount, "paymentPayload.accepted.amount"),
        ("\"secret\"", "{\"k\":1,\"k\":2}", ParseError::DuplicateKey, "paymentPayload.payload.a.k"),
        (
            "\"secret\"",
            "[1,{\"sec ret\":nul}]",
            ParseError::UnexpectedByte,
            "paymentPayload.payload.a[1].?",
        ),
        (",\"paymentRequirements\"", ",\"other\"", ParseError::MissingField, "paymentRequirements"),
    ] {
        let json = request.replacen(from, to, 1);
        assert_eq!(place(&json), (error, at.to_owned()), "{json}");
    }
}

/// By texts for people nothing is decided, whatever stands in their place.
#[test]
fn texts_for_people_are_anything() {
    for value in
        ["{\"code\":\"x\",\"code\":2}", "[]", "7", "true", "\"\\ud83d\"", "\"x\\udc00\\u0041\""]
    {
        for (field, at) in [
            ("error", "/error"),
            ("description", "/resource/description"),
            ("mimeType", "/resource/mimeType"),
            ("serviceName", "/resource/serviceName"),
            ("tags", "/resource/tags"),
            ("iconUrl", "/resource/iconUrl"),
            ("resource", "/resource"),
            ("extensions", "/extensions"),
        ] {
            let json = match at.rsplit_once('/') {
                Some(("/resource", _)) => format!(
                    r#"{{"x402Version":2,"resource":{{"url":"u","{field}":{value}}},"accepts":[{GOOD}]}}"#
                ),
                _ => format!(r#"{{"x402Version":2,"{field}":{value},"accepts":[{GOOD}]}}"#),
            };
            assert_eq!(chosen(&json), Ok(0), "{json}");
            let required = PaymentRequired::parse(json.as_bytes()).expect("read");
            let written = common::write(&required).expect("written").json;
            assert!(written.contains(&format!("\"{field}\":{value}")), "{written}");
            let is_kept = !(field == "tags" && value == "[]"
                || field == "extensions" && value.starts_with('{'));
            if !at.starts_with("/resource") && is_kept {
                assert_eq!(required.other.get(field).map(|it| it.as_str()), Some(value));
            }
        }
        // In v1 an offer says what it is for.
        let v1 = format!(
            r#"{{"x402Version":1,"error":{value},"accepts":[{{"scheme":"exact","network":"base","maxAmountRequired":"3000","resource":{value},"description":{value},"mimeType":{value},"outputSchema":7,"payTo":"0xb","maxTimeoutSeconds":60.0,"asset":"0xa"}}]}}"#
        );
        assert_eq!(chosen(&v1), Ok(0), "{v1}");
        let required = PaymentRequired::parse(v1.as_bytes()).expect("read");
        let written = common::write(&required).expect("written").json;
        for field in ["error", "resource", "description", "mimeType"] {
            assert!(written.contains(&format!("\"{field}\":{value}")), "{written}");
        }
    }
}

/// The version is said once, at the top: keys of the other one are unknown ones, and echoed.
#[test]
fn keys_of_the_other_version_are_unknown_keys() {
    let both = GOOD.replace(
        ":60",
        r#":60,"maxAmountRequired":3,"resource":[],"description":5,"mimeType":null,"outputSchema":{}"#,
    );
    let json = format!(r#"{{"x402Version":2,"accepts":[{both}]}}"#);
    let required = PaymentRequired::parse(json.as_bytes()).expect("read");
    let offer = required.accepts.iter().next().expect("read");
    assert_eq!((offer.version(), offer.other.count()), (Version::V2, 5));
    // A payment and a facilitator's request repeat it.
    let payment = format!(r#"{{"x402Version":2,"accepted":{both},"payload":{{}}}}"#);
    let read = PaymentPayload::parse(payment.as_bytes()).expect("read");
    let Accepted::V2(accepted) = read.accepted else { panic!("v2") };
    assert!(accepted.accepts(&offer, HINTS));
    let request = format!(r#"{{"paymentPayload":{payment},"paymentRequirements":{both}}}"#);
    assert!(VerifyRequest::parse(request.as_bytes()).is_ok());
    let v1 = r#"{"scheme":"exact","network":"base","maxAmountRequired":"3000","amount":0.5,"resource":"u","payTo":"0xb","maxTimeoutSeconds":60,"asset":"0xa"}"#;
    let json = format!(r#"{{"x402Version":1,"accepts":[{v1}]}}"#);
    assert_eq!(chosen(&json), Ok(0));
    let payment = r#"{"x402Version":1,"scheme":"exact","network":"base","payload":{}}"#;
    let request = format!(r#"{{"paymentPayload":{payment},"paymentRequirements":{v1}}}"#);
    assert!(VerifyRequest::parse(request.as_bytes()).is_ok());
    // Whole numbers are numbers, in whatever spelling.
    for version in ["2.0", "2e0", "0.2e1", "\"2\""] {
        let json =
            format!(r#"{{"x402Version":{version},"accepts":[{}]}}"#, GOOD.replace(":60", ":6e1"));
        assert_eq!(chosen(&json), Ok(0), "{version}");
    }
}

#[test]
fn receipts_are_read_and_kept() {
    let all = wild("receipts");
    assert!(all.len() >= 3);
    for case in all {
        let json = case["receipt"].to_string();
        let receipt =
            SettleResponse::parse(json.as_bytes()).unwrap_or_else(|it| panic!("{it} {json}"));
        let written: Value = serde_json::from_str(&common::write(&receipt).unwrap().json).unwrap();
        for (key, value) in case["receipt"].as_object().expect("an object") {
            assert_eq!(&written[key], value, "{json}");
        }
    }
    let offer = PaymentRequirements::parse(GOOD.as_bytes()).expect("an offer");
    let id = format!("0x{}", "ab".repeat(32));
    let good = json!({ "success": true, "transaction": id, "network": "eip155:8453" });
    // Fields beside a success, and whether it still is one.
    for (key, value, certain) in [
        ("amount", json!(""), true),
        ("amount", json!(null), true),
        ("amount", json!("3000"), true),
        ("amount", json!("2999"), false),
        ("amount", json!(3000), false),
        ("amount", json!("0x3000"), false),
        ("errorReason", json!(null), true),
        ("errorReason", json!(""), true),
        ("errorReason", json!({ "code": 1 }), false),
        ("errorMessage", json!({ "code": 1 }), true),
        ("transaction", json!(7), false),
        ("network", json!(null), true),
        ("network", json!("base"), true),
        ("extensions", json!([]), true),
        ("extra", json!([]), true),
        ("network", json!(["eip155:8453"]), false),
        ("payer", json!(5), false),
        ("payer", json!(["0x1"]), false),
        ("payer", json!(null), true),
    ] {
        let mut receipt = good.clone();
        receipt[key] = value;
        let json = receipt.to_string();
        let read =
            SettleResponse::parse(json.as_bytes()).unwrap_or_else(|it| panic!("{it} {json}"));
        let state = settled(&read, &offer, None, true);
        assert_eq!(matches!(state, ClaimState::Settled(_)), certain, "{json}: {state:?}");
    }
    // A refusal without a transaction, for a reason of the facilitator's own.
    let json = r#"{"success":false,"errorReason":"compliance_hold"}"#;
    let read = SettleResponse::parse(json.as_bytes()).expect("read");
    let state = settled(&read, &offer, None, true);
    assert_eq!(state, ClaimState::Failed(Reason::SettlementRefused));
    let verified =
        VerifyResponse::parse(br#"{"isValid":false,"invalidReason":{"a":1}}"#).expect("read");
    assert_eq!((verified.invalid_reason, verified.other.count()), (None, 1));
}

#[test]
fn kinds_of_other_chains_do_not_hide_ours() {
    for case in wild("supported") {
        let json = case["supported"].to_string();
        let supported = SupportedResponse::parse(json.as_bytes()).expect("read");
        for network in case["settles"].as_array().expect("a list") {
            let mut kinds = supported.kinds.iter();
            assert!(kinds.any(|kind| network == kind.network.as_str()), "{json}");
        }
        let written: Value =
            serde_json::from_str(&common::write(&supported).unwrap().json).unwrap();
        assert_eq!(written["kinds"].as_array().map(Vec::len), Some(supported.kinds.len()));
    }
    // Several hundred, with addresses in each.
    let kind = json!({ "x402Version": 2.0, "scheme": "exact", "network": "eip155:8453",
                       "extra": { "pad": "x".repeat(300) } });
    let mut kinds = vec![json!({ "network": 5 }); 900];
    kinds.push(kind);
    let json = json!({ "kinds": kinds, "signers": [] }).to_string();
    let supported = SupportedResponse::parse(json.as_bytes()).expect("read");
    assert_eq!((supported.kinds.len(), supported.kinds.iter().count()), (901, 1));
}
