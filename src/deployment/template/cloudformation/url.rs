//! `AWS::Lambda::Url`

use super::super::sheet::Sheet;
use super::super::{Builder, Resource, Stack, Status, reference};
use super::v2::read_cors;
use crate::api::{
    Api, Authorization, DEFAULT_STAGE, Integration, IntegrationKind, Kind, PayloadVersion, Route, Stage,
};
use crate::deployment::convention;

pub fn read(stack: &Stack, builder: &mut Builder) {
    stack.of_kind("AWS::Lambda::Url").for_each(|resource| url(resource, stack, builder));
}

fn url(resource: &Resource, stack: &Stack, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    let text = sheet.text("TargetFunctionArn").unwrap_or_default();
    let qualifier = sheet.text("Qualifier").filter(|qualifier| !qualifier.is_empty());
    let auth = sheet.choice("AuthType", &["NONE", "AWS_IAM"]);
    let streams = sheet.choice("InvokeMode", &["BUFFERED", "RESPONSE_STREAM"]) == Some("RESPONSE_STREAM");
    let cors = sheet.within("Cors").map(|mut inner| {
        let cors = read_cors(&mut inner);
        sheet.take_over(inner);
        cors
    });
    if auth.is_none() {
        let text = "`AuthType` must be `NONE` or `AWS_IAM`; until it is said, only signed requests may pass";
        sheet.error(sheet.line_of("AuthType"), text);
    }
    match reference::function(stack, text) {
        Ok(function) => {
            let qualifier = qualifier.or_else(|| function.split_once(':').map(|(_, qualifier)| qualifier));
            let plain = function.split(':').next().unwrap_or_default();
            let function = qualifier.map_or(plain.to_owned(), |qualifier| format!("{plain}:{qualifier}"));
            if let Some(text) = reference::qualified(&function) {
                sheet.different("Qualifier", &text);
                sheet.different("TargetFunctionArn", &text);
            }
            // A function may have one URL for itself and one for each alias.
            let urls = builder.reading.apis.iter().filter(|api| api.kind == Kind::FunctionUrl);
            let taken = urls.into_iter().any(|api| api.name == plain);
            let name = match qualifier {
                Some(qualifier) if taken => format!("{plain}-{qualifier}"),
                _ => plain.to_owned(),
            };
            let mut integration = Integration::function(&function, PayloadVersion::V2);
            if let IntegrationKind::Function { streams: mode, .. } = &mut integration.kind {
                *mode = streams;
            }
            let mut api = Api::new(&url_id(stack, &resource.logical_id), &name, Kind::FunctionUrl);
            api.source = builder.source(resource.line);
            api.stages.push(Stage::named(DEFAULT_STAGE));
            api.cors = cors;
            let mut route = Route::new("ANY", DEFAULT_STAGE, integration);
            route.source = builder.source(resource.line);
            route.authorization = if auth == Some("NONE") { Authorization::None } else { Authorization::Iam };
            api.routes.push(route);
            builder.reading.apis.push(api);
        }
        Err(reason) => {
            sheet.error(sheet.line_of("TargetFunctionArn"), format!("leads nowhere: {reason}"));
            sheet.whole(Status::Ignored, &reason);
        }
    }
    sheet.finish(builder);
}

/// 32 letters and digits, as URL ids are; what `!GetAtt Url.FunctionUrl` says too.
fn url_id(stack: &Stack, logical_id: &str) -> String {
    convention::letters(&format!("{}#{logical_id}", stack.path.display()), 32)
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::{problems, read, routes};
    use super::*;

    #[test]
    fn a_function_url_is_an_api_of_its_own() {
        let builder = read(
            "F: {Type: 'AWS::Lambda::Function', Properties: {FunctionName: hello, Handler: a.b, Code: {ZipFile: x}}}
One: {Type: 'AWS::Lambda::Url', Properties: {TargetFunctionArn: '${F.Arn}', AuthType: NONE, InvokeMode: RESPONSE_STREAM, Cors: {AllowOrigins: ['*'], MaxAge: 5}}}
Two: {Type: 'AWS::Lambda::Url', Properties: {TargetFunctionArn: '${F}', AuthType: AWS_IAM, Qualifier: live}}
Three: {Type: 'AWS::Lambda::Url', Properties: {TargetFunctionArn: gone, AuthType: NONE}}
Four: {Type: 'AWS::Lambda::Url', Properties: {TargetFunctionArn: '${F}', AuthType: nobody, Qualifier: x}}
",
        );
        let [one, two, four] = builder.reading.apis.as_slice() else { panic!() };
        assert_eq!((one.kind, one.name.as_str(), one.id.len()), (Kind::FunctionUrl, "hello", 32));
        assert_eq!(routes(one), ["ANY $default -> hello V2 streams"]);
        assert_eq!(one.cors.as_ref().and_then(|cors| cors.max_age), Some(5));
        assert_eq!((two.name.as_str(), two.stages[0].name.as_str()), ("hello-live", "$default"));
        assert_eq!(routes(two), ["ANY $default -> hello:live V2, IAM"]);
        // What is not said is not open.
        assert_eq!(routes(four), ["ANY $default -> hello:x V2, IAM"]);
        let problems = problems(&builder);
        assert_eq!(problems[0], "4 `Three`: leads nowhere: `gone` is no function of this template");
        assert!(problems[1].starts_with("5 `Four`: `AuthType` must be"), "{problems:?}");
    }
}
