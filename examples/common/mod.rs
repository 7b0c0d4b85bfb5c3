//! What the two stories share: a bus in this process, with an authority whose keys live as long as it does.

use fedmsg::bus::transport::{LinkState, PublishSocket, Transport};
use fedmsg::bus::zmtp::{self, Zmtp};
use fedmsg::bus::{Publisher, Subscriber, Subscription};
use fedmsg::development::Development;
use fedmsg::freshness::Window;
use fedmsg::limits::Limits;
use fedmsg::policy::Policy;
use fedmsg::time::{Clock, SystemClock};
use fedmsg::topic::TopicPattern;
use fedmsg::verify::{Legacy, Verifier};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

const LIMITS: Limits = Limits::STANDARD;

/// Every service has its own topics, and no others.
const POLICY: &str = r#"
version = 1
serial = 1

[[rule]]
id = "own-topics"
effect = "allow"
topics = ["org.example.{env}.{service}.#"]
publishers = ["spiffe://example.org/prod/*/*"]
"#;

/// A publisher of `service`, and a subscriber to `pattern` that is connected to it.
pub(crate) async fn bus(service: &str, pattern: &str) -> Result<(Publisher, Subscriber), Box<dyn Error>> {
    let development = Development::new("example.org", SystemClock.now())?;
    let policy = Arc::new(Policy::parse(POLICY, "policy.toml", &LIMITS)?);
    let transport = Zmtp::new(zmtp::Limits::STANDARD);

    let socket: Box<dyn PublishSocket> = transport.bind(&["tcp://127.0.0.1:0".parse()?]).await?;
    let endpoint = socket.endpoint().clone();
    let signer = development.signer("prod", service, "app01")?;
    let prefix = format!("org.example.prod.{service}");
    let publisher = Publisher::builder(signer, prefix, LIMITS)
        .policy(Arc::clone(&policy))
        .subscriber_wait(Duration::from_secs(5))
        .start(socket)?;

    let subscription = Subscription::new([TopicPattern::parse_plain(pattern, &LIMITS)?]);
    let socket = transport.connect(&[endpoint], subscription.prefixes()).await?;
    let verifier = Verifier::new(Arc::new(development.trust()?), policy, Legacy::Refused, LIMITS);
    let subscriber = Subscriber::new(socket, subscription, Arc::new(verifier), Window::STANDARD);
    subscriber.links().wait_for(|links| links.iter().all(|link| link.state == LinkState::Connected)).await?;
    Ok((publisher, subscriber))
}
