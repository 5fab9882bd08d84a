//! `portunus config schema`: the JSON schema of the settings file, for editors.

use super::out::Out;
use crate::settings::Settings;
use anyhow::Result;
use std::process::ExitCode;

/// Prints the schema.
pub(super) fn run() -> Result<ExitCode> {
    let schema = serde_json::to_value(schemars::schema_for!(Settings))?;
    Out::new(true).json(&schema);
    Ok(ExitCode::SUCCESS)
}
