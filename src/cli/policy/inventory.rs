//! What the authority issued, where it is at hand.

use crate::cli::{CliError, Global};
use crate::identity::Identity;
use crate::pki::profile::Profiles;
use crate::policy::lint::{Inventory, Issued};
use crate::store::authority::{AuthorityStore, AuthorityStoreError, State};
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct FromAuthority {
    /// The authority's directory, which knows who was issued a certificate. (Default: the configuration's `pki`, if
    /// there is an authority in it.)
    #[arg(long, value_name = "DIR")]
    authority: Option<PathBuf>,
}

impl FromAuthority {
    /// The inventory as of `at`. None, if no authority was named and the configuration has none.
    pub(super) fn read(&self, global: &Global, at: Timestamp) -> Result<Option<Inventory>, CliError> {
        // Only what was issued is read, so that the profiles do not matter: the built-in ones do.
        let profiles = Profiles::built_in()?;
        match (&self.authority, &global.config) {
            (Some(directory), _) => {
                let error = |e| CliError::from(e).hint("`fedmsg ca init` makes an authority");
                let store = AuthorityStore::open(directory, profiles).map_err(error)?;
                Ok(Some(inventory(&store, at)?))
            }
            (None, Some(config)) => match AuthorityStore::open(&config.join("pki"), profiles) {
                Ok(store) => Ok(Some(inventory(&store, at)?)),
                Err(AuthorityStoreError::Missing { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            },
            (None, None) => Ok(None),
        }
    }
}

fn inventory(store: &AuthorityStore, at: Timestamp) -> Result<Inventory, CliError> {
    let mut issued: BTreeMap<Identity, Issued> = BTreeMap::new();
    for entry in store.entries()? {
        let state = match entry.state(at) {
            State::Expired => Issued::Expired,
            State::Revoked => Issued::Revoked,
            State::Expiring | State::Valid => Issued::Valid,
        };
        if let Some(identity) = entry.identity {
            let best = issued.entry(Identity::Spiffe(identity)).or_insert(state);
            *best = state.max(*best);
        }
    }
    Ok(Inventory { trust_domain: store.trust_domain().to_owned(), issued: issued.into_iter().collect() })
}
