//! A site with free and paid pages, paid in the browser with a wallet, as `x402-next` does it for Next.js.
//!
//!     cargo run -p x402-std --example facilitator            # in one terminal
//!     cargo run -p x402-std --example pages                  # in another
//!     open http://127.0.0.1:4021                             # in a browser with a wallet
//!
//! The facilitator of the example is simulated, and no wallet has money there. To sell for real, change its URL
//! and your address.

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::response::Html;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use x402_std::facilitator::RemoteFacilitator;
use x402_std::page::Page;
use x402_std::seller::server::PaymentLayer;
use x402_std::seller::{AcceptedPayment, Offers, Seller, exact};

const PAY_TO: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let seller = Arc::new(Seller::new(RemoteFacilitator::new("http://127.0.0.1:4022")?));
    let page = Page::new()
        .with_seller("Weather & Sons")
        .with_style(":root { --x402-accent: #7a3b00; }")?
        .with_template(
            r#"<!doctype html><html lang="en"><head><meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>Weather &amp; Sons</title></head>
            <body><nav><a href="/">Back to the free pages</a></nav><!--x402--></body></html>"#,
        )?;
    // One price for each kind of page. Without a wallet, a browser still sees how to pay.
    let paid = |price: &str, description: &str| -> Result<_, Box<dyn Error>> {
        let offers = [exact("eip155:1328", PAY_TO, price)?, exact("eip155:84532", PAY_TO, price)?];
        let offers = Offers::new(offers).with_description(description, "text/html");
        Ok(PaymentLayer::new(Arc::clone(&seller), offers).with_page(page.clone()))
    };
    let app = Router::new()
        .route("/", get(home))
        .route("/report", get(report).layer(paid("$0.01", "The weather of tomorrow")?))
        .route("/ask", post(answer).layer(paid("$0.05", "An answer of a meteorologist")?));

    let listener = TcpListener::bind("127.0.0.1:4021").await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

async fn home() -> Html<&'static str> {
    Html(
        r#"<!doctype html><title>Weather &amp; Sons</title><h1>Free pages</h1>
        <p><a href="/report">The weather of tomorrow</a>, for a cent.</p>
        <form method="post" action="/ask"><label>A question, for five:
        <input name="question" required></label><button>Ask</button></form>"#,
    )
}

async fn report(payment: AcceptedPayment) -> Html<String> {
    Html(format!("<!doctype html><title>Report</title><p>Sunny. Thank you, {}.", payment.payer))
}

async fn answer(question: String) -> Html<String> {
    // The body is the form's, so its characters are safe only as long as nobody decodes them.
    let safe = question.replace(['<', '>', '&', '"'], " ");
    Html(format!("<!doctype html><title>Answer</title><p>To {safe}: it depends."))
}
