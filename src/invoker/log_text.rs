//! The log of an invocation: what the function printed, between the lines that the platform writes.

use std::time::{Duration, SystemTime};

use crate::execution_environment::InitReport;
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
    /// Of the environment's init phase or restore, if this is its first invocation.
    pub init: Option<&'a InitReport>,
    pub output: &'a [u8],
    /// The handler could not be loaded, or not be restored; `output` is from that.
    pub in_init: bool,
    /// The environment came from a snapshot, or should have.
    pub restored: bool,
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
        if let Some(init) = self.init {
            self.push_start(&mut log, init);
        }
        if self.in_init {
            let (word, phase, name) = self.words();
            push(&mut log, &format!("{word}_START Runtime Version: {}\n", self.runtime()));
            push_output(&mut log, self.output);
            let (took, status) = (milliseconds(usage), self.status());
            push(&mut log, &format!("{word}_REPORT {name} Duration: {took:.2} ms\t{phase}{status}\n"));
        }
        let version = self.function.version.text();
        push_all(&mut log, &["START RequestId: ", request_id, " Version: ", &version, "\n"]);
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
        push_all(
            &mut log,
            &[
                "END RequestId: ",
                request_id,
                "\nREPORT RequestId: ",
                request_id,
                "\tDuration: ",
                &in_hundredths(usage.duration),
                " ms\tBilled Duration: ",
                itoa::Buffer::new().format(usage.billed_ms()),
                " ms\tMemory Size: ",
                itoa::Buffer::new().format(self.function.configuration.memory_mb),
                " MB\tMax Memory Used: ",
                itoa::Buffer::new().format(usage.max_memory_mb),
                " MB\t",
            ],
        );
        match usage.init_duration {
            Some(restore) if usage.restored => {
                let (took, billed) = (in_milliseconds(restore), usage.billed_restore_ms());
                let text = format!("Restore Duration: {took:.2} ms\tBilled Restore Duration: {billed} ms\t");
                push(&mut log, &text);
            }
            Some(init) => push(&mut log, &format!("Init Duration: {:.2} ms\t", in_milliseconds(init))),
            None => {}
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
        match self.init {
            Some(init) => self.push_json_start(&mut log, init),
            None if self.in_init => {
                let kind = if self.restored { "platform.restoreStart" } else { "platform.initStart" };
                push_json(&mut log, self.began, kind, self.phase_record(self.restored));
                push_output(&mut log, self.output);
            }
            None => {}
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
        match self.usage.init_duration {
            // The second name is the first one's like; AWS documents the first alone.
            Some(restore) if self.usage.restored => {
                metrics["restoreDurationMs"] = rounded(in_milliseconds(restore)).into();
                metrics["billedRestoreDurationMs"] = self.usage.billed_restore_ms().into();
            }
            Some(init) => metrics["initDurationMs"] = rounded(in_milliseconds(init)).into(),
            None => {}
        }
        let mut record =
            serde_json::json!({"requestId": self.request_id, "metrics": metrics, "status": status});
        if let Some(error_type) = error_type {
            record["errorType"] = error_type.into();
        }
        push_json(&mut log, end, "platform.report", record);
        log
    }

    /// What came before the first invocation. AWS writes of a snapshot when the version is published; here
    /// that is told with the first invocation that came from it.
    fn push_start(&self, log: &mut Vec<u8>, init: &InitReport) {
        if let Some(snapshot) = &init.snapshot {
            self.push_start(log, snapshot);
            let took = in_milliseconds(snapshot.duration);
            // Whether AWS says more in this line of a phase that went well is not known to us.
            push(log, &format!("INIT_REPORT Init Duration: {took:.2} ms\tPhase: init\n"));
        }
        let word = if init.restored { "RESTORE" } else { "INIT" };
        push(log, &format!("{word}_START Runtime Version: {}\n", self.runtime()));
        push_output(log, &init.output);
        if init.restored {
            push(
                log,
                &format!("RESTORE_REPORT Restore Duration: {:.2} ms\n", in_milliseconds(init.duration)),
            );
        }
    }

    fn push_json_start(&self, log: &mut Vec<u8>, init: &InitReport) {
        if let Some(snapshot) = &init.snapshot {
            push_json(log, snapshot.began, "platform.initStart", self.phase_record(true));
            push_output(log, &snapshot.output);
        }
        let kind = if init.restored { "platform.restoreStart" } else { "platform.initStart" };
        push_json(
            log,
            if init.restored { init.began } else { self.began },
            kind,
            self.phase_record(init.restored),
        );
        push_output(log, &init.output);
        if init.restored {
            let metrics = serde_json::json!({"durationMs": rounded(in_milliseconds(init.duration))});
            let record = serde_json::json!({"status": "success", "metrics": metrics});
            push_json(log, init.began + init.duration, "platform.restoreReport", record);
        }
    }

    fn phase_record(&self, snapshot: bool) -> serde_json::Value {
        serde_json::json!({
            "initializationType": if snapshot { "snap-start" } else { "on-demand" }, "phase": "init",
            "runtimeVersion": self.runtime(), "functionName": self.function.name.as_str(),
            "functionVersion": self.function.version.to_string(),
        })
    }

    /// Of a phase that has failed. That a failed restore is told like a failed init phase is our guess.
    fn words(&self) -> (&'static str, &'static str, &'static str) {
        match self.restored {
            true => ("RESTORE", "", "Restore"),
            false => ("INIT", "Phase: init\t", "Init"),
        }
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
    in_milliseconds(usage.duration)
}

fn in_milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn rounded(milliseconds: f64) -> f64 {
    (milliseconds * 1000.0).round() / 1000.0
}

/// Of a millisecond: `3.01`.
fn in_hundredths(duration: Duration) -> String {
    let hundredths = (duration.as_nanos() + 5_000) / 10_000;
    let (mut whole, mut rest) = (itoa::Buffer::new(), itoa::Buffer::new());
    // The one in front keeps the noughts.
    [whole.format(hundredths / 100), ".", &rest.format(100 + hundredths % 100)[1..]].concat()
}

fn push_all(log: &mut Vec<u8>, texts: &[&str]) {
    for text in texts {
        push(log, text);
    }
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

    fn init(output: &[u8], restored: bool, snapshot: Option<InitReport>) -> InitReport {
        let duration = Duration::from_micros(110_100);
        let output = output.to_vec();
        InitReport {
            began: SystemTime::UNIX_EPOCH,
            duration,
            output,
            restored,
            snapshot: snapshot.map(Box::new),
        }
    }

    fn log(outcome: &Outcome, init: Option<InitReport>, output: &[u8], in_init: bool) -> String {
        let usage = Usage {
            duration: Duration::from_micros(3010),
            init_duration: init.as_ref().map(|init| init.duration),
            restored: init.as_ref().is_some_and(|init| init.restored),
            max_memory_mb: 36,
        };
        let invocation = Invocation {
            function: &function(),
            runtime: "python3.12",
            request_id: "ID",
            began: SystemTime::UNIX_EPOCH,
            outcome,
            usage: &usage,
            init: init.as_ref(),
            output,
            in_init,
            restored: false,
        };
        String::from_utf8(invocation.text()).unwrap()
    }

    #[test]
    fn a_first_invocation() {
        let outcome = Outcome::Returned { payload: b"null".to_vec(), raw: false };
        insta::assert_snapshot!(log(&outcome, Some(init(b"importing", false, None)), b"hi\n", false).replace('\t', "<TAB>"), @r"
        INIT_START Runtime Version: python:3.12
        importing
        START RequestId: ID Version: $LATEST
        hi
        END RequestId: ID
        REPORT RequestId: ID<TAB>Duration: 3.01 ms<TAB>Billed Duration: 114 ms<TAB>Memory Size: 128 MB<TAB>Max Memory Used: 36 MB<TAB>Init Duration: 110.10 ms<TAB>
        ");
    }

    #[test]
    fn a_first_invocation_after_a_restore() {
        let outcome = Outcome::Returned { payload: b"null".to_vec(), raw: false };
        let restored = init(b"hook\n", true, Some(init(b"importing\n", false, None)));
        insta::assert_snapshot!(log(&outcome, Some(restored), b"hi\n", false).replace('\t', "<TAB>"), @r"
        INIT_START Runtime Version: python:3.12
        importing
        INIT_REPORT Init Duration: 110.10 ms<TAB>Phase: init
        RESTORE_START Runtime Version: python:3.12
        hook
        RESTORE_REPORT Restore Duration: 110.10 ms
        START RequestId: ID Version: $LATEST
        hi
        END RequestId: ID
        REPORT RequestId: ID<TAB>Duration: 3.01 ms<TAB>Billed Duration: 114 ms<TAB>Memory Size: 128 MB<TAB>Max Memory Used: 36 MB<TAB>Restore Duration: 110.10 ms<TAB>Billed Restore Duration: 111 ms<TAB>
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
