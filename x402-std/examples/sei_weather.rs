//! The weather API of Sei's x402 guide: `GET /weather` for a tenth of a cent.
//!
//!     cargo run -p x402-std --example sei_weather
//!
//! runs on this machine alone: its facilitator simulates Sei's test network, and a test key that
//! everybody knows has two dollars there. It says how to buy, from a shell or as an agent.
//!
//!     x402 facilitator --config x402-std/examples/service/sei-testnet.toml
//!     cargo run -p x402-std --example sei_weather -- --facilitator http://127.0.0.1:4022 --pay-to 0x...
//!
//! settles on the test network itself. On the main network it is `sei.toml`, and `--network
//! eip155:1329` here. What differs there: USDC is another contract, which the offer takes from this
//! library's table; the node is `https://evm-rpc.sei-apis.com` instead of
//! `https://evm-rpc-testnet.sei-apis.com`; and the facilitator's account pays for gas in real SEI.
//! Buyers need USDC and no gas.
//!
//! With `--transfers` there is a second offer: the buyer sends the tokens itself and proves it, as
//! in the guide's second half, but signed. It takes a facilitator with `max_proof_age_seconds`, and
//! a buyer with SEI for gas. `x402_std::evm::TransferProof` says what is weak about it.

use std::env;
use std::error::Error;
use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use x402_core::{Amount, Network};
use x402_std::evm::{Address, TRANSFER_METHOD, assets};
use x402_std::facilitator::ledger::SimulatedLedger;
use x402_std::facilitator::{Facilitator, LocalFacilitator, RemoteFacilitator};
use x402_std::scheme::ExactOnEvm;
use x402_std::seller::server::PaymentLayer;
use x402_std::seller::{Binding, Offers, Seller, exact};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What is sold, and to whom the money goes.
pub struct Weather {
    /// Sei's test network or its main one.
    pub network: String,
    /// Who is paid.
    pub pay_to: String,
    /// Whether transfers are taken that buyers sent themselves.
    pub transfers: bool,
}

impl Weather {
    /// `GET /weather`, which costs a tenth of a cent.
    pub fn router(&self, facilitator: impl Facilitator + 'static) -> Result<Router> {
        let offer = exact(&self.network, &self.pay_to, "$0.001")?;
        let mut offers = vec![offer.clone()];
        if self.transfers {
            let transfer = offer.upfront().with_extra("assetTransferMethod", TRANSFER_METHOD);
            offers.push(transfer.with_extra("reference", "weather"));
        }
        let offers =
            Offers::new(offers).with_description("Get current weather data", "application/json");
        // A proof is for the resource that it names: it must be this one.
        let binding = Binding { must_name_url: self.transfers, ..Binding::default() };
        let seller = Seller::new(facilitator).with_binding(binding);
        // Buyers of version 1 read the body, others the header.
        let charge = PaymentLayer::new(Arc::new(seller), offers).with_v1_body();
        Ok(Router::new().route("/weather", get(weather).layer(charge)))
    }
}

async fn weather() -> Json<Value> {
    Json(json!({
        "location": "Lisbon",
        "temperature": "21°C",
        "conditions": "Sunny",
        "humidity": "45%",
        "windSpeed": "8 km/h",
    }))
}

/// An account whose key is no secret: the second of anvil's.
pub const BUYER: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const BUYER_KEY: &str = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";

/// Sei as far as payments see it, with two dollars for [`BUYER`].
pub fn simulated(network: &str) -> Result<LocalFacilitator<SimulatedLedger>> {
    let chain_id = Network::parse(network)?.eip155().ok_or("not an EVM network")?;
    let usdc = assets::default_of(chain_id).ok_or("no known token")?;
    let buyer = Address::parse(BUYER).ok_or("not an address")?;
    let ledger = SimulatedLedger::new();
    ledger.fund(chain_id, usdc.address, buyer, Amount::from(2_000_000))?;
    Ok(LocalFacilitator::new(ledger))
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut weather = Weather {
        network: "eip155:1328".into(),
        pay_to: "0x90F79bf6EB2c4f870365E785982E1f101E93b906".into(),
        transfers: false,
    };
    let mut facilitator = None;
    let mut listen = "127.0.0.1:4021".to_owned();
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} takes a value"));
        match arg.as_str() {
            "--network" => weather.network = value()?,
            "--pay-to" => weather.pay_to = value()?,
            "--facilitator" => facilitator = Some(value()?),
            "--listen" => listen = value()?,
            "--transfers" => weather.transfers = true,
            _ => return Err(format!("unknown argument {arg}").into()),
        }
    }
    let listener = TcpListener::bind(listen).await?;
    let url = format!("http://{}/weather", listener.local_addr()?);
    println!("{url} on {}", weather.network);
    let app = match &facilitator {
        Some(url) => {
            let evm = ExactOnEvm { transfer_proofs: weather.transfers, ..ExactOnEvm::default() };
            weather.router(RemoteFacilitator::new(url)?.with_evm(evm))?
        }
        // The simulation knows no transfers: nobody sends transactions there.
        None if weather.transfers => return Err("--transfers takes a --facilitator".into()),
        None => {
            println!("simulated; {BUYER} has two dollars there. To buy:");
            println!("    X402_EVM_KEY={BUYER_KEY} x402 pay {url}");
            let host = listener.local_addr()?;
            println!(
                "or, as an agent: run `x402 mcp --host {host}` with that key, and x402_call {url}"
            );
            weather.router(simulated(&weather.network)?)?
        }
    };
    axum::serve(listener, app).await?;
    Ok(())
}
