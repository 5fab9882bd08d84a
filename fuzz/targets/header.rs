//! Headers that a caller gives for its MCP server, and those that are copied between messages.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use portunus_egress::{check_header, strip_hop_by_hop};

const NEVER: [&str; 8] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
];

fn given(name: &str, value: &str) {
    let Ok((known, checked)) = check_header(name, value) else {
        return;
    };
    assert!(checked.is_sensitive());
    assert!(
        value
            .bytes()
            .all(|b| b == b'\t' || (b' '..=b'~').contains(&b)),
        "{value:?}"
    );
    assert_eq!(checked.as_bytes(), value.as_bytes());
    assert!(known.as_str().eq_ignore_ascii_case(name));
    // A server may read an underscore as a hyphen.
    let read = known.as_str().replace('_', "-");
    assert!(
        !NEVER.contains(&read.as_str()) && !read.starts_with("proxy-"),
        "{name:?}"
    );
    assert!(!read.starts_with("x-forwarded-"), "{name:?}");
}

fuzz_target!(|headers: Vec<(&str, &str)>| {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        given(name, value);
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            map.append(name, value);
        }
    }
    strip_hop_by_hop(&mut map);
    assert!(
        ["connection", "te", "transfer-encoding"]
            .iter()
            .all(|name| !map.contains_key(*name))
    );
});
