//! The gate: the one place where a payment becomes a verified one.
//!
//! A scheme knows the checks; [`verify`] runs them against the seller's own requirements and
//! hands out the proof. Whatever settles, claims or serves takes that proof, so it cannot be
//! reached by a payment nobody checked.

use crate::claim::ClaimKey;
use crate::network::Version;
use crate::reason::Reason;
use crate::wire::{PaymentPayload, PaymentRequirements};

/// The checks of one payment scheme that need no chain.
pub trait Scheme {
    /// What a payment of this scheme comes down to once it is checked.
    type Payment: Payment;

    /// Checks `payload` against `requirements`, which are the seller's own, at `now` (Unix
    /// seconds).
    ///
    /// # Errors
    /// The official reason of the first check that fails.
    fn check(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        now: u64,
    ) -> Result<Self::Payment, Reason>;
}

/// What is known of every checked payment, whatever its scheme.
pub trait Payment {
    /// Who it is: the same for every presentation of one payment, different for any other.
    fn claim_key(&self) -> ClaimKey;

    /// When it can no longer be settled, in Unix seconds.
    fn expires_at(&self) -> u64;
}

/// Proof that a payment passed the gate. Only [`verify`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified<P> {
    payment: P,
}

impl<P> Verified<P> {
    /// The payment.
    pub const fn payment(&self) -> &P {
        &self.payment
    }

    /// The payment, given up as proof.
    pub fn into_payment(self) -> P {
        self.payment
    }
}

/// Runs every check that needs no chain, and gives the proof.
///
/// `requirements` must be the caller's own: a facilitator's client's, or a seller's offer, never
/// what the buyer sent. What a v2 payment repeats of the offer is not compared here beyond scheme
/// and network, nor are extensions or the header's version: sellers use
/// [`Seller::read`](crate::seller::Seller::read) and
/// [`Seller::admit`](crate::seller::Seller::admit), which do.
///
/// # Errors
/// The reason of the first check that fails.
pub fn verify<S: Scheme>(
    scheme: &S,
    payload: &PaymentPayload<'_>,
    requirements: &PaymentRequirements<'_>,
    now: u64,
) -> Result<Verified<S::Payment>, Reason> {
    // A v2 offer may be paid in v1 by a seller that serves both; a v1 offer was never made in v2.
    if payload.x402_version() == Version::V2 && requirements.version() == Version::V1 {
        return Err(Reason::InvalidX402Version);
    }
    // Challenges may have a network in the other version's spelling; a payment that is taken has its own.
    if payload.network().as_str().contains(':') != (payload.x402_version() == Version::V2) {
        return Err(Reason::InvalidNetwork);
    }
    scheme.check(payload, requirements, now).map(|payment| Verified { payment })
}
