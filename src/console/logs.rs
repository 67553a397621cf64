//! Log records: the last ones, and those that come.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit, broadcast, watch};

use super::error::ViewError;
use super::stream::{BEAT, COMMENT, event, stopped};
use super::{Console, blocking, stream};
use crate::control_plane::Routes;
use crate::control_plane::Scope::Read;
use crate::logs::{Line, Record};

const LAST: usize = 500;
/// Readers at once; each is a connection that stays.
static READERS: Semaphore = Semaphore::const_new(64);

pub fn routes() -> Routes<Console> {
    Routes::new().at("/_handlerd/logs").get(Read, logs)
}

#[derive(Deserialize)]
struct Asked {
    function: Option<String>,
    request_id: Option<String>,
    /// Text that must be in it, in any case of letters.
    filter: Option<String>,
    level: Option<String>,
    follow: Option<bool>,
}

/// Which records are wanted.
struct Wanted {
    function: Option<String>,
    request_id: Option<String>,
    filter: Option<String>,
    level: Option<Level>,
}

impl Wanted {
    fn new(asked: Asked) -> Result<Self, ViewError> {
        let level = match asked.level.as_deref().filter(|level| !level.is_empty()) {
            None => None,
            Some(level) => Some(Level::named(&level.to_ascii_uppercase()).ok_or_else(|| {
                ViewError::invalid("level must be one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL")
            })?),
        };
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(Self {
            function: text(asked.function),
            request_id: text(asked.request_id),
            filter: text(asked.filter).map(|filter| filter.to_lowercase()),
            level,
        })
    }

    fn wants(&self, line: &Line) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        same(&self.function, &line.function)
            && same(&self.request_id, &line.request_id)
            && self.level.is_none_or(|level| Level::of(&line.text) >= level)
            && self.filter.as_deref().is_none_or(|filter| line.text.to_lowercase().contains(filter))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl Level {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "TRACE" => Self::Trace,
            "DEBUG" => Self::Debug,
            "INFO" => Self::Info,
            "WARN" | "WARNING" => Self::Warn,
            "ERROR" => Self::Error,
            "FATAL" | "CRITICAL" => Self::Fatal,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }

    /// `[ERROR] ...`, as Lambda formats what is logged, or a JSON record's own level.
    fn of(text: &str) -> Self {
        if let Some((level, _)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']'))
            && let Some(level) = Self::named(level)
        {
            return level;
        }
        if text.starts_with('{') {
            #[derive(Deserialize)]
            struct Leveled {
                #[serde(alias = "log_level")]
                level: String,
            }
            let level = serde_json::from_str(text)
                .ok()
                .and_then(|Leveled { level }| Self::named(&level.to_uppercase()));
            return level.unwrap_or(Self::Info);
        }
        let failed = text.contains("Task timed out after")
            || text.starts_with("RequestId: ") && text.contains(" Error: ");
        if failed { Self::Error } else { Self::Info }
    }
}

fn told(line: &Line) -> Value {
    json!({
        "function": line.function,
        "time": line.time,
        "request_id": line.request_id,
        "level": Level::of(&line.text).name(),
        "text": line.text,
    })
}

async fn logs(State(console): State<Console>, Query(asked): Query<Asked>) -> Result<Response, ViewError> {
    let follow = asked.follow == Some(true);
    let wanted = Wanted::new(asked)?;
    let Some(logs) = console.0.invoker.logs().cloned() else {
        let message = "logs are not kept: the state folder could not be written at the start";
        return Err(ViewError::new(StatusCode::SERVICE_UNAVAILABLE, message));
    };
    if !follow {
        let state_dir = console.0.settings.state_dir.clone();
        let lines = blocking(move || {
            logs.flush();
            crate::logs::last(&state_dir, wanted.function.as_deref(), LAST, |line| wanted.wants(line))
        });
        let lines = lines.await?;
        return Ok(Json(lines.iter().map(told).collect::<Vec<_>>()).into_response());
    }
    let turn = READERS.try_acquire().map_err(|_| {
        ViewError::new(StatusCode::SERVICE_UNAVAILABLE, "64 others follow the logs already")
            .hint("close some tabs of the console")
    })?;
    let follower = Follower { records: logs.subscribe(), wanted, stop: console.0.stop.clone(), _turn: turn };
    let events = unfold(follower, |mut follower| async move { Some((follower.next().await?, follower)) });
    Ok(stream::response(COMMENT.to_owned(), events))
}

struct Follower {
    records: broadcast::Receiver<Arc<Record>>,
    wanted: Wanted,
    stop: watch::Receiver<bool>,
    _turn: SemaphorePermit<'static>,
}

impl Follower {
    /// `None`: the gateway stops.
    async fn next(&mut self) -> Option<String> {
        loop {
            let record = tokio::select! {
                () = stopped(&mut self.stop) => return None,
                record = tokio::time::timeout(BEAT, self.records.recv()) => record,
            };
            match record {
                Err(_) => return Some(COMMENT.to_owned()),
                Ok(Ok(record)) => {
                    let lines = record.lines();
                    let text: String = lines
                        .iter()
                        .filter(|line| self.wanted.wants(line))
                        .map(|line| event("record", &told(line)))
                        .collect();
                    if !text.is_empty() {
                        return Some(text);
                    }
                }
                Ok(Err(broadcast::error::RecvError::Lagged(_))) => {
                    return Some(event("lagged", &json!({})));
                }
                Ok(Err(broadcast::error::RecvError::Closed)) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        for (text, level) in [
            ("[ERROR]\t2026-11-22T10:00:00.000Z\tid\tno", "ERROR"),
            ("[WARNING]\t...", "WARN"),
            (r#"{"timestamp":"x","level":"DEBUG","message":"m"}"#, "DEBUG"),
            (r#"{"level":7}"#, "INFO"),
            ("[1, 2]", "INFO"),
            ("[ERROR", "INFO"),
            ("2026-11-22T10:00:00Z id Task timed out after 3.00 seconds", "ERROR"),
            ("RequestId: id Error: Runtime exited with error: signal: killed", "ERROR"),
            ("START RequestId: id Version: $LATEST", "INFO"),
        ] {
            assert_eq!(Level::of(text).name(), level, "{text}");
        }
    }

    #[test]
    fn what_is_wanted() {
        let line = Line {
            time: String::new(),
            function: "a".to_owned(),
            request_id: "1".to_owned(),
            text: "[WARN] Hello".to_owned(),
        };
        let wanted = |function: &str, request_id: &str, filter: &str, level: &str| {
            let text = |text: &str| Some(text.to_owned());
            let asked = Asked {
                function: text(function),
                request_id: text(request_id),
                filter: text(filter),
                level: text(level),
                follow: None,
            };
            Wanted::new(asked).map(|wanted| wanted.wants(&line)).ok()
        };
        assert_eq!(wanted("", "", "", ""), Some(true));
        assert_eq!(wanted("a", "1", "hELLO", "warn"), Some(true));
        assert_eq!(wanted("b", "", "", ""), Some(false));
        assert_eq!(wanted("", "2", "", ""), Some(false));
        assert_eq!(wanted("", "", "bye", ""), Some(false));
        assert_eq!(wanted("", "", "", "ERROR"), Some(false));
        assert_eq!(wanted("", "", "", "loud"), None);
    }
}
