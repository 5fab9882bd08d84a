//! Whether the gateway could serve with what it is given: for `portunus check` and for a reload.

use crate::first_start::{self, Environment};
use crate::settings::{self, Problem, Problems, Settings, Sources};
use crate::tls;
use portunus_gateway::EnvironmentKey;
use portunus_providers::Provider;
use portunus_store::Store;
use secrecy::SecretString;
use std::path::Path;
use tokio_rustls::TlsAcceptor;

/// Settings without a problem, and what was read on the way.
pub struct Examined {
    /// The settings.
    pub settings: Settings,
    /// Provider keys of the environment.
    pub environment_keys: Vec<EnvironmentKey>,
    /// TLS of the API listener, if it has any.
    pub tls: Option<TlsAcceptor>,
}

/// Reads and checks everything but what needs the database.
///
/// # Errors
/// All problems at once: those of the settings themselves, else those of the files that they name.
pub fn examine(sources: &Sources, environment: Environment<'_>) -> Result<Examined, Problems> {
    let settings = settings::load(sources)?;
    let (tls, keys) = (
        acceptor(&settings),
        environment_keys(&settings, environment),
    );
    match (tls, keys) {
        (Ok(tls), Ok(environment_keys)) => Ok(Examined {
            settings,
            environment_keys,
            tls,
        }),
        (tls, keys) => {
            let keys = keys.err().unwrap_or_default();
            Err(Problems(tls.err().into_iter().chain(keys).collect()))
        }
    }
}

/// TLS of the API listener, if it has any.
///
/// # Errors
/// When the files are no good.
pub fn acceptor(settings: &Settings) -> Result<Option<TlsAcceptor>, Problem> {
    let Some((cert, key)) = settings.tls_files() else {
        return Ok(None);
    };
    let made = tls::acceptor(cert, key);
    made.map(Some).map_err(|error| problem("tls", &error))
}

/// Keys of all known providers in their usual variables (`OPENAI_API_KEY`), or in the file that
/// such a variable with `_FILE` names. Two providers may share a variable (`openai` and
/// `openai-chat`): both are offered.
///
/// # Errors
/// One problem for each file that cannot be read.
pub fn environment_keys(
    settings: &Settings,
    environment: Environment<'_>,
) -> Result<Vec<EnvironmentKey>, Vec<Problem>> {
    if !settings.providers.environment_keys {
        return Ok(Vec::new());
    }
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for provider in portunus_providers::all() {
        match environment_key(*provider, environment) {
            Ok(key) => found.extend(key),
            Err(problem) if problems.contains(&problem) => {}
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(found)
    } else {
        Err(problems)
    }
}

fn environment_key(
    provider: &dyn Provider,
    environment: Environment<'_>,
) -> Result<Option<EnvironmentKey>, Problem> {
    let Some(variable) = provider.env_key() else {
        return Ok(None);
    };
    let secret = match in_file(&format!("{variable}_FILE"), environment)? {
        Some(secret) => Some(secret),
        None => environment(variable)
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
            .map(SecretString::from),
    };
    Ok(secret.map(|secret| EnvironmentKey {
        provider: provider.name().to_owned(),
        variable: variable.to_owned(),
        secret,
    }))
}

/// The secret in the file that a variable names.
fn in_file(name: &str, environment: Environment<'_>) -> Result<Option<SecretString>, Problem> {
    let Some(path) = environment(name).filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    match first_start::read_at_work(Path::new(&path)) {
        Ok(Some(secret)) => Ok(Some(secret)),
        Ok(None) => Err(Problem::new(name, format!("there is no file {path}"))),
        Err(error) => Err(problem(name, &error)),
    }
}

/// Whether the master key that is there now can be used and fits the database.
///
/// # Errors
/// As the start would have them.
pub async fn master_key(
    settings: &Settings,
    store: &dyn Store,
    environment: Environment<'_>,
) -> Result<Option<String>, Problem> {
    let ring = first_start::existing_master_key(&settings.data_dir, environment)
        .map_err(|error| problem("", &error))?;
    let Some(ring) = ring else {
        return Ok(None);
    };
    let known_by = ring.check_value();
    let sealed = store.vault_meta(portunus_store::PEPPER).await;
    if matches!(sealed, Ok(Some(_))) {
        let unlocked = first_start::unlock(settings, store, ring).await;
        unlocked.map_err(|error| problem("", &error))?;
    }
    Ok(Some(known_by))
}

/// An error and its causes as a problem of the field at `path`.
pub fn problem(path: &str, error: &anyhow::Error) -> Problem {
    Problem::new(path, crate::cli::out::chain(error))
}
