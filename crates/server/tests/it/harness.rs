//! A gateway in process on a data folder of its own, and answers read whole.

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use portunus::admin::api_keys::{self, NewKey};
use portunus::app::{App, Shared};
use portunus::router;
use portunus::settings::Settings;
use portunus_store::{ApiKeyDefaults, DEFAULT_WORKSPACE_ID};
use secrecy::ExposeSecret;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

/// The admin token of every gateway here.
pub(crate) const ADMIN: &str = "admin-token-of-the-tests";
/// A provider key in the environment of every gateway here.
pub(crate) const ENVIRONMENT_KEY: &str = "sk-environment-canary-0001";

pub(crate) struct Gateway {
    pub(crate) app: Shared,
    pub(crate) router: Router,
    folder: TempDir,
}

/// An answer, read whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// `error.code` of an error answer.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// `error.param` of an error answer.
    pub(crate) fn param(&self) -> String {
        self.json()["error"]["param"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

fn environment(name: &str) -> Option<String> {
    match name {
        "PORTUNUS_ADMIN_TOKEN" => Some(ADMIN.to_owned()),
        "OPENAI_API_KEY" => Some(ENVIRONMENT_KEY.to_owned()),
        _ => None,
    }
}

impl Gateway {
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::on(tempfile::tempdir().unwrap(), change).await
    }

    /// Another process on the same data folder.
    pub(crate) async fn restarted(self, change: impl FnOnce(&mut Settings)) -> Self {
        let Self { app, folder, .. } = self;
        app.close().await;
        app.store.close().await;
        Self::on(folder, change).await
    }

    async fn on(folder: TempDir, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            data_dir: folder.path().join("data"),
            ..Settings::default()
        };
        change(&mut settings);
        let app = App::build(settings, &environment).await.unwrap();
        let router = router::api(&app);
        Self {
            app,
            router,
            folder,
        }
    }

    /// A key with these scopes in a workspace.
    pub(crate) async fn key_in(&self, workspace_id: &str, scopes: &[&str]) -> String {
        let new = NewKey {
            workspace_id: workspace_id.to_owned(),
            name: "test".to_owned(),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            defaults: ApiKeyDefaults::default(),
            expires_at: None,
        };
        api_keys::mint(&self.app, new)
            .await
            .unwrap()
            .1
            .expose_secret()
            .to_owned()
    }

    pub(crate) async fn key(&self, scopes: &[&str]) -> String {
        self.key_in(DEFAULT_WORKSPACE_ID, scopes).await
    }

    /// A key that may do what the first key may.
    pub(crate) async fn caller(&self) -> String {
        self.key(&api_keys::DEFAULT_SCOPES).await
    }

    /// One call with these headers; only the head is awaited.
    pub(crate) async fn head(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> axum::response::Response {
        let mut request = Request::builder()
            .method(method.parse::<Method>().unwrap())
            .uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = match body {
            Some(value) => request
                .header("content-type", "application/json")
                .body(Body::from(value.to_string())),
            None => request.body(Body::empty()),
        };
        self.router.clone().oneshot(request.unwrap()).await.unwrap()
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        whole(self.head(method, path, headers, body).await).await
    }

    /// One call with a gateway key.
    pub(crate) async fn call(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        self.send(method, path, &[("x-portkey-api-key", key)], body)
            .await
    }

    /// One call as the admin.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.call(ADMIN, method, path, body).await
    }
}

pub(crate) async fn whole(response: axum::response::Response) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    Answer {
        status: parts.status,
        headers: parts.headers,
        text,
    }
}
