//! What comes from outside of a template, thrown at it.

use std::path::Path;

use super::document::long_form;
use super::parameters::{Parameter, parse_overrides, settle};
use super::reports::Reports;
use super::{Override, env_vars, samconfig};
use crate::deployment::yaml;

pub fn parameters(arguments: &str, configuration: &str, variables: &str, section: &str) {
    let path = Path::new("/t/template.yaml");
    let mut reports = Reports::new(path);
    let arguments: Vec<String> = arguments.lines().map(str::to_owned).collect();
    let mut overrides = Vec::new();
    if let Ok(pairs) = parse_overrides(&arguments) {
        overrides.extend(pairs.into_iter().map(|(name, value)| Override { name, value, from: None }));
    }
    let toml = samconfig::parse_toml(configuration).ok();
    for root in toml.into_iter().chain(yaml::parse(configuration).ok().flatten()) {
        for environment in ["", "default", "prod"] {
            overrides.extend(samconfig::read(&root, environment, path, &mut reports).unwrap_or_default());
        }
    }
    if let Ok((all, lines)) = env_vars::parse(variables) {
        assert_eq!(all.len(), lines.len());
    }
    let Ok(Some(section)) = yaml::parse(section) else { return };
    let section = long_form(section, &mut reports);
    let settled = settle(Some(&section), &overrides, &mut reports);
    for (name, parameter) in settled {
        // Only a name that is declared has a value, and only one of those it was given.
        assert!(section.get(&name).is_some(), "{name}");
        if let (Parameter::Text(_), true) = (&parameter, overrides.is_empty()) {
            assert!(section.get(&name).is_some_and(|declared| declared.get("Default").is_some()), "{name}");
        }
    }
}
