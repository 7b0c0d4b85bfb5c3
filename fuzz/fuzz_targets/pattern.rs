//! A pattern and a topic, on two lines: a pattern is refused or written as it was read; what it selects begins with its
//! literal prefix.
#![no_main]

use fedmsg::limits::Limits;
use fedmsg::topic::{Topic, TopicPattern};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (text, topic) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(pattern) = TopicPattern::parse(text, &Limits::STANDARD) else { return };
    assert_eq!(pattern.to_string(), text);
    if let Ok(topic) = Topic::parse(topic, &Limits::STANDARD) {
        assert!(!pattern.matches_plain(&topic) || topic.as_str().starts_with(&pattern.literal_prefix()));
    }
});
