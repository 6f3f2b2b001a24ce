use super::{List, Listed, Message};
use crate::error::ParseError;
use crate::json::{Cursor, Field, JsonStr, Members, RawJson, Writer};
use crate::limits;
use crate::network::{Network, Version};

/// The kinds a facilitator verifies and settles: the answer of `GET /supported`. Spec v2 §7.3.
#[derive(Clone, Copy, Debug, Default)]
pub struct SupportedResponse<'a> {
    /// Pairs of scheme and network, of which [`limits::KINDS`] are considered.
    pub kinds: List<'a, SupportedKind<'a>>,
    /// Names of extensions, an array of strings.
    pub extensions: Option<RawJson<'a>>,
    /// Signer addresses by CAIP-2 pattern, an object of arrays of strings.
    pub signers: Option<RawJson<'a>>,
    /// Keys that the specification does not name.
    pub other: Members<'a>,
}

/// A scheme on a network, in a version. Spec v2 §7.3.1.
#[derive(Clone, Copy, Debug)]
pub struct SupportedKind<'a> {
    /// Version of the protocol, which may be one this library does not know.
    pub x402_version: u64,
    /// Payment scheme.
    pub scheme: JsonStr<'a>,
    /// Network, in the version's spelling.
    pub network: Network<'a>,
    /// The `extra` that an offer of this kind must carry, such as a fee payer; an object.
    pub extra: Option<RawJson<'a>>,
    /// Keys that the specification does not name.
    pub other: Members<'a>,
}

impl<'a> Message<'a> for SupportedResponse<'a> {
    const MOST_BYTES: usize = limits::SUPPORTED_BYTES;

    fn read(c: &mut Cursor<'a>) -> Result<Self, ParseError> {
        let mut kinds = Field::default();
        let mut extensions = Field::default();
        let mut signers = Field::default();
        let mut object = c.object()?;
        while let Some(key) = c.key(&mut object)? {
            match key {
                "kinds" => kinds.set(List::read(c, limits::KINDS)?)?,
                "extensions" => {
                    extensions.set_nullable(c.beside(&mut object, Cursor::raw_array)?)?;
                }
                "signers" => signers.set_nullable(c.beside(&mut object, Cursor::kept_object)?)?,
                _ => c.unknown_beside(&mut object)?,
            }
        }
        Ok(Self {
            kinds: c.required(kinds, "kinds")?,
            extensions: extensions.optional(),
            signers: signers.optional(),
            other: c.members(&object, &NAMES),
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.open('{').key("kinds");
        self.kinds.write(w, SupportedKind::write);
        w.maybe_raw("extensions", self.extensions);
        w.maybe_raw("signers", self.signers);
        let absent =
            [("extensions", self.extensions.is_none()), ("signers", self.signers.is_none())];
        w.others(self.other, &NAMES, &absent);
        w.close('}');
    }
}

impl<'a> Message<'a> for SupportedKind<'a> {
    fn read(c: &mut Cursor<'a>) -> Result<Self, ParseError> {
        let mut x402_version = Field::default();
        let mut scheme = Field::default();
        let mut network = Field::default();
        let mut extra = Field::default();
        let mut object = c.object()?;
        while let Some(key) = c.key(&mut object)? {
            match key {
                "x402Version" => x402_version.set(c.integer()?)?,
                "scheme" => scheme.set(c.string()?)?,
                "network" => network.set(c.network()?)?,
                "extra" => extra.set_nullable(c.nullable(Cursor::raw_object)?)?,
                _ => c.unknown(&mut object)?,
            }
        }
        Ok(Self {
            x402_version: c.required(x402_version, "x402Version")?,
            scheme: c.required(scheme, "scheme")?,
            network: c.required(network, "network")?,
            extra: extra.optional(),
            other: c.members(&object, &KIND_NAMES),
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.open('{').key("x402Version").integer(self.x402_version);
        w.key("scheme").string(self.scheme);
        w.key("network").string(self.network.as_str());
        w.maybe_raw("extra", self.extra);
        w.others(self.other, &KIND_NAMES, &[]);
        w.close('}');
    }
}

impl<'a> Listed<'a> for SupportedKind<'a> {
    fn read_in(c: &mut Cursor<'a>, _: Version) -> Result<Self, ParseError> {
        Self::read(c)
    }
}

const KIND_NAMES: [&str; 4] = ["x402Version", "scheme", "network", "extra"];
const NAMES: [&str; 3] = ["kinds", "extensions", "signers"];
