//! A gateway, an MCP server whose calls need approval, and the way from the question to the
//! answer.

use crate::harness::{Answer, Gateway};
use crate::mcp::{Mcp, TOOL};
use portunus::settings::Settings;
use serde_json::{Value, json};

/// Makes the demo model call the tool.
const QUESTION: &str = "Search the manual for the life of tokens";

pub(crate) struct Trip {
    pub(crate) gateway: Gateway,
    pub(crate) mcp: Mcp,
    pub(crate) key: String,
}

/// A call that waits.
pub(crate) struct Open {
    /// The response that asks.
    pub(crate) response: Value,
    /// `mcpr_…`
    pub(crate) id: String,
    /// The arguments that were asked about.
    pub(crate) arguments: Value,
}

impl Trip {
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mcp = Mcp::start().await;
        let gateway = Gateway::with(|settings| {
            reach(settings, &mcp);
            change(settings);
        })
        .await;
        let key = gateway.caller().await;
        Self { gateway, mcp, key }
    }

    pub(crate) async fn restarted(self) -> Self {
        let Self { gateway, mcp, key } = self;
        let gateway = gateway.restarted(|settings| reach(settings, &mcp)).await;
        Self { gateway, mcp, key }
    }

    pub(crate) fn server(&self) -> Value {
        json!({"type": "mcp", "server_label": "manual", "server_url": self.mcp.url("/mcp")})
    }

    /// A request to the demo model, `fields` over the usual ones.
    pub(crate) fn body(&self, fields: Value) -> Value {
        let mut body = json!({"model": "@demo/demo", "tools": [self.server()]});
        let (Some(body_fields), Value::Object(fields)) = (body.as_object_mut(), fields) else {
            panic!("not an object");
        };
        body_fields.extend(fields);
        body
    }

    pub(crate) async fn post_as(&self, key: &str, fields: Value) -> Answer {
        let body = self.body(fields);
        self.gateway
            .call(key, "POST", "/v1/responses", Some(&body))
            .await
    }

    pub(crate) async fn post(&self, fields: Value) -> Answer {
        self.post_as(&self.key, fields).await
    }

    /// A response that must be completed.
    pub(crate) async fn completed(&self, fields: Value) -> Value {
        let answer = self.post(fields).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let response = answer.json();
        assert_eq!(response["status"], "completed", "{response:#}");
        response
    }

    /// Asks; the call waits.
    pub(crate) async fn ask(&self) -> Open {
        self.ask_with(json!({})).await
    }

    pub(crate) async fn ask_with(&self, fields: Value) -> Open {
        let mut all = json!({"input": QUESTION});
        all.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let before = self.mcp.calls().len();
        let response = self.completed(all).await;
        assert_eq!(self.mcp.calls().len(), before, "a call ran unapproved");
        opened(response)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.gateway.call(&self.key, "GET", path, None).await
    }
}

fn reach(settings: &mut Settings, mcp: &Mcp) {
    settings.mcp.allow = vec![mcp.host()];
    // A list is never used again: what changes at the server is seen at once.
    settings.mcp.tool_list_ttl_seconds = 0;
}

/// The call that a response waits for.
pub(crate) fn opened(response: Value) -> Open {
    let request = only(&response, "mcp_approval_request");
    assert_eq!(request["name"], TOOL);
    assert_eq!(request["server_label"], "manual");
    let arguments = serde_json::from_str(request["arguments"].as_str().unwrap()).unwrap();
    let id = request["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("mcpr_"), "{id}");
    Open {
        id,
        arguments,
        response,
    }
}

/// The answer to a request for approval.
pub(crate) fn word(id: &str, approve: bool) -> Value {
    json!({"type": "mcp_approval_response", "approval_request_id": id, "approve": approve})
}

/// The fields that continue a response with a word.
pub(crate) fn word_on(open: &Open, approve: bool) -> Value {
    json!({"previous_response_id": open.response["id"], "input": [word(&open.id, approve)]})
}

/// The items of a kind in the output.
pub(crate) fn items(response: &Value, kind: &str) -> Vec<Value> {
    let output = response["output"].as_array().unwrap();
    let of_kind = output.iter().filter(|item| item["type"] == kind);
    of_kind.cloned().collect()
}

/// The only item of a kind in the output.
pub(crate) fn only(response: &Value, kind: &str) -> Value {
    let mut found = items(response, kind);
    assert_eq!(found.len(), 1, "{kind} in {response:#}");
    found.remove(0)
}

/// The text of the answer.
pub(crate) fn text(response: &Value) -> String {
    let message = only(response, "message");
    message["content"][0]["text"].as_str().unwrap().to_owned()
}

/// The events of a streamed answer.
pub(crate) fn events(answer: &Answer) -> Vec<Value> {
    let data = answer
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    data.map(|text| serde_json::from_str(text).unwrap())
        .collect()
}
