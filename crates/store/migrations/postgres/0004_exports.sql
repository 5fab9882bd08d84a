-- Exports of the request log. The rows themselves are in a file of the gateway that wrote them.

CREATE TABLE exports (
    workspace_id   TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    id             TEXT COLLATE "C" NOT NULL,
    created_at_ms  BIGINT NOT NULL,
    updated_at_ms  BIGINT NOT NULL,
    expires_at_ms  BIGINT NOT NULL,
    created_by     TEXT COLLATE "C" NOT NULL,
    description    TEXT COLLATE "C" NOT NULL,
    filters        TEXT COLLATE "C" NOT NULL,
    requested_data TEXT COLLATE "C" NOT NULL,
    state          TEXT COLLATE "C" NOT NULL CHECK (state IN ('draft', 'in_progress', 'success', 'failed', 'stopped')),
    -- Names one run: a run that was stopped changes nothing any more.
    run            TEXT COLLATE "C" NOT NULL,
    total          BIGINT NOT NULL,
    exported       BIGINT NOT NULL,
    bytes          BIGINT NOT NULL,
    error          TEXT COLLATE "C",
    PRIMARY KEY (workspace_id, id)
);

CREATE INDEX exports_page ON exports (workspace_id, created_at_ms, id);
CREATE INDEX exports_end ON exports (expires_at_ms);
CREATE INDEX exports_open ON exports (state) WHERE state = 'in_progress';
