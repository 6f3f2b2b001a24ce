//! Payments that were just checked against the chain.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use x402_core::Payment;
use x402_core::crypto::keccak256;
use x402_core::domain;

use super::super::in_flight::{Payer, payer};
use crate::lock;
use crate::message::{VerifyRequest, to_json};

/// Time for which a check against the chain is reused. In this time a payer can move the money after the
/// check, and the transaction then costs gas in vain.
const LOOKED: Duration = Duration::from_secs(2);

/// Checks that are remembered.
const LOOKS: usize = 4096;

/// The last checks, each with its request and time.
#[derive(Default)]
pub(super) struct Looks(Mutex<VecDeque<Look>>);

/// A payment that was just checked against the chain.
struct Look {
    at: Instant,
    /// The payment and the offer: a check by another offer proves nothing.
    of: [u8; 32],
    payer: Payer,
}

impl Looks {
    /// Remembers that a payment has just passed the chain's check, for exactly this request.
    pub(super) fn note(&self, request: &VerifyRequest, payment: &impl Payment) {
        let Some(look) = look(request, payment) else { return };
        let mut looks = lock(&self.0);
        while looks.len() >= LOOKS || looks.front().is_some_and(|it| it.at.elapsed() > LOOKED) {
            looks.pop_front();
        }
        looks.push_back(look);
    }

    /// Returns whether the payment has just passed the chain's check. A check counts once, and cancels the
    /// payer's other checks: both payments may need the same money.
    pub(super) fn take(&self, request: &VerifyRequest, payment: &impl Payment) -> bool {
        let Some(look) = look(request, payment) else { return false };
        let mut looks = lock(&self.0);
        let same = |known: &Look| known.of == look.of && known.at.elapsed() <= LOOKED;
        let found = looks.iter().any(same);
        looks.retain(|known| known.payer != look.payer);
        found
    }
}

fn look(request: &VerifyRequest, payment: &impl Payment) -> Option<Look> {
    let offer = request.payment_requirements.as_view();
    let offer = to_json(&offer).ok()?;
    let key = payment.claim_key();
    let of = keccak256(&[domain::LOOK, key.as_bytes(), &keccak256(&[offer.as_bytes()])]);
    Some(Look { at: Instant::now(), of, payer: payer(payment) })
}
