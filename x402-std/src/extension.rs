//! Extensions of the protocol: what a message has beside the payment.
//!
//! An extension has a key among the `extensions` of a challenge, a payment and a receipt. It is three traits,
//! one for each role: [`SellerExtension`], [`BuyerExtension`] and [`FacilitatorExtension`]. A role takes any
//! number of them, in the order in which they were given.
//!
//! An extension at a seller may refuse a request, or serve it without a payment. It cannot change an offer, an amount
//! or a payee.
//!
//! ```
//! use x402_std::extension::{BuyerExtension, Echo, PaymentIdentifier, SellerExtension};
//! use x402_std::message::Json;
//! use x402_std::seller::{Offers, exact};
//!
//! let offer = exact("base", "0x90F79bf6EB2c4f870365E785982E1f101E93b906", "$0.01")?;
//! let identifier = PaymentIdentifier { required: true };
//! let announced = identifier.declare(&Offers::from(offer)).ok_or("not announced")?;
//! let Echo::Changed(echo) = identifier.echo(announced.as_raw())? else { return Err("no id".into()) };
//! let id = echo.as_raw().get("info").and_then(|info| info.get_string("id"));
//! assert!(id.is_some_and(|id| id.as_str().is_some_and(|id| id.starts_with("pay_"))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use serde_json::value::RawValue;
use x402_core::claim::ClaimKey;
use x402_core::json::RawJson;
use x402_core::{Reason, Version, wire};

use crate::buyer::wallet::SignFailure;
use crate::message::{Json, SettleResponse};
use crate::seller::{AcceptedPayment, Offers, Refusal, RequestDigest};

mod payment_identifier;

pub use payment_identifier::PaymentIdentifier;

/// A future of an extension's.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A request for something that costs, as a carrier reads it.
#[derive(Clone, Debug)]
pub struct PaidRequest {
    /// The offers, and the resource that is asked for.
    pub offers: Arc<Offers>,
    /// The payment as JSON, and the version of the header it came in; `None` if there is none.
    pub payment: Option<(Version, Vec<u8>)>,
    /// The digest of all that is asked for.
    pub digest: RequestDigest,
    /// Whether the answer is given again for ten minutes, to the same request with the same payment, although it was
    /// delivered. It is for pages in browsers, which are reloaded.
    pub again: bool,
    /// The values of the headers that extensions read ([`SellerExtension::header`]), by lower-case name.
    pub headers: Vec<(String, String)>,
}

impl PaidRequest {
    /// The value of a header that an extension reads, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The step that an extension takes before a payment is looked at.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Before {
    /// Go on: the payment is checked, claimed and settled.
    GoOn,
    /// Serve the request without a payment.
    Grant,
    /// Give again the answer that this claim has paid for, while it is kept; refuse if it is not.
    Replay(ClaimKey),
    /// Refuse the request. The refusal says with which status and reason.
    Refuse(Box<Refusal>),
}

/// An extension at a seller.
pub trait SellerExtension: Send + Sync {
    /// Its key in `extensions`.
    fn key(&self) -> &str;

    /// The value that a challenge announces under the key, an object with `info`. `None` announces
    /// nothing for these offers; the key must be the extension's own nevertheless.
    fn declare(&self, offers: &Offers) -> Option<Json>;

    /// Members of `info` that are made anew for each challenge. A payment need not repeat them as the
    /// last challenge had them.
    fn may_differ(&self) -> &[&str] {
        &[]
    }

    /// The header, in lower case, by which a request can prove something to this extension. [`before`](Self::before)
    /// sees every request with a payment; a request without one only if it has this header.
    fn header(&self) -> Option<&str> {
        None
    }

    /// Looks at a request before its payment is checked. `echo` is the payment's value under the key.
    fn before<'a>(
        &'a self,
        request: &'a PaidRequest,
        echo: Option<RawJson<'a>>,
    ) -> BoxFuture<'a, Before> {
        let _ = (request, echo);
        Box::pin(ready(Before::GoOn))
    }

    /// The value that the receipt of a settled payment has under the key.
    fn receipt(&self, payment: &AcceptedPayment, settled: &SettleResponse) -> Option<Json> {
        let _ = (payment, settled);
        None
    }
}

/// The echo of an extension in a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Echo {
    /// As it was announced.
    Same,
    /// Another value, which has all that was announced.
    Changed(Json),
}

/// An extension at a buyer.
pub trait BuyerExtension: Send + Sync {
    /// Its key in `extensions`.
    fn key(&self) -> &str;

    /// The value that a payment has under the key, by the value that the challenge announced. It is asked
    /// once for each payment, before the payment is sent.
    ///
    /// # Errors
    /// The reason for which no payment is made.
    fn echo(&self, announced: RawJson<'_>) -> Result<Echo, SignFailure>;
}

/// An extension at a facilitator.
pub trait FacilitatorExtension: Send + Sync {
    /// Its key, which `/supported` lists.
    fn key(&self) -> &str;

    /// Looks at a payment before it is verified or settled. `echo` is the payment's value under the key.
    ///
    /// # Errors
    /// The reason for which the payment is refused.
    fn check(
        &self,
        request: &wire::VerifyRequest<'_>,
        echo: Option<RawJson<'_>>,
    ) -> Result<(), Reason> {
        let _ = (request, echo);
        Ok(())
    }

    /// The value that the answer to a settlement has under the key.
    fn receipt(&self, settled: &SettleResponse) -> Option<Json> {
        let _ = settled;
        None
    }
}

/// The payment's value of an extension.
pub(crate) fn echo<'a>(payment: &wire::PaymentPayload<'a>, key: &str) -> Option<RawJson<'a>> {
    payment.extensions?.get(key)
}

/// Extensions with more members, each in the place of one with the same key. Without members it is what it
/// was.
pub(crate) fn merged(
    extensions: Option<&Json>,
    members: impl IntoIterator<Item = (String, Json)>,
) -> Option<Json> {
    let mut members = members.into_iter().peekable();
    if members.peek().is_none() {
        return extensions.cloned();
    }
    let known = extensions.and_then(|json| serde_json::from_str(json.as_str()).ok());
    let mut all: BTreeMap<String, Box<RawValue>> = known.unwrap_or_default();
    for (key, value) in members {
        all.insert(key, RawValue::from_string(value.as_str().into()).ok()?);
    }
    Json::from_value(&all).ok()
}

/// The announced extensions that a payment must repeat: without the members that are made anew each time.
pub(crate) fn binding(
    announced: Option<&Json>,
    extensions: &[Arc<dyn SellerExtension>],
) -> Option<Json> {
    let fresh = extensions.iter().filter(|it| !it.may_differ().is_empty());
    let stripped = fresh.filter_map(|it| {
        let value = announced?.as_raw().get(it.key())?;
        let mut value: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(value.as_str()).ok()?;
        let info = value.get("info")?;
        let mut info: BTreeMap<String, Box<RawValue>> = serde_json::from_str(info.get()).ok()?;
        info.retain(|name, _| !it.may_differ().contains(&name.as_str()));
        value.insert("info".into(), serde_json::value::to_raw_value(&info).ok()?);
        Some((it.key().to_owned(), Json::from_value(&value).ok()?))
    });
    merged(announced, stripped.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fresh;

    impl SellerExtension for Fresh {
        fn key(&self) -> &str {
            "fresh"
        }

        fn declare(&self, _: &Offers) -> Option<Json> {
            None
        }

        fn may_differ(&self) -> &[&str] {
            &["nonce"]
        }
    }

    #[test]
    fn members_take_the_place_of_those_with_their_key() {
        let json = |text: &str| Json::parse(text).unwrap();
        let own = json(r#"{"b": {"info": {"x": 1}}, "a": 2}"#);
        assert_eq!(merged(Some(&own), []), Some(own.clone()));
        assert_eq!(merged(None, []), None);
        let with = merged(Some(&own), [("a".into(), json("{}")), ("c".into(), json("3"))]);
        assert_eq!(with, Some(json(r#"{"a":{},"b":{"info": {"x": 1}},"c":3}"#)));
        let announced =
            json(r#"{"fresh":{"info":{"nonce":"n","of":"o"},"s":1},"b":{"info":{"nonce":2}}}"#);
        let bound = binding(Some(&announced), &[Arc::new(Fresh)]).unwrap();
        assert_eq!(bound, json(r#"{"b":{"info":{"nonce":2}},"fresh":{"info":{"of":"o"},"s":1}}"#));
        assert_eq!(binding(Some(&announced), &[]), Some(announced));
    }
}
