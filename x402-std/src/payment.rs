//! Payments of every scheme this library knows, as one type, and the checks that make them.

use std::fmt;
use std::sync::Arc;

use x402_core::claim::ClaimKey;
use x402_core::crypto::secp256k1::K256;
use x402_core::wire::{PaymentPayload, PaymentRequirements};
use x402_core::{Reason, Scheme, Version};
use x402_evm::{Eip3009Payload, Eip3009Payment, ExactEvm, SETTLEMENT_SECONDS};
use x402_svm::message::{TRANSACTION_V1_BYTES, Transaction};
use x402_svm::{Address, Asset, ExactSvm, Limits, Rules, SvmPayment};

/// A payment that passed every check that needs no chain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payment {
    /// `exact` on an EVM network, by EIP-3009.
    Eip3009(Eip3009Payment),
    /// `exact` on a Solana network.
    Svm(SvmTransfer),
}

/// A payment on Solana, with the transaction that makes it.
#[derive(Clone, PartialEq, Eq)]
pub struct SvmTransfer {
    payment: SvmPayment,
    transaction: Box<[u8]>,
}

impl SvmTransfer {
    /// What was checked.
    pub const fn payment(&self) -> &SvmPayment {
        &self.payment
    }

    /// The transaction, signed by the payer. The fee payer's signature is to be put first.
    pub fn transaction(&self) -> &[u8] {
        &self.transaction
    }
}

/// Does not show the transaction: whoever has it can present it.
impl fmt::Debug for SvmTransfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.payment.fmt(f)
    }
}

impl Payment {
    /// Who pays, as the network writes addresses.
    pub fn payer(&self) -> String {
        match self {
            Self::Eip3009(payment) => payment.authorization.from.to_string(),
            Self::Svm(transfer) => transfer.payment.payer.to_string(),
        }
    }
}

impl x402_core::Payment for Payment {
    fn claim_key(&self) -> ClaimKey {
        match self {
            Self::Eip3009(payment) => payment.claim_key(),
            Self::Svm(transfer) => transfer.payment.claim_key(),
        }
    }

    fn expires_at(&self) -> u64 {
        match self {
            Self::Eip3009(payment) => payment.expires_at(),
            Self::Svm(transfer) => transfer.payment.expires_at(),
        }
    }
}

/// Finds the address at a place of an address table. See [`Rules::resolve`].
pub type Resolve = Arc<dyn Fn(Address, u8) -> Option<Address> + Send + Sync>;

/// What a verifier decides for itself about payments on Solana: [`Rules`], owned.
#[derive(Clone, Default)]
pub struct SvmRules {
    /// What a payment may cost the fee payer.
    pub limits: Limits,
    /// Whether more than the amount may be paid; less never.
    pub over_payment: bool,
    /// The fee payers whose keys the caller has; `None` takes whichever the offer names.
    pub fee_payers: Option<Vec<Address>>,
    /// Tokens the caller vouches for besides the known ones.
    pub assets: Vec<Asset<'static>>,
    /// Finds addresses in tables; transactions that use tables are refused without it.
    pub resolve: Option<Resolve>,
}

impl SvmRules {
    fn view(&self) -> Rules<'_> {
        let resolve = self.resolve.as_deref();
        Rules {
            limits: self.limits,
            over_payment: self.over_payment,
            fee_payers: self.fee_payers.as_deref(),
            assets: &self.assets,
            resolve: resolve.map(|resolve| -> x402_svm::Resolve<'_> { resolve }),
        }
    }
}

impl fmt::Debug for SvmRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// Every scheme this library checks, chosen by the network of the requirements.
#[derive(Clone, Debug, Default)]
pub struct Schemes {
    /// What is decided about payments on Solana.
    pub svm: SvmRules,
}

impl Scheme for Schemes {
    type Payment = Payment;

    fn check(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        now: u64,
    ) -> Result<Payment, Reason> {
        if requirements.network.solana().is_none() {
            let scheme = ExactEvm::<K256>::default();
            return scheme.check(payload, requirements, now).map(Payment::Eip3009);
        }
        let (scheme, mut scratch) = (ExactSvm::new(self.svm.view()), [0; TRANSACTION_V1_BYTES]);
        let (payment, transaction) = scheme.check_into(payload, requirements, now, &mut scratch)?;
        Ok(Payment::Svm(SvmTransfer { payment, transaction: transaction.into() }))
    }
}

/// Runs `check` for now. A payment that has expired is too late to be sent, and in time to find out
/// about if it was: it is checked for the last second it was accepted at, and the reason to refuse
/// it otherwise is given along. On Solana only the chain knows what has expired.
pub(crate) fn check_late<T>(
    payment: &PaymentPayload<'_>,
    now: u64,
    check: impl Fn(u64) -> Result<T, Reason>,
) -> Result<(T, Option<Reason>), Reason> {
    match check(now) {
        Err(reason @ Reason::InvalidExactEvmPayloadAuthorizationValidBefore) => {
            let payload = Eip3009Payload::read(payment.payload)?;
            let valid_before = payload.authorization.valid_before.as_u64().ok_or(reason)?;
            let then = valid_before.checked_sub(SETTLEMENT_SECONDS).ok_or(reason)?;
            Ok((check(then)?, Some(reason)))
        }
        checked => Ok((checked?, None)),
    }
}

/// A ledger's reason as the protocol's version spells it: on Solana, version 1 has no prefix.
pub(crate) const fn spelled(reason: Reason, version: Version) -> Reason {
    match (version, reason) {
        (Version::V1, Reason::InvalidExactSvmTransactionSimulationFailed) => {
            Reason::TransactionSimulationFailed
        }
        (Version::V1, Reason::InvalidExactSvmTransactionFailed) => Reason::TransactionFailed,
        _ => reason,
    }
}

/// Who says they pay, as far as a payment tells that may have passed no check: answers to refusals
/// name them too.
pub fn payer(payment: &PaymentPayload<'_>) -> Option<String> {
    if payment.network().solana().is_none() {
        let payload = Eip3009Payload::read(payment.payload).ok()?;
        return Some(payload.authorization.from.to_string());
    }
    let mut scratch = [0; TRANSACTION_V1_BYTES];
    let bytes = x402_svm::read_transaction(payment.payload, &mut scratch).ok()?;
    let transaction = Transaction::parse(bytes).ok()?;
    x402_svm::payer(transaction.message()).map(|payer| payer.to_string())
}
