//! `portunus demo`: the arguments; the show itself is [`crate::demo`].

use super::Global;
use crate::demo::{self, Stage};
use anyhow::Result;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to ask the demo model
    #[arg(long, value_name = "TEXT", default_value = demo::QUESTION)]
    question: String,
    /// End after the show instead of waiting for Ctrl-C
    #[arg(long)]
    once: bool,
}

pub(super) async fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    // Of a set-up that may be there, the demo takes the address alone, and only when asked to.
    let named = global.listen.is_some() || super::environment("PORTUNUS_LISTEN").is_some();
    let listen = if named {
        Some(global.settings()?.listen)
    } else {
        None
    };
    let stage = Stage {
        data_dir: global.data_dir.as_ref().map(Into::into),
        listen,
        question: args.question.clone(),
        once: args.once,
    };
    demo::run(stage, global.out(), &super::environment).await?;
    Ok(ExitCode::SUCCESS)
}
