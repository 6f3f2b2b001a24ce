//! Any steps of several sellers at one claim table, and at the store in memory, as time goes by:
//! both do what a plain model does. No payment is served twice, none that may still settle is
//! forgotten, and of two who try a step one succeeds.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use arbitrary::Arbitrary;
use x402_core::Reason;
use x402_core::claim::{ClaimKey, ClaimState, ClaimTable, Presented, Resource, Transaction};
use x402_std::store::{ClaimStore, MemoryStore, StoreError};

use crate::structured;

pub use crate::blindly as mutate;

/// Room for so many claims, and twice as many payments.
const ROOM: usize = 3;
const PAYMENTS: usize = 6;
const ACTORS: usize = 3;
const DAY: u64 = 86_400;
const GRACE: u64 = 600;

#[derive(Arbitrary)]
struct Input {
    /// When each payment ends; those of the upper half near the end of time.
    ends: [u16; PAYMENTS],
    steps: Vec<Step>,
}

#[derive(Arbitrary)]
enum Step {
    /// A seller does what comes next for it.
    Act {
        actor: u8,
        payment: u8,
        choice: Choice,
    },
    /// A seller is started again, and knows nothing of what it did.
    Restart {
        actor: u8,
    },
    Sleep(Time),
    /// Somebody else does something that no seller does.
    Present {
        payment: u8,
        resource: u8,
    },
    Advance {
        payment: u8,
        from: State,
        to: State,
    },
    Release {
        payment: u8,
    },
}

#[derive(Arbitrary)]
enum Choice {
    GoOn,
    GiveUp,
    Fail,
}

#[derive(Arbitrary)]
enum Time {
    Seconds(u8),
    Hours(u8),
    /// To the second around which something changes.
    To {
        payment: u8,
        longer: u8,
        after: bool,
    },
}

#[derive(Arbitrary)]
enum State {
    Claimed,
    Broadcast(u8),
    Settled(u8),
    Delivered(u8),
    Failed,
}

impl State {
    fn of(self) -> ClaimState {
        match self {
            State::Claimed => ClaimState::Claimed,
            State::Broadcast(id) => ClaimState::Broadcast(transaction(id)),
            State::Settled(id) => ClaimState::Settled(transaction(id)),
            State::Delivered(id) => ClaimState::Delivered(transaction(id)),
            State::Failed => ClaimState::Failed(Reason::InvalidTransactionState),
        }
    }
}

fn transaction(id: u8) -> Transaction {
    ["", "0x1", "0x2"][usize::from(id) % 3].try_into().unwrap()
}

/// A seller's current activity.
#[derive(Clone)]
enum Doing {
    Nothing,
    Holds(usize),
    Sent(usize, Transaction),
}

/// The two that are tried, and the model.
struct Claims {
    ends: [u64; PAYMENTS],
    now: u64,
    table: ClaimTable<ROOM>,
    store: MemoryStore,
    model: [Option<(Resource, ClaimState)>; PAYMENTS],
    /// Those claimed when they could no longer be settled.
    late: [bool; PAYMENTS],
    /// How often each was settled, which is when it is served.
    served: [usize; PAYMENTS],
}

/// Panics if anything above is not so.
pub fn check(bytes: &[u8]) {
    let Some(input) = structured::<Input>(bytes) else { return };
    let ends = input.ends.map(|end| match end {
        0x8000.. => u64::MAX - u64::from(end - 0x8000),
        _ => u64::from(end),
    });
    let mut claims = Claims {
        ends,
        now: 0,
        table: ClaimTable::new(),
        store: MemoryStore::new(ROOM),
        model: Default::default(),
        late: [false; PAYMENTS],
        served: [0; PAYMENTS],
    };
    let sellers_only = input
        .steps
        .iter()
        .all(|step| matches!(step, Step::Act { .. } | Step::Restart { .. } | Step::Sleep(_)));
    let mut actors = [const { Doing::Nothing }; ACTORS];
    for step in input.steps {
        claims.step(step, &mut actors);
        for (payment, known) in claims.model.iter().enumerate() {
            let state = claims.table.state(&key(payment));
            assert_eq!(state, known.as_ref().map(|(_, state)| state));
            assert!(claims.served[payment] <= 1, "served twice");
            let holds = |doing: &&Doing| matches!(doing, Doing::Holds(held) if *held == payment);
            let holders = actors.iter().filter(holds).count();
            assert!(holders <= 1 || !sellers_only, "held by two");
        }
    }
}

impl Claims {
    fn step(&mut self, step: Step, actors: &mut [Doing; ACTORS]) {
        let of = |payment: u8| usize::from(payment) % PAYMENTS;
        match step {
            Step::Act { actor, payment, choice } => {
                let doing = &mut actors[usize::from(actor) % ACTORS];
                *doing = self.act(doing.clone(), of(payment), choice);
            }
            // A claimed payment that was not sent belongs to nobody until it has expired.
            Step::Restart { actor } => actors[usize::from(actor) % ACTORS] = Doing::Nothing,
            Step::Sleep(time) => {
                let then = match time {
                    Time::Seconds(seconds) => self.now.saturating_add(seconds.into()),
                    Time::Hours(hours) => self.now.saturating_add(u64::from(hours) * 3600),
                    Time::To { payment, longer, after } => self.ends[of(payment)]
                        .saturating_add([0, GRACE, DAY][usize::from(longer) % 3])
                        .saturating_add(after.into()),
                };
                self.now = self.now.max(then);
            }
            Step::Present { payment, resource } => {
                self.present(of(payment), Resource([resource % 2; 32]));
            }
            Step::Advance { payment, from, to } => {
                self.advance(of(payment), &from.of(), to.of());
            }
            Step::Release { payment } => {
                self.release(of(payment));
            }
        }
    }

    /// One step of a seller that does everything right.
    fn act(&mut self, doing: Doing, payment: usize, choice: Choice) -> Doing {
        let failed = ClaimState::Failed(Reason::InvalidTransactionState);
        match (doing, choice) {
            (Doing::Nothing, _) => match self.present(payment, Resource::ANY) {
                // Asked too late: there is nothing to find out, and it can no longer be settled.
                Some(Presented::New) if self.ends[payment] < self.now => {
                    self.release(payment);
                    Doing::Nothing
                }
                Some(Presented::New) => Doing::Holds(payment),
                Some(Presented::Known(ClaimState::Broadcast(id))) => Doing::Sent(payment, id),
                _ => Doing::Nothing,
            },
            (Doing::Holds(payment), Choice::GoOn) => {
                let sent = ClaimState::Broadcast(Transaction::new());
                match self.advance(payment, &ClaimState::Claimed, sent) {
                    true => Doing::Sent(payment, Transaction::new()),
                    false => Doing::Nothing,
                }
            }
            (Doing::Holds(payment), Choice::GiveUp) => {
                self.release(payment);
                Doing::Nothing
            }
            (Doing::Holds(payment), Choice::Fail) => {
                self.advance(payment, &ClaimState::Claimed, failed);
                Doing::Nothing
            }
            (Doing::Sent(payment, id), Choice::GoOn) => {
                let sent = ClaimState::Broadcast(id);
                self.advance(payment, &sent, ClaimState::Settled(transaction(1)));
                Doing::Nothing
            }
            (Doing::Sent(payment, id), Choice::GiveUp) => {
                let (sent, known) = (ClaimState::Broadcast(id), transaction(1));
                match self.advance(payment, &sent, ClaimState::Broadcast(known.clone())) {
                    true => Doing::Sent(payment, known),
                    false => Doing::Nothing,
                }
            }
            (Doing::Sent(payment, id), Choice::Fail) => {
                self.advance(payment, &ClaimState::Broadcast(id), failed);
                Doing::Nothing
            }
        }
    }

    /// Presents a payment and returns the outcome; `None` if there is no room.
    fn present(&mut self, payment: usize, resource: Resource) -> Option<Presented> {
        let (now, ends) = (self.now, self.ends);
        let expected = match &self.model[payment] {
            Some((known, state)) if *known == resource => Some(Presented::Known(state.clone())),
            Some(_) => Some(Presented::ForAnother),
            None => {
                if self.model.iter().flatten().count() == ROOM {
                    for (claim, end) in self.model.iter_mut().zip(ends) {
                        claim.take_if(|(_, state)| !lives(state, end, now));
                    }
                }
                (self.model.iter().flatten().count() < ROOM).then(|| {
                    self.model[payment] = Some((resource, ClaimState::Claimed));
                    self.late[payment] = ends[payment] < now;
                    Presented::New
                })
            }
        };
        let table = self.table.present(key(payment), resource, ends[payment], now);
        let store = done(self.store.present(key(payment), resource, ends[payment], now));
        assert_eq!(table, expected.clone().ok_or(Reason::Busy));
        assert_eq!(store, expected.clone().ok_or(StoreError::Full));
        expected
    }

    fn advance(&mut self, payment: usize, from: &ClaimState, to: ClaimState) -> bool {
        use ClaimState::{Broadcast, Claimed, Delivered, Failed, Settled};
        let allowed = match (from, &to) {
            (Claimed, Broadcast(_) | Failed(_)) | (Broadcast(_), Settled(_) | Failed(_)) => true,
            (Broadcast(old), Broadcast(new)) => old.is_empty() && !new.is_empty(),
            (Settled(old), Delivered(new)) | (Delivered(old), Settled(new)) => old == new,
            _ => false,
        };
        let claim = self.model[payment].as_mut();
        let moved = claim.filter(|(_, state)| state == from && allowed).map(|(_, state)| {
            *state = to.clone();
        });
        let moved = moved.is_some();
        // Back from delivered it was settled before.
        let settled = matches!((from, &to), (Broadcast(_), Settled(_)));
        let settled = moved && settled && !self.late[payment];
        self.served[payment] += usize::from(settled);
        assert_eq!(self.table.advance(&key(payment), from, to.clone()).is_ok(), moved);
        let store = done(self.store.advance(key(payment), from, to));
        assert_eq!(store, if moved { Ok(()) } else { Err(StoreError::Conflict) });
        moved
    }

    fn release(&mut self, payment: usize) {
        let claim = &mut self.model[payment];
        let free =
            |state: &ClaimState| matches!(state, ClaimState::Claimed | ClaimState::Failed(_));
        let released = claim.take_if(|(_, state)| free(state)).is_some();
        assert_eq!(self.table.release(&key(payment)).is_ok(), released);
        let store = done(self.store.release(key(payment)));
        assert_eq!(store, if released { Ok(()) } else { Err(StoreError::Conflict) });
    }
}

/// Whether something can still become of a claim, or be asked about it.
fn lives(state: &ClaimState, end: u64, now: u64) -> bool {
    let until = |longer: u64| u128::from(now) <= u128::from(end) + u128::from(longer);
    match state {
        ClaimState::Claimed | ClaimState::Delivered(_) => now <= end,
        ClaimState::Broadcast(id) if !id.is_empty() => until(DAY),
        ClaimState::Broadcast(_) | ClaimState::Settled(_) => until(GRACE),
        ClaimState::Failed(_) => false,
    }
}

fn key(payment: usize) -> ClaimKey {
    let mut bytes = [7; 32];
    bytes[31] = payment as u8;
    ClaimKey::new(bytes)
}

/// The store in memory never waits.
fn done<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("waits"),
    }
}
