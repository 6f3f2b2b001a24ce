//! The seller without sockets: make the challenge, admit a payment, make the receipt.

use crate::claim::{ClaimState, Transaction};
use crate::error::ParseError;
use crate::gate::{self, Scheme, Verified};
use crate::json::RawJson;
use crate::network::{Network, Version};
use crate::reason::{Reason, Retry};
use crate::wire::{
    Accepted, List, Message, PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo,
    SettleResponse, V1Details, VerifyRequest,
};

/// What is sold, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Seller<'a> {
    /// The resource.
    pub resource: ResourceInfo<'a>,
    /// The offers, in the order the seller likes them. Written as v2 offers; v1 buyers get them
    /// in v1's shape.
    pub accepts: &'a [PaymentRequirements<'a>],
    /// Extensions announced, an object.
    pub extensions: Option<RawJson<'a>>,
}

/// A payment that passed the gate, and the offer it pays.
#[derive(Clone, Copy, Debug)]
pub struct Admitted<'a, P> {
    /// The payment as the buyer sent it.
    pub payload: PaymentPayload<'a>,
    /// The seller's own offer, in the payment's version.
    pub requirements: PaymentRequirements<'a>,
    /// The offer's place in `accepts`.
    pub index: usize,
    /// Proof of the checks.
    pub verified: Verified<P>,
}

impl<'a, P> Admitted<'a, P> {
    /// What to ask the facilitator.
    pub fn request(&self) -> VerifyRequest<'a> {
        VerifyRequest {
            payment_payload: self.payload,
            payment_requirements: self.requirements,
            other: Default::default(),
        }
    }
}

/// What a facilitator's answer to `/settle` makes of the claim on a payment on `network`:
/// [`Settled`](ClaimState::Settled), [`Failed`](ClaimState::Failed), or
/// [`Broadcast`](ClaimState::Broadcast) still, with the transaction if the answer names one.
///
/// Only the `first` request can fail for certain: after it, "refused" may be said of a payment that
/// the first one has made. Unclear is not failed, nor is an answer of another network, or a success
/// without a transaction.
pub fn settled(answer: &SettleResponse<'_>, network: Network<'_>, first: bool) -> ClaimState {
    let transaction = answer.transaction.as_str().and_then(|id| Transaction::try_from(id).ok());
    let transaction = transaction.unwrap_or_default();
    // Some facilitators leave the network empty.
    let on_network = answer.network.is_empty()
        || answer
            .network
            .as_str()
            .is_some_and(|named| Network::parse(named).is_ok_and(|named| named.is_same(network)));
    if answer.success && !transaction.is_empty() && on_network {
        return ClaimState::Settled(transaction);
    }
    let reason = answer.error_reason.and_then(|reason| Reason::parse(reason.as_str()?));
    let reason = reason.unwrap_or(Reason::UnexpectedSettleError);
    let unclear = match reason {
        // May be said of a settlement that another process has just asked for.
        Reason::InvalidExactEvmNonceAlreadyUsed | Reason::DuplicateSettlement => true,
        // Official facilitators say so, without a transaction, where they lost sight of it.
        Reason::TransactionFailed | Reason::InvalidExactSvmTransactionFailed => {
            transaction.is_empty()
        }
        _ => reason.retry() == Retry::SameAgain,
    };
    if first && !answer.success && !unclear {
        return ClaimState::Failed(reason);
    }
    ClaimState::Broadcast(transaction)
}

impl<'a> Seller<'a> {
    /// The challenge, with a text that says why it is made: that payment is missing, or the
    /// reason a payment was refused.
    pub fn challenge(&self, version: Version, error: &'a str) -> PaymentRequired<'a> {
        PaymentRequired {
            x402_version: version,
            error: Some(error.into()),
            resource: Some(self.resource),
            accepts: List::from(self.accepts),
            extensions: self.extensions,
            other: Default::default(),
        }
    }

    /// Reads a payment that came in `version`'s header, already decoded from base64.
    ///
    /// # Errors
    /// [`ParseError`]; a v1 payment in v2's header is one.
    pub fn read(version: Version, json: &[u8]) -> Result<PaymentPayload<'_>, ParseError> {
        let payload = PaymentPayload::parse(json)?;
        if payload.x402_version() == version {
            Ok(payload)
        } else {
            Err(ParseError::VersionMismatch)
        }
    }

    /// Finds the offer a payment accepts and runs the gate against it.
    ///
    /// A v2 payment repeats the offer, which must be one of this seller's to the letter. A v1
    /// payment names scheme and network only, so each such offer is tried in order.
    ///
    /// # Errors
    /// [`Reason::InvalidPaymentRequirements`] if no offer is the accepted one,
    /// [`Reason::ExtensionEchoMismatch`], or the reason of the first check that fails.
    pub fn admit<S: Scheme>(
        &self,
        scheme: &S,
        payload: &PaymentPayload<'a>,
        now: u64,
    ) -> Result<Admitted<'a, S::Payment>, Reason> {
        self.check_extensions(payload)?;
        let mut refusal = Reason::InvalidPaymentRequirements;
        for (index, offer) in self.accepts.iter().enumerate() {
            let requirements = match payload.accepted {
                Accepted::V2(accepted) if accepted.accepts(offer) => *offer,
                Accepted::V1 { scheme, network }
                    if scheme == offer.scheme && network.is_same(offer.network) =>
                {
                    PaymentRequirements { v1: Some(V1Details::from(self.resource)), ..*offer }
                }
                _ => continue,
            };
            match gate::verify(scheme, payload, &requirements, now) {
                Ok(verified) => {
                    return Ok(Admitted { payload: *payload, requirements, index, verified });
                }
                Err(reason) if refusal == Reason::InvalidPaymentRequirements => refusal = reason,
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    /// What a payment echoes of an extension must contain what was announced (spec v2 §5.1.2).
    fn check_extensions(&self, payload: &PaymentPayload<'_>) -> Result<(), Reason> {
        let (Some(announced), Some(echoed)) = (self.extensions, payload.extensions) else {
            return Ok(());
        };
        for (name, wanted) in announced.members() {
            let echo = echoed.members().find(|(key, _)| *key == name);
            let kept = echo.is_none_or(|(_, echo)| match (wanted.get("info"), echo.get("info")) {
                (Some(wanted), Some(echo)) => echo.contains(wanted),
                (None, _) => echo.contains(wanted),
                (Some(_), None) => false,
            });
            if !kept {
                return Err(Reason::ExtensionEchoMismatch);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_settle_is_certain_or_it_is_not() {
        let tx = |text: &str| Transaction::try_from(text).unwrap();
        let failed = ClaimState::Failed;
        let broadcast = |text| ClaimState::Broadcast(tx(text));
        let used = "invalid_exact_evm_nonce_already_used";
        // Success, reason, transaction, network; what the first answer makes of it.
        for (success, reason, transaction, network, expected) in [
            (true, "", "0x1", "eip155:1328", ClaimState::Settled(tx("0x1"))),
            (true, "", "0x1", "", ClaimState::Settled(tx("0x1"))),
            (true, "", "0x1", "eip155:1329", broadcast("0x1")),
            (true, "", "0x1", "?", broadcast("0x1")),
            (true, "", "", "eip155:1328", broadcast("")),
            (false, "insufficient_funds", "", "", failed(Reason::InsufficientFunds)),
            (false, "something new", "", "", broadcast("")),
            (false, "settlement_pending", "0x1", "", broadcast("0x1")),
            (false, used, "", "", broadcast("")),
            (false, "duplicate_settlement", "", "", broadcast("")),
            (false, "transaction_failed", "", "", broadcast("")),
            (false, "transaction_failed", "0x1", "", failed(Reason::TransactionFailed)),
        ] {
            let answer = SettleResponse {
                success,
                error_reason: Some(reason.into()),
                transaction: transaction.into(),
                network: network.into(),
                ..Default::default()
            };
            let own = Network::parse("eip155:1328").unwrap();
            assert_eq!(settled(&answer, own, true), expected, "{reason} {network}");
            let later = settled(&answer, own, false);
            match expected {
                ClaimState::Failed(_) => assert_eq!(later, broadcast(transaction)),
                expected => assert_eq!(later, expected),
            }
        }
    }
}
