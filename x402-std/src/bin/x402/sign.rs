use clap::Args;
use x402_std::buyer::{Buyer, Policy};
use x402_std::clock::{Clock, SystemClock};
use x402_std::core::buyer::{Decline, Flow};
use x402_std::core::{Message, Money, wire};
use x402_std::message::{PaymentRequired, encode_header};
use x402_std::wallet::{BlockhashError, SignFailure};

use crate::key::{self, KeySource};
use crate::{Exit, Failure, Outcome, describe, input, print, talk};

/// Signs a payment for a challenge, and prints it as the value of the payment header.
///
/// Without --accept, the first offer is taken that is in a known stablecoin and within --max.
#[derive(Args)]
pub(crate) struct Sign {
    /// The challenge (PaymentRequired) in base64 or JSON
    #[arg(long, value_name = "VALUE")]
    required: String,
    #[command(flatten)]
    key: KeySource,
    /// Time of signing, in Unix seconds, instead of now
    #[arg(long, value_name = "UNIX")]
    now: Option<u64>,
    /// 32 bytes never used before, in hexadecimal, instead of random ones; on Solana, the first
    /// half is the memo of offers that ask for none
    #[arg(long, value_name = "0x...", value_parser = nonce)]
    nonce: Option<[u8; 32]>,
    /// Signs this offer, counted from 0, whatever it costs and in whatever token; on Solana, only
    /// in known ones
    #[arg(long, value_name = "N", conflicts_with = "max")]
    accept: Option<usize>,
    /// Most to pay [default: $1]
    #[arg(long, value_name = "MONEY", value_parser = Money::parse)]
    max: Option<Money>,
}

fn nonce(text: &str) -> Result<[u8; 32], &'static str> {
    input::hex32(text).ok_or("not 64 hexadecimal digits")
}

impl Sign {
    pub(crate) async fn run(&self) -> Outcome {
        let required = self.required()?;
        let now = self.now.unwrap_or_else(|| SystemClock.now());
        let buyer = Buyer::with(self.key.read()?, policy(self.max), now);
        let index = match self.accept {
            Some(index) => index,
            None => buyer.choose(&required, "").map_err(declined)?.index,
        };
        let offer = required.accepts.get(index).ok_or_else(|| {
            Failure::unusable(format_args!("the challenge has {} offers", required.accepts.len()))
        })?;
        if Flow::of(&offer.view()).is_none() {
            return Err(declined(Decline::PaymentFlow));
        }
        if !key::has_key(buyer.wallet(), offer.network.view()) {
            return Err(Failure::refused("not signed: no key for this network"));
        }
        let signed = match self.nonce {
            Some(nonce) => buyer.sign_with(&required, index, nonce).await,
            None => buyer.sign(&required, index).await,
        };
        let payment = signed.map_err(not_signed)?;
        talk(format_args!("signed: {}", describe(offer)));
        print(encode_header(payment.json.as_bytes()))?;
        Ok(Exit::Yes)
    }

    fn required(&self) -> Result<PaymentRequired, Failure> {
        let json = input::message(&self.required)?;
        let view = wire::PaymentRequired::parse_located(&json);
        let view = view.map_err(|(error, at)| Failure::parse(error, Some(at)))?;
        Ok(PaymentRequired::from(&view))
    }
}

/// The default policy, but for the most to pay.
pub(crate) fn policy(max: Option<Money>) -> Policy {
    let default = Policy::default();
    Policy { max: max.unwrap_or(default.max), ..default }
}

/// Why a payment was not signed, and what can be done about it.
pub(crate) fn not_signed(failure: SignFailure) -> Failure {
    match failure {
        SignFailure::Offer(reason) => Failure::refused(format_args!("not signed: {reason}")),
        SignFailure::Blockhash(BlockhashError::NobodyToAsk) => Failure::refused(format_args!(
            "not signed: no recent blockhash: the offer gives none, and {} is not set",
            key::SVM_RPC
        )),
        SignFailure::Blockhash(error) => Failure::refused(format_args!(
            "not signed: no recent blockhash: the offer gives none, nor does {}: {error}",
            key::SVM_RPC
        )),
        SignFailure::Sign(error) => Failure::refused(error),
        // No wallet of this command sends transfers.
        failure @ (SignFailure::Transfer(_) | SignFailure::Sent(_)) => Failure::refused(failure),
    }
}

fn declined(decline: Decline) -> Failure {
    Failure::refused(format_args!("declined: {decline}"))
}
