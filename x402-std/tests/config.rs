//! `x402 facilitator --config`: what is configured, what is wrong with it, what it serves.
#![cfg(feature = "cli")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

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

/// Every mistake is named, with its place, and nothing that was written is repeated.
#[test]
fn mistakes_are_named() {
    let second = |network: &str| format!("{EVM}{}", EVM.replace("eip155:8453", network));
    let evm = |line: &str| format!("{EVM}{line}\n");
    let svm = |line: &str| format!("{SVM}{line}\n");
    let top = |lines: &str| format!("{lines}\n{EVM}");
    let cases: &[(String, &[&str])] = &[
        (String::new(), &["no network: there is neither [[evm]] nor [[svm]]"]),
        ("a = ".into(), &["line 1: not TOML"]),
        ("a = 1\nb = s3cret".into(), &["line 2: not TOML"]),
        ("a = 1\na = 2".into(), &["line 2: not TOML"]),
        (top("listen = 1"), &["listen: not a text"]),
        (top("listen = 's3cret'"), &["listen: not an address and port, such as 127.0.0.1:4022"]),
        (top("log = 's3cret'\ns3 = 1"), &["log: none of text, json", "s3: no such key here"]),
        (top("shutdown_seconds = 0"), &["shutdown_seconds: not a whole number of 1 to 3600"]),
        (top("store = 1"), &["store: not a table: [store]"]),
        (top("[store]\nkind = 's3cret'"), &["store: kind: none of memory, sqlite, redis"]),
        (top("[store]\nkind = 'sqlite'"), &["store: path: missing"]),
        (
            top("[store]\nkind = 'redis'"),
            &["store: url: missing: url_env or url_file says where it is"],
        ),
        (
            top("[store]\nkind = 'redis'\nurl = 'redis://:s3cret@a'\nurl_env = 'NODE'"),
            &["store: url: a secret does not stand here: url_env or url_file says where"],
        ),
        (top("[store]\npath = 'a'"), &["store: path: no such key here"]),
        (top("[limits]\nat_once = -1"), &["limits: at_once: not a whole number of 1 to 100000"]),
        (top("[limits]\nverifiers = -1"), &["limits: verifiers: not a whole number of 0 to 256"]),
        (top("[limits]\nverifiers = 257"), &["limits: verifiers: not a whole number of 0 to 256"]),
        (top("[limits]\nat_once = 1.5"), &["limits: at_once: not a whole number of 1 to 100000"]),
        (
            top("evm = 1").replace("[[evm]]", "[x]"),
            &["evm: not a list of tables: [[evm]]", "x: no such key here"],
        ),
        (second("base"), &["evm 2: network: given twice"]),
        (second("s3 cret"), &["evm 2: network: not a network, such as eip155:8453"]),
        (second("s3cret"), &["evm 2: network: not an EVM network: eip155 and a chain id"]),
        (
            second("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"),
            &["evm 2: network: not an EVM network: eip155 and a chain id"],
        ),
        (format!("{SVM}{SVM}"), &["svm 2: network: given twice"]),
        (
            format!("{SVM}{}", SVM.replace("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "solana")),
            &["svm 2: network: given twice"],
        ),
        (
            SVM.replace("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "eip155:1"),
            &["svm 1: network: not a Solana network: solana and a genesis hash"],
        ),
        (
            EVM.replace("https://node.example", "node.example"),
            &["evm 1: rpc: not a URL, such as https://node.example"],
        ),
        (
            EVM.replace("node.example\"", "node.example\", \"https://Node.example/\""),
            &["evm 1: rpc: a node given twice"],
        ),
        (evm("max_fee_gwei = 1"), &["evm 1: max_priority_fee_gwei: more than max_fee_gwei"]),
        (evm("confirmations = 0"), &["evm 1: confirmations: not a whole number of 1 to 1000"]),
        (evm("witnesses = 2"), &["evm 1: witnesses: more than there are nodes"]),
        (evm("factories = ['0x01']"), &["evm 1: factories: not a list of addresses"]),
        (
            evm("max_proof_age_seconds = 3601"),
            &["evm 1: max_proof_age_seconds: not a whole number of 0 to 3600"],
        ),
        (evm("legacy = 1"), &["evm 1: legacy: neither true nor false"]),
        (svm("commitment = 'processed'"), &["svm 1: commitment: none of confirmed, finalized"]),
        (svm("witnesses = 2"), &["svm 1: witnesses: more than there are nodes"]),
        (
            EVM.replace("key_env = \"X402_EVM_KEY\"", ""),
            &["evm 1: key: missing: key_env or key_file says where it is"],
        ),
        (
            EVM.replace("X402_EVM_KEY", "NODE"),
            &["evm 1: key: not a private key of 64 hexadecimal digits"],
        ),
        (
            EVM.replace("X402_EVM_KEY", "s3cret"),
            &["evm 1: key_env: the variable it names is not set to a text"],
        ),
        (
            EVM.replace("key_env = \"X402_EVM_KEY\"", "key_file = \"s3cret\""),
            &["evm 1: key_file: the file it names cannot be read"],
        ),
        (
            SVM.replace("X402_SVM_KEY", "X402_EVM_KEY"),
            &["svm 1: key: neither base58 of 64 bytes nor as the Solana CLI writes it"],
        ),
        (
            EVM.replace("https://node.example", "https://node.example/v3/s3cret"),
            &["evm 1: rpc: a URL with more than a host in it: rpc_env or rpc_file says where"],
        ),
        (
            EVM.replace("https://node.example", "http://s3cret.example"),
            &["evm 1: rpc: RPC URL is neither https nor loopback"],
        ),
        (EVM.replace("rpc = [\"https://node.example\"]", ""), &["evm 1: rpc: missing"]),
        (
            EVM.replace("rpc = [\"https://node.example\"]", "rpc = [1]"),
            &["evm 1: rpc: not a list of texts", "evm 1: rpc: missing"],
        ),
        // All at once.
        (
            top("listen = 's3cret'\n[limits]\nper_payer = 0\n[store]\nkind = 'sqlite'"),
            &[
                "listen: not an address and port, such as 127.0.0.1:4022",
                "store: path: missing",
                "limits: per_payer: not a whole number of 1 to 1000000",
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
            if let Some(url) = line.trim_end().strip_prefix("listening on http://") {
                running.url = url.into();
                return running;
            }
        }
    }

    fn ask(&self, request: &str, body: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(&self.url).unwrap();
        let length = body.len();
        let head = format!("{request} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n");
        write!(socket, "{head}content-length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.into())
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
