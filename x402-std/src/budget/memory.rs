use std::collections::VecDeque;
use std::future::{Future, ready};
use std::sync::{Mutex, MutexGuard, PoisonError};

use x402_core::budget::{self, Per};

use super::{Budget, BudgetError, Limit, Purchase, Reserved, Spent, State, Step};

/// So many purchases are remembered one by one, and those of the last day if there is a limit for a
/// day.
const HISTORY: usize = 1024;

/// A budget in memory. It forgets everything when the process ends: for money that is to last, take
/// one that outlives it.
#[derive(Debug, Default)]
pub struct MemoryBudget(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The latest last.
    purchases: VecDeque<Purchase>,
    /// What was spent before those, added up.
    before: Vec<Spent>,
}

impl MemoryBudget {
    /// Nothing spent.
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let views: Vec<_> = limits.iter().map(Limit::view).collect();
        let before = self.before.iter().map(|spent| spent.spend);
        let spends = before.chain(self.purchases.iter().map(Purchase::spend));
        budget::admit(&views, spends, &purchase.spend())?;
        self.add_up(limits, purchase.at);
        self.purchases.push_back(purchase);
        Ok(Reserved::New)
    }

    /// Adds up what is too old to be told apart.
    fn add_up(&mut self, limits: &[Limit], now: u64) {
        let by_day = limits.iter().any(|limit| limit.per == Per::Day);
        while self.purchases.len() >= HISTORY
            && let Some(oldest) = self.purchases.front().map(Spent::from)
            && !(by_day && oldest.spend.is_recent(now))
        {
            self.purchases.pop_front();
            let like = |known: &&mut Spent| known.spend.is_alike(&oldest.spend);
            match self.before.iter_mut().find(like) {
                Some(known) => {
                    // More than 2^256 units: more than there are.
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
            (Step::Refused(reason), _) => purchase.state = State::Refused(reason),
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

    fn spends(&self) -> impl Future<Output = Result<Vec<Spent>, BudgetError>> + Send {
        let kept = self.kept();
        let all = kept.before.iter().cloned().chain(kept.purchases.iter().map(Spent::from));
        ready(Ok(all.collect()))
    }
}
