//! Transfers that payers send themselves: whether they were made, and, for a payer, making them.

use alloy_primitives::B256;
use tokio::time::{sleep, timeout};
use x402_core::Reason;
use x402_core::claim::Transaction;
use x402_core::crypto::{AsyncSigner, Secp256k1};
use x402_evm::MAX_PROOF_AGE_SECONDS;

use super::chain::{self, Chain};
use super::contract::{Calling, Transfer, evm};
use super::send::Prepared;
use super::sender::Sealed;
use super::settlement::Made;
use crate::facilitator::ledger::Outcome;

/// Seconds by which a block's time may be ahead of the clock here. Claims of proofs outlive the
/// longest age by more.
const AHEAD_SECONDS: u64 = 900;

/// Of a node that does not answer.
const FAULT: Reason = Reason::UnexpectedVerifyError;

impl<K: AsyncSigner<Secp256k1>> Chain<K> {
    /// Whether the payer's own transaction pays, and when: in a block that is deep enough, and by a call of
    /// the contract that the scheme names.
    ///
    /// # Errors
    /// [`Reason::SettlementPending`] while it is not that deep, or not there at all: it may come; the
    /// scheme's reasons for a transaction that failed or does not pay, for good.
    pub(super) async fn made_at(&self, made: &Made) -> Result<u64, Reason> {
        self.genuine().await.map_err(|_| FAULT)?;
        let hash = Some(B256::new(made.transaction));
        let (head, receipt) = tokio::join!(self.head(), self.receipt(hash));
        let (head, receipt) = head.zip(receipt).ok_or(FAULT)?;
        let depth = self.settings.confirmations.max(1);
        let at = |receipt: &chain::Receipt| receipt.block_number.to::<u64>();
        let deep = |receipt: &chain::Receipt| at(receipt).saturating_add(depth - 1) <= head;
        let receipt = receipt.filter(deep).ok_or(Reason::SettlementPending)?;
        let block = self.block(at(&receipt)).await.ok_or(FAULT)?;
        if block.hash != receipt.block_hash {
            return Err(Reason::SettlementPending);
        }
        if !receipt.succeeded() {
            return Err(made.failed);
        }
        let own = receipt.from == Some(evm(made.from)) && receipt.to == Some(evm(made.to));
        if !own || !(made.pays)(&receipt.logs) {
            return Err(made.event);
        }
        Ok(block.timestamp.to())
    }

    /// Whether a payer's transaction pays, and is not too old to be presented at `now` (Unix seconds).
    ///
    /// # Errors
    /// As [`Self::made_at`]; [`Reason::PaymentExpired`];
    /// [`Reason::UnsupportedPayloadType`] on a chain where none are taken.
    pub(super) async fn check_made(&self, made: &Made, now: u64) -> Result<(), Reason> {
        let max_age = self.settings.max_proof_age.as_secs().min(MAX_PROOF_AGE_SECONDS);
        if max_age == 0 {
            return Err(Reason::UnsupportedPayloadType);
        }
        let time = self.made_at(made).await?;
        if time > now.saturating_add(AHEAD_SECONDS) {
            return Err(Reason::SettlementPending);
        }
        if time.saturating_add(max_age) < now { Err(Reason::PaymentExpired) } else { Ok(()) }
    }

    /// Looks again, within the time limit: a block may have been given up since.
    pub(super) async fn confirm_made(&self, made: &Made) -> Outcome {
        let certain = async {
            loop {
                match self.made_at(made).await {
                    Ok(_) => return Outcome::Settled(id_of(made)),
                    Err(reason) if reason == made.failed => return Outcome::Failed(reason),
                    // It was this payer's when it was claimed, or somebody else asks.
                    Err(reason) if reason == made.event => return Outcome::Pending,
                    Err(_) => sleep(self.settings.poll_interval).await,
                }
            }
        };
        let outcome = timeout(self.settings.confirm_time, certain).await;
        let outcome = outcome.unwrap_or(Outcome::Pending);
        let (chain_id, transaction) = (self.settings.chain_id, id_of(made));
        tracing::info!(chain_id, %transaction, ?outcome, "transfer presented");
        outcome
    }
}

/// What a payer does that sends its own. Its transactions must not be replaced by others that pay
/// more ([`EvmChain::replace_after`](super::EvmChain)): a proof names one.
impl<K: AsyncSigner<Secp256k1>> Chain<K> {
    /// Who sends, if somebody does.
    pub(crate) fn key(&self) -> Option<&K> {
        self.senders.first().map(|sender| &sender.key)
    }

    /// Signs the transaction of a transfer, one that would be made.
    ///
    /// # Errors
    /// [`Reason::UnexpectedSettleError`] without an answer of the nodes, [`Reason::Busy`] if it
    /// cannot be sent now, and the reason for which it would not be made.
    pub(crate) async fn prepare_transfer(&self, transfer: &Transfer) -> Result<Prepared, Reason> {
        self.genuine().await.map_err(|_| Reason::UnexpectedSettleError)?;
        self.prepare_call(Calling::own(transfer)).await
    }

    /// Takes a transfer on that was signed earlier, by the bytes that nodes take: it counts as sent,
    /// and nodes are told of it again by [`Self::made`]. `None` if it is not one that this chain's
    /// account signed for it.
    pub(crate) async fn resume(&self, raw: &[u8]) -> Option<(Transfer, Sealed)> {
        let (from, draft, sealed) = Sealed::read(raw)?;
        let mut own = self.senders.iter();
        let sender = own.find(|sender| sender.key.public_key() == from.0)?;
        let transfer = Transfer::read(from, &draft.call)?;
        if draft.chain_id != self.settings.chain_id {
            return None;
        }
        sender.note(&mut sender.next.clone().lock_owned().await, &draft, &sealed);
        Some((transfer, sealed))
    }

    /// Waits until a transfer is made, as deep as is wanted, within the time limit. The nodes are
    /// told again meanwhile of all that was sent.
    ///
    /// # Errors
    /// [`Reason::InvalidExactEvmTransactionFailed`]: it is not made, for good.
    /// [`Reason::InvalidExactEvmTransferEventMismatch`]: the token took the call, and logged no such
    /// transfer. [`Reason::SettlementPending`] when the time is over.
    pub(crate) async fn made(&self, transfer: &Transfer, hash: B256) -> Result<(), Reason> {
        let made = transfer.made(self.settings.chain_id, hash.0);
        let certain = async {
            loop {
                match self.made_at(&made).await {
                    Ok(_) => return Ok(()),
                    Err(reason) if [made.failed, made.event].contains(&reason) => {
                        return Err(reason);
                    }
                    Err(_) => sleep(self.settings.poll_interval).await,
                }
            }
        };
        let pushed = async {
            loop {
                sleep(self.settings.poll_interval).await;
                self.push().await;
            }
        };
        tokio::select! {
            made = certain => made,
            () = pushed => Err(Reason::SettlementPending),
            () = sleep(self.settings.confirm_time) => Err(Reason::SettlementPending),
        }
    }
}

/// The payer's transaction.
pub(super) fn id_of(made: &Made) -> Transaction {
    chain::id(B256::new(made.transaction))
}
