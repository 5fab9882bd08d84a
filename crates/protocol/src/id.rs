//! Ids in OpenAI's form: a prefix that names the kind, then 48 hex digits.

use uuid::Uuid;

/// What an id names; each kind has its own prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A response, `resp_`.
    Response,
    /// A message item, `msg_`.
    Message,
    /// A reasoning item, `rs_`.
    Reasoning,
    /// A function call item, `fc_`.
    FunctionCall,
    /// The id by which a function call is answered, `call_`.
    Call,
    /// The answer to a function call, `fco_`.
    FunctionCallOutput,
    /// A custom tool call item, `ctc_`.
    CustomToolCall,
    /// A list of the tools of an MCP server, `mcpl_`.
    McpListTools,
    /// A call of an MCP tool, `mcp_`.
    McpCall,
    /// A request to approve a call, `mcpr_`.
    McpApprovalRequest,
    /// The answer to such a request, `mcpa_`.
    McpApprovalResponse,
    /// An HTTP request, `req_`.
    Request,
}

impl Kind {
    /// The prefix with its underscore.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Response => "resp_",
            Self::Message => "msg_",
            Self::Reasoning => "rs_",
            Self::FunctionCall => "fc_",
            Self::Call => "call_",
            Self::FunctionCallOutput => "fco_",
            Self::CustomToolCall => "ctc_",
            Self::McpListTools => "mcpl_",
            Self::McpCall => "mcp_",
            Self::McpApprovalRequest => "mcpr_",
            Self::McpApprovalResponse => "mcpa_",
            Self::Request => "req_",
        }
    }
}

/// A new id: prefix and 48 hex digits, of which the first 12 are the time in milliseconds,
/// so that ids sort by age.
#[must_use]
pub fn make(kind: Kind) -> String {
    let head = Uuid::now_v7().simple().to_string();
    let tail = Uuid::now_v7().simple().to_string();
    // The last 16 digits of a version 7 UUID are random but for the two variant bits.
    format!("{}{head}{}", kind.prefix(), &tail[16..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_prefix_and_48_hex_digits() {
        let id = make(Kind::McpCall);
        let digits = id.strip_prefix("mcp_").unwrap();
        assert_eq!(digits.len(), 48);
        assert!(digits.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_ne!(id, make(Kind::McpCall));
    }
}
