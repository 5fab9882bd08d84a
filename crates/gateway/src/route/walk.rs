//! From a config's tree to the steps that a request may take, without IO.

use super::{Wanted, wanted};
use crate::call::Call;
use crate::config::{Config, Kind, Level, Mode, Settings};
use crate::error::Error;

/// One target that may be tried.
#[derive(Debug, PartialEq)]
pub(crate) struct Step {
    /// Where it stands in the config: `config.targets[1]`.
    pub(crate) index: String,
    pub(crate) wanted: Wanted,
    pub(crate) settings: Settings,
    /// Ways on after a failure, innermost group first.
    pub(crate) exits: Vec<Exit>,
}

/// A way on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Statuses that it is for; `None` = all.
    pub(crate) codes: Option<Vec<u16>>,
    /// Position of the next step.
    pub(crate) to: usize,
}

impl Exit {
    /// The way on after a failure with one of these statuses.
    pub(crate) fn find(exits: &[Self], statuses: &[u16]) -> Option<usize> {
        let fits = |exit: &&Self| {
            let codes = exit.codes.as_ref();
            codes.is_none_or(|codes| statuses.iter().any(|status| codes.contains(status)))
        };
        exits.iter().find(fits).map(|exit| exit.to)
    }
}

/// The steps of a request, in order. `draw` gives numbers from 0 to below 1.
pub(crate) fn steps(
    model: &str,
    call: &Call,
    config: &Config,
    draw: &mut dyn FnMut() -> f64,
) -> Result<Vec<Step>, Error> {
    let mut walk = Walk {
        model,
        call,
        over: config.over.as_ref(),
        draw,
        steps: Vec::new(),
    };
    walk.level(&config.routing.tree, &Settings::default())?;
    Ok(walk.steps)
}

struct Walk<'a> {
    model: &'a str,
    call: &'a Call,
    /// What beats the settings of every target.
    over: Option<&'a Settings>,
    draw: &'a mut dyn FnMut() -> f64,
    steps: Vec<Step>,
}

impl Walk<'_> {
    fn level(&mut self, level: &Level, above: &Settings) -> Result<(), Error> {
        let settings = level.settings.under(above);
        match &level.kind {
            Kind::Target(slug) => self.target(level, slug.as_deref(), settings),
            Kind::Group(Mode::Single, targets) => self.first(targets, &settings),
            Kind::Group(Mode::Loadbalance, targets) => {
                let drawn = drawn(targets, (self.draw)());
                self.level(&targets[drawn], &settings)
            }
            Kind::Group(Mode::Fallback(codes), targets) => {
                self.chain(targets, codes.as_ref(), &settings)
            }
        }
    }

    fn first(&mut self, targets: &[Level], settings: &Settings) -> Result<(), Error> {
        targets
            .iter()
            .take(1)
            .try_for_each(|target| self.level(target, settings))
    }

    fn chain(
        &mut self,
        targets: &[Level],
        codes: Option<&Vec<u16>>,
        settings: &Settings,
    ) -> Result<(), Error> {
        for (number, target) in targets.iter().enumerate() {
            let from = self.steps.len();
            self.level(target, settings)?;
            let to = self.steps.len();
            if number + 1 == targets.len() {
                break;
            }
            for step in &mut self.steps[from..] {
                step.exits.push(Exit {
                    codes: codes.cloned(),
                    to,
                });
            }
        }
        Ok(())
    }

    fn target(
        &mut self,
        level: &Level,
        slug: Option<&str>,
        mut settings: Settings,
    ) -> Result<(), Error> {
        if let Some(over) = self.over {
            settings = over.under(&settings);
        }
        let model = settings.override_params.shift_remove("model");
        let model = model.as_ref().and_then(serde_json::Value::as_str);
        let wanted = wanted(self.model, model, self.call, (&level.index, slug))?;
        self.steps.push(Step {
            index: level.index.clone(),
            wanted,
            settings,
            exits: Vec::new(),
        });
        Ok(())
    }
}

/// The target that a number from 0 to below 1 stands for. A weight of 0 is never drawn.
fn drawn(targets: &[Level], number: f64) -> usize {
    let total: f64 = targets.iter().map(|target| target.weight).sum();
    let mut left = number * total;
    let mut last = 0;
    for (place, target) in targets.iter().enumerate() {
        if target.weight <= 0.0 {
            continue;
        }
        last = place;
        left -= target.weight;
        if left < 0.0 {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests;
