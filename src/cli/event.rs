//! `handlerd event KIND`: a sample event, for `handlerd invoke NAME --event -`.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;

use super::output;
use crate::samples::{self, SAMPLES};

#[derive(Args)]
pub struct Arguments {
    /// What sends the event; without it, all kinds are listed
    kind: Option<String>,
    /// Puts another value into the event: a path such as `requestContext.http.method` or
    /// `Records.0.body`, and text or JSON
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Some(kind) = &arguments.kind else {
        if !arguments.set.is_empty() {
            bail!("`--set` needs a kind of event\nhint: `handlerd event` lists them");
        }
        let rows: Vec<Vec<String>> =
            SAMPLES.iter().map(|sample| vec![sample.kind.to_owned(), sample.source.to_owned()]).collect();
        output::print(&output::table(&rows));
        return Ok(ExitCode::SUCCESS);
    };
    let Some(sample) = samples::of_kind(kind) else {
        let kinds: Vec<&str> = SAMPLES.iter().map(|sample| sample.kind).collect();
        bail!("there is no sample event `{kind}`\nhint: the kinds are {}", kinds.join(", "));
    };
    let mut event: Value = serde_json::from_str(sample.event).context("a sample is no JSON")?;
    for change in &arguments.set {
        let Some((path, value)) = change.split_once('=') else {
            bail!("`{change}` is not PATH=VALUE (`--set`)");
        };
        set(&mut event, path, value)?;
    }
    output::print(&format!("{}\n", serde_json::to_string_pretty(&event)?));
    Ok(ExitCode::SUCCESS)
}

/// Text where text was; elsewhere JSON, if it is some.
fn set(event: &mut Value, path: &str, value: &str) -> anyhow::Result<()> {
    let mut place = event;
    for name in path.split('.') {
        place = match place {
            Value::Array(items) => {
                let length = items.len();
                let index: Option<usize> = name.parse().ok();
                index
                    .and_then(|index| items.get_mut(index))
                    .with_context(|| format!("`{path}`: `{name}` is none of the {length} items there"))?
            }
            Value::Object(object) => object.entry(name).or_insert(Value::Null),
            Value::Null => {
                *place = Value::Object(serde_json::Map::new());
                place.as_object_mut().expect("just made").entry(name).or_insert(Value::Null)
            }
            other => bail!("`{path}`: there is nothing inside {other} (`--set`)"),
        };
    }
    *place = match place {
        Value::String(_) => Value::String(value.to_owned()),
        _ => serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned())),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_what_is_there_and_what_is_not() {
        let mut event = serde_json::json!({"body": "", "Records": [{"n": 1}], "none": null});
        set(&mut event, "body", "{\"a\": 1}").unwrap();
        set(&mut event, "Records.0.n", "2").unwrap();
        set(&mut event, "new.inner", "true").unwrap();
        set(&mut event, "none.text", "x y").unwrap();
        let expected = serde_json::json!({
            "body": "{\"a\": 1}", "Records": [{"n": 2}], "none": {"text": "x y"}, "new": {"inner": true}
        });
        assert_eq!(event, expected);
        assert!(set(&mut event, "Records.1", "x").unwrap_err().to_string().contains("none of the 1 items"));
        assert!(set(&mut event, "body.x", "x").unwrap_err().to_string().contains("nothing inside"));
    }
}
