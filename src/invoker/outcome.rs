//! How a phase ended -> what the caller gets: the error objects that Lambda itself makes.

use std::time::Duration;

use crate::execution_environment::Ended;
use crate::invocation::{Failure, Outcome};
use crate::protocol::control::Exit;
use crate::protocol::frame::{Kind, MAX_RESULT, MAX_STREAM};

pub fn of(ended: Ended, request_id: &str, timeout: Duration) -> Outcome {
    match ended {
        Ended::Answered { kind: Kind::Json | Kind::Ready, payload } => {
            Outcome::Returned { payload, raw: false }
        }
        // A stream has been sent; what is kept of it is that it is complete.
        Ended::Answered { kind: Kind::Raw | Kind::Head | Kind::Piece | Kind::End, payload } => {
            Outcome::Returned { payload, raw: true }
        }
        Ended::Answered { kind: Kind::Fault, payload } => {
            Outcome::Failed { payload, failure: Failure::Raised }
        }
        Ended::Answered { kind: Kind::InitFault, payload } => {
            Outcome::Failed { payload, failure: Failure::Init }
        }
        Ended::Answered { kind: Kind::TooLarge, .. } => {
            too_large(MAX_RESULT as u64, Failure::ResponseTooLarge)
        }
        Ended::StreamTooLong => too_large(MAX_STREAM, Failure::StreamTooLong),
        Ended::TimedOut => {
            let what = format!("Task timed out after {:.2} seconds", timeout.as_secs_f64());
            platform("Sandbox.Timedout", request_id, &what, Failure::TimedOut)
        }
        Ended::OutOfMemory => {
            let what = "Runtime exited with error: signal: killed";
            platform("Runtime.ExitError", request_id, what, Failure::OutOfMemory)
        }
        Ended::Exited(exit) => {
            let what = match exit_text(exit) {
                Some(text) => format!("Runtime exited with error: {text}"),
                None => "Runtime exited without providing a reason".to_owned(),
            };
            let failure = Failure::Exited(exit_text(exit).unwrap_or_else(|| "exit status 0".to_owned()));
            platform("Runtime.ExitError", request_id, &what, failure)
        }
    }
}

fn too_large(limit: u64, failure: Failure) -> Outcome {
    let message = format!("Response payload size exceeded maximum allowed payload size ({limit} bytes).");
    let payload = object([("errorMessage", &message), ("errorType", "Function.ResponseSizeTooLarge")]);
    Outcome::Failed { payload, failure }
}

fn platform(error_type: &str, request_id: &str, what: &str, failure: Failure) -> Outcome {
    let message = format!("RequestId: {request_id} Error: {what}");
    Outcome::Failed { payload: object([("errorType", error_type), ("errorMessage", &message)]), failure }
}

/// In the order given, without spaces, as the platform writes it.
fn object(fields: [(&str, &str); 2]) -> Vec<u8> {
    let map: serde_json::Map<String, serde_json::Value> =
        fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    serde_json::to_vec(&map).expect("text is always serialisable")
}

/// `None` for a clean exit.
fn exit_text(exit: Exit) -> Option<String> {
    match exit {
        Exit::Status(0) => None,
        Exit::Status(status) => Some(format!("exit status {status}")),
        Exit::Signal(signal) => Some(match signal_name(signal) {
            Some(name) => format!("signal: {name}"),
            None => format!("signal: signal {signal}"),
        }),
    }
}

/// In the words that Lambda's own supervisor uses.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGHUP => "hangup",
        libc::SIGINT => "interrupt",
        libc::SIGQUIT => "quit",
        libc::SIGILL => "illegal instruction",
        libc::SIGTRAP => "trace/breakpoint trap",
        libc::SIGABRT => "aborted",
        libc::SIGBUS => "bus error",
        libc::SIGFPE => "floating point exception",
        libc::SIGKILL => "killed",
        libc::SIGUSR1 => "user defined signal 1",
        libc::SIGSEGV => "segmentation fault",
        libc::SIGUSR2 => "user defined signal 2",
        libc::SIGPIPE => "broken pipe",
        libc::SIGALRM => "alarm clock",
        libc::SIGTERM => "terminated",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(ended: Ended) -> String {
        String::from_utf8(of(ended, "ID", Duration::from_secs(1)).payload().to_vec()).unwrap()
    }

    #[test]
    fn says_what_aws_says() {
        assert_eq!(
            text(Ended::TimedOut),
            r#"{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: ID Error: Task timed out after 1.00 seconds"}"#
        );
        assert_eq!(
            text(Ended::Exited(Exit::Status(0))),
            r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: ID Error: Runtime exited without providing a reason"}"#
        );
        assert_eq!(
            text(Ended::Exited(Exit::Status(127))),
            r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: ID Error: Runtime exited with error: exit status 127"}"#
        );
        assert_eq!(
            text(Ended::Exited(Exit::Signal(11))),
            r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: ID Error: Runtime exited with error: signal: segmentation fault"}"#
        );
        assert_eq!(
            text(Ended::Answered { kind: Kind::TooLarge, payload: Vec::new() }),
            r#"{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}"#
        );
    }
}
