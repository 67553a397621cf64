//! What a resolved text refers to: a function, an API, a resource of some kind.

use super::{Builder, Resource, Stack};
use crate::deployment::yaml::Node;
use crate::function::FunctionName;

/// Aliases of aliases do not exist; this only ends a circle.
const DEPTH: usize = 4;

/// What stands in a function's place until the stage is known.
const STAGE_VARIABLE: &str = "${stageVariables.";

/// The name of the function that a name, ARN or invocation URI means, with `:qualifier` if it has
/// one; or why there is none.
pub fn function(stack: &Stack, text: &str) -> Result<String, String> {
    follow(stack, text, DEPTH)
}

/// What the report says of a function that is named with an alias or a version.
pub fn qualified(function: &str) -> Option<String> {
    let (name, qualifier) = function.split_once(':')?;
    Some(format!(
        "`{qualifier}` of `{name}` leads to the current code until one of its name is made through the Lambda API"
    ))
}

fn follow(stack: &Stack, text: &str, depth: usize) -> Result<String, String> {
    let text = invoked(text.trim());
    if text.is_empty() {
        return Err("it names no function".to_owned());
    }
    if let Some(resource) = exactly(stack, text) {
        let qualifier = match resource.kind.as_str() {
            "AWS::Lambda::Function" | "AWS::Serverless::Function" => return Ok(function_name(resource)),
            "AWS::Lambda::Alias" => said(resource, "Name").map(str::to_owned),
            "AWS::Lambda::Version" => number_at_end(&resource.physical_id),
            kind => return Err(format!("`{}` is no function but an {kind}", resource.logical_id)),
        };
        let name = said(resource, "FunctionName").filter(|_| depth > 0);
        let name = name.ok_or_else(|| format!("`{}` names no function", resource.logical_id))?;
        let function = follow(stack, name, depth - 1)?;
        let function = function.split(':').next().unwrap_or_default().to_owned();
        return Ok(match qualifier {
            Some(qualifier) => format!("{function}:{qualifier}"),
            None => function,
        });
    }
    let name =
        text.split_once(":function:").or_else(|| text.split_once("function:")).map_or(text, |(_, name)| name);
    // A qualifier may be a stage variable too; neither holds a colon.
    let (name, qualifier) = match name.split_once(':') {
        Some((name, qualifier)) => (name, Some(qualifier).filter(|q| !q.is_empty() && *q != "$LATEST")),
        None => (name, None),
    };
    let name = if name.contains(STAGE_VARIABLE) {
        name.to_owned()
    } else {
        let known = exactly(stack, name).filter(|resource| resource.kind.ends_with("::Function"));
        let nothing = || format!("`{name}` is no function of this template");
        function_name(known.ok_or_else(nothing)?)
    };
    Ok(match qualifier {
        Some(qualifier) => format!("{name}:{qualifier}"),
        None => name,
    })
}

/// `arn:aws:apigateway:R:lambda:path/2015-03-31/functions/ARN/invocations` -> `ARN`
fn invoked(text: &str) -> &str {
    let Some((_, inner)) = text.split_once("/functions/") else { return text };
    let end =
        inner.strip_suffix("/invocations").or_else(|| inner.strip_suffix("/response-streaming-invocations"));
    end.unwrap_or(inner)
}

fn exactly<'s>(stack: &'s Stack, text: &str) -> Option<&'s Resource> {
    stack.resources.iter().find(|resource| is(resource, text))
}

fn is(resource: &Resource, text: &str) -> bool {
    text == resource.physical_id || text == resource.logical_id || text == resource.arn
}

fn said<'r>(resource: &'r Resource, property: &str) -> Option<&'r str> {
    resource.properties.get(property).and_then(Node::text)
}

fn number_at_end(arn: &str) -> Option<String> {
    let (_, end) = arn.rsplit_once(':')?;
    (!end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit())).then(|| end.to_owned())
}

/// What a function is called here: as on AWS, or by its logical id where that is no name at all.
pub fn function_name(resource: &Resource) -> String {
    match resource.physical_id.parse::<FunctionName>() {
        Ok(_) => resource.physical_id.clone(),
        Err(_) => resource.logical_id.clone(),
    }
}

/// The resource of this kind that a text refers to.
pub fn of_kind<'s>(stack: &'s Stack, kind: &str, text: &str) -> Option<&'s Resource> {
    stack.resources.iter().find(|resource| resource.kind == kind && is(resource, text))
}

/// An API that has been begun, by its id or logical id: its place.
pub fn api(stack: &Stack, builder: &Builder, text: &str) -> Option<usize> {
    let resource =
        stack.resources.iter().find(|resource| resource.kind.ends_with("Api") && is(resource, text));
    let meant = resource.map_or(text, |resource| resource.logical_id.as_str());
    builder.reading.apis.iter().position(|api| api.name == meant || api.id == text)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    const STACK: &str = "
Hello: {Type: 'AWS::Lambda::Function', Properties: {FunctionName: hello-prod}}
Sam: {Type: 'AWS::Serverless::Function'}
Live: {Type: 'AWS::Lambda::Alias', Properties: {FunctionName: '${Hello}', Name: live}}
One: {Type: 'AWS::Lambda::Version', Properties: {FunctionName: '${Hello}'}}
Round: {Type: 'AWS::Lambda::Alias', Properties: {FunctionName: '${Round}', Name: x}}
Table: {Type: 'AWS::DynamoDB::Table'}
";

    #[test]
    fn every_form_of_a_reference_leads_to_the_function() {
        let stack = fixture::stack(STACK);
        let uri = |arn: &str| {
            format!("arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations")
        };
        let arn = "arn:aws:lambda:us-east-1:123456789012:function:";
        for (text, expected) in [
            ("hello-prod".to_owned(), "hello-prod"),
            ("Hello".to_owned(), "hello-prod"),
            (format!("{arn}hello-prod"), "hello-prod"),
            (format!("{arn}hello-prod:live"), "hello-prod:live"),
            (format!("{arn}hello-prod:$LATEST"), "hello-prod"),
            ("hello-prod:3".to_owned(), "hello-prod:3"),
            ("123456789012:function:Sam".to_owned(), "Sam"),
            (uri(&format!("{arn}Sam")), "Sam"),
            (uri(&format!("{arn}live")), "hello-prod:live"),
            (uri(&format!("{arn}x:7")), "hello-prod:7"),
            (uri(&format!("{arn}${{stageVariables.f}}")), "${stageVariables.f}"),
            (
                uri(&format!("{arn}hello-prod:${{stageVariables.alias}}")),
                "hello-prod:${stageVariables.alias}",
            ),
            (
                format!(
                    "arn:aws:apigateway:us-east-1:lambda:path/2021-11-15/functions/{arn}Sam/response-streaming-invocations"
                ),
                "Sam",
            ),
        ] {
            assert_eq!(function(&stack, &text).as_deref(), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("", "it names no function"),
            ("Table", "`Table` is no function but an AWS::DynamoDB::Table"),
            ("nobody", "`nobody` is no function of this template"),
            ("Round", "`Round` names no function"),
        ] {
            assert_eq!(function(&stack, text), Err(expected.to_owned()), "{text}");
        }
    }
}
