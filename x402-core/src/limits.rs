//! Every cap on hostile input, in one place, each with its reason.

/// Longest JSON text of one message, in bytes.
///
/// A challenge with twenty offers and a discovery extension is about 20 KiB. A facilitator request
/// carries a payload and its requirements. 64 KiB leaves room and bounds the work.
pub const MESSAGE_BYTES: usize = 64 * 1024;

/// Longest challenge in a body, in bytes. Sellers put descriptions and schemas of all that they sell into
/// each offer; the longest seen has 160 KiB.
pub const CHALLENGE_BYTES: usize = 256 * 1024;

/// Longest answer of `/supported`, in bytes: several hundred kinds, with addresses in each.
pub const SUPPORTED_BYTES: usize = 1024 * 1024;

/// Longest base64 header value, in bytes: common servers refuse longer header sections anyway.
pub const HEADER_BYTES: usize = 64 * 1024;

/// Deepest nesting of objects and arrays. JSON schemas inside extensions use two levels for each of
/// their own. The limit holds any seen in the field and keeps the validator's stack below 300
/// bytes.
pub const DEPTH: usize = 32;

/// Most offers in one `accepts` array that are considered: one for each network a facilitator serves, and
/// then some. Further ones are kept, and ignored.
pub const OFFERS: usize = 64;

/// Longest network identifier: a CAIP-2 namespace of 8, a colon and a reference of 32.
pub const NETWORK_BYTES: usize = 41;

/// Most bytes read again while looking for repeated keys in one text.
///
/// Repeated keys are found without memory: an object is read again only if a small fingerprint set
/// answers "perhaps". An attacker can force that answer each time; this bounds its cost at the
/// 16-fold of the longest message.
pub const RESCAN_BYTES: usize = 16 * MESSAGE_BYTES;

/// Longest text that is copied rather than borrowed, in bytes: a token's EIP-712 name or version.
pub const TEXT_BYTES: usize = 256;

/// Most kinds in a facilitator's `/supported` answer that are considered.
pub const KINDS: usize = 1024;
