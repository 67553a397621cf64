//! The settled settings: what flags, environment and file came to. How they are said is `cli`'s.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder whose subfolders are functions.
    pub handlers: PathBuf,
    /// Not beside a template, unless it was asked for.
    pub serves_handlers: bool,
    /// The folder of the project, where what it keeps begins: state, buckets, databases of destinations.
    pub project: PathBuf,
    pub state_dir: PathBuf,
    /// The folder whose subfolders stand for S3 buckets.
    pub buckets: PathBuf,
    pub host: IpAddr,
    /// HTTP routes.
    pub port: u16,
    /// The Lambda API.
    pub api_port: u16,
    pub account: Account,
    /// `--python`: a path, a virtual environment or a version.
    pub python: Option<PathBuf>,
    /// Modules that every environment finds imported already.
    pub preload: Vec<String>,
    /// Which versions of functions with `SnapStart` start from a snapshot.
    pub snap_start: SnapStart,
    /// What a `requirements.txt` asks for is installed.
    pub installs_packages: bool,
    /// Serve the last version that loaded when a new one does not.
    pub keep_last_good: bool,
    /// A SAM or CloudFormation template to serve.
    pub template: Option<Template>,
    pub access: Access,
    pub doors: Doors,
    pub tls: Option<Tls>,
    pub isolation: Isolation,
    pub limits: Limits,
    pub connections: Connections,
    /// Of the gateway, for requests to the routes.
    pub threads: usize,
}

impl Settings {
    /// The folder of the project: where virtual environments and the like are looked for.
    pub fn root(&self) -> &Path {
        match &self.template {
            Some(template) if !self.serves_handlers => match template.path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder,
                _ => Path::new("."),
            },
            _ => &self.handlers,
        }
    }
}

/// Of functions whose `SnapStart` applies to published versions: which versions start from a snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SnapStart {
    Off,
    /// As on AWS.
    #[default]
    Published,
    /// And `$LATEST`.
    Latest,
}

/// What keeps handlers to themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Isolation {
    /// `--isolation 0`: nothing beyond what every process gets.
    pub off: bool,
    /// The tier without which nothing is run.
    pub required: u8,
    /// What handlers may write to, beside /tmp and the buckets.
    pub writable: Vec<PathBuf>,
}

/// A template, and what it is read with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub path: PathBuf,
    /// `--parameter-overrides`, in the order given; a later one counts.
    pub parameters: Vec<(String, String)>,
    /// `--env-vars`: variables by function, as JSON.
    pub env_vars: Option<PathBuf>,
    /// The section of `samconfig.toml`.
    pub config_env: String,
}

/// Who may pass the authorizers of routes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Access {
    /// Claims that take the place of every authorizer's decision.
    pub act_as: Option<serde_json::Map<String, serde_json::Value>>,
    /// Issuer -> key set, a URL or a file, for issuers that do not exist here.
    pub jwks: Vec<(String, String)>,
    /// Access key ids, secrets and whose they are, for AWS_IAM: in the form of `~/.aws/credentials`.
    pub credentials: Option<PathBuf>,
}

/// Who may come to the control plane, and by what way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doors {
    /// Credentials are asked for on loopback too.
    pub require_credentials: bool,
    /// Names, some with a port, under which people reach the control plane.
    pub allowed_hosts: Vec<String>,
    /// A proxy in front ends the encryption.
    pub behind_proxy: bool,
    /// What these say of the client is believed.
    pub trusted_proxies: Vec<Network>,
}

/// `10.0.0.0/8`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
            IpAddr::V6(address) => (u128::from(address), 128),
        };
        let ((ours, width), (theirs, other)) = (bits(self.address), bits(address.to_canonical()));
        let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
        width == other && ours & mask == theirs & mask
    }
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: Option<IpAddr> = address.parse().ok();
        let network = address.and_then(|address| {
            let width = if address.is_ipv4() { 32 } else { 128 };
            let prefix = prefix.map_or(Some(width), |prefix| prefix.parse().ok());
            prefix.filter(|prefix| *prefix <= width).map(|prefix| Self { address, prefix })
        });
        network.ok_or_else(|| format!("`{text}` is no network: it should look like 10.0.0.0/8 or 192.0.2.7"))
    }
}

/// HTTPS on the port of the HTTP routes, and off loopback on the control plane's too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// A certificate of its own making, kept in the state folder.
    SelfSigned,
    Files {
        certificate: PathBuf,
        key: PathBuf,
    },
}

/// Whose functions these appear to be.
#[derive(Debug, Clone)]
pub struct Account {
    pub id: String,
    pub region: String,
}

impl Account {
    pub fn function_arn(&self, region: &str, name: &str) -> String {
        ["arn:aws:lambda:", region, ":", &self.id, ":function:", name].concat()
    }
}

/// Bounds on execution environments.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Environments at once, over all functions.
    pub concurrency: usize,
    /// Requests that may wait for an environment of one function.
    pub queue: usize,
    /// How long they may wait.
    pub queue_timeout: Duration,
    /// How long an environment stays without work.
    pub idle_timeout: Duration,
    /// The init phase; 10 seconds on AWS.
    pub init_timeout: Duration,
    /// How long an integration waits for the function; 30 seconds on AWS.
    pub integration_timeout: Duration,
    /// How long requests in flight may take when the gateway stops.
    pub drain: Duration,
    /// What the delays and ages of asynchronous invocations are multiplied by: 1, but for tests, which
    /// do not wait for minutes.
    pub asynchronous_time_scale: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrency: 100,
            queue: 1000,
            queue_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(300),
            init_timeout: Duration::from_secs(10),
            integration_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            asynchronous_time_scale: 1.0,
        }
    }
}

/// Bounds on what clients may keep open, and on how long nothing may come of it.
#[derive(Debug, Clone, Copy)]
pub struct Connections {
    /// Open at once, on each port; fewer where the descriptors do not reach.
    pub most: usize,
    /// Of these, from one address. `None`: 256, and as many as there are from this machine.
    pub most_per_address: Option<usize>,
    /// From accepting a connection, or from the end of its handshake, to its first byte.
    pub first_byte: Duration,
    /// A TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request to the end of its header.
    pub header: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// A body that is waited for, or an answer that is waiting, moves by `PACE` in this time.
    pub stall: Duration,
}

impl Connections {
    /// One KiB in a second, over the default time.
    pub const PACE: usize = 30 * 1024;

    /// For tests, which do not wait for minutes.
    pub fn scaled(self, factor: f64) -> Self {
        let scale = |duration: Duration| duration.mul_f64(factor);
        Self {
            first_byte: scale(self.first_byte),
            handshake: scale(self.handshake),
            header: scale(self.header),
            idle: scale(self.idle),
            stall: scale(self.stall),
            ..self
        }
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            most: 10_000,
            most_per_address: None,
            first_byte: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(10),
            // Longer than proxies keep theirs (60 s): who closes first loses no request.
            idle: Duration::from_secs(75),
            stall: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.7", "::ffff:192.0.2.7", "::c000:207"),
            ("fd00::/16", "fd00::2", "fd01::2"),
            ("0.0.0.0/0", "198.51.100.1", "::1"),
            ("::/0", "::1", "127.0.0.1"),
        ] {
            let known: Network = network.parse().unwrap();
            assert!(known.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!known.contains(outside.parse().unwrap()), "{network} {outside}");
        }
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "proxy", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
