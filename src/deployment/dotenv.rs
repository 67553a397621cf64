//! The `.env` beside a function's code: local values that do not go into version control. They win
//! over `function.yaml`.

use std::path::Path;

use super::discover::{Problem, Severity};
use super::properties::check_variable_name;
use crate::function::Configuration;

pub fn read(path: &Path, configuration: &mut Configuration, problems: &mut Vec<Problem>) {
    if !path.is_file() {
        return;
    }
    let mut error = |text: String| {
        problems.push(Problem { severity: Severity::Error, path: path.to_owned(), line: None, text });
    };
    let entries = match dotenvy::from_path_iter(path) {
        Ok(entries) => entries,
        Err(reason) => return error(format!("cannot be read: {reason}")),
    };
    for entry in entries {
        match entry {
            Ok((name, value)) => match check_variable_name(&name) {
                Ok(()) => {
                    configuration.environment.retain(|(known, _)| *known != name);
                    configuration.environment.push((name, value));
                }
                Err(reason) => error(reason),
            },
            // Without the line itself: it may be a secret, and this is printed and served.
            Err(dotenvy::Error::LineParse(_, index)) => {
                return error(format!(
                    "is not in the form NAME=value: a line makes no sense from character {} on\nhint: quote values \
                     with spaces, as in NAME=\"two words\"",
                    index + 1
                ));
            }
            Err(reason) => return error(format!("is not in the form NAME=value: {reason}")),
        }
    }
}

/// Names of the variables that it sets, for a function in this folder.
pub fn names(folder: &Path) -> Vec<String> {
    entries(folder).into_iter().map(|(name, _)| name).collect()
}

/// With their values.
pub fn entries(folder: &Path) -> Vec<(String, String)> {
    let entries = dotenvy::from_path_iter(folder.join(super::discover::DOTENV)).into_iter().flatten();
    entries.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wins_over_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, "# local\nTABLE=mine\nTOKEN=\"a b\"\nAWS_LAMBDA_X=1\n").unwrap();
        let mut configuration = Configuration {
            environment: vec![("TABLE".into(), "theirs".into())],
            ..Configuration::default()
        };
        let mut problems = Vec::new();
        read(&path, &mut configuration, &mut problems);
        let expected = [("TABLE".to_owned(), "mine".to_owned()), ("TOKEN".to_owned(), "a b".to_owned())];
        assert_eq!(configuration.environment, expected);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].text.contains("`AWS_LAMBDA_X` is reserved"));
    }
}
