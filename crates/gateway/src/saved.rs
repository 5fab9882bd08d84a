//! Saved configs: found by their slugs, parsed once and kept as open virtual keys are, so that a
//! request pays for neither.

use crate::Gateway;
use crate::config::{self, Asked, Config, Named, Routing};
use crate::error::Error;
use crate::kept::Entry;
use crate::record::Record;
use crate::{call::Call, route};
use portunus_egress::Zone;
use portunus_protocol::error::{ErrorBody, code, kind};
use portunus_store::{ConfigRow, STATUS_ACTIVE};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Instant;

/// A saved config, parsed.
#[derive(Debug, PartialEq)]
pub(crate) struct Saved {
    pub(crate) slug: String,
    pub(crate) id: String,
    pub(crate) version_id: String,
    pub(crate) routing: Arc<Routing>,
}

impl Gateway {
    /// What the config of a request asks for: that of its header, else that of its API key.
    pub(crate) async fn config(&self, call: &Call, record: &mut Record) -> Result<Config, Error> {
        let over = config::over(call)?;
        let (routing, saved) = match config::asked(call)? {
            Asked::Nothing => Default::default(),
            Asked::Inline(routing) => (routing, None),
            Asked::Saved(named) => {
                let saved = self.saved(&call.principal.workspace_id, named).await?;
                (Arc::clone(&saved.routing), Some(saved))
            }
        };
        record.configured(&routing, saved.as_deref());
        Ok(Config { routing, over })
    }

    async fn saved(&self, workspace_id: &str, named: Named<'_>) -> Result<Arc<Saved>, Error> {
        let key = (workspace_id.to_owned(), named.slug.to_owned());
        let changes = self.parts.store.config_changes();
        if let Some(saved) = self.saved.get(&key, changes) {
            return Ok(saved);
        }
        let since = Instant::now();
        let row = self.parts.store.config_by_slug(workspace_id, named.slug);
        let row = row.await?.ok_or_else(|| named.refuse(NOT_THERE))?;
        if row.status != STATUS_ACTIVE {
            return Err(named.refuse(INACTIVE));
        }
        let saved = Arc::new(read(row)?);
        let entry = Entry {
            value: Arc::clone(&saved),
            since,
            changes,
            expires_at: None,
        };
        self.saved.put(key, entry);
        Ok(saved)
    }

    /// Checks a config that is to be saved, with the parser that requests use. Gives the virtual
    /// keys that it names, each with the path of the field that does.
    ///
    /// # Errors
    /// What is wrong, with the path of the field, which begins with `config`.
    pub fn check_config(
        &self,
        fields: Map<String, Value>,
    ) -> Result<Vec<(String, String)>, ErrorBody> {
        let routing = Routing::parse(SAVED, fields).map_err(|error| error.body())?;
        let mut keys = Vec::new();
        self.check_level(&routing.tree, &mut keys)
            .map_err(|error| error.body())?;
        Ok(keys)
    }

    fn check_level(
        &self,
        level: &config::Level,
        keys: &mut Vec<(String, String)>,
    ) -> Result<(), Error> {
        if let Some(url) = &level.settings.custom_host {
            let at = format!("{}.custom_host", level.index);
            self.hosted_by(&at, url)?;
        }
        let model = level.settings.override_params.get("model");
        if let Some((Some(slug), _)) = model
            .and_then(Value::as_str)
            .map(route::split_model)
            .transpose()?
        {
            let at = format!("{}.override_params.model", level.index);
            keys.push((at, slug.to_owned()));
        }
        match &level.kind {
            config::Kind::Target(Some(slug)) => {
                keys.push((format!("{}.virtual_key", level.index), slug.clone()));
                Ok(())
            }
            config::Kind::Target(None) => Ok(()),
            config::Kind::Group(_, levels) => levels
                .iter()
                .try_for_each(|level| self.check_level(level, keys)),
        }
    }

    /// The zone in which a host of a config or of a caller is reached.
    ///
    /// # Errors
    /// 400 for one that is neither public, over https, nor one that the operator lists.
    pub(crate) fn hosted_by(&self, at: &str, url: &url::Url) -> Result<route::Way, Error> {
        if self.parts.client.is_allow_listed(Zone::Provider, url) {
            return Ok(route::Way::Operator);
        }
        let checked = self.parts.public_only.check(Zone::Mcp, url);
        checked.map_err(|forbidden| {
            let message = format!(
                "Invalid '{at}': {forbidden} A config or a caller may name public https hosts, and \
                 those that the operator lists in providers.allow."
            );
            ErrorBody::invalid(at, "host_not_allowed", message)
        })?;
        Ok(route::Way::Public)
    }
}

/// What a saved config is called in errors, and in [`config::Level::index`].
const SAVED: &str = "config";

const NOT_THERE: (&str, &str) = (
    "config_not_found",
    "does not exist in this workspace. List them with 'portunus config list', or save one with \
     'portunus config create'.",
);
const INACTIVE: (&str, &str) = (
    code::VALUE,
    "is inactive. Set its status to 'active' to use it again.",
);

impl Named<'_> {
    fn refuse(&self, (code, why): (&'static str, &str)) -> Error {
        let slug: String = self.slug.chars().take(64).collect();
        let message = match self.by_key {
            true => format!(
                "The config '{slug}', which the API key names in 'defaults.config_id', {why}"
            ),
            false => format!("The config '{slug}' {why}"),
        };
        let param = match self.by_key {
            true => "defaults.config_id",
            false => config::HEADER,
        };
        ErrorBody::new(kind::INVALID_REQUEST, message)
            .param(param)
            .code(code)
            .into()
    }
}

fn read(row: ConfigRow) -> Result<Saved, Error> {
    let fields = serde_json::from_str(&row.config)
        .map_err(|error| Error::Internal(format!("saved config {}: {error}", row.id)))?;
    // A version of ours that served more may have saved it: then the field is named.
    Ok(Saved {
        routing: Arc::new(Routing::parse(SAVED, fields)?),
        slug: row.slug,
        id: row.id,
        version_id: row.version_id,
    })
}
