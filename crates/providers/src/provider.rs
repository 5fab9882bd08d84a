//! The interface of a provider.

use crate::failure::Failure;
use crate::turn::{TurnEvent, TurnRequest};
use bytes::Bytes;
use http::HeaderMap;
use portunus_protocol::error::ErrorBody;
use portunus_protocol::sse::Frame;
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

/// The language that a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's Responses API.
    Responses,
    /// Chat completions.
    Chat,
    /// None: the demo provider answers inside the gateway.
    Demo,
}

/// Where a provider is reached and with which credential.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The base of all paths, such as `https://api.openai.com/v1`; a slash at its end is
    /// ignored.
    pub base_url: Url,
    /// The provider's key.
    pub credential: Option<SecretString>,
    /// The provider's name, as virtual keys and configs spell it.
    pub provider: String,
    /// Settings of the virtual key: `organization` and `project` (OpenAI), `resource_name`
    /// (Azure). Null when there are none.
    pub settings: Value,
}

/// URL and headers of a call.
#[derive(Clone, Debug)]
pub struct Head {
    /// The full URL.
    pub url: Url,
    /// Headers; the credential is marked sensitive.
    pub headers: HeaderMap,
}

/// A call that is ready to be sent by `POST`.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// URL and headers.
    pub head: Head,
    /// The JSON body.
    pub body: Bytes,
    /// Fields that were dropped or approximated, for the log.
    pub notes: Vec<String>,
}

/// The turn cannot be said to this provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EncodeError {
    /// Path of the client's field at fault, such as `input[2].content[0]`.
    pub param: Option<String>,
    /// A word from [`portunus_protocol::error::code`].
    pub code: &'static str,
    /// For a person: names the field and the provider.
    pub message: String,
}

impl EncodeError {
    /// The error for our caller, status 400.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        let body = ErrorBody::new(
            portunus_protocol::error::kind::INVALID_REQUEST,
            self.message.as_str(),
        )
        .code(self.code);
        match &self.param {
            Some(param) => body.param(param.as_str()),
            None => body,
        }
    }
}

impl From<EncodeError> for ErrorBody {
    fn from(error: EncodeError) -> Self {
        error.body()
    }
}

/// One kind of provider.
pub trait Provider: Send + Sync {
    /// The name in virtual keys and configs.
    fn name(&self) -> &'static str;

    /// The language that it speaks at an endpoint without special settings.
    fn dialect(&self) -> Dialect;

    /// The address when the operator names none.
    fn default_base_url(&self) -> Option<&'static str>;

    /// The usual environment variable of the key, such as `OPENAI_API_KEY`.
    fn env_key(&self) -> Option<&'static str>;

    /// Whether a call without a key makes no sense.
    fn needs_credential(&self) -> bool;

    /// Whether it runs remote MCP servers itself.
    fn runs_mcp(&self) -> bool;

    /// The head of a native pass-through call; the body is the client's.
    ///
    /// # Errors
    /// When the endpoint's settings or credential cannot be used.
    fn head(&self, endpoint: &Endpoint) -> Result<Head, EncodeError>;

    /// The call that asks for one turn.
    ///
    /// # Errors
    /// When the turn has something that this provider cannot be told.
    fn encode(&self, endpoint: &Endpoint, turn: &TurnRequest) -> Result<Outgoing, EncodeError>;

    /// A reader of the answer to [`Provider::encode`] of the same `turn`.
    fn decoder(&self, turn: &TurnRequest) -> Box<dyn Decoder>;

    /// What an answer with an error status means.
    fn classify(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Failure;

    /// The whole answer, for a provider that has no server: then nothing is dialled.
    fn local(&self, turn: &TurnRequest) -> Option<Vec<TurnEvent>> {
        let _ = turn;
        None
    }
}

/// Reads one answer. After an error or after [`TurnEvent::End`] nothing more comes.
pub trait Decoder: Send {
    /// Takes one frame of an event stream.
    ///
    /// # Errors
    /// When the provider reports an error or the frame cannot be read.
    fn frame(&mut self, frame: &Frame) -> Result<Vec<TurnEvent>, Failure>;

    /// Takes a whole JSON answer, from a server that does not stream.
    ///
    /// # Errors
    /// When it cannot be read or holds an error.
    fn body(&mut self, json: &[u8]) -> Result<Vec<TurnEvent>, Failure>;

    /// The stream has ended.
    ///
    /// # Errors
    /// When no terminal sign came before.
    fn finish(&mut self) -> Result<Vec<TurnEvent>, Failure>;
}
