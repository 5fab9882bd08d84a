//! Virtual keys that are open at the moment, so that not each request reads a row, with two
//! switches of threads, and unseals a credential.

use crate::Gateway;
use crate::error::Error;
use crate::kept::{Entry, Kept};
use crate::route;
use portunus_providers::{Endpoint, Provider};
use std::sync::Arc;
use std::time::Instant;

/// A virtual key with its credential, which is wiped with the last copy of the [`Arc`].
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) provider: &'static dyn Provider,
    pub(crate) endpoint: Arc<Endpoint>,
}

/// The open keys.
pub(crate) type OpenedKeys = Kept<Opened>;

impl Gateway {
    /// The stored virtual key of that slug, open; `None` when there is none.
    pub(crate) async fn opened(
        &self,
        workspace_id: &str,
        slug: &str,
    ) -> Result<Option<Opened>, Error> {
        let key = (workspace_id.to_owned(), slug.to_owned());
        let changes = self.parts.store.virtual_key_changes();
        if let Some(opened) = self.opened.get(&key, changes) {
            return Ok(Some(opened));
        }
        let since = Instant::now();
        let row = self.parts.store.virtual_key_by_slug(workspace_id, slug);
        let Some(row) = row.await? else {
            return Ok(None);
        };
        let credential = self.open(&row)?;
        let provider = route::find(&row.provider)?;
        let host = row.custom_host.as_deref();
        let endpoint = route::endpoint(provider, host, credential, row.settings)?;
        let opened = Opened { provider, endpoint };
        let entry = Entry {
            value: opened.clone(),
            since,
            changes,
            expires_at: row.expires_at,
        };
        self.opened.put(key, entry);
        Ok(Some(opened))
    }
}
