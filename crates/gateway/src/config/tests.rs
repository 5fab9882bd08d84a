use super::*;
use crate::call::test_call;
use std::time::Duration;

fn config(text: &str) -> Result<Arc<Routing>, Error> {
    let line = text.replace('\n', "");
    match asked(&test_call(&[(HEADER, &line)]))? {
        Asked::Inline(routing) => Ok(routing),
        other => panic!("{other:?}"),
    }
}

fn group(config: &Routing) -> (&Mode, &[Level]) {
    match &config.tree.kind {
        Kind::Group(mode, targets) => (mode, targets),
        Kind::Target(_) => panic!("not a group: {config:?}"),
    }
}

#[test]
fn one_target() {
    let got = config(r#"{"provider":"@a","retry":{"attempts":2,"on_status_codes":[503],"use_retry_after_header":false},"request_timeout":700,"mcp_execution":"gateway"}"#).unwrap();
    assert_eq!(got.tree.kind, Kind::Target(Some("a".to_owned())));
    let retry = Retry {
        attempts: 2,
        on_status_codes: vec![503],
        use_retry_after: false,
    };
    assert_eq!(got.tree.settings.retry, Some(retry));
    assert_eq!(got.mcp_execution, Some(McpExecution::Gateway));
    let limit = Some(Duration::from_millis(700));
    assert_eq!(got.tree.settings.request_timeout, limit);
}

#[test]
fn groups_nest() {
    let got = config(
        r#"{"strategy":{"mode":"fallback","on_status_codes":[429]},"targets":[
            {"virtual_key":"a","name":"first","weight":0.5},
            {"strategy":{"mode":"loadbalance"},"targets":[{"virtual_key":"@b"},{"virtual_key":"c","weight":0}]}]}"#,
    )
    .unwrap();
    let (mode, targets) = group(&got);
    assert_eq!(*mode, Mode::Fallback(Some(vec![429])));
    assert_eq!(targets[0].kind, Kind::Target(Some("a".to_owned())));
    assert!((targets[0].weight - 0.5).abs() < f64::EPSILON);
    let Kind::Group(Mode::Loadbalance, inner) = &targets[1].kind else {
        panic!("{:?}", targets[1]);
    };
    assert_eq!(inner[0].index, "config.targets[1].targets[0]");
    assert_eq!(inner[0].kind, Kind::Target(Some("b".to_owned())));
}

#[test]
fn both_spellings_of_retry_after() {
    for key in ["use_retry_after_header", "use_retry_after_headers"] {
        let text = format!(r#"{{"retry":{{"attempts":1,"{key}":false}}}}"#);
        let retry = config(&text).unwrap().tree.settings.retry.clone().unwrap();
        assert!(!retry.use_retry_after, "{key}");
    }
}

#[test]
fn a_key_may_forbid_a_config() {
    let mut call = test_call(&[(HEADER, "{}")]);
    call.principal.defaults.allow_config_override = false;
    assert_eq!(asked(&call).unwrap_err().status(), 400);
    call.headers.insert(HEADER, "pc-a".parse().unwrap());
    assert_eq!(asked(&call).unwrap_err().status(), 400);
    call.headers.clear();
    assert_eq!(asked(&call).unwrap(), Asked::Nothing);
}

#[test]
fn a_key_that_forbids_a_config_forbids_what_beats_one() {
    for (name, value) in [
        ("x-portkey-request-timeout", "500"),
        ("x-portkey-custom-host", "https://models.example/v1"),
        ("x-portkey-forward-headers", "x-mine"),
    ] {
        let mut call = test_call(&[(name, value)]);
        assert!(over(&call).unwrap().is_some(), "{name}");
        call.principal.defaults.allow_config_override = false;
        let error = over(&call).unwrap_err();
        assert_eq!(error.status(), 400);
        assert_eq!(error.body().param.as_deref(), Some(name));
    }
}

#[test]
fn a_header_is_barred_however_it_is_spelled() {
    for name in ["x_api_key", "X-Real_IP", "x_forwarded_for", "x-real-ip"] {
        let call = test_call(&[("x-portkey-forward-headers", name)]);
        assert_eq!(over(&call).unwrap_err().status(), 400, "{name}");
    }
}

#[test]
fn the_config_of_the_request_beats_that_of_the_key() {
    let saved = |slug, by_key| Asked::Saved(Named { slug, by_key });
    let mut call = test_call(&[]);
    call.principal.defaults.config_id = Some("pc-key".to_owned());
    assert_eq!(asked(&call).unwrap(), saved("pc-key", true));
    call.headers.insert(HEADER, "".parse().unwrap());
    assert_eq!(asked(&call).unwrap(), saved("pc-key", true));
    call.headers.insert(HEADER, "pc-own".parse().unwrap());
    assert_eq!(asked(&call).unwrap(), saved("pc-own", false));
    call.headers.insert(HEADER, "{}".parse().unwrap());
    assert!(matches!(asked(&call).unwrap(), Asked::Inline(_)));
}

#[test]
fn headers_are_set_for_every_target() {
    let headers = [
        (TIMEOUT, "700"),
        (HOST, "https://models.example/v1"),
        (FORWARD, "OpenAI-Beta, x-team"),
    ];
    let got = over(&test_call(&headers)).unwrap().unwrap();
    assert_eq!(got.request_timeout, Some(Duration::from_millis(700)));
    let host = got.custom_host.unwrap();
    assert_eq!(host.as_str(), "https://models.example/v1");
    assert_eq!(got.forward_headers.unwrap(), ["openai-beta", "x-team"]);
    assert_eq!(over(&test_call(&[])).unwrap(), None);
}

#[test]
fn headers_that_are_wrong_are_refused_by_name() {
    for (name, value) in [
        (TIMEOUT, "soon"),
        (TIMEOUT, "0"),
        (HOST, "models.example"),
        (HOST, "https://user@models.example"),
        (HOST, "https://models.example/v1?x=1"),
        (FORWARD, "x-portkey-forward-headers"),
        (FORWARD, "x-team, Authorization"),
        (FORWARD, "Cookie"),
        (FORWARD, "not a name"),
        ("x-portkey-cache-force-refresh", "true"),
    ] {
        let error = over(&test_call(&[(name, value)])).unwrap_err();
        assert_eq!(error.status(), 400, "{name}: {value}");
        assert_eq!(error.body().param.as_deref(), Some(name), "{value}");
    }
}

#[test]
fn what_is_not_served_is_refused_by_its_path() {
    let nested = |inner: &str| {
        format!(r#"{{"strategy":{{"mode":"fallback"}},"targets":[{{}},{{{inner}}}]}}"#)
    };
    for (text, path) in [
        (r#"{"strategy":{"mode":"fallback"}}"#, ".targets"),
        (r#"{"targets":[{}]}"#, ".strategy"),
        (r#"{"strategy":{},"targets":[{}]}"#, ".strategy.mode"),
        (
            r#"{"strategy":{"mode":"fallback"},"targets":[]}"#,
            ".targets",
        ),
        (
            r#"{"strategy":{"mode":"conditional"},"targets":[{}]}"#,
            ".strategy.mode",
        ),
        (
            r#"{"strategy":{"mode":"single","on_status_codes":[1]},"targets":[{}]}"#,
            ".strategy.on_status_codes",
        ),
        (
            r#"{"strategy":{"mode":"single","on_status_codes":[500]},"targets":[{}]}"#,
            ".strategy.on_status_codes",
        ),
        (
            r#"{"strategy":{"mode":"loadbalance"},"targets":[{"weight":0}]}"#,
            ".targets",
        ),
        (r#"{"cache":{"mode":"simple"}}"#, ".cache"),
        (r#"{"input_guardrails":["x"]}"#, ".input_guardrails"),
        (r#"{"before_request_hooks":[]}"#, ".before_request_hooks"),
        (r#"{"retry":{"attempts":9}}"#, ".retry.attempts"),
        (r#"{"provider":"openai"}"#, ".provider"),
        (r#"{"provider":"@a","virtual_key":"b"}"#, ".virtual_key"),
        (r#"{"custom_host":"a.test"}"#, ".custom_host"),
        (r#"{"forward_headers":"x-team"}"#, ".forward_headers"),
        (
            r#"{"forward_headers":["x-team","x-api-key"]}"#,
            ".forward_headers",
        ),
        (
            r#"{"override_params":{"tools":[]}}"#,
            ".override_params.tools",
        ),
        (r#"{"virtualkey":"a"}"#, ".virtualkey"),
        (&nested(r#""weight":-1"#), ".targets[1].weight"),
        (
            &nested(r#""retry":{"attempt":1}"#),
            ".targets[1].retry.attempt",
        ),
        (
            &nested(r#""mcp_execution":"auto""#),
            ".targets[1].mcp_execution",
        ),
        (&nested(r#""cache":{}"#), ".targets[1].cache"),
        ("[]", ""),
    ] {
        let error = config(text).unwrap_err();
        assert_eq!(error.status(), 400);
        let expected = format!("{HEADER}{path}");
        assert_eq!(error.body().param, Some(expected), "{text}");
    }
}

#[test]
fn parameters_are_merged_and_the_rest_is_taken_whole() {
    let text = r#"{"strategy":{"mode":"single"},"retry":{"attempts":1,"on_status_codes":[500]},
        "request_timeout":100,"override_params":{"temperature":1,"top_p":1},"targets":[
        {"retry":{"attempts":2},"override_params":{"top_p":0.5}}]}"#;
    let config = config(text).unwrap();
    let (_, targets) = group(&config);
    let got = targets[0].settings.under(&config.tree.settings);
    let retry = Retry {
        attempts: 2,
        ..Retry::default()
    };
    assert_eq!(got.retry, Some(retry));
    assert_eq!(got.request_timeout, Some(Duration::from_millis(100)));
    let params = serde_json::json!({"temperature": 1, "top_p": 0.5});
    assert_eq!(Value::Object(got.override_params), params);
}

#[test]
fn a_depth_without_end_is_refused() {
    let mut text = "{}".to_owned();
    for _ in 0..20 {
        text = format!(r#"{{"strategy":{{"mode":"single"}},"targets":[{text}]}}"#);
    }
    assert_eq!(config(&text).unwrap_err().status(), 400);
}
