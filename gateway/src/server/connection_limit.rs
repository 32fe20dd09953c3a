//! How many clients are connected: all together, and from one address.
//!
//! What is remembered is one number for each address that is connected, so it is bounded by the
//! connections themselves.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shared_middleware::rate_limit::client_network;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::policy::client_ip::TrustedProxies;

/// The limits of open connections.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    all: Arc<Semaphore>,
    /// At most this many from one address; none: no limit of its own.
    per_client_max: Option<usize>,
    /// Those behind a balancer are not one client.
    proxies: Arc<TrustedProxies>,
    of_client: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place in the limit, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    limit: Arc<ConnectionLimit>,
    /// Whose, where that is counted.
    client: Option<IpAddr>,
    _permit: OwnedSemaphorePermit,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitReached {
    /// There are too many clients.
    Total,
    /// This client has too many connections.
    Client,
    /// The process has hardly any file descriptors left.
    Descriptors,
}

// === impl ConnectionLimit ===

impl ConnectionLimit {
    /// For this many, and of those this many from one address: 0 is no bound.
    pub(crate) fn new(all: usize, per_client_max: usize, proxies: Arc<TrustedProxies>) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            per_client_max: (per_client_max > 0).then_some(per_client_max),
            proxies,
            of_client: Mutex::default(),
        }
    }

    /// Lets in a connection from this address.
    pub(crate) fn admit(
        self: &Arc<Self>,
        remote: IpAddr,
    ) -> Result<ConnectionPermit, LimitReached> {
        let permit = Arc::clone(&self.all).try_acquire_owned().map_err(|_| LimitReached::Total)?;
        let counted = self.per_client_max.filter(|_| !self.proxies.trusts(remote.to_canonical()));
        let client = counted.map(|max| self.count(client_network(remote), max)).transpose()?;
        Ok(ConnectionPermit { limit: Arc::clone(self), client, _permit: permit })
    }

    fn count(&self, client: IpAddr, max: usize) -> Result<IpAddr, LimitReached> {
        let mut of_client = self.of_client();
        let count = of_client.entry(client).or_default();
        if *count >= max {
            return Err(LimitReached::Client);
        }
        *count += 1;
        Ok(client)
    }

    /// Anyone who panicked with it left it as good as before: every change is one assignment.
    fn of_client(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.of_client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl ConnectionPermit ===

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        let mut of_client = self.limit.of_client();
        if let Some(count) = of_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                of_client.remove(&client);
            }
        }
    }
}

// === impl LimitReached ===

impl LimitReached {
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
    use crate::policy::client_ip::parse_network;

    fn limit(all: usize, per_client_max: usize) -> Arc<ConnectionLimit> {
        let proxies = TrustedProxies::new(vec![parse_network("10.0.0.0/8").unwrap()]);
        Arc::new(ConnectionLimit::new(all, per_client_max, Arc::new(proxies)))
    }

    fn admitted(
        limit: &Arc<ConnectionLimit>,
        from: &str,
    ) -> Result<ConnectionPermit, LimitReached> {
        limit.admit(from.parse().unwrap())
    }

    #[test]
    fn one_client_takes_no_more_than_its_share_and_gets_it_back() {
        let limit = limit(10, 2);
        let first = admitted(&limit, "192.0.2.1").unwrap();
        let _second = admitted(&limit, "::ffff:192.0.2.1").unwrap();
        assert_eq!(admitted(&limit, "192.0.2.1").unwrap_err(), LimitReached::Client);
        let _other = admitted(&limit, "192.0.2.2").unwrap();
        drop(first);
        admitted(&limit, "192.0.2.1").unwrap();
    }

    #[test]
    fn a_whole_network_of_ipv6_is_one_client() {
        let limit = limit(10, 1);
        let _first = admitted(&limit, "2001:db8:1:2::1").unwrap();
        assert_eq!(admitted(&limit, "2001:db8:1:2::2").unwrap_err(), LimitReached::Client);
        admitted(&limit, "2001:db8:1:3::1").unwrap();
    }

    #[test]
    fn a_balancer_is_many_clients_and_all_together_have_a_bound() {
        let limit = limit(3, 1);
        let permits: Vec<_> = (0..3).map(|_| admitted(&limit, "10.1.2.3").unwrap()).collect();
        assert_eq!(admitted(&limit, "10.1.2.3").unwrap_err(), LimitReached::Total);
        assert_eq!(admitted(&limit, "192.0.2.1").unwrap_err(), LimitReached::Total);
        drop(permits);
        admitted(&limit, "192.0.2.1").unwrap();
    }

    #[test]
    fn without_a_bound_nobody_is_counted() {
        let limit = limit(5, 0);
        let _places: Vec<_> = (0..5).map(|_| admitted(&limit, "192.0.2.1").unwrap()).collect();
        assert!(limit.of_client().is_empty());
    }

    #[test]
    fn who_has_left_is_not_remembered() {
        let limit = limit(100_000, 5);
        for n in 0..50_000_u32 {
            drop(limit.admit(IpAddr::V4(n.into())).unwrap());
        }
        assert!(limit.of_client().is_empty());
    }
}
