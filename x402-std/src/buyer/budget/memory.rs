use std::collections::VecDeque;
use std::future::{Future, ready};
use std::sync::{Mutex, MutexGuard};

use crate::lock;
use x402_core::budget::{self, DAY, Per};

use super::{
    Budget, BudgetError, Limit, Purchase, Reserved, Spent, State, Step, UNFUNDED_A_DAY, is_shortage,
};

/// Most purchases that are kept one by one. With a limit per day, those of the last day are kept beyond this
/// number.
const HISTORY: usize = 1024;

/// A budget in memory. It forgets everything when the process ends: limits that must last need a budget that
/// outlives it.
#[derive(Debug, Default)]
pub struct MemoryBudget(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// In the order of their reservation.
    purchases: VecDeque<Purchase>,
    /// The sums of earlier purchases.
    before: Vec<Spent>,
}

impl MemoryBudget {
    /// An empty budget.
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        lock(&self.0)
    }
}

impl Kept {
    fn find(&mut self, id: &str) -> Option<&mut Purchase> {
        self.purchases.iter_mut().find(|purchase| purchase.id == id)
    }

    fn reserve(&mut self, purchase: Purchase, limits: &[Limit]) -> Result<Reserved, BudgetError> {
        if let Some(known) = self.find(&purchase.id) {
            return Ok(Reserved::Known(Box::new(known.clone())));
        }
        let views: Vec<_> = limits.iter().map(Limit::as_view).collect();
        let before = self.before.iter().map(|spent| spent.spend);
        let counting = self.purchases.iter().filter(|known| known.counts(purchase.at));
        let spends = before.chain(counting.map(Purchase::spend));
        budget::admit(&views, spends, &purchase.spend())?;
        self.add_up(limits, purchase.at);
        self.purchases.push_back(purchase);
        Ok(Reserved::New)
    }

    /// Adds up purchases that are too old to be kept one by one.
    fn add_up(&mut self, limits: &[Limit], now: u64) {
        let by_day = limits.iter().any(|limit| limit.per == Per::Day);
        while self.purchases.len() >= HISTORY
            && let Some((oldest, counts)) =
                self.purchases.front().map(|oldest| (Spent::from(oldest), oldest.counts(now)))
            // Purchases that do not count are kept for a day all the same: see UNFUNDED_A_DAY.
            && !((by_day || !counts) && oldest.spend.is_recent(now))
        {
            self.purchases.pop_front();
            if !counts {
                continue;
            }
            let like = |known: &&mut Spent| known.spend.is_alike(&oldest.spend);
            match self.before.iter_mut().find(like) {
                Some(known) => {
                    // No token has more than 2^256 units.
                    let sum = known.spend.amount.checked_add(oldest.spend.amount);
                    known.spend.amount = sum.unwrap_or(x402_core::Amount::MAX);
                    known.spend.at = known.spend.at.max(oldest.spend.at);
                }
                None => self.before.push(oldest),
            }
        }
    }

    fn write(&mut self, id: &str, step: Step) -> Result<(), BudgetError> {
        let lost = Err(BudgetError::Unavailable);
        let is_signed = matches!(step, Step::Signed(_));
        let at = self.find(id).map_or(0, |purchase| purchase.at);
        let others = self.purchases.iter().filter(|other| {
            matches!(other.state, State::Unfunded(_))
                && other.id != id
                && at < other.at.saturating_add(DAY)
        });
        let unfunded = others.count() < UNFUNDED_A_DAY;
        let Some(purchase) = self.find(id) else { return if is_signed { lost } else { Ok(()) } };
        match (step, &purchase.state) {
            (Step::Signed(_), State::Paid(_)) => return lost,
            (_, State::Paid(_)) => {}
            (Step::Released, State::Reserved) => self.purchases.retain(|known| known.id != id),
            (Step::Released, _) => {}
            (Step::Signed(payment), _) => {
                (purchase.state, purchase.payment) = (State::Signed, Some(payment));
            }
            (Step::Paid(receipt), _) => {
                (purchase.state, purchase.payment) = (State::Paid(receipt), None);
            }
            (Step::Refused(reason), _) => {
                purchase.state = match reason.filter(|_| is_shortage(reason) && unfunded) {
                    Some(reason) => State::Unfunded(reason),
                    None => State::Refused(reason),
                }
            }
        }
        Ok(())
    }
}

impl Budget for MemoryBudget {
    fn reserve(
        &self,
        purchase: Purchase,
        limits: &[Limit],
    ) -> impl Future<Output = Result<Reserved, BudgetError>> + Send {
        ready(self.kept().reserve(purchase, limits))
    }

    fn write(&self, id: &str, step: Step) -> impl Future<Output = Result<(), BudgetError>> + Send {
        ready(self.kept().write(id, step))
    }

    fn find(&self, id: &str) -> impl Future<Output = Result<Option<Purchase>, BudgetError>> + Send {
        ready(Ok(self.kept().find(id).cloned()))
    }

    fn history(
        &self,
        most: usize,
    ) -> impl Future<Output = Result<Vec<Purchase>, BudgetError>> + Send {
        ready(Ok(self.kept().purchases.iter().rev().take(most).cloned().collect()))
    }

    fn spends(&self, now: u64) -> impl Future<Output = Result<Vec<Spent>, BudgetError>> + Send {
        let kept = self.kept();
        let counting = kept.purchases.iter().filter(|purchase| purchase.counts(now));
        let all = kept.before.iter().cloned().chain(counting.map(Spent::from));
        ready(Ok(all.collect()))
    }
}
