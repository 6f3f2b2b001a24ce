//! Properties of any input: the reader against `serde_json`, values against a model of them,
//! amounts against decimal arithmetic on strings.

mod common;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::LazyLock;

use common::{Kind, Text, normal, recorded, rewrite, write};
use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use x402_core::amount::Money;
use x402_core::base64;
use x402_core::json::{Cursor, JsonStr, RawJson, Writer};
use x402_core::limits;
use x402_core::wire::{List, PaymentRequired, PaymentRequirements, ResourceInfo};
use x402_core::{Amount, EncodeError, Message, Network, ParseError, Version};

/// Keys of `extra` that two offers of the same price may have different.
const HINTS: &[&str] = &["recentBlockhash", "lastValidBlockHeight"];

/// Few enough cases for a debug build; `PROPTEST_CASES=25600` runs a hundred times as many.
/// Nothing is written into the source tree on failure.
fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = cases.saturating_mul(default.cases) / 256;
    ProptestConfig { cases, failure_persistence: None, ..default }
}

// ---------------------------------------------------------------------------------------------
// A model of JSON values, and all the ways to write one

#[derive(Clone, Debug, PartialEq)]
enum Json {
    Null,
    Boolean(bool),
    /// Digits and a power of ten; the digits end in zero only if they are zero, so equal numbers
    /// are equal here.
    Number(i64, i32),
    Text(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

fn number(mut digits: i64, mut exponent: i32) -> Json {
    if digits == 0 {
        exponent = 0;
    }
    while digits != 0 && digits % 10 == 0 {
        digits /= 10;
        exponent += 1;
    }
    Json::Number(digits, exponent)
}

/// Text of everything that JSON strings and the search for keys could stumble over.
fn text() -> impl Strategy<Value = String> {
    let odd =
        "ab01\"\\/:,{}[] \n\r\t\u{0}\u{8}\u{c}\u{1f}\u{7f}éß₮😀\u{2028}\u{feff}\u{ffff}\u{10ffff}";
    let odd: Vec<char> = odd.chars().collect();
    let c = prop_oneof![4 => prop::sample::select(odd), 1 => any::<char>()];
    prop::collection::vec(c, 0..6).prop_map(String::from_iter)
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Boolean),
        (prop_oneof![any::<i16>(), -2..=2i16], -8..8)
            .prop_map(|(digits, exponent)| number(digits.into(), exponent)),
        text().prop_map(Json::Text),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::Array),
            members(inner).prop_map(Json::Object),
        ]
    })
}

fn members(value: impl Strategy<Value = Json>) -> impl Strategy<Value = BTreeMap<String, Json>> {
    prop::collection::btree_map(text(), value, 0..6)
}

impl Json {
    /// The rule of [`RawJson::contains`].
    fn contains(&self, part: &Json) -> bool {
        match (self, part) {
            (Json::Object(mine), Json::Object(part)) => part
                .iter()
                .all(|(key, part)| mine.get(key).is_some_and(|value| value.contains(part))),
            _ => self == part,
        }
    }

    /// This value with perhaps something changed, left out or added.
    fn vary(&self, dice: &mut Dice) -> Json {
        if dice.roll(12) == 0 {
            return number(dice.roll(3) as i64, 0);
        }
        match self {
            Json::Array(entries) => {
                let mut entries: Vec<_> = entries.iter().map(|entry| entry.vary(dice)).collect();
                if dice.roll(8) == 0 {
                    entries.pop();
                }
                Json::Array(entries)
            }
            Json::Object(members) => {
                let mut varied = BTreeMap::new();
                for (key, value) in members {
                    if dice.roll(8) != 0 {
                        varied.insert(key.clone(), value.vary(dice));
                    }
                }
                if dice.roll(8) == 0 {
                    varied.insert("a".to_owned(), Json::Null);
                }
                Json::Object(varied)
            }
            Json::Number(digits, exponent) if dice.roll(4) == 0 => match dice.roll(3) {
                0 => number(-digits, *exponent),
                1 => number(*digits, exponent + 1),
                _ => number(digits + 1, *exponent),
            },
            other => other.clone(),
        }
    }
}

/// Choices that proptest can repeat: all follow from one number.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())]
    }
}

/// Writes values, each in one of its many spellings.
struct Pen {
    dice: Dice,
    /// Objects with members still to pass before one gets a repeated key.
    repeat_in: Option<usize>,
}

impl Pen {
    fn new(seed: u64) -> Self {
        Self { dice: Dice(seed), repeat_in: None }
    }

    fn write(&mut self, json: &Json) -> String {
        let mut out = String::new();
        self.value(&mut out, json);
        out
    }

    fn space(&mut self, out: &mut String) {
        out.push_str(self.dice.pick(&["", "", "", "", " ", "\n", "\t ", "\r\n"]));
    }

    fn value(&mut self, out: &mut String, json: &Json) {
        self.space(out);
        match json {
            Json::Null => out.push_str("null"),
            Json::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Number(digits, exponent) => self.number(out, *digits, *exponent),
            Json::Text(text) => self.string(out, text),
            Json::Array(entries) => {
                out.push('[');
                for (index, entry) in entries.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    self.value(out, entry);
                }
                self.space(out);
                out.push(']');
            }
            Json::Object(members) => self.object(out, members),
        }
        self.space(out);
    }

    fn object(&mut self, out: &mut String, members: &BTreeMap<String, Json>) {
        let mut members: Vec<(&str, &Json)> =
            members.iter().map(|(key, value)| (key.as_str(), value)).collect();
        if let (Some(left), [_, ..]) = (self.repeat_in, &members[..]) {
            self.repeat_in = left.checked_sub(1);
            if left == 0 {
                let again = self.dice.pick(&members);
                members.push((again.0, &Json::Null));
            }
        }
        for last in (1..members.len()).rev() {
            members.swap(last, self.dice.roll(last + 1));
        }
        out.push('{');
        for (index, (key, value)) in members.into_iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            self.space(out);
            self.string(out, key);
            self.space(out);
            out.push(':');
            self.value(out, value);
        }
        self.space(out);
        out.push('}');
    }

    fn string(&mut self, out: &mut String, text: &str) {
        // Mostly one way or the other, so that both plain and escaped strings are frequent.
        let escapes = self.dice.pick(&[0, 0, 1, 3]);
        out.push('"');
        for c in text.chars() {
            let must = c < ' ' || c == '"' || c == '\\';
            if !must && self.dice.roll(3) >= escapes {
                out.push(c);
                continue;
            }
            let short = match c {
                '"' | '\\' | '/' => Some(c),
                '\u{8}' => Some('b'),
                '\u{c}' => Some('f'),
                '\n' => Some('n'),
                '\r' => Some('r'),
                '\t' => Some('t'),
                _ => None,
            };
            match short {
                Some(short) if self.dice.roll(2) == 0 => out.extend(['\\', short]),
                _ => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        out.push_str(&match self.dice.roll(2) {
                            0 => format!("\\u{unit:04x}"),
                            _ => format!("\\u{unit:04X}"),
                        });
                    }
                }
            }
        }
        out.push('"');
    }

    fn number(&mut self, out: &mut String, digits: i64, exponent: i32) {
        let sign = match digits {
            ..0 => "-",
            0 => self.dice.pick(&["", "-"]),
            _ => "",
        };
        let plain = digits.unsigned_abs().to_string();
        let zeros = self.dice.roll(3);
        let power = exponent - zeros as i32;
        let e = self.dice.pick(&["e", "E"]);
        let plus = if power < 0 { "" } else { self.dice.pick(&["", "+"]) };
        let many = "0".repeat(zeros);
        // Zeros behind the digits need them not to be zero: `00` is no number.
        let digits_and_zeros = if digits == 0 { plain.clone() } else { format!("{plain}{many}") };
        out.push_str(sign);
        out.push_str(&match self.dice.roll(3) {
            0 => format!("{digits_and_zeros}{e}{plus}{power}"),
            1 => format!("{digits_and_zeros}.{many}0{e}{plus}{power}"),
            _ => decimal(&plain, exponent),
        });
    }
}

/// `digits × 10^exponent` without an exponent.
fn decimal(digits: &str, exponent: i32) -> String {
    if digits == "0" {
        return digits.to_owned();
    }
    match usize::try_from(exponent) {
        Ok(zeros) => format!("{digits}{}", "0".repeat(zeros)),
        Err(_) => {
            let places = exponent.unsigned_abs() as usize;
            let padded = format!("{digits:0>width$}", width = places + 1);
            let (whole, fraction) = padded.split_at(padded.len() - places);
            format!("{whole}.{fraction}")
        }
    }
}

fn parse(text: &str) -> Result<RawJson<'_>, ParseError> {
    RawJson::parse(text.as_bytes())
}

// ---------------------------------------------------------------------------------------------
// serde_json's opinion

/// The relevant properties of a text by `serde_json`: nesting, and repeated keys, which it accepts.
struct Shape {
    depth: usize,
    repeats: bool,
}

impl Shape {
    const LEAF: Shape = Shape { depth: 0, repeats: false };

    fn around(&mut self, inner: Shape) {
        self.depth = self.depth.max(inner.depth + 1);
        self.repeats |= inner.repeats;
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shapes;
        impl<'de> Visitor<'de> for Shapes {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Shape, E> {
                Ok(Shape::LEAF)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
                Ok(Shape::LEAF)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
                Ok(Shape::LEAF)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
                Ok(Shape::LEAF)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
                Ok(Shape::LEAF)
            }

            fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
                Ok(Shape::LEAF)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Shape, A::Error> {
                let mut shape = Shape { depth: 1, repeats: false };
                while let Some(inner) = entries.next_element()? {
                    shape.around(inner);
                }
                Ok(shape)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Shape, A::Error> {
                let mut shape = Shape { depth: 1, repeats: false };
                let mut keys = HashSet::new();
                while let Some((key, inner)) = members.next_entry::<String, Shape>()? {
                    shape.repeats |= !keys.insert(key);
                    shape.around(inner);
                }
                Ok(shape)
            }
        }
        deserializer.deserialize_any(Shapes)
    }
}

/// Our reader and `serde_json` agree on `text`, but for what only we refuse.
fn agree(text: &[u8]) -> Result<(), TestCaseError> {
    let ours = RawJson::parse(text).map(RawJson::as_str);
    match serde_json::from_slice::<Shape>(text) {
        Ok(shape) if shape.repeats && shape.depth <= limits::DEPTH => {
            prop_assert_eq!(ours, Err(ParseError::DuplicateKey));
        }
        Ok(shape) if shape.depth > limits::DEPTH => prop_assert!(ours.is_err()),
        Ok(_) => prop_assert!(ours.is_ok(), "{:?}", ours),
        // It reads numbers into `f64`; we keep their text.
        Err(error) if error.to_string().starts_with("number out of range") => {}
        Err(error) => prop_assert!(ours.is_err(), "{:?}, but {}", ours, error),
    }
    Ok(())
}

/// Pieces that texts near JSON are made of.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    "{", "}", "[", "]", ",", ":", "{}", "[]", "\"", "\"\"", "\"a\"", "\"b\"", "\"\\u0061\"",
    "\"a\":", "\"b\":1", "0", "1", "-", "-0", "01", "1.5", "1e2", ".", "e", "E+", "+",
    "true", "false", "null", "tru", "nul", " ", "\n", "\t", "\\", "\\u", "\\ud83d", "\\ude00", "\"\\ud83d\\ude00\"", "\\n", "\\\"", "/", "'",
    "\u{7f}", "\u{1}", "é", "\u{a0}", "\u{feff}",
];

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..14).prop_map(|pieces| pieces.concat())
}

/// `text` with a few small accidents.
fn damaged(text: &[u8], dice: &mut Dice, accidents: usize) -> Vec<u8> {
    let mut text = text.to_vec();
    for _ in 0..accidents {
        let at = dice.roll(text.len() + 1);
        let end = (at + dice.roll(4)).min(text.len());
        match dice.roll(6) {
            0 => drop(text.drain(at..end)),
            1 => {
                let piece = dice.pick(PIECES);
                text.splice(at..at, piece.bytes());
            }
            2 => {
                let piece = dice.pick(PIECES);
                text.splice(at..end, piece.bytes());
            }
            3 => {
                let copy = text[at..end].to_vec();
                text.splice(at..at, copy);
            }
            4 => {
                let letter = dice.pick(b"abcdefxyz0123456789 ");
                if let Some(byte) = text.get_mut(at) {
                    *byte = letter;
                }
            }
            _ => {
                let bit = dice.roll(8);
                if let Some(byte) = text.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
        }
    }
    text
}

/// Gives the bytes to everything that takes bytes or text from outside. A panic fails the test.
fn offer_to_all(bytes: &[u8]) -> Result<(), TestCaseError> {
    for kind in Kind::ALL {
        if let Err((_, at)) = rewrite(kind, bytes) {
            prop_assert!(at <= bytes.len());
        }
    }
    if let Ok(raw) = RawJson::parse(bytes) {
        prop_assert!(raw.same_value(raw) && raw.contains(raw));
        raw.members().for_each(drop);
        raw.elements().for_each(drop);
        let _ = (raw.as_string(), raw.as_u64(), raw.as_bool(), raw.get("a"), format!("{raw:?}"));
        #[cfg(feature = "serde")]
        let _ =
            (raw.read::<u64>(&mut []), raw.read::<(&str, char)>(&mut []), raw.read::<f64>(&mut []));
    }
    if let Ok(mut cursor) = Cursor::new(bytes) {
        let _ = cursor.number();
        let _ = cursor.string();
        prop_assert!(cursor.position() <= bytes.len());
    }
    let mut scratch = vec![0; base64::decoded_len(bytes.len())];
    let decoded = base64::decode(bytes, &mut scratch);
    let mut place = bytes.to_vec();
    prop_assert_eq!(decoded, base64::decode_in_place(&mut place));
    let text = String::from_utf8_lossy(bytes);
    let _ = (Amount::parse(&text), Network::parse(&text), Money::parse(&text));
    Ok(())
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        offer_to_all(&bytes)?;
        agree(&bytes)?;
    }

    #[test]
    fn no_text_near_json_panics(text in soup()) {
        offer_to_all(text.as_bytes())?;
        agree(text.as_bytes())?;
    }

    #[test]
    fn json_is_read_as_serde_json_reads_it(json in json(), seed: u64, accidents in 0..3usize) {
        let mut pen = Pen::new(seed);
        let text = pen.write(&json);
        let value = text.trim_matches([' ', '\t', '\r', '\n']);
        prop_assert_eq!(parse(&text).map(RawJson::as_str), Ok(value));
        agree(text.as_bytes())?;
        let text = damaged(text.as_bytes(), &mut pen.dice, accidents);
        agree(&text)?;
        offer_to_all(&text)?;
    }

    #[test]
    fn values_are_compared_as_the_model_compares_them(
        one in json(), other in json(), seeds: [u64; 3],
    ) {
        let near = one.vary(&mut Dice(seeds[2]));
        for other in [&one, &near, &other] {
            let (a, b) = (Pen::new(seeds[0]).write(&one), Pen::new(seeds[1]).write(other));
            let (a, b) = (parse(&a).expect("JSON"), parse(&b).expect("JSON"));
            let what = format!("{} and {}", a.as_str(), b.as_str());
            prop_assert_eq!(a.same_value(b), one == *other, "{}", what);
            prop_assert_eq!(b.same_value(a), one == *other, "{}", what);
            prop_assert_eq!(a.contains(b), one.contains(other), "{}", what);
            prop_assert_eq!(b.contains(a), other.contains(&one), "{}", what);
        }
    }

    #[test]
    fn parts_are_found(json in json(), seed: u64) {
        fn check(raw: RawJson<'_>, json: &Json) -> Result<(), TestCaseError> {
            prop_assert_eq!(raw.is_object(), matches!(json, Json::Object(_)));
            match json {
                Json::Object(members) => {
                    prop_assert_eq!(raw.members().count(), members.len());
                    for (key, value) in members {
                        check(raw.get(key).expect("the key"), value)?;
                    }
                    prop_assert!(raw.get("no such key").is_none());
                }
                Json::Array(entries) => {
                    prop_assert_eq!(raw.elements().count(), entries.len());
                    for (raw, entry) in raw.elements().zip(entries) {
                        check(raw, entry)?;
                    }
                }
                Json::Text(text) => {
                    prop_assert_eq!(raw.as_string().expect("a string").to_string(), text.as_str());
                }
                Json::Boolean(value) => prop_assert_eq!(raw.as_bool(), Some(*value)),
                Json::Null => prop_assert_eq!(raw.as_str(), "null"),
                Json::Number(..) => {
                    // As far as a float holds whole numbers.
                    let float: f64 = raw.as_str().parse().expect("a number");
                    if float.abs() < 1e15 {
                        let whole = (float >= 0.0 && float.fract() == 0.0).then_some(float);
                        prop_assert_eq!(raw.as_u64().map(|whole| whole as f64), whole);
                    }
                }
            }
            Ok(())
        }
        let text = Pen::new(seed).write(&json);
        check(parse(&text).expect("JSON"), &json)?;
    }

    #[test]
    fn repeated_keys_are_found(
        json in members(json()).prop_filter("a key to repeat", |members| !members.is_empty()),
        seed: u64,
        which in 0..4usize,
    ) {
        let json = Json::Object(json);
        let mut pen = Pen::new(seed);
        pen.repeat_in = Some(which);
        let mut text = pen.write(&json);
        if pen.repeat_in.is_some() {
            // There were not that many objects.
            pen.repeat_in = Some(0);
            text = pen.write(&json);
        }
        let refused = parse(&text).map(RawJson::as_str);
        prop_assert_eq!(refused, Err(ParseError::DuplicateKey), "{}", text);
        // And inside each kind of message, in a named and an unknown field.
        for (kind, before, after) in [
            (Kind::Payload, r#"{"x402Version":1,"scheme":"s","network":"n","payload":"#, "}"),
            (Kind::Payload, r#"{"mine":["#, r#"],"x402Version":1,"scheme":"s"}"#),
            (Kind::Required, r#"{"x402Version":2,"accepts":[{"extra":"#, r#"}]}"#),
            (Kind::Supported, r#"{"kinds":[{"extra":"#, "}]}"),
        ] {
            let message = format!("{before}{text}{after}");
            let error = rewrite(kind, message.as_bytes()).map_err(|(error, _)| error);
            prop_assert_eq!(error, Err(ParseError::DuplicateKey), "{}", message);
        }
        // Beside what is decided by they are kept.
        for (kind, before, after) in [
            (Kind::Required, r#"{"x402Version":2,"accepts":[],"extensions":{"e":"#, "}}"),
            (Kind::Verified, r#"{"isValid":true,"extra":"#, "}"),
            (Kind::Settled, r#"{"success":true,"transaction":"","network":"","z":"#, "}"),
            (Kind::Supported, r#"{"kinds":[],"signers":{"s":"#, "}}"),
        ] {
            let message = format!("{before}{text}{after}");
            let written = rewrite(kind, message.as_bytes()).expect("read").expect("written");
            prop_assert!(written.json.contains(text.trim()), "{}", written.json);
        }
    }

    #[test]
    fn repeated_keys_are_found_among_many(
        keys in prop::collection::hash_set("[a-z]{1,3}|[a-z0-9]{1,12}", 2..150),
        seed: u64,
    ) {
        let keys: Vec<String> = keys.into_iter().collect();
        let mut pen = Pen::new(seed);
        let mut member = |key: &str| {
            let mut out = String::new();
            pen.string(&mut out, key);
            out + pen.dice.pick(&[":1", ":\"a\"", ":{\"a\":[]}", ":[\"a\",{\"b\":1}]"])
        };
        let mut members: Vec<String> = keys.iter().map(|key| member(key)).collect();
        let unique = format!("{{{}}}", members.join(","));
        prop_assert!(parse(&unique).is_ok(), "{}", unique);
        let (again, at) = (Dice(seed).roll(keys.len()), Dice(!seed).roll(keys.len()));
        let again = member(&keys[again]);
        members.insert(at, again);
        let repeated = format!("{{{}}}", members.join(","));
        let refused = parse(&repeated).map(RawJson::as_str);
        prop_assert_eq!(refused, Err(ParseError::DuplicateKey), "{}", repeated);
    }
}

// ---------------------------------------------------------------------------------------------
// Messages

/// The JSON of every recorded message that can be read.
static RECORDED: LazyLock<Vec<(Kind, Vec<u8>)>> = LazyLock::new(|| {
    let texts = recorded().into_iter().filter(|recorded| recorded.rewrite().is_ok());
    texts
        .map(|recorded| match recorded.text {
            Text::Body(json) => (recorded.kind, json.into_bytes()),
            Text::Header(header) => {
                let mut bytes = header.into_bytes();
                (recorded.kind, base64::decode_in_place(&mut bytes).expect("base64").to_vec())
            }
        })
        .collect()
});

/// A reader's permitted changes to a message besides dropping nulls: the version as a string
/// becomes a number, and the outer number of a facilitator request is there.
fn read_back(kind: Kind, text: &[u8]) -> Result<Value, serde_json::Error> {
    let mut value = normal(kind, serde_json::from_slice(text)?);
    if kind == Kind::Required && value["x402Version"].is_string() {
        let version = value["x402Version"].as_str().and_then(|version| version.parse::<u8>().ok());
        value["x402Version"] = version.into();
    }
    if kind == Kind::Request && value.get("x402Version").is_none() {
        value["x402Version"] = value["paymentPayload"]["x402Version"].clone();
    }
    Ok(value)
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn damaged_messages_are_refused_or_kept(
        which in any::<prop::sample::Index>(), seed: u64, accidents in 1..4usize,
    ) {
        let (kind, text) = which.get(&RECORDED);
        let text = damaged(text, &mut Dice(seed), accidents);
        agree(&text)?;
        match rewrite(*kind, &text) {
            Err((_, at)) => prop_assert!(at <= text.len()),
            Ok(written) => {
                let written = written.expect("what was read in one version can be written in it");
                match read_back(*kind, &text) {
                    Ok(value) => {
                        let ours: Value = serde_json::from_str(&written.json).expect("JSON");
                        prop_assert_eq!(ours, value, "{}", String::from_utf8_lossy(&text));
                    }
                    Err(error) => {
                        // A value that decides nothing may hold more than `serde_json` reads.
                        let error = error.to_string();
                        let texts = ["number out of range", "surrogate", "unexpected end of hex"];
                        prop_assert!(texts.iter().any(|text| error.contains(text)), "{}", error);
                    }
                }
                // Once more makes no difference.
                let again = rewrite(*kind, written.json.as_bytes());
                prop_assert_eq!(again, Ok(Ok(written)));
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn what_is_built_is_read_back(
        texts in prop::collection::vec(text(), 9),
        error in prop::option::of(text()),
        description in prop::option::of(text()),
        extra in prop::option::of(members(json())),
        amount: u64,
        seconds: u64,
        offers in 0..4usize,
        seed: u64,
    ) {
        let extra = extra.map(|extra| Pen::new(seed).write(&Json::Object(extra)));
        let extra = extra.as_deref().map(|extra| parse(extra.trim()).expect("JSON"));
        let as_json: fn(&String) -> JsonStr<'_> = |text| text.as_str().into();
        let offer = PaymentRequirements {
            scheme: as_json(&texts[0]),
            network: Network::parse("eip155:84532").expect("CAIP-2"),
            amount: amount.into(),
            asset: as_json(&texts[1]),
            pay_to: as_json(&texts[2]),
            max_timeout_seconds: seconds,
            extra,
            v1: None,
            other: Default::default(),
        };
        let offers = vec![offer; offers];
        for version in [Version::V1, Version::V2] {
            let built = PaymentRequired {
                x402_version: version,
                error: error.as_ref().map(as_json),
                resource: Some(ResourceInfo {
                    url: as_json(&texts[3]),
                    description: description.as_ref().map(as_json),
                    mime_type: Some(as_json(&texts[4])),
                    ..Default::default()
                }),
                accepts: List::from(&offers[..]),
                extensions: extra,
                other: Default::default(),
            };
            let written = write(&built).expect("base-sepolia has both names");
            prop_assert_eq!(&written.header, &to_base64(written.json.as_bytes(), true));

            let read = PaymentRequired::parse(written.json.as_bytes()).expect("read");
            prop_assert_eq!(read.x402_version, version);
            prop_assert_eq!(read.error, built.error);
            prop_assert_eq!(read.accepts.len(), offers.len());
            let again = write(&read).expect("written before");
            prop_assert_eq!(&again, &written);
            for read in read.accepts.iter() {
                prop_assert_eq!(read.scheme, offer.scheme);
                prop_assert!(read.network.is_same(offer.network));
                prop_assert_eq!(read.amount, offer.amount);
                prop_assert_eq!(read.asset, offer.asset);
                prop_assert_eq!(read.pay_to, offer.pay_to);
                prop_assert_eq!(read.max_timeout_seconds, seconds);
                prop_assert_eq!(read.extra.is_some(), extra.is_some());
                prop_assert_eq!(read.accepts(&offer, HINTS), version == Version::V2);
            }

            let value: Value = serde_json::from_str(&written.json).expect("JSON");
            prop_assert_eq!(value["error"].as_str(), error.as_deref());
            let resource = match version {
                Version::V2 => value.pointer("/resource/url"),
                Version::V1 => value.pointer("/accepts/0/resource"),
            };
            if version == Version::V2 || !offers.is_empty() {
                prop_assert_eq!(resource.and_then(Value::as_str), Some(texts[3].as_str()));
            }
        }
    }

    /// The check that stands between a buyer and paying less: nothing of the offer may change.
    #[test]
    fn an_offer_is_accepted_whole(
        extra in members(json()), own in members(json()), seeds: [u64; 4],
    ) {
        let (extra, own) = (Json::Object(extra), Json::Object(own));
        let offer = |pen: &mut Pen, extra: &Json, own: &Json, amount: &str| {
            let mut members = [
                r#""scheme":"exact""#.to_owned(),
                r#""network":"eip155:84532""#.to_owned(),
                format!(r#""amount":"{amount}""#),
                r#""asset":"0xa","payTo":"0xb""#.to_owned(),
                r#""maxTimeoutSeconds":60"#.to_owned(),
                format!("\"extra\":{}", pen.write(extra)),
                format!("\"own\":{}", pen.write(own)),
            ];
            let by = pen.dice.roll(members.len());
            members.rotate_left(by);
            format!("{{{}}}", members.join(","))
        };
        let offered = offer(&mut Pen::new(seeds[0]), &extra, &own, "5");
        let offered = PaymentRequirements::parse(offered.as_bytes()).expect("an offer");
        let dice = &mut Dice(seeds[2]);
        let (other_extra, other_own) = (extra.vary(dice), own.vary(dice));
        for (extra_, own_, amount) in [
            (&extra, &own, "5"),
            (&other_extra, &own, "5"),
            (&extra, &other_own, "5"),
            (&extra, &own, "4"),
        ] {
            let Json::Object(_) = extra_ else { continue };
            let accepted = offer(&mut Pen::new(seeds[1]), extra_, own_, amount);
            let expected = amount == "5" && extra_.contains(&extra) && *own_ == own;
            let accepted = PaymentRequirements::parse(accepted.as_bytes()).expect("an offer");
            prop_assert_eq!(accepted.accepts(&offered, HINTS), expected);
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Strings, the writer, base64

fn to_base64(bytes: &[u8], padded: bool) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | usize::from(*group.get(i).unwrap_or(&0)));
        for digit in 0..4 {
            match bits >> (18 - 6 * digit) & 63 {
                bits if digit <= group.len() => out.push(alphabet[bits].into()),
                _ if padded => out.push('='),
                _ => {}
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn base64_round_trip(
        bytes in prop::collection::vec(any::<u8>(), 1..100), spaces in "[ \t]{0,3}",
    ) {
        for padded in [true, false] {
            let header = format!("{spaces}{}{spaces}", to_base64(&bytes, padded));
            let mut scratch = vec![0; base64::decoded_len(header.len())];
            prop_assert_eq!(base64::decode(header.as_bytes(), &mut scratch), Ok(&bytes[..]));
            let mut place = header.clone().into_bytes();
            prop_assert_eq!(base64::decode_in_place(&mut place), Ok(&bytes[..]));
        }
        let header = to_base64(&bytes, true);
        prop_assert_eq!(base64::encoded_len(bytes.len()), header.len());
        let mut out = vec![0; header.len()];
        prop_assert_eq!(base64::encode(&bytes, &mut out), Ok(header.as_str()));
        let short = base64::encode(&bytes, &mut out[1..]).err();
        let needed = std::num::NonZeroU32::new(header.len() as u32).expect("not empty");
        prop_assert_eq!(short, Some(EncodeError::BufferTooSmall { needed }));
    }

    /// One payment has one spelling with padding and one without.
    #[test]
    fn base64_has_no_second_spelling(digits in "[A-Za-z0-9+/]{1,12}={0,3}") {
        let mut scratch = [0; 16];
        let decoded = base64::decode(digits.as_bytes(), &mut scratch);
        let mut place = digits.clone().into_bytes();
        prop_assert_eq!(decoded, base64::decode_in_place(&mut place));
        if let Ok(bytes) = decoded {
            let spellings = [to_base64(bytes, true), to_base64(bytes, false)];
            prop_assert!(spellings.contains(&digits), "{:?} {}", spellings, digits);
        }
    }

    #[test]
    fn strings_are_decoded_as_serde_json_decodes_them(
        one in text(), other in text(), seeds: [u64; 2],
    ) {
        let [a, b] = seeds.map(|seed| {
            let mut out = String::new();
            Pen::new(seed).string(&mut out, &one);
            out
        });
        prop_assert_eq!(serde_json::from_str::<String>(&a).expect("a string"), one.as_str());
        let (a_, b_) = (parse(&a).expect("a string"), parse(&b).expect("a string"));
        let (a_, b_) = (a_.as_string().expect("a string"), b_.as_string().expect("a string"));
        prop_assert_eq!(a_.chars().collect::<String>(), one.as_str());
        prop_assert_eq!(a_.to_string(), one.as_str());
        prop_assert_eq!(a_.as_str(), (!a.contains('\\')).then_some(one.as_str()));
        prop_assert_eq!(a_.is_empty(), one.is_empty());
        prop_assert!(a_ == b_ && a_ == *one && a_ == JsonStr::new(&one));
        prop_assert_eq!(a_ == JsonStr::new(&other), one == other);
        let mut room = vec![0; one.len()];
        prop_assert_eq!(a_.decode_into(&mut room), Some(one.as_str()));
        if let Some(short) = one.len().checked_sub(1) {
            prop_assert_eq!(a_.decode_into(&mut room[..short]), None);
        }
        // Written again, a string that was read keeps its spelling; a text gets the shortest.
        let mut out = vec![0; 8 * one.len() + 40];
        let mut writer = Writer::json(&mut out);
        writer.string(a_);
        prop_assert_eq!(writer.finish(), Ok(a.as_bytes()));
        let mut writer = Writer::json(&mut out);
        writer.string(JsonStr::new(&one));
        let shortest = serde_json::to_string(&one).expect("a string");
        prop_assert_eq!(writer.finish(), Ok(shortest.as_bytes()));
    }

    #[test]
    fn writing_is_read_back_by_serde_json(
        texts in prop::collection::vec(text(), 1..8),
        number: u64,
        amount: [u8; 32],
        room in 0..200usize,
    ) {
        let amount = Amount::from_be_bytes(&amount);
        let raw = parse("[ 1,{}]").expect("JSON");
        let parts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let fill = |writer: &mut Writer<'_>| {
            writer.open('[').integer(number).boolean(true).amount(&amount);
            writer.string_of(&parts).base64_of(texts[0].as_bytes()).raw(raw);
            for (index, text) in texts.iter().enumerate() {
                // Keys of one object must differ; these are objects of one key each.
                writer.open('{').key(text).string(text.as_str()).close('}');
                writer.open('[').boolean(index == 0).close(']');
            }
            writer.open('{').maybe_string("none", None).maybe_raw("raw", Some(raw)).close('}');
            writer.close(']');
        };
        let mut expected = vec![
            number.into(),
            true.into(),
            amount.to_string().into(),
            texts.concat().into(),
            to_base64(texts[0].as_bytes(), true).into(),
            serde_json::json!([1, {}]),
        ];
        for (index, text) in texts.iter().enumerate() {
            expected.push(serde_json::json!({ text: text }));
            expected.push(serde_json::json!([index == 0]));
        }
        expected.push(serde_json::json!({ "raw": [1, {}] }));

        let mut writer = Writer::json(&mut []);
        fill(&mut writer);
        let needed = writer.needed().expect("no networks");
        let mut out = vec![0; needed];
        let mut writer = Writer::json(&mut out);
        fill(&mut writer);
        let json = writer.finish().expect("enough room").to_vec();
        let read: Value = serde_json::from_slice(&json).expect("JSON");
        prop_assert_eq!(read, Value::Array(expected));

        // The same bytes in base64, in however many pieces they came.
        let header = to_base64(&json, true);
        let mut out = vec![0; header.len()];
        let mut writer = Writer::base64(&mut out);
        fill(&mut writer);
        prop_assert_eq!(writer.finish(), Ok(header.as_bytes()));

        // Less room is refused with the need, and what lies behind the buffer is not touched.
        for (needed, header) in [(needed, false), (header.len(), true)] {
            let mut out = vec![0xee; room + 8];
            let short = &mut out[..room];
            let mut writer = if header { Writer::base64(short) } else { Writer::json(short) };
            fill(&mut writer);
            match writer.finish() {
                Ok(written) => prop_assert_eq!(written.len(), needed),
                Err(EncodeError::BufferTooSmall { needed: said }) => {
                    prop_assert!(room < needed);
                    prop_assert_eq!(said.get() as usize, needed);
                }
                Err(other) => prop_assert!(false, "{}", other),
            }
            prop_assert!(out[room..].iter().all(|&byte| byte == 0xee));
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Amounts and money, against schoolbook arithmetic on decimal digits

const MAX: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639935";

fn trim(digits: &str) -> String {
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() { "0".to_owned() } else { digits.to_owned() }
}

/// Compares digits without leading zeros.
fn at_most(a: &str, b: &str) -> bool {
    (a.len(), a) <= (b.len(), b)
}

fn add(a: &str, b: &str) -> String {
    let width = a.len().max(b.len()) + 1;
    let (a, b) = (format!("{a:0>width$}"), format!("{b:0>width$}"));
    let mut carry = 0;
    let mut digits: Vec<u8> = a
        .bytes()
        .zip(b.bytes())
        .rev()
        .map(|(a, b)| {
            let sum = a - b'0' + b - b'0' + carry;
            carry = sum / 10;
            b'0' + sum % 10
        })
        .collect();
    digits.reverse();
    trim(std::str::from_utf8(&digits).expect("digits"))
}

fn decimal_of(bytes: &[u8]) -> String {
    // Least significant digit first; each byte multiplies by 256.
    let mut digits = vec![0u32];
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            let value = *digit * 256 + carry;
            *digit = value % 10;
            carry = value / 10;
        }
        while carry > 0 {
            digits.push(carry % 10);
            carry /= 10;
        }
    }
    trim(&digits.iter().rev().map(ToString::to_string).collect::<String>())
}

/// 256-bit numbers of all lengths.
fn uint256() -> impl Strategy<Value = [u8; 32]> {
    let zeros_first = |(mut bytes, zeros): ([u8; 32], usize)| {
        bytes[..zeros].fill(0);
        bytes
    };
    prop_oneof![
        8 => (any::<[u8; 32]>(), 0..=32usize).prop_map(zeros_first),
        1 => Just([0xff; 32]),
    ]
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn amounts_are_exact(a in uint256(), b in uint256()) {
        let (text_a, text_b) = (decimal_of(&a), decimal_of(&b));
        let (x, y) = (Amount::from_be_bytes(&a), Amount::from_be_bytes(&b));
        prop_assert_eq!(x.to_be_bytes(), a);
        prop_assert_eq!(x.to_string(), text_a.as_str());
        let mut digits = [0; Amount::DIGITS];
        prop_assert_eq!(x.decimal(&mut digits), text_a.as_str());
        prop_assert_eq!(Amount::parse(&text_a), Ok(x));
        prop_assert_eq!(x.is_zero(), text_a == "0");
        prop_assert_eq!(x.as_u64(), text_a.parse::<u64>().ok());
        prop_assert_eq!(x <= y, at_most(&text_a, &text_b));
        prop_assert_eq!(x == y, text_a == text_b);

        let sum = add(&text_a, &text_b);
        let fits = at_most(&sum, MAX).then(|| Amount::parse(&sum).expect("an amount"));
        prop_assert_eq!(x.checked_add(y), fits);
        match x.checked_sub(y) {
            Some(rest) => prop_assert_eq!(add(&rest.to_string(), &text_b), text_a),
            None => prop_assert!(!at_most(&text_b, &text_a)),
        }
    }

    #[test]
    fn small_amounts_are_integers(a: u64, b: u64) {
        let wide = u128::from(a) + u128::from(b);
        let sum = Amount::from(a).checked_add(b.into()).expect("fits");
        prop_assert_eq!(sum.to_string(), wide.to_string());
        prop_assert_eq!(sum.as_u64(), a.checked_add(b));
        let rest = Amount::from(a).checked_sub(b.into());
        prop_assert_eq!(rest.and_then(Amount::as_u64), a.checked_sub(b));
        prop_assert_eq!(Amount::from(a).cmp(&b.into()), a.cmp(&b));
        prop_assert_eq!(Amount::parse(&wide.to_string()), Ok(sum));
    }

    /// The one grammar, and nothing above the one limit.
    #[test]
    fn amounts_have_one_spelling(text in prop_oneof![
        "[0-9]{1,79}",
        "0[0-9]{1,3}",
        "1157920892373161954235[0-9]{56}", // next to the limit
        "[-+ 0-9.eExX_]{0,6}",
    ]) {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let grammar = digits && !text.is_empty() && (text == "0" || !text.starts_with('0'));
        let parsed = Amount::parse(&text);
        prop_assert_eq!(parsed.is_ok(), grammar && at_most(&text, MAX));
        if let Ok(amount) = parsed {
            prop_assert_eq!(amount.to_string(), text);
        }
    }

    #[test]
    fn money_is_exact(
        whole in "0|[1-9][0-9]{0,10}",
        fraction in "[0-9]{0,7}",
        decimals in 0..=20u8,
        off in 0..3u64,
        dollar: bool,
    ) {
        let point = if fraction.is_empty() { "" } else { "." };
        let text = format!("{}{whole}{point}{fraction}", if dollar { "$" } else { "" });
        let money = Money::parse(&text).expect("money");
        prop_assert_eq!(money.to_string(), format!("${whole}{point}{fraction}"));

        let zeros = |count: usize| "0".repeat(count);
        let places = usize::from(decimals);
        let units = match places.checked_sub(fraction.len()) {
            Some(more) => Amount::parse(&trim(&format!("{whole}{fraction}{}", zeros(more)))),
            None => Err(ParseError::ExcessDigits),
        };
        prop_assert_eq!(money.to_units(decimals), units);

        // Amounts next to the limit, and whether it covers them, at the finer of both scales.
        let kept = fraction.get(..places).unwrap_or(&fraction);
        let near = trim(&format!("{whole}{kept}{}", zeros(places - kept.len())));
        let near = Amount::parse(&near).expect("fits").checked_add(off.into());
        let near = near.and_then(|near| near.checked_sub(1.into()));
        let Some(near) = near else { return Ok(()) };
        let scale = places.max(fraction.len());
        let mine = trim(&format!("{whole}{fraction}{}", zeros(scale - fraction.len())));
        let theirs = trim(&format!("{near}{}", zeros(scale - places)));
        let covered = at_most(&theirs, &mine);
        prop_assert_eq!(money.covers(near, decimals), covered, "{} {} {}", text, near, decimals);
    }

    #[test]
    fn networks_follow_their_grammar(text in prop_oneof![
        "[a-z0-9-]{2,9}(:[A-Za-z0-9_-]{0,34})?",
        "[a-zA-Z0-9:_ -]{0,45}",
    ]) {
        let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let grammar = match text.split_once(':') {
            Some((namespace, reference)) => {
                (3..=8).contains(&namespace.len())
                    && namespace.chars().all(name)
                    && (1..=32).contains(&reference.len())
                    && reference.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            }
            None => (1..=limits::NETWORK_BYTES).contains(&text.len()) && text.chars().all(name),
        };
        let network = Network::parse(&text);
        prop_assert_eq!(network.is_ok(), grammar);
        if let Ok(network) = network {
            prop_assert_eq!(network.as_str(), text.as_str());
            prop_assert!(network.is_same(network));
        }
    }
}
