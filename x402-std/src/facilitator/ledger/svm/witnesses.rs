//! The nodes' answers about a payment that was sent, where several must agree.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use x402_core::claim::{ClaimKey, Transaction};
use x402_core::{Payment as _, Reason};
use x402_svm::message::{self, MessageVersion, TRANSACTION_V1_BYTES};
use x402_svm::{Address, SvmPayment, base58};

use super::answers::{InContext, Landed, SignatureStatus, TokenBalance};
use super::network::read;
use super::{Commitment, HISTORY_SLOTS};
use crate::base64;
use crate::facilitator::ledger::Outcome;
use crate::rpc::Nodes;
use crate::scheme::SvmTransfer;

/// The payment that is asked about.
pub(super) struct Asked<'p> {
    pub(super) payment: &'p SvmPayment,
    pub(super) key: ClaimKey,
    pub(super) id: &'p str,
    pub(super) signature: [u8; 64],
    pub(super) transaction: message::Transaction<'p>,
}

impl<'p> Asked<'p> {
    pub(super) fn new(transfer: &'p SvmTransfer, id: &'p Transaction) -> Option<Self> {
        Some(Self {
            payment: transfer.payment(),
            key: transfer.payment().claim_key(),
            id,
            signature: base58::decode(id)?,
            transaction: message::Transaction::parse(transfer.transaction()).ok()?,
        })
    }

    /// Returns the effect in a node's record of the transaction; `None` if the record is of another
    /// transaction.
    pub(super) fn moved(&self, landed: &Landed) -> Option<Moved> {
        let (text, "base64") = (&landed.transaction.0, &*landed.transaction.1) else { return None };
        let mut bytes = [0; TRANSACTION_V1_BYTES];
        let bytes = base64::decode(text.as_bytes(), &mut bytes).ok()?;
        let there = message::Transaction::parse(bytes).ok()?;
        let (message, wanted) = (there.message().as_bytes(), self.transaction.message());
        if message != wanted.as_bytes() || there.signatures().first() != Some(&self.signature) {
            return None;
        }
        let meta = landed.meta.as_ref()?;
        if meta.err.is_some() {
            return Some(Moved::Failed);
        }
        let destination = wanted.keys().iter().position(|key| *key == self.payment.destination.0);
        let recorded = !meta.pre_token_balances.is_empty() || !meta.post_token_balances.is_empty();
        // An account from an address table has a place that only the node knows.
        let (true, Some(place)) = (recorded, destination) else { return Some(Moved::AsAsked) };
        let balance = |all: &[TokenBalance]| match all.iter().find(|one| one.account_index == place)
        {
            Some(one) if one.mint != self.payment.asset.to_string() => None,
            Some(one) => Some(one.ui_token_amount.amount),
            None => Some(0u64),
        };
        let before = balance(&meta.pre_token_balances);
        let gets = balance(&meta.post_token_balances).zip(before);
        let gets = gets.and_then(|(after, before)| after.checked_sub(before));
        Some(if gets == Some(self.payment.amount) { Moved::AsAsked } else { Moved::Otherwise })
    }
}

/// The effect of a transaction that is in the chain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    AsAsked,
    Otherwise,
    Failed,
}

/// The place of a transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// In no chain, at this slot.
    Unknown { slot: u64 },
    /// In a chain that may be given up.
    Seen,
    /// As certain as required.
    Reached { failed: bool },
}

/// The validity of a blockhash, with the earliest and the latest slot of the answers.
#[derive(Clone, Copy)]
pub(super) struct Validity {
    pub(super) is_valid: bool,
    pub(super) earliest: u64,
    pub(super) latest: u64,
}

/// Nodes of which `count` must agree.
pub(super) struct Witnesses {
    pub(super) nodes: Nodes,
    pub(super) count: usize,
}

impl Witnesses {
    /// Returns the answer of each; `None` unless all answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        params: &Value,
    ) -> Option<Vec<T>> {
        let answers = self.nodes.ask_each(self.count, method, params).await;
        let words: Option<Vec<T>> = answers
            .into_iter()
            .map(|answer| answer.ok().and_then(|answer| read(&answer)))
            .collect();
        words.filter(|words| words.len() == self.count)
    }

    pub(super) async fn status(&self, asked: &Asked<'_>, commitment: Commitment) -> Option<Status> {
        let params = json!([[asked.id], { "searchTransactionHistory": true }]);
        let words: Vec<InContext<[Option<SignatureStatus>; 1]>> =
            self.ask("getSignatureStatuses", &params).await?;
        let read = |InContext { context, value: [status] }: &InContext<[_; 1]>| match status {
            None => Status::Unknown { slot: context.slot },
            // "Failed" must be final, because the payer then pays again.
            Some(SignatureStatus { err: Some(_), confirmation_status: Some(reached) }) => {
                match Commitment::Finalized.is_reached(reached) {
                    true => Status::Reached { failed: true },
                    false => Status::Seen,
                }
            }
            Some(SignatureStatus { err: None, confirmation_status: Some(reached) })
                if commitment.is_reached(reached) =>
            {
                Status::Reached { failed: false }
            }
            Some(_) => Status::Seen,
        };
        let both = |one, other| match (one, other) {
            (Status::Unknown { slot }, Status::Unknown { slot: other }) => {
                Status::Unknown { slot: slot.min(other) }
            }
            _ if one == other => one,
            _ => Status::Seen,
        };
        words.iter().map(read).reduce(both)
    }

    pub(super) async fn effect(
        &self,
        asked: &Asked<'_>,
        commitment: Commitment,
        failed: bool,
    ) -> Option<Outcome> {
        let version = u8::from(asked.transaction.message().version() == MessageVersion::V1);
        let params = json!([asked.id, {
            "commitment": commitment.as_str(),
            "encoding": "base64",
            "maxSupportedTransactionVersion": version,
        }]);
        let words: Vec<Option<Landed>> = self.ask("getTransaction", &params).await?;
        let moved = words.iter().map(|landed| asked.moved(landed.as_ref()?));
        let moved = moved.reduce(|one, other| one.filter(|_| one == other))??;
        match (moved, failed) {
            (Moved::AsAsked, false) => {
                Some(Outcome::Settled(Transaction::try_from(asked.id).ok()?))
            }
            (Moved::Otherwise, false) => {
                Some(Outcome::Failed(Reason::PostSettlementTransferNotConfirmed))
            }
            (Moved::Failed, true) => {
                Some(Outcome::Failed(Reason::InvalidExactSvmTransactionFailed))
            }
            _ => None,
        }
    }

    /// Returns the validity of the payment's blockhash; `None` without an answer, or if the nodes disagree.
    pub(super) async fn is_blockhash_valid(
        &self,
        asked: &Asked<'_>,
        commitment: &str,
    ) -> Option<Validity> {
        let blockhash = Address(asked.payment.blockhash).to_string();
        let params = json!([blockhash, { "commitment": commitment }]);
        let words: Vec<InContext<bool>> = self.ask("isBlockhashValid", &params).await?;
        let is_valid = words.first()?.value;
        let slots = || words.iter().map(|word| word.context.slot);
        let (earliest, latest) = (slots().min()?, slots().max()?);
        let agree = words.iter().all(|word| word.value == is_valid);
        agree.then_some(Validity { is_valid, earliest, latest })
    }

    /// Returns whether they have the history of enough slots before this one.
    pub(super) async fn know_history(&self, slot: u64) -> Option<bool> {
        let first: Vec<u64> = self.ask("getFirstAvailableBlock", &json!([])).await?;
        Some(first.iter().all(|first| {
            *first == 0 || slot.checked_sub(*first).is_some_and(|known| known >= HISTORY_SLOTS)
        }))
    }
}
