//! The writing side: what the Lambda API and the console change about functions of the handlers folder.
//!
//! - `document`: properties replaced in the text of a `function.yaml`.
//! - `events`: its `Events`, one by one.
//! - `test_events`: events to try a function with, kept beside it.
//! - `local`: variables of `.env`, which stay out of `function.yaml`.
//! - `folder`: a function's folder made, its code exchanged, put away.
//! - `trash`: how long what was put away is kept.
//!
//! One change at a time. Each is on the disk when its call returns, and deployed, if that does not
//! take longer than a while: the caller's next request sees it.

mod document;
mod events;
mod folder;
mod local;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod test_events;
mod trash;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Deployments;
use crate::archive::ArchiveError;

pub use events::{ComesTo, EventChange, Events, Written, written_in};
pub use folder::{Code, is_configuration};
pub use test_events::{LARGEST as LARGEST_TEST_EVENT, TestEvent};

/// How long the answer is kept back, at most, until a change is deployed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Properties with their new values; `None`: without it.
pub type Properties = Vec<(&'static str, Option<Value>)>;

/// Why something was not changed. Nothing of it was, then.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    #[error("there is no function `{0}`")]
    NotFound(String),
    /// The template says it.
    #[error(
        "{name} is declared in {}, which says what it is made of\nhint: change it there; `handlerd serve` deploys \
         the template as soon as it is saved", template.display()
    )]
    Declared { name: String, template: PathBuf },
    #[error(
        "there is no folder of handlers that {0} could be written to: only a template is served\nhint: name a folder \
         as well, `handlerd serve FOLDER --template FILE`, or declare the function in the template"
    )]
    NoHandlers(String),
    /// Something is there already.
    #[error("{}: {reason}", path.display())]
    InTheWay { path: PathBuf, reason: String },
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// `function.yaml` cannot be changed as it is.
    #[error("{}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    /// What was to be written would not work.
    #[error("{0}")]
    Refused(String),
    #[error("there is no event `{id}` in {}{}", path.display(), there_are(there))]
    NoEvent { path: PathBuf, id: String, there: Vec<String> },
    #[error("{} has been changed by somebody else\nhint: look at what it says now, and try again", .0.display())]
    Outdated(PathBuf),
    #[error("{} could not be written: {error}", path.display())]
    Disk { path: PathBuf, error: std::io::Error },
}

fn there_are(names: &[String]) -> String {
    match names {
        [] => "; there are none".to_owned(),
        names => format!("\nhint: there are: {}", names.join(", ")),
    }
}

/// What reads and writes files, beside the thread that everybody shares.
async fn on_a_thread<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, EditError> + Send + 'static,
) -> Result<T, EditError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(EditError::disk(path)(std::io::Error::other(error.to_string()))),
    }
}

impl EditError {
    fn disk(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        |error| Self::Disk { path, error }
    }
}

impl Deployments {
    /// Whether the template declares it, so that only the template can change it.
    pub fn declared_in(&self, name: &str) -> Option<PathBuf> {
        let template = self.0.sources.template.as_ref()?;
        let discovery = self.0.discovery.lock().unwrap();
        let declares = discovery.declares(name);
        declares.then(|| std::path::absolute(&template.path).unwrap_or_else(|_| template.path.clone()))
    }

    /// Makes a function: its folder appears with code and `function.yaml` in one step. `foretell` is told
    /// `Code::own_sha256` before anybody can see it.
    pub async fn create(
        &self,
        name: &str,
        code: Code,
        properties: Properties,
        foretell: impl FnOnce([u8; 32]) + Send + 'static,
    ) -> Result<(), EditError> {
        self.change(name, move |place| folder::create(place, &code, &properties, foretell)).await
    }

    /// Exchanges the code; `function.yaml` and `.env` stay. `foretell`: as above.
    pub async fn replace_code(
        &self,
        name: &str,
        code: Code,
        foretell: impl FnOnce([u8; 32]) + Send + 'static,
    ) -> Result<(), EditError> {
        self.change(name, move |place| folder::replace_code(place, &code, foretell)).await?;
        self.empty_trash();
        Ok(())
    }

    /// Changes properties in `function.yaml`, and nothing else in it.
    pub async fn set_properties(&self, name: &str, properties: Properties) -> Result<(), EditError> {
        self.change(name, move |place| folder::set_properties(place, &properties)).await
    }

    /// Takes the function away. Its folder is kept in the trash of the state folder.
    pub async fn remove(&self, name: &str) -> Result<(), EditError> {
        self.change(name, folder::remove).await?;
        self.empty_trash();
        Ok(())
    }

    /// Of what is too old or too much; nobody waits for it.
    pub fn empty_trash(&self) {
        let sources = &self.0.sources;
        let (trash, handlers) = (sources.state_dir.join("trash"), sources.handlers.clone());
        tokio::task::spawn_blocking(move || trash::clean(&trash, handlers.as_deref()));
    }

    async fn change(
        &self,
        name: &str,
        work: impl FnOnce(&folder::Place) -> Result<(), EditError> + Send + 'static,
    ) -> Result<(), EditError> {
        if let Some(template) = self.declared_in(name) {
            return Err(EditError::Declared { name: name.to_owned(), template });
        }
        let Some(handlers) = &self.0.sources.handlers else {
            return Err(EditError::NoHandlers(name.to_owned()));
        };
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let place = folder::Place {
            name: name.to_owned(),
            handlers: absolute(handlers),
            state_dir: absolute(&self.0.sources.state_dir),
        };
        let _turn = self.0.editing.lock().await;
        let path = place.folder();
        on_a_thread(&path, move || work(&place)).await?;
        self.look_at(name, &path).await;
        Ok(())
    }

    /// Has a folder read again, and waits until what it holds is deployed.
    async fn look_at(&self, name: &str, path: &Path) {
        let Some(ears) = self.0.ears.get() else {
            // Nobody watches.
            let (deployments, names) = (self.clone(), HashSet::from([name.to_owned()]));
            let read = move || {
                let next = deployments.reread(Some(&names));
                deployments.deploy(next.deployment);
            };
            let _ = tokio::task::spawn_blocking(read).await;
            return;
        };
        self.hear();
        self.mark_dirty(name);
        ears.tell(path);
        let began = Instant::now();
        while began.elapsed() < PATIENCE && self.is_dirty(name) {
            self.settle(name).await;
        }
    }

    fn is_dirty(&self, name: &str) -> bool {
        self.0.dirty.lock().unwrap().contains_key(name)
    }
}
