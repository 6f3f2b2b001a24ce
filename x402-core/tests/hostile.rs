//! Bad input, table by table: the error it gets, and where the error is noticed.
//!
//! A text with `«` and `»` marks what is wrong with it: the marks are taken out, and the error must
//! be noticed at or between them.

mod common;

use common::{Kind, rewrite, rewrite_header, write};
use serde_json::Value;
use x402_core::amount::Money;
use x402_core::base64;
use x402_core::json::{Cursor, RawJson};
use x402_core::limits;
use x402_core::seller::Seller;
use x402_core::wire::{
    PaymentPayload, PaymentRequired, PaymentRequirements, SettleResponse, SupportedResponse,
};
use x402_core::{Amount, Message, Network, ParseError, Reason, Version, http};

/// Keys of `extra` that two offers of the same price may have different.
const HINTS: &[&str] = &["recentBlockhash", "lastValidBlockHeight"];

/// One complete message of each kind and version: every field the specification names is there.
const COMPLETE: [(Kind, &str); 9] = [
    (Kind::Required, REQUIRED_V2),
    (Kind::Required, REQUIRED_V1),
    (Kind::Payload, PAYLOAD_V2),
    (Kind::Payload, PAYLOAD_V1),
    (Kind::Request, REQUEST_V2),
    (Kind::Request, REQUEST_V1),
    (Kind::Verified, VERIFIED),
    (Kind::Settled, SETTLED),
    (Kind::Supported, SUPPORTED),
];

const REQUIRED_V2: &str = r#"{"x402Version":2,"error":"e","resource":{"url":"u","description":"d","mimeType":"m","serviceName":"s","tags":["t"],"iconUrl":"i"},"accepts":[{"scheme":"exact","network":"eip155:84532","amount":"10000","asset":"0xa","payTo":"0xb","maxTimeoutSeconds":60,"extra":{"name":"USDC"}}],"extensions":{"x":{"info":{}}}}"#;
const REQUIRED_V1: &str = r#"{"x402Version":1,"error":"e","accepts":[{"scheme":"exact","network":"base-sepolia","maxAmountRequired":"10000","resource":"u","description":"d","mimeType":"m","payTo":"0xb","maxTimeoutSeconds":60,"asset":"0xa","outputSchema":{"o":1},"extra":{"name":"USDC"}}],"extensions":{}}"#;
const PAYLOAD_V2: &str = r#"{"x402Version":2,"resource":{"url":"u","description":"d","mimeType":"m","serviceName":"s","tags":["t"],"iconUrl":"i"},"accepted":{"scheme":"exact","network":"eip155:84532","amount":"10000","asset":"0xa","payTo":"0xb","maxTimeoutSeconds":60,"extra":{"name":"USDC"}},"payload":{"signature":"0x1"},"extensions":{}}"#;
const PAYLOAD_V1: &str = r#"{"x402Version":1,"scheme":"exact","network":"base-sepolia","payload":{"signature":"0x1"},"extensions":{}}"#;
const REQUEST_V2: &str = r#"{"x402Version":2,"paymentPayload":{"x402Version":2,"accepted":{"scheme":"exact","network":"eip155:84532","amount":"10000","asset":"0xa","payTo":"0xb","maxTimeoutSeconds":60},"payload":{}},"paymentRequirements":{"scheme":"exact","network":"eip155:84532","amount":"10000","asset":"0xa","payTo":"0xb","maxTimeoutSeconds":60}}"#;
const REQUEST_V1: &str = r#"{"x402Version":1,"paymentPayload":{"x402Version":1,"scheme":"exact","network":"base-sepolia","payload":{}},"paymentRequirements":{"scheme":"exact","network":"base-sepolia","maxAmountRequired":"10000","resource":"u","payTo":"0xb","maxTimeoutSeconds":60,"asset":"0xa"}}"#;
const VERIFIED: &str = r#"{"isValid":false,"invalidReason":"r","invalidMessage":"m","payer":"p","extensions":{},"extra":{}}"#;
const SETTLED: &str = r#"{"success":false,"errorReason":"r","errorMessage":"m","payer":"p","transaction":"","network":"eip155:84532","amount":"1","extensions":{},"extra":{}}"#;
const SUPPORTED: &str = r#"{"kinds":[{"x402Version":2,"scheme":"exact","network":"eip155:84532","extra":{}}],"extensions":["e"],"signers":{"eip155:*":["0x1"]}}"#;

/// Takes the marks out, and checks error and place.
fn refused(kind: Kind, marked: &str, error: ParseError) {
    let from = marked.find('«').unwrap_or(0);
    let text = marked.replacen('«', "", 1);
    let to = text.find('»').unwrap_or(text.len());
    let text = text.replacen('»', "", 1);
    match rewrite(kind, text.as_bytes()) {
        Err((got, at)) => {
            assert_eq!(got, error, "{kind:?} {marked}");
            assert!((from..=to).contains(&at), "noticed at {at}, not in {from}..={to}: {marked}");
        }
        Ok(written) => panic!("{kind:?} {marked}: {written:?}, expected {error:?}"),
    }
}

fn accepted(kind: Kind, text: &str) {
    if let Err(refused) = rewrite(kind, text.as_bytes()) {
        panic!("{kind:?} {text}: {refused:?}");
    }
}

fn raw(text: &str) -> Result<RawJson<'_>, ParseError> {
    RawJson::parse(text.as_bytes())
}

// ---------------------------------------------------------------------------------------------
// Headers

#[test]
fn base64_has_one_alphabet_and_one_spelling() {
    use ParseError::NotBase64;
    let table: &[(&str, Result<&str, ParseError>)] = &[
        // With or without padding, and with the white space HTTP puts around a value.
        ("e30=", Ok("{}")),
        ("e30", Ok("{}")),
        (" \t e30= \t", Ok("{}")),
        ("\te30", Ok("{}")),
        ("W10K", Ok("[]\n")),
        ("IiI=", Ok("\"\"")),
        ("MQ==", Ok("1")),
        ("MQ", Ok("1")),
        ("Pj4+Pz8/", Ok(">>>???")),
        // Nothing is not a payment that could be read.
        ("", Err(NotBase64)),
        (" \t ", Err(NotBase64)),
        ("=", Err(NotBase64)),
        ("==", Err(NotBase64)),
        ("===", Err(NotBase64)),
        ("====", Err(NotBase64)),
        // Padding that is wrong.
        ("e30==", Err(NotBase64)),
        ("e30===", Err(NotBase64)),
        ("MQ=", Err(NotBase64)),
        ("MQ===", Err(NotBase64)),
        ("W10K=", Err(NotBase64)),
        ("W10K==", Err(NotBase64)),
        ("W10K====", Err(NotBase64)),
        ("e3=0", Err(NotBase64)),
        ("=e30", Err(NotBase64)),
        ("e30=e30=", Err(NotBase64)),
        ("e30 =", Err(NotBase64)),
        // A single digit is no byte.
        ("e", Err(NotBase64)),
        ("W10Ke", Err(NotBase64)),
        ("W10Ke===", Err(NotBase64)),
        // Bits that no byte has must be zero: `e31` would be a second spelling of `{}`.
        ("e31=", Err(NotBase64)),
        ("e31", Err(NotBase64)),
        ("MR==", Err(NotBase64)),
        ("Mf", Err(NotBase64)),
        // Other alphabets.
        ("Pj4-Pz8_", Err(NotBase64)),
        ("Pj4-Pz8/", Err(NotBase64)),
        ("Pj4+Pz8_", Err(NotBase64)),
        ("%%%", Err(NotBase64)),
        ("e30%3D", Err(NotBase64)),
        ("ｅ30", Err(NotBase64)),
        // White space inside, and line ends anywhere.
        ("e3 0", Err(NotBase64)),
        ("e3\t0", Err(NotBase64)),
        ("e30=\n", Err(NotBase64)),
        ("e30=\r\n", Err(NotBase64)),
        ("\ne30=", Err(NotBase64)),
        ("W10K\r\nW10K", Err(NotBase64)),
        ("e30=\0", Err(NotBase64)),
        // JSON that was never encoded.
        ("{}", Err(NotBase64)),
        (r#"{"x402Version":2}"#, Err(NotBase64)),
    ];
    for (header, expected) in table {
        let expected = expected.map(str::as_bytes);
        let mut scratch = [0; 64];
        assert_eq!(base64::decode(header.as_bytes(), &mut scratch), expected, "{header:?}");
        let mut place = header.as_bytes().to_vec();
        assert_eq!(base64::decode_in_place(&mut place), expected, "{header:?} in place");
    }
}

#[test]
fn header_scratch_is_exactly_decoded_len() {
    for header in ["e30=", "e30", " e30 ", "MQ==", "W10K"] {
        let digits = header.trim().trim_end_matches('=').len();
        let needed = base64::decoded_len(digits);
        assert!(base64::decoded_len(header.len()) >= needed, "{header}");
        assert!(base64::decode(header.as_bytes(), &mut vec![0; needed]).is_ok(), "{header}");
        let short = base64::decode(header.as_bytes(), &mut vec![0; needed - 1]).map(<[u8]>::len);
        assert_eq!(short, Err(ParseError::ScratchTooSmall), "{header}");
    }
}

#[test]
fn header_that_is_base64_of_something_else() {
    use ParseError::{MissingField, NotUtf8, UnexpectedByte, UnexpectedEnd, WrongType};
    for (header, error) in [
        ("e30=", MissingField),       // {}
        ("e319", MissingField),       // {}} lacks fields before it ends too late
        ("e30ge30=", MissingField),   // {} {}
        ("W10=", WrongType),          // []
        ("bnVsbA==", WrongType),      // null
        ("IiI=", WrongType),          // ""
        ("Mg==", WrongType),          // 2
        ("ew==", UnexpectedEnd),      // {
        ("IA==", UnexpectedEnd),      // one space
        ("aGVsbG8=", UnexpectedByte), // hello
        ("77u/e30=", UnexpectedByte), // a byte order mark, {}
        ("ZTMwPQ==", UnexpectedByte), // base64 of base64 of {}
        ("/v8=", NotUtf8),            // FE FF
        ("eyLDKCI6MX0=", NotUtf8),    // {"\xC3(":1}
        ("7aCA", NotUtf8),            // a surrogate in "UTF-8"
    ] {
        for kind in Kind::ALL {
            assert_eq!(rewrite_header(kind, header.as_bytes()), Err(error), "{kind:?} {header}");
        }
    }
}

#[test]
fn one_payment_to_a_request() {
    type Headers<'a> = &'a [(&'a str, &'a [u8])];
    type Found<'a> = Result<Option<(Option<Version>, &'a [u8])>, ParseError>;
    const V1: Option<Version> = Some(Version::V1);
    const V2: Option<Version> = Some(Version::V2);
    let find = |headers: Headers<'static>| http::payment(headers.iter().copied());
    let table: &[(Headers<'_>, Found<'_>)] = &[
        (&[], Ok(None)),
        (&[("accept", b"a"), ("x-payments", b"b"), ("payment", b"c")], Ok(None)),
        (&[("PAYMENT-SIGNATURE", b"a")], Ok(Some((V2, b"a")))),
        (&[("payment-signature", b"a"), ("Accept", b"b")], Ok(Some((V2, b"a")))),
        (&[("X-Payment", b"")], Ok(Some((V1, b"")))),
        // The same in both is one.
        (&[("x-payment", b"a"), ("payment-signature", b"a")], Ok(Some((None, b"a")))),
        (&[("payment-signature", b"a"), ("x", b"b"), ("X-PAYMENT", b"a")], Ok(Some((None, b"a")))),
        (
            &[("x-payment", b"a"), ("payment-signature", b"a"), ("x-payment", b"a")],
            Err(ParseError::TwoPayments),
        ),
        (&[("x-payment", b"a"), ("payment-signature", b"b")], Err(ParseError::TwoPayments)),
        (&[("payment-signature", b"a"), ("X-PAYMENT", b"b")], Err(ParseError::TwoPayments)),
        (&[("X-PAYMENT", b"a"), ("x-payment", b"a")], Err(ParseError::TwoPayments)),
        (&[("PAYMENT-SIGNATURE", b"a"), ("payment-signature", b"")], Err(ParseError::TwoPayments)),
    ];
    for (headers, expected) in table {
        assert_eq!(find(headers), *expected, "{headers:?}");
    }
}

#[test]
fn a_payment_belongs_in_its_versions_header() {
    for (json, version) in [(PAYLOAD_V1, Version::V1), (PAYLOAD_V2, Version::V2)] {
        for header in [Version::V1, Version::V2] {
            let read = Seller::read(header, json.as_bytes()).map(|payload| payload.x402_version());
            let expected =
                if header == version { Ok(version) } else { Err(ParseError::VersionMismatch) };
            assert_eq!(read, expected);
        }
        // Of a payment in both headers, the payment says which.
        assert!(Seller::read(None, json.as_bytes()).is_ok());
    }
}

// ---------------------------------------------------------------------------------------------
// JSON

#[test]
fn texts_that_are_no_json() {
    use ParseError::{InvalidString, UnexpectedByte, UnexpectedEnd};
    for (text, error) in [
        ("", UnexpectedEnd),
        (" \t\r\n", UnexpectedEnd),
        ("{", UnexpectedEnd),
        ("[", UnexpectedEnd),
        ("{\"a\"", UnexpectedEnd),
        ("{\"a\":", UnexpectedEnd),
        ("{\"a\":1", UnexpectedEnd),
        ("{\"a\":1,", UnexpectedEnd),
        ("[1", UnexpectedEnd),
        ("[1,", UnexpectedEnd),
        ("\"abc", UnexpectedEnd),
        ("\"abc\\", UnexpectedEnd),
        ("\"\\u12", UnexpectedEnd),
        ("{}}", UnexpectedByte),
        ("[]]", UnexpectedByte),
        ("{} {}", UnexpectedByte),
        ("1 2", UnexpectedByte),
        ("\"a\"\"b\"", UnexpectedByte),
        ("true false", UnexpectedByte),
        ("{}\0", UnexpectedByte),
        ("{}\u{a0}", UnexpectedByte),
        ("\u{feff}{}", UnexpectedByte),
        ("\u{b}{}", UnexpectedByte),
        ("\u{c}{}", UnexpectedByte),
        ("[,]", UnexpectedByte),
        ("[,1]", UnexpectedByte),
        ("[1,]", UnexpectedByte),
        ("[1,,2]", UnexpectedByte),
        ("[1 2]", UnexpectedByte),
        ("[1:2]", UnexpectedByte),
        ("[1}", UnexpectedByte),
        ("{,}", UnexpectedByte),
        ("{,\"a\":1}", UnexpectedByte),
        ("{\"a\":1,}", UnexpectedByte),
        ("{\"a\":1,,\"b\":2}", UnexpectedByte),
        ("{\"a\" 1}", UnexpectedByte),
        ("{\"a\"::1}", UnexpectedByte),
        ("{\"a\":}", UnexpectedByte),
        ("{\"a\":1]", UnexpectedByte),
        ("{\"a\":1 \"b\":2}", UnexpectedByte),
        ("{\"a\":1;\"b\":2}", UnexpectedByte),
        ("{\"a\"}", UnexpectedByte),
        ("{a:1}", UnexpectedByte),
        ("{'a':1}", UnexpectedByte),
        ("{1:1}", UnexpectedByte),
        ("{null:1}", UnexpectedByte),
        ("'a'", UnexpectedByte),
        ("True", UnexpectedByte),
        ("NULL", UnexpectedByte),
        ("nulL", UnexpectedByte),
        ("truee", UnexpectedByte),
        ("nullnull", UnexpectedByte),
        ("undefined", UnexpectedByte),
        ("NaN", UnexpectedByte),
        ("Infinity", UnexpectedByte),
        ("/**/1", UnexpectedByte),
        ("1//", UnexpectedByte),
        ("<html>", UnexpectedByte),
        ("\"a\nb\"", InvalidString),
        ("[\"\\x41\"]", InvalidString),
    ] {
        assert_eq!(raw(text).map(RawJson::as_str), Err(error), "{text:?}");
        // Inside the open part of a message it may be another error, but it is one.
        let inside = REQUIRED_V2.replace(r#"{"info":{}}"#, text);
        assert!(rewrite(Kind::Required, inside.as_bytes()).is_err(), "{inside}");
    }
}

#[test]
fn texts_that_are_json() {
    for text in [
        "{}",
        "[]",
        "0",
        "-0",
        "\"\"",
        "true",
        "false",
        "null",
        " [ ] ",
        "\r\n\t {\"a\" : [ 1 , {} ]\n}",
        "{\"\":0}",
        "[[],[[]],{}]",
        "\"\u{7f}\u{2028}\u{fffd}\u{10ffff}\"",
        "[1,1]",
        // Not the same key: keys are compared by characters, not by looks or normal form.
        "{\"a\":1,\"A\":2}",
        "{\"é\":1,\"e\u{301}\":2}",
        "{\"a\":{\"a\":{\"a\":1}}}",
        "[{\"a\":1},{\"a\":1}]",
        "{\"a\":\"b\",\"b\":\"a\"}",
        "{\"a\":\"a\"}",
        "{\"a\":[\"a\",\"a\"]}",
        r#"{"a\"":1,"a":2}"#,
        r#"{"\\":1,"\"":2}"#,
        r#"{"a":"\"a\":","b":1}"#,
    ] {
        assert_eq!(raw(text).map(RawJson::as_str), Ok(text.trim()), "{text:?}");
    }
}

#[test]
fn not_utf8() {
    let good = PAYLOAD_V2.as_bytes();
    let at = good.iter().position(|&b| b == b'u').expect("a letter in a string");
    for bad in [
        &[0xff][..],
        &[0xc3],
        &[0xc3, 0x28],
        &[0xed, 0xa0, 0x80],
        &[0xf5, 0x80, 0x80, 0x80],
        &[0xc0, 0x80],
    ] {
        let text = [&good[..at], bad, &good[at..]].concat();
        assert_eq!(rewrite(Kind::Payload, &text), Err((ParseError::NotUtf8, 0)), "{bad:x?}");
        assert_eq!(RawJson::parse(&text).map(RawJson::as_str), Err(ParseError::NotUtf8));
        assert_eq!(Cursor::new(&text).map(|c| c.position()), Err(ParseError::NotUtf8));
    }
}

#[test]
fn something_before_or_after_a_message() {
    use ParseError::{UnexpectedByte, UnexpectedEnd, WrongType};
    for (kind, message) in COMPLETE {
        accepted(kind, &format!(" \t\r\n{message} \t\r\n"));
        for (after, error) in [
            ("}", UnexpectedByte),
            ("0", UnexpectedByte),
            (",", UnexpectedByte),
            (message, UnexpectedByte),
            ("\0", UnexpectedByte),
        ] {
            refused(kind, &format!("{message}«»{after}"), error);
        }
        for (before, error) in [
            ("[", WrongType),
            ("\0", UnexpectedByte),
            ("\u{feff}", UnexpectedByte),
            ("0", WrongType),
            ("\"\"", WrongType),
        ] {
            refused(kind, &format!("«»{before}{message}"), error);
        }
        // Cut anywhere, it is no message; the place is never beyond the text.
        for end in 0..message.len() {
            let cut = &message[..end];
            refused(
                kind,
                cut,
                match rewrite(kind, cut.as_bytes()) {
                    Err((
                        error @ (UnexpectedEnd | UnexpectedByte | ParseError::InvalidNumber),
                        _,
                    )) => error,
                    other => panic!("{cut}: {other:?}"),
                },
            );
        }
    }
}

#[test]
fn strings() {
    use ParseError::{InvalidString, UnexpectedByte};
    #[rustfmt::skip]
    let bad = [
        // Half a surrogate pair, or two of one half.
        r"\ud800", r"\udc00", r"\udfff", r"\ud83d", r"\ud83dx", r"\ud83d\n", r"\ud83d\u0041",
        r"\ud83d\ud83d", r"\ude00\ud83d", r"\ud83d\\ude00", r"\uDBFF\uDBFF", r"\ud83d ",
        // Escapes that JSON does not have.
        r"\x41", r"\0", r"\'", r"\a", r"\v", r"\e", r"\U0041", r"\ ", r"\é", "\\\n",
        r"\u{41}", r"\u 041", r"\u00g0", r"\u+041", r"\u-041", r"\u００４１",
    ];
    let control: Vec<String> = (0..0x20u8).map(|c| char::from(c).to_string()).collect();
    for inner in bad.into_iter().chain(control.iter().map(String::as_str)) {
        // As a value and as a key; typed, and in an open part. Some run over the closing quote
        // and are noticed a little later, so only the error is compared.
        for text in [
            format!("\"{inner}\""),
            format!("\"abc{inner}def\""),
            format!("[1,\"{inner}\"]"),
            format!("{{\"{inner}\":1}}"),
        ] {
            assert_eq!(raw(&text).map(RawJson::as_str), Err(InvalidString), "{text:?}");
        }
        refused(
            Kind::Required,
            &REQUIRED_V2.replacen("\"exact\"", &format!("\"«{inner}»\""), 1),
            InvalidString,
        );
        refused(
            Kind::Required,
            &REQUIRED_V2.replacen("USDC", &format!("«{inner}»"), 1),
            InvalidString,
        );
        refused(
            Kind::Payload,
            &PAYLOAD_V2.replacen("\"accepted\"", &format!("\"«{inner}»\""), 1),
            InvalidString,
        );
    }
    for (text, decoded) in [
        (r#""\u0041\n\r\t\b\f\/\\\"""#, "A\n\r\t\u{8}\u{c}/\\\""),
        (r#""\ud83d\ude00\uD83D\uDE00""#, "😀😀"),
        (r#""\u0000\u001f\u007f\uffff""#, "\0\u{1f}\u{7f}\u{ffff}"),
        (r#""\udbff\udfff\ud800\udc00""#, "\u{10ffff}\u{10000}"),
        ("\"\u{7f}\u{80}₮\"", "\u{7f}\u{80}₮"),
    ] {
        let string = raw(text).ok().and_then(RawJson::as_string).expect(text);
        assert_eq!(string.to_string(), decoded);
        assert_eq!(string, *decoded);
    }
    assert_eq!(raw("\"a\"b\"").map(RawJson::as_str), Err(UnexpectedByte));
}

#[test]
fn numbers() {
    use ParseError::{InvalidNumber, UnexpectedByte, UnsupportedVersion, WrongType};
    for good in [
        "0",
        "-0",
        "1",
        "-1",
        "10",
        "0.0",
        "-0.0",
        "1.5",
        "1e3",
        "1E3",
        "1e+3",
        "1e-3",
        "1.5e300",
        "0e0",
        "0E-0",
        "1.0e0000",
        "123456789012345678901234567890",
        "0.00000000000000000001",
        "1e99999999999999999999",
    ] {
        assert_eq!(raw(good).map(RawJson::as_str), Ok(good));
    }
    for (bad, error) in [
        ("-", InvalidNumber),
        ("--1", InvalidNumber),
        ("-a", InvalidNumber),
        ("-Infinity", InvalidNumber),
        ("00", InvalidNumber),
        ("01", InvalidNumber),
        ("-01", InvalidNumber),
        ("0.", InvalidNumber),
        ("1.", InvalidNumber),
        ("1.e1", InvalidNumber),
        ("1.5.5", InvalidNumber),
        ("1e", InvalidNumber),
        ("1e+", InvalidNumber),
        ("1e-", InvalidNumber),
        ("1e+-1", InvalidNumber),
        ("1e1.5", InvalidNumber),
        ("1-1", InvalidNumber),
        ("1+1", InvalidNumber),
        ("+1", UnexpectedByte),
        (".5", UnexpectedByte),
        ("0x10", UnexpectedByte),
        ("1_000", UnexpectedByte),
        ("1f", UnexpectedByte),
        ("１", UnexpectedByte),
    ] {
        assert_eq!(raw(bad).map(RawJson::as_str), Err(error), "{bad}");
        for text in [
            REQUIRED_V2.replacen(":60", &format!(":«{bad}»"), 1),
            REQUIRED_V2.replacen("\"USDC\"", &format!("«{bad}»"), 1),
        ] {
            refused(Kind::Required, &text, error);
        }
    }
    assert_eq!(raw("1e5e5").map(RawJson::as_str), Err(UnexpectedByte));
    // Seconds are a whole number below 2^64, written as one.
    for (seconds, expected) in [
        ("0", Ok(0)),
        ("18446744073709551615", Ok(u64::MAX)),
        ("18446744073709551616", Err(WrongType)),
        ("-0", Ok(0)),
        ("-60", Err(WrongType)),
        ("-60.0", Err(WrongType)),
        ("-6e1", Err(WrongType)),
        ("60.0", Ok(60)),
        ("60.000", Ok(60)),
        ("6e1", Ok(60)),
        ("6E+1", Ok(60)),
        ("0.6e2", Ok(60)),
        ("600e-1", Ok(60)),
        ("60.5", Err(WrongType)),
        ("6e-1", Err(WrongType)),
        ("0e99", Ok(0)),
        ("0.0e-99", Ok(0)),
        ("1e19", Ok(10_000_000_000_000_000_000)),
        ("2e19", Err(WrongType)),
        ("1e2147483647", Err(WrongType)),
        ("1e-2147483648", Err(WrongType)),
        ("1e99999999999", Err(WrongType)),
        ("184467440737095516150e-1", Ok(u64::MAX)),
        ("\"60\"", Err(WrongType)),
        ("null", Err(WrongType)),
    ] {
        let text = REQUIRED_V2.replacen(":60", &format!(":{seconds}"), 1);
        let required = PaymentRequired::parse(text.as_bytes()).expect("a list");
        let offer = required.accepts.entries().next().expect("an offer").read;
        let read = offer.map(|offer| offer.max_timeout_seconds).map_err(ParseError::from);
        assert_eq!(read, expected, "{seconds}");
    }
    // The version, in each place that has one.
    for (version, error) in [
        ("0", UnsupportedVersion),
        ("3", UnsupportedVersion),
        ("12", UnsupportedVersion),
        ("18446744073709551615", UnsupportedVersion),
        ("18446744073709551616", WrongType),
        ("4294967298", UnsupportedVersion),
        ("-2", WrongType),
        ("2.5", WrongType),
        ("3.0", UnsupportedVersion),
        ("02", InvalidNumber),
        ("true", WrongType),
        ("null", WrongType),
        ("[2]", WrongType),
        ("\"3\"", WrongType),
        ("\"2.0\"", WrongType),
        ("\"v2\"", WrongType),
        ("\"\"", WrongType),
        ("\"02\"", WrongType),
        ("\" 2\"", WrongType),
        ("\"\\u0032\"", WrongType),
    ] {
        // The kinds of a facilitator may be of any version; they are not read further.
        for (kind, message) in COMPLETE.into_iter().filter(|(kind, _)| *kind != Kind::Supported) {
            let string = version.starts_with('"');
            for (start, digit) in message.match_indices("\"x402Version\":") {
                let at = start + digit.len();
                let text = format!("{}«{version}»{}", &message[..at], &message[at + 1..]);
                // A challenge may have the version as a string; then only its value is wrong.
                let error =
                    if kind == Kind::Required && string { UnsupportedVersion } else { error };
                refused(kind, &text, error);
            }
        }
    }
    let string = REQUIRED_V2.replacen(":2,", ":\"2\",", 1);
    assert_eq!(
        rewrite(Kind::Required, string.as_bytes()),
        rewrite(Kind::Required, REQUIRED_V2.as_bytes())
    );
    let string = REQUIRED_V1.replacen(":1,", ":\"1\",", 1);
    assert_eq!(
        rewrite(Kind::Required, string.as_bytes()),
        rewrite(Kind::Required, REQUIRED_V1.as_bytes())
    );
    refused(Kind::Payload, &PAYLOAD_V2.replacen(":2,", ":«\"2\"»,", 1), WrongType);
}

#[test]
fn numbers_of_one_value() {
    for (a, b, same) in [
        ("1", "1.0", true),
        ("1", "1e0", true),
        ("1", "10e-1", true),
        ("100", "1E+2", true),
        ("0.001", "1e-3", true),
        ("0", "-0", true),
        ("0", "0.00e-7", true),
        ("123456789012345678901234567890", "1.2345678901234567890123456789e29", true),
        ("1", "-1", false),
        ("1", "10", false),
        ("1", "0.1", false),
        ("0", "1e-300", false),
        // Closer to each other than `f64` can tell.
        ("9007199254740993", "9007199254740992", false),
        ("0.1", "0.1000000000000000055511151231257827", false),
        // Exponents that no integer holds are compared as they are written.
        ("1e99999999999999999999", "1e99999999999999999999", true),
        ("1e99999999999999999999", "1e99999999999999999998", false),
        ("1e99999999999999999999", "1e-99999999999999999999", false),
        ("1e99999999999999999999", "1", false),
        ("10e9223372036854775806", "1e9223372036854775806", false),
        ("10e2147483647", "1e2147483647", false),
        ("0.1e-2147483648", "1e-2147483648", false),
    ] {
        let (a, b) = (raw(a).expect(a), raw(b).expect(b));
        let what = format!("{} {}", a.as_str(), b.as_str());
        assert_eq!((a.same_value(b), b.same_value(a)), (same, same), "{what}");
        assert_eq!((a.contains(b), b.contains(a)), (same, same), "{what}");
    }
}

// ---------------------------------------------------------------------------------------------
// Fields

/// The types a field may have.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Type {
    Text,
    Boolean,
    Integer,
    Amount,
    Network,
    Object,
    Array,
    /// A JSON value of any type.
    Any,
}

const REQUIRED: bool = true;
const OPTIONAL: bool = false;

/// The fields of each object of the protocol, by what its path ends with.
const FIELDS: &[(&str, Type, bool)] = &[
    ("x402Version", Type::Integer, REQUIRED),
    ("error", Type::Text, OPTIONAL),
    ("resource", Type::Object, OPTIONAL),
    ("accepts", Type::Array, REQUIRED),
    ("extensions", Type::Object, OPTIONAL),
    ("url", Type::Text, REQUIRED),
    ("description", Type::Text, OPTIONAL),
    ("mimeType", Type::Text, OPTIONAL),
    ("serviceName", Type::Text, OPTIONAL),
    ("tags", Type::Array, OPTIONAL),
    ("iconUrl", Type::Text, OPTIONAL),
    ("scheme", Type::Text, REQUIRED),
    ("network", Type::Network, REQUIRED),
    ("amount", Type::Amount, REQUIRED),
    ("maxAmountRequired", Type::Amount, REQUIRED),
    ("asset", Type::Text, REQUIRED),
    ("payTo", Type::Text, REQUIRED),
    ("maxTimeoutSeconds", Type::Integer, REQUIRED),
    ("extra", Type::Object, OPTIONAL),
    ("outputSchema", Type::Any, OPTIONAL),
    ("accepted", Type::Object, REQUIRED),
    ("payload", Type::Object, REQUIRED),
    ("paymentPayload", Type::Object, REQUIRED),
    ("paymentRequirements", Type::Object, REQUIRED),
    ("isValid", Type::Boolean, REQUIRED),
    ("invalidReason", Type::Text, OPTIONAL),
    ("invalidMessage", Type::Text, OPTIONAL),
    ("payer", Type::Text, OPTIONAL),
    ("success", Type::Boolean, REQUIRED),
    ("errorReason", Type::Text, OPTIONAL),
    ("errorMessage", Type::Text, OPTIONAL),
    ("transaction", Type::Text, REQUIRED),
    ("kinds", Type::Array, REQUIRED),
    ("signers", Type::Object, OPTIONAL),
];

/// Fields that are something else in one place.
const EXCEPTIONS: &[(&str, &str, Type, bool)] = &[
    (REQUIRED_V1, "/accepts/0/resource", Type::Text, REQUIRED),
    (REQUEST_V1, "/paymentRequirements/resource", Type::Text, REQUIRED),
    (REQUEST_V2, "/x402Version", Type::Integer, OPTIONAL),
    (REQUEST_V1, "/x402Version", Type::Integer, OPTIONAL),
    (SETTLED, "/amount", Type::Amount, OPTIONAL),
    // Some facilitators leave it empty on failure, so it is text only.
    (SETTLED, "/network", Type::Text, REQUIRED),
    (SUPPORTED, "/extensions", Type::Array, OPTIONAL),
];

/// Paths of all named fields of a complete message. Fields inside open objects are not named.
fn fields(message: &str) -> Vec<(String, Type, bool)> {
    fn walk(value: &Value, path: &str, found: &mut Vec<String>) {
        let open = ["extra", "extensions", "payload", "outputSchema", "signers", "tags"];
        if open.iter().any(|name| path.ends_with(&format!("/{name}"))) {
            return;
        }
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    let path = format!("{path}/{key}");
                    walk(value, &path, found);
                    found.push(path);
                }
            }
            Value::Array(entries) => {
                for (index, entry) in entries.iter().enumerate() {
                    walk(entry, &format!("{path}/{index}"), found);
                }
            }
            _ => {}
        }
    }
    let mut paths = Vec::new();
    walk(&serde_json::from_str(message).expect("JSON"), "", &mut paths);
    let row = |path: String| {
        let exception =
            EXCEPTIONS.iter().find(|(in_message, at, ..)| *in_message == message && *at == path);
        let (of, required) = match exception {
            Some((_, _, of, required)) => (*of, *required),
            None => {
                let name = path.rsplit('/').next().expect("a name");
                let (_, of, required) = FIELDS.iter().find(|(n, ..)| *n == name).expect(name);
                (*of, *required)
            }
        };
        (path, of, required)
    };
    paths.into_iter().map(row).collect()
}

/// Whether nothing is decided by a field, so that it may be anything.
fn is_beside(kind: Kind, path: &str, of: Type) -> bool {
    let name = path.rsplit('/').next().expect("a path");
    let texts = ["description", "mimeType", "serviceName", "tags", "iconUrl"];
    // In v1 an offer says what it is for.
    let is_text =
        texts.contains(&name) || path.ends_with("s/resource") || path.ends_with("0/resource");
    is_text
        || match kind {
            Kind::Required => {
                ["/error", "/resource", "/resource/url", "/extensions"].contains(&path)
            }
            Kind::Verified | Kind::Settled => of != Type::Boolean,
            Kind::Supported => ["/extensions", "/signers"].contains(&path),
            Kind::Payload | Kind::Request => false,
        }
}

/// Fields that the specification requires and that decide nothing.
const NOT_MISSED: [(Kind, &str); 5] = [
    (Kind::Settled, "/transaction"),
    (Kind::Settled, "/network"),
    (Kind::Required, "/resource/url"),
    (Kind::Required, "/accepts/0/resource"),
    (Kind::Request, "/paymentRequirements/resource"),
];

#[test]
fn every_field_has_one_type() {
    let mut seen = 0;
    for (kind, message) in COMPLETE {
        for (path, of, required) in fields(message) {
            for wrong in ["null", "true", "1", "\"text\"", "[]", "{}"] {
                let mut value: Value = serde_json::from_str(message).expect("JSON");
                *value.pointer_mut(&path).expect("there") =
                    serde_json::from_str(wrong).expect("JSON");
                let expected = match (of, wrong) {
                    // By these nothing is decided: what is something else is kept.
                    _ if is_beside(kind, &path, of) => Ok(()),
                    (_, "null") if !required && !path.ends_with("x402Version") => Ok(()),
                    (Type::Any, _)
                    | (Type::Text, "\"text\"")
                    | (Type::Boolean, "true")
                    | (Type::Array, "[]") => Ok(()),
                    // Objects that may be anything may be empty; others lack fields then.
                    (Type::Object, "{}") => match path.rsplit('/').next() {
                        Some("extra" | "extensions" | "payload" | "signers") => Ok(()),
                        _ => Err(ParseError::MissingField),
                    },
                    // 1 is the other version, or the same.
                    (Type::Integer, "1") if !path.ends_with("x402Version") => Ok(()),
                    (Type::Integer, "1") => continue,
                    (Type::Amount, "\"text\"") => Err(ParseError::InvalidAmount),
                    // A plain name is a v1 network.
                    (Type::Network, "\"text\"") => match kind {
                        Kind::Supported => Ok(()),
                        _ if message.contains("\"x402Version\":1") => Ok(()),
                        _ => Err(ParseError::InvalidNetwork),
                    },
                    // Its challenge may have the version as text.
                    (Type::Integer, "\"text\"")
                        if kind == Kind::Required && path == "/x402Version" =>
                    {
                        Err(ParseError::UnsupportedVersion)
                    }
                    _ => Err(ParseError::WrongType),
                };
                let text = value.to_string();
                let got = rewrite(kind, text.as_bytes());
                assert_eq!(got.clone_error(), expected, "{kind:?} {path} {of:?} {text}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 651);
}

#[test]
fn every_required_field_is_required() {
    let mut seen = 0;
    for (kind, message) in COMPLETE {
        for (path, _, required) in fields(message) {
            let (object, key) = path.rsplit_once('/').expect("a path");
            let mut value: Value = serde_json::from_str(message).expect("JSON");
            let members = value.pointer_mut(object).and_then(Value::as_object_mut);
            assert!(members.expect("an object").remove(key).is_some());
            let required = required && !NOT_MISSED.contains(&(kind, path.as_str()));
            let expected = if required { Err(ParseError::MissingField) } else { Ok(()) };
            let got = rewrite(kind, value.to_string().as_bytes());
            assert_eq!(got.clone_error(), expected, "{kind:?} {path}");
            seen += usize::from(required);
        }
    }
    assert_eq!(seen, 65);
}

/// The error alone.
trait CloneError {
    fn clone_error(&self) -> Result<(), ParseError>;
}

impl CloneError for common::Outcome {
    fn clone_error(&self) -> Result<(), ParseError> {
        self.as_ref().map(drop).map_err(|(error, _)| *error)
    }
}

#[test]
fn unknown_keys_are_anything() {
    for (kind, message) in COMPLETE {
        for path in objects(message) {
            for value in ["null", "true", "1e5", "\"t\"", "[{}]", "{\"x402Version\":[9]}"] {
                let text = with_member(message, &path, &format!("\"unknown\":{value}"));
                accepted(kind, &text);
                // And kept, once: what is written has no key twice.
                let written = rewrite(kind, text.as_bytes()).expect("read").expect("written");
                assert_eq!(rewrite(kind, written.json.as_bytes()).clone_error(), Ok(()), "{text}");
                let written: Value = serde_json::from_str(&written.json).expect("JSON");
                let kept = written.pointer(&format!("{path}/unknown")).expect(&text);
                assert_eq!(
                    kept.to_string(),
                    serde_json::from_str::<Value>(value).expect("JSON").to_string()
                );
            }
        }
    }
}

/// A name that one version gives a meaning is an unknown key in the other, and kept like any.
#[test]
fn names_of_the_other_version_are_kept() {
    let resource = r#""resource":{"url":"u","x":1}"#;
    let accepted = r#""accepted":{"scheme":"s","network":"a-b:c","amount":"1","asset":"a","payTo":"p","maxTimeoutSeconds":1}"#;
    for (kind, message, path, member) in [
        (Kind::Payload, PAYLOAD_V1, "", resource),
        (Kind::Payload, PAYLOAD_V1, "", accepted),
        (Kind::Payload, PAYLOAD_V2, "", r#""scheme":"s""#),
        (Kind::Payload, PAYLOAD_V2, "", r#""network":"base""#),
        (Kind::Required, REQUIRED_V1, "", resource),
        (Kind::Required, REQUIRED_V2, "/accepts/0", r#""resource":[]"#),
        (Kind::Required, REQUIRED_V2, "/accepts/0", r#""description":5"#),
        (Kind::Required, REQUIRED_V2, "/accepts/0", r#""mimeType":null"#),
        (Kind::Required, REQUIRED_V2, "/accepts/0", r#""outputSchema":{}"#),
        (Kind::Payload, PAYLOAD_V2, "/accepted", r#""outputSchema":{}"#),
    ] {
        let text = with_member(message, path, member);
        let written = rewrite(kind, text.as_bytes()).expect(&text).expect(&text);
        let [read, written] = [&text, &written.json]
            .map(|json| -> Value { serde_json::from_str(json).expect("JSON") });
        assert_eq!(written, read, "{kind:?} {member}");
    }
}

// ---------------------------------------------------------------------------------------------
// Keys

/// Paths of all objects whose keys the protocol names.
fn objects(message: &str) -> Vec<String> {
    let mut found: Vec<String> = fields(message)
        .into_iter()
        .map(|(path, ..)| path.rsplit_once('/').expect("a path").0.to_owned())
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The message with `member` as the last of the object at `path`, as text: `serde_json` cannot
/// hold two members of one name.
fn with_member(message: &str, path: &str, member: &str) -> String {
    fn write(value: &Value, at: &str, path: &str, member: &str) -> String {
        let inner = |key: &str, value| write(value, &format!("{at}/{key}"), path, member);
        match value {
            Value::Object(members) => {
                let mut all: Vec<String> = members
                    .iter()
                    .map(|(key, value)| format!("\"{key}\":{}", inner(key, value)))
                    .collect();
                all.extend((at == path).then(|| member.to_owned()));
                format!("{{{}}}", all.join(","))
            }
            Value::Array(entries) => {
                let all: Vec<String> = entries
                    .iter()
                    .enumerate()
                    .map(|(i, value)| inner(&i.to_string(), value))
                    .collect();
                format!("[{}]", all.join(","))
            }
            other => other.to_string(),
        }
    }
    write(&serde_json::from_str(message).expect("JSON"), "", path, member)
}

/// The key with its first character as an escape.
fn escaped(key: &str) -> String {
    let mut chars = key.chars();
    let first = chars.next().map_or(0, u32::from);
    format!("\\u{first:04x}{}", chars.as_str())
}

/// Whether it is what a challenge says of the resource: kept whatever it is.
fn is_resource(kind: Kind, path: &str) -> bool {
    kind == Kind::Required && path == "/resource"
}

#[test]
fn duplicate_keys_of_protocol_objects() {
    let mut seen = 0;
    for (kind, message) in COMPLETE {
        let whole: Value = serde_json::from_str(message).expect("JSON");
        for (path, ..) in fields(message) {
            let (object, key) = path.rsplit_once('/').expect("a path");
            let value = whole.pointer(&path).expect("there");
            let again = with_member(message, object, &format!("\"{key}\":«{value}»"));
            let spelt = with_member(message, object, &format!("\"{}\"«:»{value}", escaped(key)));
            if is_resource(kind, object) {
                accepted(kind, &again.replace(['«', '»'], ""));
                accepted(kind, &spelt.replace(['«', '»'], ""));
            } else {
                refused(kind, &again, ParseError::DuplicateKey);
                // With an escape the key of a protocol object is refused before it is compared.
                refused(kind, &spelt, ParseError::EscapedKey);
            }
            seen += 1;
        }
        for path in objects(message) {
            if is_resource(kind, &path) {
                continue;
            }
            // Keys nobody names, and one in an object nobody names.
            for (members, error) in [
                ("\"z\":1,\"z\"«:»1", ParseError::DuplicateKey),
                ("\"z\":1,\"z\"  «:»2", ParseError::DuplicateKey),
                ("\"z\":1,\"y\":\"z\",\"z\"«:»null", ParseError::DuplicateKey),
                ("\"\":1,\"\"«:»1", ParseError::DuplicateKey),
                ("\"₮\":1,\"₮\"«:»1", ParseError::DuplicateKey),
                ("\"z\":1,\"\\u007a\"«:»1", ParseError::EscapedKey),
                ("\"\\u007a\"«:»1,\"z\":1", ParseError::EscapedKey),
                ("\"a\\nb\"«:»1", ParseError::EscapedKey),
                ("\"z\":{\"a\":1,\"a\"«:»1}", ParseError::DuplicateKey),
                ("\"z\":[[{\"a\":1,\"\\u0061\"«:»1}]]", ParseError::DuplicateKey),
            ] {
                let text = with_member(message, &path, members);
                let answers = [Kind::Required, Kind::Verified, Kind::Settled, Kind::Supported];
                // Nothing is decided by a value that nobody names in a challenge or an answer.
                let is_nested = members.starts_with("\"z\":{") || members.starts_with("\"z\":[");
                if is_nested && answers.contains(&kind) && path.is_empty() {
                    accepted(kind, &text.replace(['«', '»'], ""));
                    continue;
                }
                refused(kind, &text, error);
            }
        }
    }
    assert_eq!(seen, 110);
    // null is a value of an optional field, and can be a first or a second one.
    for text in [
        REQUIRED_V2.replacen("\"error\":\"e\"", "\"error\":null,\"error\":«\"e\"»", 1),
        REQUIRED_V2.replacen("\"error\":\"e\"", "\"error\":\"e\",\"error\":«null»", 1),
        REQUIRED_V2.replacen("\"error\":\"e\"", "\"error\":null,\"error\":«null»", 1),
    ] {
        refused(Kind::Required, &text, ParseError::DuplicateKey);
    }
}

#[test]
fn duplicate_keys_of_open_objects() {
    let many = |keys: usize, more: &str| {
        let all: Vec<String> = (0..keys).map(|i| format!("\"key{i}\":{i}")).collect();
        format!("{{{},{more}}}", all.join(","))
    };
    let mut table = vec![
        r#"{"a":1,"a"«:»2}"#.to_owned(),
        r#"{"a":1,"a"«:»1}"#.to_owned(),
        r#"{"":1,""«:»1}"#.to_owned(),
        r#"{"a":1,"b":2,"a"«:»3}"#.to_owned(),
        r#"{ "a" : 1 , "a"« :» 2 }"#.to_owned(),
        r#"{"x":{"y":[{"a":1,"a"«:»2}]}}"#.to_owned(),
        r#"{"a":{"a":1},"a"«:»2}"#.to_owned(),
        r#"{"a":{"b":1,"c":{}},"b":{"a":1},"a"«:»2}"#.to_owned(),
        r#"{"a":["a",{"a":1}],"b":"a","a"«:»2}"#.to_owned(),
        r#"[[],{"b":"\"a\":"},{"a":"}","a"«:»2}]"#.to_owned(),
        // Spelt with escapes.
        r#"{"a":1,"\u0061"«:»2}"#.to_owned(),
        r#"{"\u0061":1,"a"«:»2}"#.to_owned(),
        r#"{"\u0061":1,"\u0061"«:»2}"#.to_owned(),
        r#"{"😀":1,"\ud83d\ude00"«:»2}"#.to_owned(),
        r#"{"\ud83d\ude00":1,"\uD83D\uDE00"«:»2}"#.to_owned(),
        r#"{"\n":1,"\u000a"«:»2}"#.to_owned(),
        r#"{"/":1,"\/"«:»2}"#.to_owned(),
        r#"{"\\":1,"\u005c"«:»2}"#.to_owned(),
        r#"{"\"":1,"\u0022"«:»2}"#.to_owned(),
        r#"{"\"a":{"\"":"\\"},"b":"\\\"","\"\u0061"«:»2}"#.to_owned(),
    ];
    for keys in [1, 2, 40, 100, 200] {
        table.push(many(keys, "\"key0\"«:»0"));
        table.push(many(keys, &format!("\"key{}\"«:»0", keys / 2)));
        table.push(many(keys, &format!("\"key{}\"«:»0", keys - 1)));
        table.push(many(keys, "\"k\\u0065y0\"«:»0"));
        table.push(many(keys, "\"last\":{\"a\":[],\"a\"«:»0}"));
    }
    for marked in table {
        let text = marked.replace(['«', '»'], "");
        assert_eq!(raw(&text).map(RawJson::as_str), Err(ParseError::DuplicateKey), "{text}");
        let inside = |message: &str, from: &str| message.replacen(from, &marked, 1);
        for (kind, message, from) in [
            (Kind::Required, REQUIRED_V2, r#"{"info":{}}"#),
            (Kind::Required, REQUIRED_V1, r#"{"o":1}"#),
            (Kind::Supported, SUPPORTED, r#"["0x1"]"#),
        ] {
            // Beside what is decided by they are kept.
            let inside = message.replacen(from, &text, 1);
            let written = rewrite(kind, inside.as_bytes()).expect("read").expect("written");
            assert_eq!(written.json, inside);
        }
        refused(Kind::Required, &inside(REQUIRED_V2, r#""USDC""#), ParseError::DuplicateKey);
        refused(Kind::Payload, &inside(PAYLOAD_V2, r#""0x1""#), ParseError::DuplicateKey);
    }
}

#[test]
fn looking_for_duplicates_has_a_price_limit() {
    // Objects as they occur: a JSON schema of a hundred properties, a map of two hundred.
    let object = |keys: usize, value: &str| {
        let all: Vec<String> = (0..keys).map(|i| format!("\"property{i}\":{value}")).collect();
        format!("{{{}}}", all.join(","))
    };
    for honest in [object(100, r#"{"type":"string"}"#), object(200, "1")] {
        assert!(raw(&honest).is_ok());
        accepted(Kind::Required, &REQUIRED_V2.replacen(r#"{"info":{}}"#, &honest, 1));
    }
    // A message full of keys is given up on rather than searched, with or without a duplicate.
    let hostile = object(3000, "1");
    assert!(hostile.len() <= limits::MESSAGE_BYTES);
    assert_eq!(raw(&hostile).map(RawJson::as_str), Err(ParseError::TooComplex));
    let hostile = hostile.replace("property2999", "property0");
    assert_eq!(raw(&hostile).map(RawJson::as_str), Err(ParseError::TooComplex));
}

/// A message is read again the same, however its parts are taken out of it.
#[test]
fn parts_of_a_checked_value_are_all_there() {
    for keys in [10, 40, 60, 100, 200] {
        let all: Vec<String> = (0..keys).map(|i| format!("\"k{i}\":{i}")).collect();
        let (big, pad) = (format!("{{{}}}", all.join(",")), "p".repeat(40_000));
        let text = |x| format!(r#"{{"pad":"{pad}","list":[{big},{x}],"big":{big},"x":{x}}}"#);
        let (one, two) = (text(1), text(2));
        let (one, two) = (raw(&one).expect("JSON"), raw(&two).expect("JSON"));
        assert_eq!(one.members().count(), 4, "{keys}");
        assert_eq!(one.get("x").and_then(RawJson::as_u64), Some(1), "{keys}");
        let list = one.get("list").expect("there");
        assert_eq!(list.elements().count(), 2, "{keys}");
        let first = list.elements().next().expect("there");
        assert_eq!(first.members().count(), keys);
        assert!(one.same_value(one) && one.contains(one), "{keys}");
        assert!(!one.same_value(two) && !one.contains(two), "{keys}");

        let offer = REQUIRED_V2.split_once("\"accepts\":[").expect("there").1;
        let (offer, after) = offer.split_once("}}]").expect("there");
        let text = format!(
            "{{\"x402Version\":2,\"pad\":\"{pad}\",\"accepts\":[{offer}}},{}}},{offer}}}}}]{after}",
            all.join(",")
        );
        let required = PaymentRequired::parse(text.as_bytes()).expect("read");
        assert_eq!((required.accepts.len(), required.accepts.iter().count()), (2, 2), "{keys}");
        let first = required.accepts.iter().next().expect("there");
        assert_eq!(first.other.count(), keys);
        let written = rewrite(Kind::Required, text.as_bytes()).expect("read").expect("written");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(serde_json::from_str::<Value>(&written.json).expect("JSON"), value);
    }
}

// ---------------------------------------------------------------------------------------------
// Limits

#[test]
fn depth() {
    // How many levels of each message stand around its open part.
    let places: &[(Kind, &str, &str, usize)] = &[
        (Kind::Required, REQUIRED_V2, r#""USDC""#, 4),
        (Kind::Payload, PAYLOAD_V2, r#""0x1""#, 2),
        (Kind::Payload, PAYLOAD_V2, r#""USDC""#, 3),
        (Kind::Payload, PAYLOAD_V1, r#""0x1""#, 2),
    ];
    // By these nothing is decided: they are as deep as they like.
    let beside: &[(Kind, &str, &str)] = &[
        (Kind::Required, REQUIRED_V2, r#"{"info":{}}"#),
        (Kind::Required, REQUIRED_V2, r#""t""#),
        (Kind::Required, REQUIRED_V1, r#"{"o":1}"#),
        (Kind::Supported, SUPPORTED, r#""0x1""#),
        (Kind::Supported, SUPPORTED, r#""e""#),
    ];
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"b\":1,\"a\":", "}]")] {
        let each = open.matches(['[', '{']).count();
        for inner in ["1", "[]", "{}", "\"\""] {
            let more = usize::from(matches!(inner, "[]" | "{}"));
            for (kind, message, place, around) in places {
                for nested in 0..=limits::DEPTH / each {
                    let deep = format!("{}{inner}{}", open.repeat(nested), close.repeat(nested));
                    let text = message.replacen(place, &deep, 1);
                    let depth = around + nested * each + more;
                    let expected =
                        if depth <= limits::DEPTH { Ok(()) } else { Err(ParseError::TooDeep) };
                    let got = rewrite(*kind, text.as_bytes());
                    assert_eq!(got.clone_error(), expected, "depth {depth}: {text}");
                }
            }
            for nested in [limits::DEPTH / each, limits::DEPTH, 5000] {
                let deep = format!("{}{inner}{}", open.repeat(nested), close.repeat(nested));
                for (kind, message, place) in beside {
                    let text = message.replacen(place, &deep, 1);
                    let written = rewrite(*kind, text.as_bytes()).expect("read").expect("written");
                    assert!(written.json.contains(&deep), "{nested} {text}");
                }
            }
            for nested in 0..=limits::DEPTH {
                let deep = format!("{}{inner}{}", open.repeat(nested), close.repeat(nested));
                let fits = nested * each + more <= limits::DEPTH;
                let read = raw(&deep);
                assert_eq!(read.is_ok(), fits, "{deep}");
                // The deepest value is still compared to the bottom.
                if let Ok(value) = read {
                    assert!(value.same_value(value) && value.contains(value), "{deep}");
                    let other = deep.replacen(inner, "2", 1);
                    assert!(
                        inner == "2" || !value.same_value(raw(&other).expect("JSON")),
                        "{deep}"
                    );
                } else {
                    assert_eq!(read.map(RawJson::as_str), Err(ParseError::TooDeep));
                }
            }
        }
    }
    // Deeper than any limit, and never closed.
    for text in ["[".repeat(60_000), "{\"a\":".repeat(10_000), "[{\"a\":".repeat(10_000)] {
        assert_eq!(raw(&text).map(RawJson::as_str), Err(ParseError::TooDeep));
        let text = format!("{{\"payload\":{}", text.replace('[', "{\"a\":["));
        let text = &text[..text.len().min(limits::MESSAGE_BYTES)];
        refused(Kind::Payload, text, ParseError::TooDeep);
    }
}

/// The deepest text there can be is read, compared and written again in 64 KiB of stack, in a debug
/// build (32 KiB in a release build); nothing of it is recursive but the comparison, which is as
/// deep as the text.
#[test]
#[cfg_attr(miri, ignore = "its stack is another")]
fn depth_takes_little_stack() {
    let (open, close) = ("[{\"b\":1,\"a\":", "}]");
    let levels = (limits::DEPTH - 4) / 2;
    let deep = format!("{}1{}", open.repeat(levels), close.repeat(levels));
    let offers = REQUIRED_V2.replacen(r#""USDC""#, &deep, 1);
    let thread = std::thread::Builder::new().stack_size(64 << 10).spawn(move || {
        let mut out = [0; 4096];
        let required = PaymentRequired::parse(offers.as_bytes()).expect("as deep as may be");
        let offer = required.accepts.iter().next().expect("an offer");
        assert!(
            offer.accepts(&offer, HINTS)
                && offer.extra.is_some_and(|extra| extra.same_value(extra))
        );
        required.encode(&mut out).expect("enough room").len()
    });
    assert!(thread.expect("a thread").join().expect("no overflow") > 0);
}

/// Containers entered one by one count like those stepped over.
#[test]
fn depth_of_a_cursor() {
    let enter = |cursor: &mut Cursor<'_>, depth| match depth % 2 {
        0 => cursor.array(),
        _ => cursor.object().and_then(|mut object| cursor.key(&mut object).map(drop)),
    };
    let text = "[{\"a\":".repeat(limits::DEPTH);
    let mut cursor = Cursor::new(text.as_bytes()).expect("short");
    for depth in 0..limits::DEPTH {
        assert_eq!(enter(&mut cursor, depth), Ok(()));
    }
    assert_eq!(enter(&mut cursor, 0), Err(ParseError::TooDeep));

    // Some levels entered, the rest stepped over.
    for entered in 0..=limits::DEPTH {
        for all in [limits::DEPTH, limits::DEPTH + 1] {
            let text = format!("{}{}", "[".repeat(all), "]".repeat(all));
            let mut cursor = Cursor::new(text.as_bytes()).expect("short");
            for _ in 0..entered {
                cursor.array().expect("not too deep");
            }
            let rest = all - entered;
            if rest > 0 {
                let stepped = cursor.value().map(|value| value.as_str().len());
                let expected =
                    if all <= limits::DEPTH { Ok(2 * rest) } else { Err(ParseError::TooDeep) };
                assert_eq!(stepped, expected, "{entered} of {all}");
            }
        }
    }
}

#[test]
fn length() {
    for (kind, message) in COMPLETE {
        let most = match kind {
            Kind::Required => limits::CHALLENGE_BYTES,
            Kind::Supported => limits::SUPPORTED_BYTES,
            _ => limits::MESSAGE_BYTES,
        };
        let fits = format!("{message}{}", " ".repeat(most - message.len()));
        accepted(kind, &fits);
        let long = format!("{fits} ");
        assert_eq!(rewrite(kind, long.as_bytes()), Err((ParseError::TooLong, 0)));
        assert_eq!(raw(&long).map(RawJson::as_str), Err(ParseError::TooLong));
    }
    let header = "A".repeat(limits::HEADER_BYTES);
    let mut scratch = vec![0; base64::decoded_len(header.len())];
    assert_eq!(
        base64::decode(header.as_bytes(), &mut scratch).map(<[u8]>::len),
        Ok(limits::HEADER_BYTES / 4 * 3)
    );
    for long in
        [format!("{header}AAAA"), format!("{header} "), " ".repeat(limits::HEADER_BYTES + 1)]
    {
        let decoded = base64::decode(long.as_bytes(), &mut scratch).map(<[u8]>::len);
        assert_eq!(decoded, Err(ParseError::TooLong));
        let mut place = long.clone().into_bytes();
        assert_eq!(base64::decode_in_place(&mut place).map(|d| d.len()), Err(ParseError::TooLong));
        assert_eq!(rewrite_header(Kind::Payload, long.as_bytes()), Err(ParseError::TooLong));
    }
}

#[test]
fn offers_and_kinds() {
    let entries = |entry: &str, count: usize| vec![entry; count].join(",");
    let (before, rest) = REQUIRED_V2.split_once("\"accepts\":[").expect("there");
    let (offer, after) = rest.split_once(']').expect("there");
    for (count, fits) in [(0, true), (1, true), (limits::OFFERS, true), (limits::OFFERS + 1, false)]
    {
        let text = format!("{before}\"accepts\":[{}]{after}", entries(offer, count));
        let required = PaymentRequired::parse(text.as_bytes()).expect("read");
        let considered = count.min(limits::OFFERS);
        assert_eq!((required.accepts.len(), required.accepts.iter().count()), (count, considered));
        // More are kept, and not looked at.
        let last = required.accepts.entries().last().map(|entry| entry.read.map_err(|it| it.error));
        assert_eq!(last.is_none_or(|read| read.is_ok()), fits);
        let written = write(&required).expect("written");
        let again = PaymentRequired::parse(written.json.as_bytes()).expect("read");
        assert_eq!(again.accepts.len(), count);
    }
    let kind = r#"{"x402Version":2,"scheme":"e","network":"abc:1"}"#;
    for (count, fits) in [(limits::KINDS, true), (limits::KINDS + 1, false)] {
        let text = format!("{{\"kinds\":[{}]}}", entries(kind, count));
        let supported = SupportedResponse::parse(text.as_bytes()).expect("read");
        assert_eq!((supported.kinds.len(), supported.kinds.iter().count()), (count, limits::KINDS));
        assert_eq!(supported.kinds.entries().all(|kind| kind.read.is_ok()), fits);
    }
}

// ---------------------------------------------------------------------------------------------
// Values

const MAX: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639935";

#[test]
fn amounts() {
    let above = MAX.replace("935", "936");
    let long = format!("1{}", "0".repeat(78));
    let huge = "9".repeat(10_000);
    let bad = [
        "", "0x10", "0X10", "+1", "+0", "-1", "-0", "1_0", " 1", "1 ", "\t1", "1\n", "01", "00",
        "000", "1e3", "1E3", "1.0", "1.", ".1", "1,000", "１", "１０", "٣", "²", "Ⅷ", "abc", "1a",
        "a1", "NaN", "Infinity", "null", "true", "0b1", "0o7", "$1", "1n", "1u", "--1", "1-1",
        "\0", "1\0", "∞", &above, &long, &huge,
    ];
    for text in bad {
        assert_eq!(Amount::parse(text), Err(ParseError::InvalidAmount), "{text:?}");
        let quoted = serde_json::to_string(text).expect("text");
        for (kind, message, from) in [
            (Kind::Required, REQUIRED_V2, r#""10000""#),
            (Kind::Required, REQUIRED_V1, r#""10000""#),
            (Kind::Payload, PAYLOAD_V2, r#""10000""#),
        ] {
            refused(
                kind,
                &message.replacen(from, &format!("«{quoted}»"), 1),
                ParseError::InvalidAmount,
            );
        }
        // That of a receipt is kept as it is.
        let receipt = SETTLED.replacen(r#""1""#, &quoted, 1);
        let receipt = SettleResponse::parse(receipt.as_bytes()).expect("read");
        assert_eq!((receipt.amount, receipt.other.get("amount").is_some()), (None, true));
    }
    for text in [
        "0",
        "1",
        "9",
        "10",
        "999999999",
        "1000000000",
        "18446744073709551615",
        "18446744073709551616",
        MAX,
    ] {
        let amount = Amount::parse(text).expect(text);
        assert_eq!(amount.to_string(), text);
        let message = PAYLOAD_V2.replacen("10000", text, 1);
        let written = rewrite(Kind::Payload, message.as_bytes()).expect("read").expect("written");
        assert_eq!(written.json, message);
    }
    assert_eq!(Amount::parse(MAX), Ok(Amount::MAX));
    // Numbers are not strings, and digits have no second spelling by escapes.
    for wrong in ["10000", "1e4", "0", "-1", "null", "[\"1\"]"] {
        let text = PAYLOAD_V2.replacen(r#""10000""#, &format!("«{wrong}»"), 1);
        refused(Kind::Payload, &text, ParseError::WrongType);
    }
    let text = PAYLOAD_V2.replacen(r#""10000""#, r#""«\u0031»""#, 1);
    refused(Kind::Payload, &text.replace("»\"", "\"»"), ParseError::InvalidAmount);
}

#[test]
fn networks() {
    let long_name = "a".repeat(limits::NETWORK_BYTES + 1);
    let long_reference = format!("eip155:{}", "1".repeat(33));
    #[rustfmt::skip]
    let bad = [
        "", ":", "eip155", ":1", "ab:1", "toolongns:1", "EIP155:1", "eip155:1:2", "eip155::1",
        "eip155: 1", " eip155:1", "eip155:1 ", "eip155:1\n", "eip155:*", "eip155:1/erc20",
        "eip155:é", "eip155:1.0", "eip_155:1", "Base", "base_sepolia", "base sepolia",
        "base.sepolia", "бase", "eip155：1", "ｅip155:1", &long_name, &long_reference,
    ];
    for bad in bad {
        // `eip155` alone is a name by its letters, but not one a v2 offer can have.
        assert_eq!(Network::parse(bad).is_ok(), bad == "eip155", "{bad:?}");
        let quoted = serde_json::to_string(bad).expect("text");
        let text = PAYLOAD_V2.replacen(r#""eip155:84532""#, &quoted, 1);
        refused(Kind::Payload, &text, ParseError::InvalidNetwork);
        if bad != "eip155" {
            let text = PAYLOAD_V1.replacen(r#""base-sepolia""#, &quoted, 1);
            refused(Kind::Payload, &text, ParseError::InvalidNetwork);
        }
    }
    for (good, v1, clear) in [
        ("eip155:1", false, true),
        ("abc:x", false, false),
        ("eip155:00000000000000000000000000000001", false, false),
        ("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", false, true),
        ("cosmos:cosmoshub-3", false, false),
        ("starknet:SN_GOERLI", false, false),
        ("base", true, true),
        ("base-sepolia", true, true),
        ("x", true, false),
        ("0g", true, false),
    ] {
        assert_eq!(Network::parse(good).map(Network::as_str), Ok(good));
        // Each version has its own spelling.
        let (own, other) = if v1 { (PAYLOAD_V1, PAYLOAD_V2) } else { (PAYLOAD_V2, PAYLOAD_V1) };
        let put =
            |message: &str| message.replace("eip155:84532", good).replace("base-sepolia", good);
        accepted(Kind::Payload, &put(own));
        // That of the other is understood if it is clear, and written as it was.
        if clear {
            let written = rewrite(Kind::Payload, put(other).as_bytes()).expect("read");
            assert_eq!(written.expect("written").json, put(other));
        } else {
            refused(Kind::Payload, &put(other), ParseError::InvalidNetwork);
        }
    }
    let escaped = PAYLOAD_V2.replace("eip155:84532", "eip155\\u003a84532");
    refused(Kind::Payload, &escaped, ParseError::InvalidNetwork);

    for (network, chain) in [
        ("eip155:8453", Some(8453)),
        ("base", Some(8453)),
        ("eip155:18446744073709551615", Some(u64::MAX)),
        ("eip155:18446744073709551616", None),
        ("eip155:0", None),
        ("eip155:01", None),
        ("eip155:0x1", None),
        ("eip155:-1", None),
        ("eip155:1_0", None),
        ("eip155:1a", None),
        ("solana:8453", None),
        ("nowhere", None),
    ] {
        assert_eq!(Network::parse(network).expect(network).eip155(), chain, "{network}");
    }
}

#[test]
fn money() {
    use ParseError::{ExcessDigits, InvalidMoney};
    // The text, a token's decimals, the units.
    for (text, decimals, expected) in [
        ("$0.01", 6, Ok("10000")),
        ("0.01", 6, Ok("10000")),
        ("$1", 6, Ok("1000000")),
        ("1.00", 2, Ok("100")),
        ("0", 0, Ok("0")),
        ("0.0", 6, Ok("0")),
        ("$0.000001", 6, Ok("1")),
        ("$0.0000001", 6, Err(ExcessDigits)),
        ("0.1", 0, Err(ExcessDigits)),
        ("123456.789", 18, Ok("123456789000000000000000")),
        ("0.000000000000000001", 18, Ok("1")),
        ("18446744073709551615", 0, Ok("18446744073709551615")),
        ("18446744073709551616", 0, Err(InvalidMoney)),
        ("0.0000000000000000001", 19, Err(InvalidMoney)),
        (
            "1",
            77,
            Ok("100000000000000000000000000000000000000000000000000000000000000000000000000000"),
        ),
        ("2", 77, Err(InvalidMoney)),
        ("1", 78, Err(InvalidMoney)),
        ("1", 255, Err(InvalidMoney)),
        ("0", 255, Ok("0")),
    ] {
        let units = Money::parse(text).and_then(|money| money.to_units(decimals));
        assert_eq!(
            units.map(|units| units.to_string()),
            expected.map(str::to_owned),
            "{text} {decimals}"
        );
    }
    for bad in [
        "", "$", "$$1", "1$", "-1", "$-1", "-$1", "+1", " 1", "1 ", "$ 1", "01", "00", "$01.5",
        ".5", "$.5", "1.", "$1.", "1.2.3", "1,000", "1,5", "1e3", "0x1", "1_000", "€1", "US$1",
        "1 USD", "１", "1.５", "abc", "NaN", "1.-5", "1.+5", "\0",
    ] {
        assert_eq!(Money::parse(bad).map(|money| money.to_string()), Err(InvalidMoney), "{bad:?}");
    }
    let covers = |money, amount: &str, decimals| {
        Money::parse(money).expect(money).covers(Amount::parse(amount).expect(amount), decimals)
    };
    assert!(covers("$1", "1000000", 6) && !covers("$1", "1000001", 6));
    assert!(covers("0.000001", "1", 6) && !covers("0.0000001", "1", 6));
    assert!(covers("0", "0", 6) && !covers("0", "1", 255));
    assert!(covers("$1", "1", 0) && !covers("0.99", "1", 0));
    assert!(!covers("18446744073709551615", MAX, 0) && covers("18446744073709551615", MAX, 78));
    assert!(!covers("0.5", MAX, 0), "what overflows on the way is above every limit");
}

// ---------------------------------------------------------------------------------------------
// Versions

#[test]
fn versions_that_do_not_fit_together() {
    let v1_offer = r#"{"scheme":"exact","network":"base-sepolia","maxAmountRequired":"1","resource":"u","payTo":"b","maxTimeoutSeconds":60,"asset":"a"}"#;
    let v2_offer = r#"{"scheme":"exact","network":"eip155:84532","amount":"1","asset":"a","payTo":"b","maxTimeoutSeconds":60}"#;
    let v1_payload = r#"{"x402Version":1,"scheme":"exact","network":"base-sepolia","payload":{}}"#;
    let v2_payload = &format!(r#"{{"x402Version":2,"accepted":{v2_offer},"payload":{{}}}}"#);
    let required = |version: &str, offers: &str| {
        (Kind::Required, format!(r#"{{"x402Version":{version},"accepts":[{offers}]}}"#))
    };
    let request = |version: &str, payload: &str, offer: &str| {
        let text =
            format!(r#"{{{version}"paymentPayload":{payload},"paymentRequirements":{offer}}}"#);
        (Kind::Request, text)
    };
    let (one, two) = (r#""x402Version":1,"#, r#""x402Version":2,"#);
    let mismatch = Err(ParseError::VersionMismatch);
    for ((kind, text), expected) in [
        (required("1", v1_offer), Ok(())),
        (required("2", v2_offer), Ok(())),
        (required("1", ""), Ok(())),
        (required("2", ""), Ok(())),
        (required("1", v2_offer), mismatch),
        (required("2", v1_offer), mismatch),
        (required("\"2\"", v1_offer), mismatch),
        (required("2", &format!("{v2_offer},{v1_offer}")), mismatch),
        (required("1", &format!("{v1_offer},{v1_offer},{v2_offer}")), mismatch),
        (request(one, v1_payload, v1_offer), Ok(())),
        (request(two, v2_payload, v2_offer), Ok(())),
        // The outer number repeats the payment's, so it may be left out.
        (request("", v1_payload, v1_offer), Ok(())),
        (request("", v2_payload, v2_offer), Ok(())),
        (request(two, v1_payload, v1_offer), mismatch),
        (request(one, v2_payload, v2_offer), mismatch),
        (request(one, v1_payload, v2_offer), mismatch),
        (request(two, v1_payload, v2_offer), mismatch),
        (request(two, v2_payload, v1_offer), mismatch),
        (request("", v2_payload, v1_offer), mismatch),
        (request("", v1_payload, v2_offer), mismatch),
        // A v1 offer inside a v2 payment. One of both versions is of the payment's, with unknown keys.
        ((Kind::Payload, v2_payload.replace(v2_offer, v1_offer)), mismatch),
        (
            (
                Kind::Payload,
                v2_payload
                    .replace("\"amount\":\"1\"", "\"amount\":\"1\",\"maxAmountRequired\":\"1\""),
            ),
            Ok(()),
        ),
        // The number decides what is required.
        ((Kind::Payload, v1_payload.replace(":1,", ":2,")), Err(ParseError::MissingField)),
        ((Kind::Payload, v2_payload.replacen(":2,", ":1,", 1)), Err(ParseError::MissingField)),
    ] {
        assert_eq!(rewrite(kind, text.as_bytes()).clone_error(), expected, "{text}");
    }
}

/// A payment accepts an offer if it repeats all of it; only `extra` may have more.
#[test]
fn an_offer_cannot_be_changed() {
    let offered = r#"{"scheme":"exact","network":"eip155:84532","amount":"10000","asset":"0xa","payTo":"0xb","maxTimeoutSeconds":60,"extra":{"name":"USDC","deep":{"a":[1,2]},"recentBlockhash":"1"},"own":{"k":1}}"#;
    fn parse(text: &str) -> PaymentRequirements<'_> {
        PaymentRequirements::parse(text.as_bytes()).expect(text)
    }
    for (from, to, accepts) in [
        ("", "", true),
        (r#"{"scheme":"exact","#, r#"{"scheme":"ex\u0061ct","#, true),
        ("60", "60 ", true),
        (r#""name":"USDC","#, r#""name":"\u0055SDC","more":[],"#, true),
        (r#"{"a":[1,2]}"#, r#"{"b":0,"a":[1.0,2e0]}"#, true),
        (r#"{"k":1}"#, r#"{"k":10e-1}"#, true),
        ("exact", "upto", false),
        ("84532", "8453", false),
        ("10000", "9999", false),
        ("10000", "10001", false),
        ("0xa", "0xA", false),
        ("0xb", "0xc", false),
        ("60", "61", false),
        ("60", "59", false),
        ("USDC", "usdc", false),
        (r#""name":"USDC","#, "", false),
        (r#"[1,2]"#, "[1,2,3]", false),
        (r#"[1,2]"#, "[2,1]", false),
        (r#"{"a":[1,2]}"#, "{}", false),
        (r#"{"a":[1,2]}"#, "null", false),
        (r#""extra":{"name":"USDC","deep":{"a":[1,2]},"recentBlockhash":"1"},"#, "", false),
        (r#""name":"USDC","deep":{"a":[1,2]},"#, "", false),
        // Of a blockhash, an offer made a minute later has another.
        (r#""recentBlockhash":"1""#, r#""recentBlockhash":"2""#, true),
        (r#","recentBlockhash":"1""#, r#","lastValidBlockHeight":"1""#, true),
        (r#","recentBlockhash":"1""#, "", true),
        (r#"{"k":1}"#, r#"{"k":1,"more":1}"#, false),
        (r#"{"k":1}"#, "{}", false),
        (r#","own":{"k":1}"#, "", false),
        (r#","own":{"k":1}"#, r#","own":{"k":1},"more":1"#, false),
        (r#","own":{"k":1}"#, r#","Own":{"k":1}"#, false),
    ] {
        let accepted = offered.replacen(from, to, 1);
        assert_eq!(parse(&accepted).accepts(&parse(offered), HINTS), accepts, "{accepted}");
    }
    // An offer without `extra`, or with an empty one, asks for none.
    let extra = r#","extra":{"name":"USDC","deep":{"a":[1,2]},"recentBlockhash":"1"}"#;
    let with = |other: &str| offered.replace(extra, other);
    let (without, empty) = (with(""), with(r#","extra":{}"#));
    let hint = with(r#","extra":{"recentBlockhash":"1"}"#);
    for accepted in [offered, &without, &empty, &hint] {
        for offered in [&without, &empty, &hint] {
            assert!(parse(accepted).accepts(&parse(offered), HINTS), "{accepted} {offered}");
        }
    }
}

#[test]
fn errors_have_reasons_and_words() {
    use ParseError as E;
    for (error, reason) in [
        (E::UnsupportedVersion, Reason::InvalidX402Version),
        (E::VersionMismatch, Reason::InvalidX402Version),
        (E::InvalidNetwork, Reason::InvalidNetwork),
        (E::NotBase64, Reason::InvalidPayload),
        (E::DuplicateKey, Reason::InvalidPayload),
        (E::InvalidAmount, Reason::InvalidPayload),
        (E::TwoPayments, Reason::InvalidPayload),
        (E::TooDeep, Reason::InvalidPayload),
    ] {
        assert_eq!(error.reason(), reason);
        assert_eq!(error.reason().status(), 400, "malformed is never \"no payment\"");
        assert_eq!(error.to_string(), error.as_str());
    }
}

/// `Debug` of a payment shows no part of the scheme's payload: it holds a signature.
#[test]
fn debug_shows_no_signature() {
    let payload = PaymentPayload::parse(PAYLOAD_V2.as_bytes()).expect("read");
    assert!(!format!("{payload:?}").contains("0x1"));
}

#[cfg(feature = "serde")]
#[test]
fn typed_reads_of_open_objects() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Extra<'a> {
        name: &'a str,
        #[serde(rename = "feeBps")]
        fee_bps: Option<u16>,
    }
    let good = Ok(Extra { name: "USD₮0", fee_bps: Some(25) });
    let bad = Err(ParseError::InvalidPayload);
    for (text, expected) in [
        (r#"{"name":"USD₮0","feeBps":25}"#, &good),
        (r#"{ "more" : [ {"a":null} ] , "feeBps" : 25 , "name" : "USD₮0" }"#, &good),
        (r#"{"name":"USD₮0"}"#, &Ok(Extra { name: "USD₮0", fee_bps: None })),
        (r#"{"name":"USD₮0","feeBps":null}"#, &Ok(Extra { name: "USD₮0", fee_bps: None })),
        // A borrowed string cannot hold decoded escapes, and must not hold undecoded ones.
        (r#"{"name":"USD\u20ae0","feeBps":25}"#, &bad),
        (r#"{"name":"USD₮0","feeBps":65536}"#, &bad),
        (r#"{"name":"USD₮0","feeBps":-1}"#, &bad),
        (r#"{"name":"USD₮0","feeBps":2.5}"#, &bad),
        (r#"{"name":"USD₮0","feeBps":"25"}"#, &bad),
        (r#"{"name":5}"#, &bad),
        (r#"{"feeBps":25}"#, &bad),
        (r#"{}"#, &bad),
        (r#"[]"#, &bad),
        (r#"null"#, &bad),
        (r#""USD₮0""#, &bad),
    ] {
        let mut scratch = [0; 8];
        assert_eq!(raw(text).expect("JSON").read::<Extra<'_>>(&mut scratch), *expected, "{text}");
    }
    // An owned string holds decoded escapes, as far as there is room to decode them.
    #[derive(serde::Deserialize)]
    struct Owned {
        name: std::string::String,
    }
    let escaped = raw(r#"{"pattern":"^\\d+$","name":"USD\u20ae0"}"#).expect("JSON");
    let name = |scratch: &mut [u8]| escaped.read::<Owned>(scratch).map(|owned| owned.name);
    assert_eq!(name(&mut [0; 16]), Ok("USD₮0".into()));
    assert_eq!(name(&mut [0; 4]), Err(ParseError::InvalidPayload));
}
