//! The buyer's main function, for any signer.
//!
//! ```text
//! cargo run --release --bin buyer --target TARGET -- http://10.0.2.2:PORT/PATH [uart] [NETWORK...]
//! ```
//! 10.0.2.2 is the machine that runs the emulator. With `uart` the HTTP server is at the other end
//! of the serial line (`X402_SERIAL=PORT`). The networks are those that may be paid on; all if none
//! is named.
//!
//! `buyer_tls` (feature `tls`) also takes `tls SERVER_NAME FILE`: the certificate, in DER, of the
//! authority that the server's must come from.

use core::net::Ipv4Addr;

use x402_core::budget::{Limit, Most, Per, Scope};
use x402_core::buyer::Policy;
use x402_core::{Money, Network};

use crate::board::{Board, Ethernet, HostEntropy, Static, Uart, args, idle, peak_stack, println};
use crate::buyer::{self, Memory, Paid, Pays, Shop};
use crate::net::{Net, Storage};
use crate::stream::{Entropy, Link};
#[cfg(feature = "tls")]
use crate::tls::Tls;

static MEMORY: Static<Memory> = Static::new(Memory::new());
static SOCKETS: Static<Storage<1, 2048, 2048>> = Static::new(Storage::new());

/// Buys what the arguments say, with the wallet that is made. Gives the exit status: 0 if it was got.
pub fn run<W: Pays>(wallet: impl FnOnce() -> Option<W>) -> u8 {
    let args = args();
    let place = args.next().and_then(|url| url.strip_prefix("http://")).and_then(split);
    let (Some((host, address, port, path)), Some(memory)) = (place, MEMORY.take()) else {
        println!("usage: buyer http://ADDRESS:PORT/PATH [uart] [NETWORK...]");
        return 2;
    };
    let mut networks = heapless::Vec::<Network<'_>, 8>::new();
    let mut by_uart = false;
    #[cfg(feature = "tls")]
    let mut authority = None;
    while let Some(arg) = args.next() {
        match Network::parse(arg) {
            _ if arg == "uart" => by_uart = true,
            #[cfg(feature = "tls")]
            _ if arg == "tls" => authority = args.next().zip(args.next().and_then(tls::read)),
            Ok(network) if networks.push(network).is_ok() => {}
            _ => {
                println!("no network: {arg}");
                return 2;
            }
        }
    }
    let networks = Some(&networks[..]).filter(|networks| !networks.is_empty());
    let limits = [Limit { most: Most::Money(Money::ONE), per: Per::Day, scope: Scope::All }];
    let policy = Policy { networks, limits: &limits, ..Policy::default() };

    let Some(wallet) = wallet() else {
        println!("no key");
        return 1;
    };
    let shop = Shop { host, path };
    if by_uart {
        let Some(mut uart) = Uart::take() else { return 1 };
        return buy(shop, &mut uart, &wallet, &policy, memory);
    }
    let (Some(device), Some(sockets)) = (Ethernet::take(), SOCKETS.take()) else {
        println!("no network device");
        return 1;
    };
    let mut seed = [0; 8];
    HostEntropy.fill(&mut seed);
    let hardware = device.address();
    let net = Net::new(device, hardware, Board, idle, u64::from_le_bytes(seed), sockets);
    let mut link = net.link(address, port);
    #[cfg(feature = "tls")]
    if let Some((server, authority)) = authority {
        let Some((received, sent)) = tls::RECEIVED.take().zip(tls::SENT.take()) else { return 1 };
        let mut link = Tls::new(link, HostEntropy, server, authority, received, sent);
        return buy(shop, &mut link, &wallet, &policy, memory);
    }
    buy(shop, &mut link, &wallet, &policy, memory)
}

#[cfg(feature = "tls")]
mod tls {
    use core::ffi::CStr;

    use semihosting::fs::File;
    use semihosting::io::Read;

    use crate::board::Static;

    /// A server's record may be as long as that.
    pub(super) static RECEIVED: Static<[u8; 16_640]> = Static::new([0; 16_640]);
    pub(super) static SENT: Static<[u8; 2048]> = Static::new([0; 2048]);

    static AUTHORITY: Static<[u8; 2048]> = Static::new([0; 2048]);

    /// A file of the host. A product has the certificate in its flash.
    pub(super) fn read(path: &str) -> Option<&'static [u8]> {
        let mut name = [0; 256];
        name.get_mut(..path.len())?.copy_from_slice(path.as_bytes());
        let authority = AUTHORITY.take()?;
        let mut file = File::open(CStr::from_bytes_until_nul(&name).ok()?).ok()?;
        let mut len = 0;
        loop {
            match file.read(authority.get_mut(len..)?).ok()? {
                0 => return authority.get(..len),
                more => len += more,
            }
        }
    }
}

/// Host and port, address, port, path.
fn split(url: &str) -> Option<(&str, Ipv4Addr, u16, &str)> {
    let (host, path) = url.split_at_checked(url.find('/')?)?;
    let (address, port) = host.split_once(':')?;
    Some((host, address.parse().ok()?, port.parse().ok()?, path))
}

fn buy(
    shop: Shop<'_>,
    link: &mut impl Link,
    wallet: &impl Pays,
    policy: &Policy<'_>,
    memory: &mut Memory,
) -> u8 {
    let bought = buyer::buy(shop, link, wallet, policy, &Board, &mut HostEntropy, memory);
    let code = match &bought {
        Ok(Paid { status, body, receipt }) => {
            println!("status {status}");
            println!("body {}", core::str::from_utf8(body).unwrap_or("not text"));
            if let Some(receipt) = receipt {
                println!("receipt {} on {}", receipt.transaction, receipt.network);
            }
            u8::from(!(200..300).contains(status))
        }
        Err(error) => {
            println!("{error}");
            1
        }
    };
    println!("stack {} bytes", peak_stack());
    code
}
