//! Instructions that single operations take on this machine's processor.
//!
//!     cargo run --release -p x402-benches --bin instructions [-- --check | --update | --save]
//!
//! The program runs itself once under Valgrind's callgrind, which counts: no clock is looked at, so
//! the figures are the same each time, on a busy machine too. Every operation is done once before
//! it is counted, so that what happens only the first time is left out.
//!
//! - Valgrind knows AVX2 and neither AVX-512 nor SHA-NI: counted is what runs on processors
//!   without those. It shows programs one and the same processor, if the machine itself has AVX2.
//! - The count is of instructions, not of time: wide multiplications and misses of the cache cost
//!   more than others.
//! - `bare` is the one operation nobody can leave out, done with the crate this library uses for
//!   it. `but the curve` is with a verifier that knows the answer. `SIMD` is with x402-std's base64,
//!   the rest with the core's.
//!
//! `--update` writes `benches/instructions.tsv`, the figures and two per cent; `--check` fails if
//! one is above what stands there. They depend on the compiler, which the file names, and a little
//! on the C library; with another compiler they may be 15 per cent above. `--save` writes the
//! tables to `benches/results`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs, process};

use ed25519_dalek::VerifyingKey;
use k256::ecdsa::{RecoveryId, Signature};
use x402_benches::inputs;
use x402_benches::results::{Results, compiler, grouped, output, root};
use x402_core::buyer::{self, Choice, Policy};
use x402_core::crypto::ed25519::Dalek;
use x402_core::crypto::secp256k1::K256;
use x402_core::crypto::{Recover, RecoverableSignature, Verify};
use x402_core::seller::Seller;
use x402_core::wire::{Message as _, PaymentPayload, PaymentRequired};
use x402_core::{Scheme, Version, base64, gate, limits};
use x402_evm::{Eip3009Payload, Eip3009Unsigned, ExactEvm, ExactEvmWallet};
use x402_std::message::VerifyRequest;
use x402_svm::{
    Address, DecodeBase64, ExactSvm, ExactSvmWallet, Inputs, PAYMENT_BYTES, Rules, SvmUnsigned,
    TokenProgram,
};

/// How much of its budget an operation may take with another compiler than the budgets' own.
const OTHER_COMPILER_PERCENT: u64 = 115;

/// With which the program does the operations instead of counting them.
const COUNTED: &str = "--counted";

/// A counted operation.
struct Operation<'a> {
    /// The key of its budget.
    key: &'static str,
    label: String,
    /// Bytes that are read or written, where the cost goes with them.
    bytes: Option<usize>,
    /// The bare operation in it.
    bare: Option<&'static str>,
    run: Box<dyn FnMut() + 'a>,
}

#[derive(Default)]
struct Operations<'a>(Vec<Operation<'a>>);

impl<'a> Operations<'a> {
    fn add(
        &mut self,
        key: &'static str,
        label: impl Into<String>,
        run: impl FnMut() + 'a,
    ) -> &mut Operation<'a> {
        let (label, run) = (label.into(), Box::new(run));
        self.0.push(Operation { key, label, bytes: None, bare: None, run });
        self.0.last_mut().expect("just added")
    }
}

impl Operation<'_> {
    fn of_bytes(&mut self, bytes: usize) {
        self.bytes = Some(bytes);
    }

    fn over(&mut self, bare: &'static str) {
        self.bare = Some(bare);
    }
}

/// By operation.
type Table = BTreeMap<String, u64>;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [COUNTED] => {
            do_all();
            Ok(())
        }
        [] => count().map(|table| print!("{}", results(&table).markdown)),
        ["--save"] => count().and_then(|table| save(&table)),
        ["--check"] => count().and_then(|table| check(&table)),
        ["--update"] => count().and_then(|table| update(&table)),
        _ => Err("usage: instructions [--check | --update | --save]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// A verifier that knows the answer.
#[derive(Clone, Copy)]
struct Known<T>(T);

impl Recover for Known<[u8; 20]> {
    fn recover(&self, _: &[u8; 32], _: &RecoverableSignature) -> Option<[u8; 20]> {
        Some(self.0)
    }
}

/// It knows the account that is paid, which is no point of the curve.
impl Verify for Known<[u8; 32]> {
    fn verify(&self, _: &[u8; 32], _: &[u8], _: &[u8; 64]) -> bool {
        true
    }

    fn is_point(&self, bytes: &[u8; 32]) -> bool {
        *bytes != self.0
    }
}

/// Everything the operations are done with, made before any of them.
struct Made {
    evm: inputs::Evm,
    svm: inputs::Svm,
    svm_v1: inputs::Svm,
    large: String,
    /// Knows the account that is paid.
    account: Box<dyn Fn(Address, TokenProgram, Address) -> Option<Address> + Sync>,
    longest: String,
    challenges: [(&'static str, &'static str, String); 7],
}

impl Made {
    fn new() -> Self {
        let svm = inputs::svm();
        let account = Address(svm.destination);
        Self {
            evm: inputs::evm(),
            account: Box::new(move |_, _, _| Some(account)),
            svm,
            svm_v1: inputs::svm_v1(),
            large: inputs::large_challenge(),
            longest: inputs::header(&"0".repeat(base64::decoded_len(limits::HEADER_BYTES))),
            challenges: [
                ("json_1", "challenge of 1 KiB: JSON to typed", inputs::challenge_of(1)),
                ("json_4", "challenge of 4 KiB", inputs::challenge_of(4)),
                ("json_16", "challenge of 16 KiB", inputs::challenge_of(16)),
                ("json_64", "challenge of 64 KiB", inputs::challenge_of(64)),
                ("json_deepest", "the same, all as deep as may be", inputs::deepest()),
                ("json_escaped", "the same, all escaped characters", inputs::escaped()),
                ("json_searched", "the same, keys that must be searched", inputs::searched()),
            ],
        }
    }

    fn operations(&self) -> Vec<Operation<'_>> {
        let mut all = Operations::default();
        self.bare(&mut all);
        self.headers(&mut all);
        self.payments(&mut all);
        self.buyers(&mut all);
        self.requests(&mut all);
        self.json(&mut all);
        all.0
    }

    fn bare<'a>(&'a self, all: &mut Operations<'a>) {
        let evm = &self.evm;
        let r_s = Signature::from_slice(evm.signature.r_s()).expect("valid");
        let id = RecoveryId::new(evm.signature.is_odd(), false);
        all.add("bare_k256", "bare: k256, recovery", move || {
            let (digest, r_s) = black_box((&evm.digest, &r_s));
            let key = k256::ecdsa::VerifyingKey::recover_from_prehash(digest, r_s, id);
            black_box(key).expect("a signature");
        });
        for (key, label, svm) in [
            ("bare_ed25519", "bare: ed25519-dalek, a v0 message", &self.svm),
            ("bare_ed25519_v1", "bare: ed25519-dalek, the longest v1 message", &self.svm_v1),
        ] {
            all.add(key, label, move || {
                let (payer, message, signature) =
                    black_box((&svm.payer, &svm.message, &svm.signature));
                let signature = ed25519_dalek::Signature::from_bytes(signature);
                let key = VerifyingKey::from_bytes(payer).expect("a key");
                black_box(key.verify_strict(message, &signature)).expect("a signature");
            });
        }
    }

    fn headers<'a>(&'a self, all: &mut Operations<'a>) {
        for (key, label, header) in [
            ("base64_payment", "payment: header to JSON", &self.evm.header),
            ("base64_longest", "header as long as may be, to JSON", &self.longest),
        ] {
            let mut scratch = vec![0; base64::decoded_len(header.len())];
            let operation = all.add(key, label, move || {
                let header = black_box(header).as_bytes();
                black_box(base64::decode(header, &mut scratch)).expect("base64");
            });
            operation.of_bytes(header.len());
        }
        let header = &self.evm.header;
        let mut scratch = vec![0; base64::decoded_len(header.len())];
        let operation = all.add("read_payment", "payment: header to typed", move || {
            let header = black_box(header).as_bytes();
            let payment = PaymentPayload::decode_header(header, &mut scratch);
            let payment = black_box(payment).expect("a payment");
            black_box(Eip3009Payload::read(payment.payload)).expect("a payload");
        });
        operation.of_bytes(header.len());
        let payment = PaymentPayload::parse(self.evm.json.as_bytes()).expect("ours");
        let mut out = vec![0; header.len()];
        let operation = all.add("write_payment", "payment: typed to header", move || {
            black_box(black_box(&payment).encode_header(&mut out)).expect("fits");
        });
        operation.of_bytes(header.len());
        for (key, write_key, label, json) in [
            ("read_challenge", "write_challenge", "challenge", inputs::CHALLENGE),
            (
                "read_large_challenge",
                "write_large_challenge",
                "challenge, 20 offers and Bazaar",
                &self.large,
            ),
        ] {
            let header = inputs::header(json);
            let len = header.len();
            let mut scratch = vec![0; base64::decoded_len(len)];
            let operation = all.add(key, format!("{label}: header to typed"), move || {
                let header = black_box(&header).as_bytes();
                let challenge = PaymentRequired::decode_header(header, &mut scratch);
                black_box(challenge).expect("a challenge");
            });
            operation.of_bytes(len);
            let challenge = PaymentRequired::parse(json.as_bytes()).expect("ours");
            // As a seller has it: the offers in a slice.
            let offers: Vec<_> = challenge.accepts.iter().collect();
            let mut out = vec![0; len];
            let operation = all.add(write_key, format!("{label}: typed to header"), move || {
                let challenge = PaymentRequired { accepts: offers[..].into(), ..challenge };
                black_box(black_box(&challenge).encode_header(&mut out)).expect("fits");
            });
            operation.of_bytes(len);
        }
    }

    fn payments<'a>(&'a self, all: &mut Operations<'a>) {
        let Self { evm, svm, svm_v1, .. } = self;
        let judge = ExactEvm::with_recover(Known(evm.payer));
        let label = "EVM: header to verified";
        add_verified(all, "evm_judge", format!("{label}, but the curve"), evm, judge, CORE);
        let scheme = ExactEvm::<K256>::default();
        add_verified(all, "evm_verify", label, evm, scheme, CORE).over("bare_k256");
        add_verified(all, "evm_verify_simd", format!("{label}, SIMD"), evm, scheme, SIMD)
            .over("bare_k256");
        for (keys, bare, name, svm) in [
            (
                ["svm_judge", "svm_verify", "svm_verify_known", "svm_verify_simd"],
                "bare_ed25519",
                "Solana, v0",
                svm,
            ),
            (
                ["svm_v1_judge", "svm_v1_verify", "svm_v1_verify_known", "svm_v1_verify_simd"],
                "bare_ed25519_v1",
                "Solana, the longest v1",
                svm_v1,
            ),
        ] {
            let [judge_key, key, known_key, simd_key] = keys;
            let label = format!("{name}: header to verified");
            let judge: ExactSvm<'_, _> =
                ExactSvm::with_verify(Known(svm.destination), Rules::default());
            add_verified(all, judge_key, format!("{label}, but the curve"), svm, judge, CORE);
            add_verified(all, key, &*label, svm, ExactSvm::default(), CORE).over(bare);
            let known = Rules { account: Some(&*self.account), ..Rules::default() };
            let label = format!("{label}, payee's account known");
            add_verified(all, known_key, &*label, svm, ExactSvm::new(known), CORE).over(bare);
            let scheme = ExactSvm::new(Rules { base64: Some(SIMD), ..known });
            add_verified(all, simd_key, format!("{label}, SIMD"), svm, scheme, SIMD).over(bare);
        }
    }

    fn buyers<'a>(&'a self, all: &mut Operations<'a>) {
        let Self { evm, svm, .. } = self;
        let mut scratch = vec![0; base64::decoded_len(evm.challenge.len())];
        all.add("evm_buyer", "EVM: challenge header to digest to sign", move || {
            let header = black_box(&evm.challenge).as_bytes();
            let required = PaymentRequired::decode_header(header, &mut scratch).expect("ours");
            let choice: Choice<'_> =
                buyer::choose(&required, "", &ExactEvmWallet, &Policy::default()).expect("payable");
            let payer = x402_evm::Address(evm.payer);
            let unsigned = Eip3009Unsigned::new(&choice.offer, payer, inputs::NOW, [9; 32]);
            assert_eq!(*black_box(unsigned).expect("payable").digest(), evm.digest);
        });
        let mut scratch = vec![0; base64::decoded_len(svm.challenge.len())];
        let inputs =
            Inputs { payer: Address(svm.payer), blockhash: None, nonce: [9; 16], assets: &[] };
        all.add("svm_buyer", "Solana: challenge header to message to sign", move || {
            let header = black_box(&svm.challenge).as_bytes();
            let required = PaymentRequired::decode_header(header, &mut scratch).expect("ours");
            let wallet = ExactSvmWallet::default();
            let choice: Choice<'_> =
                buyer::choose(&required, "", &wallet, &Policy::default()).expect("payable");
            let mut out = [0; PAYMENT_BYTES];
            let unsigned = SvmUnsigned::new(&choice.offer, &inputs, &Dalek, &mut out);
            assert_eq!(black_box(unsigned).expect("payable").message(), svm.message);
        });
    }

    fn requests<'a>(&'a self, all: &mut Operations<'a>) {
        let json = &self.evm.request;
        let operation =
            all.add("read_request", "facilitator's request: JSON to owned", move || {
                black_box(VerifyRequest::from_json(black_box(json).as_bytes())).expect("ours");
            });
        operation.of_bytes(json.len());
        let request = VerifyRequest::from_json(json.as_bytes()).expect("ours");
        let operation =
            all.add("write_request", "facilitator's request: owned to JSON", move || {
                black_box(black_box(&request).to_json()).expect("ours");
            });
        operation.of_bytes(json.len());
    }

    fn json<'a>(&'a self, all: &mut Operations<'a>) {
        for (key, label, json) in &self.challenges {
            let operation = all.add(key, *label, move || {
                black_box(PaymentRequired::parse(black_box(json).as_bytes())).expect("legal");
            });
            operation.of_bytes(json.len());
        }
    }
}

/// How firmware decodes base64: by base64ct.
const CORE: DecodeBase64 = base64::decode;

/// How servers do: by base64-simd.
const SIMD: DecodeBase64 = x402_std::base64::decode;

/// Adds what a seller's gate does with a payment's header.
fn add_verified<'o, 'a, S: Scheme + 'a>(
    all: &'o mut Operations<'a>,
    key: &'static str,
    label: impl Into<String>,
    payment: &'a impl Paid,
    scheme: S,
    decode: DecodeBase64,
) -> &'o mut Operation<'a> {
    let (header, offer) = (payment.header().as_bytes(), inputs::offer(payment.offer()));
    let mut scratch = vec![0; base64::decoded_len(header.len())];
    all.add(key, label, move || {
        let json = decode(black_box(header), &mut scratch).expect("ours");
        let payload = Seller::read(Version::V2, json).expect("ours");
        let verified = gate::verify(black_box(&scheme), &payload, &offer, inputs::NOW);
        assert!(black_box(verified).is_ok());
    })
}

trait Paid {
    fn header(&self) -> &str;
    fn offer(&self) -> &str;
}

impl Paid for inputs::Evm {
    fn header(&self) -> &str {
        &self.header
    }

    fn offer(&self) -> &str {
        &self.offer
    }
}

impl Paid for inputs::Svm {
    fn header(&self) -> &str {
        &self.header
    }

    fn offer(&self) -> &str {
        &self.offer
    }
}

/// Does every operation once before it is counted and once while it is.
fn do_all() {
    let made = Made::new();
    counted(&mut || {});
    for mut operation in made.operations() {
        (operation.run)();
        counted(&mut operation.run);
    }
}

/// Runs the part that callgrind counts, with everything it calls.
#[inline(never)]
fn counted(operation: &mut dyn FnMut()) {
    black_box(operation)();
}

/// Runs this program under callgrind, which writes a part for each call of [`counted`].
fn count() -> Result<Table, String> {
    if cfg!(debug_assertions) {
        return Err("only what is optimised is worth counting: cargo run --release".into());
    }
    if output(Command::new("valgrind").arg("--version")).is_err() {
        return Err("missing valgrind: apt-get install valgrind, on Debian".into());
    }
    let own = env::current_exe().map_err(|error| error.to_string())?;
    let parts = env::temp_dir().join(format!("x402-instructions-{}", process::id()));
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--combine-dumps=yes"])
        .arg(format!("--toggle-collect={FUNCTION}"))
        .arg(format!("--dump-after={FUNCTION}"))
        .arg(format!("--callgrind-out-file={}", parts.display()))
        .arg(own)
        .arg(COUNTED)
        // Its length moves the stack, on which copying memory depends.
        .env_clear()
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("valgrind: {error}"));
    let text = fs::read_to_string(&parts);
    fs::remove_file(&parts).ok();
    let status = status?;
    if !status.success() {
        return Err(format!("valgrind: {status}"));
    }
    let text = text.map_err(|error| format!("{}: {error}", parts.display()))?;
    let made = Made::new();
    let keys = made.operations().into_iter().map(|operation| operation.key.to_owned());
    let keys: Vec<String> = keys.collect();
    let counts = counts(&text, keys.len())?;
    Ok(keys.into_iter().zip(counts).collect())
}

/// The counts of so many operations in what callgrind wrote, without what it takes to count nothing.
fn counts(text: &str, operations: usize) -> Result<Vec<u64>, String> {
    let totals = text.lines().filter_map(|line| line.strip_prefix("totals: "));
    let totals: Option<Vec<u64>> = totals.map(|total| total.trim().parse().ok()).collect();
    // The first is of nothing; after the last comes what was counted behind it, which is nothing.
    match totals.as_deref() {
        Some([nothing, counts @ .., 0]) if counts.len() == operations => {
            Ok(counts.iter().map(|count| count.saturating_sub(*nothing)).collect())
        }
        totals => Err(format!(
            "callgrind wrote {:?} parts for {operations} operations",
            totals.map(<[u64]>::len),
        )),
    }
}

/// [`counted`], as callgrind calls it.
const FUNCTION: &str = "instructions::counted";

fn results(table: &Table) -> Results {
    let mut markdown = String::from("| | bytes | instructions | per byte | to the bare one |\n");
    markdown.push_str("|---|--:|--:|--:|--:|\n");
    let mut tsv = String::from("operation\tlabel\tbytes\tinstructions\tbare\n");
    for operation in Made::new().operations() {
        let Operation { key, label, bytes, bare, .. } = operation;
        let count = table[key];
        let ratio = |other: f64| format!("{:.2}", count as f64 / other);
        let per_byte = bytes.map_or(String::new(), |bytes| ratio(bytes as f64));
        let to_bare = bare.map_or(String::new(), |bare| ratio(table[bare] as f64));
        let shown = bytes.map_or(String::new(), |bytes| grouped(bytes as u64));
        let row = format!("| {label} | {shown} | {} | {per_byte} | {to_bare} |", grouped(count));
        writeln!(markdown, "{row}").expect("a string");
        let bytes = bytes.map_or("-".into(), |bytes| bytes.to_string());
        let bare = bare.unwrap_or("-");
        writeln!(tsv, "{key}\t{label}\t{bytes}\t{count}\t{bare}").expect("a string");
    }
    Results { markdown, tsv }
}

fn save(table: &Table) -> Result<(), String> {
    let results = results(table);
    print!("{}", results.markdown);
    results.save("instructions")
}

fn budgets_file() -> PathBuf {
    root().join("benches/instructions.tsv")
}

fn update(table: &Table) -> Result<(), String> {
    print!("{}", results(table).markdown);
    let mut text = format!("# {}\noperation\tinstructions\n", compiler()?);
    for (key, count) in table {
        writeln!(text, "{key}\t{}", (count * 102).div_ceil(100)).expect("a string");
    }
    fs::write(budgets_file(), text).map_err(|error| error.to_string())
}

fn check(table: &Table) -> Result<(), String> {
    print!("{}", results(table).markdown);
    let text =
        fs::read_to_string(budgets_file()).map_err(|error| format!("instructions.tsv: {error}"))?;
    let compiler = compiler()?;
    let wrong = above(table, &text, &compiler)?;
    if wrong.is_empty() {
        println!("\nall within their budgets");
        return Ok(());
    }
    Err(format!("\nFAILED\n{}", wrong.join("\n")))
}

/// Returns the figures that exceed the budgets of a file.
fn above(table: &Table, text: &str, compiler: &str) -> Result<Vec<String>, String> {
    let budgets = read_budgets(text).ok_or("instructions.tsv is not of its shape")?;
    let made_with = text.lines().next().unwrap_or_default().trim_start_matches("# ");
    let percent = if made_with == compiler { 100 } else { OTHER_COMPILER_PERCENT };
    let mut wrong = Vec::new();
    for (key, count) in table {
        match budgets.get(key).map(|budget| budget * percent / 100) {
            None => wrong.push(format!("{key}: no budget")),
            Some(budget) if *count > budget => {
                wrong.push(format!("{key}: {}, budget {}", grouped(*count), grouped(budget)));
            }
            Some(_) => {}
        }
    }
    for key in budgets.keys().filter(|key| !table.contains_key(*key)) {
        wrong.push(format!("{key}: a budget for nothing"));
    }
    if !wrong.is_empty() && percent != 100 {
        wrong.push(format!("(the budgets are for {made_with}, this is {compiler})"));
    }
    Ok(wrong)
}

fn read_budgets(text: &str) -> Option<Table> {
    let rows = text.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.map(|row| {
        let (key, budget) = row.split_once('\t')?;
        Some((key.to_owned(), budget.parse().ok()?))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callgrind_is_read() {
        assert_eq!(
            counts("totals: 10\nfn=x\ntotals: 110\ntotals: 60\ntotals: 0\n", 2),
            Ok(vec![100, 50])
        );
        for text in [
            "",
            "totals: 10\ntotals: 110\ntotals: 0\n",
            "totals: 10\ntotals: 110\ntotals: 60\ntotals: 5\n",
            "totals: 10\ntotals: ?\ntotals: 60\ntotals: 0\n",
        ] {
            assert!(counts(text, 2).is_err(), "{text}");
        }
    }

    #[test]
    fn budgets_hold() {
        let table = Table::from([("a".to_owned(), 100), ("b".to_owned(), 200)]);
        let file = |a: u64, b: u64| format!("# rustc 1\noperation\tinstructions\na\t{a}\nb\t{b}\n");
        let wrong = |text: &str, compiler| above(&table, text, compiler).unwrap().len();
        assert_eq!(wrong(&file(100, 200), "rustc 1"), 0);
        assert_eq!(wrong(&file(99, 200), "rustc 1"), 1);
        assert_eq!(wrong(&file(99, 199), "rustc 1"), 2);
        assert_eq!(wrong(&file(87, 200), "rustc 2"), 0);
        assert_eq!(wrong(&file(86, 200), "rustc 2"), 2, "and whose the budgets are");
        assert_eq!(wrong(&format!("{}c\t1\n", file(100, 200)), "rustc 1"), 1);
        assert_eq!(wrong("# rustc 1\noperation\tinstructions\na\t100\n", "rustc 1"), 1);
        assert!(above(&table, "# rustc 1\noperation\tinstructions\na 100\n", "rustc 1").is_err());
    }

    /// All that is counted works, and each has a name and figures of its own.
    #[test]
    fn operations_are_done() {
        let made = Made::new();
        let mut keys = std::collections::BTreeSet::new();
        for mut operation in made.operations() {
            (operation.run)();
            assert!(keys.insert(operation.key), "{}", operation.key);
            assert!(operation.bare.is_none_or(|bare| keys.contains(bare)), "{}", operation.key);
        }
    }
}
