//! Which Python a function runs on, and with which packages.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::config::Settings;
use crate::deployment::{Deployed, Deployment};
use crate::execution_environment::{AcquireError, Environments, Python, PythonFor, describe_isolation};
use crate::function::Function;
use crate::interpreter::{Choice, Interpreters, VirtualEnvironment};
use crate::packages::{Packages, REQUIREMENTS, Target, Wanted};

/// Which Python a function runs on. What is remarkable about the choice is said once.
pub fn python_for(
    interpreters: Arc<Interpreters>,
    packages: Option<Packages>,
    preload: Vec<String>,
) -> PythonFor {
    let said: Mutex<std::collections::HashSet<String>> = Mutex::default();
    Arc::new(move |function: &Function| {
        let runtime = function.configuration.runtime.as_deref();
        let choice = interpreters
            .choose(runtime, &function.task_root)
            .map_err(|error| AcquireError::NoPython(error.to_string()))?;
        if let Some(note) = &choice.note
            && said.lock().unwrap().insert(note.clone())
        {
            tracing::warn!("{note}");
        }
        let packages = match &packages {
            Some(packages) => packages_of(packages, function, &choice)?,
            None => None,
        };
        let python = python(choice, &preload).map_err(AcquireError::NoPython)?;
        Ok((python, packages))
    })
}

/// `None`: they are not installed here (`--install-packages=false`).
pub fn packages(settings: &Settings, state_dir: &Path) -> Option<Packages> {
    let packages = settings.installs_packages.then(|| Packages::new(state_dir))?;
    packages.keep_house();
    Some(packages)
}

fn packages_of(
    packages: &Packages,
    function: &Function,
    choice: &Choice,
) -> Result<Option<PathBuf>, AcquireError> {
    let Some(target) = target(function, choice) else { return Ok(None) };
    packages.of(&function.task_root, &target).map_err(|error| AcquireError::NoPackages(error.text))
}

/// What packages of this function must fit. `None`: `sam build` has installed them already.
fn target<'a>(function: &'a Function, choice: &'a Choice) -> Option<Target<'a>> {
    if function.layers.iter().any(|layer| layer.components().any(|part| part.as_os_str() == ".aws-sam")) {
        return None;
    }
    let version = choice.interpreter.version;
    let runtime = version.runtime();
    let of_environment =
        |environment: &VirtualEnvironment| environment.path.join("lib").join(&runtime).join("site-packages");
    Some(Target {
        function: function.name.as_str(),
        python: &choice.python,
        version: (version.major.into(), version.minor.into()),
        present: choice.venv.iter().map(of_environment).chain(function.layer_paths(&runtime)).collect(),
    })
}

/// What will become of a function's `requirements.txt`, for whoever asks before it happens.
pub fn packages_told(settings: &Settings, function: &Function, choice: &Choice) -> Option<String> {
    let Some(target) = target(function, choice) else {
        return Some(format!("{REQUIREMENTS}: installed by `sam build`"));
    };
    let told = match Packages::new(&settings.state_dir).wanted(&function.task_root, &target) {
        Ok(Wanted::Nothing) => return None,
        Ok(Wanted::Present) => "all there".to_owned(),
        Ok(Wanted::Installed(_)) => "installed".to_owned(),
        Ok(Wanted::Missing(_)) if settings.installs_packages => "will be installed at the start".to_owned(),
        Ok(Wanted::Missing(_)) => "not installed (--install-packages=false)".to_owned(),
        Err(error) => error.text,
    };
    Some(format!("{REQUIREMENTS}: {told}"))
}

/// What the chosen interpreter's zygote is started from.
fn python(choice: Choice, preload: &[String]) -> Result<Python, String> {
    let version = choice.interpreter.version;
    Ok(Python {
        executable: choice.python,
        libpython: choice.interpreter.libpython.ok_or("the chosen Python has no shared library")?,
        preload: preload.to_vec(),
        version: (version.major.into(), version.minor.into()),
    })
}

/// Whether handlers can be kept to themselves as far as the settings ask; nothing is served before.
pub async fn isolated(
    interpreters: Arc<Interpreters>,
    environments: &Environments,
    settings: &Settings,
) -> anyhow::Result<()> {
    let root = settings.root().to_owned();
    let choice = tokio::task::spawn_blocking(move || interpreters.choose(None, &root)).await??;
    let python = python(choice, &settings.preload).map_err(anyhow::Error::msg)?;
    Ok(environments.prepare(&python).await?)
}

/// Starts the default interpreter and installs packages before anybody asks; says what is missing.
pub async fn prepare(
    interpreters: Arc<Interpreters>,
    environments: Environments,
    deployed: Arc<Deployment>,
    settings: Settings,
) {
    let root = settings.root().to_owned();
    let choice = tokio::task::spawn_blocking(move || interpreters.choose(None, &root)).await;
    let python = match choice {
        Ok(Ok(choice)) => python(choice, &settings.preload),
        Ok(Err(none)) => Err(none.to_string()),
        Err(_) => return,
    };
    let packages = deployed.functions.values().filter_map(Deployed::function);
    let packages = packages.filter(|function| function.task_root.join(REQUIREMENTS).exists());
    let result = match python {
        Ok(python) => environments.prepare(&python).await.map_err(|error| error.to_string()),
        Err(reason) => Err(reason),
    };
    if let Some(in_force) = environments.isolation() {
        tracing::info!("{}", describe_isolation(&in_force));
    }
    if let Err(reason) = result {
        tracing::error!("{reason}");
        return;
    }
    for function in packages {
        environments.install_packages(function).await;
    }
}
