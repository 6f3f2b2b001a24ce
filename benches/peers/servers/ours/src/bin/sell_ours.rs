//! The route, sold by this library. `instant`, or the URL of a facilitator.

use std::sync::Arc;

use axum::routing::{MethodRouter, get};
use x402_std::SystemClock;
use x402_std::facilitator::{Facilitator, FacilitatorError, RemoteFacilitator};
use x402_std::message::{SettleResponse, SupportedResponse, VerifyRequest, VerifyResponse};
use x402_std::scheme::Exact;
use x402_std::seller::server::PaymentLayer;
use x402_std::seller::{Seller, exact};
use x402_std::store::MemoryStore;

#[path = "../../../serve.rs"]
mod serve;

const PAY_TO: &str = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";

/// More claims than one run makes.
const CLAIMS: usize = 10_000_000;

/// Says yes and does nothing.
#[derive(Default)]
struct Instant(Exact);

impl Facilitator for Instant {
    type Scheme = Exact;

    fn scheme(&self) -> &Exact {
        &self.0
    }

    async fn verify(&self, _request: &VerifyRequest) -> Result<VerifyResponse, FacilitatorError> {
        Ok(VerifyResponse { is_valid: true, ..VerifyResponse::default() })
    }

    async fn settle(&self, _request: &VerifyRequest) -> Result<SettleResponse, FacilitatorError> {
        Ok(SettleResponse {
            success: true,
            transaction: format!("0x{}", "1".repeat(64)),
            network: "eip155:84532".into(),
            ..SettleResponse::default()
        })
    }

    async fn supported(&self) -> Result<SupportedResponse, FacilitatorError> {
        Ok(SupportedResponse::default())
    }
}

fn sold(facilitator: impl Facilitator + 'static) -> MethodRouter {
    let seller = Seller::with_parts(facilitator, MemoryStore::new(CLAIMS), SystemClock);
    let offer = exact("eip155:84532", PAY_TO, "$0.01").expect("an offer");
    get(serve::weather).layer(PaymentLayer::new(Arc::new(seller), offer))
}

#[tokio::main]
async fn main() {
    let facilitator = std::env::args().nth(1).expect("instant, or a facilitator's URL");
    let route = match facilitator.as_str() {
        "instant" => sold(Instant::default()),
        url => sold(RemoteFacilitator::new(url).expect("a facilitator's URL")),
    };
    serve::serve(route).await;
}
