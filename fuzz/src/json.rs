//! Any bytes as JSON, for ours and for serde_json. Ours may refuse more, never read differently,
//! and all that it alone refuses is on a list. A value's written text is that value. Two values
//! (two texts with 0xff between, which is in no text) are the same, or one within the other, if a
//! plain model says so.

use x402_core::json::{Cursor, JsonStr, RawJson, Writer};
use x402_core::{ParseError, limits};

use crate::tree::Tree;
use crate::{Blind, Dice, change};

/// Panics if anything above is not so.
pub fn check(bytes: &[u8]) {
    let (one, other) = match bytes.iter().position(|byte| *byte == 0xff) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &b"[]"[..]),
    };
    let (one, other) = (agreed(one), agreed(other));
    let Some(one) = one else { return };
    read(one.0, &one.1);
    let mut cursor = Cursor::new(one.0.as_str().as_bytes()).unwrap();
    walk(&mut cursor, &one.1);
    cursor.end().unwrap();
    written(one.0, &one.1);

    // Comparing takes time by the square of the length.
    if bytes.len() > 1024 {
        return;
    }
    if let Some(other) = other {
        compared(&one, &other);
    }
    // The same in another spelling, and with something changed.
    let mix = |mixed: u64, byte: &u8| mixed.wrapping_mul(31).wrapping_add((*byte).into());
    let mut dice = Dice::new(bytes.iter().fold(1, mix));
    let respelled = one.1.spelled(&mut dice);
    let respelled = agreed(respelled.as_bytes()).unwrap();
    assert!(one.1.same(&respelled.1));
    compared(&one, &respelled);
    let mut changed = one.1.clone();
    changed.change(&mut dice, POOL);
    if let Some(changed) = agreed(changed.spelled(&mut dice).as_bytes()) {
        compared(&one, &changed);
    }
}

/// Changes an input in ways that leave more of it sound than blind ones do.
pub fn mutate(input: &[u8], max: usize, dice: &mut Dice, blind: &mut Blind<'_>) -> Vec<u8> {
    change::mutate(input, 0, POOL, max, dice, blind)
}

/// Numbers that are the same, and others near.
const POOL: &[&str] = &[
    "0",
    "-0",
    "-0.0",
    "0e9",
    "0.1",
    "1e-1",
    "10E-2",
    "1",
    "1.0",
    "10e-1",
    "-1",
    "1e2147483647",
    "1e2147483648",
    "10e2147483647",
    "1e-2147483648",
    "0.1e-2147483648",
    "0e99999999999",
    "18446744073709551615",
    "18446744073709551616",
    "{}",
    "[]",
    "null",
    "true",
    "\"\"",
    "\"a\"",
    "{\"a\":{\"a\":1}}",
    "\"\u{1f600}\u{0}\"",
];

/// The value as both read it, if both do.
pub(crate) fn agreed(text: &[u8]) -> Option<(RawJson<'_>, Tree)> {
    let ours = RawJson::parse(text);
    let theirs = Tree::read(text);
    let raw = match (ours, &theirs) {
        (Ok(raw), Some(_)) => raw,
        (Ok(raw), None) => panic!("only ours reads {}", raw.as_str()),
        // All that only ours refuses, each for what is there:
        (Err(ParseError::TooLong), _) if text.len() > limits::MESSAGE_BYTES => return None,
        (Err(_), None) => return None, // no JSON, or deeper than limits::DEPTH
        (Err(ParseError::DuplicateKey), Some(tree)) if tree.repeats() => return None,
        (Err(ParseError::TooComplex), Some(tree))
            if tree.keys() * text.len() > limits::RESCAN_BYTES =>
        {
            return None;
        }
        (Err(error), Some(tree)) => panic!("only ours refuses {}: {error}", tree.json()),
    };
    let tree = theirs.unwrap();
    assert!(!tree.repeats());
    assert_eq!(
        raw.as_str(),
        std::str::from_utf8(text).unwrap().trim_matches([' ', '\t', '\n', '\r'])
    );
    Some((raw, tree))
}

/// Everything that can be asked of a value has the answer that serde_json gives.
fn read(raw: RawJson<'_>, tree: &Tree) {
    assert_eq!(raw.is_object(), matches!(tree, Tree::Object(_)));
    assert_eq!(raw.members().count(), tree.members().len());
    assert_eq!(raw.elements().count(), tree.entries().len());
    assert_eq!(raw.as_string().map(|text| text.to_string()), tree.text().map(str::to_owned));
    match tree {
        Tree::Word(text) => {
            assert_eq!(raw.as_str(), text);
            assert_eq!(raw.as_bool(), text.parse().ok());
        }
        Tree::Number(text) => {
            assert_eq!(raw.as_str(), text);
            // A whole number is that number, however it is written.
            let float: f64 = text.parse().unwrap();
            match raw.as_u64() {
                Some(whole) => assert!(tree.same(&Tree::Number(whole.to_string())), "{text}"),
                // As far as a float tells.
                None => {
                    assert!(float < 0.0 || float.fract() != 0.0 || float > 1e15 || float == 0.0)
                }
            }
            if let Ok(plain) = text.parse() {
                assert_eq!(raw.as_u64(), Some(plain));
            }
        }
        Tree::Text(text) => string(raw.as_string().unwrap(), text),
        Tree::Array(entries) => {
            raw.elements().zip(entries).for_each(|(raw, entry)| read(raw, entry));
        }
        Tree::Object(members) => {
            for ((key, raw_value), (name, value)) in raw.members().zip(members) {
                string(key, name);
                assert_eq!(raw.get(name), Some(raw_value));
                read(raw_value, value);
            }
        }
    }
}

fn string(ours: JsonStr<'_>, text: &str) {
    assert!(ours == text && ours == JsonStr::new(text));
    assert!(ours.as_str().is_none_or(|ours| ours == text));
    assert_eq!(ours.is_empty(), text.is_empty());
    let mut room = vec![0; text.len()];
    assert_eq!(ours.decode_into(&mut room), Some(text));
    if let Some(short) = text.len().checked_sub(1) {
        assert_eq!(ours.decode_into(&mut room[..short]), None);
    }
}

/// Reads the value step by step, as messages do.
fn walk(cursor: &mut Cursor<'_>, tree: &Tree) {
    match tree {
        Tree::Word(text) if text == "null" => {
            assert_eq!(cursor.nullable(Cursor::value), Ok(None));
        }
        Tree::Word(text) => assert_eq!(cursor.boolean().ok(), text.parse().ok()),
        Tree::Number(text) => assert_eq!(cursor.number(), Ok(&text[..])),
        Tree::Text(text) => assert!(cursor.string().unwrap() == text.as_str()),
        Tree::Array(entries) => {
            cursor.array().unwrap();
            let mut first = true;
            for entry in entries {
                assert_eq!(cursor.element(&mut first), Ok(true));
                walk(cursor, entry);
            }
            assert_eq!(cursor.element(&mut first), Ok(false));
        }
        // Only objects of the protocol, whose keys have no escapes, are read so.
        Tree::Object(_) => assert!(cursor.raw_object().is_ok()),
    }
}

/// A value's written text is that value.
fn written(raw: RawJson<'_>, tree: &Tree) {
    for anew in [false, true] {
        let mut writer = Writer::json(&mut []);
        write(&mut writer, raw, anew);
        let mut json = vec![0; writer.needed().unwrap()];
        let mut writer = Writer::json(&mut json);
        write(&mut writer, raw, anew);
        let json = writer.finish().unwrap();
        assert_eq!(Tree::read(json).as_ref(), Some(tree));
        if anew {
            assert_eq!(std::str::from_utf8(json), Ok(&tree.json()[..]));
        }
        if json.len() <= limits::MESSAGE_BYTES {
            assert!(RawJson::parse(json).is_ok());
        }
    }
}

/// Writes the value part by part; the strings as they were, or anew.
fn write(writer: &mut Writer<'_>, raw: RawJson<'_>, anew: bool) {
    let decoded = |text: JsonStr<'_>| text.chars().collect::<String>();
    if raw.is_object() && !anew {
        writer.object_of(raw.members());
    } else if raw.is_object() {
        writer.open('{');
        for (key, value) in raw.members() {
            writer.key(&decoded(key));
            write(writer, value, anew);
        }
        writer.close('}');
    } else if raw.as_str().starts_with('[') {
        writer.open('[');
        raw.elements().for_each(|value| write(writer, value, anew));
        writer.close(']');
    } else if let Some(text) = raw.as_string() {
        if anew {
            writer.string(&decoded(text)[..])
        } else {
            writer.string(text)
        };
    } else {
        writer.raw(raw);
    }
}

fn compared(one: &(RawJson<'_>, Tree), other: &(RawJson<'_>, Tree)) {
    let ((a, a_tree), (b, b_tree)) = (one, other);
    let what = || format!("{}\n{}", a.as_str(), b.as_str());
    assert_eq!(a.same_value(*b), a_tree.same(b_tree), "{}", what());
    assert_eq!(b.same_value(*a), a_tree.same(b_tree), "{}", what());
    assert_eq!(a.contains(*b), a_tree.contains(b_tree), "{}", what());
    assert_eq!(b.contains(*a), b_tree.contains(a_tree), "{}", what());
}
