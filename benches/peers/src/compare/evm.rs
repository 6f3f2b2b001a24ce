//! A payment by EIP-3009: the example of specification v2, signed.

use std::hint::black_box;

use alloy_primitives::{Signature as AlloySignature, U256};
use alloy_sol_types::{SolStruct as _, eip712_domain};
use k256::ecdsa::signature::hazmat::PrehashVerifier as _;
use r402::evm::exact as r402_exact;
use secp256k1::Secp256k1;
use x402_benches::inputs::{self, Evm};
use x402_chain_eip155::v1_eip155_exact::{StructuredSignature, assert_enough_value};
use x402_chain_eip155::v2_eip155_exact::eip3009::assert_requirements_match;
use x402_chain_eip155::v2_eip155_exact::types as x402_rs;
use x402_core::buyer::{Choice, Flow};
use x402_core::crypto::secp256k1::{K256, LocalKey};
use x402_core::crypto::{Recover, Signer as _};
use x402_core::seller::Seller;
use x402_core::wire::{Message as _, PaymentRequired, PaymentRequirements};
use x402_core::{Either, Version, gate};
use x402_evm::{Address, Eip3009Unsigned, ExactEvm, PAYLOAD_BYTES};
use x402_peers::{Aim, Report, Table, row};
use x402_std::base64 as std_base64;
use x402_std::crypto::Libsecp256k1;
use x402_std::scheme::Exact;

use crate::content::Content;
use crate::readers;

const OURS: &str = "ours, feature `simd`";
const OURS_CORE: &str = "ours, default features (base64ct)";
const X402_RS: &str = "x402-types 2.0.2 + x402-chain-eip155";
const X402_RS_FACILITATOR: &str = "the same, as its facilitator types it";
const R402: &str = "r402 0.21";

pub(crate) fn header_to_payload(report: &mut Report) {
    let input = inputs::evm();
    let header = input.header.as_bytes();
    let (mut a, mut b, mut c, mut d) = ([0; 4096], [0; 4096], [0; 4096], [0; 4096]);
    let (mut e, mut f) = ([0; 4096], [0; 4096]);

    let content = Content::from(&readers::ours(header, &mut a).expect("ours"));
    let same = [
        Content::from(&readers::ours_core(header, &mut a).expect("ours")),
        Content::from(&readers::x402_rs::<x402_rs::PaymentPayload>(header).expect("legal")),
        Content::from(&readers::x402_rs::<x402_rs::Eip3009PaymentPayload>(header).expect("legal")),
        Content::from(&readers::r402(header).expect("legal")),
        Content::from(&readers::plain(header, &mut a).expect("legal")),
    ];
    assert!(same.iter().all(|other| *other == content), "{content:?}, {same:?}");
    assert_eq!(readers::simd(header, &mut a), readers::base64(header, &mut b));

    let costs = report.table(
        Table {
            name: "header to payload",
            title: "Payment header to typed payload",
            against: &[("to ours", OURS)],
            notes: &[
                "Ours, x402-types and r402 end with the same content: network, addresses, 256-bit amounts and times, nonce, signature, the token's name and version. Ours borrows texts from the decoded header; the peers copy them.",
                "Ours also refuses repeated keys, nesting beyond 32 and signatures that no token contract takes.",
                "The peers decode base64 with the crate base64 and read with serde_json; the plain structure is of texts that nobody has looked into.",
            ],
        },
        vec![
            row(OURS, &mut || {
                black_box(readers::ours(black_box(header), &mut a)).expect("legal");
            }),
            row(OURS_CORE, &mut || {
                black_box(readers::ours_core(black_box(header), &mut b)).expect("legal");
            }),
            row(X402_RS, &mut || {
                black_box(readers::x402_rs::<x402_rs::PaymentPayload>(black_box(header)))
                    .expect("legal");
            }),
            row(X402_RS_FACILITATOR, &mut || {
                black_box(readers::x402_rs::<x402_rs::Eip3009PaymentPayload>(black_box(header)))
                    .expect("legal");
            }),
            row(R402, &mut || {
                black_box(readers::r402(black_box(header))).expect("legal");
            }),
            row("base64-simd + serde_json, a plain structure", &mut || {
                black_box(readers::plain(black_box(header), &mut c)).expect("legal");
            }),
            row("base64-simd + serde_json, Value", &mut || {
                black_box(readers::value(black_box(header), &mut d)).expect("legal");
            }),
            row("base64-simd alone", &mut || {
                black_box(readers::simd(black_box(header), &mut e)).expect("legal");
            }),
            row("base64 alone", &mut || {
                black_box(readers::base64(black_box(header), &mut f)).expect("legal");
            }),
        ],
    );
    if let Some(costs) = costs {
        let peers = [X402_RS, X402_RS_FACILITATOR, R402];
        let best = peers.map(|peer| costs.ratio(peer, OURS)).into_iter().fold(f64::MAX, f64::min);
        report.aim("header to payload: times faster than the best peer", best, Aim::AtLeast(4.0));
        let allocations = costs.of(OURS).allocations.count as f64;
        report.aim("header to payload: allocations", allocations, Aim::AtMost(0.0));
    }
}

pub(crate) fn payload_to_header(report: &mut Report) {
    let input = inputs::evm();
    let header = input.header.as_bytes();
    let required = PaymentRequired::parse(inputs::CHALLENGE.as_bytes()).expect("legal");
    let offer = required.accepts.iter().next().expect("one");
    let key = LocalKey::from_bytes(&inputs::EVM_SECRET).expect("a key");
    let unsigned = Eip3009Unsigned::new(&offer, Address(key.public_key()), inputs::NOW, [9; 32])
        .expect("payable");
    let (flow, decimals, asks) = (Flow::Authorization, 6, false);
    let choice = Choice { required, offer, index: 0, flow, decimals, asks };
    let signature = input.signature;
    let x402_rs: x402_rs::PaymentPayload = readers::x402_rs(header).expect("legal");
    let r402 = readers::r402(header).expect("legal");
    let mut plain_json = [0; 4096];
    let plain = readers::plain(header, &mut plain_json).expect("legal");

    let write_ours = |payload: &mut [u8], json: &mut [u8], out: &mut [u8]| {
        let payload = unsigned.payload(&signature, payload).expect("fits");
        let json = choice.payment(payload).encode(json).expect("fits");
        std_base64::encode(json, out).expect("fits").len()
    };
    let write_core = |payload: &mut [u8], out: &mut [u8]| {
        let payload = unsigned.payload(&signature, payload).expect("fits");
        choice.payment(payload).encode_header(out).expect("fits").len()
    };
    let write_x402_rs = || {
        let json = serde_json::to_vec(black_box(&x402_rs)).expect("writable");
        x402_types::util::Base64Bytes::encode(json)
    };
    let write_r402 = || {
        let json = serde_json::to_vec(black_box(&r402)).expect("writable");
        r402::protocol::payment::Base64Bytes::encode(json)
    };
    let (mut p, mut json, mut out) = ([0; PAYLOAD_BYTES], [0; 4096], [0; 4096]);
    let (mut p2, mut out2, mut out3) = ([0; PAYLOAD_BYTES], [0; 4096], [0; 4096]);

    let len = write_ours(&mut p, &mut json, &mut out);
    assert_eq!(&out[..len], header);
    assert_eq!(write_core(&mut p2, &mut out2), len);
    assert_eq!(out2, out);
    let read = |header: &[u8]| {
        let mut scratch = [0; 4096];
        Content::from(&readers::ours(header, &mut scratch).expect("ours reads it"))
    };
    let content = read(header);
    assert_eq!(read(write_x402_rs().as_ref()), content);
    assert_eq!(read(write_r402().as_ref()), content);

    let costs = report.table(
        Table {
            name: "payload to header",
            title: "Typed payment to header",
            against: &[("to ours", OURS)],
            notes: &[
                "Ours writes the authorization with checksummed addresses, a Keccak-256 for each, and echoes the offer as it came; x402-types and r402 write those of the authorization in lower case and checksum those of the offer.",
            ],
        },
        vec![
            row(OURS, &mut || {
                black_box(write_ours(&mut p, &mut json, &mut out));
            }),
            row(OURS_CORE, &mut || {
                black_box(write_core(&mut p2, &mut out2));
            }),
            row(X402_RS, &mut || drop(black_box(write_x402_rs()))),
            row(R402, &mut || drop(black_box(write_r402()))),
            row("serde_json of a plain structure + base64-simd", &mut || {
                let json = serde_json::to_vec(black_box(&plain)).expect("writable");
                let out = base64_simd::Out::from_slice(&mut out3);
                black_box(base64_simd::STANDARD.encode(&json, out));
            }),
        ],
    );
    if let Some(costs) = costs {
        let best = costs.ratio(X402_RS, OURS).min(costs.ratio(R402, OURS));
        report.aim("payload to header: times faster than the best peer", best, Aim::AtLeast(4.0));
        let allocations = costs.of(OURS).allocations.count as f64;
        report.aim("payload to header: allocations", allocations, Aim::AtMost(0.0));
    }
}

/// Ours: decode, every check of the gate, recover.
fn ours(
    recover: impl Recover,
    header: &[u8],
    offer: &PaymentRequirements<'_>,
    scratch: &mut [u8],
) -> Option<[u8; 20]> {
    let json = std_base64::decode(header, scratch).ok()?;
    let payload = Seller::read(Version::V2, json).ok()?;
    let scheme = ExactEvm::with_recover(recover);
    let verified = gate::verify(&scheme, &payload, offer, inputs::NOW).ok()?;
    Some(verified.payment().authorization.from.0)
}

/// Ours, by the gate that a server of x402-std has.
fn server(
    schemes: &Exact,
    header: &[u8],
    offer: &PaymentRequirements<'_>,
    scratch: &mut [u8],
) -> Option<[u8; 20]> {
    let json = std_base64::decode(header, scratch).ok()?;
    let payload = Seller::read(Version::V2, json).ok()?;
    let verified = gate::verify(schemes, &payload, offer, inputs::NOW).ok()?;
    match verified.payment() {
        Either::First(Either::First(Either::First(payment))) => Some(payment.authorization.from.0),
        _ => None,
    }
}

/// Runs x402-chain-eip155's steps before it asks the chain, by its own functions where they are
/// public.
fn x402_rs(header: &[u8], own: &x402_rs::Eip3009PaymentRequirements) -> Option<[u8; 20]> {
    let payload: x402_rs::Eip3009PaymentPayload = readers::x402_rs(header)?;
    let (accepted, exact) = (&payload.accepted, &payload.payload.authorization);
    assert_requirements_match(accepted, own).ok()?;
    let in_time = exact.valid_before.as_secs() >= inputs::NOW + 6
        && exact.valid_after.as_secs() <= inputs::NOW;
    if accepted.network != own.network || exact.to != accepted.pay_to || !in_time {
        return None;
    }
    assert_enough_value(&exact.value, &accepted.amount).ok()?;
    let domain = eip712_domain! {
        name: accepted.extra.name.clone(),
        version: accepted.extra.version.clone(),
        chain_id: accepted.network.reference().parse().ok()?,
        verifying_contract: accepted.asset.into(),
    };
    let transfer = x402_chain_eip155::v1_eip155_exact::TransferWithAuthorization {
        from: exact.from,
        to: exact.to,
        value: exact.value,
        validAfter: U256::from(exact.valid_after.as_secs()),
        validBefore: U256::from(exact.valid_before.as_secs()),
        nonce: exact.nonce,
    };
    let hash = transfer.eip712_signing_hash(&domain);
    let signature = payload.payload.signature.clone();
    match StructuredSignature::try_from_bytes(signature, exact.from, &hash).ok()? {
        StructuredSignature::EOA(_) => Some(exact.from.into()),
        _ => None,
    }
}

/// Runs r402's steps before and between its questions to the chain.
fn r402(header: &[u8], own: &r402_exact::v2::PaymentRequirements) -> Option<[u8; 20]> {
    let payload = readers::r402(header)?;
    let r402_exact::ExactPayload::Eip3009(eip3009) = &payload.payload else { return None };
    let (accepted, exact) = (&payload.accepted, &eip3009.authorization);
    let in_time = exact.valid_before.as_secs() >= inputs::NOW + 6
        && exact.valid_after.as_secs() <= inputs::NOW;
    if !own.matches_payload_accepted(accepted)
        || accepted.network != own.network
        || exact.to != accepted.pay_to.0
        || !in_time
        || exact.value.0 != accepted.amount.0
    {
        return None;
    }
    let extra = accepted.extra.as_ref()?;
    let domain = eip712_domain! {
        name: extra.name.clone(),
        version: extra.version.clone(),
        chain_id: accepted.network.reference().parse().ok()?,
        verifying_contract: accepted.asset.0,
    };
    let transfer = r402_exact::TransferWithAuthorization {
        from: exact.from,
        to: exact.to,
        value: exact.value.0,
        validAfter: U256::from(exact.valid_after.as_secs()),
        validBefore: U256::from(exact.valid_before.as_secs()),
        nonce: exact.nonce,
    };
    let hash = transfer.eip712_signing_hash(&domain);
    let signature = AlloySignature::from_raw(&eip3009.signature).ok()?.normalized_s();
    let recovered = signature.recover_address_from_prehash(&hash).ok()?;
    (recovered == exact.from).then(|| recovered.into())
}

pub(crate) fn header_to_payer(report: &mut Report) {
    const K256_RECOVERY: &str = "k256 0.14, recovery alone";
    const LIBSECP256K1_RECOVERY: &str = "libsecp256k1, recovery alone";
    const OURS_K256: &str = "ours, k256 0.14";
    const OURS_LIBSECP256K1: &str = "ours, libsecp256k1";

    let input = inputs::evm();
    let Evm { digest, signature, payer, .. } = &input;
    let header = input.header.as_bytes();
    let offer = inputs::offer(&input.offer);
    let x402_rs_offer = {
        let payload: x402_rs::Eip3009PaymentPayload = readers::x402_rs(header).expect("legal");
        payload.accepted
    };
    let r402_offer = readers::r402(header).expect("legal").accepted;
    let (mut a, mut b, mut c) = ([0; 4096], [0; 4096], [0; 4096]);
    let schemes = Exact::default();

    assert_eq!(server(&schemes, header, &offer, &mut a), Some(*payer));
    assert_eq!(ours(K256, header, &offer, &mut a), Some(*payer));
    assert_eq!(ours(Libsecp256k1, header, &offer, &mut a), Some(*payer));
    assert_eq!(x402_rs(header, &x402_rs_offer), Some(*payer));
    assert_eq!(r402(header, &r402_offer), Some(*payer));

    let r_s = k256::ecdsa::Signature::from_slice(signature.r_s()).expect("valid");
    let id = k256::ecdsa::RecoveryId::new(signature.is_odd(), false);
    let recovered = || k256::ecdsa::VerifyingKey::recover_from_prehash(black_box(digest), &r_s, id);
    let known = recovered().expect("valid");

    let context = Secp256k1::verification_only();
    let message = secp256k1::Message::from_digest(*digest);
    let id = if signature.is_odd() {
        secp256k1::ecdsa::RecoveryId::One
    } else {
        secp256k1::ecdsa::RecoveryId::Zero
    };
    let recoverable =
        secp256k1::ecdsa::RecoverableSignature::from_compact(signature.r_s(), id).expect("valid");
    let standard = recoverable.to_standard();
    let public = context.recover_ecdsa(message, &recoverable).expect("valid");
    assert_eq!(known.to_sec1_point(true).as_ref(), public.serialize());

    let costs = report.table(
        Table {
            name: "header to payer",
            title: "Payment header to verified payer on EVM",
            against: &[
                ("to k256's recovery", K256_RECOVERY),
                ("to libsecp256k1's recovery", LIBSECP256K1_RECOVERY),
            ],
            notes: &[
                "Decoding, all checks that need no chain, the EIP-712 digest, recovery, comparison with `from`. The clock stands still for all.",
                "x402-chain-eip155 and r402: what their facilitators do besides asking the chain, by their functions where they are public and by the same calls of alloy where they are not, and without the second reading that their request takes from server to facilitator. Both recover with k256 0.13, which verifies after recovering.",
                "Ours knows the domain separators of the tokens in its table, this one among them; the peers hash theirs each time.",
                "Verifying with a known key is for the record: the key of a payment is not known before it is recovered.",
            ],
        },
        vec![
            row(OURS_K256, &mut || {
                black_box(ours(K256, black_box(header), &offer, &mut a)).expect("valid");
            }),
            row(OURS_LIBSECP256K1, &mut || {
                black_box(ours(Libsecp256k1, black_box(header), &offer, &mut b)).expect("valid");
            }),
            row("ours, x402-std's gate (libsecp256k1)", &mut || {
                black_box(server(&schemes, black_box(header), &offer, &mut c)).expect("valid");
            }),
            row(X402_RS, &mut || {
                black_box(x402_rs(black_box(header), &x402_rs_offer)).expect("valid");
            }),
            row(R402, &mut || {
                black_box(r402(black_box(header), &r402_offer)).expect("valid");
            }),
            row(K256_RECOVERY, &mut || {
                black_box(recovered()).expect("valid");
            }),
            row(LIBSECP256K1_RECOVERY, &mut || {
                black_box(context.recover_ecdsa(black_box(message), &recoverable)).expect("valid");
            }),
            row("k256 0.14, verification with a known key", &mut || {
                black_box(known.verify_prehash(black_box(digest), &r_s)).expect("valid");
            }),
            row("libsecp256k1, verification with a known key", &mut || {
                black_box(context.verify_ecdsa(black_box(message), &standard, &public))
                    .expect("valid");
            }),
        ],
    );
    if let Some(costs) = costs {
        let k256 = costs.ratio(OURS_K256, K256_RECOVERY);
        report.aim("header to payer, k256: of the bare recovery", k256, Aim::AtMost(1.05));
        let lib = costs.ratio(OURS_LIBSECP256K1, LIBSECP256K1_RECOVERY);
        report.aim("header to payer, libsecp256k1: of the bare recovery", lib, Aim::AtMost(1.08));
    }
}
