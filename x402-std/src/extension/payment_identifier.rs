//! `payment-identifier`: a name that a buyer gives to one purchase.

use std::future::ready;

use serde_json::json;
use x402_core::Reason;
use x402_core::json::RawJson;
use x402_core::wire;

use super::{
    Before, BoxFuture, BuyerExtension, Echo, FacilitatorExtension, PaidRequest, SellerExtension,
};
use crate::buyer::wallet::SignFailure;
use crate::message::Json;
use crate::seller::{Offers, Refusal};

/// Least and greatest length of an id, in characters.
const LENGTH: std::ops::RangeInclusive<usize> = 16..=128;

/// The extension `payment-identifier`, for all three roles. A buyer names its purchase by an id of 16 to 128
/// letters, digits, `-` and `_`. An id in another form is refused with 400.
///
/// A buyer gives each payment a random id, and ignores [`required`](Self::required). This id is independent
/// of [`PurchaseOptions::id`](crate::buyer::PurchaseOptions::id).
///
/// This library announces and checks the id. One purchase is one payment here, so a seller finds a repeated
/// purchase by its payment, and looks up no answer by its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PaymentIdentifier {
    /// Whether a payment without an id is refused. Payments of version 1 have none.
    pub required: bool,
}

/// The key in `extensions`.
const KEY: &str = "payment-identifier";

/// The id of an echo; `None` if it has none.
///
/// # Errors
/// [`Reason::InvalidPayload`] for an id in another form.
fn id(echo: RawJson<'_>) -> Result<Option<&str>, Reason> {
    let info = echo.get("info").filter(|info| info.is_object()).ok_or(Reason::InvalidPayload)?;
    let Some(id) = info.get("id") else { return Ok(None) };
    let id = id.as_string().and_then(|id| id.as_str());
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let good = |id: &&str| LENGTH.contains(&id.len()) && id.bytes().all(is_plain);
    id.filter(good).map(Some).ok_or(Reason::InvalidPayload)
}

impl PaymentIdentifier {
    fn judge(self, echo: Option<RawJson<'_>>) -> Result<(), &'static str> {
        match echo.map(id) {
            Some(Ok(Some(_))) => Ok(()),
            Some(Err(_)) => {
                Err("extensions.payment-identifier.info.id must be 16 to 128 characters of \
                                 A-Z, a-z, 0-9, - and _")
            }
            Some(Ok(None)) | None if self.required => {
                Err("extensions.payment-identifier.info.id is required")
            }
            Some(Ok(None)) | None => Ok(()),
        }
    }
}

impl SellerExtension for PaymentIdentifier {
    fn key(&self) -> &str {
        KEY
    }

    fn declare(&self, _: &Offers) -> Option<Json> {
        let (least, most) = (LENGTH.start(), LENGTH.end());
        Json::from_value(&json!({
            "info": { "required": self.required },
            "schema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {
                    "required": { "type": "boolean" },
                    "id": {
                        "type": "string",
                        "minLength": least,
                        "maxLength": most,
                        "pattern": "^[a-zA-Z0-9_-]+$",
                    },
                },
                "required": ["required"],
            },
        }))
        .ok()
    }

    fn before<'a>(
        &'a self,
        _: &'a PaidRequest,
        echo: Option<RawJson<'a>>,
    ) -> BoxFuture<'a, Before> {
        Box::pin(ready(match self.judge(echo) {
            Ok(()) => Before::GoOn,
            Err(message) => {
                Before::Refuse(Box::new(Refusal::of_extension(Reason::InvalidPayload, message)))
            }
        }))
    }
}

impl BuyerExtension for PaymentIdentifier {
    fn key(&self) -> &str {
        KEY
    }

    /// Adds `pay_` and 32 random hexadecimal digits, unless the challenge has an id.
    fn echo(&self, announced: RawJson<'_>) -> Result<Echo, SignFailure> {
        let invalid = SignFailure::Offer(Reason::InvalidPayload);
        let mut value: serde_json::Value =
            serde_json::from_str(announced.as_str()).map_err(|_| invalid)?;
        let info = value.get_mut("info").and_then(serde_json::Value::as_object_mut);
        let info = info.ok_or(invalid)?;
        if info.contains_key("id") {
            return Ok(Echo::Same);
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|_| SignFailure::Sign(x402_core::crypto::SignError::Unavailable))?;
        info.insert("id".into(), format!("pay_{}", hex::encode(random)).into());
        Ok(Echo::Changed(Json::from_value(&value).map_err(|_| invalid)?))
    }
}

impl FacilitatorExtension for PaymentIdentifier {
    fn key(&self) -> &str {
        KEY
    }

    fn check(&self, _: &wire::VerifyRequest<'_>, echo: Option<RawJson<'_>>) -> Result<(), Reason> {
        self.judge(echo).map_err(|_| Reason::InvalidPayload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_as_the_specification_has_them() {
        let check = |required, echo: &str| {
            let echo = Json::parse(echo).unwrap();
            PaymentIdentifier { required }.judge(Some(echo.as_raw())).is_ok()
        };
        for (echo, optional, required) in [
            (r#"{"info":{"required":true,"id":"pay_0123456789abcdef"}}"#, true, true),
            (r#"{"info":{"id":"-_-_-_-_-_-_-_-_"}}"#, true, true),
            (r#"{"info":{"required":false}}"#, true, false),
            (r#"{"info":{"id":"0123456789abcde"}}"#, false, false),
            (r#"{"info":{"id":"0123456789abcdef!"}}"#, false, false),
            (r#"{"info":{"id":""}}"#, false, false),
            (r#"{"info":{"id":null}}"#, false, false),
            (r#"{"info":{"id":7}}"#, false, false),
            (r#"{"info":[]}"#, false, false),
            (r#"{}"#, false, false),
            ("1", false, false),
        ] {
            assert_eq!((check(false, echo), check(true, echo)), (optional, required), "{echo}");
        }
        for (length, good) in [(15, false), (16, true), (128, true), (129, false)] {
            let echo = format!(r#"{{"info":{{"id":"{}"}}}}"#, "a".repeat(length));
            assert_eq!(check(true, &echo), good, "{length}");
        }
        assert!(PaymentIdentifier { required: false }.judge(None).is_ok());
        assert!(PaymentIdentifier { required: true }.judge(None).is_err());
    }

    #[test]
    fn the_echo_has_all_that_was_announced_and_an_id_of_its_own() {
        let identifier = PaymentIdentifier::default();
        let announced = identifier.declare(&Offers::new([])).unwrap();
        let echo = || match identifier.echo(announced.as_raw()).unwrap() {
            Echo::Changed(echo) => echo,
            Echo::Same => panic!("no id"),
        };
        let (first, second) = (echo(), echo());
        assert!(first.as_raw().contains(announced.as_raw()));
        assert!(id(first.as_raw()).unwrap().is_some_and(|id| id.len() == 36));
        assert_ne!(first, second);
        assert_eq!(identifier.echo(first.as_raw()).unwrap(), Echo::Same);
        let odd = Json::parse(r#"{"info":1}"#).unwrap();
        assert!(identifier.echo(odd.as_raw()).is_err());
    }
}
