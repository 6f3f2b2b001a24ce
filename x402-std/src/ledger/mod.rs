//! What moves the money: a chain, or a simulation of one.

use std::future::{Future, ready};

use x402_core::Reason;
use x402_core::claim::Transaction;
use x402_core::gate::Verified;

use crate::message::SupportedKind;
use crate::payment::Payment;

#[cfg(feature = "evm-ledger")]
mod evm;
#[cfg(any(feature = "evm-ledger", feature = "svm-ledger"))]
mod resting;
mod several;
mod simulated;
#[cfg(feature = "svm-ledger")]
mod svm;

#[cfg(feature = "evm-ledger")]
pub(crate) use evm::{Chain, Sealed, Transfer};
#[cfg(feature = "evm-ledger")]
pub use evm::{EvmChain, EvmLedger, EvmUnsent, GasLost, NotReady};
pub use several::Either;
pub use simulated::SimulatedLedger;
#[cfg(feature = "svm-ledger")]
pub use svm::{Commitment, NotSolana, SvmLedger, SvmNotReady, SvmSettings, SvmUnsent};

/// A chain or several, as a facilitator uses them. It takes only payments that passed the gate.
///
/// A settlement is [`check`](Self::check), [`prepare`](Self::prepare), [`send`](Self::send) and
/// [`confirm`](Self::confirm), in this order. The transaction's id is known, and can be written
/// down, before anything is sent.
pub trait Ledger: Send + Sync {
    /// A transaction that is signed and not sent. Given up, it leaves no trace.
    type Unsent: Send;

    /// What it can settle, for `/supported`.
    fn kinds(&self) -> Vec<SupportedKind>;

    /// Who pays the fees of payments on Solana; without any, none is taken.
    fn fee_payers(&self) -> Vec<x402_svm::Address> {
        Vec::new()
    }

    /// Who sends transactions on EVM chains, for `/supported`.
    fn senders(&self) -> Vec<x402_evm::Address> {
        Vec::new()
    }

    /// Proves what passed the gate unproven, the signature of a smart wallet, and that alone. It is
    /// asked wherever [`check`](Self::check) is not: who asks what became of a payment must be who
    /// made it. A ledger that cannot ask the chain refuses them.
    fn prove(
        &self,
        payment: &Verified<Payment>,
    ) -> impl Future<Output = Result<(), Reason>> + Send {
        ready(match payment.payment() {
            Payment::Eip3009Contract(_) => Err(Reason::InvalidExactEvmSignature),
            Payment::TransferProof(_) => Err(Reason::UnsupportedPayloadType),
            _ => Ok(()),
        })
    }

    /// Checks what only the chain knows: balance, nonce, that the transfer would go through; and all
    /// that [`prove`](Self::prove) does.
    fn check(
        &self,
        payment: &Verified<Payment>,
        now: u64,
    ) -> impl Future<Output = Result<(), Reason>> + Send;

    /// Makes and signs the transaction; nothing is sent.
    ///
    /// # Errors
    /// Why there can be none now; the payment can be presented again.
    fn prepare(
        &self,
        payment: &Verified<Payment>,
    ) -> impl Future<Output = Result<(Transaction, Self::Unsent), Reason>> + Send;

    /// Sends it. What came of it is for [`confirm`](Self::confirm) to find out: whatever a node
    /// answers, or does not, it may have sent it on.
    fn send(&self, unsent: Self::Unsent) -> impl Future<Output = ()> + Send;

    /// The signed transaction as bytes, to be written down before it is sent. Whoever has them can
    /// send it. Empty where there is nothing to take up again.
    fn raw(&self, unsent: &Self::Unsent) -> Vec<u8> {
        let _ = unsent;
        Vec::new()
    }

    /// Takes up a payment whose transaction was written down, by an earlier life of this process or
    /// by another one: sends again, or in its place, what the nodes may not have. A payment is moved
    /// once, however often it is sent.
    fn recover(
        &self,
        payment: &Verified<Payment>,
        transaction: &Transaction,
        raw: &[u8],
    ) -> impl Future<Output = ()> + Send {
        let _ = (payment, transaction, raw);
        ready(())
    }

    /// Looks after what was sent and is not mined yet, once. It is called now and then.
    fn tend(&self) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// Waits until it is certain what became of a payment that was sent, within the ledger's own
    /// time limit. Sends nothing that was not sent before.
    fn confirm(
        &self,
        payment: &Verified<Payment>,
        transaction: &Transaction,
    ) -> impl Future<Output = Outcome> + Send;
}

/// What became of a payment that was sent.
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
