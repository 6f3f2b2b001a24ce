//! The HTTP transport without sockets: header names, and the values that go with a status.
//!
//! Names are written in the specification's case; HTTP compares them without it.
//! Source: `specs/transports-v1/http.md`, `specs/transports-v2/http.md`.

use crate::error::ParseError;
use crate::network::Version;

/// v2: the challenge, base64 of [`PaymentRequired`](crate::wire::PaymentRequired).
pub const PAYMENT_REQUIRED: &str = "PAYMENT-REQUIRED";

/// Status of a challenge, and of a refused payment.
pub const STATUS_PAYMENT_REQUIRED: u16 = 402;

/// `Cache-Control` of a challenge: it must never be served to somebody else.
pub const CACHE_CHALLENGE: &str = "no-store";

/// `Cache-Control` of a paid answer: it belongs to the one who paid.
pub const CACHE_PAID: &str = "private";

/// `Access-Control-Expose-Headers`, without which a browser's script sees neither challenge nor
/// receipt.
pub const EXPOSE_HEADERS: &str = "PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE";

/// `Access-Control-Allow-Headers`, without which a browser's script may not send a payment.
pub const ALLOW_HEADERS: &str = "PAYMENT-SIGNATURE, X-PAYMENT";

impl Version {
    /// The header that carries the payment, base64 of [`PaymentPayload`](crate::wire::PaymentPayload).
    pub const fn payment_header(self) -> &'static str {
        match self {
            Self::V1 => "X-PAYMENT",
            Self::V2 => "PAYMENT-SIGNATURE",
        }
    }

    /// The header that carries the receipt, base64 of [`SettleResponse`](crate::wire::SettleResponse).
    pub const fn receipt_header(self) -> &'static str {
        match self {
            Self::V1 => "X-PAYMENT-RESPONSE",
            Self::V2 => "PAYMENT-RESPONSE",
        }
    }
}

/// Finds the one payment among a request's headers, and the version its header speaks.
///
/// # Errors
/// [`ParseError::TwoPayments`] if there is more than one, in whatever header.
///
/// ```
/// use x402_core::{http, Version};
/// let headers = [("accept", "*/*"), ("payment-signature", "eyJ4...")];
/// let found = http::payment(headers.iter().map(|(n, v)| (*n, v.as_bytes())))?;
/// assert_eq!(found, Some((Version::V2, &b"eyJ4..."[..])));
/// # Ok::<(), x402_core::ParseError>(())
/// ```
pub fn payment<'h>(
    headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
) -> Result<Option<(Version, &'h [u8])>, ParseError> {
    let mut found = None;
    for (name, value) in headers {
        let version = [Version::V2, Version::V1]
            .into_iter()
            .find(|version| name.eq_ignore_ascii_case(version.payment_header()));
        if let Some(version) = version {
            if found.is_some() {
                return Err(ParseError::TwoPayments);
            }
            found = Some((version, value));
        }
    }
    Ok(found)
}
