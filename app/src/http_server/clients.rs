//! Who has how many connections open, so that no client keeps all others out.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// The open connections of each client.
#[derive(Debug)]
pub(super) struct Clients {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    max: usize,
}

/// One connection of a client; dropping it makes room for another.
#[derive(Debug)]
pub(super) struct ClientPermit {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    client: IpAddr,
}

impl Clients {
    /// At most `max` connections for each.
    pub(super) fn new(max: usize) -> Self {
        let open = Arc::default();
        Self { open, max }
    }

    /// A permit for another connection from `address`, unless its client has as many as it may have.
    pub(super) fn admit(&self, address: IpAddr) -> Option<ClientPermit> {
        let client = client(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = open.entry(client).or_default();
        if *connections >= self.max {
            return None;
        }
        *connections += 1;
        let open = Arc::clone(&self.open);
        Some(ClientPermit { open, client })
    }
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut connections) = open.entry(self.client) {
            *connections.get_mut() -= 1;
            if *connections.get() == 0 {
                connections.remove();
            }
        }
    }
}

/// The client behind an address. Whoever has an IPv6 address usually has a network of 64 bits; an IPv4 address is the
/// same client when a socket for both shows it as IPv6.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_as_many_places_as_it_may_have_and_gets_them_back() {
        let clients = Clients::new(2);
        let admit = |address: &str| clients.admit(address.parse().unwrap());
        let (first, second) = (admit("192.0.2.1"), admit("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(admit("192.0.2.1").is_none(), "the same address, twice");
        assert!(admit("192.0.2.2").is_some(), "another one");
        drop(first);
        let third = admit("192.0.2.1");
        assert!(third.is_some() && admit("192.0.2.1").is_none());
        let network = (admit("2001:db8::1"), admit("2001:db8::2"));
        assert!(network.0.is_some() && network.1.is_some());
        assert!(admit("2001:db8::3").is_none(), "the same network");
        assert!(admit("2001:db8:0:1::3").is_some(), "another network");
        drop((second, third, network));
        assert!(clients.open.lock().unwrap().is_empty(), "nothing is kept");
    }
}
