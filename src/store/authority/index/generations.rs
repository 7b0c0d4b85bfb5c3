//! The authorities that there are and were: each level has one that issues, and may have others that come or go.

use super::{Entry, EntryRevocation, Index, Level, NewEntry, level_named, parsed};
use crate::pki::authority::AuthorityError;
use crate::pki::certificate::Certificate;
use crate::pki::serial::Serial;
use crate::store::authority::error::AuthorityStoreError;
use crate::store::authority::log::{self, Event};
use crate::time::Timestamp;
use rusqlite::{Connection, Row, params};
use std::fmt;

/// One authority of a directory: its level, and which one of that level it is, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorityId {
    /// The level.
    pub level: Level,
    /// The how many-eth of its level it is.
    pub generation: u32,
}

impl AuthorityId {
    /// The first of its level.
    pub fn first(level: Level) -> Self {
        Self { level, generation: 1 }
    }
}

impl fmt::Display for AuthorityId {
    /// `issuing`, and from the second on `issuing-2`: how its key is called.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            1 => f.write_str(self.level.as_str()),
            generation => write!(f, "{}-{generation}", self.level),
        }
    }
}

/// Where an authority stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It issues. There is one of each level.
    Active,
    /// It is trusted, and issues nothing yet.
    Prepared,
    /// It is no longer trusted.
    Retired,
    /// It is trusted, and issues nothing any more.
    Retiring,
}

impl Stage {
    /// The word in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Prepared => "prepared",
            Self::Retired => "retired",
            Self::Retiring => "retiring",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No such stage.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no stage")]
struct NoStage(String);

fn stage_named(text: &str) -> Result<Stage, NoStage> {
    let all = [Stage::Active, Stage::Prepared, Stage::Retired, Stage::Retiring];
    all.into_iter().find(|stage| stage.as_str() == text).ok_or_else(|| NoStage(text.to_owned()))
}

/// An authority, as the index has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Which.
    pub id: AuthorityId,
    /// The root that vouches for it; `None` for a root.
    pub parent: Option<AuthorityId>,
    /// Where it stands.
    pub stage: Stage,
    /// Since when.
    pub since: Timestamp,
    /// Its certificate.
    pub certificate: Certificate,
    /// Another root that vouches for it, and by which certificate: for those who do not have its own root yet.
    pub cross: Option<(AuthorityId, Certificate)>,
}

impl Generation {
    /// Whether consumers are to trust it.
    pub fn is_trusted(&self) -> bool {
        self.stage != Stage::Retired
    }
}

/// A step of a rollover, as the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::authority) struct Step {
    pub(in crate::store::authority) id: AuthorityId,
    pub(in crate::store::authority) stage: Stage,
}

impl Index {
    /// Every authority, roots first, in the order of their making.
    pub(in crate::store::authority) fn generations(&self) -> Result<Vec<Generation>, AuthorityStoreError> {
        let sql =
            "SELECT level, generation, parent, stage, since, certificate, cross_parent, cross_certificate
                   FROM authority ORDER BY level DESC, generation";
        let read = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let rows = statement.query_map([], row)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(self.failed())?.into_iter().map(|row| Ok(row.parse()?)).collect()
    }

    /// Enters a new authority and, unless it is a root, its certificate among those that were issued; and takes the number of
    /// its first list.
    pub(in crate::store::authority) fn add_generations(
        &self,
        new: &[Generation],
        at: Timestamp,
    ) -> Result<(), AuthorityStoreError> {
        self.atomically(|connection| {
            // Whoever is killed from here on leaves keys that are somebody's.
            connection.execute(
                "DELETE FROM unfinished WHERE serial IS NULL AND crl_number IS NULL AND key_path IS NOT NULL",
                [],
            )?;
            for generation in new {
                self.add_generation(connection, generation, at)?;
            }
            Ok(())
        })
    }

    fn add_generation(
        &self,
        connection: &Connection,
        new: &Generation,
        at: Timestamp,
    ) -> rusqlite::Result<()> {
        let Generation { id, parent, stage, since, certificate, cross } = new;
        let cross_parent = cross.as_ref().map(|(root, _)| root.generation);
        let cross_der = cross.as_ref().map(|(_, certificate)| &certificate.der()[..]);
        connection.execute(
            "INSERT INTO authority VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8)",
            params![
                id.level.as_str(),
                id.generation,
                parent.map(|root| root.generation),
                stage.as_str(),
                since.as_unix(),
                &certificate.der()[..],
                cross_parent,
                cross_der,
            ],
        )?;
        log::append(connection, Event::Authority { new }, &self.who, at)?;
        let vouched = parent.map(|root| (root, certificate));
        let vouched =
            vouched.into_iter().chain(cross.as_ref().map(|(root, certificate)| (*root, certificate)));
        for (issuer, certificate) in vouched {
            let entry =
                NewEntry { issuer, certificate, identity: None, issued_at: at, request: None, files: None };
            self.insert(connection, &entry)?;
        }
        self.number(connection, *id, at)?;
        self.note_files(connection, *id)
    }

    /// Takes over what an authority has issued and revoked elsewhere, and the number of its last list there.
    pub(in crate::store::authority) fn take_over(
        &self,
        id: AuthorityId,
        crl_number: u64,
        entries: &[(NewEntry<'_>, Option<EntryRevocation>)],
        at: Timestamp,
    ) -> Result<(), AuthorityStoreError> {
        self.atomically(|connection| {
            let sql = "UPDATE authority SET crl_number = ?3 WHERE level = ?1 AND generation = ?2";
            connection.execute(sql, params![id.level.as_str(), id.generation, crl_number])?;
            for (entry, revocation) in entries {
                self.insert(connection, entry)?;
                let Some(revocation) = revocation else { continue };
                let serial = Serial::from_bytes(entry.certificate.serial())
                    .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
                self.mark(connection, (id, &serial), revocation)?;
                let revoked = Entry {
                    issuer: id,
                    serial,
                    name: entry.certificate.subject_cn().unwrap_or_default().to_owned(),
                    identity: entry.identity.cloned(),
                    not_before: entry.certificate.not_before(),
                    not_after: entry.certificate.not_after(),
                    issued_at: entry.issued_at,
                    der: entry.certificate.der().to_vec(),
                    revocation: None,
                };
                let event = Event::Revoke { entry: &revoked, revocation: *revocation };
                log::append(connection, event, &self.who, at)?;
            }
            Ok(())
        })
    }

    /// Brings authorities to another stage, all or none. The files of their levels are then to be written.
    pub(in crate::store::authority) fn move_on(
        &self,
        steps: &[Step],
        at: Timestamp,
    ) -> Result<(), AuthorityStoreError> {
        self.atomically(|connection| self.moved(connection, steps, at))
    }

    pub(super) fn moved(
        &self,
        connection: &Connection,
        steps: &[Step],
        at: Timestamp,
    ) -> rusqlite::Result<()> {
        for Step { id, stage } in steps {
            let sql = "UPDATE authority SET stage = ?3, since = ?4 WHERE level = ?1 AND generation = ?2";
            let (level, generation) = (id.level.as_str(), id.generation);
            let changed =
                connection.execute(sql, params![level, generation, stage.as_str(), at.as_unix()])?;
            if changed != 1 {
                return Err(rusqlite::Error::StatementChangedRows(changed));
            }
            log::append(connection, Event::Stage { step: Step { id: *id, stage: *stage } }, &self.who, at)?;
            self.note_files(connection, *id)?;
        }
        Ok(())
    }

    /// Notes that a key is about to be written, for an authority that is not entered yet.
    pub(in crate::store::authority) fn note_key(
        &self,
        id: AuthorityId,
        path: &std::path::Path,
    ) -> Result<(), AuthorityStoreError> {
        self.atomically(|connection| {
            let sql = "INSERT INTO unfinished (issuer, generation, key_path) VALUES (?1, ?2, ?3)";
            connection
                .execute(sql, params![id.level.as_str(), id.generation, super::absolute(path)])
                .map(drop)
        })
    }

    fn note_files(&self, connection: &Connection, id: AuthorityId) -> rusqlite::Result<()> {
        let sql = "INSERT INTO unfinished (issuer, generation) VALUES (?1, ?2)";
        connection.execute(sql, params![id.level.as_str(), id.generation]).map(drop)
    }

    /// The certificates of a level, and the lists that stay, are in their files.
    pub(in crate::store::authority) fn level_written(&self, level: Level) -> Result<(), AuthorityStoreError> {
        self.unsynced(|connection| {
            let sql = "DELETE FROM unfinished WHERE issuer = ?1
                       AND serial IS NULL AND crl_number IS NULL AND key_path IS NULL";
            connection.execute(sql, [level.as_str()]).map(drop)
        })
    }
}

/// A row whose certificates are not read yet.
struct Raw {
    id: AuthorityId,
    parent: Option<u32>,
    stage: Stage,
    since: Timestamp,
    certificate: Vec<u8>,
    cross: Option<(u32, Vec<u8>)>,
}

impl Raw {
    fn parse(self) -> Result<Generation, AuthorityError> {
        let root = |generation| AuthorityId { level: Level::Root, generation };
        let cross = self
            .cross
            .map(|(parent, der)| Ok::<_, AuthorityError>((root(parent), Certificate::parse(&der)?)));
        Ok(Generation {
            id: self.id,
            parent: self.parent.map(root),
            stage: self.stage,
            since: self.since,
            certificate: Certificate::parse(&self.certificate)?,
            cross: cross.transpose()?,
        })
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<Raw> {
    let cross: (Option<u32>, Option<Vec<u8>>) = (row.get(6)?, row.get(7)?);
    Ok(Raw {
        id: id(row, 0)?,
        parent: row.get(2)?,
        stage: parsed(row, 3, |stage: String| stage_named(&stage))?,
        since: parsed(row, 4, Timestamp::from_unix)?,
        certificate: row.get(5)?,
        cross: cross.0.zip(cross.1),
    })
}

/// The authority that two columns name, the first at `column`.
pub(super) fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<AuthorityId> {
    Ok(AuthorityId {
        level: parsed(row, column, |level: String| level_named(&level))?,
        generation: row.get(column + 1)?,
    })
}
