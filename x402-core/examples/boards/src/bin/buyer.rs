//! Buys one resource with keys in memory: [`app`] has the arguments.
#![no_std]
#![no_main]

use x402_boards::{app, keys};

x402_boards::main!(run);

fn run() -> u8 {
    app::run(keys::wallet)
}
