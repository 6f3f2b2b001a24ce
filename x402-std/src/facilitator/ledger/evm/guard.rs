//! Guards a sender's gas against useless spending by payers. It tracks money that is on its way, payers whose
//! transactions failed, and the lost gas.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy_primitives::{B256, U256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use x402_core::Amount;
use x402_evm::Address;

use super::contract::word;
use super::settlement::Authorized;
use crate::facilitator::ledger::resting::{
    LONGEST_REST, REMEMBERED, REST, Resting, doubled, forget_some,
};
use crate::lock;

/// First and longest rest of payers with code, and the first rest of all payers with the same code.
const CODE_REST: Duration = Duration::from_secs(3600);
const LONGEST_CODE_REST: Duration = Duration::from_secs(24 * 3600);
const SHARED_CODE_REST: Duration = Duration::from_secs(600);

/// Code rests after this many failures, unless it has this many successes for each failure.
const CODE_FAILURES: u32 = 2;
const SUCCESSES_EACH: u32 = 8;

/// Time over which lost gas is added up.
const HOUR: Duration = Duration::from_secs(3600);

/// Payments on their way, by token and payer.
type Flights = HashMap<(Address, Address), Vec<Flight>>;

/// The guard of one chain.
pub(super) struct Guard {
    flights: Mutex<Flights>,
    trouble: Mutex<Trouble>,
    /// The places for payers with code.
    places: Arc<Semaphore>,
    lost: Lost,
}

/// Gas that was paid for transactions that failed, since the process began.
#[derive(Debug, Default)]
struct Lost {
    transactions: AtomicU64,
    gas: AtomicU64,
    gwei: AtomicU64,
}

/// Gas that was paid for transactions that failed, since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GasLost {
    /// Number of failed transactions.
    pub transactions: u64,
    /// Units of gas that they used.
    pub gas: u64,
    /// The cost of this gas, in gwei.
    pub gwei: u64,
}

/// A payment on its way.
struct Flight {
    id: Id,
    value: Amount,
    /// The time from which the token refuses it, in Unix seconds.
    ends: Amount,
    /// The payer's code when it was reserved.
    code: Option<B256>,
    _place: Option<OwnedSemaphorePermit>,
}

#[derive(Default)]
struct Trouble {
    payers: Resting<Address>,
    codes: HashMap<B256, Code>,
    failed: VecDeque<B256>,
    /// Gas lost to payers with code, with the time of each loss.
    by_code: VecDeque<(Instant, u64)>,
}

#[derive(Clone, Copy)]
struct Code {
    failures: u32,
    successes: u32,
    until: Instant,
}

/// The reason why no transaction is sent for a payer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// The payer has other payments on their way, and the balance does not cover them all.
    Balance,
    /// A transaction for the payer failed a short while ago.
    Payer,
    /// Transactions for payers with the same code failed.
    Code,
    /// Payers with code have cost too much gas within an hour.
    GasLost,
    /// All places for payers with code are taken.
    Places,
}

/// The right to send a payment. Dropping it gives the right back, unless the payment was sent.
pub(super) struct Reserved {
    guard: Arc<Guard>,
    of: (Address, Address),
    id: Id,
    sent: bool,
}

impl Reserved {
    pub(super) fn sent(mut self) {
        self.sent = true;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.sent {
            self.guard.land(self.of, self.id);
        }
    }
}

impl Guard {
    pub(super) fn new(code_at_once: usize) -> Self {
        let places = Arc::new(Semaphore::new(code_at_once));
        let (flights, trouble, lost) = Default::default();
        Self { flights, trouble, places, lost }
    }

    /// Returns the reason if a payer or its code rests, or if too much gas was lost.
    pub(super) fn holds(
        &self,
        payer: Address,
        code: Option<B256>,
        max_gas_lost: u64,
    ) -> Option<Hold> {
        let mut trouble = lock(&self.trouble);
        let now = Instant::now();
        if trouble.payers.rests(&payer) {
            return Some(Hold::Payer);
        }
        let code = code?;
        if trouble.codes.get(&code).is_some_and(|code| code.until > now) {
            return Some(Hold::Code);
        }
        while trouble.by_code.front().is_some_and(|(at, _)| now.duration_since(*at) > HOUR) {
            trouble.by_code.pop_front();
        }
        let lost: u64 = trouble.by_code.iter().map(|(_, gas)| gas).sum();
        (lost >= max_gas_lost).then_some(Hold::GasLost)
    }

    /// Returns the sum of the payer's other payments on their way in the same token.
    pub(super) fn in_flight(&self, payment: &Authorized, chain_time: u64) -> U256 {
        others(&mut lock(&self.flights), payment, chain_time)
    }

    /// Reserves a payment's money, if the payer's balance covers it with all payments on their way.
    pub(super) fn reserve(
        self: &Arc<Self>,
        payment: &Authorized,
        balance: U256,
        code: Option<B256>,
        chain_time: u64,
    ) -> Result<Reserved, Hold> {
        let place = match code {
            Some(_) => Some(self.place(chain_time).ok_or(Hold::Places)?),
            None => None,
        };
        let (id, value, ends) = (id_of(payment), payment.value, payment.valid_before);
        let mut flights = lock(&self.flights);
        if balance < others(&mut flights, payment, chain_time).saturating_add(word(value)) {
            return Err(Hold::Balance);
        }
        let all = flights.entry(of(payment)).or_default();
        all.retain(|flight| flight.id != id);
        all.push(Flight { id, value, ends, code, _place: place });
        drop(flights);
        Ok(Reserved { guard: Arc::clone(self), of: of(payment), id, sent: false })
    }

    /// Returns a place for a payer with code. The places of expired payments are free, even if their end was
    /// never seen here.
    fn place(&self, chain_time: u64) -> Option<OwnedSemaphorePermit> {
        let free = || Arc::clone(&self.places).try_acquire_owned().ok();
        free().or_else(|| {
            lock(&self.flights).retain(|_, all| {
                all.retain(|flight| flight.ends > Amount::from(chain_time));
                !all.is_empty()
            });
            free()
        })
    }

    /// Returns the payer's code at the time of sending.
    pub(super) fn code_of(&self, payment: &Authorized) -> Option<B256> {
        let flights = lock(&self.flights);
        let id = id_of(payment);
        flights.get(&of(payment))?.iter().find(|flight| flight.id == id)?.code
    }

    /// Notes that a payment is in a block, or never will be. From now on the payer's balance is right.
    pub(super) fn landed(&self, payment: &Authorized) {
        self.land(of(payment), id_of(payment));
    }

    fn land(&self, of: (Address, Address), id: Id) {
        let mut flights = lock(&self.flights);
        if let Some(all) = flights.get_mut(&of) {
            all.retain(|flight| flight.id != id);
            if all.is_empty() {
                flights.remove(&of);
            }
        }
    }

    /// Notes that a transaction for a payer failed. It counts each transaction once.
    pub(super) fn failed(
        &self,
        transaction: B256,
        payer: Address,
        code: Option<B256>,
        gas: u64,
        gas_price: u128,
    ) {
        let mut trouble = lock(&self.trouble);
        if trouble.failed.contains(&transaction) {
            return;
        }
        trouble.failed.push_back(transaction);
        if trouble.failed.len() > REMEMBERED {
            trouble.failed.pop_front();
        }
        let now = Instant::now();
        let cost = u128::from(gas).saturating_mul(gas_price) / 1_000_000_000;
        self.lost.transactions.fetch_add(1, Ordering::Relaxed);
        self.lost.gas.fetch_add(gas, Ordering::Relaxed);
        self.lost.gwei.fetch_add(u64::try_from(cost).unwrap_or(u64::MAX), Ordering::Relaxed);
        let (first, longest) = match code {
            Some(_) => (CODE_REST, LONGEST_CODE_REST),
            None => (REST, LONGEST_REST),
        };
        trouble.payers.failed(payer, first, longest);
        let Some(code) = code else { return };
        trouble.by_code.push_back((now, gas));
        forget_some(&mut trouble.codes, |code| code.until);
        let code =
            trouble.codes.entry(code).or_insert(Code { failures: 0, successes: 0, until: now });
        code.failures = code.failures.saturating_add(1);
        let worth = code.successes >= code.failures.saturating_mul(SUCCESSES_EACH);
        if let Some(times) = code.failures.checked_sub(CODE_FAILURES)
            && !worth
        {
            code.until = now + doubled(SHARED_CODE_REST, times, LONGEST_CODE_REST);
        }
    }

    /// Notes that a payment succeeded.
    pub(super) fn succeeded(&self, payer: Address, code: Option<B256>) {
        let mut trouble = lock(&self.trouble);
        trouble.payers.succeeded(&payer);
        if let Some(code) = code.and_then(|code| trouble.codes.get_mut(&code)) {
            code.successes = code.successes.saturating_add(1);
        }
    }

    pub(super) fn lost(&self) -> GasLost {
        GasLost {
            transactions: self.lost.transactions.load(Ordering::Relaxed),
            gas: self.lost.gas.load(Ordering::Relaxed),
            gwei: self.lost.gwei.load(Ordering::Relaxed),
        }
    }
}

/// Returns the sum of all other payments that the token may still accept. It removes the rest.
fn others(flights: &mut Flights, payment: &Authorized, chain_time: u64) -> U256 {
    let Some(all) = flights.get_mut(&of(payment)) else { return U256::ZERO };
    all.retain(|flight| flight.ends > Amount::from(chain_time));
    let others = all.iter().filter(|flight| flight.id != id_of(payment));
    others.fold(U256::ZERO, |sum, flight| sum.saturating_add(word(flight.value)))
}

/// The identity of a payment: the contract that counts it, and its nonce there.
type Id = (Address, [u8; 32]);

fn id_of(payment: &Authorized) -> Id {
    (payment.contract, payment.nonce)
}

fn of(payment: &Authorized) -> (Address, Address) {
    (payment.token, payment.payer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facilitator::ledger::evm::eip3009::tests::authorized;

    fn payment(nonce: u8, value: u64) -> Authorized {
        let (value, valid_before) = (Amount::from(value), Amount::from(100));
        Authorized { value, valid_before, nonce: [nonce; 32], ..authorized(&[], true) }
    }

    #[test]
    fn one_balance_is_sent_once() {
        let guard = Arc::new(Guard::new(1));
        let balance = U256::from(10);
        let reserve =
            |nonce, value, time| guard.reserve(&payment(nonce, value), balance, None, time);
        let first = reserve(1, 6, 0).unwrap();
        assert_eq!(reserve(2, 5, 0).err(), Some(Hold::Balance));
        let second = reserve(2, 4, 0).unwrap();
        assert_eq!(guard.in_flight(&payment(3, 1), 0), balance);
        // The same payment again counts once.
        drop(reserve(2, 4, 0).unwrap());
        drop(second);
        first.sent();
        assert_eq!(guard.in_flight(&payment(3, 1), 0), U256::from(6));
        // An expired payment is no longer on its way.
        assert_eq!(guard.in_flight(&payment(3, 1), 100), U256::ZERO);
        reserve(4, 10, 100).unwrap().sent();
        guard.landed(&payment(4, 10));
        assert!(lock(&guard.flights).is_empty());
        let code = Some(B256::repeat_byte(9));
        let first = guard.reserve(&payment(5, 1), balance, code, 0).unwrap();
        assert_eq!(guard.code_of(&payment(5, 1)), code);
        let other = guard.reserve(&payment(6, 1), balance, code, 0);
        assert_eq!(other.err(), Some(Hold::Places));
        drop(first);
        guard.reserve(&payment(6, 1), balance, code, 0).unwrap().sent();
        // Its end was never seen here, but it is over.
        let mut other = payment(7, 1);
        other.payer = Address([9; 20]);
        assert!(guard.reserve(&other, balance, code, 99).is_err());
        assert!(guard.reserve(&other, balance, code, 100).is_ok());
    }

    #[test]
    fn who_made_transactions_fail_rests() {
        let guard = Guard::new(1);
        let (code, other) = (Some(B256::repeat_byte(1)), Some(B256::repeat_byte(2)));
        let payer = |n| Address([n; 20]);
        guard.failed(B256::repeat_byte(1), payer(1), None, 50_000, 2_000_000_000);
        // Seen twice, lost once.
        guard.failed(B256::repeat_byte(1), payer(1), None, 50_000, 2_000_000_000);
        let lost = GasLost { transactions: 1, gas: 50_000, gwei: 100_000 };
        assert_eq!(guard.lost(), lost);
        assert_eq!(guard.holds(payer(1), None, 1_000_000), Some(Hold::Payer));
        assert_eq!(guard.holds(payer(2), None, 1_000_000), None);
        // One failure counts against the account, two against its code.
        guard.failed(B256::repeat_byte(2), payer(3), code, 240_000, 1);
        assert_eq!(guard.holds(payer(4), code, 1_000_000), None);
        guard.failed(B256::repeat_byte(3), payer(4), code, 240_000, 1);
        assert_eq!(guard.holds(payer(5), code, 1_000_000), Some(Hold::Code));
        assert_eq!(guard.holds(payer(5), other, 1_000_000), None);
        assert_eq!(guard.holds(payer(5), other, 480_000), Some(Hold::GasLost));
        assert_eq!(guard.holds(payer(5), None, 0), None);
        // Code that mostly succeeds keeps working after a few failures.
        for n in 0..40 {
            guard.failed(B256::with_last_byte(100 + n), payer(6), other, 0, 1);
            for _ in 0..2 * SUCCESSES_EACH {
                guard.succeeded(payer(6), other);
            }
        }
        assert_eq!(guard.holds(payer(7), other, 1_000_000), None);
        assert_eq!(guard.holds(payer(6), other, 1_000_000), None);
    }
}
