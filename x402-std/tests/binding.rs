//! Payments tied to the resource they are for.
#![allow(missing_docs)]

mod common;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use axum::routing::any;
use common::{Act, NETWORK, SELLER, SVM_NETWORK, SVM_SELLER, Scripted};
use serde_json::{Value, json};
use tower::ServiceExt;
use x402_core::{Reason, Version};
use x402_std::buyer::Buyer;
use x402_std::buyer::wallet::PaymentSigner;
use x402_std::facilitator::Facilitator;
use x402_std::message::{PaymentRequired, PaymentRequirements, SettleResponse, encode_header};
use x402_std::seller::server::PaymentLayer;
use x402_std::seller::{Binding, Offers, Seller, exact};
use x402_std::transport::PaymentText;

const SECRET: [u8; 32] = [9; 32];

fn at(url: &str) -> Offers {
    let mut terms = Offers::from(exact(NETWORK, SELLER, "$0.01").unwrap());
    terms.resource.url = url.into();
    terms
}

async fn sign(wallet: impl PaymentSigner, terms: &Offers, version: Version) -> PaymentText {
    let challenge = terms.challenge(version, "").unwrap();
    let required = PaymentRequired::from_json(challenge.as_bytes()).unwrap();
    Buyer::new(wallet).sign(&required, 0).await.unwrap()
}

#[tokio::test]
async fn a_payment_names_the_url_it_is_for() {
    let (here, there) = (at("https://a.example/here"), at("https://a.example/there"));
    let payment = sign(common::wallet(), &here, Version::V2).await;
    let mut unnamed: Value = serde_json::from_str(&payment.json).unwrap();
    unnamed.as_object_mut().unwrap().remove("resource");
    let unnamed = unnamed.to_string();
    let v1 = sign(common::wallet(), &here, Version::V1).await;
    for (echo, terms, version, json, taken) in [
        (true, &here, Version::V2, &payment.json, true),
        (true, &there, Version::V2, &payment.json, false),
        (true, &here, Version::V2, &unnamed, false),
        (true, &there, Version::V1, &v1.json, true), // version 1 names nothing
        (false, &there, Version::V2, &payment.json, true),
        (false, &here, Version::V2, &unnamed, true),
    ] {
        let binding = Binding { must_name_url: echo, ..Binding::default() };
        let seller = Seller::new(Scripted::new()).with_binding(binding);
        match seller.admit(terms, version, json.as_bytes()).await {
            Ok(admission) => {
                seller.release(admission).await;
                assert!(taken, "{echo} {json}");
            }
            Err(refusal) => {
                assert_eq!(refusal.reason, Reason::InvalidPaymentRequirements);
                assert!(!taken, "{echo} {json}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_pending_is_resumed_for_the_same_resource() {
    for (claim, elsewhere) in [(true, false), (false, true)] {
        let facilitator = Scripted::new();
        let binding = Binding { one_url: claim, ..Binding::default() };
        let seller = Seller::new(facilitator.clone()).with_binding(binding);
        let (here, there) = (at("https://a.example/here"), at("https://a.example/there"));
        let payment = sign(common::wallet(), &here, Version::V2).await;
        let admit = async |terms| seller.admit(terms, Version::V2, payment.json.as_bytes()).await;
        for _ in 0..2 {
            facilitator.next_settle(Act::Settle(Box::new(SettleResponse {
                error_reason: Some(Reason::SettlementPending.to_string()),
                transaction: "0xabc".into(),
                ..SettleResponse::default()
            })));
        }
        let pending = seller.settle(admit(&here).await.unwrap()).await.unwrap_err();
        assert_eq!(pending.reason, Reason::SettlementPending);
        let resumed = admit(&there).await.map_err(|refusal| refusal.reason).err();
        assert_eq!(resumed, (!elsewhere).then_some(Reason::DuplicateSettlement));
        assert!(seller.settle(admit(&here).await.unwrap()).await.unwrap().success);
        assert_eq!(admit(&there).await.unwrap_err().reason, Reason::DuplicateSettlement);
    }
}

struct Shop(Router);

impl Shop {
    async fn open(secret: Option<[u8; 32]>) -> Self {
        let facilitator = Scripted::new();
        let offers = [
            exact(SVM_NETWORK, SVM_SELLER, "$0.01").unwrap(),
            exact(NETWORK, SELLER, "$0.01").unwrap(),
        ];
        let terms =
            Offers::new(offers).with_supported(&facilitator.supported().await.unwrap()).unwrap();
        let mut charge = PaymentLayer::new(Arc::new(Seller::new(facilitator)), terms);
        if let Some(secret) = secret {
            charge = charge.with_memo_secret(secret);
        }
        Self(Router::new().fallback(any(|| async { "served" })).layer(charge))
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        payment: Option<&str>,
    ) -> (StatusCode, PaymentRequired) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = Request::builder().method(method).uri(path);
        if let Some(payment) = payment {
            request = request.header("payment-signature", encode_header(payment.as_bytes()));
        }
        let response = self.0.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let required = match response.headers().get("payment-required") {
            Some(header) => PaymentRequired::from_header(header.as_bytes()).unwrap(),
            None => PaymentRequired {
                x402_version: Version::V2,
                error: None,
                resource: None,
                accepts: Default::default(),
                extensions: None,
                other: None,
            },
        };
        (response.status(), required)
    }
}

#[tokio::test]
async fn a_memo_ties_a_payment_to_method_and_path() {
    let shop = Shop::open(Some(SECRET)).await;
    let (_, required) = shop.ask("GET", "/here?a=1", None).await;
    let payment = Buyer::new(common::svm_wallet()).sign(&required, 0).await.unwrap().json;
    let (_, there) = shop.ask("GET", "/there", None).await;
    // As it is, and with the offer of the other resource written over its own.
    let mut rewritten: Value = serde_json::from_str(&payment).unwrap();
    rewritten["accepted"] = serde_json::from_str(&there.accepts[0].to_json().unwrap()).unwrap();
    rewritten["resource"] = json!({ "url": there.resource.unwrap().url });
    let rewritten = rewritten.to_string();
    for (method, path, payment, answer) in [
        ("GET", "/there", &payment, "invalid_payment_requirements"),
        ("POST", "/here", &payment, "invalid_payment_requirements"),
        ("GET", "/there", &rewritten, "invalid_exact_svm_payload_memo_mismatch"),
        ("GET", "/here?a=2", &payment, ""), // the query is no part of it
        ("GET", "/here", &payment, "duplicate_settlement"),
    ] {
        let (status, required) = shop.ask(method, path, Some(payment)).await;
        assert_eq!(required.error.unwrap_or_default(), answer, "{method} {path}");
        assert_eq!(status == StatusCode::OK, answer.is_empty());
    }
    // Without a secret one payment is as good as the other.
    let shop = Shop::open(None).await;
    let (_, required) = shop.ask("GET", "/here", None).await;
    let payment = Buyer::new(common::svm_wallet()).sign(&required, 0).await.unwrap().json;
    assert_eq!(shop.ask("GET", "/there", Some(&payment)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn memos_differ_by_everything_they_are_made_of() {
    let offer = exact(SVM_NETWORK, SVM_SELLER, "$0.01").unwrap();
    let memo = |secret: u8, method: &str, path: &str, offer: PaymentRequirements| {
        let terms = Offers::from(offer).with_memo(&[secret; 32], method, path);
        terms.accepts[0]
            .extra
            .as_ref()
            .unwrap()
            .as_raw()
            .get_string("memo")
            .map(|memo| memo.to_string())
    };
    let dearer = exact(SVM_NETWORK, SVM_SELLER, "$0.02").unwrap();
    let elsewhere = exact("solana", SVM_SELLER, "$0.01").unwrap();
    let mut memos = vec![
        memo(1, "GET", "/a", offer.clone()),
        memo(2, "GET", "/a", offer.clone()),
        memo(1, "POST", "/a", offer.clone()),
        memo(1, "GET", "/b", offer.clone()),
        memo(1, "GET/", "a", offer.clone()),
        memo(1, "GET", "/a", dearer),
        memo(1, "GET", "/a", elsewhere),
    ];
    assert_eq!(memo(1, "GET", "/a", offer.clone()), memos[0]);
    assert!(memos.iter().all(|memo| memo.as_ref().unwrap().len() == 32));
    memos.sort();
    memos.dedup();
    assert_eq!(memos.len(), 7);
    let own = offer.with_extra("memo", "order-42");
    assert_eq!(memo(1, "GET", "/a", own).as_deref(), Some("order-42"));
    assert_eq!(memo(1, "GET", "/a", exact(NETWORK, SELLER, "$0.01").unwrap()), None);
}
