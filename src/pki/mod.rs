//! Certificates: what they say, whether to believe it, and the keys in them.
//!
//! * [`certificate`] reads one certificate, strictly, and trusts nothing in it.
//! * [`crl`] reads one revocation list, as strictly.
//! * [`chain`] decides: a [`chain::TrustStore`] makes a [`chain::ValidatedLeaf`], or says what is wrong.
//! * [`authority`] issues what these will accept, with the lives that a [`profile`] sets.
//! * [`request`] reads what asks for a certificate, and sees that its sender has the key.
//! * [`key`] holds private keys: made, read, signed with.
//! * [`lifetime`] says when things end, in words and in numbers.
//! * [`legacy`] does the same for the chains of Python fedmsg, apart, so that what it tolerates stays in one file.
//!
//! Nothing here reads a clock, a file or a socket: bytes and the time are arguments. The profile is that of RFC 5280,
//! narrowed: version 3, one identity, explicit key usages, complete version 2 lists with a next update.

pub mod algorithm;
pub mod authority;
pub mod certificate;
pub mod chain;
pub mod crl;
pub mod key;
pub mod legacy;
pub mod lifetime;
pub mod pem;
pub mod profile;
pub mod public_key;
pub mod request;
pub mod serial;

/// A name from a certificate, made safe to print: control characters are escaped.
fn printable(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

/// Bytes as lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the bytes are exactly one DER value: x509-parser ignores what follows an extension's value.
fn is_one_der_value(bytes: &[u8]) -> bool {
    use x509_parser::asn1_rs::{Any, FromDer};
    matches!(Any::from_der(bytes), Ok((rest, _)) if rest.is_empty())
}
