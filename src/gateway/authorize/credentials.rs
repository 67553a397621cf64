//! Whose signatures are known: a file in the form of `~/.aws/credentials`, read again when it
//! changes, and the credentials that the gateway itself was started with. Secrets are never shown.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

const FILE_LIMIT: u64 = 1024 * 1024;

/// One access key, and whose it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The profile.
    pub user: String,
    pub access_key: String,
    pub secret: String,
    pub session_token: Option<String>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Credential({} {})", self.user, self.access_key)
    }
}

pub struct Credentials {
    path: Option<PathBuf>,
    own: Option<Credential>,
    read: Mutex<Read>,
}

#[derive(Default)]
struct Read {
    stamp: Option<(SystemTime, u64)>,
    known: Arc<Vec<Credential>>,
}

/// Why an access key is nobody's; for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Unknown(pub String);

impl Credentials {
    pub fn new(path: Option<PathBuf>) -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let own = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY")).map(
            |(access_key, secret)| Credential {
                user: variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned()),
                access_key,
                secret,
                session_token: variable("AWS_SESSION_TOKEN"),
            },
        );
        Self::with(path, own)
    }

    pub fn with(path: Option<PathBuf>, own: Option<Credential>) -> Self {
        Self { path, own, read: Mutex::default() }
    }

    pub fn find(&self, access_key: &str) -> Result<Credential, Unknown> {
        let known = match &self.path {
            Some(path) => self.read(path).map_err(|reason| {
                Unknown(format!("the credentials in {} cannot be used: {reason}", path.display()))
            })?,
            None => Arc::default(),
        };
        let found = known.iter().chain(&self.own).find(|known| known.access_key == access_key);
        found.cloned().ok_or_else(|| {
            Unknown(match (&self.path, &self.own) {
                (None, None) => "no credentials are known, so that no signature can be verified\n\
                                 hint: `--credentials FILE` names a file like ~/.aws/credentials"
                    .to_owned(),
                (Some(path), _) => {
                    format!("no profile in {} has the access key {access_key:?}", path.display())
                }
                (None, Some(_)) => format!(
                    "the access key {access_key:?} is not the one in AWS_ACCESS_KEY_ID\n\
                     hint: `--credentials FILE` names a file like ~/.aws/credentials"
                ),
            })
        })
    }

    fn read(&self, path: &Path) -> Result<Arc<Vec<Credential>>, String> {
        let text = |error: std::io::Error| error.to_string();
        let about = std::fs::metadata(path).map_err(text)?;
        if !about.is_file() || about.len() > FILE_LIMIT {
            return Err("it is no file of a size that credentials have".to_owned());
        }
        let stamp = (about.modified().map_err(text)?, about.len());
        let mut read = self.read.lock().unwrap();
        if read.stamp != Some(stamp) {
            let text = std::fs::read_to_string(path).map_err(text)?;
            *read = Read { stamp: Some(stamp), known: Arc::new(parse(&text)) };
        }
        Ok(read.known.clone())
    }
}

/// Profiles that have a key and a secret; other lines are for other programs.
pub(super) fn parse(text: &str) -> Vec<Credential> {
    let mut found: Vec<Credential> = Vec::new();
    let mut profile: Option<Credential> = None;
    let complete = |profile: Option<Credential>| {
        profile.filter(|profile| !profile.access_key.is_empty() && !profile.secret.is_empty())
    };
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            found.extend(complete(profile.take()));
            let name = name.trim();
            let user = name.strip_prefix("profile ").unwrap_or(name).trim().to_owned();
            profile = Some(Credential {
                user,
                access_key: String::new(),
                secret: String::new(),
                session_token: None,
            });
            continue;
        }
        let (Some(profile), Some((name, value))) = (&mut profile, line.split_once('=')) else { continue };
        let value = value.trim().to_owned();
        match name.trim().to_ascii_lowercase().as_str() {
            "aws_access_key_id" => profile.access_key = value,
            "aws_secret_access_key" => profile.secret = value,
            "aws_session_token" => profile.session_token = Some(value).filter(|token| !token.is_empty()),
            _ => {}
        }
    }
    found.extend(complete(profile));
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "# comment\n[default]\naws_access_key_id = AKIAONE\naws_secret_access_key=one\n\
        region = eu-west-1\n\n[ dev ]\n  aws_access_key_id=AKIATWO\n  aws_secret_access_key = two==\n\
        aws_session_token = token/+=\n; [off]\n[incomplete]\naws_access_key_id = AKIATHREE\n\
        [profile third]\nAWS_ACCESS_KEY_ID = AKIAFOUR\naws_secret_access_key = four\n";

    #[test]
    fn profiles_are_read() {
        let users: Vec<_> = parse(FILE)
            .into_iter()
            .map(|found| (found.user, found.access_key, found.secret, found.session_token))
            .collect();
        let one = |user: &str, key: &str, secret: &str, token: Option<&str>| {
            (user.to_owned(), key.to_owned(), secret.to_owned(), token.map(str::to_owned))
        };
        let expected = [
            one("default", "AKIAONE", "one", None),
            one("dev", "AKIATWO", "two==", Some("token/+=")),
            one("third", "AKIAFOUR", "four", None),
        ];
        assert_eq!(users, expected);
        assert!(parse("aws_access_key_id = x\naws_secret_access_key = y").is_empty());
    }

    #[test]
    fn the_file_is_read_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        let credentials = Credentials::with(Some(path.clone()), None);
        assert!(credentials.find("AKIAONE").unwrap_err().0.contains("cannot be used"));
        std::fs::write(&path, FILE).unwrap();
        assert_eq!(credentials.find("AKIAONE").unwrap().user, "default");
        assert!(credentials.find("AKIANEW").unwrap_err().0.contains("no profile"));
        std::fs::write(&path, FILE.replace("AKIAONE", "AKIANEWER")).unwrap();
        assert_eq!(credentials.find("AKIANEWER").unwrap().user, "default");
    }

    #[test]
    fn what_is_missing_is_told_and_no_secret_is() {
        assert!(
            Credentials::with(None, None).find("x").unwrap_err().0.contains("hint: `--credentials FILE`")
        );
        let own = parse(FILE).remove(1);
        let shown = format!("{own:?}");
        assert!(shown.contains("AKIATWO") && !shown.contains("two==") && !shown.contains("token/"));
        let credentials = Credentials::with(None, Some(own));
        assert_eq!(credentials.find("AKIATWO").unwrap().user, "dev");
        assert!(credentials.find("x").unwrap_err().0.contains("AWS_ACCESS_KEY_ID"));
    }

    proptest! {
        #[test]
        fn no_file_is_too_strange(text in "[\\[\\]=#; a-z\n]{0,80}|\\PC{0,40}") {
            parse(&text);
        }
    }
}
