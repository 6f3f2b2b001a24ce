use core::fmt;

use x402_core::buyer::Wallet;
use x402_core::claim::ClaimKey;
#[cfg(feature = "secp256k1")]
use x402_core::crypto::secp256k1::K256;
use x402_core::crypto::{Recover, RecoverableSignature, keccak256};
use x402_core::domain;
use x402_core::json::{Cursor, JsonStr, RawJson, Writer};
use x402_core::wire::{PaymentPayload, PaymentRequirements};
use x402_core::{Amount, EncodeError, ParseError, Payment, Reason, Scheme, Version, limits};

use crate::address::hex_array;
use crate::assets::{self, Asset, AssetTransferMethod};
use crate::{Address, eip712};

/// Seconds a payment must still be valid for, so that it can be mined in time.
pub const SETTLEMENT_SECONDS: u64 = 6;

/// Seconds for which a payment signed here is valid at the most, by the clock it is signed by.
pub const MAX_VALIDITY_SECONDS: u64 = 3600;

/// Seconds for which a payment may be valid beyond its offer's time-out: clocks differ, and buyers
/// may take their time between signing and paying.
pub const VALIDITY_SLACK_SECONDS: u64 = 3600;

/// Longest time-out of an offer that lengthens the validity of its payments, in seconds: a week.
const LONGEST_TIMEOUT_SECONDS: u64 = 7 * 24 * 3600;

/// Seconds before now at which a v1 payment starts to be valid, as v1 clients have it.
const V1_BACKDATE_SECONDS: u64 = 600;

/// Bytes that any payload written by [`Eip3009Unsigned::payload`] fits in.
pub const PAYLOAD_BYTES: usize = 768;

/// A payer's authorization of one transfer of a token. EIP-3009, `TransferWithAuthorization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The payer.
    pub from: Address,
    /// The payee.
    pub to: Address,
    /// The amount, in the token's smallest unit.
    pub value: Amount,
    /// Unix second from which it is valid.
    pub valid_after: Amount,
    /// Unix second before which it is valid.
    pub valid_before: Amount,
    /// 32 bytes the payer never uses twice.
    pub nonce: [u8; 32],
}

impl Authorization {
    /// Reads the object where the cursor stands; `None` if it is not one of this shape.
    fn read(c: &mut Cursor<'_>) -> Result<Option<Self>, ParseError> {
        if c.peek() != Some(b'{') {
            return c.value().map(|_| None);
        }
        let mut object = c.object()?;
        let (mut from, mut to, mut nonce) = (None, None, None);
        let (mut value, mut valid_after, mut valid_before) = (None, None, None);
        while let Some(key) = c.key(&mut object)? {
            let text = plain_text(c)?;
            let address = || Address::parse(text?);
            let amount = || Amount::parse(text?).ok();
            match key {
                "from" => from = address(),
                "to" => to = address(),
                "value" => value = amount(),
                "validAfter" => valid_after = amount(),
                "validBefore" => valid_before = amount(),
                "nonce" => nonce = text.and_then(hex_array),
                _ => {}
            }
        }
        let read = || {
            Some(Self {
                from: from?,
                to: to?,
                value: value?,
                valid_after: valid_after?,
                valid_before: valid_before?,
                nonce: nonce?,
            })
        };
        Ok(read())
    }
}

/// Reads the value where the cursor stands, and returns its text if it is a string without escapes.
fn plain_text<'a>(c: &mut Cursor<'a>) -> Result<Option<&'a str>, ParseError> {
    match c.peek() {
        Some(b'"') => c.string().map(JsonStr::as_str),
        _ => c.value().map(|_| None),
    }
}

/// The `payload` of a payment by EIP-3009: an authorization and its signature.
#[derive(Clone, Copy)]
pub struct Eip3009Payload<'a> {
    /// The authorization.
    pub authorization: Authorization,
    /// The signature as sent, in hexadecimal; it is looked at when its turn comes.
    pub signature: JsonStr<'a>,
}

impl<'a> Eip3009Payload<'a> {
    /// Reads the payload of a payment. Unknown keys are stepped over.
    ///
    /// # Errors
    /// [`Reason::UnsupportedPayloadType`] for another transfer method; [`Reason::InvalidPayload`]
    /// for another shape. That is a missing field, an address or nonce of another length, a number
    /// outside `0|[1-9][0-9]*` or above 2^256-1, or a key written with escapes.
    pub fn read(payload: RawJson<'a>) -> Result<Self, Reason> {
        let mut permit2 = false;
        let (mut authorization, mut signature) = (None, None);
        let mut read = || {
            let mut c = payload.cursor();
            let mut object = c.object()?;
            while let Some(key) = c.key(&mut object)? {
                match key {
                    "permit2Authorization" => {
                        c.value()?;
                        permit2 = true;
                    }
                    "authorization" => authorization = Authorization::read(&mut c)?,
                    "signature" => signature = c.value()?.as_string(),
                    _ => drop(c.value()?),
                }
            }
            Ok::<_, ParseError>(())
        };
        read().map_err(|_| Reason::InvalidPayload)?;
        if permit2 {
            return Err(Reason::UnsupportedPayloadType);
        }
        let (authorization, signature) =
            authorization.zip(signature).ok_or(Reason::InvalidPayload)?;
        Ok(Self { authorization, signature })
    }

    /// Returns the signature, if it is 65 bytes in the one form the token contracts accept.
    pub fn recoverable_signature(&self) -> Option<RecoverableSignature> {
        let bytes: [u8; 65] = hex_array(self.signature.as_str()?)?;
        RecoverableSignature::from_bytes(&bytes).ok()
    }
}

impl fmt::Debug for Eip3009Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authorization = &self.authorization;
        f.debug_struct("Eip3009Payload")
            .field("authorization", authorization)
            .finish_non_exhaustive()
    }
}

/// A payment by EIP-3009 that passed every check that needs no chain, **but its signature's**: see
/// [`check_but_signature`].
///
/// It is no [`Payment`], so no gate returns it as verified. A caller that makes a payment of it
/// must ask the chain whether the payer signed it (ERC-1271).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Eip3009Unproven {
    /// Chain id of the network.
    pub chain_id: u64,
    /// The token.
    pub asset: Address,
    /// The authorization, if the payer signed it.
    pub authorization: Authorization,
}

impl Eip3009Unproven {
    /// Returns the key of [`Eip3009Payment`]: the payment is the same, regardless of the
    /// signature's judge.
    pub fn claim_key(&self) -> ClaimKey {
        claim_key(self.chain_id, self.asset, &self.authorization)
    }

    /// Returns the Unix second at which it can no longer be settled.
    pub fn expires_at(&self) -> u64 {
        expires_at(&self.authorization)
    }

    /// Returns why it is too late at `now` to send it.
    pub fn late(&self, now: u64) -> Option<Reason> {
        late(&self.authorization, now)
    }
}

/// A payment by EIP-3009 that passed every check that needs no chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Eip3009Payment {
    /// Chain id of the network.
    pub chain_id: u64,
    /// The token.
    pub asset: Address,
    /// The authorization.
    pub authorization: Authorization,
    /// The payer's signature.
    pub signature: RecoverableSignature,
}

impl Payment for Eip3009Payment {
    type Payer = Address;

    /// Returns the Keccak-256 of chain, token, payer and nonce: the token itself allows each once.
    fn claim_key(&self) -> ClaimKey {
        claim_key(self.chain_id, self.asset, &self.authorization)
    }

    fn expires_at(&self) -> u64 {
        expires_at(&self.authorization)
    }

    fn payer(&self) -> Address {
        self.authorization.from
    }

    fn late(&self, now: u64) -> Option<Reason> {
        late(&self.authorization, now)
    }
}

fn claim_key(chain_id: u64, asset: Address, authorization: &Authorization) -> ClaimKey {
    ClaimKey::new(keccak256(&[
        domain::CLAIM_EIP3009,
        &chain_id.to_be_bytes(),
        &asset.0,
        &authorization.from.0,
        &authorization.nonce,
    ]))
}

/// Returns the reason against a payment that ends before it can be mined.
fn late(authorization: &Authorization, now: u64) -> Option<Reason> {
    let settled = now.checked_add(SETTLEMENT_SECONDS).map(Amount::from);
    let in_time = settled.is_some_and(|settled| authorization.valid_before >= settled);
    (!in_time).then_some(Reason::InvalidExactEvmPayloadAuthorizationValidBefore)
}

fn expires_at(authorization: &Authorization) -> u64 {
    authorization.valid_before.as_u64().unwrap_or(u64::MAX)
}

/// The scheme `exact` on EVM networks, by EIP-3009.
///
/// [`Scheme::check`] runs the official facilitator's checks that need no chain, in its order and
/// with its codes. It is stricter where the official one accepts payments that cannot or should not
/// be settled. It refuses an amount of zero, a signature with high `s`, numbers in another
/// spelling, and a known token called by another name. A payment must end by the offer's time-out,
/// of at most a week, and [`VALIDITY_SLACK_SECONDS`] from now: its claim is kept that long.
/// Not supported: smart wallets (ERC-1271, ERC-6492), which need the chain to be asked. A caller
/// that can ask it makes the other checks by [`check_but_signature`].
///
/// Source: `scheme_exact_evm.md`; EIP-3009; EIP-712; EIP-2 for the signature's form.
#[derive(Clone, Copy, Debug, Default)]
#[cfg(feature = "secp256k1")]
pub struct ExactEvm<R = K256> {
    recover: R,
}

/// The scheme `exact` on EVM networks, by EIP-3009.
#[derive(Clone, Copy, Debug, Default)]
#[cfg(not(feature = "secp256k1"))]
pub struct ExactEvm<R> {
    recover: R,
}

impl<R: Recover> ExactEvm<R> {
    /// Uses another way to recover signers.
    pub const fn with_recover(recover: R) -> Self {
        Self { recover }
    }
}

/// The parts of an offer that its payments are checked against.
#[derive(Clone, Copy)]
struct Offer<'a> {
    chain_id: u64,
    asset: Address,
    pay_to: Address,
    name: JsonStr<'a>,
    version: JsonStr<'a>,
    known: Option<&'static Asset>,
}

impl<'a> Offer<'a> {
    fn read(offer: &PaymentRequirements<'a>) -> Result<Self, Reason> {
        let chain_id = offer.network.eip155().ok_or(Reason::InvalidNetwork)?;
        let named = offer.extra.map(|extra| extra.get_all(["name", "version"]));
        let text = |field: Option<RawJson<'a>>| field?.as_string().filter(|text| !text.is_empty());
        let (name, version) = named
            .and_then(|[name, version]| text(name).zip(text(version)))
            .ok_or(Reason::InvalidExactEvmMissingEip712Domain)?;
        let address = |text| Address::read(text).ok_or(Reason::InvalidPaymentRequirements);
        let (asset, pay_to) = (address(offer.asset)?, address(offer.pay_to)?);
        Ok(Self { chain_id, asset, pay_to, name, version, known: assets::find(chain_id, asset) })
    }

    /// Reads an offer as a buyer does.
    fn payable(offer: &PaymentRequirements<'a>) -> Result<Self, Reason> {
        if offer.scheme != "exact" {
            return Err(Reason::InvalidExactEvmScheme);
        }
        if !by_eip3009(offer) {
            return Err(Reason::UnsupportedPayloadType);
        }
        let terms = Self::read(offer)?;
        terms.check_names()?;
        if offer.amount.is_zero() || offer.max_timeout_seconds < SETTLEMENT_SECONDS {
            return Err(Reason::InvalidPaymentRequirements);
        }
        Ok(terms)
    }

    /// Checks that a buyer can mean the payee: neither nobody nor the token.
    fn check_payee(&self) -> Result<(), Reason> {
        let is_meant = is_meant(self.pay_to, self.asset);
        is_meant.then_some(()).ok_or(Reason::InvalidPaymentRequirements)
    }

    /// Checks that a known token goes by its own name.
    fn check_names(&self) -> Result<(), Reason> {
        match self.known {
            Some(known) if self.name != known.name => Err(Reason::InvalidExactEvmTokenNameMismatch),
            Some(known) if self.version != known.version => {
                Err(Reason::InvalidExactEvmTokenVersionMismatch)
            }
            _ => Ok(()),
        }
    }

    fn digest(&self, authorization: &Authorization) -> Result<[u8; 32], Reason> {
        let separator = match self.known.filter(|_| self.check_names().is_ok()) {
            Some(known) => known.domain_separator,
            None => self.domain_separator().ok_or(Reason::InvalidPaymentRequirements)?,
        };
        Ok(eip712::transfer_digest(&separator, authorization))
    }

    /// Returns the token's domain separator; `None` for a longer name than this crate reads.
    fn domain_separator(&self) -> Option<[u8; 32]> {
        let (mut name, mut version) = ([0; limits::TEXT_BYTES], [0; limits::TEXT_BYTES]);
        let (name, version) =
            self.name.decode_into(&mut name).zip(self.version.decode_into(&mut version))?;
        Some(eip712::domain_separator(name, version, self.chain_id, self.asset))
    }
}

impl<R: Recover> Scheme for ExactEvm<R> {
    type Payment = Eip3009Payment;

    fn handles(&self, offer: &PaymentRequirements<'_>) -> bool {
        offer.scheme == "exact" && offer.network.eip155().is_some()
    }

    fn check_offer(&self, offer: &PaymentRequirements<'_>) -> Result<(), Reason> {
        ExactEvmWallet.check(offer)
    }

    fn check(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        now: u64,
    ) -> Result<Eip3009Payment, Reason> {
        let (unproven, signature) = check(payload, requirements, now, |digest, payment| {
            let signature = payment.recoverable_signature()?;
            let signer = self.recover.recover(digest, &signature)?;
            (signer == payment.authorization.from.0).then_some(signature)
        })?;
        let Eip3009Unproven { chain_id, asset, authorization } = unproven;
        Ok(Eip3009Payment { chain_id, asset, authorization, signature })
    }

    fn in_time_until(
        &self,
        payload: &PaymentPayload<'_>,
        _: &PaymentRequirements<'_>,
        refused: Reason,
    ) -> Option<u64> {
        if refused != Reason::InvalidExactEvmPayloadAuthorizationValidBefore {
            return None;
        }
        let payload = Eip3009Payload::read(payload.payload).ok()?;
        payload.authorization.valid_before.as_u64()?.checked_sub(SETTLEMENT_SECONDS)
    }

    fn named_payer(
        &self,
        payload: &PaymentPayload<'_>,
        _: &PaymentRequirements<'_>,
    ) -> Option<Address> {
        payload.network().eip155()?;
        Eip3009Payload::read(payload.payload).ok().map(|payload| payload.authorization.from)
    }
}

/// Runs every check of [`ExactEvm`] but that of the signature, in its order and with its codes. It
/// returns the signature as sent: in hexadecimal, or whatever the buyer wrote instead.
/// It is for callers that ask the chain about the signature. **It proves nobody's consent to pay**:
/// anybody can write such a payment in anybody's name.
///
/// # Errors
/// The official reason of the first check that fails.
pub fn check_but_signature<'a>(
    payload: &PaymentPayload<'a>,
    requirements: &PaymentRequirements<'_>,
    now: u64,
) -> Result<(Eip3009Unproven, JsonStr<'a>), Reason> {
    check(payload, requirements, now, |_, payment| Some(payment.signature))
}

/// Runs all checks. `signed` checks the signature from the digest, and returns its finding or
/// `None`.
fn check<'a, T>(
    payload: &PaymentPayload<'a>,
    requirements: &PaymentRequirements<'_>,
    now: u64,
    signed: impl FnOnce(&[u8; 32], &Eip3009Payload<'a>) -> Option<T>,
) -> Result<(Eip3009Unproven, T), Reason> {
    let v1 = payload.x402_version() == Version::V1;
    let payment = Eip3009Payload::read(payload.payload)?;
    if payload.scheme() != "exact" || requirements.scheme != "exact" {
        return Err(Reason::InvalidExactEvmScheme);
    }
    let offer = Offer::read(requirements)?;
    if !payload.network().is_same(requirements.network) {
        return Err(Reason::InvalidExactEvmNetworkMismatch);
    }
    let authorization = payment.authorization;
    let digest = offer.digest(&authorization)?;
    let signed = signed(&digest, &payment).ok_or(Reason::InvalidExactEvmSignature)?;
    if authorization.to != offer.pay_to {
        return Err(Reason::InvalidExactEvmRecipientMismatch);
    }
    late(&authorization, now).map_or(Ok(()), Err)?;
    // Its claim is kept until then: the payer must not decide for how long.
    if authorization.valid_before > latest_end(requirements.max_timeout_seconds, now) {
        return Err(Reason::InvalidExactEvmPayloadAuthorizationValidBefore);
    }
    if authorization.valid_after > Amount::from(now) {
        return Err(Reason::InvalidExactEvmPayloadAuthorizationValidAfter);
    }
    if authorization.value != requirements.amount || authorization.value.is_zero() {
        return Err(value_mismatch(v1));
    }
    offer.check_names()?;
    let Offer { chain_id, asset, .. } = offer;
    Ok((Eip3009Unproven { chain_id, asset, authorization }, signed))
}

/// Returns the latest `validBefore` that is taken at `now` for an offer with this time-out.
fn latest_end(max_timeout_seconds: u64, now: u64) -> Amount {
    let timeout = max_timeout_seconds.min(LONGEST_TIMEOUT_SECONDS);
    Amount::from(now.saturating_add(timeout).saturating_add(VALIDITY_SLACK_SECONDS))
}

/// Returns the reason for another amount, which the versions spell differently.
pub(crate) const fn value_mismatch(v1: bool) -> Reason {
    if v1 {
        Reason::InvalidExactEvmAuthorizationValue
    } else {
        Reason::InvalidExactEvmPayloadAuthorizationValueMismatch
    }
}

/// A payment to be signed: from an offer, a payer, a time and a nonce.
///
/// ```
/// use x402_core::crypto::{Signer, secp256k1::LocalKey};
/// use x402_core::wire::{Message, PaymentRequirements};
/// use x402_evm::{Address, Eip3009Unsigned, PAYLOAD_BYTES};
///
/// let offer = PaymentRequirements::parse(
///     br#"{"scheme":"exact","network":"eip155:1328","amount":"10000",
///          "asset":"0x4fCF1784B31630811181f670Aea7A7bEF803eaED",
///          "payTo":"0x90F79bf6EB2c4f870365E785982E1f101E93b906",
///          "maxTimeoutSeconds":60,"extra":{"name":"USDC","version":"2"}}"#,
/// )?;
/// let key = LocalKey::from_bytes(&[7; 32]).unwrap();
/// let (now, nonce) = (1_800_000_000, [9; 32]); // the nonce from a random number generator
/// let unsigned = Eip3009Unsigned::new(&offer, Address(Signer::public_key(&key)), now, nonce)?;
/// let signature = Signer::sign(&key, unsigned.digest())?;
/// let mut buffer = [0; PAYLOAD_BYTES];
/// let payload = unsigned.payload(&signature, &mut buffer)?;
/// assert!(payload.as_str().starts_with(r#"{"authorization":{"from":"0x"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Eip3009Unsigned {
    authorization: Authorization,
    digest: [u8; 32],
}

impl Eip3009Unsigned {
    /// Returns the payment that `from` would sign for `offer` at `now` (Unix seconds). It can be
    /// settled until the offer's `maxTimeoutSeconds` have passed, or [`MAX_VALIDITY_SECONDS`] if
    /// that is less, by anybody who holds it signed. `nonce` must be random.
    ///
    /// # Errors
    /// The reason a verifier would refuse any payment of this offer with.
    /// [`Reason::InvalidPaymentRequirements`] also for a payee that cannot be meant: nobody, the token, or
    /// the payer.
    pub fn new(
        offer: &PaymentRequirements<'_>,
        from: Address,
        now: u64,
        nonce: [u8; 32],
    ) -> Result<Self, Reason> {
        let terms = Offer::payable(offer)?;
        terms.check_payee()?;
        if from == terms.pay_to {
            return Err(Reason::InvalidPaymentRequirements);
        }
        let valid_after = match offer.version() {
            Version::V1 => now.saturating_sub(V1_BACKDATE_SECONDS),
            Version::V2 => 0,
        };
        let validity = offer.max_timeout_seconds.min(MAX_VALIDITY_SECONDS);
        let valid_before = now.checked_add(validity);
        let authorization = Authorization {
            from,
            to: terms.pay_to,
            value: offer.amount,
            valid_after: valid_after.into(),
            valid_before: valid_before.ok_or(Reason::InvalidPaymentRequirements)?.into(),
            nonce,
        };
        Ok(Self { digest: terms.digest(&authorization)?, authorization })
    }

    /// Returns the authorization.
    pub const fn authorization(&self) -> &Authorization {
        &self.authorization
    }

    /// Returns the digest to sign.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Writes the payload with its signature to the front of `out`; [`PAYLOAD_BYTES`] are enough.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn payload<'o>(
        &self,
        signature: &RecoverableSignature,
        out: &'o mut [u8],
    ) -> Result<RawJson<'o>, EncodeError> {
        let Authorization { from, to, value, valid_after, valid_before, nonce } =
            &self.authorization;
        let mut address = [0; Address::CHARS];
        let mut digits = [0; 130];
        let mut w = Writer::json(out);
        w.open('{').key("authorization").open('{');
        w.key("from").string(from.checksummed(&mut address));
        w.key("to").string(to.checksummed(&mut address));
        w.key("value").amount(value);
        w.key("validAfter").amount(valid_after);
        w.key("validBefore").amount(valid_before);
        w.key("nonce").string_of(&["0x", hex_digits(nonce, &mut digits)]);
        w.close('}');
        w.key("signature").string_of(&["0x", hex_digits(&signature.to_bytes(), &mut digits)]);
        w.close('}');
        w.finish_raw()
    }
}

pub(crate) fn hex_digits<'d>(bytes: &[u8], digits: &'d mut [u8; 130]) -> &'d str {
    for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        hex::encode_to_slice([*byte], pair).ok();
    }
    let digits = digits.get(..bytes.len().saturating_mul(2)).unwrap_or(&[]);
    core::str::from_utf8(digits).unwrap_or("")
}

/// Returns whether an offer is to be paid by EIP-3009, which is the default.
fn by_eip3009(offer: &PaymentRequirements<'_>) -> bool {
    match offer.extra.and_then(|extra| extra.get("assetTransferMethod")) {
        None => true,
        Some(method) => method.as_string().is_some_and(|method| method == "eip3009"),
    }
}

/// Returns whether a buyer can mean a payee: neither nobody nor the token.
fn is_meant(payee: Address, asset: Address) -> bool {
    payee != Address([0; 20]) && payee != asset
}

/// The offers an EVM key can pay: `exact` by EIP-3009, in the tokens of [`assets`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ExactEvmWallet;

impl ExactEvmWallet {
    /// Checks that an offer can be paid.
    ///
    /// # Errors
    /// The reason, as of [`Eip3009Unsigned::new`]; also for a payee in mixed case that is not EIP-55's
    /// checksum.
    pub fn check(&self, offer: &PaymentRequirements<'_>) -> Result<(), Reason> {
        Offer::payable(offer)?;
        self.pays_to(offer).then_some(()).ok_or(Reason::InvalidPaymentRequirements)
    }
}

impl Wallet for ExactEvmWallet {
    fn pays(&self, offer: &PaymentRequirements<'_>) -> bool {
        Offer::payable(offer).is_ok()
    }

    fn pays_to(&self, offer: &PaymentRequirements<'_>) -> bool {
        // It must not be mistyped either, as far as its checksum shows.
        let payee = offer.pay_to.as_str().and_then(Address::parse_typed);
        payee.zip(Address::read(offer.asset)).is_some_and(|(payee, asset)| is_meant(payee, asset))
    }

    fn decimals(&self, offer: &PaymentRequirements<'_>) -> Option<u8> {
        let asset = assets::find(offer.network.eip155()?, Address::read(offer.asset)?)?;
        (asset.transfer_method == AssetTransferMethod::Eip3009).then_some(asset.decimals)
    }
}
