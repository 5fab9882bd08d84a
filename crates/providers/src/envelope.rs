//! Opaque state of a provider inside `encrypted_content`, marked with its maker, so that it
//! only ever goes back to where it came from.

use serde::{Deserialize, Serialize};

/// Marks our envelope and its version.
const MARK: &str = "ptn1:";

/// State of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// The provider that made it.
    #[serde(rename = "p")]
    pub(crate) provider: String,
    /// The model that made it.
    #[serde(rename = "m", default)]
    pub(crate) model: String,
    /// The provider's id of the item: OpenAI checks it.
    #[serde(rename = "i", default)]
    pub(crate) id: String,
    /// The state as it came.
    #[serde(rename = "d")]
    pub(crate) state: String,
}

impl Envelope {
    pub(crate) fn seal(&self) -> String {
        // A struct of strings always serialises.
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("{MARK}{json}")
    }

    /// `None` when `text` is no envelope of ours.
    pub(crate) fn open(text: &str) -> Option<Self> {
        serde_json::from_str(text.strip_prefix(MARK)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Envelope;

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        let envelope = Envelope {
            provider: "openai".to_owned(),
            model: "gpt-5".to_owned(),
            id: "rs_1".to_owned(),
            state: "gAAA\"\\x".to_owned(),
        };
        assert_eq!(Envelope::open(&envelope.seal()), Some(envelope));
        assert_eq!(Envelope::open("gAAAAAB"), None);
        assert_eq!(Envelope::open("ptn1:{"), None);
    }
}
