//! Sells a route of an axum server for a cent.
//!
//!     cargo run -p x402-std --example facilitator            # in one terminal
//!     cargo run -p x402-std --example axum_seller            # in another
//!     curl -i http://127.0.0.1:4021/weather                  # 402 and the challenge
//!
//! With a facilitator that settles for real, its URL and your address are all there is to change.

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use x402_std::facilitator::RemoteFacilitator;
use x402_std::seller::{Seller, Terms, exact};
use x402_std::server::Charge;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let pay_to = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";
    let facilitator = RemoteFacilitator::new("http://127.0.0.1:4022")?;
    let seller = Arc::new(Seller::new(facilitator));

    // Two offers: the buyer pays one of them.
    let offers = [exact("eip155:84532", pay_to, "$0.01")?, exact("eip155:1328", pay_to, "$0.01")?];
    let terms = Terms::new(offers).described("weather in Lisbon", "text/plain");
    let app = Router::new()
        .route("/weather", get(|| async { "sunny, 21 degrees" }).layer(Charge::new(seller, terms)))
        .route("/", get(|| async { "the weather is at /weather, for a cent" }));

    let listener = TcpListener::bind("127.0.0.1:4021").await?;
    println!("http://{}/weather", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
