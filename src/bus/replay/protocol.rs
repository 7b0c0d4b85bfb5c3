//! What is asked and answered, as bytes: one frame of JSON each way, and then the messages as they were published.
//!
//! Both sides read what a stranger wrote. A text that says anything else than the protocol does is refused as a whole.

use crate::json::{self, Dialect, JsonError, Number, Value};
use crate::limits::Limits;
use crate::message::id::{MessageId, StreamId};
use crate::time::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;

/// The most bytes of a request.
pub const MAX_REQUEST_BYTES: usize = 1024;
/// The most bytes of an answer's first frame.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// The most ranges that one answer calls gone.
pub const MAX_GONE_RANGES: usize = 64;

/// The version of the protocol.
const VERSION: u64 = 1;

/// Texts of few levels, and no long numbers.
const JSON_LIMITS: Limits = Limits { json_depth: 4, json_number_chars: 20, ..Limits::STANDARD };

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which messages.
    pub question: Question,
    /// How many of them at the most, if the asker says so.
    pub limit: Option<u64>,
}

/// Which messages somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The one of this name.
    MsgId(MessageId),
    /// Those of a stream from one `seq` to another, both included; without `to`, to its end.
    Range {
        /// The stream.
        stream: StreamId,
        /// The first.
        from: u64,
        /// The last.
        to: Option<u64>,
    },
    /// Those from the first one on that is not older than this.
    Since(Timestamp),
}

/// The first frame of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What became of the request.
    pub status: Status,
    /// Which stream the endpoint keeps, where it says so.
    pub extent: Option<Extent>,
    /// How many messages follow, of two frames each.
    pub count: u64,
    /// Where to go on: the first `seq` of which the answer does not speak.
    pub next: Option<u64>,
    /// Ranges of what was asked for that are not kept any more, both ends included.
    pub gone: Vec<(u64, u64)>,
}

/// The stream that an endpoint keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its name.
    pub stream: StreamId,
    /// The first `seq` that is still kept; one more than `newest` if there is none.
    pub oldest: u64,
    /// The last that was published; 0 before the first.
    pub newest: u64,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It cannot be read, or makes no sense.
    BadRequest,
    /// Too much is asked at once, by this peer or by all: later.
    Busy,
    /// Of what was asked for nothing is kept any more.
    Gone,
    /// Answered.
    Ok,
    /// The endpoint keeps another stream.
    UnknownStream,
}

/// Why a text is no request, or no answer's header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A field has another type or form.
    #[error("`{field}` is not {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// Fields that do not go together, or one too few.
    #[error("expected one of `stream` with `from`, `since`, `msg_id`")]
    Question,
    /// A text that is not one JSON object.
    #[error("not a JSON object: {0}")]
    Json(String),
    /// More bytes than there may be.
    #[error("{found} bytes, the limit is {limit}")]
    TooLong {
        /// The limit.
        limit: usize,
        /// What was found.
        found: usize,
    },
    /// A field that is not known: what is asked for is not known then.
    #[error("`{0}` is not known")]
    Unknown(String),
    /// Another version.
    #[error("`v` is not {VERSION}")]
    Version,
}

impl From<JsonError> for ProtocolError {
    fn from(error: JsonError) -> Self {
        Self::Json(error.to_string())
    }
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// A [`ProtocolError`] that names the field.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProtocolError> {
        let mut fields = Fields::read(bytes, MAX_REQUEST_BYTES)?;
        let limit = fields.number("limit")?;
        let question = match (fields.take("stream"), fields.take("since"), fields.take("msg_id")) {
            (Some(stream), None, None) => {
                let from = fields.number("from")?.ok_or(ProtocolError::Question)?;
                let to = fields.number("to")?;
                if from == 0 || to.is_some_and(|to| to < from) {
                    return Err(field("to", "a number from `from` on, which is at least 1"));
                }
                Question::Range { stream: stream_id(&stream)?, from, to }
            }
            (None, Some(since), None) => Question::Since(seconds(&since)?),
            (None, None, Some(msg_id)) => Question::MsgId(name(&msg_id)?),
            _ => return Err(ProtocolError::Question),
        };
        fields.end()?;
        Ok(Self { question, limit })
    }

    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut request = match &self.question {
            Question::MsgId(msg_id) => json!({"v": VERSION, "msg_id": msg_id.to_string()}),
            Question::Range { stream, from, to: Some(to) } => {
                json!({"v": VERSION, "stream": stream.to_string(), "from": from, "to": to})
            }
            Question::Range { stream, from, to: None } => {
                json!({"v": VERSION, "stream": stream.to_string(), "from": from})
            }
            Question::Since(time) => json!({"v": VERSION, "since": time.as_unix()}),
        };
        if let Some(limit) = self.limit {
            request["limit"] = limit.into();
        }
        request.to_string().into_bytes()
    }
}

impl Header {
    /// One that has nothing to say but its status.
    pub fn only(status: Status) -> Self {
        Self { status, extent: None, count: 0, next: None, gone: Vec::new() }
    }

    /// Reads the first frame of an answer.
    ///
    /// # Errors
    /// A [`ProtocolError`] that names the field.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProtocolError> {
        let mut fields = Fields::read(bytes, MAX_HEADER_BYTES)?;
        let status = match fields.take("status") {
            Some(Value::String(text)) => Status::parse(&text),
            _ => None,
        };
        let status = status.ok_or_else(|| field("status", "a status of this protocol"))?;
        let (oldest, newest) = (fields.number("oldest")?, fields.number("newest")?);
        let extent = match (fields.take("stream"), oldest, newest) {
            (Some(stream), Some(oldest), Some(newest)) => {
                Some(Extent { stream: stream_id(&stream)?, oldest, newest })
            }
            (None, None, None) => None,
            _ => return Err(field("stream", "there together with `oldest` and `newest`")),
        };
        let (count, next) = (fields.number("count")?.unwrap_or(0), fields.number("next")?);
        let gone = fields.take("gone").map_or_else(|| Ok(Vec::new()), |gone| ranges(&gone))?;
        fields.end()?;
        Ok(Self { status, extent, count, next, gone })
    }

    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut header =
            json!({"v": VERSION, "status": self.status.as_str(), "count": self.count, "next": self.next});
        if let Some(Extent { stream, oldest, newest }) = self.extent {
            header["stream"] = stream.to_string().into();
            header["oldest"] = oldest.into();
            header["newest"] = newest.into();
        }
        if !self.gone.is_empty() {
            header["gone"] = json!(self.gone);
        }
        header.to_string().into_bytes()
    }
}

impl Status {
    const ALL: [Self; 5] = [Self::BadRequest, Self::Busy, Self::Gone, Self::Ok, Self::UnknownStream];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::Busy => "busy",
            Self::Gone => "gone",
            Self::Ok => "ok",
            Self::UnknownStream => "unknown-stream",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// The fields of one object, of which each is taken once.
struct Fields(BTreeMap<String, Value>);

impl Fields {
    fn read(bytes: &[u8], limit: usize) -> Result<Self, ProtocolError> {
        if bytes.len() > limit {
            return Err(ProtocolError::TooLong { limit, found: bytes.len() });
        }
        let value = json::parse(json::text(bytes)?, Dialect::Strict, &JSON_LIMITS)?;
        let Value::Object(fields) = value else {
            return Err(ProtocolError::Json("another value".to_owned()));
        };
        let mut fields = Self(fields);
        if fields.number("v") != Ok(Some(VERSION)) {
            return Err(ProtocolError::Version);
        }
        Ok(fields)
    }

    /// `null` is as good as nothing.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| *value != Value::Null)
    }

    fn number(&mut self, name: &'static str) -> Result<Option<u64>, ProtocolError> {
        let value = self.take(name);
        value
            .map(|value| number(&value).ok_or_else(|| field(name, "a number from 0 to 2^64 - 1")))
            .transpose()
    }

    fn end(self) -> Result<(), ProtocolError> {
        self.0.into_keys().next().map_or(Ok(()), |name| {
            let short: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
            Err(ProtocolError::Unknown(short))
        })
    }
}

fn field(field: &'static str, expected: &'static str) -> ProtocolError {
    ProtocolError::Field { field, expected }
}

fn number(value: &Value) -> Option<u64> {
    let Value::Number(Number::Integer(digits)) = value else { return None };
    // `-0` is not a way to write 0.
    if digits.starts_with('-') { None } else { digits.parse().ok() }
}

fn seconds(value: &Value) -> Result<Timestamp, ProtocolError> {
    let wrong = || field("since", "whole seconds since 1970");
    let Value::Number(Number::Integer(digits)) = value else { return Err(wrong()) };
    let time = digits.parse().ok().and_then(|seconds| Timestamp::from_unix(seconds).ok());
    time.ok_or_else(wrong)
}

fn stream_id(value: &Value) -> Result<StreamId, ProtocolError> {
    let Value::String(text) = value else { return Err(field("stream", "32 lower-case hexadecimal digits")) };
    StreamId::parse(text).ok_or_else(|| field("stream", "32 lower-case hexadecimal digits"))
}

fn name(value: &Value) -> Result<MessageId, ProtocolError> {
    let Value::String(text) = value else { return Err(field("msg_id", "YYYY-<version 4 UUID>")) };
    MessageId::parse(text).ok_or_else(|| field("msg_id", "YYYY-<version 4 UUID>"))
}

fn ranges(value: &Value) -> Result<Vec<(u64, u64)>, ProtocolError> {
    let wrong = || field("gone", "at most 64 pairs of numbers, the smaller first");
    let Value::Array(ranges) = value else { return Err(wrong()) };
    if ranges.len() > MAX_GONE_RANGES {
        return Err(wrong());
    }
    let range = |range: &Value| {
        let Value::Array(ends) = range else { return None };
        let [from, to] = &ends[..] else { return None };
        number(from).zip(number(to)).filter(|(from, to)| from <= to)
    };
    ranges.iter().map(range).collect::<Option<_>>().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn what_is_no_request_is_refused_by_name() {
        for (text, expected) in [
            ("", "not a JSON object"),
            ("[]", "not a JSON object"),
            ("{\"v\":1,\"v\":1}", "stands twice"),
            ("{}", "`v` is not 1"),
            ("{\"v\":2}", "`v` is not 1"),
            ("{\"v\":1}", "expected one of"),
            ("{\"v\":1,\"since\":1,\"msg_id\":\"x\"}", "expected one of"),
            ("{\"v\":1,\"since\":\"1\"}", "`since` is not"),
            ("{\"v\":1,\"since\":1.5}", "`since` is not"),
            ("{\"v\":1,\"since\":99999999999999}", "`since` is not"),
            ("{\"v\":1,\"msg_id\":\"2026-x\"}", "`msg_id` is not"),
            ("{\"v\":1,\"stream\":\"S\"}", "expected one of"),
            ("{\"v\":1,\"stream\":\"AB\",\"from\":1}", "`stream` is not"),
            ("{\"v\":1,\"stream\":\"S\",\"from\":0}", "`to` is not"),
            ("{\"v\":1,\"stream\":\"S\",\"from\":5,\"to\":4}", "`to` is not"),
            ("{\"v\":1,\"stream\":\"S\",\"from\":-1}", "`from` is not"),
            ("{\"v\":1,\"stream\":\"S\",\"from\":18446744073709551616}", "`from` is not"),
            ("{\"v\":1,\"stream\":\"S\",\"from\":1,\"limit\":\"2\"}", "`limit` is not"),
            ("{\"v\":1,\"since\":1,\"until\":2}", "`until` is not known"),
            ("{\"v\":1,\"since\":1,\"from\":2}", "`from` is not known"),
            ("{\"v\":1,\"a\":[[[[1]]]]}", "levels"),
        ] {
            let error = Request::parse(text.replace("\"S\"", &format!("{STREAM:?}")).as_bytes()).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
        let long = format!("{{\"v\":1,\"since\":1{}}}", " ".repeat(MAX_REQUEST_BYTES));
        assert!(matches!(Request::parse(long.as_bytes()), Err(ProtocolError::TooLong { .. })));
    }

    #[test]
    fn what_is_no_header_is_refused_by_name() {
        for (text, expected) in [
            ("{\"v\":1}", "`status` is not"),
            ("{\"v\":1,\"status\":\"fine\"}", "`status` is not"),
            ("{\"v\":1,\"status\":\"ok\",\"oldest\":1}", "`stream` is not"),
            ("{\"v\":1,\"status\":\"ok\",\"count\":-1}", "`count` is not"),
            ("{\"v\":1,\"status\":\"ok\",\"gone\":[[1]]}", "`gone` is not"),
            ("{\"v\":1,\"status\":\"ok\",\"gone\":[[2,1]]}", "`gone` is not"),
            ("{\"v\":1,\"status\":\"ok\",\"more\":true}", "`more` is not known"),
        ] {
            let error = Header::parse(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
        let many = Header { gone: vec![(1, 2); MAX_GONE_RANGES + 1], ..Header::only(Status::Ok) };
        assert!(Header::parse(&many.to_bytes()).is_err());
        let null = Header::parse(b"{\"v\":1,\"status\":\"busy\",\"next\":null}");
        assert_eq!(null, Ok(Header::only(Status::Busy)));
    }

    fn question() -> impl Strategy<Value = Question> {
        let range = (any::<[u8; 16]>(), 1..=u64::MAX, any::<Option<u64>>());
        prop_oneof![
            (0..10_000_u16, any::<[u8; 16]>())
                .prop_map(|(year, id)| Question::MsgId(MessageId::new(year, id))),
            range.prop_map(|(stream, from, to)| Question::Range {
                stream: StreamId::new(stream),
                from,
                to: to.map(|to| to.max(from)),
            }),
            (-1_000_000_i64..10_000_000_000)
                .prop_map(|seconds| Question::Since(Timestamp::from_unix(seconds).unwrap())),
        ]
    }

    proptest! {
        #[test]
        fn requests_read_back(question in question(), limit in any::<Option<u64>>()) {
            let request = Request { question, limit };
            prop_assert_eq!(Request::parse(&request.to_bytes()), Ok(request));
        }

        #[test]
        fn headers_read_back(
            status in 0..5_usize,
            extent in any::<Option<([u8; 16], u64, u64)>>(),
            (count, next) in any::<(u64, Option<u64>)>(),
            gone in proptest::collection::vec(any::<(u64, u64)>(), 0..4),
        ) {
            let extent = extent.map(|(stream, oldest, newest)| Extent { stream: StreamId::new(stream), oldest, newest });
            let gone = gone.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
            let header = Header { status: Status::ALL[status], extent, count, next, gone };
            prop_assert_eq!(Header::parse(&header.to_bytes()), Ok(header));
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
            text in "\\{\"v\":1,[\"a-z0-9:,{}\\[\\]]{0,60}\\}",
        ) {
            for bytes in [&bytes[..], text.as_bytes()] {
                if let Ok(request) = Request::parse(bytes) {
                    prop_assert_eq!(Request::parse(&request.to_bytes()), Ok(request));
                }
                if let Ok(header) = Header::parse(bytes) {
                    prop_assert_eq!(Header::parse(&header.to_bytes()), Ok(header));
                }
            }
        }
    }
}
