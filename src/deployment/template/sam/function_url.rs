//! `FunctionUrlConfig`: an address for one function.

use super::super::section::Section;
use super::super::{Builder, Resource};
use crate::api::{
    Api, Authorization, Cors, DEFAULT_STAGE, Integration, IntegrationKind, Kind, PayloadVersion, Route,
    Source, Stage,
};

#[derive(Debug, Clone, PartialEq)]
pub struct FunctionUrl {
    pub authorization: Authorization,
    pub streams: bool,
    pub cors: Option<Cors>,
    pub source: Source,
}

impl FunctionUrl {
    pub fn read(resource: &Resource, builder: &mut Builder) -> Option<Self> {
        let properties = Section::properties(resource);
        let url = properties.section("FunctionUrlConfig", builder)?;
        url.only(&["AuthType", "Cors", "InvokeMode"], builder);
        if url.get("AuthType").is_none() {
            let text = "`FunctionUrlConfig` has no `AuthType`\nhint: `AuthType: NONE` lets everybody in";
            url.error("", text, builder);
        }
        let authorization = match url.word("AuthType", &["NONE", "AWS_IAM"], builder)? {
            "AWS_IAM" => Authorization::Iam,
            _ => Authorization::None,
        };
        let mode = url.word("InvokeMode", &["BUFFERED", "RESPONSE_STREAM"], builder);
        Some(Self {
            authorization,
            streams: mode == Some("RESPONSE_STREAM"),
            cors: url.section("Cors", builder).map(|section| cors(&section, builder)),
            source: builder.source(properties.line("FunctionUrlConfig")),
        })
    }

    /// `target`: the function, with its alias if it has one.
    pub fn api(&self, id: &str, function: &str, target: &str) -> Api {
        let mut api = Api::new(id, function, Kind::FunctionUrl);
        api.stages.push(Stage::named(DEFAULT_STAGE));
        api.cors = self.cors.clone();
        api.source = self.source.clone();
        let mut integration = Integration::function(target, PayloadVersion::V2);
        if let IntegrationKind::Function { streams, .. } = &mut integration.kind {
            *streams = self.streams;
        }
        let mut route = Route::new("ANY", DEFAULT_STAGE, integration);
        route.authorization = self.authorization.clone();
        route.source = self.source.clone();
        api.routes.push(route);
        api
    }
}

fn cors(section: &Section<'_>, builder: &mut Builder) -> Cors {
    let cors = section.cors(0, builder);
    // Preflights are answered by Lambda itself, so that OPTIONS is none of them.
    if let Some(long) = cors.allow_methods.iter().find(|method| method.len() > 6) {
        let text = format!(
            "`{}`: `{long}` is longer than the 6 characters that Lambda allows\nhint: leave OPTIONS out: preflights \
             are answered without it",
            section.name("AllowMethods")
        );
        section.error("AllowMethods", text, builder);
    }
    cors
}
