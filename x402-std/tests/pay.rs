//! `x402 pay` among sellers that lie: what it believes, where it sends a payment, what it shows.
#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{NETWORK, SELLER};
use serde_json::{Value, json};
use x402_core::Version;
use x402_std::message::{PaymentRequired, SettleResponse};
use x402_std::seller::exact;

const KEY: &str = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";

struct Ran {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

impl Ran {
    #[track_caller]
    fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        self
    }

    #[track_caller]
    fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} in {}", self.stderr);
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap()
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_x402"));
    command.args(args).env_clear().env("X402_EVM_KEY", KEY);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    Ran { code: output.status.code(), stdout: output.stdout, stderr }
}

fn x402(args: &[&str]) -> Ran {
    ran(&mut command(args))
}

/// A folder that is gone when this is.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("x402-pay-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().into()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn challenge() -> String {
    let required = PaymentRequired {
        x402_version: Version::V2,
        error: None,
        resource: None,
        accepts: vec![exact(NETWORK, SELLER, "$0.01").unwrap()].into(),
        extensions: None,
        other: None,
    };
    let header = required.to_header().unwrap();
    answer("402 Payment Required", &[("PAYMENT-REQUIRED", &header)], b"{}")
}

fn receipt() -> SettleResponse {
    SettleResponse {
        success: true,
        transaction: format!("0x{}", "ab".repeat(32)),
        network: NETWORK.into(),
        ..SettleResponse::default()
    }
}

fn answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
    let mut text = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text + &format!("Content-Length: {}\r\n\r\n", body.len()) + std::str::from_utf8(body).unwrap()
}

fn paid(status: &str, receipt: &SettleResponse, body: &[u8]) -> String {
    answer(status, &[("PAYMENT-RESPONSE", &receipt.to_header().unwrap())], body)
}

fn head_of(stream: &mut impl Read) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A seller that asks for a cent and answers every payment alike, and the heads of what it was sent.
fn seller(answer: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head = head_of(&mut stream);
            let is_paid = head.to_lowercase().contains("payment-signature: ");
            keep.lock().unwrap().push(head);
            let answer = if is_paid { answer.clone() } else { challenge() };
            stream.write_all(answer.as_bytes()).ok();
        }
    });
    (address, seen)
}

fn payments(seen: &Mutex<Vec<String>>) -> Vec<String> {
    let seen = seen.lock().unwrap();
    let header = |head: &String| {
        let line = head.lines().find(|line| line.to_lowercase().starts_with("payment-signature"));
        line.map(str::to_owned)
    };
    seen.iter().filter_map(header).collect()
}

#[test]
fn a_receipt_that_proves_nothing_is_not_called_paid() {
    let folder = Folder::new("receipts");
    let budget = folder.file("budget.db");
    let honest = receipt();
    let nothing = SettleResponse { transaction: String::new(), ..receipt() };
    let elsewhere = SettleResponse { network: "eip155:1".into(), ..receipt() };
    let somebody = SettleResponse { payer: Some(SELLER.into()), ..receipt() };
    let less = SettleResponse { amount: Some(1.into()), ..receipt() };
    let mixed = SettleResponse { error_reason: Some("no".into()), ..receipt() };
    for (name, answer, code, is_proven) in [
        ("honest", paid("200 OK", &honest, b"x"), 0, true),
        ("error", paid("500 Oops", &honest, b"x"), 1, false),
        ("redirect", paid("307 There", &honest, b"x"), 1, false),
        ("nothing", paid("200 OK", &nothing, b"x"), 0, false),
        ("elsewhere", paid("200 OK", &elsewhere, b"x"), 0, false),
        ("somebody", paid("200 OK", &somebody, b"x"), 0, false),
        ("less", paid("200 OK", &less, b"x"), 0, false),
        ("mixed", paid("200 OK", &mixed, b"x"), 0, false),
    ] {
        let (address, seen) = seller(answer);
        let url = format!("http://{address}/");
        let buy = ["pay", &url, "--budget", &budget, "--id", name];
        let once = x402(&buy).ends(code);
        assert_eq!(once.stderr.contains("paid: "), is_proven, "{name}: {}", once.stderr);
        let again = x402(&[&buy[..], &["--json"]].concat());
        if is_proven {
            assert_eq!(again.ends(1).json()["code"], "already_bought");
            assert_eq!(payments(&seen).len(), 1);
            continue;
        }
        let kept = format!("run this again with --id {name} to present the same payment");
        once.says("the receipt proves nothing").says(&kept);
        let told = again.ends(code).json();
        assert!(told["doubt"].is_string() && told["id"] == name, "{name}: {told}");
        let payments = payments(&seen);
        assert_eq!((payments.len(), &payments[0]), (2, &payments[1]), "the same one, {name}");
    }
    let (address, _) = seller(paid("200 OK", &honest, b"{}"));
    let told = x402(&["pay", &format!("http://{address}/"), "--json"]).ends(0).json();
    assert_eq!((&told["doubt"], &told["receipt"]["success"]), (&Value::Null, &json!(true)));
}

/// The name of nobody, with a proxy of the environment that leads to the seller: only so can the test
/// be asked for a host that is not this machine.
fn through(proxy: &str, args: &[&str]) -> Ran {
    ran(command(args).env("http_proxy", format!("http://{proxy}")))
}

#[test]
fn nothing_is_signed_over_plain_http_to_others() {
    let folder = Folder::new("plain");
    let budget = folder.file("budget.db");
    for url in ["http://shop.test/", "http://shop.test.:80/", "http://192.0.2.1:8080/x"] {
        let (address, seen) = seller(paid("200 OK", &receipt(), b"x"));
        let refused = through(&address, &["pay", url, "--json", "--budget", &budget, "--id", url]);
        let refused = refused.ends(1).says("plain http").says("--http-host");
        assert_eq!(refused.json()["code"], "plain_http");
        through(&address, &["pay", url, "--dry-run"]).ends(1).says("plain http");
        assert_eq!(seen.lock().unwrap().len(), 2, "{url}");
        assert!(payments(&seen).is_empty(), "{url}");
        // Nothing was reserved either: the id is free.
        let host = url.trim_start_matches("http://").split('/').next().unwrap();
        let elsewhere = ["--http-host", "other.test", "--http-host", "shop.test:81"];
        through(&address, &[&["pay", url], &elsewhere[..]].concat()).ends(1).says("plain http");
        let allowed = ["pay", url, "--http-host", host, "--budget", &budget, "--id", url];
        through(&address, &allowed).ends(0).says("paid: 0.01 USDC");
        assert_eq!(payments(&seen).len(), 1);
    }
    for host in ["*", "http://shop.test", "shop.test/", "127.1"] {
        x402(&["pay", "http://shop.test/", "--http-host", host]).ends(2).says("--http-host");
    }
}

/// What is free is not a payment.
#[test]
fn what_is_free_may_be_asked_for_anywhere() {
    let free = answer("200 OK", &[], b"air");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        head_of(&mut stream);
        stream.write_all(free.as_bytes()).unwrap();
    });
    assert_eq!(through(&address, &["pay", "http://shop.test/"]).ends(0).stdout, b"air");
}

/// A proxy of the environment sees nothing that is meant for this machine.
#[test]
fn no_proxy_is_used_for_this_machine() {
    let (address, seen) = seller(paid("200 OK", &receipt(), b"x"));
    let (_, port) = address.rsplit_once(':').unwrap();
    let (proxy, seen_by_proxy) = seller(paid("200 OK", &receipt(), b"x"));
    for host in ["127.0.0.1", "localhost", "127.0.0.2"] {
        let url = format!("http://{host}:{port}/");
        for variable in ["http_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY"] {
            ran(command(&["pay", &url]).env(variable, format!("http://{proxy}")));
        }
    }
    assert!(payments(&seen).len() >= 4, "127.0.0.1 at least");
    assert!(seen_by_proxy.lock().unwrap().is_empty());
    // With a dot it is this machine's name too, and not known to be this machine: asked, not paid.
    let url = format!("http://localhost.:{port}/");
    ran(command(&["pay", &url]).env("ALL_PROXY", format!("http://{proxy}"))).ends(1);
    assert!(seen_by_proxy.lock().unwrap().is_empty());
}

/// What a seller says is escaped in JSON, which stays the same JSON, and on stderr; a body that goes to a
/// file is what was sent.
#[test]
fn nothing_a_seller_says_steers_a_terminal() {
    let nasty =
        "a\u{1b}]52;c;Zm9v\u{7}\u{9b}8m\u{202e}\u{2066}\u{200b}\u{feff}\u{7f}\u{e0041}\u{85}";
    let is_safe = |out: &[u8]| {
        let text = std::str::from_utf8(out).unwrap();
        let is_plain = |char: char| char == '\n' || char.is_ascii_graphic() || char == ' ';
        assert!(text.chars().all(is_plain), "{text:?}");
    };
    let bad = SettleResponse { transaction: nasty.into(), ..receipt() };
    let (address, _) = seller(paid("200 OK", &bad, nasty.as_bytes()));
    let url = format!("http://{address}/");
    let whole = x402(&["pay", &url]).ends(0);
    assert_eq!(whole.stdout, nasty.as_bytes(), "byte for byte");
    is_safe(whole.stderr.as_bytes());
    let told = x402(&["pay", &url, "--json"]).ends(0);
    is_safe(&told.stdout);
    assert_eq!(told.json()["body"], nasty, "the same JSON");
    assert_eq!(told.json()["receipt"]["transaction"], nasty);

    let refused = SettleResponse {
        success: false,
        error_reason: Some(nasty.into()),
        error_message: Some(nasty.into()),
        ..bad.clone()
    };
    let (address, _) = seller(paid("402 No", &refused, b"{}"));
    let told = x402(&["pay", &format!("http://{address}/"), "--json"]).ends(1);
    is_safe(&told.stdout);
    is_safe(told.stderr.as_bytes());

    let mut offer = exact(NETWORK, SELLER, "$0.01").unwrap();
    let extra = json!({ "name": "USDC", "version": "2", "note": nasty }).to_string();
    offer.extra = x402_std::message::Json::parse(extra).ok();
    let required = PaymentRequired {
        x402_version: Version::V2,
        error: Some(nasty.into()),
        resource: None,
        accepts: vec![offer].into(),
        extensions: None,
        other: None,
    };
    for message in [required.to_json().unwrap(), bad.to_json().unwrap()] {
        let decoded = x402(&["decode", &message]).ends(0);
        is_safe(&decoded.stdout);
        let message: Value = serde_json::from_str(&message).unwrap();
        assert_eq!(decoded.json()["message"], message, "the same JSON");
    }
    let header = required.to_header().unwrap();
    let asked = answer("402 Pay", &[("PAYMENT-REQUIRED", &header)], b"{}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        head_of(&mut stream);
        stream.write_all(asked.as_bytes()).unwrap();
    });
    let would = x402(&["pay", &url, "--dry-run"]).ends(0);
    is_safe(&would.stdout);
    assert_eq!(would.json()["offer"]["extra"]["note"], nasty);
}

/// Keys that others can read, and files that others can write, are not used.
#[cfg(unix)]
#[test]
fn files_that_others_have_a_hand_in_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("exposed");
    let mode = |file: &str, mode| {
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    };
    let (address, seen) = seller(paid("200 OK", &receipt(), b"x"));
    let url = format!("http://{address}/");
    let (key, budget, claims) = (folder.file("key"), folder.file("b.db"), folder.file("c.db"));
    fs::write(&key, KEY).unwrap();
    let with_key = ["pay", &url, "--key-file", &key];
    let in_budget = ["pay", &url, "--budget", &budget];
    let agent = ["mcp", "--budget", &budget];
    let as_variable = || ran(command(&["pay", &url]).env("X402_SVM_KEY", &key));
    mode(&key, 0o600);
    x402(&with_key).ends(0);
    x402(&in_budget).ends(0);
    let asked = seen.lock().unwrap().len();
    for (bits, said) in [
        (0o644, "others can read the file: run chmod 600"),
        (0o640, "others can read the file: run chmod 600"),
        (0o604, "others can read the file: run chmod 600"),
        (0o620, "others can write the file: run chmod 600"),
        (0o602, "others can write the file: run chmod 600"),
    ] {
        mode(&key, bits);
        x402(&with_key).ends(2).says("--key-file: ").says(said);
        as_variable().ends(2).says("X402_SVM_KEY: ").says(said);
    }
    mode(&key, 0o600);
    for bits in [0o620, 0o602, 0o666] {
        mode(&budget, bits);
        x402(&in_budget).ends(2).says("--budget: others can write the file");
        x402(&agent).ends(2).says("--budget: others can write the file");
    }
    mode(&budget, 0o600);
    let wal = folder.file("b.db-wal");
    fs::write(&wal, "").unwrap();
    mode(&wal, 0o666);
    x402(&in_budget).ends(2).says("--budget: others can write the file");
    fs::remove_file(&wal).unwrap();
    mode(folder.0.to_str().unwrap(), 0o777);
    x402(&in_budget).ends(2).says("--budget: everybody can replace the file");
    x402(&with_key).ends(2).says("--key-file: everybody can replace the file");
    mode(folder.0.to_str().unwrap(), 0o700);
    assert_eq!(seen.lock().unwrap().len(), asked, "nothing was asked");
    let serve = ["serve", "--pay-to", SELLER, "--price", "$0.01", "--network", NETWORK];
    let serve = [&serve[..], &["--facilitator", "simulated", "--claims", &claims]].concat();
    fs::write(&claims, "").unwrap();
    mode(&claims, 0o666);
    x402(&serve).ends(1).says(": others can write the file: run chmod 600 on it");
    mode(&claims, 0o600);
    let secret = folder.file("c.db.secret");
    fs::write(&secret, [7; 32]).unwrap();
    mode(&secret, 0o622);
    x402(&serve).ends(1).says("FILE.secret: others can write the file");
}

/// The text of a key is not in the memory of a process that has read it from a file.
#[cfg(target_os = "linux")]
#[test]
fn the_text_of_a_key_is_wiped() {
    use std::io::{BufRead, BufReader, Seek, SeekFrom};
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("wiped");
    let (evm, svm) = (folder.file("evm"), folder.file("svm"));
    let seed: [u8; 32] = std::array::from_fn(|at| (at * 37 + 101) as u8);
    let wallet = x402_std::buyer::wallet::SvmWallet::new(
        x402_core::crypto::ed25519::LocalKey::from_seed(&seed),
    );
    let pair = [seed, wallet.address().0].concat();
    let numbers = serde_json::to_string(&pair).unwrap();
    for (file, text) in [(&evm, KEY), (&svm, numbers.as_str())] {
        fs::write(file, text).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let mut agent = command(&["mcp", "--key-file", &evm, "--svm-key-file", &svm]);
    let state = folder.0.to_str().unwrap();
    let agent = agent.env_remove("X402_EVM_KEY").env("XDG_STATE_HOME", state);
    let mut agent = agent.stdin(Stdio::piped()).spawn().unwrap();
    let hello = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": { "protocolVersion": "2025-06-18", "capabilities": {},
                    "clientInfo": { "name": "test", "version": "0" } },
    });
    writeln!(agent.stdin.as_mut().unwrap(), "{hello}").unwrap();
    let mut line = String::new();
    BufReader::new(agent.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("x402_quote"), "{line}");
    let id = agent.id();
    let maps = fs::read_to_string(format!("/proc/{id}/maps")).unwrap();
    let memory = fs::File::open(format!("/proc/{id}/mem"));
    let mut found = Vec::new();
    // Some systems let nobody look.
    if let Ok(mut memory) = memory {
        for map in maps.lines().filter(|map| map.contains(" rw")) {
            let (from, to) = map.split(' ').next().unwrap().split_once('-').unwrap();
            let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
            let mut bytes = vec![0; (to - from) as usize];
            let read = memory.seek(SeekFrom::Start(from)).and_then(|_| memory.read(&mut bytes));
            for (what, text) in [("EVM", &KEY[24..56]), ("Solana", &numbers[150..180])] {
                if read.is_ok() && bytes.windows(text.len()).any(|it| it == text.as_bytes()) {
                    found.push((what, map));
                }
            }
        }
    }
    drop(agent.stdin.take());
    agent.wait().unwrap();
    assert!(found.is_empty(), "{found:?}");
}

/// A payment is offered for another try only where another try can end otherwise.
#[test]
fn what_is_refused_for_good_is_not_to_be_presented_again() {
    let folder = Folder::new("again");
    let budget = folder.file("budget.db");
    for (reason, again) in [
        ("duplicate_settlement", false),
        ("invalid_exact_evm_insufficient_balance", false),
        ("facilitator_unavailable", true),
        ("some_new_code", true),
    ] {
        let refused =
            SettleResponse { success: false, error_reason: Some(reason.into()), ..receipt() };
        let (address, _) = seller(paid("402 No", &refused, b"{}"));
        let url = format!("http://{address}/");
        let told = x402(&["pay", &url, "--budget", &budget, "--id", reason]).ends(1);
        let hint = told.stderr.contains("to present the same payment");
        assert_eq!(hint, again, "{reason}: {}", told.stderr);
    }
}
