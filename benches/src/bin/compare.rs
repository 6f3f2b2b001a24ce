//! This library beside the Rust peers and the bare parts it is made of, on the same inputs.
//!
//!     cargo run --release -p x402-benches --bin compare [-- --quick] [-- --only TEXT] [-- --save]
//!
//! Builds and runs the binary of that name of `benches/peers`, which is not in the workspace: the
//! peers bring hundreds of crates. `--only` measures the tables with that in their names, `--quick`
//! fewer rounds; `--save` writes everything to `benches/results/compare.md` and `.tsv`.

use std::env;
use std::process::{Command, ExitCode};

use x402_benches::results;

fn main() -> ExitCode {
    let root = results::root();
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["run", "--release", "--locked", "--bin", "compare", "--manifest-path"]);
    build.arg(root.join("benches/peers/Cargo.toml"));
    build.arg("--target-dir").arg(results::peers_target());
    match build.arg("--").args(env::args_os().skip(1)).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compare: cargo: {error}");
            ExitCode::FAILURE
        }
    }
}
