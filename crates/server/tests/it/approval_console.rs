//! The approvals API of the admin plane.

use crate::harness::Answer;
use crate::trip::{Open, Trip, items, text, word_on};
use portunus::settings::PayloadLevel;
use portunus_store::NewWorkspace;
use serde_json::{Value, json};

const PATH: &str = "/v1/portunus/approvals";

impl Trip {
    async fn decide(&self, open: &Open, word: &str, body: Option<&Value>) -> Answer {
        let path = format!("{PATH}/{}/{word}", open.id);
        self.gateway.admin("POST", &path, body).await
    }

    async fn approval(&self, open: &Open) -> Value {
        let answer = self
            .gateway
            .admin("GET", &format!("{PATH}/{}", open.id), None)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    async fn listed(&self, query: &str) -> Vec<String> {
        let path = format!("{PATH}{query}");
        let list = self.gateway.admin("GET", &path, None).await.json();
        assert_eq!(list["object"], "list");
        let rows = list["data"].as_array().unwrap();
        let ids = rows
            .iter()
            .map(|row| row["id"].as_str().unwrap().to_owned());
        ids.collect()
    }
}

#[tokio::test]
async fn what_a_person_decides_by() {
    let trip = Trip::new().await;
    let open = trip.ask().await;
    let shown = trip.approval(&open).await;
    for (field, value) in [
        ("object", json!("approval")),
        ("state", json!("pending")),
        ("response_id", open.response["id"].clone()),
        ("server_label", json!("manual")),
        ("server_url", json!(trip.mcp.url("/<redacted>"))),
        ("tool", json!("search_docs")),
        ("changed", json!(false)),
        ("newest", json!(null)),
        ("decided_by", json!(null)),
        ("used_at", json!(null)),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    assert_eq!(shown["definition"]["description"], "Search the manual.");
    assert_eq!(shown["definition"]["input_schema"]["required"][0], "query");
    let arguments = shown["arguments"].as_str().unwrap();
    let arguments: Value = serde_json::from_str(arguments).unwrap();
    assert_eq!(arguments, open.arguments);
}

#[tokio::test]
async fn lists_are_by_state_and_page() {
    let trip = Trip::new().await;
    let [first, second, third] = [trip.ask().await, trip.ask().await, trip.ask().await];
    trip.decide(&second, "deny", None).await;
    trip.completed(word_on(&third, true)).await;
    assert_eq!(trip.listed("").await, [&*third.id, &*second.id, &*first.id]);
    assert_eq!(trip.listed("?state=pending").await, [&*first.id]);
    assert_eq!(trip.listed("?state=denied").await, [&*second.id]);
    assert_eq!(trip.listed("?state=used").await, [&*third.id]);
    assert_eq!(
        trip.listed("?pageSize=1&currentPage=1").await,
        [&*second.id]
    );
    for (query, param) in [("?state=open", "state"), ("?key=x", "key")] {
        let path = format!("{PATH}{query}");
        let answer = trip.gateway.admin("GET", &path, None).await;
        assert_eq!((answer.status.as_u16(), &*answer.param()), (400, param));
    }
}

#[tokio::test]
async fn an_approval_in_the_console_runs_nothing_by_itself() {
    let trip = Trip::new().await;
    let open = trip.ask().await;
    // What is no decision is passed over.
    let body = json!({"reason": "looks fine", "state": "used", "decided_by": "nobody"});
    let decided = trip.decide(&open, "approve", Some(&body)).await;
    assert_eq!(decided.status, 200, "{}", decided.text);
    let decided = decided.json();
    assert_eq!(decided["state"], "approved");
    assert_eq!(decided["reason"], "looks fine");
    assert_eq!(decided["decided_by"], "admin");
    assert!(trip.mcp.calls().is_empty());
    let second = trip.decide(&open, "deny", None).await;
    assert_eq!(
        (second.status.as_u16(), second.code()),
        (409, "not_pending".to_owned())
    );
    trip.completed(word_on(&open, true)).await;
    assert_eq!(trip.mcp.calls().len(), 1);
    assert_eq!(trip.approval(&open).await["state"], "used");
}

#[tokio::test]
async fn the_callers_no_stands_against_a_yes_of_the_console() {
    let trip = Trip::new().await;
    let open = trip.ask().await;
    trip.decide(&open, "approve", None).await;
    trip.completed(word_on(&open, false)).await;
    assert!(trip.mcp.calls().is_empty());
}

#[tokio::test]
async fn a_no_of_the_console_stands_against_the_callers_yes() {
    let trip = Trip::new().await;
    let open = trip.ask().await;
    let body = json!({"reason": "never in production"});
    assert_eq!(trip.decide(&open, "deny", Some(&body)).await.status, 200);
    let mut fields = word_on(&open, true);
    fields["input"][0]["reason"] = "I am sure".into();
    let response = trip.completed(fields).await;
    assert!(trip.mcp.calls().is_empty());
    assert!(items(&response, "mcp_call").is_empty());
    let text = text(&response);
    assert!(text.contains("never in production"), "{text}");
    assert!(!text.contains("I am sure"), "{text}");
    // In later turns the denied call is still there for the model.
    let next = json!({"previous_response_id": response["id"], "input": "go on", "tools": []});
    trip.completed(next).await;
}

#[tokio::test]
async fn a_changed_tool_shows_both_definitions() {
    let trip = Trip::new().await;
    let open = trip.ask().await;
    trip.mcp.describe("Delete the manual.");
    let newer = trip.ask().await;
    let shown = trip.approval(&open).await;
    assert_eq!(shown["changed"], true);
    assert_eq!(shown["definition"]["description"], "Search the manual.");
    assert_eq!(shown["newest"]["id"], newer.id);
    assert_eq!(
        shown["newest"]["definition"]["description"],
        "Delete the manual."
    );
    assert_eq!(trip.approval(&newer).await["changed"], false);
}

#[tokio::test]
async fn approvals_stay_in_their_workspace() {
    let trip = Trip::new().await;
    let open = trip.ask().await;
    let new = NewWorkspace {
        name: "Other".to_owned(),
        slug: "other".to_owned(),
    };
    let other = trip.gateway.app.store.create_workspace(new).await.unwrap();
    let scopes = ["approvals.list", "approvals.update"];
    let stranger = trip.gateway.key_in(&other.id, &scopes).await;
    let one = format!("{PATH}/{}", open.id);
    for (method, path) in [
        ("GET", one.clone()),
        ("POST", format!("{one}/approve")),
        ("POST", format!("{one}/deny")),
        ("POST", format!("{one}/deny?workspace_id=ws-default")),
    ] {
        let answer = trip.gateway.call(&stranger, method, &path, None).await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text);
    }
    let list = trip.gateway.call(&stranger, "GET", PATH, None).await;
    assert_eq!(list.json()["total"], 0);
    assert_eq!(trip.approval(&open).await["state"], "pending");
    let own = trip.gateway.key(&scopes).await;
    let path = format!("{one}/approve");
    let answer = trip.gateway.call(&own, "POST", &path, None).await.json();
    assert_eq!(answer["state"], "approved");
    assert_ne!(answer["decided_by"], "admin");
}

#[tokio::test]
async fn arguments_are_shown_as_far_as_the_log_keeps_them() {
    for (level, shown) in [
        (PayloadLevel::None, false),
        (PayloadLevel::Metadata, false),
        (PayloadLevel::Redacted, true),
        (PayloadLevel::Full, true),
    ] {
        let trip = Trip::with(|settings| settings.log.payload = level).await;
        let question = "Search the manual for sk-proj-0123456789abcdef";
        let open = trip.ask_with(json!({"input": question})).await;
        let arguments = &trip.approval(&open).await["arguments"];
        assert_eq!(arguments.is_string(), shown, "{level:?}");
        let secret = arguments.to_string().contains("0123456789abcdef");
        assert_eq!(
            secret,
            level == PayloadLevel::Full,
            "{level:?}: {arguments}"
        );
    }
}

#[tokio::test]
async fn a_reason_is_bounded_and_plain() {
    let trip = Trip::new().await;
    let open = trip.ask().await;
    for reason in ["x".repeat(513), "a\u{1b}[2J".to_owned()] {
        let body = json!({"reason": reason});
        let answer = trip.decide(&open, "deny", Some(&body)).await;
        assert_eq!((answer.status.as_u16(), &*answer.param()), (400, "reason"));
    }
    assert_eq!(trip.approval(&open).await["state"], "pending");
}
