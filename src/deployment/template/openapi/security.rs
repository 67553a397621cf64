//! Security schemes -> authorizers, and what an operation asks for.

use std::collections::BTreeMap;

use super::super::super::yaml::Node;
use super::super::sheet::Sheet;
use super::super::{Stack, authorizer};
use super::Document;
use crate::api::{Api, Authorization};

/// What a scheme comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    ApiKey,
    Iam,
    Authorizer,
    /// It should decide, and cannot.
    Broken(String),
    /// It is described, but API Gateway would not check it.
    Unchecked,
}

pub struct Schemes<'a> {
    by_name: BTreeMap<String, Scheme>,
    /// Of operations that say nothing.
    default: Option<&'a Node>,
}

/// What one operation asks for.
#[derive(Debug, Default, PartialEq)]
pub struct Demands {
    pub authorization: Authorization,
    pub api_key: bool,
}

pub fn read<'a>(sheet: &mut Sheet<'a>, document: Document<'a>, api: &mut Api, stack: &Stack) -> Schemes<'a> {
    let mut by_name = BTreeMap::new();
    let components = document.root.get("components");
    let places = [
        ("components.securitySchemes", components.and_then(|components| components.get("securitySchemes"))),
        ("securityDefinitions", sheet.take("securityDefinitions")),
    ];
    for (place, node) in places {
        for (key, value) in node.and_then(Node::mapping).unwrap_or_default() {
            let Some(name) = key.text() else { continue };
            let mut inner = sheet.below(&format!("{place}.{name}"), value);
            let scheme = scheme(&mut inner, name, api, stack);
            sheet.take_over(inner);
            by_name.insert(name.to_owned(), scheme);
        }
    }
    Schemes { by_name, default: sheet.take("security") }
}

fn scheme(sheet: &mut Sheet<'_>, name: &str, api: &mut Api, stack: &Stack) -> Scheme {
    let kind = sheet.text("type").unwrap_or_default();
    let header = sheet.text("name").unwrap_or("Authorization");
    let place = sheet.text("in").unwrap_or("header");
    let auth = sheet.text("x-amazon-apigateway-authtype").unwrap_or_default();
    let described = [
        "description",
        "flow",
        "flows",
        "scheme",
        "bearerFormat",
        "openIdConnectUrl",
        "authorizationUrl",
        "tokenUrl",
        "scopes",
    ];
    sheet.ignore(&described, super::DESCRIBES);
    if let Some(mut inner) = sheet.within("x-amazon-apigateway-authorizer") {
        let read = authorizer::read(&mut inner, &authorizer::OPENAPI, name, api.kind, header, stack);
        let reason = inner.errors().first().map(|text| (*text).to_owned()).unwrap_or_default();
        sheet.take_over(inner);
        return match read {
            Some(read) => {
                api.authorizers.insert(name.to_owned(), read);
                Scheme::Authorizer
            }
            None => Scheme::Broken(format!("its authorizer `{name}` {reason}")),
        };
    }
    if auth.eq_ignore_ascii_case("awsSigv4") {
        return Scheme::Iam;
    }
    if kind == "apiKey" && place == "header" && header.eq_ignore_ascii_case("x-api-key") {
        return Scheme::ApiKey;
    }
    // SAM and others refer to an authorizer that stands elsewhere by its name.
    if api.authorizers.contains_key(name) {
        return Scheme::Authorizer;
    }
    let text = "has no `x-amazon-apigateway-authorizer`: as on AWS, nothing is checked by it";
    sheet.different("type", text);
    sheet.warning(sheet.line_of("type"), format!("the security scheme `{name}` {text}"));
    Scheme::Unchecked
}

impl Schemes<'_> {
    /// What an operation's own `security`, or that of the document, comes to. Of several authorizers the
    /// first one counts.
    pub fn demands(&self, own: Option<&Node>, api: &Api) -> Result<Demands, String> {
        let mut demands = Demands::default();
        let Some(security) = own.or(self.default) else { return Ok(demands) };
        // Nothing that cannot be understood opens a route.
        let alternatives = security.items().filter(|items| items.iter().all(|item| item.mapping().is_some()));
        let alternatives = alternatives.ok_or("`security` must be a list, such as `- token: []`")?;
        let entries = alternatives.iter().flat_map(|node| node.mapping().unwrap_or_default());
        for (key, scopes) in entries {
            let name = key.text().unwrap_or_default();
            let free = demands.authorization == Authorization::None;
            // An authorizer may stand outside of the document, under the name that is used in it.
            let outside = api.authorizers.contains_key(name).then_some(&Scheme::Authorizer);
            match self.by_name.get(name).or(outside) {
                None => return Err(format!("`{name}` is no security scheme of the document")),
                Some(Scheme::Broken(reason)) => return Err(reason.clone()),
                Some(Scheme::ApiKey) => demands.api_key = true,
                Some(Scheme::Iam) if free => demands.authorization = Authorization::Iam,
                Some(Scheme::Authorizer) if free => {
                    let scopes = scopes.items().unwrap_or_default().iter();
                    let scopes = scopes.filter_map(|scope| scope.text().map(str::to_owned)).collect();
                    demands.authorization = Authorization::Authorizer { name: name.to_owned(), scopes };
                }
                Some(Scheme::Iam | Scheme::Authorizer | Scheme::Unchecked) => {}
            }
        }
        Ok(demands)
    }
}
