//! Which tool calls wait for a person: a pure decision.

use portunus_protocol::request::{RequireApproval, ToolFilter};

use crate::tool::Tool;

/// What to do with a call that the model asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Run it now.
    Run,
    /// Ask first.
    Ask,
}

/// Judges one call. A tool that no filter names, or both, is asked about: to ask too often can
/// be repaired, to run too often cannot.
#[must_use]
pub fn decide(policy: &RequireApproval, tool: &Tool) -> Decision {
    let matches = |filter: &Option<ToolFilter>| {
        filter
            .as_ref()
            .is_some_and(|filter| filter.matches(&tool.name, tool.read_only))
    };
    match policy {
        RequireApproval::Never => Decision::Run,
        RequireApproval::Filters { always, never } if matches(never) && !matches(always) => {
            Decision::Run
        }
        RequireApproval::Always | RequireApproval::Filters { .. } => Decision::Ask,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    fn names(names: &[&str]) -> Option<ToolFilter> {
        let tool_names = Some(names.iter().map(|&name| name.to_owned()).collect());
        Some(ToolFilter {
            tool_names,
            read_only: None,
        })
    }

    fn hint(read_only: bool) -> Option<ToolFilter> {
        Some(ToolFilter {
            tool_names: None,
            read_only: Some(read_only),
        })
    }

    fn check(policy: &RequireApproval, name: &str, read_only: bool, expected: Decision) {
        let schema = RawValue::from_string("{}".to_owned()).unwrap();
        let tool = Tool::new(name.to_owned(), None, schema, read_only);
        assert_eq!(
            decide(policy, &tool),
            expected,
            "{policy:?} {name} {read_only}"
        );
    }

    #[test]
    fn table() {
        use Decision::{Ask, Run};
        let filters = |always, never| RequireApproval::Filters { always, never };
        check(&RequireApproval::default(), "a", true, Ask);
        check(&RequireApproval::Always, "a", true, Ask);
        check(&RequireApproval::Never, "a", false, Run);
        check(&filters(None, None), "a", true, Ask);
        check(&filters(None, names(&["a"])), "a", false, Run);
        check(&filters(None, names(&["a"])), "b", true, Ask);
        check(&filters(None, names(&["a"])), "A", true, Ask);
        check(&filters(names(&["a"]), None), "a", true, Ask);
        check(&filters(names(&["a"]), None), "b", true, Ask);
        check(&filters(None, hint(true)), "a", true, Run);
        check(&filters(None, hint(true)), "a", false, Ask);
        check(&filters(names(&["a"]), hint(true)), "a", true, Ask);
        check(&filters(names(&["a"]), hint(true)), "b", true, Run);
        let empty = Some(ToolFilter::default());
        check(&filters(None, empty.clone()), "a", true, Ask);
        let both = Some(ToolFilter {
            read_only: Some(true),
            ..names(&["a"]).unwrap()
        });
        check(&filters(None, both.clone()), "a", true, Run);
        check(&filters(None, both), "a", false, Ask);
        check(&filters(empty, names(&["a"])), "a", true, Run);
    }
}
