//! Guards the fee payer's lamports against useless spending by payers. It tracks money that is on its way,
//! and payers whose transactions failed.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use x402_core::Payment as _;
use x402_core::claim::ClaimKey;
use x402_svm::{Address, SvmPayment};

use crate::facilitator::ledger::resting::{LONGEST_REST, REST, Resting};
use crate::lock;

/// Time in which a sent payment may land: its blockhash lives for 150 blocks.
const LIFE: Duration = Duration::from_secs(120);

/// Time in which a balance that was read before a payment landed may still be in use.
const SETTLING: Duration = Duration::from_secs(10);

/// The guard of one network.
#[derive(Default)]
pub(super) struct Guard {
    /// Payments on their way, by the account debited.
    flights: Mutex<HashMap<Address, Vec<Flight>>>,
    resting: Mutex<Resting<Address>>,
}

struct Flight {
    key: ClaimKey,
    /// The amount; 0 once it has landed.
    amount: u64,
    until: Instant,
}

/// The reason why no transaction is sent for a payer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// The payer has other payments on their way, and the balance does not cover them all.
    Balance,
    /// A transaction for the payer failed a short while ago.
    Payer,
}

impl Guard {
    /// Returns the reason if a payer rests, or if a balance does not cover a payment with all others on their
    /// way.
    pub(super) fn holds(&self, payment: &SvmPayment, balance: u64) -> Option<Hold> {
        if lock(&self.resting).rests(&payment.payer) {
            return Some(Hold::Payer);
        }
        let needed = others(&lock(&self.flights), payment).saturating_add(payment.amount);
        (balance < needed).then_some(Hold::Balance)
    }

    /// Returns whether a balance that was read a moment ago may be outdated.
    pub(super) fn is_moving(&self, payment: &SvmPayment) -> bool {
        let now = Instant::now();
        let key = payment.claim_key();
        let flights = lock(&self.flights);
        let all = flights.get(&payment.source).into_iter().flatten();
        all.into_iter().any(|flight| flight.key != key && flight.until > now)
    }

    /// Reserves a payment's money. Without a balance, it is covered if no other payment is on its way.
    pub(super) fn reserve(&self, payment: &SvmPayment, balance: Option<u64>) -> Result<(), Hold> {
        let mut flights = lock(&self.flights);
        let now = Instant::now();
        flights.retain(|_, all| {
            all.retain(|flight| flight.until > now);
            !all.is_empty()
        });
        let others = others(&flights, payment);
        let covers = |balance: u64| balance >= others.saturating_add(payment.amount);
        if !balance.map_or(others == 0, covers) {
            return Err(Hold::Balance);
        }
        let key = payment.claim_key();
        let all = flights.entry(payment.source).or_default();
        all.retain(|flight| flight.key != key);
        all.push(Flight { key, amount: payment.amount, until: now + LIFE });
        Ok(())
    }

    /// Notes that a payment has landed, or never will. From now on the balance is right.
    pub(super) fn landed(&self, payment: &SvmPayment) {
        let key = payment.claim_key();
        let mut flights = lock(&self.flights);
        let all = flights.get_mut(&payment.source).into_iter().flatten();
        for flight in all.filter(|flight| flight.key == key) {
            flight.amount = 0;
            flight.until = Instant::now() + SETTLING;
        }
    }

    /// Notes that a payer's transaction failed on the chain, and cost its fee.
    pub(super) fn failed(&self, payment: &SvmPayment) {
        lock(&self.resting).failed(payment.payer, REST, LONGEST_REST);
    }

    pub(super) fn succeeded(&self, payment: &SvmPayment) {
        lock(&self.resting).succeeded(&payment.payer);
    }
}

/// Returns the sum of an account's other payments that may still land.
fn others(flights: &HashMap<Address, Vec<Flight>>, payment: &SvmPayment) -> u64 {
    let (key, now) = (payment.claim_key(), Instant::now());
    let all = flights.get(&payment.source).into_iter().flatten();
    let others = all.filter(|flight| flight.key != key && flight.until > now);
    others.fold(0, |sum, flight| sum.saturating_add(flight.amount))
}
