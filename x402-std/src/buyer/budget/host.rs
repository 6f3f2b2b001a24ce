use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Why a text is not a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostError {
    /// The text has more than a host and a port, or less.
    Form,
    /// The text has a wildcard.
    Wildcard,
    /// The text has characters that URLs encode.
    Encoding,
    /// The text is an IP address, not written in full.
    Address,
    /// The port is not a number from 1 to 65535.
    Port,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "not a host: write NAME or NAME:PORT, such as api.example.com",
            Self::Wildcard => "a host has no wildcards: give each host",
            Self::Encoding => {
                "not a host as URLs have it: write it in ASCII, with xn-- for other letters"
            }
            Self::Address => "not an IP address in full: write 127.0.0.1, or [::1] with brackets",
            Self::Port => "the port of the host is not a number from 1 to 65535: correct it",
        })
    }
}

impl std::error::Error for HostError {}

/// Reads a host that a person wrote, with a port or without, into the form of
/// [`Subject::host`](crate::transport::Subject::host). It is in lower case and without a final dot. The ports
/// 80 and 443 are left out, since URLs drop the scheme's own.
///
/// Other spellings of IP addresses (`127.1`, `0x7f.1`), percent signs and letters beyond ASCII are refused: a
/// limit or an allow-list with them would match nothing.
///
/// # Errors
/// [`HostError`], whose text shows the right form.
///
/// ```
/// use x402_std::buyer::budget::{HostError, host};
/// assert_eq!(host("API.example.com.:443")?, "api.example.com");
/// assert_eq!(host("[::1]:4021")?, "[::1]:4021");
/// assert_eq!(host("127.1"), Err(HostError::Address));
/// # Ok::<(), HostError>(())
/// ```
pub fn host(text: &str) -> Result<String, HostError> {
    if text.contains(['/', '@', '?', '#', '\\']) {
        return Err(HostError::Form);
    }
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let name = match name.strip_prefix('[') {
        Some(address) => ipv6(address.strip_suffix(']').ok_or(HostError::Address)?)?,
        None => domain(name)?,
    };
    let port = port.map(|port| {
        let is_number = port.bytes().all(|digit| digit.is_ascii_digit());
        port.parse::<u16>().ok().filter(|port| is_number && *port != 0).ok_or(HostError::Port)
    });
    Ok(match port.transpose()? {
        None | Some(80 | 443) => name,
        Some(port) => format!("{name}:{port}"),
    })
}

/// Formats an IPv6 address as URLs do: a mapped IPv4 address has hexadecimal numbers too.
fn ipv6(text: &str) -> Result<String, HostError> {
    let address: Ipv6Addr = text.parse().map_err(|_| HostError::Address)?;
    Ok(match (address.to_ipv4_mapped(), address.segments()) {
        (Some(_), [.., high, low]) => format!("[::ffff:{high:x}:{low:x}]"),
        _ => format!("[{address}]"),
    })
}

fn domain(text: &str) -> Result<String, HostError> {
    if text.contains('*') {
        return Err(HostError::Wildcard);
    }
    if text.contains(':') {
        return Err(if text.parse::<Ipv6Addr>().is_ok() {
            HostError::Address
        } else {
            HostError::Form
        });
    }
    if text.contains('%') || !text.is_ascii() {
        return Err(HostError::Encoding);
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_label = |label: &str| {
        let is_char = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && label.bytes().all(is_char)
    };
    if !name.split('.').all(is_label) {
        return Err(HostError::Form);
    }
    // URLs read a name that ends in a number as an address, with parts in any base.
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = match last.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|digit| digit.is_ascii_hexdigit()),
        None => last.bytes().all(|digit| digit.is_ascii_digit()),
    };
    if is_number && name.parse::<Ipv4Addr>().is_err() {
        return Err(HostError::Address);
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_urls_have_them_or_refused() {
        for (text, expected) in [
            ("api.example.com", Ok("api.example.com")),
            ("API.Example.com", Ok("api.example.com")),
            ("api.example.com.", Ok("api.example.com")),
            ("localhost.", Ok("localhost")),
            ("localhost.:4021", Ok("localhost:4021")),
            ("a_b.example.com:8443", Ok("a_b.example.com:8443")),
            ("api.example.com:443", Ok("api.example.com")),
            ("api.example.com:80", Ok("api.example.com")),
            ("api.example.com:0080", Ok("api.example.com")),
            ("xn--bcher-kva.example", Ok("xn--bcher-kva.example")),
            ("127.0.0.1:4021", Ok("127.0.0.1:4021")),
            ("127.0.0.1:80", Ok("127.0.0.1")),
            ("127.0.0.1.", Ok("127.0.0.1")),
            ("[::1]", Ok("[::1]")),
            ("[::1]:80", Ok("[::1]")),
            ("[0:0:0:0:0:0:0:1]:4021", Ok("[::1]:4021")),
            ("[2001:DB8::1]", Ok("[2001:db8::1]")),
            ("[::ffff:127.0.0.1]", Ok("[::ffff:7f00:1]")),
            ("", Err(HostError::Form)),
            (".", Err(HostError::Form)),
            ("a..b", Err(HostError::Form)),
            (".example.com", Err(HostError::Form)),
            ("example.com..", Err(HostError::Form)),
            ("https://example.com", Err(HostError::Form)),
            ("example.com/path", Err(HostError::Form)),
            ("a@example.com", Err(HostError::Form)),
            ("example.com?", Err(HostError::Form)),
            ("example.com#", Err(HostError::Form)),
            ("a b", Err(HostError::Form)),
            ("*", Err(HostError::Wildcard)),
            ("*.example.com", Err(HostError::Wildcard)),
            ("*:443", Err(HostError::Wildcard)),
            ("bücher.example", Err(HostError::Encoding)),
            ("ex%61mple.com", Err(HostError::Encoding)),
            ("127.1", Err(HostError::Address)),
            ("127.1:4021", Err(HostError::Address)),
            ("2130706433", Err(HostError::Address)),
            ("0x7f000001", Err(HostError::Address)),
            ("0x7f.0.0.1", Err(HostError::Address)),
            ("127.0.0.0x1", Err(HostError::Address)),
            ("0177.0.0.1", Err(HostError::Address)),
            ("127.0.0.256", Err(HostError::Address)),
            ("1.2.3.4.5", Err(HostError::Address)),
            ("[::1", Err(HostError::Address)),
            ("[::1%25lo]", Err(HostError::Address)),
            ("::", Err(HostError::Form)),
            ("example.com:", Err(HostError::Port)),
            ("example.com:0", Err(HostError::Port)),
            ("example.com:65536", Err(HostError::Port)),
            ("example.com:+80", Err(HostError::Port)),
            ("example.com:http", Err(HostError::Port)),
        ] {
            assert_eq!(host(text).as_deref(), expected.as_deref(), "{text}");
        }
    }

    /// A host reads as the host of its URL.
    #[cfg(feature = "client")]
    #[test]
    fn a_host_that_is_read_is_that_of_its_url() {
        for text in ["API.example.com", "a_b.test", "127.0.0.1", "[0:0::1]", "[::FFFF:1.2.3.4]"] {
            let url = url::Url::parse(&format!("https://{text}/")).unwrap();
            assert_eq!(Some(host(text).unwrap().as_str()), url.host_str(), "{text}");
        }
    }
}
