use super::*;
use portunus_protocol::event::Event;
use portunus_protocol::item::{Content, FunctionCall, FunctionCallOutput, Item, Message};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;

fn tool(name: &str, description: &str, schema: &Value) -> ToolDef {
    let raw = RawValue::from_string(schema.to_string()).unwrap();
    ToolDef {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        parameters: Arc::from(raw),
        strict: None,
        custom: false,
    }
}

fn texts(required: &[&str]) -> Value {
    let properties: serde_json::Map<String, Value> = required
        .iter()
        .map(|key| ((*key).to_owned(), json!({"type": "string"})))
        .collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn docs() -> Vec<ToolDef> {
    vec![
        tool(
            "list_pages",
            "List the pages of the documentation.",
            &json!({"type": "object", "properties": {}}),
        ),
        tool(
            "read_page",
            "Read one page of the documentation, whole.",
            &texts(&["page"]),
        ),
        tool(
            "search_docs",
            "Search the documentation for a question or for words.",
            &texts(&["query"]),
        ),
    ]
}

fn user(text: &str) -> Arc<Item> {
    Arc::new(Item::Message(Message {
        role: "user".to_owned(),
        content: Content::Text(text.to_owned()),
        ..Message::default()
    }))
}

fn turn(question: &str, tools: Vec<ToolDef>) -> TurnRequest {
    TurnRequest {
        model: "demo".to_owned(),
        input: vec![user(question)],
        tools,
        ..TurnRequest::default()
    }
}

fn answered(mut turn: TurnRequest, rounds: &[(&str, &str)]) -> TurnRequest {
    for (at, (name, output)) in rounds.iter().enumerate() {
        let call_id = format!("call_{at}");
        turn.input.push(Arc::new(Item::FunctionCall(FunctionCall {
            call_id: call_id.clone(),
            name: (*name).to_owned(),
            arguments: "{}".to_owned(),
            ..FunctionCall::default()
        })));
        turn.input
            .push(Arc::new(Item::FunctionCallOutput(FunctionCallOutput {
                call_id,
                output: Content::Text((*output).to_owned()),
                ..FunctionCallOutput::default()
            })));
    }
    turn
}

/// `name arguments` of the call, or the text.
fn said(turn: &TurnRequest) -> String {
    let events = DEMO.local(turn).unwrap();
    let items: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            TurnEvent::Item(Event::ItemDone { item, .. }) => {
                Some(serde_json::to_value(item).unwrap())
            }
            _ => None,
        })
        .collect();
    let [item] = items.as_slice() else {
        panic!("one item, not {items:?}")
    };
    assert!(matches!(events.last(), Some(TurnEvent::End(_))));
    match item["type"].as_str() {
        Some("function_call") => format!(
            "{} {}",
            item["name"].as_str().unwrap(),
            item["arguments"].as_str().unwrap()
        ),
        Some("custom_tool_call") => format!(
            "{} {}",
            item["name"].as_str().unwrap(),
            item["input"].as_str().unwrap()
        ),
        _ => item["content"][0]["text"].as_str().unwrap().to_owned(),
    }
}

const QUESTION: &str =
    "What transport protocols are supported in the 2025-03-26 version of the MCP spec?";

#[test]
fn a_question_is_searched_for() {
    assert_eq!(
        said(&turn(QUESTION, docs())),
        r#"search_docs {"query":"transport protocols supported 2025-03-26 version MCP spec"}"#
    );
    let own = "Search the documentation: which transports of MCP servers does Portunus speak?";
    assert_eq!(
        said(&turn(own, docs())),
        r#"search_docs {"query":"documentation transports MCP servers Portunus speak"}"#
    );
}

#[test]
fn what_was_found_is_read_and_then_quoted() {
    let found = "## README > Start\n\nRun it.\n\n## ARCHITECTURE > Transports\n\nMCP servers are spoken to over two transports.";
    let asked = answered(turn(QUESTION, docs()), &[("search_docs", found)]);
    assert_eq!(said(&asked), r#"read_page {"page":"ARCHITECTURE"}"#);
    let page = "# Architecture\n\nNothing of interest is here.\n\n## Transports\n\nThe supported transport protocols of the spec version 2025-03-26 are stdio and Streamable HTTP.\n\nMore.";
    let asked = answered(
        turn(QUESTION, docs()),
        &[("search_docs", found), ("read_page", page)],
    );
    let text = said(&asked);
    assert!(
        text.contains("> The supported transport protocols"),
        "{text}"
    );
    assert!(text.contains("`read_page` said"), "{text}");
    assert!(!text.contains("Nothing of interest"), "{text}");
    assert!(text.ends_with(LABEL), "{text}");
}

#[test]
fn arguments_come_from_the_prompt() {
    let number = json!({"type": "number"});
    let add = json!({"type": "object", "properties": {"a": number, "b": {"type": "integer"}}, "required": ["a", "b"]});
    let unit = json!({"type": "object", "properties": {"city": {"type": "string"}, "unit": {"enum": ["kelvin", "celsius"]}}, "required": ["city", "unit"]});
    let list = json!({"type": "object", "properties": {"numbers": {"type": "array", "items": number}}, "required": ["numbers"]});
    let owner = texts(&["owner", "repo"]);
    for (question, tool, expected) in [
        (
            "What is 2.5 plus 40?",
            tool("add", "Adds two numbers", &add),
            r#"add {"a":2.5,"b":40}"#,
        ),
        (
            "Weather in New York in celsius?",
            tool("get_weather", "The weather", &unit),
            r#"get_weather {"city":"New York","unit":"celsius"}"#,
        ),
        (
            "Sum up 1, 2 and -3",
            tool("sum", "Sums numbers", &list),
            r#"sum {"numbers":[1,2,-3]}"#,
        ),
        (
            "How does vercel/ai stream?",
            tool(
                "ask_question",
                "Ask about a repository",
                &texts(&["repoName", "question"]),
            ),
            r#"ask_question {"repoName":"vercel/ai","question":"How does vercel/ai stream?"}"#,
        ),
        (
            "Which issues has https://github.com/a-b/c.d open?",
            tool("list_issues", "Issues", &owner),
            r#"list_issues {"owner":"a-b","repo":"c.d"}"#,
        ),
        (
            "Echo \"good day\" to me",
            tool("echo", "Says it again", &texts(&["message"])),
            r#"echo {"message":"good day"}"#,
        ),
        (
            "Roll 2d4+1",
            tool("roll", "Rolls dice", &texts(&["diceRollExpression"])),
            r#"roll {"diceRollExpression":"2d4+1"}"#,
        ),
        (
            "Create a payment link for $20",
            tool(
                "create_payment_link",
                "Makes a link",
                &json!({"type": "object", "properties": {"price": {"type": ["integer", "null"]}, "quantity": {"type": "integer", "default": 1}}, "required": ["price", "quantity"]}),
            ),
            r#"create_payment_link {"price":20,"quantity":1}"#,
        ),
    ] {
        assert_eq!(said(&turn(question, vec![tool])), expected);
    }
}

#[test]
fn a_tool_that_cannot_be_filled_or_does_not_fit_is_left_alone() {
    let repo = tool(
        "ask_question",
        "Ask about a repository",
        &texts(&["repoName", "question"]),
    );
    let text = said(&turn("What is love?", vec![repo]));
    assert!(text.contains("None of the tools seems to fit"), "{text}");
    let text = said(&turn("Hello", docs()));
    assert!(text.contains("list_pages"), "{text}");
}

#[test]
fn tool_choice_is_kept() {
    let none = TurnRequest {
        tool_choice: Choice::None,
        ..turn(QUESTION, docs())
    };
    assert!(said(&none).contains("Without tools"));
    let required = TurnRequest {
        tool_choice: Choice::Required,
        ..turn("Hello", docs())
    };
    assert_eq!(said(&required), "list_pages {}");
    let forced = TurnRequest {
        tool_choice: Choice::Function("read_page".to_owned()),
        ..turn("read `README`", docs())
    };
    assert_eq!(said(&forced), r#"read_page {"page":"README"}"#);
}

#[test]
fn a_custom_tool_gets_free_text() {
    let mut custom = tool("run_code", "Runs code", &Value::Null);
    custom.custom = true;
    assert_eq!(said(&turn("run code `1+1`", vec![custom])), "run_code 1+1");
}

#[test]
fn without_tools_or_words_it_says_so() {
    for (question, part) in [("Hi", "You asked: \"Hi\""), ("", "There is no question")] {
        let text = said(&turn(question, Vec::new()));
        assert!(text.contains(part) && text.ends_with(LABEL), "{text}");
    }
    let empty = answered(
        turn(QUESTION, docs()),
        &[("search_docs", ""), ("read_page", "")],
    );
    assert!(said(&empty).contains("said nothing"));
}

#[test]
fn the_same_turn_gives_the_same_answer_and_long_results_are_cut_at_a_sentence() {
    let long = "The MCP spec has transports. ".repeat(200);
    let asked = answered(
        turn(QUESTION, docs()),
        &[("search_docs", "none"), ("read_page", &long)],
    );
    let text = said(&asked);
    assert_eq!(text, said(&asked));
    assert!(
        text.len() < 900 && text.contains("transports.\n\n("),
        "{text}"
    );
}
