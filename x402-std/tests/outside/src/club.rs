//! An extension: members of a club drink for nothing, and everybody's receipt says how many points a visit earns.

use std::future::ready;

use serde_json::json;
use x402_core::Reason;
use x402_core::json::RawJson;
use x402_std::buyer::wallet::SignFailure;
use x402_std::extension::{
    Before, BoxFuture, BuyerExtension, Echo, FacilitatorExtension, PaidRequest, SellerExtension,
};
use x402_std::message::{Json, SettleResponse};
use x402_std::seller::{AcceptedPayment, Offers, Refusal};

/// The club's extension, for all three roles.
#[derive(Clone, Copy, Debug)]
pub struct Club;

/// Its key.
pub const KEY: &str = "club";

/// The header of a member's card.
pub const CARD: &str = "club-card";

impl SellerExtension for Club {
    fn key(&self) -> &str {
        KEY
    }

    fn declare(&self, offers: &Offers) -> Option<Json> {
        Json::from_value(&json!({ "info": { "counter": offers.accepts.len() } })).ok()
    }

    fn header(&self) -> Option<&str> {
        Some(CARD)
    }

    fn before<'a>(
        &'a self,
        request: &'a PaidRequest,
        echo: Option<RawJson<'a>>,
    ) -> BoxFuture<'a, Before> {
        let guest = echo.and_then(|echo| echo.get("info")?.get("guest")?.as_bool());
        Box::pin(ready(match (request.header(CARD), guest) {
            (Some("member-7"), _) => Before::Grant,
            (Some(_), _) => {
                let refusal =
                    Refusal::of_extension(Reason::InvalidPayload, "no member has this card");
                Before::Refuse(Box::new(refusal.with_status(403)))
            }
            (None, Some(false)) => Before::Refuse(Box::new(Refusal::of_extension(
                Reason::InvalidPayload,
                "guests only",
            ))),
            (None, _) => Before::GoOn,
        }))
    }

    fn receipt(&self, payment: &AcceptedPayment, _: &SettleResponse) -> Option<Json> {
        Json::from_value(&json!({ "earned": 1, "by": payment.payer })).ok()
    }
}

impl BuyerExtension for Club {
    fn key(&self) -> &str {
        KEY
    }

    fn echo(&self, announced: RawJson<'_>) -> Result<Echo, SignFailure> {
        let invalid = SignFailure::Offer(Reason::InvalidPayload);
        let counter = announced.get("info").and_then(|info| info.get("counter")?.as_u64());
        let counter = counter.ok_or(invalid)?;
        let echo = json!({ "info": { "counter": counter, "guest": true } });
        Json::from_value(&echo).map(Echo::Changed).map_err(|_| invalid)
    }
}

impl FacilitatorExtension for Club {
    fn key(&self) -> &str {
        KEY
    }
}
