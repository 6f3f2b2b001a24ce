use core::fmt;

use x402_core::buyer::Flow;
use x402_core::claim::ClaimKey;
#[cfg(feature = "secp256k1")]
use x402_core::crypto::secp256k1::K256;
use x402_core::crypto::{Recover, RecoverableSignature, keccak256};
use x402_core::domain;
use x402_core::json::{JsonStr, RawJson, Writer};
use x402_core::wire::{PaymentPayload, PaymentRequirements};
use x402_core::{Amount, EncodeError, Payment, Reason, Scheme, Unproven, Version, limits};

use crate::address::hex_array;
use crate::exact::{hex_digits, value_mismatch};
use crate::{Address, eip712};

/// The `extra.assetTransferMethod` of offers paid by such a transfer.
pub const TRANSFER_METHOD: &str = "transaction-proof";

/// Longest time after a transfer's block in which it can be presented, in seconds: an hour. A
/// ledger may allow less, never more: the claims of [`TransferProofPayment`] are kept for as long.
pub const MAX_PROOF_AGE_SECONDS: u64 = 3600;

/// Seconds for which a claim outlives the proof, for clocks that are wrong or were set.
const CLOCK_SECONDS: u64 = 3600;

/// The `payload` of a payment by a transfer that the buyer sent itself.
#[derive(Clone, Copy)]
pub struct TransferProofPayload<'a> {
    /// The transaction.
    pub tx_hash: [u8; 32],
    /// The owner of the tokens it transferred.
    pub from: Address,
    /// The offer's `extra.reference`.
    pub reference: JsonStr<'a>,
    /// The signature of `from` as sent, in hexadecimal.
    pub signature: JsonStr<'a>,
}

impl<'a> TransferProofPayload<'a> {
    /// Returns whether a payload has the key that makes it one of this kind.
    pub fn is_one(payload: RawJson<'_>) -> bool {
        payload.get("txHash").is_some()
    }

    /// Reads the payload of a payment. Unknown keys are stepped over.
    ///
    /// # Errors
    /// [`Reason::UnsupportedPayloadType`] for one without `txHash`; [`Reason::InvalidPayload`] for
    /// another shape. That is a missing field, a hash or address of another length, or an
    /// authorization besides.
    pub fn read(payload: RawJson<'a>) -> Result<Self, Reason> {
        let keys =
            ["txHash", "from", "reference", "signature", "authorization", "permit2Authorization"];
        let [tx_hash, from, reference, signature, authorization, permit2] = payload.get_all(keys);
        let tx_hash = tx_hash.ok_or(Reason::UnsupportedPayloadType)?;
        if authorization.is_some() || permit2.is_some() {
            return Err(Reason::InvalidPayload);
        }
        let text = |field: Option<RawJson<'a>>| field?.as_string();
        let read = || {
            Some(Self {
                tx_hash: hex_array(tx_hash.as_string()?.as_str()?)?,
                from: Address::read(text(from)?)?,
                reference: text(reference)?,
                signature: text(signature)?,
            })
        };
        read().ok_or(Reason::InvalidPayload)
    }
}

/// Shows no signature.
impl fmt::Debug for TransferProofPayload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransferProofPayload")
            .field("from", &self.from)
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

/// A transfer that `from` claims, by its signature, to have made for an offer. **That it was made
/// is not proven**: only a ledger finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferProofPayment {
    /// Chain id of the network.
    pub chain_id: u64,
    /// The transaction.
    pub tx_hash: [u8; 32],
    /// The payer, who signed.
    pub from: Address,
    /// The payee.
    pub pay_to: Address,
    /// The token.
    pub asset: Address,
    /// The price, in the token's smallest unit: the transfer may be of more.
    pub amount: Amount,
    checked_at: u64,
}

impl Payment for TransferProofPayment {
    type Payer = Address;

    /// Returns the Keccak-256 of chain and transaction: one transaction pays once, for any
    /// purchase, from any presenter, with any number of transfers in it.
    fn claim_key(&self) -> ClaimKey {
        ClaimKey::new(keccak256(&[
            domain::CLAIM_TRANSFER,
            &self.chain_id.to_be_bytes(),
            &self.tx_hash,
        ]))
    }

    /// Returns the second two hours after it was checked. A transfer that was there when checked is
    /// too old by then ([`MAX_PROOF_AGE_SECONDS`]), and an hour is left for clocks that are wrong.
    fn expires_at(&self) -> u64 {
        self.checked_at.saturating_add(MAX_PROOF_AGE_SECONDS).saturating_add(CLOCK_SECONDS)
    }

    fn payer(&self) -> Address {
        self.from
    }

    fn needs_durable_claim(&self) -> bool {
        true
    }
}

/// The scheme `exact` on EVM networks by a plain transfer (ERC-20) that the buyer sent itself and
/// presents the hash of, as some guides have it. **Weaker than [`ExactEvm`](crate::ExactEvm)**; not
/// in the official SDKs.
///
/// The offer has `extra.assetTransferMethod` [`TRANSFER_METHOD`], `extra.paymentFlow` `"upfront"` and
/// an `extra.reference`. The payload is `{txHash, from, reference, signature}`. The key of the
/// transfer's sender signs, in EIP-712's domain `x402 transfer proof`, version 1:
/// `TransferProof(bytes32 txHash,address from,address payTo,address asset,uint256 amount,string
/// resource,string reference)`. The amount is the offer's. In version 1 the resource is the offer's.
/// In version 2 it is the payment's `resource.url` (empty without one), which a seller has to compare
/// with its own.
///
/// A buyer and a seller have to know:
/// - The buyer pays before anything is promised, and nothing is returned. That goes for an excess,
///   and for a sale that failed because the payment was late, sold out or presented where it is not
///   taken.
/// - A hash is public. The signature alone ties it to the transfer's sender and to the purchase.
///   Bare hashes, which unmodified clients of those guides send, are refused.
/// - The sender of a transfer made for anything else, to the same payee in the same token, can
///   present it while it is new. A payee of its own for each resource helps.
/// - One transaction pays once, also if it makes several transfers.
/// - The party that settles has to remember the transactions: the chain does not record whether one
///   was presented. The claims must be shared by all who take them, and must survive.
/// - A block can be given up after it was thought final: the transfer with it.
/// - Contract wallets cannot sign such a proof.
///
/// Source: `scheme_exact.md`, the family "client-submitted (payment proof)"; ERC-20; EIP-712.
#[derive(Clone, Copy, Debug, Default)]
#[cfg(feature = "secp256k1")]
pub struct TransferProof<R = K256> {
    recover: R,
}

/// The scheme `exact` on EVM networks by a plain transfer that the buyer sent itself.
#[derive(Clone, Copy, Debug, Default)]
#[cfg(not(feature = "secp256k1"))]
pub struct TransferProof<R> {
    recover: R,
}

impl<R: Recover> TransferProof<R> {
    /// Uses another way to recover signers.
    pub const fn with_recover(recover: R) -> Self {
        Self { recover }
    }
}

/// The parts of an offer that its payments are checked against.
struct Offer<'a> {
    chain_id: u64,
    asset: Address,
    pay_to: Address,
    amount: Amount,
    reference: JsonStr<'a>,
}

impl<'a> Offer<'a> {
    fn read(offer: &PaymentRequirements<'a>) -> Result<Self, Reason> {
        const INVALID: Reason = Reason::InvalidPaymentRequirements;
        if offer.scheme != "exact" {
            return Err(Reason::InvalidExactEvmScheme);
        }
        let chain_id = offer.network.eip155().ok_or(Reason::InvalidNetwork)?;
        let extra = offer.extra.map(|extra| extra.get_all(["assetTransferMethod", "reference"]));
        let [method, reference] = extra.unwrap_or_default();
        let method = method.and_then(RawJson::as_string);
        if method.is_none_or(|method| method != TRANSFER_METHOD) {
            return Err(Reason::UnsupportedPayloadType);
        }
        let reference = reference.and_then(RawJson::as_string);
        let reference = reference.filter(|text| !text.is_empty()).ok_or(INVALID)?;
        let address = |text| Address::read(text).ok_or(INVALID);
        let (asset, pay_to) = (address(offer.asset)?, address(offer.pay_to)?);
        if Flow::from_requirements(offer) != Some(Flow::Upfront) {
            return Err(INVALID);
        }
        Ok(Self { chain_id, asset, pay_to, amount: offer.amount, reference })
    }

    fn payment(&self, tx_hash: [u8; 32], from: Address, now: u64) -> TransferProofPayment {
        let Self { chain_id, asset, pay_to, amount, .. } = *self;
        TransferProofPayment { chain_id, tx_hash, from, pay_to, asset, amount, checked_at: now }
    }

    /// Returns the signed digest; `None` for a longer text with escapes than this crate reads.
    fn digest(&self, payment: &TransferProofPayment, resource: JsonStr<'_>) -> Option<[u8; 32]> {
        let (mut first, mut second) = ([0; limits::TEXT_BYTES], [0; limits::TEXT_BYTES]);
        let resource = text(resource, &mut first)?;
        let reference = text(self.reference, &mut second)?;
        Some(eip712::transfer_proof_digest(payment, resource, reference))
    }
}

fn text<'t>(text: JsonStr<'t>, buffer: &'t mut [u8; limits::TEXT_BYTES]) -> Option<&'t str> {
    text.as_str().or_else(|| text.decode_into(buffer))
}

/// Checks that an offer asks for a transfer that can be proven: of this method, upfront, with a
/// reference, of more than nothing.
fn check_offer(offer: &PaymentRequirements<'_>) -> Result<(), Reason> {
    let read = Offer::read(offer)?;
    if read.amount.is_zero() { Err(Reason::InvalidPaymentRequirements) } else { Ok(()) }
}

impl<R: Recover> Scheme for TransferProof<R> {
    type Payment = Unproven<TransferProofPayment>;

    fn handles(&self, offer: &PaymentRequirements<'_>) -> bool {
        let method = offer.extra.and_then(|extra| extra.get_string("assetTransferMethod"));
        offer.scheme == "exact"
            && offer.network.eip155().is_some()
            && method.is_some_and(|method| method == TRANSFER_METHOD)
    }

    fn check_offer(&self, offer: &PaymentRequirements<'_>) -> Result<(), Reason> {
        check_offer(offer)
    }

    fn named_payer(
        &self,
        payload: &PaymentPayload<'_>,
        _: &PaymentRequirements<'_>,
    ) -> Option<Address> {
        payload.network().eip155()?;
        TransferProofPayload::read(payload.payload).ok().map(|payload| payload.from)
    }

    fn check(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        now: u64,
    ) -> Result<Unproven<TransferProofPayment>, Reason> {
        let proof = TransferProofPayload::read(payload.payload)?;
        if payload.scheme() != "exact" {
            return Err(Reason::InvalidExactEvmScheme);
        }
        let offer = Offer::read(requirements)?;
        if !payload.network().is_same(requirements.network) {
            return Err(Reason::InvalidExactEvmNetworkMismatch);
        }
        // There is no official code for it; the buyer has to sign anew, for this offer.
        if proof.reference != offer.reference {
            return Err(Reason::InvalidPaymentRequirements);
        }
        if offer.amount.is_zero() {
            return Err(value_mismatch(payload.x402_version() == Version::V1));
        }
        if proof.from == offer.pay_to {
            return Err(Reason::InvalidExactEvmRecipientMismatch);
        }
        let payment = offer.payment(proof.tx_hash, proof.from, now);
        let resource = match (&requirements.v1, payload.resource) {
            (Some(v1), _) => v1.resource.unwrap_or_default(),
            (None, Some(resource)) => resource.url,
            (None, None) => JsonStr::default(),
        };
        let signer = || {
            let digest = offer.digest(&payment, resource)?;
            let bytes: [u8; 65] = hex_array(proof.signature.as_str()?)?;
            self.recover.recover(&digest, &RecoverableSignature::from_bytes(&bytes).ok()?)
        };
        if signer() != Some(proof.from.0) {
            return Err(Reason::InvalidExactEvmSignature);
        }
        Ok(Unproven::new(payment))
    }
}

/// A proof to be signed by the transfer's sender: from an offer, the bought resource, and a
/// transaction.
#[derive(Clone, Copy, Debug)]
pub struct TransferProofUnsigned<'a> {
    tx_hash: [u8; 32],
    from: Address,
    reference: JsonStr<'a>,
    digest: [u8; 32],
}

impl<'a> TransferProofUnsigned<'a> {
    /// Returns the proof that `from` would sign to have its transfer in the transaction `tx_hash`
    /// count for `offer`. `resource` is the URL of the bought resource, as the challenge has it: in
    /// version 2 the payment must repeat it.
    ///
    /// # Errors
    /// The reason a verifier would refuse any proof for this offer with.
    pub fn new(
        offer: &PaymentRequirements<'a>,
        resource: &str,
        from: Address,
        tx_hash: [u8; 32],
    ) -> Result<Self, Reason> {
        check_offer(offer)?;
        let terms = Offer::read(offer)?;
        let payment = terms.payment(tx_hash, from, 0);
        let digest = terms.digest(&payment, JsonStr::new(resource));
        let digest = digest.ok_or(Reason::InvalidPaymentRequirements)?;
        Ok(Self { tx_hash, from, reference: terms.reference, digest })
    }

    /// Returns the digest to sign.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Writes the payload with its signature to the front of `out`: 320 bytes and the reference.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn payload<'o>(
        &self,
        signature: &RecoverableSignature,
        out: &'o mut [u8],
    ) -> Result<RawJson<'o>, EncodeError> {
        let mut address = [0; Address::CHARS];
        let mut digits = [0; 130];
        let mut w = Writer::json(out);
        w.open('{').key("txHash").string_of(&["0x", hex_digits(&self.tx_hash, &mut digits)]);
        w.key("from").string(self.from.checksummed(&mut address));
        w.key("reference").string(self.reference);
        w.key("signature").string_of(&["0x", hex_digits(&signature.to_bytes(), &mut digits)]);
        w.close('}');
        w.finish_raw()
    }
}
