//! The admission of a payment: the gate, the claim, and the facilitator's word.

use std::sync::Arc;

use x402_core::Message as _;
use x402_core::buyer::Flow;
#[cfg(feature = "tokio")]
use x402_core::claim::ClaimKey;
use x402_core::claim::{ClaimState, Presented, Resource, Transaction};
use x402_core::crypto::keccak256;
use x402_core::domain;
use x402_core::gate::code_of;
use x402_core::{Payment, Reason, Version, seller, wire};

use super::record::Kept;
use super::{Admission, DELIVERY_SECONDS, Offers, Refusal, RequestDigest, Said, Seller, busy};
use crate::clock::Clock;
use crate::extension::{self, Before, PaidRequest};
use crate::facilitator::in_flight::payer;
use crate::facilitator::{Facilitator, PaymentOf, words};
use crate::message::{Json, ReadError, VerifyRequest};
use crate::store::ClaimStore;

impl<F, S, C> Seller<F, S, C>
where
    F: Facilitator,
    S: ClaimStore,
    C: Clock,
{
    /// Checks a payment, given as JSON in `version`, against the offers, claims it, and has the facilitator
    /// verify it.
    ///
    /// A payment that may have been sent before is admitted again with [`Flow::Upfront`], whatever its offer
    /// says and even if it has expired.
    ///
    /// # Errors
    /// [`Refusal`]; the claim is given back then.
    pub async fn admit(
        &self,
        offers: &Offers,
        version: Version,
        payment: &[u8],
    ) -> Result<Admission<PaymentOf<F>>, Refusal> {
        self.admit_for(offers, version, payment, None).await
    }

    /// As [`admit`](Self::admit), for a request with a digest. If the payment was settled for the same
    /// request, and its answer was never [delivered](Self::delivered), it is admitted again.
    ///
    /// Extensions see no headers here. A request that they would grant or replay is refused as
    /// `duplicate_settlement`; the driver supports both.
    ///
    /// # Errors
    /// [`Refusal`]; the claim is given back then.
    pub async fn admit_for(
        &self,
        offers: &Offers,
        version: Version,
        payment: &[u8],
        digest: Option<RequestDigest>,
    ) -> Result<Admission<PaymentOf<F>>, Refusal> {
        if !self.extensions.is_empty() {
            let (offers, payment) = (Arc::new(offers.clone()), Some((version, payment.to_vec())));
            let digest = digest.unwrap_or(RequestDigest([0; 32]));
            let request =
                PaidRequest { offers, payment, digest, again: false, headers: Vec::new() };
            match self.before(&request).await {
                Before::GoOn => {}
                Before::Refuse(refusal) => return Err(*refusal),
                // The caller cannot give an answer that costs nothing: see `driver`.
                Before::Grant | Before::Replay(_) => {
                    return Err(Reason::DuplicateSettlement.into());
                }
            }
        }
        self.admit_checked(offers, version, payment, digest).await
    }

    /// As [`admit_for`](Self::admit_for), for a request about which the extensions were asked already.
    pub(super) async fn admit_checked(
        &self,
        offers: &Offers,
        version: Version,
        payment: &[u8],
        digest: Option<RequestDigest>,
    ) -> Result<Admission<PaymentOf<F>>, Refusal> {
        let now = self.clock.now();
        let binding = extension::binding(offers.extensions.as_ref(), &self.extensions);
        let (request, verified, flow) = offers.with_seller(|seller| {
            let seller =
                seller::Seller { extensions: binding.as_ref().map(Json::as_raw), ..seller };
            let payload = seller::Seller::read(version, payment);
            let payload =
                payload.map_err(|error| match wire::PaymentPayload::parse_located(payment) {
                    Err(located) => ReadError::new(located, payment),
                    Ok(_) => error.into(),
                })?;
            let named = |resource: wire::ResourceInfo<'_>| resource.url == *offers.resource.url;
            if self.binding.must_name_url
                && version == Version::V2
                && !payload.resource.is_some_and(named)
            {
                return Err(Reason::InvalidPaymentRequirements.into());
            }
            let scheme = self.facilitator.scheme();
            let admitted = seller.admit_late(scheme, &payload, now);
            let admitted = admitted.map_err(|reason| self.refusal(reason))?;
            let flow = Flow::from_requirements(&admitted.requirements)
                .ok_or(Reason::InvalidPaymentRequirements)?;
            let request = VerifyRequest::from(&admitted.request());
            Ok::<_, Refusal>((request, admitted.verified, flow))
        })?;
        let late = verified.payment().late(now);
        let (key, expires_at) = (verified.payment().claim_key(), verified.payment().expires_at());
        let resource = if self.binding.one_url {
            Resource(keccak256(&[domain::RESOURCE, offers.resource.url.as_bytes()]))
        } else {
            Resource::ANY
        };
        let one = self.payers.enter(payer(verified.payment()));
        let _one = one.ok_or_else(|| busy("this payer has too many payments in work"))?;
        let state = ClaimState::Claimed;
        let mut admission =
            Admission { request, verified, key, version, flow, state, digest, _one };
        let mut presented = self.store.present(key, resource, expires_at, now).await?;
        // The facilitator was busy and sent nothing, so the payment counts as new.
        if presented == Presented::Known(ClaimState::Failed(Reason::Busy)) {
            self.store.release(key).await?;
            presented = self.store.present(key, resource, expires_at, now).await?;
        }
        let refusal = match presented {
            Presented::New => match late {
                Some(reason) => reason.into(),
                // Also for `upfront`: a payer without the money is refused before settlement.
                None => match self.ask_verify(&admission).await {
                    Ok(()) => return Ok(admission),
                    Err(refusal) => refusal,
                },
            },
            // Sent earlier, outcome unknown: find out before any more work is done for it.
            Presented::Known(state @ ClaimState::Broadcast(_)) => {
                (admission.flow, admission.state) = (Flow::Upfront, state);
                return Ok(admission);
            }
            // Nothing was sent, and now it is too late.
            Presented::Known(ClaimState::Claimed) if late.is_some() => {
                return Err(late.unwrap_or(Reason::UnknownSettlementError).into());
            }
            Presented::Known(ClaimState::Claimed) => {
                return Err(admission.refused(Reason::Busy, &Transaction::new()));
            }
            Presented::Known(ClaimState::Settled(transaction)) => {
                return self.settled_before(admission, transaction, now).await;
            }
            Presented::Known(ClaimState::Delivered(transaction)) => {
                let refusal = admission.duplicate(&transaction);
                return Err(Refusal { delivered: true, ..refusal });
            }
            Presented::Known(ClaimState::Failed(reason)) => return Err(self.refusal(reason)),
            Presented::ForAnother => return Err(Reason::DuplicateSettlement.into()),
        };
        self.release(admission).await;
        Err(refusal)
    }

    /// Returns whether a request's payment passes the gate and has this claim.
    #[cfg(feature = "tokio")]
    pub(super) fn is_payment(&self, request: &PaidRequest, key: ClaimKey) -> bool {
        let Some((version, json)) = &request.payment else { return false };
        request.offers.with_seller(|seller| {
            let payload = seller::Seller::read(*version, json).ok();
            let scheme = self.facilitator.scheme();
            let admitted =
                payload.and_then(|it| seller.admit_late(scheme, &it, self.clock.now()).ok());
            admitted.is_some_and(|admitted| admitted.verified.payment().claim_key() == key)
        })
    }

    /// Returns the refusal for a reason, which may be the scheme's own.
    fn refusal(&self, reason: Reason) -> Refusal {
        let code = || code_of(self.facilitator.scheme(), reason).to_owned();
        let said = matches!(reason, Reason::Own(_)).then(code);
        let said = said.map(|reason| Box::new(Said { reason, message: None }));
        Refusal { said, ..reason.into() }
    }

    /// Returns the outcome for a payment that was settled before, with no known delivery.
    async fn settled_before(
        &self,
        mut admission: Admission<PaymentOf<F>>,
        transaction: Transaction,
        now: u64,
    ) -> Result<Admission<PaymentOf<F>>, Refusal> {
        let found = self.store.find(admission.key).await?;
        let kept = found.and_then(|found| Kept::read(&found.record?.bytes));
        let same = |kept: &Kept| admission.digest.is_some() && kept.digest == admission.digest;
        let Some(kept) = kept.filter(same) else {
            return Err(admission.duplicate(&transaction));
        };
        // Another task may still be writing the answer, unless it was settled in an earlier run of this
        // process.
        let earlier_life = || self.store.alone_since().is_some_and(|then| kept.settled_at < then);
        if now < kept.settled_at.saturating_add(DELIVERY_SECONDS) && !earlier_life() {
            let refusal = admission.pending(&transaction);
            return Err(Refusal { settled: Some(admission.key), ..refusal });
        }
        (admission.flow, admission.state) = (Flow::Upfront, ClaimState::Settled(transaction));
        Ok(admission)
    }

    async fn ask_verify(&self, admission: &Admission<PaymentOf<F>>) -> Result<(), Refusal> {
        let (request, verified) = (&admission.request, admission.verified.as_ref());
        let answer = self.facilitator.verify_proven(request, verified).await?;
        let named = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        if answer.is_valid && !named(&answer.invalid_reason) {
            return Ok(());
        }
        if answer.is_valid {
            tracing::warn!("the facilitator calls a payment valid, and gives a reason against it");
        }
        let said = Said::by(
            &answer.invalid_reason,
            &answer.invalid_message,
            &answer.other,
            "invalidReason",
        );
        let (reason, says) = (&answer.invalid_reason, answer.invalid_message.as_deref().map(words));
        tracing::info!(
            reason = reason.as_deref().map(words),
            says,
            "the facilitator refused a payment"
        );
        let reason = reason.as_deref().and_then(Reason::parse);
        // A reason of the facilitator's own is a refusal too; a missing reason is a fault.
        let own = said.as_ref().map(|_| Reason::VerificationFailed);
        let reason = reason.or(own).unwrap_or(Reason::UnexpectedVerifyError);
        Err(Refusal { said, ..reason.into() })
    }

    /// Releases an unused payment: nothing was sent, and it may be presented again.
    pub async fn release(&self, admission: Admission<PaymentOf<F>>) {
        if admission.state == ClaimState::Claimed
            && let Err(error) = self.store.release(admission.key).await
        {
            tracing::warn!(%error, "claim not released; it ends when the payment expires");
        }
    }
}
