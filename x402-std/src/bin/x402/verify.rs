use clap::Args;
use x402_std::clock::{Clock, SystemClock};
use x402_std::core::{Message, Reason, Scheme as _, gate, wire};
use x402_std::message::{ReadError, VerifyResponse};
use x402_std::scheme::{Exact, ExactOnEvm, ExactOnSvm};

use crate::{Exit, Failure, Outcome, input, print};

/// Runs every check of a payment that needs no chain, and prints a VerifyResponse.
#[derive(Args)]
pub(crate) struct Verify {
    /// Body of a request to a facilitator's /verify: payment and requirements, as JSON
    #[arg(long, value_name = "VALUE")]
    request: String,
    /// Time of the check, in Unix seconds, instead of now
    #[arg(long, value_name = "UNIX")]
    now: Option<u64>,
    /// Accepts payments on Solana of more than the offer asks
    #[arg(long)]
    allow_over_payment: bool,
}

impl Verify {
    pub(crate) fn run(&self) -> Outcome {
        let json = input::text(&self.request)?;
        let request = match wire::VerifyRequest::parse_located(&json) {
            Ok(request) => request,
            Err(error) => {
                let error = ReadError::new(error, &json);
                respond(&malformed(&error))?;
                return Err(Failure::read(error));
            }
        };
        let (payload, offer) = (&request.payment_payload, &request.payment_requirements);
        let now = self.now.unwrap_or_else(|| SystemClock.now());
        let svm = ExactOnSvm { over_payment: self.allow_over_payment, ..ExactOnSvm::default() };
        let scheme: Exact = (ExactOnEvm::default(), svm);
        let refusal = gate::verify(&scheme, payload, offer, now).err();
        respond(&VerifyResponse {
            is_valid: refusal.is_none(),
            invalid_reason: refusal.map(|reason| reason.as_str().into()),
            payer: scheme.named_payer(payload, offer).map(|payer| payer.to_string()),
            ..VerifyResponse::default()
        })?;
        refusal.map_or(Ok(Exit::Yes), |reason: Reason| Err(Failure::refused(reason)))
    }
}

fn malformed(error: &ReadError) -> VerifyResponse {
    VerifyResponse {
        invalid_reason: Some(error.error.reason().as_str().into()),
        invalid_message: Some(error.to_string()),
        ..VerifyResponse::default()
    }
}

fn respond(response: &VerifyResponse) -> Result<(), Failure> {
    print(response.to_json().map_err(Failure::refused)?)
}
