//! Publishes one message on the bus that `fedmsg init DIR` made: `cargo run --example publish -- DIR`.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: publish DIR")?;
    let config = fedmsg::Config::open(directory)?;
    let publisher = fedmsg::Publisher::open(&config, "shell").await?;
    let published = publisher.publish("log.message", &json!({"hello": "bus"})).await?;
    println!("{} {}", published.topic, published.msg_id);
    publisher.close().await?;
    Ok(())
}
