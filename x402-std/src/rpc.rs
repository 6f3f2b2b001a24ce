//! Requests to the nodes of a chain, over JSON-RPC.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use reqwest::redirect::Policy;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use url::Url;
use x402_core::Network;
use x402_svm::base58;

use crate::buyer::client::is_private;
use crate::buyer::wallet::{BlockhashError, Blockhashes};
use crate::lock;

mod balances;
mod error;
mod exchange;

pub use balances::{Balance, BalanceError, EvmRpc};
use error::more_telling;
pub use error::{RpcError, RpcUrlError};
use exchange::{Call, exchange};

/// Longest wait for an answer to one attempt, by default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Attempts in all, by default.
const ATTEMPTS: u32 = 4;

/// Waits between rounds: the first one and the longest. Each is cut at random to between half and all of
/// it, so that clients do not all come back at once.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// Longest answer: a block of some EVM chains lists thousands of transactions, and a node's logs may
/// be long.
const ANSWER_BYTES: usize = 4 << 20;

/// Time for which a node that failed is asked last.
const REST: Duration = Duration::from_secs(30);

/// The nodes of one network, over JSON-RPC 2.0.
///
/// Their URLs are secrets, since many have a key in them; nothing shows them. Requests go over TLS, which
/// needs the feature `tls`, or to this machine, without a proxy. Redirects are not followed. A node that
/// failed is asked last for half a minute.
#[derive(Clone)]
pub struct Nodes {
    http: reqwest::Client,
    nodes: Arc<[Arc<Node>]>,
    timeout: Duration,
    attempts: u32,
}

struct Node {
    /// Its place among all given nodes, from 0, for the log.
    place: usize,
    url: Url,
    calls: AtomicU64,
    failed: Mutex<Option<Instant>>,
}

impl Node {
    fn rests(&self) -> bool {
        let failed = *lock(&self.failed);
        failed.is_some_and(|failed| failed.elapsed() < REST)
    }

    fn note(&self, failure: Option<&RpcError>) {
        let before = self.rests();
        *lock(&self.failed) = failure.map(|_| Instant::now());
        match failure {
            Some(error) if !before => tracing::warn!(node = self.place, %error, "RPC node failed"),
            _ => {}
        }
    }
}

impl Nodes {
    /// The nodes at these URLs, the preferred one first.
    ///
    /// # Errors
    /// [`RpcUrlError`], also if there is no URL.
    pub fn new<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Result<Self, RpcUrlError> {
        let node = |(place, url): (usize, U)| {
            let url = Url::parse(url.as_ref()).ok().filter(is_private).ok_or(RpcUrlError)?;
            Ok(Arc::new(Node { place, url, calls: AtomicU64::new(0), failed: Mutex::new(None) }))
        };
        let nodes: Arc<[_]> = urls.into_iter().enumerate().map(node).collect::<Result<_, _>>()?;
        if nodes.is_empty() {
            return Err(RpcUrlError);
        }
        let http = reqwest::Client::builder().redirect(Policy::none()).no_proxy().build();
        let http = http.map_err(|_| RpcUrlError)?;
        Ok(Self { http, nodes, timeout: TIMEOUT, attempts: ATTEMPTS })
    }

    /// Sets the time limit of each attempt. The default is 10 seconds.
    pub fn with_timeout(self, each: Duration) -> Self {
        Self { timeout: each, ..self }
    }

    /// Sets the number of attempts in all, at least 1. The default is 4.
    pub fn with_attempts(self, attempts: u32) -> Self {
        Self { attempts: attempts.max(1), ..self }
    }

    /// The number of nodes.
    #[cfg(any(feature = "evm-ledger", feature = "svm-ledger"))]
    pub(crate) fn count(&self) -> usize {
        self.nodes.len()
    }

    /// The nodes whose place in `which` is `true`, in the order in which they were given.
    #[cfg(any(feature = "evm-ledger", feature = "svm-ledger"))]
    pub(crate) fn only(&self, which: &[bool]) -> Self {
        let kept = self.nodes.iter().zip(which).filter(|(_, kept)| **kept);
        Self { nodes: kept.map(|(node, _)| Arc::clone(node)).collect(), ..self.clone() }
    }

    /// Sends a request to one node after another until one answers, and again after a wait that doubles,
    /// until the attempts are used up. An error is an answer, unless the node gets too many requests or
    /// lags.
    ///
    /// # Errors
    /// [`RpcError`]; of several, the one that explains most.
    pub async fn ask(
        &self,
        method: &str,
        params: &impl Serialize,
    ) -> Result<Box<RawValue>, RpcError> {
        let params = encode(params)?;
        let (mut left, mut wait, mut worst) = (self.attempts, FIRST_WAIT, RpcError::Unreachable);
        loop {
            let mut passing = false;
            for node in self.in_turn() {
                if left == 0 {
                    return Err(worst);
                }
                left -= 1;
                match self.once(&node, method, &params).await {
                    Err(error) if !error.is_answer() => {
                        passing |= error.is_passing();
                        worst = more_telling(worst, error);
                    }
                    answer => return answer,
                }
            }
            if left == 0 || !passing {
                return Err(worst);
            }
            pause(&mut wait).await;
        }
    }

    /// Sends a request that is harmless when repeated, such as a signed transaction, to every node at once.
    /// Each node is tried until it answers, within its share of the attempts. The first result is returned;
    /// the other requests go on.
    ///
    /// # Errors
    /// [`RpcError`] if there is no result; of several, the one that explains most. A node may have carried
    /// out the request all the same.
    pub async fn tell(
        &self,
        method: &str,
        params: &impl Serialize,
    ) -> Result<Box<RawValue>, RpcError> {
        let (method, params): (Arc<str>, Arc<RawValue>) = (method.into(), encode(params)?.into());
        let share = usize::try_from(self.attempts).unwrap_or(usize::MAX) / self.nodes.len().max(1);
        let mut telling = JoinSet::new();
        for node in self.nodes.iter() {
            let (nodes, node) = (self.clone(), Arc::clone(node));
            let (method, params) = (Arc::clone(&method), Arc::clone(&params));
            telling.spawn(async move {
                let (mut left, mut wait) = (share.max(1), FIRST_WAIT);
                loop {
                    left -= 1;
                    match nodes.once(&node, &method, &params).await {
                        Err(error) if error.is_passing() && left > 0 => pause(&mut wait).await,
                        answer => return answer,
                    }
                }
            });
        }
        let mut worst = RpcError::Unreachable;
        while let Some(answer) = telling.join_next().await {
            match answer {
                Ok(Ok(result)) => {
                    telling.detach_all();
                    return Ok(result);
                }
                Ok(Err(error)) => worst = more_telling(worst, error),
                // The task neither panics nor is stopped.
                Err(_) => {}
            }
        }
        Err(worst)
    }

    /// Sends a request to `n` nodes at once, or to all if there are fewer, as to witnesses. Returns their
    /// answers in the order of the nodes. Another node replaces one that fails, as long as there is one.
    /// Each is asked once.
    pub async fn ask_each(
        &self,
        n: usize,
        method: &str,
        params: &impl Serialize,
    ) -> Vec<Result<Box<RawValue>, RpcError>> {
        let params: Arc<RawValue> = match encode(params) {
            Ok(params) => params.into(),
            Err(error) => return vec![Err(error)],
        };
        let method: Arc<str> = method.into();
        let mut others = self.in_turn().into_iter();
        let mut asking = JoinSet::new();
        let ask = |asking: &mut JoinSet<_>, node: Arc<Node>| {
            let (nodes, method, params) = (self.clone(), Arc::clone(&method), Arc::clone(&params));
            asking.spawn(async move {
                let answer = nodes.once(&node, &method, &params).await;
                (node.place, answer)
            });
        };
        others.by_ref().take(n).for_each(|node| ask(&mut asking, node));
        let mut answers = Vec::new();
        while let Some(answer) = asking.join_next().await {
            let Ok((place, answer)) = answer else { continue };
            match (&answer, others.len()) {
                (Err(error), 1..) if !error.is_answer() => {
                    others.by_ref().take(1).for_each(|node| ask(&mut asking, node));
                }
                _ => answers.push((place, answer)),
            }
        }
        answers.sort_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// Sends a request to all nodes at once. Returns the answers that come within a time, or else the first
    /// answer after it.
    #[cfg(feature = "evm-ledger")]
    pub(crate) async fn ask_all(
        &self,
        within: Duration,
        method: &str,
        params: &impl Serialize,
    ) -> Vec<Box<RawValue>> {
        let Ok(params) = encode(params) else { return Vec::new() };
        let (method, params): (Arc<str>, Arc<RawValue>) = (method.into(), params.into());
        let mut asking = JoinSet::new();
        for node in self.in_turn() {
            let (nodes, method, params) = (self.clone(), Arc::clone(&method), Arc::clone(&params));
            asking.spawn(async move { nodes.once(&node, &method, &params).await });
        }
        let (end, mut answers) = (tokio::time::Instant::now() + within, Vec::new());
        loop {
            let next = asking.join_next();
            let next = match answers.is_empty() {
                true => next.await,
                false => tokio::time::timeout_at(end, next).await.unwrap_or(None),
            };
            match next {
                Some(Ok(Ok(answer))) => answers.push(answer),
                Some(_) => {}
                None => return answers,
            }
        }
    }

    /// The nodes; those that failed lately come last.
    fn in_turn(&self) -> Vec<Arc<Node>> {
        let mut nodes: Vec<_> = self.nodes.iter().map(|node| (node.rests(), node)).collect();
        nodes.sort_by_key(|(rests, _)| *rests);
        nodes.into_iter().map(|(_, node)| Arc::clone(node)).collect()
    }

    async fn once(
        &self,
        node: &Node,
        method: &str,
        params: &RawValue,
    ) -> Result<Box<RawValue>, RpcError> {
        let id = node.calls.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let call = Call { jsonrpc: "2.0", id, method, params };
        let call = serde_json::to_string(&call).map_err(|_| RpcError::BadAnswer)?;
        let request = self.http.post(node.url.clone()).timeout(self.timeout);
        let answer = exchange(request.header("content-type", "application/json").body(call), id);
        let answer = answer.await;
        node.note(answer.as_ref().err().filter(|error| !error.is_answer()));
        answer
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nodes({})", self.nodes.len())
    }
}

/// Time between requests to a node that has not shown its network yet.
#[cfg(any(feature = "evm-ledger", feature = "svm-ledger"))]
const SHOW_AGAIN: Duration = Duration::from_secs(30);

/// Nodes that are used only once they have shown that they are of the right network: answers of another
/// network would be about other money.
#[cfg(any(feature = "evm-ledger", feature = "svm-ledger"))]
pub(crate) struct OwnNodes {
    nodes: Nodes,
    method: &'static str,
    is_right: Box<dyn Fn(&RawValue) -> bool + Send + Sync>,
    shown: Mutex<Shown>,
}

#[cfg(any(feature = "evm-ledger", feature = "svm-ledger"))]
struct Shown {
    right: Vec<bool>,
    asked: Option<Instant>,
    /// Nodes that were of another network when first asked, and still are: they are given by mistake.
    wrong_at_first: Vec<bool>,
}

#[cfg(any(feature = "evm-ledger", feature = "svm-ledger"))]
impl OwnNodes {
    /// Nodes whose answer to `method`, without parameters, shows whether they are right.
    pub(crate) fn new(
        nodes: Nodes,
        method: &'static str,
        is_right: impl Fn(&RawValue) -> bool + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (right, wrong_at_first) = (vec![false; nodes.count()], vec![false; nodes.count()]);
        let shown = Shown { right, asked: None, wrong_at_first };
        Arc::new(Self { nodes, method, is_right: Box::new(is_right), shown: Mutex::new(shown) })
    }

    fn shown(&self) -> std::sync::MutexGuard<'_, Shown> {
        lock(&self.shown)
    }

    /// The number of all nodes.
    #[cfg(feature = "svm-ledger")]
    pub(crate) fn count(&self) -> usize {
        self.nodes.count()
    }

    /// The number of nodes that have shown that they are right.
    #[cfg(feature = "svm-ledger")]
    pub(crate) fn right(&self) -> usize {
        self.shown().right.iter().filter(|right| **right).count()
    }

    /// Whether one of the nodes was of another network when first asked.
    #[cfg(feature = "evm-ledger")]
    pub(crate) fn wrong_at_first(&self) -> bool {
        self.shown().wrong_at_first.contains(&true)
    }

    /// The nodes that have shown that they are right, perhaps none. The others are asked again now and then.
    pub(crate) async fn get(self: &Arc<Self>) -> Nodes {
        let (some, due) = {
            let mut shown = self.shown();
            let mistake = shown.wrong_at_first.contains(&true);
            let some = shown.right.contains(&true) && !mistake;
            let all = shown.right.iter().all(|right| *right);
            let due = !all && shown.asked.is_none_or(|asked| asked.elapsed() > SHOW_AGAIN);
            if due && some {
                shown.asked = Some(Instant::now());
            }
            (some, due)
        };
        if !some {
            // The call needs one node at least; other callers meanwhile ask too.
            self.ask().await;
        } else if due {
            let own = Arc::clone(self);
            tokio::spawn(async move { own.ask().await });
        }
        self.nodes.only(&self.shown().right)
    }

    /// Asks the nodes that have not shown it yet. Returns `false` if one is of another network.
    pub(crate) async fn ask(&self) -> bool {
        let missing: Vec<bool> = self.shown().right.iter().map(|right| !right).collect();
        let asked = self.nodes.only(&missing);
        let no_params: [(); 0] = [];
        let answers = asked.ask_each(asked.count(), self.method, &no_params).await;
        let mut shown = self.shown();
        let at_first = shown.asked.is_none() && !shown.right.contains(&true);
        shown.asked = Some(Instant::now());
        let mut none_wrong = true;
        let missing = missing.iter().enumerate().filter(|(_, missing)| **missing);
        for ((place, _), answer) in missing.zip(answers) {
            let Ok(answer) = answer else { continue };
            let is_right = (self.is_right)(&answer);
            if !is_right {
                tracing::warn!(node = place, "RPC node is of another network: check its URL");
                none_wrong = false;
            }
            if let Some(right) = shown.right.get_mut(place) {
                *right = is_right;
            }
            if let Some(wrong) = shown.wrong_at_first.get_mut(place) {
                *wrong = !is_right && (at_first || *wrong);
            }
        }
        none_wrong
    }
}

fn encode(params: &impl Serialize) -> Result<Box<RawValue>, RpcError> {
    serde_json::value::to_raw_value(params).map_err(|_| RpcError::BadAnswer)
}

/// Waits, and doubles the next wait.
async fn pause(wait: &mut Duration) {
    let mut random = [0; 1];
    // Without random bytes it is the longest wait.
    if getrandom::fill(&mut random).is_err() {
        random = [u8::MAX];
    }
    let cut = f64::from(random[0]) / f64::from(u8::MAX);
    tokio::time::sleep(wait.mul_f64(0.5 + cut / 2.0)).await;
    *wait = wait.saturating_mul(2).min(LONGEST_WAIT);
}

/// A Solana node over JSON-RPC, for recent blockhashes and balances.
///
/// Its URL is a secret, since many have a key in them. Requests go over TLS or to this machine only.
#[derive(Clone)]
pub struct SvmRpc {
    nodes: Nodes,
    /// The cluster that the node reports.
    cluster: Arc<OnceLock<String>>,
}

impl SvmRpc {
    /// The node at `url`. An `https` URL needs the feature `tls`: without it, every request ends in
    /// [`BlockhashError::Unreachable`].
    ///
    /// # Errors
    /// [`RpcUrlError`].
    pub fn new(url: &str) -> Result<Self, RpcUrlError> {
        Ok(Nodes::new([url])?.with_timeout(Duration::from_secs(20)).with_attempts(2).into())
    }

    /// The newest confirmed blockhash.
    ///
    /// # Errors
    /// [`BlockhashError`].
    pub async fn latest_blockhash(&self) -> Result<[u8; 32], BlockhashError> {
        let params = json!([{ "commitment": "confirmed" }]);
        let answer = self.nodes.ask("getLatestBlockhash", &params).await;
        let answer = answer.map_err(|error| match error {
            RpcError::Unreachable | RpcError::TimedOut => BlockhashError::Unreachable,
            RpcError::Status(status) => BlockhashError::Status(status),
            RpcError::BadAnswer | RpcError::Refused { .. } => BlockhashError::BadAnswer,
        })?;
        let blockhash =
            |answer: Value| base58::decode(answer.pointer("/value/blockhash")?.as_str()?);
        serde_json::from_str(answer.get()).ok().and_then(blockhash).ok_or(BlockhashError::BadAnswer)
    }
}

/// Asks these nodes one after the other.
impl From<Nodes> for SvmRpc {
    fn from(nodes: Nodes) -> Self {
        Self { nodes, cluster: Arc::default() }
    }
}

impl fmt::Debug for SvmRpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SvmRpc")
    }
}

/// The network does not matter: a payment can settle only where its blockhash is known.
impl Blockhashes for SvmRpc {
    async fn latest(&self, _network: Network<'_>) -> Result<[u8; 32], BlockhashError> {
        self.latest_blockhash().await
    }
}
