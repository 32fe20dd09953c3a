//! How many clients are connected: all together, and from one address.
//!
//! What is remembered is one number for each address that is connected, so it is bounded by the
//! connections themselves.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shared_middleware::rate_limit::household;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::client::TrustedProxies;

/// Room for connections.
#[derive(Debug)]
pub(crate) struct Room {
    all: Arc<Semaphore>,
    /// So many from one address; none: as many as there is room for.
    per_client_max: Option<usize>,
    /// Those behind a balancer are not one client.
    proxies: Arc<TrustedProxies>,
    of_client: Mutex<HashMap<IpAddr, usize>>,
}

/// Room for one, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    room: Arc<Room>,
    /// Whose, where that is counted.
    client: Option<IpAddr>,
    _permit: OwnedSemaphorePermit,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// There are too many clients.
    Total,
    /// This client has too many connections.
    Client,
    /// The process has hardly any file descriptors left.
    Descriptors,
}

// === impl Room ===

impl Room {
    /// For so many, and of those so many from one address: 0 is no bound.
    pub(crate) fn new(all: usize, per_client_max: usize, proxies: Arc<TrustedProxies>) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            per_client_max: (per_client_max > 0).then_some(per_client_max),
            proxies,
            of_client: Mutex::default(),
        }
    }

    /// Lets in a connection from this address.
    pub(crate) fn admit(self: &Arc<Self>, remote: IpAddr) -> Result<Place, Full> {
        let permit = Arc::clone(&self.all).try_acquire_owned().map_err(|_| Full::Total)?;
        let counted = self.per_client_max.filter(|_| !self.proxies.trusts(remote.to_canonical()));
        let client = counted.map(|max| self.count(household(remote), max)).transpose()?;
        Ok(Place { room: Arc::clone(self), client, _permit: permit })
    }

    fn count(&self, client: IpAddr, max: usize) -> Result<IpAddr, Full> {
        let mut of_client = self.of_client();
        let count = of_client.entry(client).or_default();
        if *count >= max {
            return Err(Full::Client);
        }
        *count += 1;
        Ok(client)
    }

    /// Whoever panicked with it left it as good as before: every change is one assignment.
    fn of_client(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.of_client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        let mut of_client = self.room.of_client();
        if let Some(count) = of_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                of_client.remove(&client);
            }
        }
    }
}

// === impl Full ===

impl Full {
    /// As metrics name it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Client => "client",
            Self::Descriptors => "descriptors",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::parse_network;

    fn room(all: usize, per_client_max: usize) -> Arc<Room> {
        let proxies = TrustedProxies::new(vec![parse_network("10.0.0.0/8").unwrap()]);
        Arc::new(Room::new(all, per_client_max, Arc::new(proxies)))
    }

    fn admitted(room: &Arc<Room>, from: &str) -> Result<Place, Full> {
        room.admit(from.parse().unwrap())
    }

    #[test]
    fn one_client_takes_no_more_than_its_share_and_gets_it_back() {
        let room = room(10, 2);
        let first = admitted(&room, "192.0.2.1").unwrap();
        let _second = admitted(&room, "::ffff:192.0.2.1").unwrap();
        assert_eq!(admitted(&room, "192.0.2.1").unwrap_err(), Full::Client);
        let _other = admitted(&room, "192.0.2.2").unwrap();
        drop(first);
        admitted(&room, "192.0.2.1").unwrap();
    }

    #[test]
    fn a_whole_network_of_ipv6_is_one_client() {
        let room = room(10, 1);
        let _first = admitted(&room, "2001:db8:1:2::1").unwrap();
        assert_eq!(admitted(&room, "2001:db8:1:2::2").unwrap_err(), Full::Client);
        admitted(&room, "2001:db8:1:3::1").unwrap();
    }

    #[test]
    fn a_balancer_is_many_clients_and_all_together_have_a_bound() {
        let room = room(3, 1);
        let places: Vec<_> = (0..3).map(|_| admitted(&room, "10.1.2.3").unwrap()).collect();
        assert_eq!(admitted(&room, "10.1.2.3").unwrap_err(), Full::Total);
        assert_eq!(admitted(&room, "192.0.2.1").unwrap_err(), Full::Total);
        drop(places);
        admitted(&room, "192.0.2.1").unwrap();
    }

    #[test]
    fn without_a_bound_nobody_is_counted() {
        let room = room(5, 0);
        let _places: Vec<_> = (0..5).map(|_| admitted(&room, "192.0.2.1").unwrap()).collect();
        assert!(room.of_client().is_empty());
    }

    #[test]
    fn who_has_left_is_not_remembered() {
        let room = room(100_000, 5);
        for n in 0..50_000_u32 {
            drop(room.admit(IpAddr::V4(n.into())).unwrap());
        }
        assert!(room.of_client().is_empty());
    }
}
