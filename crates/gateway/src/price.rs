//! Usage into money: integers of 10^-12 US dollars, and nothing at all for an unknown model.

use portunus_protocol::response::Usage;
use serde::Deserialize;

/// A price list.
#[derive(Clone, Debug, Deserialize)]
pub struct Prices {
    source: String,
    #[serde(default)]
    as_of: String,
    models: Vec<Price>,
}

/// The price list cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the price list cannot be read: {0}")]
pub struct PriceError(#[from] serde_json::Error);

/// Prices of one model, in 10^-12 US dollars a token.
#[derive(Clone, Debug, Deserialize)]
struct Price {
    provider: String,
    #[serde(rename = "match")]
    model: String,
    /// Whether a name that begins so and goes on with a date or version is the same model.
    #[serde(default)]
    prefix: bool,
    #[serde(flatten)]
    rates: Rates,
    /// Prices of a request whose input is longer than a threshold; they hold for all its tokens.
    #[serde(default)]
    tiers: Vec<Tier>,
}

#[derive(Clone, Debug, Deserialize)]
struct Tier {
    above_input_tokens: u64,
    #[serde(flatten)]
    rates: Rates,
}

/// Prices in 10^-12 US dollars a token.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Rates {
    input: u64,
    cached_input: Option<u64>,
    cache_write: Option<u64>,
    output: u64,
}

impl Prices {
    /// The list that is built in.
    ///
    /// # Errors
    /// Never in a released binary: the list is read in the tests.
    pub fn bundled() -> Result<Self, PriceError> {
        Self::parse(include_str!("../../../data/prices.json"))
    }

    /// Reads a list.
    ///
    /// # Errors
    /// When it is not of the documented form.
    pub fn parse(text: &str) -> Result<Self, PriceError> {
        Ok(serde_json::from_str(text)?)
    }

    /// Where the prices come from and how old they are.
    #[must_use]
    pub fn source(&self) -> String {
        format!("{} ({})", self.source, self.as_of)
    }

    /// What the usage costs; `None` when the model is not in the list, which is not "free".
    #[must_use]
    pub fn cost(&self, provider: &str, model: &str, usage: &Usage) -> Option<i64> {
        let price = self
            .find(listed(provider), model)?
            .rates(usage.input_tokens);
        let cached = usage
            .input_tokens_details
            .cached_tokens
            .min(usage.input_tokens);
        let written = usage
            .input_tokens_details
            .cache_write_tokens
            .min(usage.input_tokens - cached);
        let fresh = usage.input_tokens - cached - written;
        let parts = [
            (fresh, price.input),
            (cached, price.cached_input.unwrap_or(price.input)),
            (written, price.cache_write.unwrap_or(price.input)),
            (usage.output_tokens, price.output),
        ];
        let sum = parts.iter().try_fold(0_u64, |sum, (tokens, price)| {
            sum.checked_add(tokens.checked_mul(*price)?)
        });
        sum.and_then(|sum| i64::try_from(sum).ok())
    }

    fn find(&self, provider: &str, model: &str) -> Option<&Price> {
        let models = self
            .models
            .iter()
            .filter(|price| price.provider == provider);
        models
            .filter(|price| price.fits(model))
            .max_by_key(|price| price.model.len())
    }
}

/// The name in the list of a provider that has several names here.
fn listed(provider: &str) -> &str {
    if provider == "openai-chat" {
        "openai"
    } else {
        provider
    }
}

impl Price {
    /// The rates for an input of this length: those of the highest threshold that it passes.
    fn rates(&self, input_tokens: u64) -> Rates {
        let passed = self
            .tiers
            .iter()
            .filter(|tier| input_tokens > tier.above_input_tokens);
        let tier = passed.max_by_key(|tier| tier.above_input_tokens);
        tier.map_or(self.rates, |tier| tier.rates)
    }

    fn fits(&self, model: &str) -> bool {
        match model.strip_prefix(self.model.as_str()) {
            Some("") => true,
            Some(rest) => self.prefix && rest.starts_with('-') && is_version(&rest[1..]),
            None => false,
        }
    }
}

/// `2025-04-14`, `latest`, `20250219`: a snapshot; `mini` is another model.
fn is_version(rest: &str) -> bool {
    let digits = rest.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    // A short number is a version of the model, which has a price of its own.
    let dated = rest.split('-').any(|part| part.len() >= 3);
    rest == "latest" || (digits && dated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_protocol::response::InputDetails;

    fn prices() -> Prices {
        Prices::parse(
            r#"{"source":"t","as_of":"2026","models":[
            {"provider":"openai","match":"gpt-4.1","prefix":true,"input":2000000,"cached_input":500000,"output":8000000},
            {"provider":"openai","match":"gpt-4.1-mini","prefix":true,"input":400000,"output":1600000}]}"#,
        )
        .unwrap()
    }

    fn usage(input: u64, cached: u64, output: u64) -> Usage {
        let input_tokens_details = InputDetails {
            cached_tokens: cached,
            cache_write_tokens: 0,
        };
        Usage {
            input_tokens: input,
            input_tokens_details,
            output_tokens: output,
            ..Usage::default()
        }
    }

    #[test]
    fn costs() {
        let cost = |model, usage| prices().cost("openai", model, &usage);
        assert_eq!(cost("gpt-4.1", usage(10, 0, 1)), Some(28_000_000));
        assert_eq!(
            cost("gpt-4.1-2025-04-14", usage(10, 4, 0)),
            Some(14_000_000)
        );
        assert_eq!(cost("gpt-4.1-mini", usage(1, 0, 0)), Some(400_000));
        assert_eq!(cost("gpt-4.1-nano", usage(1, 0, 0)), None);
        assert_eq!(cost("gpt-4.1-2", usage(1, 0, 0)), None);
        assert_eq!(prices().cost("other", "gpt-4.1", &usage(1, 0, 0)), None);
    }

    #[test]
    fn a_long_input_has_its_own_rates() {
        let prices = Prices::parse(
            r#"{"source":"t","models":[{"provider":"openai","match":"m","input":1,"output":2,
            "tiers":[{"above_input_tokens":10,"input":5,"output":7},{"above_input_tokens":5,"input":3,"output":4}]}]}"#,
        )
        .unwrap();
        let cost = |input| prices.cost("openai-chat", "m", &usage(input, 0, 1));
        assert_eq!([cost(5), cost(6), cost(11)], [Some(7), Some(22), Some(62)]);
    }

    #[test]
    fn absurd_usage_is_unpriced() {
        assert_eq!(
            prices().cost("openai", "gpt-4.1", &usage(u64::MAX, 0, 1)),
            None
        );
        assert_eq!(
            prices().cost("openai", "gpt-4.1", &usage(1, u64::MAX, 0)),
            Some(500_000)
        );
    }

    #[test]
    fn the_bundled_list_reads() {
        let prices = Prices::bundled().unwrap();
        assert!(prices.cost("openai", "gpt-4.1", &usage(1, 0, 0)).is_some());
    }
}
