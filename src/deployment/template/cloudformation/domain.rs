//! Custom domains and what they lead to.

use super::super::sheet::Sheet;
use super::super::{Builder, Resource, Stack, Status, reference};
use crate::api::Domain;

const ELSEWHERE: &str = "means nothing on one's own machine";

pub fn read(stack: &Stack, builder: &mut Builder) {
    for resource in &stack.resources {
        match resource.kind.as_str() {
            "AWS::ApiGateway::DomainName" | "AWS::ApiGatewayV2::DomainName" => name(resource, builder),
            "AWS::ApiGateway::BasePathMapping" => {
                mapping(resource, ["RestApiId", "BasePath"], stack, builder);
            }
            "AWS::ApiGatewayV2::ApiMapping" => mapping(resource, ["ApiId", "ApiMappingKey"], stack, builder),
            _ => {}
        }
    }
}

fn name(resource: &Resource, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    if sheet.text("DomainName").is_none_or(str::is_empty) {
        sheet.error(resource.line, "`DomainName` is missing");
        sheet.whole(Status::Ignored, "it has no name");
    }
    sheet.different("MutualTlsAuthentication", "clients are not asked for certificates");
    sheet.different("RoutingMode", "base paths count, rules do not");
    let others = [
        "CertificateArn",
        "DomainNameConfigurations",
        "EndpointAccessMode",
        "EndpointConfiguration",
        "OwnershipVerificationCertificateArn",
        "RegionalCertificateArn",
        "SecurityPolicy",
        "Tags",
    ];
    sheet.ignore(&others, ELSEWHERE);
    sheet.finish(builder);
}

fn mapping(resource: &Resource, [api, path]: [&'static str; 2], stack: &Stack, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    let owner = super::rest::owner(&mut sheet, api, stack, builder);
    let host = sheet.text("DomainName").unwrap_or_default();
    let host = host_of(host, stack);
    let base_path = sheet.text(path).unwrap_or_default().trim_matches('/');
    let base_path = if base_path == "(none)" { "" } else { base_path };
    let stage = sheet.text("Stage").filter(|stage| !stage.is_empty());
    if host.is_empty() {
        sheet.error(sheet.line_of("DomainName"), "`DomainName` is missing");
        sheet.whole(Status::Ignored, "it has no domain");
    } else if let Some(index) = owner {
        let api = &mut builder.reading.apis[index];
        let known = |name: &str| api.stages.iter().any(|stage| stage.name == name);
        match stage {
            Some(stage) if !known(stage) => {
                let text = format!("`{stage}` is no stage of `{}`", api.name);
                sheet.refuse("Stage", &text);
                sheet.whole(Status::Ignored, &text);
            }
            Some(stage) => {
                let (base_path, stage) = (base_path.to_owned(), stage.to_owned());
                api.domains.push(Domain { host, base_path, stage });
            }
            // Without a stage, the client names it.
            None => {
                for stage in &api.stages {
                    let base_path = format!("{base_path}/{}", stage.name).trim_start_matches('/').to_owned();
                    api.domains.push(Domain { host: host.clone(), base_path, stage: stage.name.clone() });
                }
            }
        }
    }
    sheet.finish(builder);
}

/// The name itself, whichever way it is referred to.
fn host_of(text: &str, stack: &Stack) -> String {
    let kinds = ["AWS::ApiGateway::DomainName", "AWS::ApiGatewayV2::DomainName"];
    let resource = kinds.iter().find_map(|kind| reference::of_kind(stack, kind, text));
    let said = resource.and_then(|resource| resource.properties.get("DomainName")?.text());
    said.unwrap_or(text).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::{problems, read};
    use super::*;

    #[test]
    fn a_mapping_without_a_stage_leads_to_all_of_them() {
        let builder = read(
            "A: {Type: 'AWS::ApiGateway::RestApi', Properties: {Name: a}}
S: {Type: 'AWS::ApiGateway::Stage', Properties: {RestApiId: '${A}', StageName: s}}
T: {Type: 'AWS::ApiGateway::Stage', Properties: {RestApiId: '${A}', StageName: t}}
One: {Type: 'AWS::ApiGateway::BasePathMapping', Properties: {DomainName: a.example, RestApiId: '${A}', BasePath: v1}}
Two: {Type: 'AWS::ApiGateway::BasePathMapping', Properties: {DomainName: b.example, RestApiId: '${A}', BasePath: (none), Stage: t}}
Bad: {Type: 'AWS::ApiGateway::BasePathMapping', Properties: {DomainName: c.example, RestApiId: '${A}', Stage: x}}
",
        );
        let domain = |host: &str, base_path: &str, stage: &str| Domain {
            host: host.into(),
            base_path: base_path.into(),
            stage: stage.into(),
        };
        assert_eq!(
            builder.reading.apis[0].domains,
            [
                domain("a.example", "v1/s", "s"),
                domain("a.example", "v1/t", "t"),
                domain("b.example", "", "t")
            ]
        );
        assert_eq!(problems(&builder), ["6 `Bad`: `x` is no stage of `A`"]);
    }
}
