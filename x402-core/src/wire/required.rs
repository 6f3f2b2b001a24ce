use super::{List, Message, PaymentRequirements, ResourceInfo};
use crate::error::ParseError;
use crate::json::{Cursor, Field, JsonStr, Members, RawJson, Writer};
use crate::limits;
use crate::network::Version;

/// The challenge: what is for sale, and the offers to choose from. Spec v2 §5.1, v1 §5.1.
#[derive(Clone, Copy, Debug)]
pub struct PaymentRequired<'a> {
    /// The version the message was read in, and will be written in.
    pub x402_version: Version,
    /// Why payment is asked for, for people; after a refusal, the reason code.
    pub error: Option<JsonStr<'a>>,
    /// What is for sale. Read from a v1 challenge, what its first offer says of it.
    pub resource: Option<ResourceInfo<'a>>,
    /// The offers, at most [`limits::OFFERS`].
    pub accepts: List<'a, PaymentRequirements<'a>>,
    /// Extensions, an object.
    pub extensions: Option<RawJson<'a>>,
    /// Keys that the specification does not name.
    pub other: Members<'a>,
}

impl<'a> Message<'a> for PaymentRequired<'a> {
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
                "error" => error.set_nullable(c.nullable(Cursor::string)?)?,
                "resource" => resource.set_nullable(c.nullable(ResourceInfo::read)?)?,
                "accepts" => accepts.set(List::read(c, limits::OFFERS)?)?,
                "extensions" => extensions.set_nullable(c.nullable(Cursor::raw_object)?)?,
                _ => c.unknown(&mut object)?,
            }
        }
        let x402_version = x402_version.required()?;
        if x402_version == Version::V1 {
            object.keep(&resource);
        }
        let accepts: List<'a, PaymentRequirements<'a>> = accepts.required()?;
        if accepts.iter().any(|offer| offer.version() != x402_version) {
            return Err(ParseError::VersionMismatch);
        }
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
        w.others(self.other, names(self.x402_version));
        w.close('}');
    }
}

const fn names(version: Version) -> &'static [&'static str] {
    match version {
        Version::V1 => &["x402Version", "error", "accepts", "extensions"],
        Version::V2 => &["x402Version", "error", "resource", "accepts", "extensions"],
    }
}

/// A version number, or the string of one, as the sign-in extension's examples write it.
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
            url: details.resource,
            description: details.description,
            mime_type: details.mime_type,
            ..Self::default()
        }
    }
}
