use x402_core::Reason;
use x402_core::claim::Transaction;
#[cfg(feature = "svm-ledger")]
use x402_core::crypto::{AsyncSigner, Ed25519};
use x402_core::gate::Verified;

#[cfg(feature = "svm-ledger")]
use super::SvmLedger;
use super::{Ledger, Outcome};
#[cfg(feature = "svm-ledger")]
use crate::message::NetworkId;
use crate::message::SupportedKind;
use crate::payment::Payment;

/// Solana networks with fee payers or settings of their own; none, too.
#[cfg(feature = "svm-ledger")]
impl<K: AsyncSigner<Ed25519> + Send + Sync> Ledger for Vec<SvmLedger<K>> {
    /// With the place of the ledger it is for.
    type Unsent = (usize, <SvmLedger<K> as Ledger>::Unsent);

    fn kinds(&self) -> Vec<SupportedKind> {
        self.iter().flat_map(Ledger::kinds).collect()
    }

    fn fee_payers(&self) -> Vec<x402_svm::Address> {
        self.iter().flat_map(Ledger::fee_payers).collect()
    }

    fn senders(&self) -> Vec<x402_evm::Address> {
        self.iter().flat_map(Ledger::senders).collect()
    }

    async fn check(&self, payment: &Verified<Payment>, now: u64) -> Result<(), Reason> {
        let (_, ledger) = find(self, payment).ok_or(Reason::InvalidNetwork)?;
        ledger.check(payment, now).await
    }

    async fn prepare(
        &self,
        payment: &Verified<Payment>,
    ) -> Result<(Transaction, Self::Unsent), Reason> {
        let (place, ledger) = find(self, payment).ok_or(Reason::InvalidNetwork)?;
        let (id, unsent) = ledger.prepare(payment).await?;
        Ok((id, (place, unsent)))
    }

    async fn send(&self, (place, unsent): Self::Unsent) {
        if let Some(ledger) = self.get(place) {
            ledger.send(unsent).await;
        }
    }

    fn raw(&self, (place, unsent): &Self::Unsent) -> Vec<u8> {
        self.get(*place).map(|ledger| ledger.raw(unsent)).unwrap_or_default()
    }

    async fn recover(&self, payment: &Verified<Payment>, transaction: &Transaction, raw: &[u8]) {
        if let Some((_, ledger)) = find(self, payment) {
            ledger.recover(payment, transaction, raw).await;
        }
    }

    async fn tend(&self) {
        for ledger in self {
            ledger.tend().await;
        }
    }

    async fn confirm(&self, payment: &Verified<Payment>, transaction: &Transaction) -> Outcome {
        match find(self, payment) {
            Some((_, ledger)) => ledger.confirm(payment, transaction).await,
            None => Outcome::Pending,
        }
    }
}

/// The ledger for the network of a payment, and its place.
#[cfg(feature = "svm-ledger")]
fn find<'l, K: AsyncSigner<Ed25519>>(
    ledgers: &'l [SvmLedger<K>],
    payment: &Verified<Payment>,
) -> Option<(usize, &'l SvmLedger<K>)> {
    let Payment::Svm(transfer) = payment.payment() else { return None };
    let network = transfer.payment().network.as_str();
    let serves = |id: &NetworkId| id.view().solana() == Some(network);
    ledgers.iter().enumerate().find(|(_, ledger)| ledger.networks().any(serves))
}

/// What is not sent yet on one of two ledgers.
#[derive(Clone, Debug)]
pub enum Either<E, S> {
    /// On an EVM chain.
    Evm(E),
    /// On Solana.
    Svm(S),
}

/// A ledger for EVM chains and one for Solana.
impl<E: Ledger, S: Ledger> Ledger for (E, S) {
    type Unsent = Either<E::Unsent, S::Unsent>;

    fn kinds(&self) -> Vec<SupportedKind> {
        let mut kinds = self.0.kinds();
        kinds.extend(self.1.kinds());
        kinds
    }

    fn fee_payers(&self) -> Vec<x402_svm::Address> {
        self.1.fee_payers()
    }

    fn senders(&self) -> Vec<x402_evm::Address> {
        self.0.senders()
    }

    async fn prove(&self, payment: &Verified<Payment>) -> Result<(), Reason> {
        match payment.payment() {
            Payment::Svm(_) => self.1.prove(payment).await,
            _ => self.0.prove(payment).await,
        }
    }

    async fn check(&self, payment: &Verified<Payment>, now: u64) -> Result<(), Reason> {
        match payment.payment() {
            Payment::Svm(_) => self.1.check(payment, now).await,
            _ => self.0.check(payment, now).await,
        }
    }

    async fn prepare(
        &self,
        payment: &Verified<Payment>,
    ) -> Result<(Transaction, Self::Unsent), Reason> {
        Ok(match payment.payment() {
            Payment::Svm(_) => {
                let (id, unsent) = self.1.prepare(payment).await?;
                (id, Either::Svm(unsent))
            }
            _ => {
                let (id, unsent) = self.0.prepare(payment).await?;
                (id, Either::Evm(unsent))
            }
        })
    }

    async fn send(&self, unsent: Self::Unsent) {
        match unsent {
            Either::Evm(unsent) => self.0.send(unsent).await,
            Either::Svm(unsent) => self.1.send(unsent).await,
        }
    }

    fn raw(&self, unsent: &Self::Unsent) -> Vec<u8> {
        match unsent {
            Either::Evm(unsent) => self.0.raw(unsent),
            Either::Svm(unsent) => self.1.raw(unsent),
        }
    }

    async fn recover(&self, payment: &Verified<Payment>, transaction: &Transaction, raw: &[u8]) {
        match payment.payment() {
            Payment::Svm(_) => self.1.recover(payment, transaction, raw).await,
            _ => self.0.recover(payment, transaction, raw).await,
        }
    }

    async fn tend(&self) {
        self.0.tend().await;
        self.1.tend().await;
    }

    async fn confirm(&self, payment: &Verified<Payment>, transaction: &Transaction) -> Outcome {
        match payment.payment() {
            Payment::Svm(_) => self.1.confirm(payment, transaction).await,
            _ => self.0.confirm(payment, transaction).await,
        }
    }
}
