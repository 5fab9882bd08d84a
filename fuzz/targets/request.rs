//! The body of a request: the shallow editor and the two readings agree with a plain parser.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus_protocol::request::{Body, Head};
use portunus_protocol::shallow::{Shallow, strict};
use serde_json::Value;

fn edited(bytes: &[u8]) {
    let Ok(mut shallow) = Shallow::parse(bytes) else {
        return;
    };
    let Ok(Value::Object(mut plain)) = serde_json::from_slice::<Value>(bytes) else {
        // A number or a depth that only the plain parser reads.
        return;
    };
    assert_eq!(shallow.keys().count(), plain.len());
    shallow.set_value("model", "other").unwrap();
    plain.insert("model".to_owned(), "other".into());
    let written: Value = serde_json::from_slice(&shallow.to_vec().unwrap()).unwrap();
    assert_eq!(written, Value::Object(plain));
}

fuzz_target!(|bytes: &[u8]| {
    edited(bytes);
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(value) = strict(text)
    {
        assert_eq!(value, serde_json::from_str::<Value>(text).unwrap());
    }
    let head = match Head::parse(bytes) {
        Ok(head) => head,
        Err(error) => return assert!(!error.message.is_empty()),
    };
    for native in [false, true] {
        match Body::parse(&head, native) {
            Ok(body) => drop(serde_json::to_string(&body.input).unwrap()),
            Err(error) => assert!(
                error.param.is_some(),
                "a refusal names its field: {error:?}"
            ),
        }
    }
});
