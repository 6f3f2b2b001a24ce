//! Whole servers and clients: this library's, its peers' in Rust, and the official TypeScript ones.
//!
//!     cargo run --release -p x402-benches --bin gateway [-- --quick] [-- --only TEXT] [-- --save]
//!
//! Builds the programs in `benches/peers/servers`, each by itself, and runs the loader in
//! `benches/peers/gateway`. It starts every server on one core and loads them in turns from another:
//! requests a second, latencies and processor time of a paid route, beside the same route unpaid;
//! memory of open connections; payments a second of the clients. Everything is on loopback, and every
//! program is stopped at the end.
//!
//! `--only` takes `servers`, `memory` or `clients`; `--sellers TEXT` those sellers with that in their
//! names; `--quick` fewer rounds; `--save` writes everything to `benches/results/gateway.md` and
//! `.tsv`. Node 20 and npm are needed: the packages are installed as for `x402-std/tests/interop`.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::{env, fs};

use x402_benches::results::{peers_target, root};

/// Package and features.
const BUILDS: [(&str, &str); 8] = [
    ("x402-gateway", ""),
    ("sell-plain", ""),
    ("sell-ours", FAST),
    ("sell-ours", "sell,buy"),
    ("sell-x402-rs", "verifying"),
    ("sell-x402-rs", "buy"),
    ("sell-r402", "verifying"),
    ("sell-r402", "buy"),
];

/// The features whose program is kept beside the one without them.
const FAST: &str = "sell,fast";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let root = root();
    let packages = root.join("x402-std/tests/interop");
    let target = peers_target();
    let programs = target.join("release");
    install(&packages)?;
    for (package, features) in BUILDS {
        build(&root, &target, package, features)?;
        if features == FAST {
            let copied = fs::copy(programs.join("sell_ours"), programs.join("sell_ours_fast"));
            copied.map_err(|error| error.to_string())?;
        }
    }
    let mut gateway = Command::new(programs.join("gateway"));
    gateway.arg("--programs").arg(&programs);
    gateway.arg("--scripts").arg(root.join("benches/peers/servers"));
    gateway.arg("--packages").arg(&packages);
    for arg in env::args_os().skip(1) {
        let is_save = arg == "--save";
        gateway.arg(arg);
        if is_save {
            let folder = root.join("benches/results");
            fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
            gateway.arg(folder.join("gateway"));
        }
    }
    succeed(&mut gateway)
}

/// The npm packages, unless they are there.
fn install(packages: &Path) -> Result<(), String> {
    let script = "import('./lib/install.mjs').then(install => install.installIfMissing())";
    succeed(Command::new("node").current_dir(packages).args(["--eval", script]))
}

fn build(root: &Path, target: &Path, package: &str, features: &str) -> Result<(), String> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--locked", "--package", package, "--features", features]);
    cargo.arg("--target-dir").arg(target);
    succeed(cargo.arg("--manifest-path").arg(root.join("benches/peers/Cargo.toml")))
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name}: {status}")),
        Err(error) => Err(format!("{name}: {error}")),
    }
}
