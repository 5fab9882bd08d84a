use super::*;
use crate::spelling::parse_url;

fn rules(zone: Zone, allow: &[&str]) -> Rules {
    Rules {
        own: Own::default(),
        zone,
        allow: AllowList::parse(allow).unwrap(),
    }
}

fn check(zone: Zone, allow: &[&str], url: &str, reason: &str) {
    let verdict = rules(zone, allow).check_url(&Url::parse(url).unwrap());
    let seen = verdict.map_or_else(|refused| refused.reason, |_| "ok");
    assert_eq!(seen, reason, "{zone:?} {allow:?} {url}");
}

/// As [`check`], for one answer of DNS.
fn check_answer(zone: Zone, allow: &[&str], url: &str, address: &str, reason: &str) {
    let target = Target::of(&Url::parse(url).unwrap()).unwrap();
    let verdict = rules(zone, allow).check_address(&target, address.parse().unwrap());
    let seen = verdict.map_or_else(|refused| refused.reason, |()| "ok");
    assert_eq!(seen, reason, "{zone:?} {allow:?} {url} at {address}");
}

/// One address or more of every range that R21 names.
const FORBIDDEN_HOSTS: [(&str, &str); 27] = [
    ("127.0.0.1", "loopback"),
    ("0.0.0.0", "unspecified"),
    ("[::]", "unspecified"),
    ("[::1]", "loopback"),
    ("169.254.169.254", "metadata"),
    ("169.254.1.1", "link_local"),
    ("10.1.2.3", "private"),
    ("172.20.0.1", "private"),
    ("192.168.1.1", "private"),
    ("100.64.0.1", "cgnat"),
    ("192.0.0.8", "ietf_protocol"),
    ("192.0.2.1", "documentation"),
    ("198.18.0.1", "benchmarking"),
    ("224.0.0.1", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("[fe80::1]", "link_local"),
    ("[fec0::1]", "site_local"),
    ("[fc00::1]", "unique_local"),
    ("[fd00:ec2::254]", "metadata"),
    ("[::ffff:127.0.0.1]", "ipv4_mapped"),
    ("[64:ff9b::7f00:1]", "nat64"),
    ("[2002:7f00:1::]", "six_to_four"),
    ("[2001::7f00:1]", "teredo"),
    ("[2606:4700::5efe:7f00:1]", "isatap"),
    ("[2001:db8::1]", "documentation"),
    ("[100::1]", "discard"),
];

#[test]
fn mcp_refuses_every_literal_that_is_not_public() {
    for (host, reason) in FORBIDDEN_HOSTS {
        check(Zone::Mcp, &[], &format!("https://{host}/mcp"), reason);
        check(Zone::Mcp, &[], &format!("http://{host}:8080/mcp"), reason);
        check(
            Zone::Mcp,
            &["tools.corp.example", "203.0.113.0/24"],
            &format!("https://{host}/"),
            reason,
        );
    }
    check(Zone::Mcp, &[], "https://8.8.8.8/mcp", "ok");
    check(Zone::Mcp, &[], "http://8.8.8.8/mcp", "plain_http");
}

#[test]
fn odd_forms_that_the_parser_normalises_are_judged_as_addresses() {
    for url in [
        "https://0x7f000001/",
        "https://2130706433/",
        "https://0177.1/",
        "https://127.1/",
    ] {
        assert!(parse_url(url).is_err(), "{url}");
        check(Zone::Mcp, &[], url, "loopback");
    }
    check(Zone::Mcp, &[], "https://１６９.254.169.254/", "metadata");
}

#[test]
fn providers_reach_private_addresses_and_nothing_worse() {
    for (host, reason) in FORBIDDEN_HOSTS {
        let reason = match reason {
            "loopback" | "private" | "unique_local" => "ok",
            other => other,
        };
        check(
            Zone::Provider,
            &[],
            &format!("http://{host}:11434/v1"),
            reason,
        );
        check(Zone::Provider, &[], &format!("https://{host}/v1"), reason);
    }
    check(Zone::Provider, &[], "http://8.8.8.8/v1", "plain_http");
    check(Zone::Provider, &["8.8.8.8"], "http://8.8.8.8/v1", "ok");
    check(
        Zone::Provider,
        &["100.64.0.0/10"],
        "http://100.64.0.1/v1",
        "ok",
    );
}

#[test]
fn scheme_userinfo_port_and_dot() {
    check(Zone::Mcp, &[], "ftp://a.example/", "scheme");
    check(Zone::Mcp, &[], "file:///etc/passwd", "scheme");
    check(Zone::Mcp, &[], "https://good.example@10.0.0.1/", "userinfo");
    check(Zone::Mcp, &[], "https://a.example:0/", "port");
    check(Zone::Mcp, &[], "https://a.example./", "trailing_dot");
    check(Zone::Mcp, &[], "https://a.example/mcp?x=1", "ok");
    check(Zone::Mcp, &[], "http://a.example/mcp", "plain_http");
}

#[test]
fn names_of_private_networks() {
    for host in [
        "redis",
        "a.internal",
        "x.local",
        "db.corp",
        "nas.home.arpa",
        "host.docker.internal",
    ] {
        check(Zone::Mcp, &[], &format!("https://{host}/"), "private_name");
        check(Zone::Mcp, &[host], &format!("https://{host}/"), "ok");
        check(Zone::Mcp, &[host], &format!("http://{host}:81/"), "ok");
        check(Zone::Provider, &[], &format!("http://{host}/"), "ok");
    }
    check(Zone::Mcp, &[], "https://internal.example/", "ok");
    check(Zone::Mcp, &[], "https://notlocalhost.example/", "ok");
}

#[test]
fn metadata_names_are_refused_in_both_zones() {
    for zone in [Zone::Mcp, Zone::Provider] {
        check(zone, &[], "https://metadata.google.internal/", "metadata");
        check(zone, &["10.0.0.0/8"], "http://metadata/", "metadata");
    }
}

#[test]
fn localhost_is_loopback_and_nothing_else() {
    for host in ["localhost", "LOCALHOST", "evil.localhost"] {
        check(Zone::Mcp, &[], &format!("https://{host}/"), "loopback");
        check(
            Zone::Mcp,
            &["127.0.0.1:4101"],
            &format!("http://{host}:4101/"),
            "loopback",
        );
        check(
            Zone::Mcp,
            &["127.0.0.0/8"],
            &format!("http://{host}:4101/"),
            "ok",
        );
        check(
            Zone::Mcp,
            &["::1/128"],
            &format!("http://{host}:4101/"),
            "ok",
        );
        check(
            Zone::Provider,
            &[],
            &format!("http://{host}:11434/v1"),
            "ok",
        );
    }
    check(
        Zone::Mcp,
        &["localhost:4101"],
        "http://localhost:4101/",
        "ok",
    );
    check(
        Zone::Mcp,
        &["localhost:4101"],
        "http://localhost:4102/",
        "loopback",
    );
    let target = Target::of(&Url::parse("http://localhost:1/").unwrap()).unwrap();
    let open = rules(Zone::Mcp, &["127.0.0.0/8"])
        .loopbacks(&target)
        .unwrap();
    assert_eq!(open, [LOOPBACKS[0]]);
}

#[test]
fn a_literal_entry_opens_its_literal_and_port() {
    let allow = ["127.0.0.1:4101", "[::1]:4101", "169.254.169.254"];
    check(Zone::Mcp, &allow, "http://127.0.0.1:4101/mcp", "ok");
    check(Zone::Mcp, &allow, "http://127.0.0.1:4102/mcp", "loopback");
    check(Zone::Mcp, &allow, "http://127.0.0.2:4101/mcp", "loopback");
    check(Zone::Mcp, &allow, "http://[::1]:4101/mcp", "ok");
    check(
        Zone::Mcp,
        &allow,
        "http://[::ffff:127.0.0.1]:4101/mcp",
        "ipv4_mapped",
    );
    check(Zone::Mcp, &allow, "http://169.254.169.254/", "ok");
}

#[test]
fn answers_of_dns() {
    let plain = "http://tools.corp.example:8443/";
    let secure = "https://tools.corp.example:8443/";
    let check = check_answer;
    check(Zone::Mcp, &[], secure, "8.8.8.8", "ok");
    check(Zone::Mcp, &[], secure, "127.0.0.1", "loopback");
    check(Zone::Mcp, &[], secure, "::ffff:8.8.8.8", "ipv4_mapped");
    check(Zone::Mcp, &[], plain, "8.8.8.8", "plain_http");
    // A host entry opens its own host, port by port, but never a dangerous address.
    let listed = ["tools.corp.example:8443"];
    for address in ["127.0.0.1", "10.0.0.1", "fd12::1", "100.64.0.1", "8.8.8.8"] {
        check(Zone::Mcp, &listed, plain, address, "ok");
    }
    check(
        Zone::Mcp,
        &listed,
        "http://tools.corp.example/",
        "10.0.0.1",
        "private",
    );
    check(
        Zone::Mcp,
        &listed,
        "https://evil.example:8443/",
        "10.0.0.1",
        "private",
    );
    check(Zone::Mcp, &listed, plain, "169.254.169.254", "metadata");
    check(Zone::Mcp, &listed, plain, "0.0.0.0", "unspecified");
    check(Zone::Mcp, &listed, plain, "64:ff9b::a00:1", "nat64");
    // A literal entry opens no name; a network opens every name.
    check(Zone::Mcp, &["10.0.0.1"], secure, "10.0.0.1", "private");
    check(Zone::Mcp, &["10.0.0.0/8"], plain, "10.0.0.1", "ok");
    check(
        Zone::Mcp,
        &["10.0.0.0/8"],
        "https://redis/",
        "8.8.8.8",
        "private_name",
    );
    // Providers: private yes, plain http to the public no.
    check(Zone::Provider, &[], plain, "10.0.0.1", "ok");
    check(Zone::Provider, &[], plain, "8.8.8.8", "plain_http");
    check(Zone::Provider, &[], secure, "169.254.169.254", "metadata");
    check(Zone::Provider, &[], secure, "100.64.0.1", "cgnat");
}

#[test]
fn one_bad_answer_refuses_them_all() {
    let target = Target::of(&Url::parse("https://a.example/").unwrap()).unwrap();
    let mixed = ["8.8.8.8".parse().unwrap(), "10.0.0.1".parse().unwrap()];
    let refused = rules(Zone::Mcp, &[])
        .check_answers(&target, &mixed)
        .unwrap_err();
    assert_eq!(refused.reason, "private");
    assert_eq!(
        refused.to_string(),
        "Forbidden address: 'a.example' resolves to a private address. MCP servers must be public \
         https URLs; an operator can open others on the allow-list."
    );
}

#[test]
fn listed_means_by_name_or_by_literal() {
    let listed =
        |allow: &[&str], url: &str| rules(Zone::Mcp, allow).is_listed(&Url::parse(url).unwrap());
    assert!(listed(&["10.0.0.0/8"], "http://10.1.1.1/"));
    assert!(listed(&["127.0.0.0/8"], "http://localhost:1/"));
    assert!(listed(
        &["tools.corp.example"],
        "https://tools.corp.example/x"
    ));
    assert!(!listed(
        &["tools.corp.example:8443"],
        "https://tools.corp.example/x"
    ));
    assert!(!listed(&["10.0.0.0/8"], "https://mcp.example/"));
    assert!(!listed(&[], "https://mcp.example/"));
}

#[test]
fn nothing_opens_the_way_to_the_gateway_itself() {
    for zone in [Zone::Mcp, Zone::Provider] {
        for entry in ["127.0.0.0/8", "127.0.0.1", "127.0.0.1:8787"] {
            let rules = rules(zone, &[entry]);
            rules.own.set(vec!["127.0.0.1:8787".parse().unwrap()]);
            let refused = |url: &str| rules.check_url(&Url::parse(url).unwrap()).err();
            let itself = refused("http://127.0.0.1:8787/mcp").unwrap();
            assert_eq!(itself.reason, "self", "{zone:?} {entry}");
            let beside = refused("http://127.0.0.1:8788/mcp");
            assert!(beside.is_none_or(|refused| refused.reason != "self"));
        }
    }
}
