//! What every test starts from.

use portunus_egress::{AllowList, Client, Settings};
use portunus_mcp::{Bounds, CallOutcome, Pool, ServerSpec, Tool};
use serde_json::Value;
use serde_json::value::RawValue;
use std::time::Duration;
use url::Url;

/// Bounds for servers that do not answer the first question.
pub(crate) fn hasty() -> Bounds {
    Bounds {
        probe_timeout: Duration::from_millis(300),
        ..bounds()
    }
}

/// Bounds that leave a busy machine some air.
pub(crate) fn bounds() -> Bounds {
    Bounds {
        list_timeout: Duration::from_secs(10),
        call_timeout: Duration::from_secs(10),
        max_resumes: 3,
        ..Bounds::default()
    }
}

pub(crate) fn pool(bounds: Bounds) -> Pool {
    let mcp_allow = AllowList::parse(["127.0.0.0/8"]).unwrap();
    let settings = Settings {
        mcp_allow,
        ..Settings::default()
    };
    Pool::new(Client::new(settings).unwrap(), bounds)
}

pub(crate) fn spec(url: &str) -> ServerSpec {
    ServerSpec {
        workspace: "w".to_owned(),
        label: "label".to_owned(),
        url: Url::parse(url).unwrap(),
        headers: Vec::new(),
        authorization: None,
    }
}

pub(crate) fn tool(name: &str) -> Tool {
    Tool::new(name.to_owned(), None, raw(r#"{"type":"object"}"#), false)
}

pub(crate) fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

/// The text of the only block of a successful call.
pub(crate) fn text(outcome: &CallOutcome) -> String {
    let result = outcome
        .result
        .as_ref()
        .unwrap_or_else(|error| panic!("{error}"));
    let block: Value = serde_json::from_str(result.content[0].get()).unwrap();
    block["text"].as_str().unwrap().to_owned()
}
