//! Transfers that payers sent themselves.

use std::sync::Arc;

use alloy_primitives::keccak256;
use x402_core::{Amount, Reason, Unproven};
use x402_evm::{Address, TransferProofPayment};

use super::contract::{Transfer, evm};
use super::settlement::{Log, Made, OnEvm, Settlement};

/// Returns the reason why a transfer of the sender's own would be reverted, by the text.
pub(super) fn reason_of(text: &str) -> Reason {
    let text = text.to_ascii_lowercase();
    let says = |first, then| text.split_once(first).is_some_and(|(_, rest)| rest.contains(then));
    if says("exceeds", "balance") || says("insufficient", "balance") {
        Reason::InvalidExactEvmInsufficientBalance
    } else {
        Reason::InvalidExactEvmTransactionFailed
    }
}

impl OnEvm for Unproven<TransferProofPayment> {
    fn settlement(&self) -> Settlement {
        let TransferProofPayment { chain_id, tx_hash, from, pay_to, asset, amount, .. } =
            *self.as_unproven();
        Settlement::Made(Transfer { from, pay_to, asset, amount }.made(chain_id, tx_hash))
    }
}

impl Transfer {
    /// Returns the transaction that makes it. It is a call of the token, so a payment by another method does
    /// not count.
    pub(crate) fn made(self, chain_id: u64, transaction: [u8; 32]) -> Made {
        Made {
            chain_id,
            transaction,
            from: self.from,
            to: self.asset,
            pays: Arc::new(move |logs| self.is_in(logs)),
            failed: Reason::InvalidExactEvmTransactionFailed,
            event: Reason::InvalidExactEvmTransferEventMismatch,
        }
    }

    /// Returns whether the logs of a transaction have the transfer, or a larger one.
    ///
    /// A transfer by an authorization belongs to another payment, and does not pay again as a transfer.
    fn is_in(&self, logs: &[Log]) -> bool {
        let word = |address: Address| evm(address).into_word().0;
        let (from, to) = (word(self.from), word(self.pay_to));
        let authorized = [keccak256("AuthorizationUsed(address,bytes32)").0, from];
        let transferred = [keccak256("Transfer(address,address,uint256)").0, from, to];
        let own = || logs.iter().filter(|log| log.contract() == Some(self.asset));
        let pays = |log: &Log| {
            let value = <[u8; 32]>::try_from(log.data());
            log.topics().eq(&transferred)
                && value.is_ok_and(|value| Amount::from_be_bytes(&value) >= self.amount)
        };
        !own().any(|log| log.topics().take(2).eq(&authorized)) && own().any(pays)
    }
}
