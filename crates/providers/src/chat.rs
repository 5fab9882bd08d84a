//! Chat completions: the dialect of most vendors.

mod calls;
mod content;
mod decode;
mod details;
mod encode;
mod format;
mod history;
mod replay;
mod usage;

use crate::classify;
use crate::compat::Row;
use crate::failure::Failure;
use crate::head::{self, head};
use crate::provider::{Decoder, Dialect, EncodeError, Endpoint, Head, Outgoing, Provider};
use crate::turn::TurnRequest;
use http::HeaderMap;

impl Provider for Row {
    fn name(&self) -> &'static str {
        self.name
    }

    fn dialect(&self) -> Dialect {
        Dialect::Chat
    }

    fn default_base_url(&self) -> Option<&'static str> {
        self.base_url
    }

    fn env_key(&self) -> Option<&'static str> {
        self.env_key
    }

    fn needs_credential(&self) -> bool {
        self.auth != head::Auth::OptionalBearer
    }

    fn runs_mcp(&self) -> bool {
        false
    }

    fn head(&self, endpoint: &Endpoint) -> Result<Head, EncodeError> {
        head(endpoint, self.auth, &["chat", "completions"])
    }

    fn encode(&self, endpoint: &Endpoint, turn: &TurnRequest) -> Result<Outgoing, EncodeError> {
        let (body, notes) = encode::encode(self, turn)?;
        Ok(Outgoing {
            head: Provider::head(self, endpoint)?,
            body,
            notes,
        })
    }

    fn decoder(&self, turn: &TurnRequest) -> Box<dyn Decoder> {
        Box::new(decode::ChatDecoder::new(self, turn))
    }

    fn classify(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
        classify::classify(self.name, status, headers, body)
    }
}
