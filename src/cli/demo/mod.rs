//! `fedmsg demo`: the main job, on real sockets, with every forgery tried.

mod attacks;
mod report;
mod traffic;
mod world;

use super::output::Output;
use super::{CliError, Global, Outcome, runtime};
use attacks::Attack;
use report::Report;
use std::path::PathBuf;
use traffic::{Message, Traffic};
use world::{Heard, World};

/// See it work: services get certificates, publish and are verified, and every forgery is refused for its own reason.
///
/// In a temporary directory it makes an authority and a certificate for each service, starts the publishers and a consumer over
/// real TCP sockets on loopback, publishes, and then tries what an attacker would. Exit 0 only if every good message
/// arrived and every bad one was refused for its own reason.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Publish these messages (JSON lines with `topic` and `msg`), rather than the built-in ones.
    #[arg(long, value_name = "FILE")]
    messages: Option<PathBuf>,
}

pub(super) fn run(args: Args, _global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let traffic = match &args.messages {
        None => Traffic::built_in()?,
        Some(path) => Traffic::read(path)?,
    };
    let mut report = Report::new(out);
    runtime()?.block_on(demonstrate(&traffic, &mut report))?;
    Ok(if report.finish()? { Outcome::Yes } else { Outcome::No })
}

async fn demonstrate(traffic: &Traffic, report: &mut Report<'_>) -> Result<(), CliError> {
    let mut world = World::start(traffic).await?;
    report.started(&world, traffic)?;
    for message in &traffic.messages {
        publish(&mut world, message, report).await?;
    }
    report.attacks_begin()?;
    for attack in Attack::ALL {
        for raw in attack.frames(&mut world)? {
            world.send(raw).await?;
        }
        let mut heard = world.hear().await;
        // The good message that an attack begins with, such as the first of two equal ones.
        while matches!(heard, Heard::Delivered { .. }) && world.take_expected_delivery() {
            heard = world.hear().await;
        }
        report.attacked(*attack, &heard)?;
    }
    // The consumer has not suffered.
    report.afterwards()?;
    for message in traffic.messages.iter().take(1) {
        publish(&mut world, message, report).await?;
    }
    world.stop().await
}

async fn publish(world: &mut World, message: &Message, report: &mut Report<'_>) -> Result<(), CliError> {
    let published = world.publish(message).await?;
    let heard = world.hear().await;
    let name = published.msg_id.to_string();
    let arrived = matches!(&heard, Heard::Delivered { msg_id, .. } if *msg_id == name);
    report.published(&published, &heard, arrived)
}
