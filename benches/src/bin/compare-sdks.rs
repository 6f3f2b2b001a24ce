//! This library beside the official TypeScript and Python SDKs, on the same inputs.
//!
//!     cargo run --release -p x402-benches --bin compare-sdks [-- --save]
//!
//! Needs Node.js and Python. The SDKs are those of `x402-std/tests/interop`, whose lock files name
//! the versions; what is missing is installed there.
//!
//! Each is measured in a process of its own: batches of one operation after it has run for a while,
//! the median of the batches; three processes of each in turns, the median of the three. Ours is
//! with `simd`, and without C: k256. Only the ratios mean something.
//!
//! - Typed is what each has for it: ours checks everything when reading and keeps views; theirs is
//!   base64, JSON and the SDK's schema (zod, pydantic).
//! - Verified is by their facilitators, and a chain that answers at once: in ours the checks that
//!   come before a chain is asked. The Python one leaves the Solana signature to the chain.
//! - Paid is by their clients: challenge header to payment header, with an EIP-3009 signature.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;
use std::hint::black_box;
use std::io::Write as _;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Child, Command, ExitCode, Stdio};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, process, thread};

use x402_benches::inputs;
use x402_benches::results::{Results, compiler, root};
use x402_core::crypto::secp256k1::LocalKey;
use x402_core::seller::Seller;
use x402_core::wire::{Message as _, PaymentPayload, PaymentRequired};
use x402_core::{Scheme, Version, gate};
use x402_evm::{Eip3009Payload, ExactEvm};
use x402_std::base64;
use x402_std::buyer::Buyer;
use x402_std::buyer::wallet::EvmWallet;
use x402_std::message::{self, encode_header};
use x402_svm::ExactSvm;

const OPERATIONS: [(&str, &str); 7] = [
    ("read_payment", "payment: header to typed"),
    ("write_payment", "payment: typed to header"),
    ("read_challenge", "challenge: header to typed"),
    ("read_large_challenge", "challenge, 20 offers and Bazaar: header to typed"),
    ("evm_verify", "EVM: header to verified"),
    ("svm_verify", "Solana, v0: header to verified"),
    ("evm_buyer", "EVM: challenge header to signed payment header"),
];

/// In which the Python SDK leaves out what takes the time.
const UNSIGNED_IN_PYTHON: &str = "svm_verify";

/// Processes of each kind.
const REPEATS: usize = 3;
const WARM_UP: Duration = Duration::from_millis(200);
const BATCHES: usize = 60;
const BATCH: Duration = Duration::from_millis(5);

/// No process takes half a minute.
const TIME_LIMIT: Duration = Duration::from_secs(180);
/// The SDKs may have to be installed.
const INSTALL_LIMIT: Duration = Duration::from_secs(1200);

/// Where it runs, the SDKs are found.
const INTEROP: &str = "x402-std/tests/interop";

/// Seconds by operation.
type Times = BTreeMap<String, f64>;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => measure().map(|results| print!("{}", results.markdown)),
        ["--save"] => measure().and_then(|results| {
            print!("{}", results.markdown);
            results.save("compare-sdks")
        }),
        _ => Err("usage: compare-sdks [--save]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// The input all are measured on.
struct Given {
    evm: inputs::Evm,
    svm: inputs::Svm,
    large: String,
}

impl Given {
    fn new() -> Result<Self, String> {
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
        // Valid for as long as all this takes.
        let challenge =
            inputs::CHALLENGE.replace(r#""maxTimeoutSeconds":60"#, r#""maxTimeoutSeconds":3600"#);
        Ok(Self {
            evm: inputs::evm_paid(&challenge, now.as_secs()),
            svm: inputs::svm(),
            large: inputs::header(&inputs::large_challenge()),
        })
    }

    /// For the SDKs.
    fn json(&self) -> String {
        let secret = inputs::EVM_SECRET.iter().fold(String::from("0x"), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string");
            text
        });
        serde_json::json!({
            "payment": self.evm.header,
            "offer": self.evm.offer,
            "challenge": self.evm.challenge,
            "largeChallenge": self.large,
            "svmPayment": self.svm.header,
            "svmOffer": self.svm.offer,
            "evmSecret": secret,
        })
        .to_string()
    }
}

/// A file that is there as long as this lives.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

fn measure() -> Result<Results, String> {
    let python = install()?;
    let given = Given::new()?;
    let file = Scratch(env::temp_dir().join(format!("x402-compare-sdks-{}.json", process::id())));
    fs::write(&file.0, given.json()).map_err(|error| format!("{}: {error}", file.0.display()))?;
    let (mut own, mut typescript, mut others) = (Vec::new(), Vec::new(), Vec::new());
    let mut versions = [String::new(), String::new()];
    for _ in 0..REPEATS {
        own.push(ours(&given));
        let script = root().join("benches/sdks/sdk.mjs");
        let script = fs::read_to_string(script).map_err(|error| format!("sdk.mjs: {error}"))?;
        let (version, times) = theirs(&run(node().arg("-").arg(&file.0), &script, TIME_LIMIT)?)?;
        versions[0] = version;
        typescript.push(times);
        let script = root().join("benches/sdks/sdk.py");
        let output = run(Command::new(&python).arg(script).arg(&file.0), "", TIME_LIMIT)?;
        let (version, times) = theirs(&output)?;
        versions[1] = version;
        others.push(times);
    }
    Ok(results(&[own, typescript, others].map(|runs| medians(&runs)), &versions))
}

/// Node.js, to be given a module, in the folder with the SDK.
fn node() -> Command {
    let mut node = Command::new("node");
    node.current_dir(root().join(INTEROP)).arg("--input-type=module");
    node
}

/// Installs what is missing and gives the path of the Python that has the SDK.
fn install() -> Result<String, String> {
    let script = "import { installIfMissing, PYTHON } from './lib/install.mjs';\n\
                  installIfMissing();\nconsole.log(PYTHON);\n";
    let printed = run(node().arg("-"), script, INSTALL_LIMIT)?;
    Ok(printed.lines().last().ok_or("where is Python?")?.into())
}

/// Runs a program to its end, or until the limit, and gives what it prints.
fn run(command: &mut Command, input: &str, limit: Duration) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{name}: {error}"))?;
    // Dropped, which ends the input.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let ended = wait(&mut child, limit);
    let output = child.wait_with_output().map_err(|error| format!("{name}: {error}"))?;
    ended?;
    match written {
        Some(Err(error)) => Err(format!("{name}: {error}")),
        _ if !output.status.success() => Err(format!("{name}: {}", output.status)),
        _ => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
    }
}

fn wait(child: &mut Child, limit: Duration) -> Result<(), String> {
    let start = Instant::now();
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        if start.elapsed() > limit {
            child.kill().ok();
            return Err(format!("not done after {} seconds", limit.as_secs()));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The output of an SDK's program: its versions and its times.
fn theirs(printed: &str) -> Result<(String, Times), String> {
    let mut times = Times::new();
    let mut versions = String::new();
    for line in printed.lines() {
        match (line.strip_prefix("# "), line.split_once('\t')) {
            (Some(text), _) => versions = text.into(),
            (None, Some((key, microseconds))) => {
                let time: f64 = microseconds.parse().map_err(|_| format!("printed {line}"))?;
                times.insert(key.into(), time / 1e6);
            }
            (None, None) => return Err(format!("printed {line}")),
        }
    }
    match OPERATIONS.iter().find(|(key, _)| !times.contains_key(*key)) {
        Some((key, _)) => Err(format!("no time of {key}")),
        None => Ok((versions, times)),
    }
}

fn ours(given: &Given) -> Times {
    let Given { evm, svm, large } = given;
    let mut scratch = vec![0; base64::decoded_len(large.len())];
    let mut out = vec![0; evm.header.len()];
    let payment = PaymentPayload::parse(evm.json.as_bytes()).expect("ours");
    let (evm_offer, svm_offer) = (inputs::offer(&evm.offer), inputs::offer(&svm.offer));
    let (evm_scheme, svm_scheme) = (<ExactEvm>::default(), <ExactSvm<'_>>::default());
    let now = x402_std::Clock::now(&x402_std::SystemClock);
    let key = LocalKey::from_bytes(&inputs::EVM_SECRET).expect("a key");
    let buyer = Buyer::new(EvmWallet::new(key));
    let mut times = Times::new();
    let mut time = |key: &str, operation: &mut dyn FnMut()| {
        times.insert(key.into(), median(operation));
    };
    time("read_payment", &mut || {
        let json = base64::decode(black_box(&evm.header).as_bytes(), &mut scratch).expect("ours");
        let payment = PaymentPayload::parse(json).expect("ours");
        black_box(Eip3009Payload::read(payment.payload)).expect("ours");
        black_box(payment);
    });
    time("write_payment", &mut || {
        black_box(black_box(&payment).encode_header(&mut out)).expect("fits");
    });
    for (key, header) in [("read_challenge", &evm.challenge), ("read_large_challenge", large)] {
        time(key, &mut || {
            let json = base64::decode(black_box(header).as_bytes(), &mut scratch).expect("ours");
            black_box(PaymentRequired::parse(json)).expect("ours");
        });
    }
    time("evm_verify", &mut || {
        let header = black_box(&evm.header).as_bytes();
        let json = base64::decode(header, &mut scratch).expect("ours");
        verify(&evm_scheme, json, &evm_offer, now);
    });
    time("svm_verify", &mut || {
        let header = black_box(&svm.header).as_bytes();
        let json = base64::decode(header, &mut scratch).expect("ours");
        verify(&svm_scheme, json, &svm_offer, now);
    });
    time("evm_buyer", &mut || {
        let header = black_box(&evm.challenge).as_bytes();
        let required = message::PaymentRequired::from_header(header).expect("ours");
        let index = buyer.choose(&required, "").expect("payable").index;
        let paid = at_once(buyer.sign(&required, index)).expect("signed");
        black_box(encode_header(paid.json.as_bytes()));
    });
    times
}

fn verify<S: Scheme>(
    scheme: &S,
    json: &[u8],
    offer: &x402_core::wire::PaymentRequirements<'_>,
    now: u64,
) {
    let payload = Seller::read(Version::V2, json).expect("ours");
    let verified = gate::verify(black_box(scheme), &payload, offer, now);
    assert!(black_box(verified).is_ok());
}

/// Returns the output of a future that does not wait.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("a key in memory does not wait"),
    }
}

/// Seconds that an operation takes: the median of batches.
fn median(operation: &mut dyn FnMut()) -> f64 {
    let mut time = |count: u32| {
        let start = Instant::now();
        (0..count).for_each(|_| operation());
        start.elapsed()
    };
    let (mut count, mut spent) = (1u32, Duration::ZERO);
    while spent < WARM_UP {
        let took = time(count);
        spent += took;
        let wanted = f64::from(count) * BATCH.as_secs_f64() / took.as_secs_f64().max(1e-9);
        count = wanted.clamp(1.0, 1e7) as u32;
    }
    middle((0..BATCHES).map(|_| time(count).as_secs_f64() / f64::from(count)).collect())
}

fn medians(runs: &[Times]) -> Times {
    let middle_of = |key: &str| middle(runs.iter().map(|times| times[key]).collect());
    OPERATIONS.iter().map(|(key, _)| ((*key).into(), middle_of(key))).collect()
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn results([own, typescript, python]: &[Times; 3], versions: &[String; 2]) -> Results {
    let mut markdown =
        String::from("| | ours | TypeScript | Python | ours, us | TypeScript, us | Python, us |\n");
    markdown.push_str("|---|--:|--:|--:|--:|--:|--:|\n");
    let mut tsv = String::from("operation\tlabel\tours_us\ttypescript_us\tpython_us\n");
    for (key, label) in OPERATIONS {
        let [own, typescript, python] = [own, typescript, python].map(|times| times[key] * 1e6);
        let ratios = [typescript, python].map(|time| format!("{:.1}", time / own));
        let [typescript_ratio, mut python_ratio] = ratios;
        if key == UNSIGNED_IN_PYTHON {
            python_ratio = "not the same".into();
        }
        writeln!(
            markdown,
            "| {label} | 1 | {typescript_ratio} | {python_ratio} | {own:.2} | {typescript:.1} | {python:.1} |",
        )
        .expect("a string");
        writeln!(tsv, "{key}\t{label}\t{own:.3}\t{typescript:.3}\t{python:.3}").expect("a string");
    }
    let [typescript, python] = versions;
    write!(
        markdown,
        "\nTypeScript: {typescript}. Python: {python}.\n\
         Ours is with the feature `simd`, and recovers by k256. Verified is by their facilitators, with a \
         chain that answers at once; in ours it is the checks that come before a chain is asked. The Python \
         facilitator leaves the Solana signature to the chain: that is not the same work.\n\n\
         Each in processes of its own on one machine, ours by {}.\n",
        compiler().unwrap_or_default(),
    )
    .expect("a string");
    Results { markdown, tsv }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_sdk_prints_is_read() {
        let lines: Vec<String> = OPERATIONS.iter().map(|(key, _)| format!("{key}\t2.5")).collect();
        let printed = format!("# sdk 1.0\n{}\n", lines.join("\n"));
        let (versions, times) = theirs(&printed).unwrap();
        assert_eq!((&*versions, times.len()), ("sdk 1.0", OPERATIONS.len()));
        assert!((times["evm_verify"] - 2.5e-6).abs() < 1e-12);
        for broken in [
            printed.replace("evm_verify\t2.5\n", ""),
            printed.replace("2.5", "fast"),
            printed.replace("evm_verify\t2.5", "an error"),
        ] {
            assert!(theirs(&broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn medians_are_of_processes() {
        let run = |time: f64| OPERATIONS.iter().map(|(key, _)| ((*key).into(), time)).collect();
        assert!(medians(&[run(9.0), run(1.0), run(2.0)]).values().all(|time| *time == 2.0));
    }

    #[test]
    fn a_process_that_hangs_or_fails_is_told() {
        let sh = |script: &str, limit: u64| {
            run(Command::new("sh").args(["-c", script]), "in", Duration::from_millis(limit))
        };
        assert_eq!(sh("cat; echo out", 10_000).as_deref(), Ok("inout\n"));
        assert!(sh("cat; exit 1", 10_000).is_err());
        let start = Instant::now();
        assert!(sh("cat; exec sleep 60", 50).is_err());
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
