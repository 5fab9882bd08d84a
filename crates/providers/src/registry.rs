//! All providers by name.

use crate::compat::{ALIASES, ROWS};
use crate::demo::DEMO;
use crate::openai::{AZURE, OPENAI};
use crate::provider::Provider;
use std::sync::LazyLock;

/// Providers with a file of their own come first, then the rows of the table.
static ALL: LazyLock<Vec<&'static dyn Provider>> = LazyLock::new(|| {
    let own: [&'static dyn Provider; 3] = [&OPENAI, &AZURE, &DEMO];
    own.into_iter()
        .chain(ROWS.iter().map(|row| row as &dyn Provider))
        .collect()
});

/// The provider of this name, if there is one. Common other spellings are known, such as
/// `llamacpp` and `mistral`.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Provider> {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    let name = alias.map_or(name, |(_, name)| *name);
    all()
        .iter()
        .copied()
        .find(|provider| provider.name() == name)
}

/// All providers, in the order of the documentation.
#[must_use]
pub fn all() -> &'static [&'static dyn Provider] {
    &ALL
}
