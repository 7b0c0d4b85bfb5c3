//! `fedmsg cert verify`

use super::super::output::{BAD, DIM, GOOD, Output};
use super::super::{CliError, Outcome};
use super::{ContentError, certificates, now, read};
use crate::pki::certificate::{Certificate, IdentityRule};
use crate::pki::chain::{
    ChainError, Purpose, RevocationPolicy, TrustError, TrustStore, TrustStoreBuilder, ValidatedLeaf,
};
use crate::pki::crl::{Crl, CrlError};
use crate::pki::pem::{self, PemError};
use crate::reason::ReasonCode;
use crate::time::Timestamp;
use clap::ValueEnum;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Verify a certificate: its chain, its dates, its purpose, its identity, and that it was not revoked. Exit 0 if it is
/// to be believed, 1 if not.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fedmsg cert verify --ca pki/root.crt --intermediate pki/issuing.crt \\\n    \
                        --crl pki/root.crl --crl pki/issuing.crl pki/services/shell-localhost.crt\n  \
                        fedmsg cert verify --ca ca.crt --no-crl --identity common-name --eku any old.crt"
)]
pub(super) struct Args {
    /// A trust anchor; may be given more than once.
    #[arg(long, required = true, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// Certificates of issuing authorities. Those that follow the leaf in LEAF are tried as well.
    #[arg(long, value_name = "FILE")]
    intermediate: Vec<PathBuf>,
    /// A revocation list; one from every issuer of the chain is needed.
    #[arg(long, value_name = "FILE", conflicts_with = "no_crl")]
    crl: Vec<PathBuf>,
    /// Do not check revocation.
    #[arg(long)]
    no_crl: bool,
    /// Verify as of this time (RFC 3339) instead of now.
    #[arg(long, value_name = "RFC3339")]
    at: Option<Timestamp>,
    /// The extended key usage that the leaf must name: an OID, or `any`. Default: document signing (RFC 9336).
    #[arg(long, value_name = "OID|any")]
    eku: Option<Purpose>,
    /// Where the identity stands.
    #[arg(long, value_enum, default_value_t = Rule::Spiffe)]
    identity: Rule,
    /// The certificate, in PEM or DER; issuing authorities may follow it, in PEM.
    #[arg(value_name = "LEAF")]
    leaf: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rule {
    /// The one common name of the subject.
    CommonName,
    /// The one URI of the subject alternative name.
    Spiffe,
}

impl From<Rule> for IdentityRule {
    fn from(rule: Rule) -> Self {
        match rule {
            Rule::CommonName => Self::CommonName,
            Rule::Spiffe => Self::SpiffeUri,
        }
    }
}

pub(super) fn run(args: Args, out: &mut Output) -> Result<Outcome, CliError> {
    if args.crl.is_empty() && !args.no_crl {
        return Err(CliError::new(
            "neither --crl nor --no-crl: whether the certificate was revoked is not to be guessed",
        )
        .hint("give the issuers' lists with --crl FILE.., or say --no-crl to leave revocation unchecked"));
    }
    let at = args.at.unwrap_or_else(now);
    let purpose = args.eku.clone().unwrap_or(Purpose::DocumentSigning);
    let file = args.leaf.display().to_string();
    match judge(&args, &purpose, at) {
        Ok(leaf) => {
            accepted(&file, &leaf, at, out)?;
            Ok(Outcome::Yes)
        }
        Err(Stop::Cli(error)) => Err(error),
        Err(Stop::Refused { code, message }) => {
            refused(&file, code, &message, at, out)?;
            Ok(Outcome::No)
        }
    }
}

/// What ends the judging: a no with its reason, or something that kept it from being given.
enum Stop {
    Cli(CliError),
    Refused { code: ReasonCode, message: String },
}

impl From<CliError> for Stop {
    fn from(error: CliError) -> Self {
        Self::Cli(error)
    }
}

impl From<ChainError> for Stop {
    fn from(error: ChainError) -> Self {
        Self::Refused { code: error.code(), message: error.to_string() }
    }
}

impl From<TrustError> for Stop {
    fn from(error: TrustError) -> Self {
        match error {
            TrustError::Chain(error) => error.into(),
            TrustError::AnchorRules { .. }
            | TrustError::CrlConflict { .. }
            | TrustError::CrlNotChecked { .. }
            | TrustError::NoAnchors => Self::Cli(CliError::new(error)),
        }
    }
}

fn judge(args: &Args, purpose: &Purpose, at: Timestamp) -> Result<ValidatedLeaf, Stop> {
    let revocation = if args.no_crl { RevocationPolicy::NotChecked } else { RevocationPolicy::Required };
    let store = trust(args, TrustStore::builder(revocation))?.build()?;
    let chain = certificates_of(&args.leaf)?;
    // A file of certificates has at least one: an empty one was refused as it was read.
    let Some((leaf, rest)) = chain.split_first() else {
        return Err(CliError::new(format!("{}: no certificate", args.leaf.display())).into());
    };
    let intermediates: Vec<&[u8]> = rest.iter().map(|certificate| certificate.der().as_ref()).collect();
    Ok(store.validate(leaf.der(), &intermediates, purpose, at)?)
}

fn trust(args: &Args, mut builder: TrustStoreBuilder) -> Result<TrustStoreBuilder, Stop> {
    for path in &args.ca {
        for certificate in certificates_of(path)? {
            builder = builder.anchor(label(path), certificate, args.identity.into())?;
        }
    }
    for path in &args.intermediate {
        for certificate in certificates_of(path)? {
            builder = builder.intermediate(label(path), certificate)?;
        }
    }
    for path in &args.crl {
        for crl in crls_of(path)? {
            builder = builder.crl(label(path), crl)?;
        }
    }
    Ok(builder)
}

fn certificates_of(path: &Path) -> Result<Vec<Certificate>, Stop> {
    certificates(&read(path)?).map_err(|fault: ContentError| Stop::Refused {
        code: fault.code(),
        message: format!("{}: {fault}", path.display()),
    })
}

fn crls_of(path: &Path) -> Result<Vec<Crl>, Stop> {
    let bytes = read(path)?;
    let refused = |code, fault: &dyn std::fmt::Display| Stop::Refused {
        code,
        message: format!("{}: {fault}", path.display()),
    };
    if bytes.first() == Some(&0x30) {
        let crl = Crl::parse(&bytes).map_err(|fault: CrlError| refused(fault.code(), &fault))?;
        return Ok(vec![crl]);
    }
    pem::crls(&bytes).map_err(|fault: PemError| refused(fault.code(), &fault))
}

fn label(path: &Path) -> String {
    path.display().to_string()
}

/// The verdict as JSON; the fields of the other verdict are null.
#[derive(Debug, Serialize)]
struct Verdict<'a> {
    verdict: &'static str,
    file: &'a str,
    reason: Option<&'static str>,
    message: Option<&'a str>,
    identity: Option<String>,
    at: String,
    valid_from: Option<String>,
    valid_until: Option<String>,
    revocation: Option<&'static str>,
    path: Option<&'a [String]>,
    sha256: Option<String>,
}

fn accepted(file: &str, leaf: &ValidatedLeaf, at: Timestamp, out: &mut Output) -> Result<(), CliError> {
    let revocation = match leaf.revocation() {
        RevocationPolicy::NotChecked => "not-checked",
        RevocationPolicy::Required => "checked",
    };
    if out.is_json() {
        out.object(&Verdict {
            verdict: "valid",
            file,
            reason: None,
            message: None,
            identity: Some(leaf.identity().to_string()),
            at: at.to_string(),
            valid_from: Some(leaf.valid_from().to_string()),
            valid_until: Some(leaf.valid_until().to_string()),
            revocation: Some(revocation),
            path: Some(leaf.path()),
            sha256: Some(leaf.certificate().sha256_hex()),
        })?;
        return Ok(());
    }
    out.line(format_args!("{GOOD}valid{GOOD:#} {file}: {}", leaf.identity()))?;
    for issuer in leaf.path() {
        out.line(format_args!("  {DIM}issued by{DIM:#} {issuer}"))?;
    }
    let unchecked =
        if leaf.revocation() == RevocationPolicy::NotChecked { "; revocation not checked" } else { "" };
    out.line(format_args!(
        "  {DIM}holds{DIM:#} from {} to {}{unchecked}",
        leaf.valid_from(),
        leaf.valid_until()
    ))?;
    Ok(())
}

fn refused(
    file: &str,
    code: ReasonCode,
    message: &str,
    at: Timestamp,
    out: &mut Output,
) -> Result<(), CliError> {
    if out.is_json() {
        out.object(&Verdict {
            verdict: "refused",
            file,
            reason: Some(code.as_str()),
            message: Some(message),
            identity: None,
            at: at.to_string(),
            valid_from: None,
            valid_until: None,
            revocation: None,
            path: None,
            sha256: None,
        })?;
    } else {
        out.line(format_args!("{BAD}refused{BAD:#} {file}: {code}: {message}"))?;
    }
    if let Some(hint) = hint(code) {
        out.hint(hint);
    }
    Ok(())
}

/// What mends it, where a command does.
fn hint(code: ReasonCode) -> Option<&'static str> {
    if code == ReasonCode::CrlStale {
        return Some("`fedmsg ca crl` makes a fresh list");
    }
    if code == ReasonCode::CrlMissing {
        return Some(
            "give a list from every issuer of the chain with --crl, the root's too; `fedmsg ca crl` makes them",
        );
    }
    if code == ReasonCode::CertificateExpired {
        return Some("`fedmsg ca issue` issues a new one; --at verifies as of an earlier time");
    }
    if code == ReasonCode::CertificateUnknownIssuer {
        return Some("name the authorities between the leaf and --ca with --intermediate");
    }
    if code == ReasonCode::CertificatePurpose {
        return Some("--eku names another purpose, or `any`");
    }
    if code == ReasonCode::IdentityMissing {
        return Some("an authority that puts names into the subject is verified with --identity common-name");
    }
    None
}
