//! The text of a detached signature: one text for each, and nothing in it believed.

use crate::limits::Limits;
use crate::time::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use std::str::Split;

/// The first line: what sets these signatures apart from any other that the same key might make.
const CONTEXT: &str = "fedmsg policy signature v1";
/// What the first line of every version begins with.
const ANY_VERSION: &str = "fedmsg policy signature v";

/// The most bytes of a signature's file.
pub const MAX_SIGNATURE_BYTES: usize = 64 * 1024;
/// The most files of a policy that one signature is over.
pub const MAX_FILES: usize = 64;

/// What a signature says of a policy; all of it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The policy's serial: the highest of its files'.
    pub serial: u64,
    /// The first second at which the signature holds.
    pub from: Timestamp,
    /// The first second at which it does not any more.
    pub until: Timestamp,
    /// SHA-256 of each of the policy's files, in ascending order.
    pub files: Vec<[u8; 32]>,
    /// SHA-256 of the signer's certificate in DER.
    pub certificate: [u8; 32],
    /// The number of the signature algorithm, as in a message's proof.
    pub algorithm: u8,
}

/// A signature's file as it was found: of the right form, and nothing in it checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachedSignature {
    /// The bytes that are signed, as they were found.
    signed: Box<str>,
    statement: Statement,
    certificates: Vec<Bytes>,
    signature: Bytes,
}

/// Why a file is no signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// A value that is not base64 with padding, or has a second way to be written.
    #[error("line {line}: `{key}` is not base64 (RFC 4648, section 4)")]
    Base64 {
        /// The line, from 1.
        line: usize,
        /// Its key.
        key: &'static str,
    },
    /// More certificates than verifiers take.
    #[error("more than {limit} certificates")]
    ChainTooLong {
        /// The limit.
        limit: usize,
    },
    /// A digest that is not 64 lower-case hexadecimal digits.
    #[error("line {line}: `{key}` is not 64 lower-case hexadecimal digits")]
    Digest {
        /// The line, from 1.
        line: usize,
        /// Its key.
        key: &'static str,
    },
    /// Files that do not stand in ascending order.
    #[error("line {line}: the digests of the files are not in ascending order")]
    FilesOrder {
        /// The line, from 1.
        line: usize,
    },
    /// Another line than the one that has to stand there; the end, where nothing was found.
    #[error("line {line}: expected {expected}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What has to stand there.
        expected: &'static str,
    },
    /// Bytes that are no ASCII text with a line feed at the end of each line.
    #[error("not lines of ASCII, each with a line feed at its end")]
    NotText,
    /// A number that is none, is too large, or has a zero before it.
    #[error("line {line}: `{key}` is no number in its plain form")]
    Number {
        /// The line, from 1.
        line: usize,
        /// Its key.
        key: &'static str,
    },
    /// A time that is not written as `2027-12-31T00:00:00Z`.
    #[error("line {line}: `{key}` is no time such as 2027-12-31T00:00:00Z")]
    Time {
        /// The line, from 1.
        line: usize,
        /// Its key.
        key: &'static str,
    },
    /// More bytes than [`MAX_SIGNATURE_BYTES`].
    #[error("more than {MAX_SIGNATURE_BYTES} bytes")]
    TooLarge,
    /// More files than [`MAX_FILES`].
    #[error("more than {MAX_FILES} files")]
    TooManyFiles,
    /// A later form, or an older one.
    #[error("signature version `{found}` is not known; 1 is")]
    Version {
        /// What was found.
        found: String,
    },
    /// A time at which it would begin that is not before its end.
    #[error("it would hold from {from} until {until}, which is never")]
    Window {
        /// Its beginning.
        from: Timestamp,
        /// Its end.
        until: Timestamp,
    },
}

impl SignatureFault {
    /// Its stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ChainTooLong { .. } | Self::TooLarge | Self::TooManyFiles => "policy-signature-too-large",
            Self::Version { .. } => "policy-signature-version",
            Self::Base64 { .. }
            | Self::Digest { .. }
            | Self::FilesOrder { .. }
            | Self::Line { .. }
            | Self::NotText
            | Self::Number { .. }
            | Self::Time { .. }
            | Self::Window { .. } => "policy-signature-malformed",
        }
    }
}

impl Statement {
    /// The text that is signed: the first part of the file, up to the empty line.
    pub fn to_text(&self) -> String {
        let Self { serial, from, until, files, certificate, algorithm } = self;
        let mut text = format!("{CONTEXT}\nserial {serial}\nfrom {from}\nuntil {until}\n");
        for file in files {
            text.push_str(&format!("file-sha256 {}\n", hex(file)));
        }
        text.push_str(&format!("certificate-sha256 {}\nalgorithm {algorithm}\n", hex(certificate)));
        text
    }
}

impl DetachedSignature {
    pub(super) fn new(statement: Statement, certificates: Vec<Bytes>, signature: Bytes) -> Self {
        Self { signed: statement.to_text().into(), statement, certificates, signature }
    }

    /// What it says.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The bytes that are signed.
    pub fn signed_bytes(&self) -> &[u8] {
        self.signed.as_bytes()
    }

    /// The signer's certificate, then any intermediates, in DER. There is one at least.
    pub fn certificates(&self) -> &[Bytes] {
        &self.certificates
    }

    /// The signature over [`DetachedSignature::signed_bytes`].
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Writes the file.
    pub fn to_text(&self) -> String {
        let mut text = self.signed.to_string();
        text.push('\n');
        for certificate in &self.certificates {
            text.push_str(&format!("certificate {}\n", STANDARD.encode(certificate)));
        }
        text.push_str(&format!("signature {}\n", STANDARD.encode(&self.signature)));
        text
    }

    /// Reads the file: exactly one text for each signature.
    ///
    /// # Errors
    /// A [`SignatureFault`], with the line.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, SignatureFault> {
        if bytes.len() > MAX_SIGNATURE_BYTES {
            return Err(SignatureFault::TooLarge);
        }
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii());
        let lines = text.and_then(|text| text.strip_suffix('\n')).ok_or(SignatureFault::NotText)?;
        let mut reader = Reader::new(lines);
        reader.context()?;
        let serial = reader.number("serial", "`serial NUMBER`")?;
        let from = reader.time("from", "`from TIME`")?;
        let until = reader.time("until", "`until TIME`")?;
        if from >= until {
            return Err(SignatureFault::Window { from, until });
        }
        let mut files: Vec<[u8; 32]> = Vec::new();
        while reader.is_at("file-sha256") {
            if files.len() >= MAX_FILES {
                return Err(SignatureFault::TooManyFiles);
            }
            let digest = reader.digest("file-sha256", "`file-sha256 HEX`")?;
            // Two files of the same bytes are two: what is equal is in order.
            if files.last().is_some_and(|last| *last > digest) {
                return Err(SignatureFault::FilesOrder { line: reader.line });
            }
            files.push(digest);
        }
        if files.is_empty() {
            return Err(reader.expected("`file-sha256 HEX`"));
        }
        let certificate = reader.digest("certificate-sha256", "`certificate-sha256 HEX`")?;
        let algorithm = reader.number("algorithm", "`algorithm NUMBER`")?;
        let line = reader.line;
        let algorithm =
            u8::try_from(algorithm).map_err(|_| SignatureFault::Number { line, key: "algorithm" })?;
        reader.empty()?;
        let mut certificates = Vec::new();
        while reader.is_at("certificate") {
            if certificates.len() >= limits.chain_certificates {
                return Err(SignatureFault::ChainTooLong { limit: limits.chain_certificates });
            }
            certificates.push(reader.base64("certificate", "`certificate BASE64`")?);
        }
        if certificates.is_empty() {
            return Err(reader.expected("`certificate BASE64`"));
        }
        let signature = reader.base64("signature", "`signature BASE64`")?;
        reader.end()?;
        let statement = Statement { serial, from, until, files, certificate, algorithm };
        // The only empty line is the one that ends it.
        let signed = lines.split_inclusive('\n').take_while(|line| *line != "\n").collect::<String>().into();
        Ok(Self { signed, statement, certificates, signature })
    }
}

/// Lines, taken one by one. They end at a line feed and at nothing else: a carriage return is a fault of its line.
struct Reader<'t> {
    rest: Split<'t, char>,
    next: Option<&'t str>,
    /// The line that was taken last, from 1.
    line: usize,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        let mut rest = text.split('\n');
        let next = rest.next();
        Self { rest, next, line: 0 }
    }

    fn take(&mut self) -> Option<&'t str> {
        self.line += 1;
        std::mem::replace(&mut self.next, self.rest.next())
    }

    fn expected(&self, expected: &'static str) -> SignatureFault {
        SignatureFault::Line { line: self.line + 1, expected }
    }

    fn is_at(&self, key: &str) -> bool {
        self.next.and_then(|line| line.split_once(' ')).is_some_and(|(found, _)| found == key)
    }

    /// The value of the next line, which is `KEY VALUE`.
    fn value(&mut self, key: &str, expected: &'static str) -> Result<&'t str, SignatureFault> {
        let found = self.take().and_then(|line| line.split_once(' ')).filter(|(found, _)| *found == key);
        let (_, value) = found.ok_or(SignatureFault::Line { line: self.line, expected })?;
        Ok(value)
    }

    fn context(&mut self) -> Result<(), SignatureFault> {
        let expected = "`fedmsg policy signature v1`";
        let found = self.take().ok_or(SignatureFault::Line { line: 1, expected })?;
        if found == CONTEXT {
            return Ok(());
        }
        let version = found.strip_prefix(ANY_VERSION);
        let numbered = version.filter(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()));
        Err(match numbered {
            Some(found) => SignatureFault::Version { found: found.to_owned() },
            None => SignatureFault::Line { line: 1, expected },
        })
    }

    fn number(&mut self, key: &'static str, expected: &'static str) -> Result<u64, SignatureFault> {
        let text = self.value(key, expected)?;
        let plain = text.parse::<u64>().ok().filter(|number| number.to_string() == text);
        plain.ok_or(SignatureFault::Number { line: self.line, key })
    }

    fn time(&mut self, key: &'static str, expected: &'static str) -> Result<Timestamp, SignatureFault> {
        let text = self.value(key, expected)?;
        let plain = text.parse::<Timestamp>().ok().filter(|time| time.to_string() == text);
        plain.ok_or(SignatureFault::Time { line: self.line, key })
    }

    fn digest(&mut self, key: &'static str, expected: &'static str) -> Result<[u8; 32], SignatureFault> {
        let text = self.value(key, expected)?;
        from_hex(text).ok_or(SignatureFault::Digest { line: self.line, key })
    }

    fn base64(&mut self, key: &'static str, expected: &'static str) -> Result<Bytes, SignatureFault> {
        let text = self.value(key, expected)?;
        let bytes = STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty());
        bytes.map(Bytes::from).ok_or(SignatureFault::Base64 { line: self.line, key })
    }

    fn empty(&mut self) -> Result<(), SignatureFault> {
        let (found, line) = (self.take(), self.line);
        if found == Some("") {
            return Ok(());
        }
        Err(SignatureFault::Line { line, expected: "an empty line" })
    }

    fn end(&mut self) -> Result<(), SignatureFault> {
        match self.next {
            None => Ok(()),
            Some(_) => Err(self.expected("the end")),
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let bytes = text.as_bytes();
    if bytes.len() != 64 {
        return None;
    }
    let mut out = [0; 32];
    for (to, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
        *to = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}
