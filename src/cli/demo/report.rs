//! What the demo shows: a line a message, a table of the attacks, the counts.

use super::super::CliError;
use super::super::output::{BAD, DIM, GOOD, Output, STRONG};
use super::attacks::Attack;
use super::traffic::Traffic;
use super::world::{Heard, World};
use crate::bus::Published;
use serde_json::json;
use std::time::Instant;

/// Counts what happened and shows it.
pub(super) struct Report<'a> {
    out: &'a mut Output,
    begun: Instant,
    published: usize,
    delivered: usize,
    attacks: usize,
    refused: usize,
}

impl<'a> Report<'a> {
    pub(super) fn new(out: &'a mut Output) -> Self {
        Self { out, begun: Instant::now(), published: 0, delivered: 0, attacks: 0, refused: 0 }
    }

    pub(super) fn started(&mut self, world: &World, traffic: &Traffic) -> Result<(), CliError> {
        if self.out.is_json() {
            return Ok(());
        }
        let (services, endpoints) = (traffic.services.len(), world.endpoints());
        self.out.line(format_args!(
            "{STRONG}An authority{STRONG:#} in {}: a root, an issuing authority, {} certificates, one of them revoked.",
            world.authority_directory, world.certificates
        ))?;
        self.out.line(format_args!(
            "{STRONG}A bus{STRONG:#} on loopback: {services} services publish, one consumer listens to {endpoints} \
             endpoints; one of these is the attacker's.\n"
        ))?;
        self.out.line(format_args!("{STRONG}Services publish{STRONG:#}"))?;
        Ok(())
    }

    pub(super) fn published(
        &mut self,
        published: &Published,
        heard: &Heard,
        arrived: bool,
    ) -> Result<(), CliError> {
        self.published += 1;
        self.delivered += usize::from(arrived);
        let (verdict, detail) = match heard {
            Heard::Delivered { signer, .. } => ("verified", signer.clone()),
            Heard::Nothing => ("lost", String::new()),
            Heard::Refused { code, detail } => ("rejected", format!("{code}: {detail}")),
        };
        let topic = &published.topic;
        if self.out.is_json() {
            let msg_id = published.msg_id.to_string();
            return Ok(self.out.object(&json!({
                "published": topic.as_str(), "msg_id": msg_id, "verdict": verdict, "detail": detail, "arrived": arrived,
            }))?);
        }
        let mark = if arrived { format!("{GOOD}✓{GOOD:#}") } else { format!("{BAD}✗{BAD:#}") };
        Ok(self
            .out
            .line(format_args!("  {mark} {:<46} {DIM}{verdict}, {detail}{DIM:#}", topic.to_string()))?)
    }

    pub(super) fn attacks_begin(&mut self) -> Result<(), CliError> {
        if self.out.is_json() {
            return Ok(());
        }
        self.out.line(format_args!(
            "\n{STRONG}  {:<38} {:<30} {}{STRONG:#}",
            "An attacker sends", "refused because", "delivered?"
        ))?;
        Ok(())
    }

    pub(super) fn afterwards(&mut self) -> Result<(), CliError> {
        if !self.out.is_json() {
            self.out.line(format_args!("\n{STRONG}The bus goes on{STRONG:#}"))?;
        }
        Ok(())
    }

    pub(super) fn attacked(&mut self, attack: Attack, heard: &Heard) -> Result<(), CliError> {
        let (found, detail, delivered) = match heard {
            Heard::Delivered { topic, .. } => ("-", format!("delivered on {topic}"), true),
            Heard::Nothing => ("-", "nothing was heard".to_owned(), false),
            Heard::Refused { code, detail } => (*code, detail.clone(), false),
        };
        let right = found == attack.expected();
        self.attacks += 1;
        self.refused += usize::from(right);
        if self.out.is_json() {
            return Ok(self.out.object(&json!({
                "attack": attack.name(), "reason": found, "expected": attack.expected(), "detail": detail,
                "delivered": delivered, "ok": right,
            }))?);
        }
        let mark = if right { format!("{GOOD}✓{GOOD:#}") } else { format!("{BAD}✗{BAD:#}") };
        let answer = if delivered { format!("{BAD}DELIVERED{BAD:#}") } else { "no".to_owned() };
        self.out.line(format_args!("  {mark} {:<36} {found:<30} {answer}", attack.name()))?;
        if right {
            self.out.detail(format_args!("    {DIM}{}{DIM:#}", shorten(&detail)));
        } else {
            let expected = attack.expected();
            self.out.line(format_args!("    {BAD}expected {expected}: {}{BAD:#}", shorten(&detail)))?;
        }
        Ok(())
    }

    /// Shows the counts and says whether all is as it should be.
    pub(super) fn finish(self) -> Result<bool, CliError> {
        let Self { out, begun, published, delivered, attacks, refused } = self;
        let ok = published == delivered && attacks == refused;
        let seconds = begun.elapsed().as_secs_f64();
        if out.is_json() {
            out.object(&json!({
                "published": published, "delivered": delivered, "attacks": attacks, "refused": refused, "ok": ok,
                "seconds": seconds,
            }))?;
            return Ok(ok);
        }
        let colour = if ok { GOOD } else { BAD };
        out.line(format_args!(
            "\n{colour}{delivered} of {published} good messages delivered, {refused} of {attacks} bad ones refused for \
             their own reason{colour:#} {DIM}in {seconds:.1} s{DIM:#}"
        ))?;
        Ok(ok)
    }
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(140).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
