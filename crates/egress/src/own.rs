//! The addresses that this process itself listens on: a request to one of them would come back
//! in, and around again.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, OnceLock};

/// The listeners of this process, once they are bound. Clones share what is set.
#[derive(Clone, Debug, Default)]
pub struct Own(Arc<OnceLock<Vec<SocketAddr>>>);

impl Own {
    /// Names the listeners' addresses, once; an unspecified one (`0.0.0.0`, `[::]`) stands for
    /// every address of this machine.
    pub fn set(&self, listeners: Vec<SocketAddr>) {
        // A process binds its listeners once.
        let _set_before = self.0.set(listeners);
    }

    pub(crate) fn listens_on(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        let meets = |listener: &SocketAddr| {
            listener.port() == port && is_met(listener.ip().to_canonical(), address)
        };
        self.0.get().is_some_and(|all| all.iter().any(meets))
    }
}

/// Two are the same when they share what is set.
impl PartialEq for Own {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Whether a connection to `address` ends at a listener on `bound`.
fn is_met(bound: IpAddr, address: IpAddr) -> bool {
    if bound.is_unspecified() {
        return is_here(address);
    }
    // The system takes an unspecified destination for loopback.
    bound == address || (address.is_unspecified() && bound.is_loopback())
}

/// Whether an address is one of this machine: only such a one can be bound. Nothing is sent.
fn is_here(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified() || UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(listener: &str, address: &str, port: u16, expected: bool) {
        let own = Own::default();
        own.set(vec![listener.parse().unwrap()]);
        let found = own.listens_on(address.parse().unwrap(), port);
        assert_eq!(found, expected, "{listener} {address}:{port}");
    }

    #[test]
    fn what_leads_back_is_known() {
        check("127.0.0.1:80", "127.0.0.1", 80, true);
        check("127.0.0.1:80", "::ffff:127.0.0.1", 80, true);
        check("127.0.0.1:80", "0.0.0.0", 80, true);
        check("127.0.0.1:80", "127.0.0.1", 81, false);
        check("127.0.0.1:80", "127.0.0.2", 80, false);
        check("0.0.0.0:80", "127.0.0.2", 80, true);
        check("[::]:80", "127.0.0.1", 80, true);
        check("[::]:80", "::1", 80, true);
        // TEST-NET-3 is no address of any machine.
        check("0.0.0.0:80", "203.0.113.1", 80, false);
        check("203.0.113.1:80", "203.0.113.1", 80, true);
    }

    #[test]
    fn nothing_is_own_before_it_is_bound() {
        assert!(!Own::default().listens_on("127.0.0.1".parse().unwrap(), 80));
    }
}
