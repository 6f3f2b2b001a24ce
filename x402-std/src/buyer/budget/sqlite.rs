use std::fmt;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use x402_core::budget::{DAY, Per, admit};
use x402_core::{Amount, Reason, Version};

use super::{
    Budget, BudgetError, Limit, Purchase, Reserved, Spent, State, Step, UNFUNDED_A_DAY, is_shortage,
};
use crate::message::{NetworkId, PaymentRequirements, SettleResponse};
use crate::sqlite::{Database, Schema, seconds};
use crate::store::OpenError;
use crate::transport::PaymentText;

/// Times are Unix seconds. A purchase of more than a day ago is `added_up` in `before`, which has one row for
/// each host, payee and token. So sums stay fast over the years. The columns from `pay_to` to `amount` repeat
/// `offer`, for sums. `receipt`, `reason` and `payment` are set in states that have one.
const SCHEMA: Schema = Schema {
    application_id: 0x7834_3042, // x40B
    version: 1,
    tables: "
CREATE TABLE purchases (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    at INTEGER NOT NULL,
    host TEXT NOT NULL,
    what TEXT NOT NULL,
    digest BLOB NOT NULL,
    offer TEXT NOT NULL,
    pay_to TEXT NOT NULL,
    network TEXT NOT NULL,
    asset TEXT NOT NULL,
    decimals INTEGER NOT NULL,
    amount TEXT NOT NULL,
    state TEXT NOT NULL,
    version INTEGER,
    payment TEXT,
    receipt TEXT,
    reason TEXT,
    added_up INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX purchases_recent ON purchases (at) WHERE added_up = 0;
CREATE TABLE before (
    host TEXT NOT NULL,
    pay_to TEXT NOT NULL,
    network TEXT NOT NULL,
    asset TEXT NOT NULL,
    decimals INTEGER NOT NULL,
    at INTEGER NOT NULL,
    amount TEXT NOT NULL,
    PRIMARY KEY (host, pay_to, network, asset, decimals)
) STRICT, WITHOUT ROWID;
CREATE INDEX before_latest ON before (at);
",
    upgrade: "",
};

/// The columns of a purchase.
const COLUMNS: &str =
    "id, at, host, what, digest, offer, decimals, state, version, payment, receipt, reason";
/// The columns of a sum.
const SPENT: &str = "host, pay_to, network, asset, decimals, at, amount";

/// Most purchases that are added up for a new one, so that it waits for no more.
const ADD_UP: i64 = 256;

/// A budget in a file, for the processes of one host (feature `sqlite`).
///
/// A reservation is on the disk before the payment is signed. So a killed process or a power cut never makes
/// room for a payment that may have been made. Only its owner can read the file. It has each payment from its
/// signature until its receipt. So the payment can be presented again by the purchase's id, even after a
/// crash. Purchases are kept for ever; delete the file to forget them and their sums. Keep it on a disk of
/// this host, as with [`SqliteStore`](crate::store::SqliteStore).
///
/// ```no_run
/// use x402_std::buyer::budget::SqliteBudget;
/// let budget = SqliteBudget::open("budget.db")?;
/// # Ok::<(), x402_std::store::OpenError>(())
/// ```
pub struct SqliteBudget(Database);

impl SqliteBudget {
    /// Opens the file, or makes it, readable to its owner only. Waits for the disk.
    ///
    /// # Errors
    /// [`OpenError::Foreign`], [`OpenError::Newer`] and [`OpenError::Exposed`], which leave the file as it
    /// was; [`OpenError::Unavailable`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Database::open(path.as_ref(), &SCHEMA).map(Self)
    }

    async fn step<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Connection) -> rusqlite::Result<Result<T, BudgetError>> + Send + 'static,
    ) -> Result<T, BudgetError> {
        self.0.step(step).await.unwrap_or(Err(BudgetError::Unavailable))
    }
}

impl fmt::Debug for SqliteBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqliteBudget")
    }
}

impl Budget for SqliteBudget {
    async fn reserve(&self, purchase: Purchase, limits: &[Limit]) -> Result<Reserved, BudgetError> {
        let limits = limits.to_vec();
        self.step(move |db| reserve(db, &purchase, &limits)).await
    }

    async fn write(&self, id: &str, step: Step) -> Result<(), BudgetError> {
        let id = id.to_owned();
        self.step(move |db| write(db, &id, &step)).await
    }

    async fn find(&self, id: &str) -> Result<Option<Purchase>, BudgetError> {
        let id = id.to_owned();
        self.step(move |db| find(db, &id)).await
    }

    async fn history(&self, most: usize) -> Result<Vec<Purchase>, BudgetError> {
        let sql = format!("SELECT {COLUMNS} FROM purchases ORDER BY number DESC");
        self.step(move |db| {
            let mut rows = db.prepare_cached(&sql)?;
            let rows = rows.query_map([], |row| Ok(purchase(row).ok_or_else(|| name(row, 0))))?;
            // An unreadable purchase hides no others.
            let readable = rows.filter_map(|row| match row {
                Ok(Ok(purchase)) => Some(Ok(purchase)),
                Ok(Err(id)) => {
                    tracing::warn!(
                        id,
                        "an unreadable purchase is left out: correct its row in the budget"
                    );
                    None
                }
                Err(error) => Some(Err(error)),
            });
            readable.take(most).collect::<Result<_, _>>().map(Ok)
        })
        .await
    }

    async fn spends(&self, now: u64) -> Result<Vec<Spent>, BudgetError> {
        self.step(move |db| spends(db, now, true)).await
    }
}

fn reserve(
    db: &Connection,
    purchase: &Purchase,
    limits: &[Limit],
) -> rusqlite::Result<Result<Reserved, BudgetError>> {
    match find(db, &purchase.id)? {
        Ok(None) => {}
        Ok(Some(known)) => return Ok(Ok(Reserved::Known(Box::new(known)))),
        Err(error) => return Ok(Err(error)),
    }
    add_up(db, purchase.at)?;
    if !limits.is_empty() {
        let for_ever = limits.iter().any(|limit| limit.per == Per::Ever);
        let spent = match spends(db, purchase.at, for_ever)? {
            Ok(spent) => spent,
            Err(error) => return Ok(Err(error)),
        };
        let views: Vec<_> = limits.iter().map(Limit::as_view).collect();
        let spent = spent.iter().map(|spent| spent.spend);
        if let Err(exceeded) = admit(&views, spent, &purchase.spend()) {
            return Ok(Err(exceeded.into()));
        }
    }
    let Ok(offer) = purchase.offer.to_json() else { return Ok(Err(BudgetError::Unavailable)) };
    let spent = Spent::from(purchase);
    db.prepare_cached(
        "INSERT INTO purchases
         (id, at, host, what, digest, offer, pay_to, network, asset, decimals, amount, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'reserved')",
    )?
    .execute(params![
        purchase.id,
        seconds(purchase.at),
        purchase.host,
        purchase.what,
        purchase.digest,
        offer,
        spent.pay_to,
        spent.network.to_string(),
        spent.asset,
        purchase.decimals,
        purchase.offer.amount.to_string(),
    ])?;
    Ok(Ok(Reserved::New))
}

fn write(db: &Connection, id: &str, step: &Step) -> rusqlite::Result<Result<(), BudgetError>> {
    let written = match step {
        Step::Released => db
            .prepare_cached(
                "DELETE FROM purchases WHERE id = ?1 AND state = 'reserved' AND added_up = 0",
            )?
            .execute([id])?,
        Step::Signed(payment) => db
            .prepare_cached(
                "UPDATE purchases SET state = 'signed', version = ?2, payment = ?3
                 WHERE id = ?1 AND state <> 'paid'",
            )?
            .execute(params![id, payment.version.number(), payment.json])?,
        Step::Paid(receipt) => {
            let Ok(receipt) = receipt.to_json() else { return Ok(Err(BudgetError::Unavailable)) };
            db.prepare_cached(
                "UPDATE purchases SET state = 'paid', receipt = ?2, payment = NULL, reason = NULL
                 WHERE id = ?1 AND state <> 'paid'",
            )?
            .execute([id, &receipt])?
        }
        Step::Refused(reason) if is_shortage(*reason) => db
            .prepare_cached(
                "UPDATE purchases SET reason = ?2, state = CASE WHEN (
                     SELECT count(*) FROM purchases AS other
                     WHERE other.state = 'unfunded' AND other.id <> ?1
                     AND other.at > purchases.at - ?3) < ?4 THEN 'unfunded' ELSE 'refused' END
                 WHERE id = ?1 AND state <> 'paid'",
            )?
            .execute(params![
                id,
                reason.map(Reason::as_str),
                seconds(DAY),
                seconds(UNFUNDED_A_DAY as u64)
            ])?,
        Step::Refused(reason) => db
            .prepare_cached(
                "UPDATE purchases SET state = 'refused', reason = ?2
                 WHERE id = ?1 AND state <> 'paid'",
            )?
            .execute(params![id, reason.map(Reason::as_str)])?,
    };
    let lost = matches!(step, Step::Signed(_)) && written == 0;
    Ok(if lost { Err(BudgetError::Unavailable) } else { Ok(()) })
}

fn find(db: &Connection, id: &str) -> rusqlite::Result<Result<Option<Purchase>, BudgetError>> {
    let found = db
        .prepare_cached(&format!("SELECT {COLUMNS} FROM purchases WHERE id = ?1"))?
        .query_row([id], |row| Ok(purchase(row)))
        .optional()?;
    Ok(found.map(|purchase| purchase.ok_or_else(|| unknown(id))).transpose())
}

/// A row's content, in the order of [`COLUMNS`]; `None` if it cannot be read.
fn purchase(row: &Row<'_>) -> Option<Purchase> {
    let text = |column| row.get::<_, Option<String>>(column).ok();
    let state = match row.get::<_, String>(7).ok()?.as_str() {
        "reserved" => State::Reserved,
        "signed" => State::Signed,
        "paid" => State::Paid(Box::new(SettleResponse::from_json(text(10)??.as_bytes()).ok()?)),
        "refused" => State::Refused(text(11)?.as_deref().and_then(Reason::parse)),
        "unfunded" => State::Unfunded(text(11)?.as_deref().and_then(Reason::parse)?),
        _ => return None,
    };
    let payment = match (row.get::<_, Option<i64>>(8).ok()?, text(9)?) {
        (Some(version), Some(json)) => Some(PaymentText {
            version: Version::from_number(u64::try_from(version).ok()?).ok()?,
            json,
        }),
        _ => None,
    };
    Some(Purchase {
        id: text(0)??,
        at: time(row, 1)?,
        host: text(2)??,
        what: text(3)??,
        digest: row.get(4).ok()?,
        offer: PaymentRequirements::from_json(text(5)??.as_bytes()).ok()?,
        decimals: row.get(6).ok()?,
        payment,
        state,
    })
}

fn time(row: &Row<'_>, column: usize) -> Option<u64> {
    row.get::<_, i64>(column).ok()?.try_into().ok()
}

/// Returns the name of a row, in the log and in the file.
fn name(row: &Row<'_>, column: usize) -> String {
    row.get(column).unwrap_or_else(|_| "that is no text".into())
}

/// Returns the error for a row that cannot be read, and logs it: such a row must not make room.
fn unknown(id: &str) -> BudgetError {
    tracing::error!(
        id,
        "an unreadable purchase in the budget stops purchases that depend on it: correct its row in \
         the file, or restore an older copy of the file"
    );
    BudgetError::Unavailable
}

/// Returns the sums that count at `now`: all, or those of a day. Sums with a later time, from a clock that
/// has been corrected since, count for this day too.
fn spends(
    db: &Connection,
    now: u64,
    for_ever: bool,
) -> rusqlite::Result<Result<Vec<Spent>, BudgetError>> {
    let mut spends = select_spent(db, "purchases WHERE added_up = 0 AND state <> 'unfunded'", &[])?;
    for purchase in unfunded(db)? {
        match purchase {
            Ok(purchase) if !purchase.counts(now) => {}
            Ok(purchase) => spends.push(Ok(Spent::from(&purchase))),
            Err(id) => spends.push(Err(id)),
        }
    }
    spends.extend(match for_ever {
        true => select_spent(db, "before", &[])?,
        false => select_spent(db, "before WHERE at > ?1", &[&seconds(now.saturating_sub(DAY))])?,
    });
    Ok(spends.into_iter().collect::<Result<_, _>>().map_err(|id| unknown(&id)))
}

/// Returns the purchases that count only for a while, or the id of a row that cannot be read.
fn unfunded(db: &Connection) -> rusqlite::Result<Vec<Result<Purchase, String>>> {
    let sql = format!("SELECT {COLUMNS} FROM purchases WHERE added_up = 0 AND state = 'unfunded'");
    let mut rows = db.prepare_cached(&sql)?;
    rows.query_map([], |row| Ok(purchase(row).ok_or_else(|| name(row, 0))))?.collect()
}

/// Returns the sums in `from`. A row that cannot be read has its id instead, or its host where purchases are
/// added up.
fn select_spent(
    db: &Connection,
    from: &str,
    params: &[&dyn ToSql],
) -> rusqlite::Result<Vec<Result<Spent, String>>> {
    let id = if from.starts_with("before") { "host" } else { "id" };
    let mut rows = db.prepare_cached(&format!("SELECT {SPENT}, {id} FROM {from}"))?;
    rows.query_map(params, |row| Ok(spent(row).ok_or_else(|| name(row, 7))))?.collect()
}

/// A row's content, in the order of [`SPENT`].
fn spent(row: &Row<'_>) -> Option<Spent> {
    let text = |column| row.get::<_, String>(column).ok();
    let (host, pay_to, asset) = (text(0)?, text(1)?, text(3)?);
    let network: NetworkId = text(2)?.parse().ok()?;
    let amount = Amount::parse(&text(6)?).ok()?;
    let (decimals, at) = (row.get(4).ok()?, time(row, 5)?);
    let spend = Spent::spend(at, &host, &pay_to, (&network, &asset), decimals, amount);
    Some(Spent { host, pay_to, network, asset, spend })
}

/// Adds up purchases that are more than a day old.
fn add_up(db: &Connection, now: u64) -> rusqlite::Result<()> {
    // Purchases that expired unpaid do not count.
    let expired = unfunded(db)?.into_iter().flatten().filter(|purchase| !purchase.counts(now));
    for purchase in expired.filter(|purchase| purchase.at <= now.saturating_sub(DAY)) {
        db.prepare_cached("UPDATE purchases SET added_up = 1 WHERE id = ?1")?
            .execute([purchase.id])?;
    }
    let old: Vec<i64> = db
        .prepare_cached(
            "SELECT number FROM purchases WHERE added_up = 0 AND at <= ?1 ORDER BY at LIMIT ?2",
        )?
        .query_map(params![seconds(now.saturating_sub(DAY)), ADD_UP], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for number in old {
        // A row that cannot be read or added stays in its place, and is found there.
        let found = select_spent(db, "purchases WHERE number = ?1", &[&number])?;
        let Some(Ok(spent)) = found.into_iter().next() else { continue };
        let Spent { host, pay_to, asset, .. } = &spent;
        let (network, decimals) = (spent.network.to_string(), spent.spend.decimals);
        let known = select_spent(
            db,
            "before WHERE (host, pay_to, network, asset, decimals) = (?1, ?2, ?3, ?4, ?5)",
            &[host, pay_to, &network, asset, &decimals],
        )?;
        let sum = match known.first() {
            Some(Ok(known)) => {
                let sum = known.spend.amount.checked_add(spent.spend.amount);
                sum.map(|sum| (sum, known.spend.at.max(spent.spend.at)))
            }
            Some(Err(_)) => None,
            None => Some((spent.spend.amount, spent.spend.at)),
        };
        let Some((sum, at)) = sum else { continue };
        db.prepare_cached("INSERT OR REPLACE INTO before VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
            .execute(params![
                host,
                pay_to,
                network,
                asset,
                decimals,
                seconds(at),
                sum.to_string()
            ])?;
        db.prepare_cached("UPDATE purchases SET added_up = 1 WHERE number = ?1")?
            .execute([number])?;
    }
    Ok(())
}
