//! A list's entries where they lie: the bytes that were read, and an index into them. A million entries cost what they have in
//! bytes and about eleven bytes each.
//!
//! rustls-webpki reads every entry when the list is read, and refuses the list for a critical extension that it does not know or
//! an entry for another issuer (RFC 5280, sections 5.3 and 5.3.3). Each has to be where it is found here, with the serial number
//! that is found here.

use super::{CrlError, Revocation, malformed, timestamp, webpki_fault};
use crate::pki::certificate::magnitude;
use crate::time::Timestamp;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rustls_pki_types::UnixTime;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::ops::Range;
use webpki::{BorrowedCertRevocationList, BorrowedRevokedCert, RevocationReason};
use x509_parser::asn1_rs::{Any, FromDer, Tag};

/// Where the parts of a list are in it (RFC 5280, section 5.1).
pub(super) struct Layout {
    /// All that is signed.
    pub(super) signed: Range<usize>,
    /// The content of the signature's algorithm identifier.
    pub(super) algorithm: Range<usize>,
    /// The signature.
    pub(super) signature: Range<usize>,
    /// The content of `revokedCertificates`; empty if there are none.
    entries: Range<usize>,
    /// What is signed before and after `revokedCertificates`, and what follows all that is signed.
    around: [Range<usize>; 3],
}

impl Layout {
    /// Takes a list apart. That each part is what it should be is seen to by whoever reads it.
    pub(super) fn read(der: &[u8]) -> Result<Self, CrlError> {
        let place = |part: &[u8]| {
            let from = part.as_ptr().addr() - der.as_ptr().addr();
            from..from + part.len()
        };
        let (rest, list) = value(der)?;
        if !rest.is_empty() {
            return Err(CrlError::TrailingBytes { found: rest.len() });
        }
        let (after, signed) = sequence(list.data)?;
        let (rest, algorithm) = sequence(after)?;
        let (_, signature) = value(rest)?;
        // The first sequence is the algorithm, the second the issuer, the third the entries.
        let nothing = &signed.data[signed.data.len()..];
        let mut entries = (signed.data, nothing, nothing);
        let (mut rest, mut sequences) = (signed.data, 0);
        while !rest.is_empty() {
            let (after, part) = value(rest)?;
            sequences += usize::from(part.tag() == Tag::Sequence);
            if sequences == 3 {
                entries = (&signed.data[..signed.data.len() - rest.len()], part.data, after);
                break;
            }
            rest = after;
        }
        Ok(Self {
            signed: place(&list.data[..list.data.len() - after.len()]),
            algorithm: place(algorithm.data),
            // A bit string begins with the number of its unused bits.
            signature: place(signature.data.get(1..).unwrap_or(&signature.data[..0])),
            entries: place(entries.1),
            around: [place(entries.0), place(entries.2), place(after)],
        })
    }

    /// What is signed, without the entries.
    pub(super) fn bare_signed(&self, der: &[u8]) -> Vec<u8> {
        let [before, after, _] = self.around.clone();
        wrapped(&[&der[before], &der[after]])
    }

    /// The list without its entries.
    pub(super) fn bare(&self, der: &[u8]) -> Vec<u8> {
        let [_, _, rest] = self.around.clone();
        wrapped(&[&self.bare_signed(der), &der[rest]])
    }

    /// The list with one of its entries.
    fn with(&self, der: &[u8], entry: &[u8]) -> Vec<u8> {
        let [before, after, rest] = self.around.clone();
        wrapped(&[&wrapped(&[&der[before], &wrapped(&[entry]), &der[after]]), &der[rest]])
    }
}

/// Where each entry is, by its serial number without leading zeros, so that every spelling of it is found.
pub(super) struct Index {
    places: HashTable<u32>,
    hasher: RandomState,
}

impl Index {
    /// Reads every entry; one that is not good refuses the list. Of two with one serial number the later counts.
    pub(super) fn read(der: &[u8], layout: &Layout) -> Result<Self, CrlError> {
        let list = BorrowedCertRevocationList::from_der(der).map_err(webpki_fault)?;
        let mut rest = &der[layout.entries.clone()];
        let mut found = Vec::new();
        for entry in &list {
            let entry = entry.map_err(webpki_fault)?;
            revocation(&entry)?;
            let at = layout.entries.end - rest.len();
            let (after, serial) = serial_of(rest)?;
            if !std::ptr::eq(serial, entry.serial_number) {
                return Err(malformed("an entry can be read in two ways"));
            }
            found.push(u32::try_from(at).map_err(|_| CrlError::TooLarge { found: der.len() })?);
            rest = after;
        }
        if !rest.is_empty() {
            return Err(malformed("its entries can be read in two ways"));
        }
        let (hasher, mut places) = (RandomState::new(), HashTable::with_capacity(found.len()));
        for at in found {
            let serial = serial_at(der, at);
            let rehash = |at: &u32| hasher.hash_one(serial_at(der, *at));
            match places.entry(hasher.hash_one(serial), |other| serial_at(der, *other) == serial, rehash) {
                Entry::Occupied(mut occupied) => *occupied.get_mut() = at,
                Entry::Vacant(vacant) => drop(vacant.insert(at)),
            }
        }
        Ok(Self { places, hasher })
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The entry for a serial number, in the list that was indexed.
    pub(super) fn find(&self, der: &[u8], layout: &Layout, serial: &[u8]) -> Option<Revocation> {
        let serial = magnitude(serial);
        let at = self.places.find(self.hasher.hash_one(serial), |at| serial_at(der, *at) == serial)?;
        let from = entry_at(der, *at);
        let after = serial_of(from).map_or(0, |(after, _)| after.len());
        // By the same parser as when the list was read, to which the rest of a list belongs.
        let alone = layout.with(der, &from[..from.len() - after]);
        let entry = BorrowedCertRevocationList::from_der(&alone)
            .ok()
            .and_then(|list| list.into_iter().next().and_then(Result::ok).map(|entry| revocation(&entry)));
        // It was read before, so that it can be read. If it could not, it would count all the same, and for the worst.
        let worst =
            Revocation { date: Timestamp::MIN, reason: Some(1), invalidity_date: Some(Timestamp::MIN) };
        Some(entry.and_then(Result::ok).unwrap_or(worst))
    }
}

/// The whole of what one entry says.
fn revocation(entry: &BorrowedRevokedCert<'_>) -> Result<Revocation, CrlError> {
    let moment = |time: UnixTime| timestamp(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    Ok(Revocation {
        date: moment(entry.revocation_date)?,
        reason: entry.reason_code.map(code),
        invalidity_date: entry.invalidity_date.map(moment).transpose()?,
    })
}

/// The number of a reason (RFC 5280, section 5.3.1).
fn code(reason: RevocationReason) -> u8 {
    use RevocationReason as R;
    match reason {
        R::Unspecified => 0,
        R::KeyCompromise => 1,
        R::CaCompromise => 2,
        R::AffiliationChanged => 3,
        R::Superseded => 4,
        R::CessationOfOperation => 5,
        R::CertificateHold => 6,
        R::RemoveFromCrl => 8,
        R::PrivilegeWithdrawn => 9,
        R::AaCompromise => 10,
    }
}

/// The list from an entry on.
fn entry_at(der: &[u8], at: u32) -> &[u8] {
    usize::try_from(at).ok().and_then(|at| der.get(at..)).unwrap_or_default()
}

/// The serial number of an entry that was read before, without leading zeros.
fn serial_at(der: &[u8], at: u32) -> &[u8] {
    serial_of(entry_at(der, at)).map_or(&[], |(_, serial)| magnitude(serial))
}

/// The serial number of the entry that these bytes begin with, and what follows the entry.
fn serial_of(bytes: &[u8]) -> Result<(&[u8], &[u8]), CrlError> {
    let (rest, entry) = sequence(bytes)?;
    let (_, serial) = value(entry.data)?;
    if serial.tag() == Tag::Integer {
        return Ok((rest, serial.data));
    }
    Err(malformed("an entry without a serial number"))
}

/// The content of an SPKI's algorithm identifier, and the key (RFC 5280, section 4.1).
pub(super) fn key_of(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, spki) = sequence(spki).ok()?;
    let (rest, algorithm) = sequence(spki.data).ok()?;
    let (_, key) = value(rest).ok()?;
    Some((algorithm.data, key.data.get(1..)?))
}

fn sequence(bytes: &[u8]) -> Result<(&[u8], Any<'_>), CrlError> {
    let (rest, value) = value(bytes)?;
    if value.tag() == Tag::Sequence { Ok((rest, value)) } else { Err(malformed("not a sequence")) }
}

/// One DER value, and what follows it.
fn value(bytes: &[u8]) -> Result<(&[u8], Any<'_>), CrlError> {
    Any::from_der(bytes).map_err(|error| malformed(&error.to_string()))
}

/// A sequence of these parts, in DER.
fn wrapped(parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = length.to_be_bytes();
    let digits = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    let mut out = vec![0x30];
    match (digits, u8::try_from(digits.len())) {
        ([], _) => out.push(0),
        ([one], _) if *one < 0x80 => out.push(*one),
        (_, count) => out.push(0x80 | count.unwrap_or(0x7f)),
    }
    if length >= 0x80 {
        out.extend(digits);
    }
    parts.iter().for_each(|part| out.extend(*part));
    out
}
