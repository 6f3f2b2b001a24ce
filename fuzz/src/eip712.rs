//! Signed data on EVM networks, against alloy's EIP-712 and the C library of secp256k1: the same
//! digest, the same signers, and of each signature the one form that ours takes.

use std::sync::LazyLock;

use alloy_primitives::{Address as TheirAddress, B256, Signature, U256};
use alloy_sol_types::{SolStruct, eip712_domain, sol};
use arbitrary::Arbitrary;
use secp256k1::{Message as Digest, Secp256k1, SecretKey, SignOnly};
use x402_core::crypto::secp256k1::{K256, LocalKey};
use x402_core::crypto::{Recover, RecoverableSignature, SignatureError, Signer};
use x402_core::json::{RawJson, Writer};
use x402_core::wire::{Accepted, PaymentPayload, PaymentRequirements};
use x402_core::{Amount, Network, Reason, gate, limits};
use x402_evm::eip712::{domain_separator, transfer_digest};
use x402_evm::{Address, Authorization, Eip3009Unsigned, ExactEvm, PAYLOAD_BYTES, assets};

use crate::structured;

pub use crate::blindly as mutate;

sol! {
    struct TransferWithAuthorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }
}

static CONTEXT: LazyLock<Secp256k1<SignOnly>> = LazyLock::new(Secp256k1::signing_only);

#[derive(Arbitrary)]
struct Input<'a> {
    secret: [u8; 32],
    chain_id: u64,
    asset: [u8; 20],
    to: [u8; 20],
    value: [u8; 32],
    valid_after: [u8; 32],
    valid_before: [u8; 32],
    nonce: [u8; 32],
    now: u64,
    seconds: u64,
    /// Whether to sign, which byte of the signature to change, and what it becomes.
    spoil: (u8, u8),
    name: &'a str,
    version: &'a str,
}

/// Panics if anything above is not so.
pub fn check(bytes: &[u8]) {
    let Some(input) = structured::<Input<'_>>(bytes) else { return };
    let Ok(secret) = SecretKey::from_byte_array(input.secret) else {
        return assert!(LocalKey::from_bytes(&input.secret).is_none());
    };
    let key = LocalKey::from_bytes(&input.secret).unwrap();
    let from = Address(Signer::public_key(&key));

    let authorization = Authorization {
        from,
        to: Address(input.to),
        value: Amount::from_be_bytes(&input.value),
        valid_after: Amount::from_be_bytes(&input.valid_after),
        valid_before: Amount::from_be_bytes(&input.valid_before),
        nonce: input.nonce,
    };
    let Input { name, version, chain_id, .. } = input;
    let digest = theirs(&input, &authorization);
    let domain = domain_separator(name, version, chain_id, Address(input.asset));
    assert_eq!(transfer_digest(&domain, &authorization), digest);

    paid(&input, &key);
    // The curves are slow, and care little about what is signed.
    if !input.spoil.0.is_multiple_of(4) {
        return;
    }
    // Ours signs, theirs recovers, and the other way round.
    let ours = Signer::sign(&key, &digest).unwrap();
    let bytes = ours.to_bytes();
    assert_eq!(recovered(&bytes, &digest), Some(from.0));
    assert!(Signature::try_from(&bytes[..]).unwrap().normalize_s().is_none(), "high s");
    let signed = CONTEXT.sign_ecdsa_recoverable(Digest::from_digest(digest), &secret);
    let (id, r_s) = signed.serialize_compact();
    let made = RecoverableSignature::from_parts(r_s, i32::from(id) == 1).unwrap();
    assert_eq!(K256.recover(&digest, &made), Some(from.0));
    assert_eq!(RecoverableSignature::find(&r_s, &digest, &from.0, &K256), Some(made));
    spelled(&bytes, &digest, from);

    // A signature with something wrong in it is nobody's, or the same stranger's for both.
    let mut spoilt = bytes;
    spoilt[usize::from(input.spoil.0 / 4) % 65] = input.spoil.1;
    let right = spoilt == bytes || (spoilt[..64] == bytes[..64] && spoilt[64] + 27 == bytes[64]);
    if let Ok(signature) = RecoverableSignature::from_bytes(&spoilt) {
        let signer = K256.recover(&digest, &signature);
        assert_eq!(signer, recovered(&spoilt, &digest));
        assert_eq!(signer == Some(from.0), right);
    }
}

/// The digest as alloy makes it.
fn theirs(input: &Input<'_>, authorization: &Authorization) -> [u8; 32] {
    let number = |amount: Amount| U256::from_be_bytes(amount.to_be_bytes());
    let transfer = TransferWithAuthorization {
        from: TheirAddress::from(authorization.from.0),
        to: TheirAddress::from(authorization.to.0),
        value: number(authorization.value),
        validAfter: number(authorization.valid_after),
        validBefore: number(authorization.valid_before),
        nonce: B256::from(authorization.nonce),
    };
    let domain = eip712_domain! {
        name: input.name.to_owned(),
        version: input.version.to_owned(),
        chain_id: input.chain_id,
        verifying_contract: TheirAddress::from(input.asset),
    };
    transfer.eip712_signing_hash(&domain).0
}

fn recovered(signature: &[u8; 65], digest: &[u8; 32]) -> Option<[u8; 20]> {
    let signature = Signature::try_from(&signature[..]).ok()?;
    let signer = signature.recover_address_from_prehash(&B256::from(*digest));
    signer.ok().map(TheirAddress::into_array)
}

/// A signature has one form: `v` has two spellings, and `s` one.
fn spelled(bytes: &[u8; 65], digest: &[u8; 32], signer: Address) {
    let read = |v: u8| {
        let mut spelled = *bytes;
        spelled[64] = v;
        RecoverableSignature::from_bytes(&spelled)
    };
    let odd = bytes[64] - 27;
    for v in 0..=u8::MAX {
        match v {
            0 | 1 | 27 | 28 => assert_eq!(read(v).map(|read| read.is_odd()), Ok(v % 27 == 1)),
            _ => assert_eq!(read(v), Err(SignatureError::RecoveryId)),
        }
    }
    assert_eq!(read(odd), read(27 + odd));
    for len in 0..65 {
        assert_eq!(RecoverableSignature::from_bytes(&bytes[..len]), Err(SignatureError::Length));
    }
    // The same signature with s in the other half, which theirs would take.
    let signature = Signature::try_from(&bytes[..]).unwrap();
    let order = U256::from_be_bytes(secp256k1::constants::CURVE_ORDER);
    let high = Signature::new(signature.r(), order - signature.s(), !signature.v()).as_bytes();
    assert_eq!(RecoverableSignature::from_bytes(&high), Err(SignatureError::HighS));
    assert_eq!(recovered(&high, digest), Some(signer.0));
    let found = RecoverableSignature::find(high.first_chunk().unwrap(), digest, &signer.0, &K256);
    assert_eq!(found.map(RecoverableSignature::to_bytes), Some(*bytes));
}

/// The buyer's payment of an offer in this token has their digest and passes the gate. It does not
/// if signed by another, in another form or for another offer.
fn paid(input: &Input<'_>, key: &LocalKey) {
    let from = Address(Signer::public_key(key));
    let mut room = [0; 42];
    let asset = Address(input.asset).checksummed(&mut room);
    let pay_to = Address(input.to).to_string();
    let network = format!("eip155:{}", input.chain_id);
    let mut extra = vec![0; 6 * (input.name.len() + input.version.len()) + 64];
    let mut writer = Writer::json(&mut extra);
    writer.open('{').key("name").string(input.name);
    writer.key("version").string(input.version).close('}');
    let offer = PaymentRequirements {
        scheme: "exact".into(),
        network: Network::parse(&network).unwrap(),
        amount: Amount::from_be_bytes(&input.value),
        asset: asset.into(),
        pay_to: pay_to[..].into(),
        max_timeout_seconds: input.seconds % 10_000,
        extra: Some(writer.finish_raw().unwrap()),
        v1: None,
        other: Default::default(),
    };
    let now = input.now / 2; // near the end of time, times saturate
    let unsigned = Eip3009Unsigned::new(&offer, from, now, input.nonce);
    let Ok(unsigned) = unsigned else {
        let known = assets::find(input.chain_id, Address(input.asset));
        let texts = [input.name, input.version];
        assert!(
            texts.iter().any(|text| text.is_empty() || text.len() > limits::TEXT_BYTES)
                || offer.amount.is_zero()
                || offer.max_timeout_seconds < x402_evm::SETTLEMENT_SECONDS
                || input.chain_id == 0
                || [[0; 20], input.asset, from.0].contains(&input.to)
                || known.is_some_and(|known| [known.name, known.version] != texts)
        );
        return;
    };
    assert_eq!(*unsigned.digest(), theirs(input, unsigned.authorization()));
    if !input.spoil.0.is_multiple_of(4) {
        return;
    }
    let signature = Signer::sign(key, unsigned.digest()).unwrap();
    let mut out = [0; PAYLOAD_BYTES];
    let payload = unsigned.payload(&signature, &mut out).unwrap();
    let verdict = |payload: &str, offer: &PaymentRequirements<'_>, now: u64| {
        let payment = PaymentPayload {
            resource: None,
            accepted: Accepted::V2(*offer),
            payload: RawJson::parse(payload.as_bytes()).unwrap(),
            extensions: None,
            other: Default::default(),
        };
        let verified = gate::verify(&ExactEvm::with_recover(K256), &payment, offer, now);
        verified.map(|verified| verified.into_payment())
    };
    let text = payload.as_str();
    let good = verdict(text, &offer, now);
    assert_eq!(good.unwrap().authorization, *unsigned.authorization());
    let wrong = Err(Reason::InvalidExactEvmSignature);
    let others = PaymentRequirements { asset: pay_to[..].into(), ..offer };
    if input.asset != input.to && assets::find(input.chain_id, Address(input.to)).is_none() {
        assert_eq!(verdict(text, &others, now), wrong);
    }
    let nonce = format!("\"nonce\":\"0x{}", hex(&input.nonce));
    assert!(text.contains(&nonce));
    let mut other = input.nonce;
    other[31] ^= 1;
    assert_eq!(
        verdict(&text.replace(&nonce, &format!("\"nonce\":\"0x{}", hex(&other))), &offer, now),
        wrong
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
