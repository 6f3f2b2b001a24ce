//! The route, sold by x402-axum. `instant`, `verifying`, or the URL of a facilitator.

use std::convert::Infallible;
use std::sync::Arc;

use alloy_primitives::{Address, address};
use axum::routing::{MethodRouter, get};
use x402_axum::X402Middleware;
use x402_chain_eip155::{KnownNetworkEip155, V2Eip155Exact};
use x402_types::facilitator::Facilitator;
use x402_types::networks::USDC;
use x402_types::proto::{
    SettleRequest, SettleResponse, SupportedResponse, VerifyRequest, VerifyResponse,
};

#[path = "../../../serve.rs"]
mod serve;

const PAY_TO: Address = address!("0x209693Bc6afc0C5328bA36FaF03C514EF312287C");

/// Says yes; before that, perhaps, looks at the signature.
struct Instant(fn(&VerifyRequest));

impl Facilitator for Instant {
    type Error = Infallible;

    async fn verify(&self, request: &VerifyRequest) -> Result<VerifyResponse, Infallible> {
        (self.0)(request);
        Ok(VerifyResponse(serde_json::json!({ "isValid": true, "payer": "0x0" })))
    }

    async fn settle(&self, _request: &SettleRequest) -> Result<SettleResponse, Infallible> {
        Ok(SettleResponse(serde_json::json!({
            "success": true,
            "payer": "0x0",
            "transaction": format!("0x{}", "1".repeat(64)),
            "network": "eip155:84532",
        })))
    }

    async fn supported(&self) -> Result<SupportedResponse, Infallible> {
        Ok(SupportedResponse::default())
    }
}

/// Its facilitator's steps for a payment before it asks a chain, with its own types and functions.
#[cfg(feature = "verifying")]
fn check(request: &VerifyRequest) {
    use alloy_sol_types::{SolStruct, eip712_domain};
    use x402_chain_eip155::v1_eip155_exact::types::TransferWithAuthorization;
    use x402_chain_eip155::v1_eip155_exact::{
        StructuredSignature, assert_enough_value, assert_time,
    };
    use x402_chain_eip155::v2_eip155_exact::FacilitatorVerifyRequest;
    use x402_chain_eip155::v2_eip155_exact::facilitator::eip3009::assert_requirements_match;

    let request = FacilitatorVerifyRequest::try_from(request.clone()).expect("a typed request");
    let FacilitatorVerifyRequest::Eip3009 { payment_payload, payment_requirements, .. } = request
    else {
        panic!("EIP-3009 only");
    };
    let accepted = &payment_payload.accepted;
    assert_requirements_match(accepted, &payment_requirements).expect("the offer");
    let payload = payment_payload.payload;
    let authorization = payload.authorization;
    assert_eq!(authorization.to, accepted.pay_to, "the payee");
    assert_time(authorization.valid_after, authorization.valid_before).expect("in time");
    assert_enough_value(&authorization.value, &accepted.amount).expect("enough");
    let domain = eip712_domain! {
        name: accepted.extra.name.clone(),
        version: accepted.extra.version.clone(),
        chain_id: 84532,
        verifying_contract: accepted.asset.into(),
    };
    let message = TransferWithAuthorization {
        from: authorization.from,
        to: authorization.to,
        value: authorization.value,
        validAfter: alloy_primitives::U256::from(authorization.valid_after.as_secs()),
        validBefore: alloy_primitives::U256::from(authorization.valid_before.as_secs()),
        nonce: authorization.nonce,
    };
    let digest = message.eip712_signing_hash(&domain);
    let signature =
        StructuredSignature::try_from_bytes(payload.signature, authorization.from, &digest);
    assert!(matches!(signature, Ok(StructuredSignature::EOA(_))), "the payer's signature");
}

fn sold<F>(x402: X402Middleware<F>) -> MethodRouter
where
    F: Facilitator + Clone + Send + Sync + 'static,
{
    // Without it, a URL is made of the Host header for each request.
    let x402 = x402.with_base_url("http://127.0.0.1".parse().expect("a URL"));
    let usdc = USDC::base_sepolia().amount(10_000u64);
    get(serve::weather).layer(x402.with_price_tag(V2Eip155Exact::price_tag(PAY_TO, usdc)))
}

fn instant(check: fn(&VerifyRequest)) -> MethodRouter {
    sold(X402Middleware::from_facilitator(Arc::new(Instant(check))))
}

#[tokio::main]
async fn main() {
    let facilitator = std::env::args().nth(1).expect("instant, or a facilitator's URL");
    let route = match facilitator.as_str() {
        "instant" => instant(|_| ()),
        #[cfg(feature = "verifying")]
        "verifying" => instant(check),
        url => sold(X402Middleware::new(url)),
    };
    serve::serve(route).await;
}
