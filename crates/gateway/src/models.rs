//! `GET /v1/models`: what a caller may ask for.
//!
//! With a virtual key named, the provider's own list; without, the lists of all virtual keys
//! of the workspace, as `@virtual-key/model`.

use crate::Gateway;
use crate::call::{Call, Reply};
use crate::error::Error;
use crate::reply;
use crate::route::Target;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use portunus_egress::{Limits, Zone};
use portunus_providers::Dialect;
use portunus_store::Page;
use serde_json::{Value, json};

impl Gateway {
    /// Serves `GET /v1/models`.
    pub async fn models(&self, call: &Call) -> Reply {
        match self.model_list(call).await {
            Ok(models) => reply::json(json!({"object": "list", "data": models}).to_string()),
            Err(error) => reply::answer_of(&error, false),
        }
    }

    async fn model_list(&self, call: &Call) -> Result<Vec<Value>, Error> {
        let named = call
            .header("x-portkey-virtual-key")
            .or_else(|| call.header("x-portkey-provider"));
        let workspace = &call.principal.workspace_id;
        if let Some(slug) = named {
            let slug = slug.strip_prefix('@').unwrap_or(slug).to_owned();
            let target = self.target_of(workspace, slug, String::new()).await?;
            return self.models_of(&target).await;
        }
        let page = Page {
            limit: 500,
            offset: 0,
        };
        let stored = self
            .parts
            .store
            .list_virtual_keys(workspace, page)
            .await?
            .rows;
        let mut slugs: Vec<String> = stored.into_iter().map(|row| row.slug).collect();
        slugs.extend(self.built_in_slugs(workspace));
        slugs.dedup();
        self.all_models(workspace, slugs).await
    }

    async fn all_models(&self, workspace: &str, slugs: Vec<String>) -> Result<Vec<Value>, Error> {
        let lists = slugs.into_iter().map(|slug| async move {
            let target = self
                .target_of(workspace, slug.clone(), String::new())
                .await?;
            let models = self.models_of(&target).await?;
            Ok::<_, Error>(
                models
                    .into_iter()
                    .map(|model| qualified(&slug, model))
                    .collect::<Vec<_>>(),
            )
        });
        let mut lists: FuturesUnordered<_> = lists.collect();
        let mut models = Vec::new();
        while let Some(list) = lists.next().await {
            match list {
                Ok(list) => models.extend(list),
                Err(error) => {
                    tracing::debug!(error = %error.body(), "a list of models is left out");
                }
            }
        }
        models.sort_by(|a, b| a["id"].as_str().cmp(&b["id"].as_str()));
        Ok(models)
    }

    async fn models_of(&self, target: &Target) -> Result<Vec<Value>, Error> {
        let name = target.provider.name();
        if target.dialect() == Dialect::Demo {
            return Ok(vec![
                json!({"id": name, "object": "model", "created": 0, "owned_by": "portunus"}),
            ]);
        }
        let body = self.fetch(target).await?;
        let list: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let models = list
            .get("data")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        Ok(models
            .into_iter()
            .filter(|model| model["id"].is_string())
            .collect())
    }

    async fn fetch(&self, target: &Target) -> Result<Bytes, Error> {
        let provider = target.shown();
        let head = target.provider.head(&target.endpoint)?;
        let url = head.url.as_str();
        let base = url
            .strip_suffix("/responses")
            .or_else(|| url.strip_suffix("/chat/completions"));
        let mut request = http::Request::get(format!("{}/models", base.unwrap_or(url)))
            .body(Bytes::new())
            .map_err(|error| Error::Internal(format!("models URL: {error}")))?;
        *request.headers_mut() = head.headers;
        let bounds = &self.parts.bounds;
        let wait = Some(bounds.models_wait);
        let limits = Limits {
            first_byte: wait,
            idle: wait,
            total: wait,
            max_body_bytes: Some(bounds.max_models_bytes),
        };
        let sent = Box::pin(self.parts.client.send(Zone::Provider, request, limits)).await;
        let unreachable = |cause| Error::Unreachable {
            provider: provider.clone(),
            cause,
        };
        let response = sent.map_err(unreachable)?;
        let (status, headers) = (response.status, response.headers);
        let body = response.body.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(body);
        }
        Err(target
            .provider
            .classify(status.as_u16(), &headers, &body)
            .into())
    }
}

/// The model as any caller without headers may write it.
fn qualified(slug: &str, mut model: Value) -> Value {
    if let Some(id) = model["id"].as_str() {
        model["id"] = format!("@{slug}/{id}").into();
    }
    model
}
