//! The files of a function: listed, shown, downloaded, exported as a template.
//!
//! `folder` is what keeps everybody inside. Each answer is of one version: what changed while it was
//! looked at is looked at once more.

mod export;
mod folder;

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::error::ViewError;
use super::{Console, blocking};
use crate::archive::{ArchiveError, Limits, Packing};
use crate::control_plane::{Routes, Scope};
use crate::deployment::ResolveError;
use crate::function::Function;
use folder::{Folder, FolderError};

pub fn routes() -> Routes<Console> {
    Routes::new()
        .at("/_handlerd/functions/{name}/files")
        .get(Scope::Read, files)
        .at("/_handlerd/functions/{name}/file")
        .get(Scope::Read, file)
        .at("/_handlerd/functions/{name}/download")
        .get(Scope::Read, download)
        .at("/_handlerd/functions/{name}/export")
        .get(Scope::Read, export::export)
}

/// Of a text that is shown.
const LONGEST: u64 = 3 * 1024 * 1024;
const REVISION: &str = "x-revision";
/// What is read at once: a package may be large.
static LOOKING: Semaphore = Semaphore::const_new(4);
static PACKING: Semaphore = Semaphore::const_new(1);
const TRIES: usize = 3;
/// An update is on the disk a moment before its revision is known.
const UPDATE: Duration = Duration::from_millis(20);
const UPDATES: usize = 50;

async fn files(State(console): State<Console>, Path(name): Path<String>) -> Result<Json<Value>, ViewError> {
    let (listing, revision) = look(&console, &name, &LOOKING, |folder| folder.list().map_err(refuse)).await?;
    Ok(Json(json!({"revision": revision, "files": listing.files})))
}

#[derive(Deserialize)]
struct Wanted {
    path: String,
}

async fn file(
    State(console): State<Console>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, ViewError> {
    let (text, revision) = look(&console, &name, &LOOKING, move |folder| text(folder, &wanted.path)).await?;
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned())];
    Ok((headers, [(REVISION, revision)], text).into_response())
}

async fn download(State(console): State<Console>, Path(name): Path<String>) -> Result<Response, ViewError> {
    let (zip, revision) = look(&console, &name, &PACKING, pack).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/zip".to_owned()),
        // The function is there, so its name is one.
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.zip\"")),
    ];
    Ok((headers, [(REVISION, revision)], zip).into_response())
}

/// What is seen in the function's folder, and the revision that it is of.
async fn look<T: Send + 'static>(
    console: &Console,
    name: &str,
    turns: &'static Semaphore,
    see: impl Fn(&Folder) -> Result<T, ViewError> + Send + Sync + 'static,
) -> Result<(T, String), ViewError> {
    let _turn = turns.acquire().await;
    let see = Arc::new(see);
    for _ in 0..TRIES {
        let function = resolve(console, name).await?;
        let (see, folder) = (see.clone(), function.task_root.clone());
        let seen =
            blocking(move || Folder::open(&folder).map_err(refuse).and_then(|folder| see(&folder))).await?;
        let revision = revision(console, &function).await?;
        if Arc::ptr_eq(&function, &resolve(console, name).await?) {
            return Ok((seen?, revision));
        }
    }
    Err(ViewError::conflict(format!("{name} is being changed just now")).hint("ask again in a moment"))
}

async fn resolve(console: &Console, name: &str) -> Result<Arc<Function>, ViewError> {
    let resolved = console.0.invoker.deployments().resolve(name).await;
    resolved.map_err(|error| match error {
        ResolveError::NotFound(_) => ViewError::not_found(error.to_string()),
        ResolveError::Broken { .. } => ViewError::conflict(error.to_string()),
    })
}

/// `CodeSha256`
async fn revision(console: &Console, function: &Arc<Function>) -> Result<String, ViewError> {
    let mut description = Value::Null;
    for _ in 0..UPDATES {
        let (surroundings, function) = (console.0.clone(), function.clone());
        description = blocking(move || (surroundings.describe)(&function)).await?;
        if description["LastUpdateStatus"] != "InProgress" && description["State"] != "Pending" {
            break;
        }
        tokio::time::sleep(UPDATE).await;
    }
    Ok(description["CodeSha256"].as_str().unwrap_or_default().to_owned())
}

fn text(folder: &Folder, path: &str) -> Result<String, ViewError> {
    let file = folder.file(path).map_err(refuse)?;
    let mut content = Vec::new();
    let read = file.take(LONGEST + 1).read_to_end(&mut content);
    read.map_err(|error| refuse(FolderError::Disk { path: path.to_owned(), error }))?;
    let binary = || {
        ViewError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("{path:?} is no text")).hint(
            "it is in the package that can be downloaded, and stays in it when something else is changed",
        )
    };
    if content.len() as u64 > LONGEST {
        let text = format!("{path:?} is larger than 3 MB, which is the most that is shown");
        return Err(ViewError::new(StatusCode::PAYLOAD_TOO_LARGE, text)
            .hint("it is in the package that can be downloaded"));
    }
    let text = String::from_utf8(content).map_err(|_| binary())?;
    if text.contains('\0') { Err(binary()) } else { Ok(text) }
}

/// Whoever deploys it again must find everything in it: without a part, there is none.
fn pack(folder: &Folder) -> Result<Vec<u8>, ViewError> {
    let listing = folder.list().map_err(refuse)?;
    if let Some(first) = listing.left_behind.first() {
        let more = match listing.left_behind.len() {
            1 => String::new(),
            count => format!(" (and {} more like it)", count - 1),
        };
        return Err(ViewError::conflict(format!("there is no package of this function: {first}{more}"))
            .hint("put a copy in its place, or change the code with an editor, where nothing is packed"));
    }
    let refuse_archive = |error: ArchiveError| match error {
        ArchiveError::TooLarge { .. } | ArchiveError::TooMany { .. } => {
            ViewError::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string())
        }
        error => ViewError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let mut packing = Packing::new(Limits::LAMBDA);
    for entry in &listing.files {
        let file = folder.file(&entry.path).map_err(refuse)?;
        packing.add(&entry.path, entry.executable, file).map_err(refuse_archive)?;
    }
    packing.finish().map_err(refuse_archive)
}

fn refuse(error: FolderError) -> ViewError {
    let text = error.to_string();
    match error {
        FolderError::NotFound(_) | FolderError::NoFile(_) => ViewError::not_found(text),
        FolderError::Outside(_) => ViewError::not_found(text)
            .hint("links are followed inside the folder only; put a copy in its place"),
        FolderError::TooMany => ViewError::new(StatusCode::PAYLOAD_TOO_LARGE, text)
            .hint("packages are better listed in a `requirements.txt`; GetFunction gives the whole code"),
        FolderError::Disk { .. } => ViewError::new(StatusCode::INTERNAL_SERVER_ERROR, text),
    }
}
