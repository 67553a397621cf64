//! Whose concern a path is: which functions have to be read again when something happens there.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use super::discover::is_left_out;

/// Stands for the template among the names of functions; no function can be called so.
pub const TEMPLATE: &str = "(template)";

/// All paths are absolute.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Territory {
    pub handlers: Option<PathBuf>,
    /// A change of one of these can change everything.
    pub template_files: HashSet<PathBuf>,
    /// Folder of code, and the functions of the template that use it.
    pub functions: Vec<(PathBuf, String)>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Concern {
    Nobody,
    Everybody,
    /// Names of functions, `TEMPLATE` among them.
    These(HashSet<String>),
}

impl Territory {
    pub fn concern(&self, path: &Path) -> Concern {
        let mut names = HashSet::new();
        if self.template_files.contains(path) {
            names.insert(TEMPLATE.to_owned());
        }
        for (folder, function) in &self.functions {
            if path == folder
                || below(folder, path).is_some_and(|inside| !inside.iter().any(|name| is_left_out(name)))
            {
                names.insert(function.clone());
            }
        }
        if let Some(handlers) = &self.handlers {
            if path == handlers {
                return Concern::Everybody;
            }
            if let Some(inside) = below(handlers, path)
                && !inside.iter().any(|name| is_left_out(name))
            {
                names.extend(inside.into_iter().next());
            }
        }
        if names.is_empty() { Concern::Nobody } else { Concern::These(names) }
    }
}

/// The path inside the folder, name by name.
fn below(folder: &Path, path: &Path) -> Option<Vec<String>> {
    let inside = path.strip_prefix(folder).ok()?.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    });
    Some(inside.collect::<Vec<_>>()).filter(|inside| !inside.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_concerns_those_who_use_it() {
        let territory = Territory {
            handlers: Some("/p/handlers".into()),
            template_files: HashSet::from(["/p/template.yaml".into()]),
            functions: vec![
                ("/p/src".into(), "a".into()),
                ("/p/src".into(), "b".into()),
                ("/p".into(), "c".into()),
            ],
        };
        let concern = |path: &str| match territory.concern(Path::new(path)) {
            Concern::These(names) => {
                let mut names: Vec<String> = names.into_iter().collect();
                names.sort();
                names.join(" ")
            }
            other => format!("{other:?}"),
        };
        assert_eq!(concern("/p/src/app.py"), "a b c");
        assert_eq!(concern("/p/handlers/x/lambda_function.py"), "c x");
        assert_eq!(concern("/p/handlers"), "Everybody");
        assert_eq!(concern("/p/template.yaml"), "(template) c");
        assert_eq!(concern("/p/.git/HEAD"), "Nobody");
        assert_eq!(concern("/q"), "Nobody");
    }
}
