//! The model's brain: what it is asked, in no dialect, and what it answers.

use serde_json::Value;

use crate::arguments::fill;
use crate::fault::Fault;
use crate::script::{Planned, Script};

/// A function that the model may call.
#[derive(Clone, Debug)]
pub struct ToolView {
    /// Name on the wire.
    pub name: String,
    /// Description, empty when there is none.
    pub description: String,
    /// JSON schema of the arguments.
    pub schema: Value,
}

/// One request to the model.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Name of the model as asked.
    pub model: String,
    /// Text of the last user message.
    pub prompt: String,
    /// Functions on offer.
    pub tools: Vec<ToolView>,
    /// Tool results since the last user message, oldest first.
    pub results: Vec<String>,
    /// Rounds of tool calls since the last user message.
    pub rounds: usize,
    /// `tool_choice` is `none`.
    pub tools_off: bool,
    /// `parallel_tool_calls` is `false`.
    pub one_call: bool,
    /// Names that `tool_choice` leaves to choose from: the one it demands, or several.
    pub among: Option<Vec<String>>,
}

/// What the model answers.
#[derive(Clone, PartialEq, Debug)]
pub enum Decision {
    /// Calls, all in one turn.
    Calls(Vec<Planned>),
    /// The final text.
    Text(String),
}

impl Ask {
    /// The fault that this request's model name asks for.
    #[must_use]
    pub fn fault(&self) -> Fault {
        Fault::of(&self.model, self.rounds)
    }

    /// What the model thinks before it says anything: only models with `thinks` in their names do.
    #[must_use]
    pub fn thought(&self) -> Option<String> {
        let thinks = self.model.contains("thinks");
        thinks.then(|| format!("Thought {}.", self.rounds + 1))
    }

    /// Decides as described at [`Script`]; without marks it calls the tool whose name and
    /// description share most words with the prompt, then answers with the tool's result.
    #[must_use]
    pub fn decide(&self) -> Decision {
        let mut calls = self.calls();
        if self.one_call {
            calls.truncate(1);
        }
        if calls.is_empty() {
            Decision::Text(self.text())
        } else {
            Decision::Calls(calls)
        }
    }

    fn calls(&self) -> Vec<Planned> {
        let script = Script::parse(&self.prompt);
        if self.tools_off || self.tools.is_empty() || script.no_tool {
            return Vec::new();
        }
        if script.every_tool {
            let next = self.tools.get(self.rounds);
            return next.map(|t| self.filled(t)).into_iter().collect();
        }
        if self.rounds == 0 || self.fault() == Fault::Endless {
            return self.first_round(&script);
        }
        script
            .then
            .get(self.rounds - 1)
            .map(|c| self.resolved(c))
            .into_iter()
            .collect()
    }

    fn first_round(&self, script: &Script) -> Vec<Planned> {
        if !script.first.is_empty() {
            return script.first.iter().map(|c| self.resolved(c)).collect();
        }
        let call = self.free_choice();
        let times = if self.model == "two-calls" { 2 } else { 1 };
        call.map(|c| vec![c; times]).unwrap_or_default()
    }

    /// A mark's name as the wire name: itself, or the one qualified name that ends in it.
    fn resolved(&self, call: &Planned) -> Planned {
        let ending = format!("__{}", call.name);
        let exact = self.tools.iter().find(|t| t.name == call.name);
        let found = exact.or_else(|| self.tools.iter().find(|t| t.name.ends_with(&ending)));
        let name = found.map_or(&call.name, |t| &t.name).clone();
        Planned {
            name,
            arguments: call.arguments.clone(),
        }
    }

    fn free_choice(&self) -> Option<Planned> {
        let open = |t: &&ToolView| {
            self.among
                .as_ref()
                .is_none_or(|names| names.contains(&t.name))
        };
        let tools: Vec<&ToolView> = self.tools.iter().filter(open).collect();
        let words = words(&self.prompt);
        let best = tools.iter().rev().max_by_key(|t| score(t, &words))?;
        let tool = if score(best, &words) < 3 {
            tools.first()?
        } else {
            best
        };
        Some(self.filled(tool))
    }

    fn filled(&self, tool: &ToolView) -> Planned {
        Planned {
            name: tool.name.clone(),
            arguments: fill(&tool.schema, &self.prompt),
        }
    }

    fn text(&self) -> String {
        if self.fault() == Fault::Slow {
            return "word ".repeat(200);
        }
        if self.results.is_empty() {
            return format!("You said: {}", self.prompt);
        }
        format!("The tool said: {}", self.results.join("; "))
    }
}

/// Three points for each word of the name in the prompt, one for each of the description.
fn score(tool: &ToolView, prompt: &[String]) -> usize {
    let hits = |text: &str| words(text).iter().filter(|w| prompt.contains(w)).count();
    3 * hits(&tool.name) + hits(&tool.description)
}

/// Words that say nothing about a tool.
const EMPTY_WORDS: [&str; 8] = ["and", "are", "for", "get", "that", "the", "what", "with"];

/// The distinct telling words of a text, in lower case.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| w.len() > 2)
        .map(str::to_lowercase)
        .filter(|w| !EMPTY_WORDS.contains(&w.as_str()))
        .collect();
    words.sort_unstable();
    words.dedup();
    words
}

#[cfg(test)]
mod tests {
    use super::{Ask, Decision, ToolView};
    use serde_json::json;

    fn tool(name: &str, required: &[&str]) -> ToolView {
        let schema = json!({"type": "object", "required": required});
        ToolView {
            name: name.to_owned(),
            description: String::new(),
            schema,
        }
    }

    fn names(ask: &Ask) -> Vec<String> {
        match ask.decide() {
            Decision::Calls(calls) => calls.into_iter().map(|c| c.name).collect(),
            Decision::Text(text) => panic!("no call but {text}"),
        }
    }

    fn ask(prompt: &str) -> Ask {
        let tools = vec![
            tool("echo", &["message"]),
            tool("a__get-sum", &[]),
            tool("b__get-sum", &[]),
        ];
        Ask {
            prompt: prompt.to_owned(),
            tools,
            ..Ask::default()
        }
    }

    #[test]
    fn words_choose_the_tool_and_the_first_one_is_the_default() {
        assert_eq!(names(&ask("What is the sum of 2 and 3?")), ["a__get-sum"]);
        assert_eq!(names(&ask("Which protocols are there?")), ["echo"]);
    }

    #[test]
    fn a_choice_may_be_narrowed() {
        let among = Some(vec!["b__get-sum".to_owned()]);
        assert_eq!(
            names(&Ask {
                among,
                ..ask("What is the sum?")
            }),
            ["b__get-sum"]
        );
    }

    #[test]
    fn marks_beat_words_and_may_name_the_unqualified_tool() {
        let both = ask("[call b__get-sum {}] [call echo {}]");
        assert_eq!(names(&both), ["b__get-sum", "echo"]);
        assert_eq!(names(&ask("[call get-sum {}]")), ["a__get-sum"]);
        assert_eq!(
            names(&Ask {
                one_call: true,
                ..both
            }),
            ["b__get-sum"]
        );
    }

    #[test]
    fn the_answer_holds_the_result() {
        let done = Ask {
            rounds: 1,
            results: vec!["5".to_owned()],
            ..ask("sum")
        };
        assert_eq!(done.decide(), Decision::Text("The tool said: 5".to_owned()));
    }

    #[test]
    fn every_tool_is_called_once() {
        let round = |rounds| Ask {
            rounds,
            ..ask("[every tool]")
        };
        let called: Vec<String> = (0..3).flat_map(|at| names(&round(at))).collect();
        assert_eq!(called, ["echo", "a__get-sum", "b__get-sum"]);
        assert!(matches!(round(3).decide(), Decision::Text(_)));
    }

    #[test]
    fn later_rounds_follow_the_marks() {
        let second = Ask {
            rounds: 1,
            ..ask("[call echo {}] [then a__get-sum {}]")
        };
        assert_eq!(names(&second), ["a__get-sum"]);
    }
}
