//! This library beside the Rust peers and the bare parts, on the same inputs in one process.
//!
//!     cargo run --release -p x402-benches --bin compare [-- --quick] [-- --only TEXT] [-- --save]
//!
//! Before anything is measured, everybody's reading of the inputs is compared, and every header
//! that somebody writes is read back: all rows of a table do the same work, but for what the notes
//! under it say.

mod challenge;
mod content;
mod evm;
mod growth;
mod readers;
mod solana;

use std::env;
use std::process::ExitCode;

use x402_peers::{Counting, Options, Report};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let ended = Options::read(env::args().skip(1)).and_then(|options| {
        let mut report = Report::new(options);
        evm::header_to_payload(&mut report);
        evm::payload_to_header(&mut report);
        evm::header_to_payer(&mut report);
        challenge::both_ways(&mut report);
        solana::header_to_payer(&mut report);
        growth::challenges(&mut report);
        report.end("compare")
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}
