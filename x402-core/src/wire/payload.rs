use super::requirements::Draft;
use super::{Message, PaymentRequirements, ResourceInfo};
use crate::error::ParseError;
use crate::json::{Cursor, Field, JsonStr, Members, RawJson, Writer};
use crate::network::{Network, Version};

/// The payment: the accepted offer and the scheme's signed payload. Spec v2 §5.2, v1 §5.2.
#[derive(Clone, Copy, Debug)]
pub struct PaymentPayload<'a> {
    /// The resource that is bought (v2, optional).
    pub resource: Option<ResourceInfo<'a>>,
    /// The accepted offer; decides the version.
    pub accepted: Accepted<'a>,
    /// The scheme's own data, an object.
    pub payload: RawJson<'a>,
    /// Extensions, an object (v2, optional).
    pub extensions: Option<RawJson<'a>>,
    /// Keys that the specification does not name.
    pub other: Members<'a>,
}

/// The offer that a payment accepts, as it repeats it.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::large_enum_variant)] // boxing needs an allocator
pub enum Accepted<'a> {
    /// v1 names scheme and network only.
    V1 {
        /// Payment scheme.
        scheme: JsonStr<'a>,
        /// Network name.
        network: Network<'a>,
    },
    /// v2 repeats the whole offer.
    V2(PaymentRequirements<'a>),
}

impl<'a> PaymentPayload<'a> {
    /// Returns the version of the payment.
    pub const fn x402_version(&self) -> Version {
        match self.accepted {
            Accepted::V1 { .. } => Version::V1,
            Accepted::V2(_) => Version::V2,
        }
    }

    /// Returns the scheme the payment names.
    pub const fn scheme(&self) -> JsonStr<'a> {
        match self.accepted {
            Accepted::V1 { scheme, .. } => scheme,
            Accepted::V2(offer) => offer.scheme,
        }
    }

    /// Returns the network the payment names.
    pub const fn network(&self) -> Network<'a> {
        match self.accepted {
            Accepted::V1 { network, .. } => network,
            Accepted::V2(offer) => offer.network,
        }
    }
}

impl<'a> Message<'a> for PaymentPayload<'a> {
    fn read(c: &mut Cursor<'a>) -> Result<Self, ParseError> {
        let mut x402_version = Field::default();
        let mut resource = Field::default();
        let mut accepted = Field::default();
        let mut scheme = Field::default();
        let mut network = Field::default();
        let mut payload = Field::default();
        let mut extensions = Field::default();
        let mut object = c.object()?;
        while let Some(key) = c.key(&mut object)? {
            match key {
                "x402Version" => x402_version.set(c.version()?)?,
                "resource" => resource.set_nullable(c.nullable(ResourceInfo::read)?)?,
                "accepted" => accepted.set(Draft::read(c)?)?,
                "scheme" => scheme.set(c.string()?)?,
                "network" => network.set(c.value()?)?,
                "payload" => payload.set(c.raw_object()?)?,
                "extensions" => extensions.set_nullable(c.nullable(Cursor::raw_object)?)?,
                _ => c.unknown(&mut object)?,
            }
        }
        let accepted = match c.required(x402_version, "x402Version")? {
            Version::V1 => {
                object.keep(&resource);
                object.keep(&accepted);
                let scheme = c.required(scheme, "scheme")?;
                let network: RawJson<'a> = c.required(network, "network")?;
                match network.as_network(Version::V1) {
                    Ok(network) => Accepted::V1 { scheme, network },
                    Err(error) => return c.wrong(network, error),
                }
            }
            Version::V2 => {
                object.keep(&scheme);
                object.keep(&network);
                let offer: Draft<'a> = c.required(accepted, "accepted")?;
                Accepted::V2(offer.resolve(c, Version::V2)?)
            }
        };
        let named = names(&accepted);
        Ok(Self {
            resource: resource.optional(),
            accepted,
            payload: c.required(payload, "payload")?,
            extensions: extensions.optional(),
            other: c.members(&object, named),
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        let version = self.x402_version();
        w.open('{').version(version);
        match self.accepted {
            Accepted::V1 { scheme, network } => {
                w.key("scheme").string(scheme).key("network").string(network.as_str());
            }
            Accepted::V2(offer) => {
                if let Some(resource) = self.resource {
                    w.key("resource");
                    resource.write(w);
                }
                w.key("accepted");
                offer.write_as(w, version, None);
            }
        }
        w.key("payload").raw(self.payload).maybe_raw("extensions", self.extensions);
        w.others(self.other, names(&self.accepted), &[]);
        w.close('}');
    }
}

const fn names(accepted: &Accepted<'_>) -> &'static [&'static str] {
    match accepted {
        Accepted::V1 { .. } => &V1_NAMES,
        Accepted::V2(_) => &V2_NAMES,
    }
}

const V1_NAMES: [&str; 5] = ["x402Version", "scheme", "network", "payload", "extensions"];
const V2_NAMES: [&str; 5] = ["x402Version", "resource", "accepted", "payload", "extensions"];
