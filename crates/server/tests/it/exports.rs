//! Exports of the request log, from the wish to the file.

use crate::harness::{Answer, Gateway};
use portunus::upkeep;
use portunus_store::{
    DEFAULT_WORKSPACE_ID, EXPORT_DRAFT, EXPORT_RUNNING, ExportRow, LogRecord, api_key,
};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn record(number: i64) -> LogRecord {
    let mut record = LogRecord::default();
    let request = &mut record.request;
    request.id = format!("log-{number:05}");
    request.workspace_id = DEFAULT_WORKSPACE_ID.to_owned();
    // Of the hour before this one: upkeep removes what is old.
    const HOUR_MS: i64 = 3_600_000;
    let now_ms = portunus_store::now().as_millisecond();
    request.created_at_ms = (now_ms / HOUR_MS - 1) * HOUR_MS + number;
    request.trace_id = format!("trace-{}", number % 2);
    request.status_code = 200;
    request.model_asked = Some("=cmd()\u{2028}\r\n\u{1b}[31m".to_owned());
    request.request_body = Some(json!({"input": number}).to_string());
    request.client = json!({});
    request.metadata = json!({"team": "blue"});
    record
}

async fn with_rows(rows: i64) -> Gateway {
    let gateway = Gateway::new().await;
    let rows: Vec<LogRecord> = (0..rows).map(record).collect();
    for some in rows.chunks(100) {
        gateway.app.store.write_logs(some).await.unwrap();
    }
    gateway
}

async fn made(gateway: &Gateway, filters: Value, fields: &[&str]) -> Value {
    let asked = json!({"filters": filters, "requested_data": fields});
    let answer = gateway
        .admin("POST", "/v1/logs/exports", Some(&asked))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

async fn act(gateway: &Gateway, id: &Value, method: &str, what: &str) -> Answer {
    let path = format!("/v1/logs/exports/{}{what}", id.as_str().unwrap());
    gateway.admin(method, &path, None).await
}

/// The export once it is in one of these states.
async fn once(gateway: &Gateway, id: &Value, status: &str) -> Value {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let row = act(gateway, id, "GET", "").await.json();
        if row["status"] == status {
            return row;
        }
        assert!(Instant::now() < end, "{row}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn link(gateway: &Gateway, id: &Value) -> String {
    let answer = act(gateway, id, "GET", "/download").await;
    let url = answer.json()["signed_url"].as_str().unwrap().to_owned();
    url.split_once("/v1/")
        .map(|(_, rest)| format!("/v1/{rest}"))
        .unwrap()
}

async fn lines(gateway: &Gateway, id: &Value) -> Vec<Value> {
    let path = link(gateway, id).await;
    let answer = gateway.send("GET", &path, &[], None).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    let parsed = answer
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    parsed.collect()
}

fn folder(gateway: &Gateway) -> PathBuf {
    gateway.app.live().settings.data_dir.join("exports")
}

fn files(gateway: &Gateway) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder(gateway)) else {
        return Vec::new();
    };
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().to_str().unwrap().to_owned()
    };
    entries.map(name).collect()
}

#[tokio::test]
async fn an_export_from_its_making_to_its_file() {
    let gateway = with_rows(450).await;
    let export = made(
        &gateway,
        json!({"trace_id": "trace-1"}),
        &["id", "ai_model", "request", "config"],
    )
    .await;
    assert_eq!(
        (&export["total"], &export["object"]),
        (&json!(225), &json!("export"))
    );
    let id = &export["id"];
    let row = act(&gateway, id, "GET", "").await.json();
    assert_eq!(
        (&row["status"], &row["created_by"]),
        (&json!("draft"), &json!("admin"))
    );
    assert_eq!(row["filters"], json!({"trace_id": "trace-1"}));
    assert_eq!(act(&gateway, id, "GET", "/download").await.status, 409);
    assert_eq!(act(&gateway, id, "POST", "/start").await.status, 200);
    let row = once(&gateway, id, "success").await;
    assert_eq!(row["exported"], 225);
    let lines = lines(&gateway, id).await;
    assert_eq!(lines.len(), 225);
    // Newest first, the fields that were asked for, the text as it was.
    assert_eq!(lines[0]["id"], "log-00449");
    assert_eq!(lines[224]["id"], "log-00001");
    assert_eq!(lines[0]["request"]["body"], json!({"input": 449}));
    assert_eq!(lines[0]["ai_model"], "=cmd()\u{2028}\r\n\u{1b}[31m");
    let names: Vec<&String> = lines[0].as_object().unwrap().keys().collect();
    assert_eq!(names, ["id", "ai_model", "request", "config"]);
    // Whole is whole.
    for what in ["/start", "/cancel"] {
        assert_eq!(act(&gateway, id, "POST", what).await.status, 409);
    }
    let list = gateway.admin("GET", "/v1/logs/exports", None).await.json();
    assert_eq!((&list["total"], &list["data"][0]["id"]), (&json!(1), id));
}

#[tokio::test]
async fn a_page_of_the_log() {
    let gateway = with_rows(25).await;
    let export = made(
        &gateway,
        json!({"pageSize": 10, "current_page": 2}),
        &["id"],
    )
    .await;
    assert_eq!(export["total"], 5);
    act(&gateway, &export["id"], "POST", "/start").await;
    once(&gateway, &export["id"], "success").await;
    let lines = lines(&gateway, &export["id"]).await;
    assert_eq!((lines.len(), &lines[0]["id"]), (5, &json!("log-00004")));
}

#[tokio::test]
async fn a_link_opens_its_own_file_for_its_time() {
    let gateway = with_rows(3).await;
    let [one, two] = [
        made(&gateway, json!({}), &["id"]).await["id"].clone(),
        made(&gateway, json!({}), &["id", "cost"]).await["id"].clone(),
    ];
    for id in [&one, &two] {
        act(&gateway, id, "POST", "/start").await;
        once(&gateway, id, "success").await;
    }
    let path = link(&gateway, &one).await;
    assert!(!path.contains("sk-") && !path.contains("admin-token"));
    let (start, signature) = path.rsplit_once("signature=").unwrap();
    let flipped = if signature.starts_with('0') { "1" } else { "0" };
    let now_ms = portunus_store::now().as_millisecond();
    let expired = {
        let store = &gateway.app.store;
        let row = store
            .export(DEFAULT_WORKSPACE_ID, one.as_str().unwrap())
            .await;
        let row = row.unwrap().unwrap();
        let before = (now_ms - 1).to_string();
        let words = [DEFAULT_WORKSPACE_ID, &row.id, &row.run, &before];
        let signed = api_key::sign(gateway.app.keys.pepper(), "log export", &words);
        format!(
            "/v1/portunus/exports/{}/file?workspace_id={DEFAULT_WORKSPACE_ID}&run={}&expires={before}&signature={signed}",
            row.id, row.run
        )
    };
    for bad in [
        path.replace(one.as_str().unwrap(), two.as_str().unwrap()),
        path.replace("ws-default", "ws-other"),
        path.replace("expires=1", "expires=2"),
        path.replace("run=run-0", "run=run-1"),
        format!("{start}signature={flipped}{}", &signature[1..]),
        start.trim_end_matches("&signature=").to_owned(),
        expired,
    ] {
        let answer = gateway.send("GET", &bad, &[], None).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (403, "invalid_signature"),
            "{bad}"
        );
    }
    assert_eq!(gateway.send("GET", &path, &[], None).await.status, 200);
}

#[tokio::test]
async fn refusals_name_the_path() {
    let gateway = with_rows(1).await;
    let good = json!({"filters": {}, "requested_data": ["id"]});
    for (change, param) in [
        (json!({"filters": null}), "filters"),
        (json!({"filters": []}), "filters"),
        (json!({"requested_data": []}), "requested_data"),
        (
            json!({"requested_data": ["id", "key"]}),
            "requested_data[1]",
        ),
        (
            json!({"filters": {"cost_min": "cheap"}}),
            "filters.cost_min",
        ),
        (
            json!({"filters": {"status_code": [200, "x"]}}),
            "filters.status_code",
        ),
        (
            json!({"filters": {"prompt_slug": "a"}}),
            "filters.prompt_slug",
        ),
        (
            json!({"filters": {"weightedFeedbackMin": 1}}),
            "filters.weighted_feedback_min",
        ),
        (
            json!({"filters": {"ai_model": {"a": 1}}}),
            "filters.ai_model",
        ),
        (json!({"filters": {"after": "log-1"}}), "filters.after"),
        (
            json!({"filters": {"page_size": "many"}}),
            "filters.page_size",
        ),
        (json!({"organisation_id": "x"}), "organisation_id"),
    ] {
        let mut asked = good.clone();
        asked
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let answer = gateway
            .admin("POST", "/v1/logs/exports", Some(&asked))
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.param().as_str()),
            (400, param),
            "{change}: {}",
            answer.text
        );
    }
    assert_eq!(
        gateway.admin("GET", "/v1/logs/exports", None).await.json()["total"],
        0
    );
}

#[tokio::test]
async fn a_draft_can_be_changed_and_stopped() {
    let gateway = with_rows(4).await;
    let id = made(&gateway, json!({}), &["id"]).await["id"].clone();
    let path = format!("/v1/logs/exports/{}", id.as_str().unwrap());
    let change = json!({"filters": {"trace_id": "trace-0"}, "exportId": id});
    let answer = gateway.admin("PUT", &path, Some(&change)).await;
    assert_eq!(
        answer.json(),
        json!({"id": id, "total": 2, "object": "export"})
    );
    assert_eq!(act(&gateway, &id, "POST", "/cancel").await.status, 200);
    assert_eq!(
        act(&gateway, &id, "GET", "").await.json()["status"],
        "stopped"
    );
    assert_eq!(gateway.admin("PUT", &path, Some(&change)).await.status, 409);
    // A stopped one can be started after all.
    act(&gateway, &id, "POST", "/start").await;
    once(&gateway, &id, "success").await;
    assert_eq!(lines(&gateway, &id).await.len(), 2);
}

/// The row of an export that somebody writes, but nobody does.
async fn orphan(gateway: &Gateway, run: &str) -> Value {
    let id = made(gateway, json!({}), &["id"]).await["id"].clone();
    let store = &gateway.app.store;
    let row = store
        .export(DEFAULT_WORKSPACE_ID, id.as_str().unwrap())
        .await;
    let row = ExportRow {
        state: EXPORT_RUNNING.to_owned(),
        run: run.to_owned(),
        updated_at_ms: portunus_store::now().as_millisecond(),
        ..row.unwrap().unwrap()
    };
    assert!(store.update_export(EXPORT_DRAFT, "", &row).await.unwrap());
    id
}

#[tokio::test]
async fn what_a_dead_process_left_has_failed_and_can_be_started_again() {
    let gateway = with_rows(2).await;
    let (ours, theirs) = (
        orphan(&gateway, "run-dead").await,
        orphan(&gateway, "run-other").await,
    );
    std::fs::create_dir_all(folder(&gateway)).unwrap();
    std::fs::write(folder(&gateway).join("run-dead.part"), "{").unwrap();
    let gateway = gateway.restarted(|_| ()).await;
    upkeep::start(&gateway.app).await;
    let row = act(&gateway, &ours, "GET", "").await.json();
    assert_eq!(row["status"], "failed", "{row}");
    assert!(row["error"].as_str().unwrap().contains("Start it again"));
    assert_eq!(files(&gateway), [""; 0]);
    // That of another gateway of the same database goes on.
    assert_eq!(
        act(&gateway, &theirs, "GET", "").await.json()["status"],
        "in_progress"
    );
    assert_eq!(act(&gateway, &ours, "POST", "/start").await.status, 200);
    once(&gateway, &ours, "success").await;
    assert_eq!(lines(&gateway, &ours).await.len(), 2);
}

#[tokio::test]
async fn the_end_of_the_process_ends_an_export() {
    let gateway = with_rows(2).await;
    let id = made(&gateway, json!({}), &["id"]).await["id"].clone();
    gateway.app.life.draining.cancel();
    act(&gateway, &id, "POST", "/start").await;
    let row = once(&gateway, &id, "failed").await;
    assert!(
        row["error"].as_str().unwrap().contains("shut down"),
        "{row}"
    );
    gateway.app.close().await;
    assert_eq!(files(&gateway), [""; 0]);
}

#[tokio::test]
async fn a_stopped_run_leaves_no_file() {
    let gateway = with_rows(2_000).await;
    let id = made(&gateway, json!({}), &["id", "request"]).await["id"].clone();
    act(&gateway, &id, "POST", "/start").await;
    let stopped = act(&gateway, &id, "POST", "/cancel").await;
    assert_eq!(stopped.status, 200, "{}", stopped.text);
    gateway.app.life.draining.cancel();
    gateway.app.close().await;
    assert_eq!(files(&gateway), [""; 0]);
}
