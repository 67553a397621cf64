//! Method and path -> route.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::error::GatewayError;
use crate::deployment::Deployments;

/// Where a request goes, and how it matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub function: String,
    /// `ANY /hello/{proxy+}`
    pub key: String,
    /// Decoded.
    pub path_parameters: Vec<(String, String)>,
}

/// The default routes of a function, for people.
pub fn of_function(name: &str) -> [String; 2] {
    [format!("ANY /{name}"), format!("ANY /{name}/{{proxy+}}")]
}

/// The route of this request. Paths of an HTTP API are matched decoded, and a slash at the end
/// counts.
pub async fn find(deployments: &Deployments, path: &str) -> Result<Route, GatewayError> {
    let (first, rest) = split(path);
    let name = decode(first);
    if !name.is_empty() && deployments.has(&name).await {
        let [plain, proxy] = of_function(&name);
        let function = name.into_owned();
        match rest {
            None => return Ok(Route { function, key: plain, path_parameters: Vec::new() }),
            Some("") => {
                let hint = format!(
                    "`/{function}/` is not `/{function}` to an HTTP API; leave out the slash at the end"
                );
                return Err(GatewayError::NotFound { hint: Some(hint) });
            }
            Some(rest) => {
                let path_parameters = vec![("proxy".to_owned(), decode(rest).into_owned())];
                return Ok(Route { function, key: proxy, path_parameters });
            }
        }
    }
    Err(GatewayError::NotFound { hint: hint(deployments, &name) })
}

/// First segment, and what follows the slash after it.
fn split(path: &str) -> (&str, Option<&str>) {
    let path = path.strip_prefix('/').unwrap_or(path);
    match path.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    }
}

pub fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

fn hint(deployments: &Deployments, name: &str) -> Option<String> {
    let deployment = deployments.current();
    let names: Vec<&str> = deployment.functions.keys().map(|name| name.as_str()).collect();
    if let Some(other) = names.iter().find(|known| known.eq_ignore_ascii_case(name) && **known != name) {
        return Some(format!("there is `/{other}`: upper and lower case count"));
    }
    if names.is_empty() {
        return Some("there are no functions yet; `handlerd new NAME` makes one".to_owned());
    }
    if name.is_empty() {
        return Some(format!("functions answer under their names: {}", list(&names)));
    }
    (name != "favicon.ico").then(|| format!("there is no function of that name; there are {}", list(&names)))
}

fn list(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(8).map(|name| format!("/{name}")).collect();
    let more = if names.len() > 8 { ", ..." } else { "" };
    shown.join(", ") + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_the_first_slash() {
        assert_eq!(split("/hello"), ("hello", None));
        assert_eq!(split("/hello/"), ("hello", Some("")));
        assert_eq!(split("/hello/a/b"), ("hello", Some("a/b")));
        assert_eq!(split("//hello"), ("", Some("hello")));
        assert_eq!(split("/"), ("", None));
    }
}
