//! The same buyer without a key: a chip on the serial line signs (`X402_SERIAL=PORT`).
#![no_std]
#![no_main]

use x402_boards::app;
use x402_boards::board::Uart;
use x402_boards::buyer::Evm;
use x402_boards::element::Element;

x402_boards::main!(run);

fn run() -> u8 {
    app::run(|| Element::new(Uart::take()?).ok().map(Evm))
}
