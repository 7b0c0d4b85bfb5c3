//! What can go wrong in an authority's directory.

use super::import::ImportFault;
use super::index::{AuthorityId, Level, Stage};
use crate::identity::SpiffeId;
use crate::pki::authority::{AuthorityError, RevocationReason};
use crate::pki::key::PrivateKeyError;
use crate::pki::pem::PemError;
use crate::pki::profile::{ProfileError, ProfileRefusal};
use crate::pki::request::RequestError;
use crate::pki::serial::Serial;
use crate::store::credentials::CredentialsError;
use crate::store::files::FileError;
use crate::store::passphrase::PassphraseSourceError;
use crate::time::Timestamp;
use std::io;
use std::path::PathBuf;

/// Why an authority's directory could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityStoreError {
    /// What was named is several services' (`a-b-c` is `a` on `b-c`, and `a-b` on `c`).
    #[error("`{name}` is the name of {}", found.join(" and of "))]
    Ambiguous {
        /// The name.
        name: String,
        /// The identities that have it.
        found: Vec<String>,
    },
    /// Issuing failed.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A pair cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// There is an authority, or something else, where one was to be made.
    #[error("{} is there already, and nothing in it was touched", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// An authority of another program cannot be taken over.
    #[error("{}: {fault}", path.display())]
    Import {
        /// The file at fault.
        path: PathBuf,
        /// What is wrong.
        fault: ImportFault,
    },
    /// The index cannot be read or written.
    #[error("{}: {cause}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What SQLite says.
        cause: rusqlite::Error,
    },
    /// A key cannot have been given away in the future.
    #[error("{found} has not come: it is {now}")]
    InvalidSince {
        /// What was asked for.
        found: Timestamp,
        /// The time now.
        now: Timestamp,
    },
    /// The authority's certificate was revoked: what it issued would be refused.
    #[error("the {authority} authority was revoked at {at} ({reason}), and can issue nothing")]
    IssuerRevoked {
        /// Which authority.
        authority: AuthorityId,
        /// When.
        at: Timestamp,
        /// Why.
        reason: RevocationReason,
    },
    /// A private key cannot be read.
    #[error("{}: {cause}", path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// Why.
        cause: PrivateKeyError,
    },
    /// The private key of an authority is not here.
    #[error("the key of the {authority} authority is not at {}", path.display())]
    KeyAway {
        /// Whose key.
        authority: AuthorityId,
        /// Where it would be.
        path: PathBuf,
    },
    /// A certificate is wanted for a key that somebody else has.
    #[error("the key is that of certificate {serial}, which was revoked because somebody else has it")]
    KeyCompromised {
        /// The certificate that was revoked.
        serial: Serial,
    },
    /// There is no authority here.
    #[error("there is no authority at {}", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// A certificate of whose life two thirds have not passed.
    #[error("{} is good until {until}, and due for renewal from {from} on", path.display())]
    NotDue {
        /// The certificate's file.
        path: PathBuf,
        /// When it is due.
        from: Timestamp,
        /// The last second of its validity.
        until: Timestamp,
    },
    /// The certificate is none of this authority's.
    #[error("this authority has issued nothing that is `{found}`")]
    NotIssued {
        /// What was asked for.
        found: String,
    },
    /// The files of a service are there.
    #[error("{} is there already: {detail}", path.display())]
    Occupied {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        detail: String,
        /// Whether it may be replaced by what was asked for.
        replaceable: bool,
    },
    /// The passphrase of an authority's key could not be had.
    #[error("the passphrase of the {level} authority's key: {cause}")]
    Passphrase {
        /// Whose key.
        level: Level,
        /// Why.
        cause: PassphraseSourceError,
    },
    /// A file is not the PEM that it should be.
    #[error("{}: {cause}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: PemError,
    },
    /// Two of what is to be issued would be in one file.
    #[error("{}: asked for twice", path.display())]
    Twice {
        /// The certificate's file.
        path: PathBuf,
    },
    /// A request is for another identity than was said.
    #[error("{} asks for {found}, expected {expected}", path.display())]
    OtherIdentity {
        /// The request's file.
        path: PathBuf,
        /// What it asks for.
        found: SpiffeId,
        /// What was said.
        expected: SpiffeId,
    },
    /// An authority still has a part to play.
    #[error("the {authority} authority cannot be retired: {} with {}", counted(users.len()), first(users))]
    InUse {
        /// Which authority.
        authority: AuthorityId,
        /// Whose newest certificate is one of its, in order.
        users: Vec<SpiffeId>,
    },
    /// A file of lists has none of this authority.
    #[error("{}: it has no list of the {authority} authority", path.display())]
    NoList {
        /// The file.
        path: PathBuf,
        /// Whose list.
        authority: AuthorityId,
    },
    /// There is no authority at the stage that a step begins with.
    #[error("no {level} authority is {expected}")]
    NothingAt {
        /// The level.
        level: Level,
        /// What it would have to be.
        expected: Stage,
    },
    /// A rollover has begun already.
    #[error("the {authority} authority was prepared at {since}, and is not active yet")]
    Prepared {
        /// Which authority.
        authority: AuthorityId,
        /// Since when.
        since: Timestamp,
    },
    /// A single authority has no intermediate.
    #[error("a single authority has no issuing intermediate")]
    Single,
    /// Consumers have not had the time to read their files again.
    #[error(
        "the {authority} authority has been {stage} only since {since}: consumers may not have seen that before {from}"
    )]
    TooEarly {
        /// Which authority.
        authority: AuthorityId,
        /// Where it stands.
        stage: Stage,
        /// Since when.
        since: Timestamp,
        /// When the next step can be made.
        from: Timestamp,
    },
    /// There is no such authority.
    #[error("there is no {authority} authority")]
    Unknown {
        /// Which.
        authority: AuthorityId,
    },
    /// An authority is at another stage than a step begins with.
    #[error("the {authority} authority is {found}, expected {expected}")]
    WrongStage {
        /// Which authority.
        authority: AuthorityId,
        /// Where it stands.
        found: Stage,
        /// Where it should.
        expected: Stage,
    },
    /// A prepared intermediate comes with its root.
    #[error("the {authority} authority was prepared with the {root} authority, and becomes active with it")]
    WithRoot {
        /// Which authority.
        authority: AuthorityId,
        /// Its root.
        root: AuthorityId,
    },
    /// A profile cannot be read.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The profile does not allow it.
    #[error(transparent)]
    Refused(#[from] ProfileRefusal),
    /// A request cannot be read, or asks for what nobody gets.
    #[error("{}: {cause}", path.display())]
    Request {
        /// The request's file.
        path: PathBuf,
        /// What is wrong with it.
        cause: RequestError,
    },
    /// A certificate that was revoked is not renewed.
    #[error("{} was revoked at {at} ({reason}), and is not renewed", path.display())]
    Revoked {
        /// The certificate's file.
        path: PathBuf,
        /// When.
        at: Timestamp,
        /// Why.
        reason: RevocationReason,
    },
    /// The index is of another version.
    #[error("{}: the index is of version {found}, expected {expected}", path.display())]
    Schema {
        /// The index.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The version that is known here.
        expected: i64,
    },
    /// The lock cannot be taken.
    #[error("{}: locking: {cause}", path.display())]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The identity is of another trust domain than this authority's.
    #[error("{identity} is of another trust domain, this authority issues for {expected}")]
    TrustDomain {
        /// The identity.
        identity: SpiffeId,
        /// The authority's trust domain.
        expected: String,
    },
}

/// How many users an error names.
const NAMED: usize = 3;

fn counted(users: usize) -> String {
    if users == 1 { "1 service is".to_owned() } else { format!("{users} services are") }
}

/// The first few, and how many more there are.
fn first(users: &[SpiffeId]) -> String {
    let mut text: Vec<String> = users.iter().take(NAMED).map(ToString::to_string).collect();
    if let Some(more) = users.len().checked_sub(NAMED).filter(|more| *more > 0) {
        text.push(format!("{more} more"));
    }
    format!("a certificate of its: {}", text.join(", "))
}
