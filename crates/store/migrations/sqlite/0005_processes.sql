-- Whose call a row of the journal is: of several processes on one database one may die while the
-- others go on. SQLite has one process at a time; the table is there for the queries.

CREATE TABLE processes (
    id         TEXT NOT NULL PRIMARY KEY,
    seen_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE tool_journal ADD COLUMN process TEXT NOT NULL DEFAULT '';
