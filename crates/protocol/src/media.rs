//! Images, sound and files in words, for those who cannot take them.

use crate::item::{InputFile, InputImage, Part};
use serde_json::Value;

/// The bytes that base64 of this length stands for.
#[must_use]
pub fn base64_bytes(base64: &str) -> u64 {
    base64.trim_end_matches('=').len() as u64 * 3 / 4
}

impl Part {
    /// The text of a text part; of anything else kind, name, type and size, never its data.
    /// `why` says why the words stand in its place.
    #[must_use]
    pub fn in_words(&self, why: Option<&str>) -> String {
        let said = match self {
            Self::InputText(part) => return part.text.clone(),
            Self::OutputText(part) => return part.text.clone(),
            Self::Refusal { refusal } => return refusal.clone(),
            Self::InputImage(image) => image_in_words(image),
            Self::InputFile(file) => file_in_words(file),
            Self::Other(value) => other_in_words(value),
        };
        let why = why.map_or_else(String::new, |why| format!("; {why}"));
        format!("[{}{why}]", said.join(", "))
    }
}

fn image_in_words(image: &InputImage) -> Vec<String> {
    let mut said = vec!["image".to_owned()];
    said.extend(image.image_url.as_deref().map(url_in_words));
    said.extend(image.file_id.clone());
    said
}

fn file_in_words(file: &InputFile) -> Vec<String> {
    let mut said = vec!["file".to_owned()];
    said.extend(file.filename.as_ref().map(|name| format!("\"{name}\"")));
    said.extend(file.file_data.as_deref().map(url_in_words));
    said.extend(file.file_url.clone());
    said.extend(file.file_id.clone());
    said
}

fn other_in_words(value: &Value) -> Vec<String> {
    let audio = &value["input_audio"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(data) = audio["data"].as_str() {
        let format = text(&audio["format"]).map(|format| format!("audio/{format}"));
        let bytes = format!("{} bytes", base64_bytes(data));
        let said = [Some("audio".to_owned()), format, Some(bytes)];
        return said.into_iter().flatten().collect();
    }
    vec![text(&value["type"]).unwrap_or_else(|| "content".to_owned())]
}

/// Type and size of a `data:` URL; any other address as it is.
fn url_in_words(url: &str) -> String {
    let data = url
        .strip_prefix("data:")
        .and_then(|data| data.split_once(','));
    let Some((head, data)) = data else {
        return url.to_owned();
    };
    let mime = head.split(';').next().unwrap_or_default();
    format!("{mime}, {} bytes", base64_bytes(data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_in_words() {
        for (part, words) in [
            (json!({"type": "input_text", "text": "t"}), "t"),
            (
                json!({"type": "input_image", "image_url": "data:image/png;base64,QUJDRA=="}),
                "[image, image/png, 4 bytes; not shown]",
            ),
            (
                json!({"type": "input_image", "image_url": "https://a.example/i"}),
                "[image, https://a.example/i; not shown]",
            ),
            (
                json!({"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}),
                "[file, \"a.pdf\", application/pdf, 3 bytes; not shown]",
            ),
            (
                json!({"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}}),
                "[audio, audio/wav, 3 bytes; not shown]",
            ),
            (json!({"type": "new"}), "[new; not shown]"),
        ] {
            let part: Part = serde_json::from_value(part).unwrap();
            assert_eq!(part.in_words(Some("not shown")), words);
        }
    }
}
