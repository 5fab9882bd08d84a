//! Every limit of the client in one place.

use std::time::Duration;

/// How long the client waits and how much it takes in. All fields have a default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Wait for the question which protocol a server speaks, and for the first event of a
    /// legacy stream. A server that is slower than this is taken for a legacy one.
    pub probe_timeout: Duration,
    /// Whole of a tool list: detection, opening a session and all pages.
    pub list_timeout: Duration,
    /// Whole of one tool call, once there is a connection.
    pub call_timeout: Duration,
    /// Best effort messages: answers to a server's own requests, notices of cancellation.
    pub side_timeout: Duration,
    /// Pages of one tool list.
    pub max_pages: usize,
    /// Tools of one tool list.
    pub max_tools: usize,
    /// Definitions of one tool list together.
    pub max_list_bytes: usize,
    /// Definition of one tool.
    pub max_tool_bytes: usize,
    /// Answer to one tool call.
    pub max_result_bytes: usize,
    /// One server-sent event.
    pub max_event_bytes: usize,
    /// Servers (by workspace, URL and credential) that are kept.
    pub max_sessions: usize,
    /// Kept tool lists of all servers together.
    pub max_cached_bytes: usize,
    /// Life of a kept tool list. A 2026-07-28 server may ask for less, never for more.
    pub tool_list_ttl: Duration,
    /// An open session is not used again after a pause of this length.
    pub session_idle: Duration,
    /// Attempts to take up a broken event stream.
    pub max_resumes: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            probe_timeout: Duration::from_secs(5),
            list_timeout: Duration::from_secs(20),
            call_timeout: Duration::from_secs(60),
            side_timeout: Duration::from_secs(2),
            max_pages: 50,
            max_tools: 2000,
            max_list_bytes: 8 << 20,
            max_tool_bytes: 512 << 10,
            max_result_bytes: 16 << 20,
            max_event_bytes: 16 << 20,
            max_sessions: 1024,
            max_cached_bytes: 128 << 20,
            tool_list_ttl: Duration::from_secs(300),
            session_idle: Duration::from_secs(600),
            max_resumes: 4,
        }
    }
}
