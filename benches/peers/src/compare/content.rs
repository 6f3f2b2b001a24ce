//! A payment's content, in one form, to show that all readers read the same.

use alloy_primitives::U256;
use r402::evm::exact as r402_exact;
use x402_chain_eip155::v2_eip155_exact::{self as x402_rs, ExactEvmPayload};
use x402_core::Amount;

use crate::readers::{Plain, Typed};

/// Everything typed that is in the payload of a payment by EIP-3009.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) url: String,
    pub(crate) network: String,
    pub(crate) amount: U256,
    pub(crate) asset: [u8; 20],
    pub(crate) pay_to: [u8; 20],
    pub(crate) max_timeout_seconds: u64,
    /// The token's, for EIP-712.
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) from: [u8; 20],
    pub(crate) to: [u8; 20],
    pub(crate) value: U256,
    pub(crate) valid_after: U256,
    pub(crate) valid_before: U256,
    pub(crate) nonce: [u8; 32],
    pub(crate) signature: Vec<u8>,
}

fn number(amount: Amount) -> U256 {
    U256::from_be_bytes(amount.to_be_bytes())
}

impl From<&Typed<'_>> for Content {
    fn from(typed: &Typed<'_>) -> Self {
        let text = |text: x402_core::json::JsonStr<'_>| text.as_str().expect("no escapes").into();
        let Typed { payload, offer, asset, pay_to, name, version, authorization, signature } =
            typed;
        Self {
            url: text(payload.resource.expect("there is one").url),
            network: offer.network.as_str().into(),
            amount: number(offer.amount),
            asset: asset.0,
            pay_to: pay_to.0,
            max_timeout_seconds: offer.max_timeout_seconds,
            name: text(*name),
            version: text(*version),
            from: authorization.from.0,
            to: authorization.to.0,
            value: number(authorization.value),
            valid_after: number(authorization.valid_after),
            valid_before: number(authorization.valid_before),
            nonce: authorization.nonce,
            signature: signature.to_bytes().into(),
        }
    }
}

impl From<&x402_rs::PaymentPayload> for Content {
    fn from(payload: &x402_rs::PaymentPayload) -> Self {
        use x402_chain_eip155::chain::AssetTransferMethod;
        let accepted = &payload.accepted;
        let AssetTransferMethod::Eip3009 { name, version } = &accepted.extra else {
            panic!("another method");
        };
        let ExactEvmPayload::Eip3009(exact) = &payload.payload else {
            panic!("another payload");
        };
        Self {
            url: payload.resource.as_ref().expect("there is one").url.clone(),
            network: accepted.network.to_string(),
            amount: accepted.amount.0,
            asset: accepted.asset.0.into(),
            pay_to: accepted.pay_to.0.into(),
            max_timeout_seconds: accepted.max_timeout_seconds,
            name: name.clone(),
            version: version.clone(),
            from: exact.authorization.from.into(),
            to: exact.authorization.to.into(),
            value: exact.authorization.value,
            valid_after: U256::from(exact.authorization.valid_after.as_secs()),
            valid_before: U256::from(exact.authorization.valid_before.as_secs()),
            nonce: exact.authorization.nonce.0,
            signature: exact.signature.to_vec(),
        }
    }
}

impl From<&x402_rs::Eip3009PaymentPayload> for Content {
    fn from(payload: &x402_rs::Eip3009PaymentPayload) -> Self {
        let (accepted, exact) = (&payload.accepted, &payload.payload);
        Self {
            url: payload.resource.as_ref().expect("there is one").url.clone(),
            network: accepted.network.to_string(),
            amount: accepted.amount,
            asset: accepted.asset.0.into(),
            pay_to: accepted.pay_to.0.into(),
            max_timeout_seconds: accepted.max_timeout_seconds,
            name: accepted.extra.name.clone(),
            version: accepted.extra.version.clone(),
            from: exact.authorization.from.into(),
            to: exact.authorization.to.into(),
            value: exact.authorization.value,
            valid_after: U256::from(exact.authorization.valid_after.as_secs()),
            valid_before: U256::from(exact.authorization.valid_before.as_secs()),
            nonce: exact.authorization.nonce.0,
            signature: exact.signature.to_vec(),
        }
    }
}

impl From<&r402_exact::v2::PaymentPayload> for Content {
    fn from(payload: &r402_exact::v2::PaymentPayload) -> Self {
        let accepted = &payload.accepted;
        let extra = accepted.extra.as_ref().expect("there is one");
        let r402_exact::ExactPayload::Eip3009(exact) = &payload.payload else {
            panic!("another payload");
        };
        Self {
            url: payload.resource.as_ref().expect("there is one").url.to_string(),
            network: accepted.network.to_string(),
            amount: accepted.amount.0,
            asset: accepted.asset.0.into(),
            pay_to: accepted.pay_to.0.into(),
            max_timeout_seconds: accepted.max_timeout_seconds,
            name: extra.name.clone(),
            version: extra.version.clone(),
            from: exact.authorization.from.into(),
            to: exact.authorization.to.into(),
            value: exact.authorization.value.0,
            valid_after: U256::from(exact.authorization.valid_after.as_secs()),
            valid_before: U256::from(exact.authorization.valid_before.as_secs()),
            nonce: exact.authorization.nonce.0,
            signature: exact.signature.to_vec(),
        }
    }
}

/// The plain structure has texts only; they are read here.
impl From<&Plain<'_>> for Content {
    fn from(plain: &Plain<'_>) -> Self {
        let address = |text: &str| text.parse::<alloy_primitives::Address>().expect("one").into();
        let number = |text: &str| U256::from_str_radix(text, 10).expect("a number");
        let authorization = &plain.payload.authorization;
        Self {
            url: plain.resource.url.into(),
            network: plain.accepted.network.into(),
            amount: number(plain.accepted.amount),
            asset: address(plain.accepted.asset),
            pay_to: address(plain.accepted.pay_to),
            max_timeout_seconds: plain.accepted.max_timeout_seconds,
            name: plain.accepted.extra.name.into(),
            version: plain.accepted.extra.version.into(),
            from: address(authorization.from),
            to: address(authorization.to),
            value: number(authorization.value),
            valid_after: number(authorization.valid_after),
            valid_before: number(authorization.valid_before),
            nonce: alloy_primitives::hex::FromHex::from_hex(authorization.nonce).expect("32 bytes"),
            signature: alloy_primitives::hex::decode(plain.payload.signature).expect("hex"),
        }
    }
}
