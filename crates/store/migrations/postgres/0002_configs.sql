-- Saved routing configs. The row holds the version that requests get; every version, that one
-- included, is kept beside it. Times are Unix milliseconds.

CREATE TABLE configs (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    workspace_id  TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    slug          TEXT COLLATE "C" NOT NULL,
    name          TEXT COLLATE "C" NOT NULL,
    is_default    BOOLEAN NOT NULL,
    status        TEXT COLLATE "C" NOT NULL,
    version       BIGINT NOT NULL,
    version_id    TEXT COLLATE "C" NOT NULL,
    owner_id      TEXT COLLATE "C" NOT NULL,
    updated_by    TEXT COLLATE "C" NOT NULL,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    config        TEXT COLLATE "C" NOT NULL,
    UNIQUE (workspace_id, slug),
    UNIQUE (workspace_id, id)
);

CREATE INDEX configs_page ON configs (workspace_id, created_at_ms, id);

CREATE TABLE config_versions (
    workspace_id  TEXT COLLATE "C" NOT NULL,
    config_id     TEXT COLLATE "C" NOT NULL,
    version       BIGINT NOT NULL,
    version_id    TEXT COLLATE "C" NOT NULL,
    name          TEXT COLLATE "C" NOT NULL,
    status        TEXT COLLATE "C" NOT NULL,
    updated_by    TEXT COLLATE "C" NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    config        TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (workspace_id, config_id, version),
    FOREIGN KEY (workspace_id, config_id) REFERENCES configs (workspace_id, id) ON DELETE CASCADE
);

-- Which config a request used, and where in it the target stood that answered.
ALTER TABLE requests RENAME COLUMN config_id TO config;
ALTER TABLE requests ADD COLUMN config_id TEXT COLLATE "C";
ALTER TABLE requests ADD COLUMN config_version_id TEXT COLLATE "C";
ALTER TABLE requests ADD COLUMN mode TEXT COLLATE "C";
ALTER TABLE requests ADD COLUMN last_used_option TEXT COLLATE "C";
