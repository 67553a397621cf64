//! An invocation is one call of a function; its outcome is what came of it.
//!
//! A handler that raises, times out or ends its process is an *outcome*, with the answer that AWS
//! gives. An error (see `invoker::InvokeError`) is ours or the caller's.

use std::time::Duration;

use crate::hexadecimal::hex;

/// What a caller wants done.
#[derive(Debug, Clone)]
pub struct Invocation {
    pub request_id: String,
    /// `Root=...;Parent=...;Sampled=0`, for `_X_AMZN_TRACE_ID`.
    pub trace_id: String,
    /// As the caller named it: unqualified, or with exactly the qualifier that was given.
    pub function_arn: String,
    /// JSON, decoded from the header's base64.
    pub client_context: Option<String>,
    pub event: Vec<u8>,
    pub asker: Asker,
}

/// Who asks for an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A route, a function URL or a WebSocket.
    Http,
    /// The Lambda API or the command line, and they wait for the answer.
    Invoke,
    /// It was queued, and nobody waits.
    Event,
    Sqs,
    DynamoDb,
    Kinesis,
}

impl Asker {
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Invoke => "invoke",
            Self::Event => "event",
            Self::Sqs => "sqs",
            Self::DynamoDb => "dynamodb",
            Self::Kinesis => "kinesis",
        }
    }
}

impl Invocation {
    pub fn new_request_id() -> String {
        // Not `to_string`, which goes by way of a formatter.
        uuid::Uuid::new_v4().hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).to_owned()
    }

    /// A trace header of AWS's form; nothing is sampled here.
    pub fn new_trace_id(epoch_seconds: u64) -> TraceId {
        let random = hex(uuid::Uuid::new_v4().as_bytes());
        TraceId {
            root: ["1-", &hex(&(epoch_seconds as u32).to_be_bytes()), "-", &random[..24]].concat(),
            parent: random[16..].to_owned(),
            lineage: None,
        }
    }
}

/// A trace header.
#[derive(Debug, Clone)]
pub struct TraceId {
    pub root: String,
    pub parent: String,
    /// Which functions the chain of invocations has come by, as the caller says it.
    pub lineage: Option<String>,
}

/// Of a lineage: more than `invoker` ever makes of one.
const LINEAGE_LIMIT: usize = 400;

impl TraceId {
    /// What is valid in the header that a caller sent takes the place of what is new.
    pub fn continuing(mut self, header: Option<&str>) -> Self {
        for part in header.into_iter().flat_map(|header| header.split(';')) {
            let Some((name, value)) = part.trim().split_once('=') else { continue };
            let valid = (1..=64).contains(&value.len())
                && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if valid && name.eq_ignore_ascii_case("root") {
                self.root = value.to_owned();
            } else if valid && name.eq_ignore_ascii_case("parent") {
                self.parent = value.to_owned();
            } else if name.eq_ignore_ascii_case("lineage")
                && value.len() <= LINEAGE_LIMIT
                && value
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'|' | b'%'))
            {
                self.lineage = Some(value.to_owned());
            }
        }
        self
    }

    /// What the function sees in its environment.
    pub fn for_function(&self) -> String {
        let lineage = self.lineage.as_deref();
        let (separator, lineage) = lineage.map_or(("", ""), |lineage| (";Lineage=", lineage));
        ["Root=", &self.root, ";Parent=", &self.parent, ";Sampled=0", separator, lineage].concat()
    }
}

/// What came of an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The handler returned; the payload is its result. What it has streamed is not repeated here.
    Returned { payload: Vec<u8>, raw: bool },
    /// It did not; the payload is Lambda's error object.
    Failed { payload: Vec<u8>, failure: Failure },
}

impl Outcome {
    pub fn payload(&self) -> &[u8] {
        match self {
            Self::Returned { payload, .. } | Self::Failed { payload, .. } => payload,
        }
    }

    /// `errorType` of Lambda's error object.
    pub fn error_type(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Error {
            error_type: String,
        }
        self.failure()?;
        serde_json::from_slice(self.payload()).ok().map(|Error { error_type }| error_type)
    }

    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Returned { .. } => None,
            Self::Failed { failure, .. } => Some(failure),
        }
    }
}

/// Why an invocation has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The handler raised, or its result could not be serialised.
    Raised,
    /// The handler could not be loaded.
    Init,
    /// The process was killed at the function's timeout.
    TimedOut,
    /// The process ended by itself, or was ended from outside.
    Exited(String),
    /// The process was killed because it used more than `MemorySize`.
    OutOfMemory,
    /// The result is longer than 6 MB.
    ResponseTooLarge,
    /// It was streamed, and the process was killed at 200 MB.
    StreamTooLong,
}

/// What it took, for the REPORT line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    pub duration: Duration,
    /// Only for the first invocation of an environment.
    pub init_duration: Option<Duration>,
    /// That was no init phase, but what follows a restore from a snapshot.
    pub restored: bool,
    pub max_memory_mb: u32,
}

impl Usage {
    /// Rounded up to a millisecond; since August 2025 the init phase is billed too.
    pub fn billed_ms(&self) -> u64 {
        let total = self.duration + self.init_duration.unwrap_or_default();
        (total.as_micros().div_ceil(1000)).max(1) as u64
    }

    /// All of a restore: AWS leaves out what it takes to fetch a snapshot, which nothing here does.
    pub fn billed_restore_ms(&self) -> u64 {
        self.init_duration.unwrap_or_default().as_micros().div_ceil(1000) as u64
    }
}

/// Outcome, usage and log of one invocation.
#[derive(Debug, Clone)]
pub struct Completed {
    pub outcome: Outcome,
    pub usage: Usage,
    /// START to REPORT, the last part of it if it was long.
    pub log: Vec<u8>,
    /// `$LATEST` or a number.
    pub executed_version: String,
}
