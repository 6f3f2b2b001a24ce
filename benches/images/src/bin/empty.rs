//! Nothing: what the other images have beside their operation.
#![no_std]
#![no_main]

use x402_images::{check, measure};

x402_boards::main!(run);

fn run() -> u8 {
    check(measure(|| Some(())).is_some())
}
