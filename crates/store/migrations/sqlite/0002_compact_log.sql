-- What happened within a request becomes one JSON text of its row, since it is only ever read as
-- a whole; a request costs one row to write in place of one for each attempt, turn, list and call.
-- What logs are searched by, servers and tools, has a narrow table of its own.

DROP INDEX requests_page;
DROP INDEX requests_trace;
ALTER TABLE requests RENAME TO old_requests;

CREATE TABLE requests (
    workspace_id        TEXT NOT NULL,
    id                  TEXT NOT NULL,
    created_at_ms       INTEGER NOT NULL,
    trace_id            TEXT NOT NULL,
    span_id             TEXT,
    parent_span_id      TEXT,
    span_name           TEXT,
    request_id          TEXT NOT NULL,
    response_id         TEXT,
    endpoint            TEXT NOT NULL,
    method              TEXT NOT NULL,
    status_code         INTEGER NOT NULL,
    outcome             TEXT NOT NULL,
    error_source        TEXT,
    error_code          TEXT,
    error_message       TEXT,
    stream              INTEGER NOT NULL,
    api_key_id          TEXT,
    api_key_name        TEXT,
    virtual_key         TEXT,
    config_id           TEXT,
    provider            TEXT,
    model_asked         TEXT,
    model_served        TEXT,
    execution           TEXT,
    mcp_execution       TEXT,
    input_tokens        INTEGER,
    cached_input_tokens INTEGER,
    cache_write_tokens  INTEGER,
    output_tokens       INTEGER,
    reasoning_tokens    INTEGER,
    total_tokens        INTEGER,
    cost_picodollars    INTEGER,
    price_source        TEXT,
    total_ms            INTEGER NOT NULL,
    first_token_ms      INTEGER,
    gateway_ms          INTEGER,
    provider_ms         INTEGER,
    tools_ms            INTEGER,
    turns               INTEGER NOT NULL,
    tool_lists          INTEGER NOT NULL,
    tool_calls          INTEGER NOT NULL,
    tool_errors         INTEGER NOT NULL,
    attempts            INTEGER NOT NULL,
    retry_count         INTEGER,
    cache_status        TEXT NOT NULL,
    client              TEXT NOT NULL,
    metadata            TEXT NOT NULL,
    payload_level       TEXT NOT NULL,
    preview             TEXT,
    notes               TEXT NOT NULL,
    -- The large ones last: the columns before them are read without their overflow pages.
    -- parts: {"attempts": […], "turns": […], "tool_lists": […], "tool_calls": […]}
    parts               TEXT NOT NULL,
    request_body        TEXT,
    response_body       TEXT,
    PRIMARY KEY (workspace_id, id)
) STRICT;

INSERT INTO requests
SELECT r.workspace_id, r.id, created_at_ms, trace_id, span_id, parent_span_id, span_name,
    request_id, response_id, endpoint, method, status_code, outcome, error_source, error_code,
    error_message, stream, api_key_id, api_key_name, virtual_key, config_id, provider,
    model_asked, model_served, execution, mcp_execution, input_tokens, cached_input_tokens,
    cache_write_tokens, output_tokens, reasoning_tokens, total_tokens, cost_picodollars,
    price_source, total_ms, first_token_ms, gateway_ms, provider_ms, tools_ms, turns,
    (SELECT count(*) FROM tool_lists AS l
     WHERE l.workspace_id = r.workspace_id AND l.log_id = r.id),
    tool_calls, tool_errors, attempts, retry_count, cache_status, client, metadata,
    payload_level, preview, notes,
    json_object(
        'attempts', (SELECT json_group_array(json_object(
            'turn', a.turn, 'index', a."index", 'provider', a.provider,
            'virtual_key', a.virtual_key, 'model', a.model, 'url_origin', a.url_origin,
            'started_offset_ms', a.started_offset_ms, 'connect_ms', a.connect_ms,
            'wait_ms', a.wait_ms, 'total_ms', a.total_ms, 'status_code', a.status_code,
            'outcome', a.outcome, 'error', a.error,
            'upstream_request_id', a.upstream_request_id))
            FROM attempts AS a WHERE a.workspace_id = r.workspace_id AND a.log_id = r.id),
        'turns', (SELECT json_group_array(json_object(
            'index', t."index", 'started_offset_ms', t.started_offset_ms,
            'provider', t.provider, 'model', t.model, 'wait_ms', t.wait_ms,
            'total_ms', t.total_ms, 'finish', t.finish, 'input_tokens', t.input_tokens,
            'cached_input_tokens', t.cached_input_tokens,
            'cache_write_tokens', t.cache_write_tokens, 'output_tokens', t.output_tokens,
            'reasoning_tokens', t.reasoning_tokens, 'total_tokens', t.total_tokens,
            'cost_picodollars', t.cost_picodollars, 'tool_calls', t.tool_calls))
            FROM turns AS t WHERE t.workspace_id = r.workspace_id AND t.log_id = r.id),
        'tool_lists', (SELECT json_group_array(json_object(
            'index', l."index", 'item_id', l.item_id, 'server_label', l.server_label,
            'server_url', l.server_url, 'started_offset_ms', l.started_offset_ms,
            'cached', json(iif(l.cached, 'true', 'false')), 'run_by', l.run_by,
            'protocol', l.protocol, 'tools', l.tools, 'bytes', l.bytes, 'digest', l.digest,
            'connect_ms', l.connect_ms, 'wait_ms', l.wait_ms, 'read_ms', l.read_ms,
            'total_ms', l.total_ms, 'outcome', l.outcome, 'error', l.error,
            'warnings', json(l.warnings)))
            FROM tool_lists AS l WHERE l.workspace_id = r.workspace_id AND l.log_id = r.id),
        'tool_calls', (SELECT json_group_array(json_object(
            'index', c."index", 'turn', c.turn, 'item_id', c.item_id,
            'server_label', c.server_label, 'server_url', c.server_url, 'tool', c.tool,
            'run_by', c.run_by, 'started_offset_ms', c.started_offset_ms,
            'argument_bytes', c.argument_bytes, 'result_bytes', c.result_bytes,
            'connect_ms', c.connect_ms, 'wait_ms', c.wait_ms, 'read_ms', c.read_ms,
            'total_ms', c.total_ms, 'outcome', c.outcome, 'error', c.error,
            'arguments', c.arguments, 'result', c.result))
            FROM tool_calls AS c WHERE c.workspace_id = r.workspace_id AND c.log_id = r.id)),
    request_body, response_body
FROM old_requests AS r;

-- Which servers and tools a request used; `tool` is empty for a server that was only listed.
CREATE TABLE tool_uses (
    workspace_id TEXT NOT NULL,
    log_id       TEXT NOT NULL,
    server_label TEXT NOT NULL,
    tool         TEXT NOT NULL,
    PRIMARY KEY (workspace_id, log_id, server_label, tool),
    FOREIGN KEY (workspace_id, log_id) REFERENCES requests (workspace_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

INSERT INTO tool_uses
SELECT workspace_id, log_id, server_label, tool FROM tool_calls
UNION SELECT workspace_id, log_id, server_label, '' FROM tool_lists;

DROP TABLE attempts;
DROP TABLE turns;
DROP TABLE tool_lists;
DROP TABLE tool_calls;
DROP TABLE old_requests;

CREATE INDEX requests_page ON requests (workspace_id, created_at_ms, id);
CREATE INDEX requests_trace ON requests (workspace_id, trace_id, created_at_ms, id);
CREATE INDEX tool_uses_server ON tool_uses (workspace_id, server_label, log_id);
CREATE INDEX tool_uses_tool ON tool_uses (workspace_id, tool, log_id);
