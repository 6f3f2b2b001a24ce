//! The cost of a byte as messages grow, and in the worst that is legal.

use std::hint::black_box;

use x402_benches::inputs;
use x402_core::wire::{Message as _, PaymentRequired};
use x402_peers::{Aim, Report, Table, row};

/// In kibibytes; the last is the longest message there may be.
const SIZES: [usize; 4] = [1, 4, 16, 64];

pub(crate) fn challenges(report: &mut Report) {
    let kinds = SIZES
        .map(|size| (format!("challenge of {size} KB"), inputs::challenge_of(size)))
        .into_iter()
        .chain([
            ("64 KB nested as deep as may be".into(), inputs::deepest()),
            ("64 KB of escaped characters".into(), inputs::escaped()),
            ("64 KB with the most searching for repeated keys".into(), inputs::searched()),
        ]);
    let kinds: Vec<(String, String)> = kinds.collect();
    let reads = |json: &str| PaymentRequired::parse(black_box(json.as_bytes())).is_ok();
    for (kind, json) in &kinds {
        assert!(reads(json), "{kind}");
    }
    let mut ours: Vec<_> = kinds.iter().map(|(_, json)| move || assert!(reads(json))).collect();
    let mut serde: Vec<_> = kinds
        .iter()
        .map(|(_, json)| {
            move || {
                let value = serde_json::from_slice::<serde_json::Value>(black_box(json.as_bytes()));
                drop(black_box(value).expect("JSON"));
            }
        })
        .collect();
    let names: Vec<(String, String)> = kinds
        .iter()
        .map(|(kind, _)| (format!("{kind}: ours"), format!("{kind}: serde_json, Value")))
        .collect();
    let mut rows = Vec::new();
    let each = kinds.iter().zip(&names).zip(ours.iter_mut().zip(&mut serde));
    for (((_, json), (ours_name, serde_name)), (ours, serde)) in each {
        rows.push(row(ours_name, ours).parts(json.len()));
        rows.push(row(serde_name, serde).parts(json.len()));
    }
    let costs = report.table(
        Table {
            name: "growth",
            title: "JSON of a challenge, as it grows",
            against: &[],
            notes: &[
                "An offer for each kilobyte, and an extension for the rest. All of it is checked, and repeated keys are looked for everywhere; serde_json takes them.",
                "The worst cases are legal messages at the caps of `x402_core::limits`: the longest text, the deepest nesting, the most that may be read again in search of repeated keys.",
            ],
        },
        rows,
    );
    if let Some(costs) = costs {
        let per_byte = |at: usize| costs.of(&names[at].0).nanoseconds;
        let growth = per_byte(SIZES.len() - 1) / per_byte(0);
        report.aim("a byte of 64 KB: of a byte of 1 KB", growth, Aim::AtMost(1.1));
    }
}
