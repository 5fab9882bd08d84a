//! Puts the settings together and reports every problem at once, each with its path and
//! the place that it came from.

use super::{Settings, check};
use serde_json::{Map, Value};
use std::fmt;
use std::path::PathBuf;
use toml::de::{DeTable, DeValue};

/// What the settings are made from, weakest first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Name and text of the settings file.
    pub file: Option<(PathBuf, String)>,
    /// Environment variables; all but `PORTUNUS_*` are passed over.
    pub environment: Vec<(String, String)>,
    /// Values of the command line.
    pub flags: Vec<Given>,
}

/// One field as somebody gave it.
#[derive(Clone, Debug)]
pub struct Given {
    /// The keys down to the field.
    pub path: Vec<String>,
    /// What was given.
    pub value: Value,
    /// Where: `portunus.toml:3:1`, a variable, a flag.
    pub place: String,
}

impl Given {
    /// The value of a flag for a top-level field.
    pub fn flag(field: &str, flag: &str, value: impl Into<Value>) -> Self {
        Self {
            path: vec![field.to_owned()],
            value: value.into(),
            place: flag.to_owned(),
        }
    }

    fn dotted(&self) -> String {
        self.path.join(".")
    }
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Problem {
    /// The field, `limits.body_bytes`; empty for the whole file.
    pub path: String,
    /// Where it was given, when known.
    pub place: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem of the field at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            place: None,
            message: message.into(),
        }
    }

    fn at(mut self, place: &str) -> Self {
        self.place = Some(place.to_owned());
        self
    }
}

/// Everything that is wrong with the settings; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(
            f,
            "{count} problem{} in the settings:",
            if count == 1 { "" } else { "s" }
        )?;
        for problem in &self.0 {
            f.write_str("\n  ")?;
            if let Some(place) = &problem.place {
                write!(f, "{place}: ")?;
            }
            if !problem.path.is_empty() {
                write!(f, "{}: ", problem.path)?;
            }
            f.write_str(&problem.message)?;
        }
        Ok(())
    }
}

/// The settings of `sources`.
///
/// # Errors
/// All problems found: unknown fields, wrong types, values out of bounds, combinations that
/// cannot be served.
pub fn load(sources: &Sources) -> Result<Settings, Problems> {
    let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
    let mut problems = Vec::new();
    let mut given = Vec::new();
    if let Some((name, text)) = &sources.file {
        match file_fields(&name.display().to_string(), text, &defaults) {
            Ok(fields) => given.extend(fields),
            Err(problem) => problems.push(problem),
        }
    }
    given.extend(
        sources
            .environment
            .iter()
            .filter_map(|(k, v)| variable(k, v, &defaults)),
    );
    given.extend(sources.flags.iter().cloned());
    problems.extend(
        sources
            .environment
            .iter()
            .filter_map(|(name, _)| one_underscore(name, &defaults)),
    );

    let mut tree = defaults.clone();
    for field in &given {
        match fits(&defaults, field) {
            Ok(()) => set(&mut tree, &field.path, field.value.clone()),
            Err(problem) => problems.push(problem),
        }
    }
    let settings: Settings = serde_json::from_value(tree).unwrap_or_default();
    problems.extend(
        check::problems(&settings)
            .into_iter()
            .map(|p| place_of(p, &given)),
    );
    if problems.is_empty() {
        Ok(settings)
    } else {
        Err(Problems(problems))
    }
}

/// Says where the field of a problem was given last.
fn place_of(problem: Problem, given: &[Given]) -> Problem {
    let field = problem.path.split('[').next().unwrap_or_default();
    match given.iter().rev().find(|g| g.dotted() == field) {
        Some(found) => problem.at(&found.place),
        None => problem,
    }
}

/// Tries one field alone over the defaults.
fn fits(defaults: &Value, field: &Given) -> Result<(), Problem> {
    if lookup(defaults, &field.path).is_none() {
        let message = unknown(defaults, &field.path);
        return Err(Problem::new(field.dotted(), message).at(&field.place));
    }
    let mut alone = defaults.clone();
    set(&mut alone, &field.path, field.value.clone());
    let parsed: Result<Settings, _> = serde_json::from_value(alone);
    parsed
        .map(drop)
        .map_err(|e| Problem::new(field.dotted(), plain(&e)).at(&field.place))
}

/// What is wrong with a value. Rust's own words for an address do not say what one looks like.
fn plain(error: &serde_json::Error) -> String {
    match error.to_string() {
        text if text.contains("socket address") => {
            "expected ADDRESS:PORT with a numeric address, such as 127.0.0.1:8787".to_owned()
        }
        text => text,
    }
}

/// A variable that would be a setting with two underscores after the section's name.
fn one_underscore(name: &str, defaults: &Value) -> Option<Problem> {
    let rest = name.strip_prefix("PORTUNUS_")?.to_ascii_lowercase();
    let sections = defaults.as_object()?.iter();
    let (section, field) =
        sections
            .filter(|(_, fields)| fields.is_object())
            .find_map(|(section, fields)| {
                let field = rest.strip_prefix(section)?.strip_prefix('_')?;
                fields.get(field).map(|_| (section, field))
            })?;
    let meant = format!("PORTUNUS_{section}__{field}").to_ascii_uppercase();
    let message = format!("no such variable; did you mean {meant}?");
    Some(Problem::new(format!("{section}.{field}"), message).at(name))
}

fn lookup<'a>(tree: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter()
        .try_fold(tree, |node, key| node.as_object()?.get(key))
}

fn set(tree: &mut Value, path: &[String], value: Value) {
    if let Some(slot) = path
        .iter()
        .try_fold(tree, |node, key| node.as_object_mut()?.get_mut(key))
    {
        *slot = value;
    }
}

fn unknown(defaults: &Value, path: &[String]) -> String {
    let (last, parents) = path
        .split_last()
        .map_or(("", path), |(l, p)| (l.as_str(), p));
    let Some(known) = lookup(defaults, parents).and_then(Value::as_object) else {
        return "no such section".to_owned();
    };
    let nearest = known.keys().min_by_key(|name| distance(name, last));
    match nearest.filter(|name| distance(name, last) <= 3) {
        Some(name) => format!("no such setting; did you mean `{name}`?"),
        None => {
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            format!("no such setting; there are {}", names.join(", "))
        }
    }
}

/// Edit distance, for suggestions.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replace = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

/// The fields of a settings file, each with its line and column.
fn file_fields(name: &str, text: &str, defaults: &Value) -> Result<Vec<Given>, Problem> {
    let whole = |e: &toml::de::Error| {
        let place = e
            .span()
            .map_or_else(|| name.to_owned(), |span| at(name, text, span.start));
        Problem::new("", e.message().to_owned()).at(&place)
    };
    let values: Map<String, Value> = toml::from_str(text).map_err(|e| whole(&e))?;
    let spans = DeTable::parse(text).map_err(|e| whole(&e))?;
    let mut fields = Vec::new();
    leaves(
        &mut Vec::new(),
        Value::Object(values),
        Some(defaults),
        &mut fields,
    );
    let begin = |field: &Given| offset(spans.get_ref(), &field.path).unwrap_or(0);
    fields.sort_by_key(begin);
    for field in &mut fields {
        field.place = at(name, text, begin(field));
    }
    Ok(fields)
}

/// Collects the fields under `value`; a table is entered where the settings have a section.
fn leaves(path: &mut Vec<String>, value: Value, known: Option<&Value>, out: &mut Vec<Given>) {
    match value {
        Value::Object(table) if known.is_some_and(Value::is_object) => {
            for (key, inner) in table {
                let below = known.and_then(|k| k.get(&key));
                path.push(key);
                leaves(path, inner, below, out);
                path.pop();
            }
        }
        value => out.push(Given {
            path: path.clone(),
            value,
            place: String::new(),
        }),
    }
}

/// Where the key at `path` begins in the file.
fn offset(table: &DeTable<'_>, path: &[String]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table
        .iter()
        .find(|(key, _)| key.get_ref().as_ref() == first)?;
    match value.get_ref() {
        DeValue::Table(inner) if !rest.is_empty() => offset(inner, rest),
        _ => Some(key.span().start),
    }
}

fn at(name: &str, text: &str, offset: usize) -> String {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
    format!("{name}:{line}:{column}")
}

/// The field that a variable sets. A name without `__` that is no top-level field is passed
/// over: container platforms add variables such as `PORTUNUS_PORT` of their own accord.
fn variable(name: &str, text: &str, defaults: &Value) -> Option<Given> {
    let rest = name.strip_prefix("PORTUNUS_")?.to_ascii_lowercase();
    let path: Vec<String> = rest.split("__").map(str::to_owned).collect();
    let known = lookup(defaults, &path);
    if path.len() == 1 && known.is_none_or(Value::is_object) {
        return None;
    }
    let value = typed(text, known.unwrap_or(&Value::Null));
    Some(Given {
        path,
        value,
        place: name.to_owned(),
    })
}

/// A variable's text as the kind of value that the field has by default.
fn typed(text: &str, like: &Value) -> Value {
    let as_text = || Value::String(text.to_owned());
    match like {
        Value::Array(_) => text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(|entry| Value::String(entry.to_owned()))
            .collect(),
        Value::Bool(_) => text.parse().map_or_else(|_| as_text(), Value::Bool),
        Value::Number(_) => text.parse::<u64>().map_or_else(|_| as_text(), Value::from),
        // An optional field: empty text takes it away.
        Value::Null if text.is_empty() => Value::Null,
        _ => as_text(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Sources {
        let file = Some((PathBuf::from("portunus.toml"), text.to_owned()));
        Sources {
            file,
            ..Sources::default()
        }
    }

    fn problems(sources: &Sources) -> Vec<(String, String)> {
        let list = load(sources).unwrap_err().0;
        list.into_iter()
            .map(|p| (p.place.unwrap_or_default(), p.path))
            .collect()
    }

    #[test]
    fn nothing_given_is_the_default() {
        assert_eq!(load(&Sources::default()).unwrap(), Settings::default());
    }

    #[test]
    fn flags_beat_environment_beats_file() {
        let mut sources =
            file("listen = \"127.0.0.1:1\"\ndatabase = \"sqlite:///f\"\n[limits]\nturns = 3");
        sources.environment = vec![
            ("PORTUNUS_LISTEN".into(), "127.0.0.1:2".into()),
            ("PORTUNUS_DATABASE".into(), "sqlite:///e".into()),
            (
                "PORTUNUS_MCP__ALLOW".into(),
                "127.0.0.0/8, tools.example:8443".into(),
            ),
            (
                "PORTUNUS_PROVIDERS__ENVIRONMENT_KEYS".into(),
                "false".into(),
            ),
            ("PORTUNUS_PORT_8787_TCP".into(), "tcp://10.0.0.1".into()),
            ("HOME".into(), "/".into()),
        ];
        sources.flags = vec![Given::flag("listen", "--listen", "127.0.0.1:3")];
        let settings = load(&sources).unwrap();
        assert_eq!(settings.listen.port(), 3);
        assert_eq!(settings.database.as_deref(), Some("sqlite:///e"));
        assert_eq!(settings.limits.turns, 3);
        assert_eq!(settings.mcp.allow, ["127.0.0.0/8", "tools.example:8443"]);
        assert!(!settings.providers.environment_keys);
    }

    #[test]
    fn all_problems_come_at_once_with_their_places() {
        let mut sources = file(
            "listn = \"x\"\n[limits]\nbody_bytes = \"many\"\nturns = 0\n[mcp]\nallow = [\"10.0.0.0/99\"]\n",
        );
        sources.environment = vec![
            ("PORTUNUS_LOG__PAYLOAD".into(), "everything".into()),
            ("PORTUNUS_LOG__COLOUR".into(), "no".into()),
        ];
        sources.flags = vec![Given::flag("listen", "--listen", "0.0.0.0:80")];
        let place = |p: &str, f: &str| (p.to_owned(), f.to_owned());
        assert_eq!(
            problems(&sources),
            [
                place("portunus.toml:1:1", "listn"),
                place("portunus.toml:3:1", "limits.body_bytes"),
                place("PORTUNUS_LOG__PAYLOAD", "log.payload"),
                place("PORTUNUS_LOG__COLOUR", "log.colour"),
                place("--listen", "listen"),
                place("portunus.toml:6:1", "mcp.allow[0]"),
                place("portunus.toml:4:1", "limits.turns"),
            ]
        );
    }

    #[test]
    fn a_data_folder_with_odd_signs_is_still_a_path() {
        let settings = Settings {
            data_dir: "/a b%20?#c".into(),
            ..Settings::default()
        };
        assert_eq!(
            settings.database_url(),
            "sqlite:///a b%2520%3F%23c/portunus.db"
        );
    }

    #[test]
    fn a_near_miss_is_named() {
        let text = load(&file("[limits]\nbody_byte = 1"))
            .unwrap_err()
            .to_string();
        assert!(text.contains("did you mean `body_bytes`?"), "{text}");
    }

    #[test]
    fn one_underscore_too_few_is_named() {
        let variable = |name: &str| Sources {
            environment: vec![(name.to_owned(), "127.0.0.0/8".to_owned())],
            ..Sources::default()
        };
        let text = load(&variable("PORTUNUS_MCP_ALLOW"))
            .unwrap_err()
            .to_string();
        assert!(text.contains("did you mean PORTUNUS_MCP__ALLOW?"), "{text}");
        assert!(load(&variable("PORTUNUS_METRICS_PORT")).is_ok());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (text, part) in [
            ("listen = \"here\"", "ADDRESS:PORT"),
            ("data_dir = \"~/data\"", "~"),
            (
                "listen = \"127.0.0.1:1\"\n[metrics]\nlisten = \"127.0.0.1:1\"",
                "metrics.listen",
            ),
        ] {
            let said = load(&file(text)).unwrap_err().to_string();
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn broken_toml_has_line_and_column() {
        assert_eq!(
            problems(&file("listen = \"127.0.0.1:1\"\n[mcp\n"))[0].0,
            "portunus.toml:2:5"
        );
    }

    #[test]
    fn a_section_that_is_no_table_is_one_problem() {
        assert_eq!(
            problems(&file("mcp = 3")),
            [("portunus.toml:1:1".into(), "mcp".into())]
        );
    }

    #[test]
    fn a_public_bind_needs_tls_or_the_flag() {
        let mut sources = file("listen = \"0.0.0.0:8787\"");
        assert_eq!(problems(&sources)[0].1, "listen");
        sources.flags = vec![Given::flag("insecure_bind", "--insecure-bind", true)];
        assert!(load(&sources).unwrap().insecure_bind);
        assert!(
            load(&file(
                "listen = \"0.0.0.0:1\"\n[tls]\ncert = \"c\"\nkey = \"k\""
            ))
            .is_ok()
        );
    }
}
