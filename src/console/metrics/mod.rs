//! Figures over time, for charts and for Prometheus.

mod prometheus;

use std::collections::BTreeMap;
use std::time::SystemTime;

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Console;
use super::error::ViewError;
use crate::control_plane::Routes;
use crate::control_plane::Scope::Read;
use crate::metrics::{Figures, minute_of};

const DAY: u64 = 24 * 60;
const MONTH: u64 = 30 * DAY;
/// Points of a chart.
const MOST_STEPS: u64 = 2000;

pub fn routes() -> Routes<Console> {
    Routes::new().at("/_handlerd/metrics").get(Read, metrics).at("/metrics").get(Read, prometheus::metrics)
}

#[derive(Deserialize)]
struct Asked {
    function: Option<String>,
    from_ms: Option<u64>,
    to_ms: Option<u64>,
    step_s: Option<u64>,
}

/// In minutes: the first, the one after the last, and how many a step has.
fn range(asked: &Asked, now: u64) -> Result<(u64, u64, u64), ViewError> {
    let step = asked.step_s.unwrap_or(60);
    if step == 0 || !step.is_multiple_of(60) || step > MONTH * 60 {
        return Err(ViewError::invalid("step_s must be a multiple of 60, and no more than 30 days"));
    }
    let step = step / 60;
    let to = asked.to_ms.map_or(now + 1, |ms| (ms / 60_000).min(now + 1));
    let from = asked.from_ms.map_or(to.saturating_sub(60), |ms| ms / 60_000);
    // A step begins where a multiple of it does: charts that move on keep their points.
    let from = from.max((now + 1).saturating_sub(MONTH)) / step * step;
    if from >= to {
        return Err(ViewError::invalid("from_ms must be before to_ms, and within the last 30 days"));
    }
    if (to - from).div_ceil(step) > MOST_STEPS {
        let message = format!("that makes more than {MOST_STEPS} steps");
        return Err(ViewError::invalid(message).hint("ask for a shorter time, or a longer step_s"));
    }
    Ok((from, to, step))
}

async fn metrics(
    State(console): State<Console>,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, ViewError> {
    let now = minute_of(SystemTime::now());
    let (from, to, step) = range(&asked, now)?;
    let invoker = &console.0.invoker;
    let mut steps: BTreeMap<u64, Figures> = BTreeMap::new();
    let mut add = |figures: &Figures| {
        steps.entry(figures.minute / step * step).or_default().merge(figures);
    };
    let in_memory = (now + 1).saturating_sub(DAY);
    if from < in_memory {
        let kept = invoker.store().metrics(asked.function.clone(), from, to.min(in_memory)).await?;
        kept.iter().for_each(|(_, figures)| add(figures));
    }
    let figures = invoker.metrics().between(asked.function.as_deref(), from.max(in_memory), to);
    figures.iter().for_each(&mut add);

    let none = Figures::default();
    let all: Vec<(u64, &Figures)> = (from..to)
        .step_by(step as usize)
        .map(|minute| (minute, steps.get(&minute).unwrap_or(&none)))
        .collect();
    let list = |of: &dyn Fn(&Figures) -> Value| all.iter().map(|(_, figures)| of(figures)).collect::<Value>();
    Ok(Json(json!({
        "step_s": step * 60,
        "t_ms": all.iter().map(|(minute, _)| minute * 60_000).collect::<Vec<_>>(),
        "invocations": list(&|figures| figures.invocations.into()),
        "errors": list(&|figures| figures.errors.into()),
        "throttles": list(&|figures| figures.throttles.into()),
        "cold_starts": list(&|figures| figures.cold_starts.into()),
        "concurrency": list(&|figures| figures.concurrency.into()),
        "p50_ms": list(&|figures| figures.durations.percentile(50.0).into()),
        "p90_ms": list(&|figures| figures.durations.percentile(90.0).into()),
        "p99_ms": list(&|figures| figures.durations.percentile(99.0).into()),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(from: u64, to: u64, step_s: u64) -> Asked {
        Asked { function: None, from_ms: Some(from * 60_000), to_ms: Some(to * 60_000), step_s: Some(step_s) }
    }

    #[test]
    fn ranges() {
        let now = 29_000_000;
        let usual = Asked { function: None, from_ms: None, to_ms: None, step_s: None };
        assert_eq!(range(&usual, now).unwrap(), (now - 59, now + 1, 1));
        assert_eq!(range(&asked(now - 7, now, 300), now).unwrap(), (now - 10, now, 5));
        // No further back than it is kept.
        assert_eq!(range(&asked(0, now, 86_400), now).unwrap().0, (now + 1 - MONTH) / DAY * DAY);
        for (from, to, step) in [(now, now, 60), (now - 5, now, 61), (now - 5, now, 0), (now - 5000, now, 60)]
        {
            assert!(range(&asked(from, to, step), now).is_err(), "{from} {to} {step}");
        }
        assert!(range(&Asked { from_ms: Some(u64::MAX), ..usual }, now).is_err());
    }
}
