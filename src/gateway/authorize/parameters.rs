//! Parameters that a REST method requires; one that is there but blank is missing.

use super::super::error::GatewayError;
use super::super::payload::query_parameter;
use super::super::request::{Matched, Request};
use super::identity;

pub fn check(request: &Request, matched: &Matched) -> Result<(), GatewayError> {
    let required = &matched.route().required_parameters;
    if required.is_empty() {
        return Ok(());
    }
    let mut missing: Vec<(usize, &str)> = Vec::new();
    for parameter in required {
        let Some((place, name)) = place_and_name(parameter) else { continue };
        let rank = match place {
            "header" => 0,
            "path" => 1,
            _ => 2,
        };
        let present = match place {
            "header" => identity::header(request, name).is_some_and(|value| !value.trim().is_empty()),
            "path" => matched.parameters.iter().any(|(known, value)| known == name && !value.is_empty()),
            _ => query_parameter(request.query(), name).is_some_and(|value| !value.trim().is_empty()),
        };
        if !present {
            missing.push((rank, name));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    // Headers, path, query; within each as the template has them.
    missing.sort_by_key(|(rank, _)| *rank);
    let names = missing.into_iter().map(|(_, name)| name.to_owned()).collect();
    Err(GatewayError::MissingParameters(names))
}

/// `method.request.querystring.page` -> `querystring`, `page`.
fn place_and_name(parameter: &str) -> Option<(&str, &str)> {
    parameter.strip_prefix("method.request.")?.split_once('.')
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::api::Kind;

    fn missing(line: &str, headers: &[(&str, &str)]) -> Vec<String> {
        let mut api = fixture::api(Kind::Rest, "prod", &["GET /{issuer}"]);
        api.routes[0].required_parameters = [
            "method.request.querystring.qs1",
            "method.request.path.issuer",
            "method.request.header.x-header-param",
            "method.request.querystring.qs2",
        ]
        .map(str::to_owned)
        .into();
        let matched = fixture::matched(api, "/");
        match check(&fixture::request(line, headers), &matched) {
            Ok(()) => Vec::new(),
            Err(GatewayError::MissingParameters(names)) => names,
            Err(error) => panic!("{error:?}"),
        }
    }

    #[test]
    fn what_is_missing_is_told_in_the_order_of_aws() {
        assert_eq!(missing("GET /x", &[]), ["x-header-param", "issuer", "qs1", "qs2"]);
        let header = [("X-Header-Param", "1")];
        assert_eq!(missing("GET /x?qs1=a&qs2=", &header), ["issuer", "qs2"]);
        assert_eq!(
            missing("GET /x?qs2=%20&qs1=0", &[("x-header-param", " ")]),
            ["x-header-param", "issuer", "qs2"]
        );
    }
}
