//! SQLite files. Each has one thread, which makes all waiting steps in one transaction.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};
use std::{io, iter, thread};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use tokio::sync::oneshot;

use crate::exposed;
use crate::lock;
use crate::store::OpenError;

/// Longest wait of a step for the steps of other processes.
const BUSY: Duration = Duration::from_secs(5);
/// Interval between attempts meanwhile. SQLite's own intervals are so long that a process which never rests
/// would keep the others out.
const LOOK: Duration = Duration::from_millis(1);
/// Most steps in one transaction.
const BATCH: usize = 256;

/// A file's tables, and the application id and version in its header.
pub(crate) struct Schema {
    pub(crate) application_id: i32,
    pub(crate) version: i32,
    pub(crate) tables: &'static str,
    /// The statements that upgrade a file of the previous version; empty if there is no upgrade.
    pub(crate) upgrade: &'static str,
}

/// An open file.
pub(crate) struct Database(Sender<Job>);

/// A step inside a transaction. It returns a call that informs the waiting caller, after the commit.
type Job = Box<dyn FnOnce(&Connection) -> rusqlite::Result<Box<dyn FnOnce() + Send>> + Send>;

impl Database {
    /// Opens the file, or makes it, readable to its owner only. Waits for the disk.
    pub(crate) fn open(path: &Path, schema: &Schema) -> Result<Self, OpenError> {
        let db = open(path, schema)?;
        let place = Place::new(path)?;
        let (jobs, waiting) = mpsc::channel();
        thread::Builder::new()
            .name("x402 sqlite".into())
            .spawn(move || work(db, place, &waiting))
            .map_err(|_| OpenError::Unavailable)?;
        Ok(Self(jobs))
    }

    /// Makes a step, together with all others that wait, and waits until it is on the disk. Returns `None` if
    /// that failed: then nothing is known to be done.
    pub(crate) async fn step<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |db| {
            // The caller has left, and would not know of the step.
            if reply.is_closed() {
                return Ok(Box::new(|| {}));
            }
            let done = step(db)?;
            Ok(Box::new(move || {
                reply.send(done).ok();
            }))
        });
        self.0.send(job).ok()?;
        // A failed transaction drops the `reply` of each of its steps.
        answer.await.ok()
    }
}

/// SQLite's integers are signed.
pub(crate) fn seconds(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// The place and the identity of the open file. SQLite goes on with a file that was deleted or replaced,
/// and everything written from then on is lost when it is closed.
struct Place {
    path: PathBuf,
    file: Option<(u64, u64)>,
    looked: Instant,
    is_there: bool,
}

/// Interval between checks that the file is still in its place.
const PLACE: Duration = Duration::from_secs(1);

impl Place {
    fn new(path: &Path) -> Result<Self, OpenError> {
        let path = std::path::absolute(path).map_err(|_| OpenError::Unavailable)?;
        let file = identity(&path);
        Ok(Self { path, file, looked: Instant::now(), is_there: true })
    }

    /// Whether the file is still the one that was opened.
    fn is_there(&mut self) -> bool {
        if self.looked.elapsed() < PLACE {
            return self.is_there;
        }
        self.looked = Instant::now();
        let is_there = identity(&self.path) == self.file;
        if self.is_there && !is_there {
            tracing::error!(
                path = %self.path.display(),
                "the SQLite file was deleted or replaced while in use: put it back, or restart"
            );
        }
        self.is_there = is_there;
        is_there
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Elsewhere an open file cannot be deleted.
#[cfg(not(unix))]
fn identity(_: &Path) -> Option<(u64, u64)> {
    None
}

/// Makes the steps that wait, until the database is dropped.
fn work(mut db: Connection, mut place: Place, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        if !place.is_there() {
            // Dropped steps return `None`: nothing was done.
            drop(first);
            jobs.try_iter().for_each(drop);
            continue;
        }
        if let Err(error) = commit(&mut db, first, jobs) {
            let path = place.path.display();
            tracing::warn!(%error, %path, "SQLite file failed: check its disk and other processes");
        }
    }
}

/// Makes one step, and those that came while it waited for its turn, in one transaction: all or none.
fn commit(db: &mut Connection, first: Job, jobs: &Receiver<Job>) -> rusqlite::Result<()> {
    let transaction =
        db.transaction_with_behavior(TransactionBehavior::Immediate).inspect_err(|_| {
            // The other steps waited as long, and fail with it.
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

fn open(path: &Path, schema: &Schema) -> Result<Connection, OpenError> {
    // Closing a file releases every lock of this process on it, and so the locks of another thread that is
    // making the same file.
    static OPENING: Mutex<()> = Mutex::new(());
    let _turn = lock(&OPENING);
    // SQLite gives some names a special meaning; none of them is absolute.
    let path = std::path::absolute(path).map_err(|_| OpenError::Unavailable)?;
    match create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(OpenError::Unavailable);
        }
        _ => {}
    }
    // SQLite also reads the files that it puts beside it.
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut file = path.clone().into_os_string();
        file.push(suffix);
        exposed::check(Path::new(&file), false).map_err(OpenError::Exposed)?;
    }
    let started = Instant::now();
    loop {
        match connect(&path, schema) {
            // While a connection switches a new file to its log, or recovers one, others fail at once.
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

/// Makes the file if it is missing. SQLite gives the same rights to the files that it puts beside it.
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

fn connect(path: &Path, schema: &Schema) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags)?;
    let tries = (BUSY.as_millis() / LOOK.as_millis()) as i32;
    const { assert!(BUSY.as_millis() / LOOK.as_millis() < 1 << 20) }
    db.busy_handler(Some(move |tried| {
        thread::sleep(LOOK);
        tried < tries
    }))?;
    // One transaction, as another process may be filling the file.
    let transaction = db.transaction()?;
    age(&transaction, schema)?;
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
    let missing = match age(&transaction, schema)? {
        Age::New => schema.tables,
        Age::Before => schema.upgrade,
        Age::Current => "",
    };
    if !missing.is_empty() {
        transaction.execute_batch(missing)?;
        transaction.pragma_update(None, "application_id", schema.application_id)?;
        transaction.pragma_update(None, "user_version", schema.version)?;
    }
    transaction.commit()?;
    Ok(db)
}

/// A file's relation to a schema.
enum Age {
    /// It is empty.
    New,
    /// It has the previous version, and can be upgraded.
    Before,
    Current,
}

/// The age of the file.
///
/// # Errors
/// [`OpenError::Newer`], or [`OpenError::Foreign`] for a file that is neither empty nor of this schema.
fn age(db: &Connection, schema: &Schema) -> Result<Age, Fault> {
    let number = |sql| db.query_row(sql, [], |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    if application == i64::from(schema.application_id) {
        return match version.cmp(&i64::from(schema.version)) {
            std::cmp::Ordering::Equal => Ok(Age::Current),
            std::cmp::Ordering::Less
                if version + 1 == i64::from(schema.version) && !schema.upgrade.is_empty() =>
            {
                Ok(Age::Before)
            }
            std::cmp::Ordering::Greater => Err(Fault::Open(OpenError::Newer)),
            std::cmp::Ordering::Less => Err(Fault::Open(OpenError::Foreign)),
        };
    }
    let things = number("SELECT count(*) FROM sqlite_schema")?;
    if (application, version, things) == (0, 0, 0) {
        Ok(Age::New)
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
        let schema = Schema { application_id: 1, version: 1, tables: "SELECT 1;", upgrade: "" };
        let db = open(&path, &schema).unwrap();
        let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(pragma("synchronous"), 2);
        assert_eq!(pragma("fullfsync"), 1);
        let mode = db.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
        assert_eq!(mode.unwrap(), "wal");
        drop(db);
        std::fs::remove_file(path).unwrap();
    }
}
