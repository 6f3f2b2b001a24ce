//! Everything of `x402-core` but the cryptography.

use core::fmt::{self, Write};
use core::hint::black_box;

use x402_core::amount::Money;
use x402_core::budget::{Limit, Most, Per, Scope, Spending};
use x402_core::buyer::{self, PayOnce, Policy, Wallet};
use x402_core::claim::{ClaimKey, ClaimState, ClaimTable, Resource};
use x402_core::json::RawJson;
use x402_core::seller::{self, Seller};
use x402_core::wire::{
    PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo, SettleResponse,
    SupportedKind, SupportedResponse, VerifyRequest, VerifyResponse,
};
use x402_core::{Amount, Message, Network, Payment, Reason, Scheme, Version, base64, http};

use crate::samples;

/// Buffers of the caller, as long as the longest message here.
const BYTES: usize = 1024;

/// Calls everything once.
pub fn exercise() {
    messages();
    values(black_box(samples::OFFER));
    header(black_box(samples::PAYMENT));
    buy(black_box(samples::CHALLENGE));
    sell(black_box(samples::OFFER), black_box(samples::PAYMENT));
    claims(black_box(samples::OFFER));
}

/// Reads and writes every message.
fn messages() {
    round::<PaymentRequired<'_>>(black_box(samples::CHALLENGE));
    round::<PaymentRequirements<'_>>(black_box(samples::OFFER));
    round::<ResourceInfo<'_>>(black_box(samples::OFFER));
    round::<PaymentPayload<'_>>(black_box(samples::PAYMENT));
    round::<VerifyRequest<'_>>(black_box(samples::REQUEST));
    round::<VerifyResponse<'_>>(black_box(samples::RECEIPT));
    round::<SettleResponse<'_>>(black_box(samples::RECEIPT));
    round::<SupportedResponse<'_>>(black_box(samples::OFFER));
    round::<SupportedKind<'_>>(black_box(samples::OFFER));
}

fn round<'a, M: Message<'a>>(json: &'a [u8]) {
    let mut out = [0; BYTES];
    match M::parse_located(json) {
        Ok(message) => {
            black_box(message.encoded_len().is_ok());
            black_box(message.header_len().is_ok());
            black_box(message.encode(black_box(&mut out)).is_ok());
            black_box(message.encode_header(black_box(&mut out)).is_ok());
        }
        Err(located) => {
            let (error, place) = (located.error, located.place(json));
            black_box(write!(Sink, "{error}, {}: {place}, {}", error.reason(), located.at).is_ok());
        }
    }
}

/// Reads the one payment among headers, in a second buffer and in place.
fn header(bytes: &[u8]) {
    let mut scratch = [0; BYTES];
    let headers = [("accept", bytes), ("Payment-Signature", bytes)];
    if let Ok(Some((version, value))) = http::payment(black_box(headers)) {
        let scratch = black_box(&mut scratch[..]);
        black_box(PaymentPayload::decode_header(value, scratch).is_ok());
        black_box(base64::decode_any(value, scratch).is_ok());
        black_box(Seller::read(version, value).is_ok());
        black_box(base64::decode_in_place(scratch).is_ok());
    }
}

/// Reads and writes amounts, prices, networks and raw JSON.
fn values(bytes: &[u8]) {
    let text = black_box(core::str::from_utf8(bytes).unwrap_or(""));
    if let (Ok(a), Ok(b)) = (Amount::parse(text), Amount::parse(black_box("7"))) {
        black_box((a.checked_add(b), a.checked_sub(b), a.cmp(&b), a.as_u64(), a.to_be_bytes()));
        black_box(write!(Sink, "{a:>80} {b:?}").is_ok());
    }
    if let Ok(money) = Money::parse(text) {
        black_box(money.to_units(black_box(6)).is_ok());
        black_box(money.covers(Amount::from(black_box(1)), black_box(18)));
        black_box(write!(Sink, "{money}").is_ok());
    }
    if let (Ok(a), Ok(b)) = (Network::parse(text), Network::parse(black_box("base"))) {
        black_box((a.is_same(b), a.v1_name(), a.caip2(), a.eip155(), a.solana()));
    }
    black_box(Reason::parse(text).map(|reason| (reason.status(), reason.retry())));
    if let Ok(raw) = RawJson::parse(bytes) {
        black_box((raw.same_value(raw), raw.contains(raw), raw.as_u64(), raw.as_bool()));
        black_box(raw.elements().count());
        let mut out = [0; BYTES];
        black_box(raw.get_string(text).and_then(|s| s.decode_into(black_box(&mut out))));
    }
}

/// Takes formatted text.
pub(crate) struct Sink;

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if black_box(text).is_empty() { Err(fmt::Error) } else { Ok(()) }
    }
}

struct Pocket;

impl Wallet for Pocket {
    fn pays(&self, offer: &PaymentRequirements<'_>) -> bool {
        offer.scheme == "exact"
    }

    fn decimals(&self, _: &PaymentRequirements<'_>) -> Option<u8> {
        black_box(Some(6))
    }
}

/// Reads a challenge, chooses, writes the payment, reads the receipt.
fn buy(bytes: &[u8]) {
    let mut scratch = [0; BYTES];
    let mut out = [0; BYTES];
    let payees = [black_box("0x90F79bf6EB2c4f870365E785982E1f101E93b906")];
    let host = black_box("api.example.com");
    let Ok(network) = Network::parse(black_box("base")) else { return };
    let [payee] = payees;
    let limits = black_box([
        Limit { most: Most::Money(Money::ONE), per: Per::Day, scope: Scope::EachHost },
        Limit {
            most: Most::Units { amount: Amount::MAX, network, asset: payee },
            per: Per::Ever,
            scope: Scope::Payee(payee),
        },
    ]);
    let hosts = [host];
    let policy = Policy {
        payees: Some(&payees),
        hosts: Some(&hosts),
        limits: &limits,
        ask_above: Some(Money::ONE),
        ..Policy::default()
    };
    let mut spending = black_box(Spending::<4>::new());
    let mut purchase = PayOnce::new();
    black_box(purchase.answered(black_box(402)));
    let header = black_box(Some(bytes));
    let Ok(required) = buyer::read_challenge(header, bytes, black_box(&mut scratch)) else {
        return;
    };
    if let Ok(choice) = buyer::choose(&required, host, &Pocket, black_box(&policy)) {
        black_box(purchase.paid());
        for at in 0..black_box(9) {
            let Some(spend) = choice.spend(host, black_box(at)) else { return };
            if black_box(spending.reserve(black_box(&limits), spend)).is_err() {
                spending.release(&spend);
            }
        }
        let payment = choice.payment(RawJson::EMPTY_OBJECT);
        black_box(payment.encode_header(black_box(&mut out)).is_ok());
    }
    let mut scratch = [0; BYTES];
    if let Ok(receipt) = SettleResponse::decode_header(bytes, black_box(&mut scratch)) {
        black_box(buyer::retry(Some(&receipt)));
    }
}

/// A scheme that only asks for the right network.
struct Dummy;

struct Paid([u8; 32]);

impl Payment for Paid {
    type Payer = &'static str;

    fn claim_key(&self) -> ClaimKey {
        ClaimKey::new(self.0)
    }

    fn expires_at(&self) -> u64 {
        black_box(100)
    }

    fn payer(&self) -> &'static str {
        "anybody"
    }
}

impl Scheme for Dummy {
    type Payment = Paid;

    fn handles(&self, _: &PaymentRequirements<'_>) -> bool {
        true
    }

    fn check_offer(&self, _: &PaymentRequirements<'_>) -> Result<(), Reason> {
        Ok(())
    }

    fn check(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        now: u64,
    ) -> Result<Paid, Reason> {
        let same = payload.network().is_same(requirements.network) && now > 0;
        if same { Ok(Paid(black_box([1; 32]))) } else { Err(Reason::InvalidNetwork) }
    }
}

/// Makes a challenge, admits a payment and judges what became of it.
fn sell(offer: &[u8], payment: &[u8]) {
    let mut out = [0; BYTES];
    let extensions = RawJson::parse(offer).ok();
    let Ok(offer) = PaymentRequirements::parse(offer) else { return };
    if let Ok(answer) = SettleResponse::parse(black_box(samples::RECEIPT)) {
        let payer = black_box(Some("0x"));
        black_box(seller::settled(&answer, &offer, payer, black_box(true)));
    }
    let offers = [offer];
    let seller = Seller { resource: ResourceInfo::default(), accepts: &offers, extensions };
    for version in [Version::V1, Version::V2] {
        let challenge = seller.challenge(version, black_box("Payment required"));
        black_box(challenge.encode_header(black_box(&mut out)).is_ok());
        let Ok(payload) = Seller::read(version, black_box(payment)) else { continue };
        match seller.admit(&Dummy, &payload, black_box(1)) {
            Ok(admitted) => {
                black_box(admitted.request().encode(black_box(&mut out)).is_ok());
                black_box(admitted.verified.payment().claim_key());
                black_box(admitted.verified.payment().expires_at());
            }
            Err(reason) => {
                black_box(reason.status());
            }
        }
    }
}

/// Walks claims through their states.
fn claims(bytes: &[u8]) {
    let mut table = ClaimTable::<4>::new();
    let text = core::str::from_utf8(bytes).unwrap_or("");
    let text = black_box(text.get(..black_box(66)).unwrap_or(""));
    let broadcast = ClaimState::Broadcast(text.try_into().unwrap_or_default());
    for &byte in bytes {
        let key = ClaimKey::new([byte; 32]);
        black_box(table.present(key, Resource::ANY, u64::from(byte), black_box(50)).is_ok());
        black_box(table.advance(&key, &ClaimState::Claimed, broadcast.clone()).is_ok());
        black_box(table.release(&key).is_ok());
        black_box(table.state(&key).is_some());
    }
}
