//! The rules of a claim store, as tests for any store.
//!
//! A store of your own needs one test:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use std::sync::Arc;
//! use x402_std::store::{MemoryStore, conformance};
//!
//! let store = Arc::new(MemoryStore::default());
//! conformance::claims(async || Arc::clone(&store)).await;
//! conformance::records(async || Arc::clone(&store)).await;
//! # }
//! ```
//!
//! Each store tests the rest in its own way: claims that outlive the process, [`ClaimState::is_forgettable`],
//! leases, and [`ClaimStore::pending`].

use std::future::Future;
use std::sync::Arc;

use tokio::sync::Barrier;
use tokio::task::JoinSet;
use x402_core::Reason;
use x402_core::claim::{ClaimKey, ClaimState, Presented, Resource, Transaction};

use super::{ClaimStore, Record, Role, StoreError};

use ClaimState::{Broadcast, Claimed, Delivered, Failed, Settled};

const NOW: u64 = 1_700_000_000;
const HERE: Resource = Resource([1; 32]);
const THERE: Resource = Resource([2; 32]);
const REFUSED: ClaimState = Failed(Reason::InvalidTransactionState);

/// Checks every rule about claims. `open` returns one more handle to the same store, which must be empty and
/// have room for a thousand claims.
///
/// # Panics
/// At the first rule that the store breaks.
pub async fn claims<S: ClaimStore + 'static>(open: impl AsyncFn() -> S) {
    let (one, two) = (Arc::new(open().await), Arc::new(open().await));
    every_step_of_the_machine(&one).await;
    every_state_reads_back(&one).await;
    a_payment_is_known_for_one_resource(&one).await;
    two_handles_one_truth(&one, &two).await;
    one_of_many_wins([one, two]).await;
}

/// Checks the rules about records, for a store that keeps them. `open` returns a handle. Two claims stay in
/// the store.
///
/// # Panics
/// At the first rule that the store breaks.
pub async fn records<S: ClaimStore>(open: impl AsyncFn() -> S) {
    a_record_is_beside_its_claim(&open().await).await;
}

/// Returns a payment's key, which only one rule has.
fn key(rule: u8, number: usize) -> ClaimKey {
    let mut bytes = [rule; 32];
    bytes[24..].copy_from_slice(&(number as u64).to_be_bytes());
    ClaimKey::new(bytes)
}

fn tx(text: &str) -> Transaction {
    text.try_into().unwrap_or_default()
}

fn states() -> [ClaimState; 7] {
    let (settled, delivered) = (Settled(tx("0x1")), Delivered(tx("0x1")));
    let sent = [Broadcast(tx("")), Broadcast(tx("0x1"))];
    let [unknown, known] = sent;
    [Claimed, unknown, known, Settled(tx("")), settled, delivered, REFUSED]
}

/// Presents a payment for [`HERE`] and takes its claim to a state.
async fn bring(store: &impl ClaimStore, key: ClaimKey, state: &ClaimState, ends: u64, now: u64) {
    assert_eq!(store.present(key, HERE, ends, now).await, Ok(Presented::New));
    if let Broadcast(_) | Failed(_) = state {
        store.advance(key, &Claimed, state.clone()).await.unwrap();
    } else if let Settled(id) | Delivered(id) = state {
        let sent = Broadcast(tx(""));
        store.advance(key, &Claimed, sent.clone()).await.unwrap();
        store.advance(key, &sent, Settled(id.clone())).await.unwrap();
        if let Delivered(_) = state {
            store.advance(key, &Settled(id.clone()), state.clone()).await.unwrap();
        }
    }
    assert_eq!(store.state(key).await, Ok(Some(state.clone())));
}

async fn every_step_of_the_machine(store: &impl ClaimStore) {
    // Row: from; column: to.
    let allowed = [
        [false, true, true, false, false, false, true],
        [false, false, true, true, true, false, true],
        [false, false, false, true, true, false, true],
        [false; 7],
        [false, false, false, false, false, true, false],
        [false, false, false, false, true, false, false],
        [false; 7],
    ];
    let mut keys = (0..).map(|number| key(1, number));
    for (from, row) in states().iter().zip(allowed) {
        for (to, allowed) in states().iter().zip(row) {
            let key = keys.next().unwrap();
            assert_eq!(store.state(key).await, Ok(None));
            let step = store.advance(key, from, to.clone()).await;
            assert_eq!(step, Err(StoreError::Conflict), "unknown: {from:?} -> {to:?}");
            assert_eq!(store.release(key).await, Err(StoreError::Conflict));

            bring(store, key, from, NOW + 60, NOW).await;
            for other in states().iter().filter(|other| *other != from) {
                let step = store.advance(key, other, to.clone()).await;
                assert_eq!(step, Err(StoreError::Conflict), "{from:?} is not {other:?}");
            }
            let step = store.advance(key, from, to.clone()).await;
            let expected = if allowed { Ok(()) } else { Err(StoreError::Conflict) };
            assert_eq!(step, expected, "{from:?} -> {to:?}");
            let state = if allowed { to } else { from };
            assert_eq!(store.state(key).await, Ok(Some(state.clone())));
            let again = store.present(key, HERE, NOW + 60, NOW + 1).await;
            assert_eq!(again, Ok(Presented::Known(state.clone())));

            if state.may_be_released() {
                assert_eq!(store.release(key).await, Ok(()));
                assert_eq!(store.state(key).await, Ok(None));
                assert_eq!(store.present(key, THERE, 9, 9).await, Ok(Presented::New));
            } else {
                assert_eq!(store.release(key).await, Err(StoreError::Conflict));
                assert_eq!(store.state(key).await, Ok(Some(state.clone())));
            }
        }
    }
}

async fn every_state_reads_back(store: &impl ClaimStore) {
    let texts =
        ["", "0x1", &"5".repeat(88), "a claimed", "claimed", "b:c", "\"';\\\r\n\0", "USD₮0"];
    let own = [0, 7, 255].map(Reason::Own);
    let states = Reason::ALL.iter().copied().chain(own).map(Failed);
    let states = states.chain(texts.iter().map(|text| Broadcast(tx(text))));
    let states = states.chain(texts.iter().map(|text| Delivered(tx(text))));
    let states: Vec<_> = states.chain(texts.iter().map(|text| Settled(tx(text)))).collect();
    for (number, state) in states.into_iter().enumerate() {
        bring(store, key(2, number), &state, NOW + 60, NOW).await;
        let released = store.release(key(2, number)).await;
        assert_eq!(released.is_ok(), state.may_be_released(), "{state:?}");
    }
}

async fn a_payment_is_known_for_one_resource(store: &impl ClaimStore) {
    for (number, state) in states().into_iter().enumerate() {
        let key = key(3, number);
        bring(store, key, &state, NOW + 60, NOW).await;
        for (resource, expected) in [
            (THERE, Presented::ForAnother),
            (Resource::ANY, Presented::ForAnother),
            (HERE, Presented::Known(state)),
        ] {
            assert_eq!(store.present(key, resource, NOW + 60, NOW).await, Ok(expected));
        }
    }
}

/// Makes a step in many tasks at once, half of them over each handle.
async fn at_once<S: ClaimStore + 'static, T: Send + 'static, F>(
    handles: [&Arc<S>; 2],
    step: impl Fn(usize, Arc<S>) -> F,
) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
{
    const TASKS: usize = 64;
    let barrier = Arc::new(Barrier::new(TASKS));
    let mut tasks = JoinSet::new();
    for number in 0..TASKS {
        let (step, barrier) = (step(number, handles[number % 2].clone()), barrier.clone());
        tasks.spawn(async move {
            barrier.wait().await;
            step.await
        });
    }
    tasks.join_all().await
}

async fn one_of_many_wins<S: ClaimStore + 'static>(stores: [Arc<S>; 2]) {
    for number in 0..8 {
        let key = key(5, number);
        let answers = at_once(stores.each_ref(), |_, store| async move {
            store.present(key, HERE, NOW + 60, NOW).await
        });
        let (new, rest): (Vec<_>, Vec<_>) =
            answers.await.into_iter().partition(|answer| *answer == Ok(Presented::New));
        assert_eq!(new.len(), 1);
        assert!(rest.iter().all(|answer| *answer == Ok(Presented::Known(Claimed))));

        let answers = at_once(stores.each_ref(), |number, store| async move {
            let sent = Broadcast(tx(&number.to_string()));
            (store.advance(key, &Claimed, sent.clone()).await, sent)
        });
        let (won, lost): (Vec<_>, Vec<_>) =
            answers.await.into_iter().partition(|(answer, _)| answer.is_ok());
        assert_eq!(won.len(), 1);
        assert!(lost.iter().all(|(answer, _)| *answer == Err(StoreError::Conflict)));
        for store in &stores {
            assert_eq!(store.state(key).await, Ok(Some(won[0].1.clone())));
        }
    }
    // The same holds for many that release one claim.
    let key = key(5, 99);
    stores[0].present(key, HERE, NOW + 60, NOW).await.unwrap();
    let answers =
        at_once(stores.each_ref(), |_, store| async move { store.release(key).await }).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
}

async fn two_handles_one_truth(one: &impl ClaimStore, two: &impl ClaimStore) {
    assert_eq!(one.present(key(4, 1), HERE, NOW, NOW).await, Ok(Presented::New));
    assert_eq!(two.present(key(4, 1), HERE, NOW, NOW).await, Ok(Presented::Known(Claimed)));
    let sent = Broadcast(tx("0x1"));
    two.advance(key(4, 1), &Claimed, sent.clone()).await.unwrap();
    assert_eq!(one.release(key(4, 1)).await, Err(StoreError::Conflict));
    assert_eq!(one.state(key(4, 1)).await, Ok(Some(sent.clone())));
    one.advance(key(4, 1), &sent, Settled(tx("0x1"))).await.unwrap();
    assert_eq!(two.state(key(4, 1)).await, Ok(Some(Settled(tx("0x1")))));
}

fn record(role: Role, bytes: &[u8]) -> Option<Record> {
    Some(Record { role, bytes: bytes.into() })
}

async fn a_record_is_beside_its_claim(store: &impl ClaimStore) {
    let found = async |number| store.find(key(6, number)).await.unwrap().map(|found| found.record);
    assert_eq!(found(1).await, None);
    bring(store, key(6, 1), &Claimed, NOW + 60, NOW).await;
    assert_eq!(found(1).await, Some(None));
    let (sent, known) = (Broadcast(tx("")), Broadcast(tx("0x1")));
    let any = b"\0 any \xff bytes";
    let first = record(Role::Seller, any);
    store.advance_with(key(6, 1), &Claimed, sent.clone(), first.clone()).await.unwrap();
    assert_eq!(found(1).await, Some(first.clone()));
    // It stays until another replaces it, in every state.
    store.advance(key(6, 1), &sent, known.clone()).await.unwrap();
    assert_eq!(found(1).await, Some(first.clone()));
    // A refused step leaves it unchanged.
    let other = record(Role::Seller, b"other");
    let step = store.advance_with(key(6, 1), &Claimed, sent.clone(), other.clone()).await;
    assert_eq!(step, Err(StoreError::Conflict));
    assert_eq!(found(1).await, Some(first));
    store.advance_with(key(6, 1), &known, Settled(tx("0x1")), other.clone()).await.unwrap();
    store.advance(key(6, 1), &Settled(tx("0x1")), Delivered(tx("0x1"))).await.unwrap();
    assert_eq!(found(1).await, Some(other));
    // A failed claim loses its record, and a released one leaves none behind.
    bring(store, key(6, 2), &Claimed, NOW + 60, NOW).await;
    let kept = record(Role::Facilitator, b"kept");
    store.advance_with(key(6, 2), &Claimed, sent.clone(), kept).await.unwrap();
    store.advance(key(6, 2), &sent, REFUSED).await.unwrap();
    assert_eq!(found(2).await, Some(None));
    store.release(key(6, 2)).await.unwrap();
    bring(store, key(6, 2), &sent, NOW + 60, NOW).await;
    assert_eq!(found(2).await, Some(None));
}
