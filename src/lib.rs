//! handlerd runs AWS Lambda handlers written in Python behind an API Gateway, on your own machine.
//!
//! # The map
//!
//! Floors, from the roof down. Imports go down only; neighbours on a floor do not import each other;
//! `tests/architecture.rs` checks it.
//!
//! | floor | module | what it is |
//! |---|---|---|
//! | roof | [`cli`] | one file per subcommand; how errors, hints and tables look |
//! | 5 | [`server`] | builds each floor once, listens, drains and stops from the top |
//! | 4 | [`gateway`] | API Gateway: address, route, authorize, integrate; WebSockets |
//! | 4 | [`lambda_api`] | the Lambda API, one file per resource |
//! | 4 | [`console`] | the web console: pages, and views and streams for them |
//! | 4 | [`event_sources`] | schedules, queues, streams, buckets, topics, the event bus |
//! | 4 | [`telemetry`] | traces of invocations, for an OpenTelemetry collector |
//! | 3 | [`control_plane`] | the table of the control plane's routes, and the guard made from it |
//! | 3 | [`invoker`] | the one door to a function: resolve, admit, acquire, invoke, record; asynchronous events |
//! | 2 | [`deployment`] | functions and APIs, from folders or a template, as one immutable snapshot; watching for changes |
//! | 2 | [`execution_environment`] | the parent's side of an environment: pool, process, zygote |
//! | 2 | [`published`] | versions, aliases and layers: immutable copies in the state folder |
//! | 1 | [`delivery`] | what destinations receive: queues, topics, buses, URLs, tables |
//! | 1 | [`history`] | the last invocations of each function: kept for who looks, told as they end |
//! | 1 | [`http`] | listening and speaking HTTP, HTTPS and WebSocket |
//! | 1 | [`interpreter`] | the Pythons of this machine and their virtual environments |
//! | 1 | [`logs`] | log records by request id: kept, followed |
//! | 1 | [`protocol`] | what parent and child say to each other, shared with `python/` |
//! | 1 | [`store`] | what must outlive the gateway: SQLite |
//! | 1 | [`metrics`] | figures by function and minute: a day of them, the store has a month |
//! | 1 | [`aws`] [`archive`] [`packages`] | tools: AWS-compatible endpoints; zip files; `requirements.txt` |
//! | ground | [`api`] | an API: routes, stages, authorizers, integrations; what templates come to and the gateway serves |
//! | ground | [`function`] [`invocation`] [`trigger`] [`destination`] [`config`] | the other nouns, parsed once at the border |
//! | ground | [`allocator`] | where memory comes from |
//! | ground | [`egress`] | where the gateway never asks |
//! | ground | [`hexadecimal`] | bytes as text |
//! | ground | [`inotify`] | what the kernel has to say about folders |
//! | ground | [`samples`] | an event of every source, as AWS sends it |
//!
//! Beside it, for `fuzz/` and the tests only: `fuzzing`; and [`defences`], which tests can switch off.
//!
//! Below all of it, in a process of its own: `python/`, all that runs inside CPython.
//!
//! # The way of one request
//!
//! ```text
//! HTTP request
//!   gateway::address       host, path -> Api, Stage             (or a WebSocket API: gateway::web_socket)
//!   gateway::routes        method, path -> Route                (404, or REST's 403, ends here)
//!   gateway::cors          a preflight is answered here
//!   gateway::authorize     throttle, authorizer, API key -> Caller        (401, 403, 429 end here)
//!   gateway::payload       request, route, caller -> event
//!   invoker.invoke         Invocation { event, request_id, ... }
//!     deployments.resolve  name -> Function                     (waits while it is being saved)
//!     environments.acquire Lease: warm, or cold start = init phase, or a place in line (or Turn: the
//!                          request lies with an environment that is busy)
//!     lease.invoke         ---> python/ ---> handler(event, context)
//!     Outcome              <--- result, or what went wrong      (log recorded, lease given back)
//!   gateway::payload       result -> response                   (streams: gateway::streaming)
//! HTTP response            (what went wrong on the way: gateway::error, byte for byte as AWS says it)
//! ```
//!
//! Integrations that are no Lambda proxy (mapping templates, MOCK, other servers) take the way of
//! `gateway::mapping` in the place of `payload`. A Lambda authorizer is a function like any other: it
//! is asked through the same door.
//!
//! # The way of one event that nobody waits for
//!
//! ```text
//! Invoke with InvocationType=Event, or something in event_sources (schedule, bus, bucket, topic)
//!   invoker.accept         Event { function, event, ... } -> store    (synced to the disk: 202)
//!     event_queue          when it is due; `drain` takes what there is room for
//!     find                 as above, with the function's reserved concurrency
//!     Outcome
//!       retry              back into the store, due later           (until its retries or its age are used up)
//!       destination        the record -> delivery: a queue, topic, bus, function, URL or table
//! ```
//!
//! It leaves the store when all of this is done: after a crash it begins again. Queues and streams
//! (`event_sources::mapping`) keep their records themselves: they are invoked through the same door as
//! a request is, and acknowledged by what the function has answered.
//!
//! # What is deliberately absent
//!
//! - Python in the gateway process. Only `python/` knows Python, and it lives in processes that can
//!   be killed; `pyo3` is a dependency of that crate alone.
//! - A configuration language of our own: `function.yaml` holds the properties of a SAM
//!   `AWS::Serverless::Function`, and whole projects are described by the template that deploys them.
//! - Errors for functions that fail: that is an [`invocation::Outcome`].
//! - Queues, topics, streams and tables: they are AWS's, or another local server's, and are asked where
//!   the environment says they are. The event bus and buckets are here, as nothing has to be kept for them.

pub mod cli;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;

pub mod server;

pub mod console;
pub mod event_sources;
pub mod gateway;
pub mod lambda_api;
pub mod telemetry;

pub mod control_plane;
pub mod invoker;

pub mod deployment;
pub mod execution_environment;
pub mod published;

pub mod delivery;
pub mod history;
pub mod http;
pub mod interpreter;
pub mod logs;
pub mod metrics;
pub mod protocol;
pub mod store;

pub mod archive;
pub mod aws;
pub mod packages;

pub mod allocator;
pub mod api;
pub mod config;
pub mod defences;
pub mod destination;
pub mod egress;
pub mod function;
pub mod hexadecimal;
pub mod inotify;
pub mod invocation;
pub mod samples;
pub mod trigger;
