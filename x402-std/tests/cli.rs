//! The command `x402`, run as people run it: exit status, stdout, stderr.
#![cfg(feature = "cli")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use x402_std::message::{decode_header, encode_header};
use x402_std::svm::message::{Config, Draft, Header, Instruction, MessageVersion};
use x402_std::svm::programs::{COMPUTE_BUDGET, LIGHTHOUSE, MEMO, TOKEN, TOKEN_2022};
use x402_std::svm::{Address, base58};

/// The second and fifth account of anvil's public mnemonic.
const KEY: &str = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
const PAYER: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const PAY_TO: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";

/// The keys of the recordings on Solana, by their seeds: all 2 for who pays, all 3 for who is paid.
const SVM_SEED: [u8; 32] = [2; 32];
const SVM_PAYER: &str = "9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu";
const SVM_PAY_TO: &str = "GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse";
const FEE_PAYER: &str = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9";
const DEVNET: &str = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
const MAINNET: &str = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";
const DEVNET_USDC: &str = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU";
const BLOCKHASH: &str = "CmpNeggWJ4JaWJeJ8YKN1Zypmk7uvQq3PECGUCAEMbky";

/// Within the validity of every recorded payment that is not about time.
const NOW: &str = "4102441170";

const FUND_DOLLAR: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8=$1";
const FUND_EVM: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8=1";
const FUND_SVM: &str = "9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu=1";
const FUND_SVM_TOO_MUCH: &str = "9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu=18446744073709551616";

/// A port where nobody listens.
const NOBODY: &str = "http://127.0.0.1:1";

// ---- running the command

#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    #[track_caller]
    fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    #[track_caller]
    fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} in {self:?}");
        self
    }

    /// Neither a key nor the URL of a node is in what was said.
    #[track_caller]
    fn keeps_secrets(self) -> Self {
        let all = format!("{}{}", self.stdout, self.stderr);
        let keypair = base58_of(&keypair());
        let seed = base58_of(&SVM_SEED);
        let forms = [&KEY[..16], &keypair[..16], &seed[..16], "02020202", "2,2,2", "s3cret"];
        for secret in forms {
            assert!(!all.contains(secret), "{secret} in {self:?}");
        }
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What `pay --json` says of the payment.
    #[track_caller]
    fn receipt(&self) -> Value {
        self.json()["receipt"].clone()
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_x402"));
    command.args(args).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    Ran { code: output.status.code(), stdout, stderr }
}

fn x402(args: &[&str]) -> Ran {
    ran(&mut command(args))
}

fn with_key(args: &[&str]) -> Ran {
    ran(command(args).env("X402_EVM_KEY", KEY))
}

fn with_env(args: &[&str], variables: &[(&str, &str)]) -> Ran {
    ran(command(args).envs(variables.iter().copied()))
}

fn with_svm_key(args: &[&str]) -> Ran {
    with_env(args, &[("X402_SVM_KEY", &base58_of(&keypair()))])
}

fn base58_of<const N: usize>(bytes: &[u8; N]) -> String {
    base58::encode(bytes, &mut [0; 100]).unwrap().into()
}

/// Seed and public key, as wallets export them.
fn keypair() -> [u8; 64] {
    let mut keypair = [0; 64];
    keypair[..32].copy_from_slice(&SVM_SEED);
    keypair[32..].copy_from_slice(&Address::parse(SVM_PAYER).unwrap().0);
    keypair
}

/// A key file of the Solana CLI.
fn cli_file(bytes: &[u8]) -> String {
    serde_json::to_string(bytes).unwrap()
}

fn with_stdin(args: &[&str], input: &[u8]) -> Ran {
    let mut child = command(args).stdin(Stdio::piped()).spawn().unwrap();
    // It need not read all of it.
    child.stdin.take().unwrap().write_all(input).ok();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    Ran { code: output.status.code(), stdout, stderr }
}

/// A file that is gone when this is.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, contents: impl AsRef<[u8]>) -> Self {
        let path = std::env::temp_dir().join(format!("x402-cli-{}-{name}", std::process::id()));
        fs::write(&path, contents).unwrap();
        // It may be a key.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn argument(&self) -> String {
        format!("@{}", self.path())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

/// A command that listens, stopped when this goes.
struct Server {
    child: Child,
    url: String,
    log: BufReader<ChildStderr>,
    warnings: String,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let mut child =
            command(args).args(["--listen", "127.0.0.1:0"]).stdout(Stdio::null()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut server = Self { child, log, url: String::new(), warnings: String::new() };
        loop {
            let mut line = String::new();
            server.log.read_line(&mut line).unwrap();
            assert_ne!(line, "", "ended: {}", server.warnings);
            // In JSON it is a text among others.
            if let Some((_, url)) = line.split_once("listening on ") {
                server.url = url.trim_end().split('"').next().unwrap().into();
                return server;
            }
            server.warnings += &line;
        }
    }

    /// `serve` for a cent, with its own ledger in which the payer has `funds`.
    fn shop(funds: &str, options: &[&str]) -> Self {
        let fund = format!("{PAYER}={funds}");
        let more = ["--facilitator", "simulated", "--fund", &fund];
        Self::start(&[&offer(), &more[..], options].concat())
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// One request by hand: status, head and body.
    fn ask(&self, request: &str, headers: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap();
        let end = "Host: shop\r\nConnection: close\r\n";
        write!(stream, "{request} HTTP/1.1\r\n{headers}{end}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_lowercase(), body.into())
    }

    /// Asks it to stop: exit code, and what it said since it listens.
    #[cfg(unix)]
    fn stop(&mut self) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let mut said = String::new();
        self.log.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn offer() -> Vec<&'static str> {
    vec!["serve", "--pay-to", PAY_TO, "--price", "$0.01", "--network", "eip155:84532"]
}

/// Answers every request with JSON, as [`scripted`].
fn scripted_json(status: &str, body: &Value) -> (String, Arc<Mutex<Vec<String>>>) {
    let (body, end) = (body.to_string(), "Connection: close\r\n\r\n");
    scripted(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{end}{body}", body.len()))
}

/// Answers every request with `answer`, and keeps the requests. Ends with the process.
fn scripted(answer: impl Into<String>) -> (String, Arc<Mutex<Vec<String>>>) {
    let answer = answer.into();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            let body_len = |request: &[u8]| {
                let text = String::from_utf8_lossy(request).to_lowercase();
                let (head, body) = text.split_once("\r\n\r\n")?;
                let length = head.split("content-length: ").nth(1).unwrap_or("0");
                let length = length.lines().next()?.parse::<usize>().ok()?;
                Some(body.len() >= length)
            };
            while body_len(&request) != Some(true) {
                let read = stream.read(&mut buffer).unwrap();
                if read == 0 {
                    break;
                }
                request.extend_from_slice(&buffer[..read]);
            }
            keep.lock().unwrap().push(String::from_utf8(request).unwrap());
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (url, seen)
}

// ---- what was recorded

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../x402-core/tests/vectors")
}

fn recorded(file: &str) -> Value {
    serde_json::from_slice(&fs::read(vectors().join(file)).unwrap()).unwrap()
}

/// Header values in a recording, with the kind of message they should be and the recorder's
/// reading of them.
fn recorded_headers(file: &str) -> Vec<(&'static str, String, Value)> {
    let mut found = Vec::new();
    for exchange in recorded(file)["exchanges"].as_array().unwrap() {
        for side in ["request", "response"] {
            for header in exchange[side]["headers"].as_array().unwrap() {
                let (name, value) = (header[0].as_str().unwrap(), header[1].as_str().unwrap());
                let kind = match name.to_uppercase().as_str() {
                    "PAYMENT-REQUIRED" => "PaymentRequired",
                    "PAYMENT-SIGNATURE" | "X-PAYMENT" => "PaymentPayload",
                    "PAYMENT-RESPONSE" | "X-PAYMENT-RESPONSE" => "SettleResponse",
                    _ => continue,
                };
                let read = &exchange[side]["decodedHeaders"][name];
                found.push((kind, value.to_owned(), read.clone()));
            }
        }
    }
    found
}

fn challenge_of(file: &str) -> (String, Value) {
    let mut headers = recorded_headers(file).into_iter();
    let (_, header, read) = headers.find(|(kind, ..)| *kind == "PaymentRequired").unwrap();
    (header, read)
}

// ---- decode

#[test]
fn decodes_recorded_headers() {
    let version = |message: &Value| message["x402Version"].clone();
    let mut seen = Vec::new();
    for file in [
        "e2e-ts/evm-exact-eip3009.json",
        "e2e-ts/svm-exact.json",
        "e2e-ts/bazaar-and-payment-identifier.json",
        "e2e-py/py-httpx__fastapi+py-fac__evm-eip3009.json",
        "e2e-v1/v1-evm-legacy-client.json",
        "e2e-sei/v2-sei-testnet-exact.json",
    ] {
        for (kind, header, read) in recorded_headers(file) {
            let ran = x402(&["decode", &header]).ends(0);
            let mut decoded = ran.json();
            let transaction = decoded.as_object_mut().unwrap().remove("transaction");
            assert_eq!(transaction.is_some(), kind == "PaymentPayload" && file.contains("svm"));
            let wanted = json!({"kind": kind, "x402Version": version(&read), "message": read});
            assert_eq!(decoded, wanted, "{file}");
            seen.push(kind);
        }
    }
    assert!(seen.len() >= 16, "{seen:?}");
}

#[test]
fn decodes_every_kind_from_everywhere() {
    let control = recorded("negative/evm-exact-eip3009/control-valid.json");
    let v1 = recorded("negative/evm-exact-v1/control-valid.json");
    let settled = recorded("negative/evm-exact-eip3009/settle-ok.json");
    let (_, challenge) = challenge_of("e2e-ts/evm-exact-eip3009.json");
    let v1_challenge = json!({"x402Version": 1, "accepts": [v1["request"]["paymentRequirements"]]});
    for (kind, version, message) in [
        ("VerifyRequest", json!(2), &control["request"]),
        ("VerifyRequest", json!(1), &v1["request"]),
        ("PaymentPayload", json!(2), &control["request"]["paymentPayload"]),
        ("PaymentPayload", json!(1), &v1["request"]["paymentPayload"]),
        ("PaymentRequirements", json!(2), &control["request"]["paymentRequirements"]),
        ("PaymentRequirements", json!(1), &v1["request"]["paymentRequirements"]),
        ("PaymentRequired", json!(2), &challenge),
        ("PaymentRequired", json!(1), &v1_challenge),
        ("VerifyResponse", Value::Null, &control["response"]["body"]),
        ("SettleResponse", Value::Null, &settled["response"]["body"]),
        ("SupportedResponse", Value::Null, &recorded("supported-ts.json")),
        ("ResourceInfo", Value::Null, &challenge["resource"]),
    ] {
        let wanted = json!({"kind": kind, "x402Version": version, "message": message});
        let text = message.to_string();
        let file = TempFile::new(&format!("decode-{kind}-{version}"), format!(" {text}\n"));
        assert_eq!(x402(&["decode", &text]).ends(0).json(), wanted);
        assert_eq!(x402(&["decode", &file.argument()]).ends(0).json(), wanted);
        let header = encode_header(text.as_bytes());
        let input = format!("\t{header}\r\n");
        assert_eq!(with_stdin(&["decode", "-"], input.as_bytes()).ends(0).json(), wanted);
    }
    // As it was sent, not as it is understood.
    let odd = r#"{"success" : true,"transaction":"\u0030","network":"","n":1.50}"#;
    let ran = x402(&["decode", odd]).ends(0);
    assert!(ran.stdout.contains(odd), "{ran:?}");
}

#[test]
fn decode_says_what_is_wrong_and_where() {
    let long = format!(r#"{{"accepts":"{}"}}"#, "x".repeat(1 << 20));
    for (text, said) in [
        ("not base64!!", "invalid_payload: not base64"),
        ("", "invalid_payload: not base64"),
        ("[1]", "invalid_payload: not base64"),
        ("{}", "invalid_payload: not a message of the x402 protocol"),
        ("e30=", "invalid_payload: not a message of the x402 protocol"),
        (r#"{"a":1,"a":2}"#, "invalid_payload: not a message of the x402 protocol"),
        (r#"{"isValid":true,"isValid":true}"#, "invalid_payload: duplicate key: isValid, at byte"),
        (r#"{"isValid":"yes"}"#, "invalid_payload: field of the wrong type: isValid, at byte 11"),
        (r#"{"isValid":true}x"#, "invalid_payload: not JSON at byte 16"),
        (r#"{"isValid":tru"#, "invalid_payload: not JSON: isValid, at byte 11"),
        (r#"{"accepts":[]}"#, "invalid_payload: required field missing: x402Version, at byte 14"),
        (r#"{"x402Version":3,"accepts":[]}"#, "invalid_x402_version: "),
        (
            r#"{"scheme":"exact","network":"?","amount":"1","asset":"","payTo":"","maxTimeoutSeconds":1}"#,
            "invalid_network: ",
        ),
    ] {
        let ran = x402(&["decode", text]).ends(2).says(said);
        assert_eq!(ran.stdout, "");
        let ran = with_stdin(&["decode", "-"], text.as_bytes()).ends(2).says(said);
        assert_eq!(ran.stdout, "");
    }
    let ran = with_stdin(&["decode", "-"], long.as_bytes()).ends(2);
    ran.says("invalid_payload: longer than allowed");
    with_stdin(&["decode", "-"], b"{\"success\":\"\xff\"}").ends(2).says("not UTF-8");
    with_stdin(&["decode", "-"], &[b' '; 2 << 20]).ends(2).says("longer than allowed");
    x402(&["decode", "@/no/such/file"]).ends(2).says("cannot read the file");
}

#[test]
fn decodes_a_recorded_transaction_in_words() {
    let request = recorded("negative/svm-exact/memo-ok.json")["request"].clone();
    let words = format!(
        r#","transaction":{{"version":"v0","feePayer":"{FEE_PAYER}","signers":[{{"address":"{FEE_PAYER}","signed":false}},{{"address":"{SVM_PAYER}","signed":true}}],"blockhash":"{BLOCKHASH}","instructions":["set compute unit limit to 20000","set compute unit price to 1 micro-lamport","transfer 0.001 USDC (1000 units of {DEVNET_USDC}, 6 decimals) from GzpVTWkyGGfBXRaprnrhV3JtGj3TT52z5w2CrEJsTfjm to 6ndWAgFxMAVLobD8WrdBj5w41GrDeJYiQX91nNSrwkZp, authorised by {SVM_PAYER}","memo \"order-42\""]}}}}"#
    )
    .replace("memo \"order-42\"", r#"memo \"order-42\""#);
    for (kind, message) in
        [("VerifyRequest", &request), ("PaymentPayload", &request["paymentPayload"])]
    {
        let wanted = format!(r#"{{"kind":"{kind}","x402Version":2,"message":{message}{words}"#);
        assert_eq!(x402(&["decode", &message.to_string()]).ends(0).stdout, wanted + "\n");
    }
    // A signature that is there and does not hold is none.
    let invalid = recorded("negative/svm-exact/signature-invalid.json")["request"].to_string();
    let signers = x402(&["decode", &invalid]).ends(0).json()["transaction"]["signers"].clone();
    assert_eq!(signers[1], json!({"address": SVM_PAYER, "signed": false}));
}

/// A payment whose payload is `payload`.
fn payment_of(network: &str, payload: Value) -> String {
    let accepted = json!({
        "scheme": "exact", "network": network, "amount": "1", "asset": DEVNET_USDC,
        "payTo": SVM_PAY_TO, "maxTimeoutSeconds": 60,
    });
    json!({"x402Version": 2, "payload": payload, "accepted": accepted}).to_string()
}

#[test]
fn decodes_any_transaction_in_words() {
    let key = |text| Address::parse(text).unwrap();
    let transfer = |amount: u64, decimals| [&[12], &amount.to_le_bytes()[..], &[decimals]].concat();
    let (mint, to) = (key(DEVNET_USDC), key(SVM_PAY_TO));
    let keys = [key(SVM_PAYER), to, COMPUTE_BUDGET, MEMO, LIGHTHOUSE, TOKEN, TOKEN_2022, mint];
    let from_to = format!("from {SVM_PAYER} to {SVM_PAY_TO}, authorised by {SVM_PAYER}");
    let transfer_accounts = [0, 7, 1, 0];
    let mut cases: Vec<(u8, &[u8], Vec<u8>, String)> = vec![
        (2, &[], vec![2, 0, 1, 0, 0], "set compute unit limit to 256".into()),
        (
            2,
            &[],
            vec![3, 5, 0, 0, 0, 0, 0, 0, 0],
            "set compute unit price to 5 micro-lamports".into(),
        ),
        (2, &[], vec![1, 2], format!("call {COMPUTE_BUDGET} with 0 accounts and 2 bytes")),
        (3, &[], "a\"\n\u{202e}é".into(), r#"memo "a\"\n\u{202e}é""#.into()),
        (3, &[], vec![0xff, 0, 0x61], "memo 0xff0061".into()),
        (4, &[0, 1], vec![9; 3], "call Lighthouse with 2 accounts and 3 bytes".into()),
        (7, &[0], vec![1], format!("call {DEVNET_USDC} with 1 account and 1 byte")),
        (5, &[0], vec![], format!("call {TOKEN} with 1 account and 0 bytes")),
    ];
    for (program, accounts, amount, decimals, words) in [
        (5, transfer_accounts, 1, 6, format!("0.000001 USDC (1 unit of {mint}, 6 decimals)")),
        (
            5,
            transfer_accounts,
            2_500_000,
            6,
            format!("2.5 USDC (2500000 units of {mint}, 6 decimals)"),
        ),
        (5, transfer_accounts, 10, 9, format!("10 units of {mint} (9 decimals)")),
        (6, transfer_accounts, 10, 6, format!("10 units of {mint} (6 decimals)")),
        (
            5,
            [0, 4, 1, 0],
            u64::MAX,
            1,
            format!("18446744073709551615 units of {LIGHTHOUSE} (1 decimal)"),
        ),
    ] {
        let words = format!("transfer {words} {from_to}");
        cases.push((program, Box::leak(Box::new(accounts)), transfer(amount, decimals), words));
    }
    let wanted: Vec<_> = cases.iter().map(|(.., words)| words.clone()).collect();
    let instructions: Vec<_> = cases
        .iter()
        .map(|(program, accounts, data, _)| Instruction { program: *program, accounts, data })
        .collect();
    let config =
        Config { compute_units: Some(7), loaded_accounts_bytes: Some(8), ..Config::default() };
    for (version, name) in
        [(MessageVersion::Legacy, "legacy"), (MessageVersion::V0, "v0"), (MessageVersion::V1, "v1")]
    {
        let draft = Draft {
            version,
            header: Header { signers: 1, readonly_signers: 0, readonly_others: 6 },
            keys: &keys,
            lifetime: &SVM_SEED,
            config,
            instructions: &instructions,
        };
        let mut bytes = [0; 2048];
        let transaction = encode_header(draft.write(&mut bytes).unwrap().into_bytes());
        let payment = payment_of(DEVNET, json!({ "transaction": transaction }));
        let mut words = json!({
            "version": name,
            "feePayer": SVM_PAYER,
            "signers": [{"address": SVM_PAYER, "signed": false}],
            "blockhash": base58_of(&SVM_SEED),
            "instructions": wanted,
        });
        if name == "v1" {
            words["config"] = json!({"computeUnits": 7, "loadedAccountsBytes": 8});
        }
        assert_eq!(x402(&["decode", &payment]).ends(0).json()["transaction"], words);
        // On mainnet, nobody knows this mint.
        let payment = payment_of(MAINNET, json!({ "transaction": transaction }));
        let words = x402(&["decode", &payment]).ends(0).json()["transaction"].to_string();
        assert!(words.contains(&format!("2500000 units of {mint} (6 decimals)")), "{words}");
    }
}

#[test]
fn decode_without_an_address_table_or_a_transaction() {
    // One signer and the token program; source, mint and destination are in a table.
    let table = Address::parse(SVM_PAY_TO).unwrap();
    let mut bytes = vec![1];
    bytes.extend([0; 64]);
    bytes.extend([0x80, 1, 0, 1, 2]);
    bytes.extend(Address::parse(SVM_PAYER).unwrap().0);
    bytes.extend(TOKEN.0);
    bytes.extend([9; 32]);
    bytes.extend([1, 1, 4, 2, 4, 3, 0, 10, 12, 1, 0, 0, 0, 0, 0, 0, 0, 6]);
    bytes.push(1);
    bytes.extend(table.0);
    bytes.extend([2, 50, 60, 1, 70]);
    let payment = |transaction: Value| payment_of(DEVNET, json!({ "transaction": transaction }));
    let looked_up = encode_header(&bytes);
    let words = x402(&["decode", &payment(json!(looked_up))]).ends(0).json()["transaction"].clone();
    assert_eq!(words["lookups"], 1);
    let at = |place| format!("account {place} of table {table}");
    assert_eq!(
        words["instructions"],
        json!([format!(
            "transfer 1 unit of {} (6 decimals) from {} to {}, authorised by {SVM_PAYER}",
            at(70),
            at(50),
            at(60)
        )])
    );

    let unread = "not base64, or longer than a transaction may be";
    for (transaction, error) in [
        (json!(encode_header(&bytes[..bytes.len() - 1])), "ends too early"),
        (json!(encode_header(&[&bytes[..], &[0]].concat())), "bytes left over"),
        (json!(encode_header(&[0x82])), "unknown transaction version"),
        (json!(encode_header(&[1; 1300])), "longer than a transaction may be"),
        (json!(""), unread),
        (json!(encode_header(&[1; 5000])), unread),
        (json!("!"), unread),
        (json!(1), "not a text"),
        (json!(null), "not a text"),
    ] {
        let decoded = x402(&["decode", &payment(transaction.clone())]).ends(0).json();
        assert_eq!(decoded["transaction"], json!({ "error": error }), "{transaction}");
    }
    for none in
        [payment_of(DEVNET, json!({})), payment_of("eip155:1", json!({ "transaction": looked_up }))]
    {
        assert_eq!(x402(&["decode", &none]).ends(0).json().get("transaction"), None);
    }
}

// ---- verify

#[test]
fn verifies_recorded_requests() {
    let needs_chain = [
        "asset_not_deployed_contract",
        "invalid_exact_evm_insufficient_balance",
        "invalid_exact_evm_nonce_already_used",
        "invalid_exact_svm_transaction_simulation_failed",
        "transaction_simulation_failed",
        "duplicate_settlement",
        // Whose key the facilitator has is not known here either.
        "invalid_exact_svm_fee_payer_not_managed_by_facilitator",
    ];
    let mut seen = 0;
    for group in ["evm-exact-eip3009", "evm-exact-v1", "svm-exact", "svm-exact-v1"] {
        for file in fs::read_dir(vectors().join("negative").join(group)).unwrap() {
            let case: Value =
                serde_json::from_slice(&fs::read(file.unwrap().path()).unwrap()).unwrap();
            let official = case["expectedReason"].as_str().unwrap();
            let (code, reason) = match case["name"].as_str().unwrap() {
                // The official SDK throws on these.
                "payload-empty" | "value-not-numeric" => (1, "invalid_payload"),
                "unsupported-version-3" => (2, "invalid_x402_version"),
                "unregistered-scheme" => (1, "unsupported_scheme"),
                // The specification allows two.
                "extra-signer-ok-by-default" => (1, "invalid_exact_svm_payload_excessive_signers"),
                _ if official == "VALID" || needs_chain.contains(&official) => (0, ""),
                _ => (1, official),
            };
            let request = case["request"].to_string();
            let ran = x402(&["verify", "--request", &request, "--now", NOW]).ends(code);
            let answer = ran.json();
            assert_eq!(answer["isValid"], code == 0, "{case} {ran:?}");
            assert_eq!(answer["invalidReason"].as_str().unwrap_or_default(), reason, "{case}");
            let official_payer = &case["response"]["body"]["payer"];
            if code == 0 && official_payer.as_str().is_some_and(|payer| !payer.is_empty()) {
                assert_eq!(answer["payer"], *official_payer);
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 68);
}

#[test]
fn verifies_more_than_the_amount_if_told_to() {
    let recorded = recorded("negative/svm-exact/memo-ok.json")["request"].clone();
    for (amount, strict, lenient) in [("1000", 0, 0), ("999", 1, 0), ("1001", 1, 1)] {
        let mut request = recorded.clone();
        for offer in ["/paymentPayload/accepted/amount", "/paymentRequirements/amount"] {
            *request.pointer_mut(offer).unwrap() = json!(amount);
        }
        let request = request.to_string();
        let args = ["verify", "--request", &request, "--allow-over-payment"];
        for (args, code) in [(&args[..3], strict), (&args[..], lenient)] {
            let ran = x402(args).ends(code);
            assert_eq!(ran.json()["payer"], SVM_PAYER);
            assert_eq!(ran.stderr.contains("amount_mismatch"), code == 1, "{ran:?}");
        }
    }
}

#[test]
fn verify_answers_what_cannot_be_read() {
    let control = recorded("negative/evm-exact-eip3009/control-valid.json")["request"].to_string();
    let long = format!("{}{control}", " ".repeat(1 << 20));
    for (request, reason) in [
        ("", "invalid_payload"),
        ("[]", "invalid_payload"),
        (&control[1..], "invalid_payload"),
        (&control.replace("eip155:84532", "base sepolia"), "invalid_network"),
        (&control.replacen(r#""x402Version":2"#, r#""x402Version":1"#, 1), "invalid_x402_version"),
        (&long, "invalid_payload"),
    ] {
        let ran = with_stdin(&["verify", "--request", "-", "--now", NOW], request.as_bytes());
        let answer = ran.ends(2).json();
        assert_eq!((&answer["isValid"], &answer["invalidReason"]), (&json!(false), &json!(reason)));
    }
    // The recorded payment is valid until 2100, which is too long for its claim by now.
    let file = TempFile::new("verify", &control);
    x402(&["verify", "--request", &file.argument(), "--now", NOW]).ends(0);
    for other in [&[][..], &["--now", "4102444795"]] {
        x402(&[&["verify", "--request", &file.argument()], other].concat())
            .ends(1)
            .says("invalid_exact_evm_payload_authorization_valid_before");
    }
}

// ---- sign

#[test]
fn what_is_signed_verifies() {
    let (header, v2) = challenge_of("e2e-ts/evm-exact-eip3009.json");
    let v1_offer =
        recorded("negative/evm-exact-v1/control-valid.json")["request"]["paymentRequirements"]
            .clone();
    let v1 = json!({"x402Version": 1, "error": "", "accepts": [v1_offer]});
    let key_file = TempFile::new("key", format!("  0x{KEY}\n"));
    let nonce = format!("0x{}", "5a".repeat(32));
    for (required, challenge, network) in
        [(header, &v2, "eip155:84532"), (v1.to_string(), &v1, "base-sepolia")]
    {
        let mut args = vec!["sign", "--required", &required, "--now", NOW, "--nonce", &nonce];
        args.extend(["--key-file", key_file.path()]);
        let ran = x402(&args).ends(0);
        assert_eq!(ran.stderr, format!("signed: 0.01 USDC on {network} to {PAY_TO}\n"));
        assert_eq!(x402(&[&args[..], &["--accept", "0"]].concat()).stdout, ran.stdout);
        let payment = decode_header(ran.stdout.trim_end().as_bytes()).unwrap();
        let payment: Value = serde_json::from_slice(&payment).unwrap();
        assert_eq!(payment["payload"]["authorization"]["nonce"], nonce.as_str());
        let request = json!({
            "x402Version": challenge["x402Version"],
            "paymentPayload": payment,
            "paymentRequirements": challenge["accepts"][0],
        });
        let verify = |now| x402(&["verify", "--request", &request.to_string(), "--now", now]);
        assert_eq!(verify(NOW).ends(0).json(), json!({"isValid": true, "payer": PAYER}));
        verify("1795300300").ends(1);
    }
    // A random nonce, now: no two payments are the same.
    let sign = || with_key(&["sign", "--required", &v2.to_string()]).ends(0).stdout;
    assert_ne!(sign(), sign());
}

#[test]
fn sign_refuses() {
    let (_, challenge) = challenge_of("e2e-ts/evm-exact-eip3009.json");
    let changed = |path: &str, value: Value| {
        let mut changed = challenge.clone();
        *changed.pointer_mut(path).unwrap() = value;
        changed.to_string()
    };
    let asset = changed("/accepts/0/asset", json!("0x00000000000000000000000000000000000000aa"));
    let scheme = changed("/accepts/0/scheme", json!("upto"));
    let flow =
        changed("/accepts/0/extra", json!({"name": "USDC", "version": "2", "paymentFlow": "x"}));
    let (_, solana) = challenge_of("e2e-ts/svm-exact.json");
    let (plain, solana) = (challenge.to_string(), solana.to_string());
    let number = changed("/accepts/0/amount", json!(1));
    for (required, options, code, said) in [
        (&plain, &["--max", "$0.009"][..], 1, "declined: every offer is above the limit"),
        (&plain, &["--accept", "1"], 2, "1 offers"),
        (&plain, &["--accept", "0", "--max", "$1"], 2, "--accept"),
        (&plain, &["--accept", "-1"], 2, "error"),
        (&plain, &["--max", "1e3"], 2, "--max"),
        (&plain, &["--nonce", "0x12"], 2, "--nonce"),
        (&changed("/accepts", json!([])), &[], 1, "declined: no offers"),
        (&changed("/accepts/0/amount", json!("1000001")), &[], 1, "above the limit"),
        (&number, &[], 1, "declined: no offer that can be read: offer 0 cannot be read: field of"),
        (&number, &["--accept", "0"], 2, "--accept: offer 0: invalid_payload: field of the wrong"),
        (&asset, &[], 1, "declined: no offer in a known asset"),
        (&scheme, &[], 1, "declined: no offer this wallet can pay"),
        (&scheme, &["--accept", "0"], 1, "not signed: invalid_exact_evm_scheme"),
        (&flow, &["--accept", "0"], 1, "declined: no offer with a known payment flow"),
        (&solana, &[], 1, "declined: no offer this wallet can pay"),
        (&solana, &["--accept", "0"], 1, "not signed: "),
    ] {
        let ran = with_key(&[&["sign", "--required", required], options].concat());
        assert_eq!(ran.ends(code).says(said).stdout, "");
    }
    // On one's own judgement, with open eyes.
    let ran = with_key(&["sign", "--required", &asset, "--accept", "0"]).ends(0);
    ran.says("signed: 10000 units of 0x00000000000000000000000000000000000000aa on eip155:84532");
    // Each key pays on its own networks.
    for required in [&plain, &asset] {
        let ran = with_svm_key(&["sign", "--required", required]).ends(1);
        assert_eq!(ran.says("declined: no offer this wallet can pay").stdout, "");
        let ran = with_svm_key(&["sign", "--required", required, "--accept", "0"]).ends(1);
        assert_eq!(ran.says("not signed: no key for this network").stdout, "");
    }
}

/// A recorded challenge on Solana, with more in `extra`.
fn svm_challenge(extra: Value) -> Value {
    let (_, mut challenge) = challenge_of("e2e-ts/svm-exact.json");
    let known = challenge["accepts"][0]["extra"].as_object_mut().unwrap();
    known.extend(extra.as_object().unwrap().clone());
    challenge
}

#[test]
fn what_is_signed_on_solana_verifies_and_decodes() {
    let nonce = "0x".to_owned() + &"5a".repeat(32);
    let v1_offer =
        recorded("negative/svm-exact-v1/control-valid.json")["request"]["paymentRequirements"]
            .clone();
    let mut v1 = json!({"x402Version": 1, "error": "", "accepts": [v1_offer]});
    v1["accepts"][0]["extra"]["recentBlockhash"] = json!(BLOCKHASH);
    let random = format!("memo \"{}\"", "5a".repeat(16));
    let hash = json!({ "recentBlockhash": BLOCKHASH });
    let with_memo = json!({ "recentBlockhash": BLOCKHASH, "memo": "order-42" });
    let new = json!({ "recentBlockhash": BLOCKHASH, "transactionVersions": [1] });
    for (challenge, network, version, memo) in [
        (svm_challenge(hash), DEVNET, "v0", random.as_str()),
        (svm_challenge(with_memo), DEVNET, "v0", "memo \"order-42\""),
        (svm_challenge(new), DEVNET, "v1", &random),
        (v1, "solana-devnet", "v0", &random),
    ] {
        let required = challenge.to_string();
        let args = ["sign", "--required", &required, "--nonce", &nonce];
        let ran = with_svm_key(&args).ends(0).keeps_secrets();
        let said = format!("signed: 0.001 USDC on {network} to {SVM_PAY_TO}\n");
        assert_eq!(ran.stderr, said);
        let decoded = x402(&["decode", ran.stdout.trim_end()]).ends(0).json();
        let words = &decoded["transaction"];
        assert_eq!((&words["version"], &words["blockhash"]), (&json!(version), &json!(BLOCKHASH)));
        assert_eq!(words["signers"][1], json!({"address": SVM_PAYER, "signed": true}));
        let instructions = words["instructions"].as_array().unwrap();
        let [.., transfer, last] = &instructions[..] else { panic!("{words}") };
        assert_eq!(last, memo);
        let transfer = transfer.as_str().unwrap();
        assert!(transfer.starts_with("transfer 0.001 USDC (1000 units of "), "{transfer}");
        assert!(transfer.ends_with(&format!("authorised by {SVM_PAYER}")), "{transfer}");
        let request = json!({
            "x402Version": challenge["x402Version"],
            "paymentPayload": decoded["message"],
            "paymentRequirements": challenge["accepts"][0],
        });
        let ran = x402(&["verify", "--request", &request.to_string()]).ends(0);
        assert_eq!(ran.json(), json!({"isValid": true, "payer": SVM_PAYER}));
    }
}

#[test]
fn keys_for_solana() {
    let required = svm_challenge(json!({ "recentBlockhash": BLOCKHASH })).to_string();
    let nonce = "5a".repeat(32);
    let args = ["sign", "--required", &required, "--nonce", &nonce];
    let (keypair, other) = (keypair(), [&[3; 32], &keypair()[32..]].concat());
    let (long, seed) = (base58_of(&keypair), base58_of(&SVM_SEED));
    let wrong: [u8; 64] = other.clone().try_into().unwrap();
    let pretty = serde_json::to_string_pretty(&keypair.to_vec()).unwrap();
    let wanted = with_svm_key(&args).ends(0).stdout;

    // As the variable, and as the file.
    let file = |name: &str, contents: &str| TempFile::new(&format!("svm-{name}"), contents);
    let array = file("array", &cli_file(&keypair));
    for (at, good) in [&long, &format!(" {long}\n")].into_iter().enumerate() {
        let ran = with_env(&args, &[("X402_SVM_KEY", good)]).ends(0).keeps_secrets();
        assert_eq!(ran.stdout, wanted, "{at}");
    }
    for (at, good) in [&long, &cli_file(&keypair), &format!("\n{pretty}\n"), &format!("{long}\n")]
        .into_iter()
        .enumerate()
    {
        let file = file(&format!("good-{at}"), good);
        let ran = with_env(&args, &[("X402_SVM_KEY", file.path())]).ends(0).keeps_secrets();
        assert_eq!(ran.stdout, wanted, "{at}");
        // The file comes first.
        let args = [&args[..], &["--svm-key-file", file.path()]].concat();
        let ran = with_env(&args, &[("X402_SVM_KEY", "junk")]).ends(0).keeps_secrets();
        assert_eq!(ran.stdout, wanted, "{at}");
    }
    // A key for EVM networks besides changes nothing.
    let both = [("X402_SVM_KEY", array.path()), ("X402_EVM_KEY", KEY)];
    assert_eq!(with_env(&args, &both).ends(0).keeps_secrets().stdout, wanted);

    for (at, junk) in [
        "junk",
        &long[1..],
        &seed[1..],
        &format!("{seed}{seed}{seed}"),
        &base58_of(&wrong),
        &cli_file(&wrong),
        &cli_file(&keypair[..63]),
        &cli_file(&[&keypair[..], &[1]].concat()),
        &cli_file(&SVM_SEED),
        &cli_file(&keypair).replace(",2]", ",256]").replacen("[2,", "[256,", 1),
        &cli_file(&keypair).replacen('2', "2.0", 1),
        &format!("{{\"key\":{}}}", cli_file(&keypair)),
        KEY,
    ]
    .into_iter()
    .enumerate()
    {
        let file = file(&format!("junk-{at}"), junk);
        let given = [&args[..], &["--svm-key-file", file.path()]].concat();
        for ran in [
            with_env(&given, &[]),
            with_env(&args, &[("X402_SVM_KEY", file.path())]),
            with_env(&args, &[("X402_SVM_KEY", junk)]),
            // Not even if there is another.
            with_env(&args, &[("X402_SVM_KEY", junk), ("X402_EVM_KEY", KEY)]),
            with_env(&["pay", NOBODY, "--dry-run"], &[("X402_SVM_KEY", junk)]),
        ] {
            assert_eq!(ran.ends(2).keeps_secrets().stdout, "", "{at}");
        }
    }
    for wrong in [base58_of(&wrong), cli_file(&wrong)] {
        let file = file("mismatch", &wrong);
        let ran = x402(&[&args[..], &["--svm-key-file", file.path()]].concat());
        ran.ends(2).says("its public half is that of another key").keeps_secrets();
    }
    let mut junk = command(&args);
    let ran = ran(junk.env("X402_SVM_KEY", &long).env("X402_EVM_KEY", "junk"));
    ran.ends(2).says("64 hexadecimal digits").keeps_secrets();
    x402(&[&args[..], &["--svm-key-file", "/no/such/file"]].concat()).ends(2).says("cannot read");
    with_env(&args, &[("X402_SVM_KEY", "/")]).ends(2).says(
        "X402_SVM_KEY: neither base58 of 64 or 32 bytes, nor an array of 64 numbers, nor the",
    );
    x402(&args).ends(2).says("no key: ");
    #[cfg(unix)]
    for name in ["X402_SVM_KEY", "X402_EVM_KEY"] {
        use std::os::unix::ffi::OsStrExt;
        let junk = std::ffi::OsStr::from_bytes(b"\xff");
        let ran = self::ran(command(&args).env("X402_SVM_KEY", &long).env(name, junk));
        ran.ends(2).says(&format!("{name}: not UTF-8"));
    }
}

#[test]
fn a_node_gives_the_blockhash_that_the_offer_does_not() {
    let required = svm_challenge(json!({})).to_string();
    let key = base58_of(&keypair());
    let sign = |node: &str| {
        let variables = [("X402_SVM_KEY", key.as_str()), ("X402_SVM_RPC", node)];
        with_env(&["sign", "--required", &required], &variables).keeps_secrets()
    };
    let value = json!({"blockhash": BLOCKHASH, "lastValidBlockHeight": 150});
    let answer =
        json!({"jsonrpc": "2.0", "id": 1, "result": {"context": {"slot": 1}, "value": value}});
    let (node, seen) = scripted_json("200 OK", &answer);
    let url = format!("{node}/v1/?api-key=s3cret");
    let ran = sign(&url).ends(0);
    let words = x402(&["decode", ran.stdout.trim_end()]).ends(0).json()["transaction"].clone();
    assert_eq!(words["blockhash"], BLOCKHASH);
    let requests = std::mem::take(&mut *seen.lock().unwrap());
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert!(request.starts_with("POST /v1/?api-key=s3cret HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(r#""method":"getLatestBlockhash""#), "{request}");
    // An offer that has one is signed without.
    let offered = svm_challenge(json!({ "recentBlockhash": BLOCKHASH })).to_string();
    let variables = [("X402_SVM_KEY", key.as_str()), ("X402_SVM_RPC", url.as_str())];
    with_env(&["sign", "--required", &offered], &variables).ends(0).keeps_secrets();
    assert!(seen.lock().unwrap().is_empty());

    let (failing, _) =
        scripted_json("200 OK", &json!({"error": {"code": -32005, "message": "s3cret"}}));
    for node in [&failing, NOBODY] {
        let ran = sign(&format!("{node}/?api-key=s3cret")).ends(1).says("X402_SVM_RPC");
        assert_eq!(ran.says("the node of X402_SVM_RPC failed").stdout, "");
    }
    // Empty is unset.
    assert_eq!(sign("").ends(1).says("set X402_SVM_RPC to the URL of a node").stdout, "");
    for wrong in ["s3cret", "http://example.com/?k=s3cret", "ftp://127.0.0.1/?k=s3cret"] {
        assert_eq!(sign(wrong).ends(2).says("X402_SVM_RPC: ").stdout, "");
    }
    // Without a node, signing and paying say the same.
    let (shop, seen) = scripted_json("402 Payment Required", &svm_challenge(json!({})));
    let header = encode_header(required.as_bytes());
    let (shop_v2, _) = scripted(format!(
        "HTTP/1.1 402 Payment Required\r\nPAYMENT-REQUIRED: {header}\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    ));
    for args in [&["sign", "--required", &required][..], &["pay", &shop], &["pay", &shop_v2]] {
        let ran = with_svm_key(args).ends(1).says("set X402_SVM_RPC to the URL of a node");
        assert_eq!(ran.says("X402_SVM_RPC").keeps_secrets().stdout, "");
    }
    assert_eq!(seen.lock().unwrap().len(), 1);
}

// ---- pay and serve

#[test]
fn pays_once_and_only_what_it_may() {
    let shop = Server::shop("$0.02", &[]);
    let url = shop.at("/a/b?c=%20d");
    // What pays nothing.
    let ran =
        x402(&["pay", &url, "--dry-run"]).ends(0).says("would pay: 0.01 USDC on eip155:84532");
    let would = ran.json();
    assert_eq!((&would["x402Version"], &would["accept"]), (&json!(2), &json!(0)));
    assert_eq!(would["offer"]["payTo"], PAY_TO);
    let ran = x402(&["pay", &url, "--dry-run", "--max", "$0.001"]).ends(1);
    let asks = "asks $0.01 on eip155:84532";
    let offers = json!([{ "accept": 0, "declined": asks }]);
    let declined = json!({ "declined": "every offer is above the limit", "offers": offers });
    assert_eq!(ran.json(), declined);
    let ran = with_key(&["pay", &url, "--max", "$0.009"]).ends(1);
    let said = format!("declined: every offer is above the limit: offer 0 {asks} (--max MONEY");
    assert_eq!(ran.says(&said).stdout, "");
    x402(&["pay", &url]).ends(2).says("no key");
    // There is money for two.
    let key_file = TempFile::new("pay-key", KEY);
    let ran =
        x402(&["pay", &url, "--max", "$0.01", "--json", "--key-file", key_file.path()]).ends(0);
    assert_eq!(ran.json()["body"]["data"]["path"], "/a/b");
    let receipt = ran.receipt();
    assert_eq!((&receipt["success"], &receipt["payer"]), (&json!(true), &json!(PAYER)));
    let ran = with_key(&["pay", &shop.url, "-X", "PUT", "-H", "X-A: b", "-d", "body", "--json"]);
    let ran = ran.ends(0);
    assert_ne!(ran.receipt()["transaction"], receipt["transaction"]);
    let refused = with_key(&["pay", &url]).ends(1);
    let refused = refused.says("payment refused: invalid_exact_evm_insufficient_balance");
    assert_eq!(refused.stdout, "");
    // No secret in what was said.
    for ran in [ran, refused] {
        assert!(!ran.stderr.contains("signature") && !ran.stderr.contains(&KEY[..16]), "{ran:?}");
    }
}

#[test]
fn the_same_payment_is_served_once() {
    let shop = Server::shop("$1", &["--x402-version", "1"]);
    let (status, head, body) = shop.ask("GET /", "");
    let v1: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &v1["x402Version"]), (402, &json!(1)));
    let v2 = head.lines().find_map(|line| line.strip_prefix("payment-required: "));
    assert!(v2.is_some(), "{head}");
    let payment = with_key(&["sign", "--required", &body]).ends(0).stdout;
    let header = format!("X-PAYMENT: {payment}").replace('\n', "\r\n");
    let (status, head, body) = shop.ask("GET /", &header);
    assert_eq!(status, 200, "{head} {body}");
    assert!(head.contains("\r\nx-payment-response: "), "{head}");
    let (status, _, body) = shop.ask("GET /", &header);
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &answer["error"]), (402, &json!("duplicate_settlement")));
}

#[test]
fn serve_survives_garbage() {
    let mut shop = Server::shop("$1", &[]);
    let long = encode_header(&[b'x'; 75_000]);
    let two = "PAYMENT-SIGNATURE: e30=\r\nX-PAYMENT: e30=\r\n";
    for headers in [
        "PAYMENT-SIGNATURE: not base64!!\r\n",
        "PAYMENT-SIGNATURE:\r\n",
        "PAYMENT-SIGNATURE: e30=\r\n",
        "X-PAYMENT: e30=\r\n",
        &format!("PAYMENT-SIGNATURE: {long}\r\n"),
        two,
    ] {
        let (status, _, body) = shop.ask("GET /", headers);
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status, 400, "{headers} {body}");
        assert!(answer["error"].is_string(), "{body}");
    }
    for request in ["GET /", "HEAD /", "POST /x", "OPTIONS /", "OPTIONS *", "DELETE /%ff"] {
        assert_eq!(shop.ask(request, "").0, 402, "{request}");
    }
    let preflight = "Origin: http://a\r\nAccess-Control-Request-Method: GET\r\n";
    let (status, _, body) = shop.ask("OPTIONS /", preflight);
    assert_eq!((status, body.as_str()), (204, ""));
    #[cfg(unix)]
    {
        let (code, said) = shop.stop();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("payment refused") && !said.contains("panicked"), "{said}");
    }
}

#[test]
fn fronts_another_server() {
    let (upstream, seen) = scripted(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\nX-Up: 1\r\n\
         PAYMENT-REQUIRED: forged\r\nX-PAYMENT-RESPONSE: forged\r\n\r\nok",
    );
    let shop = Server::shop("$0.02", &["--upstream", &format!("{upstream}/base/")]);
    let preflight = "Origin: http://a\r\nAccess-Control-Request-Method: GET\r\n";
    for (request, headers, wanted) in [
        ("GET /", "", 402),
        ("GET /", "PAYMENT-SIGNATURE: e30=\r\n", 400),
        ("OPTIONS /", preflight, 204),
    ] {
        assert_eq!(shop.ask(request, headers).0, wanted);
        assert!(seen.lock().unwrap().is_empty());
    }
    let url = shop.at("/p?q=%20r");
    let ran = with_key(&["pay", &url, "-d", "the body", "-H", "X-Mine: 1", "-H", "TE: trailers"]);
    assert_eq!(ran.ends(0).stdout, "ok");
    let requests = std::mem::take(&mut *seen.lock().unwrap());
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert!(request.starts_with("POST /base/p?q=%20r HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\nthe body"), "{request}");
    let head = request.to_lowercase();
    assert!(head.contains("x-mine: 1") && head.contains(&upstream[7..]), "{request}");
    for ours in ["payment", "te: ", &format!("\nhost: {}", &shop.url[7..])] {
        assert!(!head.contains(ours), "{request}");
    }
    // Out of the base, and no answer: nobody is charged.
    let challenge = shop.ask("GET /", "").2;
    let payment = with_key(&["sign", "--required", &challenge]).ends(0).stdout;
    let header = format!("PAYMENT-SIGNATURE: {}\r\n", payment.trim_end());
    assert_eq!(shop.ask("GET /../x", &header).0, 400);
    let (status, head, _) = shop.ask("GET /x", &header);
    assert_eq!(status, 200);
    assert!(head.contains("x-up: 1") && !head.contains("forged"), "{head}");
    assert_eq!(seen.lock().unwrap().len(), 1);

    let shop = Server::shop("$0.01", &["--upstream", NOBODY]);
    let ran = with_key(&["pay", &shop.url]).ends(1).says("status 502");
    assert!(!ran.stderr.contains("\n{"), "{ran:?}");
}

#[test]
fn redirects_of_the_upstream_are_passed_through() {
    let (upstream, seen) = scripted(
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n",
    );
    let shop = Server::shop("$0.01", &["--upstream", &upstream]);
    // To elsewhere, it is not charged for.
    let ran = with_key(&["pay", &shop.url, "--json"]).ends(1);
    assert_eq!((&ran.receipt(), &ran.json()["status"]), (&json!(null), &json!(302)));
    assert_eq!(ran.json()["location"], "http://127.0.0.1:1/");
    assert_eq!(seen.lock().unwrap().len(), 1);
}

/// What was sold is known after the server was killed, to the claims and to the facilitator.
#[test]
fn claims_in_a_file_outlive_the_server() {
    let facilitator = Server::start(&["facilitator", "--simulated", "--fund", FUND_DOLLAR]);
    let path = std::env::temp_dir().join(format!("x402-claims-{}.db", std::process::id()));
    let path = path.to_str().unwrap();
    let options = ["--facilitator", &facilitator.url, "--claims", path];
    let serve = || Server::start(&[&offer(), &options[..]].concat());
    let shop = serve();
    let (_, _, body) = shop.ask("GET /", "");
    let payment = with_key(&["sign", "--required", &body]).ends(0).stdout;
    let header = format!("PAYMENT-SIGNATURE: {payment}").replace('\n', "\r\n");
    assert_eq!(shop.ask("GET /", &header).0, 200);
    drop(shop); // by SIGKILL
    let secret = fs::read(format!("{path}.secret")).unwrap();
    assert_eq!(secret.len(), 32);
    let shop = serve();
    let (status, _, body) = shop.ask("GET /", &header);
    assert_eq!(status, 402);
    assert!(body.contains("duplicate_settlement"), "{body}");
    assert_eq!(fs::read(format!("{path}.secret")).unwrap(), secret);
    drop(shop);
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(format!("{path}{suffix}")).ok();
    }
    fs::write(format!("{path}.secret"), "short").unwrap();
    let unusable = x402(&[&offer(), &options[..], &["--listen", "127.0.0.1:0"]].concat());
    unusable.ends(1).says("--claims: FILE.secret: not 32 bytes");
    for suffix in ["", "-wal", "-shm", ".secret"] {
        fs::remove_file(format!("{path}{suffix}")).ok();
    }
}

#[test]
fn serves_with_a_facilitator_over_http() {
    let fund = format!("{PAYER}=10000");
    let simulated = ["facilitator", "--simulated", "--fund", &fund, "--network", "base-sepolia"];
    let facilitator = Server::start(&simulated);
    let shop = Server::start(&[&offer()[..], &["--facilitator", &facilitator.url]].concat());
    let ran = with_key(&["pay", &shop.url, "--json"]).ends(0);
    assert_eq!(ran.receipt()["network"], "eip155:84532");
    with_key(&["pay", &shop.url]).ends(1).says("invalid_exact_evm_insufficient_balance");
    // Out of order: nobody is served, nobody is charged.
    drop(facilitator);
    with_key(&["pay", &shop.url]).ends(1).says("payment refused: facilitator_unavailable");

    let (none, _) = scripted(
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{\"kinds\":[]}",
    );
    x402(&[&offer()[..], &["--facilitator", &none]].concat())
        .ends(2)
        .says("the facilitator does not support exact on eip155:84532");
    let shop = Server::start(&[&offer()[..], &["--facilitator", NOBODY]].concat());
    assert!(shop.warnings.contains("warning: facilitator unreachable"), "{}", shop.warnings);
    with_key(&["pay", &shop.url]).ends(1).says("payment refused: facilitator_unavailable");
}

/// `serve` for a cent on Solana or Base, whichever the buyer has a key for.
fn two_offers() -> Vec<&'static str> {
    vec![
        "serve",
        "--price",
        "$0.01",
        "--network",
        DEVNET,
        "--pay-to",
        SVM_PAY_TO,
        "--network",
        "base-sepolia",
        "--pay-to",
        PAY_TO,
    ]
}

#[test]
fn sells_to_either_key() {
    let (svm_fund, evm_fund) = (format!("{SVM_PAYER}=$0.02"), format!("{PAYER}=10000"));
    let simulated = ["--facilitator", "simulated", "--fund", &svm_fund, "--fund", &evm_fund];
    let shop = Server::start(&[&two_offers()[..], &simulated].concat());
    let challenge: Value = serde_json::from_str(&shop.ask("GET /", "").2).unwrap();
    let offers = challenge["accepts"].as_array().unwrap();
    let networks: Vec<_> = offers.iter().map(|offer| &offer["network"]).collect();
    assert_eq!(networks, [DEVNET, "eip155:84532"]);
    assert!(offers[0]["extra"]["feePayer"].is_string(), "{challenge}");

    let key = base58_of(&keypair());
    let (svm, evm) = (("X402_SVM_KEY", key.as_str()), ("X402_EVM_KEY", KEY));
    let unpaid = "payment refused: invalid_exact_svm_transaction_simulation_failed";
    for (keys, network, payer) in [
        (&[svm][..], DEVNET, SVM_PAYER),
        (&[evm], "eip155:84532", PAYER),
        // The seller's order.
        (&[evm, svm], DEVNET, SVM_PAYER),
    ] {
        let would = with_env(&["pay", &shop.url, "--dry-run"], keys).ends(0).keeps_secrets();
        assert_eq!(would.json()["offer"]["network"], network);
        let ran = with_env(&["pay", &shop.url, "--json"], keys).ends(0).keeps_secrets();
        let ran = ran.says(&format!("paid: 0.01 USDC on {network} to "));
        let receipt = ran.receipt();
        assert_eq!((&receipt["success"], &receipt["payer"]), (&json!(true), &json!(payer)));
        assert_eq!(
            (&receipt["network"], &ran.json()["body"]["data"]["message"]),
            (&json!(network), &json!("paid"))
        );
    }
    // There was money for this, and for no more.
    with_svm_key(&["pay", &shop.url]).ends(1).says(unpaid).keeps_secrets();
    with_key(&["pay", &shop.url]).ends(1).says("insufficient_balance").keeps_secrets();
    // Without keys, as with both.
    let ran = x402(&["pay", &shop.url, "--dry-run"]).ends(0);
    assert_eq!(ran.says(&format!("would pay: 0.01 USDC on {DEVNET}")).json()["accept"], 0);
    let required = challenge.to_string();
    let ran = with_svm_key(&["sign", "--required", &required, "--accept", "1"]).ends(1);
    ran.says("not signed: no key for this network");
}

fn two_offers_by(facilitator: &str) -> Vec<&str> {
    [&two_offers()[..], &["--facilitator", facilitator]].concat()
}

#[test]
fn the_facilitator_over_http_pays_the_fee() {
    let fund = format!("{SVM_PAYER}=10000");
    let simulated = [
        "facilitator",
        "--simulated",
        "--host",
        "shop",
        "--fund",
        &fund,
        "--network",
        "solana-devnet",
    ];
    let facilitator = Server::start(&simulated);
    let shop = Server::start(&two_offers_by(&facilitator.url));
    let supported: Value = serde_json::from_str(&facilitator.ask("GET /supported", "").2).unwrap();
    let challenge: Value = serde_json::from_str(&shop.ask("GET /", "").2).unwrap();
    let fee_payer = &challenge["accepts"][0]["extra"]["feePayer"];
    assert_eq!(*fee_payer, supported["signers"]["solana:*"][0]);
    let ran = with_svm_key(&["pay", &shop.url, "--json"]).ends(0).keeps_secrets();
    assert_eq!(ran.receipt()["network"], DEVNET);
    with_svm_key(&["pay", &shop.url]).ends(1).says("simulation_failed");

    x402(&two_offers_by(NOBODY))
        .ends(2)
        .says("facilitator unreachable; offers on Solana need its fee payer");
    let kind = |network: &str, extra: Value| json!({"x402Version": 2, "scheme": "exact", "network": network, "extra": extra});
    let evm = kind("eip155:84532", json!({}));
    let silent = "the facilitator names no fee payer for Solana";
    for (kinds, said) in [
        (json!([evm]), "the facilitator does not support exact on solana:EtWT"),
        (
            json!([kind(DEVNET, json!({}))]),
            "the facilitator does not support exact on eip155:84532",
        ),
        (json!([evm, kind(DEVNET, json!({}))]), silent),
        (json!([evm, kind(DEVNET, json!({"feePayer": "nobody"}))]), silent),
        (json!([evm, kind(DEVNET, json!({"feePayer": 1}))]), silent),
    ] {
        let (url, _) = scripted_json("200 OK", &json!({ "kinds": kinds }));
        x402(&two_offers_by(&url)).ends(2).says(said);
    }
}

#[test]
fn a_memo_of_the_sellers() {
    let fund = format!("{SVM_PAYER}=$1");
    let serve = |memo: &str| -> Vec<String> {
        let more = ["--facilitator", "simulated", "--fund", &fund, "--memo", memo];
        two_offers().into_iter().chain(more).map(String::from).collect()
    };
    let start =
        |memo: &str| Server::start(&serve(memo).iter().map(String::as_str).collect::<Vec<_>>());
    for memo in ["order \"42\"", &"é".repeat(128)] {
        let shop = start(memo);
        let required = shop.ask("GET /", "").2;
        let challenge: Value = serde_json::from_str(&required).unwrap();
        assert_eq!(challenge["accepts"][0]["extra"]["memo"], memo);
        assert_eq!(challenge["accepts"][1]["extra"].get("memo"), None);
        let payment = with_svm_key(&["sign", "--required", &required]).ends(0).stdout;
        let words = x402(&["decode", payment.trim_end()]).ends(0).json()["transaction"].clone();
        assert_eq!(words["instructions"][3], format!("memo {memo:?}"));
        with_svm_key(&["pay", &shop.url]).ends(0).keeps_secrets();
    }
    for memo in ["", &"é".repeat(129), &"x".repeat(257)] {
        let args = serve(memo);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        x402(&args).ends(2).says("not a text of 1 to 256 bytes");
    }
    let alone = ["--facilitator", "simulated", "--memo", "order"];
    x402(&[&offer()[..], &alone].concat()).ends(2).says("--memo is for Solana networks");
}

#[test]
fn pays_nothing_for_what_is_free() {
    let (free, seen) =
        scripted("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfree");
    let ran = with_key(&["pay", &free]).ends(0).says("nothing to pay");
    assert_eq!(ran.stdout, "free");
    assert_eq!(x402(&["pay", &free, "--dry-run"]).ends(0).json(), json!({"status": 200}));
    assert_eq!(seen.lock().unwrap().len(), 2);
    // To where is for the caller to decide.
    let (moved, seen) = scripted(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: /paid\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n",
    );
    with_key(&["pay", &moved]).ends(1).says("status 307: the answer is at /paid, ask there");
    assert_eq!(seen.lock().unwrap().len(), 1);
    let (gone, _) =
        scripted("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngone");
    let ran = with_key(&["pay", &gone]).ends(1).says("status 404");
    assert_eq!(ran.stdout, "gone");
    let (unclear, _) = scripted(
        "HTTP/1.1 402 Payment Required\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
    );
    let missing =
        "the challenge cannot be read: body: required field missing: x402Version, at byte 2";
    with_key(&["pay", &unclear]).ends(1).says(missing);
    x402(&["pay", &unclear, "--dry-run"]).ends(1).says(missing);
}

// ---- arguments

#[test]
fn exit_codes() {
    let serve = |change: &[&'static str]| {
        let mut args = offer();
        args.extend(["--facilitator", "simulated", "--listen", "127.0.0.1:0"]);
        args.extend(change);
        args
    };
    for (args, code) in [
        (vec!["--help"], 0),
        (vec!["--version"], 0),
        (vec!["help", "pay"], 0),
        (vec!["serve", "--help"], 0),
        (vec![], 2),
        (vec!["nonsense"], 2),
        (vec!["decode"], 2),
        (vec!["decode", "{}", "{}"], 2),
        (vec!["verify"], 2),
        (vec!["verify", "--request", "{}", "--now", "soon"], 2),
        (vec!["sign", "--required", "{}"], 2),
        (vec!["pay"], 2),
        (vec!["pay", "not a url"], 2),
        (vec!["pay", "file:///etc/passwd", "--dry-run"], 2),
        (vec!["pay", NOBODY, "--dry-run"], 1),
        (vec!["pay", NOBODY, "--dry-run", "-H", "no colon"], 2),
        (vec!["pay", NOBODY, "--dry-run", "-H", "a b: c"], 2),
        (vec!["pay", NOBODY, "--dry-run", "-H", "X-Payment: e30="], 2),
        (vec!["pay", NOBODY, "--dry-run", "-X", "a b"], 2),
        (vec!["pay", NOBODY, "--dry-run", "-d", "@/no/such/file"], 2),
        (vec!["pay", NOBODY, "--dry-run", "--max", "-1"], 2),
        (serve(&["--listen", "127.0.0.1:0"]), 2),
        (serve(&["--upstream", "nowhere"]), 2),
        (serve(&["--x402-version", "3"]), 2),
        (serve(&["--fund", "0x00=1"]), 2),
        (serve(&["--fund", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8=0x1"]), 2),
        (serve(&["--fund", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8=$0.0000001"]), 2),
        (vec!["facilitator"], 2),
        (serve(&["--fund", "9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu=1"]), 2),
        (serve(&["--fund", "9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWB=1"]), 2),
        (serve(&["--network", DEVNET]), 2),
        (serve(&["--pay-to", SVM_PAY_TO]), 2),
        (serve(&["--network", DEVNET, "--pay-to", PAY_TO]), 2),
        (
            serve(&[
                "--network",
                "solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY30",
                "--pay-to",
                SVM_PAY_TO,
            ]),
            2,
        ),
        (vec!["facilitator", "--simulated", "--network", "hedera:mainnet"], 2),
        (vec!["facilitator", "--simulated", "--network", "solana:nowhere"], 2),
        (vec!["facilitator", "--simulated", "--network", "solana", "--fund", FUND_EVM], 2),
        (vec!["facilitator", "--simulated", "--network", "base", "--fund", FUND_SVM], 2),
        (vec!["facilitator", "--simulated", "--fund", FUND_SVM_TOO_MUCH], 2),
        (vec!["facilitator", "--simulated", "--network", "eip155:4326"], 2),
        (vec!["facilitator", "--simulated", "--listen", "localhost"], 2),
    ] {
        let ran = x402(&args).ends(code);
        assert!(!ran.stderr.contains("panicked"), "{ran:?}");
        assert_eq!(ran.stdout.is_empty(), code != 0, "{ran:?}");
    }
    for (name, wrong) in [
        ("--pay-to", "0x00"),
        ("--price", "free"),
        ("--price", "$0"),
        ("--network", "solana-devnet"),
        ("--network", "eip155:2"),
        ("--facilitator", "http://example.com"),
        ("--facilitator", "nowhere"),
    ] {
        let mut args = serve(&[]);
        let at = args.iter().position(|arg| *arg == name).unwrap() + 1;
        args[at] = wrong;
        x402(&args).ends(2);
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    x402(&["facilitator", "--simulated", "--listen", &address]).ends(1).says("cannot listen");
}

#[test]
fn secrets_in_the_wrong_place_are_not_repeated() {
    let (_, challenge) = challenge_of("e2e-ts/evm-exact-eip3009.json");
    let challenge = challenge.to_string();
    let secret = format!("0x{KEY}");
    let svm = base58_of(&keypair());
    let svm_flag = format!("--svm-key={svm}");
    let svm_fund = format!("--fund={SVM_PAYER}={svm}");
    let flag = format!("--key={KEY}");
    let value = format!("--dry-run={KEY}");
    let fund = format!("--fund={PAYER}={KEY}");
    for args in [
        vec!["sign", "--required", &challenge, "--key-file", &secret],
        vec!["sign", "--required", &challenge, "--key", &secret],
        vec!["sign", "--required", &challenge, &flag],
        vec!["sign", "--required", &challenge, &secret],
        vec!["sign", "--required", &secret],
        vec!["sign", "--required", &challenge, "--now", &secret],
        vec!["sign", "--required", &challenge, "--accept", &secret],
        vec!["sign", "--required", &challenge, "--max", &secret],
        vec!["sign", "--required", &challenge, "--nonce", &flag],
        vec!["decode", &secret],
        vec!["decode", "{}", &secret],
        vec!["verify", "--request", &flag],
        vec!["pay", &secret],
        vec!["pay", NOBODY, &value],
        vec!["pay", NOBODY, "--max", &secret],
        vec!["pay", NOBODY, "-H", &secret],
        vec!["pay", NOBODY, "-d", &flag],
        vec!["facilitator", "--simulated", "--listen", &secret],
        vec!["facilitator", "--simulated", &fund],
        vec!["serve", "--pay-to", &secret],
        vec!["sign", "--required", &challenge, "--svm-key-file", &svm],
        vec!["sign", "--required", &challenge, "--key-file", &svm],
        vec!["sign", "--required", &challenge, &svm_flag],
        vec!["sign", "--required", &svm],
        vec!["decode", &svm],
        vec!["pay", &svm],
        vec!["facilitator", "--simulated", &svm_fund],
        vec!["facilitator", "--simulated", "--network", &svm],
        vec!["serve", "--pay-to", &svm],
        vec!["serve", "--price", "$1", "--facilitator", &svm, "--network", &svm, "--pay-to", &svm],
        vec![&secret],
        vec![&flag],
    ] {
        let ran = with_key(&args);
        assert_ne!(ran.code, Some(0), "{ran:?}");
        assert!(!(ran.stderr.clone() + &ran.stdout).contains(&KEY[..8]), "{args:?} {ran:?}");
        ran.keeps_secrets();
    }
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let (header, _) = challenge_of("e2e-ts/evm-exact-eip3009.json");
    for closed in [true, false] {
        let mut child = command(&["decode", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        if closed {
            drop(child.stdout.take());
        }
        child.stdin.take().unwrap().write_all(header.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }
    let mut child = command(&["decode", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    child.stdin.take().unwrap().write_all(b"nonsense!").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2));
}

#[test]
fn tells_shells_and_manuals_about_itself() {
    for (args, has) in [
        (&["completions", "bash"][..], "complete -F _x402"),
        (&["completions", "zsh"], "#compdef x402"),
        (&["completions", "fish"], "complete -c x402"),
        (&["man"], r"\fBx402\fR"),
        (&["man", "pay"], "dry"),
    ] {
        let ran = x402(args).ends(0);
        assert!(ran.stdout.contains(has), "{args:?}: {}", ran.stdout);
    }
    x402(&["man", "s3cret"]).ends(2).says("no such command").keeps_secrets();
    x402(&["completions", "s3cret"]).ends(2).keeps_secrets();
}

#[test]
fn pays_within_a_budget_in_a_file() {
    let shop = Server::shop("$0.01", &[]);
    let path = std::env::temp_dir().join(format!("x402-pay-{}.db", std::process::id()));
    let path = path.to_str().unwrap();
    let budget = ["pay", &shop.url, "--json", "--budget", path, "--limit", "$0.019999 per day"];
    let pay = |more: &[&str]| with_key(&[&budget[..], more].concat());
    let one = pay(&["--id", "one"]).ends(0);
    assert_eq!(one.json()["id"], "one");
    // The same is not paid twice, and there is nothing left for another.
    let again = pay(&["--id", "one"]).ends(1).says("bought and paid before");
    assert_eq!(again.receipt()["transaction"], one.receipt()["transaction"]);
    assert_eq!(
        (&again.json()["code"], &again.json()["id"]),
        (&json!("already_bought"), &json!("one"))
    );
    pay(&["--id", ""]).ends(2);
    let over = pay(&["--id", "two"]).ends(1);
    let over = over.says("declined: the price is above the rest of the limit $0.019999 per day");
    assert_eq!(over.json()["receipt"], Value::Null);
    with_key(&["pay", &shop.url, "-X", "PUT", "--budget", path, "--id", "one"])
        .ends(1)
        .says("the id belongs to another purchase");
    x402(&["pay", &shop.url, "--limit", "$5 per day"]).ends(2);
    with_key(&["pay", &shop.url, "--budget", env!("CARGO_BIN_EXE_x402")])
        .ends(1)
        .says("--budget: not a budget");
    for file in ["", "-wal", "-shm"] {
        std::fs::remove_file(format!("{path}{file}")).ok();
    }
}

// ---- the proxy: ways out of it, and what the server behind is told

/// The header of a payment for what a shop asks.
fn payment_for(shop: &Server) -> String {
    let challenge = shop.ask("GET /", "").2;
    let payment = with_key(&["sign", "--required", &challenge]).ends(0).stdout;
    format!("PAYMENT-SIGNATURE: {}\r\n", payment.trim_end())
}

#[test]
fn no_path_leads_out_of_what_is_sold() {
    let (upstream, seen) =
        scripted("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    for base in ["/api", ""] {
        let shop = Server::shop("$1", &["--upstream", &format!("{upstream}{base}")]);
        let payment = payment_for(&shop);
        for path in [
            "/../secret",
            "/..%2fsecret",
            "/%2e%2e%2fsecret",
            "/%2E./secret",
            "/..;/secret",
            "/%2e%2e%3b/secret",
            "/%252e%252e/secret",
            "/%25252e%25252e%25252fsecret",
            "/..\\secret",
            "/..%5csecret",
            "/..%255csecret",
            "/a/../../secret",
            "/a\\b/../../secret",
            "/;/../secret",
            "/a/../%2e%2e/secret",
            "/.../secret",
            "/..%20/secret",
            "/..%09/secret",
            "/..%00/secret",
            "/a%00",
            "/a%0d%0aX: y",
            "/%c0%ae%c0%ae/secret",
            "/..%c0%afsecret",
            "/..%3f",
            "http://other/..%2fsecret",
        ] {
            let path = path.replace(' ', "%20");
            for headers in ["", &payment] {
                let (status, head, _) = shop.ask(&format!("GET {path}"), headers);
                assert_eq!(status, 400, "{base} {path}");
                let garbled = path.contains('\\');
                assert!(garbled || head.contains("cache-control: no-store"), "{path} {head}");
            }
        }
        assert!(seen.lock().unwrap().is_empty(), "{:?}", seen.lock().unwrap());
        // The payment is as good as before, and what is inside is passed on as it was written.
        assert_eq!(shop.ask("GET /a%2Fb;c/%7Ed/e%20f?q=../%2e", &payment).0, 200);
        let requests = std::mem::take(&mut *seen.lock().unwrap());
        let [request] = &requests[..] else { panic!("{requests:?}") };
        let line = format!("GET {base}/a%2Fb;c/%7Ed/e%20f?q=../%2e HTTP/1.1\r\n");
        assert!(request.starts_with(&line), "{request}");
    }
}

#[test]
fn the_target_of_a_request_is_passed_on_byte_for_byte() {
    let (upstream, seen) =
        scripted("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    for base in ["/api", ""] {
        let shop = Server::shop("$1", &["--upstream", &format!("{upstream}{base}")]);
        for target in [
            "/it's",
            "/{id}/[\"0\"]?filter={a:'b'}",
            "/a\\b?c\\d",
            "/a\"b|c^d",
            "/.",
            "/a/./b",
            "/a/b/../c/..",
            "/a//b///c",
            "/a?",
            "/a??b=?&c=%zz",
            "/caf\u{e9}?\u{e9}",
            "/%7E%2F%5c%e9",
        ] {
            let refused = target == "/%7E%2F%5c%e9"; // no UTF-8 once it is decoded
            let (status, _, body) = shop.ask(&format!("GET {target}"), &payment_for(&shop));
            assert_eq!(status, if refused { 400 } else { 200 }, "{target} {body}");
            let requests = std::mem::take(&mut *seen.lock().unwrap());
            let lines: Vec<_> = requests.iter().filter_map(|one| one.lines().next()).collect();
            let line = format!("GET {base}{target} HTTP/1.1");
            assert_eq!(lines, if refused { vec![] } else { vec![&*line] });
        }
    }
}

/// Headers that servers of the old school read as ours do not pass, and the buyer's `Host` makes nothing free.
#[test]
fn neither_underscores_nor_a_host_of_the_buyers_own_get_through() {
    let (upstream, seen) =
        scripted("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    let shop = Server::shop("$1", &["--upstream", &upstream]);
    let odd = "x_payment: a\r\npayment_signature: a\r\ntransfer_encoding: chunked\r\n\
               content_length: 7\r\nx_forwarded_for: 1.2.3.4\r\nX-Auth-Request-User: root\r\n\
               X-Accel-Redirect: /a\r\nx_mine: kept\r\n";
    assert_eq!(shop.ask("GET /", &(payment_for(&shop) + odd)).0, 200);
    let request = seen.lock().unwrap().pop().unwrap().to_lowercase();
    for name in ["payment", "encoding", "length", "1.2.3.4", "root", "accel"] {
        assert!(!request.contains(name), "{name}: {request}");
    }
    assert!(request.contains("x_mine: kept"), "{request}");

    let (upstream, _) = scripted(
        "HTTP/1.1 303 See Other\r\nLocation: http://shop.test/result/1\r\nSet-Cookie: session=SECRET\r\n\
         Content-Length: 9\r\nConnection: close\r\n\r\nPAIDSTUFF",
    );
    let shop = Server::shop("$1", &["--upstream", &upstream]);
    let payment = payment_for(&shop);
    let (status, head, body) = shop.ask("GET /", &payment);
    assert_eq!((status, body.as_str()), (303, ""), "{head}");
    assert!(head.contains("location: http://shop.test/result/1"), "{head}");
    assert!(!head.contains("secret") && !head.contains("payment-response"), "{head}");
    let shop = Server::shop("$1", &["--upstream", &upstream, "--charge-redirects"]);
    let (status, head, body) = shop.ask("GET /", &payment_for(&shop));
    assert_eq!((status, body.as_str()), (303, "PAIDSTUFF"), "{head}");
    assert!(head.contains("payment-response") && head.contains("session=secret"), "{head}");
}

/// Every line on stderr is JSON if that is asked for: warnings, refusals, what is said at the end.
#[cfg(unix)]
#[test]
fn every_line_is_json_when_that_is_asked_for() {
    let mut shop = Server::shop("$1", &["--log", "json", "--upstream", NOBODY]);
    let payment = payment_for(&shop);
    assert_eq!(shop.ask("GET /", &payment).0, 502);
    assert_eq!(shop.ask("GET /", "PAYMENT-SIGNATURE: e30=\r\n").0, 400);
    let (code, said) = shop.stop();
    assert_eq!(code, Some(0), "{said}");
    let lines: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.iter().all(|line| line["time"].is_u64() && line["level"].is_string()), "{said}");
    for part in ["upstream: ", "payment refused"] {
        let has = |line: &Value| line["message"].as_str().is_some_and(|text| text.contains(part));
        assert!(lines.iter().any(has), "{part}: {said}");
    }
    let wrong = [&offer()[..], &["--log", "json", "--facilitator", "simulated", "--upstream", "a"]];
    let ran = x402(&wrong.concat()).ends(2);
    let line: Value = serde_json::from_str(ran.stderr.trim_end()).unwrap();
    assert!(line["message"].as_str().unwrap().starts_with("--upstream"), "{line}");
}

/// A name and a password in the URL of the server behind are for it alone, and in no log.
#[test]
#[cfg(unix)]
fn credentials_of_the_server_behind() {
    let (upstream, seen) =
        scripted("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    let url = upstream.replace("http://", "http://me:pa%3Ass@");
    let mut shop = Server::shop("$1", &["--upstream", &url]);
    for (own, wanted) in
        [("", "authorization: Basic bWU6cGE6c3M="), ("Authorization: b\r\n", "authorization: b")]
    {
        let (status, head, body) = shop.ask("GET /", &(payment_for(&shop) + own));
        assert_eq!(status, 200);
        assert!(!head.contains("bWU6") && !body.contains("bWU6"));
        let request = seen.lock().unwrap().pop().unwrap();
        let line = request.lines().find(|line| line.to_lowercase().starts_with("authorization"));
        assert!(line.is_some_and(|line| line.eq_ignore_ascii_case(wanted)), "{request}");
    }
    let (_, said) = shop.stop();
    assert!(!said.contains("pa%3Ass") && !said.contains("bWU6"), "{said}");
}

#[test]
fn tunnels_and_echoes_are_refused_before_anything_is_claimed() {
    let (upstream, seen) =
        scripted("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    for options in [&["--upstream", &*upstream][..], &[]] {
        let shop = Server::shop("$1", options);
        let payment = payment_for(&shop);
        for request in [
            "CONNECT /a",
            "CONNECT shop:80",
            "TRACE /",
            "trace /",
            "TRACK /",
            "DEBUG /",
            "CONNECT-UDP /",
            "COPY /a",
            "MOVE /a",
            "get /",
        ] {
            for headers in ["", &payment] {
                let (status, head, _) = shop.ask(request, headers);
                assert_eq!(status, 405, "{request}");
                let allow = "allow: get, head, post, put, patch, delete, options";
                assert!(head.contains(allow) && head.contains("no-store"), "{request} {head}");
            }
        }
        assert!(seen.lock().unwrap().is_empty());
        assert_eq!(shop.ask("GET /", &payment).0, 200, "the payment is as good as before");
        seen.lock().unwrap().clear();
    }
}

#[test]
fn the_server_behind_is_told_by_the_proxy_who_asks() {
    let (upstream, seen) =
        scripted("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    let shop = Server::shop("$1", &["--upstream", &upstream]);
    let lies: String = [
        "X-Forwarded-For",
        "x-forwarded-for",
        "X_Forwarded_For",
        "X.Forwarded.For",
        "X-Forwarded-Host",
        "X_FORWARDED-HOST",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Server",
        "X-Forwarded-Prefix",
        "X-Forwarded-Client-Cert",
        "Forwarded",
        "FORWARDED_FOR",
        "X-Real-IP",
        "X_Real_IP",
        "X-Original-URL",
        "X-Original-Host",
        "X-Rewrite-URL",
        "X_Rewrite_URL",
        "X-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "CF_Connecting_IP",
        "X-Cluster-Client-IP",
        "Via",
        "Proxy",
    ]
    .map(|name| format!("{name}: 6.6.6.6\r\n"))
    .concat();
    let tricks = "Connection: x-forwarded-for, forwarded, via\r\nX-Mine: 7.7.7.7\r\n";
    let headers = format!("{lies}{tricks}{}", payment_for(&shop));
    assert_eq!(shop.ask("GET /", &headers).0, 200);
    let request = seen.lock().unwrap().concat().to_lowercase();
    assert!(!request.contains("6.6.6.6"), "{request}");
    for line in [
        "x-mine: 7.7.7.7",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: shop",
        "x-forwarded-proto: http",
        "forwarded: for=127.0.0.1;host=\"shop\";proto=http",
        "via: 1.1 x402",
    ] {
        assert_eq!(request.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} {request}");
    }
}

#[test]
fn odd_answers_of_the_server_behind() {
    let answer = |line: &str, length: usize| {
        format!("{line}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\nok")
    };
    let (old, _) = scripted(answer("HTTP/1.0 200 OK", 2));
    let shop = Server::shop("$1", &["--upstream", &old]);
    let payment = payment_for(&shop);
    let (status, head, body) = shop.ask("GET /", &payment);
    assert_eq!((status, &*body), (200, "ok"));
    assert!(head.starts_with("http/1.1 200 "), "{head}");

    // Too long to be sold: said so, and not charged for. A HEAD costs nothing, and is told the price.
    let long = 2 * 1024 * 1024 + 1;
    let (upstream, _) = scripted(answer("HTTP/1.1 200 OK", long));
    let shop = Server::shop("$0.01", &["--upstream", &upstream]);
    let payment = payment_for(&shop);
    let (status, head, body) = shop.ask("GET /", &payment);
    assert_eq!(status, 502);
    assert!(head.contains("cache-control: no-store") && head.contains("text/plain"), "{head}");
    assert!(body.contains("2097153 bytes") && body.contains("2097152"), "{body}");
    assert_eq!(shop.ask("HEAD /", &payment).0, 402);

    let (switching, _) = scripted("HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\n\r\n");
    for upstream in [&*switching, NOBODY] {
        let shop = Server::shop("$0.01", &["--upstream", upstream]);
        let (status, head, _) = shop.ask("GET /", &payment_for(&shop));
        assert_eq!(status, 502);
        assert!(head.contains("cache-control: no-store"), "{head}");
    }
}

#[test]
fn a_token_for_the_facilitator() {
    let (facilitator, seen) = scripted_json("200 OK", &json!({ "kinds": [] }));
    let file = TempFile::new("token", "token-of-the-file\n");
    let by_file = ["--facilitator", &*facilitator, "--facilitator-token-file", file.path()];
    let by_variable = &by_file[..2];
    let variable = [("X402_FACILITATOR_TOKEN", "token-of-the-variable")];
    for (options, variables, expected) in [
        (&by_file[..], &[][..], Some("token-of-the-file")),
        (&by_file, &variable, Some("token-of-the-file")),
        (by_variable, &variable, Some("token-of-the-variable")),
        (by_variable, &[], None),
    ] {
        let args = [&offer()[..], options].concat();
        let ran = with_env(&args, variables).ends(2).says("does not support exact");
        assert!(!ran.stderr.contains("token-"), "{ran:?}");
        let request = std::mem::take(&mut *seen.lock().unwrap()).concat().to_lowercase();
        let header = request.lines().find_map(|line| line.strip_prefix("authorization: "));
        assert_eq!(header.map(String::from), expected.map(|token| format!("bearer {token}")));
    }
    let empty = TempFile::new("no-token", " \n");
    let by_empty = [&offer()[..], &by_file[..3], &[empty.path()]].concat();
    x402(&by_empty).ends(2).says("--facilitator-token-file: not a token");
    let missing = [&offer()[..], &by_file[..3], &["/no/such/file"]].concat();
    x402(&missing).ends(2).says("--facilitator-token-file: cannot read the file");
    let simulated = ["--facilitator", "simulated", "--facilitator-token-file", file.path()];
    x402(&[&offer()[..], &simulated].concat()).ends(2).says("is for a facilitator over HTTP");
    let broken = [("X402_FACILITATOR_TOKEN", "hidden\u{e9}")];
    let ran = with_env(&[&offer()[..], by_variable].concat(), &broken).ends(2);
    assert!(!ran.stderr.contains("hidden"), "{ran:?}");
}

#[test]
fn a_simulated_facilitator_is_for_its_own_names() {
    let facilitator = Server::start(&["facilitator", "--simulated", "--host", "Pay.Example"]);
    let own = format!("Host: {}\r\n", &facilitator.url[7..]);
    assert_eq!(facilitator.ask("GET /supported", "").0, 421);
    // Another `Host` follows: two of them are no request.
    assert_eq!(facilitator.ask("GET /supported", &own).0, 400);
    for (host, headers, expected) in [
        (&facilitator.url[7..], "", 200),
        ("pay.example", "", 200),
        ("localhost:1", "", 200),
        ("evil.example", "", 421),
        (&facilitator.url[7..], "Origin: http://evil.example\r\n", 403),
    ] {
        let mut stream = TcpStream::connect(&facilitator.url[7..]).unwrap();
        let end = "Connection: close\r\n\r\n";
        write!(stream, "GET /supported HTTP/1.1\r\nHost: {host}\r\n{headers}{end}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer[9..12].parse::<u16>().unwrap(), expected, "{host} {headers}");
    }
    x402(&["facilitator", "--simulated", "--host", "a:1"]).ends(2).says("--host");
}

// ---- keys

/// A node of a chain that has one answer, and keeps the questions. Ends with the process.
fn node(result: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let asked: Value = serde_json::from_slice(&body).unwrap();
            keep.lock().unwrap().push(asked.to_string());
            let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result });
            let (answer, end) = (answer.to_string(), "Connection: close\r\n\r\n");
            let length = answer.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{end}");
            write!(reader.get_mut(), "{head}{answer}").unwrap();
        }
    });
    (url, seen)
}

#[test]
fn keys_are_made_shown_and_asked_about() {
    let folder = std::env::temp_dir().join(format!("x402-keys-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    for (kind, option, name) in
        [("evm", "--key-file", "evm"), ("solana", "--svm-key-file", "solana")]
    {
        let file = path(name);
        let made = x402(&["key", "new", kind, &file]).ends(0).says(option).json();
        assert_eq!(made["file"], json!(file));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let shown = x402(&["key", "address", option, &file]).ends(0).json();
        assert_eq!(shown[name], made["address"]);
        // Never over one that is there.
        x402(&["key", "new", kind, &file]).ends(1).says("the file exists already");
        assert_eq!(x402(&["key", "address", option, &file]).ends(0).json(), shown);
        // No two are the same.
        let other = x402(&["key", "new", kind, &path(&format!("{name}-2"))]).ends(0).json();
        assert_ne!(other["address"], made["address"]);
    }
    // In whatever common form it is given.
    let own = TempFile::new("own-key", KEY);
    let own_path = own.path().to_owned();
    for key in [KEY, &format!("0x{KEY}"), &format!(" {KEY}\n"), &own_path] {
        let shown = with_env(&["key", "address"], &[("X402_EVM_KEY", key)]).ends(0).json();
        assert_eq!(shown, json!({ "evm": PAYER, "solana": null }));
    }
    let numbers = format!("{:?}", keypair());
    let cli_file = TempFile::new("cli-key", &numbers);
    let cli_path = cli_file.path().to_owned();
    for key in [&base58_of(&keypair()), &base58_of(&SVM_SEED), &numbers, &cli_path] {
        let shown = with_env(&["key", "address"], &[("X402_SVM_KEY", key)]).ends(0).json();
        assert_eq!(shown, json!({ "evm": null, "solana": SVM_PAYER }));
    }
    // Empty is unset.
    let none = [("X402_EVM_KEY", ""), ("X402_SVM_KEY", " ")];
    with_env(&["key", "address"], &none).ends(2).says("no key: give --key-file");
    let wrong = with_env(&["key", "address"], &[("X402_EVM_KEY", "/nowhere/s3cret")]);
    wrong.ends(2).says("X402_EVM_KEY: neither 64 hexadecimal digits nor").keeps_secrets();

    // One answer to all questions: chain and balance are the same number.
    let (node, seen) = node("0x14a34");
    let ask = ["key", "balance", "--network", "base-sepolia", "--rpc", &node];
    let balance = with_key(&ask).ends(0).json();
    let wanted = json!({ "network": "eip155:84532", "address": PAYER, "token": "USDC",
                         "units": "84532", "balance": "$0.084532" });
    assert_eq!(balance, wanted);
    let owner = PAYER[2..].to_lowercase();
    assert!(seen.lock().unwrap().last().unwrap().contains(&format!("0x70a08231{owner:0>64}")));
    let other = ["key", "balance", "--network", "eip155:8453", "--rpc", &node];
    with_key(&other).ends(1).says("--rpc: RPC node reports chain 84532: check its URL");
    with_key(&["key", "balance", "--network", "base"])
        .ends(2)
        .says("give --rpc or set X402_EVM_RPC");
    // Money for one's own key in a ledger of one's own.
    let fund = ["--facilitator", "simulated", "--fund", "$1"];
    x402(&[&offer()[..], &fund].concat()).ends(2).says("set X402_EVM_KEY");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// What is typed is not said again, and what is meant is.
#[test]
fn a_mistyped_option_has_a_proposal() {
    for (args, meant) in [
        (&["serve", "--prise", "s3cret"][..], "did you mean --price?"),
        (&["pay", "--dry-rum", "http://x"], "did you mean --dry-run?"),
        (&["servee"], "did you mean serve?"),
    ] {
        let ran = x402(args).ends(2).says(meant).keeps_secrets();
        assert!(!ran.stderr.contains("prise") && !ran.stderr.contains("servee"), "{ran:?}");
    }
}

// ---- messages of the world

/// Of every challenge with something odd in it, the good offer is shown and would be paid.
#[test]
fn challenges_from_the_wild_are_decoded_and_paid() {
    let path =
        format!("{}/../x402-core/tests/wild_messages/offers.json", env!("CARGO_MANIFEST_DIR"));
    let all: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for case in all.as_array().unwrap() {
        let (name, required) = (&case["name"], &case["required"]);
        let decoded = x402(&["decode", &required.to_string()]).ends(0).json();
        assert_eq!((&decoded["message"], &decoded["kind"]), (required, &json!("PaymentRequired")));
        let (url, _) = scripted_json("402 Payment Required", required);
        for ran in [x402(&["pay", &url, "--dry-run"]), with_key(&["pay", &url, "--dry-run"])] {
            let would = ran.ends(0).json();
            assert_eq!(would["accept"], case["payable"], "{name}");
        }
        let signed = with_key(&["sign", "--required", &required.to_string()]).ends(0);
        let payment = x402(&["decode", signed.stdout.trim()]).ends(0).json();
        let place = case["payable"].as_u64().unwrap() as usize;
        if required["x402Version"] == 2 {
            assert_eq!(payment["message"]["accepted"], required["accepts"][place], "{name}");
        }
    }
    let odd = json!({ "x402Version": 2, "accepts": [{ "scheme": "exact" }, 7] });
    let decoded = x402(&["decode", &odd.to_string()]).ends(0).json();
    let wanted = json!([
        { "place": "accepts[0].network", "error": "required field missing" },
        { "place": "accepts[1]", "error": "field of the wrong type" },
    ]);
    assert_eq!(decoded["unreadable"], wanted);
    let ran = with_key(&["sign", "--required", &odd.to_string()]).ends(1);
    ran.says("offer 0 cannot be read: required field missing: network")
        .says("offer 1 cannot be read");
    // A broken header beside a good body says so.
    let good = all[0]["required"].to_string();
    let (url, _) = scripted(format!(
        "HTTP/1.1 402 Payment Required\r\nPAYMENT-REQUIRED: %%%\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{good}",
        good.len()
    ));
    let ran = with_key(&["pay", &url]).ends(1);
    ran.says(
        "challenge cannot be read: PAYMENT-REQUIRED: not base64; the challenge in the body is good",
    );
}

// ---- settings of serve

#[test]
fn serve_has_the_settings_of_the_library() {
    let body = "x".repeat(3000);
    let long = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let (upstream, seen) = scripted(long);
    let shop =
        Server::shop("$1", &["--upstream", &upstream, "--base-url", "https://api.example.com/v1/"]);
    let challenge: Value = serde_json::from_str(&shop.ask("GET /a?b", "").2).unwrap();
    assert_eq!(challenge["resource"]["url"], "https://api.example.com/v1/a?b");
    let (status, head, _) = shop.ask("GET /", &payment_for(&shop));
    assert!(status == 200 && head.contains("via: 1.1 x402"), "{head}");
    assert!(seen.lock().unwrap().last().unwrap().to_lowercase().contains("via: 1.1 x402"));
    // Too long to be withheld, unless it is paid for first.
    let shop = Server::shop("$1", &["--upstream", &upstream, "--body-limit", "2999"]);
    let (status, _, said) = shop.ask("GET /", &payment_for(&shop));
    assert!(status == 502 && said.contains("3000 bytes, and at most 2999 are sold"), "{said}");
    let shop = Server::shop("$1", &["--upstream", &upstream, "--upfront"]);
    let challenge: Value = serde_json::from_str(&shop.ask("GET /", "").2).unwrap();
    assert_eq!(challenge["accepts"][0]["extra"]["paymentFlow"], "upfront");
    let (status, head, got) = shop.ask("GET /", &payment_for(&shop));
    assert!(status == 200 && got.ends_with(&body) && head.contains("payment-response"), "{head}");
    let shop = Server::shop("$1", &["--request-limit", "10"]);
    let payment = payment_for(&shop);
    let (status, ..) = shop.ask("POST /", &format!("{payment}Content-Length: 11\r\n"));
    assert_eq!(status, 413);
    // Pages of other origins.
    let shop =
        Server::shop("$1", &["--cors", "https://page.example", "--cors", "http://127.0.0.1:3000"]);
    for (origin, is_allowed) in [
        ("https://page.example", true),
        ("http://127.0.0.1:3000", true),
        ("https://page.example.evil.test", false),
        ("null", false),
    ] {
        let allowed = format!("access-control-allow-origin: {origin}\r\n");
        let asks = format!(
            "Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: payment-signature\r\n"
        );
        let (_, head, _) = shop.ask("OPTIONS /", &asks);
        assert_eq!(head.contains(allowed.trim_end()), is_allowed, "{head}");
        assert!(
            !is_allowed || head.contains("access-control-allow-headers: payment-signature"),
            "{head}"
        );
        let (status, head, _) = shop.ask("GET /", &format!("Origin: {origin}\r\n"));
        assert_eq!((status, head.contains(allowed.trim_end())), (402, is_allowed), "{head}");
        assert!(!is_allowed || head.contains("payment-required,payment-response"), "{head}");
    }
    for (option, value) in [
        ("--base-url", "api.example.com"),
        ("--base-url", "ftp://x"),
        ("--base-url", "https://x?y"),
        ("--cors", "page.example"),
        ("--cors", "https://page.example/"),
        ("--body-limit", "2 MB"),
        ("--upstream-timeout", "0"),
    ] {
        let more = ["--facilitator", "simulated", "--upstream", &upstream, option, value];
        x402(&[&offer()[..], &more].concat()).ends(2).says(option);
    }
}

/// Who sends a long body without a payment, faster or slower, gets the challenge all the same.
#[test]
fn a_big_upload_gets_its_challenge() {
    let shop = Server::shop("$1", &["--request-limit", "20000000"]);
    for (megabytes, pause) in [(1, 0), (10, 0), (10, 300)] {
        let mut stream = TcpStream::connect(shop.url.strip_prefix("http://").unwrap()).unwrap();
        let length = megabytes << 20;
        write!(stream, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").unwrap();
        for _ in 0..megabytes {
            stream.write_all(&vec![b'x'; 1 << 20]).unwrap();
            thread::sleep(std::time::Duration::from_millis(pause));
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(&answer[9..12], "402", "{megabytes} MB");
    }
    // Nothing is sent by a client that asks first.
    let (status, head, _) =
        shop.ask("POST /", "Content-Length: 10000000\r\nExpect: 100-continue\r\n");
    assert_eq!((status, head.contains("100 continue")), (402, false));
    // And paid, it arrives.
    let body = TempFile::new("upload", "x".repeat(5 << 20));
    with_key(&["pay", &shop.url, "-d", &body.argument()]).ends(0).says("paid: ");
}

/// RFC 9112 §3.2.
#[test]
fn a_request_says_once_whom_it_asks() {
    let shop = Server::shop("$1", &[]);
    for (head, status) in [
        ("GET / HTTP/1.1\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\n", "402"),
        ("GET / HTTP/1.0\r\n", "402"),
        ("GET / HTTP/1.0\r\nHost: a\r\n", "402"),
    ] {
        let mut stream = TcpStream::connect(shop.url.strip_prefix("http://").unwrap()).unwrap();
        write!(stream, "{head}Connection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(&answer[9..12], status, "{head}");
    }
}
