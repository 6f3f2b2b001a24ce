use core::fmt;
use core::num::NonZeroU32;

use crate::reason::Reason;

/// Why a message, a header or a value could not be read.
///
/// Where it went wrong is a separate value: see [`Message::parse_located`](crate::wire::Message::parse_located).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ParseError {
    /// The text is longer than [`limits`](crate::limits) allow.
    TooLong,
    /// Objects and arrays are nested deeper than [`limits::DEPTH`](crate::limits::DEPTH).
    TooDeep,
    /// More entries than [`limits::OFFERS`](crate::limits::OFFERS).
    TooManyOffers,
    /// Finding repeated keys would cost more than a linear pass; honest messages never do.
    TooComplex,
    /// The caller's scratch buffer is shorter than the decoded header.
    ScratchTooSmall,
    /// The header is not standard base64.
    NotBase64,
    /// The text is not UTF-8.
    NotUtf8,
    /// The text ends where a value, a key or a bracket must follow.
    UnexpectedEnd,
    /// A byte that JSON does not allow at this place, or text after the value.
    UnexpectedByte,
    /// A control character or an escape that JSON does not define, or half a surrogate pair.
    InvalidString,
    /// A number outside JSON's grammar.
    InvalidNumber,
    /// An object has the same key twice.
    DuplicateKey,
    /// A key of a protocol object is written with escapes.
    EscapedKey,
    /// A field has a JSON type the specification does not give it.
    WrongType,
    /// A required field is absent.
    MissingField,
    /// `x402Version` is neither 1 nor 2.
    UnsupportedVersion,
    /// The payload and the request around it, or the header it came in, differ in version.
    VersionMismatch,
    /// An amount outside `0|[1-9][0-9]*`, or above 2^256-1.
    InvalidAmount,
    /// A network that is neither CAIP-2 (v2) nor a plain name (v1).
    InvalidNetwork,
    /// A price such as `"$0.01"` outside `$?digits[.digits]`, or too large.
    InvalidMoney,
    /// A price with more decimals than the token has.
    ExcessDigits,
    /// A scheme's payload or `extra` does not follow the scheme's definition.
    InvalidPayload,
    /// One request presented more than one payment.
    TwoPayments,
}

impl ParseError {
    /// Returns the reason code to answer with when the text was a payment.
    pub const fn reason(self) -> Reason {
        match self {
            Self::UnsupportedVersion | Self::VersionMismatch => Reason::InvalidX402Version,
            Self::InvalidNetwork => Reason::InvalidNetwork,
            // The reader's own fault.
            Self::ScratchTooSmall => Reason::UnexpectedVerifyError,
            _ => Reason::InvalidPayload,
        }
    }

    /// Returns the fault, in words without input.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "longer than allowed",
            Self::TooDeep => "nested deeper than allowed",
            Self::TooManyOffers => "more offers than allowed",
            Self::TooComplex => "too many look-alike keys",
            Self::ScratchTooSmall => "scratch buffer too small",
            Self::NotBase64 => "not base64",
            Self::NotUtf8 => "not UTF-8",
            Self::UnexpectedEnd => "JSON ends early",
            Self::UnexpectedByte => "not JSON",
            Self::InvalidString => "invalid JSON string",
            Self::InvalidNumber => "invalid JSON number",
            Self::DuplicateKey => "duplicate key",
            Self::EscapedKey => "escaped key",
            Self::WrongType => "field of the wrong type",
            Self::MissingField => "required field missing",
            Self::UnsupportedVersion => "unsupported x402Version",
            Self::VersionMismatch => "x402Version differs between parts",
            Self::InvalidAmount => "invalid amount",
            Self::InvalidNetwork => "invalid network",
            Self::InvalidMoney => "invalid price",
            Self::ExcessDigits => "price has more decimals than the token",
            Self::InvalidPayload => "payload does not fit its scheme",
            Self::TwoPayments => "more than one payment",
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for ParseError {}

/// Why a message could not be written. The partial output must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EncodeError {
    /// The output buffer is too small; this many bytes are needed in all.
    BufferTooSmall {
        /// Bytes needed for the whole message.
        needed: NonZeroU32,
    },
    /// A network has no name in the version the message is to be written in.
    UnnamedNetwork,
}

impl EncodeError {
    /// Returns the error for a buffer of less than `needed` bytes.
    pub fn too_small(needed: usize) -> Self {
        let needed = u32::try_from(needed).ok().and_then(NonZeroU32::new);
        Self::BufferTooSmall { needed: needed.unwrap_or(NonZeroU32::MAX) }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferTooSmall { needed } => write!(f, "buffer too small: {needed} bytes needed"),
            Self::UnnamedNetwork => f.write_str("network has no name in this version"),
        }
    }
}

impl core::error::Error for EncodeError {}

const _: () = assert!(size_of::<ParseError>() == 1 && size_of::<EncodeError>() <= 4);
