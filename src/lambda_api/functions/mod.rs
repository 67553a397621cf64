//! `/2015-03-31/functions...`: functions made, described, changed and deleted.
//!
//! - `create`, `update_code`, `update_configuration`, `delete`, `read`, `list`: an operation each.
//! - `describe`: a FunctionConfiguration.
//! - `properties`: what the operations say -> properties of `function.yaml`.
//! - `validation`: what AWS refuses, in its words.
//! - `code`: what was sent as code, or is fetched from a bucket.
//! - `uploads`: what zip file a folder's content came from.
//! - `progress`: `Pending`, `InProgress`, and what becomes of it.

mod code;
mod create;
mod delete;
mod describe;
mod list;
mod progress;
mod properties;
mod read;
mod update_code;
mod update_configuration;
mod uploads;
mod validation;

use std::sync::Arc;

use super::LambdaApi;
use super::error::ApiError;
use super::name::Named;
use super::request::{self, conflict};
use crate::archive::ArchiveError;
use crate::control_plane::Routes;
use crate::control_plane::Scope::{Deploy, Open, Read};
use crate::deployment::EditError;
use crate::function::Function;
use crate::published::PublishError;

pub use code::fetch;
pub use describe::{describe, runtime_version_arn};
pub use progress::Progress;
pub use read::Links;
pub use uploads::Uploads;

/// How often a function that changes while it is copied is published again.
const TRIES: usize = 5;

pub fn routes() -> Routes<LambdaApi> {
    Routes::new()
        .at("/2015-03-31/functions")
        .get(Read, list::list)
        .post(Deploy, create::create)
        .at("/2015-03-31/functions/")
        .get(Read, list::list)
        .post(Deploy, create::create)
        .at("/2015-03-31/functions/{name}")
        .get(Read, read::get)
        .delete(Deploy, delete::delete)
        .at("/2015-03-31/functions/{name}/configuration")
        .get(Read, read::configuration)
        .put(Deploy, update_configuration::update)
        .at("/2015-03-31/functions/{name}/code")
        .put(Deploy, update_code::update)
        // The link is signed.
        .at("/_handlerd/code/{name}/{version}")
        .get(Open, read::download)
}

/// The function that is meant, as it is now.
async fn latest(api: &LambdaApi, named: &Named) -> Result<Arc<Function>, ApiError> {
    let resolved = api.invoker.deployments().resolve(&named.name).await;
    resolved.map_err(|error| ApiError::of(error.into(), named.arn.clone()))
}

/// Makes a version of it; the code may be changing right now.
async fn publish(
    api: &LambdaApi,
    named: &Named,
    description: Option<&str>,
) -> Result<Arc<Function>, ApiError> {
    for attempt in 1.. {
        let function = latest(api, named).await?;
        match api.invoker.published().publish(&function, description).await {
            Ok(version) => return Ok(version),
            Err(PublishError::Changing(_)) if attempt < TRIES => {}
            Err(PublishError::Changing(reason)) => return Err(conflict(reason)),
            Err(error) => return Err(ApiError::Store(error.to_string())),
        }
    }
    Err(conflict(format!("{} is being changed right now", named.name)))
}

/// Whether the caller has seen the latest state.
fn check_revision(api: &LambdaApi, function: &Function, known: Option<&str>) -> Result<(), ApiError> {
    let region = api.invoker.account().region.clone();
    let current = describe(api, function, &region, None);
    match known {
        Some(known) if current["RevisionId"] != known && !crate::defences::off("revisions") => {
            Err(request::outdated("GetFunction/GetAlias"))
        }
        _ => Ok(()),
    }
}

/// Why a folder was not changed, as AWS would say it where it has words for it.
pub fn edit_error(error: EditError, named: &Named) -> ApiError {
    match error {
        EditError::NotFound(_) => ApiError::FunctionNotFound { arn: format!("{}:$LATEST", named.arn) },
        EditError::Archive(error) => archive_error(&error),
        EditError::Declared { .. }
        | EditError::NoHandlers(_)
        | EditError::InTheWay { .. }
        | EditError::Unreadable { .. }
        | EditError::Refused(_)
        | EditError::NoEvent { .. }
        | EditError::Outdated(_) => conflict(error.to_string()),
        EditError::Disk { .. } => ApiError::Store(error.to_string()),
    }
}

fn archive_error(error: &ArchiveError) -> ApiError {
    const UNREADABLE: &str =
        "Could not unzip uploaded file. Please check your file, then try to upload again.";
    match error {
        ArchiveError::TooLarge { limit } => {
            ApiError::InvalidParameter(format!("Unzipped size must be smaller than {limit} bytes"))
        }
        ArchiveError::Empty => ApiError::InvalidParameter("Uploaded file must be a non-empty zip".to_owned()),
        ArchiveError::NoZip(_) => ApiError::InvalidParameter(UNREADABLE.to_owned()),
        ArchiveError::Refused { .. } | ArchiveError::TooMany { .. } => {
            ApiError::InvalidParameter(format!("{UNREADABLE} (handlerd: {error})"))
        }
        ArchiveError::Disk { .. } => ApiError::Store(error.to_string()),
    }
}
