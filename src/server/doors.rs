//! Who is let in: what has to be settled before anything listens where other machines reach it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;

use crate::aws::credentials::{Credential, Credentials};
use crate::config::Settings;
use crate::control_plane::{Access, Scope};
use crate::defences;
use crate::hexadecimal::hex;

/// Where credentials are, unless `--credentials` says otherwise.
pub const CREDENTIALS: &str = "credentials";

/// Whether callers of the control plane have to say who they are.
pub fn asks(settings: &Settings) -> bool {
    settings.doors.require_credentials || !settings.host.is_loopback()
}

/// The file with the credentials: the one that is named, or that of the state folder.
pub fn credentials_file(settings: &Settings) -> PathBuf {
    settings.access.credentials.clone().unwrap_or_else(|| settings.state_dir.join(CREDENTIALS))
}

/// Other machines could run code here, or read what is said: not before both is settled.
pub fn refuse_open_doors(settings: &Settings) -> anyhow::Result<()> {
    let (host, doors) = (settings.host, &settings.doors);
    if doors.behind_proxy && doors.trusted_proxies.is_empty() {
        bail!(
            "`--behind-proxy` does not say which proxy\nhint: `--trusted-proxy 192.0.2.7` names its address, or \
             `--trusted-proxy 127.0.0.1` if it runs on this machine"
        );
    }
    if defences::off("open-doors") {
        return Ok(());
    }
    let file = credentials_file(settings);
    if asks(settings) && !file.is_file() {
        let reason = match host.is_loopback() {
            true => "credentials are to be asked for (`--require-credentials`)".to_owned(),
            false => format!(
                "refusing to listen on {host}: anybody who reaches that address could run code on this machine"
            ),
        };
        bail!(
            "{reason}, and there are no credentials in {}\nhint: leave out `--host` to serve this machine alone, or make \
             some: `handlerd credentials create NAME`",
            file.display()
        );
    }
    if !host.is_loopback() && settings.tls.is_none() && !doors.behind_proxy {
        bail!(
            "refusing to listen on {host} without encryption: whoever is on the way could read code and secrets\nhint: \
             `--tls-cert FILE --tls-key FILE` (or `--tls`, with a certificate of its own), or `--behind-proxy \
             --trusted-proxy ADDRESS` if a proxy in front does it; leave out `--host` to serve this machine alone"
        );
    }
    Ok(())
}

/// Keys of this run alone, known to nobody but whom they are given.
pub struct Keys {
    pub access: Arc<Access>,
    /// For functions, as their role's on AWS: they may call functions and the event bus.
    pub role: Credential,
    /// For other programs of the state folder's owner, such as `handlerd queue`.
    pub token: String,
}

impl Keys {
    /// `None`: nobody is asked.
    pub fn open(settings: &Settings) -> anyhow::Result<Option<Self>> {
        if !asks(settings) {
            return Ok(None);
        }
        let file = std::path::absolute(credentials_file(settings))?;
        let invoke = vec![Scope::Invoke.name().to_owned()];
        let role = Credential {
            user: "functions".to_owned(),
            access_key: access_key("ASIA"),
            secret: secret(),
            scopes: invoke.clone(),
            ..Credential::default()
        };
        let token = secret();
        let local = Credential {
            user: "command line".to_owned(),
            token_sha256: Some(sha256(&token)),
            scopes: vec![Scope::Admin.name().to_owned()],
            ..Credential::default()
        };
        // Functions have inherited these.
        let inherited = Credentials::of_environment().map(|known| Credential { scopes: invoke, ..known });
        let own = [role.clone(), local].into_iter().chain(inherited).collect();
        let access = Access::new(file, own);
        let known = access.known().map_err(|reason| anyhow::anyhow!("{reason}"))?;
        for credential in known.iter() {
            if let Some(problem) = &credential.problem {
                bail!("the profile `{}` cannot be used: {problem}", credential.user);
            }
        }
        if !known.iter().any(|known| !known.scopes.is_empty() && !known.revoked) {
            tracing::warn!(
                "no profile in {} may do anything on the control plane\nhint: a line such as `scopes = read invoke \
                 deploy` says what one may",
                credentials_file(settings).display()
            );
        }
        Ok(Some(Self { access: Arc::new(access), role, token }))
    }
}

/// As AWS's look: four letters and sixteen more.
pub fn access_key(prefix: &str) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let rest = random().into_iter().take(16).map(|byte| char::from(letters[usize::from(byte % 32)]));
    prefix.chars().chain(rest).collect()
}

/// 256 bits.
pub fn secret() -> String {
    hex(&random())
}

pub fn sha256(text: &str) -> String {
    use sha2::Digest;
    hex(&sha2::Sha256::digest(text.as_bytes()))
}

/// From the kernel.
fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(length) => filled += length,
            Err(rustix::io::Errno::INTR) => {}
            // Linux has had it since 3.17; a guessable secret would be worse than an end.
            Err(error) => panic!("the kernel has no random numbers: {error}"),
        }
    }
    bytes
}
