//! Which networks are not the public Internet.
//!
//! Source: the IANA IPv4 and IPv6 special-purpose address registries (RFC 6890 and its updates)
//! and the metadata addresses that cloud vendors document.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far an operator has to go before such an address is dialled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// The public Internet.
    Global,
    /// An operator's own machines: open to providers, and to an allow-listed name.
    Private,
    /// Other networks without a public owner: open to an allow-listed name only.
    Special,
    /// Dangerous or meaningless as a target: open only if the address itself is allow-listed,
    /// because a name that suddenly resolves to it is an attack.
    Never,
}

/// What an address is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kind {
    pub(crate) scope: Scope,
    /// Closed label for logs and metrics.
    pub(crate) reason: &'static str,
    /// The same with its article, for a sentence.
    pub(crate) phrase: &'static str,
}

const fn kind(scope: Scope, reason: &'static str, phrase: &'static str) -> Kind {
    Kind {
        scope,
        reason,
        phrase,
    }
}

const GLOBAL: Kind = kind(Scope::Global, "global", "a public address");
const LOOPBACK: Kind = kind(Scope::Private, "loopback", "a loopback address");
const PRIVATE: Kind = kind(Scope::Private, "private", "a private address");
const UNIQUE_LOCAL: Kind = kind(Scope::Private, "unique_local", "a unique-local address");
const CGNAT: Kind = kind(Scope::Special, "cgnat", "a carrier-grade NAT address");
const PROTOCOL: Kind = kind(
    Scope::Special,
    "ietf_protocol",
    "a protocol assignment address",
);
const BENCHMARKING: Kind = kind(Scope::Special, "benchmarking", "a benchmarking address");
const DOCUMENTATION: Kind = kind(Scope::Special, "documentation", "a documentation address");
const METADATA: Kind = kind(Scope::Never, "metadata", "a cloud metadata address");
const LINK_LOCAL: Kind = kind(Scope::Never, "link_local", "a link-local address");
const SITE_LOCAL: Kind = kind(Scope::Never, "site_local", "a site-local address");
const UNSPECIFIED: Kind = kind(Scope::Never, "unspecified", "an unspecified address");
const MULTICAST: Kind = kind(Scope::Never, "multicast", "a multicast address");
const BROADCAST: Kind = kind(Scope::Never, "broadcast", "a broadcast address");
const RESERVED: Kind = kind(Scope::Never, "reserved", "a reserved address");
const DISCARD: Kind = kind(Scope::Never, "discard", "a discard address");
const MAPPED: Kind = kind(Scope::Never, "ipv4_mapped", "an IPv4-mapped address");
const COMPATIBLE: Kind = kind(
    Scope::Never,
    "ipv4_compatible",
    "an IPv4-compatible address",
);
const NAT64: Kind = kind(Scope::Never, "nat64", "a NAT64 address");
const SIX_TO_FOUR: Kind = kind(Scope::Never, "six_to_four", "a 6to4 address");
const TEREDO: Kind = kind(Scope::Never, "teredo", "a Teredo address");
const ISATAP: Kind = kind(Scope::Never, "isatap", "an ISATAP address");

/// First match wins, so that single addresses stand before their networks.
const V4: &[(Ipv4Addr, u32, Kind)] = &[
    (Ipv4Addr::new(169, 254, 169, 254), 32, METADATA), // most clouds
    (Ipv4Addr::new(169, 254, 170, 2), 32, METADATA),   // AWS containers
    (Ipv4Addr::new(169, 254, 170, 23), 32, METADATA),  // AWS pod identity
    (Ipv4Addr::new(100, 100, 100, 200), 32, METADATA), // Alibaba Cloud
    (Ipv4Addr::new(168, 63, 129, 16), 32, METADATA),   // Azure host agent, looks public
    (Ipv4Addr::new(192, 0, 0, 192), 32, METADATA),     // Oracle Cloud, older images
    (Ipv4Addr::new(0, 0, 0, 0), 8, UNSPECIFIED),
    (Ipv4Addr::new(10, 0, 0, 0), 8, PRIVATE),
    (Ipv4Addr::new(100, 64, 0, 0), 10, CGNAT),
    (Ipv4Addr::new(127, 0, 0, 0), 8, LOOPBACK),
    (Ipv4Addr::new(169, 254, 0, 0), 16, LINK_LOCAL),
    (Ipv4Addr::new(172, 16, 0, 0), 12, PRIVATE),
    (Ipv4Addr::new(192, 0, 0, 0), 24, PROTOCOL),
    (Ipv4Addr::new(192, 0, 2, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(192, 88, 99, 0), 24, SIX_TO_FOUR),
    (Ipv4Addr::new(192, 168, 0, 0), 16, PRIVATE),
    (Ipv4Addr::new(198, 18, 0, 0), 15, BENCHMARKING),
    (Ipv4Addr::new(198, 51, 100, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(203, 0, 113, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(224, 0, 0, 0), 4, MULTICAST),
    (Ipv4Addr::new(255, 255, 255, 255), 32, BROADCAST),
    (Ipv4Addr::new(240, 0, 0, 0), 4, RESERVED),
];

/// First match wins. Whatever is not listed is public only inside 2000::/3.
const V6: &[(Ipv6Addr, u32, Kind)] = &[
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32, METADATA), // AWS
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0), 32, METADATA),  // Google Cloud
    (Ipv6Addr::UNSPECIFIED, 128, UNSPECIFIED),
    (Ipv6Addr::LOCALHOST, 128, LOOPBACK),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, MAPPED),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, MAPPED), // SIIT, RFC 2765
    (Ipv6Addr::UNSPECIFIED, 96, COMPATIBLE),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, NAT64),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, NAT64),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, DISCARD),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, TEREDO),
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48, BENCHMARKING),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, PROTOCOL),
    (
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
        32,
        DOCUMENTATION,
    ),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, SIX_TO_FOUR),
    (
        Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0),
        20,
        DOCUMENTATION,
    ),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, UNIQUE_LOCAL),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, LINK_LOCAL),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, SITE_LOCAL),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, MULTICAST),
];

/// Says what `address` is.
pub(crate) fn kind_of(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(address) => kind_of_v4(address),
        IpAddr::V6(address) => kind_of_v6(address),
    }
}

fn kind_of_v4(address: Ipv4Addr) -> Kind {
    let same = |network: Ipv4Addr, bits: u32| {
        (u32::from(address) ^ u32::from(network)).leading_zeros() >= bits
    };
    V4.iter()
        .find(|(network, bits, _)| same(*network, *bits))
        .map_or(GLOBAL, |row| row.2)
}

fn kind_of_v6(address: Ipv6Addr) -> Kind {
    let same = |network: Ipv6Addr, bits: u32| {
        (u128::from(address) ^ u128::from(network)).leading_zeros() >= bits
    };
    let row = V6.iter().find(|(network, bits, _)| same(*network, *bits));
    match row {
        Some(row) => row.2,
        None if is_isatap(address) => ISATAP,
        None if address.segments()[0] & 0xe000 == 0x2000 => GLOBAL,
        None => RESERVED,
    }
}

/// RFC 5214: the interface identifier is `0000:5efe` or `0200:5efe` and an IPv4 address.
fn is_isatap(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    segments[4] & 0xfdff == 0 && segments[5] == 0x5efe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, reason: &str) {
        let parsed: IpAddr = address.parse().unwrap();
        assert_eq!(kind_of(parsed).reason, reason, "{address}");
    }

    #[test]
    fn ipv4_ranges_to_their_edges() {
        for (address, reason) in [
            ("0.0.0.0", "unspecified"),
            ("0.255.255.255", "unspecified"),
            ("1.0.0.0", "global"),
            ("9.255.255.255", "global"),
            ("10.0.0.0", "private"),
            ("10.255.255.255", "private"),
            ("11.0.0.0", "global"),
            ("100.63.255.255", "global"),
            ("100.64.0.0", "cgnat"),
            ("100.127.255.255", "cgnat"),
            ("100.128.0.0", "global"),
            ("100.100.100.200", "metadata"),
            ("126.255.255.255", "global"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.255", "loopback"),
            ("168.63.129.16", "metadata"),
            ("169.253.255.255", "global"),
            ("169.254.0.1", "link_local"),
            ("169.254.169.254", "metadata"),
            ("169.254.170.2", "metadata"),
            ("172.15.255.255", "global"),
            ("172.16.0.0", "private"),
            ("172.31.255.255", "private"),
            ("172.32.0.0", "global"),
            ("192.0.0.1", "ietf_protocol"),
            ("192.0.0.192", "metadata"),
            ("192.0.1.0", "global"),
            ("192.0.2.1", "documentation"),
            ("192.88.99.1", "six_to_four"),
            ("192.167.255.255", "global"),
            ("192.168.0.1", "private"),
            ("192.169.0.0", "global"),
            ("198.17.255.255", "global"),
            ("198.18.0.0", "benchmarking"),
            ("198.19.255.255", "benchmarking"),
            ("198.20.0.0", "global"),
            ("198.51.100.7", "documentation"),
            ("203.0.113.7", "documentation"),
            ("223.255.255.255", "global"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.254", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("8.8.8.8", "global"),
        ] {
            check(address, reason);
        }
    }

    #[test]
    fn ipv6_ranges_and_embeddings() {
        for (address, reason) in [
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::2", "ipv4_compatible"),
            ("::127.0.0.1", "ipv4_compatible"),
            ("::ffff:127.0.0.1", "ipv4_mapped"),
            ("::ffff:8.8.8.8", "ipv4_mapped"),
            ("::ffff:0:127.0.0.1", "ipv4_mapped"),
            ("64:ff9b::7f00:1", "nat64"),
            ("64:ff9b::8.8.8.8", "nat64"),
            ("64:ff9b:1::7f00:1", "nat64"),
            ("64:ff9b:1:ffff::1", "nat64"),
            ("100::1", "discard"),
            ("100:0:0:1::1", "reserved"),
            ("2001::1", "teredo"),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "teredo"),
            ("2001:2::1", "benchmarking"),
            ("2001:10::1", "ietf_protocol"),
            ("2001:1ff:ffff::1", "ietf_protocol"),
            ("2001:200::1", "global"),
            ("2001:db8::1", "documentation"),
            ("2002:7f00:1::1", "six_to_four"),
            ("2002:a9fe:a9fe::", "six_to_four"),
            ("3fff:fff::1", "documentation"),
            ("3fff:1000::1", "global"),
            ("2606:4700::1111", "global"),
            ("2606:4700::5efe:7f00:1", "isatap"),
            ("2606:4700::200:5efe:10.0.0.1", "isatap"),
            ("4000::1", "reserved"),
            ("5f00::1", "reserved"),
            ("fc00::1", "unique_local"),
            ("fdff::1", "unique_local"),
            ("fd00:ec2::254", "metadata"),
            ("fd20:ce::254", "metadata"),
            ("fe80::1", "link_local"),
            ("febf::1", "link_local"),
            ("fec0::1", "site_local"),
            ("ff02::1", "multicast"),
        ] {
            check(address, reason);
        }
    }
}
