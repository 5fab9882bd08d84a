//! The verdict on a URL and on each address that it resolves to. Pure: no DNS, no sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::allow::AllowList;
use crate::own::Own;
use crate::ranges::{Scope, kind_of};

/// Whose URL it is, and so which rules hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Zone {
    /// A model provider: an operator named the base URL. Loopback and private addresses are
    /// allowed, also over plain http.
    Provider,
    /// A remote MCP server: a caller named the URL. Public addresses over https only, unless the
    /// operator's allow-list opens more.
    Mcp,
}

/// A URL or address that the guard refuses. `Display` is one public sentence or two: it may name
/// the host, never the path or the query.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("Forbidden address: {message}")]
pub struct Forbidden {
    /// Closed label for logs and metrics, such as `loopback`, `metadata` or `userinfo`.
    pub reason: &'static str,
    message: String,
}

impl Forbidden {
    pub(crate) fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message }
    }
}

/// What `localhost` means, whatever a resolver says (RFC 6761 section 6.3).
pub(crate) const LOOPBACKS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// Names of metadata servers: what stands behind them hands out credentials.
const METADATA_NAMES: [&str; 5] = [
    "metadata.google.internal",
    "metadata.goog",
    "metadata",
    "instance-data",
    "instance-data.ec2.internal",
];

/// Top-level names that no public host has (RFC 6761, 6762, 8375, ICANN's `internal`, and the
/// usual home-made ones).
const PRIVATE_SUFFIXES: [&str; 10] = [
    "localhost",
    "local",
    "localdomain",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
    "home.arpa",
];

/// Where one request wants to go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    pub(crate) host: Host<String>,
    pub(crate) port: u16,
    /// True for plain http.
    pub(crate) plain: bool,
}

impl Target {
    fn of(url: &Url) -> Result<Self, Forbidden> {
        let refuse = |reason, what: &str| Err(Forbidden::new(reason, format!("the URL {what}.")));
        let plain = match url.scheme() {
            "https" => false,
            "http" => true,
            _ => return refuse("scheme", "must begin with https:// or http://"),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("userinfo", "must not carry a user name or password");
        }
        let host = match url.host() {
            None => return refuse("no_host", "must name a host"),
            Some(Host::Domain(name)) if name.ends_with('.') => {
                return refuse("trailing_dot", "must not end its host with a dot");
            }
            Some(host) => host.to_owned(),
        };
        match url.port_or_known_default() {
            None | Some(0) => refuse("port", "must have a port between 1 and 65535, or none"),
            Some(port) => Ok(Self { host, port, plain }),
        }
    }

    fn literal(&self) -> Option<IpAddr> {
        match self.host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
        }
    }

    fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Domain(name) => Some(name),
            _ => None,
        }
    }

    /// True for `localhost` and every name below it.
    pub(crate) fn is_localhost(&self) -> bool {
        self.name().is_some_and(|name| is_below(name, "localhost"))
    }

    /// True for a name that only an inside resolver knows.
    fn is_private_name(&self) -> bool {
        let private = |name: &str| {
            !name.contains('.') || PRIVATE_SUFFIXES.iter().any(|suffix| is_below(name, suffix))
        };
        self.name().is_some_and(private)
    }

    fn is_metadata_name(&self) -> bool {
        self.name()
            .is_some_and(|name| METADATA_NAMES.contains(&name))
    }
}

fn is_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The rules of one zone.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) zone: Zone,
    pub(crate) allow: AllowList,
    pub(crate) own: Own,
}

impl Rules {
    /// Judges what can be judged without DNS.
    pub(crate) fn check_url(&self, url: &Url) -> Result<Target, Forbidden> {
        let target = Target::of(url)?;
        match target.literal() {
            Some(address) => self.check_address(&target, address)?,
            None if target.is_localhost() => drop(self.loopbacks(&target)?),
            None => self.check_name(&target)?,
        }
        Ok(target)
    }

    /// Judges one address that `target` would be reached at.
    pub(crate) fn check_address(&self, target: &Target, address: IpAddr) -> Result<(), Forbidden> {
        if self.own.listens_on(address, target.port) {
            return Err(Forbidden::new(
                "self",
                format!("'{}' is this gateway itself.", target.host),
            ));
        }
        let listed = self.allow.names(&target.host, target.port);
        if self.allow.opens_address(address) || (listed && target.literal().is_some()) {
            return Ok(());
        }
        let kind = kind_of(address);
        match kind.scope {
            Scope::Global | Scope::Private | Scope::Special if listed => Ok(()),
            Scope::Global => self.check_public(target),
            Scope::Private if self.zone == Zone::Provider => Ok(()),
            _ => Err(self.refuse_address(target, kind.reason, kind.phrase)),
        }
    }

    /// Judges all answers of DNS: one forbidden address refuses the name, because a public and a
    /// private answer together are how a rebinding attack looks.
    pub(crate) fn check_answers(&self, target: &Target, found: &[IpAddr]) -> Result<(), Forbidden> {
        found
            .iter()
            .try_for_each(|address| self.check_address(target, *address))
    }

    /// The loopback addresses that are open to this `localhost` name.
    pub(crate) fn loopbacks(&self, target: &Target) -> Result<Vec<IpAddr>, Forbidden> {
        let open = |address: &IpAddr| self.check_address(target, *address).is_ok();
        let found: Vec<IpAddr> = LOOPBACKS.into_iter().filter(open).collect();
        if found.is_empty() {
            return Err(self.refuse_address(target, "loopback", "a loopback address"));
        }
        Ok(found)
    }

    /// True when the operator listed this host, or the network of its literal address.
    pub(crate) fn is_listed(&self, url: &Url) -> bool {
        let Ok(target) = Target::of(url) else {
            return false;
        };
        let opened = |address: &IpAddr| self.allow.opens_address(*address);
        self.allow.names(&target.host, target.port)
            || target.literal().as_ref().is_some_and(opened)
            || (target.is_localhost() && LOOPBACKS.iter().any(opened))
    }

    fn check_name(&self, target: &Target) -> Result<(), Forbidden> {
        if self.allow.names(&target.host, target.port) {
            return Ok(());
        }
        if target.is_metadata_name() {
            return Err(self.refuse_host(target, "metadata", "is a cloud metadata server"));
        }
        // A listed network may still open what the name resolves to.
        if self.zone == Zone::Provider || self.allow.has_networks() {
            return Ok(());
        }
        self.check_public(target)
    }

    /// What holds for public addresses that nobody listed.
    fn check_public(&self, target: &Target) -> Result<(), Forbidden> {
        if target.plain {
            return Err(self.refuse_host(target, "plain_http", "must be reached over https"));
        }
        if self.zone == Zone::Mcp && target.is_private_name() {
            return Err(self.refuse_host(target, "private_name", "is a name of a private network"));
        }
        Ok(())
    }

    fn refuse_address(&self, target: &Target, reason: &'static str, phrase: &str) -> Forbidden {
        let verb = if target.literal().is_some() {
            "is"
        } else {
            "resolves to"
        };
        self.refuse_host(target, reason, &format!("{verb} {phrase}"))
    }

    fn refuse_host(&self, target: &Target, reason: &'static str, what: &str) -> Forbidden {
        let hint = match self.zone {
            Zone::Mcp => {
                "MCP servers must be public https URLs; an operator can open others on the \
                 allow-list."
            }
            Zone::Provider => "An operator can open it on the provider allow-list.",
        };
        Forbidden::new(reason, format!("'{}' {what}. {hint}", target.host))
    }
}

#[cfg(test)]
mod tests;
