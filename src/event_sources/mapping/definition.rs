//! Which mappings there are, and what each is to do.

use std::collections::BTreeMap;

use crate::event_sources::Surroundings;
use crate::store::{StoreError, declared_uuid};
use crate::trigger::{Kind, Mapping, SourceArn};

/// A mapping that is to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    pub uuid: String,
    /// Another with every change that the Lambda API was told.
    pub revision: i64,
    /// `NAME` or `NAME:QUALIFIER`.
    pub function: String,
    pub function_arn: String,
    pub source: SourceArn,
    pub mapping: Mapping,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    Running(Box<Definition>),
    Disabled,
    Deleted,
}

impl Wanted {
    pub fn runs(&self, definition: &Definition) -> bool {
        matches!(self, Self::Running(wanted) if **wanted == *definition)
    }
}

/// All of them, by UUID.
pub async fn all(surroundings: &Surroundings) -> Result<BTreeMap<String, Wanted>, StoreError> {
    let mut all = BTreeMap::new();
    for kept in surroundings.invoker.store().mappings().await? {
        let wanted = match (kept.deleted, kept.enabled) {
            (true, _) => Wanted::Deleted,
            (false, false) => Wanted::Disabled,
            (false, true) => {
                let mapping = Mapping::from_properties(&kept.properties);
                match define(&kept.uuid, kept.modified, kept.function, kept.function_arn, mapping.ok()) {
                    Some(definition) => Wanted::Running(Box::new(definition)),
                    // It was checked when it was made.
                    None => {
                        tracing::error!(
                            "the event source mapping {} cannot be read; it does not run",
                            kept.uuid
                        );
                        Wanted::Disabled
                    }
                }
            }
        };
        all.insert(kept.uuid, wanted);
    }
    let account = surroundings.invoker.account();
    let deployment = surroundings.deployment.borrow().clone();
    for trigger in deployment.attached.values().flat_map(|attached| &attached.triggers) {
        let Kind::Mapping(mapping) = &trigger.kind else { continue };
        let uuid = declared_uuid(trigger);
        let region = SourceArn::parse(&mapping.source_arn).map(|source| source.region);
        let region = region.unwrap_or_else(|| account.region.clone());
        let arn = account.function_arn(&region, &trigger.function);
        let definition = define(&uuid, 0, trigger.function.clone(), arn, Some((**mapping).clone()));
        let wanted = match definition {
            Some(definition) if trigger.enabled => Wanted::Running(Box::new(definition)),
            _ => Wanted::Disabled,
        };
        all.insert(uuid, wanted);
    }
    Ok(all)
}

fn define(
    uuid: &str,
    revision: i64,
    function: String,
    function_arn: String,
    mapping: Option<Mapping>,
) -> Option<Definition> {
    let mapping = mapping?;
    let source = SourceArn::parse(&mapping.source_arn)?;
    Some(Definition { uuid: uuid.to_owned(), revision, function, function_arn, source, mapping })
}
