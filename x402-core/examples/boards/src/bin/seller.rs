//! Sells its uptime to any x402 client, one cent of test USDC on Base Sepolia a reading.
//!
//! ```text
//! X402_FORWARD=PORT cargo run --release --bin seller --target TARGET -- \
//!     http://10.0.2.2:FACILITATOR_PORT http://127.0.0.1:PORT/reading
//! ```
//! The first URL is the facilitator's, 10.0.2.2 being the machine that runs the emulator; the second
//! is what buyers call what is sold.
#![no_std]
#![no_main]

use core::fmt::Write as _;

use x402_boards::board::{
    Board, Ethernet, HostEntropy, Static, args, idle, millis, peak_stack, println,
};
use x402_boards::http;
use x402_boards::net::{Net, Storage};
use x402_boards::seller::{Memory, Served, Shop};
use x402_boards::stream::Entropy;
use x402_core::crypto::secp256k1::K256;
use x402_core::wire::{Message, PaymentRequirements, ResourceInfo};
use x402_evm::ExactEvm;

x402_boards::main!(run);

static MEMORY: Static<Memory> = Static::new(Memory::new());
/// A request, with a payment in its header.
static RECEIVED: Static<[u8; 4096]> = Static::new([0; 4096]);
/// One for the facilitator, three for buyers.
static SOCKETS: Static<Storage<4, 2048, 2048>> = Static::new(Storage::new());

const OFFER: &[u8] = br#"{"scheme":"exact","network":"eip155:84532","amount":"10000",
    "asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e",
    "payTo":"0x90F79bf6EB2c4f870365E785982E1f101E93b906",
    "maxTimeoutSeconds":60,"extra":{"name":"USDC","version":"2"}}"#;

/// Milliseconds between two attempts to reach the facilitator.
const PAUSE: u64 = 1000;

/// Milliseconds for a request to come.
const ASKING: u64 = 2000;

/// Milliseconds for the answer to go.
const ANSWERING: u64 = 15_000;

fn run() -> u8 {
    let args = args();
    let facilitator = args.next().and_then(|url| url.strip_prefix("http://"));
    let url = args.next();
    let path = url.and_then(|url| url.strip_prefix("http://"));
    let path = path.and_then(|path| path.split_at_checked(path.find('/')?));
    let address = facilitator.and_then(|host| host.split_once(':'));
    let address = address.and_then(|(ip, port)| ip.parse().ok().zip(port.parse().ok()));
    let (Some(facilitator), Some((ip, port)), Some(url), Some((_, path))) =
        (facilitator, address, url, path)
    else {
        println!("usage: seller http://FACILITATOR_ADDRESS:PORT http://BOARD/PATH");
        return 2;
    };
    let Ok(offer) = PaymentRequirements::parse(OFFER) else { return 1 };
    let resource = ResourceInfo {
        url: url.into(),
        description: Some("How long the board has been up".into()),
        mime_type: Some("application/json".into()),
        ..Default::default()
    };
    let mut shop = Shop::new(resource, path, offer, ExactEvm::<K256>::default(), facilitator);

    let (Some(memory), Some(received), Some(device), Some(sockets)) =
        (MEMORY.take(), RECEIVED.take(), Ethernet::take(), SOCKETS.take())
    else {
        println!("no network device");
        return 1;
    };
    let mut seed = [0; 8];
    HostEntropy.fill(&mut seed);
    let hardware = device.address();
    let net = Net::new(device, hardware, Board, idle, u64::from_le_bytes(seed), sockets);
    let mut link = net.link(ip, port);

    // The facilitator's time is the board's, which has a clock but no calendar.
    let started = loop {
        match shop.prepare(&mut link, memory) {
            Ok(unix_time) => break unix_time.saturating_sub(millis() / 1000),
            Err(unready) => println!("{unready}"),
        }
        let until = millis().saturating_add(PAUSE);
        while millis() < until {
            idle();
        }
    };
    net.listen(80);
    println!("selling {url} for {} units", shop.offer.amount);
    let mut sold = 0u64;
    loop {
        let Some(mut stream) = net.accept(PAUSE) else { continue };
        // Nobody may keep the others waiting for long.
        stream.set_deadline(ASKING);
        let request = http::read_request(&mut stream, received);
        // As long as the facilitator may take, and a little more.
        stream.set_deadline(ANSWERING);
        let mut reading = heapless::String::<64>::new();
        let uptime = millis();
        // It fits: two numbers of at most 20 digits.
        write!(reading, "{{\"uptimeMs\":{uptime},\"sold\":{sold}}}").ok();
        let now = started.saturating_add(uptime / 1000);
        match shop.serve(request, &mut stream, &mut link, now, reading.as_bytes(), memory) {
            Served::Sold(transaction) => {
                sold = sold.saturating_add(1);
                println!("sold {sold}: {transaction}, stack {} bytes", peak_stack());
            }
            Served::Refused(reason) => println!("refused {reason}"),
            Served::Nothing | Served::Status(_) | Served::Challenged => {}
        }
    }
}
