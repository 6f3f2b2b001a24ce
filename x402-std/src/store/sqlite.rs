use std::fmt;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use x402_core::claim::{ClaimKey, ClaimState, Presented, Resource};

use super::durable::OpenError;
use super::state::{CLAIMED, decode_state as decode, encode_state as encode};
use super::{ClaimStore, Found, PENDING_AFTER, Pending, Record, Role, StoreError, Usage};
use crate::clock::{Clock, SystemClock};
use crate::lock;
use crate::sqlite::{Database, Schema, seconds};

/// Times are Unix seconds. `kept_until` is the last second at which the claim may not be forgotten, -1 if it
/// always may be. Triggers keep the number of claims, since a count of all rows takes long. `role` and
/// `record` are set if the claim has a record. `due` is the time, by SQLite's clock, from which a pending
/// claim may be handed out.
const SCHEMA: Schema = Schema {
    application_id: 0x7834_3032, // x402
    version: 2,
    tables: "
CREATE TABLE claims (
    key BLOB NOT NULL PRIMARY KEY,
    resource BLOB NOT NULL,
    claimed_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    kept_until INTEGER NOT NULL,
    state TEXT NOT NULL,
    role TEXT,
    record BLOB,
    due INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_kept_until ON claims (kept_until);
CREATE INDEX claims_due ON claims (role, due) WHERE due IS NOT NULL;
CREATE TABLE claim_count (claims INTEGER NOT NULL) STRICT;
INSERT INTO claim_count VALUES (0);
CREATE TRIGGER claim_made AFTER INSERT ON claims
    BEGIN UPDATE claim_count SET claims = claims + 1; END;
CREATE TRIGGER claim_gone AFTER DELETE ON claims
    BEGIN UPDATE claim_count SET claims = claims - 1; END;
",
    upgrade: "
ALTER TABLE claims ADD COLUMN role TEXT;
ALTER TABLE claims ADD COLUMN record BLOB;
ALTER TABLE claims ADD COLUMN due INTEGER;
CREATE INDEX claims_due ON claims (role, due) WHERE due IS NOT NULL;
",
};

/// Most claims that are forgotten for a new one, so that it waits for no more.
const FORGET: usize = 1_000;

/// Claims in a file, for the processes of one host (feature `sqlite`). The files `.lock` and `.lock2` beside
/// it show each process whether others use it.
///
/// A step is acknowledged when it is on the disk. From then on it survives a killed process, and a power cut
/// too if the disk reports its writes truthfully. Steps that wait at the same time share one transaction.
/// Keep the file on a disk of this host, as SQLite's write-ahead log fails over network file systems. While
/// the file is in use, copy it only by SQLite's own means.
///
/// All times beyond the year 292 277 026 596 count as one. A claim on a payment that expires later is never
/// forgotten, unless it failed.
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
    database: Database,
    users: Users,
}

/// The processes that use one file. Each holds a shared lock on a file beside it.
struct Users {
    /// The file on which every process holds a shared lock, and the file that a process locks while it looks
    /// for others. An attempt at an exclusive lock gives up the shared one for a moment.
    lock: Option<Mutex<(File, File)>>,
    since: u64,
}

impl Users {
    fn new(path: &Path) -> Self {
        let mut options = OpenOptions::new();
        options.write(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let open = |suffix| {
            let mut beside = path.to_path_buf().into_os_string();
            beside.push(suffix);
            options.open(beside)
        };
        let lock = open(".lock").and_then(|held| {
            let looking = open(".lock2")?;
            held.lock_shared()?;
            Ok((held, looking))
        });
        let lock = lock.inspect_err(|error| tracing::warn!(%error, "no lock beside the claims"));
        Self { lock: lock.ok().map(Mutex::new), since: SystemClock.now() }
    }

    fn alone_since(&self) -> Option<u64> {
        let files = lock(self.lock.as_ref()?);
        let (held, looking) = &*files;
        looking.try_lock().ok()?;
        let alone = held.try_lock().is_ok();
        let held = held.lock_shared();
        looking.unlock().ok()?;
        held.ok()?;
        alone.then_some(self.since)
    }
}

impl SqliteStore {
    /// Opens the file, or makes it, readable to its owner only. Waits for the disk.
    ///
    /// # Errors
    /// [`OpenError::Foreign`] and [`OpenError::Newer`], which leave the file as it was;
    /// [`OpenError::Unavailable`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let database = Database::open(path.as_ref(), &SCHEMA)?;
        let users = Users::new(path.as_ref());
        Ok(Self { capacity: 1_000_000, lease: None, database, users })
    }

    /// Sets the capacity, in claims. The default is a million, about 300 MB when full.
    pub fn with_capacity(mut self, claims: usize) -> Self {
        self.capacity = claims as u64;
        self
    }

    /// Sets a lease, in whole seconds. After it, a claim for which nothing was sent goes to the next caller
    /// that presents its payment: see [`store`](super#claims-that-are-abandoned). Without a lease, such a
    /// claim lasts until it is forgotten.
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    async fn step<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Connection) -> rusqlite::Result<Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.database.step(step).await.unwrap_or(Err(StoreError::Unavailable))
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
        let capacity = seconds(self.capacity);
        let with = |lease| {
            self.step(move |db| present(db, key, resource, expires_at, now, capacity, lease))
        };
        let presented = with(self.lease).await?;
        // If no other process uses the file, the holder of a claim from before this process began is dead.
        // Then the claim is free before its lease ends.
        if presented == Presented::Known(ClaimState::Claimed)
            && let Some(lease) = self.lease
            && let Some(alone) = self.alone_since().and_then(|since| now.checked_sub(since))
            && alone < lease.as_secs()
        {
            return with(Some(Duration::from_secs(alone + 1))).await;
        }
        Ok(presented)
    }

    async fn advance(
        &self,
        key: ClaimKey,
        from: &ClaimState,
        to: ClaimState,
    ) -> Result<(), StoreError> {
        self.advance_with(key, from, to, None).await
    }

    async fn state(&self, key: ClaimKey) -> Result<Option<ClaimState>, StoreError> {
        Ok(self.find(key).await?.map(|found| found.state))
    }

    async fn advance_with(
        &self,
        key: ClaimKey,
        from: &ClaimState,
        to: ClaimState,
        record: Option<Record>,
    ) -> Result<(), StoreError> {
        if !from.may_become(&to) {
            return Err(StoreError::Conflict);
        }
        let from = encode(from);
        self.step(move |db| advance(db, key, &from, &to, record.as_ref())).await
    }

    async fn release(&self, key: ClaimKey) -> Result<(), StoreError> {
        self.step(move |db| {
            let state: Option<String> = db
                .prepare_cached("SELECT state FROM claims WHERE key = ?1")?
                .query_row([key.as_bytes()], |row| row.get(0))
                .optional()?;
            let state = state.and_then(|state| decode(&state));
            if !state.is_some_and(|state| state.may_be_released()) {
                return Ok(Err(StoreError::Conflict));
            }
            db.prepare_cached("DELETE FROM claims WHERE key = ?1")?.execute([key.as_bytes()])?;
            Ok(Ok(()))
        })
        .await
    }

    async fn find(&self, key: ClaimKey) -> Result<Option<Found>, StoreError> {
        self.step(move |db| {
            let found = db
                .prepare_cached("SELECT state, role, record FROM claims WHERE key = ?1")?
                .query_row([key.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            Ok(found.map(|(state, role, bytes)| found_in(state, role, bytes)).transpose())
        })
        .await
    }

    async fn pending(
        &self,
        role: Role,
        hold: Duration,
        most: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        self.step(move |db| pending(db, role, hold, most).map(Ok)).await
    }

    async fn usage(&self) -> Result<Option<Usage>, StoreError> {
        let capacity = self.capacity;
        self.step(move |db| {
            let used = u64::try_from(count(db)?).unwrap_or(0);
            Ok(Ok(Some(Usage { used, capacity })))
        })
        .await
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn alone_since(&self) -> Option<u64> {
        self.users.alone_since()
    }
}

fn found_in(
    state: String,
    role: Option<String>,
    bytes: Option<Vec<u8>>,
) -> Result<Found, StoreError> {
    let state = read(&state)?;
    let role = role.and_then(|role| Role::parse(role.as_bytes()));
    Ok(Found { state, record: role.zip(bytes).map(|(role, bytes)| Record { role, bytes }) })
}

fn advance(
    db: &Connection,
    key: ClaimKey,
    from: &str,
    to: &ClaimState,
    record: Option<&Record>,
) -> rusqlite::Result<Result<(), StoreError>> {
    let expires_at: Option<i64> = db
        .prepare_cached("SELECT expires_at FROM claims WHERE key = ?1 AND state = ?2")?
        .query_row(params![key.as_bytes(), from], |row| row.get(0))
        .optional()?;
    let Some(expires_at) = expires_at else { return Ok(Err(StoreError::Conflict)) };
    db.prepare_cached(
        "UPDATE claims SET state = ?2, kept_until = ?3,
            role = CASE WHEN ?6 THEN NULL ELSE COALESCE(?4, role) END,
            record = CASE WHEN ?6 THEN NULL ELSE COALESCE(?5, record) END,
            due = CASE WHEN ?7 THEN COALESCE(due, unixepoch() + ?8) END
         WHERE key = ?1",
    )?
    .execute(params![
        key.as_bytes(),
        encode(to),
        kept(to, expires_at),
        record.map(|record| record.role.as_str()),
        record.map(|record| &record.bytes),
        matches!(to, ClaimState::Failed(_)),
        matches!(to, ClaimState::Broadcast(_)),
        seconds(PENDING_AFTER.as_secs()),
    ])?;
    Ok(Ok(()))
}

fn pending(
    db: &Connection,
    role: Role,
    hold: Duration,
    most: usize,
) -> rusqlite::Result<Vec<Pending>> {
    let rows: Vec<([u8; 32], String, Vec<u8>)> = db
        .prepare_cached(
            "SELECT key, state, record FROM claims
             WHERE role = ?1 AND due <= unixepoch() AND record IS NOT NULL
             ORDER BY due LIMIT ?2",
        )?
        .query_map(params![role.as_str(), seconds(most as u64)], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    let mut pending = Vec::new();
    for (key, state, record) in rows {
        db.prepare_cached("UPDATE claims SET due = unixepoch() + ?2 WHERE key = ?1")?
            .execute(params![key, seconds(hold.as_secs())])?;
        if let Some(state) = decode(&state) {
            pending.push(Pending { key: ClaimKey::new(key), state, record });
        }
    }
    Ok(pending)
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
    db.prepare_cached(
        "INSERT INTO claims (key, resource, claimed_at, expires_at, kept_until, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
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

fn kept(state: &ClaimState, expires_at: i64) -> i64 {
    state.kept_until(u64::try_from(expires_at).unwrap_or(0)).map_or(-1, seconds)
}
