//! The seller without sockets: make the challenge, admit a payment, make the receipt.

use crate::buyer::same_address;
use crate::claim::{ClaimState, Transaction};
use crate::error::ParseError;
use crate::gate::{self, Scheme, Verified};
use crate::json::{JsonStr, RawJson};
use crate::network::{Network, Version};
use crate::reason::{Reason, Retry};
use crate::wire::{
    Accepted, List, Message, PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo,
    SettleResponse, V1Details, VerifyRequest,
};

/// The resource and its offers.
#[derive(Clone, Copy, Debug)]
pub struct Seller<'a> {
    /// The resource.
    pub resource: ResourceInfo<'a>,
    /// The offers, in the seller's order of preference. Written as v2 offers; v1 buyers get them in
    /// v1's shape.
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
    /// Returns the request for the facilitator.
    pub fn request(&self) -> VerifyRequest<'a> {
        VerifyRequest {
            payment_payload: self.payload,
            payment_requirements: self.requirements,
            other: Default::default(),
        }
    }
}

/// Returns the next state of the claim on a payment, by a facilitator's answer to `/settle`. It is
/// [`Settled`](ClaimState::Settled), [`Failed`](ClaimState::Failed), or still
/// [`Broadcast`](ClaimState::Broadcast), with the transaction if the answer names one.
///
/// Only the `first` request can fail for certain: a later one may be refused because the first made the
/// payment. A reason of the facilitator's own is [`SettlementRefused`](Reason::SettlementRefused), if the
/// answer names no transaction and the reason names no fault.
///
/// An unclear answer leaves the claim at `Broadcast`, and so does a success that contradicts itself.
/// Contradictions are a reason for an error, another network, no transaction in the network's form,
/// another payer than `payer` (if that is given), and less than the offer's amount.
pub fn settled(
    answer: &SettleResponse<'_>,
    offer: &PaymentRequirements<'_>,
    payer: Option<&str>,
    first: bool,
) -> ClaimState {
    // The transaction of a pending payment is kept as reported.
    let fits = |id: &&str| !answer.success || offer.network.is_transaction(id);
    let transaction = answer.transaction.as_str().filter(fits);
    let transaction = transaction.and_then(|id| Transaction::try_from(id).ok()).unwrap_or_default();
    // Some facilitators leave the network empty, or the payer.
    let empty = |text: Option<JsonStr<'_>>| text.is_none_or(|text| text.is_empty());
    let on_network = answer.network.is_empty()
        || answer
            .network
            .as_str()
            .is_some_and(|named| Network::parse(named).is_ok_and(|it| it.is_same(offer.network)));
    let by_payer = match (payer, answer.payer) {
        (Some(payer), Some(named)) => named.is_empty() || same_address(payer, named.as_str()),
        _ => true,
    };
    // Some leave the amount empty. One that cannot be read may be less.
    let odd = |key| answer.other.get(key).is_some_and(|it| !matches!(it.as_str(), "\"\"" | "null"));
    let enough = answer.amount.is_none_or(|amount| amount >= offer.amount) && !odd("amount");
    let no_error = empty(answer.error_reason) && !odd("errorReason");
    let no_riddle = !odd("network") && !odd("payer");
    let certain = no_error && no_riddle && on_network && by_payer && enough;
    if answer.success && certain && !transaction.is_empty() {
        return ClaimState::Settled(transaction);
    }
    let reason = answer.error_reason.and_then(|reason| reason.as_str()).filter(|it| !it.is_empty());
    let reason = match (reason, reason.and_then(Reason::parse)) {
        (_, Some(known)) => known,
        // One of the facilitator's own.
        (Some(own), None) if answer.transaction.is_empty() && is_refusal(own) => {
            Reason::SettlementRefused
        }
        _ => Reason::UnexpectedSettleError,
    };
    // A facilitator that is busy has sent nothing; with a transaction it contradicts itself.
    let is_busy = reason == Reason::Busy && answer.transaction.is_empty();
    let unclear = match reason {
        // Also reported of a settlement that another process has just asked for.
        Reason::InvalidExactEvmNonceAlreadyUsed | Reason::DuplicateSettlement => true,
        // Official facilitators report this, without a transaction, when they lost sight of it.
        Reason::TransactionFailed | Reason::InvalidExactSvmTransactionFailed => {
            transaction.is_empty()
        }
        _ => reason.retry() == Retry::SameAgain && !is_busy,
    };
    if first && !answer.success && !unclear {
        return ClaimState::Failed(reason);
    }
    ClaimState::Broadcast(transaction)
}

/// Returns the reason to give while a payment's outcome is uncertain. `settlement_pending` always
/// has a transaction (spec v2 §5.3.2 and §9), so without one it is another.
pub fn unclear(transaction: &Transaction) -> Reason {
    match transaction.is_empty() {
        true => Reason::UnknownSettlementError,
        false => Reason::SettlementPending,
    }
}

/// Returns whether an unknown reason surely means that nothing was done: one about the payment, its payer,
/// or a rule. Any other may follow a transaction that was sent, as the words of nodes do.
fn is_refusal(reason: &str) -> bool {
    const REFUSALS: [&str; 16] = [
        "compliance",
        "sanction",
        "aml",
        "kyc",
        "blocked",
        "blocklist",
        "blacklist",
        "denied",
        "forbidden",
        "not_allowed",
        "not allowed",
        "unauthorized",
        "unsupported",
        "not_supported",
        "not supported",
        "policy",
    ];
    const FAULTS: [&str; 21] = [
        "pending",
        "time",
        "unknown",
        "unexpected",
        "internal",
        "unavailable",
        "error",
        "fault",
        "fail",
        "confirm",
        "broadcast",
        "sent",
        "submit",
        "retry",
        "busy",
        "nonce",
        "transaction",
        "mempool",
        "underpriced",
        "already",
        "reset",
    ];
    let contains = |word: &str| {
        (0..reason.len()).any(|at| {
            let part = reason.as_bytes().get(at..at.saturating_add(word.len()));
            part.is_some_and(|part| part.eq_ignore_ascii_case(word.as_bytes()))
        })
    };
    REFUSALS.into_iter().any(contains) && !FAULTS.into_iter().any(contains)
}

impl<'a> Seller<'a> {
    /// Returns the challenge, with a text for its cause: payment is missing, or the reason a
    /// payment was refused.
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

    /// Reads a payment that came in `version`'s header, already decoded from base64; `None` if it came
    /// in both headers.
    ///
    /// # Errors
    /// [`ParseError`]; a v1 payment in v2's header is one.
    pub fn read(
        version: impl Into<Option<Version>>,
        json: &[u8],
    ) -> Result<PaymentPayload<'_>, ParseError> {
        let payload = PaymentPayload::parse(json)?;
        if version.into().is_none_or(|version| payload.x402_version() == version) {
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
        self.admit_by(scheme, payload, |requirements| {
            gate::verify(scheme, payload, requirements, now)
        })
    }

    /// Admits as [`admit`](Self::admit) does, and passes a payment that has expired too: see
    /// [`gate::verify_late`].
    ///
    /// # Errors
    /// As of [`admit`](Self::admit).
    pub fn admit_late<S: Scheme>(
        &self,
        scheme: &S,
        payload: &PaymentPayload<'a>,
        now: u64,
    ) -> Result<Admitted<'a, S::Payment>, Reason> {
        self.admit_by(scheme, payload, |requirements| {
            gate::verify_late(scheme, payload, requirements, now)
        })
    }

    fn admit_by<S: Scheme>(
        &self,
        scheme: &S,
        payload: &PaymentPayload<'a>,
        verify: impl Fn(&PaymentRequirements<'a>) -> Result<Verified<S::Payment>, Reason>,
    ) -> Result<Admitted<'a, S::Payment>, Reason> {
        self.check_extensions(payload)?;
        let mut refusal = Reason::InvalidPaymentRequirements;
        for (index, offer) in self.accepts.iter().enumerate() {
            let requirements = match payload.accepted {
                Accepted::V2(accepted) if accepted.accepts(offer, scheme.may_differ(offer)) => {
                    *offer
                }
                Accepted::V1 { scheme, network }
                    if scheme == offer.scheme && network.is_same(offer.network) =>
                {
                    // In the payment's spelling: facilitators compare both as texts.
                    let v1 = Some(V1Details::from(self.resource));
                    PaymentRequirements { network, v1, ..*offer }
                }
                _ => continue,
            };
            match verify(&requirements) {
                Ok(verified) => {
                    return Ok(Admitted { payload: *payload, requirements, index, verified });
                }
                Err(reason) if refusal == Reason::InvalidPaymentRequirements => refusal = reason,
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    /// A payment's echo of an extension must contain all that was announced (spec v2 §5.1.2).
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
    use crate::amount::Amount;

    #[test]
    fn an_answer_to_settle_is_certain_or_it_is_not() {
        const TX: &str = "0x00000000000000000000000000000000000000000000000000000000000000aB";
        const OTHER: &str = "eip155:1329";
        let tx = |text: &str| Transaction::try_from(text).unwrap();
        let failed = ClaimState::Failed;
        let broadcast = |text| ClaimState::Broadcast(tx(text));
        let settled_in = |text| ClaimState::Settled(tx(text));
        let used = "invalid_exact_evm_nonce_already_used";
        let amount = |units| Some(Amount::from(units));
        let none = (None, None);
        // Success, reason, transaction, network, payer and amount; the result of the first answer.
        for (success, reason, transaction, network, (payer, amount), expected) in [
            (true, "", TX, "eip155:1328", none, settled_in(TX)),
            (true, "", TX, "sei-testnet", none, settled_in(TX)),
            (true, "", TX, "", none, settled_in(TX)),
            (true, "", TX, "", (Some(""), None), settled_in(TX)),
            (true, "", TX, "", (Some("0xABCD"), amount(10)), settled_in(TX)),
            (true, "", TX, "", (None, amount(11)), settled_in(TX)),
            (true, "", TX, OTHER, none, broadcast(TX)),
            (true, "", TX, "?", none, broadcast(TX)),
            (true, "", "", "eip155:1328", none, broadcast("")),
            // A success that contradicts itself is none.
            (true, "", TX, "", (Some("0xabce"), None), broadcast(TX)),
            (true, "", TX, "", (None, amount(9)), broadcast(TX)),
            (true, "", TX, "", (None, amount(0)), broadcast(TX)),
            (true, "insufficient_funds", TX, "", none, broadcast(TX)),
            (true, "something new", TX, "", none, broadcast(TX)),
            (true, "", "lol", "", none, broadcast("")),
            (true, "", "pending", "", none, broadcast("")),
            (true, "", "0x1", "", none, broadcast("")),
            (true, "", TX.trim_start_matches("0x"), "", none, broadcast("")),
            (true, "", SIGNATURE, "", none, broadcast("")),
            (false, "insufficient_funds", "", "", none, failed(Reason::InsufficientFunds)),
            // A reason of the facilitator's own, that of a fault, and one beside a transaction.
            (false, "compliance_hold", "", "", none, failed(Reason::SettlementRefused)),
            (false, "Blocked by AML policy", "", "", none, failed(Reason::SettlementRefused)),
            (false, "settlement_timed_out", "", "", none, broadcast("")),
            (false, "something new", "", "", none, broadcast("")),
            (false, "already known", "", "", none, broadcast("")),
            (false, "nonce too low", "", "", none, broadcast("")),
            (false, "replacement transaction underpriced", "", "", none, broadcast("")),
            (false, "deadline_exceeded", "", "", none, broadcast("")),
            (false, "in_progress", "", "", none, broadcast("")),
            (false, "socket hang up", "", "", none, broadcast("")),
            (false, "ECONNRESET", "", "", none, broadcast("")),
            (false, "Bad Gateway", "", "", none, broadcast("")),
            (false, "blocked: already submitted", "", "", none, broadcast("")),
            (false, "Internal Server Error", "", "", none, broadcast("")),
            (false, "compliance_hold", TX, "", none, broadcast(TX)),
            (false, "", "", "", none, broadcast("")),
            (false, "settlement_pending", TX, "", none, broadcast(TX)),
            (false, "busy", "", "", none, failed(Reason::Busy)),
            (false, "busy", TX, "", none, broadcast(TX)),
            (false, "busy", "lol", "", none, broadcast("lol")),
            (false, "settlement_pending", "0xabc", "", none, broadcast("0xabc")),
            (false, used, "", "", none, broadcast("")),
            (false, "duplicate_settlement", "", "", none, broadcast("")),
            (false, "transaction_failed", "", "", none, broadcast("")),
            (false, "transaction_failed", TX, "", none, failed(Reason::TransactionFailed)),
        ] {
            let answer = SettleResponse {
                success,
                error_reason: Some(reason.into()),
                transaction: transaction.into(),
                network: network.into(),
                payer: payer.map(JsonStr::from),
                amount,
                ..Default::default()
            };
            let own = Network::parse("eip155:1328").unwrap();
            let offer = PaymentRequirements { amount: Amount::from(10), ..offer(own) };
            let first = settled(&answer, &offer, Some("0xabcd"), true);
            assert_eq!(first, expected, "{reason} {transaction} {network}");
            let later = settled(&answer, &offer, Some("0xabcd"), false);
            match expected {
                ClaimState::Failed(_) => assert_eq!(later, broadcast(transaction)),
                expected => assert_eq!(later, expected),
            }
        }
    }

    /// A request to a facilitator names the network as the payment does, in either version.
    #[test]
    fn a_request_is_in_the_spelling_of_the_payment() {
        struct Takes;
        struct Paid;
        impl gate::Payment for Paid {
            type Payer = &'static str;
            fn claim_key(&self) -> crate::claim::ClaimKey {
                crate::claim::ClaimKey::new([0; 32])
            }
            fn expires_at(&self) -> u64 {
                0
            }
            fn payer(&self) -> &'static str {
                "anybody"
            }
        }
        impl Scheme for Takes {
            type Payment = Paid;
            fn handles(&self, _: &PaymentRequirements<'_>) -> bool {
                true
            }
            fn check_offer(&self, _: &PaymentRequirements<'_>) -> Result<(), Reason> {
                Ok(())
            }
            fn check(
                &self,
                _: &PaymentPayload<'_>,
                _: &PaymentRequirements<'_>,
                _: u64,
            ) -> Result<Paid, Reason> {
                Ok(Paid)
            }
        }
        for (id, name) in [
            ("eip155:84532", "base-sepolia"),
            ("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "solana-devnet"),
        ] {
            let offers = [offer(Network::parse(id).unwrap())];
            let seller =
                Seller { resource: ResourceInfo::default(), accepts: &offers, extensions: None };
            let v1 = std::format!(
                r#"{{"x402Version":1,"scheme":"exact","network":"{name}","payload":{{}}}}"#
            );
            let payload = Seller::read(Version::V1, v1.as_bytes()).unwrap();
            let admitted = seller.admit(&Takes, &payload, 0).unwrap();
            let mut out = [0; 1024];
            let request = admitted.request().encode(&mut out).unwrap();
            let request = core::str::from_utf8(request).unwrap();
            let named = std::format!(r#""network":"{name}""#);
            assert_eq!(request.matches(&named).count(), 2, "{request}");
            assert!(!request.contains(id), "{request}");
            // And a payment that is taken has one spelling.
            let other = v1.replace(name, id);
            let payload = Seller::read(Version::V1, other.as_bytes()).unwrap();
            let refused = seller.admit(&Takes, &payload, 0).err();
            assert_eq!(refused, Some(Reason::InvalidNetwork), "{other}");
        }
    }

    const SIGNATURE: &str =
        "5VERv8NMvzbJMEkV8xnrLkEaWRtSz9CosKDYjCJjBRnbJLgp8uirBgmQpjKhoR4tjF3ZpRzrFmBV6UjKdiSZkQUW";

    #[test]
    fn transactions_have_the_form_of_their_network() {
        let solana = Network::parse("solana").unwrap();
        for (id, expected) in [
            (SIGNATURE, true),
            (SIGNATURE.trim_end_matches("iSZkQUW"), true),
            (SIGNATURE.split_at(63).0, false),
            ("0x00000000000000000000000000000000000000000000000000000000000000ab", false),
            ("", false),
        ] {
            assert_eq!(solana.is_transaction(id), expected, "{id}");
        }
        let other = Network::parse("cosmos:hub").unwrap();
        assert!(other.is_transaction("anything") && !other.is_transaction(""));
    }

    fn offer(network: Network<'_>) -> PaymentRequirements<'_> {
        PaymentRequirements {
            scheme: "exact".into(),
            network,
            amount: Amount::ZERO,
            asset: "".into(),
            pay_to: "".into(),
            max_timeout_seconds: 60,
            extra: None,
            v1: None,
            other: Default::default(),
        }
    }
}
