//! Every route on one screen. `/openapi.json` is made from these lines.

use crate::app::Shared;
use crate::{admin, answer, api, console, health, marks};
use axum::routing::get;
use axum::{Json, Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

#[derive(OpenApi)]
#[openapi(info(
    title = "Portunus",
    description = "AI gateway: OpenAI's Responses API with remote MCP tools for every model, and \
                   Portkey's admin API. Keys go in `x-portkey-api-key`, in `Authorization: Bearer` \
                   or in `x-api-key`. Errors carry OpenAI's and Portkey's shape at once.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
))]
struct Document;

/// The routes of the API listener, with the document that describes them.
#[must_use]
pub fn documented() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Document::openapi())
        // Data plane: an API key.
        .routes(routes!(api::responses::create))
        .routes(routes!(api::responses::count))
        .routes(routes!(api::stored::retrieve, api::stored::delete))
        .routes(routes!(api::stored::cancel))
        .routes(routes!(api::stored::input_items))
        .routes(routes!(api::models::list))
        // Admin plane: the admin token, or an API key of that scope.
        .merge(credentials())
        .merge(request_log())
        .routes(routes!(admin::workspaces::list, admin::workspaces::create))
        .routes(routes!(admin::approvals::list))
        .routes(routes!(admin::approvals::read))
        .routes(routes!(admin::approvals::approve))
        .routes(routes!(admin::approvals::deny))
        .routes(routes!(admin::reload::reload))
        .merge(absent())
        // Whoever has a signed link.
        .routes(routes!(admin::exports::file))
        // Open to all.
        .routes(routes!(console::landing))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
}

/// Providers' credentials under their three names, API keys and routing configs.
fn credentials() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(
            admin::virtual_keys::list,
            admin::virtual_keys::create
        ))
        .routes(routes!(
            admin::virtual_keys::read,
            admin::virtual_keys::update,
            admin::virtual_keys::delete
        ))
        .routes(routes!(admin::providers::list, admin::providers::create))
        .routes(routes!(
            admin::providers::read,
            admin::providers::update,
            admin::providers::delete
        ))
        .routes(routes!(
            admin::integrations::list,
            admin::integrations::create
        ))
        .routes(routes!(
            admin::integrations::read,
            admin::integrations::update,
            admin::integrations::delete
        ))
        .routes(routes!(
            admin::integrations::models,
            admin::integrations::set_models
        ))
        .routes(routes!(
            admin::integrations::workspaces,
            admin::integrations::set_workspaces
        ))
        .routes(routes!(admin::api_keys::create))
        .routes(routes!(admin::api_keys::list))
        .routes(routes!(
            admin::api_keys::read,
            admin::api_keys::update,
            admin::api_keys::delete
        ))
        .routes(routes!(admin::api_keys::rotate))
        .routes(routes!(admin::configs::list, admin::configs::create))
        .routes(routes!(
            admin::configs::read,
            admin::configs::update,
            admin::configs::delete
        ))
        .routes(routes!(admin::configs::versions))
}

/// The request log.
fn request_log() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(admin::logs::list, admin::log_insert::insert))
        .routes(routes!(admin::exports::list, admin::exports::create))
        .routes(routes!(admin::exports::read, admin::exports::update))
        .routes(routes!(admin::exports::start))
        .routes(routes!(admin::exports::cancel))
        .routes(routes!(admin::exports::download))
        .routes(routes!(admin::logs::read))
        .routes(routes!(admin::log_stream::follow))
}

/// What Portkey has and this gateway has not: any good key may ask.
fn absent() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(
            admin::absent::guardrails::list,
            admin::absent::guardrails::create
        ))
        .routes(routes!(
            admin::absent::labels::list,
            admin::absent::labels::create
        ))
        .routes(routes!(
            admin::absent::collections::list,
            admin::absent::collections::create
        ))
        .routes(routes!(
            admin::absent::prompts::list,
            admin::absent::prompts::create
        ))
        .routes(routes!(
            admin::absent::partials::list,
            admin::absent::partials::create
        ))
        .routes(routes!(
            admin::absent::users::list,
            admin::absent::users::create
        ))
        .routes(routes!(
            admin::absent::invites::list,
            admin::absent::invites::create
        ))
        .routes(routes!(
            admin::absent::secret_references::list,
            admin::absent::secret_references::create
        ))
        .routes(routes!(admin::absent::render))
        .routes(routes!(admin::absent::complete))
        .routes(routes!(admin::absent::audit_logs))
}

/// The service of the API listener.
pub fn api(app: &Shared) -> Router {
    let documented = match app.live().settings.metrics.listen {
        None => documented().routes(routes!(health::guarded_metrics)),
        Some(_) => documented(),
    };
    let (router, document) = documented.split_for_parts();
    let router = router.route("/openapi.json", get(move || async move { Json(document) }));
    finished(router, app)
}

/// The service of the listener for probes and metrics, when there is one.
pub fn probes(app: &Shared) -> Router {
    let router = Router::new()
        .route("/metrics", get(health::metrics))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz));
    finished(router, app)
}

/// What holds for every answer: JSON errors, caught panics, marks.
fn finished(router: Router<Shared>, app: &Shared) -> Router {
    router
        .fallback(answer::unknown_path)
        .method_not_allowed_fallback(answer::wrong_method)
        .layer(CatchPanicLayer::custom(answer::panicked))
        .layer(middleware::from_fn_with_state(app.clone(), marks::layer))
        .with_state(app.clone())
}
