//! Transfers that payers send themselves: checks of them, and for a payer their sending.

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

/// Seconds by which a block's time may be ahead of the clock here. Claims of proofs live longer than the
/// greatest age and this together.
const AHEAD_SECONDS: u64 = 900;

/// The reason if a node does not answer.
const FAULT: Reason = Reason::UnexpectedVerifyError;

impl<K: AsyncSigner<Secp256k1>> Chain<K> {
    /// Checks that the payer's own transaction pays, and returns the time of its block. The block must be
    /// deep enough, and the transaction must call the scheme's contract.
    ///
    /// # Errors
    /// [`Reason::SettlementPending`] while it is missing or not deep enough, because it may still come. For a
    /// transaction that failed or does not pay, the scheme's reasons, which are final.
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

    /// Checks that a payer's transaction pays, and is recent enough to be presented at `now` (Unix seconds).
    ///
    /// # Errors
    /// As [`Self::made_at`]; [`Reason::PaymentExpired`]; [`Reason::UnsupportedPayloadType`] on a chain that
    /// accepts none.
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

    /// Checks again, within the time limit, because a block may have been given up since.
    pub(super) async fn confirm_made(&self, made: &Made) -> Outcome {
        let certain = async {
            loop {
                match self.made_at(made).await {
                    Ok(_) => return Outcome::Settled(id_of(made)),
                    Err(reason) if reason == made.failed => return Outcome::Failed(reason),
                    // It was this payer's at the time of the claim, or another caller asks.
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

/// The side of a payer that sends its own transfers. Its transactions must not be replaced by others that pay
/// more ([`EvmChain::replace_after`](super::EvmChain)), because a proof names one of them.
impl<K: AsyncSigner<Secp256k1>> Chain<K> {
    /// Returns the sender's key, if there is one.
    pub(crate) fn key(&self) -> Option<&K> {
        self.senders.first().map(|sender| &sender.key)
    }

    /// Signs the transaction of a transfer that would succeed.
    ///
    /// # Errors
    /// [`Reason::UnexpectedSettleError`] without an answer of the nodes, [`Reason::Busy`] if it cannot be
    /// sent now, or the reason why it would fail.
    pub(crate) async fn prepare_transfer(&self, transfer: &Transfer) -> Result<Prepared, Reason> {
        self.genuine().await.map_err(|_| Reason::UnexpectedSettleError)?;
        self.prepare_call(Calling::own(transfer)).await
    }

    /// Takes up a transfer that was signed earlier, from its bytes. It counts as sent, and [`Self::made`]
    /// sends it to the nodes again. Returns `None` unless this chain's account signed it for this chain.
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

    /// Waits until a transfer is made and deep enough, within the time limit. Meanwhile all waiting
    /// transactions go to the nodes again.
    ///
    /// # Errors
    /// [`Reason::InvalidExactEvmTransactionFailed`]: it has failed for good.
    /// [`Reason::InvalidExactEvmTransferEventMismatch`]: the token accepted the call, but logged no such
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

/// Returns the id of the payer's transaction.
pub(super) fn id_of(made: &Made) -> Transaction {
    chain::id(B256::new(made.transaction))
}
