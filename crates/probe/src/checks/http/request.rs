//! The request.

use std::net::SocketAddr;

use super::{Http, Method};
use crate::text::{push_ip, push_number};

/// Characters that a request target can't contain unencoded (RFC 3986, and what servers refuse).
const ENCODED: &[u8] = b"\"<>\\^`{|}";

/// Encodes `path` so that it can be sent.
pub(super) fn encode_path(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    let mut encoded = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        encoded.push('/');
    }
    for byte in path.bytes() {
        if byte.is_ascii_graphic() && !ENCODED.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Splits an `http` address into the host with its port, and the rest. None if it isn't one.
pub(super) fn split_url(url: &str) -> Option<(&str, &str)> {
    const SCHEME: &str = "http://";
    let scheme = url.get(..SCHEME.len())?;
    let rest = &url[SCHEME.len()..];
    let (origin, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
    let fits = scheme.eq_ignore_ascii_case(SCHEME)
        && !origin.is_empty()
        && !origin.starts_with(':')
        && origin.bytes().all(is_host);
    fits.then_some((origin, path))
}

/// The target of a request within its server.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The host and port that a proxy is to ask.
    origin: Option<String>,
    /// The value of `Host`.
    pub(super) host: String,
    pub(super) path: String,
}

/// Why a redirect isn't followed.
#[derive(Debug)]
pub(super) struct OtherScheme;

impl Place {
    pub(super) fn first(http: &Http, target: SocketAddr, tls: bool) -> Self {
        let host = http.host.clone().or_else(|| http.origin.clone()).unwrap_or_else(|| {
            // 255.255.255.255:65535
            let mut host = String::with_capacity(21);
            push_ip(&mut host, target.ip());
            if target.port() != if tls { 443 } else { 80 } {
                host.push(':');
                push_number(&mut host, target.port());
            }
            host
        });
        Self { origin: http.origin.clone(), host, path: http.path.clone() }
    }

    /// Where `Location: {location}` leads from here (RFC 3986, 5.2).
    pub(super) fn redirected(&self, location: &str, tls: bool) -> Result<Self, OtherScheme> {
        let scheme_end = location.find(':').filter(|end| {
            let scheme = &location[..*end];
            scheme.starts_with(|it: char| it.is_ascii_alphabetic())
                && scheme.bytes().all(|it| it.is_ascii_alphanumeric() || b"+-.".contains(&it))
        });
        let rest = match scheme_end {
            Some(end) => {
                let wanted = if tls { "https" } else { "http" };
                if !location[..end].eq_ignore_ascii_case(wanted) {
                    return Err(OtherScheme);
                }
                &location[end + 1..]
            }
            None => location,
        };
        if let Some(rest) = rest.strip_prefix("//") {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            let host = authority.rsplit('@').next().unwrap_or_default();
            let host = if host.is_empty() { &self.host } else { host };
            let host: String = host.chars().filter(char::is_ascii_graphic).collect();
            let origin = self.origin.as_ref().map(|_| host.clone());
            return Ok(Self { origin, host, path: encode_path(path) });
        }
        let (path, _) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let path = match rest.as_bytes().first() {
            Some(b'/') => rest.to_owned(),
            Some(b'?') => format!("{path}{rest}"),
            _ => format!("{}{rest}", &path[..=path.rfind('/').unwrap_or(0)]),
        };
        Ok(Self { path: encode_path(&path), ..self.clone() })
    }

    /// Appends the request.
    pub(super) fn write(&self, method: Method, out: &mut Vec<u8>) {
        let method: &str = match method {
            Method::Get => "GET ",
            Method::Head => "HEAD ",
        };
        // A proxy gets the whole address (RFC 9112, section 3.2.2).
        let (scheme, origin) = self.origin.as_deref().map_or(("", ""), |it| ("http://", it));
        for part in [
            method,
            scheme,
            origin,
            &self.path,
            " HTTP/1.1\r\nHost: ",
            &self.host,
            concat!("\r\nUser-Agent: health-probe/", env!("CARGO_PKG_VERSION")),
            "\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        ] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_encoded_where_a_request_could_not_have_them() {
        for (path, encoded) in [
            ("/", "/"),
            ("", "/"),
            ("check.txt", "/check.txt"),
            ("/a b", "/a%20b"),
            ("/a?b=c&d=%20", "/a?b=c&d=%20"),
            ("/a#b", "/a"),
            ("/\r\nEvil: 1", "/%0D%0AEvil:%201"),
            ("/é", "/%C3%A9"),
            ("/{x}", "/%7Bx%7D"),
        ] {
            assert_eq!(encode_path(path), encoded, "{path:?}");
        }
    }

    #[test]
    fn redirects_lead_where_rfc_3986_says() {
        let place = Place { origin: None, host: "a.example".into(), path: "/dir/page?q".into() };
        for (location, host, path) in [
            ("/x", "a.example", "/x"),
            ("x", "a.example", "/dir/x"),
            ("?r=1", "a.example", "/dir/page?r=1"),
            ("http://b.example/y#z", "b.example", "/y"),
            ("HTTP://b.example:81", "b.example:81", "/"),
            ("//c.example?q", "c.example", "/?q"),
            ("http://user:pass@d.example/", "d.example", "/"),
            ("http:///x", "a.example", "/x"),
        ] {
            let place = place.redirected(location, false).unwrap();
            assert_eq!((&*place.host, &*place.path), (host, path), "{location}");
        }
        assert!(place.redirected("https://a.example/", false).is_err());
        assert!(place.redirected("http://a.example/", true).is_err());
        assert!(place.redirected("ftp://a.example/", false).is_err());
    }

    #[test]
    fn a_proxy_gets_the_whole_address_and_redirects_keep_it() {
        let target = "10.0.0.1:3128".parse().unwrap();
        let line = |place: &Place| {
            let mut out = Vec::new();
            place.write(Method::Get, &mut out);
            String::from_utf8(out).unwrap().lines().take(2).collect::<Vec<_>>().join(" ")
        };
        let http = Http::proxied("http://a.example:81/x?y#z").unwrap();
        let first = Place::first(&http, target, false);
        assert_eq!(line(&first), "GET http://a.example:81/x?y HTTP/1.1 Host: a.example:81");
        let named = http.host("b.example").unwrap();
        let first = Place::first(&named, target, false);
        assert_eq!(line(&first), "GET http://a.example:81/x?y HTTP/1.1 Host: b.example");
        let next = first.redirected("/z", false).unwrap();
        assert_eq!(line(&next), "GET http://a.example:81/z HTTP/1.1 Host: b.example");
        let other = next.redirected("http://c.example", false).unwrap();
        assert_eq!(line(&other), "GET http://c.example/ HTTP/1.1 Host: c.example");
    }

    #[test]
    fn only_http_addresses_can_be_requested_from_a_proxy() {
        for (url, split) in [
            ("http://a.example", Some(("a.example", ""))),
            ("HTTP://[2001:db8::1]:8080/x", Some(("[2001:db8::1]:8080", "/x"))),
            ("http://a?b", Some(("a", "?b"))),
            ("https://a.example/", None),
            ("http://", None),
            ("http:///x", None),
            ("http://:80/", None),
            ("http://user@a.example/", None),
            ("http://a b/", None),
            ("/x", None),
            ("\u{e9}\u{e9}\u{e9}\u{e9}", None),
        ] {
            assert_eq!(split_url(url), split, "{url}");
        }
    }

    #[test]
    fn the_host_is_the_address_unless_another_one_is_named() {
        for (target, tls, host) in [
            ("10.10.10.102:80", false, "10.10.10.102"),
            ("10.10.10.102:443", true, "10.10.10.102"),
            ("10.10.10.102:443", false, "10.10.10.102:443"),
            ("[2001:db8::1]:80", false, "[2001:db8::1]"),
            ("[2001:db8::1]:81", false, "[2001:db8::1]:81"),
        ] {
            let place = Place::first(&Http::new("/"), target.parse().unwrap(), tls);
            assert_eq!(place.host, host);
        }
        let named = Http::new("/").host("www.example").unwrap();
        assert_eq!(Place::first(&named, "10.0.0.1:81".parse().unwrap(), false).host, "www.example");
        for host in ["", "a b", "a\r\nb", "a\0"] {
            assert!(Http::new("/").host(host).is_err(), "{host:?}");
        }
    }
}
