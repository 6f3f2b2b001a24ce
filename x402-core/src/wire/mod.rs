//! The messages of the protocol, as views over the text they were read from.
//!
//! One view serves both versions. A view owns nothing: strings and open objects borrow from the
//! text (or from the caller's parts of a message). They are written again byte for byte. Keys
//! outside the specification are kept in the field `other`.
//!
//! Source of the fields: `x402-specification-v1.md` and `-v2.md`, section 5 and 7.

mod list;
mod payload;
mod request;
mod required;
mod requirements;
mod resource;
mod response;
mod supported;

pub use list::{Entries, Entry, List, Listed};
pub use payload::{Accepted, PaymentPayload};
pub use request::{SettleRequest, VerifyRequest};
pub use required::PaymentRequired;
pub use requirements::{PaymentRequirements, V1Details};
pub use resource::ResourceInfo;
pub use response::{SettleResponse, VerifyResponse};
pub use supported::{SupportedKind, SupportedResponse};

use crate::base64;
use crate::error::{EncodeError, ParseError};
use crate::json::{Cursor, Located, Writer};
use crate::limits;

/// A message that can be read from JSON, and written as JSON or as a header value.
pub trait Message<'a>: Sized {
    /// Longest JSON text that is read.
    const MOST_BYTES: usize = limits::MESSAGE_BYTES;

    /// Reads the message where the cursor stands.
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, ParseError>;

    /// Writes the message.
    fn write(&self, writer: &mut Writer<'_>);

    /// Reads the message from `json`, which must hold nothing else.
    ///
    /// # Errors
    /// [`ParseError`]; nothing of the message can be used then.
    fn parse(json: &'a [u8]) -> Result<Self, ParseError> {
        Self::parse_located(json).map_err(ParseError::from)
    }

    /// Reads as [`Message::parse`] does, and returns the place of an error with it.
    fn parse_located(json: &'a [u8]) -> Result<Self, Located> {
        let cursor = Cursor::within(Self::MOST_BYTES, json);
        let mut cursor = cursor.map_err(|error| Located { error, at: 0, field: "" })?;
        let message = Self::read(&mut cursor).and_then(|message| cursor.end().map(|()| message));
        message.map_err(|error| cursor.locate(error))
    }

    /// Reads the message from a base64 header value, decoded into `scratch`, which must hold
    /// [`base64::decoded_len`] bytes and is borrowed as long as the message lives.
    ///
    /// # Errors
    /// [`ParseError`].
    fn decode_header(header: &[u8], scratch: &'a mut [u8]) -> Result<Self, ParseError> {
        Self::parse(base64::decode(header, scratch)?)
    }

    /// Writes the message as JSON to the front of `out`, and returns that part.
    ///
    /// # Errors
    /// [`EncodeError`]; the contents of `out` are unspecified then.
    fn encode<'o>(&self, out: &'o mut [u8]) -> Result<&'o [u8], EncodeError> {
        let mut writer = Writer::json(out);
        self.write(&mut writer);
        writer.finish()
    }

    /// Returns the bytes of JSON that [`Message::encode`] writes.
    ///
    /// # Errors
    /// [`EncodeError::UnnamedNetwork`].
    fn encoded_len(&self) -> Result<usize, EncodeError> {
        let mut writer = Writer::json(&mut []);
        self.write(&mut writer);
        writer.needed()
    }

    /// Writes the message as a header value, padded base64 of JSON, to the front of `out`.
    ///
    /// # Errors
    /// [`EncodeError`]; the contents of `out` are unspecified then.
    fn encode_header<'o>(&self, out: &'o mut [u8]) -> Result<&'o [u8], EncodeError> {
        let mut writer = Writer::base64(out);
        self.write(&mut writer);
        writer.finish()
    }

    /// Returns the bytes that [`Message::encode_header`] writes.
    ///
    /// # Errors
    /// [`EncodeError::UnnamedNetwork`].
    fn header_len(&self) -> Result<usize, EncodeError> {
        let mut writer = Writer::base64(&mut []);
        self.write(&mut writer);
        writer.needed()
    }
}
