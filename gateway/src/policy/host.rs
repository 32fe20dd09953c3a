//! Names of hosts, as they stand in `Host` and in origins.

use std::net::Ipv6Addr;

/// RFC 1035, 2.3.4: a name, and a label of it, are no longer.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Host and port of `host[:port]`; none when it is not exactly of that form. An address of IPv6
/// keeps its brackets.
pub(crate) fn parse(text: &str) -> Option<(&str, Option<u16>)> {
    let end = match text.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(end);
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(number(port)?),
        None if rest.is_empty() => None,
        None => return None,
    };
    is_host(host).then_some((host, port))
}

fn is_host(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(address) => address.trim_end_matches(']').parse::<Ipv6Addr>().is_ok(),
        None => text.len() <= NAME_BYTES_MAX && text.split('.').all(is_label),
    }
}

/// RFC 1123, 2.1: letters, digits, and hyphens within.
fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A port as it is written: from 1, without a sign or leading zeros.
fn number(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_addresses_are_hosts_with_or_without_a_port() {
        for (text, host, port) in [
            ("localhost", "localhost", None),
            ("api.Example.org:8443", "api.Example.org", Some(8443)),
            ("192.0.2.1:1", "192.0.2.1", Some(1)),
            ("[2001:db8::1]", "[2001:db8::1]", None),
            ("[::1]:65535", "[::1]", Some(65_535)),
            ("a-b.c", "a-b.c", None),
        ] {
            assert_eq!(parse(text), Some((host, port)));
        }
    }

    #[test]
    fn nothing_else_is() {
        let (label, name) = ("a".repeat(64), "a.".repeat(127));
        for text in [
            "",
            ":80",
            "x:",
            "x:0",
            "x:080",
            "x:+80",
            "x:65536",
            "x:80:80",
            "x y",
            "x/y",
            "x\\y",
            "user@x",
            "x.",
            ".x",
            "x..y",
            "-x",
            "x-",
            "x_y",
            "x?",
            "x#",
            "x\r\nY: z",
            "*",
            "é",
            "[",
            "[]",
            "[::1",
            "[::1]]",
            "[::1]x",
            "[::1]:",
            "[1.2.3.4]",
            "[::1%25eth0]",
            "::1",
            &label,
            &name,
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_passes_is_put_together_from_its_parts(text in ".{0,40}") {
            if let Some((host, port)) = parse(&text) {
                let port = port.map_or(String::new(), |port| format!(":{port}"));
                prop_assert_eq!(format!("{host}{port}"), text);
            }
        }
    }
}
