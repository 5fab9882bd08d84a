-- Times are Unix milliseconds, money is 10^-12 US dollars, lists and maps are JSON texts.
-- Every table but vault_meta (values of the whole installation) names its workspace.

CREATE TABLE workspaces (
    id            TEXT NOT NULL PRIMARY KEY,
    name          TEXT NOT NULL,
    slug          TEXT NOT NULL UNIQUE,
    created_at_ms INTEGER NOT NULL
) STRICT;

INSERT INTO workspaces (id, name, slug, created_at_ms)
VALUES ('ws-default', 'Default', 'default', 1000 * CAST(strftime('%s', 'now') AS INTEGER));

CREATE TABLE vault_meta (
    name    TEXT NOT NULL PRIMARY KEY,
    sealed  BLOB NOT NULL,
    key_id  TEXT NOT NULL,
    version INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
    id                TEXT NOT NULL PRIMARY KEY,
    workspace_id      TEXT NOT NULL REFERENCES workspaces (id),
    name              TEXT NOT NULL,
    lookup            TEXT NOT NULL UNIQUE,
    hash              BLOB NOT NULL,
    scopes            TEXT NOT NULL,
    defaults          TEXT NOT NULL,
    rate_limits       TEXT NOT NULL,
    usage_limits      TEXT NOT NULL,
    status            TEXT NOT NULL,
    created_at_ms     INTEGER NOT NULL,
    expires_at_ms     INTEGER,
    last_used_at_ms   INTEGER,
    -- The secret before the last rotation, valid until previous_until_ms.
    previous_lookup   TEXT UNIQUE,
    previous_hash     BLOB,
    previous_until_ms INTEGER
) STRICT;

CREATE INDEX api_keys_page ON api_keys (workspace_id, created_at_ms, id);

CREATE TABLE virtual_keys (
    id            TEXT NOT NULL PRIMARY KEY,
    workspace_id  TEXT NOT NULL REFERENCES workspaces (id),
    slug          TEXT NOT NULL,
    name          TEXT NOT NULL,
    provider      TEXT NOT NULL,
    custom_host   TEXT,
    note          TEXT NOT NULL,
    status        TEXT NOT NULL,
    sealed        BLOB NOT NULL,
    key_id        TEXT NOT NULL,
    version       INTEGER NOT NULL,
    masked        TEXT NOT NULL,
    settings      TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER,
    UNIQUE (workspace_id, slug)
) STRICT;

CREATE INDEX virtual_keys_page ON virtual_keys (workspace_id, created_at_ms, id);

-- The request log. No reference to workspaces: a log is never refused for want of its owner.
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
    request_body        TEXT,
    response_body       TEXT,
    PRIMARY KEY (workspace_id, id)
) STRICT;

CREATE INDEX requests_page ON requests (workspace_id, created_at_ms, id);
CREATE INDEX requests_trace ON requests (workspace_id, trace_id, created_at_ms, id);

CREATE TABLE attempts (
    workspace_id        TEXT NOT NULL,
    log_id              TEXT NOT NULL,
    "index"             INTEGER NOT NULL,
    turn                INTEGER NOT NULL,
    provider            TEXT NOT NULL,
    virtual_key         TEXT,
    model               TEXT,
    url_origin          TEXT,
    started_offset_ms   INTEGER NOT NULL,
    connect_ms          INTEGER,
    wait_ms             INTEGER,
    total_ms            INTEGER,
    status_code         INTEGER,
    outcome             TEXT NOT NULL,
    error               TEXT,
    upstream_request_id TEXT,
    PRIMARY KEY (workspace_id, log_id, turn, "index"),
    FOREIGN KEY (workspace_id, log_id) REFERENCES requests (workspace_id, id) ON DELETE CASCADE
) STRICT;

CREATE TABLE turns (
    workspace_id        TEXT NOT NULL,
    log_id              TEXT NOT NULL,
    "index"             INTEGER NOT NULL,
    started_offset_ms   INTEGER NOT NULL,
    provider            TEXT NOT NULL,
    model               TEXT,
    wait_ms             INTEGER,
    total_ms            INTEGER NOT NULL,
    finish              TEXT NOT NULL,
    input_tokens        INTEGER,
    cached_input_tokens INTEGER,
    cache_write_tokens  INTEGER,
    output_tokens       INTEGER,
    reasoning_tokens    INTEGER,
    total_tokens        INTEGER,
    cost_picodollars    INTEGER,
    tool_calls          INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, log_id, "index"),
    FOREIGN KEY (workspace_id, log_id) REFERENCES requests (workspace_id, id) ON DELETE CASCADE
) STRICT;

CREATE TABLE tool_lists (
    workspace_id      TEXT NOT NULL,
    log_id            TEXT NOT NULL,
    "index"           INTEGER NOT NULL,
    item_id           TEXT,
    server_label      TEXT NOT NULL,
    server_url        TEXT NOT NULL,
    started_offset_ms INTEGER NOT NULL,
    cached            INTEGER NOT NULL,
    run_by            TEXT NOT NULL,
    protocol          TEXT,
    tools             INTEGER NOT NULL,
    bytes             INTEGER,
    digest            TEXT,
    connect_ms        INTEGER,
    wait_ms           INTEGER,
    read_ms           INTEGER,
    total_ms          INTEGER,
    outcome           TEXT NOT NULL,
    error             TEXT,
    warnings          TEXT NOT NULL,
    PRIMARY KEY (workspace_id, log_id, "index"),
    FOREIGN KEY (workspace_id, log_id) REFERENCES requests (workspace_id, id) ON DELETE CASCADE
) STRICT;

CREATE INDEX tool_lists_server ON tool_lists (workspace_id, server_label, log_id);

CREATE TABLE tool_calls (
    workspace_id      TEXT NOT NULL,
    log_id            TEXT NOT NULL,
    "index"           INTEGER NOT NULL,
    turn              INTEGER NOT NULL,
    item_id           TEXT,
    server_label      TEXT NOT NULL,
    server_url        TEXT NOT NULL,
    tool              TEXT NOT NULL,
    run_by            TEXT NOT NULL,
    started_offset_ms INTEGER NOT NULL,
    argument_bytes    INTEGER NOT NULL,
    result_bytes      INTEGER,
    connect_ms        INTEGER,
    wait_ms           INTEGER,
    read_ms           INTEGER,
    total_ms          INTEGER,
    outcome           TEXT NOT NULL,
    error             TEXT,
    arguments         TEXT,
    result            TEXT,
    PRIMARY KEY (workspace_id, log_id, turn, "index"),
    FOREIGN KEY (workspace_id, log_id) REFERENCES requests (workspace_id, id) ON DELETE CASCADE
) STRICT;

CREATE INDEX tool_calls_tool ON tool_calls (workspace_id, server_label, tool, log_id);
CREATE INDEX tool_calls_name ON tool_calls (workspace_id, tool, log_id);
