use super::requirements::Draft;
use super::{Message, PaymentPayload, PaymentRequirements};
use crate::error::ParseError;
use crate::json::{Cursor, Field, Members, Writer};
use crate::network::Version;

/// A server's request to a facilitator: to check a payment against the server's own requirements.
/// Spec v2 §7.1, v1 §7.1.
#[derive(Clone, Copy, Debug)]
pub struct VerifyRequest<'a> {
    /// The payment, as the buyer sent it.
    pub payment_payload: PaymentPayload<'a>,
    /// The offer, as the server made it.
    pub payment_requirements: PaymentRequirements<'a>,
    /// Keys that the specification does not name.
    pub other: Members<'a>,
}

/// A request to `/settle`, the same as one to `/verify`. Spec v2 §7.2.
pub type SettleRequest<'a> = VerifyRequest<'a>;

impl<'a> Message<'a> for VerifyRequest<'a> {
    fn read(c: &mut Cursor<'a>) -> Result<Self, ParseError> {
        let mut x402_version = Field::default();
        let mut payment_payload = Field::default();
        let mut payment_requirements = Field::default();
        let mut object = c.object()?;
        while let Some(key) = c.key(&mut object)? {
            match key {
                "x402Version" => x402_version.set(c.version()?)?,
                "paymentPayload" => payment_payload.set(PaymentPayload::read(c)?)?,
                "paymentRequirements" => payment_requirements.set(Draft::read(c)?)?,
                _ => c.unknown(&mut object)?,
            }
        }
        let payment_payload: PaymentPayload<'a> = c.required(payment_payload, "paymentPayload")?;
        let requirements: Draft<'a> = c.required(payment_requirements, "paymentRequirements")?;
        let version = payment_payload.x402_version();
        // The outer number repeats the payment's; older clients leave it out.
        if x402_version.optional().is_some_and(|outer: Version| outer != version) {
            return Err(ParseError::VersionMismatch);
        }
        let payment_requirements = requirements.resolve(c, version)?;
        Ok(Self { payment_payload, payment_requirements, other: c.members(&object, &NAMES) })
    }

    fn write(&self, w: &mut Writer<'_>) {
        let version = self.payment_payload.x402_version();
        w.open('{').version(version);
        w.key("paymentPayload");
        self.payment_payload.write(w);
        w.key("paymentRequirements");
        self.payment_requirements.write_as(w, version, self.payment_payload.resource);
        w.others(self.other, &NAMES, &[]);
        w.close('}');
    }
}

const NAMES: [&str; 3] = ["x402Version", "paymentPayload", "paymentRequirements"];
