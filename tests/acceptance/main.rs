//! The house seen from the street: the real program, over real sockets, in the user's words.
//!
//! One binary with subjects as modules, because linking is what takes time. `harness` starts the
//! server; each module says what belongs into it.

mod api_gateway;
mod attacks;
mod browser;
mod cli;
mod clients;
mod commands;
mod environment;
mod examples;
mod export;
mod faults;
mod frameworks;
mod front_doors;
mod function_yaml_events;
mod harness;
mod held_function;
mod http_api;
mod https;
mod invoke_api;
mod processes;
mod python_suite;
mod python_tools;
mod raw_http;
mod reload;
mod sam_apps;
mod smoke;
mod streaming;
mod template_report;
mod web_socket;
