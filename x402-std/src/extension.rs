//! Extensions of the protocol: additions to a message beside the payment.
//!
//! An extension has a key in the `extensions` of a challenge, a payment and a receipt. Each role has a trait:
//! [`SellerExtension`], [`BuyerExtension`] and [`FacilitatorExtension`]. A role uses any number of
//! extensions, in the order in which they were added.
//!
//! An extension at a seller may refuse a request, or serve it without a payment. It cannot change an offer,
//! an amount or a payee.
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

/// A request for a paid resource, as a carrier reads it.
#[derive(Clone, Debug)]
pub struct PaidRequest {
    /// The offers, and the requested resource.
    pub offers: Arc<Offers>,
    /// The payment as JSON, and the version of the header it came in; `None` if there is none.
    pub payment: Option<(Version, Vec<u8>)>,
    /// The digest of the whole request.
    pub digest: RequestDigest,
    /// Whether a delivered answer is given again for ten minutes, to the same request with the same payment.
    /// Browsers need this to reload a page.
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

/// The step that an extension takes before a payment is checked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Before {
    /// Go on: the payment is checked, claimed and settled.
    GoOn,
    /// Serve the request without a payment.
    Grant,
    /// Give the answer of this paid claim again. If the answer is no longer kept, refuse.
    Replay(ClaimKey),
    /// Refuse the request, with the status and reason of the refusal.
    Refuse(Box<Refusal>),
}

/// An extension at a seller.
pub trait SellerExtension: Send + Sync {
    /// Its key in `extensions`.
    fn key(&self) -> &str;

    /// Returns the value that a challenge announces under the key, an object with `info`. `None` announces
    /// nothing for these offers, but the key still belongs to the extension.
    fn declare(&self, offers: &Offers) -> Option<Json>;

    /// Returns the members of `info` that are new in each challenge. A payment may repeat them from an
    /// earlier challenge.
    fn may_differ(&self) -> &[&str] {
        &[]
    }

    /// Returns the header, in lower case, by which a request can prove something to this extension.
    /// [`before`](Self::before) sees every request with a payment or with this header.
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

    /// Returns the value under the key in the receipt of a settled payment.
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
    /// Another value, which contains the announced one.
    Changed(Json),
}

/// An extension at a buyer.
pub trait BuyerExtension: Send + Sync {
    /// Its key in `extensions`.
    fn key(&self) -> &str;

    /// Returns the value of a payment under the key, from the value that the challenge announced. It is
    /// called once for each payment, before the payment is sent.
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

    /// Returns the value under the key in the answer to a settlement.
    fn receipt(&self, settled: &SettleResponse) -> Option<Json> {
        let _ = settled;
        None
    }
}

/// Returns the payment's value of an extension.
pub(crate) fn echo<'a>(payment: &wire::PaymentPayload<'a>, key: &str) -> Option<RawJson<'a>> {
    payment.extensions?.get(key)
}

/// Returns the extensions with these members added. A member replaces one with the same key. Without members,
/// the extensions are unchanged.
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

/// Returns the announced extensions that a payment must repeat, without the members that are new each time.
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
