//! Shows the next message on the bus that `fedmsg init DIR` made: `cargo run --example consume -- DIR`.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: consume DIR")?;
    let config = fedmsg::Config::open(directory)?;
    let mut subscriber = fedmsg::Subscriber::open(&config, &["#"]).await?;
    let delivery = subscriber.next().await?;
    let message = delivery.message();
    println!("{} by {}: {}", message.topic(), message.signer(), message.msg());
    Ok(())
}
