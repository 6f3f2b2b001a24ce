use super::raw::{Members, RawJson};
use super::text::JsonStr;
use crate::amount::Amount;
use crate::error::ParseError;
use crate::limits;
use crate::network::{Network, Version};

/// A position in a JSON text, moving forward as values are read.
///
/// Messages and schemes read themselves through it. After an error the cursor stands at or
/// behind the byte that caused it ([`Cursor::position`]) and must not be read further.
///
/// ```
/// use x402_core::json::{Cursor, Field};
/// let mut c = Cursor::new(br#"{"colour":"red","n":3}"#)?;
/// let (mut colour, mut object) = (Field::default(), c.object()?);
/// while let Some(key) = c.key(&mut object)? {
///     match key {
///         "colour" => colour.set(c.string()?)?,
///         _ => c.unknown(&mut object)?,
///     }
/// }
/// c.end()?;
/// assert_eq!(colour.required()?, "red");
/// # Ok::<(), x402_core::ParseError>(())
/// ```
#[derive(Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// Bytes that may still be read again; `None` for text that has been checked before.
    rescan: Option<usize>,
}

/// An object being read by a [`Cursor`].
#[derive(Debug)]
pub struct Object<'a> {
    start: usize,
    first: bool,
    key: JsonStr<'a>,
    seen: u64,
    other: bool,
}

/// One field of an object being read: absent, `null`, or a value; never two.
#[derive(Debug)]
pub struct Field<T>(Option<Option<T>>);

impl<T> Default for Field<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Field<T> {
    /// Takes the value; [`ParseError::DuplicateKey`] if there was one.
    pub fn set(&mut self, value: T) -> Result<(), ParseError> {
        self.set_nullable(Some(value))
    }

    /// Takes the value or `null`; [`ParseError::DuplicateKey`] if there was one.
    pub fn set_nullable(&mut self, value: Option<T>) -> Result<(), ParseError> {
        if self.0.is_some() {
            return Err(ParseError::DuplicateKey);
        }
        self.0 = Some(value);
        Ok(())
    }

    /// The value; [`ParseError::MissingField`] if absent, [`ParseError::WrongType`] if `null`.
    pub fn required(self) -> Result<T, ParseError> {
        match self.0 {
            None => Err(ParseError::MissingField),
            Some(None) => Err(ParseError::WrongType),
            Some(Some(value)) => Ok(value),
        }
    }

    /// The value, if it was there and not `null`.
    pub fn optional(self) -> Option<T> {
        self.0.flatten()
    }
}

/// An open container inside a value that is being skipped.
#[derive(Clone, Copy)]
struct Level {
    /// Where the object starts, or `ARRAY`.
    start: u32,
    /// Fingerprints of the keys seen so far.
    seen: u64,
}

const ARRAY: u32 = u32::MAX;

impl Object<'_> {
    /// Counts a field among the unknown members, if it was there.
    pub(crate) fn keep<T>(&mut self, field: &Field<T>) {
        self.other |= field.0.is_some();
    }
}

impl<'a> Cursor<'a> {
    /// At the start of `json`, which must be UTF-8 and within [`limits::MESSAGE_BYTES`].
    pub fn new(json: &'a [u8]) -> Result<Self, ParseError> {
        if json.len() > limits::MESSAGE_BYTES {
            return Err(ParseError::TooLong);
        }
        let text = core::str::from_utf8(json).map_err(|_| ParseError::NotUtf8)?;
        Ok(Self { text, at: 0, depth: 0, rescan: Some(limits::RESCAN_BYTES) })
    }

    /// Over a value that has been checked.
    pub(crate) const fn over(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0, rescan: None }
    }

    /// Bytes read so far.
    pub const fn position(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or(&[])
    }

    fn step(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    fn span(&self, start: usize) -> Result<&'a str, ParseError> {
        self.text.get(start..self.at).ok_or(ParseError::UnexpectedEnd)
    }

    /// The next byte that is not white space.
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            let next = self.rest().first().copied();
            if !matches!(next, Some(b' ' | b'\n' | b'\r' | b'\t')) {
                return next;
            }
            self.step(1);
        }
    }

    fn unexpected(&self) -> ParseError {
        if self.rest().is_empty() { ParseError::UnexpectedEnd } else { ParseError::UnexpectedByte }
    }

    /// Steps over `byte` if it is next.
    fn accept(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        if next {
            self.step(1);
        }
        next
    }

    fn expect(&mut self, byte: u8) -> Result<(), ParseError> {
        if self.accept(byte) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// For a typed read: a value of another type is [`ParseError::WrongType`], anything that
    /// starts no value is not JSON.
    fn mismatch(&mut self) -> ParseError {
        match self.peek() {
            Some(b'{' | b'[' | b'"' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9') => {
                ParseError::WrongType
            }
            _ => self.unexpected(),
        }
    }

    /// Nothing but white space is left.
    pub fn end(&mut self) -> Result<(), ParseError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(ParseError::UnexpectedByte),
        }
    }

    /// Enters an object.
    pub fn object(&mut self) -> Result<Object<'a>, ParseError> {
        if self.peek() != Some(b'{') {
            return Err(self.mismatch());
        }
        self.enter()?;
        Ok(Object {
            start: self.at.saturating_sub(1),
            first: true,
            key: JsonStr::new(""),
            seen: 0,
            other: false,
        })
    }

    /// The next key of `object`, or `None` after its end. The value must be read next.
    ///
    /// Objects of the protocol have plain keys: one with escapes is [`ParseError::EscapedKey`].
    pub fn key(&mut self, object: &mut Object<'a>) -> Result<Option<&'a str>, ParseError> {
        if self.accept(b'}') {
            self.depth = self.depth.saturating_sub(1);
            return Ok(None);
        }
        if !object.first {
            self.expect(b',')?;
        }
        object.first = false;
        if self.peek() != Some(b'"') {
            return Err(self.unexpected());
        }
        object.key = self.string()?;
        self.expect(b':')?;
        match object.key.as_str() {
            Some(key) => Ok(Some(key)),
            None => Err(ParseError::EscapedKey),
        }
    }

    /// Checks and steps over the value of a key that the message does not define; the object's
    /// [`Members`] will hold it.
    pub fn unknown(&mut self, object: &mut Object<'a>) -> Result<(), ParseError> {
        self.unique(object.start, object.key, &mut object.seen)?;
        object.other = true;
        self.value().map(drop)
    }

    /// The members of `object`, which has ended, but for the `named` ones the message defines.
    pub fn members(&self, object: &Object<'a>, named: &'static [&'static str]) -> Members<'a> {
        match self.span(object.start) {
            Ok(span) if object.other => Members::of(span, named),
            _ => Members::EMPTY,
        }
    }

    /// Reads `null`, which stands for an absent field, or a value.
    pub fn nullable<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<Option<T>, ParseError> {
        if self.peek() == Some(b'n') {
            return self.literal("null").map(|()| None);
        }
        read(self).map(Some)
    }

    fn enter(&mut self) -> Result<(), ParseError> {
        if self.depth >= limits::DEPTH {
            return Err(ParseError::TooDeep);
        }
        self.depth = self.depth.saturating_add(1);
        self.step(1);
        Ok(())
    }

    /// Steps over a colon or comma in text that has been checked.
    pub(super) fn separator(&mut self) {
        if let Some(b',' | b':') = self.peek() {
            self.step(1);
        }
    }

    /// Enters an array.
    pub fn array(&mut self) -> Result<(), ParseError> {
        if self.peek() != Some(b'[') {
            return Err(self.mismatch());
        }
        self.enter()
    }

    /// Whether the array entered has another element, which must be read next. `first` starts
    /// `true` and is kept by the caller.
    pub fn element(&mut self, first: &mut bool) -> Result<bool, ParseError> {
        if self.accept(b']') {
            self.depth = self.depth.saturating_sub(1);
            return Ok(false);
        }
        if !*first {
            self.expect(b',')?;
        }
        *first = false;
        Ok(true)
    }

    /// Reads a string.
    pub fn string(&mut self) -> Result<JsonStr<'a>, ParseError> {
        if self.peek() != Some(b'"') {
            return Err(self.mismatch());
        }
        self.step(1);
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.rest();
            let run = rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20);
            self.step(run.unwrap_or(rest.len()));
            match self.rest().first() {
                Some(b'"') => {
                    let text = self.span(start)?;
                    self.step(1);
                    return Ok(JsonStr::from_span(text, escaped));
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(ParseError::InvalidString),
                None => return Err(ParseError::UnexpectedEnd),
            }
        }
    }

    /// Steps over one escape sequence, or the two of a surrogate pair.
    fn escape(&mut self) -> Result<(), ParseError> {
        match self.rest().get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.step(2);
                Ok(())
            }
            Some(b'u') => {
                let unit = self.unit()?;
                match unit {
                    0xdc00..=0xdfff => Err(ParseError::InvalidString),
                    0xd800..=0xdbff => match self.unit()? {
                        0xdc00..=0xdfff => Ok(()),
                        _ => Err(ParseError::InvalidString),
                    },
                    _ => Ok(()),
                }
            }
            Some(_) => Err(ParseError::InvalidString),
            None => Err(ParseError::UnexpectedEnd),
        }
    }

    /// Steps over `\uXXXX`.
    fn unit(&mut self) -> Result<u32, ParseError> {
        let [b'\\', b'u', hex @ ..] = self.rest() else {
            return Err(ParseError::InvalidString);
        };
        let hex = hex.get(..4).ok_or(ParseError::UnexpectedEnd)?;
        let mut unit = 0u32;
        for &byte in hex {
            let digit = char::from(byte).to_digit(16).ok_or(ParseError::InvalidString)?;
            unit = (unit << 4) | digit;
        }
        self.step(6);
        Ok(unit)
    }

    fn literal(&mut self, word: &str) -> Result<(), ParseError> {
        if self.rest().starts_with(word.as_bytes()) {
            self.step(word.len());
            Ok(())
        } else {
            Err(ParseError::UnexpectedByte)
        }
    }

    /// Reads `true` or `false`.
    pub fn boolean(&mut self) -> Result<bool, ParseError> {
        match self.peek() {
            Some(b't') => self.literal("true").map(|()| true),
            Some(b'f') => self.literal("false").map(|()| false),
            _ => Err(self.mismatch()),
        }
    }

    fn digits(&mut self) -> Result<(), ParseError> {
        let run = self.rest().iter().take_while(|b| b.is_ascii_digit()).count();
        self.step(run);
        if run == 0 { Err(ParseError::InvalidNumber) } else { Ok(()) }
    }

    /// Reads a number and gives its text.
    pub fn number(&mut self) -> Result<&'a str, ParseError> {
        if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            return Err(self.mismatch());
        }
        let start = self.at;
        if self.rest().first() == Some(&b'-') {
            self.step(1);
        }
        if self.rest().first() == Some(&b'0') {
            self.step(1);
        } else {
            self.digits()?;
        }
        if self.rest().first() == Some(&b'.') {
            self.step(1);
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.rest().first() {
            self.step(1);
            if let Some(b'+' | b'-') = self.rest().first() {
                self.step(1);
            }
            self.digits()?;
        }
        if let Some(b'0'..=b'9' | b'.' | b'+' | b'-') = self.rest().first() {
            return Err(ParseError::InvalidNumber);
        }
        self.span(start)
    }

    /// Reads a whole number from 0 to 2^64-1, written without fraction or exponent.
    pub fn integer(&mut self) -> Result<u64, ParseError> {
        let text = self.number()?;
        if text.starts_with('-') {
            return Err(ParseError::WrongType);
        }
        text.parse().map_err(|_| ParseError::WrongType)
    }

    /// Reads an amount: a string of decimal digits.
    pub fn amount(&mut self) -> Result<Amount, ParseError> {
        let text = self.string()?.as_str().ok_or(ParseError::InvalidAmount)?;
        Amount::parse(text)
    }

    /// Reads an object of any content as a raw span.
    pub fn raw_object(&mut self) -> Result<RawJson<'a>, ParseError> {
        if self.peek() != Some(b'{') {
            return Err(self.mismatch());
        }
        self.value()
    }

    /// Reads an array of any content as a raw span.
    pub fn raw_array(&mut self) -> Result<RawJson<'a>, ParseError> {
        if self.peek() != Some(b'[') {
            return Err(self.mismatch());
        }
        self.value()
    }

    /// Reads a network.
    pub fn network(&mut self) -> Result<Network<'a>, ParseError> {
        Network::parse(self.string()?.as_str().ok_or(ParseError::InvalidNetwork)?)
    }

    /// Reads a version number.
    pub fn version(&mut self) -> Result<Version, ParseError> {
        Version::from_number(self.integer()?)
    }

    /// The checked value that started at `start` and has just been read.
    pub(crate) fn since(&self, start: usize) -> Result<RawJson<'a>, ParseError> {
        self.span(start).map(RawJson::of)
    }

    /// Checks and steps over one value of any type, and gives its span.
    pub fn value(&mut self) -> Result<RawJson<'a>, ParseError> {
        self.peek();
        let start = self.at;
        let mut levels = [Level { start: ARRAY, seen: 0 }; limits::DEPTH];
        let mut open = self.depth;
        'value: loop {
            match self.peek() {
                Some(b'{') => {
                    let level = levels.get_mut(open).ok_or(ParseError::TooDeep)?;
                    // Texts are shorter than 4 GiB: see limits::MESSAGE_BYTES.
                    level.start = u32::try_from(self.at).map_err(|_| ParseError::TooLong)?;
                    level.seen = 0;
                    self.step(1);
                    if !self.accept(b'}') {
                        open = open.saturating_add(1);
                        self.member_key(level.start, &mut level.seen)?;
                        continue 'value;
                    }
                }
                Some(b'[') => {
                    let level = levels.get_mut(open).ok_or(ParseError::TooDeep)?;
                    level.start = ARRAY;
                    self.step(1);
                    if !self.accept(b']') {
                        open = open.saturating_add(1);
                        continue 'value;
                    }
                }
                Some(b'"') => drop(self.string()?),
                Some(b't') => self.literal("true")?,
                Some(b'f') => self.literal("false")?,
                Some(b'n') => self.literal("null")?,
                Some(b'-' | b'0'..=b'9') => drop(self.number()?),
                _ => return Err(self.unexpected()),
            }
            // A value has ended: close what ends with it.
            while open > self.depth {
                let top = open.saturating_sub(1);
                let level = levels.get_mut(top).ok_or(ParseError::TooDeep)?;
                let array = level.start == ARRAY;
                if self.accept(b',') {
                    if !array {
                        self.member_key(level.start, &mut level.seen)?;
                    }
                    continue 'value;
                }
                self.expect(if array { b']' } else { b'}' })?;
                open = top;
            }
            return Ok(RawJson::of(self.span(start)?));
        }
    }

    fn member_key(&mut self, start: u32, seen: &mut u64) -> Result<(), ParseError> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected());
        }
        let key = self.string()?;
        let start = usize::try_from(start).map_err(|_| ParseError::TooLong)?;
        self.unique(start, key, seen)?;
        self.expect(b':')
    }

    /// `key`, just read, is not an earlier key of the object that starts at `start`.
    fn unique(&mut self, start: usize, key: JsonStr<'a>, seen: &mut u64) -> Result<(), ParseError> {
        let Some(rescan) = self.rescan else {
            return Ok(());
        };
        let bit = fingerprint(key);
        if *seen & bit == 0 {
            *seen |= bit;
            return Ok(());
        }
        let (span, escaped) = key.span();
        let before = self.text.as_bytes().get(..self.at).unwrap_or(&[]);
        let until = before.iter().rposition(|&b| b == b'"').unwrap_or(0);
        let until = until.saturating_sub(span.len()).saturating_sub(1);
        let mut earlier = Scan { text: self.text.as_bytes(), at: start.saturating_add(1) };
        let cost = until.saturating_sub(start);
        self.rescan = Some(rescan.checked_sub(cost).ok_or(ParseError::TooComplex)?);
        while let Some((from, to)) = earlier.next_key(until) {
            let other = self.text.get(from..to).unwrap_or("");
            let same = if escaped || other.bytes().any(|b| b == b'\\') {
                JsonStr::from_span(other, true) == key
            } else {
                other == span
            };
            if same {
                return Err(ParseError::DuplicateKey);
            }
        }
        Ok(())
    }
}

/// One bit of 64, chosen by the decoded key.
fn fingerprint(key: JsonStr<'_>) -> u64 {
    let mut hash = 0x811c_9dc5_u32;
    for c in key.chars() {
        hash = (hash ^ u32::from(c)).wrapping_mul(0x0100_0193);
    }
    // Spread the last characters, which differ in numbered keys, over all bits.
    hash ^= hash >> 15;
    hash = hash.wrapping_mul(0x2c1b_3c6d);
    1 << (hash >> 26)
}

/// Finds the keys of one object in text that has been checked.
struct Scan<'t> {
    text: &'t [u8],
    at: usize,
}

impl Scan<'_> {
    /// Where the next key of the object lies, before `until`.
    fn next_key(&mut self, until: usize) -> Option<(usize, usize)> {
        let mut depth = 0usize;
        let mut key = true;
        while self.at < until {
            let byte = *self.text.get(self.at)?;
            self.at = self.at.saturating_add(1);
            match byte {
                b'"' => {
                    let from = self.at;
                    let to = self.string_end()?;
                    if key && depth == 0 {
                        // The rest of this member is stepped over on the next call.
                        return Some((from, to));
                    }
                }
                b'{' | b'[' => depth = depth.saturating_add(1),
                b'}' | b']' => depth = depth.saturating_sub(1),
                b':' if depth == 0 => key = false,
                b',' if depth == 0 => key = true,
                _ => {}
            }
        }
        None
    }

    /// Steps past the closing quote and says where it is.
    fn string_end(&mut self) -> Option<usize> {
        loop {
            let byte = *self.text.get(self.at)?;
            let at = self.at;
            self.at = at.saturating_add(if byte == b'\\' { 2 } else { 1 });
            if byte == b'"' {
                return Some(at);
            }
        }
    }
}
