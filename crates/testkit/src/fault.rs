//! What goes wrong, chosen by the model's name.

/// A way in which the fake provider misbehaves. The name of each in a request's `model` is the
/// kebab-case word in [`Fault::of`]; `WORD-after-tool` keeps it back until a tool result is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Answers as it should.
    None,
    /// Answers with this HTTP status and OpenAI's error body for it (`fail-500`).
    Status(u16),
    /// 429 with `insufficient_quota` (`quota`).
    Quota,
    /// Never sends a head (`slow-head`).
    SlowHead,
    /// Streams one piece each 100 ms, for about 20 s; not streamed: as `slow-head` (`slow`).
    Slow,
    /// Sends the first frames, then nothing more (`stall`).
    Stall,
    /// Breaks the connection in the middle of the body (`cut`).
    Cut,
    /// Ends the stream in good order, but without its terminal frame (`truncated`).
    Truncated,
    /// 200 with a page of HTML (`garbage`).
    Garbage,
    /// A frame that is not JSON in the middle of the stream (`bad-frame`).
    BadFrame,
    /// An error object inside a stream that began with 200 (`error-in-stream`).
    ErrorInStream,
    /// Stops at the token limit (`length`).
    Length,
    /// Ignores `stream: true` and sends one JSON body (`whole`).
    Whole,
    /// Calls a tool with arguments that are cut JSON (`bad-arguments`).
    BadArguments,
    /// Calls a tool in every round, for ever (`endless`).
    Endless,
}

impl Fault {
    /// The fault that `model` names, given how many rounds of tool calls have been answered.
    #[must_use]
    pub fn of(model: &str, rounds: usize) -> Self {
        match model.strip_suffix("-after-tool") {
            Some(_) if rounds == 0 => Self::None,
            Some(word) => Self::named(word),
            None => Self::named(model),
        }
    }

    fn named(word: &str) -> Self {
        if let Some(status) = word.strip_prefix("fail-").and_then(|s| s.parse().ok()) {
            return Self::Status(status);
        }
        match word {
            "rate-limit" => Self::Status(429),
            "quota" => Self::Quota,
            "slow-head" => Self::SlowHead,
            "slow" => Self::Slow,
            "stall" => Self::Stall,
            "cut" => Self::Cut,
            "truncated" => Self::Truncated,
            "garbage" => Self::Garbage,
            "bad-frame" => Self::BadFrame,
            "error-in-stream" => Self::ErrorInStream,
            "length" => Self::Length,
            "whole" => Self::Whole,
            "bad-arguments" => Self::BadArguments,
            "endless" => Self::Endless,
            _ => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;

    #[test]
    fn names() {
        assert_eq!(Fault::of("gpt-4.1", 0), Fault::None);
        assert_eq!(Fault::of("fail-503", 0), Fault::Status(503));
        assert_eq!(Fault::of("cut-after-tool", 0), Fault::None);
        assert_eq!(Fault::of("cut-after-tool", 1), Fault::Cut);
    }
}
