//! Builds each floor once, listens, drains and stops from the top.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::config::Settings;
use crate::deployment::{Changes, Deployed, Deployment, Deployments, Sources, Watcher};
use crate::execution_environment::{Common, Environments, Python, PythonFor};
use crate::function::Function;
use crate::gateway::{self, Gateway};
use crate::http::tls::Acceptor;
use crate::interpreter::{Choice, Interpreters, Search};
use crate::invoker::Invoker;
use crate::lambda_api::LambdaApi;
use crate::logs::Logs;

/// Of the functions that are deployed together, so many are loaded at once, each at its turn; the
/// others when they are asked for.
const TRIED_OUT: usize = 50;
const TRIED_OUT_AT_ONCE: usize = 4;

/// The floors below the listeners; enough for one invocation without a server.
pub struct House {
    pub invoker: Invoker,
    pub interpreters: Arc<Interpreters>,
    _lock: Option<File>,
}

impl House {
    /// Reads the handlers folder and prepares everything up to the invoker. `exclusive`: as the one
    /// gateway of this state folder.
    pub fn build(settings: &Settings, exclusive: bool) -> anyhow::Result<Self> {
        check_folder(settings)?;
        let state_dir = std::path::absolute(&settings.state_dir)?;
        create_private(&state_dir)?;
        let lock = if exclusive { Some(lock(&state_dir)?) } else { None };
        remove_leftovers(&state_dir.join("tmp"));

        let deployments = Deployments::read(sources(settings));
        let search = Search::from_environment(settings.python.clone(), settings.root());
        let interpreters = Arc::new(Interpreters::new(search, Some(&state_dir.join("interpreters.json"))));
        let common = Common {
            account: settings.account.clone(),
            state_dir: state_dir.clone(),
            inherited: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        };
        let environments = Environments::new(
            common,
            settings.limits,
            python_for(interpreters.clone(), settings.preload.clone()),
        )?;
        let logs = match Logs::open(&state_dir) {
            Ok(logs) => Some(logs),
            Err(error) => {
                tracing::warn!("logs are not kept: {error}");
                None
            }
        };
        let invoker =
            Invoker::new(deployments, environments, logs, settings.account.clone(), settings.limits);
        Ok(Self { invoker, interpreters, _lock: lock })
    }
}

/// A folder that is not there has no functions; nearly always another one was meant.
pub fn check_folder(settings: &Settings) -> anyhow::Result<()> {
    let handlers = &settings.handlers;
    if handlers.is_dir() || !settings.serves_handlers {
        return Ok(());
    }
    bail!(
        "there is no folder {}\nhint: `handlerd new hello` makes it, with a first function in it; or name another: \
         `handlerd serve FOLDER`",
        handlers.display()
    )
}

/// What is to be deployed, and by whose measure.
pub fn sources(settings: &Settings) -> Sources {
    Sources::new(settings, gateway::mapping::check_integration)
}

/// Which Python a function runs on. What is remarkable about the choice is said once.
fn python_for(interpreters: Arc<Interpreters>, preload: Vec<String>) -> PythonFor {
    let said: Mutex<std::collections::HashSet<String>> = Mutex::default();
    Arc::new(move |function: &Function| {
        let runtime = function.configuration.runtime.as_deref();
        let choice = interpreters.choose(runtime, &function.task_root).map_err(|error| error.to_string())?;
        if let Some(note) = &choice.note
            && said.lock().unwrap().insert(note.clone())
        {
            tracing::warn!("{note}");
        }
        python(choice, &preload)
    })
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

/// Where to find a running server.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// `http` or `https`, of the HTTP routes.
    pub scheme: &'static str,
    pub http: SocketAddr,
    pub api: SocketAddr,
}

impl Addresses {
    /// `https://127.0.0.1:3000`
    pub fn routes_url(&self) -> String {
        format!("{}://{}", self.scheme, self.http)
    }
}

/// Serves until a signal asks for the end. `announce` is called once, when both ports answer, and
/// `changed` whenever something is deployed.
pub async fn serve(
    settings: Settings,
    announce: impl FnOnce(&Addresses, &Deployment),
    changed: impl Fn(&Addresses, &Deployment, &Changes) + Send + Sync + 'static,
) -> anyhow::Result<()> {
    refuse_open_doors(settings.host)?;
    if let Some(claims) = &settings.access.act_as {
        let claims = serde_json::Value::Object(claims.clone());
        tracing::warn!("authorizers are not asked: every request passes as {claims} (--act-as)");
    }
    let signals = Signals::listen()?;
    let http = bind(settings.host, settings.port, "--port").await?;
    let api = bind(settings.host, settings.api_port, "--api-port").await?;
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let addresses = Addresses { scheme, http: http.local_addr()?, api: api.local_addr()? };

    let house = tokio::task::spawn_blocking({
        let settings = settings.clone();
        move || House::build(&settings, true)
    })
    .await??;
    let tls = match &settings.tls {
        Some(tls) => Some(Acceptor::new(tls, &std::path::absolute(&settings.state_dir)?)?),
        None => None,
    };
    let invoker = house.invoker.clone();
    let environments = invoker.environments().clone();
    // The interpreter starts while everything else does: the first request finds it ready.
    tokio::spawn(prepare(house.interpreters.clone(), environments.clone(), settings.clone()));
    tokio::spawn({
        let environments = environments.clone();
        async move { environments.keep_house().await }
    });

    let watcher = tokio::task::spawn_blocking({
        let (invoker, addresses) = (invoker.clone(), addresses.clone());
        let keep_last_good = settings.keep_last_good;
        let runtime = tokio::runtime::Handle::current();
        move || {
            let judge = judge(invoker.clone(), runtime.clone(), keep_last_good);
            let deployments = invoker.deployments().clone();
            let listener = move |deployment: &Deployment, changes: &Changes| {
                after_deployment(&invoker, &runtime, deployment, changes);
                changed(&addresses, deployment, changes);
            };
            Watcher::start(deployments, Box::new(judge), Box::new(listener))
        }
    })
    .await?;
    let watcher = match watcher {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!("{error}; changes are seen at the next start only");
            None
        }
    };

    let stop = watch::Sender::new(false);
    let gateway =
        Gateway::new(invoker.clone(), addresses.http.port(), settings.tls.is_some(), settings.access.clone());
    let lambda_api = LambdaApi::new(
        invoker.clone(),
        runtime_of(house.interpreters.clone()),
        health(invoker.clone(), house.interpreters.clone(), settings.root().to_owned()),
    );
    let listeners = [
        tokio::spawn(crate::http::serve(http, tls.clone(), gateway.clone().service(), stop.subscribe())),
        tokio::spawn(crate::http::serve(
            api,
            None,
            lambda_api.service(addresses.api.port()),
            stop.subscribe(),
        )),
    ];
    announce(&addresses, &invoker.deployments().current());
    if let Some(tls) = &tls {
        tracing::info!("{}", tls.description());
    }

    signals.stop().await;
    tracing::info!("stopping: requests in flight may take {} s more", settings.limits.drain.as_secs());
    stop.send_replace(true);
    gateway.close_connections();
    let drained = async {
        for listener in listeners {
            let _ = listener.await;
        }
        gateway.connections_closed().await;
    };
    tokio::select! {
        result = tokio::time::timeout(settings.limits.drain, drained) => {
            if result.is_err() {
                tracing::warn!("some requests had not ended; they are cut off");
            }
        }
        () = signals.stop() => tracing::warn!("stopped at once"),
    }
    // Joins a thread; not on the runtime's own.
    let _ = tokio::task::spawn_blocking(move || drop(watcher)).await;
    invoker.finish().await;
    Ok(())
}

/// Other machines could run code here: not before there are credentials to ask for.
fn refuse_open_doors(host: IpAddr) -> anyhow::Result<()> {
    if host.is_loopback() {
        return Ok(());
    }
    bail!(
        "refusing to listen on {host}: anybody who reaches that address could run code on this machine, and handlerd \
         cannot ask for credentials yet\nhint: leave out `--host`, and let a reverse proxy on this machine forward to \
         127.0.0.1"
    )
}

async fn bind(host: IpAddr, port: u16, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind((host, port)).await.with_context(|| {
        format!(
            "could not listen on {host}:{port}\nhint: another program, perhaps another handlerd, may listen there; \
             choose another with `{flag}` (0: any free one)"
        )
    })
}

/// Only the owner may look into it: it holds what functions print.
fn create_private(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(|| {
        format!("could not create {}\nhint: choose another place with `--state-dir`", folder.display())
    })
}

fn lock(state_dir: &Path) -> anyhow::Result<File> {
    let path = state_dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("could not open {}", path.display()))?;
    let operation = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    if rustix::fs::flock(&file, operation).is_err() {
        bail!(
            "another handlerd uses {}\nhint: stop it, or give this one its own with `--state-dir`",
            state_dir.display()
        );
    }
    Ok(file)
}

/// Temporary folders of environments whose gateway is gone; their names begin with its process id.
fn remove_leftovers(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.split('-').next().and_then(|pid| pid.parse::<i32>().ok());
        let lives = owner.is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists());
        if !lives {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Starts the default interpreter before anybody asks, and says so if there is none.
async fn prepare(interpreters: Arc<Interpreters>, environments: Environments, settings: Settings) {
    let root = settings.root().to_owned();
    let choice = tokio::task::spawn_blocking(move || interpreters.choose(None, &root)).await;
    let python = match choice {
        Ok(Ok(choice)) => python(choice, &settings.preload),
        Ok(Err(none)) => Err(none.to_string()),
        Err(_) => return,
    };
    let result = match python {
        Ok(python) => environments.prepare(&python).await.map_err(|error| error.to_string()),
        Err(reason) => Err(reason),
    };
    if let Err(reason) = result {
        tracing::error!("{reason}");
    }
}

/// With `--keep-last-good`: new code that cannot be loaded does not replace code that could.
fn judge(
    invoker: Invoker,
    runtime: tokio::runtime::Handle,
    keep_last_good: bool,
) -> impl Fn(&Deployment, &mut Deployment, &Changes) + Send {
    move |before, after, changes| {
        if !keep_last_good {
            return;
        }
        for name in &changes.changed {
            let Some(Deployed::Ready(former)) = before.functions.get(name) else { continue };
            let verdict = match after.functions.get(name) {
                Some(Deployed::Ready(function)) => runtime.block_on(invoker.rehearse(function)),
                Some(Deployed::Broken { reason }) => Err(reason.clone()),
                None => continue,
            };
            if let Err(reason) = verdict {
                tracing::error!(
                    "{reason}\n{name} goes on with the last version that worked ({})",
                    former.short_hash()
                );
                after.functions.insert(name.clone(), Deployed::Ready(former.clone()));
            }
        }
    }
}

/// Ends environments of old code, and loads new code at once: the next request finds it warm, and a
/// mistake is seen when it is made.
fn after_deployment(
    invoker: &Invoker,
    runtime: &tokio::runtime::Handle,
    deployment: &Deployment,
    changes: &Changes,
) {
    for name in changes.changed.iter().chain(&changes.removed) {
        let current = deployment.functions.get(name);
        invoker.environments().retire(name, current.and_then(|deployed| deployed.function()));
    }
    // A template's functions often share their code, and then all of them have changed.
    let turns = Arc::new(Semaphore::new(TRIED_OUT_AT_ONCE));
    for name in changes.changed.iter().chain(&changes.added).take(TRIED_OUT) {
        if let Some(Deployed::Ready(function)) = deployment.functions.get(name) {
            let (invoker, function, turns) = (invoker.clone(), function.clone(), turns.clone());
            runtime.spawn(async move {
                let _turn = turns.acquire().await;
                if let Err(reason) = invoker.try_out(&function).await {
                    tracing::debug!("{reason}");
                }
            });
        }
    }
}

fn runtime_of(interpreters: Arc<Interpreters>) -> crate::lambda_api::RuntimeOf {
    Arc::new(move |function| {
        let runtime = function.configuration.runtime.clone();
        runtime.unwrap_or_else(|| match interpreters.choose(None, &function.task_root) {
            Ok(choice) => choice.interpreter.version.runtime(),
            Err(_) => "python3".to_owned(),
        })
    })
}

fn health(
    invoker: Invoker,
    interpreters: Arc<Interpreters>,
    root: std::path::PathBuf,
) -> Arc<dyn Fn() -> serde_json::Value + Send + Sync> {
    let started = Instant::now();
    Arc::new(move || {
        let deployment = invoker.deployments().current();
        let functions: serde_json::Map<String, serde_json::Value> = deployment
            .functions
            .iter()
            .map(|(name, deployed)| {
                let counts = invoker.environments().counts(name);
                let description = serde_json::json!({
                    "state": if deployed.function().is_some() { "Active" } else { "Failed" },
                    "code": deployed.function().map(|function| function.short_hash()),
                    "environments": {"idle": counts.idle, "busy": counts.busy, "starting": counts.starting},
                    "waiting": counts.waiting,
                });
                (name.to_string(), description)
            })
            .collect();
        let python = match interpreters.choose(None, &root) {
            Ok(choice) => serde_json::json!({
                "version": choice.interpreter.version.to_string(),
                "executable": choice.python,
                "library": choice.interpreter.libpython,
            }),
            Err(none) => serde_json::json!({"problem": none.to_string()}),
        };
        serde_json::json!({
            "status": "ok",
            "version": env!("CARGO_PKG_VERSION"),
            "uptimeSeconds": started.elapsed().as_secs(),
            "pid": std::process::id(),
            "python": python,
            "zygotes": invoker.environments().zygote_pids(),
            "environments": invoker.environments().total(),
            "functions": functions,
        })
    })
}

/// SIGINT and SIGTERM; heard from the moment this exists.
struct Signals {
    interrupt: tokio::sync::Mutex<tokio::signal::unix::Signal>,
    terminate: tokio::sync::Mutex<tokio::signal::unix::Signal>,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: tokio::sync::Mutex::new(signal(SignalKind::interrupt())?),
            terminate: tokio::sync::Mutex::new(signal(SignalKind::terminate())?),
        })
    }

    async fn stop(&self) {
        let (mut interrupt, mut terminate) = (self.interrupt.lock().await, self.terminate.lock().await);
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

/// How long `main` waits for threads that are still at work.
pub const LAST_WAIT: Duration = Duration::from_millis(200);
