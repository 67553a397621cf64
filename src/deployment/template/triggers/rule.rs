//! Rules of an event bus: patterns, and what of an event the function gets.

use super::super::Builder;
use super::super::section::Section;
use super::schedule::{LONGEST_INPUT, input as constant};
use super::{Context, Said, delivery, enabled};
use crate::trigger::{Kind, Pattern, Rule, RuleInput};

const DEFAULT_BUS: &str = "default";
/// Values of one transformer.
const MOST_PATHS: usize = 100;

/// SAM's `EventBridgeRule` and `CloudWatchEvent`.
pub fn of_event(section: &Section<'_>, context: Context<'_>, builder: &mut Builder) -> Option<Said> {
    let known = [
        "DeadLetterConfig",
        "Enabled",
        "EventBusName",
        "Input",
        "InputPath",
        "InputTransformer",
        "Pattern",
        "RetryPolicy",
        "RoleArn",
        "RuleName",
        "State",
        "Target",
    ];
    section.only(&known, builder);
    if let Some(target) = section.section("Target", builder) {
        // Only what it is called on AWS.
        target.only(&["Id"], builder);
    }
    delivery(section, context, builder);
    let (enabled, bus, input) = (enabled(section, builder), bus(section, builder), input(section, builder));
    let name = section.text("RuleName", builder).map(str::to_owned);
    if section.get("Pattern").is_none() {
        section.error("", format!("`{}` has no `Pattern`", section.owner()), builder);
    }
    let pattern = pattern(section, "Pattern", builder)?;
    Some(Said { name, enabled, kind: Kind::Rule(Rule { bus, pattern, input }) })
}

/// The name of a bus, of which the ARN may be given.
pub fn bus(section: &Section<'_>, builder: &mut Builder) -> String {
    let text = section.text("EventBusName", builder).filter(|text| !text.is_empty()).unwrap_or(DEFAULT_BUS);
    text.split_once(":event-bus/").map_or(text, |(_, name)| name).to_owned()
}

/// A pattern: a map, or JSON in a text.
pub fn pattern(section: &Section<'_>, key: &str, builder: &mut Builder) -> Option<Pattern> {
    let node = section.get(key)?;
    let text = match (node.mapping(), node.text()) {
        (Some(_), _) => node.json().to_string(),
        (_, Some(text)) => text.to_owned(),
        _ => {
            let text = format!("`{}` must be a map, not {}", section.name(key), node.kind());
            section.error(key, text, builder);
            return None;
        }
    };
    let is_object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text);
    let parsed = match is_object {
        Ok(_) => Pattern::parse(&text),
        Err(error) => Err(format!("an event pattern is a JSON object: {error}")),
    };
    parsed.map_err(|reason| section.error(key, format!("`{}`: {reason}", section.name(key)), builder)).ok()
}

/// `Input`, `InputPath` or `InputTransformer`.
pub fn input(section: &Section<'_>, builder: &mut Builder) -> RuleInput {
    let keys = ["Input", "InputPath", "InputTransformer"];
    let given: Vec<&str> = keys.into_iter().filter(|key| section.get(key).is_some()).collect();
    if given.len() > 1 {
        let text = format!(
            "`{}` has both `{}` and `{}`; only one of `Input`, `InputPath` and `InputTransformer` may be given",
            section.owner(),
            given[0],
            given[1]
        );
        section.error(given[1], text, builder);
        return RuleInput::Event;
    }
    if let Some(text) = constant(section, LONGEST_INPUT, builder) {
        return RuleInput::Constant(text);
    }
    if let Some(path) = section.text("InputPath", builder) {
        check_path(section, "InputPath", path, builder);
        return match path {
            "$" => RuleInput::Event,
            path => RuleInput::Path(path.to_owned()),
        };
    }
    let Some(transformer) = section.section("InputTransformer", builder) else { return RuleInput::Event };
    transformer.only(&["InputPathsMap", "InputTemplate"], builder);
    let paths = transformer.texts_by_name("InputPathsMap", builder);
    if let Some(map) = transformer.get("InputPathsMap").filter(|_| transformer.get("InputPathsMap").is_some())
    {
        let map = transformer.below("InputPathsMap", map);
        for (name, path) in &paths {
            check_path(&map, name, path, builder);
            if name.starts_with("AWS") || name.contains(['<', '>']) {
                map.error(name, format!("`{}` cannot be the name of a value", map.name(name)), builder);
            }
        }
    }
    if paths.len() > MOST_PATHS {
        let text = format!("`{}` has {} values; AWS allows {MOST_PATHS}", transformer.at, paths.len());
        transformer.error("InputPathsMap", text, builder);
    }
    let template = transformer.required("InputTemplate", builder).unwrap_or_default().to_owned();
    if template.len() > LONGEST_INPUT {
        let text = format!(
            "`{}` takes {} bytes; AWS allows {LONGEST_INPUT}",
            transformer.name("InputTemplate"),
            template.len()
        );
        transformer.error("InputTemplate", text, builder);
    }
    RuleInput::Transformer { paths, template }
}

/// `$`, `$.detail.id`: as far as AWS checks it beforehand.
fn check_path(section: &Section<'_>, key: &str, path: &str, builder: &mut Builder) {
    let rest = path.strip_prefix('$');
    let valid = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    if !valid || path.len() > 256 {
        let text = format!("`{}` must be a JSON path such as `$.detail.id`, not `{path}`", section.name(key));
        section.error(key, text, builder);
    }
}
