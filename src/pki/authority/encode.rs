//! What goes into certificates and lists, in the terms of rcgen.

use super::error::{AuthorityError, NameFault};
use super::{RevocationReason, Revoked};
use crate::identity::SpiffeId;
use crate::pki::algorithm::Algorithm;
use crate::pki::certificate::Certificate;
use crate::pki::key::{PrivateKeyError, SigningKey};
use crate::pki::serial::Serial;
use crate::time::{TimeError, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, PublicKeyData, RevokedCertParams,
    SanType, SerialNumber, SignatureAlgorithm, SubjectPublicKeyInfo,
};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::HashSet;
use std::sync::Arc;
use time::OffsetDateTime;
use x509_parser::oid_registry::OID_X509_EXT_NAME_CONSTRAINTS;

/// id-kp-documentSigning (RFC 9336), the one purpose of a service's certificate.
pub(super) const DOCUMENT_SIGNING: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 36];
/// id-kp-configSigning (RFC 9809), which an operator's has as well.
pub(super) const CONFIG_SIGNING: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 41];
/// The longest organisation name, in characters (RFC 5280, appendix A.1, `ub-organization-name`).
const MAX_ORGANIZATION: usize = 64;

/// A key as rcgen wants it. The key itself may be elsewhere.
pub(super) struct Signer {
    key: Arc<dyn SigningKey>,
    public: SubjectPublicKeyInfo,
}

impl Signer {
    pub(super) fn new(key: Arc<dyn SigningKey>) -> Result<Self, AuthorityError> {
        let public = SubjectPublicKeyInfo::from_der(key.public_spki())?;
        // rcgen writes the algorithm that goes with the kind of key into what it signs, so it must be the key's.
        let written = public.algorithm();
        let fits = match key.algorithm() {
            Algorithm::EcdsaP256Sha256 => written == &rcgen::PKCS_ECDSA_P256_SHA256,
            Algorithm::Ed25519 => written == &rcgen::PKCS_ED25519,
            Algorithm::RsaPkcs1Sha256 => written == &rcgen::PKCS_RSA_SHA256,
            Algorithm::RsaPssSha256 => false,
        };
        if fits { Ok(Self { key, public }) } else { Err(PrivateKeyError::Kind.into()) }
    }
}

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        self.public.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.public.algorithm()
    }
}

impl rcgen::SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key.sign(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// 128 random bits: nobody can guess the next one (CA/Browser Forum BR 7.1 asks for 64), and no two are the same.
pub(super) fn random_serial() -> Result<Serial, AuthorityError> {
    let random = SystemRandom::new();
    loop {
        let mut bytes = [0; 16];
        random.fill(&mut bytes).map_err(|_| PrivateKeyError::Operation)?;
        // One in 256 would be shorter. Not for secrecy's sake: so that all are written alike.
        if bytes[0] != 0 {
            return Ok(Serial::from_bytes(&bytes)?);
        }
    }
}

/// `O=TRUST_DOMAIN, CN=fedmsg ROLE ID`. The first digits of the serial number keep an authority apart from the one that
/// follows it: two of one name are told apart by nobody. A trust domain that is too long is left out.
pub(super) fn authority_name(role: &str, trust_domain: &str, serial: &Serial) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if trust_domain.len() <= MAX_ORGANIZATION {
        name.push(DnType::OrganizationName, trust_domain);
    }
    name.push(DnType::CommonName, format!("fedmsg {role} {:.8}", serial.to_string()));
    name
}

pub(super) fn authority_params(
    name: DistinguishedName,
    serial: &Serial,
    not_before: Timestamp,
    not_after: Timestamp,
    below: u8,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = dated(serial, not_before, not_after)?;
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// Another certificate for the name and the key of an authority that exists.
pub(super) fn cross(
    issuer: &Issuer<'_, Signer>,
    subject: &Certificate,
    name: DistinguishedName,
    not_before: Timestamp,
    not_after: Timestamp,
) -> Result<Vec<u8>, AuthorityError> {
    let below = subject.basic_constraints().and_then(|constraints| constraints.path_length).unwrap_or(0);
    let below = u8::try_from(below).unwrap_or(u8::MAX);
    let mut params = authority_params(name, &random_serial()?, not_before, not_after, below)?;
    if let Some(id) = subject.subject_key_id() {
        params.key_identifier_method = KeyIdMethod::PreSpecified(id.to_vec());
    }
    let key = SubjectPublicKeyInfo::from_der(subject.spki_der())?;
    Ok(params.signed_by(&key, issuer)?.der().to_vec())
}

/// A leaf: `digitalSignature`, the purposes, CA:FALSE, one URI, whatever was asked for.
pub(super) fn service(
    issuer: &Issuer<'_, Signer>,
    identity: &SpiffeId,
    common_name: &str,
    spki: &[u8],
    purposes: &[[u64; 9]],
    (not_before, not_after): (Timestamp, Timestamp),
) -> Result<Vec<u8>, AuthorityError> {
    let mut params = dated(&random_serial()?, not_before, not_after)?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.subject_alt_names = vec![SanType::URI(identity.as_str().try_into()?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        purposes.iter().map(|oid| ExtendedKeyUsagePurpose::Other(oid.to_vec())).collect();
    let certificate = params.signed_by(&SubjectPublicKeyInfo::from_der(spki)?, issuer)?;
    Ok(certificate.der().to_vec())
}

/// A request for a service's certificate: the identity and the key, and nothing that is the authority's to decide.
pub(in crate::pki) fn request(
    identity: &SpiffeId,
    key: Arc<dyn SigningKey>,
) -> Result<Vec<u8>, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let common_name = format!("{}-{}", identity.service(), identity.host());
    if common_name.len() <= super::MAX_COMMON_NAME {
        params.distinguished_name.push(DnType::CommonName, common_name);
    }
    params.subject_alt_names = vec![SanType::URI(identity.as_str().try_into()?)];
    Ok(params.serialize_request(&Signer::new(key)?)?.der().to_vec())
}

pub(super) fn crl(
    issuer: &Issuer<'_, Signer>,
    certificate: &Certificate,
    number: u64,
    revoked: &[Revoked],
    this_update: Timestamp,
    next_update: Timestamp,
) -> Result<Vec<u8>, AuthorityError> {
    let entries = revoked.iter().map(|entry| {
        Ok(RevokedCertParams {
            serial_number: SerialNumber::from_slice(entry.serial.as_bytes()),
            revocation_time: moment(entry.at)?,
            reason_code: reason(entry.reason),
            invalidity_date: entry.invalid_since.map(moment).transpose()?,
        })
    });
    let params = CertificateRevocationListParams {
        this_update: moment(this_update)?,
        next_update: moment(next_update)?,
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: entries.collect::<Result<_, AuthorityError>>()?,
        // The identifier that the issuer's certificate has, whoever chose it.
        key_identifier_method: certificate
            .subject_key_id()
            .map_or(KeyIdMethod::Sha256, |id| KeyIdMethod::PreSpecified(id.to_vec())),
    };
    Ok(params.signed_by(issuer)?.der().to_vec())
}

/// Whether one of them has name constraints (RFC 5280, section 4.2.1.10).
pub(super) fn limit_names<'a>(
    mut chain: impl Iterator<Item = &'a Certificate>,
) -> Result<bool, AuthorityError> {
    chain.try_fold(false, |limited, certificate| {
        let x509 = certificate.x509()?;
        let found = x509.extensions().iter().any(|extension| extension.oid == OID_X509_EXT_NAME_CONSTRAINTS);
        Ok(limited || found)
    })
}

/// rcgen keeps a name as a map from attribute to value, in order. A name that is more than that would be written in
/// another way, and what is issued under it would chain to nobody.
pub(super) fn check_name(certificate: &Certificate) -> Result<(), AuthorityError> {
    let refuse = |fault| AuthorityError::Name { issuer: certificate.subject().to_owned(), fault };
    let x509 = certificate.x509()?;
    let mut seen = HashSet::new();
    for part in x509.subject().iter() {
        let mut attributes = part.iter();
        let oid = match (attributes.next(), attributes.next()) {
            (Some(one), None) => one.attr_type().to_id_string(),
            (_, _) => return Err(refuse(NameFault::MultiValued)),
        };
        if !seen.insert(oid.clone()) {
            return Err(refuse(NameFault::Repeated { oid }));
        }
    }
    if seen.is_empty() { Err(refuse(NameFault::Empty)) } else { Ok(()) }
}

/// What every certificate has: a serial number and dates of ours, and the identifiers that link it to its issuer.
fn dated(
    serial: &Serial,
    not_before: Timestamp,
    not_after: Timestamp,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    (params.not_before, params.not_after) = (moment(not_before)?, moment(not_after)?);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn moment(time: Timestamp) -> Result<OffsetDateTime, AuthorityError> {
    OffsetDateTime::from_unix_timestamp(time.as_unix())
        .map_err(|_| AuthorityError::Time(TimeError::OutOfRange(time.as_unix())))
}

/// Nothing for a reason that nobody said: RFC 5280, 5.3.1, would rather not read `unspecified`.
fn reason(reason: RevocationReason) -> Option<rcgen::RevocationReason> {
    use rcgen::RevocationReason as R;
    Some(match reason {
        RevocationReason::AffiliationChanged => R::AffiliationChanged,
        RevocationReason::CaCompromise => R::CaCompromise,
        RevocationReason::CessationOfOperation => R::CessationOfOperation,
        RevocationReason::KeyCompromise => R::KeyCompromise,
        RevocationReason::PrivilegeWithdrawn => R::PrivilegeWithdrawn,
        RevocationReason::Superseded => R::Superseded,
        RevocationReason::Unspecified => return None,
    })
}
