//! Accounts that send transactions: their keys, nonces and fees, and their unmined transactions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use alloy_consensus::transaction::RlpEcdsaEncodableTx;
use alloy_consensus::{SignableTransaction, Signed, TxEip1559, TxLegacy};
use alloy_primitives::{B256, Signature};
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;
use x402_core::crypto::{AsyncSigner, Recover, RecoverableSignature, Secp256k1, SignError};

use super::contract::Calling;
use crate::crypto::Recovery;
use crate::lock;

/// Time for which a mined transaction is kept, in case its block is given up. After the same time, a
/// transaction that is unknown to the nodes loses its nonce to another.
const KEPT: Duration = Duration::from_secs(600);

/// The price of gas, in wei.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fees {
    /// The highest price of a unit. On a chain without EIP-1559, the whole price.
    pub(super) per_gas: u128,
    /// The part of it for the block's maker.
    pub(super) priority: u128,
}

impl Fees {
    /// Returns the likely price of a unit: half of the offer is a reserve for a rising base fee.
    pub(super) fn likely(self) -> u128 {
        (self.per_gas.saturating_sub(self.priority) / 2).saturating_add(self.priority)
    }

    /// Returns fees high enough to replace a transaction with these: nodes ask for a tenth more.
    pub(super) fn to_replace(self) -> Self {
        let more = |fee: u128| fee.saturating_add(fee / 8).saturating_add(1);
        Self { per_gas: more(self.per_gas), priority: more(self.priority) }
    }

    pub(super) fn at_least(self, other: Self) -> Self {
        Self {
            per_gas: self.per_gas.max(other.per_gas),
            priority: self.priority.max(other.priority),
        }
    }
}

/// A transaction to be signed.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) chain_id: u64,
    pub(super) legacy: bool,
    pub(super) nonce: u64,
    pub(super) gas_limit: u64,
    pub(super) fees: Fees,
    pub(super) call: Calling,
    /// The payment it is for.
    pub(super) of: Option<Of>,
}

/// A payment, by the contract that counts it, its payer and its nonce.
pub(super) type Of = (x402_evm::Address, x402_evm::Address, [u8; 32]);

/// A signed transaction: its hash, and the bytes that nodes accept.
#[derive(Clone)]
pub(crate) struct Sealed {
    pub(crate) hash: B256,
    pub(crate) raw: Arc<[u8]>,
}

impl Draft {
    pub(super) async fn seal<K: AsyncSigner<Secp256k1>>(
        &self,
        key: &K,
    ) -> Result<Sealed, SignError> {
        let Self { chain_id, nonce, gas_limit, fees, .. } = *self;
        let (to, input) = (self.call.to.into(), self.call.data.clone());
        if self.legacy {
            let (chain_id, gas_price) = (Some(chain_id), fees.per_gas);
            let value = Default::default();
            return seal(TxLegacy { chain_id, nonce, gas_price, gas_limit, to, value, input }, key)
                .await;
        }
        let transaction = TxEip1559 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: fees.per_gas,
            max_priority_fee_per_gas: fees.priority,
            to,
            input,
            ..TxEip1559::default()
        };
        seal(transaction, key).await
    }
}

impl Sealed {
    /// Reads the bytes that nodes accept, and returns the signer, the draft and the transaction.
    pub(super) fn read(raw: &[u8]) -> Option<(x402_evm::Address, Draft, Self)> {
        let rest = &mut &*raw;
        let (from, hash, draft) = if raw.first() == Some(&2) {
            let signed = Signed::<TxEip1559>::eip2718_decode(rest).ok()?;
            let tx = signed.tx();
            let fees = Fees { per_gas: tx.max_fee_per_gas, priority: tx.max_priority_fee_per_gas };
            let call = Calling::to(*tx.to.to()?, tx.input.to_vec());
            let (chain_id, nonce, gas_limit) = (tx.chain_id, tx.nonce, tx.gas_limit);
            let draft = Draft { chain_id, legacy: false, nonce, gas_limit, fees, call, of: None };
            (signer(&signed)?, *signed.hash(), draft)
        } else {
            let signed = Signed::<TxLegacy>::rlp_decode(rest).ok()?;
            let tx = signed.tx();
            let fees = Fees { per_gas: tx.gas_price, priority: 0 };
            let call = Calling::to(*tx.to.to()?, tx.input.to_vec());
            let (chain_id, nonce, gas_limit) = (tx.chain_id?, tx.nonce, tx.gas_limit);
            let draft = Draft { chain_id, legacy: true, nonce, gas_limit, fees, call, of: None };
            (signer(&signed)?, *signed.hash(), draft)
        };
        rest.is_empty().then(|| (from, draft, Self { hash, raw: raw.into() }))
    }
}

fn signer<T: SignableTransaction<Signature>>(signed: &Signed<T>) -> Option<x402_evm::Address> {
    let signature = signed.signature();
    let mut r_s = [0; 64];
    r_s[..32].copy_from_slice(&signature.r().to_be_bytes::<32>());
    r_s[32..].copy_from_slice(&signature.s().to_be_bytes::<32>());
    let signature = RecoverableSignature::from_parts(r_s, signature.v()).ok()?;
    Recovery.recover(&signed.signature_hash().0, &signature).map(x402_evm::Address)
}

async fn seal<T, K>(transaction: T, key: &K) -> Result<Sealed, SignError>
where
    T: SignableTransaction<Signature> + RlpEcdsaEncodableTx,
    K: AsyncSigner<Secp256k1>,
{
    let digest = transaction.signature_hash();
    let signature = key.sign(&digest.0).await?;
    // With another account's signature, it would be another account's transaction.
    if Recovery.recover(&digest.0, &signature) != Some(key.public_key()) {
        return Err(SignError::Invalid);
    }
    let signature = Signature::from_bytes_and_parity(signature.r_s(), signature.is_odd());
    let signed = transaction.into_signed(signature);
    let mut raw = Vec::new();
    signed.eip2718_encode(&mut raw);
    Ok(Sealed { hash: *signed.hash(), raw: raw.into() })
}

/// An account that sends transactions on one chain.
pub(super) struct Sender<K> {
    pub(super) key: K,
    /// The nonce after the last one that was, or may have been, used. A task that chose a nonce holds it
    /// until its transaction has been sent.
    pub(super) next: Arc<tokio::sync::Mutex<u64>>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// The transactions that were sent, by nonce.
    sent: BTreeMap<u64, Sent>,
    /// The number of the account's mined transactions, as far as is known.
    mined: u64,
    /// A nonce at which the nodes have a transaction that is unknown here, the time since then, and the
    /// number of attempts to replace it.
    wedge: Option<(u64, Instant, u32)>,
}

pub(super) struct Sent {
    pub(super) draft: Draft,
    pub(super) sealed: Sealed,
    /// The transactions that it replaced. Nodes may still have mined one of them.
    replaced: Vec<B256>,
    /// The time of the first sending.
    first: Instant,
    /// The time of the last replacement, or else of the first sending.
    priced: Instant,
    /// The time when it last went to the nodes.
    told: Instant,
    /// Whether it must go to the nodes at once.
    overdue: bool,
}

impl Sent {
    fn is_due(&self, interval: Duration) -> bool {
        self.overdue || self.told.elapsed() >= interval
    }
}

impl<K> Sender<K> {
    pub(super) fn new(key: K) -> Self {
        Self { key, next: Arc::default(), waiting: Mutex::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }

    /// Notes a transaction that is about to be sent: from now on its nonce counts as used. It is kept until
    /// it is mined, because later transactions would wait for its nonce.
    pub(super) fn note(&self, next: &mut OwnedMutexGuard<u64>, draft: &Draft, sealed: &Sealed) {
        **next = (**next).max(draft.nonce.saturating_add(1));
        let now = Instant::now();
        let (draft, sealed) = (draft.clone(), sealed.clone());
        let (nonce, sent) = (
            draft.nonce,
            Sent {
                draft,
                sealed,
                replaced: Vec::new(),
                first: now,
                priced: now,
                told: now,
                overdue: false,
            },
        );
        self.waiting().sent.insert(nonce, sent);
    }

    /// Takes up a transaction that was signed before, unless another one has its nonce. It goes to the nodes
    /// soon.
    pub(super) async fn take_up(&self, draft: &Draft, sealed: &Sealed) -> bool {
        let mut next = self.next.clone().lock_owned().await;
        if let Some(known) = self.waiting().sent.get(&draft.nonce) {
            return known.sealed.hash == sealed.hash;
        }
        self.note(&mut next, draft, sealed);
        if let Some(sent) = self.waiting().sent.get_mut(&draft.nonce) {
            sent.overdue = true;
        }
        true
    }

    /// Returns the number of earlier attempts to replace an unknown transaction that blocks the account, at
    /// most once in `every`. There is one if the nodes count more than `mined`, and the first unmined nonce
    /// is unknown here.
    pub(super) fn wedged(&self, mined: u64, known: u64, every: Duration) -> Option<u32> {
        let mut waiting = self.waiting();
        if known <= mined || waiting.sent.contains_key(&mined) {
            waiting.wedge = None;
            return None;
        }
        match waiting.wedge {
            Some((nonce, since, times)) if nonce == mined => {
                if since.elapsed() < every {
                    return None;
                }
                waiting.wedge = Some((mined, Instant::now(), times.saturating_add(1)));
                Some(times)
            }
            _ => {
                waiting.wedge = Some((mined, Instant::now(), 0));
                None
            }
        }
    }

    /// Returns the number of waiting transactions, now that `mined` are mined.
    pub(super) fn unmined(&self, mined: u64) -> usize {
        let mut waiting = self.waiting();
        waiting.mined = mined;
        waiting.sent.retain(|nonce, sent| *nonce >= mined || sent.first.elapsed() < KEPT);
        waiting.sent.range(mined..).count()
    }

    /// Returns the nonce to use, if the nodes know of `known` transactions, waiting ones included.
    ///
    /// It is the one after the last used, unless the nodes have long lacked an earlier transaction. That
    /// one's nonce is then used again, because nothing after a gap is ever mined.
    pub(super) fn choose(&self, next: u64, known: u64) -> u64 {
        let waiting = self.waiting();
        let lost = || waiting.sent.get(&known).is_none_or(|sent| sent.first.elapsed() >= KEPT);
        if known < next && !lost() { next } else { known }
    }

    /// Returns whether a waiting transaction has not gone to the nodes for `interval`.
    pub(super) fn is_due(&self, interval: Duration) -> bool {
        self.waiting().sent.values().any(|sent| sent.is_due(interval))
    }

    /// Returns the transactions to send to the nodes again, now that `mined` are mined. They count as sent
    /// again.
    pub(super) fn due(&self, mined: u64, interval: Duration) -> Vec<Sealed> {
        self.unmined(mined);
        let mut waiting = self.waiting();
        let due = waiting.sent.range_mut(mined..).filter(|(_, sent)| sent.is_due(interval));
        due.map(|(_, sent)| {
            (sent.told, sent.overdue) = (Instant::now(), false);
            sent.sealed.clone()
        })
        .collect()
    }

    /// Returns the transactions that were sent for a payment from here, as far as they are remembered.
    pub(super) fn sent_for(&self, payment: Of) -> Vec<B256> {
        let waiting = self.waiting();
        let its = waiting.sent.values().filter(|sent| sent.draft.of == Some(payment));
        its.flat_map(|sent| sent.replaced.iter().copied().chain([sent.sealed.hash])).collect()
    }

    /// Returns whether a transaction was sent from here first within the last `time`.
    pub(super) fn has_just_sent(&self, hash: B256, time: Duration) -> bool {
        let waiting = self.waiting();
        let mut sent = waiting.sent.values();
        sent.any(|sent| sent.sealed.hash == hash && sent.first.elapsed() < time)
    }

    /// Returns the transaction that has blocked the others for `limit`, if there is one. It counts as
    /// replaced.
    pub(super) fn stuck(&self, limit: Duration) -> Option<(Draft, B256)> {
        let mut waiting = self.waiting();
        let mined = waiting.mined;
        let sent = waiting.sent.get_mut(&mined).filter(|sent| sent.priced.elapsed() >= limit)?;
        sent.priced = Instant::now();
        Some((sent.draft.clone(), sent.sealed.hash))
    }

    /// Replaces the transaction with the same nonce, if that is still `old`.
    pub(super) fn replace(&self, old: B256, draft: Draft, sealed: Sealed) -> bool {
        let mut waiting = self.waiting();
        match waiting.sent.get_mut(&draft.nonce).filter(|sent| sent.sealed.hash == old) {
            Some(sent) => {
                (sent.draft, sent.sealed) = (draft, sealed);
                sent.replaced.push(old);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_nonce_is_next() {
        let sender = Sender::new(());
        let mut next = sender.next.clone().try_lock_owned().unwrap();
        // Earlier transactions of other processes count, and so do those that the nodes have not seen yet.
        assert_eq!(sender.choose(*next, 3), 3);
        let call = Calling::to(Default::default(), vec![]);
        let fees = Fees { per_gas: 80, priority: 0 };
        let (chain_id, of) =
            (1, Some((x402_evm::Address([1; 20]), x402_evm::Address([2; 20]), [7; 32])));
        let draft = Draft { chain_id, legacy: false, nonce: 3, gas_limit: 1, fees, call, of };
        let sealed = Sealed { hash: B256::ZERO, raw: Arc::new([]) };
        sender.note(&mut next, &draft, &sealed);
        assert_eq!((*next, sender.choose(*next, 3), sender.choose(*next, 4)), (4, 4, 4));
        // No transaction is known at 2 or in the gap at 4: later ones would wait for ever.
        sender.note(&mut next, &Draft { nonce: 5, ..draft.clone() }, &sealed);
        assert_eq!((*next, sender.choose(*next, 4), sender.choose(*next, 2)), (6, 4, 2));
        sender.note(&mut next, &Draft { nonce: 4, ..draft.clone() }, &sealed);
        assert_eq!((*next, sender.choose(*next, 4), sender.choose(*next, 9)), (6, 6, 9));
        // Nodes ask for a tenth more for a replacement.
        assert_eq!(fees.to_replace(), Fees { per_gas: 91, priority: 1 });
        assert_eq!((sender.unmined(3), sender.unmined(5), sender.unmined(6)), (3, 1, 0));
        // A replaced transaction may still be mined.
        let other = Sealed { hash: B256::repeat_byte(1), raw: Arc::new([]) };
        assert!(sender.replace(B256::ZERO, Draft { nonce: 5, ..draft.clone() }, other));
        let of = draft.of.unwrap();
        assert_eq!(sender.sent_for(of), [B256::ZERO, B256::ZERO, B256::ZERO, B256::repeat_byte(1)]);
        assert!(sender.sent_for((of.0, of.1, [8; 32])).is_empty());
    }
}
