//! `handlerd credentials`: who may use the control plane where it asks for credentials.
//!
//! A file in the form of `~/.aws/credentials`, which a gateway reads again when it changes. A signature
//! can be verified only with the secret itself, so that access keys stand there as they are; of tokens
//! there is only the hash.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::options::{Common, NamedPlace, State};
use super::output;
use crate::aws::credentials::{Credential, parse};
use crate::server;

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make an access key for boto3 and the AWS CLI, or a token for the console; it is shown once
    Create(Create),
    /// List names, scopes and ends; no secrets
    List(Place),
    /// Take one back, at once
    Revoke(Revoke),
}

#[derive(Args)]
struct Create {
    /// Whose it is; it stands in the audit log
    name: String,
    /// What it may do: read, invoke, deploy, admin (admin may do everything)
    #[arg(long, value_delimiter = ',', default_values = ["read", "invoke", "deploy"])]
    #[arg(value_parser = ["read", "invoke", "deploy", "admin"])]
    scopes: Vec<String>,
    /// A token for the web console, in place of an access key
    #[arg(long)]
    token: bool,
    /// For how many days it is good [default: until it is revoked]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36500))]
    expires: Option<u32>,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct Revoke {
    /// As it was given to `create`
    name: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct Place {
    /// The file [default: credentials in the state folder]
    #[arg(long, value_name = "FILE", env = "HANDLERD_CREDENTIALS")]
    credentials: Option<PathBuf>,
    #[command(flatten)]
    place: NamedPlace,
    #[command(flatten)]
    state: State,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.action {
        Action::Create(arguments) => create(arguments),
        Action::List(place) => list(place),
        Action::Revoke(arguments) => revoke(arguments),
    }
}

impl Place {
    fn file(&self) -> anyhow::Result<PathBuf> {
        let (settings, file) = self.place.settle(&Common::from(self.state.clone()))?;
        let named = self.credentials.clone().or(file.credentials);
        Ok(named.unwrap_or_else(|| settings.state_dir.join(server::CREDENTIALS)))
    }
}

fn create(arguments: &Create) -> anyhow::Result<ExitCode> {
    let name = &arguments.name;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+');
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_name) {
        bail!("`{name}` is no name: it needs 1 to 64 letters, digits and `-_.@+`");
    }
    let file = arguments.place.file()?;
    let text = read(&file)?.unwrap_or_default();
    if parse(&text).iter().any(|known| known.user == *name) {
        bail!(
            "{} has a profile `{name}` already\nhint: take another name, or take the old one out of the file",
            file.display()
        );
    }
    let mut section = format!("[{name}]\n");
    let shown = match arguments.token {
        true => {
            let token = format!("hd_{}", server::secret());
            section.push_str(&format!("token_sha256 = {}\n", server::sha256(&token)));
            format!("token = {token}\n")
        }
        false => {
            let (key, secret) = (server::access_key("AKIA"), server::secret());
            let pair = format!("aws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
            section.push_str(&pair);
            format!("[{name}]\n{pair}")
        }
    };
    section.push_str(&format!("scopes = {}\n", arguments.scopes.join(" ")));
    if let Some(days) = arguments.expires {
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * i64::from(days));
        let end = jiff::Timestamp::from_second(end.as_second())?;
        section.push_str(&format!("expires = {end}\n"));
    }
    let gap = if text.is_empty() || text.ends_with("\n\n") { "" } else { "\n" };
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    write(&file, &format!("{text}{newline}{gap}{section}"))?;
    output::print(&shown);
    let hint = match arguments.token {
        true => "the console asks for it; it is not shown again",
        false => "boto3 and the AWS CLI take it from ~/.aws/credentials; it is not shown again",
    };
    eprintln!("{name} may {}: {hint}", arguments.scopes.join(", "));
    Ok(ExitCode::SUCCESS)
}

fn list(place: &Place) -> anyhow::Result<ExitCode> {
    let file = place.file()?;
    let known = parse(&read(&file)?.unwrap_or_default());
    if known.is_empty() {
        eprintln!(
            "there are no credentials in {}\nhint: `handlerd credentials create NAME` makes one",
            file.display()
        );
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = vec![["NAME", "KEY", "SCOPES", "EXPIRES", "STATE"].map(str::to_owned).to_vec()];
    rows.extend(known.iter().map(row));
    output::print(&output::table(&rows));
    Ok(ExitCode::SUCCESS)
}

fn row(known: &Credential) -> Vec<String> {
    let state = match (&known.problem, known.revoked, known.expires) {
        (Some(problem), ..) => problem.clone(),
        (_, true, _) => "revoked".to_owned(),
        (.., Some(end)) if end <= jiff::Timestamp::now() => "expired".to_owned(),
        _ => "good".to_owned(),
    };
    let key = if known.access_key.is_empty() { "token".to_owned() } else { known.access_key.clone() };
    let end = known.expires.map(|end| end.to_string()).unwrap_or_else(|| "never".to_owned());
    let scopes = if known.scopes.is_empty() { "none".to_owned() } else { known.scopes.join(" ") };
    vec![known.user.clone(), key, scopes, end, state]
}

fn revoke(arguments: &Revoke) -> anyhow::Result<ExitCode> {
    let (file, name) = (arguments.place.file()?, &arguments.name);
    let text = read(&file)?.unwrap_or_default();
    let mut found = 0;
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines() {
        lines.push(line);
        let title = line.trim().strip_prefix('[').and_then(|rest| rest.split(']').next()).map(str::trim);
        let title = title.map(|title| title.strip_prefix("profile ").unwrap_or(title).trim());
        if title == Some(name) {
            lines.push("revoked = true");
            found += 1;
        }
    }
    if found == 0 {
        bail!("{} has no profile `{name}`\nhint: `handlerd credentials list` shows them", file.display());
    }
    // The last of two lines of one name counts.
    let text = format!("{}\n", lines.join("\n"));
    let text = text.replace("\nrevoked = false\n", "\n");
    let still = parse(&text).into_iter().any(|known| known.user == *name && !known.revoked);
    if still {
        bail!("the profile `{name}` in {} says `revoked` in another way; change it there", file.display());
    }
    write(&file, &text)?;
    eprintln!("{name} is revoked");
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("could not read {}", file.display())),
    }
}

/// In place of the old one at once, and for its owner only: a gateway may read it at any time.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    server::create_private(folder)?;
    let beside = folder.join(format!(".credentials-{}", std::process::id()));
    let written = (|| {
        let mut new = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        std::fs::rename(&beside, file)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written.with_context(|| format!("could not write {}", file.display()))
}
