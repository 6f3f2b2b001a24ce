//! The same buyer over TLS, for which it takes two more arguments: [`app`] has them.
#![no_std]
#![no_main]

use x402_boards::{app, keys};

x402_boards::main!(run);

fn run() -> u8 {
    app::run(keys::wallet)
}
