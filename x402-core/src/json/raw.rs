use core::fmt;

use super::read::{Cursor, Located, fingerprint};
use super::text::JsonStr;
use crate::amount::Amount;
use crate::error::ParseError;
use crate::limits;
use crate::network::{Network, Version};

/// One checked JSON value, kept as it was written and written again byte for byte.
///
/// `extra`, `payload`, `extensions` and every key the specification does not name travel like
/// this. `Debug` shows only the length: payloads carry signatures.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawJson<'a>(&'a str);

impl<'a> RawJson<'a> {
    /// The empty object.
    pub const EMPTY_OBJECT: Self = Self("{}");

    /// Checks `json`, one value with nothing but white space around it.
    ///
    /// # Errors
    /// Anything [`json`](crate::json) refuses, with the code for it.
    pub fn parse(json: &'a [u8]) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new(json)?;
        let value = cursor.value()?;
        cursor.end()?;
        Ok(value)
    }

    /// Checks `json` by JSON's grammar alone, up to [`limits::SUPPORTED_BYTES`]: keys may repeat. It
    /// is for finding out the kind of a text; messages are read by their own rules.
    ///
    /// # Errors
    /// The fault, and its place.
    pub fn skim(json: &'a [u8]) -> Result<Self, Located> {
        let cursor = Cursor::within(limits::SUPPORTED_BYTES, json);
        let mut cursor = cursor.map_err(|error| Located { error, at: 0, field: "" })?;
        let value = cursor.kept().and_then(|value| cursor.end().map(|()| value));
        value.map_err(|error| cursor.locate(error))
    }

    /// Wraps a text that was checked before, and kept since, without checking it again.
    ///
    /// Any other text may write broken JSON, and reading it may end early; nothing worse.
    pub const fn from_validated_unchecked(json: &'a str) -> Self {
        Self(json)
    }

    /// Wraps a span that has been checked.
    pub(crate) const fn of(span: &'a str) -> Self {
        Self(span)
    }

    /// Returns the text of the value.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Returns a cursor at the start of the value.
    pub fn cursor(self) -> Cursor<'a> {
        Cursor::over(self.0)
    }

    /// Returns whether the strict reader takes the value, so many levels deep in a text.
    pub(crate) fn is_strict(self, depth: usize) -> bool {
        Cursor::inside(self.0, depth, limits::RESCAN_BYTES).value().is_ok()
    }

    /// Returns whether the value is an object.
    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    /// Returns the text between the quotes of a string.
    fn quoted(self) -> Option<&'a str> {
        self.0.strip_prefix('"')?.strip_suffix('"')
    }

    /// Returns the value, if it is a string.
    pub fn as_string(self) -> Option<JsonStr<'a>> {
        let text = self.quoted()?;
        Some(JsonStr::from_span(text, text.as_bytes().contains(&b'\\')))
    }

    /// Returns the value, if it is a whole number from 0 to 2^64-1.
    pub fn as_u64(self) -> Option<u64> {
        self.cursor().integer().ok()
    }

    /// Reads the value as an amount.
    pub(crate) fn as_amount(self) -> Result<Amount, ParseError> {
        // An escape is no digit.
        Amount::parse(self.quoted().ok_or(ParseError::WrongType)?)
    }

    /// Reads the value as a network in a message of this version. A clear spelling of the other
    /// version is taken: a name in the table, or the id of an EVM or Solana network.
    pub(crate) fn as_network(self, version: Version) -> Result<Network<'a>, ParseError> {
        // An escape is in no name.
        let network = Network::parse(self.quoted().ok_or(ParseError::WrongType)?)?;
        let is_known = match (version, network.as_str().contains(':')) {
            (Version::V2, true) | (Version::V1, false) => true,
            (Version::V2, false) => network.caip2().is_some(),
            (Version::V1, true) => network.eip155().is_some() || network.solana().is_some(),
        };
        is_known.then_some(network).ok_or(ParseError::InvalidNetwork)
    }

    /// Returns the value, if it is `true` or `false`.
    pub fn as_bool(self) -> Option<bool> {
        self.cursor().boolean().ok()
    }

    /// Returns the members of an object; none for any other value.
    pub fn members(self) -> Members<'a> {
        if self.is_object() { Members::of(self.0, &[], 0) } else { Members::EMPTY }
    }

    /// Returns the elements of an array; none for any other value.
    pub fn elements(self) -> Elements<'a> {
        let mut cursor = self.cursor();
        Elements { done: cursor.array().is_err(), first: true, cursor }
    }

    /// Returns the value of `key` in an object.
    pub fn get(self, key: &str) -> Option<RawJson<'a>> {
        self.members().get(key)
    }

    /// Returns the values of several keys in an object, for which it is walked through once.
    ///
    /// ```
    /// # use x402_core::json::RawJson;
    /// let object = RawJson::parse(br#"{"b":1,"a":2}"#)?;
    /// let [a, c] = object.get_all(["a", "c"]);
    /// assert_eq!((a.and_then(RawJson::as_u64), c.is_none()), (Some(2), true));
    /// # Ok::<(), x402_core::ParseError>(())
    /// ```
    pub fn get_all<const N: usize>(self, keys: [&str; N]) -> [Option<RawJson<'a>>; N] {
        let mut found = [None; N];
        let mut c = Cursor::over(self.0.strip_prefix('{').unwrap_or_default());
        while let Ok(name) = c.any_key() {
            let place = keys.iter().zip(&mut found).find(|(key, _)| name == **key);
            let value = c.value().ok();
            if let Some((_, place)) = place {
                *place = value;
            }
            c.accept(',');
        }
        found
    }

    /// Returns the string at `key` in an object.
    pub fn get_string(self, key: &str) -> Option<JsonStr<'a>> {
        self.get(key)?.as_string()
    }

    /// Returns whether both are the same JSON value. Objects are compared in any key order, strings
    /// by their decoded characters, numbers by their value (`1`, `1.0` and `1e0` are the same).
    ///
    /// The work is at most the product of both lengths; nesting is bounded by the reader.
    pub fn same_value(self, other: RawJson<'_>) -> bool {
        compare(self, other, true, limits::DEPTH.saturating_add(1))
    }

    /// Returns whether the value contains `part`: the same value, or an object with at least the
    /// keys of `part`, each containing its value there.
    pub fn contains(self, part: RawJson<'_>) -> bool {
        compare(self, part, false, limits::DEPTH.saturating_add(1))
    }

    /// Reads the value into a type of the caller's, through `serde-json-core`.
    ///
    /// `scratch` must hold the longest string that is written with escapes, decoded, even if the
    /// type has no field for it. Such a string fits an owned field (`String`, `heapless::String`)
    /// but no `&str`, which cannot borrow it.
    ///
    /// `serde-json-core` refuses surrogate pairs. It panics, for any input, on maps with other keys
    /// than `&str`: use no such type. With an allocator, `serde_json::from_str` on
    /// [`RawJson::as_str`] has neither limit.
    ///
    /// # Errors
    /// [`ParseError::InvalidPayload`] if the value does not fit the type.
    #[cfg(feature = "serde")]
    pub fn read<T: serde::de::Deserialize<'a>>(
        self,
        scratch: &'a mut [u8],
    ) -> Result<T, ParseError> {
        let read = serde_json_core::from_str_escaped(self.0, scratch);
        read.map(|(value, _)| value).map_err(|_| ParseError::InvalidPayload)
    }
}

impl Default for RawJson<'_> {
    fn default() -> Self {
        Self::EMPTY_OBJECT
    }
}

impl fmt::Debug for RawJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawJson({} bytes)", self.0.len())
    }
}

/// Members of an object: an iterator over keys and values.
///
/// As the field `other` of a message it holds the keys outside the specification; they are written
/// again when the message is.
#[derive(Clone, Copy)]
pub struct Members<'a> {
    /// The part of the object that has not been read, from after `{` or a value.
    rest: &'a str,
    /// Keys that are stepped over: the message has read them.
    named: &'static [&'static str],
    /// Fingerprints of named keys that are still kept, because the message did not take their
    /// values.
    kept: u64,
}

impl<'a> Members<'a> {
    /// No members.
    pub const EMPTY: Self = Self { rest: "}", named: &[], kept: 0 };

    /// Returns the members of a checked object, without the `named` ones that are not `kept`.
    pub(crate) fn of(span: &'a str, named: &'static [&'static str], kept: u64) -> Self {
        Self { rest: span.strip_prefix('{').unwrap_or_default(), named, kept }
    }

    /// Returns the value of a key.
    pub fn get(mut self, key: &str) -> Option<RawJson<'a>> {
        self.find(|(name, _)| *name == key).map(|(_, value)| value)
    }
}

impl Default for Members<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl fmt::Debug for Members<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.map(|(key, _)| key)).finish()
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (JsonStr<'a>, RawJson<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut cursor = Cursor::over(self.rest);
            cursor.accept(',');
            let key = cursor.any_key().ok()?;
            let value = cursor.value().ok()?;
            self.rest = cursor.rest();
            // Keys of a message's own object are never escaped: the reader refuses that.
            let is_named = key.as_str().is_some_and(|key| self.named.contains(&key));
            if !is_named || (self.kept != 0 && self.kept & fingerprint(key) != 0) {
                return Some((key, value));
            }
        }
    }
}

/// The elements of an array.
#[derive(Debug)]
pub struct Elements<'a> {
    cursor: Cursor<'a>,
    first: bool,
    done: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = RawJson<'a>;

    fn next(&mut self) -> Option<RawJson<'a>> {
        if self.done || !self.cursor.element(&mut self.first).unwrap_or(false) {
            self.done = true;
            return None;
        }
        self.cursor.value().ok()
    }
}

/// Returns whether `a` is `b`, or (unless `exact`) has at least the members of `b`. Recursion ends
/// with `depth`, which the reader has kept the values within.
fn compare(a: RawJson<'_>, b: RawJson<'_>, exact: bool, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else {
        return false;
    };
    match (a.0.as_bytes().first(), b.0.as_bytes().first()) {
        (Some(b'{'), Some(b'{')) => {
            (!exact || a.members().count() == b.members().count())
                && b.members().all(|(key, wanted)| {
                    a.members()
                        .any(|(name, value)| name == key && compare(value, wanted, exact, depth))
                })
        }
        (Some(b'['), Some(b'[')) => {
            let mut others = b.elements();
            a.elements()
                .all(|value| others.next().is_some_and(|other| compare(value, other, true, depth)))
                && others.next().is_none()
        }
        (Some(b'"'), Some(b'"')) => a.as_string() == b.as_string(),
        (Some(b'-' | b'0'..=b'9'), Some(b'-' | b'0'..=b'9')) => {
            match (Decimal::of(a.0), Decimal::of(b.0)) {
                (Some(mine), Some(theirs)) => mine.same(&theirs),
                _ => a.0 == b.0,
            }
        }
        _ => a.0 == b.0,
    }
}

/// A JSON number as `±0.DIGITS × 10^exponent`, where DIGITS starts and ends without a zero.
struct Decimal<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i32,
}

impl<'a> Decimal<'a> {
    /// Reads a number; `None` for an exponent beyond 32 bits: such numbers are one only if spelt
    /// alike.
    fn of(text: &'a str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        Some(Self { negative, whole, fraction, exponent: exponent.parse().ok()? })
    }

    /// Returns the significant digits, and the power of ten of the place before the first of them.
    fn digits(&self) -> (impl Iterator<Item = u8> + '_, i64) {
        let all = self.whole.bytes().chain(self.fraction.bytes());
        let zeros = all.clone().take_while(|&b| b == b'0').count();
        let len = self.whole.len().saturating_add(self.fraction.len());
        let trailing = all.clone().rev().take_while(|&b| b == b'0').count();
        let significant = len.saturating_sub(zeros).saturating_sub(trailing);
        let place = i64::try_from(self.whole.len())
            .unwrap_or(i64::MAX)
            .saturating_sub(i64::try_from(zeros).unwrap_or(i64::MAX))
            .saturating_add(self.exponent.into());
        let place = if significant == 0 { 0 } else { place };
        (all.skip(zeros).take(significant), place)
    }

    fn same(&self, other: &Self) -> bool {
        let ((mine, my_place), (theirs, their_place)) = (self.digits(), other.digits());
        let zero = mine.size_hint().1 == Some(0);
        my_place == their_place && (zero || self.negative == other.negative) && mine.eq(theirs)
    }
}
