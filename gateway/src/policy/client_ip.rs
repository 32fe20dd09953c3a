//! Who the client is: the other end of the connection or, where that is a balancer of ours, anyone
//! who the balancer says it is.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network: 10.0.0.0/8, 2001:db8::/32, or an address is wanted")]
pub struct InvalidNetwork(String);

/// Balancers whose word on the client is taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies(Vec<IpNet>);

/// Reads a network; an address alone is a network of one.
pub fn parse_network(text: &str) -> Result<IpNet, InvalidNetwork> {
    let one = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| one()).map_err(|_| InvalidNetwork(text.to_owned()))
}

// === impl TrustedProxies ===

impl TrustedProxies {
    pub(crate) const fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// The client of a request that came from this address.
    ///
    /// Each balancer appends the address that it got the request from to `X-Forwarded-For`; what is
    /// before that may be anybody's word. So the list is read from its end, for as long as those
    /// who wrote are trusted. What is no address ends it: then the last who is known is taken.
    pub(crate) fn client(&self, remote: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = remote.to_canonical();
        if !self.trusts(client) {
            return client;
        }
        let values: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
        let said = values.iter().rev().flat_map(|value| value.as_bytes().rsplit(|&b| b == b','));
        for said in said {
            let said = std::str::from_utf8(said).ok().and_then(|text| address(text.trim()));
            let Some(said) = said else { return client };
            client = said.to_canonical();
            if !self.trusts(client) {
                return client;
            }
        }
        client
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address as balancers write it: alone, or with the port that the client came from. Not by the
/// port is somebody distinguished.
fn address(text: &str) -> Option<IpAddr> {
    let alone = || text.parse().ok();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok();
    alone().or_else(|| with_port().map(|it| it.ip())).or_else(|| bracketed().map(IpAddr::from))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(remote: &str, said: &[&str]) -> String {
        let networks = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"];
        let proxies = TrustedProxies::new(networks.map(|it| parse_network(it).unwrap()).to_vec());
        let mut headers = HeaderMap::new();
        for value in said {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        proxies.client(remote.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn a_stranger_does_not_say_who_it_is() {
        assert_eq!(client("198.51.100.1", &["203.0.113.9"]), "198.51.100.1");
        assert_eq!(client("198.51.100.1", &[]), "198.51.100.1");
    }

    #[test]
    fn a_balancers_word_is_taken_and_nobody_elses() {
        assert_eq!(client("10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("::ffff:10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
        // What the client itself wrote stands before what the balancer wrote.
        assert_eq!(client("10.1.2.3", &["127.0.0.1, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.1.2.3", &["127.0.0.1", "203.0.113.9"]), "203.0.113.9");
        // Two balancers, one behind the other.
        assert_eq!(client("10.1.2.3", &["1.1.1.1, 203.0.113.9, 192.0.2.7"]), "203.0.113.9");
        assert_eq!(client("2001:db8::1", &["2001:db9::5"]), "2001:db9::5");
    }

    #[test]
    fn what_is_no_address_ends_the_list() {
        assert_eq!(client("10.1.2.3", &["203.0.113.9, unknown"]), "10.1.2.3");
        assert_eq!(client("10.1.2.3", &[""]), "10.1.2.3");
        for odd in ["203.0.113.9:", "203.0.113.9:65536", "[203.0.113.9]", "[2001:db9::5", "x:80"] {
            assert_eq!(client("10.1.2.3", &[odd]), "10.1.2.3", "{odd}");
        }
    }

    #[test]
    fn balancers_that_write_ports_tell_clients_apart_by_their_addresses() {
        for (said, it) in [
            ("203.0.113.20:5050", "203.0.113.20"),
            ("203.0.113.20:5051", "203.0.113.20"),
            ("[2001:db9::1]:443", "2001:db9::1"),
            ("[2001:db9::1]", "2001:db9::1"),
            ("1.1.1.1:1, 203.0.113.9:2, 192.0.2.7:3", "203.0.113.9"),
        ] {
            assert_eq!(client("10.1.2.3", &[said]), it, "{said}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "x", "10.0.0.0/-1", "10.0.0.0/8/8"] {
            assert!(parse_network(text).is_err(), "{text}");
        }
        assert_eq!(parse_network("192.0.2.7").unwrap().to_string(), "192.0.2.7/32");
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(text in "[ -~]{0,60}") {
            if text.parse::<http::HeaderValue>().is_ok() {
                client("10.1.2.3", &[&text]);
            }
        }
    }
}
