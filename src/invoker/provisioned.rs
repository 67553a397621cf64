//! Keeps the environments that were asked for ahead of demand: whenever something is published,
//! deployed or asked for, the pool learns what is wanted now. Of a version that is published, a snapshot
//! is taken at once, if it is to have one (SnapStart).

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::watch;

use super::Invoker;
use crate::deployment::Deployment;
use crate::execution_environment::Provisioned;
use crate::function::{Function, FunctionName, Version};

impl Invoker {
    /// Runs as long as the gateway.
    pub async fn keep_provisioned(self, mut deployment: watch::Receiver<Arc<Deployment>>) {
        let mut changes = self.published().changes();
        // What was published before this start gets its snapshots when it is asked for.
        let mut known: HashSet<(FunctionName, Version)> = HashSet::new();
        for (function, _) in self.published().wanted() {
            known.insert((function.name.clone(), function.version));
        }
        loop {
            self.provision();
            self.take_snapshots(&mut known);
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                changed = deployment.changed() => if changed.is_err() { return },
            }
        }
    }

    /// What is published of a function that is not deployed is out of reach.
    fn provision(&self) {
        let current = self.deployments().current();
        let mut wanted = self.published().wanted();
        wanted.retain(|(function, _)| current.functions.contains_key(function.name.as_str()));
        self.environments().provision(&wanted);
    }

    fn take_snapshots(&self, known: &mut HashSet<(FunctionName, Version)>) {
        let versions: Vec<Arc<Function>> =
            self.published().wanted().into_iter().map(|(function, _)| function).collect();
        let names: HashSet<_> =
            versions.iter().map(|version| (version.name.clone(), version.version)).collect();
        let former = std::mem::replace(known, names);
        for version in versions {
            let is_new = !former.contains(&(version.name.clone(), version.version));
            if is_new {
                self.take_snapshot(&version);
            }
        }
    }

    /// Begins to take the snapshot of a version that has just been published, if it is to have one and
    /// nobody has begun.
    pub fn take_snapshot(&self, version: &Arc<Function>) {
        if self.environments().begin_snapshot(version) {
            let (invoker, version) = (self.clone(), version.clone());
            tokio::spawn(async move {
                let taken = invoker.environments().take_snapshot(&version).await;
                let _ = invoker.judged(&version, taken);
            });
        }
    }

    /// What there is of what was asked for under a qualifier, all versions together that it leads to.
    pub fn provisioned(&self, function: &str, qualifier: &str, requested: u32) -> Provisioned {
        let mut all = Provisioned::default();
        for (number, share) in self.published().shares(function, qualifier, requested) {
            let version: Option<Arc<Function>> = self.published().version(function, number);
            let found = version.map(|version| self.environments().provisioned(&version)).unwrap_or_default();
            all.allocated += found.allocated.min(share as usize);
            all.ready += found.ready.min(share as usize);
            all.failure = all.failure.or(found.failure);
        }
        all
    }
}
