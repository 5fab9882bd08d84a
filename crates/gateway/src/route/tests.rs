use super::*;
use crate::call::test_call as call;

fn named(model: &str, call: &Call) -> Result<Wanted, Error> {
    wanted(model, None, call, ("config", None))
}

fn check(model: &str, headers: &[(&str, &str)], slug: &str, bare_model: &str) {
    let got = named(model, &call(headers)).unwrap();
    let expected = Wanted {
        place: Place::VirtualKey(slug.to_owned()),
        model: bare_model.to_owned(),
    };
    assert_eq!(got, expected, "{model} {headers:?}");
}

#[test]
fn where_the_slug_may_stand() {
    check(
        "gpt-4.1",
        &[("x-portkey-virtual-key", "openai")],
        "openai",
        "gpt-4.1",
    );
    check(
        "gpt-4.1",
        &[("x-portkey-provider", "@openai")],
        "openai",
        "gpt-4.1",
    );
    check("@or/openai/gpt-4o", &[], "or", "openai/gpt-4o");
    check(
        "gpt-4.1",
        &[("x-portkey-provider", "openai")],
        "openai",
        "gpt-4.1",
    );
    check("@a/m", &[("x-portkey-virtual-key", "a")], "a", "m");
}

#[test]
fn two_different_slugs_are_refused() {
    let got = named("@a/m", &call(&[("x-portkey-virtual-key", "b")]));
    let body = got.unwrap_err().body();
    assert!(
        body.message.contains("'b'") && body.message.contains("'a'"),
        "{body}"
    );
}

#[test]
fn a_mistyped_slug_goes_nowhere() {
    for model in ["@fake", "@fake/", "@/ok", "@"] {
        let mut call = call(&[]);
        call.principal.defaults.virtual_key = Some("default".to_owned());
        let body = named(model, &call).unwrap_err().body();
        assert_eq!(body.param.as_deref(), Some("model"), "{model}");
    }
}

#[test]
fn a_slug_that_is_there_twice_is_refused() {
    let mut call = call(&[("x-portkey-virtual-key", "a")]);
    call.headers
        .append("x-portkey-virtual-key", "b".parse().unwrap());
    assert!(named("m", &call).is_err());
}

#[test]
fn no_slug_is_refused_with_three_ways_out() {
    let body = named("m", &call(&[])).unwrap_err().body();
    assert_eq!(body.param.as_deref(), Some("x-portkey-virtual-key"));
}

#[test]
fn a_bare_provider_takes_the_callers_key() {
    let mut call = call(&[("x-portkey-provider", "openai")]);
    call.caller_credential = Some("sk-x".to_owned().into());
    let got = named("m", &call).unwrap();
    assert_eq!(got.place, Place::Bare("openai".to_owned()));
}
