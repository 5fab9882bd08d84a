use super::*;
use crate::call::test_call;
use crate::config::{Asked, asked, over};
use crate::route::Place;
use proptest::prelude::*;
use std::time::Duration;

fn walked(config: &str, model: &str, numbers: &[f64]) -> Result<Vec<Step>, Error> {
    let line = config.replace('\n', "");
    let call = test_call(&[("x-portkey-config", &line)]);
    let config = config_of(&call);
    let mut numbers = numbers.iter();
    steps(model, &call, &config, &mut || *numbers.next().unwrap())
}

fn config_of(call: &Call) -> Config {
    let Asked::Inline(routing) = asked(call).unwrap() else {
        panic!("no config");
    };
    Config {
        routing,
        over: over(call).unwrap(),
    }
}

fn names(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| step.wanted.place.shown()).collect()
}

fn ways(step: &Step, status: u16) -> Option<usize> {
    Exit::find(&step.exits, &[status])
}

#[test]
fn a_fallback_is_every_target_in_order() {
    let config = r#"{"strategy":{"mode":"fallback"},"targets":[{"virtual_key":"a"},{"virtual_key":"b"},{"virtual_key":"c"}]}"#;
    let steps = walked(config, "m", &[]).unwrap();
    assert_eq!(names(&steps), ["a", "b", "c"]);
    assert_eq!(steps[1].index, "config.targets[1]");
    let next: Vec<_> = steps.iter().map(|step| ways(step, 500)).collect();
    assert_eq!(next, [Some(1), Some(2), None]);
}

#[test]
fn a_group_inside_gives_up_to_the_group_around_it() {
    let config = r#"{"strategy":{"mode":"fallback","on_status_codes":[500]},"targets":[
        {"strategy":{"mode":"fallback","on_status_codes":[429]},"targets":[{"virtual_key":"a"},{"virtual_key":"b"}]},
        {"virtual_key":"c"}]}"#;
    let steps = walked(config, "m", &[]).unwrap();
    assert_eq!(names(&steps), ["a", "b", "c"]);
    assert_eq!(steps[1].index, "config.targets[0].targets[1]");
    let table = [
        (0, 429, Some(1)),
        (0, 500, Some(2)),
        (0, 503, None),
        (1, 429, None),
        (1, 500, Some(2)),
    ];
    for (at, status, to) in table {
        assert_eq!(ways(&steps[at], status), to, "{at} {status}");
    }
}

#[test]
fn a_drawn_target_is_the_only_one() {
    let config = r#"{"strategy":{"mode":"loadbalance"},"targets":[{"virtual_key":"a","weight":1},{"virtual_key":"b","weight":0},{"virtual_key":"c","weight":3}]}"#;
    for (number, name) in [(0.0, "a"), (0.249, "a"), (0.25, "c"), (0.999, "c")] {
        let steps = walked(config, "m", &[number]).unwrap();
        assert_eq!(names(&steps), [name], "{number}");
        assert!(steps[0].exits.is_empty());
    }
}

#[test]
fn the_model_of_the_config_wins_and_may_name_the_virtual_key() {
    let config = r#"{"strategy":{"mode":"fallback"},"targets":[
        {"virtual_key":"a","override_params":{"model":"big","top_p":1}},
        {"override_params":{"model":"@b/org/small"}},
        {"virtual_key":"c"}]}"#;
    let steps = walked(config, "asked", &[]).unwrap();
    let models: Vec<_> = steps.iter().map(|step| &*step.wanted.model).collect();
    assert_eq!(models, ["big", "org/small", "asked"]);
    assert_eq!(steps[1].wanted.place, Place::VirtualKey("b".to_owned()));
    let left: Vec<_> = steps[0].settings.override_params.keys().collect();
    assert_eq!(left, ["top_p"]);
}

#[test]
fn a_request_that_names_another_virtual_key_than_a_target_is_refused() {
    let config =
        r#"{"strategy":{"mode":"fallback"},"targets":[{"virtual_key":"a"},{"virtual_key":"b"}]}"#;
    let body = walked(config, "@a/m", &[]).unwrap_err().body();
    assert!(body.message.contains("config.targets[1]"), "{body}");
}

#[test]
fn headers_beat_what_any_level_of_a_config_says() {
    let line = r#"{"strategy":{"mode":"fallback"},"targets":[{"virtual_key":"a","request_timeout":5,"custom_host":"https://a.example"},{"virtual_key":"b"}]}"#;
    let call = test_call(&[
        ("x-portkey-config", line),
        ("x-portkey-request-timeout", "700"),
        ("x-portkey-custom-host", "https://over.example/v1"),
    ]);
    let steps = steps("m", &call, &config_of(&call), &mut || 0.0).unwrap();
    assert_eq!(names(&steps), ["a", "b"]);
    for step in steps {
        let settings = step.settings;
        let limit = Some(Duration::from_millis(700));
        assert_eq!(settings.request_timeout, limit);
        let host = settings.custom_host.unwrap();
        assert_eq!(host.as_str(), "https://over.example/v1");
    }
}

proptest! {
    /// Over evenly spread draws each target gets its share, and a weight of 0 nothing.
    #[test]
    fn draws_follow_the_weights(weights in proptest::collection::vec(0_u32..20, 1..8)) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let targets: Vec<Level> = weights
            .iter()
            .map(|weight| Level { weight: f64::from(*weight), ..Level::default() })
            .collect();
        let draws = 4_000_u32;
        let mut counts = vec![0_u32; weights.len()];
        for draw in 0..draws {
            counts[drawn(&targets, f64::from(draw) / f64::from(draws))] += 1;
        }
        let total: u32 = weights.iter().sum();
        for (weight, count) in weights.iter().zip(counts) {
            let share = f64::from(draws) * f64::from(*weight) / f64::from(total);
            prop_assert!((f64::from(count) - share).abs() <= 2.0, "{weights:?}");
            prop_assert!(*weight > 0 || count == 0);
        }
    }
}
