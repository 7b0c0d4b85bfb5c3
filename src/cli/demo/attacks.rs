//! What an attacker would try, each the good message of a service but for one thing.

use super::super::CliError;
use super::world::{LIMITS, World};
use crate::message::{Draft, RawMessage};
use crate::sign::Signer;
use crate::time::{Clock, SystemClock, Timestamp};
use crate::topic::Topic;
use bytes::Bytes;

/// One attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attack {
    DuplicateKey,
    Expired,
    Future,
    Garbage,
    Legacy,
    NoSignature,
    Old,
    OneFrame,
    OtherAuthority,
    Oversized,
    Proof,
    Relabelled,
    Replayed,
    Republished,
    Revoked,
    Staging,
    TamperedBody,
    TamperedTopic,
    ThreeFrames,
    TopicNotAllowed,
    Truncated,
}

impl Attack {
    /// In the order in which they are tried.
    pub(super) const ALL: &'static [Self] = &[
        Self::TamperedBody,
        Self::TamperedTopic,
        Self::Relabelled,
        Self::Proof,
        Self::NoSignature,
        Self::OtherAuthority,
        Self::Expired,
        Self::Revoked,
        Self::TopicNotAllowed,
        Self::Staging,
        Self::Replayed,
        Self::Republished,
        Self::Old,
        Self::Future,
        Self::DuplicateKey,
        Self::Truncated,
        Self::Oversized,
        Self::Garbage,
        Self::OneFrame,
        Self::ThreeFrames,
        Self::Legacy,
    ];

    /// What is done, in words.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DuplicateKey => "a key that stands twice",
            Self::Expired => "an expired certificate",
            Self::Future => "a message from the future",
            Self::Garbage => "garbage",
            Self::Legacy => "a message in the old format",
            Self::NoSignature => "no signature",
            Self::Old => "a message of an hour ago",
            Self::OneFrame => "one frame",
            Self::OtherAuthority => "another authority's certificate",
            Self::Oversized => "an oversized body",
            Self::Proof => "another message's proof",
            Self::Relabelled => "a re-labelled frame",
            Self::Replayed => "a replayed message",
            Self::Republished => "the same msg_id signed again",
            Self::Revoked => "a revoked certificate",
            Self::Staging => "another environment's certificate",
            Self::TamperedBody => "a tampered body",
            Self::TamperedTopic => "a tampered topic",
            Self::ThreeFrames => "three frames",
            Self::TopicNotAllowed => "a topic of another service",
            Self::Truncated => "a truncated body",
        }
    }

    /// The code of the refusal that fits it.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::DuplicateKey => "json-duplicate-key",
            Self::Expired => "certificate-expired",
            Self::Future => "from-the-future",
            Self::Garbage => "json-not-utf8",
            Self::Legacy => "legacy-not-accepted",
            Self::NoSignature => "proof-missing",
            Self::Old => "too-old",
            Self::OneFrame | Self::ThreeFrames => "frame-count",
            Self::OtherAuthority => "certificate-unknown-issuer",
            Self::Oversized => "body-too-large",
            Self::Proof | Self::TamperedBody | Self::TamperedTopic => "signature-invalid",
            Self::Relabelled => "topic-mismatch",
            Self::Replayed => "replayed-seq",
            Self::Republished => "replayed-msg-id",
            Self::Revoked => "certificate-revoked",
            Self::Staging => "policy-denied",
            Self::TopicNotAllowed => "policy-unlisted",
            Self::Truncated => "json-malformed",
        }
    }

    /// The messages to send, in order; the last is the bad one.
    pub(super) fn frames(self, world: &mut World) -> Result<Vec<RawMessage>, CliError> {
        let now = SystemClock.now();
        let topic = world.victim_topic.clone();
        let good = |world: &mut World| signed(world, |w| &w.victim, &topic, now);
        let one = |raw: RawMessage| Ok(vec![raw]);
        match self {
            Self::TamperedBody => one(edit(good(world)?, |body| body.replace("\"karma\":1", "\"karma\":9"))),
            Self::TamperedTopic => {
                let (old, new) = (topic.to_string(), world.other_topic.to_string());
                let raw = edit(good(world)?, |body| body.replace(&old, &new));
                one(RawMessage::new(new, raw.parts.last().cloned().unwrap_or_default()))
            }
            Self::Relabelled => {
                let body = good(world)?.parts.last().cloned().unwrap_or_default();
                one(RawMessage::new(world.other_topic.to_string(), body))
            }
            Self::Proof => {
                let (first, second) = (body_of(&good(world)?), body_of(&good(world)?));
                let (head, _) = cut(&first);
                let (_, proof) = cut(&second);
                one(RawMessage::new(topic.to_string(), format!("{head}{proof}")))
            }
            Self::NoSignature => one(edit(good(world)?, |body| format!("{}}}", cut(body).0))),
            Self::OtherAuthority => one(signed(world, |w| &w.impostor, &topic, now)?),
            Self::Expired => one(signed(world, |w| &w.expired, &topic, now)?),
            Self::Revoked => one(signed(world, |w| &w.revoked, &topic, now)?),
            Self::Staging => one(signed(world, |w| &w.staging, &topic, now)?),
            Self::TopicNotAllowed => {
                let other = world.other_topic.clone();
                one(signed(world, |w| &w.victim, &other, now)?)
            }
            Self::Old => one(signed(world, |w| &w.victim, &topic, now.plus_seconds(-3600))?),
            Self::Future => one(signed(world, |w| &w.victim, &topic, now.plus_seconds(3600))?),
            Self::Replayed => {
                let raw = good(world)?;
                world.expect_deliveries(1);
                Ok(vec![raw.clone(), raw])
            }
            Self::Republished => republished(world, &topic, now),
            Self::DuplicateKey => one(edit(good(world)?, |body| body.replacen('{', "{\"i\":0,", 1))),
            Self::Truncated => one(edit(good(world)?, |body| body[..body.len() / 2].to_owned())),
            Self::Oversized => {
                let msg = format!("\"{}\"", "x".repeat(LIMITS.body_bytes));
                one(sealed_and_signed(world, |w| &w.unlimited, &topic, now, &msg)?)
            }
            Self::Garbage => {
                let noise: Vec<u8> = (0..=255).rev().cycle().take(2048).collect();
                one(RawMessage::new(topic.to_string(), noise))
            }
            Self::OneFrame => one(RawMessage { parts: vec![Bytes::from(topic.to_string())] }),
            Self::ThreeFrames => {
                let mut raw = good(world)?;
                raw.parts.push(Bytes::from_static(b"more"));
                one(raw)
            }
            Self::Legacy => one(edit(good(world)?, |body| {
                format!(
                    "{},\"crypto\":\"x509\",\"certificate\":\"QQ==\",\"signature\":\"QQ==\"}}",
                    cut(body).0
                )
            })),
        }
    }
}

/// Two messages of one name, each signed, with the next number each.
fn republished(world: &mut World, topic: &Topic, now: Timestamp) -> Result<Vec<RawMessage>, CliError> {
    let first = world.stamp(now)?;
    let mut second = world.stamp(now)?;
    second.msg_id = first.msg_id.clone();
    let mut raws = Vec::new();
    for stamp in [first, second] {
        let draft = Draft::from_json(topic.clone(), "{}", &LIMITS)?;
        raws.push(world.victim.sign(draft.seal(&stamp))?.into_raw());
    }
    world.expect_deliveries(1);
    Ok(raws)
}

fn signed(
    world: &mut World,
    by: fn(&World) -> &Signer,
    topic: &Topic,
    at: Timestamp,
) -> Result<RawMessage, CliError> {
    let msg = r#"{"update":"EXAMPLE-2026-3f9a1c","author":"tomasz","karma":1}"#;
    sealed_and_signed(world, by, topic, at, msg)
}

fn sealed_and_signed(
    world: &mut World,
    by: fn(&World) -> &Signer,
    topic: &Topic,
    at: Timestamp,
    msg: &str,
) -> Result<RawMessage, CliError> {
    let stamp = world.stamp(at)?;
    let draft = Draft::from_json(topic.clone(), msg, &LIMITS)?;
    Ok(by(world).sign(draft.seal(&stamp))?.into_raw())
}

fn body_of(raw: &RawMessage) -> String {
    raw.parts.last().map(|body| String::from_utf8_lossy(body).into_owned()).unwrap_or_default()
}

/// The body's text changed, the topic's frame as it was.
fn edit(raw: RawMessage, change: impl FnOnce(&str) -> String) -> RawMessage {
    let body = change(&body_of(&raw));
    RawMessage::new(raw.parts.into_iter().next().unwrap_or_default(), body)
}

/// The part of a body before its proof, and the proof with what surrounds it.
fn cut(body: &str) -> (&str, &str) {
    body.split_at(body.rfind(",\"proof\":\"").unwrap_or(body.len()))
}
