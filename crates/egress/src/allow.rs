//! The operator's list of hosts and networks that the guard opens.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use url::Host;

use crate::guard::Forbidden;
use crate::spelling::{parse_host, parse_port, split_port};

/// Hosts and networks that an operator opened by name.
///
/// Three forms: a network (`10.0.0.0/8`) opens its addresses to every name that resolves to them;
/// a host (`tools.corp.example`, `127.0.0.1`, `[::1]`) opens only itself, on every port; a host
/// with a port (`tools.corp.example:8443`) only that port. A host entry never opens another name
/// that resolves to the same address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    networks: Vec<IpNet>,
    hosts: Vec<(Host<String>, Option<u16>)>,
}

/// An entry of the allow-list that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("'{entry}' is no network (10.0.0.0/8), host or host:port: {why}")]
pub struct AllowError {
    entry: String,
    why: String,
}

impl AllowList {
    /// Reads the entries; blank ones are skipped.
    ///
    /// # Errors
    /// Names the first entry that is neither a network, a host nor `host:port`.
    pub fn parse<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<Self, AllowError> {
        let mut list = Self::default();
        for entry in entries {
            let entry = entry.as_ref().trim();
            if !entry.is_empty() {
                list.add(entry).map_err(|why| AllowError {
                    entry: entry.to_owned(),
                    why,
                })?;
            }
        }
        Ok(list)
    }

    /// True when nothing is opened.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.hosts.is_empty()
    }

    fn add(&mut self, entry: &str) -> Result<(), String> {
        if entry.contains('/') {
            let network = entry.parse().map_err(|_| "not a network".to_owned())?;
            self.networks.push(network);
            return Ok(());
        }
        let host = parse_entry(entry).map_err(|refused| refused.to_string())?;
        self.hosts.push(host);
        Ok(())
    }

    /// True when at least one network is listed.
    pub(crate) fn has_networks(&self) -> bool {
        !self.networks.is_empty()
    }

    /// True when a listed network holds this address.
    pub(crate) fn opens_address(&self, address: IpAddr) -> bool {
        self.networks
            .iter()
            .any(|network| network.contains(&address))
    }

    /// True when this very host, on this port, is listed.
    pub(crate) fn names(&self, host: &Host<String>, port: u16) -> bool {
        self.hosts
            .iter()
            .any(|(listed, at)| listed == host && at.is_none_or(|at| at == port))
    }
}

fn parse_entry(entry: &str) -> Result<(Host<String>, Option<u16>), Forbidden> {
    if let Ok(address) = entry.parse::<Ipv6Addr>() {
        return Ok((Host::Ipv6(address), None));
    }
    let (host, port) = split_port(entry)?;
    Ok((parse_host(host)?, port.map(parse_port).transpose()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(entry: &str, host: &str, port: u16) -> bool {
        let list = AllowList::parse([entry]).unwrap();
        list.names(&parse_host(host).unwrap(), port)
    }

    #[test]
    fn a_host_opens_itself_and_its_port_only() {
        assert!(names("tools.corp.example", "TOOLS.corp.example", 443));
        assert!(names("Tools.corp.example:8443", "tools.corp.example", 8443));
        assert!(!names("tools.corp.example:8443", "tools.corp.example", 443));
        assert!(!names("corp.example", "tools.corp.example", 443));
        assert!(!names("127.0.0.1:4101", "localhost", 4101));
        assert!(names("127.0.0.1:4101", "127.0.0.1", 4101));
        assert!(names("[::1]:4101", "[::1]", 4101));
        assert!(names("::1", "[::1]", 9));
    }

    #[test]
    fn a_network_opens_addresses() {
        let list = AllowList::parse(["127.0.0.0/8", " ", "fd00::/8"]).unwrap();
        assert!(list.opens_address("127.9.9.9".parse().unwrap()));
        assert!(list.opens_address("fd12::1".parse().unwrap()));
        assert!(!list.opens_address("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!list.opens_address("128.0.0.1".parse().unwrap()));
        assert!(!list.is_empty() && list.has_networks());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for entry in [
            "https://a.example",
            "10.0.0.0/33",
            "*.example",
            "a:0",
            "a:b",
            "0x7f.1",
            "a b",
        ] {
            let error = AllowList::parse([entry]).unwrap_err();
            assert!(
                error.to_string().starts_with(&format!("'{entry}'")),
                "{error}"
            );
        }
    }
}
