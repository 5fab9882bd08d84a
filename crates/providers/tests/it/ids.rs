//! Replaces ids that are made at random by counted ones.

use serde_json::Value;
use std::collections::HashMap;

const PREFIXES: [&str; 5] = ["msg_", "rs_", "fc_", "ctc_", "call_"];

#[derive(Default)]
pub(crate) struct Ids {
    seen: HashMap<String, String>,
    counts: HashMap<&'static str, usize>,
}

impl Ids {
    pub(crate) fn count(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(name) = self.name(text) {
                    *text = name;
                }
            }
            Value::Array(all) => all.iter_mut().for_each(|inner| self.count(inner)),
            Value::Object(fields) => fields.values_mut().for_each(|inner| self.count(inner)),
            _ => {}
        }
    }

    fn name(&mut self, text: &str) -> Option<String> {
        let prefix = PREFIXES
            .into_iter()
            .find(|prefix| text.starts_with(prefix))?;
        let rest = &text[prefix.len()..];
        if rest.len() != 48 || !rest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let counts = &mut self.counts;
        let name = self.seen.entry(text.to_owned()).or_insert_with(|| {
            let count = counts.entry(prefix).or_default();
            *count += 1;
            format!("{prefix}{count}")
        });
        Some(name.clone())
    }
}
