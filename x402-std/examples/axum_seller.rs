//! Sells a route of an axum server for a cent.
//!
//!     cargo run -p x402-std --example facilitator            # in one terminal
//!     cargo run -p x402-std --example axum_seller            # in another
//!     curl -i http://127.0.0.1:4021/weather                  # 402 and the challenge
//!
//! The seller may start before the facilitator. It answers 503 until the facilitator has said what it supports.
//! With a facilitator that settles for real, its URL and your addresses are all there is to change.

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use x402_std::facilitator::RemoteFacilitator;
use x402_std::seller::server::PaymentLayer;
use x402_std::seller::{Offers, Seller, exact};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let facilitator = RemoteFacilitator::new("http://127.0.0.1:4022")?;

    // Two offers: the buyer pays one of them. On Solana the facilitator pays the fee, and its
    // address belongs into the offer. The layer asks the facilitator for it, and again every ten minutes.
    let offers = [
        exact("solana-devnet", "GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse", "$0.01")?,
        exact("eip155:84532", "0x90F79bf6EB2c4f870365E785982E1f101E93b906", "$0.01")?,
    ];
    let offers = Offers::new(offers).with_description("weather in Lisbon", "text/plain");
    let paid = PaymentLayer::from_supported(Arc::new(Seller::new(facilitator)), offers);
    let app = Router::new()
        .route("/weather", get(|| async { "sunny, 21 degrees" }).layer(paid))
        .route("/", get(|| async { "the weather is at /weather, for a cent" }));

    let listener = TcpListener::bind("127.0.0.1:4021").await?;
    println!("http://{}/weather", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
