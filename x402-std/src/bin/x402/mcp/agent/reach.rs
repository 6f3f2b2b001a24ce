//! Hosts that a model may request: those that the person named, or else the public internet over https.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{AUTHORIZATION, COOKIE, HeaderMap, ORIGIN};
use reqwest::{Method, Request, Url};
use serde_json::Value;
use x402_std::buyer::budget::{HostError, host};
use x402_std::buyer::client::{HttpError, HttpTransport, is_private};
use x402_std::core::buyer::Decline;
use x402_std::transport::Transport;

use super::response::{bad_arguments, declined, insecure, no};

/// A host that the person named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// The form that budgets use.
    pub(super) host: String,
    /// Whether it may be requested over plain http.
    plain: bool,
}

impl Named {
    /// `api.example.com` is https; `http://api.example.com` is plain http too.
    pub(super) fn parse(text: &str) -> Result<Self, HostError> {
        let (plain, name) = match text.strip_prefix("http://") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let host = host(name)?;
        // This machine may be requested over http in any case, but only by a name that is certainly its own.
        let url = Url::parse(&format!("http://{host}/"));
        Ok(Self { plain: plain && !url.is_ok_and(|url| is_private(&url)), host })
    }
}

/// The hosts that may be requested.
pub(super) struct Reach {
    /// The hosts that the person named; `None` is the public internet.
    named: Option<Vec<Named>>,
    /// For hosts that are named.
    anywhere: HttpTransport,
    /// For public addresses only.
    public: HttpTransport,
}

impl Reach {
    pub(super) fn new(named: Option<Vec<Named>>) -> Result<Self, HttpError> {
        let plain = named.iter().flatten().filter(|named| named.plain);
        let anywhere = HttpTransport::new()?.with_plain_http_hosts(plain.map(|it| &*it.host));
        // This process must resolve names and connect itself: no proxy.
        let public = HttpTransport::configured(|builder| {
            let builder = builder.timeout(HttpTransport::TIMEOUT).no_proxy();
            builder.dns_resolver(Arc::new(PublicOnly))
        })?;
        Ok(Self { named, anywhere: anywhere.map_err(|_| HttpError::Setup)?, public })
    }

    /// Returns the transport for a request.
    ///
    /// # Errors
    /// An error for the model, if the host may not be requested.
    pub(super) fn to(&self, request: &Request) -> Result<&HttpTransport, Value> {
        self.check(request.url())?;
        if self.named.is_some() {
            return Ok(&self.anywhere);
        }
        if let Some(name) = authority(request.headers()) {
            return Err(bad_arguments(format_args!(
                "headers: {name} is sent only to hosts that the person names with --host"
            )));
        }
        Ok(&self.public)
    }

    /// Checks that a method may be sent for a quote; `x402_call` sends the others.
    pub(super) fn may_quote(&self, method: &Method) -> Result<(), Value> {
        let only_asks = matches!(*method, Method::GET | Method::HEAD);
        let is_plain =
            matches!(*method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE);
        if only_asks || self.named.is_some() && is_plain {
            return Ok(());
        }
        Err(no(
            "declined_method",
            "never",
            "x402_quote sends GET and HEAD, and POST, PUT, PATCH and DELETE only to hosts that the \
             person names with --host; x402_call with maxPrice sends the request and pays no more; \
             nothing was sent",
        ))
    }

    pub(super) fn may_be_asked(&self, url: &Url) -> bool {
        let is_plain = url.username().is_empty() && url.password().is_none();
        is_plain && matches!(url.scheme(), "http" | "https") && self.check(url).is_ok()
    }

    fn check(&self, url: &Url) -> Result<(), Value> {
        let Some(named) = &self.named else {
            return match (is_local(url), url.scheme()) {
                (Local::Machine, _) | (Local::Private, "https") => Err(private()),
                (_, "https") => Ok(()),
                _ => Err(insecure()),
            };
        };
        let host = self.anywhere.subject(&Request::new(Method::GET, url.clone())).host;
        let known = named.iter().filter(|named| named.host == host);
        let plain = known.map(|named| named.plain).reduce(|one, other| one || other);
        let plain = plain.ok_or_else(|| declined(&Decline::Host.into()))?;
        if plain || is_private(url) { Ok(()) } else { Err(insecure()) }
    }
}

/// Returns whether a request was held back because its host's name leads to this machine or a private
/// network.
pub(super) fn is_refused(error: &HttpError) -> bool {
    let mut cause: Option<&dyn Error> = error.source();
    while let Some(error) = cause {
        if error.is::<NotPublic>() {
            return true;
        }
        cause = error.source();
    }
    false
}

pub(super) fn private() -> Value {
    no(
        "declined_private",
        "never",
        "this machine and private networks are refused: ask the person to allow the host with its \
         port, as in --host 127.0.0.1:4021; nothing was sent",
    )
}

/// Returns the name of a header that carries rights.
fn authority(headers: &HeaderMap) -> Option<&str> {
    let is_one = |name: &&reqwest::header::HeaderName| {
        [AUTHORIZATION, COOKIE, ORIGIN].contains(name) || name.as_str().starts_with("proxy-")
    };
    headers.keys().find(is_one).map(|name| name.as_str())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Local {
    /// This machine.
    Machine,
    /// Another machine that is not public.
    Private,
    /// Public, as far as the name shows.
    Public,
}

/// Classifies a host by its name or address; [`PublicOnly`] checks the addresses of other names.
fn is_local(url: &Url) -> Local {
    let name = url.host_str().unwrap_or_default();
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
    if let Ok(address) = address.parse::<IpAddr>() {
        let machine = embedded(address).map_or(address, IpAddr::V4);
        return match (is_public(address), machine.is_loopback() || machine.is_unspecified()) {
            (true, _) => Local::Public,
            (false, true) => Local::Machine,
            (false, false) => Local::Private,
        };
    }
    let is_in = |zone: &str| name.strip_suffix(zone).is_some_and(|rest| rest.ends_with('.'));
    if name == "localhost" || is_in("localhost") {
        Local::Machine
    } else if !name.contains('.') || ["local", "internal", "home.arpa"].into_iter().any(is_in) {
        Local::Private
    } else {
        Local::Public
    }
}

/// Resolves a name to its public addresses, and fails if there are none. So the check covers the very address
/// that is connected to.
struct PublicOnly;

/// A name has addresses, and none of them is public.
#[derive(Debug)]
struct NotPublic;

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name leads to this machine or a private network")
    }
}

impl Error for NotPublic {}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let all = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = all.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic.into());
            }
            let addresses: Addrs = Box::new(public.into_iter());
            Ok(addresses)
        })
    }
}

/// Returns whether an address belongs to the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        // Public IPv6 addresses are in 2000::/3, which has special ranges too.
        IpAddr::V6(address) => {
            let [first, second, third, ..] = address.segments();
            let special = match first {
                // Protocols and tests, Teredo among them, and documentation.
                0x2001 => second < 0x200 || second == 0xdb8,
                0x3fff => second < 0x1000,
                0x2620 => second == 0x4f && third == 0x8000,
                _ => false,
            };
            match embedded(IpAddr::V6(address)) {
                Some(inner) => is_public_v4(inner),
                None => first & 0xe000 == 0x2000 && !special,
            }
        }
    }
}

/// Returns whether an address is outside IANA's special-purpose, multicast and reserved ranges.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224.., ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 31, 196)
            | (192, 52, 193)
            | (192, 88, 99)
            | (192, 168, _)
            | (192, 175, 48)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

/// Returns the IPv4 address that an IPv6 one stands for: mapped, compatible, 6to4 or through NAT64.
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        _ if address == Ipv6Addr::LOCALHOST => Some(Ipv4Addr::LOCALHOST),
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(of(high, low)),
        [0, 0, 0, 0, 0xffff, 0, high, low] => Some(of(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_public_is_known_by_its_address() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:0:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2002:c0a8:101::",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.1.1",
            "198.17.0.1",
            "223.255.255.254",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "2a00:1450::1",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    fn reach(named: &[&str]) -> Reach {
        let named: Vec<_> = named.iter().map(|text| Named::parse(text).unwrap()).collect();
        Reach::new((!named.is_empty()).then_some(named)).unwrap()
    }

    #[test]
    fn without_a_name_only_the_public_internet_is_asked() {
        let reach = reach(&[]);
        for (url, code) in [
            ("https://api.example.com/", None),
            ("https://API.example.com.:8443/", None),
            ("https://8.8.8.8/", None),
            ("http://api.example.com/", Some("declined_insecure")),
            ("http://192.168.1.1/", Some("declined_insecure")),
            ("http://127.0.0.1:4021/", Some("declined_private")),
            ("https://127.0.0.1/", Some("declined_private")),
            ("https://127.1/", Some("declined_private")),
            ("https://0x7f000001/", Some("declined_private")),
            ("https://2130706433/", Some("declined_private")),
            ("https://[::1]/", Some("declined_private")),
            ("https://[::ffff:127.0.0.1]/", Some("declined_private")),
            ("https://[::]/", Some("declined_private")),
            ("https://0/", Some("declined_private")),
            ("https://10.0.0.1/", Some("declined_private")),
            ("https://169.254.169.254/latest/meta-data", Some("declined_private")),
            ("https://[fe80::1]/", Some("declined_private")),
            ("https://[64:ff9b::a9fe:a9fe]/", Some("declined_private")),
            ("https://localhost/", Some("declined_private")),
            ("https://LOCALHOST./", Some("declined_private")),
            ("https://a.localhost/", Some("declined_private")),
            ("https://printer.local/", Some("declined_private")),
            ("https://printer.local./", Some("declined_private")),
            ("https://metadata.google.internal/", Some("declined_private")),
            ("https://router.home.arpa/", Some("declined_private")),
            ("https://intranet/", Some("declined_private")),
            ("https://intranet./", Some("declined_private")),
            ("https://local.example.com/", None),
            ("https://notlocal/", Some("declined_private")),
            ("https://thelocal.se/", None),
        ] {
            let told = reach.check(&url.parse().unwrap()).err();
            let told = told.as_ref().and_then(|told| told["error"].as_str());
            assert_eq!(told, code, "{url}");
        }
        for url in ["https://user@api.example.com/", "ftp://api.example.com/", "https://10.0.0.1/"]
        {
            assert!(!reach.may_be_asked(&url.parse().unwrap()), "{url}");
        }
    }

    #[test]
    fn a_name_means_https_unless_it_is_written_with_http() {
        let named = [
            "api.example.com",
            "http://board.example.com",
            "127.0.0.1:4021",
            "localhost:80",
            "http://localhost:81",
        ];
        let reach = reach(&named);
        for (url, code) in [
            ("https://api.example.com/", None),
            ("https://api.example.com.:443/", None),
            ("http://api.example.com/", Some("declined_insecure")),
            ("http://board.example.com/", None),
            ("https://board.example.com/", None),
            ("http://board.example.com:8080/", Some("declined_host")),
            ("http://127.0.0.1:4021/", None),
            ("https://127.0.0.1:4021/", None),
            ("http://127.0.0.1:4022/", Some("declined_host")),
            ("http://localhost/", None),
            ("http://localhost./", Some("declined_insecure")),
            ("http://localhost:81/", None),
            ("http://localhost.:81/", Some("declined_insecure")),
            ("http://localhost:4021/", Some("declined_host")),
            ("https://8.8.8.8/", Some("declined_host")),
        ] {
            let told = reach.check(&url.parse().unwrap()).err();
            let told = told.as_ref().and_then(|told| told["error"].as_str());
            assert_eq!(told, code, "{url}");
        }
        for text in ["https://api.example.com", "http://", "http://a/b", "*", "http://*.b", "127.1"]
        {
            assert!(Named::parse(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_not_connected_to() {
        let name: Name = "localhost".parse().unwrap();
        let Err(error) = PublicOnly.resolve(name).await else { panic!("it is public") };
        assert!(error.is::<NotPublic>());
        // Also where reqwest asks.
        let request = Request::new(Method::GET, "https://localhost:4021/".parse().unwrap());
        let error = reach(&[]).public.exchange(&request, None).await.unwrap_err();
        assert!(is_refused(&error), "{error}");
    }

    #[test]
    fn rights_are_not_lent_to_strangers() {
        for (name, is_lent) in [
            ("Authorization", false),
            ("cookie", false),
            ("Origin", false),
            ("Proxy-Authorization", false),
            ("proxy-connection", false),
            ("Accept", true),
            ("X-Api-Key", true),
        ] {
            let mut request = Request::new(Method::GET, "https://a.example.com/".parse().unwrap());
            let header: reqwest::header::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(header, "x".parse().unwrap());
            assert_eq!(reach(&[]).to(&request).is_ok(), is_lent, "{name}");
            assert!(reach(&["a.example.com"]).to(&request).is_ok(), "{name}");
        }
        for (method, without, with) in [
            (Method::GET, true, true),
            (Method::HEAD, true, true),
            (Method::POST, false, true),
            (Method::PUT, false, true),
            (Method::PATCH, false, true),
            (Method::DELETE, false, true),
            (Method::OPTIONS, false, false),
            (Method::TRACE, false, false),
            (Method::CONNECT, false, false),
            (Method::from_bytes(b"PROPFIND").unwrap(), false, false),
        ] {
            assert_eq!(reach(&[]).may_quote(&method).is_ok(), without, "{method}");
            assert_eq!(reach(&["a.test"]).may_quote(&method).is_ok(), with, "{method}");
        }
    }
}
