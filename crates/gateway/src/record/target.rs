//! What a record says of the config and of the targets that a request was sent to.

use super::Record;
use crate::config::{Kind, Routing};
use crate::route::Target;
use crate::saved::Saved;
use http::HeaderMap;

impl Record {
    /// Values that no text may repeat.
    pub(crate) fn keeps_secret(&mut self, headers: &HeaderMap) {
        for value in headers.values().filter_map(|value| value.to_str().ok()) {
            self.secrets.add_secret(&value.to_owned().into());
        }
    }

    /// The config that it is served by.
    pub(crate) fn configured(&mut self, routing: &Routing, saved: Option<&Saved>) {
        let request = &mut self.row.request;
        if let Kind::Group(mode, _) = &routing.tree.kind {
            request.mode = Some(mode.as_str().to_owned());
        }
        if let Some(saved) = saved {
            request.config = Some(saved.slug.clone());
            request.config_id = Some(saved.id.clone());
            request.config_version_id = Some(saved.version_id.clone());
        }
    }

    /// Provider and place of the target that was tried last; none before the first.
    pub(crate) fn used(&self) -> Option<(&'static str, String)> {
        let request = &self.row.request;
        let provider = portunus_providers::find(request.provider.as_deref()?)?.name();
        let index = request.last_used_option.as_deref().unwrap_or("config");
        Some((provider, index.to_owned()))
    }

    /// Where it goes, or goes on.
    /// `index` is the place of the target in the config.
    pub(crate) fn aimed(&mut self, target: &Target, index: &str) {
        self.target_retries = 0;
        self.row.request.provider = Some(target.provider.name().to_owned());
        self.row.request.virtual_key.clone_from(&target.slug);
        self.row.request.last_used_option = (index != "config").then(|| index.to_owned());
        if let Some(credential) = &target.endpoint.credential {
            self.secrets.add_secret(credential);
        }
    }

    /// A turn goes on at another target.
    pub(crate) fn aim_turn(&mut self, index: usize, target: &Target) {
        if let Some(row) = self.row.turns.get_mut(index) {
            target.provider.name().clone_into(&mut row.provider);
            row.model = Some(target.model.clone());
        }
    }
}
