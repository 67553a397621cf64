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
//! | 4 | [`gateway`] | API Gateway: route, event, invoke, response |
//! | 4 | [`lambda_api`] | the Lambda API, one file per resource |
//! | 3 | [`invoker`] | the one door to a function: resolve, acquire, invoke, record |
//! | 2 | [`deployment`] | what is deployed now, as one immutable snapshot; watching for changes |
//! | 2 | [`execution_environment`] | the parent's side of an environment: pool, process, zygote |
//! | 1 | [`http`] | listening and speaking HTTP |
//! | 1 | [`interpreter`] | the Pythons of this machine and their virtual environments |
//! | 1 | [`logs`] | log records by request id: kept, followed |
//! | 1 | [`protocol`] | what parent and child say to each other, shared with `python/` |
//! | ground | [`function`] [`invocation`] [`config`] | the nouns, parsed once at the border |
//!
//! Below all of it, in a process of its own: `python/`, all that runs inside CPython.
//!
//! # The way of one request
//!
//! ```text
//! HTTP request
//!   gateway::routes        path -> Route                        (404 ends here)
//!   gateway::payload_v2    request, route -> event
//!   invoker.invoke         Invocation { event, request_id, ... }
//!     deployments.resolve  name -> Function                     (waits while it is being saved)
//!     environments.acquire Lease: warm, or cold start = init phase, or a place in line
//!     lease.invoke         ---> python/ ---> handler(event, context)
//!     Outcome              <--- result, or what went wrong      (log recorded, lease given back)
//!   gateway::payload_v2    result -> response
//! HTTP response
//! ```
//!
//! # What is deliberately absent
//!
//! - Python in the gateway process. Only `python/` knows Python, and it lives in processes that can
//!   be killed; `pyo3` is a dependency of that crate alone.
//! - A configuration language of our own: `function.yaml` holds the properties of a SAM
//!   `AWS::Serverless::Function`.
//! - Errors for functions that fail: that is an [`invocation::Outcome`].

pub mod cli;

pub mod server;

pub mod gateway;
pub mod lambda_api;

pub mod invoker;

pub mod deployment;
pub mod execution_environment;

pub mod http;
pub mod interpreter;
pub mod logs;
pub mod protocol;

pub mod config;
pub mod function;
pub mod invocation;
