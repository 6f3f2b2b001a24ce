//! r402's client.

use std::sync::Arc;

use alloy_signer_local::PrivateKeySigner;
use r402::evm::Eip155ExactClient;
use r402::http::{WithPayments, X402Client};

#[path = "../../../pay.rs"]
mod pay;

#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).expect("what to buy");
    let key = PrivateKeySigner::from_bytes(&pay::KEY.into()).expect("a key");
    let scheme = Eip155ExactClient::new(Arc::new(key));
    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let client = http.with_payments(X402Client::new().register(scheme));
    pay::on_command(move || {
        let (client, url) = (client.clone(), url.clone());
        async move {
            let response = client.get(url).send().await.expect("an answer");
            assert!(response.status().is_success(), "not sold");
            response.bytes().await.expect("a body");
        }
    })
    .await;
}
