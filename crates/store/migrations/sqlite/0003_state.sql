-- What outlives a request: responses, questions for approval, the journal of tool calls and the
-- answers that are kept for a repeated request. Times are Unix milliseconds.

CREATE TABLE responses (
    workspace_id         TEXT NOT NULL REFERENCES workspaces (id),
    id                   TEXT NOT NULL,
    api_key_id           TEXT,
    created_at_ms        INTEGER NOT NULL,
    expires_at_ms        INTEGER NOT NULL,
    virtual_key          TEXT,
    provider             TEXT NOT NULL,
    model                TEXT NOT NULL,
    previous_response_id TEXT,
    status               TEXT NOT NULL,
    -- The large ones last: the columns before them are read without their overflow pages.
    servers              TEXT NOT NULL,
    response             TEXT NOT NULL,
    input                TEXT NOT NULL,
    PRIMARY KEY (workspace_id, id)
) STRICT;

CREATE INDEX responses_end ON responses (expires_at_ms);

-- Which responses hold an item, for references by item id; see `item_key`.
CREATE TABLE response_items (
    workspace_id TEXT NOT NULL,
    item_id      TEXT NOT NULL,
    response_id  TEXT NOT NULL,
    PRIMARY KEY (workspace_id, item_id, response_id),
    FOREIGN KEY (workspace_id, response_id) REFERENCES responses (workspace_id, id)
        ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX response_items_response ON response_items (workspace_id, response_id);

-- That one has expired is told by its time, not by its state. No reference to responses: a
-- question is stored before the response that asks it.
CREATE TABLE approvals (
    workspace_id    TEXT NOT NULL REFERENCES workspaces (id),
    id              TEXT NOT NULL,
    api_key_id      TEXT,
    response_id     TEXT NOT NULL,
    created_at_ms   INTEGER NOT NULL,
    expires_at_ms   INTEGER NOT NULL,
    server_label    TEXT NOT NULL,
    server_url      TEXT NOT NULL,
    server_digest   TEXT NOT NULL,
    tool            TEXT NOT NULL,
    tool_digest     TEXT NOT NULL,
    call_id         TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'used')),
    decided_at_ms   INTEGER,
    decided_by      TEXT,
    used_at_ms      INTEGER,
    reason          TEXT,
    tool_definition TEXT NOT NULL,
    arguments       TEXT NOT NULL,
    PRIMARY KEY (workspace_id, id)
) STRICT;

CREATE INDEX approvals_page ON approvals (workspace_id, created_at_ms, id);
CREATE INDEX approvals_tool ON approvals (workspace_id, server_digest, tool, created_at_ms, id);
CREATE INDEX approvals_response ON approvals (workspace_id, response_id);
CREATE INDEX approvals_end ON approvals (expires_at_ms);

-- A call of a tool is noted before it leaves; what has no end when the process starts is unknown.
CREATE TABLE tool_journal (
    workspace_id    TEXT NOT NULL REFERENCES workspaces (id),
    id              TEXT NOT NULL,
    request_id      TEXT NOT NULL,
    response_id     TEXT NOT NULL,
    server_label    TEXT NOT NULL,
    tool            TEXT NOT NULL,
    argument_digest TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('intent', 'done', 'unknown')),
    created_at_ms   INTEGER NOT NULL,
    ended_at_ms     INTEGER,
    outcome         TEXT,
    result          TEXT,
    PRIMARY KEY (workspace_id, id)
) STRICT;

CREATE INDEX tool_journal_response ON tool_journal (workspace_id, response_id);
CREATE INDEX tool_journal_age ON tool_journal (created_at_ms);
CREATE INDEX tool_journal_open ON tool_journal (state) WHERE state = 'intent';

CREATE TABLE idempotency (
    workspace_id  TEXT NOT NULL REFERENCES workspaces (id),
    api_key_id    TEXT NOT NULL,
    "key"         TEXT NOT NULL,
    body_digest   TEXT NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('running', 'done')),
    owner         TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    status        INTEGER,
    content_type  TEXT,
    answer        TEXT,
    PRIMARY KEY (workspace_id, api_key_id, "key")
) STRICT;

CREATE INDEX idempotency_end ON idempotency (expires_at_ms);
