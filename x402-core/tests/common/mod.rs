//! Shared code of the tests: the recorded messages, and one way to read and write each kind.

#![allow(dead_code)] // each test file uses its part

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use x402_core::json::RawJson;
use x402_core::wire::{
    List, Listed, PaymentPayload, PaymentRequired, SettleResponse, SupportedResponse,
    VerifyRequest, VerifyResponse,
};
use x402_core::{EncodeError, Message, ParseError, base64};

/// The messages of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Required,
    Payload,
    Request,
    Verified,
    Settled,
    Supported,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] = [
        Kind::Required,
        Kind::Payload,
        Kind::Request,
        Kind::Verified,
        Kind::Settled,
        Kind::Supported,
    ];
}

/// A message written again, as JSON and as a header value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) json: String,
    pub(crate) header: String,
}

/// The outcome of reading a text and writing the message again.
pub(crate) type Outcome = Result<Result<Written, EncodeError>, (ParseError, usize)>;

/// Reads `json` as a message of this kind, and writes it again. An entry of a list that cannot be read is
/// an error here, at its place in the whole text.
pub(crate) fn rewrite(kind: Kind, json: &[u8]) -> Outcome {
    fn each<'a, M: Message<'a>>(json: &'a [u8]) -> Outcome {
        let message = M::parse_located(json).map_err(|it| (it.error, it.at))?;
        Ok(write(&message))
    }
    fn entries<'a, T: Listed<'a>>(
        json: &[u8],
        list: &List<'a, T>,
    ) -> Result<(), (ParseError, usize)> {
        for entry in list.entries() {
            let at = entry.raw.unwrap().as_str().as_ptr().addr() - json.as_ptr().addr();
            entry.read.map_err(|it| (it.error, at + it.at))?;
        }
        Ok(())
    }
    match kind {
        Kind::Required => {
            let outcome = each::<PaymentRequired<'_>>(json)?;
            entries(json, &PaymentRequired::parse(json).unwrap().accepts)?;
            return Ok(outcome);
        }
        Kind::Supported => {
            let outcome = each::<SupportedResponse<'_>>(json)?;
            entries(json, &SupportedResponse::parse(json).unwrap().kinds)?;
            return Ok(outcome);
        }
        _ => {}
    }
    match kind {
        Kind::Required => each::<PaymentRequired<'_>>(json),
        Kind::Payload => each::<PaymentPayload<'_>>(json),
        Kind::Request => each::<VerifyRequest<'_>>(json),
        Kind::Verified => each::<VerifyResponse<'_>>(json),
        Kind::Settled => each::<SettleResponse<'_>>(json),
        Kind::Supported => each::<SupportedResponse<'_>>(json),
    }
}

/// As [`rewrite`], from a header value.
pub(crate) fn rewrite_header(
    kind: Kind,
    header: &[u8],
) -> Result<Result<Written, EncodeError>, ParseError> {
    fn each<'a, M: Message<'a>>(
        header: &[u8],
        scratch: &'a mut [u8],
    ) -> Result<Result<Written, EncodeError>, ParseError> {
        M::decode_header(header, scratch).map(|message| write(&message))
    }
    let scratch = &mut vec![0; base64::decoded_len(header.len())];
    match kind {
        Kind::Required => each::<PaymentRequired<'_>>(header, scratch),
        Kind::Payload => each::<PaymentPayload<'_>>(header, scratch),
        Kind::Request => each::<VerifyRequest<'_>>(header, scratch),
        Kind::Verified => each::<VerifyResponse<'_>>(header, scratch),
        Kind::Settled => each::<SettleResponse<'_>>(header, scratch),
        Kind::Supported => each::<SupportedResponse<'_>>(header, scratch),
    }
}

/// Writes a message in both forms, and checks what must hold of every writing: the length that
/// was announced is the length, exactly that much room is enough, and one byte less is refused
/// with the number of bytes needed.
pub(crate) fn write<'a>(message: &impl Message<'a>) -> Result<Written, EncodeError> {
    let mut json = vec![0; message.encoded_len()?];
    let mut header = vec![0; message.header_len()?];
    let (json_len, header_len) = (json.len(), header.len());
    assert_eq!(message.encode(&mut json).map(<[u8]>::len), Ok(json_len));
    assert_eq!(message.encode_header(&mut header).map(<[u8]>::len), Ok(header_len));
    for (short, needed) in [
        (message.encode(&mut vec![0; json_len - 1]).err(), json_len),
        (message.encode_header(&mut vec![0; header_len - 1]).err(), header_len),
    ] {
        let Some(EncodeError::BufferTooSmall { needed: said }) = short else {
            panic!("{short:?} for a buffer one byte too short");
        };
        assert_eq!(said.get() as usize, needed);
    }
    Ok(Written {
        json: String::from_utf8(json).expect("JSON is UTF-8"),
        header: String::from_utf8(header).expect("base64 is ASCII"),
    })
}

/// `value` as a message of this kind stands for it: optional fields that are `null` are absent.
pub(crate) fn normal(kind: Kind, mut message: Value) -> Value {
    let names: &[&str] = match kind {
        Kind::Required => &["error", "resource", "extensions"],
        Kind::Payload => &["resource", "extensions"],
        Kind::Request => &[],
        Kind::Verified => &["invalidReason", "invalidMessage", "payer", "extensions", "extra"],
        Kind::Settled => &[
            "errorReason",
            "errorMessage",
            "payer",
            "transaction",
            "network",
            "amount",
            "extensions",
            "extra",
        ],
        Kind::Supported => &["extensions", "signers"],
    };
    drop_nulls(&mut message, names);
    if let (Kind::Settled, Some(receipt)) = (kind, message.as_object_mut()) {
        for name in ["transaction", "network"] {
            receipt.entry(name).or_insert("".into());
        }
    }
    for (key, part) in message.as_object_mut().into_iter().flatten() {
        match (kind, key.as_str()) {
            (Kind::Required, "accepts") => parts(part).for_each(normal_offer),
            (Kind::Required | Kind::Payload, "resource") => normal_resource(part),
            (Kind::Payload, "accepted") | (Kind::Request, "paymentRequirements") => {
                normal_offer(part);
            }
            (Kind::Request, "paymentPayload") => *part = normal(Kind::Payload, part.take()),
            (Kind::Supported, "kinds") => parts(part).for_each(|kind| drop_nulls(kind, &["extra"])),
            _ => {}
        }
    }
    message
}

fn normal_resource(resource: &mut Value) {
    drop_nulls(resource, &["description", "mimeType", "serviceName", "tags", "iconUrl"]);
}

fn normal_offer(offer: &mut Value) {
    drop_nulls(offer, &["extra"]);
    if offer.get("maxAmountRequired").is_some() {
        drop_nulls(offer, &["resource", "description", "mimeType", "outputSchema"]);
    }
}

fn parts(array: &mut Value) -> impl Iterator<Item = &mut Value> {
    array.as_array_mut().into_iter().flatten()
}

fn drop_nulls(object: &mut Value, names: &[&str]) {
    if let Some(members) = object.as_object_mut() {
        members.retain(|key, value| !(value.is_null() && names.contains(&key.as_str())));
    }
}

/// One recorded message, or what stood where one is expected.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// File, and where in it.
    pub(crate) origin: String,
    pub(crate) kind: Kind,
    pub(crate) text: Text,
    /// The JSON the recorder read, if it could.
    pub(crate) json: Option<Value>,
}

#[derive(Debug)]
pub(crate) enum Text {
    Header(String),
    Body(String),
}

impl Recorded {
    pub(crate) fn rewrite(&self) -> Result<Written, ParseError> {
        let written = match &self.text {
            Text::Header(value) => rewrite_header(self.kind, value.as_bytes()),
            Text::Body(json) => rewrite(self.kind, json.as_bytes()).map_err(|(error, _)| error),
        };
        written.map(|written| written.expect("what was read in one version can be written in it"))
    }
}

/// The folder of the recorded messages.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// All recorded messages.
pub(crate) fn recorded() -> Vec<Recorded> {
    let mut found = Vec::new();
    for path in files(&folder()) {
        let text = fs::read_to_string(&path).expect("readable");
        let file: Value = serde_json::from_str(&text).expect("JSON");
        let origin = path.strip_prefix(folder()).expect("inside").display().to_string();
        if origin.starts_with("e2e-") {
            for (index, exchange) in list(&file["exchanges"]).iter().enumerate() {
                let origin = format!("{origin}#{index}");
                headers(&origin, exchange, &mut found);
                bodies(&origin, exchange, &mut found);
                mcp(&origin, exchange, &mut found);
            }
        } else if origin == "supported-ts.json" {
            found.push(body(&origin, Kind::Supported, &text, Some(&file)));
        } else if origin != "negative/_index.json" {
            negative(&origin, &text, &file, &mut found);
        }
    }
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn body(origin: &str, kind: Kind, text: &str, json: Option<&Value>) -> Recorded {
    Recorded {
        origin: origin.to_owned(),
        kind,
        text: Text::Body(text.to_owned()),
        json: json.cloned(),
    }
}

/// Payment headers of a request and its answer.
fn headers(origin: &str, exchange: &Value, found: &mut Vec<Recorded>) {
    for side in ["request", "response"] {
        for header in list(&exchange[side]["headers"]) {
            let (name, value) = (text(&header[0]), text(&header[1]));
            let kind = match name.to_ascii_uppercase().as_str() {
                "PAYMENT-REQUIRED" => Kind::Required,
                "PAYMENT-SIGNATURE" | "X-PAYMENT" => Kind::Payload,
                "PAYMENT-RESPONSE" | "X-PAYMENT-RESPONSE" => Kind::Settled,
                _ => continue,
            };
            found.push(Recorded {
                origin: format!("{origin} {name}"),
                kind,
                text: Text::Header(value.to_owned()),
                json: exchange[side]["decodedHeaders"].get(name).cloned(),
            });
        }
    }
}

/// Bodies to and from facilitators, and bodies of a 402.
fn bodies(origin: &str, exchange: &Value, found: &mut Vec<Recorded>) {
    let (request, response) = (&exchange["request"], &exchange["response"]);
    let mut push = |kind, side: &Value| {
        let origin = format!("{origin} {kind:?}");
        found.push(body(&origin, kind, text(&side["body"]), side.get("json")));
    };
    if text(&exchange["hop"]).contains("->facilitator") {
        match text(&request["path"]) {
            "/verify" => {
                push(Kind::Request, request);
                push(Kind::Verified, response);
            }
            "/settle" => {
                push(Kind::Request, request);
                push(Kind::Settled, response);
            }
            "/supported" => push(Kind::Supported, response),
            other => panic!("{origin}: what is {other}?"),
        }
    } else if response["status"] == 402 {
        push(Kind::Required, response);
    }
}

/// Messages inside MCP's JSON-RPC; the reader under test finds them, the recorder confirms.
fn mcp(origin: &str, exchange: &Value, found: &mut Vec<Recorded>) {
    if text(&exchange["request"]["path"]) != "/mcp" {
        return;
    }
    let mut push = |part: &str, kind, raw: Option<&str>, json: Option<&Value>| {
        assert_eq!(raw.is_some(), json.is_some(), "{origin} {part}");
        if let Some(raw) = raw {
            found.push(body(&format!("{origin} {part}"), kind, raw, json));
        }
    };
    let request = text(&exchange["request"]["body"]);
    if !request.is_empty() {
        let payment = at(request, &["params", "_meta", "x402/payment"]);
        let read = exchange["request"]["json"].pointer("/params/_meta/x402~1payment");
        push("params._meta", Kind::Payload, payment.map(RawJson::as_str), read);
    }
    let events =
        text(&exchange["response"]["body"]).lines().filter_map(|line| line.strip_prefix("data: "));
    for (event, read) in events.zip(list(&exchange["response"]["sse"])) {
        let receipt = at(event, &["result", "_meta", "x402/payment-response"]);
        let read_receipt = read.pointer("/result/_meta/x402~1payment-response");
        push("result._meta", Kind::Settled, receipt.map(RawJson::as_str), read_receipt);

        // Other results have content too, which is none of ours.
        let refused = read.pointer("/result/isError") == Some(&Value::Bool(true));
        let challenge = at(event, &["result", "structuredContent"]).filter(|_| refused);
        let read = read.pointer("/result/structuredContent").filter(|_| refused);
        push("structuredContent", Kind::Required, challenge.map(RawJson::as_str), read);

        // The same challenge again, as the text of the first content.
        let content = challenge.and_then(|_| at(event, &["result", "content"]));
        let first = content.and_then(|content| content.elements().next());
        let text = first.and_then(|first| first.get_string("text"));
        let text: Option<String> = text.map(|text| text.chars().collect());
        push("content[0].text", Kind::Required, text.as_deref(), read);
    }
}

fn at<'a>(json: &'a str, path: &[&str]) -> Option<RawJson<'a>> {
    let whole = RawJson::parse(json.as_bytes()).expect("JSON-RPC");
    path.iter().try_fold(whole, |value, key| value.get(key))
}

/// A call of a facilitator, and its answer.
fn negative(origin: &str, file_text: &str, file: &Value, found: &mut Vec<Recorded>) {
    let answer = match text(&file["endpoint"]) {
        "/verify" => Kind::Verified,
        "/settle" => Kind::Settled,
        other => panic!("{origin}: what is {other}?"),
    };
    for (kind, path) in [(Kind::Request, &["request"][..]), (answer, &["response", "body"][..])] {
        let raw = at(file_text, path).expect("both are there");
        let json = path.iter().fold(file, |value, key| &value[key]);
        found.push(body(&format!("{origin} {kind:?}"), kind, raw.as_str(), Some(json)));
    }
}
