//! How many environments are to be kept ready, by version or alias. Who keeps them is the invoker.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{PROVISIONED, Published, document};
use crate::function::{Function, Version};
use crate::store::StoreError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provision {
    pub requested: u32,
    pub modified_ms: u64,
}

impl Provision {
    pub(super) fn read(document: &Value) -> Option<Self> {
        let requested = u32::try_from(document["Requested"].as_u64()?).ok()?;
        Some(Self { requested, modified_ms: document["ModifiedMs"].as_u64()? })
    }
}

impl Published {
    /// By qualifier.
    pub fn provisions(&self, function: &str) -> BTreeMap<String, Provision> {
        self.of(function).map(|of| of.provisioned.clone()).unwrap_or_default()
    }

    pub async fn provision(
        &self,
        function: &str,
        qualifier: &str,
        requested: u32,
    ) -> Result<Provision, StoreError> {
        let changing = self.change().await;
        let modified_ms = document::milliseconds(std::time::SystemTime::now());
        let provision = Provision { requested, modified_ms };
        let kept = json!({"Requested": requested, "ModifiedMs": modified_ms});
        changing.put(PROVISIONED, function, qualifier, kept).await?;
        changing.update_function(function, |of| of.provisioned.insert(qualifier.to_owned(), provision));
        Ok(provision)
    }

    /// `false`: there was none.
    pub async fn unprovision(&self, function: &str, qualifier: &str) -> Result<bool, StoreError> {
        let changing = self.change().await;
        let existed = changing.delete(PROVISIONED, function, qualifier).await?;
        changing.update_function(function, |of| of.provisioned.remove(qualifier));
        Ok(existed)
    }

    /// All versions, with how many environments each is to have: aliases follow theirs, and what is
    /// asked of one that leads to two is shared out by weight.
    pub fn wanted(&self) -> Vec<(Arc<Function>, u32)> {
        let snapshot = self.0.snapshot.load();
        let mut wanted = Vec::new();
        for of in snapshot.functions.values() {
            let mut shares: BTreeMap<u64, u32> = BTreeMap::new();
            for (qualifier, provision) in &of.provisioned {
                for (version, share) in shares_of(of, qualifier, provision.requested) {
                    *shares.entry(version).or_default() += share;
                }
            }
            for (number, kept) in &of.versions {
                wanted.push((kept.function.clone(), shares.get(number).copied().unwrap_or(0)));
            }
        }
        wanted
    }

    /// Which versions a qualifier's environments are of.
    pub fn shares(&self, function: &str, qualifier: &str, requested: u32) -> Vec<(u64, u32)> {
        self.of(function).map(|of| shares_of(&of, qualifier, requested)).unwrap_or_default()
    }
}

fn shares_of(of: &super::Of, qualifier: &str, requested: u32) -> Vec<(u64, u32)> {
    let alias = match of.aliases.get(qualifier) {
        Some(alias) => alias,
        None => return qualifier.parse().map(|number| vec![(number, requested)]).unwrap_or_default(),
    };
    let Version::Number(first) = alias.version else { return Vec::new() };
    match alias.weight {
        None => vec![(first, requested)],
        Some(weight) => {
            let second = (f64::from(requested) * weight.share).round() as u32;
            let second = second.min(requested);
            vec![(first, requested - second), (weight.version, second)]
        }
    }
}
