//! Every claim store does what the machine of claims says, whoever uses it and whatever is killed.
//!
//! The tests of `RedisStore` start `redis-server`, each its own, on a socket in a temporary folder,
//! and stop it. Where there is none (Debian: `apt-get install redis-server`) they fail, unless
//! `X402_NO_REDIS` is set: then they do nothing.
#![allow(missing_docs)]
#![cfg(unix)]

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use x402_core::Reason;
use x402_core::claim::{ClaimKey, ClaimState, Presented, Resource, Transaction};
use x402_std::store::{
    ClaimStore, MemoryStore, OpenError, Pending, Record, RedisStore, Role, SqliteStore, StoreError,
    conformance,
};

use ClaimState::{Broadcast, Claimed, Delivered, Failed, Settled};

const DAY: u64 = 86_400;
/// How long what may not have been delivered is kept.
const GRACE: u64 = 600;
const NOW: u64 = 1_700_000_000;
const HERE: Resource = Resource([1; 32]);
const THERE: Resource = Resource([2; 32]);
const REFUSED: ClaimState = Failed(Reason::InvalidTransactionState);
/// Room enough.
const MANY: usize = 1_000_000;

fn key(number: usize) -> ClaimKey {
    let mut bytes = [7; 32];
    bytes[24..].copy_from_slice(&(number as u64).to_be_bytes());
    ClaimKey::new(bytes)
}

fn tx(text: &str) -> Transaction {
    text.try_into().unwrap()
}

/// Where claims are kept, for one test.
trait Place: Sized + Send + Sync {
    type Store: ClaimStore + 'static;
    /// Whether it counts claims, and is full at some number.
    const COUNTS: bool;
    /// The latest second it tells from the next.
    const LAST: u64;
    /// `None` if there is no such place on this machine, and that is all right.
    fn new() -> impl Future<Output = Option<Self>>;
    /// Another user of the same claims.
    fn open(
        &self,
        capacity: usize,
        lease: Option<Duration>,
    ) -> impl Future<Output = Self::Store> + Send;
}

struct Memory(OnceLock<Arc<MemoryStore>>);

impl Place for Memory {
    type Store = Arc<MemoryStore>;
    const COUNTS: bool = true;
    const LAST: u64 = u64::MAX;

    async fn new() -> Option<Self> {
        Some(Self(OnceLock::new()))
    }

    async fn open(&self, capacity: usize, lease: Option<Duration>) -> Self::Store {
        assert_eq!(lease, None);
        self.0.get_or_init(|| Arc::new(MemoryStore::new(capacity))).clone()
    }
}

struct Sqlite(Folder);

impl Sqlite {
    fn path(&self) -> PathBuf {
        self.0.path("claims.db")
    }
}

impl Place for Sqlite {
    type Store = SqliteStore;
    const COUNTS: bool = true;
    const LAST: u64 = i64::MAX as u64;

    async fn new() -> Option<Self> {
        Some(Self(Folder::new()))
    }

    async fn open(&self, capacity: usize, lease: Option<Duration>) -> Self::Store {
        let store = SqliteStore::open(self.path()).unwrap().with_capacity(capacity);
        match lease {
            Some(lease) => store.with_lease(lease),
            None => store,
        }
    }
}

struct Redis(Server);

impl Place for Redis {
    type Store = RedisStore;
    const COUNTS: bool = false;
    const LAST: u64 = u64::MAX;

    async fn new() -> Option<Self> {
        Server::start(&[]).map(Self)
    }

    async fn open(&self, _: usize, lease: Option<Duration>) -> Self::Store {
        let store = RedisStore::connect(&self.0.url(), "test:").await.unwrap();
        match lease {
            Some(lease) => store.with_lease(lease),
            None => store,
        }
    }
}

/// A folder of one test's own.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("x402-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A Redis server.
struct Server {
    child: Child,
    options: Vec<String>,
    folder: Folder,
}

impl Server {
    fn start(options: &[&str]) -> Option<Self> {
        let options: Vec<_> = options.iter().map(ToString::to_string).collect();
        let folder = Folder::new();
        let child = Self::spawn(&folder, &options)?;
        Some(Self { child, options, folder })
    }

    fn spawn(folder: &Folder, options: &[String]) -> Option<Child> {
        let socket = folder.path("s");
        fs::remove_file(&socket).ok();
        let spawned = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", "always"])
            .arg("--unixsocket")
            .arg(&socket)
            .arg("--dir")
            .arg(&folder.0)
            .args(options)
            .stdout(Stdio::null())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(_) if env::var_os("X402_NO_REDIS").is_some() => return None,
            Err(error) => panic!(
                "redis-server does not start: {error}. Install it (apt-get install redis-server), \
                 or set X402_NO_REDIS to go without these tests"
            ),
        };
        let started = Instant::now();
        while !answers(&socket) {
            assert_eq!(child.try_wait().unwrap(), None, "redis-server ended");
            assert!(started.elapsed() < Duration::from_secs(20), "redis-server does not answer");
            thread::sleep(Duration::from_millis(5));
        }
        Some(child)
    }

    /// As a power cut would, but for what the system has not written to the disk yet.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.kill();
        self.child = Self::spawn(&self.folder, &self.options).unwrap();
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    fn url(&self) -> String {
        format!("unix://{}", self.folder.path("s").display())
    }

    /// A command of the test's own.
    fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = redis::Client::open(self.url()).unwrap().get_connection().unwrap();
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn answers(socket: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else { return false };
    let mut answer = [0; 7];
    stream.write_all(b"PING\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        // One that wants a password is there as well.
        && (answer == *b"+PONG\r\n" || answer.starts_with(b"-NOAUTH"))
}

/// The tests that every store has to pass, and those that every store that outlives its process
/// has to pass.
macro_rules! suite {
    (all: $($all:ident)*; durable: $($durable:ident)*;) => {
        suite!(@ in_memory Memory $($all)*);
        suite!(@ in_sqlite Sqlite $($all)* $($durable)*);
        suite!(@ in_redis Redis $($all)* $($durable)*);
    };
    (@ $module:ident $place:ident $($test:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    if let Some(place) = <super::$place as super::Place>::new().await {
                        super::$test(place).await;
                    }
                }
            )*
        }
    };
}

suite! {
    all:
        the_conformance_suite
        forgotten_at_the_second_and_not_before
        full_of_claims_that_live
        what_is_pending_is_handed_out_to_one;
    durable:
        nothing_is_lost_when_closed
        a_lease_ends_at_its_second
        of_two_holders_one_goes_on;
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

async fn the_conformance_suite(place: impl Place) {
    conformance::claims(async || place.open(MANY, None).await).await;
    let store = place.open(MANY, None).await;
    // The claims are counted, where there is a limit.
    let used = async || store.usage().await.unwrap().map(|usage| usage.used);
    let before = used().await;
    conformance::records(async || place.open(MANY, None).await).await;
    assert_eq!(used().await, before.map(|before| before + 2));
}

async fn forgotten_at_the_second_and_not_before<P: Place>(place: P) {
    const MAX: u64 = u64::MAX;
    const SIGNED: u64 = i64::MAX as u64;
    let sent = || Broadcast(tx("0x1"));
    let settled = || Settled(tx("0x1"));
    // State, its payment's end, now, whether it may be forgotten.
    let table = [
        (Claimed, 100, 100, false),
        (Claimed, 100, 101, true),
        (Claimed, 0, 0, false),
        (Claimed, 0, 1, true),
        (Claimed, NOW, NOW, false),
        (Claimed, NOW, NOW + 1, true),
        (settled(), 100, 101, false),
        (settled(), 100, 100 + GRACE, false),
        (settled(), 100, 101 + GRACE, true),
        (Delivered(tx("0x1")), 100, 100, false),
        (Delivered(tx("0x1")), 100, 101, true),
        (Broadcast(tx("")), 100, 100 + GRACE, false),
        (Broadcast(tx("")), 100, 101 + GRACE, true),
        (sent(), 100, 101, false),
        (sent(), 100, 100 + DAY, false),
        (sent(), 100, 101 + DAY, true),
        (sent(), 0, DAY, false),
        (sent(), 0, DAY + 1, true),
        (REFUSED, 100, 0, true),
        (REFUSED, MAX, 0, true),
        (REFUSED, MAX, MAX, true),
        (Claimed, SIGNED - 1, SIGNED - 1, false),
        (Claimed, SIGNED - 1, SIGNED, true),
        (sent(), SIGNED - 1 - DAY, SIGNED - 1, false),
        (sent(), SIGNED - 1 - DAY, SIGNED, true),
        // From here on SQLite's seconds are one and the same.
        (Claimed, SIGNED, SIGNED, false),
        (Claimed, SIGNED, SIGNED + 1, true),
        (sent(), SIGNED, MAX, true),
        (settled(), MAX - 1 - GRACE, MAX - 1, false),
        (settled(), MAX - 1 - GRACE, MAX, true),
        (Claimed, MAX, 0, false),
        (Claimed, MAX, MAX, false),
        (settled(), MAX, MAX, false),
        (sent(), MAX - DAY, MAX, false),
        (sent(), MAX - DAY - 1, MAX, true),
        (sent(), MAX, MAX, false),
    ];
    drop(place);
    for (state, ends, now, may) in table {
        let place = P::new().await.unwrap();
        let store = place.open(1, None).await;
        bring(&store, key(1), &state, ends, 0).await;
        let presented = store.present(key(2), HERE, ends, now).await;
        let kept = store.state(key(1)).await.unwrap();
        let may = may && (ends < P::LAST || matches!(state, Failed(_)));
        let expected = match (P::COUNTS, may) {
            (true, true) => (Ok(Presented::New), None),
            (true, false) => (Err(StoreError::Full), Some(state.clone())),
            (false, _) => (Ok(Presented::New), Some(state.clone())),
        };
        assert_eq!((presented, kept), expected, "{state:?} {ends} {now}");
    }
}

async fn full_of_claims_that_live<P: Place>(place: P) {
    let store = place.open(3, None).await;
    for number in 0..3 {
        assert_eq!(store.present(key(number), HERE, NOW, NOW).await, Ok(Presented::New));
    }
    let full = if P::COUNTS { Err(StoreError::Full) } else { Ok(Presented::New) };
    assert_eq!(store.present(key(3), HERE, NOW, NOW).await, full);
    // Those that are there go on.
    let known = Ok(Presented::Known(Claimed));
    assert_eq!(store.present(key(0), HERE, NOW, NOW).await, known);
    assert_eq!(store.present(key(0), THERE, NOW, NOW).await, Ok(Presented::ForAnother));
    let sent = Broadcast(tx("0x1"));
    store.advance(key(0), &Claimed, sent.clone()).await.unwrap();
    store.release(key(1)).await.unwrap();
    assert_eq!(store.present(key(4), HERE, NOW, NOW).await, Ok(Presented::New));
    assert_eq!(store.present(key(5), HERE, NOW, NOW).await, full);
    // Two have expired, and both go to make room for the next three.
    for number in [6, 7] {
        assert_eq!(store.present(key(number), HERE, NOW + 9, NOW + 1).await, Ok(Presented::New));
    }
    assert_eq!(store.present(key(8), HERE, NOW + 9, NOW + 1).await, full);
    assert_eq!(store.state(key(0)).await, Ok(Some(sent)));
    assert_eq!(store.state(key(2)).await, Ok((!P::COUNTS).then_some(Claimed)));
}

/// What many do at once, the one half over one handle, the other half over another.
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

fn record(role: Role, bytes: &[u8]) -> Option<Record> {
    Some(Record { role, bytes: bytes.into() })
}

async fn what_is_pending_is_handed_out_to_one(place: impl Place) {
    let stores = [Arc::new(place.open(MANY, None).await), Arc::new(place.open(MANY, None).await)];
    let [store, _] = &stores;
    let sent = Broadcast(tx("0x1"));
    let hold = Duration::from_secs(3600);
    for number in 0..4 {
        bring(&**store, key(number), &Claimed, NOW + 60, NOW).await;
        let role = if number == 3 { Role::Facilitator } else { Role::Seller };
        let kept = record(role, format!("of {number}").as_bytes());
        store.advance_with(key(number), &Claimed, sent.clone(), kept).await.unwrap();
    }
    // Without a record nobody could go on with it; and this one is certain.
    bring(&**store, key(4), &sent, NOW + 60, NOW).await;
    store.advance(key(2), &sent, Settled(tx("0x1"))).await.unwrap();
    // They are left to who broadcast them at first.
    assert_eq!(store.pending(Role::Seller, hold, 9).await, Ok(vec![]));
    tokio::time::sleep(x402_std::store::PENDING_AFTER + Duration::from_secs(2)).await;
    let mut handed: Vec<Pending> = Vec::new();
    let all = at_once(stores.each_ref(), |_, store| async move {
        store.pending(Role::Seller, hold, 1).await.unwrap()
    });
    handed.extend(all.await.into_iter().flatten());
    handed.sort_by_key(|pending| pending.key);
    let pending = |number: usize| Pending {
        key: key(number),
        state: sent.clone(),
        record: format!("of {number}").into_bytes(),
    };
    assert_eq!(handed, [pending(0), pending(1)]);
    let other = store.pending(Role::Facilitator, Duration::ZERO, 9).await.unwrap();
    assert_eq!(other, [pending(3)]);
    // It comes again once the time is over, and no more when it is certain.
    let again = store.pending(Role::Facilitator, Duration::ZERO, 9).await.unwrap();
    assert_eq!(again, [pending(3)]);
    store.advance(key(3), &sent, REFUSED).await.unwrap();
    assert_eq!(store.pending(Role::Facilitator, hold, 9).await, Ok(vec![]));
}

async fn nothing_is_lost_when_closed(place: impl Place) {
    for round in 0..3 {
        for (number, state) in states().into_iter().enumerate() {
            let store = place.open(MANY, None).await;
            bring(&store, key(10 * round + number), &state, NOW, NOW).await;
        }
        let store = place.open(MANY, None).await;
        for round in 0..=round {
            for (number, state) in states().into_iter().enumerate() {
                assert_eq!(store.state(key(10 * round + number)).await, Ok(Some(state)));
            }
        }
        assert_eq!(store.state(key(9999)).await, Ok(None));
    }
}

async fn a_lease_ends_at_its_second(place: impl Place) {
    let unlimited = place.open(MANY, None).await;
    let known = Ok(Presented::Known(Claimed));
    // Lease, when the claim was made, when it is presented again, whether it is new.
    let table = [
        (60, NOW, NOW, false),
        (60, NOW, NOW + 60, false),
        (60, NOW, NOW + 61, true),
        (60, NOW, NOW - 1_000, false),
        (60, NOW, 0, false),
        (60, 0, 60, false),
        (60, 0, 61, true),
        (0, NOW, NOW, false),
        (0, NOW, NOW + 1, true),
        (60, NOW, u64::MAX, true),
        (60, 99, 100, false),
        (60, 99, 1_000, true),
        (u64::MAX, 0, u64::MAX, false),
    ];
    for (number, (lease, made, again, new)) in table.into_iter().enumerate() {
        // Parts of a second do not count.
        let lease = Duration::new(lease, 999_999_999);
        let (store, key) = (place.open(MANY, Some(lease)).await, key(number));
        assert_eq!(store.present(key, HERE, NOW, made).await, Ok(Presented::New));
        assert_eq!(unlimited.present(key, HERE, NOW, again).await, known);
        assert_eq!(store.present(key, THERE, NOW, again).await, Ok(Presented::ForAnother));
        let expected = if new { Ok(Presented::New) } else { known.clone() };
        let row = format!("{lease:?} {made} {again}");
        assert_eq!(store.present(key, HERE, NOW, again).await, expected, "{row}");
        // It begins anew with the second holder.
        assert_eq!(store.present(key, HERE, NOW, again).await, known, "{row}");
    }
    let store = place.open(MANY, Some(Duration::from_secs(60))).await;
    for (number, state) in states().into_iter().enumerate().skip(1) {
        let key = key(100 + number);
        bring(&store, key, &state, NOW, NOW).await;
        let again = store.present(key, HERE, NOW, NOW + 10_000).await;
        assert_eq!(again, Ok(Presented::Known(state)));
    }
}

async fn of_two_holders_one_goes_on(place: impl Place) {
    let lease = Some(Duration::from_secs(60));
    let (slow, new) = (place.open(MANY, lease).await, place.open(MANY, lease).await);
    let taken_over = async |number| {
        assert_eq!(slow.present(key(number), HERE, NOW, NOW).await, Ok(Presented::New));
        let over = new.present(key(number), HERE, NOW, NOW + 61).await;
        assert_eq!(over, Ok(Presented::New));
        key(number)
    };
    let (one, other) = (Broadcast(tx("0x1")), Broadcast(tx("0x2")));
    let conflict = Err(StoreError::Conflict);

    let key = taken_over(1).await;
    assert_eq!(new.advance(key, &Claimed, one.clone()).await, Ok(()));
    assert_eq!(slow.advance(key, &Claimed, other.clone()).await, conflict);
    assert_eq!(slow.release(key).await, conflict);
    assert_eq!(slow.state(key).await, Ok(Some(one.clone())));

    let key = taken_over(2).await;
    assert_eq!(slow.advance(key, &Claimed, other.clone()).await, Ok(()));
    assert_eq!(new.advance(key, &Claimed, one.clone()).await, conflict);
    assert_eq!(slow.state(key).await, Ok(Some(other)));

    let key = taken_over(3).await;
    assert_eq!(slow.release(key).await, Ok(()));
    assert_eq!(new.advance(key, &Claimed, one.clone()).await, conflict);

    // A third takes what the slow one gave up; it is the second's claim that it moves.
    let key = taken_over(4).await;
    assert_eq!(slow.release(key).await, Ok(()));
    assert_eq!(slow.present(key, HERE, NOW, NOW + 62).await, Ok(Presented::New));
    assert_eq!(new.advance(key, &Claimed, one.clone()).await, Ok(()));
    assert_eq!(slow.advance(key, &Claimed, one).await, conflict);
}

/// Any steps of two processes, as time goes by, against a plain model.
#[derive(Clone, Debug)]
enum Step {
    Present {
        payment: usize,
        resource: Resource,
        now: Time,
    },
    /// From the state that it is in, if none is given.
    Advance {
        payment: usize,
        from: Option<ClaimState>,
        to: ClaimState,
    },
    Release(usize),
    Reopen,
}

#[derive(Clone, Debug)]
enum Time {
    Any(u64),
    /// Around the second at which something changes for a payment.
    Near {
        payment: usize,
        longer: u64,
        lease: bool,
        offset: u64,
    },
}

const ROOM: usize = 3;
const LEASE: u64 = 60;
const ENDS: [u64; 7] = [0, 50, 1_000, NOW, i64::MAX as u64 - 5, u64::MAX - DAY - 5, u64::MAX];

fn steps() -> impl Strategy<Value = Vec<(bool, Step)>> {
    let payment = || 0..ENDS.len();
    let state = || (0..states().len()).prop_map(|index| states()[index].clone());
    let resource = prop_oneof![9 => Just(HERE), 1 => Just(THERE)];
    let time = prop_oneof![
        (0..200u64).prop_map(Time::Any),
        any::<u64>().prop_map(Time::Any),
        (payment(), prop_oneof![Just(0), Just(GRACE), Just(DAY)], any::<bool>(), 0..3u64).prop_map(
            |(payment, longer, lease, offset)| Time::Near { payment, longer, lease, offset }
        ),
    ];
    let from = prop_oneof![4 => Just(None), 1 => state().prop_map(Some)];
    let step = prop_oneof![
        8 => (payment(), resource, time)
            .prop_map(|(payment, resource, now)| Step::Present { payment, resource, now }),
        8 => (payment(), from, state())
            .prop_map(|(payment, from, to)| Step::Advance { payment, from, to }),
        2 => payment().prop_map(Step::Release),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec((any::<bool>(), step), 1..60)
}

struct Claim {
    resource: Resource,
    made: u64,
    ends: u64,
    state: ClaimState,
}

struct Model {
    room: Option<usize>,
    lease: Option<u64>,
    last: u64,
    claims: BTreeMap<usize, Claim>,
}

impl Model {
    fn present(
        &mut self,
        payment: usize,
        resource: Resource,
        now: u64,
    ) -> Result<Presented, StoreError> {
        let (last, lease) = (self.last, self.lease);
        if let Some(claim) = self.claims.get_mut(&payment) {
            let age = now.min(last).saturating_sub(claim.made.min(last));
            return Ok(if claim.resource != resource {
                Presented::ForAnother
            } else if claim.state == Claimed && lease.is_some_and(|lease| age > lease) {
                claim.made = now;
                Presented::New
            } else {
                Presented::Known(claim.state.clone())
            });
        }
        let is_full = |claims: &BTreeMap<_, _>| self.room.is_some_and(|room| claims.len() >= room);
        if is_full(&self.claims) {
            self.claims.retain(|_, claim| {
                let until = match claim.state {
                    Failed(_) => return false,
                    Claimed | Delivered(_) => u128::from(claim.ends),
                    Broadcast(ref id) if !id.is_empty() => u128::from(claim.ends) + u128::from(DAY),
                    Broadcast(_) | Settled(_) => u128::from(claim.ends) + u128::from(GRACE),
                };
                until.min(last.into()) >= now.min(last).into()
            });
        }
        if is_full(&self.claims) {
            return Err(StoreError::Full);
        }
        let claim = Claim { resource, made: now, ends: ENDS[payment], state: Claimed };
        self.claims.insert(payment, claim);
        Ok(Presented::New)
    }

    fn advance(
        &mut self,
        payment: usize,
        from: &ClaimState,
        to: &ClaimState,
    ) -> Result<(), StoreError> {
        let allowed = match (from, to) {
            (Claimed, Broadcast(_) | Failed(_)) | (Broadcast(_), Settled(_) | Failed(_)) => true,
            (Broadcast(old), Broadcast(new)) => old.is_empty() && !new.is_empty(),
            (Settled(old), Delivered(new)) | (Delivered(old), Settled(new)) => old == new,
            _ => false,
        };
        match self.claims.get_mut(&payment) {
            Some(claim) if allowed && claim.state == *from => {
                claim.state = to.clone();
                Ok(())
            }
            _ => Err(StoreError::Conflict),
        }
    }

    fn release(&mut self, payment: usize) -> Result<(), StoreError> {
        match self.claims.get(&payment) {
            Some(Claim { state: Claimed | Failed(_), .. }) => {
                self.claims.remove(&payment);
                Ok(())
            }
            _ => Err(StoreError::Conflict),
        }
    }

    fn state(&self, payment: usize) -> Option<ClaimState> {
        self.claims.get(&payment).map(|claim| claim.state.clone())
    }
}

async fn as_the_model<P: Place>(place: &P, lease: Option<u64>, steps: Vec<(bool, Step)>) {
    let mut model =
        Model { room: P::COUNTS.then_some(ROOM), lease, last: P::LAST, claims: BTreeMap::new() };
    let open = || place.open(ROOM, lease.map(Duration::from_secs));
    let mut stores = [open().await, open().await];
    for (index, (second, step)) in steps.into_iter().enumerate() {
        let at = || format!("step {index}");
        let store = &stores[usize::from(second)];
        match step {
            Step::Present { payment, resource, now } => {
                let now = match now {
                    Time::Any(now) => now,
                    Time::Near { payment, longer, lease, offset } => {
                        let made = model.claims.get(&payment).map_or(0, |claim| claim.made);
                        let second = if lease { made } else { ENDS[payment] };
                        let after = if lease { LEASE } else { longer };
                        second.saturating_add(after).saturating_add(offset).saturating_sub(1)
                    }
                };
                let presented = store.present(key(payment), resource, ENDS[payment], now).await;
                assert_eq!(presented, model.present(payment, resource, now), "{}", at());
            }
            Step::Advance { payment, from, to } => {
                let from = from.or_else(|| model.state(payment)).unwrap_or(Claimed);
                let moved = store.advance(key(payment), &from, to.clone()).await;
                assert_eq!(moved, model.advance(payment, &from, &to), "{}", at());
            }
            Step::Release(payment) => {
                let released = store.release(key(payment)).await;
                assert_eq!(released, model.release(payment), "{}", at());
            }
            Step::Reopen => stores[usize::from(second)] = open().await,
        }
        for payment in 0..ENDS.len() {
            let state = stores[0].state(key(payment)).await;
            assert_eq!(state, Ok(model.state(payment)), "{}", at());
        }
    }
}

fn any_steps<P: Place>(lease: Option<u64>) {
    let runtime = Runtime::new().unwrap();
    if runtime.block_on(P::new()).is_none() {
        return;
    }
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&steps(), |steps| {
        runtime.block_on(async {
            let place = P::new().await.unwrap();
            as_the_model(&place, lease, steps).await;
        });
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn memory_does_what_the_model_does() {
    any_steps::<Memory>(None);
}

#[test]
fn sqlite_does_what_the_model_does() {
    any_steps::<Sqlite>(None);
    any_steps::<Sqlite>(Some(LEASE));
}

#[test]
fn redis_does_what_the_model_does() {
    any_steps::<Redis>(None);
    any_steps::<Redis>(Some(LEASE));
}

/// What several tasks had acknowledged: of each of their claims the furthest stage.
type Acknowledged = BTreeMap<usize, usize>;

/// The stages of a claim that everything goes well for.
fn stage(number: usize, stage: usize) -> Option<ClaimState> {
    let transaction = tx(&format!("0x{number}"));
    [
        None,
        Some(Claimed),
        Some(Broadcast(Transaction::new())),
        Some(Broadcast(transaction.clone())),
        Some(Settled(transaction)),
    ][stage]
        .clone()
}

/// Takes claims through their stages, and says so of each, until the store fails.
async fn make_claims(store: impl ClaimStore, first: usize, mut say: impl FnMut(usize, usize)) {
    for number in first.. {
        if store.present(key(number), HERE, NOW, NOW).await != Ok(Presented::New) {
            return;
        }
        say(number, 1);
        for next in 2..=4 {
            let from = stage(number, next - 1).unwrap();
            let to = stage(number, next).unwrap();
            if store.advance(key(number), &from, to).await.is_err() {
                return;
            }
            say(number, next);
        }
    }
}

/// Every acknowledged step is there, and of those that were not at most the next one.
async fn all_there(store: &impl ClaimStore, acknowledged: &Acknowledged) {
    for (number, last) in acknowledged {
        let state = store.state(key(*number)).await.unwrap();
        let next = (*last < 4).then(|| stage(*number, last + 1));
        assert!(
            state == stage(*number, *last) || Some(&state) == next.as_ref(),
            "{number}: acknowledged {last}, found {state:?}"
        );
    }
}

/// Numbers that no two tasks, rounds and processes share.
fn first_of(round: usize, task: usize) -> usize {
    (round * 100 + task) * 1_000_000
}

const CHILD: &str = "X402_STORES_CHILD";

/// This test, as another process that makes claims in the file and says which on its output.
fn spawn_child(path: &Path, test: &str, round: usize) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{round} {}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Whether this is the child; if so it makes claims until it is killed.
fn child() -> bool {
    let Ok(order) = env::var(CHILD) else { return false };
    let (round, path) = order.split_once(' ').unwrap();
    let round = round.parse().unwrap();
    let store = Arc::new(SqliteStore::open(path).unwrap());
    Runtime::new().unwrap().block_on(async {
        let mut tasks = JoinSet::new();
        for task in 0..8 {
            tasks.spawn(make_claims(store.clone(), first_of(round, task), |number, stage| {
                let line = format!("made {number} {stage}\n");
                let mut out = std::io::stdout().lock();
                out.write_all(line.as_bytes()).unwrap();
                out.flush().unwrap();
            }));
        }
        tasks.join_all().await;
    });
    panic!("the store failed");
}

fn read_made(line: &str, acknowledged: &mut Acknowledged) -> bool {
    let Some(made) = line.strip_prefix("made ") else { return false };
    // The last line may have been cut off.
    let Some((number, stage)) = made.trim_end().split_once(' ') else { return false };
    let (Ok(number), Ok(stage)) = (number.parse(), stage.parse()) else { return false };
    acknowledged.insert(number, stage);
    true
}

fn dice(sides: u64) -> u64 {
    let mut bytes = [0; 8];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    u64::from_be_bytes(bytes) % sides
}

#[test]
fn sqlite_keeps_what_a_killed_process_acknowledged() {
    if child() {
        return;
    }
    let folder = Folder::new();
    let path = folder.path("claims.db");
    let mut acknowledged = Acknowledged::new();
    let runtime = Runtime::new().unwrap();
    for round in 0..8 {
        let name = "sqlite_keeps_what_a_killed_process_acknowledged";
        let mut child = spawn_child(&path, name, round);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n');
        let mut made = 0;
        let until = 1 + dice(400);
        while made < until {
            let line = lines.next().expect("the child ended").unwrap();
            made += u64::from(read_made(&String::from_utf8_lossy(&line), &mut acknowledged));
        }
        thread::sleep(Duration::from_micros(dice(3_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            read_made(&String::from_utf8_lossy(&line.unwrap()), &mut acknowledged);
        }
        let store = SqliteStore::open(&path).unwrap();
        runtime.block_on(all_there(&store, &acknowledged));
    }
    assert!(acknowledged.len() > 8);
    let db = rusqlite::Connection::open(&path).unwrap();
    let sound: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    assert_counted(&db);
}

/// The count of claims is their number.
fn assert_counted(db: &rusqlite::Connection) {
    let number = |sql| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("SELECT claims FROM claim_count"), number("SELECT count(*) FROM claims"));
}

#[test]
fn sqlite_processes_make_one_file_and_share_it() {
    if child() {
        return;
    }
    const PROCESSES: usize = 4;
    let folder = Folder::new();
    let path = folder.path("claims.db");
    let name = "sqlite_processes_make_one_file_and_share_it";
    let children: Vec<_> = (0..PROCESSES).map(|n| spawn_child(&path, name, n)).collect();
    // Each goes on while the others never rest, until all have made so many steps.
    let readers: Vec<_> = children
        .into_iter()
        .map(|mut child| {
            thread::spawn(move || {
                let mut acknowledged = Acknowledged::new();
                let mut made = 0;
                let mut lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n');
                while made < 500 {
                    let line = lines.next().expect("the child ended").unwrap();
                    let line = String::from_utf8_lossy(&line);
                    made += usize::from(read_made(&line, &mut acknowledged));
                }
                (child, lines, acknowledged)
            })
        })
        .collect();
    let runtime = Runtime::new().unwrap();
    let store = SqliteStore::open(&path).unwrap();
    for reader in readers {
        let (mut child, lines, mut acknowledged) = reader.join().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            read_made(&String::from_utf8_lossy(&line.unwrap()), &mut acknowledged);
        }
        runtime.block_on(all_there(&store, &acknowledged));
    }
}

#[test]
fn sqlite_opens_its_own_files_only() {
    let folder = Folder::new();
    let sql = |name: &str, sql: &str| {
        let path = folder.path(name);
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch(sql).unwrap();
        path
    };
    let text = |name: &str, bytes: &[u8]| {
        let path = folder.path(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let ours = |name: &str| {
        let path = folder.path(name);
        drop(SqliteStore::open(&path).unwrap());
        // Its thread closes the file, and takes the log away, a little later.
        while folder.path(&format!("{name}-wal")).exists() {
            thread::sleep(Duration::from_millis(1));
        }
        path
    };
    let newer = ours("newer");
    sql("newer", "PRAGMA user_version = 3; PRAGMA journal_mode = DELETE;");
    let older = ours("older");
    sql("older", "PRAGMA user_version = 0; PRAGMA journal_mode = DELETE;");
    for (path, expected) in [
        (text("text", b"these are my notes\n"), OpenError::Foreign),
        (text("long", &[b'x'; 10_000]), OpenError::Foreign),
        (sql("tables", "CREATE TABLE mine (a)"), OpenError::Foreign),
        (sql("marked", "PRAGMA application_id = 7"), OpenError::Foreign),
        (sql("versioned", "PRAGMA user_version = 1"), OpenError::Foreign),
        (older, OpenError::Foreign),
        (newer, OpenError::Newer),
    ] {
        let before = fs::read(&path).unwrap();
        assert_eq!(SqliteStore::open(&path).unwrap_err(), expected, "{path:?}");
        assert!(before == fs::read(&path).unwrap(), "{path:?} was changed");
    }
    for path in [folder.0.clone(), folder.path("no/such/folder/claims.db"), PathBuf::new()] {
        assert_eq!(SqliteStore::open(&path).unwrap_err(), OpenError::Unavailable, "{path:?}");
    }
    // An empty file is a new one.
    assert!(SqliteStore::open(text("empty", b"")).is_ok());
}

/// A file of the version before is taken on as it is.
#[tokio::test]
async fn sqlite_takes_files_of_the_version_before() {
    let folder = Folder::new();
    let path = folder.path("claims.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch(
        "CREATE TABLE claims (
            key BLOB NOT NULL PRIMARY KEY, resource BLOB NOT NULL, claimed_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL, kept_until INTEGER NOT NULL, state TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX claims_kept_until ON claims (kept_until);
        CREATE TABLE claim_count (claims INTEGER NOT NULL) STRICT;
        INSERT INTO claim_count VALUES (0);
        CREATE TRIGGER claim_made AFTER INSERT ON claims
            BEGIN UPDATE claim_count SET claims = claims + 1; END;
        CREATE TRIGGER claim_gone AFTER DELETE ON claims
            BEGIN UPDATE claim_count SET claims = claims - 1; END;
        PRAGMA application_id = 0x78343032;
        PRAGMA user_version = 1;",
    )
    .unwrap();
    db.execute(
        "INSERT INTO claims VALUES (?1, ?2, ?3, ?3, ?3, 'broadcast:0x1')",
        (key(1).as_bytes(), HERE.0, NOW as i64),
    )
    .unwrap();
    drop(db);
    for _ in 0..2 {
        let store = SqliteStore::open(&path).unwrap();
        let known = store.present(key(1), HERE, NOW, NOW).await;
        assert_eq!(known, Ok(Presented::Known(Broadcast(tx("0x1")))));
        assert_eq!(store.usage().await.unwrap().map(|usage| usage.used), Some(1));
    }
    let store = SqliteStore::open(&path).unwrap();
    let kept = record(Role::Seller, b"kept");
    store.advance_with(key(1), &Broadcast(tx("0x1")), Settled(tx("0x1")), kept).await.unwrap();
}

/// SQLite goes on with a file that is not there any more; nobody would find what is written to it.
#[tokio::test]
async fn sqlite_files_that_are_gone_take_nothing() {
    for replaced in [false, true] {
        let folder = Folder::new();
        let path = folder.path("claims.db");
        let store = SqliteStore::open(&path).unwrap();
        assert_eq!(store.present(key(1), HERE, NOW, NOW).await, Ok(Presented::New));
        let aside = folder.path("aside.db");
        fs::rename(&path, &aside).unwrap();
        if replaced {
            fs::copy(&aside, &path).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let unavailable = Err(StoreError::Unavailable);
        assert_eq!(store.present(key(2), HERE, NOW, NOW).await, unavailable, "{replaced}");
        fs::rename(&aside, &path).unwrap();
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        assert_eq!(store.present(key(2), HERE, NOW, NOW).await, Ok(Presented::New));
    }
}

#[tokio::test]
async fn sqlite_says_since_when_it_is_used_alone() {
    let folder = Folder::new();
    let path = folder.path("claims.db");
    let first = SqliteStore::open(&path).unwrap();
    assert!(first.alone_since().is_some());
    let second = SqliteStore::open(&path).unwrap();
    assert_eq!((first.alone_since(), second.alone_since()), (None, None));
    drop(first);
    assert!(second.alone_since().is_some());
}

/// A claim of a process that died is free at once, if nobody else uses the file.
#[tokio::test]
async fn sqlite_does_not_wait_for_the_dead() {
    let folder = Folder::new();
    let open = || {
        let store = SqliteStore::open(folder.path("claims.db")).unwrap();
        store.with_lease(Duration::from_secs(120))
    };
    let now = x402_std::Clock::now(&x402_std::SystemClock);
    let present = async |store: &SqliteStore, at| store.present(key(1), HERE, now + 300, at).await;
    let dead = open();
    assert_eq!(present(&dead, now - 5).await, Ok(Presented::New));
    drop(dead);
    let (store, other) = (open(), open());
    let claimed = Ok(Presented::Known(ClaimState::Claimed));
    assert_eq!(present(&store, now + 1).await, claimed, "another one may have it");
    drop(other);
    assert_eq!(present(&store, now + 1).await, Ok(Presented::New));
    assert_eq!(present(&store, now + 2).await, claimed, "its own");
}

#[tokio::test]
async fn sqlite_files_are_their_owners() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.path("claims.db")).unwrap();
    assert_eq!(store.present(key(1), HERE, NOW, NOW).await, Ok(Presented::New));
    let files: Vec<_> = fs::read_dir(&folder.0).unwrap().map(Result::unwrap).collect();
    assert_eq!(files.len(), 5, "the file, its log, the log's index, who uses it, who looks");
    for file in files {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", file.file_name());
    }
}

#[tokio::test]
async fn sqlite_never_guesses_a_state() {
    let folder = Folder::new();
    let path = folder.path("claims.db");
    let store = SqliteStore::open(&path).unwrap();
    let db = rusqlite::Connection::open(&path).unwrap();
    bring(&store, key(1), &REFUSED, NOW, NOW).await;
    bring(&store, key(2), &Claimed, NOW, NOW).await;
    for text in ["failed:a_code_of_tomorrow", "", "paid:0x1"] {
        db.execute("UPDATE claims SET state = ?1 WHERE key = ?2", (text, key(1).as_bytes()))
            .unwrap();
        assert_eq!(store.state(key(1)).await, Err(StoreError::Unavailable));
        let presented = store.present(key(1), HERE, NOW, NOW).await;
        assert_eq!(presented, Err(StoreError::Unavailable));
        assert_eq!(store.release(key(1)).await, Err(StoreError::Conflict));
        // Others go on.
        assert_eq!(store.state(key(2)).await, Ok(Some(Claimed)));
    }
}

#[tokio::test]
async fn sqlite_forgets_many_a_few_at_a_time() {
    let folder = Folder::new();
    let path = folder.path("claims.db");
    let store = Arc::new(SqliteStore::open(&path).unwrap().with_capacity(2_500));
    let many = async |first: usize, ends: u64, now: u64| {
        let mut tasks = JoinSet::new();
        for number in first..first + 2_500 {
            let store = store.clone();
            tasks.spawn(async move { store.present(key(number), HERE, ends, now).await });
        }
        let answers = tasks.join_all().await;
        assert!(answers.iter().all(|answer| *answer == Ok(Presented::New)));
    };
    many(0, NOW, NOW).await;
    let db = rusqlite::Connection::open(&path).unwrap();
    let count = || db.query_row("SELECT count(*) FROM claims", [], |row| row.get::<_, i64>(0));
    assert_eq!(store.present(key(9_999), HERE, NOW, NOW).await, Err(StoreError::Full));
    assert_eq!(store.present(key(9_999), HERE, NOW + 1, NOW + 1).await, Ok(Presented::New));
    assert_eq!(count().unwrap(), 1_501);
    assert_counted(&db);
    assert_eq!(store.release(key(9_999)).await, Ok(()));
    many(10_000, NOW + 1, NOW + 1).await;
    assert_eq!(count().unwrap(), 2_500);
    assert_counted(&db);
    assert_eq!(store.present(key(9_999), HERE, NOW, NOW).await, Err(StoreError::Full));
}

#[tokio::test]
async fn sqlite_held_by_another_is_unavailable_and_comes_back() {
    let folder = Folder::new();
    let path = folder.path("claims.db");
    let store = SqliteStore::open(&path).unwrap();
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    let started = Instant::now();
    let (one, two) =
        tokio::join!(store.present(key(1), HERE, NOW, NOW), store.present(key(2), HERE, NOW, NOW));
    assert_eq!([one, two], [const { Err(StoreError::Unavailable) }; 2]);
    let waited = started.elapsed();
    assert!(waited > Duration::from_secs(4) && waited < Duration::from_secs(9), "{waited:?}");
    db.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.present(key(1), HERE, NOW, NOW).await, Ok(Presented::New));
    // Nobody waits for it any more: it is not made.
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    let step = store.present(key(3), HERE, NOW, NOW);
    assert!(tokio::time::timeout(Duration::from_millis(50), step).await.is_err());
    db.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.state(key(3)).await, Ok(None));
}

async fn connect(server: &Server) -> RedisStore {
    RedisStore::connect(&server.url(), "test:").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_what_it_acknowledged_before_it_was_killed() {
    let Some(mut server) = Server::start(&[]) else { return };
    let acknowledged = Arc::new(Mutex::new(Acknowledged::new()));
    // One handle all along: it connects anew.
    let watcher = connect(&server).await;
    for round in 0..5 {
        let store = Arc::new(connect(&server).await);
        let mut tasks = JoinSet::new();
        for task in 0..8 {
            let acknowledged = acknowledged.clone();
            let made = move |number, stage| {
                acknowledged.lock().unwrap().insert(number, stage);
            };
            tasks.spawn(make_claims(store.clone(), first_of(round, task), made));
        }
        tokio::time::sleep(Duration::from_millis(20 + dice(100))).await;
        server.kill();
        tasks.join_all().await;
        assert_eq!(store.state(key(0)).await, Err(StoreError::Unavailable));
        server.restart();
        let acknowledged = acknowledged.lock().unwrap().clone();
        let mut first = watcher.state(key(0)).await;
        if first.is_err() {
            first = watcher.state(key(0)).await;
        }
        assert!(first.is_ok());
        all_there(&watcher, &acknowledged).await;
        assert_eq!(store.state(key(0)).await, first);
    }
    assert!(acknowledged.lock().unwrap().len() > 8);
}

#[tokio::test]
async fn redis_steps_whose_answers_are_lost_are_made_once() {
    let Some(server) = Server::start(&[]) else { return };
    let store = connect(&server).await;
    let sent = Broadcast(tx("0x1"));
    // The server has every script already.
    bring(&store, key(9), &sent, NOW, NOW).await;
    assert_eq!(store.release(key(9)).await, Err(StoreError::Conflict));
    bring(&store, key(2), &Claimed, NOW, NOW).await;
    bring(&store, key(3), &Claimed, NOW, NOW).await;
    server.signal("-STOP");
    let started = Instant::now();
    let (presented, advanced, released) = tokio::join!(
        store.present(key(1), HERE, NOW, NOW),
        store.advance(key(2), &Claimed, sent.clone()),
        store.release(key(3)),
    );
    let waited = started.elapsed();
    server.signal("-CONT");
    assert_eq!(presented, Err(StoreError::Unavailable));
    assert_eq!([advanced, released], [Err(StoreError::Unavailable); 2]);
    assert!(waited < Duration::from_secs(9), "{waited:?}");
    // The server read them before it noticed that nobody waits.
    let known = Ok(Presented::Known(Claimed));
    assert_eq!(store.present(key(1), HERE, NOW, NOW).await, known);
    assert_eq!(store.state(key(2)).await, Ok(Some(sent.clone())));
    let again = store.advance(key(2), &Claimed, sent).await;
    assert_eq!(again, Err(StoreError::Conflict));
    assert_eq!(store.release(key(3)).await, Err(StoreError::Conflict));
}

#[tokio::test]
async fn redis_that_may_lose_claims_is_refused() {
    let Some(server) = Server::start(&["--requirepass", "sesame", "--maxmemory", "64mb"]) else {
        return;
    };
    let open = |socket: PathBuf, word: &str| {
        let url = format!("unix://{}?pass={word}", socket.display());
        async move { RedisStore::connect(&url, "test:").await.err() }
    };
    let socket = || server.folder.path("s");
    let set = |name: &str, value: &str| {
        let url = format!("{}?pass=sesame", server.url());
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        redis::cmd("CONFIG").arg("SET").arg(name).arg(value).exec(&mut connection).unwrap();
    };
    assert_eq!(open(socket(), "sesame").await, None);
    assert_eq!(open(socket(), "wrong").await, Some(OpenError::Unavailable));
    for policy in ["allkeys-lru", "volatile-ttl", "volatile-lru", "allkeys-random"] {
        set("maxmemory-policy", policy);
        assert_eq!(open(socket(), "sesame").await, Some(OpenError::Evicts), "{policy}");
    }
    set("maxmemory", "0");
    assert_eq!(open(socket(), "sesame").await, None);
    assert_eq!(open(server.folder.path("none"), "").await, Some(OpenError::Unavailable));
    // A port where nobody listens.
    let tls = if cfg!(feature = "tls") { OpenError::Unavailable } else { OpenError::Address };
    for (url, error) in [
        ("", OpenError::Address),
        ("no url", OpenError::Address),
        ("http://127.0.0.1", OpenError::Address),
        ("rediss://127.0.0.1:1", tls),
    ] {
        assert_eq!(RedisStore::connect(url, "").await.unwrap_err(), error, "{url}");
    }
    let url = format!("{}?pass=sesame", server.url());
    let shown = format!("{:?}", RedisStore::connect(&url, "test:").await.unwrap());
    assert!(shown.contains("test:") && !shown.contains("sesame") && !shown.contains("unix"));
}

#[tokio::test]
async fn redis_that_never_answers_is_not_waited_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let started = Instant::now();
    let refused = RedisStore::connect(&url, "test:").await.unwrap_err();
    assert_eq!(refused, OpenError::Unavailable);
    assert!(started.elapsed() < Duration::from_secs(9));
}

#[tokio::test]
async fn redis_full_takes_nothing_new_and_ends_what_it_began() {
    let Some(server) = Server::start(&[]) else { return };
    let store = connect(&server).await.with_lease(Duration::from_secs(60));
    // One that expires, and one that never does.
    bring(&store, key(1), &Claimed, NOW, NOW).await;
    bring(&store, key(2), &Claimed, u64::MAX, NOW).await;
    bring(&store, key(3), &Claimed, NOW, NOW).await;
    let _: () = server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(store.present(key(4), HERE, NOW, NOW).await, Err(StoreError::Full));
    assert_eq!(store.state(key(4)).await, Ok(None));
    assert_eq!(store.present(key(1), HERE, NOW, NOW).await, Ok(Presented::Known(Claimed)));
    for number in [1, 2] {
        for next in 2..=4 {
            let (from, to) = (stage(number, next - 1).unwrap(), stage(number, next).unwrap());
            assert_eq!(store.advance(key(number), &from, to).await, Ok(()), "{number} {next}");
        }
    }
    assert_eq!(store.release(key(3)).await, Ok(()));
    assert_eq!(server.ask::<Vec<String>>(&["KEYS", "test:*"]).len(), 2);
    assert!(seconds_left(&server, 1) > 0);
    assert_eq!(seconds_left(&server, 2), -1);
}

/// Until Redis forgets a claim; -1 if never.
fn seconds_left(server: &Server, number: usize) -> i64 {
    let name = format!("test:{}", hex::encode(key(number).as_bytes()));
    server.ask(&["TTL", &name])
}

#[tokio::test]
async fn redis_forgets_long_after_it_may() {
    let Some(server) = Server::start(&[]) else { return };
    let store = connect(&server).await.with_lease(Duration::from_secs(60));
    let (day, grace) = (DAY as i64, GRACE as i64);
    // State, seconds to its payment's end, seconds until it expires.
    let table = [
        (Claimed, 600, 600 + 2 * day),
        (Broadcast(tx("")), 600, 600 + day + grace),
        (Broadcast(tx("0x1")), 600, 600 + 2 * day),
        (Settled(tx("0x1")), 600, 600 + day + grace),
        (Delivered(tx("0x1")), 600, 600 + day),
        (REFUSED, 600, 600 + day),
        (Claimed, 0, 2 * day),
        (Settled(tx("0x1")), 0, day + grace),
        (Broadcast(tx("0x1")), 1_000_000_000, 1_000_000_000 + 2 * day),
        (Settled(tx("0x1")), 1_000_000_000, 1_000_000_000 + day + grace),
        (Broadcast(tx("0x1")), 1_000_000_001, -1),
        (Settled(tx("0x1")), 1_000_000_001, -1),
        (REFUSED, u64::MAX - NOW, -1),
    ];
    // Redis's clock is not the caller's.
    for now in [NOW, 100, NOW * 2] {
        for (number, (state, ends, expected)) in table.iter().enumerate() {
            let number = number + now as usize;
            bring(&store, key(number), state, now.saturating_add(*ends), now).await;
            let left = seconds_left(&server, number);
            let off = expected - left;
            assert!((0..5).contains(&off), "{state:?} {ends}: {left}, not {expected}");
        }
    }
    // Presented too late: long enough to find out.
    bring(&store, key(1), &Broadcast(tx("0x1")), NOW, 2 * NOW).await;
    assert!((0..5).contains(&(2 * day - seconds_left(&server, 1))));
    // A new holder of an abandoned claim has no more time than the first one.
    bring(&store, key(2), &Claimed, NOW + 600, NOW).await;
    let again = store.present(key(2), HERE, NOW + 10 * DAY, NOW + 100).await;
    assert_eq!(again, Ok(Presented::New));
    assert!((0..5).contains(&(600 + 2 * day - seconds_left(&server, 2))));
    // Settled when it might have been forgotten, almost: it stays for those who ask again.
    bring(&store, key(3), &Broadcast(tx("0x1")), NOW, NOW).await;
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let name = format!("test:{}", hex::encode(key(3).as_bytes()));
    let claim: String = redis::cmd("GET").arg(&name).query(&mut connection).unwrap();
    let gone = claim.split(' ').nth(1).unwrap();
    let past = claim.replace(gone, &(gone.parse::<u64>().unwrap() - 3 * DAY).to_string());
    redis::cmd("SET").arg(&name).arg(past).arg("EX").arg(9).exec(&mut connection).unwrap();
    let settled = Settled(tx("0x1"));
    store.advance(key(3), &Broadcast(tx("0x1")), settled.clone()).await.unwrap();
    assert_eq!(store.state(key(3)).await, Ok(Some(settled)));
    assert!((0..5).contains(&(day - seconds_left(&server, 3))));
}

#[tokio::test]
async fn redis_never_guesses_a_state() {
    let Some(server) = Server::start(&[]) else { return };
    let store = connect(&server).await;
    let name = format!("test:{}", hex::encode(key(1).as_bytes()));
    let here = hex::encode(HERE.0);
    for claim in [
        &format!("00000000000000000001 9 {here} failed:a_code_of_tomorrow"),
        &format!("00000000000000000001 9 {here} paid"),
        &format!("00000000000000000001 9 {here}"),
        "claimed",
        "",
    ] {
        let _: () = server.ask(&["SET", &name, claim]);
        assert_eq!(store.state(key(1)).await, Err(StoreError::Unavailable), "{claim}");
        let presented = store.present(key(1), HERE, NOW, NOW).await;
        assert_eq!(presented, Err(StoreError::Unavailable), "{claim}");
        assert_eq!(store.release(key(1)).await, Err(StoreError::Conflict), "{claim}");
    }
    let _: () = server.ask(&["DEL", &name]);
    let _: () = server.ask(&["LPUSH", &name, "1"]);
    assert_eq!(store.state(key(1)).await, Err(StoreError::Unavailable));
    // Scripts that the server forgot are given to it again.
    let _: () = server.ask(&["SCRIPT", "FLUSH"]);
    bring(&store, key(2), &Settled(tx("0x1")), NOW, NOW).await;
    bring(&store, key(3), &Claimed, NOW, NOW).await;
    let _: () = server.ask(&["SCRIPT", "FLUSH"]);
    assert_eq!(store.release(key(3)).await, Ok(()));
    // Another prefix, other claims.
    let other = RedisStore::connect(&server.url(), "other:").await.unwrap();
    assert_eq!(other.state(key(2)).await, Ok(None));
}

#[tokio::test]
async fn redis_waits_for_its_replicas() {
    // A replica finds its primary by port: one that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = port.to_string();
    let bind = ["--bind", "127.0.0.1", "--port", &port, "--repl-diskless-sync-delay", "0"];
    let Some(primary) = Server::start(&bind) else { return };
    let Some(replica) = Server::start(&["--replicaof", "127.0.0.1", &port]) else { return };
    let store = connect(&primary).await.with_replicas(1);
    let started = Instant::now();
    while !primary.ask::<String>(&["INFO", "replication"]).contains("state=online") {
        assert!(started.elapsed() < Duration::from_secs(20), "no replica");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(RedisStore::connect(&replica.url(), "test:").await.unwrap_err(), OpenError::Replica);
    bring(&store, key(1), &Broadcast(tx("0x1")), NOW, NOW).await;
    let name = format!("test:{}", hex::encode(key(1).as_bytes()));
    assert!(replica.ask::<String>(&["GET", &name]).ends_with(" broadcast:0x1"));
    replica.signal("-STOP");
    let unreplicated = store.present(key(2), HERE, NOW, NOW).await;
    replica.signal("-CONT");
    assert_eq!(unreplicated, Err(StoreError::Unavailable));
    assert_eq!(store.present(key(2), HERE, NOW, NOW).await, Ok(Presented::Known(Claimed)));
    // A primary that was made a replica is left.
    let _: () = primary.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_eq!(store.release(key(2)).await, Err(StoreError::Unavailable));
    assert_eq!(store.state(key(1)).await, Err(StoreError::Unavailable));
    let _: () = primary.ask(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(store.with_replicas(0).release(key(2)).await, Ok(()));
}

/// `cargo test --release -p x402-std --features sqlite,redis --test stores -- --ignored --nocapture
/// --test-threads 1`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn steps_per_second() {
    async fn measure<P: Place>(name: &str) {
        for tasks in [1, 64] {
            let Some(place) = P::new().await else { return };
            let store = Arc::new(place.open(MANY, None).await);
            let made = Arc::new(AtomicUsize::new(0));
            let mut running = JoinSet::new();
            for task in 0..tasks {
                let made = made.clone();
                running.spawn(make_claims(store.clone(), first_of(tasks, task), move |_, _| {
                    made.fetch_add(1, Ordering::Relaxed);
                }));
            }
            let started = Instant::now();
            tokio::time::sleep(Duration::from_secs(5)).await;
            running.shutdown().await;
            let rate = made.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
            println!("{name}, {tasks} tasks: {rate:.0} steps/s");
        }
    }
    measure::<Memory>("memory").await;
    measure::<Sqlite>("sqlite").await;
    measure::<Redis>("redis, appendfsync always").await;
}
