//! `GET /metrics`: the same facts since the start, as Prometheus reads them.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::fmt::Write;
use std::time::Duration;

use axum::extract::State;
use http::header;

use super::super::Console;
use super::super::error::ViewError;
use crate::invoker::Invoker;
use crate::metrics::Total;
use crate::store::Counts;

/// Upper bounds of the histogram, in milliseconds.
const BOUNDS: [u64; 14] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 60_000];

pub async fn metrics(
    State(console): State<Console>,
) -> Result<([(header::HeaderName, &'static str); 1], String), ViewError> {
    let queue = console.0.invoker.queue_overview(None, 0).await?;
    let sum = |of: fn(&Counts) -> i64| queue.lanes.iter().map(of).sum::<i64>();
    let queue = [
        ("waiting", sum(|lane| lane.waiting)),
        ("running", sum(|lane| lane.running)),
        ("retrying", sum(|lane| lane.retrying)),
        ("dead", sum(|lane| lane.dead)),
    ];
    let text = text(&console.0.invoker, &queue);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

fn text(invoker: &Invoker, queue: &[(&'static str, i64)]) -> String {
    let mut text = String::new();
    let mut family = Family { text: &mut text };
    family.begin("handlerd_build_info", "gauge", "The version that runs.");
    family.value("handlerd_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);

    let totals = invoker.metrics().totals();
    family.counters("handlerd_invocations_total", "Invocations that have ended.", &totals, |of| {
        of.figures.invocations
    });
    family.counters("handlerd_errors_total", "Invocations whose function failed.", &totals, |of| {
        of.figures.errors
    });
    family.counters("handlerd_throttles_total", "Invocations refused by a limit.", &totals, |of| {
        of.figures.throttles
    });
    family.counters(
        "handlerd_cold_starts_total",
        "Invocations that waited for an init phase.",
        &totals,
        |of| of.figures.cold_starts,
    );
    family.begin("handlerd_duration_seconds", "histogram", "How long invocations took.");
    for of in &totals {
        family.histogram(of);
    }
    family.begin("handlerd_concurrent_invocations", "gauge", "Invocations that run now.");
    for of in &totals {
        family.value("handlerd_concurrent_invocations", &[("function", &of.function)], f64::from(of.running));
    }
    family.begin("handlerd_environments", "gauge", "Execution environments.");
    for name in invoker.deployments().current().functions.keys() {
        let counts = invoker.environments().counts(name);
        for (state, count) in [("idle", counts.idle), ("busy", counts.busy), ("starting", counts.starting)] {
            let labels = [("function", name.as_str()), ("state", state)];
            family.value("handlerd_environments", &labels, count as f64);
        }
    }
    family.begin("handlerd_queue_events", "gauge", "Asynchronous events that wait, or were given up.");
    for (state, count) in queue {
        family.value("handlerd_queue_events", &[("state", state)], *count as f64);
    }
    family.process();
    text
}

struct Family<'a> {
    text: &'a mut String,
}

impl Family<'_> {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.text, "{name}");
        for (index, (label, content)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{label}=\"{}\"", escaped(content));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }

    fn counters(&mut self, name: &str, help: &str, totals: &[Total], of: impl Fn(&Total) -> u64) {
        self.begin(name, "counter", help);
        for total in totals {
            self.value(name, &[("function", &total.function)], of(total) as f64);
        }
    }

    fn histogram(&mut self, of: &Total) {
        let name = "handlerd_duration_seconds";
        let durations = &of.figures.durations;
        for bound in BOUNDS {
            let count = durations.up_to(Duration::from_millis(bound)) as f64;
            let bound = (bound as f64 / 1000.0).to_string();
            self.value(&format!("{name}_bucket"), &[("function", &of.function), ("le", &bound)], count);
        }
        let count = durations.count() as f64;
        self.value(&format!("{name}_bucket"), &[("function", &of.function), ("le", "+Inf")], count);
        self.value(&format!("{name}_sum"), &[("function", &of.function)], of.time.as_secs_f64());
        self.value(&format!("{name}_count"), &[("function", &of.function)], count);
    }

    /// Of the gateway's own process.
    fn process(&mut self) {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kilobytes =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        if let Some(kilobytes) = kilobytes.and_then(|text| text.trim().parse::<f64>().ok()) {
            self.begin("process_resident_memory_bytes", "gauge", "Memory of the gateway's process.");
            self.value("process_resident_memory_bytes", &[], kilobytes * 1024.0);
        }
        if let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") {
            self.begin("process_open_fds", "gauge", "Open files and connections of the gateway's process.");
            self.value("process_open_fds", &[], descriptors.count() as f64);
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_prometheus_reads_them() {
        let mut text = String::new();
        let mut family = Family { text: &mut text };
        family.begin("a_total", "counter", "What it is.");
        family.value("a_total", &[("function", "f\"\\\n"), ("le", "0.1")], 3.0);
        family.value("b", &[], 0.5);
        let expected = "# HELP a_total What it is.\n# TYPE a_total counter\n\
                        a_total{function=\"f\\\"\\\\\\n\",le=\"0.1\"} 3\nb 0.5\n";
        assert_eq!(text, expected);
    }
}
