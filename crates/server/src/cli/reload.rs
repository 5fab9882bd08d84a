//! `portunus reload`: the running gateway reads its settings anew.

use super::Global;
use super::check::{bad, problems_of};
use super::link::Link;
use super::out::Out;
use anyhow::Result;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Prints what has changed, or every problem; the exit code is 1 when nothing was reloaded.
pub(super) async fn run(global: &Global) -> Result<ExitCode> {
    let out = global.out();
    // The settings lead to the gateway: it could not do more with them than this command.
    if let Err(problems) = global
        .sources()
        .and_then(|s| Ok(crate::settings::load(&s)?))
    {
        return Ok(bad(out, &problems_of(&problems)));
    }
    let mut exit = ExitCode::SUCCESS;
    let work = async |link: &Link| {
        let (status, answer) = link
            .exchange(Method::POST, "/v1/portunus/reload", None)
            .await?;
        if let Ok(problems) = Vec::deserialize(&answer["problems"]) {
            exit = bad(out, &problems);
            return Ok(());
        }
        show(out, &Link::good(status, answer)?);
        Ok(())
    };
    Link::to_running(global, work).await?;
    Ok(exit)
}

fn show(out: Out, answer: &Value) {
    let (changed, restart) = (&answer["changed"], &answer["restart"]);
    if out.is_json() {
        out.json(&json!({"ok": true, "problems": [], "changed": changed, "restart": restart}));
        return;
    }
    out.line(&format!("Reloaded. Changed: {}.", names(changed)));
    if restart != &json!([]) {
        out.line(&format!(
            "Counts from the next start on: {}.",
            names(restart)
        ));
    }
}

fn names(list: &Value) -> String {
    let names: Vec<&str> = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}
