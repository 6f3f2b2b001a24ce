use std::fs::OpenOptions;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, io, iter, thread};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior, params};
use tokio::sync::oneshot;
use x402_core::claim::{ClaimKey, ClaimState, Presented, Resource};

use super::durable::{CLAIMED, OpenError, decode, encode};
use super::{ClaimStore, StoreError};

/// Says in a file's header that it is ours: `x402`.
const APPLICATION_ID: i32 = 0x7834_3032;
/// The schema below.
const VERSION: i32 = 1;

/// Times are Unix seconds. `kept_until` is the last second at which the claim may not be forgotten,
/// -1 if it always may be. Claims are counted as they come and go: counting all takes long.
const SCHEMA: &str = "
CREATE TABLE claims (
    key BLOB NOT NULL PRIMARY KEY,
    resource BLOB NOT NULL,
    claimed_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    kept_until INTEGER NOT NULL,
    state TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_kept_until ON claims (kept_until);
CREATE TABLE claim_count (claims INTEGER NOT NULL) STRICT;
INSERT INTO claim_count VALUES (0);
CREATE TRIGGER claim_made AFTER INSERT ON claims
    BEGIN UPDATE claim_count SET claims = claims + 1; END;
CREATE TRIGGER claim_gone AFTER DELETE ON claims
    BEGIN UPDATE claim_count SET claims = claims - 1; END;
";

/// How long a step waits for other processes to finish theirs.
const BUSY: Duration = Duration::from_secs(5);
/// How often it looks whether they have. SQLite's own waiting looks so seldom that a process which
/// never rests would keep the others out.
const LOOK: Duration = Duration::from_millis(1);
/// So many steps at most are made in one transaction.
const BATCH: usize = 256;
/// So many claims at most are forgotten for one that is new: nobody waits for the rest.
const FORGET: usize = 1_000;

/// Claims in a file, for the processes of one host (feature `sqlite`).
///
/// A step is acknowledged when it is on the disk: neither a killed process nor a power cut takes it
/// back, as far as the disk does what it says. Steps that wait at the same time share one
/// transaction. Keep the file on a disk of this host, as SQLite's write-ahead log does not work over
/// network file systems, and do not copy it while it is in use other than by SQLite's own means.
///
/// Times beyond the year 292 277 026 596 are one and the same: a claim on a payment that does not
/// expire before is never forgotten, unless it failed.
///
/// ```no_run
/// use std::time::Duration;
/// use x402_std::store::SqliteStore;
/// let store = SqliteStore::open("claims.db")?.with_lease(Duration::from_secs(120));
/// # Ok::<(), x402_std::store::OpenError>(())
/// ```
pub struct SqliteStore {
    capacity: u64,
    lease: Option<Duration>,
    jobs: Sender<Job>,
}

/// A step inside a transaction; what it gives tells whoever waits, after the commit.
type Job = Box<dyn FnOnce(&Connection) -> rusqlite::Result<Box<dyn FnOnce() + Send>> + Send>;

impl SqliteStore {
    /// Opens the file, or makes it, readable to its owner only. Waits for the disk.
    ///
    /// # Errors
    /// [`OpenError::Foreign`] and [`OpenError::Newer`], in which case the file is as it was;
    /// [`OpenError::Unavailable`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let db = open(path.as_ref())?;
        let (jobs, waiting) = mpsc::channel();
        thread::Builder::new()
            .name("x402 claims".into())
            .spawn(move || work(db, &waiting))
            .map_err(|_| OpenError::Unavailable)?;
        Ok(Self { capacity: 1_000_000, lease: None, jobs })
    }

    /// With room for so many claims; a million otherwise, about 300 MB when full.
    pub fn with_capacity(mut self, claims: usize) -> Self {
        self.capacity = claims as u64;
        self
    }

    /// With a time, in whole seconds, after which a claim for which nothing was sent is given to
    /// the next who presents its payment; see [`store`](super#claims-that-are-abandoned). Without,
    /// such a claim lasts until it is forgotten.
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Makes a step, together with all others that wait, and waits until it is on the disk.
    async fn step<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Connection) -> rusqlite::Result<Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |db| {
            // Nobody would know of it.
            if reply.is_closed() {
                return Ok(Box::new(|| {}));
            }
            let done = step(db)?;
            Ok(Box::new(move || {
                reply.send(done).ok();
            }))
        });
        self.jobs.send(job).map_err(|_| StoreError::Unavailable)?;
        // A transaction that failed drops everybody's `reply`.
        answer.await.unwrap_or(Err(StoreError::Unavailable))
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("capacity", &self.capacity)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

impl ClaimStore for SqliteStore {
    async fn present(
        &self,
        key: ClaimKey,
        resource: Resource,
        expires_at: u64,
        now: u64,
    ) -> Result<Presented, StoreError> {
        let (capacity, lease) = (seconds(self.capacity), self.lease);
        self.step(move |db| present(db, key, resource, expires_at, now, capacity, lease)).await
    }

    async fn advance(
        &self,
        key: ClaimKey,
        from: &ClaimState,
        to: ClaimState,
    ) -> Result<(), StoreError> {
        if !from.may_become(&to) {
            return Err(StoreError::Conflict);
        }
        let from = encode(from);
        self.step(move |db| {
            let expires_at: Option<i64> = db
                .prepare_cached("SELECT expires_at FROM claims WHERE key = ?1 AND state = ?2")?
                .query_row(params![key.as_bytes(), from], |row| row.get(0))
                .optional()?;
            let Some(expires_at) = expires_at else { return Ok(Err(StoreError::Conflict)) };
            db.prepare_cached("UPDATE claims SET state = ?2, kept_until = ?3 WHERE key = ?1")?
                .execute(params![key.as_bytes(), encode(&to), kept(&to, expires_at)])?;
            Ok(Ok(()))
        })
        .await
    }

    async fn release(&self, key: ClaimKey) -> Result<(), StoreError> {
        self.step(move |db| {
            let released = db
                .prepare_cached("DELETE FROM claims WHERE key = ?1 AND state = ?2")?
                .execute(params![key.as_bytes(), CLAIMED])?;
            Ok(if released == 1 { Ok(()) } else { Err(StoreError::Conflict) })
        })
        .await
    }

    async fn state(&self, key: ClaimKey) -> Result<Option<ClaimState>, StoreError> {
        self.step(move |db| {
            let state: Option<String> = db
                .prepare_cached("SELECT state FROM claims WHERE key = ?1")?
                .query_row([key.as_bytes()], |row| row.get(0))
                .optional()?;
            Ok(state.map(|text| read(&text)).transpose())
        })
        .await
    }
}

fn present(
    db: &Connection,
    key: ClaimKey,
    resource: Resource,
    expires_at: u64,
    now: u64,
    capacity: i64,
    lease: Option<Duration>,
) -> rusqlite::Result<Result<Presented, StoreError>> {
    let (key, expires_at, now) = (key.as_bytes(), seconds(expires_at), seconds(now));
    let known: Option<(bool, i64, String)> = db
        .prepare_cached("SELECT resource = ?2, claimed_at, state FROM claims WHERE key = ?1")?
        .query_row(params![key, resource.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    if let Some((same_resource, claimed_at, state)) = known {
        let age = now.saturating_sub(claimed_at);
        if same_resource
            && state == CLAIMED
            && lease.is_some_and(|lease| age > seconds(lease.as_secs()))
        {
            db.prepare_cached("UPDATE claims SET claimed_at = ?2 WHERE key = ?1")?
                .execute(params![key, now])?;
            return Ok(Ok(Presented::New));
        }
        return Ok(read(&state).map(|state| Presented::again(&state, same_resource)));
    }
    if count(db)? >= capacity {
        db.prepare_cached(
            "DELETE FROM claims WHERE key IN (
                SELECT key FROM claims WHERE kept_until < ?1 ORDER BY kept_until LIMIT ?2)",
        )?
        .execute(params![now, FORGET as i64])?;
        if count(db)? >= capacity {
            return Ok(Err(StoreError::Full));
        }
    }
    db.prepare_cached("INSERT INTO claims VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
        key,
        resource.0,
        now,
        expires_at,
        kept(&ClaimState::Claimed, expires_at),
        CLAIMED
    ])?;
    Ok(Ok(Presented::New))
}

fn count(db: &Connection) -> rusqlite::Result<i64> {
    db.prepare_cached("SELECT claims FROM claim_count")?.query_row([], |row| row.get(0))
}

fn read(text: &str) -> Result<ClaimState, StoreError> {
    decode(text).ok_or_else(|| {
        tracing::warn!("a claim is in a state that this version does not know");
        StoreError::Unavailable
    })
}

/// SQLite's integers are signed.
fn seconds(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

fn kept(state: &ClaimState, expires_at: i64) -> i64 {
    state.kept_until(u64::try_from(expires_at).unwrap_or(0)).map_or(-1, seconds)
}

/// Makes the steps that wait, until the store is dropped.
fn work(mut db: Connection, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        if let Err(error) = commit(&mut db, first, jobs) {
            tracing::warn!(%error, "claim store failed");
        }
    }
}

/// Makes one step, and those that came while it waited for its turn, in one transaction: all or
/// none.
fn commit(db: &mut Connection, first: Job, jobs: &Receiver<Job>) -> rusqlite::Result<()> {
    let transaction =
        db.transaction_with_behavior(TransactionBehavior::Immediate).inspect_err(|_| {
            // They waited as long.
            jobs.try_iter().for_each(drop);
        })?;
    let replies: Vec<_> = iter::once(first)
        .chain(jobs.try_iter())
        .take(BATCH)
        .map(|job| job(&transaction))
        .collect::<Result<_, _>>()?;
    transaction.commit()?;
    replies.into_iter().for_each(|reply| reply());
    Ok(())
}

fn open(path: &Path) -> Result<Connection, OpenError> {
    // Closing a file gives up every lock this process has on it, and so those of a store of which
    // another thread is making the same file.
    static OPENING: Mutex<()> = Mutex::new(());
    let _turn = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    // SQLite takes some names for more than names; none of them is absolute.
    let path = std::path::absolute(path).map_err(|_| OpenError::Unavailable)?;
    match create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(OpenError::Unavailable);
        }
        _ => {}
    }
    let started = Instant::now();
    loop {
        match connect(&path) {
            // Who switches a new file to its log, or recovers one, keeps others out at once.
            Err(Fault::Sqlite(error)) if is_busy(&error) && started.elapsed() < BUSY => {
                thread::sleep(LOOK);
            }
            Err(Fault::Sqlite(error)) => {
                let foreign = error.sqlite_error_code() == Some(ErrorCode::NotADatabase);
                return Err(if foreign { OpenError::Foreign } else { OpenError::Unavailable });
            }
            Err(Fault::Open(error)) => return Err(error),
            Ok(db) => return Ok(db),
        }
    }
}

/// Makes the file if it is not there. SQLite gives the rights of the file to those it puts beside
/// it.
fn create(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

enum Fault {
    Sqlite(rusqlite::Error),
    Open(OpenError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

fn connect(path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags)?;
    let tries = (BUSY.as_millis() / LOOK.as_millis()) as i32;
    const { assert!(BUSY.as_millis() / LOOK.as_millis() < 1 << 20) }
    db.busy_handler(Some(move |tried| {
        thread::sleep(LOOK);
        tried < tries
    }))?;
    // In one transaction, as somebody may be filling the file.
    let transaction = db.transaction()?;
    is_new(&transaction)?;
    drop(transaction);
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::Open(OpenError::Unavailable));
    }
    // The second is for macOS, where the first alone does not reach the disk. The third lets the
    // log grow to 40 MB before it is written back, which makes every step cheaper.
    db.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA wal_autocheckpoint = 10000;",
    )?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if is_new(&transaction)? {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(db)
}

/// Whether the file is empty; if not, it must be ours.
fn is_new(db: &Connection) -> Result<bool, Fault> {
    let number = |sql| db.query_row(sql, [], |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    if application == i64::from(APPLICATION_ID) {
        return match version.cmp(&i64::from(VERSION)) {
            std::cmp::Ordering::Equal => Ok(false),
            std::cmp::Ordering::Greater => Err(Fault::Open(OpenError::Newer)),
            std::cmp::Ordering::Less => Err(Fault::Open(OpenError::Foreign)),
        };
    }
    let things = number("SELECT count(*) FROM sqlite_schema")?;
    if (application, version, things) == (0, 0, 0) {
        Ok(true)
    } else {
        Err(Fault::Open(OpenError::Foreign))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_reaches_the_disk() {
        let path = std::env::temp_dir().join(format!("x402-commit-{}.db", std::process::id()));
        let db = open(&path).unwrap();
        let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(pragma("synchronous"), 2);
        assert_eq!(pragma("fullfsync"), 1);
        let mode = db.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
        assert_eq!(mode.unwrap(), "wal");
        drop(db);
        std::fs::remove_file(path).unwrap();
    }
}
