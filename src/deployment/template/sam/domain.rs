//! `Domain`: custom domains, as API Gateway maps them.

use super::super::super::Severity;
use super::super::Builder;
use super::super::section::Section;
use crate::api::Domain;

pub fn read(properties: &Section<'_>, stage: &str, builder: &mut Builder) -> Vec<Domain> {
    let Some(domain) = properties.section("Domain", builder) else { return Vec::new() };
    domain.only(
        &[
            "AccessAssociation",
            "BasePath",
            "CertificateArn",
            "DomainName",
            "EndpointConfiguration",
            "IpAddressType",
            "MutualTlsAuthentication",
            "NormalizeBasePath",
            "OwnershipVerificationCertificateArn",
            "Policy",
            "Route53",
            "SecurityPolicy",
        ],
        builder,
    );
    let Some(host) = domain.text("DomainName", builder) else {
        domain.error("DomainName", "`Domain` needs a `DomainName`", builder);
        return Vec::new();
    };
    if domain.get("CertificateArn").is_none() {
        let text = "`Domain` needs a `CertificateArn` to be deployed; here it is served without";
        builder.problem(Severity::Warning, domain.node.line, text);
    }
    let normalise = domain.boolean("NormalizeBasePath", builder).unwrap_or(true);
    let paths = match domain.get("BasePath") {
        Some(node) if node.text().is_some() => vec![node.text().unwrap_or_default().to_owned()],
        Some(_) => domain.texts("BasePath", builder).unwrap_or_default(),
        None => vec![String::new()],
    };
    let settle = |path: String| {
        let base_path: String = match normalise {
            true => path.chars().filter(|character| character.is_alphanumeric()).collect(),
            false => path.trim_matches('/').to_owned(),
        };
        Domain { host: host.to_owned(), base_path, stage: stage.to_owned() }
    };
    paths.into_iter().map(settle).collect()
}
