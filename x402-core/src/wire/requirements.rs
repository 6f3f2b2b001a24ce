use super::{Message, ResourceInfo};
use crate::amount::Amount;
use crate::error::ParseError;
use crate::json::{Cursor, Field, JsonStr, Members, RawJson, Writer};
use crate::network::{Network, Version};

/// One offer: how, where and how much to pay. Spec v2 §5.1.2, v1 §5.1.2.
#[derive(Clone, Copy, Debug)]
pub struct PaymentRequirements<'a> {
    /// Payment scheme, such as `exact`.
    pub scheme: JsonStr<'a>,
    /// Network: CAIP-2 in v2, a name in v1. Written in the spelling of the version written.
    pub network: Network<'a>,
    /// Price in the token's smallest unit (`amount`, in v1 `maxAmountRequired`).
    pub amount: Amount,
    /// The token: contract or mint address.
    pub asset: JsonStr<'a>,
    /// Who is paid.
    pub pay_to: JsonStr<'a>,
    /// Seconds from challenge to settlement that the seller allows.
    pub max_timeout_seconds: u64,
    /// What the scheme needs besides, an object.
    pub extra: Option<RawJson<'a>>,
    /// What a v1 offer says of the resource; `None` for a v2 offer.
    pub v1: Option<V1Details<'a>>,
    /// Keys that the specification does not name.
    pub other: Members<'a>,
}

/// The parts of a v1 offer that v2 moved out of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct V1Details<'a> {
    /// Where the resource is.
    pub resource: JsonStr<'a>,
    /// What it is, for people.
    pub description: Option<JsonStr<'a>>,
    /// Media type of the answer.
    pub mime_type: Option<JsonStr<'a>>,
    /// JSON schema of request and answer.
    pub output_schema: Option<RawJson<'a>>,
}

impl<'a> From<ResourceInfo<'a>> for V1Details<'a> {
    fn from(resource: ResourceInfo<'a>) -> Self {
        Self {
            resource: resource.url,
            description: Some(resource.description.unwrap_or_default()),
            mime_type: Some(resource.mime_type.unwrap_or_default()),
            output_schema: None,
        }
    }
}

impl<'a> PaymentRequirements<'a> {
    /// The version whose shape this offer has.
    pub const fn version(&self) -> Version {
        if self.v1.is_some() { Version::V1 } else { Version::V2 }
    }

    /// Whether both are the same offer: every field and every unknown key the same JSON value,
    /// as the specification asks of `accepted`.
    ///
    /// `extra` may have more keys than `offered` has (clients of some schemes add theirs); it may
    /// not lack or change one, but for the hints of a blockhash, which an offer made a minute later
    /// has others of (`scheme_exact_svm.md`).
    pub fn accepts(&self, offered: &PaymentRequirements<'_>) -> bool {
        self.scheme == offered.scheme
            && self.network == offered.network
            && self.amount == offered.amount
            && self.asset == offered.asset
            && self.pay_to == offered.pay_to
            && self.max_timeout_seconds == offered.max_timeout_seconds
            && same_members(self.other, offered.other)
            && self.has_extra(offered.extra.unwrap_or_default())
    }

    /// Whether `extra` has every key of `wanted`, hints aside.
    fn has_extra(&self, wanted: RawJson<'_>) -> bool {
        let own = self.extra.unwrap_or_default();
        wanted.members().all(|(key, value)| {
            HINTS.iter().any(|hint| key == *hint)
                || own.members().any(|(other, own)| other == key && own.contains(value))
        })
    }

    /// Writes the offer in the shape of `version`; a v1 offer takes what it lacks from `resource`.
    pub(crate) fn write_as(
        &self,
        w: &mut Writer<'_>,
        version: Version,
        resource: Option<ResourceInfo<'a>>,
    ) {
        w.open('{').key("scheme").string(self.scheme);
        w.key("network");
        write_network(w, self.network, version);
        let v1 = version == Version::V1;
        let details = self.v1.or_else(|| resource.map(V1Details::from)).unwrap_or_default();
        if v1 {
            w.key("maxAmountRequired").amount(&self.amount);
            w.key("resource").string(details.resource);
            w.maybe_string("description", details.description);
            w.maybe_string("mimeType", details.mime_type);
        } else {
            w.key("amount").amount(&self.amount).key("asset").string(self.asset);
        }
        w.key("payTo").string(self.pay_to);
        w.key("maxTimeoutSeconds").integer(self.max_timeout_seconds);
        if v1 {
            w.key("asset").string(self.asset);
            w.maybe_raw("outputSchema", details.output_schema);
        }
        w.maybe_raw("extra", self.extra);
        w.others(self.other, names(version));
        w.close('}');
    }
}

/// Keys of `extra` that change from one offer to the next of the same price.
const HINTS: [&str; 2] = ["recentBlockhash", "lastValidBlockHeight"];

const fn names(version: Version) -> &'static [&'static str] {
    match version {
        Version::V1 => &[
            "scheme",
            "network",
            "maxAmountRequired",
            "resource",
            "description",
            "mimeType",
            "payTo",
            "maxTimeoutSeconds",
            "asset",
            "outputSchema",
            "extra",
        ],
        Version::V2 => {
            &["scheme", "network", "amount", "asset", "payTo", "maxTimeoutSeconds", "extra"]
        }
    }
}

fn same_members(mine: Members<'_>, theirs: Members<'_>) -> bool {
    mine.count() == theirs.count() && { mine }.all(|(key, value)| {
        { theirs }.any(|(other, against)| key == other && value.same_value(against))
    })
}

pub(crate) fn write_network(w: &mut Writer<'_>, network: Network<'_>, version: Version) {
    let spelling = match version {
        Version::V2 => network.caip2().map(Network::as_str),
        Version::V1 => network.v1_name(),
    };
    // A v1 name outside the table is one in v1 all the same.
    let as_read = (version == Version::V1) != network.as_str().contains(':');
    match spelling.or(as_read.then_some(network.as_str())) {
        Some(spelling) => drop(w.string(spelling)),
        None => w.fail_unnamed_network(),
    }
}

impl<'a> Message<'a> for PaymentRequirements<'a> {
    fn read(c: &mut Cursor<'a>) -> Result<Self, ParseError> {
        let mut scheme = Field::default();
        let mut network = Field::default();
        let mut amount = Field::default();
        let mut max_amount_required = Field::default();
        let mut asset = Field::default();
        let mut pay_to = Field::default();
        let mut max_timeout_seconds = Field::default();
        let mut extra = Field::default();
        let mut resource = Field::default();
        let mut description = Field::default();
        let mut mime_type = Field::default();
        let mut output_schema = Field::default();
        let mut object = c.object()?;
        while let Some(key) = c.key(&mut object)? {
            match key {
                "scheme" => scheme.set(c.string()?)?,
                "network" => network.set(c.network()?)?,
                "amount" => amount.set(c.amount()?)?,
                "maxAmountRequired" => max_amount_required.set(c.amount()?)?,
                "asset" => asset.set(c.string()?)?,
                "payTo" => pay_to.set(c.string()?)?,
                "maxTimeoutSeconds" => max_timeout_seconds.set(c.integer()?)?,
                "extra" => extra.set_nullable(c.nullable(Cursor::raw_object)?)?,
                // Fields of v1, unknown keys in v2: which it is shows at the end.
                "resource" => resource.set(c.value()?)?,
                "description" => description.set(c.value()?)?,
                "mimeType" => mime_type.set(c.value()?)?,
                "outputSchema" => output_schema.set(c.value()?)?,
                _ => c.unknown(&mut object)?,
            }
        }
        let (amount, v1) = match (amount.optional(), max_amount_required.optional()) {
            (Some(amount), None) => {
                for field in [&resource, &description, &mime_type, &output_schema] {
                    object.keep(field);
                }
                (amount, None)
            }
            (None, Some(amount)) => {
                let details = V1Details {
                    resource: text(resource.required()?)?,
                    description: optional(description, text)?,
                    mime_type: optional(mime_type, text)?,
                    output_schema: optional(output_schema, Ok)?,
                };
                (amount, Some(details))
            }
            (None, None) => return Err(ParseError::MissingField),
            (Some(_), Some(_)) => return Err(ParseError::VersionMismatch),
        };
        let network: Network<'a> = network.required()?;
        if v1.is_some() == network.as_str().contains(':') {
            return Err(ParseError::InvalidNetwork);
        }
        let version = if v1.is_some() { Version::V1 } else { Version::V2 };
        Ok(Self {
            scheme: scheme.required()?,
            network,
            amount,
            asset: asset.required()?,
            pay_to: pay_to.required()?,
            max_timeout_seconds: max_timeout_seconds.required()?,
            extra: extra.optional(),
            v1,
            other: c.members(&object, names(version)),
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        self.write_as(w, self.version(), None);
    }
}

fn text(value: RawJson<'_>) -> Result<JsonStr<'_>, ParseError> {
    value.as_string().ok_or(ParseError::WrongType)
}

fn optional<'a, T>(
    field: Field<RawJson<'a>>,
    read: impl FnOnce(RawJson<'a>) -> Result<T, ParseError>,
) -> Result<Option<T>, ParseError> {
    field.optional().filter(|value| value.as_str() != "null").map(read).transpose()
}
