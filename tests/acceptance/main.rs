//! The house seen from the street: the real program, over real sockets, in the user's words.
//!
//! One binary with subjects as modules, because linking is what takes time. `harness` starts the
//! server; each module says what belongs into it.

mod browser;
mod cli;
mod clients;
mod commands;
mod environment;
mod examples;
mod faults;
mod harness;
mod held_function;
mod http_api;
mod invoke_api;
mod processes;
mod python_suite;
mod python_tools;
mod raw_http;
mod reload;
mod smoke;
