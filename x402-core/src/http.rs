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

/// `Cache-Control` of a paid answer: it belongs to its payer.
pub const CACHE_PAID: &str = "private";

/// `Access-Control-Expose-Headers`, which a browser's script needs to see challenge and receipt.
pub const EXPOSE_HEADERS: &str = "PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE";

/// `Access-Control-Allow-Headers`, which a browser's script needs to send a payment.
pub const ALLOW_HEADERS: &str = "PAYMENT-SIGNATURE, X-PAYMENT";

impl Version {
    /// Returns the header that carries the payment, base64 of
    /// [`PaymentPayload`](crate::wire::PaymentPayload).
    pub const fn payment_header(self) -> &'static str {
        match self {
            Self::V1 => "X-PAYMENT",
            Self::V2 => "PAYMENT-SIGNATURE",
        }
    }

    /// Returns the header that carries the receipt, base64 of
    /// [`SettleResponse`](crate::wire::SettleResponse).
    pub const fn receipt_header(self) -> &'static str {
        match self {
            Self::V1 => "X-PAYMENT-RESPONSE",
            Self::V2 => "PAYMENT-RESPONSE",
        }
    }
}

/// Returns the Unix seconds of a `Date` header (RFC 9110 §5.6.7, the one form that is sent today),
/// for a board without a clock. It is the other side's word: a payment that expires in minutes by a
/// clock that is years ahead can be settled for years.
///
/// ```
/// use x402_core::http;
/// assert_eq!(http::unix_time("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
/// assert_eq!(http::unix_time("Sunday, 06-Nov-94 08:49:37 GMT"), None);
/// ```
pub fn unix_time(date: &str) -> Option<u64> {
    // Days in the month, and before it.
    const MONTHS: [(&[u8; 3], u32, u32); 12] = [
        (b"Jan", 31, 0),
        (b"Feb", 29, 31),
        (b"Mar", 31, 59),
        (b"Apr", 30, 90),
        (b"May", 31, 120),
        (b"Jun", 30, 151),
        (b"Jul", 31, 181),
        (b"Aug", 31, 212),
        (b"Sep", 30, 243),
        (b"Oct", 31, 273),
        (b"Nov", 30, 304),
        (b"Dec", 31, 334),
    ];
    let (_, date) = date.as_bytes().split_at_checked(5)?;
    let &[d, e, b' ', m, n, o, b' ', y, e1, a, r, b' ', h, i, b':', j, k, b':', s, t, ref gmt @ ..] =
        date
    else {
        return None;
    };
    // The arithmetic below cannot wrap: the numbers have two digits, and the year four.
    let pair = |tens: u8, ones: u8| {
        let digits = tens.is_ascii_digit() && ones.is_ascii_digit();
        let [tens, ones] = [tens, ones].map(|digit| u32::from(digit.wrapping_sub(b'0')));
        digits.then(|| tens.wrapping_mul(10).wrapping_add(ones))
    };
    let month = MONTHS.iter().position(|(name, ..)| **name == [m, n, o])?;
    let (_, days_in_month, days_before) = MONTHS.get(month)?;
    let (year, day) = (pair(y, e1)?.wrapping_mul(100).wrapping_add(pair(a, r)?), pair(d, e)?);
    let (hours, minutes, seconds) = (pair(h, i)?, pair(j, k)?, pair(s, t)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if !(1..=*days_in_month).contains(&day)
        || (month == 1 && day == 29 && !is_leap)
        || (hours > 23 || minutes > 59 || seconds > 60)
        || year < 1970
        || gmt != b" GMT"
    {
        return None;
    }
    // Leap days up to the year before, 477 of them before 1970, and that of this year.
    let before = year.wrapping_sub(1);
    let leap_days = (before / 4).wrapping_sub(before / 100).wrapping_add(before / 400);
    let leap_days = leap_days.wrapping_sub(477).wrapping_add((is_leap && month > 1).into());
    let days = year.wrapping_sub(1970).wrapping_mul(365).wrapping_add(leap_days);
    let days = days.wrapping_add(*days_before).wrapping_add(day).wrapping_sub(1);
    let seconds =
        hours.wrapping_mul(60).wrapping_add(minutes).wrapping_mul(60).wrapping_add(seconds);
    Some(u64::from(days).wrapping_mul(86_400).wrapping_add(seconds.into()))
}

/// The version of the header that a payment came in, `None` for both, and the header's value.
pub type Carried<'h> = (Option<Version>, &'h [u8]);

/// Finds the one payment among a request's headers, and the version its header speaks. The version is
/// `None` if the payment is in both headers, as some clients send it.
///
/// # Errors
/// [`ParseError::TwoPayments`] if there is more than one: two headers of one name, or two that differ by
/// a byte.
///
/// ```
/// use x402_core::{http, Version};
/// let headers = [("accept", "*/*"), ("payment-signature", "eyJ4...")];
/// let found = http::payment(headers.iter().map(|(n, v)| (*n, v.as_bytes())))?;
/// assert_eq!(found, Some((Some(Version::V2), &b"eyJ4..."[..])));
/// # Ok::<(), x402_core::ParseError>(())
/// ```
pub fn payment<'h>(
    headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
) -> Result<Option<Carried<'h>>, ParseError> {
    let mut found: Option<Carried<'h>> = None;
    for (name, value) in headers {
        let version = [Version::V2, Version::V1]
            .into_iter()
            .find(|version| name.eq_ignore_ascii_case(version.payment_header()));
        if version.is_some() {
            found = match found {
                None => Some((version, value)),
                Some((Some(before), same)) if Some(before) != version && same == value => {
                    Some((None, value))
                }
                Some(_) => return Err(ParseError::TwoPayments),
            };
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    #[cfg_attr(miri, ignore = "ninety thousand days")]
    fn every_day_of_two_centuries_and_a_half() {
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let names = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";
        let mut days = 0;
        for year in 1970..2220 {
            let is_leap = year % 4 == 0 && year % 100 != 0 || year % 400 == 0;
            for (month, (length, name)) in lengths.iter().zip(names.split(' ')).enumerate() {
                let length = length + u64::from(month == 1 && is_leap);
                let text = |day| format!("Xyz, {day:02} {name} {year} 23:59:60 GMT");
                for day in 1..=length {
                    days += 1;
                    assert_eq!(unix_time(&text(day)), Some(days * 86_400));
                }
                assert_eq!(unix_time(&text(0)), None);
                assert_eq!(unix_time(&text(length + 1)), None);
            }
        }
        assert_eq!(unix_time("Fri, 31 Dec 9999 23:59:59 GMT"), Some(253_402_300_799));
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 0000 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(unix_time(text), None, "{text}");
        }
    }
}
