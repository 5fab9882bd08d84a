//! Input that a tool asks for in the middle of a call. Source: specification 2026-07-28,
//! "Multi Round-Trip Requests".
//!
//! The server answers `input_required` instead of a result and forgets the call; whoever wants
//! to go on sends it again as a new request with the answers and the server's own state. Nobody
//! is here to ask, so every question to a person is declined, which lets the tool end in its own
//! words. Nothing else is offered.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::message::string;

/// How often one call is gone on with.
pub(crate) const MAX_ROUNDS: usize = 3;
/// Longest state that is carried back.
const MAX_STATE_BYTES: usize = 64 << 10;
/// Most questions of one round.
const MAX_QUESTIONS: usize = 16;

/// What the next request of a call carries.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// An answer for each question; `None` when there was none.
    pub(crate) responses: Option<Box<RawValue>>,
    /// The server's state, byte for byte; `None` when it gave none.
    pub(crate) state: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow, default, rename = "inputRequests")]
    questions: Option<BTreeMap<String, Question<'a>>>,
    #[serde(borrow, default, rename = "requestState")]
    state: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Question<'a> {
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
}

/// Declines what `result` asks for.
///
/// # Errors
/// Why the call cannot go on, as one sentence.
pub(crate) fn decline(result: &RawValue) -> Result<Round, &'static str> {
    let asked: Asked<'_> = serde_json::from_str(result.get())
        .map_err(|_| "the tool asks for input in a way that cannot be read")?;
    if asked
        .state
        .is_some_and(|state| state.get().len() > MAX_STATE_BYTES)
    {
        return Err("the tool asks for input and gives more state than is carried back");
    }
    let questions = asked.questions.unwrap_or_default();
    if questions.is_empty() && asked.state.is_none() {
        return Err("the tool asks for input without saying which");
    }
    if questions.len() > MAX_QUESTIONS {
        return Err("the tool asks for more input than is answered");
    }
    if !questions.values().all(Question::is_for_a_person) {
        return Err("the tool asks for input of a kind that is not offered here");
    }
    let declined = |name: &String| (name.clone(), json!({"action": "decline"}));
    let answers: BTreeMap<_, _> = questions.keys().map(declined).collect();
    Ok(Round {
        responses: Some(answers)
            .filter(|a| !a.is_empty())
            .and_then(|a| to_raw_value(&a).ok()),
        state: asked.state.map(ToOwned::to_owned),
    })
}

impl Question<'_> {
    fn is_for_a_person(&self) -> bool {
        self.method.and_then(string).as_deref() == Some("elicitation/create")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(text: &str) -> Result<Round, &'static str> {
        decline(&RawValue::from_string(text.to_owned()).unwrap())
    }

    #[test]
    fn questions_are_declined_and_the_state_is_kept_to_the_byte() {
        let both = round(
            r#"{"inputRequests":{"b":{"method":"elicitation/create","params":{"mode":"url"}},
            "a":{"method":"elicitation/create"}},"requestState":"\u0041 {\"x\":1}"}"#,
        )
        .unwrap();
        assert_eq!(
            both.responses.unwrap().get(),
            r#"{"a":{"action":"decline"},"b":{"action":"decline"}}"#
        );
        assert_eq!(both.state.unwrap().get(), r#""\u0041 {\"x\":1}""#);
        let state = round(r#"{"requestState":"s","inputRequests":{}}"#).unwrap();
        assert!(state.responses.is_none() && state.state.is_some());
        let question = round(r#"{"inputRequests":{"a":{"method":"elicitation/create"}}}"#).unwrap();
        assert!(question.responses.is_some() && question.state.is_none());
    }

    #[test]
    fn what_cannot_be_answered_ends_the_call() {
        let large = format!(r#"{{"requestState":"{}"}}"#, "x".repeat(MAX_STATE_BYTES));
        assert!(round(&large).unwrap_err().contains("more state"));
        assert!(round("{}").unwrap_err().contains("without saying which"));
        assert!(round(r#"{"inputRequests":[1]}"#).is_err());
        for method in ["sampling/createMessage", "roots/list", "new"] {
            let text = format!(r#"{{"inputRequests":{{"a":{{"method":"{method}"}}}}}}"#);
            assert!(
                round(&text).unwrap_err().contains("not offered"),
                "{method}"
            );
        }
        let many: BTreeMap<_, _> = (0..=MAX_QUESTIONS)
            .map(|n| (n.to_string(), json!({"method": "elicitation/create"})))
            .collect();
        assert!(round(&json!({"inputRequests": many}).to_string()).is_err());
    }
}
