use std::collections::BTreeMap;

use x402_core::claim::Transaction;
#[cfg(feature = "svm-ledger")]
use x402_core::crypto::{AsyncSigner, Ed25519};
use x402_core::{Either, Payment, Reason, Verified};

#[cfg(feature = "svm-ledger")]
use super::SvmLedger;
use super::{Ledger, Networks, Outcome};
#[cfg(feature = "svm-ledger")]
use crate::message::NetworkId;
use crate::message::SupportedKind;
#[cfg(feature = "svm-ledger")]
use crate::scheme::{ExactOnSvm, SvmTransfer};

/// Returns the signers of two ledgers together.
fn joined(
    mut signers: BTreeMap<&'static str, Vec<String>>,
    others: BTreeMap<&'static str, Vec<String>>,
) -> BTreeMap<&'static str, Vec<String>> {
    for (networks, accounts) in others {
        signers.entry(networks).or_default().extend(accounts);
    }
    signers
}

/// Any number of Solana networks, each with a fee payer and settings of its own.
#[cfg(feature = "svm-ledger")]
impl<K: AsyncSigner<Ed25519> + Send + Sync> Networks for Vec<SvmLedger<K>> {
    type Scheme = ExactOnSvm;

    /// The place of its ledger, and the transaction.
    type Unsent = (usize, <SvmLedger<K> as Networks>::Unsent);

    fn scheme(&self) -> ExactOnSvm {
        let all = self.iter().filter_map(|ledger| ledger.scheme().fee_payers);
        ExactOnSvm { fee_payers: Some(all.flatten().collect()), ..ExactOnSvm::default() }
    }

    fn kinds(&self) -> Vec<SupportedKind> {
        self.iter().flat_map(Networks::kinds).collect()
    }

    fn signers(&self) -> BTreeMap<&'static str, Vec<String>> {
        self.iter().map(Networks::signers).reduce(joined).unwrap_or_default()
    }

    async fn tend(&self) {
        for ledger in self {
            ledger.tend().await;
        }
    }

    async fn send(&self, (place, unsent): Self::Unsent) {
        if let Some(ledger) = self.get(place) {
            ledger.send(unsent).await;
        }
    }

    fn raw(&self, (place, unsent): &Self::Unsent) -> Vec<u8> {
        self.get(*place).map(|ledger| ledger.raw(unsent)).unwrap_or_default()
    }
}

#[cfg(feature = "svm-ledger")]
impl<K: AsyncSigner<Ed25519> + Send + Sync> Ledger<SvmTransfer> for Vec<SvmLedger<K>> {
    async fn check(&self, payment: Verified<&SvmTransfer>, now: u64) -> Result<(), Reason> {
        let (_, ledger) = find(self, payment).ok_or(Reason::InvalidNetwork)?;
        ledger.check(payment, now).await
    }

    async fn prepare(
        &self,
        payment: Verified<&SvmTransfer>,
    ) -> Result<(Transaction, Self::Unsent), Reason> {
        let (place, ledger) = find(self, payment).ok_or(Reason::InvalidNetwork)?;
        let (id, unsent) = ledger.prepare(payment).await?;
        Ok((id, (place, unsent)))
    }

    async fn recover(
        &self,
        payment: Verified<&SvmTransfer>,
        transaction: &Transaction,
        raw: &[u8],
    ) {
        if let Some((_, ledger)) = find(self, payment) {
            ledger.recover(payment, transaction, raw).await;
        }
    }

    async fn confirm(&self, payment: Verified<&SvmTransfer>, transaction: &Transaction) -> Outcome {
        match find(self, payment) {
            Some((_, ledger)) => ledger.confirm(payment, transaction).await,
            None => Outcome::Pending,
        }
    }
}

/// Returns the ledger for the network of a payment, with its place.
#[cfg(feature = "svm-ledger")]
fn find<'l, K: AsyncSigner<Ed25519>>(
    ledgers: &'l [SvmLedger<K>],
    payment: Verified<&SvmTransfer>,
) -> Option<(usize, &'l SvmLedger<K>)> {
    let network = payment.payment().payment().network.as_str();
    let serves = |id: &NetworkId| id.as_view().solana() == Some(network);
    ledgers.iter().enumerate().find(|(_, ledger)| ledger.networks().any(serves))
}

impl<A: Networks, B: Networks> Networks for (A, B) {
    type Scheme = (A::Scheme, B::Scheme);
    type Unsent = Either<A::Unsent, B::Unsent>;

    fn scheme(&self) -> Self::Scheme {
        (self.0.scheme(), self.1.scheme())
    }

    fn kinds(&self) -> Vec<SupportedKind> {
        let mut kinds = self.0.kinds();
        kinds.extend(self.1.kinds());
        kinds
    }

    fn signers(&self) -> BTreeMap<&'static str, Vec<String>> {
        joined(self.0.signers(), self.1.signers())
    }

    async fn tend(&self) {
        self.0.tend().await;
        self.1.tend().await;
    }

    async fn send(&self, unsent: Self::Unsent) {
        match unsent {
            Either::First(unsent) => self.0.send(unsent).await,
            Either::Second(unsent) => self.1.send(unsent).await,
        }
    }

    fn raw(&self, unsent: &Self::Unsent) -> Vec<u8> {
        match unsent {
            Either::First(unsent) => self.0.raw(unsent),
            Either::Second(unsent) => self.1.raw(unsent),
        }
    }
}

impl<P, Q, A, B> Ledger<Either<P, Q>> for (A, B)
where
    P: Payment + Sync,
    Q: Payment + Sync,
    A: Ledger<P>,
    B: Ledger<Q>,
{
    async fn prove(&self, payment: Verified<&Either<P, Q>>) -> Result<(), Reason> {
        match payment.as_either() {
            Either::First(payment) => self.0.prove(payment).await,
            Either::Second(payment) => self.1.prove(payment).await,
        }
    }

    async fn check(&self, payment: Verified<&Either<P, Q>>, now: u64) -> Result<(), Reason> {
        match payment.as_either() {
            Either::First(payment) => self.0.check(payment, now).await,
            Either::Second(payment) => self.1.check(payment, now).await,
        }
    }

    async fn prepare(
        &self,
        payment: Verified<&Either<P, Q>>,
    ) -> Result<(Transaction, Self::Unsent), Reason> {
        Ok(match payment.as_either() {
            Either::First(payment) => {
                let (id, unsent) = self.0.prepare(payment).await?;
                (id, Either::First(unsent))
            }
            Either::Second(payment) => {
                let (id, unsent) = self.1.prepare(payment).await?;
                (id, Either::Second(unsent))
            }
        })
    }

    async fn recover(
        &self,
        payment: Verified<&Either<P, Q>>,
        transaction: &Transaction,
        raw: &[u8],
    ) {
        match payment.as_either() {
            Either::First(payment) => self.0.recover(payment, transaction, raw).await,
            Either::Second(payment) => self.1.recover(payment, transaction, raw).await,
        }
    }

    async fn confirm(
        &self,
        payment: Verified<&Either<P, Q>>,
        transaction: &Transaction,
    ) -> Outcome {
        match payment.as_either() {
            Either::First(payment) => self.0.confirm(payment, transaction).await,
            Either::Second(payment) => self.1.confirm(payment, transaction).await,
        }
    }
}
