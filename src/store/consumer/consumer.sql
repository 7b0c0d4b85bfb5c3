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
-- The first message of each stream that was not acknowledged, and when that moved.
CREATE TABLE place (
    signer TEXT    NOT NULL,
    stream TEXT    NOT NULL,
    next   INTEGER NOT NULL,
    moved  INTEGER NOT NULL,
    PRIMARY KEY (signer, stream)
) WITHOUT ROWID;
PRAGMA user_version = 2;
COMMIT;
