//! Whether [`serve`](super::serve) could begin, without beginning: what a new program is asked before it
//! takes over.
//!
//! It reads all that serving needs and starts the interpreter, beside the program that serves; it
//! changes nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use super::doors::{Keys, refuse_open_doors};
use super::inherited::{self, Open};
use super::ports::bind;
use super::python::{isolated, python_for};
use super::{check_folder, sources};
use crate::config::Settings;
use crate::deployment::Deployments;
use crate::execution_environment::{Common, Environments};
use crate::http::tls::Acceptor;
use crate::interpreter::{Interpreters, Search};
use crate::store::Store;
use crate::telemetry;

/// Asks a program whether it could serve; says where it would find sockets open.
pub const REHEARSAL: &str = "HANDLERD_REHEARSAL";
/// What it says then.
pub const READY: &str = "ready to serve";

/// Whether somebody only wants to know if this program could serve.
pub fn is_rehearsal() -> bool {
    std::env::var_os(REHEARSAL).is_some()
}

/// Says that it could.
pub fn rehearsed() {
    println!("{READY}");
}

/// An error is what would keep this program from serving.
pub async fn rehearse(mut settings: Settings) -> anyhow::Result<()> {
    let open: Vec<Open<SocketAddr>> = inherited::parse(&std::env::var(REHEARSAL).unwrap_or_default());
    let host = settings.host;
    let kept = inherited::agree(&mut settings.host, [settings.port, settings.api_port], &open);
    refuse_open_doors(&settings)?;
    check_folder(&settings)?;
    for (name, port, flag) in [("http", settings.port, "--port"), ("api", settings.api_port, "--api-port")] {
        if !kept.contains(&name) {
            bind(None, host, port, flag)?;
        }
    }
    telemetry::read(|name| std::env::var(name).ok()).map_err(anyhow::Error::msg)?;
    Keys::open(&settings)?;
    let state_dir = std::path::absolute(&settings.state_dir)?;
    if let Some(tls) = &settings.tls {
        Acceptor::new(tls, &state_dir)?;
    }
    Store::could_be_opened(&state_dir)?;
    let deployments = Deployments::read(sources(&settings));
    tracing::debug!("{} functions", deployments.current().functions.len());

    let search = Search::from_environment(settings.python.clone(), settings.root());
    let interpreters = Arc::new(Interpreters::new(search, Some(&state_dir.join("interpreters.json"))));
    let common = Common {
        account: settings.account.clone(),
        state_dir,
        buckets: std::path::absolute(&settings.buckets)?,
        control_plane: None,
        isolation: settings.isolation.clone(),
        snap_start: settings.snap_start,
        inherited: Vec::new(),
    };
    let python = python_for(interpreters.clone(), None, settings.preload.clone());
    let environments = Environments::new(common, settings.limits, python)?;
    let started = isolated(interpreters, &environments, &settings).await;
    environments.end().await;
    started
}
