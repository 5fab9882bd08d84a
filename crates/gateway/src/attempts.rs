//! The targets that a request may try, in order, and what happened to those that it tried.
//!
//! Everything here wraps one turn of the model before its first output. A tool call is never
//! inside.

use crate::Gateway;
use crate::call::Call;
use crate::config::{self, Config, Retry};
use crate::error::{Error, invalid};
use crate::record::Record;
use crate::route::{self, Exit, Step, Target};
use http::{HeaderMap, HeaderName};
use portunus_egress::SendError;
use portunus_protocol::error::ErrorBody;
use portunus_protocol::shallow::Shallow;
use portunus_providers::Source;
use serde_json::{Map, Value};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Retries that may always run at once.
const FLOOR: usize = 3;
/// Of so many active requests, one may be a retry.
const SHARE: usize = 5;

/// One target of a route, opened.
pub(crate) struct Attempt {
    /// Where it stands in the config: `config.targets[1]`.
    pub(crate) index: String,
    target: Result<Target, (u16, ErrorBody)>,
    /// What the request calls the target.
    name: String,
    pub(crate) retry: Retry,
    pub(crate) timeout: Option<Duration>,
    /// Fields that replace those of the body.
    params: Map<String, Value>,
    /// Headers of the request that the provider gets too.
    pub(crate) forward: HeaderMap,
    exits: Vec<Exit>,
}

/// The targets of a request.
pub(crate) struct Route {
    attempts: Vec<Attempt>,
    at: AtomicUsize,
    /// Whether the target at `at` has given something to the client.
    answered: AtomicBool,
    /// Targets before the one that the first turn begins with.
    skipped: Mutex<Vec<String>>,
    deadline: Duration,
}

/// What was tried for one turn.
pub(crate) struct Tries {
    told: Vec<String>,
    /// Attempt rows of the request before the target that is tried now.
    rows: usize,
    turn: usize,
}

impl Route {
    /// Opens the targets of a request. The first that can be opened is where it begins; with
    /// none, the error is the answer.
    pub(crate) async fn open(
        gateway: &Gateway,
        call: &Call,
        steps: Vec<Step>,
        record: &mut Record,
    ) -> Result<Arc<Self>, Error> {
        let alone = steps.len() == 1;
        let mut attempts = Vec::with_capacity(steps.len());
        for step in steps {
            attempts.push(open(gateway, call, step, alone).await?);
        }
        let route = Self {
            attempts,
            at: AtomicUsize::new(0),
            answered: AtomicBool::new(alone),
            skipped: Mutex::default(),
            deadline: gateway.parts.bounds.wall_clock,
        };
        let mut tries = Tries::new(0, record);
        match route.target() {
            Ok(_) => route.aim(0, record),
            Err(error) => route.fail(error, &mut tries, record)?,
        }
        route.skip(tries);
        Ok(Arc::new(route))
    }

    /// The targets that could be opened.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Target> {
        let targets = self.attempts.iter();
        targets.filter_map(|attempt| attempt.target.as_ref().ok())
    }

    /// Position of the target that is tried now.
    pub(crate) fn at(&self) -> usize {
        self.at.load(Ordering::Acquire)
    }

    /// The target that is tried now.
    pub(crate) fn attempt(&self) -> &Attempt {
        &self.attempts[self.at()]
    }

    /// As [`Self::attempt`], open.
    pub(crate) fn target(&self) -> Result<&Target, Error> {
        self.attempt().open()
    }

    /// The target that is tried now gives something to the client.
    pub(crate) fn answers(&self) {
        self.answered.store(true, Ordering::Release);
    }

    /// Provider and place of the target that answers, as soon as that is known.
    pub(crate) fn used(&self) -> Option<(&'static str, String)> {
        if !self.answered.load(Ordering::Acquire) {
            return None;
        }
        let attempt = self.attempt();
        let provider = attempt.target.as_ref().ok()?.provider.name();
        Some((provider, attempt.index.clone()))
    }

    /// What is tried in a turn.
    pub(crate) fn tries(&self, turn: usize, record: &mut Record) -> Tries {
        let mut tries = Tries::new(turn, record);
        if turn == 0 {
            let skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
            tries.told.clone_from(&skipped);
        }
        tries
    }

    /// What was tried and given up before the first turn.
    pub(crate) fn skip(&self, tries: Tries) {
        *self.skipped.lock().unwrap_or_else(PoisonError::into_inner) = tries.told;
    }

    /// The target that is tried now has failed: goes on to the next that can be opened.
    ///
    /// # Errors
    /// `error`, or one that lists all, when there is no next.
    pub(crate) fn fail(
        &self,
        mut error: Error,
        tries: &mut Tries,
        record: &mut Record,
    ) -> Result<(), Error> {
        loop {
            tries.failed(self.attempt(), &error, record);
            let next = self.attempt().exit(&error);
            let Some(next) = next.filter(|_| record.elapsed() < self.deadline) else {
                return Err(tries.sum_up(error));
            };
            self.aim(next, record);
            match self.target() {
                Ok(_) => return Ok(()),
                Err(refused) => error = refused,
            }
        }
    }

    fn aim(&self, at: usize, record: &mut Record) {
        self.at.store(at, Ordering::Release);
        let attempt = &self.attempts[at];
        if let Ok(target) = &attempt.target {
            record.aimed(target, &attempt.index);
            record.keeps_secret(&attempt.forward);
        }
    }
}

async fn open(gateway: &Gateway, call: &Call, step: Step, alone: bool) -> Result<Attempt, Error> {
    let name = step.wanted.place.shown().to_owned();
    let found = gateway.target(call, step.wanted).await;
    let found = match (found, &step.settings.custom_host) {
        (Ok(target), Some(url)) => gateway.hosted(target, &host_at(call, &step.index), url),
        (found, _) => found,
    };
    let target = match found {
        Ok(target) => Ok(target),
        Err(error) if alone || matches!(error, Error::Internal(_)) => return Err(error),
        Err(error) => Err((error.status(), error.body())),
    };
    Ok(Attempt {
        index: step.index,
        target,
        name,
        retry: step.settings.retry.unwrap_or_default(),
        timeout: step.settings.request_timeout,
        params: step.settings.override_params,
        forward: forwarded(call, step.settings.forward_headers.as_deref()),
        exits: step.exits,
    })
}

/// What names the host: the header, else the config.
fn host_at(call: &Call, index: &str) -> String {
    match call.header(config::HOST) {
        Some(_) => config::HOST.to_owned(),
        None => format!("{index}.custom_host"),
    }
}

fn forwarded(call: &Call, names: Option<&[HeaderName]>) -> HeaderMap {
    let mut out = HeaderMap::new();
    for name in names.unwrap_or_default() {
        for value in call.headers.get_all(name) {
            out.append(name, value.clone());
        }
    }
    out
}

impl Attempt {
    /// Whether the config overrides fields of the body here.
    pub(crate) fn overrides(&self) -> bool {
        !self.params.is_empty()
    }

    /// The body with what the config overrides here.
    pub(crate) fn overridden<'a>(&'a self, body: &Shallow<'a>) -> Result<Shallow<'a>, Error> {
        let mut body = body.clone();
        for (key, value) in &self.params {
            body.set_value(key, value)?;
        }
        Ok(body)
    }

    /// As [`Self::overridden`], with these fields alone.
    pub(crate) fn overridden_among<'a>(
        &'a self,
        body: &Shallow<'a>,
        fields: &[&str],
    ) -> Result<Shallow<'a>, Error> {
        let mut body = body.clone();
        for (key, value) in &self.params {
            if fields.contains(&key.as_str()) {
                body.set_value(key, value)?;
            }
        }
        Ok(body)
    }

    fn open(&self) -> Result<&Target, Error> {
        self.target
            .as_ref()
            .map_err(|(status, body)| Error::Refused {
                status: *status,
                body: body.clone(),
            })
    }

    /// Where to go after this error.
    fn exit(&self, error: &Error) -> Option<usize> {
        match meaning(error) {
            Meaning::Stays => None,
            Meaning::NotServed => self.exits.first().map(|exit| exit.to),
            Meaning::Failed(statuses) => Exit::find(&self.exits, &statuses),
        }
    }
}

/// What an error of one target says about the others.
enum Meaning {
    /// It would be the same at each.
    Stays,
    /// The gateway cannot serve the request there.
    NotServed,
    /// It failed with one of these statuses, as configs may name it.
    Failed([u16; 2]),
}

fn meaning(error: &Error) -> Meaning {
    match error {
        Error::Invalid(_)
        | Error::Refused { .. }
        | Error::Unreachable {
            cause: SendError::Forbidden(_),
            ..
        } => Meaning::NotServed,
        // Portkey counts a refused connection as 500.
        Error::Unreachable { .. } => Meaning::Failed([500, error.status()]),
        Error::RequestTimeout(_) => Meaning::Failed([408, 408]),
        Error::Provider(failure) => match failure.upstream_status {
            Some(status) => Meaning::Failed([status, status]),
            None if failure.source == Source::Gateway => Meaning::NotServed,
            None => Meaning::Failed([500, 502]),
        },
        _ => Meaning::Stays,
    }
}

impl Tries {
    fn new(turn: usize, record: &mut Record) -> Self {
        Self {
            told: Vec::new(),
            rows: record.attempts(),
            turn,
        }
    }

    /// Notes how the target that was tried has failed; one that was never called gets a row too.
    fn failed(&mut self, attempt: &Attempt, error: &Error, record: &mut Record) {
        let text = record.keep_words(&error.body().message);
        if record.attempts() == self.rows {
            let target = attempt.target.as_ref().ok();
            record.refused_attempt(self.turn, &attempt.name, target, text);
        } else {
            record.failed_attempt(text);
        }
        let rows = record.attempts_from(self.rows);
        let each: Vec<String> = rows.iter().map(|row| told(row, error)).collect();
        let (index, name) = (&attempt.index, &attempt.name);
        self.told
            .push(format!("{index} ('{name}'): {}", each.join(", ")));
        self.rows = record.attempts();
    }

    /// The error of the last target, with the list of all when it was not the only one.
    fn sum_up(&self, last: Error) -> Error {
        if self.told.len() < 2 {
            return last;
        }
        Error::AllFailed {
            tried: self.told.join("; "),
            last: Box::new(last),
        }
    }
}

fn told(row: &portunus_store::AttemptRow, error: &Error) -> String {
    let took = row.total_ms.unwrap_or(0);
    let status = match (row.status_code, row.outcome.as_str()) {
        (Some(status), _) if status >= 300 => status.to_string(),
        (_, "refused") => "not called".to_owned(),
        _ => error.status().to_string(),
    };
    format!("{status} after {took} ms")
}

/// How many retries may run at once, over all requests: a fifth of those that are active, but at
/// least three. A provider that fails everybody is not called twice by everybody.
#[derive(Default)]
pub(crate) struct Budget {
    active: AtomicUsize,
    retrying: AtomicUsize,
}

/// Counts down when it is dropped.
pub(crate) struct Counted(Arc<Budget>, fn(&Budget) -> &AtomicUsize);

impl Budget {
    /// Counts a request as active.
    pub(crate) fn enter(self: &Arc<Self>) -> Counted {
        self.active.fetch_add(1, Ordering::AcqRel);
        Counted(Arc::clone(self), |budget| &budget.active)
    }

    /// Room for one retry; `None` when there is none.
    pub(crate) fn retry(self: &Arc<Self>) -> Option<Counted> {
        let most = (self.active.load(Ordering::Acquire) / SHARE).max(FLOOR);
        let taken = self
            .retrying
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                (now < most).then_some(now + 1)
            });
        taken.ok()?;
        Some(Counted(Arc::clone(self), |budget| &budget.retrying))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Ordering::AcqRel);
    }
}

/// A number from 0 to below 1. Good enough to spread load, not to keep secrets.
pub(crate) fn random() -> f64 {
    let bits = uuid::Uuid::now_v7().as_u128() & u128::from(u32::MAX);
    f64::from(u32::try_from(bits).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
}

impl Gateway {
    /// The targets that a request may try.
    pub(crate) async fn route(
        &self,
        model: &str,
        call: &Call,
        config: &Config,
        record: &mut Record,
    ) -> Result<Arc<Route>, Error> {
        let max = self.parts.bounds.max_targets;
        let steps = route::steps(model, call, config, &mut random)?;
        if steps.len() > max {
            return Err(invalid(
                "x-portkey-config",
                &format!("names more than {max} targets to try"),
            ));
        }
        Route::open(self, call, steps, record).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_fifth_of_what_is_active_and_never_less_than_three() {
        for (active, most) in [(1, 3), (14, 3), (20, 4), (100, 20)] {
            let budget = Arc::new(Budget::default());
            let _active: Vec<Counted> = (0..active).map(|_| budget.enter()).collect();
            let mut slots: Vec<Counted> = std::iter::from_fn(|| budget.retry()).collect();
            assert_eq!(slots.len(), most, "{active}");
            slots.pop();
            assert!(budget.retry().is_some());
        }
    }

    #[test]
    fn random_numbers_spread() {
        let numbers: Vec<f64> = (0..2_000).map(|_| random()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        let mean = numbers.iter().sum::<f64>() / 2_000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
    }
}
