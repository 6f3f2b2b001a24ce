use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use x402_core::crypto::keccak256;
use x402_core::domain;

/// The callers that a [`Service`](super::Service) answers, and the names under which they reach it.
///
/// A page in a browser can send requests to every service that its user's machine can reach, and under any
/// name that resolves there. So a body must be `application/json`, which pages of other origins cannot send.
/// A request with an `Origin` must be sent to that same origin. Names are checked if they are
/// [given](Self::with_hosts).
#[derive(Clone, Default)]
pub struct Callers {
    hosts: Option<Hosts>,
    /// Hashes of the tokens.
    tokens: Vec<[u8; 32]>,
}

/// The names and addresses under which a service is reached. Ports are ignored.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    names: Vec<String>,
    addresses: Vec<IpAddr>,
    any_address: bool,
    /// Whether addresses of private networks count: emulators and containers forward from them to loopback.
    private: bool,
}

impl Hosts {
    /// Returns the hosts of a listener: its own address, and `localhost`. A listener on every address does
    /// not know its own, so any address is a host. A listener on loopback also has the addresses of private
    /// IPv4 networks. Addresses are safe, because other parties can only redirect names.
    pub fn of(listener: SocketAddr) -> Self {
        let address = listener.ip().to_canonical();
        let mut addresses = vec![address];
        if address.is_loopback() {
            addresses
                .extend([IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])]);
        }
        let (any_address, private) = (address.is_unspecified(), address.is_loopback());
        Self { names: vec!["localhost".into()], addresses, any_address, private }
    }

    /// Adds a name or address, of a proxy for example. Returns `None` for other text, such as one with a
    /// port.
    pub fn with(mut self, name: &str) -> Option<Self> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(&name).parse::<IpAddr>() {
            self.addresses.push(address.to_canonical());
            return Some(self);
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || !name.bytes().all(plain) {
            return None;
        }
        self.names.push(name);
        Some(self)
    }

    /// Returns whether an authority, as in `Host`, is one of these.
    fn has(&self, authority: &str) -> bool {
        let Some((host, _)) = parted(authority) else { return false };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match bare.unwrap_or(&host).parse::<IpAddr>() {
            Ok(address) => {
                let address = address.to_canonical();
                let private = matches!(address, IpAddr::V4(address) if address.is_private());
                self.any_address || self.private && private || self.addresses.contains(&address)
            }
            Err(_) => self.names.contains(&host),
        }
    }
}

/// Returns the host, in lower case without a dot at its end, and the port of an authority without a user.
fn parted(authority: &str) -> Option<(String, Option<u16>)> {
    let authority = authority.parse::<Authority>().ok().filter(|it| !it.as_str().contains('@'))?;
    let host = authority.host();
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let rest = authority.as_str().get(authority.host().len()..).unwrap_or("");
    let port = match authority.port_u16() {
        None if !rest.is_empty() => return None,
        port => port,
    };
    (!host.is_empty()).then_some((host, port))
}

impl Callers {
    /// Admits only callers that use one of these names; others are answered 421.
    pub fn with_hosts(self, hosts: Hosts) -> Self {
        Self { hosts: Some(hosts), ..self }
    }

    /// Adds a token that callers may send (RFC 6750); without one, requests that cost something are answered
    /// 401. Several tokens are for the time in which one replaces another. An empty token admits no caller.
    pub fn with_token(mut self, token: &str) -> Self {
        if !token.is_empty() {
            self.tokens.push(hashed(token.as_bytes()));
        }
        self
    }

    /// Refuses a request under another name, or from a page of another origin.
    pub(super) fn check_way(&self, request: &Request) -> Option<Response> {
        let headers = request.headers();
        let host = only(headers, &HOST);
        if let Some(hosts) = &self.hosts {
            let target = request.uri().authority().is_none_or(|target| hosts.has(target.as_str()));
            if !target || !host.is_some_and(|host| hosts.has(host)) {
                let text = "this service is not known by that name: `hosts` lists its names";
                return Some((StatusCode::MISDIRECTED_REQUEST, text).into_response());
            }
        }
        if headers.contains_key(ORIGIN) && !is_same_origin(only(headers, &ORIGIN), host) {
            let text = "requests from pages of other origins are refused";
            return Some((StatusCode::FORBIDDEN, text).into_response());
        }
        None
    }

    /// Refuses a request of an unknown caller, and a body that is not JSON.
    pub(super) fn check_caller(&self, request: &Request) -> Option<Response> {
        let headers = request.headers();
        if !self.tokens.is_empty() {
            let token = only(headers, &AUTHORIZATION).and_then(bearer);
            if !token.is_some_and(|token| self.knows(token)) {
                let named =
                    if token.is_some() { "Bearer error=\"invalid_token\"" } else { "Bearer" };
                let asked = [(WWW_AUTHENTICATE, named)];
                let text = "a bearer token of this service is required";
                return Some((StatusCode::UNAUTHORIZED, asked, text).into_response());
            }
        }
        let is_json = || only(headers, &CONTENT_TYPE).is_some_and(is_json);
        if request.method() == Method::POST && !is_json() {
            let text = "Content-Type is not application/json";
            return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response());
        }
        None
    }

    /// Returns whether a token is known, in the same time for every token: all hashes are compared in full.
    fn knows(&self, token: &str) -> bool {
        let hash = hashed(token.as_bytes());
        let differs = |known: &[u8; 32]| {
            known.iter().zip(hash).fold(0, |differs, (known, byte)| differs | (known ^ byte))
        };
        self.tokens.iter().fold(false, |known, token| known | (differs(token) == 0))
    }
}

/// Leaves the tokens out.
impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callers")
            .field("hosts", &self.hosts)
            .field("tokens", &self.tokens.len())
            .finish()
    }
}

fn hashed(token: &[u8]) -> [u8; 32] {
    keccak256(&[domain::BEARER_TOKEN, token])
}

/// Returns a header that is present exactly once, as text.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?;
    if all.next().is_some() { None } else { first.to_str().ok() }
}

/// Returns the token of `Authorization: Bearer token`.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Returns whether a content type is `application/json`, with or without parameters.
fn is_json(value: &str) -> bool {
    let essence = value.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Returns whether an origin is that of the host. `null` never is.
fn is_same_origin(origin: Option<&str>, host: Option<&str>) -> bool {
    let Some((scheme, authority)) = origin.and_then(|origin| origin.split_once("://")) else {
        return false;
    };
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let parted = |authority| parted(authority).map(|(host, port)| (host, port.unwrap_or(usual)));
    parted(authority).is_some_and(|origin| host.and_then(parted) == Some(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_listener() {
        let of = |listener: &str| Hosts::of(listener.parse().unwrap());
        let all = of("0.0.0.0:1");
        let named = of("10.0.0.5:1").with("Pay.Example").unwrap().with("[2001:db8::1]").unwrap();
        for (hosts, host, expected) in [
            (of("127.0.0.1:4022"), "127.0.0.1:4022", true),
            (of("127.0.0.1:4022"), "127.0.0.1", true),
            (of("127.0.0.1:4022"), "localhost:9", true),
            (of("127.0.0.1:4022"), "LOCALHOST.:9", true),
            (of("127.0.0.1:4022"), "[::1]:4022", true),
            (of("[::1]:4022"), "127.0.0.1", true),
            (of("127.0.0.1:4022"), "[::ffff:127.0.0.1]", true),
            (of("127.0.0.1:4022"), "rebound.evil.example", false),
            (of("127.0.0.1:4022"), "localhost.evil.example", false),
            (of("127.0.0.1:4022"), "evil.localhost", false),
            (of("127.0.0.1:4022"), "127.0.0.1.evil.example", false),
            (of("127.0.0.1:4022"), "127.1", false),
            (of("127.0.0.1:4022"), "2130706433", false),
            (of("127.0.0.1:4022"), "10.0.0.5", true),
            (of("127.0.0.1:4022"), "6.6.6.6", false),
            (of("127.0.0.1:4022"), "localhost@evil.example", false),
            (of("127.0.0.1:4022"), "evil.example@localhost", false),
            (of("127.0.0.1:4022"), "localhost:port", false),
            (of("127.0.0.1:4022"), "", false),
            (of("127.0.0.1:4022"), ":4022", false),
            (all.clone(), "192.0.2.7:4022", true),
            (all.clone(), "[2001:db8::7]", true),
            (all.clone(), "evil.example", false),
            (all, "localhost", true),
            (named.clone(), "pay.example:443", true),
            (named.clone(), "[2001:DB8:0::1]:4022", true),
            (named.clone(), "10.0.0.5", true),
            (named.clone(), "10.0.0.6", false),
            (named, "a.pay.example", false),
        ] {
            assert_eq!(hosts.has(host), expected, "{hosts:?} {host}");
        }
        for wrong in ["", ".", "a:1", "http://a", "a/b", "*.a", "a b", "[a]", "é"] {
            assert!(Hosts::default().with(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn origins_of_the_same_host() {
        for (origin, host, expected) in [
            ("http://127.0.0.1:4022", "127.0.0.1:4022", true),
            ("https://pay.example", "pay.example", true),
            ("https://pay.example", "pay.example:443", true),
            ("http://pay.example", "PAY.example.:80", true),
            ("http://127.0.0.1:4023", "127.0.0.1:4022", false),
            ("http://127.0.0.1", "127.0.0.1:4022", false),
            ("http://evil.example", "127.0.0.1:4022", false),
            ("null", "127.0.0.1:4022", false),
            ("", "127.0.0.1:4022", false),
            ("file://", "127.0.0.1:4022", false),
            ("http://a@127.0.0.1:4022", "127.0.0.1:4022", false),
            ("chrome-extension://127.0.0.1", "127.0.0.1", false),
        ] {
            assert_eq!(is_same_origin(Some(origin), Some(host)), expected, "{origin} {host}");
        }
    }
}
