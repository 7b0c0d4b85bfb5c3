//! When what is trusted and what is signed with comes to its end: for warnings, and as numbers for gauges.

use super::certificate::Certificate;
use super::crl::Crl;
use crate::time::Timestamp;

/// What it is that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LifetimeKind {
    /// A trust anchor.
    Anchor,
    /// The certificate of whoever signs.
    Certificate,
    /// A revocation list: from its next update on, everything is refused that it would have to vouch for.
    Crl,
    /// An authority below an anchor.
    Intermediate,
}

impl LifetimeKind {
    /// The word in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anchor => "anchor",
            Self::Certificate => "certificate",
            Self::Crl => "crl",
            Self::Intermediate => "intermediate",
        }
    }
}

/// The life of one certificate or list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// What it is.
    pub kind: LifetimeKind,
    /// Its file.
    pub label: String,
    /// Its subject; for a list, its issuer.
    pub name: String,
    /// When it begins; for a list, its date.
    pub from: Timestamp,
    /// When it expires; for a list, its next update.
    pub until: Timestamp,
}

/// A [`Lifetime`] in numbers, as of a time: all in seconds, below zero when it has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Until its end.
    pub ends_in: i64,
    /// Until it is time to make it anew: two thirds of its life.
    pub due_in: i64,
}

impl Lifetime {
    /// That of a certificate.
    pub fn of_certificate(kind: LifetimeKind, label: impl Into<String>, certificate: &Certificate) -> Self {
        Self {
            kind,
            label: label.into(),
            name: certificate.subject().to_owned(),
            from: certificate.not_before(),
            until: certificate.not_after(),
        }
    }

    /// That of a revocation list.
    pub fn of_crl(label: impl Into<String>, crl: &Crl) -> Self {
        Self {
            kind: LifetimeKind::Crl,
            label: label.into(),
            name: crl.issuer().to_owned(),
            from: crl.this_update(),
            until: crl.next_update(),
        }
    }

    /// When it is time to make it anew.
    pub fn due(&self) -> Timestamp {
        Timestamp::two_thirds_of(self.from, self.until)
    }

    /// Whether it is time to make it anew.
    pub fn is_due(&self, at: Timestamp) -> bool {
        at.is_past_two_thirds(self.from, self.until)
    }

    /// The numbers, as of a time.
    pub fn expiry(&self, at: Timestamp) -> Expiry {
        Expiry { ends_in: self.until.seconds_since(at), due_in: self.due().seconds_since(at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_and_the_words_agree() {
        let at = |seconds| Timestamp::from_unix(seconds).unwrap();
        for (from, until) in [(0, 90), (7, 98), (0, 100), (5, 6), (5, 5)] {
            let life = Lifetime {
                kind: LifetimeKind::Crl,
                label: String::new(),
                name: String::new(),
                from: at(from),
                until: at(until),
            };
            for now in -3..120 {
                let Expiry { ends_in, due_in } = life.expiry(at(now));
                assert_eq!(
                    (ends_in, due_in <= 0),
                    (until - now, life.is_due(at(now))),
                    "{from} {until} {now}"
                );
            }
        }
    }
}
