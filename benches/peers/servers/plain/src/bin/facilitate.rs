//! A facilitator over HTTP that says yes to everything and does nothing.

use std::future::IntoFuture;
use std::io::Read;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::routing::{get, post};
use tokio::net::TcpListener;

const SUPPORTED: &str = r#"{"kinds":[{"x402Version":2,"scheme":"exact","network":"eip155:84532"}],"extensions":[],"signers":{}}"#;
const VALID: &str = r#"{"isValid":true,"payer":"0x0000000000000000000000000000000000000001"}"#;
const SETTLED: &str = r#"{"success":true,"payer":"0x0000000000000000000000000000000000000001","transaction":"0x1111111111111111111111111111111111111111111111111111111111111111","network":"eip155:84532"}"#;

async fn say(
    json: &'static str,
    _question: Bytes,
) -> ([(axum::http::HeaderName, &'static str); 1], &'static str) {
    ([(CONTENT_TYPE, "application/json")], json)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("{}", listener.local_addr().expect("bound").port());
    std::thread::spawn(|| {
        std::io::stdin().read_to_end(&mut Vec::new()).ok();
        std::process::exit(0);
    });
    let app = Router::new()
        .route("/supported", get(|body| say(SUPPORTED, body)))
        .route("/verify", post(|body| say(VALID, body)))
        .route("/settle", post(|body| say(SETTLED, body)));
    axum::serve(listener, app).into_future().await.expect("serves");
}
