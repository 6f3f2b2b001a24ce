//! A facilitator over the simulated ledger, on 127.0.0.1:4022: verifies for real, moves no money.
//!
//!     cargo run -p x402-std --example facilitator [ADDRESS]
//!
//! The address, if given, is funded with ten dollars, on Base Sepolia or on Solana's devnet.

use std::error::Error;

use tokio::net::TcpListener;
use x402_core::Amount;
use x402_std::facilitator::ledger::SimulatedLedger;
use x402_std::facilitator::{Callers, Hosts, LocalFacilitator, Service};
use x402_std::{evm, svm};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let ledger = SimulatedLedger::new();
    if let Some(address) = std::env::args().nth(1) {
        if let Some(address) = evm::Address::parse(&address) {
            let usdc = evm::assets::default_of(84532).ok_or("no known token")?;
            ledger.fund(usdc.chain_id, usdc.address, address, Amount::from(10_000_000))?;
        } else {
            let address = svm::Address::parse(&address).ok_or("not an address")?;
            let usdc = svm::assets::default_of(svm::assets::DEVNET).ok_or("no known token")?;
            ledger.fund_svm(usdc, address, 10_000_000)?;
        }
    }
    let listener = TcpListener::bind("127.0.0.1:4022").await?;
    let address = listener.local_addr()?;
    println!("http://{address}/supported");
    // No page in a browser reaches it by a name of its own.
    let callers = Callers::default().with_hosts(Hosts::of(address));
    let service = Service::new(LocalFacilitator::new(ledger)).with_callers(callers);
    axum::serve(listener, service.router()).await?;
    Ok(())
}
