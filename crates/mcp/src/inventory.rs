//! The tools that a model gets, over all servers of one request, under names that every
//! provider takes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use portunus_protocol::request::AllowedTools;
use serde_json::value::RawValue;

use crate::digest;
use crate::schema;
use crate::tool::Tool;

/// Tools of one server of the request.
#[derive(Clone, Debug)]
pub struct ServerTools {
    /// The server's label, unique in the request.
    pub label: String,
    /// As listed.
    pub tools: Arc<[Tool]>,
    /// The request's `allowed_tools`; `None` = all.
    pub allowed: Option<AllowedTools>,
}

/// The tools that `allowed_tools` lets through, in the server's order. A name that the server
/// does not have is no error.
#[must_use]
pub fn filter<'a>(tools: &'a [Tool], allowed: Option<&AllowedTools>) -> Vec<&'a Tool> {
    tools
        .iter()
        .filter(|tool| is_allowed(tool, allowed))
        .collect()
}

fn is_allowed(tool: &Tool, allowed: Option<&AllowedTools>) -> bool {
    allowed.is_none_or(|allowed| allowed.allows(&tool.name, tool.read_only))
}

/// Longest name that all providers take; `^[a-zA-Z0-9_-]{1,64}$`.
const MAX_WIRE_BYTES: usize = 64;
/// `_` and eight hexadecimal digits.
const SUFFIX_BYTES: usize = 9;

/// The allowed tools of all servers, each with a wire name of its own. Only what is in here
/// can be called: the filter holds at the call as it held at the list.
#[derive(Debug, Default)]
pub struct Inventory {
    servers: Vec<ServerTools>,
    entries: Vec<Entry>,
    by_wire: HashMap<String, usize>,
}

#[derive(Debug)]
struct Entry {
    wire: String,
    server: usize,
    tool: usize,
    schema: Box<RawValue>,
}

/// A tool found by its wire name.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Index into the servers that the inventory was built from.
    pub server: usize,
    /// The tool under its own name.
    pub tool: &'a Tool,
}

/// A tool as a function for the model.
#[derive(Clone, Copy, Debug)]
pub struct FunctionView<'a> {
    /// Name on the wire to the model.
    pub wire_name: &'a str,
    /// As the server sent it.
    pub description: Option<&'a str>,
    /// The schema in the form that providers take; the original is in `tool`.
    pub schema: &'a RawValue,
    /// Index into the servers that the inventory was built from.
    pub server: usize,
    /// The tool.
    pub tool: &'a Tool,
}

impl Inventory {
    /// An inventory without tools.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the allowed tools of `servers`. `taken` are the names that the model already
    /// knows. A tool keeps its plain name when that is legal and nobody else's; otherwise it
    /// becomes `<label>__<name>`, with a digest when something had to be changed or cut so
    /// that two names meet. The same input gives the same names.
    #[must_use]
    pub fn build(servers: Vec<ServerTools>, taken: &[&str]) -> Self {
        let allowed: Vec<(usize, usize)> = servers
            .iter()
            .enumerate()
            .flat_map(|(server, listed)| {
                let is_allowed = |tool: &Tool| is_allowed(tool, listed.allowed.as_ref());
                let indices = 0..listed.tools.len();
                indices
                    .filter(move |&tool| is_allowed(&listed.tools[tool]))
                    .map(move |tool| (server, tool))
            })
            .collect();
        let wires = wire_names(&servers, &allowed, taken);
        let entries: Vec<Entry> = allowed
            .into_iter()
            .zip(wires)
            .map(|((server, tool), wire)| {
                let schema = schema::for_model(&servers[server].tools[tool].input_schema);
                Entry {
                    wire,
                    server,
                    tool,
                    schema,
                }
            })
            .collect();
        let by_wire = entries
            .iter()
            .enumerate()
            .map(|(at, entry)| (entry.wire.clone(), at))
            .collect();
        Self {
            servers,
            entries,
            by_wire,
        }
    }

    /// The tool that a model means by `wire_name`.
    #[must_use]
    pub fn find(&self, wire_name: &str) -> Option<Found<'_>> {
        let entry = &self.entries[*self.by_wire.get(wire_name)?];
        Some(Found {
            server: entry.server,
            tool: self.tool(entry),
        })
    }

    /// All tools as functions, servers in order of the request, tools in order of the server.
    pub fn functions(&self) -> impl Iterator<Item = FunctionView<'_>> {
        self.entries.iter().map(|entry| FunctionView {
            wire_name: &entry.wire,
            description: self.tool(entry).description.as_deref(),
            schema: &entry.schema,
            server: entry.server,
            tool: self.tool(entry),
        })
    }

    /// The wire name of a tool of a server, if it is in here.
    #[must_use]
    pub fn wire_name(&self, server: usize, tool_name: &str) -> Option<&str> {
        self.entries
            .iter()
            .find(|entry| entry.server == server && self.tool(entry).name == tool_name)
            .map(|entry| entry.wire.as_str())
    }

    /// The servers that the inventory was built from.
    #[must_use]
    pub fn servers(&self) -> &[ServerTools] {
        &self.servers
    }

    fn tool(&self, entry: &Entry) -> &Tool {
        &self.servers[entry.server].tools[entry.tool]
    }
}

fn wire_names(servers: &[ServerTools], allowed: &[(usize, usize)], taken: &[&str]) -> Vec<String> {
    let name = |&(server, tool): &(usize, usize)| servers[server].tools[tool].name.as_str();
    let plain_counts = counts(allowed.iter().map(name));
    let is_plain = |name: &str| is_legal(name) && plain_counts[name] == 1 && !taken.contains(&name);

    let mut used: HashSet<String> = taken.iter().map(|&name| name.to_owned()).collect();
    used.extend(
        allowed
            .iter()
            .map(name)
            .filter(|name| is_plain(name))
            .map(str::to_owned),
    );

    let qualified: Vec<String> = allowed
        .iter()
        .map(|at| {
            format!(
                "{}__{}",
                legal_part(&servers[at.0].label),
                legal_part(name(at))
            )
        })
        .collect();
    let qualified_counts = counts(
        allowed
            .iter()
            .zip(&qualified)
            .filter(|(at, _)| !is_plain(name(at)))
            .map(|(_, q)| q.as_str()),
    );
    let mut wires = Vec::with_capacity(allowed.len());
    for (at, candidate) in allowed.iter().zip(&qualified) {
        let name = name(at);
        if is_plain(name) {
            wires.push(name.to_owned());
            continue;
        }
        let alone = qualified_counts[candidate.as_str()] == 1 && !used.contains(candidate);
        let wire = if alone && candidate.len() <= MAX_WIRE_BYTES {
            candidate.clone()
        } else {
            suffixed(candidate, &servers[at.0].label, name, &used)
        };
        used.insert(wire.clone());
        wires.push(wire);
    }
    wires
}

fn counts<'a>(names: impl Iterator<Item = &'a str>) -> HashMap<&'a str, usize> {
    names.fold(HashMap::new(), |mut counts, name| {
        *counts.entry(name).or_default() += 1;
        counts
    })
}

fn is_legal_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn is_legal(name: &str) -> bool {
    (1..=MAX_WIRE_BYTES).contains(&name.len()) && name.chars().all(is_legal_char)
}

fn legal_part(text: &str) -> String {
    text.chars()
        .map(|c| if is_legal_char(c) { c } else { '_' })
        .collect()
}

/// `candidate` cut to fit, with a digest of what it stands for. The digest is counted on in
/// the case, which takes an adversary, that the name is used all the same.
fn suffixed(candidate: &str, label: &str, name: &str, used: &HashSet<String>) -> String {
    let base = &candidate[..candidate.len().min(MAX_WIRE_BYTES - SUFFIX_BYTES)];
    let mut round = 0_u64;
    loop {
        let parts = [label.as_bytes(), name.as_bytes(), &round.to_be_bytes()];
        let wire = format!(
            "{base}_{}",
            &digest::hex(&digest::of(parts))[..SUFFIX_BYTES - 1]
        );
        if !used.contains(&wire) {
            return wire;
        }
        round += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_protocol::request::ToolFilter;

    fn tools(names: &[&str]) -> Arc<[Tool]> {
        let schema = || RawValue::from_string(r#"{"type":"object"}"#.to_owned()).unwrap();
        names
            .iter()
            .map(|name| Tool::new((*name).to_owned(), None, schema(), name.starts_with("get")))
            .collect()
    }

    fn server(label: &str, names: &[&str]) -> ServerTools {
        ServerTools {
            label: label.to_owned(),
            tools: tools(names),
            allowed: None,
        }
    }

    fn wires(servers: &[ServerTools], taken: &[&str]) -> Vec<String> {
        let inventory = Inventory::build(servers.to_vec(), taken);
        let wires: Vec<String> = inventory
            .functions()
            .map(|function| function.wire_name.to_owned())
            .collect();
        assert_eq!(
            wires.iter().collect::<HashSet<_>>().len(),
            wires.len(),
            "{wires:?}"
        );
        for (wire, function) in wires.iter().zip(inventory.functions()) {
            assert!(is_legal(wire) && !taken.contains(&wire.as_str()), "{wire}");
            let found = inventory.find(wire).unwrap();
            assert_eq!(
                (found.server, &found.tool.name),
                (function.server, &function.tool.name)
            );
            assert_eq!(
                inventory.wire_name(found.server, &found.tool.name),
                Some(wire.as_str())
            );
        }
        wires
    }

    #[test]
    fn plain_names_stay_and_equal_ones_are_qualified() {
        assert_eq!(wires(&[server("a", &["x", "y-Z_1"])], &[]), ["x", "y-Z_1"]);
        assert_eq!(
            wires(&[server("a", &["x", "y"]), server("b", &["x"])], &[]),
            ["a__x", "y", "b__x"]
        );
        assert_eq!(wires(&[server("a", &["x"])], &["x"]), ["a__x"]);
    }

    #[test]
    fn names_that_providers_refuse_are_rewritten_stably() {
        assert_eq!(
            wires(&[server("a", &["files.read"])], &[]),
            ["a__files_read"]
        );
        let met = wires(&[server("a", &["f.r", "f/r", "ünïcode 🙂"])], &[]);
        assert!(
            met[0].starts_with("a__f_r_") && met[1].starts_with("a__f_r_"),
            "{met:?}"
        );
        assert_eq!(met[2], "a___n_code__");
        let long = "x".repeat(200);
        let cut = wires(&[server("a", &[&long, &format!("{long}y")])], &[]);
        assert_eq!(cut[0].len(), 64);
        // Whoever else is there, the name stays.
        assert_eq!(
            wires(&[server("b", &["q"]), server("a", &[&long])], &[])[1],
            cut[0]
        );
    }

    #[test]
    fn crafted_collisions_do_not_route_to_another_tool() {
        let crafted = wires(
            &[server("a", &["x", "b__x"]), server("b", &["x"])],
            &["a__x"],
        );
        assert_eq!(crafted[1], "b__x");
        assert!(
            crafted[0].starts_with("a__x_") && crafted[2].starts_with("b__x_"),
            "{crafted:?}"
        );
        let again = suffixed("a__x", "a", "x", &HashSet::new());
        let next = suffixed("a__x", "a", "x", &HashSet::from([again.clone()]));
        assert_ne!(again, next);
    }

    #[test]
    fn only_allowed_tools_are_found() {
        let names =
            |list: &[&str]| AllowedTools::Names(list.iter().map(|&name| name.to_owned()).collect());
        let by_hint = |tool_names: Option<&[&str]>, read_only| {
            let tool_names =
                tool_names.map(|list| list.iter().map(|&name| name.to_owned()).collect());
            AllowedTools::Filter(ToolFilter {
                tool_names,
                read_only,
            })
        };
        let check = |allowed: Option<AllowedTools>, expected: &[&str]| {
            let listed = tools(&["get_a", "set_b", "get_c"]);
            let got: Vec<&str> = filter(&listed, allowed.as_ref())
                .iter()
                .map(|tool| tool.name.as_str())
                .collect();
            assert_eq!(got, expected, "{allowed:?}");
            let inventory = Inventory::build(
                vec![ServerTools {
                    label: "s".to_owned(),
                    tools: listed,
                    allowed,
                }],
                &[],
            );
            for name in ["get_a", "set_b", "get_c"] {
                assert_eq!(inventory.find(name).is_some(), expected.contains(&name));
            }
        };
        check(None, &["get_a", "set_b", "get_c"]);
        check(
            Some(names(&["get_c", "unknown", "get_a"])),
            &["get_a", "get_c"],
        );
        check(Some(names(&[])), &[]);
        check(Some(by_hint(None, Some(true))), &["get_a", "get_c"]);
        check(Some(by_hint(None, Some(false))), &["set_b"]);
        check(
            Some(by_hint(Some(&["get_a", "set_b"]), Some(true))),
            &["get_a"],
        );
        check(Some(by_hint(None, None)), &["get_a", "set_b", "get_c"]);
    }
}
