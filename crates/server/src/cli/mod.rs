//! The command line: one file per sub-command. Bare `portunus` is `portunus serve`.
//!
//! Secrets are never arguments: they come on standard input or from a file. Commands about keys
//! and logs speak the admin API, to the running gateway or, when none runs, to one built for
//! the moment on the data folder (`link`).

mod approvals;
mod check;
mod config;
mod demo;
mod key;
mod link;
mod logs;
pub mod out;
mod reload;
mod schema;
mod serve;
mod vault;
mod virtual_key;

use crate::settings::{self, Given, Settings, Sources};
use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use out::Out;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The settings file that is read when it is there and no other is named.
const DEFAULT_FILE: &str = "portunus.toml";

/// AI gateway: OpenAI's Responses API with remote MCP tools for every model.
#[derive(Debug, Parser)]
#[command(
    name = "portunus",
    version,
    propagate_version = true,
    max_term_width = 100
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Options of every sub-command.
#[derive(Clone, Debug, Args)]
struct Global {
    /// Settings file [default: portunus.toml in this folder, when it is there]
    #[arg(long, global = true, value_name = "FILE", env = "PORTUNUS_CONFIG")]
    config: Option<PathBuf>,
    /// Address of the API [env: PORTUNUS_LISTEN] [default: 127.0.0.1:8787]
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Folder of database, master key and admin token [env: PORTUNUS_DATA_DIR]
    #[arg(long, global = true, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// URL of the database [env: PORTUNUS_DATABASE] [default: SQLite in the data folder]
    #[arg(long, global = true, value_name = "URL")]
    database: Option<String>,
    /// Allow a bind without TLS that other machines reach [env: PORTUNUS_INSECURE_BIND]
    #[arg(long, global = true)]
    insecure_bind: bool,
    /// Form of the output
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORM",
        default_value = "text"
    )]
    output: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway (also what `portunus` alone does)
    Serve,
    /// Show the whole way in one command: gateway, MCP server, request, log row
    Demo(demo::Args),
    /// Check the settings; print every problem with its place
    Check,
    /// Have the running gateway read its settings anew; print what has changed
    Reload,
    /// Saved routing configs, and the schema of the settings file
    Config {
        #[command(subcommand)]
        command: config::Command,
    },
    /// API keys of the gateway
    Key {
        #[command(subcommand)]
        command: key::Command,
    },
    /// Stored credentials of providers
    VirtualKey {
        #[command(subcommand)]
        command: virtual_key::Command,
    },
    /// Tool calls that wait for a person
    Approvals {
        #[command(subcommand)]
        command: approvals::Command,
    },
    /// The master key that seals the virtual keys
    Vault {
        #[command(subcommand)]
        command: vault::Command,
    },
    /// The request log: the newest rows, one in full, or as they come
    Logs(logs::Args),
}

impl Global {
    fn out(&self) -> Out {
        Out::new(self.output == Form::Json)
    }

    /// What the settings are made from.
    fn sources(&self) -> Result<Sources> {
        let flags = [
            ("listen", "--listen", &self.listen),
            ("data_dir", "--data-dir", &self.data_dir),
            ("database", "--database", &self.database),
        ];
        let given = flags.into_iter().filter_map(|(field, flag, value)| {
            value
                .as_ref()
                .map(|value| Given::flag(field, flag, value.as_str()))
        });
        let insecure = self
            .insecure_bind
            .then(|| Given::flag("insecure_bind", "--insecure-bind", true));
        Ok(Sources {
            file: self.file()?,
            environment: environment_pairs(),
            flags: given.chain(insecure).collect(),
        })
    }

    fn file(&self) -> Result<Option<(PathBuf, String)>> {
        let path = match &self.config {
            Some(path) => path.clone(),
            None if Path::new(DEFAULT_FILE).is_file() => PathBuf::from(DEFAULT_FILE),
            None => return Ok(None),
        };
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read the settings file {}", path.display()))?;
        Ok(Some((path, text)))
    }

    fn settings(&self) -> Result<Settings> {
        Ok(settings::load(&self.sources()?)?)
    }
}

/// The variables that are text; others cannot be ours.
fn environment_pairs() -> Vec<(String, String)> {
    let pairs = std::env::vars_os();
    pairs
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect()
}

/// One variable of the process.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Runs the command line of the process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let json = cli.global.output == Form::Json;
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(run(cli)));
    outcome.unwrap_or_else(|error| {
        out::fail(json, &out::chain(&error));
        ExitCode::FAILURE
    })
}

/// Help and version, or what is wrong with the command line.
fn usage(error: &clap::Error) -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if error.use_stderr() && asks_json(&words) {
        out::fail(true, error.to_string().trim_end());
    } else {
        let _reader_gone = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Whether JSON is asked for in a command line that cannot be parsed.
fn asks_json(words: &[String]) -> bool {
    let pair = |pair: &[String]| matches!(pair[0].as_str(), "-o" | "--output") && pair[1] == "json";
    let one = |word: &String| matches!(word.as_str(), "-ojson" | "-o=json" | "--output=json");
    words.windows(2).any(pair) || words.iter().any(one)
}

async fn run(cli: Cli) -> Result<ExitCode> {
    let global = &cli.global;
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(global).await,
        Command::Demo(args) => demo::run(global, &args).await,
        Command::Check => check::run(global).await,
        Command::Reload => reload::run(global).await,
        Command::Config { command } => config::run(global, command).await,
        Command::Key { command } => key::run(global, command).await,
        Command::VirtualKey { command } => virtual_key::run(global, command).await,
        Command::Approvals { command } => approvals::run(global, command).await,
        Command::Vault { command } => vault::run(global, command).await,
        Command::Logs(args) => logs::run(global, &args).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bare_is_serve_and_options_go_anywhere() {
        let cli = Cli::try_parse_from(["portunus", "--listen", "127.0.0.1:1"]).unwrap();
        assert!(cli.command.is_none());
        let cli = Cli::try_parse_from(["portunus", "key", "list", "-o", "json"]).unwrap();
        assert_eq!(cli.global.output, Form::Json);
    }

    #[test]
    fn no_secret_is_an_argument() {
        for forbidden in [
            ["portunus", "virtual-key", "create", "--key", "sk-x"].as_slice(),
            &["portunus", "serve", "--master-key", "x"],
            &["portunus", "serve", "--admin-token", "x"],
        ] {
            assert!(Cli::try_parse_from(forbidden).is_err(), "{forbidden:?}");
        }
    }
}
