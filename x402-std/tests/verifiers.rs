//! With threads that check signatures a gate says what it says without them.
#![cfg(feature = "verifiers")]
#![allow(missing_docs)]

mod common;

use std::sync::Arc;

use common::{NETWORK, SELLER, SVM_NETWORK, SVM_SELLER};
use serde_json::{Value, json};
use x402_core::{Version, base64};
use x402_std::buyer::Buyer;
use x402_std::facilitator::{Facilitator, LocalFacilitator};
use x402_std::message::{PaymentRequired, PaymentRequirements, VerifyRequest};
use x402_std::payment::EvmRules;
use x402_std::seller::{Seller, Terms, exact};
use x402_std::svm::message::TRANSACTION_BYTES;
use x402_std::verifiers::Verifiers;

type Change = fn(&mut Value);

/// A byte of the payment's transaction, another one.
fn in_transaction(payload: &mut Value, at: usize) {
    let mut scratch = [0; TRANSACTION_BYTES];
    let text = payload["transaction"].as_str().unwrap();
    let len = base64::decode(text.as_bytes(), &mut scratch).unwrap().len();
    scratch[at] ^= 1;
    let mut out = [0; 2 * TRANSACTION_BYTES];
    payload["transaction"] = base64::encode(&scratch[..len], &mut out).unwrap().into();
}

const EVM: [Change; 9] = [
    |_| {},
    |payload| payload["signature"] = json!(format!("0x{}1b", "11".repeat(64))),
    |payload| payload["signature"] = json!("0x00"),
    |payload| payload["authorization"]["value"] = json!("9999"),
    |payload| payload["authorization"]["to"] = json!("0x00000000000000000000000000000000000000aa"),
    |payload| payload["authorization"]["validBefore"] = json!("1"),
    |payload| payload["authorization"]["validAfter"] = json!("99999999999"),
    |payload| payload["authorization"]["nonce"] = json!("0x00"),
    |payload| *payload = json!({}),
];

const SVM: [Change; 8] = [
    |_| {},
    // The payer's signature, its second half, the message's version, and in its midst.
    |payload| in_transaction(payload, 70),
    |payload| in_transaction(payload, 127),
    |payload| in_transaction(payload, 129),
    |payload| in_transaction(payload, 140),
    |payload| in_transaction(payload, 250),
    |payload| payload["transaction"] = json!("AAAA"),
    |payload| *payload = json!({}),
];

async fn terms(facilitator: &impl Facilitator) -> [Terms; 2] {
    let supported = facilitator.supported().await.unwrap();
    let offer = |network, to| exact(network, to, "$0.01").unwrap();
    [offer(NETWORK, SELLER), offer(SVM_NETWORK, SVM_SELLER)]
        .map(|offer| Terms::new([offer]).completed(&supported).unwrap())
}

async fn payments(terms: &[Terms; 2]) -> Vec<(PaymentRequirements, Terms, Value)> {
    let mut payments = Vec::new();
    for (place, terms) in terms.iter().enumerate() {
        let challenge = terms.challenge(Version::V2, "").unwrap();
        let challenge = PaymentRequired::from_json(challenge.as_bytes()).unwrap();
        let (signed, changes): (_, &[Change]) = match place {
            0 => (common::buyer().sign(&challenge, 0).await.unwrap(), &EVM),
            _ => (Buyer::new(common::svm_wallet()).sign(&challenge, 0).await.unwrap(), &SVM),
        };
        for change in changes {
            let mut payment: Value = serde_json::from_str(&signed.json).unwrap();
            change(&mut payment["payload"]);
            payments.push((terms.accepts[0].clone(), terms.clone(), payment));
        }
    }
    payments
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_else_is_said() {
    let verifiers = Arc::new(Verifiers::new(2).unwrap());
    for smart_wallets in [false, true] {
        let rules = EvmRules { smart_wallets, transfer_proofs: false };
        let facilitator = || LocalFacilitator::new(common::ledger()).with_evm_rules(rules);
        let (plain, threaded) = (facilitator(), facilitator().with_verifiers(verifiers.clone()));
        let terms = terms(&plain).await;
        let mut said = Vec::new();
        for (offer, terms, payment) in payments(&terms).await {
            let text = payment.to_string();
            let request = json!({
                "x402Version": 2,
                "paymentPayload": payment,
                "paymentRequirements": serde_json::to_value(&offer).unwrap(),
            });
            let request = VerifyRequest::from_json(request.to_string().as_bytes()).unwrap();
            let answer = plain.verify(&request).await.unwrap();
            assert_eq!(threaded.verify(&request).await.unwrap(), answer, "{text}");

            // A seller each, whose facilitator takes everything as it is.
            let seller = || {
                let facilitator = Arc::new(LocalFacilitator::new(common::ledger()));
                Seller::new(facilitator).with_evm_rules(rules)
            };
            let (alone, helped) = (seller(), seller().with_verifiers(verifiers.clone()));
            let admit = async |seller: &Seller<_>| {
                let admitted = seller.admit(&terms, Version::V2, text.as_bytes()).await;
                admitted.map(|admission| admission.payment().clone())
            };
            assert_eq!(
                admit(&helped).await.map_err(|r| r.reason),
                admit(&alone).await.map_err(|r| r.reason)
            );
            let settled = plain.settle(&request).await.unwrap();
            assert_eq!(threaded.settle(&request).await.unwrap().error_reason, settled.error_reason);
            said.push((answer.is_valid, answer.invalid_reason));
        }
        assert_eq!(said.iter().filter(|(valid, _)| *valid).count(), 2, "{said:?}");
        let mut reasons: Vec<_> = said.into_iter().filter_map(|(_, reason)| reason).collect();
        reasons.sort();
        reasons.dedup();
        assert!(reasons.len() >= 5, "{reasons:?}");
    }
}
