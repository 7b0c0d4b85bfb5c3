//! Certificates and lists, good and bad: made by rcgen, and where rcgen would refuse, taken apart and signed again.

use fedmsg::pki::certificate::{Certificate, IdentityRule};
use fedmsg::pki::chain::{
    ChainError, Purpose, RevocationPolicy, TrustError, TrustStore, TrustStoreBuilder, ValidatedLeaf,
};
use fedmsg::pki::crl::Crl;
use fedmsg::reason::ReasonCode;
use fedmsg::time::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData,
    RevocationReason, RevokedCertParams, SanType, SerialNumber, SigningKey,
};
use time::OffsetDateTime;

pub(crate) const DAY: i64 = 86_400;
pub(crate) const DOCUMENT_SIGNING: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 36];
pub(crate) const IDENTITY: &str = "spiffe://example.org/prod/bodhi/app01";

/// 2026-06-01T00:00:00Z: what time it is, unless a test says otherwise.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix(1_780_272_000).unwrap()
}

pub(crate) fn at(seconds_from_now: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(now().as_unix() + seconds_from_now).unwrap()
}

/// An authority: what its certificate says, its key, and the certificate as somebody signed it.
pub(crate) struct Ca {
    pub(crate) params: CertificateParams,
    pub(crate) key: KeyPair,
    pub(crate) der: Vec<u8>,
}

impl Ca {
    pub(crate) fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    pub(crate) fn root(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = ca_params("root");
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { params, key, der }
    }

    pub(crate) fn below(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = ca_params(name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &self.issuer()).unwrap().der().to_vec();
        Self { params, key, der }
    }

    pub(crate) fn leaf(&self, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        self.leaf_for(&KeyPair::generate().unwrap(), change)
    }

    pub(crate) fn leaf_for(
        &self,
        key: &impl PublicKeyData,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Vec<u8> {
        let mut params = leaf_params();
        change(&mut params);
        params.signed_by(key, &self.issuer()).unwrap().der().to_vec()
    }

    pub(crate) fn crl(&self, change: impl FnOnce(&mut CertificateRevocationListParams)) -> Vec<u8> {
        let mut params = CertificateRevocationListParams {
            this_update: at(-3600),
            next_update: at(7 * DAY),
            crl_number: SerialNumber::from(7_u64),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        change(&mut params);
        params.signed_by(&self.issuer()).unwrap().der().to_vec()
    }

    pub(crate) fn certificate(&self) -> Certificate {
        Certificate::parse(&self.der).unwrap()
    }
}

pub(crate) fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

pub(crate) fn ca_params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(common_name);
    (params.not_before, params.not_after) = (at(-30 * DAY), at(300 * DAY));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("bodhi-app01");
    (params.not_before, params.not_after) = (at(-DAY), at(90 * DAY));
    params.is_ca = IsCa::ExplicitNoCa;
    params.serial_number = Some(SerialNumber::from(vec![0x10, 0x20]));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(DOCUMENT_SIGNING.to_vec())];
    params.subject_alt_names = vec![uri(IDENTITY)];
    params.use_authority_key_identifier_extension = true;
    params
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(crate) fn extension(oid: &[u64], content: &[u8], critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(critical);
    extension
}

pub(crate) fn revoked(serial: &[u8], reason: Option<RevocationReason>) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: at(-7200),
        reason_code: reason,
        invalidity_date: None,
    }
}

/// A root, an issuing authority, a leaf, and a list from each authority.
pub(crate) struct World {
    pub(crate) root: Ca,
    pub(crate) issuing: Ca,
    pub(crate) leaf: Vec<u8>,
    pub(crate) root_crl: Vec<u8>,
    pub(crate) issuing_crl: Vec<u8>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::under(Ca::root(|_| {}))
    }

    pub(crate) fn under(root: Ca) -> Self {
        let issuing = root.below("issuing", |_| {});
        let leaf = issuing.leaf(|_| {});
        let (root_crl, issuing_crl) = (root.crl(|_| {}), issuing.crl(|_| {}));
        Self { root, issuing, leaf, root_crl, issuing_crl }
    }

    /// Trusts the root, with these lists.
    pub(crate) fn store(&self, crls: &[&[u8]]) -> Result<TrustStore, TrustError> {
        let mut builder = anchored(&self.root, RevocationPolicy::Required)?;
        for (index, der) in crls.iter().enumerate() {
            let label = format!("list-{index}.crl");
            let crl = Crl::parse(der).map_err(|fault| ChainError::Crl { list: label.clone(), fault })?;
            builder = builder.crl(label, crl)?;
        }
        builder.build()
    }

    /// Validates the world's leaf, sent with the issuing authority's certificate, under these lists.
    pub(crate) fn with_crls(&self, crls: &[&[u8]]) -> Result<ValidatedLeaf, Refusal> {
        let store = self.store(crls)?;
        Ok(store.validate(&self.leaf, &[&self.issuing.der], &Purpose::DocumentSigning, now())?)
    }

    /// Validates another leaf in this world.
    pub(crate) fn with_leaf(&self, leaf: &[u8]) -> Result<ValidatedLeaf, Refusal> {
        let store = self.store(&[&self.root_crl, &self.issuing_crl])?;
        Ok(store.validate(leaf, &[&self.issuing.der], &Purpose::DocumentSigning, now())?)
    }
}

pub(crate) fn anchored(root: &Ca, revocation: RevocationPolicy) -> Result<TrustStoreBuilder, TrustError> {
    TrustStore::builder(revocation).anchor("root.crt", root.certificate(), IdentityRule::SpiffeUri)
}

/// Validates a leaf under a root alone, revocation not checked.
pub(crate) fn unrevoked(root: &Ca, leaf: &[u8], intermediates: &[&[u8]]) -> Result<ValidatedLeaf, Refusal> {
    let store = anchored(root, RevocationPolicy::NotChecked)?.build()?;
    Ok(store.validate(leaf, intermediates, &Purpose::DocumentSigning, now())?)
}

/// A refusal when the store was built, or when a leaf was validated.
#[derive(Debug)]
pub(crate) enum Refusal {
    Trust(TrustError),
    Chain(ChainError),
}

impl From<TrustError> for Refusal {
    fn from(error: TrustError) -> Self {
        Self::Trust(error)
    }
}

impl From<ChainError> for Refusal {
    fn from(error: ChainError) -> Self {
        Self::Chain(error)
    }
}

impl Refusal {
    pub(crate) fn code(&self) -> Option<ReasonCode> {
        match self {
            Self::Chain(error) | Self::Trust(TrustError::Chain(error)) => Some(error.code()),
            Self::Trust(_) => None,
        }
    }
}

/// Asserts that a thing was refused for exactly this reason.
pub(crate) fn refused(case: &str, outcome: Result<ValidatedLeaf, Refusal>, expected: ReasonCode) {
    match outcome {
        Ok(leaf) => panic!("{case}: accepted as {leaf:?}, expected {expected}"),
        Err(refusal) => assert_eq!(refusal.code(), Some(expected), "{case}: {refusal:?}"),
    }
}

/// One DER value.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.push(u8::try_from(length).unwrap());
    } else {
        let bytes: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|b| *b == 0).collect();
        out.push(0x80 | u8::try_from(bytes.len()).unwrap());
        out.extend(bytes);
    }
    out.extend(content);
    out
}

/// The content of a DER value, taken apart into the values in it.
pub(crate) fn parts(der: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &der[header(der).0..];
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (head, length) = header(rest);
        parts.push(rest[..head + length].to_vec());
        rest = &rest[head + length..];
    }
    parts
}

/// How long a value's tag and length are, and how long its content.
fn header(der: &[u8]) -> (usize, usize) {
    let first = usize::from(der[1]);
    if first < 0x80 {
        return (2, first);
    }
    let count = first & 0x7f;
    let length = der[2..2 + count].iter().fold(0, |n, b| n << 8 | usize::from(*b));
    (2 + count, length)
}

/// Takes a certificate or a list apart, lets the fields of what is signed be changed, and signs it again.
pub(crate) fn resigned(der: &[u8], key: &KeyPair, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<u8> {
    let outer = parts(der);
    let mut fields = parts(&outer[0]);
    change(&mut fields);
    signed(&tlv(0x30, &fields.concat()), &outer[1], key)
}

/// What is signed, the algorithm, and the signature over it.
pub(crate) fn signed(tbs: &[u8], algorithm: &[u8], key: &KeyPair) -> Vec<u8> {
    let signature = [&[0], key.sign(tbs).unwrap().as_slice()].concat();
    tlv(0x30, &[tbs, algorithm, &tlv(0x03, &signature)].concat())
}

/// One PEM block.
pub(crate) fn rcgen_pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
