//! The presentation of a payment, and its outcome.

use std::time::Duration;

use x402_core::{Reason, Retry};

use super::{BuyError, Buyer, Paid, Progress, PurchaseOptions, receipt};
use crate::buyer::budget::{Budget, Step};
use crate::buyer::wallet::PaymentSigner;
use crate::clock::Clock;
use crate::message::{Json, PaymentRequired, PaymentRequirements, SettleResponse};
use crate::transport::{Answer, ChallengeError, PaymentText, Transport};

/// Waits before a payment with an uncertain settlement is presented again.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

impl<W: PaymentSigner, C: Clock, B: Budget> Buyer<W, C, B> {
    /// Presents the payment of a purchase, and records the outcome. If the record fails, the purchase counts
    /// as before.
    pub(super) async fn deliver<T: Transport>(
        &self,
        transport: &T,
        request: &T::Request,
        options: &PurchaseOptions<'_>,
        purchase: String,
        offer: PaymentRequirements,
        payment: PaymentText,
    ) -> Result<Paid<T::Response>, BuyError<T::Response, T::Error>> {
        match self.present_as(transport, request, payment, Some(&offer), options).await {
            Ok(bought) => {
                if let Some(receipt) = bought.proof() {
                    self.note(&purchase, Step::Paid(Box::new(receipt.clone()))).await;
                } else if let Some(doubt) = bought.doubt {
                    tracing::warn!(%doubt, "a receipt proves nothing: the payment is kept to present again");
                }
                Ok(Paid { paid: Some(offer), id: Some(purchase), ..bought })
            }
            Err(BuyError::Refused { response, reason, error, retry, receipt, payment, .. }) => {
                // A payment that was settled before may be refused for that.
                if !reason.is_some_and(Reason::is_open) {
                    self.note(&purchase, Step::Refused(reason)).await;
                }
                let id = purchase;
                Err(BuyError::Refused { response, reason, error, retry, receipt, payment, id })
            }
            Err(BuyError::Unclear { error, payment, .. }) => {
                Err(BuyError::Unclear { error, payment, id: purchase })
            }
            Err(error) => Err(error),
        }
    }

    async fn note(&self, id: &str, step: Step) {
        if let Err(error) = self.budget.write(id, step).await {
            tracing::warn!(%error, id, "the outcome of a purchase could not be recorded");
        }
    }

    /// Presents a payment, and presents the same one again while its settlement is not certain: at most three
    /// times in all, after one second and after three. The budget does not record it.
    ///
    /// # Errors
    /// [`BuyError::Refused`] or [`BuyError::Unclear`]; [`BuyError::Transport`] if it may not be sent.
    pub async fn present<T: Transport>(
        &self,
        transport: &T,
        request: &T::Request,
        payment: PaymentText,
    ) -> Result<Paid<T::Response>, BuyError<T::Response, T::Error>> {
        self.present_as(transport, request, payment, None, &PurchaseOptions::default()).await
    }

    async fn present_as<T: Transport>(
        &self,
        transport: &T,
        request: &T::Request,
        payment: PaymentText,
        offer: Option<&PaymentRequirements>,
        options: &PurchaseOptions<'_>,
    ) -> Result<Paid<T::Response>, BuyError<T::Response, T::Error>> {
        transport.may_pay(request).map_err(BuyError::Transport)?;
        let mut again = AGAIN.iter();
        let id = String::new();
        loop {
            options.hear(Progress::Presented);
            let answer = match transport.exchange(request, Some(&payment)).await {
                Ok(answer) => answer,
                Err(error) => return Err(BuyError::Unclear { error, payment, id }),
            };
            let Answer { response, challenge, receipt } = answer;
            let refused = challenge.is_some();
            let error = error_given(challenge, receipt.as_ref());
            let reason = error.as_deref().and_then(Reason::parse);
            let failed = receipt.as_ref().is_some_and(|receipt| !receipt.success);
            if !refused && !failed {
                let is_delivery = transport.is_delivery(&response);
                let doubt = receipt.as_ref();
                let doubt = doubt.and_then(|it| receipt::doubt(it, is_delivery, &payment, offer));
                let payment = Some(payment);
                return Ok(Paid { response, receipt, doubt, paid: None, payment, id: None });
            }
            if reason.is_some_and(Reason::is_open)
                && let Some(time) = again.next()
            {
                options.hear(Progress::Pending(*time));
                transport.wait(*time).await;
                continue;
            }
            let retry = reason.map_or(Retry::SameAgain, Reason::retry);
            let receipt = receipt.map(Box::new);
            return Err(BuyError::Refused { response, reason, error, retry, receipt, payment, id });
        }
    }
}

/// The reason of a refusal: the receipt's, or else the new challenge's error.
fn error_given(
    challenge: Option<Result<PaymentRequired, ChallengeError>>,
    receipt: Option<&SettleResponse>,
) -> Option<String> {
    let receipt =
        receipt.and_then(|receipt| given(&receipt.error_reason, &receipt.other, "errorReason"));
    receipt.or_else(|| {
        let challenge = challenge?.ok()?;
        given(&challenge.error, &challenge.other, "error")
    })
}

/// A text for people, or the value that was sent in its place.
fn given(text: &Option<String>, other: &Option<Json>, key: &str) -> Option<String> {
    let text = text.clone().filter(|text| !text.is_empty());
    text.or_else(|| Some(other.as_ref()?.as_raw().get(key)?.as_str().to_owned()))
}
