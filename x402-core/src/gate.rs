//! The gate: the one place where a payment becomes a verified one.
//!
//! A [`Scheme`] knows the checks; [`verify`] runs them against the seller's own requirements and
//! returns the proof. Settling, claiming and serving take that proof, so an unchecked payment cannot
//! reach them.
//!
//! Schemes compose: `(A, B)` is a scheme whose payments are [`Either`] of both, and `Option<A>` is one
//! that can be switched off.

use core::fmt;
use core::hash::Hash;

use crate::claim::ClaimKey;
use crate::network::Version;
use crate::reason::Reason;
use crate::wire::{PaymentPayload, PaymentRequirements};

/// The checks of one payment scheme that need no chain.
pub trait Scheme {
    /// A payment of this scheme, once it is checked.
    type Payment: Payment;

    /// Returns whether payments of an offer are this scheme's to check. Of several schemes the
    /// first that handles an offer checks all of its payments.
    fn handles(&self, offer: &PaymentRequirements<'_>) -> bool;

    /// Checks that an offer of a seller's own can be paid.
    ///
    /// # Errors
    /// The reason for which every payment of it would be refused.
    fn check_offer(&self, offer: &PaymentRequirements<'_>) -> Result<(), Reason>;

    /// Checks `payload` against `requirements`, which are the seller's own, at `now` (Unix seconds). It
    /// refuses every offer it does not [handle](Self::handles).
    ///
    /// # Errors
    /// The official reason of the first check that fails.
    fn check(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        now: u64,
    ) -> Result<Self::Payment, Reason>;

    /// Returns the keys of an offer's `extra` that a payment may repeat with other values: those
    /// that differ between two offers of the same price. None, by default.
    fn may_differ(&self, offer: &PaymentRequirements<'_>) -> &'static [&'static str] {
        let _ = offer;
        &[]
    }

    /// Returns the last Unix second at which a payment was in time that is `refused` now because it has
    /// expired. `None` for every other refusal, and by default. With it, the outcome of a payment that was
    /// sent and has expired since can be asked for: see [`verify_late`]. A scheme that wraps another must
    /// pass this on.
    fn in_time_until(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        refused: Reason,
    ) -> Option<u64> {
        let _ = (payload, requirements, refused);
        None
    }

    /// Returns the payer that a payment of an offer names, before any check. It is for answers to
    /// refusals, and to compare a facilitator's answer with; it proves nothing. None, by default.
    fn named_payer(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
    ) -> Option<<Self::Payment as Payment>::Payer> {
        let _ = (payload, requirements);
        None
    }

    /// Returns the code of a [`Reason::Own`] of this scheme. None, by default. Schemes that are used
    /// together need different ones.
    fn own_reason(&self, own: u8) -> Option<&'static str> {
        let _ = own;
        None
    }

    /// Returns the reason against a payment of an offer, in this scheme's spelling for a version of
    /// the protocol: the same in both, by default.
    fn spelled(
        &self,
        reason: Reason,
        requirements: &PaymentRequirements<'_>,
        version: Version,
    ) -> Reason {
        let _ = (requirements, version);
        reason
    }
}

/// Returns the code of a reason, which is the scheme's own for [`Reason::Own`].
pub fn code_of<S: Scheme>(scheme: &S, reason: Reason) -> &'static str {
    match reason {
        Reason::Own(own) => scheme.own_reason(own).unwrap_or(reason.as_str()),
        _ => reason.as_str(),
    }
}

/// The facts that every checked payment has, whatever its scheme.
pub trait Payment {
    /// A payer, whose text is the address as the network writes it.
    type Payer: Clone + Eq + Hash + fmt::Debug + fmt::Display;

    /// Returns the payment's identity: the same for every presentation of it, different for any
    /// other.
    fn claim_key(&self) -> ClaimKey;

    /// Returns the Unix second at which it can no longer be settled.
    fn expires_at(&self) -> u64;

    /// Returns the payer.
    fn payer(&self) -> Self::Payer;

    /// Returns why it is too late at `now` (Unix seconds) to send it to a chain. `None` while it is in
    /// time, and by default, where the chain alone knows.
    fn late(&self, now: u64) -> Option<Reason> {
        let _ = now;
        None
    }

    /// Returns whether the gate has proven that the payer agreed: true except for [`Unproven`]
    /// payments.
    fn is_proven(&self) -> bool {
        true
    }

    /// Returns whether the payer's signature is verified, so that only the payer can have made the
    /// payment. An [`Unproven`] one may be signed or not. Limits for each payer count both kinds
    /// apart.
    fn is_signed(&self) -> bool {
        true
    }

    /// Returns whether its claim alone keeps it from being used again, so that the claim must not
    /// be lost. Other payments can be settled once, whatever becomes of their claims.
    fn needs_durable_claim(&self) -> bool {
        false
    }
}

/// A payment that only the chain can prove to be the payer's: a signature of a smart wallet, a transfer
/// that was sent. Everybody can write one in anybody's name.
///
/// A ledger must prove it before it acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unproven<P>(P);

impl<P> Unproven<P> {
    /// Wraps a payment that passed every check but the chain's.
    pub const fn new(payment: P) -> Self {
        Self(payment)
    }

    /// Returns the payment, to be proven.
    pub const fn as_unproven(&self) -> &P {
        &self.0
    }
}

impl<P: Payment> Payment for Unproven<P> {
    type Payer = P::Payer;

    fn claim_key(&self) -> ClaimKey {
        self.0.claim_key()
    }

    fn expires_at(&self) -> u64 {
        self.0.expires_at()
    }

    fn payer(&self) -> P::Payer {
        self.0.payer()
    }

    fn late(&self, now: u64) -> Option<Reason> {
        self.0.late(now)
    }

    fn is_proven(&self) -> bool {
        false
    }

    fn is_signed(&self) -> bool {
        self.0.is_signed()
    }

    fn needs_durable_claim(&self) -> bool {
        self.0.needs_durable_claim()
    }
}

/// One of two: a payment of a pair of schemes, or a payer of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Either<A, B> {
    /// Of the first.
    First(A),
    /// Of the second.
    Second(B),
}

/// Evaluates one expression for either variant.
macro_rules! either {
    ($either:expr, $it:ident => $same:expr) => {
        match $either {
            Either::First($it) => $same,
            Either::Second($it) => $same,
        }
    };
}

impl<A: fmt::Display, B: fmt::Display> fmt::Display for Either<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        either!(self, it => it.fmt(f))
    }
}

impl<A: Payment, B: Payment> Payment for Either<A, B> {
    type Payer = Either<A::Payer, B::Payer>;

    fn claim_key(&self) -> ClaimKey {
        either!(self, payment => payment.claim_key())
    }

    fn expires_at(&self) -> u64 {
        either!(self, payment => payment.expires_at())
    }

    fn payer(&self) -> Self::Payer {
        match self {
            Self::First(payment) => Either::First(payment.payer()),
            Self::Second(payment) => Either::Second(payment.payer()),
        }
    }

    fn late(&self, now: u64) -> Option<Reason> {
        either!(self, payment => payment.late(now))
    }

    fn is_proven(&self) -> bool {
        either!(self, payment => payment.is_proven())
    }

    fn is_signed(&self) -> bool {
        either!(self, payment => payment.is_signed())
    }

    fn needs_durable_claim(&self) -> bool {
        either!(self, payment => payment.needs_durable_claim())
    }
}

/// Returns the scheme of a pair that handles an offer.
fn handler<'p, A: Scheme, B: Scheme>(
    pair: &'p (A, B),
    offer: &PaymentRequirements<'_>,
) -> Option<Either<&'p A, &'p B>> {
    if pair.0.handles(offer) {
        Some(Either::First(&pair.0))
    } else {
        pair.1.handles(offer).then_some(Either::Second(&pair.1))
    }
}

impl<A: Scheme, B: Scheme> Scheme for (A, B) {
    type Payment = Either<A::Payment, B::Payment>;

    fn handles(&self, offer: &PaymentRequirements<'_>) -> bool {
        handler(self, offer).is_some()
    }

    fn check_offer(&self, offer: &PaymentRequirements<'_>) -> Result<(), Reason> {
        let scheme = handler(self, offer).ok_or_else(|| unhandled(offer))?;
        either!(scheme, scheme => scheme.check_offer(offer))
    }

    fn check(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        now: u64,
    ) -> Result<Self::Payment, Reason> {
        match handler(self, requirements).ok_or_else(|| unhandled(requirements))? {
            Either::First(scheme) => scheme.check(payload, requirements, now).map(Either::First),
            Either::Second(scheme) => scheme.check(payload, requirements, now).map(Either::Second),
        }
    }

    fn may_differ(&self, offer: &PaymentRequirements<'_>) -> &'static [&'static str] {
        let Some(scheme) = handler(self, offer) else { return &[] };
        either!(scheme, scheme => scheme.may_differ(offer))
    }

    fn in_time_until(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        refused: Reason,
    ) -> Option<u64> {
        let scheme = handler(self, requirements)?;
        either!(scheme, scheme => scheme.in_time_until(payload, requirements, refused))
    }

    fn named_payer(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
    ) -> Option<<Self::Payment as Payment>::Payer> {
        match handler(self, requirements)? {
            Either::First(scheme) => scheme.named_payer(payload, requirements).map(Either::First),
            Either::Second(scheme) => scheme.named_payer(payload, requirements).map(Either::Second),
        }
    }

    fn own_reason(&self, own: u8) -> Option<&'static str> {
        self.0.own_reason(own).or_else(|| self.1.own_reason(own))
    }

    fn spelled(
        &self,
        reason: Reason,
        requirements: &PaymentRequirements<'_>,
        version: Version,
    ) -> Reason {
        let Some(scheme) = handler(self, requirements) else { return reason };
        either!(scheme, scheme => scheme.spelled(reason, requirements, version))
    }
}

impl<A: Scheme> Scheme for Option<A> {
    type Payment = A::Payment;

    fn handles(&self, offer: &PaymentRequirements<'_>) -> bool {
        self.as_ref().is_some_and(|scheme| scheme.handles(offer))
    }

    fn check_offer(&self, offer: &PaymentRequirements<'_>) -> Result<(), Reason> {
        self.as_ref().ok_or_else(|| unhandled(offer))?.check_offer(offer)
    }

    fn check(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        now: u64,
    ) -> Result<A::Payment, Reason> {
        let scheme = self.as_ref().ok_or_else(|| unhandled(requirements))?;
        scheme.check(payload, requirements, now)
    }

    fn may_differ(&self, offer: &PaymentRequirements<'_>) -> &'static [&'static str] {
        self.as_ref().map_or(&[], |scheme| scheme.may_differ(offer))
    }

    fn in_time_until(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        refused: Reason,
    ) -> Option<u64> {
        self.as_ref()?.in_time_until(payload, requirements, refused)
    }

    fn named_payer(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
    ) -> Option<<A::Payment as Payment>::Payer> {
        self.as_ref()?.named_payer(payload, requirements)
    }

    fn own_reason(&self, own: u8) -> Option<&'static str> {
        self.as_ref()?.own_reason(own)
    }

    fn spelled(
        &self,
        reason: Reason,
        requirements: &PaymentRequirements<'_>,
        version: Version,
    ) -> Reason {
        self.as_ref().map_or(reason, |scheme| scheme.spelled(reason, requirements, version))
    }
}

/// Returns the reason against an offer that no scheme handles.
fn unhandled(offer: &PaymentRequirements<'_>) -> Reason {
    let is_known = offer.network.eip155().is_some() || offer.network.solana().is_some();
    if is_known { Reason::UnsupportedScheme } else { Reason::InvalidNetwork }
}

/// Proof that a payment passed the gate. Only [`verify`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified<P> {
    payment: P,
}

impl<P> Verified<P> {
    /// Returns the payment.
    pub const fn payment(&self) -> &P {
        &self.payment
    }

    /// Returns the payment and gives up the proof.
    pub fn into_payment(self) -> P {
        self.payment
    }

    /// Returns the proof of a borrowed payment.
    pub const fn as_ref(&self) -> Verified<&P> {
        Verified { payment: &self.payment }
    }
}

impl<'p, A, B> Verified<&'p Either<A, B>> {
    /// Returns the proof as that of one of the two schemes.
    pub const fn as_either(self) -> Either<Verified<&'p A>, Verified<&'p B>> {
        match self.payment {
            Either::First(payment) => Either::First(Verified { payment }),
            Either::Second(payment) => Either::Second(Verified { payment }),
        }
    }
}

/// Runs every check that needs no chain, and returns the proof.
///
/// `requirements` must be the caller's own, never the buyer's: those of a facilitator's client, or
/// a seller's offer. Of the offer that a v2 payment repeats, only scheme and network are compared
/// here. Extensions and the header's version are not compared either: sellers use
/// [`Seller::read`](crate::seller::Seller::read) and
/// [`Seller::admit`](crate::seller::Seller::admit), which do.
///
/// # Errors
/// The reason of the first check that fails.
pub fn verify<S: Scheme>(
    scheme: &S,
    payload: &PaymentPayload<'_>,
    requirements: &PaymentRequirements<'_>,
    now: u64,
) -> Result<Verified<S::Payment>, Reason> {
    // A v2 offer may be paid in v1 by a seller that serves both; a v1 offer was never made in v2.
    if payload.x402_version() == Version::V2 && requirements.version() == Version::V1 {
        return Err(Reason::InvalidX402Version);
    }
    // Challenges may have a network in the other version's spelling; a payment that is taken has its own.
    if payload.network().as_str().contains(':') != (payload.x402_version() == Version::V2) {
        return Err(Reason::InvalidNetwork);
    }
    scheme.check(payload, requirements, now).map(|payment| Verified { payment })
}

/// Runs the checks of [`verify`], and also passes a payment that has expired. It may have been sent
/// before, and its payer may ask for its outcome. It is checked for the last second at which it was in
/// time, and is [late](Payment::late).
///
/// # Errors
/// The reason of the first check that fails.
pub fn verify_late<S: Scheme>(
    scheme: &S,
    payload: &PaymentPayload<'_>,
    requirements: &PaymentRequirements<'_>,
    now: u64,
) -> Result<Verified<S::Payment>, Reason> {
    let refused = match verify(scheme, payload, requirements, now) {
        Ok(verified) => return Ok(verified),
        Err(reason) => reason,
    };
    let then = scheme.in_time_until(payload, requirements, refused);
    let then = then.filter(|then| *then < now).ok_or(refused)?;
    let verified = verify(scheme, payload, requirements, then)?;
    if verified.payment.late(now).is_some() { Ok(verified) } else { Err(refused) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amount::Amount;
    use crate::network::Network;
    use crate::seller::Seller;
    use crate::wire::{Message as _, ResourceInfo};

    /// Takes every payment of offers in its own name that ends later than now.
    struct Named(&'static str);

    #[derive(Clone, Debug, PartialEq)]
    struct Paid {
        to: &'static str,
        ends: u64,
    }

    impl Payment for Paid {
        type Payer = &'static str;

        fn claim_key(&self) -> ClaimKey {
            ClaimKey::new([1; 32])
        }

        fn expires_at(&self) -> u64 {
            self.ends
        }

        fn payer(&self) -> &'static str {
            self.to
        }

        fn late(&self, now: u64) -> Option<Reason> {
            (self.ends < now).then_some(Reason::PaymentExpired)
        }

        fn needs_durable_claim(&self) -> bool {
            self.to == "kept"
        }
    }

    impl Scheme for Named {
        type Payment = Paid;

        fn handles(&self, offer: &PaymentRequirements<'_>) -> bool {
            offer.scheme == self.0
        }

        fn check_offer(&self, offer: &PaymentRequirements<'_>) -> Result<(), Reason> {
            if offer.amount.is_zero() { Err(Reason::InvalidPaymentRequirements) } else { Ok(()) }
        }

        fn check(
            &self,
            payload: &PaymentPayload<'_>,
            requirements: &PaymentRequirements<'_>,
            now: u64,
        ) -> Result<Paid, Reason> {
            if !self.handles(requirements) || payload.scheme() != self.0 {
                return Err(Reason::UnsupportedScheme);
            }
            let ends = payload.payload.get("ends").and_then(|ends| ends.as_u64());
            let payment = Paid { to: self.0, ends: ends.ok_or(Reason::InvalidPayload)? };
            payment.late(now).map_or(Ok(payment), Err)
        }

        fn may_differ(&self, _: &PaymentRequirements<'_>) -> &'static [&'static str] {
            if self.0 == "b" { &["hint"] } else { &[] }
        }

        fn in_time_until(
            &self,
            payload: &PaymentPayload<'_>,
            _: &PaymentRequirements<'_>,
            refused: Reason,
        ) -> Option<u64> {
            let ends = payload.payload.get("ends").and_then(|ends| ends.as_u64());
            ends.filter(|_| refused == Reason::PaymentExpired)
        }

        fn named_payer(
            &self,
            payload: &PaymentPayload<'_>,
            _: &PaymentRequirements<'_>,
        ) -> Option<&'static str> {
            (payload.scheme() == self.0).then_some(self.0)
        }

        fn spelled(&self, _: Reason, _: &PaymentRequirements<'_>, _: Version) -> Reason {
            if self.0 == "a" { Reason::InvalidPayload } else { Reason::InvalidPayment }
        }
    }

    const OFFER: &str = r#"{"scheme":"S","network":"N","amount":"1","asset":"x","payTo":"y","maxTimeoutSeconds":60,"extra":{"hint":1}}"#;

    fn offer(scheme: &str, network: &str) -> std::string::String {
        OFFER
            .replace("\"S\"", &std::format!("{scheme:?}"))
            .replace("\"N\"", &std::format!("{network:?}"))
    }

    fn payment(offer: &str, ends: u64) -> std::string::String {
        std::format!(r#"{{"x402Version":2,"accepted":{offer},"payload":{{"ends":{ends}}}}}"#)
    }

    #[test]
    fn the_first_scheme_that_handles_an_offer_checks_its_payments() {
        let schemes = ((Named("a"), Named("b")), (None::<Named>, Some(Named("b"))));
        type Two<T> = Either<Either<T, T>, Either<T, T>>;
        let of = |name, first: fn(Paid) -> Two<Paid>| first(Paid { to: name, ends: 9 });
        let unsupported = Err(Reason::UnsupportedScheme);
        for (scheme, network, expected, spelled) in [
            (
                "a",
                "eip155:1",
                Ok(of("a", |it| Either::First(Either::First(it)))),
                Reason::InvalidPayload,
            ),
            (
                "b",
                "card:x1",
                Ok(of("b", |it| Either::First(Either::Second(it)))),
                Reason::InvalidPayment,
            ),
            ("c", "eip155:1", unsupported, Reason::Busy),
            ("c", "card:x1", Err(Reason::InvalidNetwork), Reason::Busy),
        ] {
            let offer = offer(scheme, network);
            let requirements = PaymentRequirements::parse(offer.as_bytes()).unwrap();
            let json = payment(&offer, 9);
            let payload = PaymentPayload::parse(json.as_bytes()).unwrap();
            let verified = verify(&schemes, &payload, &requirements, 5);
            assert_eq!(verified.clone().map(Verified::into_payment), expected, "{scheme}");
            assert_eq!(schemes.handles(&requirements), expected.is_ok(), "{scheme}");
            assert_eq!(schemes.check_offer(&requirements).err(), expected.clone().err());
            let free = PaymentRequirements { amount: Amount::ZERO, ..requirements };
            assert!(schemes.check_offer(&free).is_err());
            let Ok(payment) = &expected else { continue };
            assert_eq!(schemes.spelled(Reason::Busy, &requirements, Version::V1), spelled);
            assert_eq!(schemes.may_differ(&requirements).len(), usize::from(scheme == "b"));
            let payer = schemes.named_payer(&payload, &requirements).unwrap();
            assert_eq!((payer, std::format!("{payer}")), (payment.payer(), scheme.into()));
            // The proof keeps its type.
            let lent = verified.as_ref().unwrap().as_ref();
            assert_eq!(lent.payment(), &payment);
            assert!(matches!(lent.as_either(), Either::First(_)));
        }
        let second = (None::<Named>, (Named("c"), Named("b")));
        let b = offer("b", "card:x1");
        let json = payment(&b, 9);
        let payload = PaymentPayload::parse(json.as_bytes()).unwrap();
        let requirements = PaymentRequirements::parse(b.as_bytes()).unwrap();
        let verified = verify(&second, &payload, &requirements, 5).unwrap();
        let Either::Second(verified) = verified.as_ref().as_either() else { panic!() };
        let Either::Second(verified) = verified.as_either() else { panic!() };
        assert_eq!(verified.payment().to, "b");
    }

    #[test]
    fn late_payments_pass_to_be_asked_about_and_no_others() {
        let schemes = (Named("a"), Some(Named("b")));
        let b = offer("b", "card:x1");
        let requirements = PaymentRequirements::parse(b.as_bytes()).unwrap();
        let json = payment(&b, 9);
        let payload = PaymentPayload::parse(json.as_bytes()).unwrap();
        for (now, late) in [(0, None), (9, None), (10, Some(Reason::PaymentExpired))] {
            assert_eq!(verify(&schemes, &payload, &requirements, now).err(), late);
            let verified = verify_late(&schemes, &payload, &requirements, now).unwrap();
            assert_eq!(verified.payment().late(now), late);
        }
        // Only time is a reason to look again.
        let json = json.replace("\"ends\"", "\"end\"");
        let payload = PaymentPayload::parse(json.as_bytes()).unwrap();
        let refused = verify_late(&schemes, &payload, &requirements, 10).err();
        assert_eq!(refused, Some(Reason::InvalidPayload));
    }

    #[test]
    fn a_seller_admits_by_any_scheme() {
        let (a, b) = (offer("a", "card:x1"), offer("b", "card:x1"));
        let offers = [&a, &b].map(|json| PaymentRequirements::parse(json.as_bytes()).unwrap());
        let resource = ResourceInfo::default();
        let seller = Seller { resource, accepts: &offers, extensions: None };
        let schemes = (Named("a"), Named("b"));
        let other = |offer: &str| offer.replace("\"hint\":1", "\"hint\":2");
        for (accepted, index) in
            [(&a, Some(0)), (&b, Some(1)), (&other(&b), Some(1)), (&other(&a), None)]
        {
            let json = payment(accepted, 9);
            let payload = PaymentPayload::parse(json.as_bytes()).unwrap();
            let admitted = seller.admit(&schemes, &payload, 5);
            assert_eq!(admitted.map(|admitted| admitted.index).ok(), index, "{accepted}");
            assert!(seller.admit(&schemes, &payload, 10).is_err());
            let late = seller.admit_late(&schemes, &payload, 10);
            assert_eq!(late.map(|admitted| admitted.index).ok(), index, "{accepted}");
        }
    }

    #[test]
    fn an_unproven_payment_is_the_same_one() {
        for to in ["a", "kept"] {
            let payment = Paid { to, ends: 9 };
            let unproven = Unproven::new(payment.clone());
            assert!(payment.is_proven() && !unproven.is_proven());
            assert!(payment.is_signed() && unproven.is_signed());
            assert_eq!(unproven.as_unproven(), &payment);
            for either in [Either::First(unproven.clone()), Either::Second(payment.clone())] {
                assert_eq!(either.is_proven(), matches!(either, Either::Second(_)));
                assert_eq!(either.claim_key(), payment.claim_key());
                assert_eq!(either.expires_at(), 9);
                assert_eq!(either.late(10), Some(Reason::PaymentExpired));
                assert_eq!(either.needs_durable_claim(), to == "kept");
                assert_eq!(std::format!("{}", either.payer()), to);
            }
        }
        assert!(Network::parse("card:x1").is_ok());
    }
}
