use super::Message;
use crate::amount::Amount;
use crate::base64;
use crate::error::ParseError;
use crate::json::{Cursor, Field, JsonStr, Members, RawJson, Writer};

/// A facilitator's answer to `/verify`. Spec v2 §5.4.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerifyResponse<'a> {
    /// Whether the payment may be settled.
    pub is_valid: bool,
    /// Reason code of a refusal; [`Reason::parse`](crate::Reason::parse) reads it.
    pub invalid_reason: Option<JsonStr<'a>>,
    /// Explanation of a refusal, for people (official SDKs, outside the specification).
    pub invalid_message: Option<JsonStr<'a>>,
    /// Address of the payer.
    pub payer: Option<JsonStr<'a>>,
    /// Extensions, an object (official SDKs, outside the specification).
    pub extensions: Option<RawJson<'a>>,
    /// The scheme's additions, an object.
    pub extra: Option<RawJson<'a>>,
    /// Keys that the specification does not name.
    pub other: Members<'a>,
}

impl<'a> Message<'a> for VerifyResponse<'a> {
    fn read(c: &mut Cursor<'a>) -> Result<Self, ParseError> {
        let mut is_valid = Field::default();
        let mut invalid_reason = Field::default();
        let mut invalid_message = Field::default();
        let mut payer = Field::default();
        let mut extensions = Field::default();
        let mut extra = Field::default();
        let mut object = c.object()?;
        while let Some(key) = c.key(&mut object)? {
            match key {
                "isValid" => is_valid.set(c.boolean()?)?,
                "invalidReason" => {
                    invalid_reason.set_nullable(c.beside(&mut object, Cursor::string)?)?
                }
                "invalidMessage" => {
                    invalid_message.set_nullable(c.beside(&mut object, Cursor::string)?)?
                }
                "payer" => payer.set_nullable(c.beside(&mut object, Cursor::string)?)?,
                "extensions" => {
                    extensions.set_nullable(c.beside(&mut object, Cursor::kept_object)?)?
                }
                "extra" => extra.set_nullable(c.beside(&mut object, Cursor::kept_object)?)?,
                _ => c.unknown_beside(&mut object)?,
            }
        }
        Ok(Self {
            is_valid: c.required(is_valid, "isValid")?,
            invalid_reason: invalid_reason.optional(),
            invalid_message: invalid_message.optional(),
            payer: payer.optional(),
            extensions: extensions.optional(),
            extra: extra.optional(),
            other: c.members(&object, &VERIFY_NAMES),
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.open('{').key("isValid").boolean(self.is_valid);
        w.maybe_string("invalidReason", self.invalid_reason);
        w.maybe_string("invalidMessage", self.invalid_message);
        w.maybe_string("payer", self.payer);
        w.maybe_raw("extensions", self.extensions);
        w.maybe_raw("extra", self.extra);
        let absent = [
            ("invalidReason", self.invalid_reason.is_none()),
            ("invalidMessage", self.invalid_message.is_none()),
            ("payer", self.payer.is_none()),
            ("extensions", self.extensions.is_none()),
            ("extra", self.extra.is_none()),
        ];
        w.others(self.other, &VERIFY_NAMES, &absent);
        w.close('}');
    }
}

const VERIFY_NAMES: [&str; 6] =
    ["isValid", "invalidReason", "invalidMessage", "payer", "extensions", "extra"];

/// A facilitator's answer to `/settle`, and the receipt of a server. Spec v2 §5.3.
///
/// Facilitators leave out fields they do not know, or write something else there. A value not in the
/// specification's form is kept in `other`, an amount of `""` among them.
#[derive(Clone, Copy, Debug, Default)]
pub struct SettleResponse<'a> {
    /// Whether the payment was made.
    pub success: bool,
    /// Reason code of a failure; [`Reason::parse`](crate::Reason::parse) reads it.
    pub error_reason: Option<JsonStr<'a>>,
    /// Explanation of a failure, for people (official SDKs, outside the specification).
    pub error_message: Option<JsonStr<'a>>,
    /// Address of the payer.
    pub payer: Option<JsonStr<'a>>,
    /// Transaction id; empty if nothing was broadcast, or if there is none.
    pub transaction: JsonStr<'a>,
    /// Network it was made on, in the payment's spelling; empty if there is none.
    pub network: JsonStr<'a>,
    /// The amount actually moved, where the scheme lets it differ from the offer.
    pub amount: Option<Amount>,
    /// Extensions, an object.
    pub extensions: Option<RawJson<'a>>,
    /// The scheme's additions, an object (official SDKs, outside the specification).
    pub extra: Option<RawJson<'a>>,
    /// Keys that the specification does not name.
    pub other: Members<'a>,
}

impl<'a> Message<'a> for SettleResponse<'a> {
    /// Sellers also write the alphabet for URLs (RFC 4648 §5).
    fn decode_header(header: &[u8], scratch: &'a mut [u8]) -> Result<Self, ParseError> {
        Self::parse(base64::decode_any(header, scratch)?)
    }

    fn read(c: &mut Cursor<'a>) -> Result<Self, ParseError> {
        let mut success = Field::default();
        let mut error_reason = Field::default();
        let mut error_message = Field::default();
        let mut payer = Field::default();
        let mut transaction = Field::default();
        let mut network = Field::default();
        let mut amount = Field::default();
        let mut extensions = Field::default();
        let mut extra = Field::default();
        let mut object = c.object()?;
        while let Some(key) = c.key(&mut object)? {
            match key {
                "success" => success.set(c.boolean()?)?,
                "errorReason" => {
                    error_reason.set_nullable(c.beside(&mut object, Cursor::string)?)?
                }
                "errorMessage" => {
                    error_message.set_nullable(c.beside(&mut object, Cursor::string)?)?
                }
                "payer" => payer.set_nullable(c.beside(&mut object, Cursor::string)?)?,
                "transaction" => {
                    transaction.set_nullable(c.beside(&mut object, Cursor::string)?)?;
                }
                "network" => network.set_nullable(c.beside(&mut object, Cursor::string)?)?,
                "amount" => amount.set_nullable(c.beside(&mut object, Cursor::amount)?)?,
                "extensions" => {
                    extensions.set_nullable(c.beside(&mut object, Cursor::kept_object)?)?
                }
                "extra" => extra.set_nullable(c.beside(&mut object, Cursor::kept_object)?)?,
                _ => c.unknown_beside(&mut object)?,
            }
        }
        Ok(Self {
            success: c.required(success, "success")?,
            error_reason: error_reason.optional(),
            error_message: error_message.optional(),
            payer: payer.optional(),
            transaction: transaction.optional().unwrap_or_default(),
            network: network.optional().unwrap_or_default(),
            amount: amount.optional(),
            extensions: extensions.optional(),
            extra: extra.optional(),
            other: c.members(&object, &SETTLE_NAMES),
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.open('{').key("success").boolean(self.success);
        w.maybe_string("errorReason", self.error_reason);
        w.maybe_string("errorMessage", self.error_message);
        w.maybe_string("payer", self.payer);
        let [transaction, network] = [("transaction", self.transaction), ("network", self.network)]
            .map(|(name, text)| {
                // A value that was no text is written as it came.
                let is_kept = text.is_empty() && self.other.get(name).is_some();
                if !is_kept {
                    w.key(name).string(text);
                }
                is_kept
            });
        if let Some(amount) = &self.amount {
            w.key("amount").amount(amount);
        }
        w.maybe_raw("extensions", self.extensions);
        w.maybe_raw("extra", self.extra);
        let absent = [
            ("errorReason", self.error_reason.is_none()),
            ("errorMessage", self.error_message.is_none()),
            ("payer", self.payer.is_none()),
            ("transaction", transaction),
            ("network", network),
            ("amount", self.amount.is_none()),
            ("extensions", self.extensions.is_none()),
            ("extra", self.extra.is_none()),
        ];
        w.others(self.other, &SETTLE_NAMES, &absent);
        w.close('}');
    }
}

const SETTLE_NAMES: [&str; 9] = [
    "success",
    "errorReason",
    "errorMessage",
    "payer",
    "transaction",
    "network",
    "amount",
    "extensions",
    "extra",
];
