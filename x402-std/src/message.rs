//! Owned forms of the messages, to keep, queue, log and send.
//!
//! The core's strict parser reads them and its encoder writes them, also under serde, so a message has one
//! definition. Open objects are kept byte for byte, so serde works with `serde_json` only. It fails where
//! serde buffers first: inside `#[serde(flatten)]`, untagged and internally tagged enums. Two [`Json`] are
//! equal if their texts are equal.
//!
//! ```
//! use x402_std::message::PaymentRequirements;
//! let json = r#"{"scheme":"exact","network":"eip155:1328","amount":"10000","asset":"0x4fCF1784B31630811181f670Aea7A7bEF803eaED","payTo":"0x90F79bf6EB2c4f870365E785982E1f101E93b906","maxTimeoutSeconds":60,"extra":{"name":"USDC","version":"2"}}"#;
//! let offer: PaymentRequirements = serde_json::from_str(json)?;
//! assert_eq!(offer.amount.to_string(), "10000");
//! assert_eq!(serde_json::to_string(&offer)?, json);
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::fmt;
use std::ops::{Deref, Index};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use x402_core::json::{JsonStr, Located, Members, RawJson, Writer};
use x402_core::wire::{self, Message};
use x402_core::{Amount, EncodeError, Network, ParseError, Version, limits};

use crate::base64;

/// Returns an amount of a token's units as a decimal number.
///
/// ```
/// assert_eq!(x402_std::message::decimal("10000", 6), "0.01");
/// ```
pub fn decimal(units: &str, decimals: usize) -> String {
    let digits = format!("{units:0>width$}", width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    match fraction.trim_end_matches('0') {
        "" => whole.into(),
        fraction => format!("{whole}.{fraction}"),
    }
}

/// A JSON value, checked once and kept as it was written. `Debug` shows only its length.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Box<str>);

impl Json {
    /// Checks and takes a JSON text.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(json: impl Into<Box<str>>) -> Result<Self, ParseError> {
        let json = json.into();
        RawJson::parse(json.as_bytes())?;
        Ok(Self(json))
    }

    /// Makes one from any value that serde can write as JSON.
    ///
    /// # Errors
    /// [`ParseError::InvalidPayload`] if serde cannot write it; another [`ParseError`] if the text is
    /// refused.
    pub fn from_value(value: &impl Serialize) -> Result<Self, ParseError> {
        Self::parse(serde_json::to_string(value).map_err(|_| ParseError::InvalidPayload)?)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value in the core's form.
    pub fn as_raw(&self) -> RawJson<'_> {
        RawJson::from_validated_unchecked(&self.0)
    }
}

impl From<RawJson<'_>> for Json {
    fn from(raw: RawJson<'_>) -> Self {
        Self(raw.as_str().into())
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_raw().fmt(f)
    }
}

/// The reason why a message cannot be read, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// The fault.
    pub error: ParseError,
    /// The path to the fault, such as `accepts[1].payTo`; empty for the text as a whole.
    pub place: String,
    /// The byte at which the fault was noticed; `None` if the text could not be decoded.
    pub at: Option<usize>,
}

impl ReadError {
    /// Makes one from an error in a JSON text.
    pub fn new(error: Located, json: &[u8]) -> Self {
        Self { error: error.error, place: error.place(json).to_string(), at: Some(error.at) }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        match (self.place.as_str(), self.at) {
            ("", None) => Ok(()),
            ("", Some(at)) => write!(f, " at byte {at}"),
            (place, None) => write!(f, ": {place}"),
            (place, Some(at)) => write!(f, ": {place}, at byte {at}"),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<ParseError> for ReadError {
    fn from(error: ParseError) -> Self {
        Self { error, place: String::new(), at: None }
    }
}

impl From<ReadError> for ParseError {
    fn from(error: ReadError) -> Self {
        error.error
    }
}

/// A network, in either version's spelling, checked when made. See [`Network`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NetworkId(Box<str>);

impl NetworkId {
    /// The core's form.
    pub fn as_view(&self) -> Network<'_> {
        Network::parse(&self.0).expect("checked when made")
    }
}

impl FromStr for NetworkId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Network::parse(text).map(Self::from)
    }
}

impl From<Network<'_>> for NetworkId {
    fn from(network: Network<'_>) -> Self {
        Self(network.as_str().into())
    }
}

impl Deref for NetworkId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw_value(self.0.to_string())?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get()).map_err(serde::de::Error::custom)
    }
}

fn raw_value<E: serde::ser::Error>(json: String) -> Result<Box<RawValue>, E> {
    RawValue::from_string(json).map_err(E::custom)
}

/// The reading and writing of owned messages. `$decode` decodes their headers.
macro_rules! owned {
    ($decode:ident: $($name:ident),*) => {$(
        impl $name {
            /// Reads the message from JSON.
            ///
            /// # Errors
            /// [`ReadError`].
            pub fn from_json(json: &[u8]) -> Result<Self, ReadError> {
                let view = wire::$name::parse_located(json);
                view.map(|view| Self::from(&view)).map_err(|error| ReadError::new(error, json))
            }

            /// Reads the message from a base64 header value.
            ///
            /// # Errors
            /// [`ReadError`].
            pub fn from_header(header: &[u8]) -> Result<Self, ReadError> {
                Self::from_json(&$decode(header)?)
            }

            /// The message as JSON.
            ///
            /// # Errors
            /// [`EncodeError::UnnamedNetwork`] for a v1 message on a network that v1 has no name for.
            pub fn to_json(&self) -> Result<String, EncodeError> {
                self.with_view(|view| to_json(view))
            }

            /// The message as a base64 header value.
            ///
            /// # Errors
            /// As [`Self::to_json`].
            pub fn to_header(&self) -> Result<String, EncodeError> {
                self.with_view(|view| to_header(view))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let json = self.to_json().map_err(serde::ser::Error::custom)?;
                raw_value(json)?.serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let raw = Box::<RawValue>::deserialize(deserializer)?;
                Self::from_json(raw.get().as_bytes()).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

owned!(decode_answer: PaymentRequired, SettleResponse);
owned!(
    decode_header: PaymentRequirements,
    ResourceInfo,
    PaymentPayload,
    VerifyRequest,
    VerifyResponse,
    SupportedResponse,
    SupportedKind
);

/// A borrowed message as a JSON text.
///
/// # Errors
/// [`EncodeError::UnnamedNetwork`].
pub fn to_json<'a>(message: &impl Message<'a>) -> Result<String, EncodeError> {
    // Most messages fit, so they are written once.
    let mut few = [0; JSON_BYTES];
    let written = match message.encode(&mut few) {
        Err(EncodeError::BufferTooSmall { needed }) => {
            let mut out = vec![0; usize::try_from(needed.get()).unwrap_or(usize::MAX)];
            let len = message.encode(&mut out)?.len();
            out.truncate(len);
            out
        }
        written => written?.to_vec(),
    };
    Ok(String::from_utf8(written).expect("written from text"))
}

/// Room for a payment, a receipt or a challenge with a few offers.
const JSON_BYTES: usize = 2048;

/// A borrowed message as a base64 header value.
///
/// # Errors
/// [`EncodeError::UnnamedNetwork`].
pub fn to_header<'a>(message: &impl Message<'a>) -> Result<String, EncodeError> {
    to_json(message).map(|json| encode_header(json.as_bytes()))
}

/// A text, such as a message that is JSON already, as a base64 header value.
pub fn encode_header(json: &[u8]) -> String {
    let mut out = vec![0; base64::encoded_len(json.len())];
    base64::encode(json, &mut out).expect("the buffer is long enough");
    String::from_utf8(out).expect("base64 is ASCII")
}

/// The JSON text of a header value.
///
/// # Errors
/// [`ParseError`].
pub fn decode_header(header: &[u8]) -> Result<Vec<u8>, ParseError> {
    // A longer header is refused before it is read.
    let most = header.len().min(limits::HEADER_BYTES);
    let mut scratch = vec![0; base64::decoded_len(most)];
    let len = base64::decode(header, &mut scratch)?.len();
    scratch.truncate(len);
    Ok(scratch)
}

/// The JSON text of a seller's header value, in either alphabet of base64.
fn decode_answer(header: &[u8]) -> Result<Vec<u8>, ParseError> {
    if !header.iter().any(|byte| b"-_".contains(byte)) {
        return decode_header(header);
    }
    let most = header.len().min(limits::HEADER_BYTES);
    let mut scratch = vec![0; base64::decoded_len(most)];
    let len = x402_core::base64::decode_any(header, &mut scratch)?.len();
    scratch.truncate(len);
    Ok(scratch)
}

/// The entries of a message's list, unreadable ones included. See [`wire::List`].
#[derive(Clone, Debug, PartialEq)]
pub struct List<T>(Vec<Entry<T>>);

/// An entry of a [`List`].
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<T> {
    /// An entry that was read, or made.
    Read(T),
    /// An unreadable entry, kept as it came.
    Unread {
        /// Its text.
        json: Json,
        /// The fault, and its place in the text.
        error: Located,
    },
}

impl<T> List<T> {
    /// The readable entries.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(Entry::read)
    }

    /// All entries.
    pub fn entries(&self) -> &[Entry<T>] {
        &self.0
    }

    /// The entry at a place; `None` if it is missing or unreadable.
    pub fn get(&self, place: usize) -> Option<&T> {
        self.0.get(place)?.read()
    }

    /// As [`List::get`], mutable.
    pub fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        match self.0.get_mut(place)? {
            Entry::Read(entry) => Some(entry),
            Entry::Unread { .. } => None,
        }
    }

    /// The number of entries, unreadable ones included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lends the entries in the core's form.
    fn views<'a, V>(&'a self, view: impl Fn(&'a T) -> V) -> Vec<wire::Entry<'a, V>> {
        let entry = |entry: &'a Entry<T>| match entry {
            Entry::Read(entry) => wire::Entry { raw: None, read: Ok(view(entry)) },
            Entry::Unread { json, error } => {
                wire::Entry { raw: Some(json.as_raw()), read: Err(*error) }
            }
        };
        self.0.iter().map(entry).collect()
    }

    fn from_views<'a, V: wire::Listed<'a>>(
        views: &wire::List<'a, V>,
        own: impl Fn(&V) -> T,
    ) -> Self {
        let entry = |entry: wire::Entry<'a, V>| match entry.read {
            Ok(view) => Entry::Read(own(&view)),
            Err(error) => Entry::Unread { json: entry.raw.unwrap_or_default().into(), error },
        };
        Self(views.entries().map(entry).collect())
    }
}

impl<T> Entry<T> {
    /// The entry; `None` if it is unreadable.
    pub fn read(&self) -> Option<&T> {
        match self {
            Self::Read(entry) => Some(entry),
            Self::Unread { .. } => None,
        }
    }
}

/// The entry at a place.
///
/// # Panics
/// If the entry is missing or unreadable. [`List::get`] returns `None` instead.
impl<T> Index<usize> for List<T> {
    type Output = T;

    fn index(&self, place: usize) -> &T {
        self.get(place).expect("an entry that can be read")
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> From<Vec<T>> for List<T> {
    fn from(entries: Vec<T>) -> Self {
        entries.into_iter().collect()
    }
}

impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        Self(entries.into_iter().map(Entry::Read).collect())
    }
}

/// A value of an owned message, and its form in the core's message.
trait Mirrored {
    type View<'a>
    where
        Self: 'a;

    fn lend(&self) -> Self::View<'_>;

    fn own(view: &Self::View<'_>) -> Self;
}

/// Types that are the same in both forms.
macro_rules! same {
    ($($name:ty),*) => {$(
        impl Mirrored for $name {
            type View<'a> = Self;

            fn lend(&self) -> Self {
                *self
            }

            fn own(view: &Self) -> Self {
                *view
            }
        }
    )*};
}

same!(bool, u64, Amount, Version);

impl Mirrored for String {
    type View<'a> = JsonStr<'a>;

    fn lend(&self) -> JsonStr<'_> {
        self.as_str().into()
    }

    fn own(view: &JsonStr<'_>) -> Self {
        view.to_string()
    }
}

impl Mirrored for Json {
    type View<'a> = RawJson<'a>;

    fn lend(&self) -> RawJson<'_> {
        self.as_raw()
    }

    fn own(view: &RawJson<'_>) -> Self {
        (*view).into()
    }
}

impl Mirrored for NetworkId {
    type View<'a> = Network<'a>;

    fn lend(&self) -> Network<'_> {
        self.as_view()
    }

    fn own(view: &Network<'_>) -> Self {
        (*view).into()
    }
}

impl<T: Mirrored + 'static> Mirrored for Option<T> {
    type View<'a> = Option<T::View<'a>>;

    fn lend(&self) -> Self::View<'_> {
        self.as_ref().map(T::lend)
    }

    fn own(view: &Self::View<'_>) -> Self {
        view.as_ref().map(T::own)
    }
}

/// Defines the messages. `other` has the keys that the specification does not name. A message with a list
/// needs room for its entries while it is lent.
macro_rules! messages {
    ($($(#[$meta:meta])* $name:ident $([$(#[$about:meta])* $list:ident: $entry:ident])? {
        $($(#[$doc:meta])* $field:ident: $type:ty,)*
    })*) => {$(
        $(#[$meta])*
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
            $(
                $(#[$about])*
                pub $list: List<$entry>,
            )?
            /// Keys that the specification does not name, an object.
            pub other: Option<Json>,
        }

        messages!(@ lend $name [$($list: $entry)?] $($field: $type,)*);

        impl From<&wire::$name<'_>> for $name {
            fn from(view: &wire::$name<'_>) -> Self {
                Self {
                    $($field: Mirrored::own(&view.$field),)*
                    $($list: List::from_views(&view.$list, |entry| entry.into()),)?
                    other: owned_members(view.other),
                }
            }
        }
    )*};
    (@ lend $name:ident [] $($field:ident: $type:ty,)*) => {
        impl $name {
            /// The core's form.
            pub fn as_view(&self) -> wire::$name<'_> {
                wire::$name {
                    $($field: self.$field.lend(),)*
                    other: members(&self.other),
                }
            }

            /// Lends the message in the core's form.
            pub fn with_view<T>(&self, use_it: impl FnOnce(&wire::$name<'_>) -> T) -> T {
                use_it(&self.as_view())
            }
        }

        impl Mirrored for $name {
            type View<'a> = wire::$name<'a>;

            fn lend(&self) -> Self::View<'_> {
                self.as_view()
            }

            fn own(view: &Self::View<'_>) -> Self {
                view.into()
            }
        }
    };
    (@ lend $name:ident [$list:ident: $entry:ident] $($field:ident: $type:ty,)*) => {
        impl $name {
            /// Lends the message in the core's form.
            pub fn with_view<T>(&self, use_it: impl FnOnce(&wire::$name<'_>) -> T) -> T {
                let entries = self.$list.views($entry::as_view);
                use_it(&wire::$name {
                    $($field: self.$field.lend(),)*
                    $list: wire::List::from(&entries[..]),
                    other: members(&self.other),
                })
            }
        }
    };
}

messages! {
    /// The challenge. See [`wire::PaymentRequired`].
    #[derive(Clone, Debug, PartialEq)]
    PaymentRequired [#[doc = "The offers."] accepts: PaymentRequirements] {
        /// Version of the message.
        x402_version: Version,
        /// The reason for which payment is asked.
        error: Option<String>,
        /// The resource for sale.
        resource: Option<ResourceInfo>,
        /// Extensions, an object.
        extensions: Option<Json>,
    }

    /// One offer. See [`wire::PaymentRequirements`].
    #[derive(Clone, Debug, PartialEq)]
    PaymentRequirements {
        /// Payment scheme.
        scheme: String,
        /// Network, in either version's spelling.
        network: NetworkId,
        /// Price in the token's smallest unit.
        amount: Amount,
        /// The token.
        asset: String,
        /// The payee.
        pay_to: String,
        /// Seconds from challenge to settlement.
        max_timeout_seconds: u64,
        /// The scheme's own fields, an object.
        extra: Option<Json>,
        /// The resource's description in a v1 offer.
        v1: Option<V1Details>,
    }

    /// The resource for sale. See [`wire::ResourceInfo`].
    #[derive(Clone, Debug, Default, PartialEq)]
    ResourceInfo {
        /// Where the resource is.
        url: String,
        /// A description.
        description: Option<String>,
        /// Media type of the answer.
        mime_type: Option<String>,
        /// Name of the service.
        service_name: Option<String>,
        /// Topics, an array of strings.
        tags: Option<Json>,
        /// URL of an icon.
        icon_url: Option<String>,
    }

    /// The payment. See [`wire::PaymentPayload`].
    #[derive(Clone, Debug, PartialEq)]
    PaymentPayload {
        /// The resource that is bought.
        resource: Option<ResourceInfo>,
        /// The accepted offer; decides the version.
        accepted: Accepted,
        /// The scheme's own data, an object.
        payload: Json,
        /// Extensions, an object.
        extensions: Option<Json>,
    }

    /// A server's request to a facilitator. See [`wire::VerifyRequest`].
    #[derive(Clone, Debug, PartialEq)]
    VerifyRequest {
        /// The payment, as the buyer sent it.
        payment_payload: PaymentPayload,
        /// The offer, as the server made it.
        payment_requirements: PaymentRequirements,
    }

    /// Answer to `/verify`. See [`wire::VerifyResponse`].
    #[derive(Clone, Debug, Default, PartialEq)]
    VerifyResponse {
        /// Whether the payment may be settled.
        is_valid: bool,
        /// Reason code of a refusal.
        invalid_reason: Option<String>,
        /// Explanation of a refusal.
        invalid_message: Option<String>,
        /// Address of the payer.
        payer: Option<String>,
        /// Extensions, an object.
        extensions: Option<Json>,
        /// The scheme's additions, an object.
        extra: Option<Json>,
    }

    /// Answer to `/settle`, and the receipt. See [`wire::SettleResponse`].
    #[derive(Clone, Debug, Default, PartialEq)]
    SettleResponse {
        /// Whether the payment was made.
        success: bool,
        /// Reason code of a failure.
        error_reason: Option<String>,
        /// Explanation of a failure.
        error_message: Option<String>,
        /// Address of the payer.
        payer: Option<String>,
        /// Transaction id; empty if nothing was broadcast.
        transaction: String,
        /// Network it was made on.
        network: String,
        /// The amount actually moved, where the scheme lets it differ.
        amount: Option<Amount>,
        /// Extensions, an object.
        extensions: Option<Json>,
        /// The scheme's additions, an object.
        extra: Option<Json>,
    }

    /// The kinds a facilitator supports. See [`wire::SupportedResponse`].
    #[derive(Clone, Debug, Default, PartialEq)]
    SupportedResponse [#[doc = "Pairs of scheme and network."] kinds: SupportedKind] {
        /// Names of extensions, an array of strings.
        extensions: Option<Json>,
        /// Signer addresses by CAIP-2 pattern, an object of arrays of strings.
        signers: Option<Json>,
    }

    /// A scheme on a network, in a version. See [`wire::SupportedKind`].
    #[derive(Clone, Debug, PartialEq)]
    SupportedKind {
        /// Version of the protocol, which may be one this library does not know.
        x402_version: u64,
        /// Payment scheme.
        scheme: String,
        /// Network, in the version's spelling.
        network: NetworkId,
        /// The `extra` that an offer of this kind must carry, an object.
        extra: Option<Json>,
    }
}

/// The parts of a v1 offer that v2 moved elsewhere. See [`wire::V1Details`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct V1Details {
    /// Where the resource is.
    pub resource: Option<String>,
    /// A description.
    pub description: Option<String>,
    /// Media type of the answer.
    pub mime_type: Option<String>,
    /// JSON schema of request and answer.
    pub output_schema: Option<Json>,
}

impl Mirrored for V1Details {
    type View<'a> = wire::V1Details<'a>;

    fn lend(&self) -> Self::View<'_> {
        wire::V1Details {
            resource: self.resource.lend(),
            description: self.description.lend(),
            mime_type: self.mime_type.lend(),
            output_schema: self.output_schema.lend(),
        }
    }

    fn own(view: &Self::View<'_>) -> Self {
        Self {
            resource: Mirrored::own(&view.resource),
            description: Mirrored::own(&view.description),
            mime_type: Mirrored::own(&view.mime_type),
            output_schema: Mirrored::own(&view.output_schema),
        }
    }
}

impl PaymentRequirements {
    /// Returns the offer with the payment flow `upfront`: the payment is settled before the work begins.
    pub fn upfront(self) -> Self {
        self.with_extra("paymentFlow", "upfront")
    }

    /// Returns the offer with a key in `extra`. The value replaces an existing one.
    ///
    /// On Solana, `memo` is a text of at most 256 bytes that the payment must carry. Official clients fail
    /// above some 50 characters, and pay the same memo once within a minute. `recentBlockhash` spares the
    /// buyer a question to the chain.
    pub fn with_extra(mut self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        let extra = self.extra.as_ref().map(|extra| serde_json::from_str(extra.as_str()));
        let mut extra: serde_json::Map<_, _> = extra.and_then(Result::ok).unwrap_or_default();
        extra.insert(key.into(), value.into());
        self.extra = Json::from_value(&extra).ok();
        self
    }

    /// Returns the offer with a facilitator's additions on Solana: the fee payer, and the blockhash of a
    /// simulated ledger, which is the only lasting one. `None` if the facilitator does not support the offer.
    pub(crate) fn with_supported(self, supported: &SupportedResponse) -> Option<Self> {
        let network = self.network.as_view();
        let kind = supported.kinds.iter().find(|kind| {
            kind.x402_version == 2
                && kind.scheme == self.scheme
                && kind.network.as_view().is_same(network)
        })?;
        if network.solana().is_none() {
            return Some(self);
        }
        let mut offer = self;
        for (key, name) in [("feePayer", "feePayer"), ("recentBlockhash", "lastingBlockhash")] {
            let own = offer.extra.as_ref().and_then(|extra| extra.as_raw().get(key));
            let announced = kind.extra.as_ref().and_then(|extra| extra.as_raw().get_string(name));
            if let (None, Some(announced)) = (own, announced) {
                offer = offer.with_extra(key, announced.to_string());
            }
        }
        Some(offer)
    }
}

/// The accepted offer, as the payment repeats it. See [`wire::Accepted`].
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    /// v1 names scheme and network only.
    V1 {
        /// Payment scheme.
        scheme: String,
        /// Network name.
        network: NetworkId,
    },
    /// v2 repeats the whole offer.
    V2(Box<PaymentRequirements>),
}

impl Mirrored for Accepted {
    type View<'a> = wire::Accepted<'a>;

    fn lend(&self) -> Self::View<'_> {
        match self {
            Self::V1 { scheme, network } => {
                wire::Accepted::V1 { scheme: scheme.lend(), network: network.lend() }
            }
            Self::V2(offer) => wire::Accepted::V2(offer.as_view()),
        }
    }

    fn own(view: &Self::View<'_>) -> Self {
        match view {
            wire::Accepted::V1 { scheme, network } => {
                Self::V1 { scheme: Mirrored::own(scheme), network: Mirrored::own(network) }
            }
            wire::Accepted::V2(offer) => Self::V2(Box::new(offer.into())),
        }
    }
}

impl PaymentPayload {
    /// The payment's network, in its version's spelling.
    pub fn network(&self) -> &NetworkId {
        match &self.accepted {
            Accepted::V1 { network, .. } => network,
            Accepted::V2(offer) => &offer.network,
        }
    }
}

/// A server's request to `/settle`, of the same form as one to `/verify`.
pub type SettleRequest = VerifyRequest;

fn members(json: &Option<Json>) -> Members<'_> {
    json.as_ref().map_or(Members::EMPTY, |json| json.as_raw().members())
}

fn owned_members(members: Members<'_>) -> Option<Json> {
    { members }.next()?;
    let write = |out: &mut [u8]| {
        let mut writer = Writer::json(out);
        writer.object_of(members);
        writer.needed()
    };
    let mut out = vec![0; write(&mut []).ok()?];
    write(&mut out).ok()?;
    Some(Json(String::from_utf8(out).expect("written from text").into()))
}
