//! Walks the pages of a tool list within bounds.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::bounds::Bounds;
use crate::digest::{self, Digest};
use crate::fault::Fault;
use crate::tool::{self, Tool};

/// What the pages read so far amount to.
pub(crate) struct Walk {
    modern: bool,
    bounds: Bounds,
    tools: Vec<Tool>,
    names: HashSet<String>,
    cursors: HashSet<String>,
    dropped: Vec<String>,
    digest: Digest,
    pages: usize,
    bytes: usize,
    ttl: Option<Duration>,
}

/// A whole list.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    pub(crate) tools: Arc<[Tool]>,
    pub(crate) dropped: Vec<String>,
    pub(crate) digest: String,
    /// How long it may be kept.
    pub(crate) ttl: Duration,
    pub(crate) bytes: usize,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "nextCursor")]
    next: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "ttlMs")]
    ttl_ms: Option<&'a RawValue>,
}

/// Warnings that are kept of one list.
const MAX_WARNINGS: usize = 100;

impl Walk {
    pub(crate) fn new(modern: bool, bounds: &Bounds) -> Self {
        Self {
            modern,
            bounds: *bounds,
            tools: Vec::new(),
            names: HashSet::new(),
            cursors: HashSet::new(),
            dropped: Vec::new(),
            digest: Digest::new(),
            pages: 0,
            bytes: 0,
            ttl: None,
        }
    }

    /// Takes one page and returns the cursor of the next. The empty string is a cursor like
    /// any other; a cursor that comes again ends the walk.
    pub(crate) fn page(&mut self, result: &RawValue) -> Result<Option<Box<RawValue>>, Fault> {
        let odd = || Fault::Odd("the answer to tools/list holds no list of tools".to_owned());
        let page: Page<'_> = serde_json::from_str(result.get()).map_err(|_| odd())?;
        let tools: Vec<&RawValue> = page
            .tools
            .and_then(|tools| serde_json::from_str(tools.get()).ok())
            .ok_or_else(odd)?;
        self.pages += 1;
        self.note_ttl(page.ttl_ms);
        for raw in tools {
            if !self.has_room(raw) {
                return Ok(None);
            }
            self.take(raw);
        }
        Ok(page
            .next
            .filter(|next| self.goes_on(next))
            .map(ToOwned::to_owned))
    }

    fn take(&mut self, raw: &RawValue) {
        match tool::read(raw, self.modern, &self.bounds) {
            Ok(tool) if !self.names.insert(tool.name.clone()) => {
                let shown: String = tool.name.escape_debug().take(80).collect();
                self.warn(format!("tool '{shown}' is left out: its name came before"));
            }
            Ok(tool) => {
                self.digest.part(raw.get().as_bytes());
                self.tools.push(tool);
            }
            Err(why) => self.warn(why),
        }
    }

    fn has_room(&mut self, raw: &RawValue) -> bool {
        self.bytes += raw.get().len();
        let full = if self.tools.len() >= self.bounds.max_tools {
            format!("{} tools", self.bounds.max_tools)
        } else if self.bytes > self.bounds.max_list_bytes {
            format!("{} bytes", self.bounds.max_list_bytes)
        } else {
            return true;
        };
        self.warn(format!("the list of tools is cut at {full}"));
        false
    }

    fn goes_on(&mut self, next: &RawValue) -> bool {
        if !self.cursors.insert(next.get().to_owned()) {
            self.warn("the list of tools is cut: the server repeats a page".to_owned());
            return false;
        }
        if self.pages >= self.bounds.max_pages {
            self.warn(format!(
                "the list of tools is cut at {} pages",
                self.bounds.max_pages
            ));
            return false;
        }
        true
    }

    /// The shortest time of all pages counts; an absent or odd one is zero (2026-07-28,
    /// "Caching").
    fn note_ttl(&mut self, raw: Option<&RawValue>) {
        let ms = raw
            .and_then(|raw| raw.get().parse::<f64>().ok())
            .filter(|ms| *ms >= 0.0);
        let ttl = Duration::try_from_secs_f64(ms.unwrap_or(0.0) / 1000.0).unwrap_or(Duration::MAX);
        self.ttl = Some(self.ttl.map_or(ttl, |known| known.min(ttl)));
    }

    fn warn(&mut self, warning: String) {
        if self.dropped.len() < MAX_WARNINGS {
            self.dropped.push(warning);
        }
    }

    pub(crate) fn finish(self) -> Pages {
        let longest = self.bounds.tool_list_ttl;
        Pages {
            tools: self.tools.into(),
            dropped: self.dropped,
            digest: digest::hex(&self.digest.finish()),
            ttl: if self.modern {
                self.ttl.unwrap_or_default().min(longest)
            } else {
                longest
            },
            bytes: self.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn small() -> Bounds {
        Bounds {
            max_pages: 3,
            max_tools: 4,
            max_list_bytes: 200,
            ..Bounds::default()
        }
    }

    #[test]
    fn an_empty_cursor_goes_on_once() {
        let mut walk = Walk::new(true, &small());
        let page = raw(r#"{"tools":[],"nextCursor":""}"#);
        assert_eq!(walk.page(&page).unwrap().unwrap().get(), r#""""#);
        assert!(walk.page(&page).unwrap().is_none());
        assert!(walk.finish().dropped[0].contains("repeats"));
    }

    #[test]
    fn caps_give_a_partial_list_and_a_warning() {
        let mut walk = Walk::new(true, &small());
        for n in 0..2 {
            assert!(
                walk.page(&raw(&format!(r#"{{"tools":[],"nextCursor":{n}}}"#)))
                    .unwrap()
                    .is_some()
            );
        }
        assert!(
            walk.page(&raw(r#"{"tools":[],"nextCursor":"x"}"#))
                .unwrap()
                .is_none()
        );
        assert!(walk.finish().dropped[0].contains("3 pages"));

        let mut walk = Walk::new(true, &small());
        let five = r#"{"tools":[{"name":"a"},{"name":"b"},{"name":"c"},{"name":"d"},{"name":"e"}],"nextCursor":"x"}"#;
        assert!(walk.page(&raw(five)).unwrap().is_none());
        let pages = walk.finish();
        assert_eq!(pages.tools.len(), 4);
        assert!(pages.dropped[0].contains("4 tools"));
    }

    #[test]
    fn the_first_of_equal_names_wins() {
        let mut walk = Walk::new(true, &small());
        walk.page(&raw(
            r#"{"tools":[{"name":"a","description":"1"},7,{"name":"a"}]}"#,
        ))
        .unwrap();
        let pages = walk.finish();
        assert_eq!(pages.tools.len(), 1);
        assert_eq!(pages.tools[0].description.as_deref(), Some("1"));
        assert_eq!(pages.dropped.len(), 2);
    }

    #[test]
    fn the_shortest_ttl_counts_for_modern_servers() {
        let ttl = |modern, pages: &[&str]| {
            let mut walk = Walk::new(modern, &small());
            for page in pages {
                walk.page(&raw(page)).unwrap();
            }
            walk.finish().ttl
        };
        let long = r#"{"tools":[],"ttlMs":1e9}"#;
        let short = r#"{"tools":[],"ttlMs":1500}"#;
        assert_eq!(ttl(true, &[long]), small().tool_list_ttl);
        assert_eq!(ttl(true, &[long, short]), Duration::from_millis(1500));
        assert_eq!(ttl(true, &[r#"{"tools":[],"ttlMs":-1}"#]), Duration::ZERO);
        assert_eq!(ttl(true, &[r#"{"tools":[]}"#]), Duration::ZERO);
        assert_eq!(ttl(false, &[r#"{"tools":[]}"#]), small().tool_list_ttl);
    }

    #[test]
    fn no_list_is_an_error() {
        for bad in ["{}", "[]", r#"{"tools":null}"#, r#"{"tools":{}}"#] {
            assert!(Walk::new(true, &small()).page(&raw(bad)).is_err(), "{bad}");
        }
    }
}
