//! Which URLs are used at all.
//!
//! HTTPS anywhere. Plain HTTP only on this host, where a mirror or a test's server may be, and never
//! because of a redirect from elsewhere.

use std::net::{IpAddr, SocketAddr};

/// Whether `url` may be asked; `from` is what redirects there, if that is so. The error is why not.
pub(crate) fn check(url: &str, from: Option<&str>) -> Result<(), String> {
    let refused = |why: &str| match from {
        Some(from) => Err(format!("{from} redirects there, and {why}")),
        None => Err(why.to_owned()),
    };
    // A backslash is a slash to some readers of URLs.
    let Some((scheme, rest)) =
        url.split_once("://").filter(|_| url.bytes().all(|b| b.is_ascii_graphic() && b != b'\\'))
    else {
        return refused("it is no URL");
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match scheme {
        "https" | "http" if host.is_empty() => refused("it is no URL"),
        "https" => Ok(()),
        "http" if !is_loopback(host) => {
            refused("plain HTTP is taken only from a loopback address such as 127.0.0.1: use https")
        }
        "http" if from.is_some_and(|from| from.starts_with("https:")) => {
            refused("HTTPS is not left for plain HTTP")
        }
        "http" => Ok(()),
        _ => refused("only https is taken"),
    }
}

/// Whether a host, perhaps with a port, is an address of this host. A name is none: somebody else
/// may say what it means.
fn is_loopback(host: &str) -> bool {
    let address = host.parse::<SocketAddr>().map(|socket| socket.ip());
    let address = address.or_else(|_| host.trim_matches(['[', ']']).parse::<IpAddr>());
    address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://example.org/", None, None)]
    #[case("https://example.org/", Some("https://example.com/"), None)]
    #[case("https://example.org/", Some("http://127.0.0.1/"), None)]
    #[case("http://127.0.0.1/", None, None)]
    #[case("http://127.8.0.1:8080/a", None, None)]
    #[case("http://[::1]:8080/", Some("http://127.0.0.1/"), None)]
    #[case("http://[::1]/", None, None)]
    #[case("http://127.0.0.1/", Some("https://example.org/"), Some("HTTPS is not left"))]
    #[case("http://192.0.2.1/", Some("http://127.0.0.1/"), Some("redirects there, and plain HTTP"))]
    #[case("http://localhost/", None, Some("plain HTTP"))]
    #[case("http://127.0.0.1@example.org/", None, Some("plain HTTP"))]
    #[case("http://127.0.0.1:80@example.org/", None, Some("plain HTTP"))]
    #[case("http://127.0.0.1.example.org/", None, Some("plain HTTP"))]
    #[case("http://127.0.0.1\\@example.org/", None, Some("no URL"))]
    #[case("https://example.org/a b", None, Some("no URL"))]
    #[case("https:///a", None, Some("no URL"))]
    #[case("-o/etc/passwd", None, Some("no URL"))]
    #[case("ftp://127.0.0.1/x", Some("http://127.0.0.1/"), Some("only https"))]
    #[case("HTTP://example.org/", None, Some("only https"))]
    fn where_images_may_come_from(
        #[case] url: &str,
        #[case] from: Option<&str>,
        #[case] refusal: Option<&str>,
    ) {
        match (check(url, from), refusal) {
            (Ok(()), None) => {}
            (Err(why), Some(words)) => assert!(why.contains(words), "{why}"),
            (result, _) => panic!("{result:?}"),
        }
    }
}
