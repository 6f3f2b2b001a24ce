//! The cost of building with this library and with its peers: crates, seconds and bytes.
//!
//!     cargo run -p x402-benches --bin footprint [-- --trees] [-- --save]
//!
//! - Crates: what `cargo tree -e normal` lists for this machine, the program itself left out; what
//!   only build scripts need is not among them.
//! - Processor seconds: of a clean release build, everything downloaded before, in a folder that is
//!   removed again; of all cores together. They depend on the machine. Needs Linux.
//! - Bytes: of that program, stripped.
//!
//! The programs are the sellers and buyers of `benches/peers/servers`, less than fifty lines each,
//! and the command `x402`. `--trees` counts crates only; `--save` writes everything to
//! `benches/results/footprint.md` and `.tsv`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs, process};

use x402_benches::results::{Results, compiler, grouped, output, root};

/// A program, and how it is built.
struct Program {
    label: &'static str,
    manifest: &'static str,
    package: &'static str,
    features: &'static str,
    name: &'static str,
}

const fn peer(
    label: &'static str,
    package: &'static str,
    features: &'static str,
    name: &'static str,
) -> Program {
    Program { label, manifest: "benches/peers/Cargo.toml", package, features, name }
}

const PROGRAMS: [Program; 7] = [
    peer("axum route, free", "sell-plain", "", "sell_plain"),
    peer("seller: ours, simd + libsecp256k1", "sell-ours", "sell,fast", "sell_ours"),
    peer("seller: x402-axum", "sell-x402-rs", "sell", "sell_x402_rs"),
    peer("seller: r402", "sell-r402", "sell", "sell_r402"),
    peer("client: ours", "sell-ours", "buy", "buy_ours"),
    peer("client: x402-reqwest", "sell-x402-rs", "buy", "buy_x402_rs"),
    Program {
        label: "the command `x402`",
        manifest: "Cargo.toml",
        package: "x402-std",
        features: "cli",
        name: "x402",
    },
];

/// Features of x402-std whose trees are counted.
const FEATURES: [&str; 9] = [
    "",
    "client",
    "server",
    "facilitator",
    "evm-ledger",
    "svm-ledger",
    "sqlite",
    "redis",
    "simd,libsecp256k1",
];

fn main() -> ExitCode {
    let (mut build, mut save) = (true, false);
    for arg in env::args().skip(1) {
        match arg.as_str() {
            "--trees" => build = false,
            "--save" => save = true,
            _ => {
                eprintln!("usage: footprint [--trees] [--save]");
                return ExitCode::FAILURE;
            }
        }
    }
    let done = measure(build).and_then(|results| {
        print!("{}", results.markdown);
        if save { results.save("footprint") } else { Ok(()) }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("footprint: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(build: bool) -> Result<Results, String> {
    let mut text = String::from(
        "| | crates | processor seconds to build | bytes, stripped |\n|---|--:|--:|--:|\n",
    );
    let mut tsv = String::from("name\tmeasure\tvalue\n");
    for program in &PROGRAMS {
        let crates = crates(program.manifest, program.package, program.features)?;
        writeln!(tsv, "{}\tcrates\t{crates}", program.label).expect("memory");
        let (mut seconds, mut bytes) = ("-".into(), "-".into());
        if build {
            eprintln!("building {}", program.label);
            let built = built(program)?;
            (seconds, bytes) = (format!("{:.0}", built.seconds), grouped(built.bytes));
            writeln!(tsv, "{}\tseconds\t{:.1}", program.label, built.seconds).expect("memory");
            writeln!(tsv, "{}\tbytes\t{}", program.label, built.bytes).expect("memory");
        }
        writeln!(text, "| {} | {crates} | {seconds} | {bytes} |", program.label).expect("memory");
    }
    writeln!(
        text,
        "\n{}; the seconds are of one build, and vary.\n\n| features of x402-std | crates |\n|---|--:|",
        compiler()?
    )
    .expect("memory");
    for features in FEATURES {
        let crates = crates("Cargo.toml", "x402-std", features)?;
        let label = if features.is_empty() { "none (the default)" } else { features };
        writeln!(text, "| {label} | {crates} |").expect("memory");
        writeln!(tsv, "x402-std, {label}\tcrates\t{crates}").expect("memory");
    }
    Ok(Results { markdown: text, tsv })
}

fn cargo(command: &str, manifest: &str) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([command, "--locked", "--manifest-path"]).arg(root().join(manifest));
    cargo
}

/// How many crates a package is made of besides itself.
fn crates(manifest: &str, package: &str, features: &str) -> Result<usize, String> {
    let mut tree = cargo("tree", manifest);
    tree.args(["--prefix", "none", "--edges", "normal", "--format", "{p}"]);
    tree.args(["--no-default-features", "--package", package, "--features", features]);
    let listed = output(&mut tree).map_err(|error| format!("cargo tree of {package}: {error}"))?;
    // A crate that is listed again is marked so, and local ones are followed by their folder.
    let name = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().take(2).collect();
        (words.len() == 2).then(|| words.join(" "))
    };
    Ok(listed.lines().filter_map(name).collect::<BTreeSet<_>>().len().saturating_sub(1))
}

struct Built {
    seconds: f64,
    bytes: u64,
}

/// A folder that is removed again.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Processor time of all programs that ran below this one and have ended.
fn children_seconds() -> Result<f64, &'static str> {
    // proc_pid_stat(5): cutime and cstime are the 14th and 15th field after the name, in ticks of
    // 1/100 s.
    let stat = fs::read_to_string("/proc/self/stat").map_err(|_| "/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/self/stat")?;
    let ticks: Option<Vec<f64>> =
        fields.split_whitespace().skip(13).take(2).map(|field| field.parse().ok()).collect();
    ticks.map(|ticks| ticks.iter().sum::<f64>() / 100.0).ok_or("/proc/self/stat")
}

fn built(program: &Program) -> Result<Built, String> {
    let fail = |what: &str| format!("{}: {what}", program.label);
    output(&mut cargo("fetch", program.manifest)).map_err(|error| fail(&error))?;
    let target = Folder(env::temp_dir().join(format!("x402-footprint-{}", process::id())));
    let mut build = cargo("build", program.manifest);
    build.args(["--release", "--no-default-features", "--package", program.package]);
    build.args(["--features", program.features, "--bin", program.name, "--target-dir"]);
    build.arg::<&Path>(&target.0).env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    build.stdout(Stdio::null()).stderr(Stdio::null());
    let before = children_seconds().map_err(fail)?;
    let status = build.status().map_err(|error| fail(&error.to_string()))?;
    let seconds = children_seconds().map_err(fail)? - before;
    if !status.success() {
        return Err(fail("does not build"));
    }
    let binary = fs::metadata(target.0.join("release").join(program.name));
    Ok(Built { seconds, bytes: binary.map_err(|error| fail(&error.to_string()))?.len() })
}
