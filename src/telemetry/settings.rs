//! What the `OTEL_` variables ask for.
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>

use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

const USUAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Where traces go, and what is said of whom they are from.
#[derive(Debug, Clone)]
pub struct Settings {
    pub endpoint: Url,
    pub headers: HeaderMap,
    pub timeout: Duration,
    /// `None`: the function's name.
    pub service: Option<String>,
    pub attributes: Vec<(String, String)>,
}

/// `None`: no traces are wanted.
pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Settings>, String> {
    let given = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|it| !it.is_empty());
    // What is said of traces goes before what is said of all signals.
    let either = |what: &str| {
        let [own, all] = ["TRACES_", ""].map(|signal| format!("OTEL_EXPORTER_OTLP_{signal}{what}"));
        given(&own).map(|value| (own, value)).or_else(|| given(&all).map(|value| (all, value)))
    };
    let is_disabled = given("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let Some((name, endpoint)) = either("ENDPOINT").filter(|_| !is_disabled) else { return Ok(None) };
    match given("OTEL_TRACES_EXPORTER").as_deref() {
        None | Some("otlp") => {}
        Some("none") => return Ok(None),
        Some(other) => {
            return Err(format!(
                "OTEL_TRACES_EXPORTER is `{other}`; traces are sent by `otlp`, or not at all (`none`)"
            ));
        }
    }
    match either("PROTOCOL") {
        Some((name, protocol)) if protocol != "http/json" => {
            return Err(format!(
                "{name} is `{protocol}`, but traces are sent as `http/json` only\nhint: every OpenTelemetry \
                 collector takes that on its port for HTTP, usually 4318; set {name}=http/json"
            ));
        }
        _ => {}
    }
    if let Some((name, compression)) = either("COMPRESSION").filter(|(_, value)| value != "none") {
        return Err(format!(
            "{name} is `{compression}`, but traces are not compressed\nhint: set it to none"
        ));
    }
    let mut endpoint = Url::parse(&endpoint).map_err(|error| format!("{name} is no URL: {error}"))?;
    if !matches!(endpoint.scheme(), "http" | "https") || !endpoint.has_host() {
        return Err(format!("{name} must begin with http:// or https://"));
    }
    if !name.contains("TRACES") {
        let path = format!("{}/v1/traces", endpoint.path().trim_end_matches('/'));
        endpoint.set_path(&path);
    }
    let timeout = match either("TIMEOUT") {
        None => USUAL_TIMEOUT,
        Some((name, text)) => match text.parse() {
            Ok(milliseconds @ 1..=600_000) => Duration::from_millis(milliseconds),
            _ => return Err(format!("{name} is `{text}`; it is a number of milliseconds, from 1 to 600000")),
        },
    };
    let mut headers = HeaderMap::new();
    if let Some((name, text)) = either("HEADERS") {
        for (key, value) in pairs(&name, &text)? {
            let key =
                HeaderName::try_from(&key).map_err(|_| format!("{name}: `{key}` is no header's name"))?;
            // It may be a secret: it is not repeated.
            let mut value = HeaderValue::try_from(&value)
                .map_err(|_| format!("{name}: the value of `{key}` cannot be sent as a header"))?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
    }
    let mut attributes = match given("OTEL_RESOURCE_ATTRIBUTES") {
        None => Vec::new(),
        Some(text) => pairs("OTEL_RESOURCE_ATTRIBUTES", &text)?,
    };
    let named = attributes.iter().find(|(key, _)| key == "service.name").map(|(_, value)| value.clone());
    attributes.retain(|(key, _)| key != "service.name");
    let service = given("OTEL_SERVICE_NAME").or(named);
    Ok(Some(Settings { endpoint, headers, timeout, service, attributes }))
}

/// `key=value,key2=value2`, each percent-encoded.
fn pairs(variable: &str, text: &str) -> Result<Vec<(String, String)>, String> {
    let decoded =
        |text: &str| percent_decode_str(text.trim()).decode_utf8().map(|text| text.into_owned()).ok();
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (index, pair) in text.split(',').enumerate().filter(|(_, pair)| !pair.trim().is_empty()) {
        let both = pair.split_once('=').and_then(|(key, value)| Some((decoded(key)?, decoded(value)?)));
        match both.filter(|(key, _)| !key.is_empty()) {
            Some((key, value)) => {
                pairs.retain(|(known, _)| *known != key);
                pairs.push((key, value));
            }
            None => return Err(format!("{variable}: part {} is not of the form key=value", index + 1)),
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        read(|name| find(name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn off_unless_an_endpoint_is_named() {
        const END: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318");
        assert!(from(&[]).unwrap().is_none());
        assert!(from(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).unwrap().is_none());
        assert!(from(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap().is_none(), "meant for others");
        assert!(from(&[END, ("OTEL_SDK_DISABLED", "True")]).unwrap().is_none());
        assert!(from(&[END, ("OTEL_TRACES_EXPORTER", "none")]).unwrap().is_none());
        assert!(from(&[END]).unwrap().is_some());
    }

    #[test]
    fn what_is_said_of_traces_goes_first() {
        let settings = from(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318/base/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a%3Db, x-one = 1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10000"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=x,deployment.environment.name=my%2Cplace,a=1,a=2"),
        ]);
        let settings = settings.unwrap().unwrap();
        assert_eq!(settings.endpoint.as_str(), "http://all:4318/base/v1/traces");
        assert_eq!(settings.headers["authorization"], "Bearer a=b");
        assert_eq!(settings.headers["x-one"], "1");
        assert_eq!(settings.timeout, Duration::from_millis(250));
        assert_eq!(settings.service.as_deref(), Some("x"));
        let attributes = [("deployment.environment.name", "my,place"), ("a", "2")];
        assert_eq!(settings.attributes, attributes.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert!(!format!("{settings:?}").contains("Bearer"), "secrets are not shown");

        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://own/as/it/is");
        let settings =
            from(&[own, ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all"), ("OTEL_SERVICE_NAME", "y")]);
        let settings = settings.unwrap().unwrap();
        assert_eq!(settings.endpoint.as_str(), "https://own/as/it/is");
        assert_eq!(settings.service.as_deref(), Some("y"));
    }

    #[test]
    fn refused_with_words() {
        for (name, value, told) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "`grpc`, but traces are sent as `http/json` only"),
            (
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
                "http/protobuf",
                "set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=",
            ),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", "not compressed"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "a number of milliseconds"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "a number of milliseconds"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b", "part 2 is not of the form"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=1", "is no header's name"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=%0d%0a", "cannot be sent"),
            ("OTEL_RESOURCE_ATTRIBUTES", "=1", "part 1"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "`zipkin`"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "localhost:4318", "must begin with http://"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "nothing", "is no URL"),
        ] {
            let error = from(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318"), (name, value)]).unwrap_err();
            assert!(error.contains(told), "{name}={value}: {error}");
        }
    }
}
