//! The outcome of a payment that was sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use x402_core::Reason;
use x402_core::claim::ClaimKey;
use x402_core::crypto::{AsyncSigner, Ed25519};

use super::SvmLedger;
use super::network::{SvmNetwork, send};
use super::witnesses::{Asked, Status, Witnesses};
use crate::facilitator::ledger::Outcome;

/// First and longest wait between two looks at a payment that was sent.
const FIRST_LOOK: Duration = Duration::from_millis(400);
const LONGEST_LOOK: Duration = Duration::from_secs(2);

/// Slots a blockhash lives at most while no slot is skipped; it lives for as many blocks.
const BLOCKHASH_SLOTS: u64 = 150;

/// How long it is remembered that something was sent, and how far back nodes are then taken to
/// know what happened, without being asked how far they do.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// The memory of a payment that was sent, or asked about.
pub(super) struct Watched {
    since: Instant,
    /// The transaction to send while it is waited for, in base64.
    pub(super) transaction: Option<Arc<str>>,
    /// Whether this process signed it, so that it is no older than `since`.
    is_fresh: bool,
    /// A finalized chain that has come this far knows the payment's blockhash if it is alive.
    pub(super) known_from: Option<u64>,
}

impl<K: AsyncSigner<Ed25519>> SvmLedger<K> {
    /// Looks until it is certain what became of a payment.
    pub(super) async fn watch(&self, network: &Arc<SvmNetwork>, asked: &Asked<'_>) -> Outcome {
        let (mut pause, mut tended) = (FIRST_LOOK, None);
        loop {
            if let Some(nodes) = network.nodes().await {
                let witnesses = Witnesses { nodes, count: self.witnesses(network) };
                if let Some(outcome) = self.look(network, &witnesses, asked, &mut tended).await {
                    network.guard.landed(asked.payment);
                    return outcome;
                }
            }
            let due = tended.map(|at| self.settings.resend_every.saturating_sub(at.elapsed()));
            tokio::time::sleep(pause.min(due.unwrap_or(pause))).await;
            pause = (pause * 3 / 2).min(LONGEST_LOOK);
        }
    }

    /// Returns the outcome; `None` if nothing is certain. A transaction that is missing is tended to now and then:
    /// it is sent again, if it was sent from here, and looked for in the past.
    async fn look(
        &self,
        network: &SvmNetwork,
        witnesses: &Witnesses,
        asked: &Asked<'_>,
        tended: &mut Option<Instant>,
    ) -> Option<Outcome> {
        let unknown_at = match witnesses.status(asked, self.settings.commitment).await? {
            Status::Reached { failed } => {
                let outcome = witnesses.effect(asked, self.settings.commitment, failed).await?;
                match failed {
                    true => network.guard.failed(asked.payment),
                    false => network.guard.succeeded(asked.payment),
                }
                return Some(outcome);
            }
            Status::Seen => None,
            Status::Unknown { slot } => Some(slot),
        };
        let first = tended.is_none();
        if !first && tended.is_some_and(|at| at.elapsed() < self.settings.resend_every) {
            return None;
        }
        *tended = Some(Instant::now());
        let (sent, is_fresh) = self.sent(asked);
        // The first time it has just been sent.
        if let Some(transaction) = sent.clone().filter(|_| !first) {
            let nodes = witnesses.nodes.clone();
            tokio::spawn(async move { send(&nodes, &transaction).await });
        }
        let Some(known_from) = self.known_from(asked) else {
            let alive = witnesses.is_blockhash_valid(asked, "confirmed").await;
            let slot = match alive.filter(|alive| alive.is_valid) {
                Some(alive) => alive.latest,
                None => unknown_at?.saturating_add(BLOCKHASH_SLOTS),
            };
            self.remember(asked.key, sent, is_fresh, Some(slot));
            // Finality has not come as far yet.
            return None;
        };
        unknown_at?;
        if self.is_gone(witnesses, asked, known_from, is_fresh).await? {
            return Some(Outcome::Failed(Reason::InvalidExactSvmTransactionFailed));
        }
        None
    }

    /// Whether it can be ruled out that a transaction is in the chain or will be. The order of the
    /// questions matters: with a dead blockhash it comes no more, so if it is nowhere after that it
    /// is nowhere for good. Asked the other way round it could come in between.
    async fn is_gone(
        &self,
        witnesses: &Witnesses,
        asked: &Asked<'_>,
        known_from: u64,
        remembered: bool,
    ) -> Option<bool> {
        let blockhash = witnesses.is_blockhash_valid(asked, "finalized").await?;
        if blockhash.is_valid || blockhash.earliest < known_from {
            return Some(false);
        }
        if !remembered && !witnesses.know_history(blockhash.latest).await? {
            return Some(false);
        }
        match witnesses.status(asked, self.settings.commitment).await? {
            Status::Unknown { slot } => Some(slot >= blockhash.latest),
            _ => Some(false),
        }
    }

    /// Returns the transaction that is sent again during the wait, and whether this process signed it lately.
    fn sent(&self, asked: &Asked<'_>) -> (Option<Arc<str>>, bool) {
        let watched = self.watched();
        let watched = watched.get(&asked.key).filter(|one| one.since.elapsed() < REMEMBERED);
        watched.map_or((None, false), |it| (it.transaction.clone(), it.is_fresh))
    }

    fn known_from(&self, asked: &Asked<'_>) -> Option<u64> {
        self.watched().get(&asked.key)?.known_from
    }

    pub(super) fn remember(
        &self,
        key: ClaimKey,
        transaction: Option<Arc<str>>,
        is_fresh: bool,
        known_from: Option<u64>,
    ) {
        let mut watched = self.watched();
        watched.retain(|_, watched| watched.since.elapsed() < REMEMBERED);
        let since = watched.get(&key).map_or_else(Instant::now, |before| before.since);
        watched.insert(key, Watched { since, transaction, is_fresh, known_from });
    }
}
