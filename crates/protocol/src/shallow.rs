//! A JSON object of which only the top level is read: inner bytes stay as they came, so
//! that `1e2`, `\u00e9` and 23-digit integers survive while one field is replaced.

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The fields of an object in their order, each value as raw JSON.
#[derive(Clone, Debug)]
pub struct Shallow<'a> {
    fields: Vec<(Cow<'a, str>, Cow<'a, RawValue>)>,
}

impl<'a> Shallow<'a> {
    /// Reads the top level of `body`.
    ///
    /// # Errors
    /// When `body` is no JSON object, or when a key is there twice (also when two keys
    /// differ only in case: a reader after us could take the other one).
    pub fn parse(body: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    /// The raw value of `key`; `None` when absent.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&RawValue> {
        self.fields
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_ref())
    }

    /// The names in their order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_ref())
    }

    /// Puts `value` in the place of `key`, or at the end when there is none.
    pub fn set(&mut self, key: &'a str, value: Box<RawValue>) {
        match self.fields.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = Cow::Owned(value),
            None => self.fields.push((Cow::Borrowed(key), Cow::Owned(value))),
        }
    }

    /// The object as JSON text, values byte for byte.
    ///
    /// # Errors
    /// Never in practice: keys are strings and values are JSON already.
    pub fn to_vec(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

impl Serialize for Shallow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value.as_ref())?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Shallow<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TopLevel)
    }
}

/// A key that borrows from the input unless it holds escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

struct TopLevel;

impl<'de> Visitor<'de> for TopLevel {
    type Value = Shallow<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields: Vec<(Cow<'de, str>, Cow<'de, RawValue>)> = Vec::new();
        while let Some(Key(name)) = map.next_key::<Key<'de>>()? {
            if fields
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(&name))
            {
                return Err(A::Error::custom(format_args!(
                    "the key {name:?} is there twice"
                )));
            }
            if fields.len() == MAX_FIELDS {
                return Err(A::Error::custom("too many top-level keys"));
            }
            fields.push((name, Cow::Borrowed(map.next_value::<&'de RawValue>()?)));
        }
        Ok(Shallow { fields })
    }
}

/// A request has some forty fields; a bound keeps the search for twins linear in practice.
const MAX_FIELDS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_bytes_survive() {
        let body =
            br#"{"a":{"n":1e2,"s":"\u00e9","i":12345678901234567890123},"model":"x","z":[ 1 ]}"#;
        let mut shallow = Shallow::parse(body).unwrap();
        shallow.set("model", RawValue::from_string("\"y\"".to_owned()).unwrap());
        let out = String::from_utf8(shallow.to_vec().unwrap()).unwrap();
        assert_eq!(
            out,
            r#"{"a":{"n":1e2,"s":"\u00e9","i":12345678901234567890123},"model":"y","z":[ 1 ]}"#
        );
    }

    #[test]
    fn twins_are_refused() {
        for body in [
            r#"{"model":1,"model":2}"#,
            r#"{"model":1,"Model":2}"#,
            r#"{"\u006dodel":1,"model":2}"#,
        ] {
            assert!(Shallow::parse(body.as_bytes()).is_err(), "{body}");
        }
        assert!(Shallow::parse(b"[1]").is_err());
    }
}
