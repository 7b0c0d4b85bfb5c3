BEGIN;
CREATE TABLE seen (
    signer    TEXT    NOT NULL,
    timestamp INTEGER NOT NULL,
    msg_id    TEXT    NOT NULL,
    stream    TEXT,
    seq       INTEGER
);
CREATE INDEX seen_by_timestamp ON seen (timestamp);
-- One row: the time before which everything was forgotten.
CREATE TABLE pruned (before INTEGER NOT NULL);
PRAGMA user_version = 1;
COMMIT;
