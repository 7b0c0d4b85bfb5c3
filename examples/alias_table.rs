//! The proposal's first story. A developer changes his address in the package database; the package database announces
//! it; the build system, which keeps a table of mail aliases, follows, and nobody had to tell it.
//!
//! `cargo run --example alias_table`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod common;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the package database says when an address changes.
#[derive(Debug, Serialize, Deserialize)]
struct AddressChange {
    user: String,
    old: String,
    new: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (pkgdb, mut koji) = common::bus("pkgdb", "org.example.prod.pkgdb.address.change").await?;

    // Koji's table, as it was this morning.
    let mut aliases =
        BTreeMap::from([("python-requests-owner".to_owned(), "lena@old.example.org".to_owned())]);
    println!("koji: before: {aliases:?}");

    let (user, old, new) = ("lena", "lena@old.example.org", "lena@new.example.org");
    let change = AddressChange { user: user.into(), old: old.into(), new: new.into() };
    pkgdb.publish("address.change", &change).await?;

    // What arrives here was signed by a package database of this infrastructure, which may announce addresses, just now.
    let delivery = koji.next().await?;
    let change: AddressChange = delivery.message().decode()?;
    for address in aliases.values_mut().filter(|address| **address == change.old) {
        *address = change.new.clone();
    }
    println!("koji: {} says that {} has moved", delivery.message().signer(), change.user);
    println!("koji: after: {aliases:?}");
    pkgdb.close().await?;
    Ok(())
}
