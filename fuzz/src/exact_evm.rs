//! Any bytes as a facilitator's request: nothing passes the gate but a payment that pays what is
//! required, to whom, in time.

use x402_core::crypto::{Recover, RecoverableSignature};
use x402_core::gate;
use x402_core::wire::{PaymentPayload, PaymentRequirements, VerifyRequest};
use x402_core::{Message, Payment};
use x402_evm::{
    Address, Eip3009Payload, ExactEvm, MAX_PROOF_AGE_SECONDS, TransferProof, TransferProofPayload,
    check_but_signature,
};

pub use crate::json::mutate;

/// A time at which the payments in the corpus are valid.
const NOW: u64 = 1_795_210_300;

/// Finds the named payer, so that the checks behind the signature are reached.
struct Gullible([u8; 20]);

impl Recover for Gullible {
    fn recover(&self, _: &[u8; 32], _: &RecoverableSignature) -> Option<[u8; 20]> {
        Some(self.0)
    }
}

/// Panics if anything above is not so.
pub fn check(json: &[u8]) {
    let Ok(request) = VerifyRequest::parse(json) else { return };
    let VerifyRequest { payment_payload, payment_requirements, .. } = &request;
    let real = gate::verify(&<ExactEvm>::default(), payment_payload, payment_requirements, NOW);
    let payer = Eip3009Payload::read(payment_payload.payload).map(|p| p.authorization.from);
    let gullible = Gullible(payer.map_or([0; 20], |payer| payer.0));
    let scheme = ExactEvm::with_recover(gullible);
    let lax = gate::verify(&scheme, payment_payload, payment_requirements, NOW);
    if let Ok(real) = real {
        assert_eq!(lax, Ok(real));
    }
    let unproven = check_but_signature(payment_payload, payment_requirements, NOW);
    if let Ok(verified) = &lax {
        let (unproven, _) = unproven.expect("whoever signed it");
        assert_eq!(unproven.authorization, verified.payment().authorization);
        assert_eq!(unproven.claim_key(), verified.payment().claim_key());
    }
    transfer(payment_payload, payment_requirements);
    if let Ok(verified) = lax {
        let payment = verified.payment();
        let authorization = &payment.authorization;
        assert_eq!(payment_requirements.scheme, "exact");
        assert!(payment_payload.network().is_same(payment_requirements.network));
        assert_eq!(Some(payment.chain_id), payment_requirements.network.eip155());
        assert_eq!(Some(payment.asset), address(payment_requirements.asset.as_str()));
        assert_eq!(Some(authorization.to), address(payment_requirements.pay_to.as_str()));
        assert_eq!(authorization.value, payment_requirements.amount);
        assert!(!authorization.value.is_zero());
        assert!(authorization.valid_after <= NOW.into());
        assert!(payment.expires_at() >= NOW + 6);
    }
}

/// The same of a transfer that the buyer sent itself.
fn transfer(payload: &PaymentPayload<'_>, requirements: &PaymentRequirements<'_>) {
    let payer = TransferProofPayload::read(payload.payload).map_or([0; 20], |read| read.from.0);
    let lax = TransferProof::with_recover(Gullible(payer));
    let lax = gate::verify(&lax, payload, requirements, NOW);
    if let Ok(real) = gate::verify(&<TransferProof>::default(), payload, requirements, NOW) {
        assert_eq!(lax, Ok(real));
    }
    let Ok(verified) = lax else { return };
    let payment = verified.payment().as_unproven();
    assert!(payload.network().is_same(requirements.network));
    assert_eq!(Some(payment.chain_id), requirements.network.eip155());
    assert_eq!(Some(payment.asset), address(requirements.asset.as_str()));
    assert_eq!(Some(payment.pay_to), address(requirements.pay_to.as_str()));
    assert_eq!(payment.amount, requirements.amount);
    assert!(!payment.amount.is_zero() && payment.from != payment.pay_to);
    assert!(verified.payment().expires_at() >= NOW + MAX_PROOF_AGE_SECONDS);
}

fn address(text: Option<&str>) -> Option<Address> {
    Address::parse(text?)
}
