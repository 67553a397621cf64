//! The house seen from the street: the real program, over real sockets, in the user's words.
//!
//! One binary with subjects as modules, because linking is what takes time. `harness` starts the
//! server; each module says what belongs into it.

mod api_gateway;
mod asynchronous;
mod attacks;
mod browser;
mod buckets;
mod bus;
#[path = "../faults/mod.rs"]
mod catalogue;
mod cli;
mod clients;
mod commands;
mod console;
mod console_browser;
mod console_triggers;
mod crowds;
mod databases;
mod destinations;
mod durability;
mod environment;
mod event_source_mappings;
mod examples;
mod export;
mod faults;
mod frameworks;
mod front_doors;
mod function_yaml_events;
mod harness;
mod held_function;
mod hostile_clients;
mod http2_floods;
mod http_api;
mod https;
mod invoke_api;
mod keeping;
mod lambda_api;
mod layers;
mod ledger;
mod monitoring;
mod moto;
mod node_tools;
mod packages;
mod postgres;
mod processes;
mod python_suite;
mod python_tools;
mod raw_http;
mod reload;
mod sam_apps;
mod schedules;
mod security;
mod slow_clients;
mod smoke;
mod sqs;
mod streaming;
mod streams;
mod supply_chain;
mod template_report;
mod topics;
mod traces;
mod tutorials;
mod versions;
mod web_socket;
mod worker;
