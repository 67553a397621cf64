//! Templates and paths, thrown at what maps requests.

use serde_json::{Map, Value};

use super::json_path::{Found, JsonPath};
use super::setting::Setting;
use super::template::{Template, Variables};
use super::{integration, parameters, pattern};
use crate::api::{IntegrationResponse, Kind, MappedIntegration, Passthrough};
use crate::gateway::fuzzing::{matched, request, site};
use crate::gateway::request::Caller;

/// What a template may write.
const OUTPUT_LIMIT: usize = 10 * 1024 * 1024;

pub fn mapping_template(text: &str, body: &str, raw: &[u8]) {
    let _ = pattern::compile_whole(text);
    let _ = parameters::check_integration_response("method.response.header.x", text);
    let Ok(template) = Template::parse(text) else { return };
    let (context, stage_variables, parameters) = (Map::new(), Default::default(), Default::default());
    let variables =
        Variables { body, parameters: &parameters, context: &context, stage_variables: &stage_variables };
    if let Ok(rendered) = template.render(&variables) {
        assert!(rendered.text.len() <= OUTPUT_LIMIT);
    }
    let Some(request) = request(raw) else { return };
    let matched = matched(Kind::Rest, &request);
    let mut setting = Setting::new(&request, &matched, &Caller::default(), &site());
    let templates = [("application/json".to_owned(), text.to_owned())];
    let response = IntegrationResponse {
        pattern: None,
        status: 200,
        parameters: [("x", "integration.response.body.a"), ("y", "method.request.header.y")]
            .map(|(name, source)| (format!("method.response.header.{name}"), source.to_owned()))
            .into(),
        templates: templates.clone().into(),
    };
    let mock = MappedIntegration {
        function: None,
        asynchronous: false,
        request_templates: templates.into(),
        passthrough: Passthrough::Never,
        responses: vec![response],
    };
    integration::mapped_alone(&mut setting, &mock, body);
}

pub fn json_path(path: &str, document: &str) {
    let Ok(parsed) = JsonPath::parse(path) else { return };
    let Ok(document) = serde_json::from_str::<Value>(document) else { return };
    let found = parsed.find(&document);
    if let (false, Ok(found)) = (parsed.is_definite(), &found) {
        assert!(matches!(found, Found::Value(Value::Array(_))), "{path}: {found:?}");
    }
    // Asked twice, it answers the same.
    assert_eq!(parsed.find(&document), found);
}
