//! Ledgers, which move the money: a chain, or a simulation of one.

use std::collections::BTreeMap;
use std::future::{Future, ready};

use x402_core::claim::Transaction;
use x402_core::{Payment, Reason, Verified};

use crate::message::SupportedKind;
use crate::scheme::SharedScheme;

mod compose;
#[cfg(feature = "evm-ledger")]
mod evm;
#[cfg(any(feature = "evm-ledger", feature = "svm-ledger"))]
mod resting;
mod simulated;
#[cfg(feature = "svm-ledger")]
mod svm;

#[cfg(feature = "evm-ledger")]
pub(crate) use evm::{Chain, Sealed, Transfer};
#[cfg(feature = "evm-ledger")]
pub use evm::{EvmChain, EvmLedger, EvmUnsent, GasLost, NotReady, OnEvm, settlement};
pub use simulated::SimulatedLedger;
#[cfg(feature = "svm-ledger")]
pub use svm::{Commitment, NotSolana, SvmLedger, SvmNotReady, SvmSettings, SvmUnsent};

/// The networks on which a ledger settles, and its accounts there.
pub trait Networks: Send + Sync {
    /// The schemes of the payments it settles.
    type Scheme: SharedScheme;

    /// A transaction that is signed but not sent. When dropped, it leaves no trace.
    type Unsent: Send;

    /// Returns its schemes, with a facilitator's default rules: on Solana, only its own fee payers pay fees.
    fn scheme(&self) -> Self::Scheme;

    /// Returns the kinds of payments it can settle, for `/supported`.
    fn kinds(&self) -> Vec<SupportedKind>;

    /// Returns the accounts that send transactions or pay for them, by networks as `/supported` names them:
    /// `eip155:*`, `solana:*`.
    fn signers(&self) -> BTreeMap<&'static str, Vec<String>>;

    /// Sends the transaction; [`confirm`](Ledger::confirm) finds its outcome. A node may have passed it on,
    /// whatever its answer.
    fn send(&self, unsent: Self::Unsent) -> impl Future<Output = ()> + Send;

    /// Returns the signed transaction as bytes, to be recorded before it is sent. Any holder of the bytes can
    /// send it. They are empty where there is nothing to resume.
    fn raw(&self, unsent: &Self::Unsent) -> Vec<u8> {
        let _ = unsent;
        Vec::new()
    }

    /// Looks after all unmined transactions, once. The keeper calls it at intervals.
    fn tend(&self) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

/// One or more chains, as a facilitator uses them for payments of one type. It accepts only payments that
/// passed the gate.
///
/// A settlement is [`prove`](Self::prove), [`check`](Self::check), [`prepare`](Self::prepare),
/// [`send`](Networks::send) and [`confirm`](Self::confirm), in this order. The transaction's id is known, and
/// can be recorded, before anything is sent.
///
/// A pair of ledgers settles payments of a pair of schemes: `(A, B)` is a `Ledger<Either<P, Q>>` if `A`
/// is a `Ledger<P>` and `B` a `Ledger<Q>`.
pub trait Ledger<P: Payment>: Networks {
    /// Proves a payment that passed the gate [unproven](x402_core::Unproven), and nothing more. It runs
    /// wherever [`check`](Self::check) does not: only a payment's maker may ask for its outcome. By default
    /// unproven payments are refused.
    ///
    /// # Errors
    /// The reason for which the payment has no proven payer.
    fn prove(&self, payment: Verified<&P>) -> impl Future<Output = Result<(), Reason>> + Send {
        let is_proven = payment.payment().is_proven();
        ready(if is_proven { Ok(()) } else { Err(Reason::UnsupportedPayloadType) })
    }

    /// Checks the chain's side of a payment: balance, nonce, success of the transfer, and all that
    /// [`prove`](Self::prove) checks.
    ///
    /// # Errors
    /// The first reason for which the payment would not settle at `now` (Unix seconds).
    fn check(
        &self,
        payment: Verified<&P>,
        now: u64,
    ) -> impl Future<Output = Result<(), Reason>> + Send;

    /// Makes and signs the transaction, without sending it.
    ///
    /// # Errors
    /// The reason for which there can be no transaction now; the payment can be presented again.
    fn prepare(
        &self,
        payment: Verified<&P>,
    ) -> impl Future<Output = Result<(Transaction, Self::Unsent), Reason>> + Send;

    /// Resumes a payment whose transaction was recorded, by an earlier run of this process or by another
    /// process. It sends the transaction again, or another in its place, if the nodes may lack it. The money
    /// moves once, however often a payment is sent.
    fn recover(
        &self,
        payment: Verified<&P>,
        transaction: &Transaction,
        raw: &[u8],
    ) -> impl Future<Output = ()> + Send {
        let _ = (payment, transaction, raw);
        ready(())
    }

    /// Waits for the certain outcome of a sent payment, within the ledger's own time limit. It sends only
    /// transactions that were sent before.
    fn confirm(
        &self,
        payment: Verified<&P>,
        transaction: &Transaction,
    ) -> impl Future<Output = Outcome> + Send;
}

/// The outcome of a payment that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The money moved by the payment's terms, in this transaction: the one asked about, or another one made
    /// of the same payment.
    Settled(Transaction),
    /// The money did not move, and no sent transaction will move it.
    Failed(Reason),
    /// The outcome is still uncertain.
    Pending,
}
