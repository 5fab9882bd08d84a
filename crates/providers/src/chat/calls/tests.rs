use super::*;
use crate::turn::TurnEvent;
use portunus_protocol::event::Event;
use portunus_protocol::item::Item;
use serde_json::json;

/// (call id or "made", name, arguments, status) of each call.
fn run(deltas: &[Value], cut: bool) -> Vec<(String, String, String, String)> {
    let mut writer = TurnWriter::new();
    let mut calls = Calls::default();
    for delta in deltas {
        calls.delta(delta, &mut writer, &[]);
    }
    calls.finish(cut, &mut writer, &[]).unwrap();
    read(&mut writer)
}

fn read(writer: &mut TurnWriter) -> Vec<(String, String, String, String)> {
    let events = writer.take();
    let mut done: Vec<_> = events
        .into_iter()
        .filter_map(|event| match event {
            TurnEvent::Item(Event::ItemDone {
                item: Item::FunctionCall(call),
                output_index,
            }) => Some((output_index, call)),
            _ => None,
        })
        .collect();
    done.sort_by_key(|(index, _)| *index);
    done.into_iter()
        .map(|(_, call)| {
            let made = call.call_id.len() == 53 && call.call_id.starts_with("call_");
            let id = if made {
                "made".to_owned()
            } else {
                call.call_id
            };
            (id, call.name, call.arguments, call.status.unwrap())
        })
        .collect()
}

fn whole(calls: &[(&str, &str, &str)]) -> Vec<(String, String, String, String)> {
    let own = |text: &str| text.to_owned();
    calls
        .iter()
        .map(|(id, name, arguments)| (own(id), own(name), own(arguments), own("completed")))
        .collect()
}

fn delta(index: Option<u64>, id: Option<&str>, name: Option<&str>, arguments: &str) -> Value {
    json!({"index": index, "id": id, "function": {"name": name, "arguments": arguments}})
}

#[test]
fn index_known_appends() {
    let begin = delta(Some(0), Some("a"), Some("f"), "");
    for id in [None, Some(""), Some("a")] {
        let deltas = [
            begin.clone(),
            delta(Some(0), id, None, "{\"x\""),
            delta(Some(0), id, Some(""), ":1}"),
        ];
        assert_eq!(run(&deltas, false), whole(&[("a", "f", "{\"x\":1}")]));
    }
}

#[test]
fn a_new_id_with_a_name_begins_a_call_and_without_one_does_not() {
    let deltas = [
        delta(Some(0), Some("a"), Some("f"), "{}"),
        delta(Some(0), Some("b"), Some("g"), "{}"),
    ];
    assert_eq!(
        run(&deltas, false),
        whole(&[("a", "f", "{}"), ("b", "g", "{}")])
    );
    let deltas = [
        delta(Some(0), Some("a"), Some("f"), "{"),
        delta(Some(0), Some("b"), None, "}"),
    ];
    assert_eq!(run(&deltas, false), whole(&[("a", "f", "{}")]));
}

#[test]
fn without_index_ids_and_names_decide() {
    let deltas = [
        delta(None, Some("a"), Some("f"), "{"),
        delta(None, Some("b"), Some("f"), "{"),
        delta(None, Some("a"), None, "}"),
        delta(None, None, None, "}"),
        delta(None, None, Some("g"), "{}"),
    ];
    let calls = [("a", "f", "{}"), ("b", "f", "{}"), ("made", "g", "{}")];
    assert_eq!(run(&deltas, false), whole(&calls));
}

#[test]
fn a_missing_id_is_made_and_a_taken_one_replaced() {
    let deltas = [
        delta(Some(0), None, Some("f"), "{}"),
        delta(Some(1), Some("a"), Some("f"), "{}"),
        delta(Some(2), Some("a"), Some("g"), "{}"),
    ];
    let calls = [("made", "f", "{}"), ("a", "f", "{}"), ("made", "g", "{}")];
    assert_eq!(run(&deltas, false), whole(&calls));
}

#[test]
fn a_name_is_set_once_and_may_come_late() {
    let deltas = [
        delta(Some(0), Some("a"), None, "{"),
        delta(Some(0), None, Some("f"), ""),
        delta(Some(0), None, Some("f"), "}"),
    ];
    assert_eq!(run(&deltas, false), whole(&[("a", "f", "{}")]));
}

#[test]
fn a_name_again_after_whole_arguments_is_a_new_call() {
    let deltas = [
        delta(Some(0), None, Some("f"), "{\"a\":1}"),
        delta(Some(0), None, Some("g"), "{}"),
    ];
    let calls = [("made", "f", "{\"a\":1}"), ("made", "g", "{}")];
    assert_eq!(run(&deltas, false), whole(&calls));
}

#[test]
fn indices_need_not_be_dense_nor_stay_the_same() {
    let deltas = [
        delta(Some(1), Some("a"), Some("f"), ""),
        delta(Some(0), Some("a"), None, "{"),
        delta(Some(7), None, None, "}"),
    ];
    assert_eq!(run(&deltas, false), whole(&[("a", "f", "{}")]));
}

#[test]
fn arguments_may_be_an_object_or_null_or_nothing() {
    let object =
        json!({"index": 0, "id": 7, "function": {"name": "f", "arguments": {"b": 1, "a": [2]}}});
    assert_eq!(
        run(&[object], false),
        whole(&[("7", "f", "{\"b\":1,\"a\":[2]}")])
    );
    let null = json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": null}});
    assert_eq!(run(&[null], false), whole(&[("a", "f", "{}")]));
    let none = json!({"index": 0, "id": "a", "function": {"name": "f"}});
    assert_eq!(run(&[none], false), whole(&[("a", "f", "{}")]));
}

#[test]
fn a_cut_call_is_incomplete_and_keeps_its_text() {
    let status = |deltas: &[Value], cut| {
        let calls = run(deltas, cut);
        (calls[0].2.clone(), calls[0].3.clone())
    };
    let broken = [delta(Some(0), Some("a"), Some("f"), "{\n  \"city")];
    let expected = ("{\n  \"city".to_owned(), "incomplete".to_owned());
    assert_eq!(status(&broken, true), expected);
    // Not cut: the model's own words, for whoever runs the call to answer.
    assert_eq!(status(&broken, false), (expected.0, "completed".to_owned()));
    let empty = [delta(Some(0), Some("a"), Some("f"), "")];
    assert_eq!(
        status(&empty, true),
        (String::new(), "incomplete".to_owned())
    );
    let whole = [delta(Some(0), Some("a"), Some("f"), "{}")];
    assert_eq!(status(&whole, true).1, "completed");
}

#[test]
fn empty_fillers_are_no_calls_but_nameless_arguments_are_an_error() {
    assert!(run(&[json!({"index": 0, "function": {"name": ""}})], false).is_empty());
    let mut calls = Calls::default();
    let mut writer = TurnWriter::new();
    calls.delta(&delta(Some(0), Some("a"), None, "{}"), &mut writer, &[]);
    assert!(calls.finish(false, &mut writer, &[]).is_err());
}

#[test]
fn calls_of_a_whole_answer_never_merge() {
    let mut calls = Calls::default();
    let mut writer = TurnWriter::new();
    for name in ["f", "g"] {
        let call = json!({"id": "a", "function": {"name": name, "arguments": "{}"}});
        calls.whole(&call, &mut writer, &[]);
    }
    calls.finish(false, &mut writer, &[]).unwrap();
    assert_eq!(
        read(&mut writer),
        whole(&[("a", "f", "{}"), ("made", "g", "{}")])
    );
}

#[test]
fn a_custom_tool_comes_back_as_free_text() {
    let mut calls = Calls::default();
    let mut writer = TurnWriter::new();
    let custom = ["run".to_owned()];
    for text in ["{\"input\":\"1", "+1\"}"] {
        let piece = delta(Some(0), Some("a"), Some("run"), text);
        calls.delta(&piece, &mut writer, &custom);
    }
    assert!(writer.take().is_empty());
    calls.finish(false, &mut writer, &custom).unwrap();
    let done = writer.take().pop();
    let Some(TurnEvent::Item(Event::ItemDone {
        item: Item::CustomToolCall(call),
        ..
    })) = done
    else {
        panic!("no custom call: {done:?}")
    };
    assert_eq!((call.call_id.as_str(), call.input.as_str()), ("a", "1+1"));
}
