//! The way in of `fuzz/targets/mcp.rs`: everything that reads a server's words.

use crate::message::{self, Message};
use crate::paging::Walk;
use crate::{Bounds, input, mirror, modern, output, reply, schema, streamable, tool};
use serde_json::value::RawValue;

/// Small, so that the bounds are met.
fn bounds() -> Bounds {
    Bounds {
        max_tools: 4,
        max_list_bytes: 4096,
        max_tool_bytes: 1024,
        ..Bounds::default()
    }
}

const RESULT_BYTES: usize = 256;

/// Reads `text` as a message, and every result in it as all that a result can be.
///
/// # Panics
/// When an invariant is broken.
pub fn message(text: &str) {
    let Some(messages) = message::parse(text) else {
        return;
    };
    for message in &messages {
        match message {
            Message::Answer(answer) => {
                message::match_id(answer.id.as_deref(), 1);
                if let Ok(result) = &answer.outcome {
                    read(result);
                }
            }
            Message::Request { id, method } => {
                let reply = message::reply(id, method);
                assert!(serde_json::from_slice::<&RawValue>(&reply).is_ok());
            }
            Message::Notice => {}
        }
    }
    drop(reply::pick(messages, 1));
}

fn read(result: &RawValue) {
    drop(streamable::negotiated(result));
    drop(input::decline(result));
    if let Ok(found) = tool::read_result(result) {
        let mapped = output::of(&found, RESULT_BYTES);
        let length = mapped.output.map_or(0, |text| text.len());
        assert!(length <= RESULT_BYTES * 2, "{length} bytes");
    }
    let bounds = bounds();
    for modern in [false, true] {
        let mut walk = Walk::new(modern, &bounds);
        drop(walk.page(result));
        let pages = walk.finish();
        assert!(pages.tools.len() <= bounds.max_tools && pages.ttl <= bounds.tool_list_ttl);
        for listed in pages.tools.iter() {
            let schema = schema::for_model(&listed.input_schema);
            assert!(schema.get().starts_with('{'), "{}", schema.get());
            drop(mirror::headers(listed.mirrors(), result));
            drop(modern::header_text(&listed.name));
        }
    }
}
