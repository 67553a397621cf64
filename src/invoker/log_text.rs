//! The log of an invocation: what the function printed, between the lines that the platform writes.

use std::time::SystemTime;

use crate::function::{Function, LogFormat};
use crate::invocation::{Failure, Outcome, Usage};

pub struct Invocation<'a> {
    pub function: &'a Function,
    /// `python3.12`
    pub runtime: &'a str,
    pub request_id: &'a str,
    pub began: SystemTime,
    pub outcome: &'a Outcome,
    pub usage: &'a Usage,
    /// Of the environment's init phase, if this is its first invocation.
    pub init_output: Option<&'a [u8]>,
    pub output: &'a [u8],
    /// The handler could not be loaded; `output` is the init phase's.
    pub in_init: bool,
}

impl Invocation<'_> {
    pub fn text(&self) -> Vec<u8> {
        match self.function.configuration.logging.format {
            LogFormat::Text => self.plain(),
            LogFormat::Json => self.json(),
        }
    }

    fn plain(&self) -> Vec<u8> {
        let Self { request_id, usage, .. } = self;
        let mut log = Vec::with_capacity(512 + self.output.len());
        if let Some(output) = self.init_output {
            push(&mut log, &format!("INIT_START Runtime Version: {}\n", self.runtime()));
            push_output(&mut log, output);
        }
        if self.in_init {
            push(&mut log, &format!("INIT_START Runtime Version: {}\n", self.runtime()));
            push_output(&mut log, self.output);
            push(
                &mut log,
                &format!(
                    "INIT_REPORT Init Duration: {:.2} ms\tPhase: init\t{}\n",
                    milliseconds(usage),
                    self.status()
                ),
            );
        }
        push(&mut log, &format!("START RequestId: {request_id} Version: {}\n", self.function.version));
        if !self.in_init {
            push_output(&mut log, self.output);
        }
        match self.outcome.failure() {
            Some(Failure::TimedOut) => {
                let time = jiff::Timestamp::try_from(self.began + usage.duration).unwrap_or_default();
                let seconds = self.function.configuration.timeout.as_secs_f64();
                push(
                    &mut log,
                    &format!("{time:.3} {request_id} Task timed out after {seconds:.2} seconds\n\n"),
                );
            }
            Some(Failure::Exited(_) | Failure::OutOfMemory) => {
                push(&mut log, &format!("{}\nRuntime.ExitError\n", self.error_message()));
            }
            _ => {}
        }
        push(&mut log, &format!("END RequestId: {request_id}\n"));
        push(
            &mut log,
            &format!(
                "REPORT RequestId: {request_id}\tDuration: {:.2} ms\tBilled Duration: {} ms\tMemory Size: {} MB\t\
                 Max Memory Used: {} MB\t",
                milliseconds(usage),
                usage.billed_ms(),
                self.function.configuration.memory_mb,
                usage.max_memory_mb,
            ),
        );
        if let Some(init) = usage.init_duration {
            push(&mut log, &format!("Init Duration: {:.2} ms\t", init.as_secs_f64() * 1000.0));
        }
        // A handler that raised is no error of the platform: its REPORT line looks like any other.
        if matches!(self.outcome.failure(), Some(failure) if *failure != Failure::Raised) {
            push(&mut log, &self.status());
        }
        push(&mut log, "\n");
        log
    }

    fn json(&self) -> Vec<u8> {
        let mut log = Vec::with_capacity(512 + self.output.len());
        let end = self.began + self.usage.duration;
        if self.in_init || self.init_output.is_some() {
            let record = serde_json::json!({
                "initializationType": "on-demand", "phase": "init", "runtimeVersion": self.runtime(),
                "functionName": self.function.name.as_str(), "functionVersion": self.function.version.to_string(),
            });
            push_json(&mut log, self.began, "platform.initStart", record);
            push_output(
                &mut log,
                if self.in_init { self.output } else { self.init_output.unwrap_or_default() },
            );
        }
        let start =
            serde_json::json!({"requestId": self.request_id, "version": self.function.version.to_string()});
        push_json(&mut log, self.began, "platform.start", start);
        if !self.in_init {
            push_output(&mut log, self.output);
        }
        let (status, error_type) = self.status_words();
        let mut metrics = serde_json::json!({
            "durationMs": rounded(milliseconds(self.usage)),
            "billedDurationMs": self.usage.billed_ms(),
            "memorySizeMB": self.function.configuration.memory_mb,
            "maxMemoryUsedMB": self.usage.max_memory_mb,
        });
        if let Some(init) = self.usage.init_duration {
            metrics["initDurationMs"] = rounded(init.as_secs_f64() * 1000.0).into();
        }
        let mut record =
            serde_json::json!({"requestId": self.request_id, "metrics": metrics, "status": status});
        if let Some(error_type) = error_type {
            record["errorType"] = error_type.into();
        }
        push_json(&mut log, end, "platform.report", record);
        log
    }

    fn status(&self) -> String {
        match self.status_words() {
            ("success", _) => String::new(),
            (status, None) => format!("Status: {status}"),
            (status, Some(error_type)) => format!("Status: {status}\tError Type: {error_type}"),
        }
    }

    fn status_words(&self) -> (&'static str, Option<String>) {
        match self.outcome.failure() {
            None => ("success", None),
            Some(Failure::TimedOut) => ("timeout", None),
            Some(Failure::OutOfMemory) => ("error", Some("Runtime.OutOfMemory".to_owned())),
            Some(_) => ("error", self.error_field("errorType")),
        }
    }

    fn error_message(&self) -> String {
        self.error_field("errorMessage").unwrap_or_default()
    }

    fn error_field(&self, name: &str) -> Option<String> {
        let error: serde_json::Value = serde_json::from_slice(self.outcome.payload()).ok()?;
        Some(error.get(name)?.as_str()?.to_owned())
    }

    fn runtime(&self) -> String {
        self.runtime.replace("python", "python:")
    }
}

fn milliseconds(usage: &Usage) -> f64 {
    usage.duration.as_secs_f64() * 1000.0
}

fn rounded(milliseconds: f64) -> f64 {
    (milliseconds * 1000.0).round() / 1000.0
}

fn push(log: &mut Vec<u8>, text: &str) {
    log.extend_from_slice(text.as_bytes());
}

/// A platform line always begins a line, whatever the function left unfinished.
fn push_output(log: &mut Vec<u8>, output: &[u8]) {
    log.extend_from_slice(output);
    if !output.is_empty() && !output.ends_with(b"\n") {
        log.push(b'\n');
    }
}

fn push_json(log: &mut Vec<u8>, time: SystemTime, kind: &str, record: serde_json::Value) {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    let line = serde_json::json!({"time": format!("{time:.3}"), "type": kind, "record": record});
    push(log, &format!("{line}\n"));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::function::{Code, Configuration};

    fn function() -> Function {
        Function {
            sequence: 1,
            name: "hello".parse().unwrap(),
            version: crate::function::Version::Latest,
            task_root: "/h".into(),
            layers: Vec::new(),
            configuration: Configuration::default(),
            code: Code {
                sha256: [0; 32],
                own_sha256: [0; 32],
                size: 0,
                last_modified: SystemTime::UNIX_EPOCH,
            },
        }
    }

    fn log(outcome: &Outcome, init: Option<&[u8]>, output: &[u8], in_init: bool) -> String {
        let usage = Usage {
            duration: Duration::from_micros(3010),
            init_duration: init.map(|_| Duration::from_micros(110_100)),
            max_memory_mb: 36,
        };
        let invocation = Invocation {
            function: &function(),
            runtime: "python3.12",
            request_id: "ID",
            began: SystemTime::UNIX_EPOCH,
            outcome,
            usage: &usage,
            init_output: init,
            output,
            in_init,
        };
        String::from_utf8(invocation.text()).unwrap()
    }

    #[test]
    fn a_first_invocation() {
        let outcome = Outcome::Returned { payload: b"null".to_vec(), raw: false };
        insta::assert_snapshot!(log(&outcome, Some(b"importing"), b"hi\n", false).replace('\t', "<TAB>"), @r"
        INIT_START Runtime Version: python:3.12
        importing
        START RequestId: ID Version: $LATEST
        hi
        END RequestId: ID
        REPORT RequestId: ID<TAB>Duration: 3.01 ms<TAB>Billed Duration: 114 ms<TAB>Memory Size: 128 MB<TAB>Max Memory Used: 36 MB<TAB>Init Duration: 110.10 ms<TAB>
        ");
    }

    #[test]
    fn a_timeout() {
        let outcome = Outcome::Failed { payload: b"{}".to_vec(), failure: Failure::TimedOut };
        insta::assert_snapshot!(log(&outcome, None, b"working", false).replace('\t', "<TAB>"), @r"
        START RequestId: ID Version: $LATEST
        working
        1970-01-01T00:00:00.003Z ID Task timed out after 3.00 seconds

        END RequestId: ID
        REPORT RequestId: ID<TAB>Duration: 3.01 ms<TAB>Billed Duration: 4 ms<TAB>Memory Size: 128 MB<TAB>Max Memory Used: 36 MB<TAB>Status: timeout
        ");
    }
}
