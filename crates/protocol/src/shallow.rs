//! A JSON object of which only the top level is read: inner bytes stay as they came, so
//! that `1e2`, `\u00e9` and 23-digit integers survive while one field is replaced.

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
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

    /// As [`Self::set`], for a value that is not JSON text yet.
    ///
    /// # Errors
    /// When `value` cannot be serialised, which its type decides.
    pub fn set_value<T: Serialize + ?Sized>(
        &mut self,
        key: &'a str,
        value: &T,
    ) -> Result<(), serde_json::Error> {
        self.set(key, serde_json::value::to_raw_value(value)?);
        Ok(())
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

/// A JSON value in which no object has a key twice, at any depth: two readers of the same text
/// can then not mean two things.
///
/// # Errors
/// When the text is no JSON, or a key is there twice.
pub fn strict(text: &str) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Strict)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(Strict)?;
            if fields.contains_key(&key) {
                return Err(A::Error::custom(format_args!(
                    "the key {key:?} is there twice"
                )));
            }
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

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
    fn twins_are_refused_at_every_depth() {
        let text = r#"[{"a":[1,-2,1.5,"x",null,true],"b":{}}]"#;
        assert_eq!(strict(text).unwrap().to_string(), text);
        for twins in [r#"{"a":1,"a":2}"#, r#"[{"b":{"a":1,"\u0061":2}}]"#, "1 2"] {
            assert!(strict(twins).is_err(), "{twins}");
        }
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
