//! What can go wrong in an authority's directory.

use super::index::Level;
use crate::identity::SpiffeId;
use crate::pki::authority::{AuthorityError, RevocationReason};
use crate::pki::key::PrivateKeyError;
use crate::pki::pem::PemError;
use crate::pki::profile::{ProfileError, ProfileRefusal};
use crate::pki::request::RequestError;
use crate::pki::serial::Serial;
use crate::store::credentials::CredentialsError;
use crate::store::files::FileError;
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
    #[error("the {level} authority was revoked at {at} ({reason}), and can issue nothing")]
    IssuerRevoked {
        /// Which authority.
        level: Level,
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
    #[error("the key of the {level} authority is not at {}", path.display())]
    KeyAway {
        /// Whose key.
        level: Level,
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
    /// A file is not the PEM that it should be.
    #[error("{}: {cause}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: PemError,
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
