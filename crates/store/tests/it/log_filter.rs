use portunus_store::{DEFAULT_WORKSPACE_ID, LogFilter, LogRecord, Store};

use crate::rows::{full_log, small_log, tool_call};

crate::conformance! {
    each_filter_finds_its_logs
    filters_are_joined_and_keep_the_page
    filter_values_are_no_sql
}

/// Three logs: `full` has a value everywhere, `plain` other values, `bare` none.
async fn fill(store: &dyn Store) {
    let full = full_log(DEFAULT_WORKSPACE_ID, "full");
    let bare = small_log(DEFAULT_WORKSPACE_ID, "bare", 1_000);
    store.insert_logs(vec![full, plain(), bare]).await.unwrap();
}

fn plain() -> LogRecord {
    let mut plain = small_log(DEFAULT_WORKSPACE_ID, "plain", 2_000);
    plain.request.status_code = 200;
    plain.request.model_asked = Some("alias".to_owned());
    plain.request.model_served = Some("llama".to_owned());
    plain.request.virtual_key = Some("local".to_owned());
    plain.request.api_key_id = Some("key-2".to_owned());
    plain.request.config = Some("pc-2".to_owned());
    plain.request.provider = Some("ollama".to_owned());
    plain.request.trace_id = "trace-2".to_owned();
    plain.request.error_source = Some("provider".to_owned());
    plain.request.cost_picodollars = Some(10);
    plain.request.total_tokens = Some(20);
    plain.request.input_tokens = Some(15);
    plain.request.output_tokens = Some(5);
    plain.request.preview = Some("Fifty Percent 50X off".to_owned());
    plain.tool_calls = vec![tool_call(0)];
    plain
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

async fn check(store: &dyn Store, filter: LogFilter, expected: &[&str]) {
    let (found, _) = store
        .list_logs(DEFAULT_WORKSPACE_ID, &filter, 10, None)
        .await
        .unwrap();
    let ids: Vec<_> = found.iter().map(|one| one.request.id.as_str()).collect();
    assert_eq!(ids, expected, "{filter:?}");
    let count = store
        .count_logs(DEFAULT_WORKSPACE_ID, &filter)
        .await
        .unwrap();
    assert_eq!(count, expected.len() as i64, "{filter:?}");
}

macro_rules! filter {
    ($($field:ident: $value:expr),*) => {
        LogFilter { $($field: $value,)* ..LogFilter::default() }
    };
}

async fn each_filter_finds_its_logs(store: &dyn Store) {
    fill(store).await;
    let some = |value: &str| Some(value.to_owned());
    let full: &[&str] = &["full"];
    let plain: &[&str] = &["plain"];
    let both: &[&str] = &["full", "plain"];
    for (filter, expected) in [
        (filter!(), &["full", "plain", "bare"][..]),
        (filter!(status_code: vec![424]), full),
        (filter!(status_code: vec![200, 424, 500]), both),
        (filter!(ai_model: texts(&["gpt-4.1"])), full),
        (
            filter!(ai_model: texts(&["gpt-4.1-2025-04-14", "alias"])),
            both,
        ),
        (filter!(virtual_keys: texts(&["local", "none"])), plain),
        (filter!(api_key_ids: texts(&["key-2"])), plain),
        (filter!(configs: texts(&["pc-1"])), full),
        (filter!(providers: texts(&["ollama"])), plain),
        (filter!(trace_id: some("trace-1")), full),
        (filter!(error_source: texts(&["mcp"])), full),
        (filter!(time_of_generation_min_ms: Some(2_000)), both),
        (
            filter!(time_of_generation_max_ms: Some(2_000)),
            &["plain", "bare"][..],
        ),
        (filter!(time_of_generation_min_ms: Some(2_001)), full),
        (filter!(cost_min_picodollars: Some(10)), both),
        (filter!(cost_min_picodollars: Some(11)), full),
        (filter!(cost_max_picodollars: Some(10)), plain),
        (filter!(total_units_min: Some(21)), full),
        (filter!(total_units_max: Some(20)), plain),
        (filter!(prompt_token_min: Some(16)), full),
        (filter!(prompt_token_max: Some(15)), plain),
        (filter!(completion_token_min: Some(6)), full),
        (filter!(completion_token_max: Some(5)), plain),
        (filter!(mcp_server: some("list1")), full),
        (filter!(mcp_server: some("server0")), both),
        (filter!(mcp_tool: some("tool1")), full),
        (
            filter!(mcp_server: some("server0"), mcp_tool: some("tool0")),
            both,
        ),
        // Both were called, but not that tool on that server.
        (
            filter!(mcp_server: some("server0"), mcp_tool: some("tool1")),
            &[][..],
        ),
        (
            filter!(mcp_server: some("list0"), mcp_tool: some("tool0")),
            &[][..],
        ),
        (filter!(contains: some("TRANSPORT protocols")), full),
        (filter!(contains: some("50")), both),
        (filter!(contains: some("50%")), full),
        (filter!(contains: some("of_it\\")), full),
        (filter!(contains: some("5_X")), &[][..]),
        (filter!(contains: some("resp_1")), full),
    ] {
        check(store, filter, expected).await;
    }
}

async fn filters_are_joined_and_keep_the_page(store: &dyn Store) {
    let logs = (0..6_i64).map(|number| {
        let mut log = small_log(DEFAULT_WORKSPACE_ID, &format!("log-{number}"), 7);
        log.request.status_code = if number % 2 == 0 { 200 } else { 500 };
        log
    });
    store.insert_logs(logs.collect()).await.unwrap();
    let filter = filter!(status_code: vec![200], time_of_generation_min_ms: Some(7));
    let page = |after| store.list_logs(DEFAULT_WORKSPACE_ID, &filter, 2, after);
    let (first, more) = page(None).await.unwrap();
    assert_eq!(
        (first[0].request.id.as_str(), first[1].request.id.as_str()),
        ("log-4", "log-2")
    );
    assert!(more);
    let (second, more) = page(Some("log-2")).await.unwrap();
    assert_eq!(
        (second.len(), second[0].request.id.as_str(), more),
        (1, "log-0", false)
    );
    check(
        store,
        filter!(status_code: vec![200], trace_id: Some("x".to_owned())),
        &[],
    )
    .await;
}

async fn filter_values_are_no_sql(store: &dyn Store) {
    fill(store).await;
    let evil = "x') OR 1=1; DROP TABLE requests; --";
    let list = || vec![evil.to_owned(), "'".to_owned()];
    for filter in [
        filter!(ai_model: list()),
        filter!(virtual_keys: list()),
        filter!(api_key_ids: list()),
        filter!(trace_id: Some(evil.to_owned())),
        filter!(mcp_server: Some(evil.to_owned())),
        filter!(mcp_tool: Some(evil.to_owned())),
        filter!(contains: Some(evil.to_owned())),
    ] {
        check(store, filter, &[]).await;
    }
    check(store, filter!(), &["full", "plain", "bare"]).await;
}
