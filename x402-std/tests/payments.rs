//! What a facilitator takes on EVM networks besides payments that the payer's key signed.
#![allow(missing_docs)]

use serde_json::{Value, json};
use x402_core::crypto::{Signer, secp256k1::LocalKey};
use x402_core::{Either, Payment as _, Reason, Scheme as _, gate};
use x402_evm::{Address, Eip3009Unsigned, PAYLOAD_BYTES, TransferProofUnsigned};
use x402_std::core::claim::Transaction;
use x402_std::facilitator::ledger::{Ledger, Outcome, SimulatedLedger};
use x402_std::facilitator::{Facilitator, LocalFacilitator};
use x402_std::message::{PaymentRequirements, VerifyRequest};
use x402_std::scheme::{CONTRACT_SIGNATURE_BYTES, Exact, ExactOnEvm, ExactOnSvm, ExactPayment};
use x402_std::seller;
use x402_std::store::MemoryStore;

const NOW: u64 = 1_800_000_000;
const PAYEE: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";

const BOTH: ExactOnEvm = ExactOnEvm { smart_wallets: true, transfer_proofs: true };

fn key() -> LocalKey {
    LocalKey::from_bytes(&[7; 32]).unwrap()
}

fn from() -> Address {
    Address(Signer::public_key(&key()))
}

fn offer() -> PaymentRequirements {
    seller::exact("eip155:1328", PAYEE, "$0.01").unwrap()
}

fn by_transfer() -> PaymentRequirements {
    let offer = offer().upfront().with_extra("reference", "order 1");
    offer.with_extra("assetTransferMethod", x402_evm::TRANSFER_METHOD)
}

fn authorization(offer: &PaymentRequirements) -> Value {
    let view = offer.as_view();
    // As a buyer reads it that knows of no other method.
    let plain = offer.clone().with_extra("assetTransferMethod", "eip3009");
    let unsigned = Eip3009Unsigned::new(&plain.as_view(), from(), NOW, [3; 32]).unwrap();
    assert_eq!(unsigned.authorization().value, view.amount);
    let signature = Signer::sign(&key(), unsigned.digest()).unwrap();
    let mut out = [0; PAYLOAD_BYTES];
    serde_json::from_str(unsigned.payload(&signature, &mut out).unwrap().as_str()).unwrap()
}

fn signed(signature: &str) -> Value {
    let mut payload = authorization(&offer());
    payload["signature"] = json!(signature);
    payload
}

fn proof() -> Value {
    let offer = by_transfer();
    let unsigned = TransferProofUnsigned::new(&offer.as_view(), "", from(), [0x11; 32]).unwrap();
    let signature = Signer::sign(&key(), unsigned.digest()).unwrap();
    let mut out = [0; 512];
    serde_json::from_str(unsigned.payload(&signature, &mut out).unwrap().as_str()).unwrap()
}

fn request(offer: &PaymentRequirements, payload: &Value) -> VerifyRequest {
    let offer: Value = serde_json::from_str(&serde_json::to_string(offer).unwrap()).unwrap();
    let request = json!({
        "x402Version": 2,
        "paymentPayload": { "x402Version": 2, "accepted": offer, "payload": payload },
        "paymentRequirements": offer,
    });
    VerifyRequest::from_json(request.to_string().as_bytes()).unwrap()
}

fn verify(
    evm: ExactOnEvm,
    request: &VerifyRequest,
) -> Result<gate::Verified<ExactPayment>, Reason> {
    let (schemes, view) = ((evm, ExactOnSvm::default()), request.as_view());
    gate::verify(&schemes, &view.payment_payload, &view.payment_requirements, NOW)
}

fn kind(payment: &ExactPayment) -> &'static str {
    match payment {
        Either::First(Either::First(Either::First(_))) => "key",
        Either::First(Either::First(Either::Second(_))) => "contract",
        Either::First(Either::Second(_)) => "transfer",
        _ => "other",
    }
}

#[test]
fn what_is_taken_and_as_what() {
    let invalid = Err(Reason::InvalidExactEvmSignature);
    let shape = Err(Reason::InvalidPayload);
    let good = authorization(&offer());
    let mut flipped = good["signature"].as_str().unwrap().to_string();
    let last = if flipped.ends_with("1b") { "1c" } else { "1b" };
    flipped.replace_range(130.., last);
    let of = |bytes: usize| format!("0x{}", "ab".repeat(bytes));
    let mut elsewhere = signed("0xabcd");
    elsewhere["authorization"]["to"] = json!("0x00000000000000000000000000000000000000AA");
    let mut diverted = elsewhere.clone();
    diverted["signature"] = good["signature"].clone();
    let recipient = Err(Reason::InvalidExactEvmRecipientMismatch);
    // With nothing besides, with smart wallets, with transfers.
    let contract = [invalid, Ok("contract"), invalid];
    let table = [
        ("key's", good, ["key"; 3].map(Ok)),
        ("another key's", signed(&flipped), contract),
        ("empty", signed("0x"), contract),
        ("64 bytes", signed(&of(64)), contract),
        ("65 bytes", signed(&of(65)), contract),
        ("66 bytes", signed(&of(66)), contract),
        ("longest", signed(&of(CONTRACT_SIGNATURE_BYTES)), contract),
        ("longer", signed(&of(CONTRACT_SIGNATURE_BYTES + 1)), [invalid; 3]),
        ("half a byte", signed("0xabc"), [invalid; 3]),
        ("no digits", signed("0xzz"), [invalid; 3]),
        ("no prefix", signed("abcd"), [invalid; 3]),
        ("nothing", signed(""), [invalid; 3]),
        ("to another", elsewhere, [invalid, recipient, invalid]),
        ("to another, by another key", diverted, [invalid; 3]),
        ("transfer, not asked for", proof(), [shape, shape, Err(Reason::UnsupportedPayloadType)]),
    ];
    let rules = [
        ExactOnEvm::default(),
        ExactOnEvm { smart_wallets: true, ..ExactOnEvm::default() },
        ExactOnEvm { transfer_proofs: true, ..ExactOnEvm::default() },
    ];
    for (name, payload, expected) in table {
        let request = request(&offer(), &payload);
        for (rules, expected) in rules.into_iter().zip(expected) {
            let checked = verify(rules, &request);
            let checked = checked.as_ref().map(|verified| kind(verified.payment()));
            assert_eq!(checked.map_err(|reason| *reason), expected, "{name} {rules:?}");
        }
    }
    let asked = request(&by_transfer(), &proof());
    assert_eq!(verify(ExactOnEvm::default(), &asked).err(), shape.err());
    assert_eq!(kind(verify(BOTH, &asked).unwrap().payment()), "transfer");
    // A buyer that knows EIP-3009 only pays such an offer by it.
    let by_key = request(&by_transfer(), &authorization(&by_transfer()));
    assert_eq!(kind(verify(BOTH, &by_key).unwrap().payment()), "key");
    // And everybody is named in answers, whatever they present.
    for request in [asked, by_key, request(&offer(), &signed("0x"))] {
        let view = request.as_view();
        let (payload, offer) = (&view.payment_payload, &view.payment_requirements);
        let named = Exact::default().named_payer(payload, offer);
        assert_eq!(named.map(|payer| payer.to_string()), Some(from().to_string()));
    }
}

/// Else a payment could be settled by its key's signature, and again by a contract's.
#[test]
fn one_payment_is_one_whoever_signs() {
    let of = |payload: &Value| verify(BOTH, &request(&offer(), payload)).unwrap().into_payment();
    let (by_key, by_contract) = (of(&authorization(&offer())), of(&signed("0xabcdef")));
    assert_eq!(kind(&by_contract), "contract");
    assert_eq!(by_key.claim_key(), by_contract.claim_key());
    assert_eq!(by_key.expires_at(), by_contract.expires_at());
    assert_eq!(by_key.payer().to_string(), by_contract.payer().to_string());
    let Either::First(Either::First(Either::Second(contract))) = &by_contract else {
        panic!("{by_contract:?}")
    };
    let contract = contract.as_unproven();
    assert_eq!(contract.signature(), [0xab, 0xcd, 0xef]);
    assert_eq!((contract.chain_id(), contract.authorization().from), (1328, from()));
    assert_eq!(contract.asset().to_string(), offer().asset);
    assert!(!format!("{by_contract:?}").to_lowercase().contains("abcdef"));
    assert!(!format!("{by_contract:?}").contains("171, 205"));
}

/// Nothing of what is not proven is settled, or told of what is.
#[tokio::test]
async fn a_ledger_that_cannot_ask_settles_none() {
    let ledger = SimulatedLedger::new();
    let asset = Address::parse(&offer().asset).unwrap();
    ledger.fund(1328, asset, from(), 1_000_000u64.into()).unwrap();
    let facilitator = LocalFacilitator::with_parts(ledger, MemoryStore::default(), NOW);
    let facilitator = facilitator.with_evm(BOTH);
    let good = request(&offer(), &authorization(&offer()));
    let forged = request(&offer(), &signed("0xabcd"));
    let transfer = request(&by_transfer(), &proof());
    let unasked = "unsupported_payload_type";
    for (request, reason) in [(&forged, "invalid_exact_evm_signature"), (&transfer, unasked)] {
        let answer = facilitator.verify(request).await.unwrap();
        assert_eq!((answer.is_valid, answer.invalid_reason.as_deref()), (false, Some(reason)));
        let answer = facilitator.settle(request).await.unwrap();
        assert_eq!((answer.success, answer.error_reason.as_deref()), (false, Some(reason)));
        let verified = verify(BOTH, request).unwrap();
        let ledger = facilitator.ledger();
        assert_eq!(ledger.prove(verified.as_ref()).await.err().map(Reason::as_str), Some(reason));
        assert!(ledger.prepare(verified.as_ref()).await.is_err());
    }
    // A refusal leaves the payment to who can make it.
    facilitator.ledger().set_pending(true);
    let answer = facilitator.settle(&good).await.unwrap();
    assert_eq!(answer.error_reason.as_deref(), Some("settlement_pending"));
    facilitator.ledger().set_pending(false);
    // Who has the payer's and the nonce's name alone is told nothing, and changes nothing.
    let answer = facilitator.settle(&forged).await.unwrap();
    assert_eq!(answer.error_reason.as_deref(), Some("invalid_exact_evm_signature"));
    let id = Transaction::try_from(answer.transaction.as_str()).unwrap();
    let outcome = facilitator.ledger().confirm(verify(BOTH, &forged).unwrap().as_ref(), &id).await;
    assert_eq!(outcome, Outcome::Pending);
    assert!(facilitator.settle(&good).await.unwrap().success);
}
