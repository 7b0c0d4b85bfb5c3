//! What an outbox has to say to a question.

use super::protocol::{Extent, Header, Question, Request, Status};
use crate::store::outbox::{self, Kept, Most, OutboxError, OutboxReader, Slice};

/// The answer to a request: no more than `most`, and where to go on.
///
/// # Errors
/// [`OutboxError`], if the outbox cannot be read now.
pub fn answer(
    reader: &dyn OutboxReader,
    request: &Request,
    most: Most,
) -> Result<(Header, Vec<Kept>), OutboxError> {
    let asked = request.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let most = Most { messages: most.messages.min(asked.max(1)), ..most };
    match &request.question {
        Question::MsgId(msg_id) => {
            let (found, extent) = (reader.by_msg_id(msg_id)?, reader.extent()?);
            let messages: Vec<Kept> = found.into_iter().collect();
            Ok((header(extent, &messages, None, Vec::new()), messages))
        }
        Question::Range { stream, from, to } => {
            let Some(slice) = reader.range(*stream, *from, to.unwrap_or(u64::MAX), most)? else {
                let extent = Some(extent(reader.extent()?));
                return Ok((Header { extent, ..Header::only(Status::UnknownStream) }, Vec::new()));
            };
            Ok(sliced(slice))
        }
        Question::Since(time) => Ok(sliced(reader.since(*time, most)?)),
    }
}

fn sliced(slice: Slice) -> (Header, Vec<Kept>) {
    let gone: Vec<(u64, u64)> = slice.gone.iter().map(|gone| (*gone.start(), *gone.end())).collect();
    let mut header = header(slice.extent, &slice.messages, slice.next, gone);
    if slice.messages.is_empty() && !header.gone.is_empty() {
        header.status = Status::Gone;
    }
    (header, slice.messages)
}

fn header(extent_now: outbox::Extent, messages: &[Kept], next: Option<u64>, gone: Vec<(u64, u64)>) -> Header {
    let count = u64::try_from(messages.len()).unwrap_or(u64::MAX);
    Header { status: Status::Ok, extent: Some(extent(extent_now)), count, next, gone }
}

fn extent(extent: outbox::Extent) -> Extent {
    let outbox::Extent { stream, oldest, newest } = extent;
    Extent { stream, oldest, newest }
}
