//! Marks in a prompt that say exactly which tools the fake model calls.

use serde_json::{Map, Value};

/// One call that a prompt asks for.
#[derive(Clone, PartialEq, Debug)]
pub struct Planned {
    /// The tool's name, or the part after `__` of a qualified one.
    pub name: String,
    /// The arguments as written in the prompt.
    pub arguments: Value,
}

/// The marks of one prompt: every `[call NAME {JSON}]` is called in the first round, all at once;
/// every `[then NAME {JSON}]` in a round of its own after that; `[every tool]` calls each tool on
/// offer once, one in a round; `[no tool]` forbids the free choice.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Script {
    /// Calls of the first round.
    pub first: Vec<Planned>,
    /// Calls of the later rounds, one each.
    pub then: Vec<Planned>,
    /// Each tool on offer, one in a round.
    pub every_tool: bool,
    /// No call at all.
    pub no_tool: bool,
}

impl Script {
    /// Reads the marks of `prompt`; text without marks gives an empty script.
    #[must_use]
    pub fn parse(prompt: &str) -> Self {
        let mut script = Self {
            every_tool: prompt.contains("[every tool]"),
            no_tool: prompt.contains("[no tool]"),
            ..Self::default()
        };
        for (at, _) in prompt.match_indices('[') {
            let rest = &prompt[at + 1..];
            if let Some(call) = rest.strip_prefix("call ").and_then(planned) {
                script.first.push(call);
            } else if let Some(call) = rest.strip_prefix("then ").and_then(planned) {
                script.then.push(call);
            }
        }
        script
    }
}

fn planned(text: &str) -> Option<Planned> {
    let end = text.find([' ', ']'])?;
    let (name, rest) = text.split_at(end);
    let arguments = serde_json::Deserializer::from_str(rest)
        .into_iter::<Value>()
        .next()
        .and_then(Result::ok)
        .unwrap_or_else(|| Value::Object(Map::new()));
    Some(Planned {
        name: name.to_owned(),
        arguments,
    })
}

#[cfg(test)]
mod tests {
    use super::Script;
    use serde_json::json;

    #[test]
    fn marks_are_read_in_order() {
        let script = Script::parse(r#"go [call add {"a":[1]}] [call ping] [then echo {"m":"x]"}]"#);
        let names: Vec<_> = script.first.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["add", "ping"]);
        assert_eq!(script.first[0].arguments, json!({"a": [1]}));
        assert_eq!(script.first[1].arguments, json!({}));
        assert_eq!(script.then[0].arguments, json!({"m": "x]"}));
    }

    #[test]
    fn plain_text_has_no_marks() {
        assert_eq!(Script::parse("What is [this]?"), Script::default());
    }
}
