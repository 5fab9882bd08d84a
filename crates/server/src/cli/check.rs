//! `portunus check`: is the settings file good?

use super::Global;
use crate::settings;
use anyhow::Result;
use serde_json::json;
use std::process::ExitCode;

/// Prints every problem; the exit code is 1 when there is one.
pub(super) fn run(global: &Global) -> Result<ExitCode> {
    let out = global.out();
    let sources = global.sources()?;
    let problems = match settings::load(&sources) {
        Ok(settings) => {
            if out.is_json() {
                out.json(&json!({"ok": true, "problems": [], "settings": settings}));
            } else {
                let file = sources.file.map_or_else(
                    || "no settings file".to_owned(),
                    |(path, _)| path.display().to_string(),
                );
                out.line(&format!("{} ({file})", out.green("The settings are good.")));
            }
            return Ok(ExitCode::SUCCESS);
        }
        Err(problems) => problems,
    };
    if out.is_json() {
        out.json(&json!({"ok": false, "problems": problems.0}));
    } else {
        super::out::complain(&problems.to_string());
    }
    Ok(ExitCode::FAILURE)
}
