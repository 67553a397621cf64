//! A version as it is kept in the store: what `function.yaml` said when it was published.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::function::{Code, Configuration, Function, LogFormat, Logging, Version};
use crate::hexadecimal::hex;

/// What of a configuration is to be kept. Taken apart by name, so that nothing new is forgotten.
pub fn configuration(configuration: &Configuration) -> Value {
    let Configuration {
        handler,
        runtime,
        timeout,
        memory_mb,
        description,
        environment,
        logging,
        role,
        layer_arns,
        dead_letter,
        traced,
        ephemeral_storage_mb,
        snap_start,
    } = configuration;
    let environment: Vec<Value> = environment.iter().map(|(name, value)| json!([name, value])).collect();
    json!({
        "Handler": handler,
        "Runtime": runtime,
        "Timeout": timeout.as_secs(),
        "MemorySize": memory_mb,
        "Description": description,
        "Environment": environment,
        "LogFormat": if logging.format == LogFormat::Json { "JSON" } else { "Text" },
        "ApplicationLogLevel": logging.application_level,
        "Role": role,
        "Layers": layer_arns,
        "DeadLetter": dead_letter,
        "Traced": traced,
        "EphemeralStorage": ephemeral_storage_mb,
        "SnapStart": snap_start,
    })
}

fn read_configuration(document: &Value) -> Option<Configuration> {
    let text = |name: &str| document[name].as_str().map(str::to_owned);
    let pair = |pair: &Value| Some((pair[0].as_str()?.to_owned(), pair[1].as_str()?.to_owned()));
    Some(Configuration {
        handler: text("Handler")?,
        runtime: text("Runtime"),
        timeout: Duration::from_secs(document["Timeout"].as_u64()?),
        memory_mb: u32::try_from(document["MemorySize"].as_u64()?).ok()?,
        description: text("Description")?,
        environment: document["Environment"].as_array()?.iter().map(pair).collect::<Option<_>>()?,
        logging: Logging {
            format: if document["LogFormat"] == "JSON" { LogFormat::Json } else { LogFormat::Text },
            application_level: text("ApplicationLogLevel"),
        },
        role: text("Role"),
        layer_arns: texts(&document["Layers"])?,
        dead_letter: text("DeadLetter"),
        traced: document["Traced"].as_bool()?,
        ephemeral_storage_mb: u32::try_from(document["EphemeralStorage"].as_u64()?).ok()?,
        snap_start: document["SnapStart"].as_bool()?,
    })
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}

/// A layer is kept by its place: in the version's own folder, or among the published layers.
pub fn function(function: &Function, state_dir: &Path) -> Value {
    let layers: Vec<String> =
        function.layers.iter().map(|layer| relative(layer, state_dir).display().to_string()).collect();
    let modified = function.code.last_modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "Configuration": configuration(&function.configuration),
        "Layers": layers,
        "ContentSha256": hex(&function.code.sha256),
        "OwnSha256": hex(&function.code.own_sha256),
        "CodeSize": function.code.size,
        "PublishedMs": modified.as_millis() as u64,
    })
}

/// The state folder may have been moved since.
pub fn read(name: &str, number: u64, state_dir: &Path, document: &Value) -> Option<Function> {
    let layers = texts(&document["Layers"])?.into_iter().map(|layer| state_dir.join(layer)).collect();
    Some(Function {
        sequence: 0,
        name: name.parse().ok()?,
        version: Version::Number(number),
        task_root: super::version_folder(state_dir, name).join(number.to_string()).join("code"),
        layers,
        configuration: read_configuration(&document["Configuration"])?,
        code: Code {
            sha256: bytes(document["ContentSha256"].as_str()?)?,
            own_sha256: bytes(document["OwnSha256"].as_str()?)?,
            size: document["CodeSize"].as_u64()?,
            last_modified: time(document["PublishedMs"].as_u64()?),
        },
    })
}

fn relative(path: &Path, state_dir: &Path) -> PathBuf {
    path.strip_prefix(state_dir).unwrap_or(path).to_owned()
}

pub fn time(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).unwrap_or(UNIX_EPOCH)
}

pub fn milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

fn bytes(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

/// An object of those that are there.
pub fn object(entries: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    let present = entries.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(present.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_comes_back_as_it_was() {
        let state_dir = Path::new("/state");
        let before = Function {
            sequence: 0,
            name: "hello".parse().unwrap(),
            version: Version::Number(3),
            task_root: "/state/versions/hello/3/code".into(),
            layers: vec!["/state/versions/hello/3/layers/0".into(), "/state/layers/tools/1".into()],
            configuration: Configuration {
                handler: "app.main".into(),
                runtime: Some("python3.12".into()),
                timeout: Duration::from_secs(10),
                memory_mb: 256,
                description: "what \"for\"\n".into(),
                environment: vec![("Z".into(), "1".into()), ("A".into(), String::new())],
                logging: Logging { format: LogFormat::Json, application_level: Some("DEBUG".into()) },
                role: Some("arn:aws:iam::123456789012:role/r".into()),
                layer_arns: vec!["arn:aws:lambda:us-east-1:123456789012:layer:tools:1".into()],
                dead_letter: Some("arn:aws:sqs:us-east-1:123456789012:dead".into()),
                traced: true,
                ephemeral_storage_mb: 1024,
                snap_start: true,
            },
            code: Code {
                sha256: [0xab; 32],
                own_sha256: [0xcd; 32],
                size: 77,
                last_modified: time(1_700_000_000_123),
            },
        };
        let document = function(&before, state_dir);
        assert_eq!(read("hello", 3, state_dir, &document).unwrap(), before);
        let moved = read("hello", 3, Path::new("/other"), &document).unwrap();
        assert_eq!(moved.layers[1], Path::new("/other/layers/tools/1"));
    }

    #[test]
    fn a_damaged_document_is_none() {
        let state_dir = Path::new("/state");
        for document in [json!(null), json!({}), json!({"Layers": [], "ContentSha256": "é".repeat(32)})] {
            assert_eq!(read("hello", 1, state_dir, &document), None);
        }
    }
}
