-- One row: the stream, the last number that was given, and what all messages are counted.
CREATE TABLE stream (
    id      TEXT    NOT NULL,
    signer  TEXT    NOT NULL,
    created INTEGER NOT NULL,
    newest  INTEGER NOT NULL,
    bytes   INTEGER NOT NULL
);
CREATE TABLE message (
    seq       INTEGER PRIMARY KEY,
    timestamp INTEGER NOT NULL,
    -- The latest timestamp up to here: it only grows, so that a time is found by halving.
    high      INTEGER NOT NULL,
    msg_id    TEXT    NOT NULL UNIQUE,
    topic     BLOB    NOT NULL,
    body      BLOB    NOT NULL
);
-- What fell out: ranges that follow each other.
CREATE TABLE dropped (
    first      INTEGER PRIMARY KEY,
    last       INTEGER NOT NULL,
    too_old    INTEGER NOT NULL,
    over_bytes INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    since      INTEGER NOT NULL,
    until      INTEGER NOT NULL
);
PRAGMA user_version = 1;
