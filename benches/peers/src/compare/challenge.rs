//! Challenges: one offer, and twenty with the discovery extension.

use std::hint::black_box;

use alloy_primitives::U256;
use x402_benches::inputs;
use x402_core::Amount;
use x402_core::wire::{List, Message as _, PaymentRequired, PaymentRequirements};
use x402_peers::{Aim, Report, Table, row};
use x402_std::base64 as std_base64;

use crate::readers;

type X402Rs = x402_types::proto::v2::PaymentRequired;
type R402 = r402::protocol::payment::PaymentRequired;

const OURS: &str = "ours, feature `simd`";
const OURS_CORE: &str = "ours, default features (base64ct)";
const X402_RS: &str = "x402-types 2.0.2";
const R402_NAME: &str = "r402 0.21";

/// An offer in one form: network, amount, asset, payee, time.
type Offer = (String, U256, String, String, u64);

fn number(text: &str) -> U256 {
    U256::from_str_radix(text, 10).expect("a number")
}

fn ours(required: &PaymentRequired<'_>) -> Vec<Offer> {
    let text = |text: x402_core::json::JsonStr<'_>| text.as_str().expect("no escapes").to_owned();
    let amount = |amount: Amount| U256::from_be_bytes(amount.to_be_bytes());
    let offer = |offer: PaymentRequirements<'_>| {
        let network = offer.network.as_str().into();
        let (asset, pay_to) = (text(offer.asset), text(offer.pay_to));
        (network, amount(offer.amount), asset, pay_to, offer.max_timeout_seconds)
    };
    required.accepts.iter().map(offer).collect()
}

fn x402_rs(required: &X402Rs) -> Vec<Offer> {
    let offer = |offer: &x402_types::proto::v2::PaymentRequirements| {
        let (asset, pay_to) = (offer.asset.clone(), offer.pay_to.clone());
        let network = offer.network.to_string();
        (network, number(&offer.amount), asset, pay_to, offer.max_timeout_seconds)
    };
    required.accepts.iter().map(offer).collect()
}

fn r402(required: &R402) -> Vec<Offer> {
    let offer = |offer: &r402::protocol::payment::PaymentRequirements| {
        let (asset, pay_to) = (offer.asset.to_string(), offer.pay_to.to_string());
        let network = offer.network.to_string();
        (network, number(&offer.amount), asset, pay_to, offer.max_timeout_seconds)
    };
    required.accepts.iter().map(offer).collect()
}

/// Reads a challenge, and every offer of it once.
fn read<'s>(json: &'s [u8]) -> Option<(PaymentRequired<'s>, Amount)> {
    let required = PaymentRequired::parse(json).ok()?;
    let most = required.accepts.iter().map(|offer| offer.amount).max()?;
    Some((required, most))
}

pub(crate) fn both_ways(report: &mut Report) {
    let large = inputs::large_challenge();
    let kinds = [("one offer", inputs::CHALLENGE), ("20 offers and Bazaar", large.as_str())];
    for (kind, json) in kinds {
        to_typed(report, kind, json);
    }
    for (kind, json) in kinds {
        to_header(report, kind, json);
    }
}

fn to_typed(report: &mut Report, kind: &str, json: &str) {
    let header = inputs::header(json);
    let header = header.as_bytes();
    let mut a = vec![0; json.len() + 2];
    let (mut b, mut c, mut d) = (a.clone(), a.clone(), a.clone());

    let offers = ours(&PaymentRequired::parse(json.as_bytes()).expect("legal"));
    assert_eq!(x402_rs(&readers::x402_rs(header).expect("legal")), offers);
    assert_eq!(r402(&readers::r402_any(header).expect("legal")), offers);

    let name = format!("challenge header to typed, {kind}");
    let title = format!("Challenge header to typed: {kind}, {} B of JSON", json.len());
    let costs = report.table(
        Table {
            name: &name,
            title: &title,
            against: &[("to ours", OURS)],
            notes: &[
                "Ours reads every offer twice: when the message is checked, and when the offers are looked at one by one. Addresses and the offers' `extra` are texts with all: the scheme types them.",
            ],
        },
        vec![
            row(OURS, &mut || {
                let json = std_base64::decode(black_box(header), &mut a).expect("legal");
                black_box(read(json)).expect("legal");
            }),
            row(OURS_CORE, &mut || {
                let json = x402_core::base64::decode(black_box(header), &mut b).expect("legal");
                black_box(read(json)).expect("legal");
            }),
            row(X402_RS, &mut || {
                black_box(readers::x402_rs::<X402Rs>(black_box(header))).expect("legal");
            }),
            row(R402_NAME, &mut || {
                black_box(readers::r402_any::<R402>(black_box(header))).expect("legal");
            }),
            row("base64-simd + serde_json, Value", &mut || {
                black_box(readers::value(black_box(header), &mut c)).expect("legal");
            }),
            row("base64-simd alone", &mut || {
                black_box(readers::simd(black_box(header), &mut d)).expect("legal");
            }),
        ],
    );
    if let Some(costs) = costs {
        let best = costs.ratio(X402_RS, OURS).min(costs.ratio(R402_NAME, OURS));
        let what = format!("{name}: times faster than the best peer");
        report.aim(&what, best, Aim::AtLeast(4.0));
    }
}

fn to_header(report: &mut Report, kind: &str, json: &str) {
    let header = inputs::header(json);
    let header = header.as_bytes();
    let parsed = PaymentRequired::parse(json.as_bytes()).expect("legal");
    // As a seller has it: offers of its own, not those of a text.
    let offers: Vec<PaymentRequirements<'_>> = parsed.accepts.iter().collect();
    let required = PaymentRequired { accepts: List::from(&offers[..]), ..parsed };
    let typed: X402Rs = readers::x402_rs(header).expect("legal");
    let r402_typed: R402 = readers::r402_any(header).expect("legal");
    let mut text = vec![0; json.len()];
    let mut a = vec![0; header.len()];
    let (mut b, mut c) = (a.clone(), a.clone());

    let write_ours = |text: &mut [u8], out: &mut [u8]| {
        let json = black_box(&required).encode(text).expect("fits");
        std_base64::encode(json, out).expect("fits").len()
    };
    let write_x402_rs = || {
        let json = serde_json::to_vec(black_box(&typed)).expect("writable");
        x402_types::util::Base64Bytes::encode(json)
    };
    let write_r402 = || {
        let json = serde_json::to_vec(black_box(&r402_typed)).expect("writable");
        r402::protocol::payment::Base64Bytes::encode(json)
    };
    let len = write_ours(&mut text, &mut a);
    let read = |header: &[u8]| {
        let mut scratch = vec![0; header.len()];
        let json = std_base64::decode(header, &mut scratch).expect("legal");
        ours(&PaymentRequired::parse(json).expect("ours reads it"))
    };
    assert_eq!(read(&a[..len]), ours(&parsed));
    assert_eq!(read(write_x402_rs().as_ref()), ours(&parsed));
    assert_eq!(read(write_r402().as_ref()), ours(&parsed));

    let name = format!("typed challenge to header, {kind}");
    let title = format!("Typed challenge to header: {kind}, {} B of JSON", json.len());
    let costs = report.table(
        Table {
            name: &name,
            title: &title,
            against: &[("to ours", OURS)],
            notes: &[
                "Extensions and `extra` are text in ours and written as they are; the peers have them as values.",
            ],
        },
        vec![
            row(OURS, &mut || {
                black_box(write_ours(&mut text, &mut a));
            }),
            row(OURS_CORE, &mut || {
                black_box(black_box(&required).encode_header(&mut b)).expect("fits");
            }),
            row(X402_RS, &mut || drop(black_box(write_x402_rs()))),
            row(R402_NAME, &mut || drop(black_box(write_r402()))),
            row("base64-simd alone", &mut || {
                let out = base64_simd::Out::from_slice(&mut c);
                black_box(base64_simd::STANDARD.encode(black_box(json.as_bytes()), out));
            }),
        ],
    );
    if let Some(costs) = costs {
        let best = costs.ratio(X402_RS, OURS).min(costs.ratio(R402_NAME, OURS));
        let what = format!("{name}: times faster than the best peer");
        report.aim(&what, best, Aim::AtLeast(4.0));
    }
}
