//! Responses that outlive their request: read, listed, deleted, continued.

use crate::trip::{Trip, items, only, text, word, word_on};
use portunus::settings::ServerUrl;
use portunus_store::{DEFAULT_WORKSPACE_ID, NewWorkspace};
use serde_json::{Value, json};

fn path_of(response: &Value) -> String {
    format!("/v1/responses/{}", response["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_response_is_read_as_it_was_answered() {
    let trip = Trip::new().await;
    let response = trip.completed(json!({"input": "Hello", "tools": []})).await;
    assert_eq!(response["store"], true);
    let path = path_of(&response);
    let answer = trip.get(&format!("{path}?include[]=x&stream=false")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.json(), response);
    let streamed = trip
        .get(&format!("{path}?stream=true&starting_after=3"))
        .await;
    assert_eq!(
        (streamed.status.as_u16(), &*streamed.param()),
        (400, "stream")
    );
    for query in ["stream=maybe", "starting_after=x"] {
        let answer = trip.get(&format!("{path}?{query}")).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (400, "invalid_type")
        );
    }
}

#[tokio::test]
async fn a_response_is_deleted_once() {
    let trip = Trip::new().await;
    let response = trip.completed(json!({"input": "Hello", "tools": []})).await;
    let path = path_of(&response);
    let deleted = trip.gateway.call(&trip.key, "DELETE", &path, None).await;
    let expected = json!({"id": response["id"], "object": "response.deleted", "deleted": true});
    assert_eq!((deleted.status.as_u16(), deleted.json()), (200, expected));
    for method in ["DELETE", "GET"] {
        let answer = trip.gateway.call(&trip.key, method, &path, None).await;
        assert_eq!(answer.status, 404);
        let error = &answer.json()["error"];
        let id = response["id"].as_str().unwrap();
        assert_eq!(
            error["message"],
            format!("Response with id '{id}' not found.")
        );
        assert_eq!(error["type"], "invalid_request_error");
        assert!(error["code"].is_null() && error["param"].is_null());
    }
    let next = json!({"previous_response_id": response["id"], "input": "more", "tools": []});
    let answer = trip.post(next).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (400, "previous_response_not_found")
    );
    assert_eq!(answer.param(), "previous_response_id");
}

#[tokio::test]
async fn nothing_in_the_foreground_can_be_cancelled() {
    let trip = Trip::new().await;
    let response = trip.completed(json!({"input": "Hello", "tools": []})).await;
    let path = format!("{}/cancel", path_of(&response));
    let answer = trip.gateway.call(&trip.key, "POST", &path, None).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.param()),
        (400, "response_id")
    );
    assert_eq!(
        answer.json()["error"]["message"],
        "Cannot cancel a completed response."
    );
}

#[tokio::test]
async fn responses_of_others_are_not_there() {
    let trip = Trip::new().await;
    let response = trip.completed(json!({"input": "Hello", "tools": []})).await;
    let new = NewWorkspace {
        name: "Other".to_owned(),
        slug: "other".to_owned(),
    };
    let other = trip.gateway.app.store.create_workspace(new).await.unwrap();
    let scopes = ["completions.write"];
    let strangers = [
        trip.gateway.key(&scopes).await,
        trip.gateway.key_in(&other.id, &scopes).await,
    ];
    let path = path_of(&response);
    for stranger in &strangers {
        for (method, path) in [
            ("GET", path.clone()),
            ("GET", format!("{path}/input_items")),
            ("POST", format!("{path}/cancel")),
            ("DELETE", path.clone()),
        ] {
            let bearer = format!("Bearer {stranger}");
            for carrier in [
                ("x-portkey-api-key", stranger.as_str()),
                ("authorization", &bearer),
                ("x-api-key", stranger),
            ] {
                let answer = trip.gateway.send(method, &path, &[carrier], None).await;
                assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text);
            }
        }
        let next = json!({"previous_response_id": response["id"], "input": "x", "tools": []});
        let answer = trip.post_as(stranger, next).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (400, "previous_response_not_found")
        );
    }
    assert_eq!(trip.get(&path).await.status, 200);
}

fn ids(list: &Value) -> Vec<&str> {
    let data = list["data"].as_array().unwrap();
    data.iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect()
}

/// Pages that begin after one item and end before another.
async fn between(trip: &Trip, path: &str, ascending: &[&str]) {
    for (query, expected) in [
        (
            format!("order=asc&before={}", ascending[2]),
            &ascending[..2],
        ),
        (
            format!("order=asc&after={}&before={}", ascending[0], ascending[3]),
            &ascending[1..3],
        ),
        (format!("before={}", ascending[2]), &ascending[3..]),
        (
            format!("after={}&before={}", ascending[1], ascending[2]),
            &[],
        ),
    ] {
        let page = trip
            .get(&format!(
                "{path}?include[]=message.input_image.image_url&{query}"
            ))
            .await
            .json();
        assert_eq!(ids(&page), expected, "{query}");
    }
}

#[tokio::test]
async fn input_items_hold_the_chain() {
    let trip = Trip::new().await;
    let open = trip.ask().await;
    let done = trip.completed(word_on(&open, true)).await;
    let path = format!("{}/input_items", path_of(&done));
    let all = trip
        .get(&format!("{path}?order=asc&limit=100"))
        .await
        .json();
    let kinds: Vec<&str> = all["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["type"].as_str().unwrap())
        .collect();
    let expected = [
        "message",
        "mcp_list_tools",
        "mcp_approval_request",
        "mcp_approval_response",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(all["object"], "list");
    // A message has its content in parts, however it was sent.
    let message = &all["data"][0];
    assert_eq!(message["content"][0]["type"], "input_text");
    assert_eq!(message["status"], "completed");
    assert_eq!(all["has_more"], false);
    let ascending = ids(&all);
    assert_eq!(all["first_id"], ascending[0]);
    assert_eq!(all["last_id"], ascending[3]);
    // Newest first, in pages.
    let first = trip.get(&format!("{path}?limit=3")).await.json();
    assert_eq!(ids(&first), [ascending[3], ascending[2], ascending[1]]);
    assert_eq!(first["has_more"], true);
    let after = first["last_id"].as_str().unwrap();
    let second = trip
        .get(&format!("{path}?limit=3&after={after}"))
        .await
        .json();
    assert_eq!(ids(&second), [ascending[0]]);
    assert_eq!(second["has_more"], false);
    between(&trip, &path, &ascending).await;
    let empty = trip
        .get(&format!("{path}?after={}", ascending[0]))
        .await
        .json();
    assert!(empty["first_id"].is_null() && empty["last_id"].is_null());
    for (query, status, param) in [
        ("limit=0", 400, "limit"),
        ("limit=101", 400, "limit"),
        ("limit=many", 400, "limit"),
        ("order=up", 400, "order"),
        ("after=msg_0", 404, "after"),
        ("before=msg_0", 404, "before"),
    ] {
        let answer = trip.get(&format!("{path}?{query}")).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.param()),
            (status, param),
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_chain_of_three_remembers_its_beginning() {
    let trip = Trip::new().await;
    let open = trip.ask().await;
    let second = trip.completed(word_on(&open, true)).await;
    let fields = json!({"previous_response_id": second["id"], "input": "Search the manual again"});
    let third = trip.completed(fields).await;
    // The list is not told a third time, and the earlier call is not asked about again.
    assert!(items(&third, "mcp_list_tools").is_empty());
    let request = only(&third, "mcp_approval_request");
    assert_ne!(request["id"], open.id);
    let path = format!("{}/input_items?order=asc&limit=100", path_of(&third));
    let list = trip.get(&path).await.json();
    let kinds: Vec<&str> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["type"].as_str().unwrap())
        .collect();
    let expected = [
        "message",
        "mcp_list_tools",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "message",
        "message",
    ];
    assert_eq!(kinds, expected);
    let words = |response: &Value| response["usage"]["input_tokens"].as_u64().unwrap();
    assert!(
        words(&third) > words(&open.response),
        "the chain was not sent"
    );
    assert_eq!(trip.mcp.calls().len(), 1);
}

#[tokio::test]
async fn a_function_call_is_answered_by_previous_response_id() {
    let trip = Trip::new().await;
    let tool = json!({
        "type": "function", "name": "get_weather", "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    });
    let asked = trip
        .completed(json!({"input": "Get the weather of the city Paris", "tools": [tool]}))
        .await;
    let call = only(&asked, "function_call");
    let open = json!({"previous_response_id": asked["id"], "input": "and?", "tools": [tool]});
    let answer = trip.post(open).await;
    assert_eq!(answer.status, 400);
    let call_id = call["call_id"].as_str().unwrap();
    assert_eq!(
        answer.json()["error"]["message"],
        format!("No tool output found for function call {call_id}.")
    );
    let output = json!({"type": "function_call_output", "call_id": call_id, "output": "18 degrees and rain"});
    let fields = json!({"previous_response_id": asked["id"], "input": [output], "tools": [tool]});
    let done = trip.completed(fields).await;
    assert!(
        text(&done).contains("18 degrees and rain"),
        "{}",
        text(&done)
    );
    assert!(items(&done, "function_call").is_empty());
}

#[tokio::test]
async fn a_response_ends_with_its_time() {
    let trip = Trip::with(|settings| settings.state.response_days = 0).await;
    let response = trip.completed(json!({"input": "Hello", "tools": []})).await;
    assert_eq!(trip.get(&path_of(&response)).await.status, 404);
}

#[tokio::test]
async fn credentials_are_in_no_stored_response() {
    let trip = Trip::with(|settings| settings.response.server_url = ServerUrl::Full).await;
    let mut server = trip.server();
    server["server_url"] = trip.mcp.url("/canary-of-the-path").into();
    server["headers"] = json!({"x-token": "canary-of-a-header"});
    let question = "Search the manual for canary-of-a-header";
    let fields = json!({"input": question, "tools": [server]});
    let response = trip.completed(fields).await;
    let row = trip
        .gateway
        .app
        .store
        .response(DEFAULT_WORKSPACE_ID, response["id"].as_str().unwrap());
    let row = row.await.unwrap().unwrap();
    for text in [&row.response, &row.input] {
        assert!(!text.contains("canary"), "{text}");
        serde_json::from_str::<Value>(text).unwrap();
    }
    assert!(row.input.contains("Search the manual for <redacted>"));
    // The caller itself is told what it sent.
    assert!(response.to_string().contains("canary-of-the-path"));
    let request = only(&response, "mcp_approval_request");
    let word = word(request["id"].as_str().unwrap(), true);
    let next = json!({"previous_response_id": response["id"], "input": [word], "tools": [server]});
    only(&trip.completed(next).await, "mcp_call");
}
