-- Whose call a row of the journal is: of several processes on one database one may die while the
-- others go on.

CREATE TABLE processes (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- By the clock of the database, which they share.
    seen_at_ms BIGINT NOT NULL
);

ALTER TABLE tool_journal ADD COLUMN process TEXT COLLATE "C" NOT NULL DEFAULT '';
