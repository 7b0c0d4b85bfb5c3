BEGIN;
CREATE TABLE place (
    signer TEXT    NOT NULL,
    stream TEXT    NOT NULL,
    next   INTEGER NOT NULL,
    moved  INTEGER NOT NULL,
    PRIMARY KEY (signer, stream)
) WITHOUT ROWID;
PRAGMA user_version = 2;
COMMIT;
