//! Transfers that payers sent themselves: nothing is sent here, it is looked at what was.

use alloy_primitives::B256;
use tokio::time::{sleep, timeout};
use x402_core::Reason;
use x402_core::claim::Transaction;
use x402_core::crypto::{AsyncSigner, Secp256k1};
use x402_evm::{MAX_PROOF_AGE_SECONDS, TransferProofPayment};

use super::chain::{self, Chain};
use super::token::{evm, pays};
use crate::ledger::Outcome;

/// Seconds by which a block's time may be ahead of the clock here. Claims of proofs outlive the
/// longest age by more.
const AHEAD_SECONDS: u64 = 900;

/// Of a node that does not answer.
const FAULT: Reason = Reason::UnexpectedVerifyError;

impl<K: AsyncSigner<Secp256k1>> Chain<K> {
    /// Whether the payer's own transaction transferred what is asked for, and when: in a block that
    /// is deep enough, and by a call of the token, so that it is no payment by another method.
    ///
    /// # Errors
    /// [`Reason::SettlementPending`] while it is not that deep, or not there at all: it may come;
    /// [`Reason::InvalidExactEvmTransactionFailed`] or
    /// [`Reason::InvalidExactEvmTransferEventMismatch`], for good.
    pub(super) async fn transferred(&self, proof: &TransferProofPayment) -> Result<u64, Reason> {
        self.genuine().await.map_err(|_| FAULT)?;
        let (head, receipt) =
            tokio::join!(self.head(), self.receipt(Some(B256::new(proof.tx_hash))));
        let (head, receipt) = head.zip(receipt).ok_or(FAULT)?;
        let depth = self.settings.confirmations.max(1);
        let at = |receipt: &chain::Receipt| receipt.block_number.to::<u64>();
        let deep = |receipt: &chain::Receipt| at(receipt).saturating_add(depth - 1) <= head;
        let receipt = receipt.filter(deep).ok_or(Reason::SettlementPending)?;
        let block = self.block(at(&receipt)).await.ok_or(FAULT)?;
        if block.hash != receipt.block_hash {
            return Err(Reason::SettlementPending);
        }
        if receipt.status.to::<u64>() != 1 {
            return Err(Reason::InvalidExactEvmTransactionFailed);
        }
        let own = receipt.from == Some(evm(proof.from)) && receipt.to == Some(evm(proof.asset));
        if !own || !pays(proof, &receipt.logs) {
            return Err(Reason::InvalidExactEvmTransferEventMismatch);
        }
        Ok(block.timestamp.to())
    }

    /// Whether a transfer pays, and is not too old to be presented at `now` (Unix seconds).
    ///
    /// # Errors
    /// As [`Self::transferred`]; [`Reason::PaymentExpired`];
    /// [`Reason::UnsupportedPayloadType`] on a chain where none are taken.
    pub(super) async fn check_transfer(
        &self,
        proof: &TransferProofPayment,
        now: u64,
    ) -> Result<(), Reason> {
        let max_age = self.settings.max_proof_age.as_secs().min(MAX_PROOF_AGE_SECONDS);
        if max_age == 0 {
            return Err(Reason::UnsupportedPayloadType);
        }
        let time = self.transferred(proof).await?;
        if time > now.saturating_add(AHEAD_SECONDS) {
            return Err(Reason::SettlementPending);
        }
        if time.saturating_add(max_age) < now { Err(Reason::PaymentExpired) } else { Ok(()) }
    }

    /// Looks again, within the time limit: a block may have been given up since.
    pub(super) async fn confirm_transfer(&self, proof: &TransferProofPayment) -> Outcome {
        let certain = async {
            loop {
                match self.transferred(proof).await {
                    Ok(_) => return Outcome::Settled(id_of(proof)),
                    Err(reason @ Reason::InvalidExactEvmTransactionFailed) => {
                        return Outcome::Failed(reason);
                    }
                    // It was this payer's when it was claimed, or somebody else asks.
                    Err(Reason::InvalidExactEvmTransferEventMismatch) => return Outcome::Pending,
                    Err(_) => sleep(self.settings.poll_interval).await,
                }
            }
        };
        let outcome = timeout(self.settings.confirm_time, certain).await;
        let outcome = outcome.unwrap_or(Outcome::Pending);
        let (chain_id, transaction) = (self.settings.chain_id, id_of(proof));
        tracing::info!(chain_id, %transaction, ?outcome, "transfer presented");
        outcome
    }
}

/// The payer's transaction.
pub(super) fn id_of(proof: &TransferProofPayment) -> Transaction {
    chain::id(B256::new(proof.tx_hash))
}
