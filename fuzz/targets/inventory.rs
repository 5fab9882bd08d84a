//! The names that a model gets: legal, unique, nobody else's, and each leads back to its tool.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus_mcp::{Inventory, ServerTools, Tool};
use serde_json::value::RawValue;
use std::collections::HashSet;

fn tool(name: &str, schema: &str) -> Tool {
    let schema = RawValue::from_string(schema.to_owned())
        .unwrap_or_else(|_| RawValue::from_string("{}".to_owned()).unwrap());
    Tool::new(name.to_owned(), None, schema, false)
}

/// Names are unique within a server: a list is read that way.
fn server(label: String, tools: &[(&str, &str)]) -> ServerTools {
    let mut seen = HashSet::new();
    let tools = tools.iter().filter(|(name, _)| seen.insert(*name));
    ServerTools {
        label,
        tools: tools.map(|(name, schema)| tool(name, schema)).collect(),
        allowed: None,
    }
}

fuzz_target!(|input: (Vec<&str>, Vec<Vec<(&str, &str)>>)| {
    let (taken, servers) = input;
    let numbered = servers.iter().enumerate();
    let servers: Vec<ServerTools> = numbered
        .map(|(at, tools)| server(format!("{}{at}", taken.first().unwrap_or(&"s")), tools))
        .collect();
    let count: usize = servers.iter().map(|server| server.tools.len()).sum();
    let inventory = Inventory::build(servers, &taken);
    let mut seen: HashSet<&str> = taken.iter().copied().collect();
    for function in inventory.functions() {
        let wire = function.wire_name;
        assert!((1..=64).contains(&wire.len()), "{wire:?}");
        assert!(
            wire.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        );
        assert!(seen.insert(wire), "{wire:?} is somebody else's");
        let found = inventory.find(wire).unwrap();
        assert_eq!(
            (found.server, &found.tool.name),
            (function.server, &function.tool.name)
        );
        assert!(function.schema.get().starts_with('{'));
    }
    assert_eq!(inventory.functions().count(), count);
});
