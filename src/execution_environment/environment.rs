//! One execution environment as its parent holds it: a process prepared for one function version,
//! with one invocation at a time. Dropping it kills the process and removes its temporary folder.
//!
//! The inside is `python/src/environment.rs`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::bell::{Mailbox, Rung};
use super::isolation;
use super::line::{Expected, Letter, Line, Taken};
use super::memory::{self, Usage};
use super::output::Output;
use super::stream::{self, Speaker};
use super::template::Template;
use super::variables::{self, Start, Surroundings};
use super::zygote::{Process, Python, Zygote, ZygoteError};
use crate::config::Account;
use crate::defences;
use crate::function::{Function, Version};
use crate::invocation::Invocation;
use crate::protocol::control::{Becomes, Exit, Fork};
use crate::protocol::frame::{Kind, Request};

pub struct Environment {
    pub function: Arc<Function>,
    /// Started ahead of demand, to be kept.
    pub provisioned: bool,
    pub log_stream: String,
    /// `python3.12`
    runtime: Arc<str>,
    process: Process,
    line: Line,
    /// Held for its end, which comes after the process was killed.
    temporary_folder: TemporaryFolder,
    /// What it was forked from, and would not outlive.
    _template: Option<Arc<Template>>,
    /// Taken by the first invocation.
    init: Option<InitReport>,
    /// The request that it has been left already, if that is so.
    pub asked: Option<Asked>,
    max_memory_kib: u32,
    /// The same after its first invocation.
    memory_at_first_kib: Option<u32>,
    /// Whether the last invocation waited for anything, or only computed.
    pub has_waited: bool,
    /// Whether it took longer than most do.
    pub was_slow: bool,
    /// Set once anything has happened after which the process must not be used again.
    spoiled: bool,
    pub idle_since: Instant,
}

/// A request that has been left.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub nonce: u64,
    pub since: Instant,
}

/// What an environment is asked for, as it is written into its mailbox.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub invocation: &'a Invocation,
    pub timeout: Duration,
}

impl Ask<'_> {
    pub fn frame(self, nonce: u64, streams: bool) -> Vec<u8> {
        let mut frame = Vec::new();
        Request {
            nonce,
            timeout_ms: self.timeout.as_millis() as u64,
            streams,
            request_id: &self.invocation.request_id,
            trace_id: &self.invocation.trace_id,
            function_arn: &self.invocation.function_arn,
            client_context: self.invocation.client_context.as_deref(),
            cognito_identity: None,
            event: &self.invocation.event,
        }
        .encode(&mut frame);
        frame
    }
}

/// What a phase begins with.
enum Begins<'a> {
    /// The environment speaks first.
    Init,
    /// A request: what of it has not been left yet.
    Request(Asked, &'a [u8]),
}

impl Begins<'_> {
    fn is_request(&self) -> bool {
        matches!(self, Self::Request(..))
    }
}

/// What the init phase took and printed; the first invocation reports it.
#[derive(Debug, Clone)]
pub struct InitReport {
    pub began: SystemTime,
    pub duration: Duration,
    pub output: Vec<u8>,
    /// It was forked from a template: this is what followed the fork.
    pub restored: bool,
    /// The init phase of that template, if this is the first to come from it.
    pub snapshot: Option<Box<InitReport>>,
}

/// What the parts of a start have in common.
pub struct Plan<'a> {
    pub function: Arc<Function>,
    pub python: &'a Python,
    pub packages: Option<&'a Path>,
    pub common: &'a Common,
    pub start: Start,
    /// Of the init phase, or of what follows a restore.
    pub limit: Duration,
}

/// What forks the process.
pub enum Origin<'a> {
    Zygote(&'a Zygote),
    Template(&'a Arc<Template>),
    /// The zygote, and the process is to become a template that has this end of a control socket.
    AsTemplate(&'a Zygote, OwnedFd),
}

impl Origin<'_> {
    fn forker(&self) -> &Zygote {
        match self {
            Self::Zygote(zygote) | Self::AsTemplate(zygote, _) => zygote,
            Self::Template(template) => &template.forks,
        }
    }

    fn becomes(&self) -> Becomes {
        match self {
            Self::Zygote(_) => Becomes::Environment,
            Self::Template(_) => Becomes::Restored,
            Self::AsTemplate(..) => Becomes::Template,
        }
    }
}

/// How a phase of an environment ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Answered {
        kind: Kind,
        payload: Vec<u8>,
    },
    TimedOut,
    OutOfMemory,
    /// A stream was longer than it may be.
    StreamTooLong,
    Exited(Exit),
}

/// A phase that has ended.
#[derive(Debug, Clone)]
pub struct Finished {
    pub ended: Ended,
    /// The process had died before it saw the request: another may have it.
    pub untouched: bool,
    pub duration: Duration,
    pub max_memory_mb: u32,
    pub output: Vec<u8>,
    /// `python3.12`
    pub runtime: Arc<str>,
    /// Of an environment that came from a template.
    pub restored: bool,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Zygote(#[from] ZygoteError),
    #[error("could not prepare an execution environment: {0}")]
    System(String),
    /// The handler could not be loaded: an outcome for whoever waits, not an error of ours.
    #[error("the init phase failed")]
    Init(Arc<Finished>),
}

/// What every environment of this gateway has in common.
pub struct Common {
    pub account: Account,
    pub state_dir: PathBuf,
    /// `http://127.0.0.1:3001`, where the Lambda API is served; not for a single invocation.
    pub control_plane: Option<String>,
    pub snap_start: crate::config::SnapStart,
    /// The folder whose subfolders stand for S3 buckets.
    pub buckets: PathBuf,
    pub isolation: crate::config::Isolation,
    /// The gateway's own environment variables.
    pub inherited: Vec<(String, String)>,
}

impl Environment {
    /// Forks a process and sees it through its init phase, or what follows a restore. With it comes what
    /// it has said when it was ready.
    pub async fn start(plan: Plan<'_>, origin: Origin<'_>) -> Result<(Self, Vec<u8>), StartError> {
        let Plan { function, python, packages, common, start, limit } = plan;
        let forker = origin.forker().clone();
        let ticket = forker.ticket();
        let began = Instant::now();
        let system = |error: std::io::Error| StartError::System(error.to_string());
        let (line, ends) = Line::open().map_err(system)?;
        let temporary_folder = match &origin {
            Origin::Template(template) => TemporaryFolder::within(template, ticket),
            Origin::AsTemplate(..) => TemporaryFolder::of_template(common, ticket),
            Origin::Zygote(_) => TemporaryFolder::create(common, ticket),
        }
        .map_err(system)?;
        let log_stream = log_stream(function.version);
        let path = match python.executable.parent() {
            Some(folder) => format!("{}:{SYSTEM_PATH}", folder.display()),
            None => SYSTEM_PATH.to_owned(),
        };
        let runtime: Arc<str> = format!("python{}.{}", python.version.0, python.version.1).into();
        let surroundings = Surroundings {
            account: &common.account,
            runtime: &runtime,
            log_stream: &log_stream,
            temporary_folder: &temporary_folder.path.display().to_string(),
            path: &path,
            control_plane: common.control_plane.as_deref(),
            start,
            buckets: &common.buckets,
            inherited: &common.inherited,
        };
        // On Lambda what a function asks for lies beside its code, before the layers.
        let layers: Vec<String> = packages
            .map(Path::to_owned)
            .into_iter()
            .chain(function.layer_paths(&runtime))
            .map(|path| path.display().to_string())
            .collect();
        let bytecode_cache =
            Some(common.state_dir.join("bytecode").join(function.name.as_str()).display().to_string());
        let variables = variables::complete(&function, &surroundings);
        let mut paths = isolation::paths(
            common,
            &function,
            &layers,
            &variables,
            temporary_folder.writable(),
            bytecode_cache.as_deref(),
        );
        if let Origin::Template(template) = &origin {
            // What the init phase has left there belongs to the snapshot.
            paths.readable.push(template.temporary_folder().display().to_string());
        }
        let fork = Fork {
            ticket,
            process_name: match origin {
                Origin::AsTemplate(..) => format!("snap:{}", function.name),
                _ => format!("fn:{}", function.name),
            },
            environment: variables,
            task_root: function.task_root.display().to_string(),
            layers,
            bytecode_cache,
            paths,
            becomes: origin.becomes(),
        };
        let mut descriptors = ends.descriptors().to_vec();
        if let Origin::AsTemplate(_, control) = &origin {
            descriptors.push(control.as_fd());
        }
        let process = forker.fork(&fork, &descriptors).await?;
        // Only the environment holds them now: when it is gone, the pipes say so.
        drop(ends);
        let template = match &origin {
            Origin::Template(template) => Some(Arc::clone(template)),
            _ => None,
        };
        let mut environment = Self {
            function,
            provisioned: start == Start::Provisioned,
            log_stream,
            runtime,
            process,
            line,
            temporary_folder,
            _template: template,
            init: None,
            asked: None,
            max_memory_kib: 0,
            memory_at_first_kib: None,
            has_waited: true,
            was_slow: true,
            spoiled: false,
            idle_since: began,
        };
        drop(origin);
        let mut finished = environment.phase(Begins::Init, None, began, limit, |_, _| ()).await;
        match &mut finished.ended {
            Ended::Answered { kind: Kind::Ready, payload } => {
                let wall = SystemTime::now().checked_sub(began.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH);
                let said = std::mem::take(payload);
                let snapshot = environment._template.as_ref().and_then(|template| template.take_init());
                environment.init = Some(InitReport {
                    began: wall,
                    duration: finished.duration,
                    output: finished.output,
                    restored: finished.restored,
                    snapshot: snapshot.map(Box::new),
                });
                environment.idle_since = Instant::now();
                Ok((environment, said))
            }
            _ => Err(StartError::Init(Arc::new(finished))),
        }
    }

    /// One invocation, from request to answer, timeout or death. With a `speaker` the answer may be a
    /// stream. `is_slow` is called once it has taken longer than most do.
    pub async fn invoke(
        &mut self,
        ask: Ask<'_>,
        speaker: Option<&mut Speaker>,
        is_slow: impl FnOnce(&Arc<Function>, &Arc<Mailbox>),
    ) -> Finished {
        let began = Instant::now();
        self.was_slow = false;
        self.line.mailbox.begin();
        if let Some(asked) = self.asked.take() {
            self.line.mailbox.office.release();
            return self.phase(Begins::Request(asked, &[]), speaker, began, ask.timeout, is_slow).await;
        }
        let asked = Asked { nonce: self.line.mailbox.next_nonce(), since: began };
        let frame = ask.frame(asked.nonce, speaker.is_some());
        if speaker.is_some() {
            self.line.mailbox.office.attend();
        }
        let unsent = self.line.leave(&frame);
        self.phase(Begins::Request(asked, unsent), speaker, began, ask.timeout, is_slow).await
    }

    /// Whether this is the thread that has started it: its answers are noticed here.
    pub fn is_near(&self) -> bool {
        self.line.bell.is_near()
    }

    /// Where requests are left for it.
    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.line.mailbox
    }

    pub fn take_init(&mut self) -> Option<InitReport> {
        self.init.take()
    }

    pub fn is_reusable(&self) -> bool {
        // News of an exit takes a moment; a process that was busy just now needs no second look.
        let rested = self.idle_since.elapsed() > Duration::from_millis(1);
        let is_gone = self.process.has_exited() || (rested && self.process.is_gone());
        !self.spoiled && !is_gone
    }

    /// It must not be used again.
    pub fn spoil(&mut self) {
        self.spoiled = true;
    }

    pub fn pid(&self) -> i32 {
        self.process.pid
    }

    /// Puts a line before what the init phase has printed.
    pub fn note(&mut self, line: &str) {
        if let Some(init) = &mut self.init {
            init.output.splice(..0, format!("{line}\n").into_bytes());
        }
    }

    pub fn has_exited(&self) -> bool {
        self.process.has_exited()
    }

    pub fn temporary_folder(&self) -> &Path {
        &self.temporary_folder.path
    }

    /// Waits for one answer: both phases are this.
    async fn phase(
        &mut self,
        begins: Begins<'_>,
        mut speaker: Option<&mut Speaker>,
        began: Instant,
        limit: Duration,
        is_slow: impl FnOnce(&Arc<Function>, &Arc<Mailbox>),
    ) -> Finished {
        let deadline = began + limit;
        let mut output = Output::default();
        let is_request = begins.is_request();
        let since = if let Begins::Request(asked, _) = &begins { asked.since } else { began };
        let ended = self.exchange(begins, speaker.as_deref_mut(), deadline, &mut output, is_slow).await;
        let (ended, duration, has_printed, max_memory_kib) = match ended {
            // How long it took is the environment's word: it may have answered before it was listened to.
            Ok(Letter { kind, payload, took, has_printed, max_memory_kib, .. }) => {
                let duration = if is_request { took.min(since.elapsed()) } else { began.elapsed() };
                (Ended::Answered { kind, payload }, duration, has_printed, max_memory_kib)
            }
            Err((ended, max_memory_kib)) => (ended, began.elapsed(), true, max_memory_kib),
        };
        if has_printed || self.spoiled {
            // All that the handler had printed before it answered is in the pipe already.
            self.line.drain_output(&mut output);
        }
        if !matches!(ended, Ended::Answered { .. }) {
            self.spoiled = true;
            self.process.kill();
        }
        // A process that is gone cannot be asked any more; what it used before is the best there is.
        self.max_memory_kib = self.max_memory_kib.max(max_memory_kib);
        if is_request && matches!(ended, Ended::Answered { .. }) {
            self.replace_before_it_is_full();
        }
        let max_memory_mb = match ended {
            Ended::OutOfMemory => self.function.configuration.memory_mb,
            _ => self.max_memory_kib.div_ceil(1024),
        };
        let has_begun = speaker.is_some_and(|speaker| speaker.has_begun());
        let untouched =
            matches!(ended, Ended::Exited(_)) && is_request && !has_begun && self.line.is_untouched();
        Finished {
            ended,
            untouched,
            duration,
            max_memory_mb,
            output: output.take(),
            runtime: self.runtime.clone(),
            restored: self._template.is_some(),
        }
    }

    /// A handler that keeps a little of every invocation would be killed in the middle of one, some
    /// day. It is replaced between two, if it is memory that it has gained since it began to serve:
    /// who needs nearly all of it from the first time on is let alone.
    fn replace_before_it_is_full(&mut self) {
        let limit = self.function.configuration.memory_mb * 1024;
        let gained = self.max_memory_kib - *self.memory_at_first_kib.get_or_insert(self.max_memory_kib);
        let is_nearly_full = self.max_memory_kib >= limit / 10 * 9 && gained >= limit / 10;
        if is_nearly_full && !self.spoiled && !defences::off("soft-memory-limit") {
            self.spoiled = true;
            let (name, used) = (&self.function.name, self.max_memory_kib / 1024);
            tracing::info!(
                "{name} is given a new environment: it has come to use {used} of its {} MB\nhint: it keeps \
                 something of every invocation; on AWS it would run out of memory some day",
                limit / 1024
            );
        }
    }

    /// The answer, or how it ended without one and what memory it had used.
    async fn exchange(
        &mut self,
        begins: Begins<'_>,
        mut speaker: Option<&mut Speaker>,
        deadline: Instant,
        output: &mut Output,
        is_slow: impl FnOnce(&Arc<Function>, &Arc<Mailbox>),
    ) -> Result<Letter, (Ended, u32)> {
        let deadline = if defences::off("timeout-kill") { deadline + FOR_EVER } else { deadline };
        let (expected, mut unsent) = match begins {
            Begins::Init => (Expected { nonce: 0, init: true }, &[][..]),
            Begins::Request(asked, unsent) => (Expected { nonce: asked.nonce, init: false }, unsent),
        };
        let is_request = !expected.init;
        let mut is_slow = Some(is_slow);
        let bell = self.line.bell;
        if is_request && unsent.is_empty() && speaker.is_none() {
            // Most invocations are over in a moment. Until one has taken longer than that, nothing
            // but its answer is waited for.
            match bell.answered(&self.line.mailbox).await {
                Rung::Answer => return self.collected(expected).await,
                Rung::Overdue => self.takes_long(is_slow.take()),
            }
        }
        let mut look = Instant::now() + memory::INTERVAL;
        let timer = tokio::time::sleep_until(look.min(deadline).into());
        tokio::pin!(timer);
        let outlet = speaker.as_ref().map(|speaker| speaker.outlet());
        loop {
            // While a piece waits for whoever listens, no more are taken: the environment waits too.
            let (piece_waits, somebody_listens) = match &speaker {
                Some(speaker) => (speaker.holds_a_piece(), !speaker.is_abandoned()),
                None => (false, false),
            };
            tokio::select! {
                biased;
                rung = bell.answered(&self.line.mailbox), if is_request => {
                    if rung == Rung::Answer {
                        // What has begun as a stream ends in the pipe.
                        return match &speaker {
                            Some(speaker) if speaker.has_begun() => self.believe(Taken::Malformed).await,
                            _ => self.collected(expected).await,
                        };
                    }
                    self.takes_long(is_slow.take());
                }
                // Before what an environment could keep busy without end.
                () = &mut timer => {
                    let now = Instant::now();
                    if now >= deadline {
                        let peak = memory::peak_kib(self.process.pid);
                        self.process.kill();
                        return Err((Ended::TimedOut, peak));
                    }
                    let limit = self.function.configuration.memory_mb;
                    // Aside: an invocation that has not taken so long needs no room for it.
                    match Box::pin(memory::look(self.process.pid, limit, deadline)).await {
                        Usage::Within => {}
                        Usage::TooMuchMemory if defences::off("memory-limit") => {}
                        Usage::TooManyProcesses if defences::off("process-limit") => {}
                        Usage::TooMuchMemory => {
                            self.process.kill();
                            return Err((Ended::OutOfMemory, 0));
                        }
                        Usage::TooManyProcesses => {
                            self.process.kill();
                            memory::tell_crowded(self.function.name.as_str());
                            return Err((Ended::Exited(self.process.exited().await), 0));
                        }
                    }
                    look = now + memory::INTERVAL;
                    timer.as_mut().reset(look.min(deadline).into());
                }
                () = stream::room(outlet.as_ref()), if piece_waits => {
                    if let Some(speaker) = speaker.as_deref_mut() {
                        speaker.pass_on();
                    }
                }
                () = stream::abandoned(outlet.as_ref()), if somebody_listens => {
                    if let Some(speaker) = speaker.as_deref_mut() {
                        speaker.abandon();
                    }
                    self.line.mailbox.office.abandon();
                }
                readable = self.line.answers.readable(), if self.line.answers_are_open && !piece_waits => {
                    match readable.map_err(drop).and_then(|()| self.line.read_answers()) {
                        Ok(()) => {}
                        // The mailbox cannot be closed; how the process ends is told elsewhere.
                        Err(()) if is_request => self.line.answers_are_open = false,
                        // The other end is closed: the process is ending, or has closed what it
                        // cannot answer without.
                        Err(()) => return Err((self.exit(deadline).await, 0)),
                    }
                    let taken = match speaker.as_deref_mut() {
                        Some(speaker) => {
                            let taken = self.line.take_stream(expected, speaker);
                            speaker.pass_on();
                            taken
                        }
                        None => self.line.take(expected),
                    };
                    match taken {
                        Taken::Incomplete => {}
                        taken => return self.believe(taken).await,
                    }
                }
                readable = self.line.output.readable(), if self.line.output_is_open => {
                    match readable {
                        Ok(()) => self.line.read_output(output),
                        Err(_) => self.line.output_is_open = false,
                    }
                }
                writable = self.line.requests.writable(), if !unsent.is_empty() => {
                    match writable.and_then(|()| self.line.requests.try_write(unsent)) {
                        Ok(written) => unsent = &unsent[written..],
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(_) => unsent = &[],
                    }
                }
                exit = self.process.exited() => {
                    // It may have answered with its last breath.
                    self.line.read_last_answers();
                    let last = match (self.line.collect(expected), speaker.as_deref_mut()) {
                        (Taken::Incomplete, Some(speaker)) => self.line.take_stream(expected, speaker),
                        (Taken::Incomplete, None) => self.line.take(expected),
                        (_, Some(speaker)) if speaker.has_begun() => Taken::Malformed,
                        (collected, _) => collected,
                    };
                    return match last {
                        Taken::Answer(letter) => {
                            self.spoiled = true;
                            Ok(letter)
                        }
                        _ => Err((Ended::Exited(exit), 0)),
                    };
                }
            }
        }
    }

    fn takes_long(&mut self, is_slow: Option<impl FnOnce(&Arc<Function>, &Arc<Mailbox>)>) {
        if let Some(is_slow) = is_slow {
            self.was_slow = true;
            is_slow(&self.function, &self.line.mailbox);
        }
    }

    async fn collected(&mut self, expected: Expected) -> Result<Letter, (Ended, u32)> {
        let taken = self.line.collect(expected);
        self.believe(taken).await
    }

    /// An answer is the end of the phase; nonsense is the end of the process.
    async fn believe(&mut self, taken: Taken) -> Result<Letter, (Ended, u32)> {
        match taken {
            Taken::Answer(letter) => {
                self.has_waited = letter.has_waited;
                self.spoiled |= self.line.is_soiled;
                Ok(letter)
            }
            Taken::TooLong => Err((Ended::StreamTooLong, memory::peak_kib(self.process.pid))),
            Taken::Incomplete | Taken::Malformed => {
                self.process.kill();
                Err((Ended::Exited(self.process.exited().await), 0))
            }
        }
    }

    /// Waits for the exit status of a process that has closed its pipes.
    async fn exit(&mut self, deadline: Instant) -> Ended {
        let patience = Duration::from_millis(200).min(deadline.saturating_duration_since(Instant::now()));
        match tokio::time::timeout(patience, self.process.exited()).await {
            Ok(exit) => Ended::Exited(exit),
            // It lives on, but cannot answer any more.
            Err(_) => {
                self.process.kill();
                Ended::Exited(self.process.exited().await)
            }
        }
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.process.kill();
    }
}

/// The private folder that `TMPDIR` names.
struct TemporaryFolder {
    path: PathBuf,
    /// Of a template: `path` lies in here, and so do the folders of what is forked from it. A process can
    /// give up rights to files, but not gain any.
    around: Option<PathBuf>,
}

/// The template's own, beside those of its forks.
const OF_TEMPLATE: &str = "template";

impl TemporaryFolder {
    fn create(common: &Common, ticket: u64) -> std::io::Result<Self> {
        let path = common.state_dir.join("tmp").join(format!(
            "{}-{ticket}-{:08x}",
            std::process::id(),
            random() as u32
        ));
        Self::make(path, None)
    }

    fn of_template(common: &Common, ticket: u64) -> std::io::Result<Self> {
        let mut folder = Self::create(common, ticket)?;
        let path = folder.path.join(OF_TEMPLATE);
        let around = std::mem::take(&mut folder.path);
        std::mem::forget(folder);
        Self::make(path, Some(around))
    }

    fn within(template: &Template, ticket: u64) -> std::io::Result<Self> {
        let around = template.temporary_folder().parent().unwrap_or(Path::new("/"));
        Self::make(around.join(ticket.to_string()), None)
    }

    fn make(path: PathBuf, around: Option<PathBuf>) -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(Self { path, around })
    }

    /// What the process may write to.
    fn writable(&self) -> &Path {
        self.around.as_deref().unwrap_or(&self.path)
    }
}

impl Drop for TemporaryFolder {
    /// Usually empty, and gone with one call; what a handler left there may take longer.
    fn drop(&mut self) {
        let path = self.around.take().unwrap_or_else(|| std::mem::take(&mut self.path));
        if std::fs::remove_dir(&path).is_err() {
            std::thread::spawn(move || std::fs::remove_dir_all(path));
        }
    }
}

/// Where a test takes a deadline away.
const FOR_EVER: Duration = Duration::from_secs(3600);

const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/opt/bin";

/// `2026/11/22/[$LATEST]0123456789abcdef0123456789abcdef`
fn log_stream(version: Version) -> String {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y/%m/%d");
    format!("{today}/[{version}]{}", uuid::Uuid::new_v4().simple())
}

fn random() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1
}
