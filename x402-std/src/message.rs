//! Owned forms of the messages: to keep, queue, log and send.
//!
//! Reading goes through the core's strict parser and writing through its encoder, also under
//! serde, so there is one idea of what a message is. Because open objects are kept byte for byte,
//! serde works with `serde_json` only, and not where serde buffers first: inside
//! `#[serde(flatten)]`, untagged and internally tagged enums. Two [`Json`] are equal if their texts
//! are.
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

    /// From any value that serde can write as JSON.
    ///
    /// # Errors
    /// [`ParseError::InvalidPayload`] if it cannot, or another if the text is refused.
    pub fn from_value(value: &impl Serialize) -> Result<Self, ParseError> {
        Self::parse(serde_json::to_string(value).map_err(|_| ParseError::InvalidPayload)?)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value as the core sees it.
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

/// Why a message cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// The fault.
    pub error: ParseError,
    /// The path to it, such as `accepts[1].payTo`; empty for the text as a whole.
    pub place: String,
    /// The byte at which it was noticed; `None` if the text could not be decoded.
    pub at: Option<usize>,
}

impl ReadError {
    /// Of an error in a JSON text.
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

/// Reading and writing that every owned message shares; by what its header is decoded.
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
    // Most messages fit, and are written once.
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
    // What is longer is refused before it is read.
    let most = header.len().min(limits::HEADER_BYTES);
    let mut scratch = vec![0; base64::decoded_len(most)];
    let len = base64::decode(header, &mut scratch)?.len();
    scratch.truncate(len);
    Ok(scratch)
}

/// The JSON text of a header value of a seller's, who may write either alphabet of base64.
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

/// The entries of a message's list, those included that cannot be read. See [`wire::List`].
#[derive(Clone, Debug, PartialEq)]
pub struct List<T>(Vec<Entry<T>>);

/// An entry of a [`List`].
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<T> {
    /// One that was read, or made.
    Read(T),
    /// One that cannot be read, kept as it came.
    Unread {
        /// Its text.
        json: Json,
        /// Why not, and where in its text.
        error: Located,
    },
}

impl<T> List<T> {
    /// The entries that can be read.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(Entry::read)
    }

    /// All entries.
    pub fn entries(&self) -> &[Entry<T>] {
        &self.0
    }

    /// The entry at a place, if there is one that can be read.
    pub fn get(&self, place: usize) -> Option<&T> {
        self.0.get(place)?.read()
    }

    /// [`List::get`], to be changed.
    pub fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        match self.0.get_mut(place)? {
            Entry::Read(entry) => Some(entry),
            Entry::Unread { .. } => None,
        }
    }

    /// How many entries there are, those included that cannot be read.
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
    /// The entry, if it can be read.
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
/// If there is none, or one that cannot be read: [`List::get`] does not.
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

/// The challenge. See [`wire::PaymentRequired`].
#[derive(Clone, Debug, PartialEq)]
pub struct PaymentRequired {
    /// Version it is written in.
    pub x402_version: Version,
    /// Why payment is asked for.
    pub error: Option<String>,
    /// The resource for sale.
    pub resource: Option<ResourceInfo>,
    /// The offers.
    pub accepts: List<PaymentRequirements>,
    /// Extensions, an object.
    pub extensions: Option<Json>,
    /// Keys that the specification does not name, an object.
    pub other: Option<Json>,
}

impl PaymentRequired {
    /// Lends the message in the core's form.
    pub fn with_view<T>(&self, use_it: impl FnOnce(&wire::PaymentRequired<'_>) -> T) -> T {
        let accepts = self.accepts.views(PaymentRequirements::as_view);
        use_it(&wire::PaymentRequired {
            x402_version: self.x402_version,
            error: text(&self.error),
            resource: self.resource.as_ref().map(ResourceInfo::as_view),
            accepts: wire::List::from(&accepts[..]),
            extensions: raw(&self.extensions),
            other: members(&self.other),
        })
    }
}

impl From<&wire::PaymentRequired<'_>> for PaymentRequired {
    fn from(view: &wire::PaymentRequired<'_>) -> Self {
        Self {
            x402_version: view.x402_version,
            error: owned_text(view.error),
            resource: view.resource.as_ref().map(ResourceInfo::from),
            accepts: List::from_views(&view.accepts, |offer| offer.into()),
            extensions: view.extensions.map(Json::from),
            other: owned_members(view.other),
        }
    }
}

/// One offer. See [`wire::PaymentRequirements`].
#[derive(Clone, Debug, PartialEq)]
pub struct PaymentRequirements {
    /// Payment scheme.
    pub scheme: String,
    /// Network, in either version's spelling.
    pub network: NetworkId,
    /// Price in the token's smallest unit.
    pub amount: Amount,
    /// The token.
    pub asset: String,
    /// The payee.
    pub pay_to: String,
    /// Seconds from challenge to settlement.
    pub max_timeout_seconds: u64,
    /// The scheme's own fields, an object.
    pub extra: Option<Json>,
    /// The resource's description in a v1 offer.
    pub v1: Option<V1Details>,
    /// Keys that the specification does not name, an object.
    pub other: Option<Json>,
}

/// The parts of a v1 offer that v2 moved out of it. See [`wire::V1Details`].
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

impl PaymentRequirements {
    /// The core's form.
    pub fn as_view(&self) -> wire::PaymentRequirements<'_> {
        wire::PaymentRequirements {
            scheme: self.scheme.as_str().into(),
            network: self.network.as_view(),
            amount: self.amount,
            asset: self.asset.as_str().into(),
            pay_to: self.pay_to.as_str().into(),
            max_timeout_seconds: self.max_timeout_seconds,
            extra: raw(&self.extra),
            v1: self.v1.as_ref().map(|v1| wire::V1Details {
                resource: text(&v1.resource),
                description: text(&v1.description),
                mime_type: text(&v1.mime_type),
                output_schema: raw(&v1.output_schema),
            }),
            other: members(&self.other),
        }
    }

    fn with_view<T>(&self, use_it: impl FnOnce(&wire::PaymentRequirements<'_>) -> T) -> T {
        use_it(&self.as_view())
    }
}

impl PaymentRequirements {
    /// The same offer with the payment flow `upfront`: settled before anything is done for it.
    pub fn upfront(self) -> Self {
        self.with_extra("paymentFlow", "upfront")
    }

    /// The same offer with a key in `extra`, whose value takes the place of one that is there.
    ///
    /// On Solana: `memo`, a text of at most 256 bytes that the payment must carry (official clients
    /// fail above some 50 characters, and pay the same memo once within a minute), and
    /// `recentBlockhash`, which spares the buyer a question to the chain.
    pub fn with_extra(mut self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        let extra = self.extra.as_ref().map(|extra| serde_json::from_str(extra.as_str()));
        let mut extra: serde_json::Map<_, _> = extra.and_then(Result::ok).unwrap_or_default();
        extra.insert(key.into(), value.into());
        self.extra = Json::from_value(&extra).ok();
        self
    }

    /// The same offer with what a facilitator that supports it adds on Solana: who pays the fee,
    /// and the blockhash of a simulated ledger, which is the only one that lasts. `None` if it does
    /// not support it.
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

impl From<&wire::PaymentRequirements<'_>> for PaymentRequirements {
    fn from(view: &wire::PaymentRequirements<'_>) -> Self {
        Self {
            scheme: view.scheme.to_string(),
            network: view.network.into(),
            amount: view.amount,
            asset: view.asset.to_string(),
            pay_to: view.pay_to.to_string(),
            max_timeout_seconds: view.max_timeout_seconds,
            extra: view.extra.map(Json::from),
            v1: view.v1.map(|v1| V1Details {
                resource: owned_text(v1.resource),
                description: owned_text(v1.description),
                mime_type: owned_text(v1.mime_type),
                output_schema: v1.output_schema.map(Json::from),
            }),
            other: owned_members(view.other),
        }
    }
}

/// The resource for sale. See [`wire::ResourceInfo`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceInfo {
    /// Where the resource is.
    pub url: String,
    /// A description.
    pub description: Option<String>,
    /// Media type of the answer.
    pub mime_type: Option<String>,
    /// Name of the service.
    pub service_name: Option<String>,
    /// Topics, an array of strings.
    pub tags: Option<Json>,
    /// URL of an icon.
    pub icon_url: Option<String>,
    /// Keys that the specification does not name, an object.
    pub other: Option<Json>,
}

impl ResourceInfo {
    /// The core's form.
    pub fn as_view(&self) -> wire::ResourceInfo<'_> {
        wire::ResourceInfo {
            url: self.url.as_str().into(),
            description: text(&self.description),
            mime_type: text(&self.mime_type),
            service_name: text(&self.service_name),
            tags: raw(&self.tags),
            icon_url: text(&self.icon_url),
            other: members(&self.other),
        }
    }

    fn with_view<T>(&self, use_it: impl FnOnce(&wire::ResourceInfo<'_>) -> T) -> T {
        use_it(&self.as_view())
    }
}

impl From<&wire::ResourceInfo<'_>> for ResourceInfo {
    fn from(view: &wire::ResourceInfo<'_>) -> Self {
        Self {
            url: view.url.to_string(),
            description: owned_text(view.description),
            mime_type: owned_text(view.mime_type),
            service_name: owned_text(view.service_name),
            tags: view.tags.map(Json::from),
            icon_url: owned_text(view.icon_url),
            other: owned_members(view.other),
        }
    }
}

/// The payment. See [`wire::PaymentPayload`].
#[derive(Clone, Debug, PartialEq)]
pub struct PaymentPayload {
    /// The resource that is bought.
    pub resource: Option<ResourceInfo>,
    /// The accepted offer; decides the version.
    pub accepted: Accepted,
    /// The scheme's own data, an object.
    pub payload: Json,
    /// Extensions, an object.
    pub extensions: Option<Json>,
    /// Keys that the specification does not name, an object.
    pub other: Option<Json>,
}

/// The offer that a payment accepts, as it repeats it. See [`wire::Accepted`].
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

impl PaymentPayload {
    /// The network it is made on, in its version's spelling.
    pub fn network(&self) -> &NetworkId {
        match &self.accepted {
            Accepted::V1 { network, .. } => network,
            Accepted::V2(offer) => &offer.network,
        }
    }

    /// The core's form.
    pub fn as_view(&self) -> wire::PaymentPayload<'_> {
        wire::PaymentPayload {
            resource: self.resource.as_ref().map(ResourceInfo::as_view),
            accepted: match &self.accepted {
                Accepted::V1 { scheme, network } => wire::Accepted::V1 {
                    scheme: scheme.as_str().into(),
                    network: network.as_view(),
                },
                Accepted::V2(offer) => wire::Accepted::V2(offer.as_view()),
            },
            payload: self.payload.as_raw(),
            extensions: raw(&self.extensions),
            other: members(&self.other),
        }
    }

    fn with_view<T>(&self, use_it: impl FnOnce(&wire::PaymentPayload<'_>) -> T) -> T {
        use_it(&self.as_view())
    }
}

impl From<&wire::PaymentPayload<'_>> for PaymentPayload {
    fn from(view: &wire::PaymentPayload<'_>) -> Self {
        Self {
            resource: view.resource.as_ref().map(ResourceInfo::from),
            accepted: match &view.accepted {
                wire::Accepted::V1 { scheme, network } => {
                    Accepted::V1 { scheme: scheme.to_string(), network: (*network).into() }
                }
                wire::Accepted::V2(offer) => Accepted::V2(Box::new(offer.into())),
            },
            payload: view.payload.into(),
            extensions: view.extensions.map(Json::from),
            other: owned_members(view.other),
        }
    }
}

/// A server's request to a facilitator. See [`wire::VerifyRequest`].
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyRequest {
    /// The payment, as the buyer sent it.
    pub payment_payload: PaymentPayload,
    /// The offer, as the server made it.
    pub payment_requirements: PaymentRequirements,
    /// Keys that the specification does not name, an object.
    pub other: Option<Json>,
}

/// `/settle` takes what `/verify` takes.
pub type SettleRequest = VerifyRequest;

impl VerifyRequest {
    /// The core's form.
    pub fn as_view(&self) -> wire::VerifyRequest<'_> {
        wire::VerifyRequest {
            payment_payload: self.payment_payload.as_view(),
            payment_requirements: self.payment_requirements.as_view(),
            other: members(&self.other),
        }
    }

    fn with_view<T>(&self, use_it: impl FnOnce(&wire::VerifyRequest<'_>) -> T) -> T {
        use_it(&self.as_view())
    }
}

impl From<&wire::VerifyRequest<'_>> for VerifyRequest {
    fn from(view: &wire::VerifyRequest<'_>) -> Self {
        Self {
            payment_payload: (&view.payment_payload).into(),
            payment_requirements: (&view.payment_requirements).into(),
            other: owned_members(view.other),
        }
    }
}

/// Answer to `/verify`. See [`wire::VerifyResponse`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VerifyResponse {
    /// Whether the payment may be settled.
    pub is_valid: bool,
    /// Reason code of a refusal.
    pub invalid_reason: Option<String>,
    /// Explanation of a refusal.
    pub invalid_message: Option<String>,
    /// Address of the payer.
    pub payer: Option<String>,
    /// Extensions, an object.
    pub extensions: Option<Json>,
    /// The scheme's additions, an object.
    pub extra: Option<Json>,
    /// Keys that the specification does not name, an object.
    pub other: Option<Json>,
}

impl VerifyResponse {
    fn with_view<T>(&self, use_it: impl FnOnce(&wire::VerifyResponse<'_>) -> T) -> T {
        use_it(&wire::VerifyResponse {
            is_valid: self.is_valid,
            invalid_reason: text(&self.invalid_reason),
            invalid_message: text(&self.invalid_message),
            payer: text(&self.payer),
            extensions: raw(&self.extensions),
            extra: raw(&self.extra),
            other: members(&self.other),
        })
    }
}

impl From<&wire::VerifyResponse<'_>> for VerifyResponse {
    fn from(view: &wire::VerifyResponse<'_>) -> Self {
        Self {
            is_valid: view.is_valid,
            invalid_reason: owned_text(view.invalid_reason),
            invalid_message: owned_text(view.invalid_message),
            payer: owned_text(view.payer),
            extensions: view.extensions.map(Json::from),
            extra: view.extra.map(Json::from),
            other: owned_members(view.other),
        }
    }
}

/// Answer to `/settle`, and the receipt. See [`wire::SettleResponse`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SettleResponse {
    /// Whether the payment was made.
    pub success: bool,
    /// Reason code of a failure.
    pub error_reason: Option<String>,
    /// Explanation of a failure.
    pub error_message: Option<String>,
    /// Address of the payer.
    pub payer: Option<String>,
    /// Transaction id; empty if nothing was broadcast.
    pub transaction: String,
    /// Network it was made on.
    pub network: String,
    /// The amount actually moved, where the scheme lets it differ.
    pub amount: Option<Amount>,
    /// Extensions, an object.
    pub extensions: Option<Json>,
    /// The scheme's additions, an object.
    pub extra: Option<Json>,
    /// Keys that the specification does not name, an object.
    pub other: Option<Json>,
}

impl SettleResponse {
    /// Lends the message in the core's form.
    pub fn with_view<T>(&self, use_it: impl FnOnce(&wire::SettleResponse<'_>) -> T) -> T {
        use_it(&wire::SettleResponse {
            success: self.success,
            error_reason: text(&self.error_reason),
            error_message: text(&self.error_message),
            payer: text(&self.payer),
            transaction: self.transaction.as_str().into(),
            network: self.network.as_str().into(),
            amount: self.amount,
            extensions: raw(&self.extensions),
            extra: raw(&self.extra),
            other: members(&self.other),
        })
    }
}

impl From<&wire::SettleResponse<'_>> for SettleResponse {
    fn from(view: &wire::SettleResponse<'_>) -> Self {
        Self {
            success: view.success,
            error_reason: owned_text(view.error_reason),
            error_message: owned_text(view.error_message),
            payer: owned_text(view.payer),
            transaction: view.transaction.to_string(),
            network: view.network.to_string(),
            amount: view.amount,
            extensions: view.extensions.map(Json::from),
            extra: view.extra.map(Json::from),
            other: owned_members(view.other),
        }
    }
}

/// The kinds a facilitator supports. See [`wire::SupportedResponse`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SupportedResponse {
    /// Pairs of scheme and network.
    pub kinds: List<SupportedKind>,
    /// Names of extensions, an array of strings.
    pub extensions: Option<Json>,
    /// Signer addresses by CAIP-2 pattern, an object of arrays of strings.
    pub signers: Option<Json>,
    /// Keys that the specification does not name, an object.
    pub other: Option<Json>,
}

impl SupportedResponse {
    fn with_view<T>(&self, use_it: impl FnOnce(&wire::SupportedResponse<'_>) -> T) -> T {
        let kinds = self.kinds.views(SupportedKind::as_view);
        use_it(&wire::SupportedResponse {
            kinds: wire::List::from(&kinds[..]),
            extensions: raw(&self.extensions),
            signers: raw(&self.signers),
            other: members(&self.other),
        })
    }
}

impl From<&wire::SupportedResponse<'_>> for SupportedResponse {
    fn from(view: &wire::SupportedResponse<'_>) -> Self {
        Self {
            kinds: List::from_views(&view.kinds, |kind| kind.into()),
            extensions: view.extensions.map(Json::from),
            signers: view.signers.map(Json::from),
            other: owned_members(view.other),
        }
    }
}

/// A scheme on a network, in a version. See [`wire::SupportedKind`].
#[derive(Clone, Debug, PartialEq)]
pub struct SupportedKind {
    /// Version of the protocol, which may be one this library does not know.
    pub x402_version: u64,
    /// Payment scheme.
    pub scheme: String,
    /// Network, in the version's spelling.
    pub network: NetworkId,
    /// The `extra` that an offer of this kind must carry, an object.
    pub extra: Option<Json>,
    /// Keys that the specification does not name, an object.
    pub other: Option<Json>,
}

impl SupportedKind {
    /// The core's form.
    pub fn as_view(&self) -> wire::SupportedKind<'_> {
        wire::SupportedKind {
            x402_version: self.x402_version,
            scheme: self.scheme.as_str().into(),
            network: self.network.as_view(),
            extra: raw(&self.extra),
            other: members(&self.other),
        }
    }

    fn with_view<T>(&self, use_it: impl FnOnce(&wire::SupportedKind<'_>) -> T) -> T {
        use_it(&self.as_view())
    }
}

impl From<&wire::SupportedKind<'_>> for SupportedKind {
    fn from(view: &wire::SupportedKind<'_>) -> Self {
        Self {
            x402_version: view.x402_version,
            scheme: view.scheme.to_string(),
            network: view.network.into(),
            extra: view.extra.map(Json::from),
            other: owned_members(view.other),
        }
    }
}

fn text(text: &Option<String>) -> Option<JsonStr<'_>> {
    text.as_deref().map(JsonStr::new)
}

fn owned_text(text: Option<JsonStr<'_>>) -> Option<String> {
    text.map(|text| text.to_string())
}

fn raw(json: &Option<Json>) -> Option<RawJson<'_>> {
    json.as_ref().map(Json::as_raw)
}

fn members(json: &Option<Json>) -> Members<'_> {
    raw(json).map_or(Members::EMPTY, RawJson::members)
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
