//! One payment from end to end on this machine: a facilitator over a simulated ledger, a weather
//! API that costs a cent, and a buyer with a throwaway key. No network, no keys, no money.
//!
//!     cargo run -p x402-std --example quickstart

use std::error::Error;
use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use x402_core::crypto::secp256k1::LocalKey;
use x402_core::{Amount, Network};
use x402_evm::{Address, assets};
use x402_std::buyer::{BuyError, Buyer};
use x402_std::client::{Client, HttpTransport};
use x402_std::facilitator::{LocalFacilitator, RemoteFacilitator, router};
use x402_std::ledger::SimulatedLedger;
use x402_std::message::{PaymentPayload, to_json};
use x402_std::seller::{Seller, Terms, exact};
use x402_std::server::Charge;
use x402_std::transport::Transport;

const NETWORK: &str = "eip155:1328"; // Sei testnet
const SELLER: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let chain_id = Network::parse(NETWORK)?.eip155().ok_or("not an EVM network")?;
    let usdc = assets::default_of(chain_id).ok_or("no known token")?;

    // The buyer: a key nobody else has, and two dollars that exist only in this process.
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    let buyer = Buyer::new(LocalKey::from_bytes(&secret).ok_or("one in 2^128: run again")?);
    let ledger = SimulatedLedger::new();
    ledger.fund(chain_id, usdc.address, buyer.address(), Amount::from(2_000_000))?;

    // The facilitator and the seller, each on a port of its own.
    let facilitator = Arc::new(LocalFacilitator::new(ledger));
    let facilitator_url = serve(router(Arc::clone(&facilitator))).await?;
    let api = serve(weather_api(&facilitator_url)?).await?;
    let balances = |when: &str| {
        let balance = |who| facilitator.ledger().balance(chain_id, usdc.address, who);
        let seller = Address::parse(SELLER).expect("an address");
        println!("{when}: buyer {}, seller {}", balance(buyer.address()), balance(seller));
    };
    println!("facilitator {facilitator_url}, seller {api}, buyer {}", buyer.address());
    balances("balances in millionths of a dollar, before");

    let transport = HttpTransport::new()?;
    let request = reqwest::Request::new(reqwest::Method::GET, format!("{api}/weather").parse()?);

    println!("\n1. The buyer asks; the seller answers 402 with its offers:");
    let answer = transport.exchange(&request, None).await?;
    let required = answer.challenge.ok_or("no challenge")??;
    show(&required.to_json()?)?;

    println!("\n2. The buyer chooses an offer within its policy and signs it:");
    let (index, _) = buyer.policy().choose(&required)?;
    let payment = buyer.sign(&required, index).await?;
    let signed = PaymentPayload::from_json(payment.json.as_bytes())?;
    show(&to_json(&signed.view())?)?;

    println!("\n3. The seller verifies it, does the work, has it settled, and gives a receipt:");
    let answer = transport.exchange(&request, Some(&payment)).await?;
    show(&answer.receipt.ok_or("no receipt")?.to_json()?)?;

    println!("\n4. And serves: {}", answer.response.text().await?);
    balances("balances, after");

    println!("\nThe same payment a second time:");
    let answer = transport.exchange(&request, Some(&payment)).await?;
    let refusal = answer.challenge.ok_or("not refused")??;
    println!("{}: {}", answer.response.status(), refusal.error.unwrap_or_default());
    balances("balances");

    println!("\nAn offer of five dollars, to a buyer who pays at most one:");
    let client = Client::with(buyer, transport);
    match client.get(&format!("{api}/forecast")).await {
        Err(error @ BuyError::Declined(_)) => println!("{error}"),
        Err(error) => return Err(error.into()),
        Ok(_) => return Err("paid too much".into()),
    }
    Ok(())
}

/// Weather for a cent and a forecast for five dollars, in the shape of 1ly's API.
fn weather_api(facilitator_url: &str) -> Result<Router> {
    let seller = Arc::new(Seller::new(RemoteFacilitator::new(facilitator_url)?));
    let priced = |price, what| -> Result<_> {
        let terms = Terms::new([exact(NETWORK, SELLER, price)?]);
        Ok(Charge::new(Arc::clone(&seller), terms.described(what, "application/json")))
    };
    Ok(Router::new()
        .route("/weather", get(weather).layer(priced("$0.01", "weather now")?))
        .route("/forecast", get(weather).layer(priced("$5", "weather next year")?)))
}

async fn weather() -> Json<Value> {
    Json(json!({
        "data": { "city": "Lisbon", "celsius": 21 },
        "_1ly": { "purchaseId": "p-1", "reviewToken": "r-1" },
    }))
}

/// Serves on a free port of this machine, and says where.
async fn serve(app: Router) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(format!("http://{address}"))
}

fn show(json: &str) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(&serde_json::from_str::<Value>(json)?)?);
    Ok(())
}
