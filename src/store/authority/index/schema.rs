//! The tables, and how those of an earlier version become those of this one.

use rusqlite::Connection;

/// What `PRAGMA user_version` says of the tables below.
pub(super) const VERSION: i64 = 3;

/// The version from which [`MIGRATION`] leads here.
pub(super) const MIGRATED: i64 = 2;

const TABLES: &str = "
CREATE TABLE authority (
    level       TEXT NOT NULL CHECK (level IN ('root', 'issuing')),
    generation  INTEGER NOT NULL CHECK (generation > 0),
    parent      INTEGER CHECK ((parent IS NULL) = (level = 'root')),  -- the generation of its root
    stage       TEXT NOT NULL CHECK (stage IN ('prepared', 'active', 'retiring', 'retired')),
    since       INTEGER NOT NULL,   -- when it came to that stage
    certificate BLOB NOT NULL,
    crl_number  INTEGER NOT NULL,
    cross_parent INTEGER,           -- the generation of another root that vouches for it, and how
    cross_certificate BLOB,
    PRIMARY KEY (level, generation),
    CHECK ((cross_parent IS NULL) = (cross_certificate IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX authority_active ON authority (level) WHERE stage = 'active';
CREATE UNIQUE INDEX authority_prepared ON authority (level) WHERE stage = 'prepared';
CREATE TABLE certificate (
    issuer      TEXT NOT NULL,
    generation  INTEGER NOT NULL,
    serial      BLOB NOT NULL,
    name        TEXT NOT NULL,
    identity    TEXT,               -- NULL: an authority's
    not_before  INTEGER NOT NULL,   -- seconds since 1970, as all times here
    not_after   INTEGER NOT NULL,
    issued_at   INTEGER NOT NULL,
    der         BLOB NOT NULL,
    revoked_at  INTEGER,
    reason      TEXT,
    invalid_since INTEGER,
    PRIMARY KEY (issuer, generation, serial),
    FOREIGN KEY (issuer, generation) REFERENCES authority (level, generation),
    CHECK ((revoked_at IS NULL) = (reason IS NULL)),
    CHECK (invalid_since IS NULL OR revoked_at IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX certificate_name ON certificate (name);
CREATE INDEX certificate_serial ON certificate (serial);
CREATE INDEX certificate_revoked ON certificate (issuer, generation, revoked_at) WHERE revoked_at IS NOT NULL;
-- What was entered above and may not be in its files yet: whoever comes next sees to it.
CREATE TABLE unfinished (
    number      INTEGER PRIMARY KEY,
    issuer      TEXT NOT NULL,
    generation  INTEGER NOT NULL,
    serial      BLOB,               -- of a certificate, to be written to certificate_path
    certificate_path BLOB,
    key_path    BLOB,               -- without a serial: the key of an authority that is being made
    crl_number  INTEGER             -- of a list, to be written to the issuer's file
                                    -- none of them: the files of this level, of which all are to be written
) STRICT;
";

const SETTINGS_AND_LOG: &str = "
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE log (number INTEGER PRIMARY KEY, record TEXT NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE TRIGGER log_is_not_changed BEFORE UPDATE ON log BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER log_is_not_cut BEFORE DELETE ON log BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
";

/// What was there is the first generation, and active.
const MIGRATION: &str = "
INSERT INTO authority
    SELECT level, 1, iif(level = 'issuing', 1, NULL), 'active',
           coalesce((SELECT min(issued_at) FROM old_certificate), 0), certificate, crl_number, NULL, NULL
    FROM old_authority;
INSERT INTO certificate
    SELECT issuer, 1, serial, name, identity, not_before, not_after, issued_at, der, revoked_at, reason, invalid_since
    FROM old_certificate;
INSERT INTO unfinished
    SELECT number, issuer, 1, serial, certificate_path, key_path, crl_number FROM old_unfinished;
DROP TABLE old_unfinished;
DROP TABLE old_certificate;
DROP TABLE old_authority;
";

/// Makes the tables.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {SETTINGS_AND_LOG} {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"
    ))
}

/// Takes over the tables of version [`MIGRATED`], all or nothing. Does nothing if somebody else just did.
pub(super) fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = if found == MIGRATED {
        connection.execute_batch(&format!(
            "ALTER TABLE unfinished RENAME TO old_unfinished;
             ALTER TABLE certificate RENAME TO old_certificate;
             ALTER TABLE authority RENAME TO old_authority;
             DROP INDEX certificate_name; DROP INDEX certificate_serial; DROP INDEX certificate_revoked;
             {TABLES} {MIGRATION} PRAGMA user_version = {VERSION};"
        ))
    } else {
        Ok(())
    };
    match done {
        Ok(()) => connection.execute_batch("COMMIT"),
        Err(error) => {
            // The first error is the one to tell; closing the connection would undo it as well.
            let _ = connection.execute_batch("ROLLBACK");
            Err(error)
        }
    }
}
