//! Everybody's way from a header to a typed payment.

use base64::Engine as _;
use base64_simd::Out;
use r402::evm::exact::v2::PaymentPayload as R402Payload;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use x402_core::crypto::RecoverableSignature;
use x402_core::json::{JsonStr, RawJson};
use x402_core::seller::Seller;
use x402_core::wire::{Accepted, PaymentPayload, PaymentRequirements};
use x402_core::{Version, base64 as core_base64};
use x402_evm::{Address, Authorization, Eip3009Payload};
use x402_std::base64 as std_base64;

/// A payment by EIP-3009 as ours is read: views of its texts, and values of all else.
pub(crate) struct Typed<'a> {
    pub(crate) payload: PaymentPayload<'a>,
    pub(crate) offer: PaymentRequirements<'a>,
    pub(crate) asset: Address,
    pub(crate) pay_to: Address,
    pub(crate) name: JsonStr<'a>,
    pub(crate) version: JsonStr<'a>,
    pub(crate) authorization: Authorization,
    pub(crate) signature: RecoverableSignature,
}

/// Ours, with the server's base64.
pub(crate) fn ours<'s>(header: &[u8], scratch: &'s mut [u8]) -> Option<Typed<'s>> {
    typed(std_base64::decode(header, scratch).ok()?)
}

/// Ours, as firmware has it.
pub(crate) fn ours_core<'s>(header: &[u8], scratch: &'s mut [u8]) -> Option<Typed<'s>> {
    typed(core_base64::decode(header, scratch).ok()?)
}

fn typed(json: &[u8]) -> Option<Typed<'_>> {
    let payload = Seller::read(Version::V2, json).ok()?;
    let Accepted::V2(offer) = payload.accepted else { return None };
    let exact = Eip3009Payload::read(payload.payload).ok()?;
    let [name, version] = offer.extra?.get_all(["name", "version"]);
    Some(Typed {
        asset: Address::parse(offer.asset.as_str()?)?,
        pay_to: Address::parse(offer.pay_to.as_str()?)?,
        name: name.and_then(RawJson::as_string)?,
        version: version.and_then(RawJson::as_string)?,
        authorization: exact.authorization,
        signature: exact.recoverable_signature()?,
        payload,
        offer,
    })
}

/// x402-types: its base64, then serde_json into a type of x402-chain-eip155, or its own.
pub(crate) fn x402_rs<T: DeserializeOwned>(header: &[u8]) -> Option<T> {
    let json = x402_types::util::Base64Bytes::from(header).decode().ok()?;
    serde_json::from_slice(&json).ok()
}

/// r402, as its HTTP adapter does it, into the type of r402-evm.
pub(crate) fn r402(header: &[u8]) -> Option<R402Payload> {
    r402_any(header)
}

/// r402, into any of its types.
pub(crate) fn r402_any<T: DeserializeOwned>(header: &[u8]) -> Option<T> {
    let json = r402::protocol::payment::Base64Bytes::from(header).decode().ok()?;
    serde_json::from_slice(&json).ok()
}

/// The texts of a payment: what serde_json gives without any typing.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plain<'a> {
    pub(crate) x402_version: u8,
    #[serde(borrow)]
    pub(crate) resource: PlainResource<'a>,
    pub(crate) accepted: PlainOffer<'a>,
    pub(crate) payload: PlainPayload<'a>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlainResource<'a> {
    pub(crate) url: &'a str,
    pub(crate) description: &'a str,
    pub(crate) mime_type: &'a str,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlainOffer<'a> {
    pub(crate) scheme: &'a str,
    pub(crate) network: &'a str,
    pub(crate) amount: &'a str,
    pub(crate) asset: &'a str,
    pub(crate) pay_to: &'a str,
    pub(crate) max_timeout_seconds: u64,
    #[serde(borrow)]
    pub(crate) extra: PlainExtra<'a>,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct PlainExtra<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct PlainPayload<'a> {
    #[serde(borrow)]
    pub(crate) authorization: PlainAuthorization<'a>,
    pub(crate) signature: &'a str,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlainAuthorization<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) value: &'a str,
    pub(crate) valid_after: &'a str,
    pub(crate) valid_before: &'a str,
    pub(crate) nonce: &'a str,
}

/// base64-simd into a buffer, and nothing else.
pub(crate) fn simd<'s>(header: &[u8], scratch: &'s mut [u8]) -> Option<&'s [u8]> {
    base64_simd::STANDARD.decode(header, Out::from_slice(scratch)).ok().map(|json| &*json)
}

/// The crate base64 into a buffer, and nothing else.
pub(crate) fn base64<'s>(header: &[u8], scratch: &'s mut [u8]) -> Option<&'s [u8]> {
    let len = base64::prelude::BASE64_STANDARD.decode_slice(header, scratch).ok()?;
    scratch.get(..len)
}

/// The plain structure, by base64-simd and serde_json.
pub(crate) fn plain<'s>(header: &[u8], scratch: &'s mut [u8]) -> Option<Plain<'s>> {
    serde_json::from_slice(simd(header, scratch)?).ok()
}

/// `Value`, by base64-simd and serde_json.
pub(crate) fn value(header: &[u8], scratch: &mut [u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(simd(header, scratch)?).ok()
}
