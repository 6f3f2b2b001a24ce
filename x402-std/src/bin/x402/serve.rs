use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use clap::Args;
use x402_std::facilitator::{self, Facilitator as _, FacilitatorError, RemoteFacilitator};
use x402_std::message::PaymentRequirements;
use x402_std::seller::{Seller, exact};
use x402_std::server::Charge;

use crate::facilitator::{Fund, simulated};
use crate::upstream::Upstream;
use crate::{Failure, Outcome, listen, talk};

/// How long a facilitator may take to say what it supports.
const SUPPORTED: Duration = Duration::from_secs(10);

/// Charges for every request, and answers the paid ones itself or from another server.
///
/// CORS preflights are answered empty: browsers of other origins are not supported.
#[derive(Args)]
pub(crate) struct Serve {
    /// Address that is paid
    #[arg(long, value_name = "ADDR")]
    pay_to: String,
    /// Price of a request, such as $0.01
    #[arg(long, value_name = "MONEY")]
    price: String,
    /// Network of the payment, such as eip155:84532; its default stablecoin is taken
    #[arg(long, value_name = "NETWORK")]
    network: String,
    /// URL of a facilitator, or "simulated" for one in this process: no chain, no money
    #[arg(long, value_name = "URL|simulated")]
    facilitator: String,
    /// Gives an account of the simulated ledger units of the token, or money ($1); may be repeated
    #[arg(long, value_name = "ADDR=AMOUNT", value_parser = Fund::parse)]
    fund: Vec<Fund>,
    /// Where to listen
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4021")]
    listen: SocketAddr,
    /// Server that paid requests are passed on to
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Version of the challenge in the body; the header's is 2. Payments are taken in both
    #[arg(long, value_name = "1|2", default_value_t = 2,
          value_parser = clap::value_parser!(u8).range(1..=2))]
    x402_version: u8,
}

impl Serve {
    pub(crate) async fn run(&self) -> Outcome {
        let offer = exact(&self.network, &self.pay_to, &self.price).map_err(Failure::unusable)?;
        if self.facilitator == "simulated" {
            let facilitator = simulated(offer.network.view().eip155().as_slice(), &self.fund)?;
            return self.serve(offer, facilitator).await;
        }
        if !self.fund.is_empty() {
            return Err(Failure::unusable("--fund is for --facilitator simulated"));
        }
        let remote = RemoteFacilitator::new(&self.facilitator).map_err(Failure::unusable)?;
        check_supported(&remote, &offer).await?;
        self.serve(offer, remote).await
    }

    async fn serve<F>(&self, offer: PaymentRequirements, facilitator: F) -> Outcome
    where
        F: facilitator::Facilitator + 'static,
    {
        let upstream = self.upstream.as_deref().map(Upstream::new).transpose()?;
        let router = Router::new().fallback(move |request| answer(upstream.clone(), request));
        let mut charge = Charge::new(Arc::new(Seller::new(facilitator)), offer);
        if self.x402_version == 1 {
            charge = charge.v1_body();
        }
        listen::serve(router.layer(charge), self.listen).await
    }
}

/// Refuses a facilitator that says it does not settle this offer. One that says nothing may do so
/// later; until then payments are refused.
async fn check_supported(
    facilitator: &RemoteFacilitator,
    offer: &PaymentRequirements,
) -> Result<(), Failure> {
    let asked = tokio::time::timeout(SUPPORTED, facilitator.supported()).await;
    let supported = match asked.unwrap_or(Err(FacilitatorError::TimedOut)) {
        Ok(supported) => supported,
        Err(error) => {
            talk(format_args!("warning: {error}; payments are refused until it answers"));
            return Ok(());
        }
    };
    let listed = supported.kinds.iter().any(|kind| {
        kind.scheme == offer.scheme && kind.network.view().is_same(offer.network.view())
    });
    if listed {
        return Ok(());
    }
    let (scheme, network) = (&offer.scheme, &offer.network);
    Err(Failure::unusable(format_args!("the facilitator does not support {scheme} on {network}")))
}

/// What is sold: another server's answer, or a sample.
async fn answer(upstream: Option<Upstream>, request: Request) -> Response {
    let Some(upstream) = upstream else {
        let path = request.uri().path();
        let sample = serde_json::json!({ "data": { "path": path, "message": "paid" } });
        return Json(sample).into_response();
    };
    upstream.forward(request).await
}
