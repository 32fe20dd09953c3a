//! Whose request it is, by address: the gateway's word for it, or the connection's.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderName, request};

use crate::{
    error::{ErrorCode, Failure},
    identity::{Part, Peer},
    listen::Connection,
};

pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client behind a request, as handlers ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

// === impl ClientAddress ===

impl ClientAddress {
    /// Only the gateway, by its certificate, is believed in what it forwards: anyone else who could
    /// write the header would be somebody new with every request.
    pub(crate) fn of(connection: &Connection, headers: &HeaderMap) -> Self {
        let remote = connection.remote.ip().to_canonical();
        if connection.peer != Some(Peer::Part(Part::Gateway)) {
            return Self(remote);
        }
        let said = headers.get(FORWARDED_FOR).and_then(|value| value.to_str().ok()?.parse().ok());
        Self(said.map_or(remote, |said: IpAddr| said.to_canonical()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Failure> {
        let connection = parts.extensions.get::<Connection>();
        // The listener sets it on every request.
        let connection =
            connection.ok_or_else(|| Failure::new(ErrorCode::Internal, "internal error"))?;
        Ok(Self::of(connection, &parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(peer: Option<Peer>, said: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in said {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let connection = Connection { peer, remote: "10.0.0.9:1".parse().unwrap() };
        ClientAddress::of(&connection, &headers).0.to_string()
    }

    #[test]
    fn the_gateway_says_who_the_client_is_and_nobody_else() {
        let gateway = Some(Peer::Part(Part::Gateway));
        assert_eq!(address(gateway, &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(address(gateway, &["::ffff:192.0.2.1"]), "192.0.2.1");
        for peer in [None, Some(Peer::Unknown), Some(Peer::Part(Part::Patient))] {
            assert_eq!(address(peer, &["192.0.2.1"]), "10.0.0.9", "{peer:?}");
        }
        for odd in [&[][..], &[""], &["x"], &["192.0.2.1, 192.0.2.2"]] {
            assert_eq!(address(gateway, odd), "10.0.0.9", "{odd:?}");
        }
    }
}
