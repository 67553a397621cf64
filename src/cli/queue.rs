//! `handlerd queue`: asynchronous invocations that wait, run or have died.
//!
//! A gateway that runs is asked, as it alone knows what runs; without one, the state folder is read
//! and changed directly.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;

use super::options::{Common, NamedPlace, State};
use super::output;
use crate::invoker::Changed;
use crate::server::{self, Keeper};
use crate::store::{Chosen, Overview, Shown, Store};

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    list: List,
}

#[derive(Subcommand)]
enum Action {
    /// List what waits, runs and has died; what happens without a subcommand
    List(List),
    /// Show one of them: its event, and why it failed
    Show(Show),
    /// Try again now, with all retries before them
    Retry(Choice),
    /// Forget them
    Discard(Choice),
}

#[derive(Args, Default)]
struct List {
    /// Only those of this function
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// How many are listed; all are counted
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    limit: usize,
    /// One JSON document instead of tables
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct Show {
    /// Its number, or the request id of the invocation
    id: String,
    /// One JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct Choice {
    /// Numbers, or request ids
    #[arg(value_name = "ID", required_unless_present_any = ["all", "function"])]
    ids: Vec<String>,
    /// All that have died
    #[arg(long, conflicts_with_all = ["ids", "function"])]
    all: bool,
    /// All of this function that have died
    #[arg(long, value_name = "NAME", conflicts_with = "ids")]
    function: Option<String>,
    /// With --all or --function: also those that wait
    #[arg(long, conflicts_with = "ids")]
    waiting: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Args, Default, Clone)]
struct Place {
    #[command(flatten)]
    place: NamedPlace,
    #[command(flatten)]
    state: State,
}

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.action.unwrap_or(Action::List(arguments.list)) {
        Action::List(arguments) => list(&arguments),
        Action::Show(arguments) => show(&arguments),
        Action::Retry(choice) => change(&choice, "retry"),
        Action::Discard(choice) => change(&choice, "discard"),
    }
}

fn list(arguments: &List) -> anyhow::Result<ExitCode> {
    let overview = match arguments.place.open()? {
        Some(queue) => queue.overview(arguments.function.clone(), arguments.limit.clamp(1, 1000))?,
        None => Overview { now: now(), lanes: Vec::new(), events: Vec::new() },
    };
    if arguments.json {
        output::print(&format!("{}\n", serde_json::to_string_pretty(&overview)?));
        return Ok(ExitCode::SUCCESS);
    }
    if overview.lanes.is_empty() {
        eprintln!("nothing waits, and nothing has died");
        return Ok(ExitCode::SUCCESS);
    }
    output::print(&text(&overview));
    Ok(ExitCode::SUCCESS)
}

fn show(arguments: &Show) -> anyhow::Result<ExitCode> {
    let shown = match arguments.place.open()? {
        Some(queue) => queue.entry(&arguments.id)?,
        None => None,
    };
    let Some(shown) = shown else {
        bail!("there is no event `{}` in the queue\nhint: `handlerd queue` lists them", arguments.id)
    };
    let text = match arguments.json {
        true => format!("{}\n", serde_json::to_string_pretty(&shown)?),
        false => detail(&shown, now()),
    };
    output::print(&text);
    Ok(ExitCode::SUCCESS)
}

fn change(choice: &Choice, verb: &'static str) -> anyhow::Result<ExitCode> {
    let chosen =
        Chosen { ids: choice.ids.clone(), function: choice.function.clone(), waiting: choice.waiting };
    let changed = match choice.place.open()? {
        Some(queue) => queue.change(verb, chosen)?,
        None => Changed::default(),
    };
    for id in &changed.running {
        eprintln!("{id} runs right now, and was left alone");
    }
    if changed.changed == 0 && changed.running.is_empty() && !choice.ids.is_empty() {
        bail!("the queue has none of these: {}\nhint: `handlerd queue` lists them", choice.ids.join(", "));
    }
    let (events, done) = (
        if changed.changed == 1 { "event" } else { "events" },
        if verb == "retry" { "due again now" } else { "discarded" },
    );
    output::print(&format!("{} {events} {done}\n", changed.changed));
    Ok(ExitCode::SUCCESS)
}

/// Lanes, then rows.
fn text(overview: &Overview) -> String {
    let mut rows = vec![["FUNCTION", "WAITING", "RUNNING", "RETRYING", "DEAD"].map(str::to_owned).to_vec()];
    for counts in &overview.lanes {
        let mut row = vec![counts.lane.replacen("> ", "to ", 1)];
        row.extend(
            [counts.waiting, counts.running, counts.retrying, counts.dead].map(|count| count.to_string()),
        );
        rows.push(row);
    }
    let mut text = output::table(&rows);
    let mut rows =
        vec![["ID", "STATE", "FUNCTION", "AGE", "TRIED", "NEXT", "WHY"].map(str::to_owned).to_vec()];
    for shown in &overview.events {
        rows.push(vec![
            shown.id.to_string(),
            shown.state.clone(),
            whose(shown),
            span(overview.now - shown.accepted_at),
            shown.attempts.to_string(),
            next(shown, overview.now),
            shown.error.clone().unwrap_or_default(),
        ]);
    }
    text.push('\n');
    text.push_str(&output::table(&rows));
    let all: i64 = overview.lanes.iter().map(|c| c.waiting + c.running + c.retrying + c.dead).sum();
    let others = all - overview.events.len() as i64;
    if others > 0 {
        text.push_str(&format!("... and {others} more: `--limit` lists more of them\n"));
    }
    text
}

fn detail(shown: &Shown, now: i64) -> String {
    let mut rows = vec![
        vec!["id".to_owned(), shown.id.to_string()],
        vec!["state".to_owned(), shown.state.clone()],
        vec!["function".to_owned(), whose(shown)],
        vec!["request id".to_owned(), shown.request_id.clone()],
        vec!["age".to_owned(), span(now - shown.accepted_at)],
        vec!["tried".to_owned(), shown.attempts.to_string()],
    ];
    if shown.state == "retrying" {
        rows.push(vec!["next".to_owned(), next(shown, now)]);
    }
    if let Some(error) = &shown.error {
        rows.push(vec!["error".to_owned(), error.clone()]);
    }
    let body = shown.body.as_deref().unwrap_or_default();
    format!("{}\n{body}\n", output::table(&rows))
}

fn whose(shown: &Shown) -> String {
    let qualified = match &shown.qualifier {
        Some(qualifier) => format!("{}:{qualifier}", shown.function),
        None => shown.function.clone(),
    };
    match &shown.destination {
        Some(destination) => format!("{qualified} to {destination}"),
        None => qualified,
    }
}

fn next(shown: &Shown, now: i64) -> String {
    match shown.state.as_str() {
        "retrying" => format!("in {}", span(shown.due_at - now)),
        "waiting" => "now".to_owned(),
        _ => String::new(),
    }
}

/// `12 s`, `3 min`, `5 h`, `2 d`
fn span(milliseconds: i64) -> String {
    match milliseconds.max(0) / 1000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Where the queue is looked at.
enum Queue {
    OfGateway { api: String, token: Option<String>, runtime: tokio::runtime::Runtime },
    OfFolder { store: Store, _keeper: Keeper, runtime: tokio::runtime::Runtime },
}

impl Place {
    /// `None`: no gateway has ever run here.
    fn open(&self) -> anyhow::Result<Option<Queue>> {
        let (settings, _) = self.place.settle(&Common::from(self.state.clone()))?;
        if !settings.state_dir.is_dir() {
            return Ok(None);
        }
        let runtime = server::runtime()?;
        Ok(Some(match server::keeper(&settings.state_dir)? {
            Keeper::Gateway { api, token } => Queue::OfGateway { api, token, runtime },
            keeper @ Keeper::Nobody { .. } => {
                Queue::OfFolder { store: Store::open(&settings.state_dir)?, _keeper: keeper, runtime }
            }
        }))
    }
}

impl Queue {
    fn overview(&self, function: Option<String>, limit: usize) -> anyhow::Result<Overview> {
        match self {
            Self::OfGateway { .. } => {
                // Names of functions need no escaping; what is none is found nowhere.
                let whose = function.map(|name| format!("&function={}", letters(&name))).unwrap_or_default();
                self.ask("GET", &format!("/_handlerd/queue?limit={limit}{whose}"), None)
            }
            Self::OfFolder { store, runtime, .. } => {
                Ok(runtime.block_on(store.queue_overview(now(), function, limit, Default::default()))?)
            }
        }
    }

    fn entry(&self, id: &str) -> anyhow::Result<Option<Shown>> {
        match self {
            Self::OfGateway { .. } if letters(id) != id || id.is_empty() => Ok(None),
            Self::OfGateway { .. } => match self.ask("GET", &format!("/_handlerd/queue/{id}"), None) {
                Ok(shown) => Ok(Some(shown)),
                Err(error) if error.to_string().contains("There is no event") => Ok(None),
                Err(error) => Err(error),
            },
            Self::OfFolder { store, runtime, .. } => {
                Ok(runtime.block_on(store.queue_entry(id, now(), Default::default()))?)
            }
        }
    }

    fn change(&self, verb: &'static str, chosen: Chosen) -> anyhow::Result<Changed> {
        match self {
            Self::OfGateway { .. } => {
                self.ask("POST", &format!("/_handlerd/queue/{verb}"), Some(serde_json::to_string(&chosen)?))
            }
            Self::OfFolder { store, runtime, .. } => {
                let changed = runtime.block_on(async {
                    let ids = store.choose(chosen).await?;
                    match verb {
                        "retry" => store.retry_now(ids, now()).await,
                        _ => store.discard(ids).await,
                    }
                })?;
                Ok(Changed { changed, running: Vec::new() })
            }
        }
    }

    fn ask<T: DeserializeOwned>(&self, method: &str, path: &str, body: Option<String>) -> anyhow::Result<T> {
        let Self::OfGateway { api, token, runtime } = self else { bail!("there is no gateway to ask") };
        let url = format!("{api}{path}");
        let text = runtime.block_on(async {
            let client =
                reqwest::Client::builder().no_proxy().timeout(std::time::Duration::from_secs(30)).build()?;
            let request = match method {
                "GET" => client.get(&url),
                _ => client.post(&url).body(body.unwrap_or_default()),
            };
            let request = match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            };
            request.send().await?.text().await
        });
        let text = text.with_context(|| format!("the gateway at {api} does not answer"))?;
        serde_json::from_str(&text).map_err(|_| {
            let said: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let said = said["Message"].as_str().or(said["message"].as_str()).unwrap_or("it makes no sense");
            anyhow::anyhow!("the gateway at {api} has answered: {said}")
        })
    }
}

/// What may stand in a name or an id.
fn letters(text: &str) -> String {
    text.chars().filter(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        let spans = [0, 59_999, 119_000, 120_000, 7_199_000, 7_200_000, 200_000_000, -5].map(span);
        assert_eq!(spans, ["0 s", "59 s", "119 s", "2 min", "119 min", "2 h", "2 d", "0 s"]);
    }
}
