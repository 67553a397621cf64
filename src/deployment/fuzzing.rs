//! Templates and what belongs to them, thrown at their readers.

use std::path::Path;
use std::sync::Arc;

use super::template::{Frame, read_text, write};
use super::{Deployment, function_yaml, json, yaml};
use crate::api::Api;
use crate::config::Account;

pub use super::edit::fuzzing::properties;
pub use super::template::fuzzing::parameters;

/// The APIs that this text declares.
pub fn template(text: &str) -> Vec<Arc<Api>> {
    let path = Path::new("/t/template.yaml");
    let _ = json::parse(text);
    function_yaml::read_text(text, path, "function");
    let account = Account { id: "123456789012".to_owned(), region: "eu-west-1".to_owned() };
    let Ok(reading) = read_text(path, text, &account) else { return Vec::new() };
    for api in &reading.apis {
        assert!(!api.stages.is_empty(), "{} has no stage", api.name);
    }
    let apis: Vec<Arc<Api>> = reading.apis.into_iter().map(Arc::new).collect();
    let deployment = Deployment { apis: apis.clone(), ..Deployment::default() };
    let frame = Frame { folder: Path::new("/t"), runtime: &|_| String::new(), secrets: &|_| Vec::new() };
    let (written, _) = write(&deployment, &frame);
    let again = read_text(path, &written, &account);
    assert!(again.is_ok(), "what is exported cannot be read: {}\n{written}", again.unwrap_err());
    yaml::parse(&written).expect("what is exported is YAML");
    apis
}
