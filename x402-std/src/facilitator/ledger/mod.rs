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

/// The networks that a ledger settles on, and the accounts it does so with.
pub trait Networks: Send + Sync {
    /// The schemes of the payments it settles.
    type Scheme: SharedScheme;

    /// A transaction that is signed and not sent. Given up, it leaves no trace.
    type Unsent: Send;

    /// Its schemes, with the rules a facilitator has unless told otherwise: on Solana, only its own fee
    /// payers pay fees.
    fn scheme(&self) -> Self::Scheme;

    /// The kinds of payments it can settle, for `/supported`.
    fn kinds(&self) -> Vec<SupportedKind>;

    /// The accounts that send transactions or pay for them, by networks as `/supported` names them:
    /// `eip155:*`, `solana:*`.
    fn signers(&self) -> BTreeMap<&'static str, Vec<String>>;

    /// Sends it. [`confirm`](Ledger::confirm) finds out what came of it: whatever a node
    /// answers, or does not, it may have sent it on.
    fn send(&self, unsent: Self::Unsent) -> impl Future<Output = ()> + Send;

    /// The signed transaction as bytes, to be written down before it is sent. Anybody who has them can
    /// send it. Empty where there is nothing to take up again.
    fn raw(&self, unsent: &Self::Unsent) -> Vec<u8> {
        let _ = unsent;
        Vec::new()
    }

    /// Looks after all that was sent and is not mined yet, once. It is called now and then.
    fn tend(&self) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

/// A chain or several, as a facilitator uses them for payments of one type. It takes only payments that
/// passed the gate.
///
/// A settlement is [`prove`](Self::prove), [`check`](Self::check), [`prepare`](Self::prepare),
/// [`send`](Networks::send) and [`confirm`](Self::confirm), in this order. The transaction's id is known, and
/// can be written down, before anything is sent.
///
/// A pair of ledgers settles payments of a pair of schemes: `(A, B)` is a `Ledger<Either<P, Q>>` if `A`
/// is a `Ledger<P>` and `B` a `Ledger<Q>`.
pub trait Ledger<P: Payment>: Networks {
    /// Proves a payment that passed the gate [unproven](x402_core::Unproven), and that alone. It is asked
    /// wherever [`check`](Self::check) is not: who asks what became of a payment must be who made it. By
    /// default unproven payments are refused.
    ///
    /// # Errors
    /// The reason for which the payment is nobody's.
    fn prove(&self, payment: Verified<&P>) -> impl Future<Output = Result<(), Reason>> + Send {
        let is_proven = payment.payment().is_proven();
        ready(if is_proven { Ok(()) } else { Err(Reason::UnsupportedPayloadType) })
    }

    /// Checks what only the chain knows: balance, nonce, that the transfer would go through; and all
    /// that [`prove`](Self::prove) does.
    ///
    /// # Errors
    /// The first reason for which the payment would not settle at `now` (Unix seconds).
    fn check(
        &self,
        payment: Verified<&P>,
        now: u64,
    ) -> impl Future<Output = Result<(), Reason>> + Send;

    /// Makes and signs the transaction; nothing is sent.
    ///
    /// # Errors
    /// Why there can be none now; the payment can be presented again.
    fn prepare(
        &self,
        payment: Verified<&P>,
    ) -> impl Future<Output = Result<(Transaction, Self::Unsent), Reason>> + Send;

    /// Takes up a payment whose transaction was written down, by an earlier life of this process or
    /// by another one: sends again, or in its place, what the nodes may not have. A payment is moved
    /// once, however often it is sent.
    fn recover(
        &self,
        payment: Verified<&P>,
        transaction: &Transaction,
        raw: &[u8],
    ) -> impl Future<Output = ()> + Send {
        let _ = (payment, transaction, raw);
        ready(())
    }

    /// Waits until it is certain what became of a payment that was sent, within the ledger's own
    /// time limit. Sends nothing that was not sent before.
    fn confirm(
        &self,
        payment: Verified<&P>,
        transaction: &Transaction,
    ) -> impl Future<Output = Outcome> + Send;
}

/// The outcome of a payment that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The money moved as the payment says, in this transaction: the one asked about, or another
    /// one that somebody made of the same payment.
    Settled(Transaction),
    /// It did not move, and no transaction that was sent will move it.
    Failed(Reason),
    /// Not certain yet.
    Pending,
}
