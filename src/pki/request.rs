//! Certificate requests (PKCS #10, RFC 2986): how a key that never leaves its host gets a certificate.
//!
//! A request is whatever its sender likes to write. Two things are taken from it: the key, once its signature has shown that
//! the sender has the private half, and the identity, which somebody must then approve. What it asks for beyond that is
//! either refused, where granting it by mistake would make an authority or a second name, or not granted and told.

use super::algorithm::Algorithm;
use super::authority::{AuthorityError, encode};
use super::certificate::{parser_message, purposes, sha256};
use super::key::{SigningKey, pem_block};
use super::pem::{self, PemError};
use super::public_key::{KeyError, PublicKey};
use super::{is_one_der_value, printable};
use crate::identity::{IdentityError, SpiffeId};
use std::collections::HashSet;
use std::sync::Arc;
use x509_parser::asn1_rs::{FromDer, Oid, oid};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::x509::X509Version;

const ECDSA_WITH_SHA256: Oid<'static> = oid!(1.2.840.10045.4.3.2);
const ED25519: Oid<'static> = oid!(1.3.101.112);
const SHA256_WITH_RSA: Oid<'static> = oid!(1.2.840.113549.1.1.11);
/// The most bytes of a request. One with an RSA key of 8192 bits has 2,200.
pub const MAX_BYTES: usize = 16 * 1024;

/// A request whose sender has the private key: that was checked. Nobody has approved it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    der: Box<[u8]>,
    identity: SpiffeId,
    spki: Box<[u8]>,
    not_granted: Vec<String>,
}

/// Why a request is none, or asks for what nobody gets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It asks to become an authority.
    #[error("it asks for {found}, and requests are for services: an authority is made by `ca init`")]
    Authority {
        /// By what.
        found: String,
    },
    /// It has not one URI, but none or several.
    #[error(
        "it names {found} in its subject alternative name, expected one URI, spiffe://TRUST_DOMAIN/ENV/SERVICE/HOST"
    )]
    Identities {
        /// What it has.
        found: String,
    },
    /// Its URI is no identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Its key is none, or of a kind that is not accepted.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Not a request.
    #[error("the request is malformed: {0}")]
    Malformed(String),
    /// It asks for names beside its identity.
    #[error("it asks for {found} beside its identity, and a certificate has one name")]
    OtherNames {
        /// Which.
        found: String,
    },
    /// Not PEM, or of something else.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// Its signature is not by the key that it has: whoever sent it may not have that key.
    #[error("its signature does not verify under its own key, so its sender has not shown to have that key")]
    Possession,
    /// A signature that is not checked here.
    #[error(
        "it is signed with {found}, expected ECDSA with SHA-256 (P-256), Ed25519 or RSA with SHA-256, by its own key"
    )]
    SignatureAlgorithm {
        /// The OID.
        found: String,
    },
    /// More bytes than [`MAX_BYTES`].
    #[error("the request has {found} bytes, the limit is {MAX_BYTES}")]
    TooLong {
        /// What was found, in bytes.
        found: usize,
    },
}

impl Request {
    /// Makes a request: this identity, for this key.
    ///
    /// # Errors
    /// [`AuthorityError`], if the key does not sign.
    pub fn new(identity: &SpiffeId, key: Arc<dyn SigningKey>) -> Result<Self, AuthorityError> {
        Ok(Self::parse(&encode::request(identity, key)?)?)
    }

    /// Reads the one request of a PEM text, and checks that its sender has the key.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn from_pem(text: &[u8]) -> Result<Self, RequestError> {
        Self::parse(&pem::request_der(text)?)
    }

    /// Reads a request in DER, with nothing after it, and checks that its sender has the key.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn parse(der: &[u8]) -> Result<Self, RequestError> {
        if der.len() > MAX_BYTES {
            return Err(RequestError::TooLong { found: der.len() });
        }
        let malformed = |detail: &str| RequestError::Malformed(detail.to_owned());
        let (rest, request) = X509CertificationRequest::from_der(der)
            .map_err(|error| RequestError::Malformed(parser_message(error)))?;
        if !rest.is_empty() {
            return Err(malformed("bytes follow it"));
        }
        let info = &request.certification_request_info;
        if info.version != X509Version::V1 {
            return Err(malformed("its version is not 1 (RFC 2986, 4.1)"));
        }
        check_possession(&request)?;

        let mut asked = Asked::default();
        let mut seen = HashSet::new();
        for attribute in info.iter_attributes() {
            let oid = attribute.oid.to_id_string();
            if !seen.insert(oid.clone()) {
                return Err(RequestError::Malformed(format!("the attribute {oid} is there twice")));
            }
            match attribute.parsed_attribute() {
                ParsedCriAttribute::ExtensionRequest(extensions) => asked.take(&extensions.extensions)?,
                ParsedCriAttribute::ChallengePassword(_) => {
                    asked.not_granted.push("a challenge password".to_owned());
                }
                ParsedCriAttribute::UnsupportedAttribute => {
                    asked.not_granted.push(format!("the attribute {oid}"));
                }
            }
        }
        let identity = asked.identity()?;
        // Told only where it is not what every certificate is given anyway.
        let subject = info.subject.to_string();
        if !subject.is_empty() && subject != format!("CN={}-{}", identity.service(), identity.host()) {
            asked.not_granted.push(format!("the subject `{}`", printable(&subject)));
        }
        Ok(Self {
            der: der.into(),
            identity,
            spki: info.subject_pki.raw.into(),
            not_granted: asked.not_granted,
        })
    }

    /// Whom it asks to be named.
    pub fn identity(&self) -> &SpiffeId {
        &self.identity
    }

    /// Its key, as SubjectPublicKeyInfo in DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// What else it asks for and does not get, each in words.
    pub fn not_granted(&self) -> &[String] {
        &self.not_granted
    }

    /// SHA-256 of it in DER.
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&self.der)
    }

    /// It in PEM.
    pub fn to_pem(&self) -> String {
        pem_block(pem::REQUEST, &self.der).to_string()
    }
}

/// That the sender has the private key (RFC 2986, section 3, note 2).
fn check_possession(request: &X509CertificationRequest<'_>) -> Result<(), RequestError> {
    let info = &request.certification_request_info;
    let key = PublicKey::from_spki(info.subject_pki.raw)?;
    let oid = &request.signature_algorithm.algorithm;
    let algorithm = match oid {
        oid if *oid == ECDSA_WITH_SHA256 => Some(Algorithm::EcdsaP256Sha256),
        oid if *oid == ED25519 => Some(Algorithm::Ed25519),
        oid if *oid == SHA256_WITH_RSA => Some(Algorithm::RsaPkcs1Sha256),
        _ => None,
    };
    let Some(algorithm) = algorithm.filter(|algorithm| key.fits(*algorithm)) else {
        return Err(RequestError::SignatureAlgorithm { found: oid.to_id_string() });
    };
    // What a second spelling of the same signature could hide in.
    let parameters = request.signature_algorithm.parameters.as_ref();
    let is_plain = request.signature_value.unused_bits == 0
        && parameters.is_none_or(|any| algorithm == Algorithm::RsaPkcs1Sha256 && any.as_null().is_ok());
    if !is_plain {
        return Err(RequestError::Malformed("its signature is not DER".to_owned()));
    }
    key.verify(algorithm, info.raw, &request.signature_value.data)
        .map(drop)
        .map_err(|_| RequestError::Possession)
}

/// What the extensions of a request ask for.
#[derive(Debug, Default)]
struct Asked {
    uris: Vec<String>,
    other_names: Vec<String>,
    not_granted: Vec<String>,
}

impl Asked {
    fn take(&mut self, extensions: &[X509Extension<'_>]) -> Result<(), RequestError> {
        let mut seen = HashSet::new();
        for extension in extensions {
            let oid = extension.oid.to_id_string();
            if !seen.insert(oid.clone()) {
                return Err(RequestError::Malformed(format!("the extension {oid} is there twice")));
            }
            let parsed = extension.parsed_extension();
            if matches!(parsed, ParsedExtension::ParseError { .. }) || !is_one_der_value(extension.value) {
                return Err(RequestError::Malformed(format!("the extension {oid} cannot be read")));
            }
            self.take_one(&oid, parsed)?;
        }
        Ok(())
    }

    fn take_one(&mut self, oid: &str, parsed: &ParsedExtension<'_>) -> Result<(), RequestError> {
        let refuse = |found: &str| Err(RequestError::Authority { found: found.to_owned() });
        if let ParsedExtension::BasicConstraints(found) = parsed {
            if found.ca {
                return refuse("CA:TRUE");
            }
        } else if let ParsedExtension::KeyUsage(found) = parsed {
            if found.key_cert_sign() {
                return refuse("the key usage keyCertSign");
            }
            if found.crl_sign() {
                return refuse("the key usage cRLSign");
            }
            // Every certificate has digitalSignature.
            if found.flags & !1 != 0 {
                self.not_granted.push(format!("the key usage {found}"));
            }
        } else if let ParsedExtension::ExtendedKeyUsage(found) = parsed {
            let others: Vec<String> =
                purposes(found).into_iter().filter(|oid| oid != DOCUMENT_SIGNING).collect();
            if !others.is_empty() {
                self.not_granted.push(format!("the extended key usage {}", others.join(", ")));
            }
        } else if let ParsedExtension::SubjectAlternativeName(found) = parsed {
            for name in &found.general_names {
                if let GeneralName::URI(uri) = name {
                    self.uris.push((*uri).to_owned());
                } else {
                    self.other_names.push(printable(&name.to_string()));
                }
            }
        } else {
            self.not_granted.push(format!("the extension {oid}"));
        }
        Ok(())
    }

    fn identity(&self) -> Result<SpiffeId, RequestError> {
        let identity = match &self.uris[..] {
            [one] => one.parse()?,
            [] => {
                let others = self.other_names.join(", ");
                let found = if others.is_empty() { "nobody".to_owned() } else { others };
                return Err(RequestError::Identities { found });
            }
            several => {
                let found = several.iter().map(|uri| printable(uri)).collect::<Vec<_>>().join(" and ");
                return Err(RequestError::Identities { found });
            }
        };
        if self.other_names.is_empty() {
            return Ok(identity);
        }
        Err(RequestError::OtherNames { found: self.other_names.join(", ") })
    }
}

/// id-kp-documentSigning (RFC 9336): what every certificate gets.
const DOCUMENT_SIGNING: &str = "1.3.6.1.5.5.7.3.36";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::key::{KeyKind, PrivateKey};
    use proptest::prelude::*;
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
    };

    const IDENTITY: &str = "spiffe://a.example/prod/bodhi/app01";

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn asking(change: impl Fn(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = vec![uri(IDENTITY)];
        change(&mut params);
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn what_is_made_is_read() {
        for kind in [KeyKind::P256, KeyKind::Ed25519] {
            let key = Arc::new(PrivateKey::generate(kind).unwrap());
            let made = Request::new(&IDENTITY.parse().unwrap(), key.clone()).unwrap();
            let read = Request::from_pem(made.to_pem().as_bytes()).unwrap();
            assert_eq!(read, made);
            assert_eq!((read.identity().as_str(), read.spki()), (IDENTITY, key.public_spki()));
            assert!(read.not_granted().is_empty());
        }
    }

    #[test]
    fn what_nobody_gets_is_refused_and_what_not_everybody_gets_is_told() {
        let refused = |change: fn(&mut CertificateParams)| Request::parse(&asking(change)).unwrap_err();
        let authority = |found: &str| RequestError::Authority { found: found.to_owned() };
        assert_eq!(refused(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), authority("CA:TRUE"));
        assert_eq!(
            refused(|p| p.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign]),
            authority("the key usage keyCertSign")
        );
        assert_eq!(
            refused(|p| p.key_usages = vec![KeyUsagePurpose::CrlSign]),
            authority("the key usage cRLSign")
        );
        let names = |found: &str| RequestError::Identities { found: found.to_owned() };
        assert_eq!(refused(|p| p.subject_alt_names.clear()), names("nobody"));
        let two = refused(|p| p.subject_alt_names.push(uri("spiffe://a.example/prod/koji/app01")));
        assert_eq!(two, names(&format!("{IDENTITY} and spiffe://a.example/prod/koji/app01")));
        let dns = refused(|p| p.subject_alt_names.push(SanType::DnsName("a.example".try_into().unwrap())));
        assert!(matches!(&dns, RequestError::OtherNames { found } if found.contains("a.example")), "{dns}");
        let upper = refused(|p| p.subject_alt_names = vec![uri("spiffe://A.example/prod/bodhi/app01")]);
        assert!(matches!(upper, RequestError::Identity(IdentityError::Character { .. })), "{upper}");

        let read = Request::parse(&asking(|p| {
            p.distinguished_name.push(rcgen::DnType::OrganizationName, "Somebody");
            p.is_ca = IsCa::ExplicitNoCa;
            p.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }))
        .unwrap();
        let told = read.not_granted().join("; ");
        for expected in ["Key Encipherment", "1.3.6.1.5.5.7.3.1", "O=Somebody"] {
            assert!(told.contains(expected), "no {expected} in {told}");
        }
    }

    #[test]
    fn whoever_sends_it_must_have_the_key() {
        let key = || Arc::new(PrivateKey::generate(KeyKind::P256).unwrap());
        let (mine, yours) = (key(), key());
        let made = Request::new(&IDENTITY.parse().unwrap(), mine.clone()).unwrap();
        // Another's key in a request that is otherwise as it was: the two are of one length.
        let mut der = made.der.to_vec();
        let at = der.windows(mine.public_spki().len()).position(|w| w == mine.public_spki()).unwrap();
        der[at..at + yours.public_spki().len()].copy_from_slice(yours.public_spki());
        assert_eq!(Request::parse(&der), Err(RequestError::Possession));
        let mut longer = made.der.to_vec();
        longer.push(0);
        assert!(matches!(Request::parse(&longer), Err(RequestError::Malformed(_))));
        let long = vec![0; MAX_BYTES + 1];
        assert_eq!(Request::parse(&long), Err(RequestError::TooLong { found: MAX_BYTES + 1 }));
    }

    #[test]
    fn no_bit_of_what_is_taken_can_be_changed() {
        let key = Arc::new(PrivateKey::generate(KeyKind::Ed25519).unwrap());
        let made = Request::new(&IDENTITY.parse().unwrap(), key).unwrap();
        for bit in 0..made.der.len() * 8 {
            let mut der = made.der.to_vec();
            der[bit / 8] ^= 1 << (bit % 8);
            // The parser is lenient about the outermost tags, which nothing is taken from.
            if let Ok(read) = Request::parse(&der) {
                assert_eq!((&read.spki, &read.identity), (&made.spki, &made.identity), "bit {bit}");
                assert!(read.not_granted.is_empty(), "bit {bit}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Request::parse(&bytes).is_err());
        }
    }
}
