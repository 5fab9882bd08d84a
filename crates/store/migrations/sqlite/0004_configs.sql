-- Saved routing configs. The row holds the version that requests get; every version, that one
-- included, is kept beside it. Times are Unix milliseconds.

CREATE TABLE configs (
    id            TEXT NOT NULL PRIMARY KEY,
    workspace_id  TEXT NOT NULL REFERENCES workspaces (id),
    slug          TEXT NOT NULL,
    name          TEXT NOT NULL,
    is_default    INTEGER NOT NULL,
    status        TEXT NOT NULL,
    version       INTEGER NOT NULL,
    version_id    TEXT NOT NULL,
    owner_id      TEXT NOT NULL,
    updated_by    TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    config        TEXT NOT NULL,
    UNIQUE (workspace_id, slug),
    UNIQUE (workspace_id, id)
) STRICT;

CREATE INDEX configs_page ON configs (workspace_id, created_at_ms, id);

CREATE TABLE config_versions (
    workspace_id  TEXT NOT NULL,
    config_id     TEXT NOT NULL,
    version       INTEGER NOT NULL,
    version_id    TEXT NOT NULL,
    name          TEXT NOT NULL,
    status        TEXT NOT NULL,
    updated_by    TEXT NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    config        TEXT NOT NULL,
    PRIMARY KEY (workspace_id, config_id, version),
    FOREIGN KEY (workspace_id, config_id) REFERENCES configs (workspace_id, id) ON DELETE CASCADE
) STRICT;

-- Which config a request used, and where in it the target stood that answered. What is NULL is
-- not looked for on overflow pages, though it stands after the bodies.
ALTER TABLE requests RENAME COLUMN config_id TO config;
ALTER TABLE requests ADD COLUMN config_id TEXT;
ALTER TABLE requests ADD COLUMN config_version_id TEXT;
ALTER TABLE requests ADD COLUMN mode TEXT;
ALTER TABLE requests ADD COLUMN last_used_option TEXT;
