use clap::Args;
use x402_std::buyer::wallet::{BlockhashError, SignFailure};
use x402_std::buyer::{Buyer, Declined, Policy, Short};
use x402_std::clock::{Clock, SystemClock};
use x402_std::core::buyer::{Decline, Flow};
use x402_std::core::{Amount, Money};
use x402_std::message::{Entry, PaymentRequired, ReadError, encode_header};

use crate::key::{self, KeySource};
use crate::{Exit, Failure, Outcome, decimal, describe, input, known_token, print, shown, talk};

/// Signs a payment for a challenge, and prints it as the value of the payment header.
///
/// Without --accept, it pays the first offer that is in a known stablecoin and within --max.
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
    /// 32 bytes never used before, in hexadecimal, instead of random ones; on Solana, the first half is
    /// the memo if the offer asks for none
    #[arg(long, value_name = "0x...", value_parser = nonce)]
    nonce: Option<[u8; 32]>,
    /// Signs this offer, counted from 0, at any price and in any token; on Solana, only in known
    /// tokens
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
        let buyer = Buyer::with_parts(self.key.read()?, policy(self.max), now);
        let index = match self.accept {
            Some(index) => index,
            None => buyer.choose(&required, "").map_err(declined)?.index,
        };
        let offer = match required.accepts.entries().get(index) {
            Some(Entry::Read(offer)) => offer,
            Some(Entry::Unread { json, error }) => {
                let error = ReadError::new(*error, json.as_str().as_bytes());
                return Err(Failure::read(error).about(&format!("--accept: offer {index}")));
            }
            None => {
                let count = required.accepts.len();
                let text =
                    format_args!("--accept: the challenge has {count} offers, counted from 0");
                return Err(Failure::unusable(text));
            }
        };
        if Flow::from_requirements(&offer.as_view()).is_none() {
            return Err(declined(Decline::PaymentFlow.into()));
        }
        if !key::has_key(buyer.wallet(), offer.network.as_view()) {
            return Err(Failure::refused("not signed: no key for this network: give one"));
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
        PaymentRequired::from_json(&json).map_err(Failure::read)
    }
}

/// The default policy, but for the most to pay.
pub(crate) fn policy(max: Option<Money>) -> Policy {
    let default = Policy::default();
    Policy { max: max.unwrap_or(default.max), ..default }
}

/// The failure of an account that has too little, with the network and token to send it.
pub(crate) fn short(short: &Short) -> Failure {
    let Short { owner, has, offer, decimals } = short;
    let known = known_token(offer.network.as_view(), &offer.asset);
    let token = known.map_or(&*offer.asset, |(symbol, _)| symbol);
    let amount = |units: &Amount| decimal(&units.to_string(), (*decimals).into());
    Failure::refused(format_args!(
        "not enough money: {owner} has {} {token} on {}, and {} is asked: send it {token} there",
        amount(has),
        &*offer.network,
        amount(&offer.amount),
    ))
}

/// The failure of a payment that was not signed, with the way out.
pub(crate) fn not_signed(failure: SignFailure) -> Failure {
    match failure {
        SignFailure::Offer(reason) => Failure::refused(format_args!("not signed: {reason}")),
        SignFailure::Blockhash(BlockhashError::NobodyToAsk) => Failure::refused(format_args!(
            "not signed: a payment on Solana needs a recent blockhash, and the offer gives none: set {} to \
             the URL of a node",
            key::SVM_RPC
        )),
        SignFailure::Blockhash(error) => Failure::refused(format_args!(
            "not signed: the offer gives no recent blockhash, and the node of {} failed: {error}",
            key::SVM_RPC
        )),
        SignFailure::Sign(error) => Failure::refused(error),
        // The wallets of this command send no transfers.
        failure @ (SignFailure::Transfer(_) | SignFailure::Sent(_)) => Failure::refused(failure),
    }
}

/// The failure of a challenge without a payable offer, with the option that allows more.
pub(crate) fn declined(declined: Declined) -> Failure {
    let hint = match declined.reason {
        Decline::OverLimit => " (--max MONEY allows more)",
        _ => "",
    };
    // Some of the words are the seller's.
    let text = format!("declined: {declined}{hint}");
    Failure::refused(shown::shown(&text))
}
