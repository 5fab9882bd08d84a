//! A URL that passes means the same host to three parsers, and none that is inside.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus_egress::{Client, Settings, Zone, parse_url};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

static CLIENT: LazyLock<Client> = LazyLock::new(|| Client::new(Settings::default()).unwrap());

/// The standard library's opinion, and what it leaves unstable.
fn is_inside_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && b & 0xc0 == 64)
        || (a == 198 && b & 0xfe == 18)
}

fn is_inside_v6(address: Ipv6Addr) -> bool {
    let first = address.segments()[0];
    let embedded = address.to_ipv4().is_some() || first == 0x2002 || first == 0x64;
    embedded
        || address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local()
}

fn is_inside(host: &str) -> bool {
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(address)) => is_inside_v4(address),
        Ok(IpAddr::V6(address)) => is_inside_v6(address),
        Err(_) => {
            let local = [".localhost", ".local", ".internal"];
            !host.contains('.') || local.iter().any(|end| host.ends_with(end))
        }
    }
}

/// What a reader with split() and no standard at hand takes for the host.
fn naive(raw: &str) -> &str {
    let rest = raw.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let after = authority.rsplit('@').next().unwrap_or_default();
    match after.rfind(']') {
        Some(end) => &after[..=end],
        None => after.split(':').next().unwrap_or_default(),
    }
}

fuzz_target!(|raw: &str| {
    let Ok(url) = parse_url(raw) else {
        return;
    };
    let host = url.host_str().unwrap();
    assert!(url.username().is_empty() && url.password().is_none());
    if !raw.contains('[') {
        assert!(naive(raw).eq_ignore_ascii_case(host), "{raw:?} is {host:?}");
    }
    if let Ok(uri) = raw.parse::<http::Uri>() {
        let seen = uri.host().unwrap().trim_matches(['[', ']']);
        let same = match (
            seen.parse::<IpAddr>(),
            host.trim_matches(['[', ']']).parse::<IpAddr>(),
        ) {
            (Ok(one), Ok(other)) => one == other,
            _ => seen.eq_ignore_ascii_case(host),
        };
        assert!(same, "{raw:?} is {seen:?} and {host:?}");
        assert!(
            uri.port_u16()
                .is_none_or(|port| Some(port) == url.port_or_known_default())
        );
    }
    assert_eq!(
        parse_url(url.as_str()).as_ref(),
        Ok(&url),
        "a passed URL passes again"
    );
    if CLIENT.check(Zone::Mcp, &url).is_ok() {
        assert!(!is_inside(host), "{raw:?} leads inside");
        assert_eq!(url.scheme(), "https");
    }
});
