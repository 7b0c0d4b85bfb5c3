//! The names of a message and of a stream of messages.

use std::fmt;
use std::sync::Arc;

/// A `msg_id`: the year, and a random UUID (RFC 9562, version 4), as fedmsg writes it: `2026-<uuid4>`.
///
/// Legacy messages have been seen with other names; they are kept as they came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(Name);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Name {
    /// Never one that could be written in the other way.
    Legacy(Arc<str>),
    Uuid {
        year: u16,
        uuid: u128,
    },
}

/// The most bytes of a legacy name.
const MAX_LEGACY_BYTES: usize = 255;

impl MessageId {
    /// Makes the id of a message of this year from 16 random bytes.
    pub fn new(year: u16, random: [u8; 16]) -> Self {
        Self(Name::Uuid { year, uuid: uuid::Builder::from_random_bytes(random).into_uuid().as_u128() })
    }

    /// Reads an id: four digits, a hyphen, and a version 4 UUID in lower case with hyphens. There is one way to write one.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, uuid) = text.split_once('-')?;
        if year.len() != 4 || !year.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let uuid = uuid::Uuid::try_parse(uuid).ok().filter(|uuid| uuid.get_version_num() == 4)?;
        let id = Self(Name::Uuid { year: year.parse().ok()?, uuid: uuid.as_u128() });
        (id.to_string() == text).then_some(id)
    }

    /// Takes whatever a legacy message is called: 1 to 255 bytes.
    pub fn parse_legacy(text: &str) -> Option<Self> {
        Self::parse(text).or_else(|| {
            (1..=MAX_LEGACY_BYTES).contains(&text.len()).then(|| Self(Name::Legacy(Arc::from(text))))
        })
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Name::Legacy(text) => f.write_str(text),
            Name::Uuid { year, uuid } => {
                write!(f, "{year:04}-{}", uuid::Uuid::from_u128(*uuid).hyphenated())
            }
        }
    }
}

/// A stream: the messages of one publisher, from its start on, which its `seq` counts from 1 without holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u128);

impl StreamId {
    /// Names a stream by 16 random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(random))
    }

    /// Reads 32 hexadecimal digits in lower case.
    pub fn parse(text: &str) -> Option<Self> {
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 32 || !text.bytes().all(lower_hex) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn there_is_one_way_to_write_an_id() {
        let text = "2017-138990ab-f93d-49e6-8c38-fad10d43a556";
        assert_eq!(MessageId::parse(text).unwrap().to_string(), text);
        for wrong in [
            "",
            "2017",
            "17-138990ab-f93d-49e6-8c38-fad10d43a556",
            "+017-138990ab-f93d-49e6-8c38-fad10d43a556",
            "2017-138990AB-f93d-49e6-8c38-fad10d43a556",
            "2017-138990abf93d49e68c38fad10d43a556",
            "2017-{138990ab-f93d-49e6-8c38-fad10d43a556}",
            "2017-138990ab-f93d-19e6-8c38-fad10d43a556",
        ] {
            assert_eq!(MessageId::parse(wrong), None, "{wrong}");
            let legacy = MessageId::parse_legacy(wrong).map(|id| id.to_string());
            assert_eq!(legacy.as_deref(), Some(wrong).filter(|text| !text.is_empty()));
        }
        assert_eq!(StreamId::parse("0123456789ABCDEF0123456789abcdef"), None);
        assert_eq!(StreamId::parse("+123456789abcdef0123456789abcdef"), None);
    }

    proptest! {
        #[test]
        fn ids_read_back(year in 0_u16..10_000, random in any::<[u8; 16]>()) {
            let id = MessageId::new(year, random);
            prop_assert_eq!(MessageId::parse_legacy(&id.to_string()), Some(id.clone()));
            prop_assert_eq!(MessageId::parse(&id.to_string()), Some(id));
            let stream = StreamId::new(random);
            prop_assert_eq!(StreamId::parse(&stream.to_string()), Some(stream));
        }
    }
}
