use std::collections::HashSet;
use std::fmt;

use num_bigint::BigInt;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use x402_core::limits;

/// A JSON value as `serde_json` reads it, with nothing lost: numbers are text, and all members of
/// an object are there, in order.
///
/// `serde_json::Value` will not do: numbers become `f64`, or else an object with a certain secret
/// key becomes a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    /// `null`, `true` or `false`.
    Word(String),
    Number(String),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

/// One level of members.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = members.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

fn read(json: &str, depth: usize) -> Option<Tree> {
    let json = json.trim_ascii();
    if json.starts_with(['{', '[']) && depth >= limits::DEPTH {
        return None;
    }
    let inner = |raw: &RawValue| read(raw.get(), depth + 1);
    match json.as_bytes().first()? {
        b'{' => {
            let Pairs(pairs) = serde_json::from_str(json).ok()?;
            let members = pairs.into_iter().map(|(key, raw)| Some((key, inner(raw)?)));
            members.collect::<Option<_>>().map(Tree::Object)
        }
        b'[' => {
            let entries: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            entries.into_iter().map(inner).collect::<Option<_>>().map(Tree::Array)
        }
        b'"' => serde_json::from_str(json).ok().map(Tree::Text),
        b'-' | b'0'..=b'9' => Some(Tree::Number(json.to_owned())),
        _ => Some(Tree::Word(json.to_owned())),
    }
}

impl Tree {
    /// Reads a text by `serde_json`; `None` if it is no JSON, or deeper than [`limits::DEPTH`].
    pub(crate) fn read(json: &[u8]) -> Option<Self> {
        read(serde_json::from_slice::<&RawValue>(json).ok()?.get(), 0)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Tree> {
        let Tree::Object(members) = self else { return None };
        members.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> Option<&str> {
        if let Tree::Text(text) = self { Some(text) } else { None }
    }

    pub(crate) fn entries(&self) -> &[Tree] {
        if let Tree::Array(entries) = self { entries } else { &[] }
    }

    pub(crate) fn members(&self) -> &[(String, Tree)] {
        if let Tree::Object(members) = self { members } else { &[] }
    }

    /// Whether an object in it has a key twice.
    pub(crate) fn repeats(&self) -> bool {
        let mut keys = HashSet::new();
        self.members().iter().any(|(key, value)| !keys.insert(key) || value.repeats())
            || self.entries().iter().any(Tree::repeats)
    }

    /// Keys in it, of all objects.
    pub(crate) fn keys(&self) -> usize {
        let of_members = self.members().iter().map(|(_, value)| 1 + value.keys());
        of_members.chain(self.entries().iter().map(Tree::keys)).sum()
    }

    /// Whether both are the same value: members in any order, numbers by their value. Neither may
    /// have a key twice.
    pub(crate) fn same(&self, other: &Tree) -> bool {
        match (self, other) {
            (Tree::Object(mine), Tree::Object(theirs)) => {
                mine.len() == theirs.len()
                    && mine
                        .iter()
                        .all(|(key, value)| other.get(key).is_some_and(|other| value.same(other)))
            }
            (Tree::Array(mine), Tree::Array(theirs)) => {
                mine.len() == theirs.len() && mine.iter().zip(theirs).all(|(a, b)| a.same(b))
            }
            (Tree::Number(mine), Tree::Number(theirs)) => same_number(mine, theirs),
            _ => self == other,
        }
    }

    /// Whether objects in it have at least the members of those of `part`.
    pub(crate) fn contains(&self, part: &Tree) -> bool {
        match (self, part) {
            (Tree::Object(_), Tree::Object(wanted)) => wanted
                .iter()
                .all(|(key, wanted)| self.get(key).is_some_and(|value| value.contains(wanted))),
            _ => self.same(part),
        }
    }

    /// JSON of it, without spaces and with as few escapes as there can be.
    pub(crate) fn json(&self) -> String {
        match self {
            Tree::Word(text) | Tree::Number(text) => text.clone(),
            Tree::Text(text) => serde_json::to_string(text).unwrap(),
            Tree::Array(entries) => {
                let entries: Vec<_> = entries.iter().map(Tree::json).collect();
                format!("[{}]", entries.join(","))
            }
            Tree::Object(members) => {
                let members = members.iter().map(|(key, value)| {
                    format!("{}:{}", serde_json::to_string(key).unwrap(), value.json())
                });
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// By value, but for exponents beyond 32 bits, which make a number the same only if spelt alike.
fn same_number(one: &str, other: &str) -> bool {
    match (decimal(one), decimal(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// Digits without a zero at the end, and the power of ten they are multiplied with.
fn decimal(text: &str) -> Option<(BigInt, i64)> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let exponent = i64::from(exponent) - fraction.len() as i64;
    let short = digits.trim_end_matches('0');
    match short {
        "" | "-" => Some((BigInt::ZERO, 0)),
        _ => Some((short.parse().unwrap(), exponent + (digits.len() - short.len()) as i64)),
    }
}
