use base64ct::{Base64, Base64Unpadded, Encoding};

use super::raw::{Members, RawJson};
use super::text::{JsonStr, plain};
use crate::amount::Amount;
use crate::error::EncodeError;
use crate::network::Version;

/// Writes JSON, or base64 of JSON, into the caller's buffer in one pass.
///
/// It counts bytes that do not fit instead of storing them, so [`Writer::finish`] can report the size
/// needed.
///
/// ```
/// use x402_core::json::Writer;
/// let mut out = [0; 32];
/// let mut w = Writer::json(&mut out);
/// w.open('{').key("n").integer(1).close('}');
/// assert_eq!(w.finish()?, br#"{"n":1}"#);
/// # Ok::<(), x402_core::EncodeError>(())
/// ```
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut [u8],
    len: usize,
    comma: bool,
    base64: bool,
    carry: [u8; 3],
    carried: usize,
    unnamed_network: bool,
}

impl<'o> Writer<'o> {
    /// Writes JSON into `out`.
    pub const fn json(out: &'o mut [u8]) -> Self {
        Self {
            out,
            len: 0,
            comma: false,
            base64: false,
            carry: [0; 3],
            carried: 0,
            unnamed_network: false,
        }
    }

    /// Writes standard base64, padded, of JSON into `out`.
    pub const fn base64(out: &'o mut [u8]) -> Self {
        Self { base64: true, ..Self::json(out) }
    }

    /// Returns the bytes written.
    ///
    /// # Errors
    /// [`EncodeError`], with the size needed if the buffer is too small.
    pub fn finish(mut self) -> Result<&'o [u8], EncodeError> {
        let needed = self.complete()?;
        let out: &'o [u8] = self.out;
        out.get(..needed).ok_or_else(|| EncodeError::too_small(needed))
    }

    /// Returns the value written.
    ///
    /// # Errors
    /// [`EncodeError`], with the size needed if the buffer is too small.
    pub fn finish_raw(self) -> Result<RawJson<'o>, EncodeError> {
        // The bytes written came from text: they are UTF-8.
        Ok(RawJson::of(core::str::from_utf8(self.finish()?).unwrap_or("null")))
    }

    /// Returns the number of bytes the message takes, even if they did not fit.
    ///
    /// # Errors
    /// [`EncodeError::UnnamedNetwork`].
    pub fn needed(mut self) -> Result<usize, EncodeError> {
        self.complete()
    }

    fn complete(&mut self) -> Result<usize, EncodeError> {
        let carry = self.carry;
        if let Some(last @ [_, ..]) = carry.get(..self.carried) {
            let mut group = [0; 4];
            Base64::encode(last, &mut group).ok();
            self.store(&group);
        }
        if self.unnamed_network { Err(EncodeError::UnnamedNetwork) } else { Ok(self.len) }
    }

    fn store(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        if let Some(place) = self.out.get_mut(self.len..end) {
            place.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        }
        self.len = end;
    }

    /// Writes one byte as it is.
    #[inline]
    fn byte(&mut self, byte: u8) {
        if self.base64 {
            return self.put_base64(&[byte]);
        }
        if let Some(place) = self.out.get_mut(self.len) {
            *place = byte;
        }
        self.len = self.len.saturating_add(1);
    }

    /// Writes `bytes` as they are.
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        if self.base64 { self.put_base64(bytes) } else { self.store(bytes) }
    }

    fn put_base64(&mut self, mut bytes: &[u8]) {
        while self.carried != 0 {
            let Some((&byte, rest)) = bytes.split_first() else {
                return;
            };
            bytes = rest;
            if let Some(place) = self.carry.get_mut(self.carried) {
                *place = byte;
            }
            self.carried = self.carried.saturating_add(1);
            if self.carried == self.carry.len() {
                self.carried = 0;
                let mut group = [0; 4];
                Base64Unpadded::encode(&self.carry, &mut group).ok();
                self.store(&group);
            }
        }
        let (groups, rest) = bytes.as_chunks::<3>();
        let groups = groups.as_flattened();
        let end = self.len.saturating_add((groups.len() / 3).saturating_mul(4));
        if let Some(out) = self.out.get_mut(self.len..end) {
            Base64Unpadded::encode(groups, out).ok();
        }
        self.len = end;
        for (place, &byte) in self.carry.iter_mut().zip(rest) {
            *place = byte;
        }
        self.carried = rest.len();
    }

    fn separate(&mut self) {
        if self.comma {
            self.byte(b',');
        }
        self.comma = true;
    }

    /// Opens an object (`{`) or an array (`[`).
    pub fn open(&mut self, bracket: char) -> &mut Self {
        self.separate();
        self.byte(if bracket == '{' { b'{' } else { b'[' });
        self.comma = false;
        self
    }

    /// Closes an object (`}`) or an array (`]`).
    pub fn close(&mut self, bracket: char) -> &mut Self {
        self.byte(if bracket == '}' { b'}' } else { b']' });
        self.comma = true;
        self
    }

    /// Writes a key; its value must follow.
    pub fn key(&mut self, key: &str) -> &mut Self {
        self.string(JsonStr::new(key));
        self.byte(b':');
        self.comma = false;
        self
    }

    /// Writes a string.
    pub fn string<'s>(&mut self, text: impl Into<JsonStr<'s>>) -> &mut Self {
        self.separate();
        self.byte(b'"');
        self.string_part(text);
        self.byte(b'"');
        self
    }

    /// Writes a string of several parts, such as a prefix and digits.
    pub fn string_of(&mut self, parts: &[&str]) -> &mut Self {
        self.separate();
        self.byte(b'"');
        for part in parts {
            self.string_part(*part);
        }
        self.byte(b'"');
        self
    }

    /// Writes bytes as a string of standard base64, padded.
    pub fn base64_of(&mut self, bytes: &[u8]) -> &mut Self {
        self.separate();
        self.byte(b'"');
        let (groups, rest) = bytes.as_chunks::<3>();
        let mut digits = [0; 4];
        for group in groups.iter().map(<[u8; 3]>::as_slice).chain([rest]) {
            let digits = Base64::encode(group, &mut digits).unwrap_or("");
            self.put(digits.as_bytes());
        }
        self.byte(b'"');
        self
    }

    fn string_part<'s>(&mut self, text: impl Into<JsonStr<'s>>) {
        let (mut rest, escaped) = text.into().span();
        if escaped {
            return self.put(rest.as_bytes());
        }
        loop {
            let (as_is, tail) = rest.split_at_checked(plain(rest.as_bytes())).unwrap_or((rest, ""));
            self.put(as_is.as_bytes());
            let mut chars = tail.chars();
            let Some(c) = chars.next() else {
                return;
            };
            self.escape(c);
            rest = chars.as_str();
        }
    }

    fn escape(&mut self, c: char) {
        match c {
            '"' => self.put(b"\\\""),
            '\\' => self.put(b"\\\\"),
            '\n' => self.put(b"\\n"),
            '\r' => self.put(b"\\r"),
            '\t' => self.put(b"\\t"),
            '\u{8}' => self.put(b"\\b"),
            '\u{c}' => self.put(b"\\f"),
            c => {
                let digit = |nibble: u32| char::from_digit(nibble & 0xf, 16).unwrap_or('0');
                self.put(b"\\u00");
                let mut utf8 = [0; 4];
                self.put(digit(u32::from(c) >> 4).encode_utf8(&mut utf8).as_bytes());
                self.put(digit(u32::from(c)).encode_utf8(&mut utf8).as_bytes());
            }
        }
    }

    /// Writes a whole number.
    pub fn integer(&mut self, value: u64) -> &mut Self {
        self.separate();
        let mut digits = [0; Amount::DIGITS];
        let digits = Amount::from(value).decimal(&mut digits).as_bytes();
        self.put(digits);
        self
    }

    /// Writes `true` or `false`.
    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.separate();
        self.put(if value { b"true" } else { b"false" });
        self
    }

    /// Writes an amount as a string of decimal digits.
    pub fn amount(&mut self, amount: &Amount) -> &mut Self {
        let mut digits = [0; Amount::DIGITS];
        let digits = amount.decimal(&mut digits);
        self.string(JsonStr::new(digits))
    }

    /// Writes a checked value byte for byte.
    pub fn raw(&mut self, value: RawJson<'_>) -> &mut Self {
        self.separate();
        self.put(value.as_str().as_bytes());
        self
    }

    /// Writes a key and string, if there is one.
    pub fn maybe_string(&mut self, key: &str, text: Option<JsonStr<'_>>) -> &mut Self {
        if let Some(text) = text {
            self.key(key).string(text);
        }
        self
    }

    /// Writes a key and value, if there is one.
    pub fn maybe_raw(&mut self, key: &str, value: Option<RawJson<'_>>) -> &mut Self {
        if let Some(value) = value {
            self.key(key).raw(value);
        }
        self
    }

    /// Writes members after those the message has written, which are the `named` ones except those
    /// marked in `absent`.
    pub(crate) fn others(&mut self, others: Members<'_>, named: &[&str], absent: &[(&str, bool)]) {
        for (key, value) in others {
            // A key that another version of the message does not name may be named in this one.
            let is_written = key.as_str().is_some_and(|key| {
                named.contains(&key) && !absent.iter().any(|(name, yes)| *name == key && *yes)
            });
            if !is_written {
                self.member(key, value);
            }
        }
    }

    fn member(&mut self, key: JsonStr<'_>, value: RawJson<'_>) {
        self.string(key);
        self.byte(b':');
        self.comma = false;
        self.raw(value);
    }

    /// Writes an object of members.
    pub fn object_of(&mut self, members: Members<'_>) -> &mut Self {
        self.open('{');
        members.for_each(|(key, value)| self.member(key, value));
        self.close('}')
    }

    /// Writes a version number.
    pub(crate) fn version(&mut self, version: Version) -> &mut Self {
        self.key("x402Version").integer(u64::from(version.number()))
    }

    /// Notes that a network has no name in version 1.
    pub(crate) fn fail_unnamed_network(&mut self) {
        self.unnamed_network = true;
    }
}
