//! Builds each floor once, listens, drains and stops from the top.

mod backup;
mod crew;
mod doors;
mod ending;
mod figures;
mod health;
mod inherited;
mod needs;
mod ports;
mod python;
mod rehearsal;
mod signals;
mod state_folder;
mod succession;
mod supervisor;

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::{Semaphore, watch};

use crate::aws::credentials::Credential;
use crate::aws::{self, Endpoints};
use crate::config::Settings;
use crate::console::{self, Console};
use crate::control_plane::{Audit, Change, Guard, Names};
use crate::delivery::Delivery;
use crate::deployment::{Changes, Deployed, Deployment, Deployments, Sources, Watcher};
use crate::event_sources::{EventSources, Surroundings};
use crate::execution_environment::{Common, Environments};
use crate::function::Function;
use crate::gateway::{self, Gateway};
use crate::http::Admission;
use crate::http::tls::Acceptor;
use crate::interpreter::{Interpreters, Search};
use crate::invoker::{Below, Invoker};
use crate::lambda_api::{self, LambdaApi};
use crate::logs::Logs;
use crate::published::Published;
use crate::telemetry::{self, Telemetry};
use crew::Crew;
use doors::{Keys, refuse_open_doors};
use ending::Ending;
use health::{health, runtime_of};
use inherited::Inherited;
use ports::{bind, more_descriptors};
use python::{isolated, packages, prepare, python_for};
use signals::Signals;
use supervisor::Supervisor;

pub use backup::{backup, restore};
pub use crew::{runtime, usual_threads};
pub use doors::{CREDENTIALS, access_key, secret, sha256};
pub use needs::unreachable;
pub use python::packages_told;
pub use rehearsal::{is_rehearsal, rehearse, rehearsed};
pub use state_folder::{Keeper, create_private, keeper};
pub use succession::Successor;

/// Of the functions that are deployed together, so many are loaded at once, each at its turn; the
/// others when they are asked for.
const TRIED_OUT: usize = 50;
const TRIED_OUT_AT_ONCE: usize = 4;

/// The floors below the listeners; enough for one invocation without a server.
pub struct House {
    pub invoker: Invoker,
    pub interpreters: Arc<Interpreters>,
    pub aws: aws::Client,
    lock: Option<File>,
}

impl House {
    /// Reads the handlers folder and prepares everything up to the invoker. `served_at`: as the one
    /// gateway of this state folder, whose control plane is at this URL. `role`: what functions and the
    /// gateway itself sign with, who have nothing else.
    pub fn build(
        settings: &Settings,
        served_at: Option<String>,
        role: Option<&Credential>,
    ) -> anyhow::Result<Self> {
        Self::build_on(settings, served_at, role, None)
    }

    /// The same, with the lock of the state folder as a former gateway has left it.
    fn build_on(
        settings: &Settings,
        served_at: Option<String>,
        role: Option<&Credential>,
        left: Option<File>,
    ) -> anyhow::Result<Self> {
        check_folder(settings)?;
        let state_dir = std::path::absolute(&settings.state_dir)?;
        state_folder::create_private(&state_dir)?;
        let lock = if served_at.is_some() { Some(state_folder::lock_left(&state_dir, left)?) } else { None };
        state_folder::remove_leftovers(&state_dir.join("tmp"));

        let deployments = Deployments::read(sources(settings));
        let search = Search::from_environment(settings.python.clone(), settings.root());
        let interpreters = Arc::new(Interpreters::new(search, Some(&state_dir.join("interpreters.json"))));
        let mut inherited: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| !inherited::is_ours(name))
            .collect();
        let mut endpoints = Endpoints::from_environment(&inherited).with_events_at(served_at.clone());
        if let Some(role) = role {
            endpoints = endpoints.with_own_keys(&role.access_key, &role.secret);
            let given = |(name, value): &(String, String)| {
                matches!(&**name, "AWS_ACCESS_KEY_ID" | "AWS_PROFILE") && !value.is_empty()
            };
            if !inherited.iter().any(given) {
                inherited.retain(|(name, _)| name != "AWS_ACCESS_KEY_ID" && name != "AWS_SESSION_TOKEN");
                inherited.push(("AWS_ACCESS_KEY_ID".to_owned(), role.access_key.clone()));
                inherited.push(("AWS_SECRET_ACCESS_KEY".to_owned(), role.secret.clone()));
            }
        }
        let aws = aws::Client::new(endpoints);
        let common = Common {
            account: settings.account.clone(),
            state_dir: state_dir.clone(),
            buckets: std::path::absolute(&settings.buckets)?,
            control_plane: served_at,
            snap_start: settings.snap_start,
            isolation: settings.isolation.clone(),
            inherited,
        };
        let store = state_folder::open_store(&state_dir, lock.is_some())?;
        let published = Published::open(store.clone(), &state_dir)?;
        if lock.is_some() {
            published.clean(layers_in_use(&deployments.current()).as_ref());
        }
        let environments = Environments::new(
            common,
            settings.limits,
            python_for(interpreters.clone(), packages(settings, &state_dir), settings.preload.clone()),
        )?;
        let logs = match Logs::open(&state_dir) {
            Ok(logs) => Some(logs),
            Err(error) => {
                tracing::warn!("logs are not kept: {error}");
                None
            }
        };
        let delivery = Delivery::new(aws.clone(), std::path::absolute(&settings.project)?);
        let below = Below { deployments, environments, published, store, delivery, logs };
        let invoker = Invoker::new(below, settings.account.clone(), settings.limits);
        Ok(Self { invoker, interpreters, aws, lock })
    }
}

impl House {
    /// Tells other programs of this machine where this gateway answers.
    fn tell_where(&self, api: &str, token: Option<&str>) -> std::io::Result<()> {
        use std::os::unix::fs::{FileExt, PermissionsExt};
        let Some(lock) = &self.lock else { return Ok(()) };
        lock.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        lock.write_all_at(format!("{api}\n{}", token.unwrap_or_default()).as_bytes(), 0)
    }
}

/// Folders that functions use as layers. `None`: some function cannot tell, as it cannot run.
fn layers_in_use(deployment: &Deployment) -> Option<std::collections::BTreeSet<std::path::PathBuf>> {
    let functions: Option<Vec<&Arc<Function>>> =
        deployment.functions.values().map(Deployed::function).collect();
    Some(functions?.into_iter().flat_map(|function| function.layers.iter().cloned()).collect())
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

/// Where to find a running server.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// `http` or `https`, of the HTTP routes.
    pub scheme: &'static str,
    pub http: SocketAddr,
    pub api: SocketAddr,
    /// `http` or `https`, of the control plane.
    pub api_scheme: &'static str,
}

impl Addresses {
    /// `https://127.0.0.1:3000`
    pub fn routes_url(&self) -> String {
        format!("{}://{}", self.scheme, self.http)
    }

    /// `http://127.0.0.1:3001`, of the control plane as it is reached from this machine.
    pub fn api_url(&self) -> String {
        let mut address = self.api;
        if address.ip().is_unspecified() {
            let ipv4 = address.is_ipv4();
            address.set_ip(if ipv4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        format!("{}://{address}", self.api_scheme)
    }
}

/// Serves until a signal asks for the end. `announce` is called once, when both ports answer, and
/// `changed` whenever something is deployed.
pub async fn serve(
    mut settings: Settings,
    announce: impl FnOnce(&Addresses, &Deployment),
    changed: impl Fn(&Addresses, &Deployment, &Changes) + Send + Sync + 'static,
) -> anyhow::Result<Option<Successor>> {
    let supervisor = Supervisor::from_environment();
    tokio::spawn(supervisor.clone().alive());
    let mut inherited = Inherited::take()?;
    let host = settings.host;
    inherited.agree(&mut settings)?;
    refuse_open_doors(&settings)?;
    let traces = telemetry::read(|name| std::env::var(name).ok()).map_err(anyhow::Error::msg)?;
    let keys = Keys::open(&settings)?;
    if keys.is_some() {
        // Whoever is known here is known to AWS_IAM too.
        settings.access.credentials = Some(doors::credentials_file(&settings));
    }
    if let Some(claims) = &settings.access.act_as {
        let claims = serde_json::Value::Object(claims.clone());
        tracing::warn!("authorizers are not asked: every request passes as {claims} (--act-as)");
    }
    let outlives_terminal = match inherited.is_heir {
        true => inherited.outlives_terminal,
        false => signals::hang_up_is_ignored(),
    };
    let signals = Signals::listen(outlives_terminal)?;
    let given = ["http", "api"].map(|name| inherited.is_given(name));
    let http = bind(inherited.socket("http"), host, settings.port, "--port")?;
    let api = bind(inherited.socket("api"), host, settings.api_port, "--api-port")?;
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let is_near = settings.host.is_loopback();
    let api_scheme = if is_near { "http" } else { scheme };
    let addresses = Addresses { scheme, http: http.local_addr()?, api: api.local_addr()?, api_scheme };
    // Functions and commands of this machine need not go by way of the network, nor trust a certificate.
    let back_door = match is_near {
        true => None,
        false => Some(bind(inherited.socket("back"), Ipv4Addr::LOCALHOST.into(), 0, "--api-port")?),
    };
    let mut sockets = vec![("http", given[0], &http), ("api", given[1], &api)];
    sockets.extend(back_door.as_ref().map(|door| ("back", false, door)));
    let mut successor = Successor::new(&sockets)?;
    successor.outlives_terminal(outlives_terminal);
    let api_url = match &back_door {
        Some(listener) => format!("http://{}", listener.local_addr()?),
        None => addresses.api_url(),
    };

    let house = tokio::task::spawn_blocking({
        let (settings, api_url) = (settings.clone(), api_url.clone());
        let role = keys.as_ref().map(|keys| keys.role.clone());
        let left = inherited.lock();
        move || House::build_on(&settings, Some(api_url), role.as_ref(), left)
    })
    .await??;
    successor.leave_lock(house.lock.as_ref())?;
    let audit = tokio::task::spawn_blocking({
        let folder = std::path::absolute(&settings.state_dir)?;
        move || Audit::open(&folder)
    })
    .await?
    .context("the audit log cannot be written")?;
    let tls = match &settings.tls {
        Some(tls) => Some(Acceptor::new(tls, &std::path::absolute(&settings.state_dir)?)?),
        None => None,
    };
    let invoker = house.invoker.clone();
    let environments = invoker.environments().clone();
    if settings.isolation.required > 0 {
        isolated(house.interpreters.clone(), &environments, &settings).await?;
    }
    // The interpreter starts while everything else does: the first request finds it ready.
    tokio::spawn(prepare(
        house.interpreters.clone(),
        environments.clone(),
        invoker.deployments().current(),
        settings.clone(),
    ));
    tokio::spawn({
        let environments = environments.clone();
        async move { environments.keep_house().await }
    });
    tokio::spawn(invoker.store().clone().keep_house_forever());
    let telemetry = match traces {
        Some(traces) => Some(Telemetry::start(traces, invoker.history()).map_err(anyhow::Error::msg)?),
        None => None,
    };
    figures::restore(&invoker).await;
    tokio::spawn(figures::keep_forever(invoker.clone()));
    invoker.deployments().empty_trash();

    let (deployed, deployment) = watch::channel(invoker.deployments().current());
    let watcher = tokio::task::spawn_blocking({
        let (invoker, addresses, audit) = (invoker.clone(), addresses.clone(), audit.clone());
        let keep_last_good = settings.keep_last_good;
        let runtime = tokio::runtime::Handle::current();
        move || {
            let judge = judge(invoker.clone(), runtime.clone(), keep_last_good);
            let deployments = invoker.deployments().clone();
            let listener = move |deployment: &Deployment, changes: &Changes| {
                told(&audit, &invoker, deployment, changes);
                after_deployment(&invoker, &runtime, deployment, changes);
                deployed.send_replace(invoker.deployments().current());
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

    tokio::spawn(invoker.clone().keep_provisioned(deployment.clone()));

    // Events that nobody waits for end before requests do.
    let [stop, stop_events] = [(); 2].map(|()| watch::Sender::new(false));
    let mut event_sources = EventSources::start(&Surroundings {
        invoker: invoker.clone(),
        aws: house.aws.clone(),
        api_url: api_url.clone(),
        buckets: std::path::absolute(&settings.buckets)?,
        deployment: deployment.clone(),
        stop: stop_events.subscribe(),
    });
    let queue = invoker.drain(stop_events.subscribe());
    let gateway =
        Gateway::new(invoker.clone(), addresses.http.port(), settings.tls.is_some(), settings.access.clone());
    let descriptors = more_descriptors();
    let admissions = [(); 2].map(|()| {
        Admission::new(settings.connections, descriptors).trusting(settings.doors.trusted_proxies.as_slice())
    });
    let lambda_api = LambdaApi::open(
        invoker.clone(),
        house.aws.clone(),
        addresses.routes_url(),
        runtime_of(house.interpreters.clone()),
        health(invoker.clone(), house.interpreters.clone(), settings.root().to_owned(), admissions.clone()),
    )
    .await?;
    let console = Console::new(console::Surroundings {
        invoker: invoker.clone(),
        interpreters: house.interpreters.clone(),
        settings: settings.clone(),
        http_url: addresses.routes_url(),
        describe: lambda_api.describe(),
        deployment,
        stop: stop.subscribe(),
    });
    let control_plane = lambda_api.routes().merge(event_sources.routes()).merge(console.routes());
    let back_port = back_door.as_ref().map(|listener| listener.local_addr().map(|address| address.port()));
    let ports = [addresses.api.port()].into_iter().chain(back_port.transpose()?).collect();
    let names = Names::new(ports, Some(settings.host), &settings.doors.allowed_hosts);
    let mut guard = Guard::new(names).recording(audit).asking(keys.as_ref().map(|keys| keys.access.clone()));
    guard = guard.of_account(settings.account.clone());
    if settings.doors.behind_proxy {
        guard = guard.behind(settings.doors.trusted_proxies.clone());
    }
    let control_plane = control_plane.guarded(guard, lambda_api::unknown);
    let (routes, api_tls) = (gateway.clone(), tls.clone().filter(|_| !is_near));
    let [at_routes, at_api] = admissions;
    let doorkeepers = [at_routes.clone(), at_api.clone()];
    // Through the back door comes nobody whom a proxy has let in.
    let at_back = at_api.trusting([]);
    let crew = Crew::start(settings.threads).context("no threads for the gateway")?;
    let alone = Crew::start(1)?.threads();
    let mut listeners = vec![
        tokio::spawn(crate::http::serve(
            http,
            tls.clone(),
            at_routes,
            crew.threads(),
            routes,
            stop.subscribe(),
        )),
        tokio::spawn(crate::http::serve(
            api,
            api_tls,
            at_api,
            alone.clone(),
            control_plane.clone(),
            stop.subscribe(),
        )),
    ];
    if let Some(door) = back_door {
        listeners.push(tokio::spawn(crate::http::serve(
            door,
            None,
            at_back,
            alone,
            control_plane,
            stop.subscribe(),
        )));
    }
    if let Err(error) = house.tell_where(&api_url, keys.as_ref().map(|keys| &*keys.token)) {
        tracing::warn!("`handlerd queue` will not find this gateway: {error}");
    }
    announce(&addresses, &invoker.deployments().current());
    // Triggers have asked already, and told.
    for missing in needs::unreachable_destinations(&invoker.deployments().current(), house.aws.endpoints()) {
        tracing::warn!("{missing}");
    }
    if let Some(tls) = &tls {
        tracing::info!("{}", tls.description());
    }

    let serving = format!("serving {}", addresses.routes_url());
    supervisor.ready(&serving);
    let ending = Ending { signals, supervisor, doorkeepers, limit: settings.limits.drain };
    let successor = ending.asked(successor, &serving).await;
    stop_events.send_replace(true);
    let mut events = tokio::spawn(async move {
        event_sources.stopped().await;
        let _ = queue.await;
    });
    let successor = ending.quieted(successor, &mut events).await;
    stop.send_replace(true);
    gateway.close_connections();
    let in_flight = async {
        for listener in listeners {
            let _ = listener.await;
        }
        gateway.connections_closed().await;
        if !events.is_finished() {
            let _ = events.await;
        }
    };
    let successor = ending.drained(successor, in_flight).await;
    // Joins a thread; not on the runtime's own.
    let _ = tokio::task::spawn_blocking(move || drop(watcher)).await;
    figures::write_all(&invoker).await;
    invoker.finish().await;
    let _ = tokio::task::spawn_blocking(move || drop(crew)).await;
    if let Some(telemetry) = telemetry {
        telemetry.finish().await;
    }
    Ok(successor)
}

/// With `--keep-last-good`: new code that cannot be loaded does not replace code that could.
fn judge(
    invoker: Invoker,
    runtime: tokio::runtime::Handle,
    keep_last_good: bool,
) -> impl Fn(&Deployment, &mut Deployment, &Changes) + Send {
    move |before, after, changes| {
        if !keep_last_good || crate::defences::off("last-version-that-worked") {
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

/// Into the audit log, what was found on the disk: who has saved it there only the machine knows.
fn told(audit: &Audit, invoker: &Invoker, deployment: &Deployment, changes: &Changes) {
    use base64::Engine;
    let all = changes.added.iter().map(|name| (name, "Added"));
    let all = all.chain(changes.changed.iter().map(|name| (name, "Changed")));
    for (name, what) in all.chain(changes.removed.iter().map(|name| (name, "Removed"))) {
        let function = deployment.functions.get(name).and_then(Deployed::function);
        let account = invoker.account();
        let change = Change {
            who: "file".to_owned(),
            action: format!("handlerd:{what}OnDisk"),
            resource: account.function_arn(&account.region, name.as_str()),
            code_sha256: function
                .map(|function| base64::engine::general_purpose::STANDARD.encode(function.code.sha256)),
            outcome: "done",
            ..Change::default()
        };
        if let Err(error) = audit.record(&change) {
            tracing::error!("a change is not in the audit log, as that cannot be written: {error}");
            return;
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
    if !changes.removed.is_empty() {
        invoker.forget_others(deployment);
    }
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

/// How long `main` waits for threads that are still at work.
pub const LAST_WAIT: Duration = Duration::from_millis(200);
