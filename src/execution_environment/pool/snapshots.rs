//! Which functions start from a template (SnapStart): it is made when a version is published, or with
//! the first start; each cold start asks for it; where it cannot be made, starts are as they always are.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{AcquireError, Environments, key};
use crate::config::SnapStart;
use crate::execution_environment::environment::{Ended, Environment, Origin, Plan, StartError};
use crate::execution_environment::template::{INIT_LIMIT, Made, RESTORE_LIMIT, Template};
use crate::execution_environment::variables::Start;
use crate::execution_environment::zygote::{Python, Zygote};
use crate::function::{Function, Version};

/// A template without environments that nobody has asked for so long is ended; the next start makes a
/// new one.
pub const REST: Duration = Duration::from_secs(3600);
/// Who ends so often does not keep.
const MOST_ENDS: u32 = 3;

/// What there is to start a function version from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Snapshot {
    /// Nobody has asked for one.
    #[default]
    Off,
    /// It is made with the next start.
    Absent,
    InMaking,
    Present,
    /// The init phase leaves something that a fork would not have, or would share.
    Impossible(String),
    /// The init phase, or a hook after it, has failed.
    Failed(String),
}

/// The template of one function version.
pub(super) struct Slot {
    stage: tokio::sync::Mutex<Stage>,
    told: Mutex<Snapshot>,
    /// Whether a log has said why there is none.
    is_noted: AtomicBool,
}

#[derive(Default)]
struct Stage {
    template: Option<Arc<Template>>,
    ends: u32,
    impossible: bool,
}

impl Slot {
    /// `None`: this function starts as it always does.
    pub fn of(function: &Function, setting: SnapStart) -> Option<Arc<Self>> {
        let wanted = match setting {
            SnapStart::Off => false,
            SnapStart::Published => function.version != Version::Latest,
            SnapStart::Latest => true,
        };
        let told = Mutex::new(Snapshot::Absent);
        (wanted && function.configuration.snap_start).then(|| {
            Arc::new(Self { stage: tokio::sync::Mutex::default(), told, is_noted: AtomicBool::default() })
        })
    }

    fn tell(&self, snapshot: Snapshot) {
        *self.told.lock().unwrap() = snapshot;
    }

    pub fn told(&self) -> Snapshot {
        self.told.lock().unwrap().clone()
    }

    /// Why there is no snapshot, for the log of the first environment that starts without.
    pub fn note(&self) -> Option<String> {
        let Snapshot::Impossible(reason) = self.told() else { return None };
        let is_first = !self.is_noted.swap(true, Ordering::Relaxed);
        is_first.then(|| format!("started without a snapshot (SnapStart): {reason}"))
    }

    /// Ends it if nobody has wanted it for long.
    pub fn rest(&self) {
        let Ok(mut stage) = self.stage.try_lock() else { return };
        let is_tired = |template: &Arc<Template>| template.unused_for() > REST || template.has_ended();
        if stage.template.as_ref().is_some_and(is_tired) {
            stage.template = None;
            self.tell(Snapshot::Absent);
        }
    }
}

/// What a function is started with, found once.
pub(super) struct Ground {
    pub python: Python,
    pub packages: Option<std::path::PathBuf>,
    pub zygote: Zygote,
}

impl Environments {
    /// What there is to start this version from.
    pub fn snapshot(&self, function: &Function) -> Snapshot {
        let state = self.0.state.lock().unwrap();
        match state.pools.get(&key(function)) {
            Some(pool) => pool.slot.as_ref().map(|slot| slot.told()).unwrap_or_default(),
            None => Slot::of(function, self.0.common.snap_start).map_or(Snapshot::Off, |slot| slot.told()),
        }
    }

    /// From now on a snapshot is in the making, and it is for the caller to take it. `false`: there is one,
    /// or somebody is at it, or none is wanted.
    pub fn begin_snapshot(&self, function: &Arc<Function>) -> bool {
        let slot = match self.pool(&mut self.0.state.lock().unwrap(), function) {
            Ok(pool) => pool.slot.clone(),
            Err(_) => None,
        };
        slot.is_some_and(|slot| {
            let mut told = slot.told.lock().unwrap();
            let begins = *told == Snapshot::Absent;
            if begins {
                *told = Snapshot::InMaking;
            }
            begins
        })
    }

    /// Makes the template ahead of the first start. Nothing is to be done where nobody has asked for one.
    pub async fn take_snapshot(&self, function: &Arc<Function>) -> Result<(), AcquireError> {
        let slot = self.pool(&mut self.0.state.lock().unwrap(), function)?.slot.clone();
        let Some(slot) = slot else { return Ok(()) };
        let ground = match self.ground(function).await {
            Ok(ground) => ground,
            Err(error) => {
                // The next start tries again.
                slot.tell(Snapshot::Absent);
                return Err(error);
            }
        };
        let _turn = self.0.starts.acquire().await;
        Ok(self.template(function, &slot, &ground).await.map(drop)?)
    }

    pub(super) fn slot(&self, function: &Arc<Function>) -> Option<Arc<Slot>> {
        let state = self.0.state.lock().unwrap();
        let pool = state.pools.get(&key(function)).filter(|pool| Arc::ptr_eq(&pool.function, function))?;
        pool.slot.clone()
    }

    /// An environment from the template; `None`: there is none, and there will be none.
    pub(super) async fn restore(
        &self,
        function: &Arc<Function>,
        slot: &Slot,
        ground: &Ground,
    ) -> Result<Option<Environment>, StartError> {
        loop {
            let Some(template) = self.template(function, slot, ground).await? else { return Ok(None) };
            let plan = self.plan(function, ground, RESTORE_LIMIT);
            match Environment::start(plan, Origin::Template(&template)).await {
                Ok((environment, _)) => return Ok(Some(environment)),
                // Somebody has ended it, or it can fork no more: that is not the function's fault.
                Err(StartError::Zygote(_)) => slot.lost(function, &template).await,
                Err(StartError::Init(finished))
                    if template.has_ended() && matches!(finished.ended, Ended::Exited(_)) =>
                {
                    slot.lost(function, &template).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn plan<'a>(&'a self, function: &Arc<Function>, ground: &'a Ground, limit: Duration) -> Plan<'a> {
        Plan {
            function: function.clone(),
            python: &ground.python,
            packages: ground.packages.as_deref().map(Path::new),
            common: &self.0.common,
            start: Start::FromSnapshot,
            limit,
        }
    }

    /// The template, made if need be; many callers share one.
    async fn template(
        &self,
        function: &Arc<Function>,
        slot: &Slot,
        ground: &Ground,
    ) -> Result<Option<Arc<Template>>, StartError> {
        let mut stage = slot.stage.lock().await;
        if stage.impossible {
            return Ok(None);
        }
        if let Some(template) = stage.template.as_ref().filter(|template| !template.has_ended()) {
            return Ok(Some(template.clone()));
        }
        stage.template = None;
        slot.tell(Snapshot::InMaking);
        let limit = INIT_LIMIT.max(function.configuration.timeout);
        self.preparing(function, true);
        let made = Template::make(self.plan(function, ground, limit), &ground.zygote).await;
        self.preparing(function, false);
        let name = format!("{}:{}", function.name, function.version);
        match made {
            Ok(Made::Template(template)) => {
                let took = template.took().unwrap_or_default();
                tracing::info!(
                    "{name} starts from a snapshot from now on (SnapStart): its init phase took {:.0} ms, once",
                    took.as_secs_f64() * 1000.0
                );
                stage.template = Some(template.clone());
                slot.tell(Snapshot::Present);
                Ok(Some(template))
            }
            Ok(Made::Impossible(reason)) => {
                stage.impossible = true;
                slot.refuse(&name, &format!("its init phase {reason}"), HINT);
                Ok(None)
            }
            Err(error) => {
                slot.tell(Snapshot::Failed(failure(&error)));
                Err(error)
            }
        }
    }
}

const HINT: &str = "every environment would lack it, or all would share it; end it in a function registered with \
                    `snapshot_restore_py.register_before_snapshot`, and begin it in one registered with \
                    `register_after_restore`";

impl Slot {
    async fn lost(&self, function: &Function, template: &Arc<Template>) {
        let mut stage = self.stage.lock().await;
        let is_known = stage.template.as_ref().is_some_and(|known| Arc::ptr_eq(known, template));
        if !is_known {
            return;
        }
        stage.template = None;
        stage.ends += 1;
        self.tell(Snapshot::Absent);
        if stage.ends >= MOST_ENDS {
            stage.impossible = true;
            let name = format!("{}:{}", function.name, function.version);
            let reason =
                format!("the process that its environments are forked from has ended {MOST_ENDS} times");
            self.refuse(&name, &reason, "something on this machine, or its own code, ends it");
        }
    }

    fn refuse(&self, name: &str, reason: &str, hint: &str) {
        tracing::warn!("{name} is started as if it had no SnapStart: {reason}\nhint: {hint}");
        self.tell(Snapshot::Impossible(reason.to_owned()));
    }
}

fn failure(error: &StartError) -> String {
    let StartError::Init(finished) = error else { return error.to_string() };
    match &finished.ended {
        Ended::Answered { payload, .. } => {
            let error: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
            let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", text("errorType"), text("errorMessage"))
        }
        Ended::TimedOut => format!("the init phase took more than {} s", INIT_LIMIT.as_secs()),
        Ended::OutOfMemory => "the init phase used more than its MemorySize".to_owned(),
        ended => format!("the init phase has ended the process ({ended:?})"),
    }
}
