-- Exports of the request log. The rows themselves are in a file of the gateway that wrote them.

CREATE TABLE exports (
    workspace_id   TEXT NOT NULL REFERENCES workspaces (id),
    id             TEXT NOT NULL,
    created_at_ms  INTEGER NOT NULL,
    updated_at_ms  INTEGER NOT NULL,
    expires_at_ms  INTEGER NOT NULL,
    created_by     TEXT NOT NULL,
    description    TEXT NOT NULL,
    filters        TEXT NOT NULL,
    requested_data TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('draft', 'in_progress', 'success', 'failed', 'stopped')),
    -- Names one run: a run that was stopped changes nothing any more.
    run            TEXT NOT NULL,
    total          INTEGER NOT NULL,
    exported       INTEGER NOT NULL,
    bytes          INTEGER NOT NULL,
    error          TEXT,
    PRIMARY KEY (workspace_id, id)
) STRICT;

CREATE INDEX exports_page ON exports (workspace_id, created_at_ms, id);
CREATE INDEX exports_end ON exports (expires_at_ms);
CREATE INDEX exports_open ON exports (state) WHERE state = 'in_progress';
