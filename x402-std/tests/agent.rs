//! The agent of `x402 mcp`, driven by a scripted MCP client over its stdin and stdout, among honest
//! and hostile sellers on this machine. Whatever happens, neither key nor payment is in what it says.
#![cfg(feature = "cli")]

mod common;
#[allow(dead_code, missing_docs)] // it is a program
#[path = "../examples/one_ly.rs"]
mod one_ly;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Response};
use axum::routing::{any, get};
use common::{CHAIN_ID, NETWORK, SELLER, ledger, svm_wallet, usdc, wallet};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use x402_core::{Amount, Version};
use x402_evm::Address;
use x402_std::facilitator::LocalFacilitator;
use x402_std::facilitator::ledger::SimulatedLedger;
use x402_std::message::{PaymentRequired, PaymentRequirements, SettleResponse, decode_header};
use x402_std::seller::server::PaymentLayer;
use x402_std::seller::{Seller, exact};

/// Longer than anything here takes.
const LATE: Duration = Duration::from_secs(120);

// ---- a client that says what it is told to say

/// A directory of its own, gone at the end.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let name = format!("x402-agent-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn budget(&self) -> PathBuf {
        self.0.join("state/x402/budget.db")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

struct Agent {
    child: Child,
    stdin: Arc<tokio::sync::Mutex<Option<ChildStdin>>>,
    waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>,
    next: AtomicU64,
    /// All that it wrote, to stdout and stderr.
    said: Arc<Mutex<Vec<u8>>>,
    /// What it asked or told unasked.
    heard: Arc<Mutex<Vec<Value>>>,
    readers: Vec<JoinHandle<()>>,
    introduced: Value,
}

/// What a person says who is asked; `Absent` if the client cannot ask.
#[derive(Clone)]
enum Person {
    Absent,
    Silent,
    Says(Value),
}

/// The key in the forms it could be told in.
fn keys() -> Vec<String> {
    let keypair = keypair();
    let numbers: Vec<_> = keypair[..32].iter().map(ToString::to_string).collect();
    let base58 = x402_std::svm::base58::encode(&keypair, &mut [0; 100]).unwrap().to_owned();
    vec![hex::encode([7; 16]), numbers[..16].join(","), base58[..20].into()]
}

fn keypair() -> [u8; 64] {
    let mut keypair = [2; 64];
    keypair[32..].copy_from_slice(&svm_wallet().address().0);
    keypair
}

fn command(home: &Home, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_x402"));
    command.arg("mcp").args(args).env_clear();
    command.env("X402_EVM_KEY", hex::encode([7; 32])).env("XDG_STATE_HOME", home.0.join("state"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    command
}

thread_local! {
    /// The hosts of the sellers that a test has started by now.
    static HOSTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// With each seller's host as one that the person named.
fn naming<'a>(args: &[&'a str], hosts: &'a [String]) -> Vec<&'a str> {
    let hosts = hosts.iter().flat_map(|host| ["--host", host.as_str()]);
    args.iter().copied().chain(hosts).collect()
}

impl Agent {
    /// One that may ask the sellers on this machine.
    async fn start(home: &Home, args: &[&str]) -> Self {
        Self::with(home, args, Person::Absent).await
    }

    async fn with(home: &Home, args: &[&str], person: Person) -> Self {
        let hosts = HOSTS.with_borrow(Clone::clone);
        Self::alone(home, &naming(args, &hosts), person).await
    }

    /// One that may ask nobody but by what it is given.
    async fn alone(home: &Home, args: &[&str], person: Person) -> Self {
        Self::of(command(home, args), person).await
    }

    async fn of(command: Command, person: Person) -> Self {
        let capabilities = match person {
            Person::Absent => json!({}),
            Person::Says(_) | Person::Silent => json!({ "elicitation": {} }),
        };
        let mut agent = Self::spawn(command, person);
        let introduced = agent.ask(
            "initialize",
            json!({
                "protocolVersion": "2025-06-18",
                "capabilities": capabilities,
                "clientInfo": { "name": "test", "version": "0" },
            }),
        );
        agent.introduced = introduced.await["result"].clone();
        agent.tell(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
        agent
    }

    fn spawn(mut command: Command, person: Person) -> Self {
        let mut child = command.spawn().unwrap();
        let stdin = Arc::new(tokio::sync::Mutex::new(child.stdin.take()));
        let (waiting, said, heard) = <(Arc<Mutex<HashMap<_, _>>>, Arc<_>, Arc<_>)>::default();
        let out = child.stdout.take().unwrap();
        let err = child.stderr.take().unwrap();
        let readers = vec![
            tokio::spawn(listen(
                out,
                Arc::clone(&stdin),
                Arc::clone(&waiting),
                Arc::clone(&said),
                Arc::clone(&heard),
                person,
            )),
            tokio::spawn(hear(err, Arc::clone(&said))),
        ];
        let next = AtomicU64::new(1);
        Self { child, stdin, waiting, next, said, heard, readers, introduced: Value::Null }
    }

    async fn tell(&self, message: Value) {
        let mut stdin = self.stdin.lock().await;
        let line = format!("{message}\n");
        stdin.as_mut().unwrap().write_all(line.as_bytes()).await.unwrap();
    }

    /// The whole answer.
    async fn ask(&self, method: &str, params: Value) -> Value {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id, answer);
        self.tell(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
        timeout(LATE, answered).await.expect("an answer in time").expect("an answer")
    }

    /// What a tool gives, and whether it is an error.
    async fn called(&self, tool: &str, arguments: Value) -> (bool, Value) {
        let answer = self.ask("tools/call", json!({ "name": tool, "arguments": arguments })).await;
        let result = &answer["result"];
        let text = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), result["structuredContent"]);
        (result["isError"] == true, result["structuredContent"].clone())
    }

    async fn call(&self, tool: &str, arguments: Value) -> Value {
        let (is_error, told) = self.called(tool, arguments.clone()).await;
        assert!(!is_error, "{tool} {arguments}: {told}");
        told
    }

    async fn fails(&self, tool: &str, arguments: Value, code: &str, retry: &str) -> Value {
        let (is_error, told) = self.called(tool, arguments.clone()).await;
        assert!(is_error, "{tool} {arguments}: {told}");
        assert_eq!((&told["error"], &told["retry"]), (&json!(code), &json!(retry)), "{told}");
        assert!(told["message"].as_str().is_some_and(|text| !text.is_empty()), "{told}");
        told
    }

    /// What is left of the first limit.
    async fn left(&self) -> Value {
        self.call("x402_budget", json!({})).await["limits"][0]["left"].clone()
    }

    /// Hangs up, and waits until it has ended by itself: all that it wrote.
    async fn end(mut self, seen: &[&Seen]) -> String {
        self.stdin.lock().await.take();
        let status = timeout(LATE, self.child.wait()).await.expect("ends in time").unwrap();
        assert_eq!(status.code(), Some(0));
        self.said_no_secret(seen).await
    }

    /// Kills it as the system does that has no memory left.
    async fn kill(mut self, seen: &[&Seen]) {
        self.child.start_kill().unwrap();
        let status = self.child.wait().await.unwrap();
        assert_eq!(status.code(), None);
        self.said_no_secret(seen).await;
    }

    async fn said_no_secret(&mut self, seen: &[&Seen]) -> String {
        for reader in &mut self.readers {
            timeout(LATE, reader).await.expect("closes its output").unwrap();
        }
        let said = String::from_utf8(std::mem::take(&mut *self.said.lock().unwrap())).unwrap();
        let mut secrets = keys();
        for seen in seen {
            for header in seen.payments() {
                let payment: Value =
                    serde_json::from_slice(&decode_header(header.as_bytes()).unwrap()).unwrap();
                let payload = &payment["payload"];
                let signed = payload["signature"].as_str().or(payload["transaction"].as_str());
                secrets.push(signed.unwrap().trim_start_matches("0x").into());
                secrets.push(header.trim_end_matches('=').into());
            }
        }
        for secret in secrets {
            assert!(!said.contains(&secret), "{secret} in {said}");
        }
        said
    }
}

async fn hear(mut out: impl AsyncRead + Unpin, said: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = out.read(&mut chunk).await {
        said.lock().unwrap().extend_from_slice(&chunk[..read]);
    }
}

/// Every line is JSON-RPC.
async fn listen(
    out: impl AsyncRead + Unpin,
    stdin: Arc<tokio::sync::Mutex<Option<ChildStdin>>>,
    waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>,
    said: Arc<Mutex<Vec<u8>>>,
    heard: Arc<Mutex<Vec<Value>>>,
    person: Person,
) {
    let mut lines = BufReader::new(out).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        said.lock().unwrap().extend_from_slice(line.as_bytes());
        let message: Value = serde_json::from_str(&line).expect(&line);
        assert_eq!(message["jsonrpc"], "2.0");
        if message.get("method").is_none() {
            let id = message["id"].as_u64().unwrap();
            let waiting = waiting.lock().unwrap().remove(&id);
            if let Some(waiting) = waiting {
                waiting.send(message).ok();
            }
            continue;
        }
        if let (Person::Says(answer), "elicitation/create") =
            (&person, message["method"].as_str().unwrap())
        {
            let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": answer });
            let mut stdin = stdin.lock().await;
            stdin.as_mut().unwrap().write_all(format!("{answer}\n").as_bytes()).await.unwrap();
        }
        heard.lock().unwrap().push(message);
    }
}

// ---- sellers

/// What a seller was sent.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<HeaderMap>>>);

impl Seen {
    fn note(&self, headers: &HeaderMap) {
        self.0.lock().unwrap().push(headers.clone());
    }

    fn requests(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// The payment headers, each time that one came.
    fn payments(&self) -> Vec<String> {
        let all = self.0.lock().unwrap();
        all.iter().filter_map(payment_of).collect()
    }

    /// The nonces of payments: as many as were signed.
    fn nonces(&self) -> BTreeSet<String> {
        let nonce = |header: &String| {
            let json = decode_header(header.as_bytes()).unwrap();
            let payment: Value = serde_json::from_slice(&json).unwrap();
            payment["payload"]["authorization"]["nonce"].as_str().unwrap().to_owned()
        };
        self.payments().iter().map(nonce).collect()
    }
}

fn payment_of(headers: &HeaderMap) -> Option<String> {
    let header = headers.get("payment-signature").or(headers.get("x-payment"))?;
    Some(header.to_str().unwrap().into())
}

async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    HOSTS.with_borrow_mut(|hosts| hosts.push(address.to_string()));
    format!("http://{address}")
}

/// A seller that answers by a function of how many paid requests there were before, and of this one.
async fn seller<F, A>(answer: F) -> (String, Seen)
where
    F: Fn(Sent) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let seen = Seen::default();
    let note = seen.clone();
    let handler = move |request: Request| {
        let before = note.payments().len();
        note.note(request.headers());
        let payment = payment_of(request.headers());
        let sent = Sent { path: request.uri().path().into(), payment, before };
        answer(sent)
    };
    (serve(Router::new().fallback(any(handler))).await, seen)
}

struct Sent {
    path: String,
    payment: Option<String>,
    /// Payments that came before.
    before: usize,
}

/// An honest one, with a ledger on which the buyer has so much: `/weather` for a cent, `/dear` for half
/// a dollar, `/free`.
struct Honest {
    url: String,
    seen: Seen,
    facilitator: Arc<LocalFacilitator<SimulatedLedger>>,
}

impl Honest {
    async fn new() -> Self {
        let ledger = ledger();
        ledger.fund(CHAIN_ID, usdc(), wallet().address(), Amount::from(10_000_000)).unwrap();
        let facilitator = Arc::new(LocalFacilitator::new(ledger));
        let seller = Arc::new(Seller::new(Arc::clone(&facilitator)));
        let charge =
            |price| PaymentLayer::new(Arc::clone(&seller), exact(NETWORK, SELLER, price).unwrap());
        let seen = Seen::default();
        let note = seen.clone();
        let app = Router::new()
            .route(
                "/weather",
                any(|headers: HeaderMap, body: String| async move {
                    let as_type = headers.get("content-type").map(|it| it.to_str().unwrap());
                    axum::Json(json!({ "celsius": 21, "asked": body, "type": as_type }))
                })
                .layer(charge("$0.01")),
            )
            .route("/dear", get(|| async { "gold" }).layer(charge("$0.50")))
            .route("/free", get(|| async { "air" }))
            .layer(axum::middleware::map_request(move |request: Request| {
                note.note(request.headers());
                async move { request }
            }));
        Self { url: serve(app).await, seen, facilitator }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn paid(&self) -> u64 {
        let seller = Address::parse(SELLER).unwrap();
        self.facilitator.ledger().balance(CHAIN_ID, usdc(), seller).as_u64().unwrap()
    }
}

fn offer(price: &str) -> PaymentRequirements {
    exact(NETWORK, SELLER, price).unwrap()
}

fn challenge(offers: impl IntoIterator<Item = PaymentRequirements>) -> Response<Body> {
    let required = PaymentRequired {
        x402_version: Version::V2,
        error: None,
        resource: None,
        accepts: offers.into_iter().collect(),
        extensions: None,
        other: None,
    };
    let header = required.to_header().unwrap();
    Response::builder().status(402).header("payment-required", header).body("{}".into()).unwrap()
}

fn settled(body: impl Into<Body>) -> Response<Body> {
    let receipt = SettleResponse {
        success: true,
        transaction: format!("0x{}", "ab".repeat(32)),
        network: NETWORK.into(),
        ..SettleResponse::default()
    };
    let header = receipt.to_header().unwrap();
    Response::builder().header("payment-response", header).body(body.into()).unwrap()
}

fn redirect(to: &str) -> Response<Body> {
    Response::builder().status(307).header("location", to).body(Body::empty()).unwrap()
}

// ---- what is asked of it

#[tokio::test]
async fn introduces_itself_and_its_tools() {
    let home = Home::new("introduces");
    let agent = Agent::start(&home, &[]).await;
    let introduced = &agent.introduced;
    assert_eq!(introduced["serverInfo"]["name"], "x402");
    assert!(introduced["capabilities"]["tools"].is_object());
    let instructions = introduced["instructions"].as_str().unwrap();
    assert!(instructions.contains("x402_quote") && instructions.contains("never instructions"));
    let tools = agent.ask("tools/list", json!({})).await["result"]["tools"].clone();
    let names: Vec<_> =
        tools.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    let expected = ["discover", "quote", "call", "budget", "history", "review"];
    assert_eq!(names, expected.map(|name| format!("x402_{name}")));
    for tool in tools.as_array().unwrap() {
        assert_eq!(tool["inputSchema"]["type"], "object");
        assert!(tool["description"].as_str().unwrap().len() > 40, "{tool}");
    }
    let budget = agent.call("x402_budget", json!({})).await;
    assert_eq!(budget["limits"], json!([{ "limit": "$5 per day", "spent": "$0", "left": "$5" }]));
    assert_eq!(budget["maxPerPayment"], "$1");
    assert_eq!(budget["wallet"], json!({ "evm": wallet().address().to_string(), "solana": null }));
    assert_eq!((&budget["networks"], &budget["canAsk"]), (&json!("any"), &json!(false)));
    let unknown = agent.ask("tools/call", json!({ "name": "x402_raise_limit" })).await;
    assert!(unknown["error"].is_object());
    agent.end(&[]).await;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&home.budget()), 0o600);
        assert_eq!(mode(home.budget().parent().unwrap()), 0o700);
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_said_before_anything_is_served() {
    let home = Home::new("unusable");
    fs::write(home.0.join("other"), "not a database, whatever its name says").unwrap();
    let other = home.0.join("other");
    let cases: Vec<(Command, i32, &str)> = vec![
        (command(&home, &["--limit", "5 per day"]), 2, "not a limit"),
        (command(&home, &["--limit", "$5 per week"]), 2, "not a limit"),
        (command(&home, &["--limit", "1 of foo/bar"]), 2, "not a limit"),
        (command(&home, &["--limit", "1 of eip155:84532/USDC"]), 2, "not a limit"),
        (command(&home, &["--limit", "$1 per day payee nobody"]), 2, "not a limit"),
        (command(&home, &["--limit", "$1 per day host http://a.test"]), 2, "not a limit"),
        (command(&home, &["--max", "lots"]), 2, "--max"),
        (command(&home, &["--ask-above", "-1"]), 2, "error"),
        (command(&home, &["--host", "https://a.test"]), 2, "--host: not a host"),
        (command(&home, &["--host", "*"]), 2, "--host: a host has no wildcards"),
        (command(&home, &["--host", "http://*.a.test"]), 2, "--host: a host has no wildcards"),
        (command(&home, &["--host", "127.1"]), 2, "--host: not an IP address in full"),
        (command(&home, &["--limit", "$1 per day host *.a.test"]), 2, "no wildcards"),
        (command(&home, &["--limit", "$1 per day host 127.1"]), 2, "not an IP address in full"),
        (command(&home, &["--limit", "$1 per day host a.test:x"]), 2, "the port of the host"),
        (command(&home, &["--network", "fantasy"]), 2, "--network"),
        (command(&home, &["--payee", "joe"]), 2, "--payee"),
        (command(&home, &["--asset", "eip155:1/0x12:6"]), 2, "--asset"),
        (
            command(&home, &["--asset", "solana/So11111111111111111111111111111111111111112:9"]),
            2,
            "--asset",
        ),
        (command(&home, &["--discover", "a.test"]), 2, "--discover"),
        (command(&home, &["--budget", other.to_str().unwrap()]), 1, "--budget"),
        (command(&home, &["--upstream", "cat", "--max", "$1"]), 2, "cannot be used with"),
        (command(&home, &["--price", "$1"]), 2, "--upstream"),
    ];
    for (mut command, code, said) in cases {
        let output = timeout(LATE, command.output()).await.unwrap().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout), (Some(code), vec![]), "{said}: {stderr}");
        assert!(stderr.contains(said), "{said}: {stderr}");
    }
}

#[tokio::test]
async fn a_quote_pays_nothing_and_a_purchase_is_paid_once() {
    let (home, shop) = (Home::new("quote"), Honest::new().await);
    let agent = Agent::start(&home, &[]).await;
    let weather = shop.at("/weather");
    let quote = agent.call("x402_quote", json!({ "url": weather })).await;
    assert_eq!((&quote["fits"], &quote["asksPerson"]), (&json!(true), &json!(false)));
    let price = json!({
        "amount": "0.01", "symbol": "USDC", "units": "10000", "network": NETWORK,
        "asset": usdc().to_string(), "payTo": SELLER,
    });
    assert_eq!(quote["price"], price);
    assert_eq!(quote["left"][0]["left"], "$5");
    assert_eq!((shop.seen.payments().len(), agent.left().await), (0, json!("$5")));
    assert_eq!(agent.call("x402_quote", json!({ "url": shop.at("/free") })).await["free"], true);

    let buy = json!({ "url": weather, "body": { "city": "Lisbon" }, "id": "first" });
    let bought = agent.call("x402_call", buy.clone()).await;
    assert_eq!((&bought["status"], &bought["bodyType"]), (&json!(200), &json!("json")));
    assert_eq!(bought["body"]["celsius"], 21);
    assert_eq!(bought["body"]["asked"], r#"{"city":"Lisbon"}"#);
    assert_eq!((&bought["paid"], &bought["id"]), (&price, &json!("first")));
    let receipt = &bought["receipt"];
    assert_eq!((&receipt["success"], &receipt["network"]), (&json!(true), &json!(NETWORK)));
    assert!(receipt["transaction"].as_str().unwrap().starts_with("0x"));
    assert_eq!(bought["left"][0]["left"], "$4.99");
    assert_eq!(shop.paid(), 10_000);

    // The same again is not paid again, and something else by the same name is nothing.
    let mut again = agent.call("x402_call", buy.clone()).await;
    assert_eq!(again["again"].take(), json!(true));
    again.as_object_mut().unwrap().remove("again");
    assert_eq!(again, bought);
    let part =
        [&buy, &json!({ "maxBytes": 7, "offset": 3 })].map(|it| it.as_object().unwrap().clone());
    let part: serde_json::Map<_, _> = part.into_iter().flatten().collect();
    let part = agent.call("x402_call", part.into()).await;
    assert_eq!((part["body"].as_str().unwrap().len(), &part["nextOffset"]), (7, &json!(10)));
    let other = json!({ "url": weather, "body": "another", "id": "first" });
    agent.fails("x402_call", other, "another_purchase", "another_id").await;
    assert_eq!((shop.paid(), shop.seen.payments().len()), (10_000, 1));

    let free = agent.call("x402_call", json!({ "url": shop.at("/free") })).await;
    assert_eq!(
        (&free["body"], &free["paid"], &free["bodyType"]),
        (&json!("air"), &json!(null), &json!("text"))
    );
    let without_id = agent.call("x402_call", json!({ "url": weather, "method": "get" })).await;
    assert!(without_id["id"].as_str().unwrap().len() >= 16);

    for (body, headers, asked, as_type) in [
        (json!([1]), json!({}), "[1]", json!("application/json")),
        (json!(" {\"a\":1}"), json!({}), " {\"a\":1}", json!("application/json")),
        (json!("[1]"), json!({ "content-type": "text/plain" }), "[1]", json!("text/plain")),
        (json!("[1"), json!({}), "[1", json!(null)),
        (json!(null), json!(null), "", json!(null)),
    ] {
        let buy = json!({ "url": weather, "body": body, "headers": headers });
        let got = agent.call("x402_call", buy).await["body"].clone();
        assert_eq!((&got["asked"], &got["type"]), (&json!(asked), &as_type));
    }

    let history = agent.call("x402_history", json!({})).await["purchases"].clone();
    assert_eq!(history.as_array().unwrap().len(), 7);
    let first = &history[6];
    assert_eq!((&first["id"], &first["state"]), (&json!("first"), &json!("paid")));
    assert_eq!((&first["price"], &first["receipt"]), (&price, receipt));
    assert_eq!(first["what"], format!("POST {weather}"));
    let time = first["time"].as_str().unwrap();
    assert!(time.len() == 20 && time.ends_with('Z'), "{time}");
    let newest = agent.call("x402_history", json!({ "limit": 1 })).await["purchases"].clone();
    assert_eq!(newest, json!([history[0]]));
    agent.end(&[&shop.seen]).await;
}

#[tokio::test]
async fn discovers_buys_and_reviews_at_a_store_like_1lys() {
    let home = Home::new("1ly");
    let ledger = SimulatedLedger::new();
    one_ly::fund(&ledger, &svm_wallet().address().to_string()).unwrap();
    let facilitator = Arc::new(LocalFacilitator::new(ledger));
    let store = serve(one_ly::one_ly(facilitator).await.unwrap()).await;
    let key_file = home.0.join("id.json");
    fs::write(&key_file, serde_json::to_string(&keypair()[..]).unwrap()).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let key_file = key_file.to_str().unwrap();
    let one_ly = format!("1ly:{store}");
    let args = ["--svm-key-file", key_file, "--discover", &one_ly, "--discover", &store];
    let agent = Agent::start(&home, &args).await;

    let found = agent.call("x402_discover", json!({ "query": "weather" })).await;
    let results = found["results"].as_array().unwrap();
    assert_eq!(results.len(), 6, "three at each: {found}");
    let weather = format!("{store}/api/link/joe/weather");
    for result in [&results[0], &results[3]] {
        assert_eq!((&result["title"], &result["url"]), (&json!("Weather API"), &json!(weather)));
        let price = &result["listedPrices"][0];
        assert_eq!((&price["amount"], &price["symbol"]), (&json!("0.01"), &json!("USDC")));
    }
    // At 1ly the listing counts, which lies; at a Bazaar, the offers.
    let cheap =
        agent.call("x402_discover", json!({ "query": "weather", "maxPrice": "$0.005" })).await;
    let cheap = cheap["results"].as_array().unwrap();
    let bargain = format!("{store}/api/link/mallory/bargain");
    assert_eq!(cheap.iter().map(|it| &it["url"]).collect::<Vec<_>>(), [&json!(bargain)]);
    let quote = json!({ "url": bargain, "maxPrice": "$0.005" });
    let quote = agent.call("x402_quote", quote).await;
    assert_eq!((&quote["fits"], &quote["declined"]["error"]), (&json!(false), &json!("over_max")));
    assert_eq!(quote["offers"][0]["amount"], "0.25");

    let bought = agent.call("x402_call", json!({ "url": weather })).await;
    assert_eq!(bought["body"]["data"]["celsius"], 21);
    assert_eq!(bought["paid"]["network"], one_ly::SOLANA);
    assert_eq!(bought["receipt"]["payer"], svm_wallet().address().to_string());
    let (purchase, token) = (&bought["purchaseId"], &bought["reviewToken"]);
    assert!(purchase.is_string() && token.is_string(), "{bought}");
    let review = json!({ "purchaseId": purchase, "reviewToken": token, "positive": true, "comment": "sunny" });
    let reviewed = agent.call("x402_review", review.clone()).await;
    assert_eq!(reviewed["wallet"], svm_wallet().address().to_string());
    let again = agent.fails("x402_review", review, "review_refused", "never").await;
    assert_eq!(again["status"], 409);
    agent.end(&[]).await;

    // Another process does not know who paid, and tries each address.
    let agent = Agent::start(&home, &args).await;
    let bought = agent.call("x402_call", json!({ "url": weather })).await;
    agent.end(&[]).await;
    let agent = Agent::start(&home, &args).await;
    let (purchase, token) = (&bought["purchaseId"], &bought["reviewToken"]);
    let mut review = json!({ "purchaseId": purchase, "reviewToken": token, "positive": false });
    assert_eq!(agent.call("x402_review", review.clone()).await["reviewed"], true);
    review["wallet"] = SELLER.into();
    agent.fails("x402_review", review, "bad_arguments", "never").await;
    agent.end(&[]).await;
}

#[tokio::test]
async fn discovers_in_a_bazaar_without_a_search_and_says_who_is_silent() {
    let home = Home::new("bazaar");
    let items = json!([
        { "resource": "https://a.test/rain", "type": "http", "accepts": [offer("$0.02")],
          "metadata": { "description": "Rain\u{202e} in\nLisbon", "input": { "method": "POST" } } },
        { "resource": "https://b.test/gold", "type": "http", "accepts": [], "description": "Gold" },
        { "resource": "javascript:alert(1)", "description": "rain", "accepts": [] },
        { "resource": 7, "description": "rain" },
        "rain",
    ]);
    let listing = json!({ "x402Version": 2, "items": items });
    let bazaar = Router::new()
        .route("/discovery/resources", get(move || async move { axum::Json(listing) }));
    let bazaar = serve(bazaar).await;
    let nonsense = serve(Router::new().fallback(any(|| async { "[1]" }))).await;
    let nobody = "http://127.0.0.1:1";
    let args = ["--discover", &bazaar, "--discover", &nonsense, "--discover", nobody];
    let agent = Agent::alone(&home, &args, Person::Absent).await;
    let found = agent.call("x402_discover", json!({ "query": "RAIN lisbon" })).await;
    let expected = json!([{
        "title": null, "description": "Rain in Lisbon", "url": "https://a.test/rain",
        "method": "POST", "listedBy": bazaar,
        "listedPrices": [{ "amount": "0.02", "symbol": "USDC", "network": NETWORK }],
    }]);
    assert_eq!(found["results"], expected);
    let silent = found["silent"].as_array().unwrap();
    assert_eq!(silent.iter().map(|it| &it["url"]).collect::<Vec<_>>(), [&nonsense, nobody]);
    let cheap = json!({ "query": "rain", "maxPrice": 0.01 });
    agent.fails("x402_discover", cheap, "no_answer", "again").await;
    agent.end(&[]).await;
    let agent = Agent::start(&home, &[]).await;
    agent.fails("x402_discover", json!({ "query": "rain" }), "no_discovery", "never").await;
    let review = json!({ "purchaseId": "a", "reviewToken": "b", "positive": true });
    agent.fails("x402_review", review, "no_discovery", "never").await;
    agent.end(&[]).await;
}

#[tokio::test]
async fn what_is_over_a_limit_is_not_signed() {
    let (home, shop) = (Home::new("limits"), Honest::new().await);
    let limits = ["--limit", "$0.02 per day", "--limit", "$0.05", "--max", "$0.40"];
    let agent = Agent::start(&home, &limits).await;
    let weather = json!({ "url": shop.at("/weather") });
    let small = json!({ "url": shop.at("/weather"), "maxPrice": "$0.009" });
    agent.fails("x402_call", small, "over_max", "never").await;
    agent.fails("x402_call", json!({ "url": shop.at("/dear") }), "over_max", "never").await;
    for left in ["$0.01", "$0"] {
        assert_eq!(agent.call("x402_call", weather.clone()).await["left"][0]["left"], left);
    }
    let over = agent.fails("x402_call", weather.clone(), "over_budget", "later").await;
    assert_eq!((&over["limit"], &over["left"][0]["left"]), (&json!("$0.02 per day"), &json!("$0")));
    let quote = agent.call("x402_quote", weather.clone()).await;
    assert_eq!(
        (&quote["fits"], &quote["declined"]["error"]),
        (&json!(false), &json!("over_budget"))
    );
    assert_eq!((shop.seen.nonces().len(), shop.paid()), (2, 20_000));
    agent.end(&[&shop.seen]).await;
    // In units of a token.
    let limit = format!("35000 of {NETWORK}/{} each payee", usdc());
    let in_units = Agent::start(&home, &["--limit", &limit]).await;
    assert_eq!(in_units.call("x402_call", weather.clone()).await["left"][0]["left"], "5000 units");
    let over = in_units.fails("x402_call", weather.clone(), "over_budget", "later").await;
    assert_eq!(over["limit"], limit);
    // And what a day comes to is limited in any case.
    let budget = in_units.call("x402_budget", json!({})).await;
    assert_eq!(budget["limits"][1]["limit"], "$5 per day");
    in_units.end(&[&shop.seen]).await;
    // Another process knows it.
    let agent = Agent::start(&home, &limits).await;
    agent.fails("x402_call", weather, "over_budget", "later").await;
    assert_eq!(shop.seen.nonces().len(), 3);
    agent.end(&[&shop.seen]).await;
}

#[tokio::test]
async fn an_offer_that_changes_after_the_quote_is_not_paid() {
    let home = Home::new("quoted");
    let elsewhere = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
    for (then, is_paid) in [
        (offer("$0.01"), true),
        (offer("$0.009"), true),
        (offer("$0.010001"), false),
        (offer("$0.5"), false),
        (exact(NETWORK, elsewhere, "$0.01").unwrap(), false),
        (exact("eip155:8453", SELLER, "$0.01").unwrap(), false),
    ] {
        let asked = Arc::new(AtomicUsize::new(0));
        let later = then.clone();
        let (url, seen) =
            seller(move |sent| {
                let is_first = asked.fetch_add(1, Ordering::Relaxed) == 0;
                let offer = if is_first { offer("$0.01") } else { later.clone() };
                async move {
                    if sent.payment.is_some() { settled("weather") } else { challenge([offer]) }
                }
            })
            .await;
        let agent = Agent::start(&home, &[]).await;
        let quote = agent.call("x402_quote", json!({ "url": url })).await;
        assert_eq!(quote["price"]["amount"], "0.01");
        if is_paid {
            let bought = agent.call("x402_call", json!({ "url": url })).await;
            assert_eq!(bought["paid"]["units"], then.amount.to_string());
        } else {
            let buy = json!({ "url": url });
            agent.fails("x402_call", buy.clone(), "not_as_quoted", "quote").await;
            assert_eq!(seen.payments().len(), 0, "{then:?}");
            // Having seen the new offer, one can take it.
            assert_eq!(agent.call("x402_quote", buy.clone()).await["fits"], true);
            agent.call("x402_call", buy).await;
        }
        assert_eq!(seen.payments().len(), 1, "{then:?}");
        agent.end(&[&seen]).await;
    }
}

/// Without a key there is something to do about it.
#[tokio::test]
async fn an_agent_without_a_key_says_what_to_do() {
    let home = Home::new("keyless");
    let (url, seen) = seller(|_| async { challenge([offer("$0.01")]) }).await;
    let hosts = HOSTS.with_borrow(Clone::clone);
    let mut command = command(&home, &naming(&[], &hosts));
    command.env_remove("X402_EVM_KEY");
    let agent = Agent::of(command, Person::Absent).await;
    for tool in ["x402_quote", "x402_call"] {
        let told = agent.fails(tool, json!({ "url": url }), "no_key", "never").await;
        assert!(told["message"].as_str().unwrap().contains("x402 key new evm"), "{told}");
    }
    assert_eq!(agent.left().await, "$5");
    assert_eq!(seen.payments().len(), 0);
    agent.end(&[&seen]).await;
}

/// A node of Base Sepolia or of Solana's devnet, where every account has so much.
async fn node(units: Arc<AtomicU64>) -> String {
    let answer = move |body: String| {
        let asked: Value = serde_json::from_str(&body).unwrap();
        let units = units.load(Ordering::SeqCst);
        let result = match asked["method"].as_str().unwrap() {
            "eth_chainId" => json!("0x14a34"),
            "eth_call" => json!(format!("{units:#066x}")),
            "getGenesisHash" => json!("EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG"),
            "getTokenAccountBalance" => json!({ "value": { "amount": units.to_string() } }),
            "getLatestBlockhash" => {
                json!({ "value": { "blockhash": "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG" } })
            }
            other => panic!("{other}"),
        };
        let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result });
        async move { answer.to_string() }
    };
    let url = serve(Router::new().fallback(any(answer))).await;
    HOSTS.with_borrow_mut(Vec::pop);
    url
}

/// What a wallet has, and whether a blockhash is to be had, is known before anything counts; of several offers
/// the first is paid that the wallet can pay.
#[tokio::test]
async fn what_a_wallet_can_pay_is_known_before_it_pays() {
    let units = Arc::new(AtomicU64::new(0));
    let node = node(Arc::clone(&units)).await;
    let on_solana = || {
        let payee = "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4";
        let mut offer = exact("solana-devnet", payee, "$0.01").unwrap();
        offer = offer.with_extra("feePayer", "EwWqGE4ZFKLofuestmU4LDdK7XM1N4ALgdZccwYugwGd");
        offer
    };
    let (evm, evm_seen) = seller(|sent| async move {
        match sent.payment {
            None => challenge([offer("$0.01")]),
            Some(_) => settled("rain"),
        }
    })
    .await;
    let (svm, svm_seen) = seller(move |_| async move { challenge([on_solana()]) }).await;
    let (both, both_seen) = seller(move |sent| async move {
        match sent.payment {
            None => challenge([on_solana(), offer("$0.01")]),
            Some(_) => settled("sun"),
        }
    })
    .await;
    let hosts = HOSTS.with_borrow(Clone::clone);
    let keypair = x402_std::svm::base58::encode(&keypair(), &mut [0; 100]).unwrap().to_owned();
    let agent = async |name: &str, variables: &[(&str, &str)]| {
        let mut command = command(&Home::new(name), &naming(&[], &hosts));
        command.env("X402_SVM_KEY", &keypair).envs(variables.iter().copied());
        Agent::of(command, Person::Absent).await
    };
    let quoted = async |agent: &Agent, url: &str| {
        let quote = agent.call("x402_quote", json!({ "url": url })).await;
        match quote["fits"].as_bool().unwrap() {
            true => quote["price"]["network"].as_str().unwrap().to_owned(),
            false => quote["declined"]["error"].as_str().unwrap().to_owned(),
        }
    };

    // Nobody says what there is: the wallet is taken to have it, but a blockhash is not to be had.
    let blind = agent("blind", &[("X402_EVM_RPC", " "), ("X402_SVM_RPC", "")]).await;
    assert_eq!(quoted(&blind, &evm).await, NETWORK);
    assert_eq!(quoted(&blind, &svm).await, "not_signed");
    assert_eq!(quoted(&blind, &both).await, NETWORK);
    let told = blind.fails("x402_call", json!({ "url": svm }), "not_signed", "never").await;
    assert!(told["message"].as_str().unwrap().contains("X402_SVM_RPC"), "{told}");
    assert_eq!((blind.left().await, svm_seen.payments().len()), (json!("$5"), 0));
    assert_eq!(blind.call("x402_budget", json!({})).await["balances"], json!([]));

    // A node says that there is too little.
    let nodes = [("X402_EVM_RPC", node.as_str()), ("X402_SVM_RPC", node.as_str())];
    let seeing = agent("seeing", &nodes).await;
    for url in [&evm, &svm, &both] {
        assert_eq!(quoted(&seeing, url).await, "not_enough_money", "{url}");
        let call = json!({ "url": url });
        let told = seeing.fails("x402_call", call, "not_enough_money", "never").await;
        let message = told["message"].as_str().unwrap();
        assert!(message.contains(" has 0 USDC on ") && message.contains("0.01"), "{message}");
    }
    assert_eq!(seeing.left().await, "$5");
    assert!([&evm_seen, &svm_seen, &both_seen].iter().all(|seen| seen.payments().is_empty()));
    units.store(9_999, Ordering::SeqCst);
    assert_eq!(quoted(&seeing, &evm).await, "not_enough_money");
    units.store(10_000, Ordering::SeqCst);
    assert_eq!(quoted(&seeing, &evm).await, NETWORK);
    assert!(quoted(&seeing, &both).await.starts_with("solana"));
    assert_eq!(seeing.call("x402_call", json!({ "url": evm })).await["body"], "rain");
    let balances = seeing.call("x402_budget", json!({})).await["balances"].clone();
    let amounts: Vec<_> = balances.as_array().unwrap().iter().map(|it| &it["amount"]).collect();
    assert_eq!(amounts, ["0.01", "0.01"], "{balances}");

    // The one that is empty is passed over: here there is no node of Solana.
    let half = agent("half", &nodes[..1]).await;
    assert_eq!(half.call("x402_call", json!({ "url": both })).await["body"], "sun");
    for agent in [blind, seeing, half] {
        agent.end(&[&evm_seen, &both_seen]).await;
    }
}

/// Every challenge as it comes from the wild is quoted: the offer that an honest client pays, or what is wrong
/// with each.
#[tokio::test]
async fn challenges_from_the_wild_are_quoted() {
    let path =
        format!("{}/../x402-core/tests/wild_messages/offers.json", env!("CARGO_MANIFEST_DIR"));
    let cases: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert!(cases.len() >= 10, "{}", cases.len());
    let bodies: Vec<String> = cases.iter().map(|case| case["required"].to_string()).collect();
    let (url, seen) = seller(move |sent| {
        let place: usize = sent.path.trim_start_matches('/').parse().unwrap();
        let header = x402_std::message::encode_header(bodies[place].as_bytes());
        let response = Response::builder().status(402).header("payment-required", header);
        let response = response.body("{}".into()).unwrap();
        async move { response }
    })
    .await;
    let home = Home::new("wild");
    let agent = Agent::start(&home, &[]).await;
    for (place, case) in cases.iter().enumerate() {
        let quote = agent.call("x402_quote", json!({ "url": format!("{url}/{place}") })).await;
        match case["payable"].as_u64() {
            Some(index) => {
                let offer = &case["required"]["accepts"][usize::try_from(index).unwrap()];
                let units = offer.get("amount").or_else(|| offer.get("maxAmountRequired"));
                assert_eq!(quote["fits"], true, "{case} {quote}");
                assert_eq!(Some(&quote["price"]["units"]), units, "{case} {quote}");
            }
            None => {
                assert_eq!(quote["fits"], false, "{case} {quote}");
                let why = &quote["declined"]["offersDeclined"];
                assert!(why.as_array().is_some_and(|why| !why.is_empty()), "{case} {quote}");
            }
        }
    }
    agent.end(&[&seen]).await;
}

/// A refusal for want of money counts until the payment has expired, and no longer.
#[tokio::test]
async fn a_refusal_by_balance_does_not_count_for_ever() {
    let (url, seen) = seller(|sent| async move {
        match sent.payment {
            None => {
                let mut short = offer("$0.01");
                short.max_timeout_seconds = 60;
                challenge([short])
            }
            Some(_) => {
                let mut required: Vec<_> = vec![offer("$0.01")];
                let required = PaymentRequired {
                    x402_version: Version::V2,
                    error: Some("invalid_exact_evm_insufficient_balance".into()),
                    resource: None,
                    accepts: required.drain(..).collect(),
                    extensions: None,
                    other: None,
                };
                let header = required.to_header().unwrap();
                let response = Response::builder().status(402).header("payment-required", header);
                response.body("{}".into()).unwrap()
            }
        }
    })
    .await;
    let home = Home::new("unfunded");
    let agent = Agent::start(&home, &[]).await;
    agent.fails("x402_call", json!({ "url": url }), "refused", "never").await;
    assert_eq!(agent.left().await, "$4.99");
    let history = agent.call("x402_history", json!({})).await;
    assert_eq!(history["purchases"][0]["state"], "refused", "{history}");
    agent.end(&[&seen]).await;
    // Three minutes pass.
    let db = rusqlite::Connection::open(home.budget()).unwrap();
    assert_eq!(db.execute("UPDATE purchases SET at = at - 181", []).unwrap(), 1);
    drop(db);
    let agent = Agent::start(&home, &[]).await;
    assert_eq!(agent.left().await, "$5");
    agent.end(&[&seen]).await;
}

#[tokio::test]
async fn a_seller_that_charges_twice_gets_one_signature() {
    let home = Home::new("twice");
    let (url, seen) = seller(|_| async { challenge([offer("$0.01")]) }).await;
    let agent = Agent::start(&home, &[]).await;
    let refused = agent.fails("x402_call", json!({ "url": url }), "refused", "same_id").await;
    let id = &refused["id"];
    for _ in 0..2 {
        let again = json!({ "url": url, "id": id });
        agent.fails("x402_call", again, "refused", "same_id").await;
    }
    // Nor if the model does not say the id again.
    let again = agent.fails("x402_call", json!({ "url": url }), "refused", "same_id").await;
    assert_eq!(again["id"], *id);
    let payments = seen.payments();
    assert_eq!(payments.len(), 4);
    assert_eq!(payments.iter().collect::<BTreeSet<_>>().len(), 1, "one signature");
    assert_eq!(agent.left().await, "$4.99");
    let history = agent.call("x402_history", json!({})).await;
    assert_eq!(history["purchases"][0]["state"], "refused");
    agent.end(&[&seen]).await;
}

#[tokio::test]
async fn a_payment_goes_to_nobody_else() {
    let home = Home::new("redirects");
    let (other, seen_by_other) = seller(|_| async { challenge([offer("$0.01")]) }).await;
    for target in [format!("{other}/weather"), "/again".into()] {
        let to = target.clone();
        let (before, seen) = seller(move |_| {
            let to = to.clone();
            async move { redirect(&to) }
        })
        .await;
        let agent = Agent::start(&home, &[]).await;
        let told = agent.call("x402_call", json!({ "url": before })).await;
        agent.end(&[]).await;
        assert_eq!((&told["status"], &told["headers"]["location"]), (&json!(307), &json!(target)));
        assert_eq!((&told["paid"], told["notes"].is_array()), (&json!(null), true));
        assert_eq!((seen.requests(), seen.payments().len()), (1, 0));

        let to = target.clone();
        let (after, seen) = seller(move |sent| {
            let to = to.clone();
            async move {
                if sent.payment.is_some() { redirect(&to) } else { challenge([offer("$0.01")]) }
            }
        })
        .await;
        let agent = Agent::start(&home, &[]).await;
        let told = agent.call("x402_call", json!({ "url": after })).await;
        agent.end(&[]).await;
        assert_eq!((&told["status"], &told["headers"]["location"]), (&json!(307), &json!(target)));
        assert_eq!((told["paid"].is_object(), &told["receipt"]), (true, &json!(null)));
        assert!(told["notes"].to_string().contains("same id"), "{told}");
        assert_eq!((seen.requests(), seen.payments().len()), (2, 1));
    }
    assert_eq!(seen_by_other.requests(), 0);
    let agent = Agent::start(&home, &[]).await;
    assert_eq!(agent.left().await, "$4.98", "what was sent counts");
    agent.end(&[]).await;
}

#[tokio::test]
async fn what_is_not_allowed_is_not_sent() {
    let (home, shop) = (Home::new("hosts"), Honest::new().await);
    let host = shop.url.strip_prefix("http://").unwrap();
    let (other, seen_by_other) = seller(|_| async { challenge([offer("$0.01")]) }).await;
    let hosts = ["--host", host, "--host", "Example.com"];
    let agent = Agent::alone(&home, &hosts, Person::Absent).await;
    for tool in ["x402_call", "x402_quote"] {
        agent.fails(tool, json!({ "url": other }), "declined_host", "never").await;
    }
    let weather = shop.at("/weather");
    assert_eq!(agent.call("x402_call", json!({ "url": weather })).await["status"], 200);
    let requests = shop.seen.requests();
    for arguments in [
        json!({ "url": weather, "headers": { "X-PAYMENT": "e30=" } }),
        json!({ "url": weather, "headers": { "Payment-Signature": "e30=" } }),
        json!({ "url": weather, "headers": { "Host": "example.com" } }),
        json!({ "url": weather, "headers": { "Content-Length": "0" } }),
        json!({ "url": weather, "headers": { "a b": "c" } }),
        json!({ "url": weather, "headers": { "a": "b\r\nx-payment: e30=" } }),
        json!({ "url": weather, "method": "GET /" }),
        json!({ "url": weather.replace("http://", "http://user:password@") }),
        json!({ "url": weather.replace("http://", "file://") }),
        json!({ "url": "weather" }),
        json!({ "url": weather, "maxPrice": "a cent" }),
        json!({ "url": weather, "maxprice": "$0.01" }),
        json!({ "url": weather, "id": "" }),
        json!({ "url": weather, "id": "a b" }),
        json!({}),
    ] {
        agent.fails("x402_call", arguments, "bad_arguments", "never").await;
    }
    assert_eq!((shop.seen.requests(), seen_by_other.requests()), (requests, 0));
    agent.end(&[&shop.seen]).await;

    // In plain text only on this machine.
    let agent = Agent::alone(&home, &[], Person::Absent).await;
    let insecure = json!({ "url": "http://192.0.2.1/" });
    agent.fails("x402_quote", insecure, "declined_insecure", "never").await;
    agent.end(&[]).await;
    for (args, code) in [
        (["--network", "eip155:8453"], "declined_network"),
        (["--network", "solana"], "declined_network"),
        (["--payee", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"], "declined_payee"),
    ] {
        let agent = Agent::start(&home, &args).await;
        agent.fails("x402_call", json!({ "url": weather }), code, "never").await;
        agent.end(&[&shop.seen]).await;
    }
    assert_eq!(shop.seen.payments().len(), 1);
}

/// A listing, or a prompt, has nothing on this machine asked: neither by its method, its headers or its
/// body, nor by the name it goes by.
#[tokio::test]
async fn nothing_on_this_machine_is_asked_unless_it_is_named() {
    let home = Home::new("local");
    let (service, seen) =
        seller(|_| async { Response::new("secret of this machine".into()) }).await;
    let port = service.rsplit_once(':').unwrap().1;
    let items = json!([
        { "resource": format!("{service}/v1/containers/db?force=1"), "description": "weather",
          "accepts": [], "metadata": { "method": "DELETE" } },
        { "resource": format!("https://localhost:{port}/"), "description": "weather", "accepts": [] },
        { "resource": "https://169.254.169.254/", "description": "weather", "accepts": [] },
        { "resource": "https://me:you@weather.test/", "description": "weather", "accepts": [] },
        { "resource": "https://weather.test/", "description": "weather", "accepts": [] },
    ]);
    let listing = json!({ "items": items });
    let bazaar = Router::new()
        .route("/discovery/resources", get(move || async move { axum::Json(listing) }));
    let bazaar = serve(bazaar).await;
    let agent = Agent::alone(&home, &["--discover", &bazaar], Person::Absent).await;
    let found = agent.call("x402_discover", json!({ "query": "weather" })).await;
    let urls: Vec<_> = found["results"].as_array().unwrap().iter().map(|it| &it["url"]).collect();
    assert_eq!(urls, ["https://weather.test/"]);
    let asked = seen.requests();
    for url in [
        service.clone(),
        format!("https://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("https://localhost.:{port}/"),
        format!("https://a.localhost:{port}/"),
        format!("https://127.1:{port}/"),
        format!("https://[::ffff:127.0.0.1]:{port}/"),
        format!("https://0:{port}/"),
    ] {
        for tool in ["x402_quote", "x402_call"] {
            for method in ["GET", "DELETE"] {
                let request = json!({ "url": url, "method": method, "body": "x" });
                agent.fails(tool, request, "declined_private", "never").await;
            }
        }
    }
    let rights = |name: &str| json!({ "url": "https://weather.test/", "headers": { name: "x" } });
    for name in ["Authorization", "Cookie", "Origin", "Proxy-Authorization"] {
        agent.fails("x402_call", rights(name), "bad_arguments", "never").await;
    }
    let post = json!({ "url": "https://weather.test/", "method": "POST", "body": "x" });
    agent.fails("x402_quote", post, "declined_method", "never").await;
    assert_eq!(seen.requests(), asked);
    let tools = agent.ask("tools/list", json!({})).await["result"]["tools"].clone();
    for tool in tools.as_array().unwrap() {
        let acts = ["x402_quote", "x402_call"].contains(&tool["name"].as_str().unwrap());
        assert_eq!(tool["annotations"]["destructiveHint"], acts, "{tool}");
    }
    agent.end(&[]).await;

    // What the person named is asked, in any way but odd ones.
    let agent = Agent::start(&home, &["--discover", &bazaar]).await;
    let found = agent.call("x402_discover", json!({ "query": "weather" })).await;
    assert_eq!(found["results"].as_array().unwrap().len(), 1);
    let post = json!({ "url": service, "method": "POST", "headers": { "Authorization": "x" } });
    assert_eq!(agent.call("x402_quote", post).await["free"], true);
    let trace = json!({ "url": service, "method": "TRACE" });
    agent.fails("x402_quote", trace, "declined_method", "never").await;
    assert_eq!(seen.requests(), asked + 1);
    agent.end(&[]).await;
}

#[tokio::test]
async fn own_assets_can_be_paid_with() {
    let home = Home::new("assets");
    let token = "0x00000000000000000000000000000000000000aa";
    let (url, seen) = seller(move |sent| async move {
        let mut offer = offer("$0.01");
        offer.asset = token.into();
        if sent.payment.is_some() { settled("weather") } else { challenge([offer]) }
    })
    .await;
    let agent = Agent::start(&home, &[]).await;
    agent.fails("x402_call", json!({ "url": url }), "declined_asset", "never").await;
    agent.end(&[&seen]).await;
    let asset = format!("eip155:84532/{token}:4");
    let agent = Agent::start(&home, &["--asset", &asset]).await;
    let quote = agent.call("x402_quote", json!({ "url": url })).await;
    assert_eq!((&quote["price"]["amount"], &quote["price"]["symbol"]), (&json!("1"), &json!(null)));
    let bought = agent.call("x402_call", json!({ "url": url })).await;
    assert_eq!(bought["paid"]["amount"], "1");
    assert_eq!(agent.left().await, "$4");
    let history = agent.call("x402_history", json!({})).await;
    assert_eq!(history["purchases"][0]["price"]["amount"], "1");
    agent.end(&[&seen]).await;
}

#[tokio::test]
async fn a_person_is_asked_above_what_was_said() {
    let shop = Honest::new().await;
    let yes = json!({ "action": "accept", "content": { "pay": true } });
    for (number, (person, is_paid)) in [
        (Person::Says(yes), true),
        (Person::Says(json!({ "action": "accept", "content": { "pay": false } })), false),
        (Person::Says(json!({ "action": "accept" })), false),
        (Person::Says(json!({ "action": "decline" })), false),
        (Person::Says(json!({ "action": "cancel" })), false),
        (Person::Absent, false),
    ]
    .into_iter()
    .enumerate()
    {
        let home = Home::new(&format!("person-{number}"));
        let can_ask = matches!(person, Person::Says(_));
        let agent = Agent::with(&home, &["--ask-above", "$0.10"], person).await;
        assert_eq!(agent.call("x402_budget", json!({})).await["canAsk"], can_ask);
        // A cent is not asked about.
        let paid = shop.paid();
        agent.call("x402_call", json!({ "url": shop.at("/weather") })).await;
        assert!(agent.heard.lock().unwrap().is_empty());
        let dear = json!({ "url": shop.at("/dear") });
        let quote = agent.call("x402_quote", dear.clone()).await;
        assert_eq!(quote["fits"], can_ask, "{quote}");
        if can_ask {
            assert_eq!((&quote["asksPerson"], &quote["canAsk"]), (&json!(true), &json!(true)));
        } else {
            assert_eq!(quote["declined"]["error"], "nobody_to_ask", "{quote}");
        }
        if is_paid {
            assert_eq!(agent.call("x402_call", dear).await["body"], "gold");
            assert_eq!(shop.paid(), paid + 510_000);
        } else {
            let error = if can_ask { "not_approved" } else { "nobody_to_ask" };
            agent.fails("x402_call", dear, error, "never").await;
            assert_eq!((shop.paid(), agent.left().await), (paid + 10_000, json!("$4.99")));
        }
        let heard = agent.heard.lock().unwrap().clone();
        assert_eq!(heard.len(), usize::from(can_ask));
        if can_ask {
            let asked = &heard[0]["params"];
            let message = asked["message"].as_str().unwrap();
            let url = shop.at("/dear");
            for part in ["0.5 USDC", NETWORK, SELLER, url.as_str(), "$0.10"] {
                assert!(message.contains(part), "{part}: {message}");
            }
            assert_eq!(asked["requestedSchema"]["required"], json!(["pay"]));
        }
        agent.end(&[&shop.seen]).await;
    }
}

/// Since 2026-07-28 a server does not ask: it answers that it wants an answer with the next call.
#[tokio::test]
async fn a_person_is_asked_between_two_calls() {
    let shop = Honest::new().await;
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "0" },
        "io.modelcontextprotocol/clientCapabilities": { "elicitation": {} },
    });
    let home = Home::new("between");
    let hosts = HOSTS.with_borrow(Clone::clone);
    let args = naming(&["--ask-above", "$0.10"], &hosts);
    let agent = Agent::spawn(command(&home, &args), Person::Absent);
    let call = |path: &str, answers: Value, state: &Value| {
        let mut params = json!({
            "_meta": meta, "name": "x402_call", "arguments": { "url": shop.at(path) },
        });
        if state.is_string() {
            params["inputResponses"] = json!({ "pay": answers });
            params["requestState"] = state.clone();
        }
        agent.ask("tools/call", params)
    };
    let yes = json!({ "action": "accept", "content": { "pay": true } });
    let no = json!({ "action": "decline" });
    let asked = async || {
        let answer = call("/dear", Value::Null, &Value::Null).await;
        let result = &answer["result"];
        assert_eq!(result["resultType"], "input_required", "{answer}");
        let message = &result["inputRequests"]["pay"]["params"]["message"];
        assert!(message.as_str().unwrap().contains("0.5 USDC"), "{answer}");
        result["requestState"].clone()
    };
    // No is no; yes is for this purchase, once.
    let state = asked().await;
    let refused = call("/dear", no, &state).await;
    assert_eq!(refused["result"]["structuredContent"]["error"], "not_approved", "{refused}");
    let again = call("/dear", yes.clone(), &state).await;
    assert_eq!(again["result"]["resultType"], "input_required", "{again}");
    let invented = call("/dear", yes.clone(), &json!("0".repeat(32))).await;
    assert_eq!(invented["result"]["resultType"], "input_required", "{invented}");
    assert_eq!(shop.seen.payments().len(), 0);
    let state = asked().await;
    let bought = call("/dear", yes.clone(), &state).await;
    assert_eq!(bought["result"]["structuredContent"]["body"], "gold", "{bought}");
    let again = call("/dear", yes, &state).await;
    assert_eq!(again["result"]["resultType"], "input_required", "{again}");
    assert_eq!(shop.paid(), 500_000);
    agent.end(&[&shop.seen]).await;
}

#[tokio::test]
async fn a_payment_that_is_said_back_is_left_out() {
    let home = Home::new("echo");
    let (url, seen) = seller(|sent| async move {
        let Some(payment) = sent.payment else { return challenge([offer("$0.01")]) };
        let json = decode_header(payment.as_bytes()).unwrap();
        let json: Value = serde_json::from_slice(&json).unwrap();
        match sent.path.as_str() {
            "/json" => settled(json!({ "sent": payment, "payment": json }).to_string()),
            "/text" => settled(format!("you sent {payment}, that is {json}")),
            _ => {
                let receipt = SettleResponse {
                    error_reason: Some(format!("I keep {}", json["payload"]["signature"])),
                    network: NETWORK.into(),
                    ..SettleResponse::default()
                };
                let header = receipt.to_header().unwrap();
                let answer = Response::builder().status(402).header("payment-response", header);
                answer.body(payment.into()).unwrap()
            }
        }
    })
    .await;
    let agent = Agent::start(&home, &[]).await;
    let json = agent.call("x402_call", json!({ "url": format!("{url}/json") })).await;
    assert_eq!(json["body"]["sent"], "[payment]");
    assert_eq!(json["body"]["payment"]["payload"]["signature"], "0x[payment]");
    let text = agent.call("x402_call", json!({ "url": format!("{url}/text") })).await;
    assert!(text["body"].as_str().unwrap().starts_with("you sent [payment], that is {"), "{text}");
    let refused = json!({ "url": format!("{url}/refused") });
    let refused = agent.fails("x402_call", refused, "refused", "same_id").await;
    assert_eq!(refused["sellerSays"], r#"I keep "0x[payment]""#);
    agent.end(&[&seen]).await;
}

#[tokio::test]
async fn receipts_of_other_payments_are_said_to_be() {
    let home = Home::new("lies");
    let (url, seen) = seller(|sent| async move {
        if sent.payment.is_none() {
            return challenge([offer("$0.01")]);
        }
        let mut receipt = SettleResponse {
            success: true,
            transaction: format!("0x{}", "12".repeat(32)),
            network: NETWORK.into(),
            ..SettleResponse::default()
        };
        match sent.path.as_str() {
            "/network" => receipt.network = "eip155:1".into(),
            "/payer" => receipt.payer = Some(SELLER.into()),
            _ => {}
        }
        let header = receipt.to_header().unwrap();
        Response::builder().header("payment-response", header).body(Body::from("x")).unwrap()
    })
    .await;
    let agent = Agent::start(&home, &[]).await;
    for (path, lies) in [("/honest", false), ("/network", true), ("/payer", true)] {
        let told = agent.call("x402_call", json!({ "url": format!("{url}{path}") })).await;
        let noted = told["notes"].to_string().contains("proves nothing");
        assert_eq!(noted, lies, "{told}");
    }
    agent.end(&[&seen]).await;
}

#[tokio::test]
async fn answers_of_any_kind_are_told_and_long_ones_cut() {
    let home = Home::new("answers");
    let (url, _) = seller(|sent| async move {
        let body: Body = match sent.path.as_str() {
            "/binary" => vec![0, 159, 146, 150].into(),
            "/long" => "é".repeat(1 << 20).into(),
            "/deep" => "[".repeat(100_000).into(),
            _ => Body::empty(),
        };
        Response::new(body)
    })
    .await;
    let agent = Agent::start(&home, &[]).await;
    let get = |path: &str| {
        let arguments = json!({ "url": format!("{url}{path}") });
        agent.call("x402_call", arguments)
    };
    let binary = get("/binary").await;
    assert_eq!((&binary["body"], &binary["bodyType"]), (&json!("AJ+Slg=="), &json!("base64")));
    let long = get("/long").await;
    assert_eq!((long["body"].as_str().unwrap().len(), &long["truncated"]), (1 << 16, &json!(true)));
    assert_eq!(long["nextOffset"], 1 << 16);
    let get = |path: &str| {
        let arguments = json!({ "url": format!("{url}{path}"), "maxBytes": 1 << 20 });
        agent.call("x402_call", arguments)
    };
    let long = get("/long").await;
    assert_eq!((long["body"].as_str().unwrap().len(), &long["truncated"]), (1 << 20, &json!(true)));
    assert_eq!(long["nextOffset"], Value::Null, "no more is kept");
    let deep = get("/deep").await;
    assert_eq!(
        (&deep["bodyType"], deep["body"].as_str().unwrap().len()),
        (&json!("text"), 100_000)
    );
    assert_eq!(get("/empty").await["body"], "");
    agent.end(&[]).await;
}

#[tokio::test]
async fn bad_sellers_are_errors() {
    let home = Home::new("bad");
    let (url, seen) = seller(|sent| async move {
        let answer = Response::builder().status(402);
        match sent.path.as_str() {
            "/garbage" => answer.header("payment-required", "%%%").body("{}".into()),
            "/none" => Ok(challenge([])),
            _ => answer.body(" ".repeat(1 << 20).into()),
        }
        .unwrap()
    })
    .await;
    HOSTS.with_borrow_mut(|hosts| hosts.push("127.0.0.1:1".into()));
    let agent = Agent::start(&home, &[]).await;
    for (url, code, retry) in [
        (format!("{url}/garbage"), "bad_challenge", "never"),
        (format!("{url}/none"), "declined_no_offers", "never"),
        (format!("{url}/huge"), "bad_challenge", "never"),
        ("http://127.0.0.1:1/".into(), "no_answer", "again"),
    ] {
        agent.fails("x402_call", json!({ "url": url }), code, retry).await;
    }
    assert_eq!((seen.payments().len(), agent.left().await), (0, json!("$5")));
    agent.end(&[]).await;
}

#[tokio::test]
async fn a_client_hears_how_far_a_settlement_is() {
    let home = Home::new("progress");
    let (url, seen) = seller(|sent| async move {
        match (sent.payment, sent.before) {
            (None, _) => challenge([offer("$0.01")]),
            (Some(_), 0) => {
                let receipt = SettleResponse {
                    error_reason: Some("settlement_pending".into()),
                    network: NETWORK.into(),
                    ..SettleResponse::default()
                };
                let header = receipt.to_header().unwrap();
                let answer = Response::builder().status(402).header("payment-response", header);
                answer.body("{}".into()).unwrap()
            }
            _ => settled("weather"),
        }
    })
    .await;
    let agent = Agent::start(&home, &[]).await;
    let answer = agent.ask(
        "tools/call",
        json!({
            "name": "x402_call", "arguments": { "url": url }, "_meta": { "progressToken": "p" },
        }),
    );
    assert_eq!(answer.await["result"]["structuredContent"]["body"], "weather");
    let heard = agent.heard.lock().unwrap().clone();
    let counts: Vec<_> =
        heard.iter().map(|it| it["params"]["progress"].as_f64().unwrap()).collect();
    assert!(counts.len() >= 3 && counts.is_sorted_by(|a, b| a < b), "{heard:?}");
    assert!(heard.iter().all(|it| it["params"]["progressToken"] == "p"));
    assert_eq!((seen.payments().len(), seen.nonces().len()), (2, 1));
    agent.end(&[&seen]).await;
}

// ---- crashes and crowds

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = timeout(LATE, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

#[tokio::test]
async fn killed_in_the_middle_of_a_payment_it_still_counts_and_is_the_same_again() {
    let home = Home::new("killed");
    // Takes the first payment and says nothing.
    let (url, seen) = seller(|sent| async move {
        match (sent.payment, sent.before) {
            (None, _) => challenge([offer("$0.01")]),
            (Some(_), 0) => std::future::pending().await,
            _ => settled("weather"),
        }
    })
    .await;
    let limit = ["--limit", "$0.015 per day"];
    let agent = Agent::start(&home, &limit).await;
    let buy = json!({ "url": url, "id": "the-one" });
    let params = json!({ "name": "x402_call", "arguments": buy });
    agent
        .tell(json!({ "jsonrpc": "2.0", "id": 4_000, "method": "tools/call", "params": params }))
        .await;
    until("the payment", || seen.payments().len() == 1).await;
    agent.kill(&[&seen]).await;

    let agent = Agent::start(&home, &limit).await;
    assert_eq!(agent.left().await, "$0.005", "it still counts");
    let history = agent.call("x402_history", json!({})).await["purchases"].clone();
    assert_eq!((&history[0]["id"], &history[0]["state"]), (&json!("the-one"), &json!("signed")));
    let another = json!({ "url": url, "id": "another" });
    agent.fails("x402_call", another, "over_budget", "later").await;
    assert_eq!(seen.payments().len(), 1);
    // Without an id it is the one that is open.
    let bought = agent.call("x402_call", json!({ "url": url })).await;
    assert_eq!((&bought["body"], &bought["id"]), (&json!("weather"), &json!("the-one")));
    let payments = seen.payments();
    assert_eq!(payments.len(), 2);
    assert_eq!(payments[0], payments[1], "the same bytes");
    assert_eq!(agent.left().await, "$0.005");
    assert_eq!(agent.call("x402_call", buy.clone()).await["again"], true);
    agent.end(&[&seen]).await;
    // Another process knows that it was bought, and no more.
    let agent = Agent::start(&home, &limit).await;
    agent.fails("x402_call", buy, "already_bought", "never").await;
    assert_eq!(seen.payments().len(), 2);
    agent.end(&[&seen]).await;
}

#[tokio::test]
async fn killed_at_any_moment_it_counts_what_it_signed() {
    // Sellers that take their time; the process dies at some moment of many purchases.
    for after in [1, 3, 7] {
        let home = Home::new(&format!("moment-{after}"));
        let (url, seen) = seller(|sent| async move {
            match sent.payment {
                None => challenge([offer("$0.01")]),
                Some(_) if sent.before % 2 == 1 => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    settled("weather")
                }
                Some(_) => settled("weather"),
            }
        })
        .await;
        let limit = ["--limit", "$0.12 per day"];
        let agent = Agent::start(&home, &limit).await;
        for number in 0..10 {
            agent
                .tell(json!({
                    "jsonrpc": "2.0", "id": 4_000 + number, "method": "tools/call",
                    "params": { "name": "x402_call", "arguments": { "url": url } },
                }))
                .await;
        }
        until("some payments", || seen.payments().len() >= after).await;
        agent.kill(&[&seen]).await;
        let signed = seen.nonces().len();
        let agent = Agent::start(&home, &limit).await;
        let left = agent.left().await;
        let left: f64 = left.as_str().unwrap().trim_start_matches('$').parse().unwrap();
        let counted = ((0.12 - left) * 100.0).round() as usize;
        assert!((signed..=10).contains(&counted), "{signed} signed, {counted} counted");
        // What is left can be spent, and no more.
        for number in counted..12 {
            let id = format!("new-{number}");
            agent.call("x402_call", json!({ "url": url, "id": id })).await;
        }
        let over = json!({ "url": url, "id": "over" });
        agent.fails("x402_call", over, "over_budget", "later").await;
        assert_eq!(seen.nonces().len(), signed + 12 - counted);
        agent.end(&[&seen]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_and_two_hundred_calls_never_exceed_one_budget() {
    const FIT: usize = 37;
    let (home, shop) = (Home::new("crowd"), Honest::new().await);
    // A unit short of one more.
    let limits = ["--limit", "$0.379999 per day"];
    let agents = [
        Arc::new(Agent::start(&home, &limits).await),
        Arc::new(Agent::start(&home, &limits).await),
    ];
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..200 {
        let agent = Arc::clone(&agents[number % 2]);
        // A quarter of the ids is used by both at once.
        let id =
            if number % 8 < 2 { format!("both-{}", number / 8) } else { format!("id-{number}") };
        let buy = json!({ "url": shop.at("/weather"), "id": id });
        calls.spawn(async move { agent.called("x402_call", buy).await });
    }
    let mut outcomes = HashMap::new();
    while let Some(call) = calls.join_next().await {
        let (is_error, told) = call.unwrap();
        let outcome = if is_error { told["error"].as_str().unwrap() } else { "bought" };
        *outcomes.entry(outcome.to_owned()).or_insert(0) += 1;
        assert!(
            ["bought", "over_budget", "already_bought", "unfinished", "refused"].contains(&outcome),
            "{told}"
        );
    }
    assert_eq!(outcomes.values().sum::<usize>(), 200);
    assert_eq!(shop.seen.nonces().len(), FIT, "{outcomes:?}");
    for agent in &agents {
        assert_eq!(agent.left().await, "$0.009999");
        let one_more = json!({ "url": shop.at("/weather") });
        agent.fails("x402_call", one_more, "over_budget", "later").await;
    }
    assert_eq!(shop.seen.nonces().len(), FIT);
    assert_eq!(shop.paid(), FIT as u64 * 10_000);
    for agent in agents {
        Arc::into_inner(agent).unwrap().end(&[&shop.seen]).await;
    }
}

#[tokio::test]
async fn who_hangs_up_leaves_a_purchase_that_is_finished_and_written_down() {
    let home = Home::new("hangs-up");
    let (url, seen) = seller(|sent| async move {
        if sent.payment.is_none() {
            return challenge([offer("$0.01")]);
        }
        // Longer than rmcp waits for answers.
        tokio::time::sleep(Duration::from_secs(6)).await;
        settled("weather")
    })
    .await;
    let agent = Agent::start(&home, &[]).await;
    let params = json!({ "name": "x402_call", "arguments": { "url": url, "id": "late" } });
    agent
        .tell(json!({ "jsonrpc": "2.0", "id": 4_000, "method": "tools/call", "params": params }))
        .await;
    until("the payment", || seen.payments().len() == 1).await;
    agent.end(&[&seen]).await;
    let agent = Agent::start(&home, &[]).await;
    let history = agent.call("x402_history", json!({})).await;
    assert_eq!(history["purchases"][0]["state"], "paid");
    agent.end(&[&seen]).await;
}

#[tokio::test]
async fn who_hangs_up_over_a_question_has_not_said_yes() {
    let (home, shop) = (Home::new("question"), Honest::new().await);
    let agent = Agent::with(&home, &["--ask-above", "$0.10"], Person::Silent).await;
    let params = json!({ "name": "x402_call", "arguments": { "url": shop.at("/dear") } });
    agent
        .tell(json!({ "jsonrpc": "2.0", "id": 4_000, "method": "tools/call", "params": params }))
        .await;
    until("the question", || !agent.heard.lock().unwrap().is_empty()).await;
    // Others are served meanwhile.
    agent.call("x402_call", json!({ "url": shop.at("/weather") })).await;
    agent.end(&[&shop.seen]).await;
    assert_eq!(shop.paid(), 10_000);
}
