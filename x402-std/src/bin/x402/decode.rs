use clap::Args;
use serde_json::{Value, json};
use x402_std::core::json::{Located, RawJson};
use x402_std::core::wire::{
    List, Listed, PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo,
    SettleResponse, SupportedResponse, VerifyRequest, VerifyResponse,
};
use x402_std::core::{Message, Version};
use x402_std::message::ReadError;

use crate::{Exit, Failure, Outcome, input, print, transaction};

/// Names the kind of a message and prints it: {"kind","x402Version","message"}.
///
/// The message is printed as it was sent. Kinds have the names of the specification. x402Version is
/// null for kinds without a version. A payment on Solana has one more key, "transaction": the effects of
/// its transaction, in words. There, "signed" is true for signers whose signature is valid.
#[derive(Args)]
pub(crate) struct Decode {
    /// Header value in base64, or JSON
    value: String,
}

impl Decode {
    pub(crate) fn run(&self) -> Outcome {
        let json = input::message(&self.value)?;
        let (kind, version) = identify(&json)?;
        let version = version.map_or("null".into(), |version| version.number().to_string());
        // It was parsed, so it is text.
        let message = String::from_utf8_lossy(&json);
        let transaction = transaction_of(kind, &json)
            .map_or_else(String::new, |words| format!(r#","transaction":{words}"#));
        let unread = match unread(kind, &json) {
            none if none.is_empty() => String::new(),
            entries => format!(r#","unreadable":{}"#, Value::from(entries)),
        };
        print(format_args!(
            r#"{{"kind":"{kind}","x402Version":{version},"message":{message}{transaction}{unread}}}"#
        ))?;
        Ok(Exit::Yes)
    }
}

/// A key by which a kind of message is known, its name, and its reader.
type Kind = (&'static str, &'static str, fn(&[u8]) -> Result<Option<Version>, Located>);

const KINDS: &[Kind] = &[
    ("paymentPayload", "VerifyRequest", verify_request),
    ("paymentRequirements", "VerifyRequest", verify_request),
    ("isValid", "VerifyResponse", |json| VerifyResponse::parse_located(json).map(|_| None)),
    ("success", "SettleResponse", |json| SettleResponse::parse_located(json).map(|_| None)),
    ("kinds", "SupportedResponse", |json| SupportedResponse::parse_located(json).map(|_| None)),
    ("accepts", "PaymentRequired", |json| {
        PaymentRequired::parse_located(json).map(|message| Some(message.x402_version))
    }),
    ("payload", "PaymentPayload", |json| {
        PaymentPayload::parse_located(json).map(|message| Some(message.x402_version()))
    }),
    ("payTo", "PaymentRequirements", |json| {
        PaymentRequirements::parse_located(json).map(|message| Some(message.version()))
    }),
    ("url", "ResourceInfo", |json| ResourceInfo::parse_located(json).map(|_| None)),
];

fn verify_request(json: &[u8]) -> Result<Option<Version>, Located> {
    let request = VerifyRequest::parse_located(json)?;
    Ok(Some(request.payment_payload.x402_version()))
}

/// The first kind that has its key in the message and can read it.
///
/// # Errors
/// The fault that the first kind with its key in the message found.
fn identify(json: &[u8]) -> Result<(&'static str, Option<Version>), Failure> {
    let located = |error| Failure::read(ReadError::new(error, json));
    let object = RawJson::skim(json).map_err(located)?;
    let mut failure = None;
    for (key, name, read) in KINDS {
        if object.get(key).is_none() {
            continue;
        }
        match read(json) {
            Ok(version) => return Ok((name, version)),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    let unknown = || Failure::unusable("invalid_payload: not a message of the x402 protocol");
    Err(failure.map_or_else(unknown, located))
}

/// The transaction of a message that has one, in words.
fn transaction_of(kind: &str, json: &[u8]) -> Option<String> {
    let payment = match kind {
        "PaymentPayload" => PaymentPayload::parse_located(json).ok()?,
        "VerifyRequest" => VerifyRequest::parse_located(json).ok()?.payment_payload,
        _ => return None,
    };
    transaction::words(&payment)
}

/// Entries of a message's list that cannot be read, each with its place and fault.
fn unread(kind: &str, json: &[u8]) -> Vec<Value> {
    fn of<'a, T: Listed<'a>>(list: &List<'a, T>, name: &str) -> Vec<Value> {
        let entries = list.entries().enumerate();
        let errors = entries.filter_map(|(index, entry)| {
            let (error, raw) = (entry.read.err()?, entry.raw?);
            let mut place = format!("{name}[{index}]");
            match error.place(raw.as_str().as_bytes()).to_string() {
                inner if inner.is_empty() => {}
                inner => place = format!("{place}.{inner}"),
            }
            Some(json!({ "place": place, "error": error.error.as_str() }))
        });
        errors.collect()
    }
    match kind {
        "PaymentRequired" => PaymentRequired::parse(json).map(|it| of(&it.accepts, "accepts")),
        "SupportedResponse" => SupportedResponse::parse(json).map(|it| of(&it.kinds, "kinds")),
        _ => return Vec::new(),
    }
    .unwrap_or_default()
}
