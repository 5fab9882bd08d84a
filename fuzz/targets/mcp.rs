//! Messages of MCP servers: answers, lists of tools, schemas and results.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| portunus_mcp::fuzzing::message(text));
