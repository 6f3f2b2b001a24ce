//! `x402 facilitator --config`: what is configured, what is wrong with it, what it serves.
#![cfg(feature = "cli")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

/// The third account of anvil's public mnemonic, and the Solana keypair of 32 ones.
const EVM_KEY: &str = "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a";
const SVM_KEY: &str =
    "2AXDGYSE4f2sz7tvMMzyHvUfcoJmxudvdhBcmiUSo6iuCXagjUCKEQF21awZnUGxmwD4m9vGXuC3qieHXJQHAcT";

/// In a URL, which is a secret.
const NODE: &str = "https://node.example/v3/s3cret";

fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_x402"));
    command.env_clear().arg("facilitator").arg("--config").arg(config);
    command.env("X402_EVM_KEY", EVM_KEY).env("X402_SVM_KEY", SVM_KEY).env("NODE", NODE);
    command.env("X402_REDIS_URL", "redis://:s3cret@127.0.0.1:1");
    command.env("REDIS_GONE", "redis://:s3cret@127.0.0.1:1").env("REDIS_BARE", "s3cret:6379");
    command.env("TOKEN", "token-one").env("TOKENS", " token-two\ntoken-three ").env("EMPTY", " ");
    command
}

fn checked(config: &Path) -> Output {
    command(config).arg("--check").output().unwrap()
}

/// A file that is gone at the end.
struct Written(PathBuf);

impl Written {
    fn new(name: &str, text: &str) -> Self {
        let path = format!("x402-config-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(path);
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

#[test]
fn the_examples_are_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/service");
    let mut checked_some = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let output = checked(&path);
            assert!(output.status.success(), "{path:?} {output:?}");
            checked_some += 1;
        }
    }
    assert_eq!(checked_some, 7);
}

/// An EVM network without a mistake.
const EVM: &str = r#"
[[evm]]
network = "eip155:8453"
rpc = ["https://node.example"]
key_env = "X402_EVM_KEY"
"#;

const SVM: &str = r#"
[[svm]]
network = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
rpc = ["https://node.example"]
key_env = "X402_SVM_KEY"
"#;

const NONE: &str = "evm 1: network: no token of it is accepted: add one to assets in [accept]";

/// Every mistake is named, with its place, and nothing that was written is repeated.
#[test]
fn mistakes_are_named() {
    let second = |network: &str| format!("{EVM}{}", EVM.replace("eip155:8453", network));
    let evm = |line: &str| format!("{EVM}{line}\n");
    let svm = |line: &str| format!("{SVM}{line}\n");
    let top = |lines: &str| format!("{lines}\n{EVM}");
    let cases: &[(String, &[&str])] = &[
        (String::new(), &["no network: add [[evm]] or [[svm]]"]),
        ("a = ".into(), &["line 1: not TOML: correct its syntax"]),
        ("a = 1\nb = s3cret".into(), &["line 2: not TOML: correct its syntax"]),
        ("a = 1\na = 2".into(), &["line 2: not TOML: correct its syntax"]),
        (top("listen = 1"), &["listen: not a text: put it in quotes"]),
        (top("listen = 's3cret'"), &["listen: not an address with a port, such as 127.0.0.1:4022"]),
        (
            top("log = 's3cret'\ns3 = 1"),
            &[
                "log: unknown word: write one of text, json",
                "s3: no such key here: correct or remove it",
            ],
        ),
        (top("shutdown_seconds = 0"), &["shutdown_seconds: not a whole number from 1 to 3600"]),
        (top("store = 1"), &["store: not a table: write [store]"]),
        (
            top("[store]\nkind = 's3cret'"),
            &["store: kind: unknown word: write one of memory, sqlite, redis"],
        ),
        (top("[store]\nkind = 'sqlite'"), &["store: path: missing: set it"]),
        (
            top("[store]\nkind = 'redis'"),
            &["store: url: missing: name its place in url_env or url_file"],
        ),
        (
            top("[store]\nkind = 'redis'\nurl = 'redis://:s3cret@a'\nurl_env = 'REDIS_GONE'"),
            &["store: url: secrets cannot be given here: name the place in url_env or url_file"],
        ),
        (
            top("[store]\nkind = 'redis'\nurl_env = 'REDIS_BARE'"),
            &["store: url: not the URL of a Redis server: write \
                 redis://[[user]:password@]host[:port][/database], rediss:// for TLS, or unix:///path"],
        ),
        (top("[store]\npath = 'a'"), &["store: path: no such key here: correct or remove it"]),
        (top("[limits]\nat_once = -1"), &["limits: at_once: not a whole number from 1 to 100000"]),
        (top("[limits]\nat_once = 1.5"), &["limits: at_once: not a whole number from 1 to 100000"]),
        (
            top("evm = 1").replace("[[evm]]", "[x]"),
            &[
                "evm: not a list of tables: write [[evm]]",
                "x: no such key here: correct or remove it",
            ],
        ),
        (second("base"), &["evm 2: network: given twice: remove one"]),
        (second("s3 cret"), &["evm 2: network: not a network, such as eip155:8453"]),
        (second("s3cret"), &["evm 2: network: not an EVM network, such as eip155:8453"]),
        (
            second("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"),
            &["evm 2: network: not an EVM network, such as eip155:8453"],
        ),
        (format!("{SVM}{SVM}"), &["svm 2: network: given twice: remove one"]),
        (
            format!("{SVM}{}", SVM.replace("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "solana")),
            &["svm 2: network: given twice: remove one"],
        ),
        (
            SVM.replace("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "eip155:1"),
            &["svm 1: network: not a Solana network: write solana: and a genesis hash"],
        ),
        (
            EVM.replace("https://node.example", "node.example"),
            &["evm 1: rpc: not a URL, such as https://node.example"],
        ),
        (
            EVM.replace("node.example\"", "node.example\", \"https://Node.example/\""),
            &["evm 1: rpc: a node is given twice: remove one"],
        ),
        (
            evm("max_fee_gwei = 1"),
            &["evm 1: max_priority_fee_gwei: more than max_fee_gwei: lower it"],
        ),
        (evm("confirmations = 0"), &["evm 1: confirmations: not a whole number from 1 to 1000"]),
        (evm("witnesses = 2"), &["evm 1: witnesses: more than there are nodes: lower it"]),
        (evm("factories = ['0x01']"), &["evm 1: factories: not a list of EVM addresses"]),
        (
            evm("max_proof_age_seconds = 3601"),
            &["evm 1: max_proof_age_seconds: not a whole number from 0 to 3600"],
        ),
        (evm("legacy = 1"), &["evm 1: legacy: not a flag: write true or false"]),
        (
            svm("commitment = 'processed'"),
            &["svm 1: commitment: unknown word: write one of confirmed, finalized"],
        ),
        (svm("witnesses = 2"), &["svm 1: witnesses: more than there are nodes: lower it"]),
        (
            EVM.replace("key_env = \"X402_EVM_KEY\"", ""),
            &["evm 1: key: missing: name its place in key_env or key_file"],
        ),
        (
            EVM.replace("X402_EVM_KEY", "NODE"),
            &[
                "evm 1: key: not a private key: give 64 hexadecimal digits, or the path of a file with them",
            ],
        ),
        (
            EVM.replace("X402_EVM_KEY", "s3cret"),
            &["evm 1: key_env: the variable it names is not set to a text: set it"],
        ),
        (
            EVM.replace("key_env = \"X402_EVM_KEY\"", "key_file = \"s3cret\""),
            &["evm 1: key_file: the file it names cannot be read as a text: check its path"],
        ),
        (
            SVM.replace("X402_SVM_KEY", "X402_EVM_KEY"),
            &["svm 1: key: not a Solana key: give base58 of 64 or 32 bytes, \
                 a key as the Solana CLI writes it, or the path of a file with one"],
        ),
        (
            EVM.replace("https://node.example", "https://node.example/v3/s3cret"),
            &["evm 1: rpc: a URL with more than a host may be secret: name its place in \
                 rpc_env or rpc_file"],
        ),
        (
            EVM.replace("https://node.example", "http://s3cret.example"),
            &["evm 1: rpc: RPC URL is neither https nor this machine's: give an https URL"],
        ),
        (
            EVM.replace("rpc = [\"https://node.example\"]", ""),
            &["evm 1: rpc: missing: set rpc, rpc_env or rpc_file"],
        ),
        (
            EVM.replace("rpc = [\"https://node.example\"]", "rpc = [1]"),
            &[
                "evm 1: rpc: not a list of texts, such as [\"a\", \"b\"]",
                "evm 1: rpc: missing: set rpc, rpc_env or rpc_file",
            ],
        ),
        (
            svm("max_fee_lamports = 9999"),
            &["svm 1: max_fee_lamports: not a whole number from 10000 to 1000000000"],
        ),
        (
            svm("max_compute_units = 1400001"),
            &["svm 1: max_compute_units: not a whole number from 10000 to 1400000"],
        ),
        (
            svm("max_compute_price = -1"),
            &["svm 1: max_compute_price: not a whole number from 0 to 1000000000"],
        ),
        (
            top("hosts = ['s3cret:1']"),
            &["hosts: not a list of names without port, such as pay.example.com"],
        ),
        (
            top("hosts = ['http://s3cret']"),
            &["hosts: not a list of names without port, such as pay.example.com"],
        ),
        (
            top("token = 's3cret'\ntoken_env = 'TOKEN'"),
            &["token: secrets cannot be given here: name the place in token_env or token_file"],
        ),
        (
            top("token_env = 's3cret'"),
            &[
                "token_env: the variable it names is not set to a text: set it",
                "token: empty: put a token into its place",
            ],
        ),
        (top("token_env = 'EMPTY'"), &["token: empty: put a token into its place"]),
        (top("token_env = ['TOKEN', 'EMPTY']"), &["token: empty: put a token into its place"]),
        (
            top("token_file = 's3cret'"),
            &[
                "token_file: the file it names cannot be read as a text: check its path",
                "token: empty: put a token into its place",
            ],
        ),
        (top("accept = 1"), &["accept: not a table: write [accept]"]),
        (top("[accept]\ns3 = 1"), &["accept: s3: no such key here: correct or remove it"]),
        (top("[accept]\npayees = []"), &["accept: payees: not a list of EVM or Solana addresses"]),
        (
            top("[accept]\npayees = ['s3cret']"),
            &["accept: payees: not a list of EVM or Solana addresses"],
        ),
        (
            top("[accept]\nassets = []"),
            &["accept: assets: write [\"any\"] alone, or a list of tokens", NONE],
        ),
        (
            top("[accept]\nassets = ['any', 'known']"),
            &["accept: assets: write [\"any\"] alone, or a list of tokens"],
        ),
        (
            top("[accept]\nassets = ['known', 's3cret']"),
            &[
                "accept: assets: not a list of \"known\", \"any\" and tokens, such as eip155:8453/0x...:6",
            ],
        ),
        (top("[accept]\nmin_amount = 1"), &["accept: min_amount: not a text: put it in quotes"]),
        (
            top("[accept]\nmin_amount = '1.5'"),
            &["accept: min_amount: not an amount: write money, such as \"$0.001\", or units"],
        ),
        (
            top("[accept]\nmin_amount = '$s3cret'"),
            &["accept: min_amount: not an amount: write money, such as \"$0.001\", or units"],
        ),
        (
            top("[accept]\nassets = ['any']\nmin_amount = '$1'"),
            &["accept: min_amount: money, but some tokens are accepted without decimals: \
                 list them in assets"],
        ),
        (
            second("eip155:31337"),
            &["evm 2: network: no token of it is accepted: add one to assets in [accept]"],
        ),
        // All at once.
        (
            top("listen = 's3cret'\n[limits]\nper_payer = 0\n[store]\nkind = 'sqlite'"),
            &[
                "listen: not an address with a port, such as 127.0.0.1:4022",
                "store: path: missing: set it",
                "limits: per_payer: not a whole number from 1 to 1000000",
            ],
        ),
    ];
    for (text, mistakes) in cases {
        let file = Written::new("mistakes.toml", text);
        let output = checked(&file.0);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert_eq!(said.lines().collect::<Vec<_>>(), *mistakes, "{text}");
        assert!(!said.contains("s3cret") && !said.contains(&EVM_KEY[..8]), "{said}");
    }
    // And what is none.
    let right = [
        EVM.replace("rpc = [\"https://node.example\"]", "rpc_env = \"NODE\""),
        EVM.replace("https://node.example", "http://127.0.0.1:8545"),
        format!("{EVM}{SVM}confirm_seconds = 10\n"),
        top("[store]\nkind = 'redis'\nurl_env = 'X402_REDIS_URL'"),
        top("hosts = ['pay.example', '192.0.2.1']\ntoken_env = ['TOKEN', 'TOKENS']"),
        top("[accept]\npayees = ['0x70997970C51812dc3A010C7d01b50e0d17dc79C8', \
             '9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu']\nmin_amount = '$0.001'\nassets = ['known', \
             'eip155:8453/0x70997970C51812dc3A010C7d01b50e0d17dc79C8:6']"),
        format!("[accept]\nassets = ['any']\nmin_amount = '1'\n{}", EVM.replace("8453", "31337")),
        format!(
            "{SVM}max_fee_lamports = 110000\nmax_compute_units = 400000\nmax_compute_price = 1\n"
        ),
    ];
    for text in right {
        let file = Written::new("right.toml", &text);
        let output = checked(&file.0);
        assert!(output.status.success(), "{text} {output:?}");
    }
    let missing = checked(Path::new("s3cret.toml"));
    assert_eq!(missing.status.code(), Some(2));
    assert!(!String::from_utf8(missing.stderr).unwrap().contains("s3cret"));
}

/// A store that cannot be opened is named, without what is secret of it; in JSON, as every line, if that is
/// asked for.
#[test]
fn a_store_that_cannot_be_opened_is_named() {
    for (store, named) in [
        ("kind = 'sqlite'\npath = '/dev/null/claims.db'", "store: sqlite /dev/null/claims.db: "),
        ("kind = 'redis'\nurl_env = 'REDIS_GONE'", "store: redis at 127.0.0.1:1: "),
    ] {
        for json in [false, true] {
            let log = if json { "json" } else { "text" };
            let text = format!("log = '{log}'\n[store]\n{store}\n{EVM}");
            let config = Written::new("unopened.toml", &text);
            let output = command(&config.0).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(!said.contains("s3cret"), "{said}");
            for line in said.lines().filter(|_| json) {
                let line: Value = serde_json::from_str(line).unwrap();
                assert!(line["time"].as_u64().is_some() && line["message"].is_string(), "{line}");
            }
            assert!(said.contains(named), "{said}");
        }
    }
}

struct Running {
    child: Child,
    url: String,
    log: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn start(config: &Path) -> Self {
        let mut child = command(config).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut running = Self { child, url: String::new(), log };
        loop {
            let mut line = String::new();
            assert_ne!(running.log.read_line(&mut line).unwrap(), 0, "ended");
            // In JSON it is a text among others.
            if let Some((_, url)) = line.split_once("listening on http://") {
                running.url = url.trim_end().split('"').next().unwrap().into();
                return running;
            }
        }
    }

    fn ask(&self, request: &str, body: &str) -> (u16, String) {
        let headers = format!("host: {}\r\ncontent-type: application/json\r\n", self.url);
        let (status, _, body) = self.ask_with(request, &headers, body);
        (status, body)
    }

    /// With these headers alone: status, head and body.
    fn ask_with(&self, request: &str, headers: &str, body: &str) -> (u16, String, String) {
        let mut socket = TcpStream::connect(&self.url).unwrap();
        let length = body.len();
        let head = format!("{request} HTTP/1.1\r\n{headers}connection: close\r\n");
        write!(socket, "{head}content-length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, head.to_lowercase(), body.into())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Nodes that are not there make it not ready, and refuse nothing for certain; it says what it did,
/// keeps its claims, and ends when it is told to.
#[test]
fn serves_what_operators_ask_for() {
    let claims = std::env::temp_dir().join(format!("x402-config-{}.db", std::process::id()));
    let text = format!(
        "listen = '127.0.0.1:0'\nlog = 'json'\n[store]\nkind = 'sqlite'\npath = '{}'\n\
         [[evm]]\nnetwork = 'eip155:84532'\nrpc = ['http://127.0.0.1:1']\nkey_env = 'X402_EVM_KEY'\n",
        claims.display()
    );
    let config = Written::new("serves.toml", &text);
    let mut service = Running::start(&config.0);
    assert_eq!(service.ask("GET /healthz", "").0, 200);
    assert_eq!(service.ask("GET /readyz", "").0, 503);
    let (status, supported) = service.ask("GET /supported", "");
    let supported: Value = serde_json::from_str(&supported).unwrap();
    assert_eq!((status, &supported["kinds"][0]["network"]), (200, &"eip155:84532".into()));
    assert_eq!(service.ask("POST /settle", "{}").0, 400);
    let (status, metrics) = service.ask("GET /metrics", "");
    assert_eq!(status, 200);
    for name in ["x402_in_flight 0", "x402_warnings_total{message=\"not ready"] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    assert!(claims.exists());
    Command::new("kill").arg(service.child.id().to_string()).status().unwrap();
    assert!(service.child.wait().unwrap().success());
    let mut log = String::new();
    service.log.read_to_string(&mut log).unwrap();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["time"].as_u64().is_some() && line["level"].is_string(), "{line}");
    }
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(format!("{}{suffix}", claims.display())).ok();
    }
}

/// Who is let in: by name, origin, token and content type.
#[test]
fn callers_are_looked_at() {
    let text = format!(
        "listen = '127.0.0.1:0'\nhosts = ['pay.example']\ntoken_env = ['TOKEN', 'TOKENS']\n{}",
        EVM.replace("https://node.example", "http://127.0.0.1:1")
    );
    let config = Written::new("callers.toml", &text);
    let mut service = Running::start(&config.0);
    let (url, json) = (service.url.clone(), "content-type: application/json\r\n");
    let of = |token: &str| format!("authorization: {token}\r\n");
    let here = format!("host: {url}\r\n{}", of("Bearer token-one"));
    let named = |host: &str| format!("host: {host}\r\n{}{json}", of("bearer token-two"));
    let typed = |media: &str| format!("{here}content-type: {media}\r\n");
    let from = |origin: &str| format!("{here}{json}origin: {origin}\r\n");
    let token = |token: &str| format!("host: {url}\r\n{json}{}", of(token));
    let cases = [
        // A body that is none: who gets so far is let in.
        (format!("{here}{json}"), 400),
        (named("pay.example"), 400),
        (named("PAY.example.:443"), 400),
        (named("localhost"), 400),
        (named("rebound.evil.example"), 421),
        (named("localhost.evil.example"), 421),
        (named("127.0.0.2"), 421),
        (named("pay.example\r\nhost: evil.example"), 400),
        (format!("{}{json}", of("Bearer token-one")), 400),
        (from(&format!("http://{url}")), 400),
        (from("http://evil.example"), 403),
        (from("null"), 403),
        (from("http://127.0.0.1:1"), 403),
        (from(&format!("http://{url}\r\norigin: http://evil.example")), 403),
        (here.clone(), 415),
        (typed("text/plain"), 415),
        (typed("application/x-www-form-urlencoded"), 415),
        (typed("multipart/form-data; boundary=application/json"), 415),
        (typed("application/vnd.api+json"), 415),
        (typed("application/jsonx"), 415),
        (typed("text/plain; application/json"), 415),
        (typed("text/plain\r\ncontent-type: application/json"), 415),
        (typed("Application/JSON; charset=utf-8"), 400),
        (token("Bearer token-three"), 400),
        (token("Bearer  token-one"), 400),
        (token("Bearer token-on"), 401),
        (token("Bearer token-one, Bearer token-two"), 401),
        (token("Bearer"), 401),
        (token("Bearer "), 401),
        (token("Basic token-one"), 401),
        (token("token-one"), 401),
        (token("Bearer token-one\r\nauthorization: Bearer x"), 401),
        (format!("host: {url}\r\n{json}"), 401),
    ];
    for path in ["/verify", "/settle"] {
        for (headers, expected) in &cases {
            let (status, head, body) = service.ask_with(&format!("POST {path}"), headers, "{}");
            assert_eq!(status, *expected, "{path} {headers}");
            assert_eq!(head.contains("www-authenticate: bearer"), status == 401, "{head}");
            assert!(!body.contains("token-"), "{body}");
        }
    }
    let id = format!("GET /settlements/{}", "0".repeat(64));
    let (host, evil) = (format!("host: {url}\r\n"), "host: evil.example\r\n");
    for (request, headers, expected) in [
        (&*id, &*here, 404),
        (&id, &host, 401),
        (&id, evil, 421),
        ("GET /supported", &host, 200),
        ("GET /supported", evil, 421),
        ("GET /healthz", &host, 200),
        ("GET /healthz", evil, 421),
        ("GET /metrics", &host, 200),
        ("GET /metrics", evil, 421),
        ("GET /readyz", &host, 503),
        ("GET /readyz", evil, 421),
        ("GET http://evil.example/metrics", &host, 421),
    ] {
        assert_eq!(service.ask_with(request, headers, "").0, expected, "{request} {headers}");
    }
    service.child.kill().unwrap();
    let mut log = String::new();
    service.log.read_to_string(&mut log).unwrap();
    assert!(!log.contains("token-"), "{log}");
}

/// A node of an EVM chain on which gas costs something, and everybody has ether while `rich`. Ends
/// with the process.
fn node(chain_id: &'static str, rich: Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut length = 0;
            let mut line = String::new();
            while stream.read_line(&mut line).unwrap_or(0) > 2 {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            if stream.read_exact(&mut body).is_err() {
                continue;
            }
            let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
            let result = match asked["method"].as_str() {
                Some("eth_chainId") => json!(chain_id),
                Some("eth_gasPrice") => json!("0x1"),
                Some("eth_getBalance") if rich.load(Ordering::Relaxed) => {
                    json!("0xde0b6b3a7640000")
                }
                Some("eth_getBalance") => json!("0x0"),
                Some("eth_blockNumber") => json!("0x10"),
                Some("eth_getBlockByNumber") => json!({
                    "hash": format!("0x{}", "ab".repeat(32)),
                    "number": asked["params"][0],
                    "timestamp": format!("{:#x}", x402_std::Clock::now(&x402_std::SystemClock)),
                }),
                _ => Value::Null,
            };
            let answer =
                json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result }).to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
            let length = answer.len();
            write!(stream.get_mut(), "{head}content-length: {length}\r\n\r\n{answer}").ok();
        }
    });
    url
}

/// One network that is down does not take the others with it, and each says why.
#[test]
fn readiness_is_each_networks_own() {
    let rich = Arc::new(AtomicBool::new(true));
    let poor = Arc::new(AtomicBool::new(false));
    let evm = |network: &str, node: &str| {
        format!(
            "[[evm]]\nnetwork = '{network}'\nrpc = ['{node}']\nkey_env = 'X402_EVM_KEY'\nlegacy = true\n"
        )
    };
    let text = [
        "listen = '127.0.0.1:0'\n",
        &evm("eip155:8453", "http://127.0.0.1:1"),
        &evm("eip155:84532", &node("0x14a34", rich)),
        &evm("eip155:1329", &node("0x531", poor)),
        &SVM.replace("https://node.example", "http://127.0.0.1:1"),
    ]
    .concat();
    let config = Written::new("readiness.toml", &text);
    let service = Running::start(&config.0);
    let probe = |query: &str| {
        let (status, body) = service.ask(&format!("GET /readyz{query}"), "");
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let (status, all) = probe("");
    assert_eq!((status, &all["ready"]), (200, &json!(true)), "{all}");
    let expected = [
        ("eip155:8453", "too few nodes of chain 8453 can be reached"),
        ("eip155:84532", ""),
        ("eip155:1329", "cannot pay for gas on chain 1329: send it coins"),
        ("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "too few nodes"),
    ];
    let networks = all["networks"].as_array().unwrap();
    assert_eq!(networks.len(), expected.len());
    let (_, metrics) = service.ask("GET /metrics", "");
    for (found, (network, reason)) in networks.iter().zip(expected) {
        let ready = reason.is_empty();
        assert_eq!((&found["network"], &found["ready"]), (&json!(network), &json!(ready)), "{all}");
        let said = found["reason"].as_str().unwrap_or("");
        assert!(said.contains(reason) && !said.contains("http"), "{all}");
        let (status, one) = probe(&format!("?network={}", network.replace(':', "%3A")));
        assert_eq!(status, if ready { 200 } else { 503 }, "{one}");
        assert_eq!((&one["ready"], &one["networks"]), (&json!(ready), &json!([found])), "{one}");
        let gauge = format!("x402_ready{{network=\"{network}\"}} {}", u8::from(ready));
        assert!(metrics.contains(&gauge), "{gauge} in {metrics}");
    }
    assert_eq!(probe("?network=base-sepolia").0, 200);
    assert_eq!(probe("?a=b&network=base").0, 503);
    assert_eq!(probe("?network=eip155:1").0, 404);
    assert_eq!(probe("?network=").0, 404);
}

/// A service whose nodes are of another chain does not start, whichever of its networks it is.
#[test]
fn a_wrong_chain_is_refused_at_the_start() {
    let rich = || Arc::new(AtomicBool::new(true));
    let evm = |network: &str, node: &str| {
        format!(
            "[[evm]]\nnetwork = '{network}'\nrpc = ['{node}']\nkey_env = 'X402_EVM_KEY'\nlegacy = true\n"
        )
    };
    let text = [
        "listen = '127.0.0.1:0'\n",
        &evm("eip155:84532", "http://127.0.0.1:1"),
        &evm("eip155:8453", &node("0x1", rich())),
    ]
    .concat();
    let config = Written::new("wrong-chain.toml", &text);
    let output = command(&config.0).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("a node given for chain 8453 is of another one"), "{said}");
}

/// What is taken on, and what a payment on Solana may cost, are as the file says: refused before a
/// node is asked, of which there is none here.
#[test]
fn what_is_taken_on_is_configured() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../x402-core/tests/vectors/negative");
    let recorded = |name: &str| {
        let text = fs::read_to_string(folder.join("svm-exact").join(name)).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["request"].to_string()
    };
    // Both take 20 000 units, one at a micro-lamport each, the other at five lamports.
    let (usual, dear) = (recorded("control-valid.json"), recorded("compute-price-max-ok.json"));
    let devnet = SVM
        .replace("5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "EtWTRABZaYq6iMfeYKouRu166VU2xqa1")
        .replace("https://node.example", "http://127.0.0.1:1");
    let (price, limit) =
        ("compute_price_instruction_too_high", "compute_limit_instruction_too_high");
    let (required, nothing) = ("invalid_payment_requirements", "");
    for (accept, cost, request, refused) in [
        ("", "", &usual, nothing),
        ("", "", &dear, price),
        ("", "max_fee_lamports = 109999", &dear, price),
        ("", "max_fee_lamports = 110000", &dear, nothing),
        ("", "max_fee_lamports = 110000\nmax_compute_price = 4999999", &dear, price),
        ("", "max_fee_lamports = 10000", &usual, price),
        ("", "max_fee_lamports = 10001", &usual, nothing),
        ("", "max_compute_units = 19999", &usual, limit),
        ("payees = ['GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse']", "", &usual, nothing),
        ("payees = ['9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu']", "", &usual, required),
        ("min_amount = '$0.001'", "", &usual, nothing),
        ("min_amount = '$0.0011'", "", &usual, required),
        ("min_amount = '1001'", "", &usual, required),
        (
            "assets = ['solana-devnet/9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu:6']",
            "",
            &usual,
            required,
        ),
    ] {
        let text = format!("listen = '127.0.0.1:0'\n[accept]\n{accept}\n{devnet}{cost}\n");
        let config = Written::new("taken.toml", &text);
        let service = Running::start(&config.0);
        for (path, key) in [("/verify", "invalidReason"), ("/settle", "errorReason")] {
            let (_, answer) = service.ask(&format!("POST {path}"), request);
            let answer: Value = serde_json::from_str(&answer).unwrap();
            let reason = answer[key].as_str().unwrap();
            let told = [price, limit, required].iter().any(|known| reason.ends_with(known));
            assert_eq!(told, !refused.is_empty(), "{accept} {cost} {path} {answer}");
            assert!(reason.ends_with(refused), "{accept} {cost} {path} {answer}");
        }
    }
}
