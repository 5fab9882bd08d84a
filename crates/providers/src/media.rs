//! Which images, sounds and files a model takes of a tool's result. The rest is described to it.
//!
//! Of a caller's own content nothing is described: what cannot be sent is refused by name.
//! Names that are not in these lists count as of models that read text alone: a description
//! costs an image, a wrong guess costs the whole request.

use crate::compat::Row;
use portunus_protocol::item::{Content, InputText, Part};

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Takes {
    images: bool,
    files: bool,
    audio: bool,
}

/// Parts of the names of models that see. Sources: the vendors' lists of models.
const SEEING: &[&str] = &[
    "gpt-4o",
    "gpt-4.1",
    "gpt-4.5",
    "gpt-4-turbo",
    "gpt-4-vision",
    "gpt-5",
    "chatgpt",
    "codex-mini",
    "computer-use",
    "claude",
    "gemini",
    "gemma-3",
    "gemma3",
    "gemma-4",
    "gemma4",
    "grok-4",
    "pixtral",
    "mistral-small",
    "mistral-medium",
    "ministral-3",
    "mistral-large-3",
    "llama-4",
    "llama4",
    "llama-3.2-11b",
    "llama-3.2-90b",
    "qwen-vl",
    "qwen2-vl",
    "qwen2.5vl",
    "qwen3vl",
    "qvq",
    "internvl",
    "llava",
    "moondream",
    "minicpm-v",
    "phi-4-multimodal",
    "glm-4v",
    "glm-4.1v",
    "glm-4.5v",
    "glm-4.6v",
    "kimi-k2.5",
    "nova-lite",
    "nova-pro",
    "nova-premier",
    "smolvlm",
];

/// Words in such names, between their separators.
const SEEING_WORDS: &[&str] = &["o1", "o3", "o4", "vl", "vision", "multimodal", "omni"];

/// Names that would count as seeing, but do not see.
const BLIND: &[&str] = &[
    "o1-mini",
    "o1-preview",
    "o3-mini",
    "gpt-4o-audio",
    "gpt-4o-mini-audio",
    "gpt-4o-search",
    "gpt-4o-mini-search",
    "gpt-4o-transcribe",
    "claude-2",
    "claude-instant",
    "mistral-small-2402",
    "mistral-small-2409",
    "mistral-small-24b-instruct-2501",
    "gemma-3-1b",
    "gemma3:1b",
];

/// Names of models that hear.
const HEARING: &[&str] = &["gpt-4o-audio", "gpt-4o-mini-audio", "gpt-audio", "voxtral"];

impl Takes {
    /// Of a Responses API, whose tool results hold text, images and files.
    pub(crate) fn native(model: &str) -> Self {
        let images = sees(model);
        Self {
            images,
            files: images,
            audio: false,
        }
    }

    /// Of a vendor that speaks chat completions.
    pub(crate) fn chat(row: &Row, model: &str) -> Self {
        let images = row.quirks.images && sees(model);
        Self {
            images,
            files: images && row.quirks.files,
            audio: row.quirks.files && named(model, HEARING),
        }
    }

    /// Content of a tool's result as the model takes it; one text when nothing but text is left.
    pub(crate) fn fit(self, content: &Content) -> Content {
        let Content::Parts(parts) = content else {
            return content.clone();
        };
        let parts: Vec<Part> = parts.iter().map(|part| self.part(part)).collect();
        let texts: Option<Vec<&str>> = parts.iter().map(text).collect();
        match texts {
            Some(texts) => Content::Text(texts.join("\n")),
            None => Content::Parts(parts),
        }
    }

    fn part(self, part: &Part) -> Part {
        let (takes, what) = match part {
            Part::InputImage(_) => (self.images, "images"),
            Part::InputFile(_) => (self.files, "files"),
            Part::Other(value) if value["type"] == "input_audio" => (self.audio, "sound"),
            _ => (true, ""),
        };
        if takes {
            return part.clone();
        }
        let why = format!("not shown: this model takes no {what} from tools");
        Part::InputText(InputText {
            text: part.in_words(Some(&why)),
            ..InputText::default()
        })
    }
}

fn text(part: &Part) -> Option<&str> {
    match part {
        Part::InputText(part) => Some(&part.text),
        _ => None,
    }
}

fn sees(model: &str) -> bool {
    let lower = model.to_ascii_lowercase();
    let mut words = lower.split(['-', '_', '/', ':', '.', '@']);
    !named(&lower, BLIND)
        && (named(&lower, SEEING) || words.any(|word| SEEING_WORDS.contains(&word)))
}

fn named(model: &str, names: &[&str]) -> bool {
    let lower = model.to_ascii_lowercase();
    names.iter().any(|name| lower.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_that_see() {
        for model in [
            "gpt-4.1-mini",
            "gpt-5-codex",
            "o3",
            "openai/o4-mini",
            "anthropic/claude-sonnet-4.5",
            "Qwen/Qwen2.5-VL-7B-Instruct",
            "meta-llama/Llama-4-Scout-17B-16E-Instruct",
            "llama3.2-vision:11b",
            "gemma3:4b",
        ] {
            assert!(sees(model), "{model}");
        }
        for model in [
            "gpt-3.5-turbo",
            "gpt-4",
            "gpt-oss-120b",
            "o3-mini",
            "deepseek-chat",
            "llama3.2",
            "gemma3:1b",
            "SmolLM2-135M",
            "m-1",
            "",
        ] {
            assert!(!sees(model), "{model}");
        }
    }
}
