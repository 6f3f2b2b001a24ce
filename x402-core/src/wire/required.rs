use super::{List, Message, PaymentRequirements, ResourceInfo};
use crate::base64;
use crate::error::ParseError;
use crate::json::{Cursor, Field, JsonStr, Members, RawJson, Writer};
use crate::limits;
use crate::network::Version;

/// The challenge: the resource for sale, and the offers to choose from. Spec v2 §5.1, v1 §5.1.
#[derive(Clone, Copy, Debug)]
pub struct PaymentRequired<'a> {
    /// The version the message was read in, and will be written in.
    pub x402_version: Version,
    /// Why payment is asked for, for people; after a refusal, the reason code. A value that is no
    /// text is in `other`.
    pub error: Option<JsonStr<'a>>,
    /// The resource for sale; in a v1 challenge its first offer describes it. An unreadable one is
    /// in `other`.
    pub resource: Option<ResourceInfo<'a>>,
    /// The offers, of which [`limits::OFFERS`] are considered.
    pub accepts: List<'a, PaymentRequirements<'a>>,
    /// Extensions, an object.
    pub extensions: Option<RawJson<'a>>,
    /// Keys that the specification does not name.
    pub other: Members<'a>,
}

impl<'a> Message<'a> for PaymentRequired<'a> {
    const MOST_BYTES: usize = limits::CHALLENGE_BYTES;

    /// Sellers also write the alphabet for URLs (RFC 4648 §5).
    fn decode_header(header: &[u8], scratch: &'a mut [u8]) -> Result<Self, ParseError> {
        Self::parse(base64::decode_any(header, scratch)?)
    }

    fn read(c: &mut Cursor<'a>) -> Result<Self, ParseError> {
        let mut x402_version = Field::default();
        let mut error = Field::default();
        let mut resource = Field::default();
        let mut accepts = Field::default();
        let mut extensions = Field::default();
        let mut object = c.object()?;
        while let Some(key) = c.key(&mut object)? {
            match key {
                "x402Version" => x402_version.set(lenient_version(c)?)?,
                "error" => error.set_nullable(c.beside(&mut object, Cursor::string)?)?,
                "resource" => {
                    resource.set_nullable(c.beside(&mut object, ResourceInfo::read)?)?;
                }
                "accepts" => accepts.set(List::read(c, limits::OFFERS)?)?,
                "extensions" => {
                    extensions.set_nullable(c.beside(&mut object, Cursor::kept_object)?)?;
                }
                _ => c.unknown_beside(&mut object)?,
            }
        }
        let x402_version = c.required(x402_version, "x402Version")?;
        if x402_version == Version::V1 {
            object.keep(&resource);
        }
        let accepts: List<'a, PaymentRequirements<'a>> = c.required(accepts, "accepts")?;
        let accepts = accepts.of_version(x402_version);
        let described = || accepts.iter().next()?.v1.map(ResourceInfo::from);
        Ok(Self {
            x402_version,
            error: error.optional(),
            resource: resource.optional().or_else(described),
            accepts,
            extensions: extensions.optional(),
            other: c.members(&object, names(x402_version)),
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.open('{').version(self.x402_version).maybe_string("error", self.error);
        if let (Version::V2, Some(resource)) = (self.x402_version, self.resource) {
            w.key("resource");
            resource.write(w);
        }
        w.key("accepts");
        self.accepts.write(w, |offer, w| offer.write_as(w, self.x402_version, self.resource));
        w.maybe_raw("extensions", self.extensions);
        let absent = [
            ("error", self.error.is_none()),
            ("resource", self.resource.is_none()),
            ("extensions", self.extensions.is_none()),
        ];
        w.others(self.other, names(self.x402_version), &absent);
        w.close('}');
    }
}

const fn names(version: Version) -> &'static [&'static str] {
    match version {
        Version::V1 => &["x402Version", "error", "accepts", "extensions"],
        Version::V2 => &["x402Version", "error", "resource", "accepts", "extensions"],
    }
}

/// Reads a version number, or the string of one, as the sign-in extension's examples write it.
fn lenient_version(c: &mut Cursor<'_>) -> Result<Version, ParseError> {
    if c.peek() != Some(b'"') {
        return c.version();
    }
    match c.string()?.as_str() {
        Some("1") => Ok(Version::V1),
        Some("2") => Ok(Version::V2),
        _ => Err(ParseError::UnsupportedVersion),
    }
}

impl<'a> From<super::V1Details<'a>> for ResourceInfo<'a> {
    fn from(details: super::V1Details<'a>) -> Self {
        Self {
            url: details.resource.unwrap_or_default(),
            description: details.description,
            mime_type: details.mime_type,
            ..Self::default()
        }
    }
}
