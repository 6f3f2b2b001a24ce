//! The scheme `points`: on networks `card:…`, the payload is `{card, serial, signature}`.

use std::fmt;

use x402_core::buyer::Wallet;
use x402_core::claim::ClaimKey;
use x402_core::crypto::ed25519::{Dalek, LocalKey};
use x402_core::crypto::{Signer, Verify, sha256};
use x402_core::wire::{self, PaymentPayload};
use x402_core::{Amount, Payment, Reason, Scheme};
use x402_std::buyer::wallet::{PaymentSigner, SignFailure};
use x402_std::message::{Json, PaymentRequirements};

/// A card, by its key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Card(pub [u8; 32]);

impl Card {
    /// The card a text names.
    pub fn parse(text: &str) -> Option<Self> {
        let mut key = [0; 32];
        hex::decode_to_slice(text, &mut key).ok()?;
        Some(Self(key))
    }
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Points that a card gives to a shop, once for each serial number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The network: which shops' card it is.
    pub network: String,
    /// Who pays.
    pub card: Card,
    /// The payee.
    pub shop: String,
    /// How much.
    pub points: u64,
    /// Chosen by the payer, for one payment.
    pub serial: u64,
}

impl Stamp {
    /// What the card's key signs.
    fn digest(&self) -> [u8; 32] {
        let hash = |part: &str| sha256(&[part.as_bytes()]);
        let (points, serial) = (self.points.to_be_bytes(), self.serial.to_be_bytes());
        sha256(&[&hash(&self.network), &self.card.0, &hash(&self.shop), &points, &serial])
    }
}

impl Payment for Stamp {
    type Payer = Card;

    fn claim_key(&self) -> ClaimKey {
        ClaimKey::new(sha256(&[
            b"points",
            &sha256(&[self.network.as_bytes()]),
            &self.card.0,
            &self.serial.to_be_bytes(),
        ]))
    }

    /// A stamp never ends: the card remembers its serial number.
    fn expires_at(&self) -> u64 {
        u64::MAX
    }

    fn payer(&self) -> Card {
        self.card
    }
}

/// The scheme.
#[derive(Clone, Copy, Debug, Default)]
pub struct Points;

/// The stamp is not signed by its card.
pub const FORGED: Reason = Reason::Own(1);
/// The card has too few points.
pub const TOO_FEW: Reason = Reason::Own(2);

impl Points {
    fn stamp(
        payload: &PaymentPayload<'_>,
        offer: &wire::PaymentRequirements<'_>,
    ) -> Result<(Stamp, [u8; 64]), Reason> {
        let [card, serial, signature] = payload.payload.get_all(["card", "serial", "signature"]);
        let text = |field: Option<x402_core::json::RawJson<'_>>| {
            Some(field?.as_string()?.as_str()?.to_owned())
        };
        let read = || {
            let mut by = [0; 64];
            hex::decode_to_slice(text(signature)?, &mut by).ok()?;
            let stamp = Stamp {
                network: offer.network.as_str().into(),
                card: Card::parse(&text(card)?)?,
                shop: offer.pay_to.as_str()?.into(),
                points: offer.amount.as_u64()?,
                serial: serial?.as_u64()?,
            };
            Some((stamp, by))
        };
        read().ok_or(Reason::InvalidPayload)
    }
}

impl Scheme for Points {
    type Payment = Stamp;

    fn handles(&self, offer: &wire::PaymentRequirements<'_>) -> bool {
        offer.scheme == "points" && offer.network.as_str().starts_with("card:")
    }

    fn check_offer(&self, offer: &wire::PaymentRequirements<'_>) -> Result<(), Reason> {
        let is_payable = offer.amount.as_u64().is_some_and(|points| points > 0);
        if is_payable { Ok(()) } else { Err(Reason::InvalidPaymentRequirements) }
    }

    fn check(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &wire::PaymentRequirements<'_>,
        _now: u64,
    ) -> Result<Stamp, Reason> {
        if !self.handles(requirements) || payload.scheme() != "points" {
            return Err(Reason::UnsupportedScheme);
        }
        if !payload.network().is_same(requirements.network) {
            return Err(Reason::InvalidNetwork);
        }
        let (stamp, signature) = Self::stamp(payload, requirements)?;
        if !Dalek.verify(&stamp.card.0, &stamp.digest(), &signature) {
            return Err(FORGED);
        }
        Ok(stamp)
    }

    fn named_payer(
        &self,
        payload: &PaymentPayload<'_>,
        _: &wire::PaymentRequirements<'_>,
    ) -> Option<Card> {
        Card::parse(payload.payload.get_string("card")?.as_str()?)
    }

    fn own_reason(&self, own: u8) -> Option<&'static str> {
        match Reason::Own(own) {
            FORGED => Some("points_forged_stamp"),
            TOO_FEW => Some("points_too_few"),
            _ => None,
        }
    }
}

/// An offer of a shop.
pub fn offer(network: &str, shop: &str, points: u64) -> PaymentRequirements {
    PaymentRequirements {
        scheme: "points".into(),
        network: network.parse().expect("a network"),
        amount: Amount::from(points),
        asset: "points".into(),
        pay_to: shop.into(),
        max_timeout_seconds: 60,
        extra: None,
        v1: None,
        other: None,
    }
}

/// Pays by a card.
pub struct CardWallet {
    key: LocalKey,
}

impl CardWallet {
    /// The card of a key.
    pub fn new(key: LocalKey) -> Self {
        Self { key }
    }

    /// The card.
    pub fn card(&self) -> Card {
        Card(Signer::public_key(&self.key))
    }
}

impl Wallet for CardWallet {
    fn pays(&self, offer: &wire::PaymentRequirements<'_>) -> bool {
        Points.handles(offer) && Points.check_offer(offer).is_ok()
    }

    fn decimals(&self, _offer: &wire::PaymentRequirements<'_>) -> Option<u8> {
        None
    }
}

impl PaymentSigner for CardWallet {
    async fn sign(
        &self,
        _resource: Option<&str>,
        offer: &PaymentRequirements,
        _now: u64,
        random: [u8; 32],
    ) -> Result<Json, SignFailure> {
        let network = offer.network.as_view();
        if !network.as_str().starts_with("card:") {
            return Err(SignFailure::Offer(Reason::InvalidNetwork));
        }
        let [a, b, c, d, e, f, ..] = random;
        let stamp = Stamp {
            network: network.as_str().into(),
            card: self.card(),
            shop: offer.pay_to.clone(),
            points: offer.amount.as_u64().ok_or(SignFailure::Offer(Reason::InvalidPayload))?,
            // JSON has integers of 53 bits.
            serial: u64::from_be_bytes([0, 0, a, b, c, d, e, f]),
        };
        let signature = Signer::sign(&self.key, &stamp.digest());
        let signature = signature.map_err(|_| SignFailure::Offer(Reason::InvalidPayload))?;
        let payload = serde_json::json!({
            "card": stamp.card.to_string(),
            "serial": stamp.serial,
            "signature": hex::encode(signature),
        });
        Json::from_value(&payload).map_err(|_| SignFailure::Offer(Reason::InvalidPayload))
    }
}
