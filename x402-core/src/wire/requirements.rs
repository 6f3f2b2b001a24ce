use super::{Listed, Message, ResourceInfo};
use crate::amount::Amount;
use crate::error::ParseError;
use crate::json::{Cursor, Field, JsonStr, Mark, Members, Object, RawJson, Writer};
use crate::network::{Network, Version};

/// One offer: how, where and how much to pay. Spec v2 §5.1.2, v1 §5.1.2.
#[derive(Clone, Copy, Debug)]
pub struct PaymentRequirements<'a> {
    /// Payment scheme, such as `exact`.
    pub scheme: JsonStr<'a>,
    /// Network: CAIP-2 in v2, a name in v1. Each also takes a spelling of the other that names a network
    /// in the table. In the offer's own version it is written as read, in the other version in that
    /// one's spelling.
    pub network: Network<'a>,
    /// Price in the token's smallest unit (`amount`, in v1 `maxAmountRequired`).
    pub amount: Amount,
    /// The token: contract or mint address.
    pub asset: JsonStr<'a>,
    /// The payee.
    pub pay_to: JsonStr<'a>,
    /// Seconds from challenge to settlement that the seller allows.
    pub max_timeout_seconds: u64,
    /// The scheme's own fields, an object.
    pub extra: Option<RawJson<'a>>,
    /// The resource's description in a v1 offer; `None` for a v2 offer.
    pub v1: Option<V1Details<'a>>,
    /// Keys that the specification does not name.
    pub other: Members<'a>,
}

/// The parts of a v1 offer that v2 moved out of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct V1Details<'a> {
    /// URL of the resource. The specification requires it; it decides nothing.
    pub resource: Option<JsonStr<'a>>,
    /// A description for people.
    pub description: Option<JsonStr<'a>>,
    /// Media type of the answer.
    pub mime_type: Option<JsonStr<'a>>,
    /// JSON schema of request and answer.
    pub output_schema: Option<RawJson<'a>>,
}

impl<'a> From<ResourceInfo<'a>> for V1Details<'a> {
    fn from(resource: ResourceInfo<'a>) -> Self {
        Self {
            resource: Some(resource.url),
            description: Some(resource.description.unwrap_or_default()),
            mime_type: Some(resource.mime_type.unwrap_or_default()),
            output_schema: None,
        }
    }
}

impl<'a> PaymentRequirements<'a> {
    /// Returns the version whose shape this offer has.
    pub const fn version(&self) -> Version {
        if self.v1.is_some() { Version::V1 } else { Version::V2 }
    }

    /// Returns whether both are the same offer: every field and every unknown key the same JSON
    /// value, as the specification asks of `accepted`.
    ///
    /// `extra` may have more keys than `offered` has (clients of some schemes add theirs). It must
    /// have each key of `offered` with the same value, except those that `may_differ`: see
    /// [`Scheme::may_differ`](crate::Scheme::may_differ).
    pub fn accepts(&self, offered: &PaymentRequirements<'_>, may_differ: &[&str]) -> bool {
        self.scheme == offered.scheme
            && self.network == offered.network
            && self.amount == offered.amount
            && self.asset == offered.asset
            && self.pay_to == offered.pay_to
            && self.max_timeout_seconds == offered.max_timeout_seconds
            && same_members(self.other, offered.other)
            && self.has_extra(offered.extra.unwrap_or_default(), may_differ)
    }

    /// Returns whether `extra` has every key of `wanted`, except those that may differ.
    fn has_extra(&self, wanted: RawJson<'_>, may_differ: &[&str]) -> bool {
        let own = self.extra.unwrap_or_default();
        wanted.members().all(|(key, value)| {
            may_differ.iter().any(|other| key == *other)
                || own.members().any(|(other, own)| other == key && own.contains(value))
        })
    }

    /// Writes the offer in the shape of `version`; a v1 offer takes its missing fields from
    /// `resource`.
    pub(crate) fn write_as(
        &self,
        w: &mut Writer<'_>,
        version: Version,
        resource: Option<ResourceInfo<'a>>,
    ) {
        w.open('{').key("scheme").string(self.scheme);
        w.key("network");
        let as_read = version == self.version();
        write_network(w, self.network, version, as_read);
        let v1 = version == Version::V1;
        let details = self.v1.or_else(|| resource.map(V1Details::from)).unwrap_or_default();
        if v1 {
            w.key("maxAmountRequired").amount(&self.amount);
            w.maybe_string("resource", details.resource);
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
        let absent = [
            ("resource", details.resource.is_none()),
            ("description", details.description.is_none()),
            ("mimeType", details.mime_type.is_none()),
        ];
        w.others(self.other, names(version), &absent);
        w.close('}');
    }
}

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

/// Writes a network in the spelling of a version, or `as_read`.
fn write_network(w: &mut Writer<'_>, network: Network<'_>, version: Version, as_read: bool) {
    let spelling = match version {
        Version::V2 => network.caip2().map(Network::as_str),
        Version::V1 => network.v1_name(),
    };
    match spelling.filter(|_| !as_read).or(as_read.then_some(network.as_str())) {
        Some(spelling) => drop(w.string(spelling)),
        None => w.fail_unnamed_network(),
    }
}

/// An offer whose version is not known yet. The keys of the other version are unknown ones then,
/// and may be anything.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    object: Object<'a>,
    /// Where the offer ends.
    end: Mark<'a>,
    scheme: Field<JsonStr<'a>>,
    network: Field<RawJson<'a>>,
    amount: Field<RawJson<'a>>,
    max_amount_required: Field<RawJson<'a>>,
    asset: Field<JsonStr<'a>>,
    pay_to: Field<JsonStr<'a>>,
    max_timeout_seconds: Field<u64>,
    extra: Field<RawJson<'a>>,
    details: [Field<RawJson<'a>>; 4],
}

impl<'a> Draft<'a> {
    #[inline(never)]
    pub(super) fn read(c: &mut Cursor<'a>) -> Result<Self, ParseError> {
        let mut draft = Self {
            object: c.object()?,
            end: c.mark(),
            scheme: Field::default(),
            network: Field::default(),
            amount: Field::default(),
            max_amount_required: Field::default(),
            asset: Field::default(),
            pay_to: Field::default(),
            max_timeout_seconds: Field::default(),
            extra: Field::default(),
            details: Default::default(),
        };
        let [resource, description, mime_type, output_schema] = &mut draft.details;
        while let Some(key) = c.key(&mut draft.object)? {
            match key {
                "scheme" => draft.scheme.set(c.string()?)?,
                "network" => draft.network.set(c.value()?)?,
                "amount" => draft.amount.set(c.value()?)?,
                "maxAmountRequired" => draft.max_amount_required.set(c.value()?)?,
                "asset" => draft.asset.set(c.string()?)?,
                "payTo" => draft.pay_to.set(c.string()?)?,
                "maxTimeoutSeconds" => draft.max_timeout_seconds.set(c.integer()?)?,
                "extra" => draft.extra.set_nullable(c.nullable(Cursor::raw_object)?)?,
                "resource" => resource.set(c.kept()?)?,
                "description" => description.set(c.kept()?)?,
                "mimeType" => mime_type.set(c.kept()?)?,
                "outputSchema" => output_schema.set(c.kept()?)?,
                _ => c.unknown(&mut draft.object)?,
            }
        }
        draft.end = c.mark();
        Ok(draft)
    }

    /// Returns the version that the offer by itself looks to be of.
    pub(super) fn version(&self) -> Version {
        let is_id = || self.network.get().is_some_and(|it| it.as_str().contains(':'));
        match (self.amount.get(), self.max_amount_required.get()) {
            (None, Some(_)) => Version::V1,
            (Some(_), Some(_)) if !is_id() => Version::V1,
            _ => Version::V2,
        }
    }

    /// Returns whether it has only the price of an offer of the other version.
    const fn is_other(&self, version: Version) -> bool {
        matches!(
            (version, self.amount.get(), self.max_amount_required.get()),
            (Version::V1, Some(_), None) | (Version::V2, None, Some(_))
        )
    }

    /// Returns the offer of this version. The cursor may have read on; after an error it stands at the
    /// offer's end, or behind the value that is wrong.
    #[inline(never)]
    pub(super) fn resolve(
        &self,
        c: &mut Cursor<'a>,
        version: Version,
    ) -> Result<PaymentRequirements<'a>, ParseError> {
        let mark = c.mark();
        c.go_to(self.end);
        if self.is_other(version) {
            return Err(ParseError::VersionMismatch);
        }
        let mut object = self.object;
        let network = c.named(self.network.copied(), "network")?;
        let network = match network.as_network(version) {
            Ok(network) => network,
            Err(error) => return c.wrong(network, error),
        };
        let [resource, description, mime_type, output_schema] = &self.details;
        let (amount, v1) = match version {
            Version::V2 => {
                object.keep(&self.max_amount_required);
                self.details.iter().for_each(|field| object.keep(field));
                (c.named(self.amount.copied(), "amount")?, None)
            }
            Version::V1 => {
                object.keep(&self.amount);
                let details = V1Details {
                    resource: object.text("resource", resource),
                    description: object.text("description", description),
                    mime_type: object.text("mimeType", mime_type),
                    output_schema: output_schema.get().copied().filter(|it| it.as_str() != "null"),
                };
                (c.named(self.max_amount_required.copied(), "maxAmountRequired")?, Some(details))
            }
        };
        let amount = match amount.as_amount() {
            Ok(amount) => amount,
            Err(error) => return c.wrong(amount, error),
        };
        let offer = PaymentRequirements {
            scheme: c.named(self.scheme.copied(), "scheme")?,
            network,
            amount,
            asset: c.named(self.asset.copied(), "asset")?,
            pay_to: c.named(self.pay_to.copied(), "payTo")?,
            max_timeout_seconds: c.named(self.max_timeout_seconds.copied(), "maxTimeoutSeconds")?,
            extra: self.extra.get().copied(),
            v1,
            other: c.members(&object, names(version)),
        };
        c.go_to(mark);
        Ok(offer)
    }
}

impl<'a> Message<'a> for PaymentRequirements<'a> {
    fn read(c: &mut Cursor<'a>) -> Result<Self, ParseError> {
        let draft = Draft::read(c)?;
        let version = draft.version();
        draft.resolve(c, version)
    }

    fn write(&self, w: &mut Writer<'_>) {
        self.write_as(w, self.version(), None);
    }
}

impl<'a> Listed<'a> for PaymentRequirements<'a> {
    fn read_in(c: &mut Cursor<'a>, version: Version) -> Result<Self, ParseError> {
        Draft::read(c)?.resolve(c, version)
    }
}
