//! Answers of tools to a model.

use reqwest::Response;
use reqwest::header::{HeaderMap, LOCATION};
use rmcp::model::{CallToolResponse, CallToolResult};
use serde_json::{Value, json};
use x402_std::buyer::budget::{Purchase, State};
use x402_std::buyer::client::HttpError;
use x402_std::buyer::wallet::{BlockhashError, SignFailure};
use x402_std::buyer::{BuyError, Declined};
use x402_std::core::buyer::Decline;
use x402_std::message::{SettleResponse, encode_header};
use x402_std::transport::ChallengeError;

use super::reach::{is_refused, private};
use super::text::{price, time, words};
use crate::{sign, with_causes};

/// Most bytes of an answer that are kept, and most that are returned at once.
pub(super) const BODY_BYTES: usize = 1 << 20;
/// Bytes that are returned by default: the model's host has room for little more.
pub(super) const SOME_BYTES: usize = 1 << 16;

/// The answer of a tool: a result, or an error for the model.
pub(super) type Told = Result<Value, Value>;

/// Returns an error for the model: a code, a hint on another try, and a message.
pub(super) fn no(code: &str, retry: &str, message: impl std::fmt::Display) -> Value {
    json!({ "error": code, "retry": retry, "message": message.to_string() })
}

pub(super) fn bad_arguments(message: impl std::fmt::Display) -> Value {
    no("bad_arguments", "never", message)
}

/// Returns the answer as an object and as text.
pub(super) fn result(told: Told) -> CallToolResponse {
    match told {
        Ok(value) => CallToolResult::structured(value),
        Err(value) => CallToolResult::structured_error(value),
    }
    .into()
}

/// Most offers that are listed with the reason why they are not paid.
const OFFERS_TOLD: usize = 8;

pub(super) fn declined(declined: &Declined) -> Value {
    let code = match declined.reason {
        Decline::NoOffers => "declined_no_offers",
        Decline::Unreadable => "declined_unreadable",
        Decline::Unpayable => "declined_unpayable",
        Decline::NoPayee => "declined_no_payee",
        Decline::Host => "declined_host",
        Decline::PaymentFlow => "declined_payment_flow",
        Decline::Network => "declined_network",
        Decline::Asset => "declined_asset",
        Decline::Payee => "declined_payee",
        Decline::OverLimit => "over_max",
    };
    let mut told = no(code, "never", format_args!("{}; nothing was paid", declined.reason));
    let each = declined.offers.iter().take(OFFERS_TOLD);
    let each: Vec<_> =
        each.map(|it| json!({ "offer": it.index, "why": words(&it.detail, 200) })).collect();
    if !each.is_empty() {
        told["offersDeclined"] = each.into();
    }
    told
}

pub(super) fn over_max_price() -> Value {
    no(
        "over_max",
        "never",
        "every offer is above maxPrice or the limit for one payment; nothing was paid",
    )
}

pub(super) fn over_budget(limit: &str) -> Value {
    let mut told = no(
        "over_budget",
        "later",
        format_args!("the price is above the rest of the limit {limit}; nothing was paid"),
    );
    told["limit"] = limit.into();
    told
}

/// Returns why a wallet cannot pay: too little money, or no signature.
pub(super) fn unready<R, E>(error: &BuyError<R, E>) -> Value {
    match error {
        BuyError::Short(short) => no("not_enough_money", "never", sign::short(short).text),
        BuyError::NotSigned(failure) => {
            // A node or a key may work the next time; only a person can set a variable.
            let is_lasting = matches!(
                failure,
                SignFailure::Blockhash(BlockhashError::NobodyToAsk) | SignFailure::Offer(_)
            );
            let retry = if is_lasting { "never" } else { "again" };
            no("not_signed", retry, sign::not_signed(*failure).text)
        }
        _ => no("not_signed", "never", "not signed"),
    }
}

pub(super) fn nobody_to_ask() -> Value {
    no(
        "nobody_to_ask",
        "never",
        "a person must approve this payment (--ask-above), and this client cannot ask; nothing was \
         paid",
    )
}

pub(super) fn no_budget() -> Value {
    no("budget_unavailable", "again", "the budget cannot be read or written; nothing was sent")
}

pub(super) fn bad_challenge(error: &ChallengeError) -> Value {
    no("bad_challenge", "never", format_args!("the seller's offer cannot be read: {error}"))
}

pub(super) fn no_answer(error: &HttpError) -> Value {
    if matches!(error, HttpError::PlainHttp) {
        return insecure();
    }
    if is_refused(error) {
        return private();
    }
    let retry = match error {
        HttpError::Setup | HttpError::NotRepeatable | HttpError::AlreadyPaid => "never",
        _ => "again",
    };
    no("no_answer", retry, format_args!("{}; nothing was paid", words(&with_causes(error), 200)))
}

pub(super) fn insecure() -> Value {
    no(
        "declined_insecure",
        "never",
        "plain http is refused: use https, or ask the person to allow the host with --host \
         http://HOST; nothing was paid",
    )
}

pub(super) fn receipt_told(receipt: &SettleResponse) -> Value {
    let SettleResponse { success, transaction, network, payer, .. } = receipt;
    json!({
        "success": success,
        "transaction": words(transaction, 200),
        "network": words(network, 100),
        "payer": payer.as_deref().map(|payer| words(payer, 100)),
    })
}

pub(super) fn purchase_told(purchase: &Purchase) -> Value {
    let (state, receipt, reason) = match &purchase.state {
        State::Reserved => ("reserved", None, None),
        State::Signed => ("signed", None, None),
        State::Paid(receipt) => ("paid", Some(receipt_told(receipt)), None),
        State::Refused(reason) => ("refused", None, reason.map(|reason| reason.as_str())),
        State::Unfunded(reason) => ("refused", None, Some(reason.as_str())),
    };
    json!({
        "id": purchase.id,
        "time": time(purchase.at),
        "what": words(&purchase.what, 300),
        "price": price(&purchase.offer, Some(purchase.decimals)),
        "state": state,
        "reason": reason,
        "receipt": receipt,
    })
}

pub(super) fn location(headers: &HeaderMap) -> Option<String> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    Some(words(location, 2_000))
}

/// The body of an answer.
pub(super) struct Body {
    bytes: Vec<u8>,
    /// Whether the answer had more.
    cut: bool,
    pub(super) notes: Vec<&'static str>,
}

impl Body {
    pub(super) async fn read(mut response: Response) -> Self {
        let (mut bytes, mut cut, mut notes) = (Vec::new(), false, Vec::new());
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    let room = BODY_BYTES - bytes.len();
                    bytes.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
                    if chunk.len() > room {
                        cut = true;
                        notes.push("the answer is longer than 1 MiB: the rest is not kept");
                        break;
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    cut = true;
                    notes.push("the answer broke off");
                    break;
                }
            }
        }
        Self { bytes, cut, notes }
    }

    fn json(&self) -> Option<Value> {
        if self.cut { None } else { serde_json::from_slice(&self.bytes).ok() }
    }

    /// Returns the id and the token for a review, which 1ly adds to an answer.
    pub(super) fn one_ly(&self) -> (Option<String>, Option<String>) {
        let json = self.json();
        let field = |name: &str| {
            let text = json.as_ref()?.get("_1ly")?.get(name)?.as_str()?;
            (text.len() <= 500).then(|| text.to_owned())
        };
        (field("purchaseId"), field("reviewToken"))
    }

    /// Puts a part of the body into the answer.
    pub(super) fn tell(&self, told: &mut Value, offset: usize, most: usize) {
        let rest = self.bytes.get(offset..).unwrap_or_default();
        let part = rest.get(..most).unwrap_or(rest);
        let whole = part.len() == self.bytes.len();
        let (value, kind, given) = match self.json().filter(|_| whole) {
            Some(json) => (json, "json", part.len()),
            None => match text(part, part.len() < rest.len() || self.cut) {
                Some(text) => (text.into(), "text", text.len()),
                None => (encode_header(part).into(), "base64", part.len()),
            },
        };
        told["body"] = value;
        told["bodyType"] = kind.into();
        if given < rest.len() || self.cut {
            told["truncated"] = true.into();
        }
        if given < rest.len() {
            told["nextOffset"] = (offset + given).into();
        }
    }
}

/// Reads UTF-8, which may end within a character if it is cut.
fn text(bytes: &[u8], cut: bool) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if cut && error.error_len().is_none() && error.valid_up_to() > 0 => {
            std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()
        }
        Err(_) => None,
    }
}
