//! The route, sold by r402. `instant`, `verifying`, or the URL of a facilitator.

use alloy_primitives::{Address, address};
use axum::routing::{MethodRouter, get};
use r402::evm::{Eip155Exact, USDC};
use r402::http::server::{Facilitator, X402Middleware};
use r402::protocol::error::FacilitatorError;
use r402::protocol::network::ChainIdPattern;
use r402::protocol::payment::{
    Extensions, SettleRequest, SettleResponse, SupportedPaymentKind, SupportedResponse,
    VerifyRequest, VerifyResponse,
};

#[path = "../../../serve.rs"]
mod serve;

const PAY_TO: Address = address!("0x209693Bc6afc0C5328bA36FaF03C514EF312287C");

/// Says yes; before that, perhaps, looks at the signature.
struct Instant(fn(VerifyRequest));

impl Facilitator for Instant {
    async fn verify(&self, request: VerifyRequest) -> Result<VerifyResponse, FacilitatorError> {
        (self.0)(request);
        Ok(VerifyResponse::valid("0x0"))
    }

    async fn settle(&self, _request: SettleRequest) -> Result<SettleResponse, FacilitatorError> {
        Ok(SettleResponse::Success {
            payer: Some("0x0".into()),
            transaction: format!("0x{}", "1".repeat(64)).into(),
            network: "eip155:84532".into(),
            amount: None,
            extensions: Extensions::new(),
            extension_responses: Extensions::new(),
            extra: None,
        })
    }

    async fn supported(&self) -> Result<SupportedResponse, FacilitatorError> {
        let kind = SupportedPaymentKind::new(2, "exact", "eip155:84532");
        Ok(SupportedResponse::new().with_kinds(vec![kind]))
    }
}

/// Its facilitator's steps for a payment before it asks a chain: the same steps with its own types,
/// since its functions for them are private.
#[cfg(feature = "verifying")]
fn check(request: VerifyRequest) {
    use alloy_primitives::{Signature, U256};
    use alloy_sol_types::{SolStruct, eip712_domain};
    use r402::evm::exact::payload::v2::VerifyRequest as Typed;
    use r402::evm::exact::payload::{ExactPayload, TransferWithAuthorization};
    use r402::protocol::payment::UnixTimestamp;

    let request: Typed = serde_json::from_value(request.into_json()).expect("a typed request");
    let (payload, requirements) = (request.payment_payload, request.payment_requirements);
    let accepted = &payload.accepted;
    assert!(requirements.matches_payload_accepted(accepted), "the offer");
    let ExactPayload::Eip3009(eip3009) = &payload.payload else {
        panic!("EIP-3009 only");
    };
    let authorization = &eip3009.authorization;
    let now = UnixTimestamp::now();
    assert!(authorization.valid_before > now && authorization.valid_after <= now, "in time");
    assert_eq!(authorization.to, accepted.pay_to, "the payee");
    let (value, amount): (U256, U256) = (authorization.value.into(), accepted.amount.into());
    assert_eq!(value, amount, "the amount");
    let extra = accepted.extra.clone().expect("a domain");
    let domain = eip712_domain! {
        name: extra.name,
        version: extra.version,
        chain_id: 84532,
        verifying_contract: accepted.asset.into(),
    };
    let message = TransferWithAuthorization {
        from: authorization.from,
        to: authorization.to,
        value,
        validAfter: U256::from(authorization.valid_after.as_secs()),
        validBefore: U256::from(authorization.valid_before.as_secs()),
        nonce: authorization.nonce,
    };
    let digest = message.eip712_signing_hash(&domain);
    let signature = Signature::from_raw(&eip3009.signature).expect("65 bytes").normalized_s();
    let payer = signature.recover_address_from_prehash(&digest).expect("a signer");
    assert_eq!(payer, authorization.from, "the payer's signature");
}

fn sold(x402: X402Middleware) -> MethodRouter {
    let usdc = USDC::base_sepolia().amount(10_000u64);
    let layer = x402
        .with_base_url("http://127.0.0.1".parse().expect("a URL"))
        .with_scheme(ChainIdPattern::wildcard("eip155"), Eip155Exact)
        .with_price_tag(Eip155Exact::price_tag(PAY_TO, usdc, None))
        .expect("a price");
    get(serve::weather).layer(layer)
}

fn instant(check: fn(VerifyRequest)) -> MethodRouter {
    sold(X402Middleware::from_facilitator(Instant(check)))
}

#[tokio::main]
async fn main() {
    let facilitator = std::env::args().nth(1).expect("instant, or a facilitator's URL");
    let route = match facilitator.as_str() {
        "instant" => instant(|_| ()),
        #[cfg(feature = "verifying")]
        "verifying" => instant(check),
        url => sold(X402Middleware::try_new(url).expect("a facilitator's URL")),
    };
    serve::serve(route).await;
}
