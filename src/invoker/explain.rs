//! What went wrong with a function, in plain words, for the person at the terminal. The client gets
//! AWS's answer, which says little.

use serde::Deserialize;

use crate::function::{Function, FunctionName};
use crate::invocation::{Failure, Outcome};
use crate::logs::escape_control;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ErrorObject {
    error_message: String,
    error_type: String,
    stack_trace: Vec<String>,
}

/// What a function printed, line by line, under its name.
pub fn show_output(name: &FunctionName, output: &[u8]) {
    if output.is_empty() || !tracing::enabled!(target: "function", tracing::Level::INFO) {
        return;
    }
    const SHOWN: usize = 200;
    let text = String::from_utf8_lossy(output);
    // Its long advice is about Lambda's own runtimes; it stays in the log.
    let mut lines = text.lines().filter(|line| !line.contains("LAMBDA_WARNING: Unhandled exception."));
    for line in lines.by_ref().take(SHOWN) {
        tracing::info!(target: "function", function = name.as_str(), "{name} | {}", escape_control(line));
    }
    let more = lines.count();
    if more > 0 {
        tracing::info!(target: "function", function = name.as_str(), "{name} | ... and {more} more lines (see `handlerd logs {name}`)");
    }
}

/// Says what happened and what to do. The traceback is part of what the function printed, if the
/// runtime got as far as printing it.
pub fn explain(function: &Function, failure: &Failure, payload: &[u8], output: &[u8]) {
    let name = function.name.as_str();
    let error: ErrorObject = serde_json::from_slice(payload).unwrap_or_default();
    let text = sentence(function, failure, &error);
    tracing::error!(target: "function", function = name, error_type = error.error_type, "{text}");
    // With JSON logging the traceback is one long line; people get it readable.
    if !error.stack_trace.is_empty() && !contains(output, b"Traceback (most recent call last)") {
        for line in error.stack_trace.iter().flat_map(|frame| frame.lines()) {
            tracing::error!(target: "function", function = name, "{name} | {}", escape_control(line));
        }
    }
}

/// One sentence, for `--keep-last-good` and `handlerd check`.
pub fn summary(function: &Function, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Returned { .. } => "works".to_owned(),
        Outcome::Failed { payload, failure } => {
            sentence(function, failure, &serde_json::from_slice(payload).unwrap_or_default())
        }
    }
}

fn sentence(function: &Function, failure: &Failure, error: &ErrorObject) -> String {
    let name = &function.name;
    let configuration = &function.configuration;
    let ErrorObject { error_message, error_type, .. } = error;
    let error_message = escape_control(error_message);
    match failure {
        Failure::Raised
            if error_type == "Runtime.MarshalError" && error_message.contains("type generator is not") =>
        {
            format!(
                "{name} returned a generator, but whoever asked takes no stream: {error_message}\n\
                 hint: it is streamed to callers of a function URL with `InvokeMode: RESPONSE_STREAM`, of a REST API \
                 with `responseTransferMode: STREAM`, and of InvokeWithResponseStream"
            )
        }
        Failure::Raised if error_type == "Runtime.MarshalError" => format!(
            "{name} returned what cannot be sent as JSON: {error_message}\n\
             hint: return text, numbers, lists and dicts; turn other things into text first, with `str(...)` for example"
        ),
        Failure::Raised if is_refused(&error_message) => {
            format!("{name} raised {error_type}: {error_message}\nhint: {CLOSED}")
        }
        Failure::Raised => format!("{name} raised {error_type}: {error_message}"),
        Failure::Init => {
            let hint = match error_type.as_str() {
                "Runtime.UserCodeSyntaxError" => "correct the line and save; it is loaded again at once".to_owned(),
                "Runtime.HandlerNotFound" => format!(
                    "define that function, or set `Handler:` in {}/function.yaml to the one you have",
                    function.task_root.display()
                ),
                "Runtime.ImportModuleError" => {
                    "install what is missing into the virtual environment that `handlerd doctor` shows, or correct the name"
                        .to_owned()
                }
                "Runtime.MalformedHandlerName" => "`Handler:` is a file, a dot and a function: `lambda_function.lambda_handler`".to_owned(),
                _ if is_refused(&error_message) => CLOSED.to_owned(),
                _ => "what stands outside of functions runs when the file is loaded; the error is there".to_owned(),
            };
            format!("{name} could not be loaded: {error_message} ({error_type})\nhint: {hint}")
        }
        Failure::TimedOut => format!(
            "{name} was ended: it had not answered after {} s, its Timeout\n\
             hint: if it needs longer, set `Timeout:` (1 to 900) in {}/function.yaml",
            configuration.timeout.as_secs(),
            function.task_root.display()
        ),
        Failure::Exited(how) => format!(
            "{name} ended its own process ({how}) instead of returning\n\
             hint: `sys.exit`, `os._exit` and crashes in native code do that; return a value or raise an exception"
        ),
        Failure::OutOfMemory => format!(
            "{name} was ended: it used more than {} MB, its MemorySize\n\
             hint: if it needs more, set `MemorySize:` (128 to 10240) in {}/function.yaml",
            configuration.memory_mb,
            function.task_root.display()
        ),
        Failure::StreamTooLong => format!(
            "{name} was ended: it streamed more than 200 MB, the most that Lambda lets through\n\
             hint: put what is larger into a file or a bucket, and stream where it is"
        ),
        Failure::ResponseTooLarge => {
            format!(
                "{name} returned more than 6 MB, the most that Lambda lets through\nhint: put large results into a file or a bucket and return where they are"
            )
        }
    }
}

/// What Python and SQLite say of a file that a handler may not open.
fn is_refused(error_message: &str) -> bool {
    const REFUSALS: [&str; 4] = [
        "[Errno 13] Permission denied",
        "[Errno 1] Operation not permitted",
        "unable to open database file",
        "attempt to write a readonly database",
    ];
    REFUSALS.iter().any(|refusal| error_message.contains(refusal))
}

const CLOSED: &str = "as on Lambda, handlers may write only to /tmp (a project that lies in /tmp: to the folder in \
                      TMPDIR), and read only their own folder, layers and packages; `handlerd serve --writable FOLDER` \
                      opens another, `--isolation 0` opens all";

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}
