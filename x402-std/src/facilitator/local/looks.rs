//! Payments that were just checked against the chain.

use std::time::{Duration, Instant};

use x402_core::Payment;
use x402_core::crypto::keccak256;
use x402_core::domain;

use super::super::in_flight::{Payer, payer};
use crate::message::{VerifyRequest, to_json};

/// Time for which a check against the chain is reused. In this time a payer can move the money after the
/// check, and the transaction then costs gas in vain.
pub(super) const LOOKED: Duration = Duration::from_secs(2);

/// Checks that are remembered.
pub(super) const LOOKS: usize = 4096;

/// A payment that was just checked against the chain.
pub(super) struct Look {
    pub(super) at: Instant,
    /// The payment and the offer: a check by another offer proves nothing.
    pub(super) of: [u8; 32],
    pub(super) payer: Payer,
}

pub(super) fn look(request: &VerifyRequest, payment: &impl Payment) -> Option<Look> {
    let offer = request.payment_requirements.as_view();
    let offer = to_json(&offer).ok()?;
    let key = payment.claim_key();
    let of = keccak256(&[domain::LOOK, key.as_bytes(), &keccak256(&[offer.as_bytes()])]);
    Some(Look { at: Instant::now(), of, payer: payer(payment) })
}
