//! Headers that tell a server behind the client's address, the host and the scheme. Only this proxy sets
//! them.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::header::{FORWARDED, HOST, HeaderName, HeaderValue, VIA};
use axum::http::request::Parts;
use axum::http::uri::Authority;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Starts of names of headers that tell servers the client or the target.
const FAMILIES: [&str; 15] = [
    "x-forwarded",
    "x-forward-",
    "forwarded",
    "x-original-",
    "x-originating-",
    "x-rewrite-",
    "x-envoy-",
    "x-appengine-",
    "cf-",
    "x-auth-request-",
    "x-webauth-",
    "x-accel-",
    "x-arr-",
    "x-waws-",
    "x-client-cert",
];

/// Parts of further such names, of any proxy.
const PARTS: [&str; 12] = [
    "-forwarded-",
    "-forwarder-",
    "client-ip",
    "clientip",
    "connecting-ip",
    "connection-ip",
    "real-ip",
    "remote-addr",
    "remote-ip",
    "remote-user",
    "ssl-client-",
    "-override",
];

/// Further such names. CGI reads `Proxy` as a proxy's address.
const NAMES: [&str; 17] = [
    "via",
    "proxy",
    "x-real-port",
    "x-client-port",
    "fastly-client",
    "x-azure-socketip",
    "x-proxyuser-ip",
    "x-host",
    "x-backend-host",
    "x-scheme",
    "x-url-scheme",
    "front-end-https",
    "x-proxy-url",
    "cdn-src-ip",
    "x-ip",
    "x-custom-ip-authorization",
    "x-http-method",
];

/// Removes these headers from the request, and adds the true ones.
pub(super) fn told(parts: &mut Parts) {
    let host = host(parts);
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|peer| peer.ip().to_canonical());
    let headers = &mut parts.headers;
    let names: Vec<_> = headers.keys().filter(|name| is_ours(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
    // RFC 7239: IPv6 in brackets and quotes. A host may have a colon, so it is in quotes too.
    let mut forwarded = match peer {
        Some(IpAddr::V6(peer)) => format!("for=\"[{peer}]\";"),
        Some(peer) => format!("for={peer};"),
        None => String::new(),
    };
    if let Some(host) = &host {
        forwarded += &format!("host=\"{host}\";");
    }
    forwarded += "proto=http";
    let all = [
        (FORWARDED, Some(forwarded)),
        (FORWARDED_FOR, peer.map(|peer| peer.to_string())),
        (FORWARDED_HOST, host),
        (FORWARDED_PROTO, Some("http".into())),
        (VIA, Some("1.1 x402".into())),
    ];
    for (name, value) in all {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(name, value);
        }
    }
}

/// The host of the request, if it is valid.
fn host(parts: &Parts) -> Option<String> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok()?,
        (None, _) => parts.uri.authority()?.as_str(),
        _ => return None,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let host = host.parse::<Authority>().ok()?;
    host.as_str().bytes().all(plain).then(|| host.to_string())
}

/// Whether only this proxy may write a header. Some servers read `X_Forwarded_For` as `X-Forwarded-For`.
fn is_ours(name: &HeaderName) -> bool {
    let name: String = name
        .as_str()
        .chars()
        .map(|next| if next.is_ascii_alphanumeric() { next } else { '-' })
        .collect();
    FAMILIES.iter().any(|family| name.starts_with(family))
        || PARTS.iter().any(|part| name.contains(part))
        || NAMES.contains(&name.as_str())
}
