//! Function URLs that the Lambda API was told of: those of aliases, which become APIs that the
//! gateway serves, and when the one of the function itself was made (what it is stands in
//! `function.yaml`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Of, Published, URL};
use crate::api::{
    Api, Authorization, Cors, DEFAULT_STAGE, Integration, IntegrationKind, Kind, PayloadVersion, Route, Stage,
};
use crate::store::StoreError;

/// Of an alias: all that was said. Of the function itself: the times.
#[derive(Debug, Clone, PartialEq)]
pub struct UrlConfig {
    /// 32 letters and digits: the first label of its host.
    pub id: String,
    pub iam: bool,
    pub streams: bool,
    /// As it was given.
    pub cors: Option<Value>,
    pub created_ms: u64,
    pub modified_ms: u64,
}

impl UrlConfig {
    pub(super) fn read(document: &Value) -> Option<Self> {
        Some(Self {
            id: document["Id"].as_str()?.to_owned(),
            iam: document["Iam"].as_bool()?,
            streams: document["Streams"].as_bool()?,
            cors: Some(document["Cors"].clone()).filter(|cors| !cors.is_null()),
            created_ms: document["CreatedMs"].as_u64()?,
            modified_ms: document["ModifiedMs"].as_u64()?,
        })
    }

    fn document(&self) -> Value {
        json!({
            "Id": self.id,
            "Iam": self.iam,
            "Streams": self.streams,
            "Cors": self.cors,
            "CreatedMs": self.created_ms,
            "ModifiedMs": self.modified_ms,
        })
    }

    fn api(&self, function: &str, alias: &str) -> Api {
        let mut api = Api::new(&self.id, &format!("{function}-{alias}"), Kind::FunctionUrl);
        api.stages.push(Stage::named(DEFAULT_STAGE));
        api.cors = self.cors.as_ref().map(cors);
        let mut integration = Integration::function(&format!("{function}:{alias}"), PayloadVersion::V2);
        if let IntegrationKind::Function { streams, .. } = &mut integration.kind {
            *streams = self.streams;
        }
        let mut route = Route::new("ANY", DEFAULT_STAGE, integration);
        route.authorization = if self.iam { Authorization::Iam } else { Authorization::None };
        api.routes.push(route);
        api
    }
}

/// `Cors` as the Lambda API says it; what it holds has been checked.
fn cors(cors: &Value) -> Cors {
    let list = |name: &str| {
        let items = cors[name].as_array().into_iter().flatten();
        items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    Cors {
        allow_origins: list("AllowOrigins"),
        allow_methods: list("AllowMethods"),
        allow_headers: list("AllowHeaders"),
        expose_headers: list("ExposeHeaders"),
        max_age: cors["MaxAge"].as_u64().and_then(|seconds| u32::try_from(seconds).ok()),
        allow_credentials: cors["AllowCredentials"].as_bool().unwrap_or(false),
    }
}

/// The URLs of aliases that exist.
pub fn apis(functions: &BTreeMap<String, Arc<Of>>) -> Vec<Arc<Api>> {
    let of_function = |(name, of): (&String, &Arc<Of>)| {
        let urls = of.urls.iter().filter(|(alias, _)| of.aliases.contains_key(*alias));
        urls.map(|(alias, url)| Arc::new(url.api(name, alias))).collect::<Vec<_>>()
    };
    functions.iter().flat_map(of_function).collect()
}

impl Published {
    /// `alias` is empty for the function itself.
    pub fn url(&self, function: &str, alias: &str) -> Option<UrlConfig> {
        self.of(function)?.urls.get(alias).cloned()
    }

    /// By alias.
    pub fn urls(&self, function: &str) -> BTreeMap<String, UrlConfig> {
        self.of(function).map(|of| of.urls.clone()).unwrap_or_default()
    }

    /// `None`: there is one already, and it is not to be replaced.
    pub async fn put_url(
        &self,
        function: &str,
        alias: &str,
        url: UrlConfig,
        replace: bool,
    ) -> Result<Option<UrlConfig>, StoreError> {
        let changing = self.change().await;
        if !replace && self.url(function, alias).is_some() {
            return Ok(None);
        }
        changing.put(URL, function, alias, url.document()).await?;
        changing.update_function(function, |of| of.urls.insert(alias.to_owned(), url.clone()));
        Ok(Some(url))
    }

    /// `false`: there was none.
    pub async fn delete_url(&self, function: &str, alias: &str) -> Result<bool, StoreError> {
        let changing = self.change().await;
        let existed = changing.delete(URL, function, alias).await?;
        changing.update_function(function, |of| of.urls.remove(alias));
        Ok(existed)
    }
}
