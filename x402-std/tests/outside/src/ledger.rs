//! Who has how many points.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use x402_core::claim::{ClaimKey, Transaction};
use x402_core::{Payment as _, Reason, Verified};
use x402_std::facilitator::ledger::{Ledger, Networks, Outcome};
use x402_std::message::SupportedKind;

use crate::points::{Card, Points, Stamp, TOO_FEW};

/// The cards of one network.
#[derive(Debug)]
pub struct Cards {
    network: &'static str,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    points: HashMap<Card, u64>,
    earned: HashMap<String, u64>,
    /// Stamps that were taken, and those that came when there were too few points.
    taken: HashSet<ClaimKey>,
    failed: HashSet<ClaimKey>,
    /// How often each question was asked.
    checked: usize,
    confirmed: usize,
}

impl Cards {
    /// Without cards.
    pub fn new(network: &'static str) -> Self {
        Self { network, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a card points.
    pub fn give(&self, card: Card, points: u64) {
        *self.state().points.entry(card).or_default() += points;
    }

    /// A shop's earnings.
    pub fn earned(&self, shop: &str) -> u64 {
        self.state().earned.get(shop).copied().unwrap_or(0)
    }

    /// How often it was looked before a settlement, and after one.
    pub fn looks(&self) -> (usize, usize) {
        let state = self.state();
        (state.checked, state.confirmed)
    }
}

fn id_of(stamp: &Stamp) -> Result<Transaction, Reason> {
    let id = format!("{}/{}", &stamp.card.to_string()[..16], stamp.serial);
    Transaction::try_from(&*id).map_err(|_| Reason::InvalidPayload)
}

impl Networks for Cards {
    type Scheme = Points;
    type Unsent = Stamp;

    fn scheme(&self) -> Points {
        Points
    }

    fn kinds(&self) -> Vec<SupportedKind> {
        vec![SupportedKind {
            x402_version: 2,
            scheme: "points".into(),
            network: self.network.parse().expect("a network"),
            extra: None,
            other: None,
        }]
    }

    fn signers(&self) -> BTreeMap<&'static str, Vec<String>> {
        BTreeMap::new()
    }

    async fn send(&self, stamp: Stamp) {
        let mut state = self.state();
        let key = stamp.claim_key();
        if !state.taken.insert(key) {
            return;
        }
        match state.points.get_mut(&stamp.card).filter(|points| **points >= stamp.points) {
            Some(points) => {
                *points -= stamp.points;
                *state.earned.entry(stamp.shop).or_default() += stamp.points;
            }
            None => _ = state.failed.insert(key),
        }
    }
}

impl Ledger<Stamp> for Cards {
    async fn check(&self, stamp: Verified<&Stamp>, _now: u64) -> Result<(), Reason> {
        let mut state = self.state();
        state.checked += 1;
        let stamp = stamp.payment();
        if state.taken.contains(&stamp.claim_key()) {
            return Err(Reason::DuplicateSettlement);
        }
        let points = state.points.get(&stamp.card).copied().unwrap_or(0);
        if points < stamp.points { Err(TOO_FEW) } else { Ok(()) }
    }

    async fn prepare(&self, stamp: Verified<&Stamp>) -> Result<(Transaction, Stamp), Reason> {
        let stamp = stamp.into_payment();
        Ok((id_of(stamp)?, stamp.clone()))
    }

    async fn confirm(&self, stamp: Verified<&Stamp>, transaction: &Transaction) -> Outcome {
        let mut state = self.state();
        state.confirmed += 1;
        let key = stamp.payment().claim_key();
        if state.failed.contains(&key) {
            return Outcome::Failed(Reason::TransactionFailed);
        }
        match state.taken.contains(&key) {
            true => Outcome::Settled(transaction.clone()),
            false => Outcome::Pending,
        }
    }
}
