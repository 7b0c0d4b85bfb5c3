//! A topic and a name were read by their own rules, and by nothing else.

use fedmsg::identity::CommonName;
use fedmsg::topic::{Topic, TopicPattern};

fn topic() -> Topic {
    Topic("a..b".into())
}

fn name() -> CommonName {
    CommonName("a b".into())
}

fn from_text() -> Topic {
    Topic::from("a..b")
}

fn from_pattern(pattern: TopicPattern) -> Topic {
    pattern
}

fn main() {}
