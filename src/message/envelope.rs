//! The fields of an envelope, found in a body without building anything from the rest.

use super::error::MessageError;
use super::id::{MessageId, StreamId};
use crate::json::read::{Kind, Reader};
use crate::json::{Dialect, JsonError};
use crate::limits::Limits;
use crate::time::Timestamp;
use crate::topic::Topic;
use std::borrow::Cow;
use std::ops::Range;

/// What an envelope says. Nothing of it is checked but its form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The topic.
    pub topic: Topic,
    /// The message proper: JSON text, as it was received.
    pub msg: Box<str>,
    /// When it was published; a legacy fraction of a second is cut off.
    pub timestamp: Timestamp,
    /// Its name.
    pub msg_id: MessageId,
    /// fedmsg's counter; a legacy message may have none.
    pub i: Option<u64>,
    /// The user on whose behalf it was published; empty if nobody is named.
    pub username: String,
    /// The stream and the place in it, from 1; a legacy message has none.
    pub position: Option<(StreamId, u64)>,
}

/// A field's value, as far as the envelope needs it.
#[derive(Debug)]
pub(super) enum Field<'a> {
    Number(&'a str),
    Other(Range<usize>),
    String(Cow<'a, str>),
}

/// The fields of a body that mean something here.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) certificate: Option<Field<'a>>,
    pub(super) crypto: Option<Field<'a>>,
    pub(super) proof: Option<Field<'a>>,
    /// Where the proof's value begins, in bytes.
    pub(super) proof_at: usize,
    pub(super) signature: Option<Field<'a>>,
    i: Option<Field<'a>>,
    msg: Option<&'a str>,
    msg_id: Option<Field<'a>>,
    seq: Option<Field<'a>>,
    stream: Option<Field<'a>>,
    timestamp: Option<Field<'a>>,
    topic: Option<Field<'a>>,
    username: Option<Field<'a>>,
    v: Option<Field<'a>>,
}

impl<'a> Fields<'a> {
    /// Reads a whole body: one object, every part of it checked.
    pub(super) fn read(text: &'a str, limits: &Limits) -> Result<Self, JsonError> {
        let mut fields = Self::default();
        let mut reader = Reader::new(text, Dialect::Strict, limits);
        reader.object::<JsonError>(|reader, key| {
            if key == "proof" {
                fields.proof_at = reader.place();
            }
            let slot = match &**key {
                "certificate" => &mut fields.certificate,
                "crypto" => &mut fields.crypto,
                "i" => &mut fields.i,
                "msg_id" => &mut fields.msg_id,
                "proof" => &mut fields.proof,
                "seq" => &mut fields.seq,
                "signature" => &mut fields.signature,
                "stream" => &mut fields.stream,
                "timestamp" => &mut fields.timestamp,
                "topic" => &mut fields.topic,
                "username" => &mut fields.username,
                "v" => &mut fields.v,
                "msg" => {
                    fields.msg = text.get(reader.skip()?);
                    return Ok(());
                }
                _ => return reader.skip().map(drop),
            };
            *slot = Some(match reader.peek()? {
                Kind::Number => Field::Number(reader.number()?),
                Kind::String => Field::String(reader.string()?),
                Kind::Array | Kind::Bool | Kind::Null | Kind::Object => Field::Other(reader.skip()?),
            });
            Ok(())
        })?;
        reader.end()?;
        Ok(fields)
    }

    /// The envelope of version 2: every field has to be there.
    pub(super) fn version_2(&self, text: &str, limits: &Limits) -> Result<Envelope, MessageError> {
        let v = required("v", &self.v)?;
        if !matches!(v, Field::Number("2")) {
            return Err(MessageError::Version { found: show(v, text) });
        }
        let seq = positive("seq", required("seq", &self.seq)?, text)?;
        if seq == 0 {
            return Err(invalid("seq", "an integer from 1", &Field::Number("0"), text));
        }
        let stream = required("stream", &self.stream)?;
        let stream_id = string(stream).and_then(StreamId::parse);
        let stream_id =
            stream_id.ok_or_else(|| invalid("stream", "32 lower-case hexadecimal digits", stream, text))?;
        let timestamp = required("timestamp", &self.timestamp)?;
        let seconds = match timestamp {
            Field::Number(number) => number.parse().ok().and_then(|s| Timestamp::from_unix(s).ok()),
            Field::Other(_) | Field::String(_) => None,
        };
        let i = Some(positive("i", required("i", &self.i)?, text)?);
        let username = required("username", &self.username)?;
        let username = string(username).ok_or_else(|| invalid("username", "a string", username, text))?;
        Ok(Envelope {
            topic: self.signed_topic(text, limits)?,
            msg: self.msg.ok_or(MessageError::FieldMissing { field: "msg" })?.into(),
            timestamp: seconds
                .ok_or_else(|| invalid("timestamp", "integer seconds since 1970", timestamp, text))?,
            msg_id: self.message_id(text, MessageId::parse, "YYYY-<version 4 UUID>")?,
            i,
            username: username.to_owned(),
            position: Some((stream_id, seq)),
        })
    }

    /// The envelope of a legacy message, whose publishers left fields out and wrote fractions of seconds.
    pub(super) fn legacy(&self, text: &str, limits: &Limits) -> Result<Envelope, MessageError> {
        let timestamp = required("timestamp", &self.timestamp)?;
        let seconds = match timestamp {
            Field::Number(number) => whole_seconds(number).and_then(|s| Timestamp::from_unix(s).ok()),
            Field::Other(_) | Field::String(_) => None,
        };
        Ok(Envelope {
            topic: self.signed_topic(text, limits)?,
            msg: self.msg.ok_or(MessageError::FieldMissing { field: "msg" })?.into(),
            timestamp: seconds.ok_or_else(|| invalid("timestamp", "seconds since 1970", timestamp, text))?,
            msg_id: self.message_id(text, MessageId::parse_legacy, "a string of 1 to 255 bytes")?,
            i: self.i.as_ref().and_then(|i| positive("i", i, text).ok()),
            username: self.username.as_ref().and_then(string).unwrap_or_default().to_owned(),
            position: None,
        })
    }

    fn signed_topic(&self, text: &str, limits: &Limits) -> Result<Topic, MessageError> {
        let topic = required("topic", &self.topic)?;
        let topic = string(topic).ok_or_else(|| invalid("topic", "a string", topic, text))?;
        Ok(Topic::parse(topic, limits)?)
    }

    fn message_id(
        &self,
        text: &str,
        parse: fn(&str) -> Option<MessageId>,
        expected: &'static str,
    ) -> Result<MessageId, MessageError> {
        let id = required("msg_id", &self.msg_id)?;
        string(id).and_then(parse).ok_or_else(|| invalid("msg_id", expected, id, text))
    }
}

pub(super) fn required<'f, 'a>(
    field: &'static str,
    value: &'f Option<Field<'a>>,
) -> Result<&'f Field<'a>, MessageError> {
    value.as_ref().ok_or(MessageError::FieldMissing { field })
}

pub(super) fn string<'f>(field: &'f Field<'_>) -> Option<&'f str> {
    match field {
        Field::String(text) => Some(text),
        Field::Number(_) | Field::Other(_) => None,
    }
}

/// A field's value for an error, at most 40 characters of it, on one line.
pub(super) fn show(field: &Field<'_>, text: &str) -> String {
    let whole = match field {
        Field::Number(number) => Cow::Borrowed(*number),
        Field::Other(place) => Cow::Borrowed(text.get(place.clone()).unwrap_or_default()),
        Field::String(string) => Cow::Owned(format!("{:?}", string.chars().take(41).collect::<String>())),
    };
    let mut rest = whole.chars();
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut shown: String = rest.by_ref().take(40).map(plain).collect();
    if rest.next().is_some() {
        shown.push('…');
    }
    shown
}

fn invalid(field: &'static str, expected: &'static str, found: &Field<'_>, text: &str) -> MessageError {
    MessageError::FieldInvalid { field, expected, found: show(found, text) }
}

fn positive(field: &'static str, value: &Field<'_>, text: &str) -> Result<u64, MessageError> {
    let number = match value {
        Field::Number(number) => number.parse().ok(),
        Field::Other(_) | Field::String(_) => None,
    };
    number.ok_or_else(|| invalid(field, "an integer from 0 to 2^64 - 1", value, text))
}

/// The whole seconds of a number that may have a fraction or an exponent, rounded down.
fn whole_seconds(number: &str) -> Option<i64> {
    if let Ok(seconds) = number.parse() {
        return Some(seconds);
    }
    let seconds: f64 = number.parse().ok()?;
    // `{:.0}` of a whole float gives its digits exactly; those that do not fit an i64 are refused by its parser.
    format!("{:.0}", seconds.floor()).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_field_is_one_line_without_control_characters() {
        let text = "{\"v\":[\n\r\t\"\u{9b}2J\"],\"proof\":\"AQEB\"}";
        let error =
            Fields::read(text, &Limits::STANDARD).unwrap().version_2(text, &Limits::STANDARD).unwrap_err();
        assert!(!error.to_string().contains(char::is_control), "{error:?}");
    }
}
