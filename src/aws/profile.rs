//! Keys and endpoints of a profile, from the files that all AWS SDKs read: `~/.aws/credentials` and
//! `~/.aws/config`.

use std::path::{Path, PathBuf};

/// The variables that name the files, and where these are otherwise, below the home folder.
const FILES: [(&str, &str); 2] =
    [("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"), ("AWS_CONFIG_FILE", ".aws/config")];

/// What two files say of one profile; the first file wins.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Profile(Vec<(String, String)>);

impl Profile {
    /// `get`: a variable of the environment, unless it is empty.
    pub fn read(name: &str, get: impl Fn(&str) -> Option<String>) -> Self {
        let mut properties = Vec::new();
        for (variable, usual) in FILES {
            let home = || get("HOME").map(|home| Path::new(&home).join(usual));
            let Some(path) = get(variable).map(PathBuf::from).or_else(home) else { continue };
            // A file that is not there is nothing remarkable; most machines have none.
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            properties.extend(section(&text, name));
        }
        Self(properties)
    }

    pub fn get(&self, property: &str) -> Option<String> {
        let found = self.0.iter().find(|(name, _)| name == property);
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    }
}

/// The properties in `[NAME]` or `[profile NAME]`. Nested ones (indented, below a name without a value)
/// are none of ours.
fn section(text: &str, name: &str) -> Vec<(String, String)> {
    let mut inside = false;
    let mut properties = Vec::new();
    for line in text.lines() {
        let indented = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(title) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let title = title.trim();
            inside = title.strip_prefix("profile ").unwrap_or(title).trim() == name;
        } else if inside
            && !indented
            && let Some((property, value)) = line.split_once('=')
        {
            properties.push((property.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    properties
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_found_among_others() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::create_dir_all(folder.path().join(".aws")).unwrap();
            std::fs::write(folder.path().join(".aws").join(name), text).unwrap();
        };
        write(
            "credentials",
            "# mine\n[default]\naws_access_key_id = AAA\n[local]\naws_access_key_id=BBB\naws_secret_access_key = b=b\n",
        );
        write(
            "config",
            "[profile local]\nregion = eu-west-1\naws_access_key_id = CCC\ns3 =\n  endpoint_url = http://nested\nendpoint_url = http://127.0.0.1:4566\n[profile other]\nregion = x\n",
        );
        let home = folder.path().display().to_string();
        let profile = Profile::read("local", |name| (name == "HOME").then(|| home.clone()));
        assert_eq!(profile.get("aws_access_key_id").as_deref(), Some("BBB"), "the credentials file wins");
        assert_eq!(profile.get("aws_secret_access_key").as_deref(), Some("b=b"));
        assert_eq!(profile.get("region").as_deref(), Some("eu-west-1"));
        assert_eq!(profile.get("endpoint_url").as_deref(), Some("http://127.0.0.1:4566"));
        assert_eq!(Profile::read("nobody", |_| Some(home.clone())), Profile::default());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "(\\[|\\]|profile |a|=| |\n|#|;){0,60}") {
            section(&text, "a");
        }
    }
}
