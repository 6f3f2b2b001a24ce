use std::fmt;
use std::future::Future;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, ScriptInvocation};
use tokio::sync::Mutex;
use tokio::time::timeout;
use x402_core::claim::{ClaimKey, ClaimState, Presented, Resource, Transaction};

use super::durable::OpenError;
use super::state::{decode_state as decode, encode_state as encode};
use super::{ClaimStore, Found, PENDING_AFTER, Pending, Record, Role, StoreError, Usage};

mod scripts;

use scripts::{ADVANCE, PENDING, PRESENT, RELEASE};

/// Time limit for a step, including the connection.
const STEP: Duration = Duration::from_secs(5);
/// Time limit for replicas to have a step, within [`STEP`].
const REPLICATION: Duration = Duration::from_secs(2);

/// Seconds by which Redis keeps a claim longer than necessary, by its own clock.
const MARGIN: u64 = 24 * 60 * 60;
/// Claims on payments that are valid for more seconds than this never expire.
const LONG: u64 = 1_000_000_000;

/// Claims in Redis, for many hosts (feature `redis`).
///
/// It needs Redis 6.0 or a compatible server, and a tokio runtime with time enabled. A step is one script,
/// and so a compare-and-swap. A step that takes longer than 5 seconds fails with [`StoreError::Unavailable`].
/// The next step replaces a failed connection. The Redis user needs `INFO`, `EVALSHA`, `SCRIPT LOAD`, `TIME`,
/// `GET`, `GETRANGE`, `SET`, `EXPIREAT`, `PERSIST`, `DEL`, `ZADD`, `ZREM`, `ZRANGEBYSCORE` and, to wait for
/// replicas, `WAIT`. `rediss` URLs need the feature `tls`.
///
/// # Requirements for Redis
/// - **It does not evict.** `maxmemory-policy` is `noeviction`, or `maxmemory` is 0; other servers are
///   refused at each connection. When Redis is full, a new payment is [`StoreError::Full`], and existing
///   claims go on.
/// - **It keeps acknowledged steps.** With `appendonly no` a restart loses the claims made since the last
///   snapshot, and each connection logs a warning. With `appendfsync everysec` a power cut loses the last
///   second; with `always`, nothing is lost.
/// - **It is one primary.** Connections to replicas are refused. Replication is asynchronous: a replica that
///   takes over lacks the primary's last steps, unless [`with_replicas`](Self::with_replicas) waits for as
///   many replicas as can take over. A primary that was cut off, and is unaware of its successor, still takes
///   steps: set `min-replicas-to-write`. Sentinel and Cluster are not supported.
///
/// # Expiry
/// Claims expire a day later than [`ClaimState::is_forgettable`] needs, so that Redis does not grow without
/// end. The seconds until then count from the caller's time when the payment is first presented, and Redis's
/// clock measures them. The two clocks may differ, but neither may jump ahead by a day. Claims on payments
/// that are valid for more than another billion seconds never expire.
///
/// ```no_run
/// # async fn connect() -> Result<(), x402_std::store::OpenError> {
/// use std::time::Duration;
/// use x402_std::store::RedisStore;
/// let store = RedisStore::connect("redis://127.0.0.1/", "shop:claim:").await?;
/// let store = store.with_lease(Duration::from_secs(120)).with_replicas(1);
/// # Ok(())
/// # }
/// ```
pub struct RedisStore {
    client: Client,
    prefix: String,
    lease: Option<Duration>,
    replicas: usize,
    connection: Mutex<Connection>,
}

/// The connection that all steps share, and the number of connections before it.
#[derive(Default)]
struct Connection {
    open: Option<MultiplexedConnection>,
    number: u64,
}

impl RedisStore {
    /// Connects to the server at `url`: `redis://[[user]:password@]host[:port][/database]`, or
    /// `unix:///path`. The URL is kept secret.
    ///
    /// Every key begins with `prefix`. Applications that share a server use different prefixes; those that
    /// share claims use the same one.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn connect(url: &str, prefix: &str) -> Result<Self, OpenError> {
        let store = Self {
            client: Client::open(url).map_err(|_| OpenError::Address)?,
            prefix: prefix.into(),
            lease: None,
            replicas: 0,
            connection: Mutex::default(),
        };
        let open = timeout(STEP, open(&store.client)).await;
        store.connection.lock().await.open = Some(open.map_err(|_| OpenError::Unavailable)??);
        Ok(store)
    }

    /// Returns whether [`connect`](Self::connect) accepts such a URL. It asks no server.
    pub fn is_address(url: &str) -> bool {
        Client::open(url).is_ok()
    }

    /// Sets a lease, in whole seconds. After it, a claim for which nothing was sent goes to the next caller
    /// that presents its payment: see [`store`](super#claims-that-are-abandoned). Without a lease, such a
    /// claim lasts until it expires.
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Sets how many replicas must have a step before it is acknowledged. If they take longer than 2 seconds,
    /// the step fails with [`StoreError::Unavailable`], although the primary has made it.
    pub fn with_replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    fn key(&self, key: ClaimKey) -> String {
        format!("{}{}", self.prefix, hex::encode(key.as_bytes()))
    }

    fn record(&self, key: ClaimKey) -> String {
        format!("{}record:{}", self.prefix, hex::encode(key.as_bytes()))
    }

    fn pending_of(&self, role: Role) -> String {
        format!("{}pending:{}", self.prefix, role.as_str())
    }

    /// Runs a query over the connection, which is made anew if it failed before.
    async fn ask<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        question: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, StoreError> {
        // The number of the connection that was tried.
        let mut tried = None;
        let answer = async {
            let connection = {
                let mut shared = self.connection.lock().await;
                match &shared.open {
                    Some(connection) => {
                        tried = Some(shared.number);
                        connection.clone()
                    }
                    None => {
                        let connection =
                            open(&self.client).await.map_err(|_| StoreError::Unavailable)?;
                        shared.number += 1;
                        tried = Some(shared.number);
                        shared.open.insert(connection).clone()
                    }
                }
            };
            question(connection).await.map_err(|error| {
                // The error's text may contain the server's address.
                let code = error.code().unwrap_or_default();
                if code == "OOM" || error.detail().is_some_and(|text| text.contains("OOM command"))
                {
                    return StoreError::Full;
                }
                tracing::warn!(kind = ?error.kind(), code, "claim store failed");
                StoreError::Unavailable
            })
        };
        let answer = timeout(STEP, answer).await.unwrap_or_else(|_| {
            tracing::warn!("claim store did not answer in time");
            Err(StoreError::Unavailable)
        });
        // This does not wait: a task that holds the lock for long is connecting anew.
        if matches!(answer, Err(StoreError::Unavailable))
            && let Ok(mut shared) = self.connection.try_lock()
            && tried == Some(shared.number)
        {
            shared.open = None;
        }
        answer
    }

    /// Makes a step.
    async fn step<T: redis::FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let (answer, replicas) = self
            .ask(async |mut connection| {
                let answer = script.invoke_async(&mut connection).await?;
                if self.replicas == 0 {
                    return Ok((answer, 0));
                }
                let mut wait = redis::cmd("WAIT");
                wait.arg(self.replicas).arg(REPLICATION.as_millis() as u64);
                Ok((answer, wait.query_async(&mut connection).await?))
            })
            .await?;
        if replicas < self.replicas {
            tracing::warn!(replicas, "claim not replicated in time");
            return Err(StoreError::Unavailable);
        }
        Ok(answer)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("prefix", &self.prefix)
            .field("lease", &self.lease)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}

impl ClaimStore for RedisStore {
    async fn present(
        &self,
        key: ClaimKey,
        resource: Resource,
        expires_at: u64,
        now: u64,
    ) -> Result<Presented, StoreError> {
        let resource = hex::encode(resource.0);
        // A claim that was made before this second is older than the lease.
        let abandoned = self.lease.and_then(|lease| now.checked_sub(lease.as_secs()));
        let left = expires_at.saturating_sub(now);
        let gone = (left <= LONG).then(|| left + MARGIN);
        let claim: Option<String> = self
            .step(
                PRESENT
                    .key(self.key(key))
                    .arg(format!("{now:020}"))
                    .arg(&resource)
                    .arg(abandoned.map_or(String::new(), |before| format!("{before:020}")))
                    .arg(gone.map_or(String::new(), |seconds| seconds.to_string()))
                    .arg(kept_longest()),
            )
            .await?;
        let Some(claim) = claim else { return Ok(Presented::New) };
        let (known, state) = read(&claim)?;
        Ok(Presented::again(&state, known == resource))
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
        let kind = match to {
            ClaimState::Broadcast(_) => "broadcast",
            ClaimState::Failed(_) => "failed",
            _ => "",
        };
        let record = record.map_or_else(Vec::new, |record| {
            [record.role.as_str().as_bytes(), b" ", &record.bytes].concat()
        });
        let moved: u8 = self
            .step(
                ADVANCE
                    .key(self.key(key))
                    .key(self.record(key))
                    .key(self.pending_of(Role::Seller))
                    .key(self.pending_of(Role::Facilitator))
                    .arg(encode(from))
                    .arg(encode(&to))
                    .arg(kept_longer(&to))
                    .arg(MARGIN)
                    .arg(hex::encode(key.as_bytes()))
                    .arg(kind)
                    .arg(record)
                    .arg(PENDING_AFTER.as_secs()),
            )
            .await?;
        if moved == 1 { Ok(()) } else { Err(StoreError::Conflict) }
    }

    async fn release(&self, key: ClaimKey) -> Result<(), StoreError> {
        let mut state = ClaimState::Claimed;
        loop {
            let mut release = RELEASE.key(self.key(key));
            release.key(self.record(key)).arg(encode(&state));
            if self.step::<u8>(&release).await? == 1 {
                return Ok(());
            }
            // Most such claims are `Claimed`, but a `Failed` one may be released too.
            match self.state(key).await {
                Ok(Some(now)) if now != state && now.may_be_released() => state = now,
                _ => return Err(StoreError::Conflict),
            }
        }
    }

    async fn find(&self, key: ClaimKey) -> Result<Option<Found>, StoreError> {
        // `GET` fails for a key that is not a string, where `MGET` returns nothing.
        let mut get = redis::pipe();
        get.get(self.key(key)).get(self.record(key));
        let (claim, record): (Option<String>, Option<Vec<u8>>) =
            self.ask(async |mut connection| get.query_async(&mut connection).await).await?;
        let Some(claim) = claim else { return Ok(None) };
        let (_, state) = read(&claim)?;
        Ok(Some(Found { state, record: record.and_then(read_record) }))
    }

    async fn pending(
        &self,
        role: Role,
        hold: Duration,
        most: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        let set = self.pending_of(role);
        let names: Vec<String> = self.step(PENDING.key(&set).arg(most).arg(hold.as_secs())).await?;
        let mut pending = Vec::new();
        for name in names {
            let mut key = [0; 32];
            let named = hex::decode_to_slice(&name, &mut key).ok().map(|()| ClaimKey::new(key));
            let found = match named {
                Some(key) => self.find(key).await?.map(|found| (key, found)),
                None => None,
            };
            match found {
                Some((
                    key,
                    Found { state: state @ ClaimState::Broadcast(_), record: Some(it) },
                )) => {
                    pending.push(Pending { key, state, record: it.bytes });
                }
                // It moved on, or has expired.
                _ => {
                    let mut gone = redis::cmd("ZREM");
                    gone.arg(&set).arg(&name);
                    self.ask(async |mut it| gone.query_async::<u8>(&mut it).await).await?;
                }
            }
        }
        Ok(pending)
    }

    async fn usage(&self) -> Result<Option<Usage>, StoreError> {
        let mut info = redis::cmd("INFO");
        info.arg("memory");
        let info: String =
            self.ask(async |mut connection| info.query_async(&mut connection).await).await?;
        let number = |name| info_value(&info, name)?.parse().ok();
        let usage = number("used_memory").zip(number("maxmemory"));
        let usage = usage.map(|(used, capacity)| Usage { used, capacity });
        Ok(usage.filter(|usage| usage.capacity > 0))
    }

    fn is_durable(&self) -> bool {
        true
    }
}

/// Reads the role and the bytes of a record.
fn read_record(record: Vec<u8>) -> Option<Record> {
    let space = record.iter().position(|byte| *byte == b' ')?;
    let (role, bytes) = record.split_at(space);
    Some(Record { role: Role::parse(role)?, bytes: bytes.get(1..)?.into() })
}

/// Returns a value from the answer to `INFO`.
fn info_value<'i>(info: &'i str, name: &str) -> Option<&'i str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// Returns the longest [`kept_longer`], that of a broadcast with a known transaction.
fn kept_longest() -> u64 {
    kept_longer(&ClaimState::Broadcast(Transaction::try_from("known").unwrap_or_default()))
}

/// Returns the seconds for which a claim is kept after its payment's end.
fn kept_longer(state: &ClaimState) -> u64 {
    state.kept_until(0).unwrap_or(0)
}

/// Reads the resource and the state of a claim.
fn read(claim: &str) -> Result<(&str, ClaimState), StoreError> {
    let mut parts = claim.splitn(4, ' ').skip(2);
    let resource = parts.next();
    let state = parts.next().and_then(decode);
    resource.zip(state).ok_or_else(|| {
        tracing::warn!("a claim is in a state that this version does not know");
        StoreError::Unavailable
    })
}

/// Connects, and checks that claims are safe there.
async fn open(client: &Client) -> Result<MultiplexedConnection, OpenError> {
    // The caller's time limit covers all of it.
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let failed = |error: RedisError| match error.kind() {
        ErrorKind::InvalidClientConfig => OpenError::Address,
        kind => {
            tracing::warn!(?kind, "claim store could not be reached");
            OpenError::Unavailable
        }
    };
    let mut connection =
        client.get_multiplexed_async_connection_with_config(&config).await.map_err(failed)?;
    let info: String = redis::cmd("INFO").query_async(&mut connection).await.map_err(failed)?;
    let value = |name| info_value(&info, name);
    match value("role") {
        Some("master") => {}
        Some(_) => {
            tracing::warn!("this Redis is a replica: claims are kept by the primary");
            return Err(OpenError::Replica);
        }
        None => return Err(OpenError::Unavailable),
    }
    if value("maxmemory") != Some("0") && value("maxmemory_policy") != Some("noeviction") {
        tracing::warn!("this Redis may evict claims: set maxmemory-policy to noeviction");
        return Err(OpenError::Evicts);
    }
    if value("aof_enabled") != Some("1") {
        tracing::warn!("this Redis loses claims when it restarts: set appendonly to yes");
    }
    Ok(connection)
}
