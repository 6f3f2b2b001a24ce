//! This library's client.

use std::sync::Arc;

use x402_std::buyer::Buyer;
use x402_std::buyer::client::{Client, HttpTransport};
use x402_std::buyer::wallet::EvmWallet;
use x402_std::core::crypto::secp256k1::LocalKey;

#[path = "../../../pay.rs"]
mod pay;

#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).expect("what to buy");
    let wallet = EvmWallet::new(LocalKey::from_bytes(&pay::KEY).expect("a key"));
    let transport =
        HttpTransport::configured(reqwest::ClientBuilder::no_proxy).expect("an HTTP client");
    let client = Arc::new(Client::with_parts(Buyer::new(wallet), transport));
    pay::on_command(move || {
        let (client, url) = (Arc::clone(&client), url.clone());
        async move {
            let bought = client.get(&url).await.expect("sold");
            assert!(bought.response.status().is_success() && bought.paid.is_some(), "not sold");
            bought.response.bytes().await.expect("a body");
        }
    })
    .await;
}
