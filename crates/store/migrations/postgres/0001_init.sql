-- The tables of SQLite's steps up to 0003, with the same names and columns. Texts are compared by
-- their bytes (collation "C"), as SQLite does.
-- Times are Unix milliseconds, money is 10^-12 US dollars, lists and maps are JSON texts.
-- Every table but vault_meta (values of the whole installation) names its workspace.

-- One row: how many steps this database has seen.
CREATE TABLE portunus_schema (
    version BIGINT NOT NULL
);

INSERT INTO portunus_schema (version) VALUES (0);

CREATE TABLE workspaces (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name          TEXT COLLATE "C" NOT NULL,
    slug          TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at_ms BIGINT NOT NULL
);

INSERT INTO workspaces (id, name, slug, created_at_ms)
VALUES ('ws-default', 'Default', 'default', floor(1000 * extract(epoch FROM now())));

CREATE TABLE vault_meta (
    name    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    sealed  BYTEA NOT NULL,
    key_id  TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id                TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    workspace_id      TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    name              TEXT COLLATE "C" NOT NULL,
    lookup            TEXT COLLATE "C" NOT NULL UNIQUE,
    hash              BYTEA NOT NULL,
    scopes            TEXT COLLATE "C" NOT NULL,
    defaults          TEXT COLLATE "C" NOT NULL,
    rate_limits       TEXT COLLATE "C" NOT NULL,
    usage_limits      TEXT COLLATE "C" NOT NULL,
    status            TEXT COLLATE "C" NOT NULL,
    created_at_ms     BIGINT NOT NULL,
    expires_at_ms     BIGINT,
    last_used_at_ms   BIGINT,
    -- The secret before the last rotation, valid until previous_until_ms.
    previous_lookup   TEXT COLLATE "C" UNIQUE,
    previous_hash     BYTEA,
    previous_until_ms BIGINT
);

CREATE INDEX api_keys_page ON api_keys (workspace_id, created_at_ms, id);

CREATE TABLE virtual_keys (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    workspace_id  TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    slug          TEXT COLLATE "C" NOT NULL,
    name          TEXT COLLATE "C" NOT NULL,
    provider      TEXT COLLATE "C" NOT NULL,
    custom_host   TEXT COLLATE "C",
    note          TEXT COLLATE "C" NOT NULL,
    status        TEXT COLLATE "C" NOT NULL,
    sealed        BYTEA NOT NULL,
    key_id        TEXT COLLATE "C" NOT NULL,
    version       BIGINT NOT NULL,
    masked        TEXT COLLATE "C" NOT NULL,
    settings      TEXT COLLATE "C" NOT NULL,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT,
    UNIQUE (workspace_id, slug)
);

CREATE INDEX virtual_keys_page ON virtual_keys (workspace_id, created_at_ms, id);

-- The request log. No reference to workspaces: a log is never refused for want of its owner.
CREATE TABLE requests (
    workspace_id        TEXT COLLATE "C" NOT NULL,
    id                  TEXT COLLATE "C" NOT NULL,
    created_at_ms       BIGINT NOT NULL,
    trace_id            TEXT COLLATE "C" NOT NULL,
    span_id             TEXT COLLATE "C",
    parent_span_id      TEXT COLLATE "C",
    span_name           TEXT COLLATE "C",
    request_id          TEXT COLLATE "C" NOT NULL,
    response_id         TEXT COLLATE "C",
    endpoint            TEXT COLLATE "C" NOT NULL,
    method              TEXT COLLATE "C" NOT NULL,
    status_code         BIGINT NOT NULL,
    outcome             TEXT COLLATE "C" NOT NULL,
    error_source        TEXT COLLATE "C",
    error_code          TEXT COLLATE "C",
    error_message       TEXT COLLATE "C",
    stream              BOOLEAN NOT NULL,
    api_key_id          TEXT COLLATE "C",
    api_key_name        TEXT COLLATE "C",
    virtual_key         TEXT COLLATE "C",
    config_id           TEXT COLLATE "C",
    provider            TEXT COLLATE "C",
    model_asked         TEXT COLLATE "C",
    model_served        TEXT COLLATE "C",
    execution           TEXT COLLATE "C",
    mcp_execution       TEXT COLLATE "C",
    input_tokens        BIGINT,
    cached_input_tokens BIGINT,
    cache_write_tokens  BIGINT,
    output_tokens       BIGINT,
    reasoning_tokens    BIGINT,
    total_tokens        BIGINT,
    cost_picodollars    BIGINT,
    price_source        TEXT COLLATE "C",
    total_ms            BIGINT NOT NULL,
    first_token_ms      BIGINT,
    gateway_ms          BIGINT,
    provider_ms         BIGINT,
    tools_ms            BIGINT,
    turns               BIGINT NOT NULL,
    tool_lists          BIGINT NOT NULL,
    tool_calls          BIGINT NOT NULL,
    tool_errors         BIGINT NOT NULL,
    attempts            BIGINT NOT NULL,
    retry_count         BIGINT,
    cache_status        TEXT COLLATE "C" NOT NULL,
    client              TEXT COLLATE "C" NOT NULL,
    metadata            TEXT COLLATE "C" NOT NULL,
    payload_level       TEXT COLLATE "C" NOT NULL,
    preview             TEXT COLLATE "C",
    notes               TEXT COLLATE "C" NOT NULL,
    -- parts: {"attempts": […], "turns": […], "tool_lists": […], "tool_calls": […]}
    parts               TEXT COLLATE "C" NOT NULL,
    request_body        TEXT COLLATE "C",
    response_body       TEXT COLLATE "C",
    PRIMARY KEY (workspace_id, id)
);

-- Which servers and tools a request used; `tool` is empty for a server that was only listed.
CREATE TABLE tool_uses (
    workspace_id TEXT COLLATE "C" NOT NULL,
    log_id       TEXT COLLATE "C" NOT NULL,
    server_label TEXT COLLATE "C" NOT NULL,
    tool         TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (workspace_id, log_id, server_label, tool),
    FOREIGN KEY (workspace_id, log_id) REFERENCES requests (workspace_id, id) ON DELETE CASCADE
);

CREATE INDEX requests_page ON requests (workspace_id, created_at_ms, id);
CREATE INDEX requests_trace ON requests (workspace_id, trace_id, created_at_ms, id);
CREATE INDEX tool_uses_server ON tool_uses (workspace_id, server_label, log_id);
CREATE INDEX tool_uses_tool ON tool_uses (workspace_id, tool, log_id);

-- What outlives a request: responses, questions for approval, the journal of tool calls and the
-- answers that are kept for a repeated request. Times are Unix milliseconds.

CREATE TABLE responses (
    workspace_id         TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    id                   TEXT COLLATE "C" NOT NULL,
    api_key_id           TEXT COLLATE "C",
    created_at_ms        BIGINT NOT NULL,
    expires_at_ms        BIGINT NOT NULL,
    virtual_key          TEXT COLLATE "C",
    provider             TEXT COLLATE "C" NOT NULL,
    model                TEXT COLLATE "C" NOT NULL,
    previous_response_id TEXT COLLATE "C",
    status               TEXT COLLATE "C" NOT NULL,
    servers              TEXT COLLATE "C" NOT NULL,
    response             TEXT COLLATE "C" NOT NULL,
    input                TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (workspace_id, id)
);

CREATE INDEX responses_end ON responses (expires_at_ms);

-- Which responses hold an item, for references by item id; see `item_key`.
CREATE TABLE response_items (
    workspace_id TEXT COLLATE "C" NOT NULL,
    item_id      TEXT COLLATE "C" NOT NULL,
    response_id  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (workspace_id, item_id, response_id),
    FOREIGN KEY (workspace_id, response_id) REFERENCES responses (workspace_id, id)
        ON DELETE CASCADE
);

CREATE INDEX response_items_response ON response_items (workspace_id, response_id);

-- That one has expired is told by its time, not by its state. No reference to responses: a
-- question is stored before the response that asks it.
CREATE TABLE approvals (
    workspace_id    TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    id              TEXT COLLATE "C" NOT NULL,
    api_key_id      TEXT COLLATE "C",
    response_id     TEXT COLLATE "C" NOT NULL,
    created_at_ms   BIGINT NOT NULL,
    expires_at_ms   BIGINT NOT NULL,
    server_label    TEXT COLLATE "C" NOT NULL,
    server_url      TEXT COLLATE "C" NOT NULL,
    server_digest   TEXT COLLATE "C" NOT NULL,
    tool            TEXT COLLATE "C" NOT NULL,
    tool_digest     TEXT COLLATE "C" NOT NULL,
    call_id         TEXT COLLATE "C" NOT NULL,
    state           TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'used')),
    decided_at_ms   BIGINT,
    decided_by      TEXT COLLATE "C",
    used_at_ms      BIGINT,
    reason          TEXT COLLATE "C",
    tool_definition TEXT COLLATE "C" NOT NULL,
    arguments       TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (workspace_id, id)
);

CREATE INDEX approvals_page ON approvals (workspace_id, created_at_ms, id);
CREATE INDEX approvals_tool ON approvals (workspace_id, server_digest, tool, created_at_ms, id);
CREATE INDEX approvals_response ON approvals (workspace_id, response_id);
CREATE INDEX approvals_end ON approvals (expires_at_ms);

-- A call of a tool is noted before it leaves; what has no end when the process starts is unknown.
CREATE TABLE tool_journal (
    workspace_id    TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    id              TEXT COLLATE "C" NOT NULL,
    request_id      TEXT COLLATE "C" NOT NULL,
    response_id     TEXT COLLATE "C" NOT NULL,
    server_label    TEXT COLLATE "C" NOT NULL,
    tool            TEXT COLLATE "C" NOT NULL,
    argument_digest TEXT COLLATE "C" NOT NULL,
    state           TEXT COLLATE "C" NOT NULL CHECK (state IN ('intent', 'done', 'unknown')),
    created_at_ms   BIGINT NOT NULL,
    ended_at_ms     BIGINT,
    outcome         TEXT COLLATE "C",
    result          TEXT COLLATE "C",
    -- The order in which calls were noted within a millisecond.
    noted           BIGINT GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (workspace_id, id)
);

CREATE INDEX tool_journal_response ON tool_journal (workspace_id, response_id);
CREATE INDEX tool_journal_age ON tool_journal (created_at_ms);
CREATE INDEX tool_journal_open ON tool_journal (state) WHERE state = 'intent';

CREATE TABLE idempotency (
    workspace_id  TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    api_key_id    TEXT COLLATE "C" NOT NULL,
    "key"         TEXT COLLATE "C" NOT NULL,
    body_digest   TEXT COLLATE "C" NOT NULL,
    state         TEXT COLLATE "C" NOT NULL CHECK (state IN ('running', 'done')),
    owner         TEXT COLLATE "C" NOT NULL,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    status        BIGINT,
    content_type  TEXT COLLATE "C",
    answer        TEXT COLLATE "C",
    PRIMARY KEY (workspace_id, api_key_id, "key")
);

CREATE INDEX idempotency_end ON idempotency (expires_at_ms);
