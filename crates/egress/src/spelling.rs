//! URLs and hosts as they were written, before a parser makes them look harmless.
//!
//! The WHATWG parser turns `http://0x7f.1\@a` into something else than it reads. Two parsers that
//! disagree are how guards are passed, so that every form but the plain one is refused here.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::guard::Forbidden;

/// Parses an absolute `http` or `https` URL that is spelled plainly.
///
/// # Errors
/// Refuses user names and passwords, backslashes, white space and control characters, and in the
/// host: percent-encoding, non-ASCII letters, a trailing dot, zone ids and every IPv4 form but the
/// dotted decimal one. Whether the host may be reached is for [`crate::Client::check`] to say.
pub fn parse_url(raw: &str) -> Result<Url, Forbidden> {
    check_characters(raw)?;
    let authority = authority_of(raw)?;
    if authority.contains('@') {
        return Err(refuse("userinfo", "must not carry a user name or password"));
    }
    let (host, port) = split_port(authority)?;
    let host = parse_host(host)?;
    port.map_or(Ok(0), parse_port)?;
    let url = Url::parse(raw).map_err(|_| refuse("invalid", "is not valid"))?;
    // The second opinion: both parsers must mean the same host.
    if url.host().map(|seen| seen.to_owned()) != Some(host) {
        return Err(refuse("invalid", "has an ambiguous host"));
    }
    Ok(url)
}

fn check_characters(raw: &str) -> Result<(), Forbidden> {
    if raw.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(refuse(
            "control_character",
            "must not contain white space or control characters",
        ));
    }
    if raw.contains('\\') {
        return Err(refuse("backslash", "must not contain a backslash"));
    }
    Ok(())
}

fn authority_of(raw: &str) -> Result<&str, Forbidden> {
    let scheme = || refuse("scheme", "must begin with https:// or http://");
    let (name, rest) = raw.split_once("://").ok_or_else(scheme)?;
    if !name.eq_ignore_ascii_case("https") && !name.eq_ignore_ascii_case("http") {
        return Err(scheme());
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match &rest[..end] {
        "" => Err(refuse("no_host", "must name a host")),
        authority => Ok(authority),
    }
}

/// Splits `host:port`; the brackets of an IPv6 address stay with the host.
pub(crate) fn split_port(authority: &str) -> Result<(&str, Option<&str>), Forbidden> {
    let host_end = match authority.rfind(']') {
        Some(at) => at + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    match authority.split_at(host_end) {
        (host, "") => Ok((host, None)),
        (host, rest) => match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None => Err(refuse(
                "invalid",
                "has text after the host's closing bracket",
            )),
        },
    }
}

/// Reads a port: decimal digits, 1 to 65535.
pub(crate) fn parse_port(raw: &str) -> Result<u16, Forbidden> {
    let digits = raw.bytes().all(|b| b.is_ascii_digit());
    match raw.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(refuse(
            "port",
            "must have a port between 1 and 65535, or none",
        )),
    }
}

/// Reads a host: a plain ASCII name, a dotted decimal IPv4 address or an IPv6 one in brackets.
pub(crate) fn parse_host(raw: &str) -> Result<Host<String>, Forbidden> {
    if !raw.is_ascii() {
        return Err(refuse(
            "non_ascii",
            "must spell its host in ASCII (punycode)",
        ));
    }
    if let Some(inner) = raw.strip_prefix('[') {
        return parse_v6(inner);
    }
    if raw.contains('%') {
        return Err(refuse(
            "percent_encoded",
            "must not percent-encode its host",
        ));
    }
    if raw.ends_with('.') {
        return Err(refuse("trailing_dot", "must not end its host with a dot"));
    }
    if ends_in_a_number(raw) {
        let address = raw.parse::<Ipv4Addr>();
        return address.map(Host::Ipv4).map_err(|_| {
            refuse(
                "address_form",
                "must write an IPv4 address as four decimal numbers",
            )
        });
    }
    let legal = |label: &str| !label.is_empty() && label.bytes().all(is_name_byte);
    if raw.len() > 253 || !raw.split('.').all(legal) {
        return Err(refuse("no_host", "must name a valid host"));
    }
    Ok(Host::Domain(raw.to_ascii_lowercase()))
}

fn parse_v6(inner: &str) -> Result<Host<String>, Forbidden> {
    let inner = inner.strip_suffix(']').unwrap_or(inner);
    if inner.contains('%') {
        return Err(refuse("zone_id", "must not carry an IPv6 zone id"));
    }
    inner.parse::<Ipv6Addr>().map(Host::Ipv6).map_err(|_| {
        refuse(
            "address_form",
            "must write a valid IPv6 address in brackets",
        )
    })
}

/// The WHATWG rule for "this host is meant as an IPv4 address": the last label is a number.
fn ends_in_a_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()),
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn refuse(reason: &'static str, what: &str) -> Forbidden {
    Forbidden::new(reason, format!("the URL {what}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, reason: &str) {
        match parse_url(raw) {
            Err(forbidden) => assert_eq!(forbidden.reason, reason, "{raw:?}"),
            Ok(url) => assert_eq!("ok", reason, "{raw:?} became {url}"),
        }
    }

    #[test]
    fn plain_urls_pass() {
        for raw in [
            "https://mcp.deepwiki.com/mcp",
            "HTTPS://MCP.Example.com",
            "https://a.example:8443/x?y=z#f",
            "https://a.example/path/%2e%2e/@user:x",
            "https://xn--bcher-kva.example/mcp",
            "http://127.0.0.1:4101/mcp",
            "http://[::1]:4101/mcp",
            "http://[0:0:0:0:0:0:0:1]/",
            "http://tool_server:80/",
            "https://1password.example/",
            "https://0xcafe.example/",
        ] {
            check(raw, "ok");
        }
    }

    #[test]
    fn odd_spellings_are_refused() {
        for (raw, reason) in [
            ("https://good.example@10.0.0.1/", "userinfo"),
            ("https://user:pw@good.example/", "userinfo"),
            ("https://@good.example/", "userinfo"),
            ("https://good.example\\@10.0.0.1/", "backslash"),
            ("https:\\\\good.example/", "backslash"),
            ("https://good.example/\\..\\x", "backslash"),
            ("https://good.exa\tmple/", "control_character"),
            ("https://good.example/\n", "control_character"),
            (" https://good.example/", "control_character"),
            ("https://good.example/\0", "control_character"),
            ("https://good.example/\u{2003}", "control_character"),
            ("https://127%2e0.0.1/", "percent_encoded"),
            ("https://%6cocalhost/", "percent_encoded"),
            ("https://１２７.0.0.1/", "non_ascii"),
            ("https://127。0。0。1/", "non_ascii"),
            ("https://ⓛocalhost/", "non_ascii"),
            ("https://bücher.example/", "non_ascii"),
            ("https://localhost./", "trailing_dot"),
            ("https://127.0.0.1./", "trailing_dot"),
            ("https://[fe80::1%25eth0]/", "zone_id"),
            ("https://[fe80::1%eth0]/", "zone_id"),
            ("https://2130706433/", "address_form"),
            ("https://0x7f000001/", "address_form"),
            ("https://0X7F.0.0.1/", "address_form"),
            ("https://0x7f.0.0.0x1/", "address_form"),
            ("https://0177.0.0.1/", "address_form"),
            ("https://127.000.000.001/", "address_form"),
            ("https://127.1/", "address_form"),
            ("https://127.0.1/", "address_form"),
            ("https://0/", "address_form"),
            ("https://0x/", "address_form"),
            ("https://256.0.0.1/", "address_form"),
            ("https://1.2.3.4.5/", "address_form"),
            ("https://good.example.1/", "address_form"),
            ("https://[::1/", "address_form"),
            ("https://[127.0.0.1]/", "address_form"),
            ("https://[]/", "address_form"),
            ("https://[::1]x/", "invalid"),
            ("https://::1/", "no_host"),
            ("https://a..b/", "no_host"),
            ("https://.example/", "no_host"),
            ("https://a!b.example/", "no_host"),
            ("https:///good.example/", "no_host"),
            ("https://", "no_host"),
            ("https://:443/", "no_host"),
            ("https://good.example:/", "port"),
            ("https://good.example:0/", "port"),
            ("https://good.example:65536/", "port"),
            ("https://good.example:+443/", "port"),
            ("https://good.example:443:1/", "port"),
            ("https:good.example/", "scheme"),
            ("//good.example/", "scheme"),
            ("file:///etc/passwd", "scheme"),
            ("gopher://good.example/", "scheme"),
            ("javascript:alert(1)//https://a", "scheme"),
            ("good.example", "scheme"),
            ("", "scheme"),
        ] {
            check(raw, reason);
        }
    }

    #[test]
    fn a_refusal_does_not_repeat_the_url() {
        let text = parse_url("https://u:hunter2@a.example/")
            .unwrap_err()
            .to_string();
        assert_eq!(
            text,
            "Forbidden address: the URL must not carry a user name or password."
        );
    }
}
