//! Payments from end to end on this machine, one on Solana and one on Sei: a facilitator over a
//! simulated ledger, a weather API that costs a cent on either, and buyers with throwaway keys. No
//! network, no keys, no money.
//!
//!     cargo run -p x402-std --example quickstart

use std::error::Error;
use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use x402_core::crypto::{ed25519, secp256k1};
use x402_core::{Amount, Network};
use x402_std::buyer::client::{Client, HttpTransport};
use x402_std::buyer::wallet::{EvmWallet, PaymentSigner, SvmWallet};
use x402_std::buyer::{BuyError, Buyer};
use x402_std::evm;
use x402_std::facilitator::ledger::SimulatedLedger;
use x402_std::facilitator::{Facilitator, LocalFacilitator, RemoteFacilitator, router};
use x402_std::message::{PaymentPayload, to_json};
use x402_std::seller::server::PaymentLayer;
use x402_std::seller::{Offers, Seller, exact};
use x402_std::svm;
use x402_std::transport::Transport;

const SOLANA: &str = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"; // devnet
const SOLANA_SELLER: &str = "GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse";
const SEI: &str = "eip155:1328"; // testnet
const SEI_SELLER: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let chain_id = Network::parse(SEI)?.eip155().ok_or("not an EVM network")?;
    let sei_usdc = evm::assets::default_of(chain_id).ok_or("no known token")?;
    let devnet = Network::parse(SOLANA)?.solana().ok_or("not a Solana network")?;
    let solana_usdc = svm::assets::default_of(devnet).ok_or("no known token")?;

    // The buyers: keys nobody else has, and two dollars each that exist only in this process.
    let (mut seed, mut secret) = ([0; 32], [0; 32]);
    getrandom::fill(&mut seed)?;
    getrandom::fill(&mut secret)?;
    let on_solana = Buyer::new(SvmWallet::new(ed25519::LocalKey::from_seed(&seed)));
    let key = secp256k1::LocalKey::from_bytes(&secret).ok_or("one in 2^128: run again")?;
    let on_sei = Buyer::new(EvmWallet::new(key));
    let ledger = SimulatedLedger::new();
    ledger.fund_svm(solana_usdc, on_solana.wallet().address(), 2_000_000)?;
    let two_dollars = Amount::from(2_000_000);
    ledger.fund(chain_id, sei_usdc.address, on_sei.wallet().address(), two_dollars)?;

    // The facilitator and the seller, each on a port of its own.
    let facilitator = Arc::new(LocalFacilitator::new(ledger));
    let facilitator_url = serve(router(Arc::clone(&facilitator))).await?;
    let api = serve(weather_api(&facilitator_url).await?).await?;
    let balances = |when: &str| {
        let solana = |who| facilitator.ledger().balance_svm(solana_usdc, who);
        let sei = |who| facilitator.ledger().balance(chain_id, sei_usdc.address, who);
        let solana_seller = svm::Address::parse(SOLANA_SELLER).expect("an address");
        let sei_seller = evm::Address::parse(SEI_SELLER).expect("an address");
        let (buyer, seller) = (solana(on_solana.wallet().address()), solana(solana_seller));
        println!("{when} on Solana: buyer {buyer}, seller {seller}");
        let (buyer, seller) = (sei(on_sei.wallet().address()), sei(sei_seller));
        println!("{when} on Sei:    buyer {buyer}, seller {seller}");
    };
    println!("facilitator {facilitator_url}, seller {api}");
    balances("millionths of a dollar");

    let transport = HttpTransport::new()?;
    let url = format!("{api}/weather");

    println!("\n1. A buyer asks; the seller answers 402 with its offers, Solana first:");
    let request = reqwest::Request::new(reqwest::Method::GET, url.parse()?);
    let answer = transport.exchange(&request, None).await?;
    show(&answer.challenge.ok_or("no challenge")??.to_json()?)?;

    println!("\n2. A buyer with a Solana key takes the first offer:");
    pay(&on_solana, &transport, &request).await?;
    balances("balances");

    println!("\n3. A buyer with an EVM key takes the second offer of the same 402:");
    pay(&on_sei, &transport, &request).await?;
    balances("balances");

    println!("\nAn offer of five dollars, to a buyer with both keys who pays at most one:");
    let seed_key = ed25519::LocalKey::from_seed(&seed);
    let both =
        (SvmWallet::new(seed_key), secp256k1::LocalKey::from_bytes(&secret).map(EvmWallet::new));
    let client = Client::with_parts(Buyer::new(both), transport);
    match client.get(&format!("{api}/forecast")).await {
        Err(error @ BuyError::Declined(_)) => println!("{error}"),
        Err(error) => return Err(error.into()),
        Ok(_) => return Err("paid too much".into()),
    }
    Ok(())
}

/// Asks, chooses, signs, pays once, and tries to pay with the same payment again.
async fn pay(
    buyer: &Buyer<impl PaymentSigner>,
    transport: &HttpTransport,
    request: &reqwest::Request,
) -> Result<()> {
    let answer = transport.exchange(request, None).await?;
    let required = answer.challenge.ok_or("no challenge")??;
    let index = buyer.choose(&required, "")?.index;
    let payment = buyer.sign(&required, index).await?;
    println!("   the payment, as it is sent in the header payment-signature:");
    let signed = PaymentPayload::from_json(payment.json.as_bytes())?;
    show(&to_json(&signed.as_view())?)?;

    let answer = transport.exchange(request, Some(&payment)).await?;
    println!("   verified, settled; the receipt:");
    show(&answer.receipt.ok_or("no receipt")?.to_json()?)?;
    println!("   and served: {}", answer.response.text().await?);

    let answer = transport.exchange(request, Some(&payment)).await?;
    let refusal = answer.challenge.ok_or("not refused")??;
    let reason = refusal.error.unwrap_or_default();
    println!("   the same payment a second time: {}, {reason}", answer.response.status());
    Ok(())
}

/// Weather for a cent and a forecast for five dollars, in the shape of 1ly's API: every offer on
/// Solana first and on an EVM network second.
async fn weather_api(facilitator_url: &str) -> Result<Router> {
    let facilitator = RemoteFacilitator::new(facilitator_url)?;
    // On Solana the facilitator pays the fee, and its address belongs into the offer.
    let supported = facilitator.supported().await?;
    let seller = Arc::new(Seller::new(facilitator));
    let priced = |price, what| -> Result<_> {
        let offers = [exact(SOLANA, SOLANA_SELLER, price)?, exact(SEI, SEI_SELLER, price)?];
        let offers = Offers::new(offers).with_supported(&supported)?;
        Ok(PaymentLayer::new(
            Arc::clone(&seller),
            offers.with_description(what, "application/json"),
        ))
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
