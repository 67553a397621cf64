//! Whose signatures and tokens are known: a file in the form of `~/.aws/credentials`, read again when
//! it changes, and the credentials that the gateway itself was started with. Secrets are never shown.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use super::signature::same_secret;

const FILE_LIMIT: u64 = 1024 * 1024;

/// One profile: an access key or a token, and whose it is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credential {
    /// The profile.
    pub user: String,
    /// Empty: it has a token only.
    pub access_key: String,
    pub secret: String,
    pub session_token: Option<String>,
    /// SHA-256 of a bearer token, in hexadecimal.
    pub token_sha256: Option<String>,
    /// What it may do on the control plane: `read`, `invoke`, `deploy`, `admin`. Nothing, if it does not say.
    pub scopes: Vec<String>,
    pub expires: Option<Timestamp>,
    pub revoked: bool,
    /// What in the profile makes no sense: it is good for nothing then.
    pub problem: Option<String>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Credential({} {})", self.user, self.access_key)
    }
}

impl Credential {
    /// Why it is not taken now.
    fn refused(&self, now: Timestamp) -> Option<String> {
        if let Some(problem) = &self.problem {
            return Some(format!("the profile `{}` cannot be used: {problem}", self.user));
        }
        if self.revoked {
            return Some(format!("the credential of `{}` is revoked", self.user));
        }
        let over = self.expires.filter(|expires| *expires <= now)?;
        Some(format!("the credential of `{}` has expired, at {over}", self.user))
    }
}

pub struct Credentials {
    path: Option<PathBuf>,
    /// Refuses a file that others can read.
    private: bool,
    own: Vec<Credential>,
    read: Mutex<Read>,
}

/// A file as it was: not even one that was changed within a tick of the clock looks the same.
type Stamp = (u64, i64, i64, i64, i64, u64);

#[derive(Default)]
struct Read {
    stamp: Option<Stamp>,
    known: Arc<Vec<Credential>>,
}

/// Why an access key is nobody's; for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Unknown(pub String);

impl Credentials {
    pub fn new(path: Option<PathBuf>) -> Self {
        Self::with(path, Self::of_environment())
    }

    pub fn with(path: Option<PathBuf>, own: Option<Credential>) -> Self {
        Self { path, private: false, own: own.into_iter().collect(), read: Mutex::default() }
    }

    /// For the control plane: the file must be its owner's alone. `own`: known without a file.
    pub fn private(path: PathBuf, own: Vec<Credential>) -> Self {
        Self { path: Some(path), private: true, own, read: Mutex::default() }
    }

    /// What the variables of this process say.
    pub fn of_environment() -> Option<Credential> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (access_key, secret) = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY"))?;
        Some(Credential {
            user: variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned()),
            access_key,
            secret,
            session_token: variable("AWS_SESSION_TOKEN"),
            ..Credential::default()
        })
    }

    /// Everything in the file, also what is not taken any more.
    pub fn all(&self) -> Result<Arc<Vec<Credential>>, Unknown> {
        let Some(path) = &self.path else { return Ok(Arc::default()) };
        self.read(path).map_err(|reason| {
            Unknown(format!("the credentials in {} cannot be used: {reason}", path.display()))
        })
    }

    /// Whose access key this is.
    pub fn find(&self, access_key: &str, now: Timestamp) -> Result<Credential, Unknown> {
        let named = |known: &&Credential| !access_key.is_empty() && known.access_key == access_key;
        let own = self.own.iter().find(named);
        // The gateway's own are known whatever is wrong with the file.
        let known = match self.all() {
            Err(_) if own.is_some() => Arc::default(),
            known => known?,
        };
        let found = known.iter().find(named).or(own).cloned();
        let found = found.ok_or_else(|| {
            Unknown(match (&self.path, self.own.is_empty()) {
                (None, true) => "no credentials are known, so that no signature can be verified\n\
                                 hint: `--credentials FILE` names a file like ~/.aws/credentials"
                    .to_owned(),
                (Some(path), _) => {
                    format!("no profile in {} has the access key {access_key:?}", path.display())
                }
                (None, false) => format!(
                    "the access key {access_key:?} is not the one in AWS_ACCESS_KEY_ID\n\
                     hint: `--credentials FILE` names a file like ~/.aws/credentials"
                ),
            })
        })?;
        match found.refused(now) {
            Some(reason) => Err(Unknown(reason)),
            None => Ok(found),
        }
    }

    /// Whose token has this SHA-256.
    pub fn find_token(&self, sha256: &str, now: Timestamp) -> Result<Credential, Unknown> {
        let known = self.all()?;
        let has_it = |known: &&Credential| {
            known.token_sha256.as_ref().is_some_and(|token| same_secret(token.as_bytes(), sha256.as_bytes()))
        };
        let found = known.iter().chain(&self.own).find(has_it).cloned();
        let found = found.ok_or_else(|| Unknown("no profile has this token".to_owned()))?;
        match found.refused(now) {
            Some(reason) => Err(Unknown(reason)),
            None => Ok(found),
        }
    }

    fn read(&self, path: &Path) -> Result<Arc<Vec<Credential>>, String> {
        let text = |error: std::io::Error| error.to_string();
        let about = std::fs::metadata(path).map_err(text)?;
        if !about.is_file() || about.len() > FILE_LIMIT {
            return Err("it is no file of a size that credentials have".to_owned());
        }
        if self.private {
            check_private(&about)?;
        }
        let stamp =
            (about.ino(), about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec(), about.len());
        let mut read = self.read.lock().unwrap();
        if read.stamp != Some(stamp) {
            let text = std::fs::read_to_string(path).map_err(text)?;
            *read = Read { stamp: Some(stamp), known: Arc::new(parse(&text)) };
        }
        Ok(read.known.clone())
    }
}

/// Only its owner, who must be us, may read or write it.
fn check_private(about: &std::fs::Metadata) -> Result<(), String> {
    let us = rustix::process::geteuid().as_raw();
    if about.uid() != us {
        return Err(format!("it belongs to the user {}, and this is the user {us}", about.uid()));
    }
    match about.mode() & 0o077 {
        0 => Ok(()),
        _ => Err(format!(
            "others than its owner may use it (mode {:03o})\nhint: `chmod 600` it, and make new secrets if anybody \
             could have read these",
            about.mode() & 0o777
        )),
    }
}

/// Profiles that have a key and a secret, or a token; other lines are for other programs.
pub fn parse(text: &str) -> Vec<Credential> {
    let mut found: Vec<Credential> = Vec::new();
    let mut profile: Option<Credential> = None;
    let complete = |profile: Option<Credential>| {
        profile.filter(|profile| {
            !profile.access_key.is_empty() && !profile.secret.is_empty() || profile.token_sha256.is_some()
        })
    };
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            found.extend(complete(profile.take()));
            let name = name.trim();
            let user = name.strip_prefix("profile ").unwrap_or(name).trim().to_owned();
            profile = Some(Credential { user, ..Credential::default() });
            continue;
        }
        let (Some(profile), Some((name, value))) = (&mut profile, line.split_once('=')) else { continue };
        set(profile, &name.trim().to_ascii_lowercase(), value.trim());
    }
    found.extend(complete(profile));
    found
}

fn set(profile: &mut Credential, name: &str, value: &str) {
    let some = || Some(value.to_owned()).filter(|value| !value.is_empty());
    match name {
        "aws_access_key_id" => value.clone_into(&mut profile.access_key),
        "aws_secret_access_key" => value.clone_into(&mut profile.secret),
        "aws_session_token" => profile.session_token = some(),
        "token_sha256" => {
            profile.token_sha256 = some().map(|token| token.to_ascii_lowercase());
            if value.len() != 64 || !value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                profile.problem = Some("`token_sha256` needs 64 hexadecimal digits".to_owned());
            }
        }
        "scopes" => {
            let scopes = value.split([' ', ',', '\t']).filter(|scope| !scope.is_empty());
            profile.scopes = scopes.map(str::to_ascii_lowercase).collect();
            let unknown = |scope: &&String| !matches!(&***scope, "read" | "invoke" | "deploy" | "admin");
            if let Some(unknown) = profile.scopes.iter().find(unknown) {
                profile.problem = Some(format!(
                    "there is no scope `{}`: they are read, invoke, deploy and admin",
                    unknown.escape_debug()
                ));
            }
        }
        // Whoever meant an end must not get none.
        "expires" => match value.parse() {
            Ok(expires) => profile.expires = Some(expires),
            Err(_) => {
                profile.problem = Some("`expires` needs a time such as 2027-01-31T00:00:00Z".to_owned());
            }
        },
        "revoked" => profile.revoked = !matches!(value, "false" | "no" | ""),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "# comment\n[default]\naws_access_key_id = AKIAONE\naws_secret_access_key=one\n\
        region = eu-west-1\n\n[ dev ]\n  aws_access_key_id=AKIATWO\n  aws_secret_access_key = two==\n\
        aws_session_token = token/+=\n; [off]\n[incomplete]\naws_access_key_id = AKIATHREE\n\
        [profile third]\nAWS_ACCESS_KEY_ID = AKIAFOUR\naws_secret_access_key = four\n";

    fn now() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

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
    fn scopes_ends_and_tokens() {
        let token = "ab".repeat(32);
        let text = format!(
            "[kim]\naws_access_key_id = A\naws_secret_access_key = s\nscopes = read, Invoke\texpires\n\
             [old]\naws_access_key_id = B\naws_secret_access_key = s\nexpires = 2026-11-22T12:00:00Z\n\
             [gone]\naws_access_key_id = C\naws_secret_access_key = s\nrevoked = true\n\
             [typo]\naws_access_key_id = D\naws_secret_access_key = s\nexpires = soon\n\
             [page]\ntoken_sha256 = {token}\nscopes = read deploy\nexpires = 2026-11-22T12:00:01Z\n"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        std::fs::write(&path, text).unwrap();
        let credentials = Credentials::with(Some(path), None);
        for (key, reason) in [
            ("A", "there is no scope `expires`"),
            ("B", "has expired"),
            ("C", "is revoked"),
            ("D", "`expires` needs a time"),
            ("", "no profile"),
        ] {
            let told = credentials.find(key, now()).unwrap_err().0;
            assert!(told.contains(reason), "{told}");
        }
        let page = credentials.find_token(&token, now()).unwrap();
        assert_eq!((page.user.as_str(), page.scopes.join(" ").as_str()), ("page", "read deploy"));
        let later = "2026-11-22T12:00:01Z".parse().unwrap();
        assert!(credentials.find_token(&token, later).unwrap_err().0.contains("has expired"));
        assert!(credentials.find_token(&"cd".repeat(32), now()).is_err());
    }

    #[test]
    fn the_file_is_read_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        let credentials = Credentials::with(Some(path.clone()), None);
        assert!(credentials.find("AKIAONE", now()).unwrap_err().0.contains("cannot be used"));
        std::fs::write(&path, FILE).unwrap();
        assert_eq!(credentials.find("AKIAONE", now()).unwrap().user, "default");
        assert!(credentials.find("AKIANEW", now()).unwrap_err().0.contains("no profile"));
        std::fs::write(&path, FILE.replace("AKIAONE", "AKIANEWER")).unwrap();
        assert_eq!(credentials.find("AKIANEWER", now()).unwrap().user, "default");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_for_the_control_plane() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        std::fs::write(&path, FILE).unwrap();
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let credentials = Credentials::private(path.clone(), Vec::new());
        for open in [0o644, 0o640, 0o604, 0o660, 0o602] {
            mode(open);
            let told = credentials.find("AKIAONE", now()).unwrap_err().0;
            assert!(told.contains("others than its owner") && told.contains("chmod 600"), "{told}");
        }
        mode(0o600);
        assert!(credentials.find("AKIAONE", now()).is_ok());
        mode(0o644);
        assert!(credentials.find("AKIAONE", now()).is_err(), "also when it was read before");
    }

    #[test]
    fn what_is_missing_is_told_and_no_secret_is() {
        let told = Credentials::with(None, None).find("x", now()).unwrap_err().0;
        assert!(told.contains("hint: `--credentials FILE`"));
        let own = parse(FILE).remove(1);
        let shown = format!("{own:?}");
        assert!(shown.contains("AKIATWO") && !shown.contains("two==") && !shown.contains("token/"));
        let credentials = Credentials::with(None, Some(own));
        assert_eq!(credentials.find("AKIATWO", now()).unwrap().user, "dev");
        assert!(credentials.find("x", now()).unwrap_err().0.contains("AWS_ACCESS_KEY_ID"));
    }

    proptest! {
        #[test]
        fn no_file_is_too_strange(text in "[\\[\\]=#; a-z\n]{0,80}|\\PC{0,40}") {
            parse(&text);
        }
    }
}
