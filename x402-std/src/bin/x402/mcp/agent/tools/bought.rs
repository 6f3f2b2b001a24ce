//! The result of a purchase, as the model reads it.

use std::sync::Arc;

use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use x402_std::buyer::{BuyError, Paid, client};
use x402_std::core::buyer::Decline;
use x402_std::core::{Money, Retry};
use x402_std::transport::{PaymentText, Subject};

use super::Inner;
use crate::mcp::agent::approval::Person;
use crate::mcp::agent::request::Asked;
use crate::mcp::agent::response::*;
use crate::mcp::agent::text::{price, without, words};
use crate::with_causes;

/// A paid answer.
pub(super) struct Kept {
    /// The digest of the request.
    pub(super) digest: [u8; 32],
    told: Value,
    body: Body,
    payment: Option<PaymentText>,
    payee: Option<String>,
}

impl Inner {
    pub(super) async fn deliver(
        &self,
        bought: Paid<Response>,
        asked: &Asked,
        subject: &Subject,
    ) -> Value {
        let is_proven = bought.proof().is_some();
        let Paid { response, receipt, doubt, paid, payment, id } = bought;
        let status = response.status();
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let content_type = content_type.map(|text| words(text, 100));
        let location = location(response.headers());
        let body = Body::read(response).await;
        let (purchase_id, review_token) = body.one_ly();
        let payer = paid.as_ref().and_then(|offer| self.payer(offer));
        if let (Some(purchase), Some(payer)) = (&purchase_id, &payer) {
            self.payers.put(purchase.clone(), payer.clone());
        }
        let mut notes = body.notes.clone();
        if status.is_redirection() {
            notes.push("the seller redirects you; the redirect was not followed");
        }
        match (&paid, &receipt) {
            (Some(_), None) => notes.push(
                "a payment was sent and there is no receipt: it may have been made. If this is \
                 not the answer you need, call again with the same id",
            ),
            (Some(_), Some(_)) if !is_proven => notes.push(
                "a payment was sent, and the receipt is not one of this payment: it proves nothing. \
                 If this is not the answer you need, call again with the same id",
            ),
            _ => {}
        }
        let mut told = json!({
            "status": status.as_u16(),
            "headers": { "content-type": content_type, "location": location },
            "paid": paid.as_ref().map(|offer| price(offer, self.decimals(offer))),
            "receipt": receipt.as_ref().map(receipt_told),
            "id": id,
        });
        if let Some(doubt) = doubt {
            told["receiptProvesNothing"] = doubt.to_string().into();
        }
        if !notes.is_empty() {
            told["notes"] = notes.into();
        }
        if let Some(id) = purchase_id {
            told["purchaseId"] = id.into();
        }
        if let Some(token) = review_token {
            told["reviewToken"] = token.into();
        }
        let payee = paid.map(|offer| offer.pay_to);
        let kept = Arc::new(Kept { digest: subject.digest, told, body, payment, payee });
        if let (Some(id), true) = (id, is_proven) {
            self.answers.put(id, Arc::clone(&kept));
        }
        self.tell(&kept, asked, subject).await
    }

    /// Returns the requested part of an answer, and the rest of each limit.
    pub(super) async fn tell(&self, kept: &Kept, asked: &Asked, subject: &Subject) -> Value {
        let most = asked.max_bytes.unwrap_or(SOME_BYTES).clamp(1, BODY_BYTES);
        let mut told = kept.told.clone();
        kept.body.tell(&mut told, asked.offset.unwrap_or(0), most);
        told["left"] = self.left(&subject.host, kept.payee.as_deref()).await;
        without(kept.payment.as_ref(), told)
    }

    pub(super) async fn explain(
        &self,
        error: client::Error,
        subject: &Subject,
        person: &Person,
        max: Option<Money>,
    ) -> Value {
        match error {
            BuyError::Transport(error) => no_answer(&error),
            BuyError::Challenge(error) => bad_challenge(&error),
            BuyError::Declined(it) if it.reason == Decline::OverLimit && max.is_some() => {
                over_max_price()
            }
            BuyError::Declined(it) => declined(&it),
            BuyError::OverBudget(limit) => {
                let mut told = over_budget(&limit.to_string());
                told["left"] = self.left(&subject.host, None).await;
                told
            }
            BuyError::Budget(_) => no_budget(),
            BuyError::NotAsQuoted => no(
                "not_as_quoted",
                "quote",
                "the seller now asks for more than was quoted, for another token or for another \
                 payee; nothing was paid. Quote again, and call again only if you still want it",
            ),
            BuyError::NotApproved => person.answer(),
            BuyError::AnotherPurchase => no(
                "another_purchase",
                "another_id",
                "this id belongs to another purchase; nothing was paid. Use another id",
            ),
            BuyError::Unfinished => no(
                "unfinished",
                "same_id",
                "another call with this id is under way: wait, and call again with the same id. If \
                 this error stays, that call died before it paid anything: use another id then",
            ),
            BuyError::AlreadyBought(receipt) => {
                let mut told = no(
                    "already_bought",
                    "never",
                    "this was bought and paid before, and is not charged again; its answer is not \
                     kept any more",
                );
                told["receipt"] = receipt_told(&receipt);
                told
            }
            error @ (BuyError::NotSigned(_) | BuyError::Short(_)) => unready(&error),
            BuyError::Refused { response, reason, error, retry, receipt, payment, id } => {
                let retry = match retry {
                    Retry::Never => "never",
                    Retry::SignAnew => "another_id",
                    Retry::SameAgain => "same_id",
                };
                let message = "the seller refused the payment; it counts against the limits, for \
                               the seller could still use it";
                let mut told = no("refused", retry, message);
                told["status"] = response.status().as_u16().into();
                told["reason"] = reason.map(|reason| reason.as_str()).into();
                told["sellerSays"] = error.map(|text| words(&text, 300)).into();
                told["receipt"] = receipt.as_deref().map(receipt_told).into();
                told["id"] = id.into();
                without(Some(&payment), told)
            }
            BuyError::Unclear { error, payment, id } => {
                let message = format!(
                    "a payment was sent without an answer: it may have been made. Call again \
                     with the same id, which is never charged twice ({})",
                    words(&with_causes(&error), 200)
                );
                let mut told = no("unclear", "same_id", message);
                told["id"] = id.into();
                without(Some(&payment), told)
            }
        }
    }
}
