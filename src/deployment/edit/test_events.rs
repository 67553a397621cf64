//! Events to try a function with, by name: files beside its code, so that they are shared as it is.
//!
//! `handlers/NAME/.events/EVENT.json`; of a function that a template declares,
//! `.handlerd/events/NAME/EVENT.json`. They are no part of the code: nothing is deployed when one
//! changes, and no package holds them.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::super::Deployments;
use super::{EditError, folder};

/// Beside the code.
pub const TEST_EVENTS: &str = ".events";
/// As much as `Invoke` takes.
pub const LARGEST: usize = 6 << 20;
/// Of a function.
const MOST: usize = 200;
/// What a list tells of them together; the larger ones are told by themselves.
const MOST_LISTED: usize = 16 << 20;

#[derive(Debug)]
pub struct TestEvent {
    pub name: String,
    /// JSON as it is written; `None`: it is too large for a list, or there is a problem.
    pub event: Option<Box<RawValue>>,
    pub problem: Option<String>,
}

impl Deployments {
    /// All of a function, by name.
    pub async fn test_events(&self, function: &str) -> Result<Vec<TestEvent>, EditError> {
        let folder = self.test_events_of(function)?;
        super::on_a_thread(&folder.clone(), move || list(&folder)).await
    }

    /// JSON, as it is written.
    pub async fn test_event(&self, function: &str, name: &str) -> Result<Box<RawValue>, EditError> {
        let path = file(&self.test_events_of(function)?, name)?;
        super::on_a_thread(&path.clone(), move || read(&path)).await
    }

    pub async fn put_test_event(&self, function: &str, name: &str, event: &[u8]) -> Result<(), EditError> {
        let folder = self.test_events_of(function)?;
        let path = file(&folder, name)?;
        let text = checked(event).map_err(|reason| EditError::Refused(format!("the event {reason}")))?;
        let text = pretty(text.get());
        // Code that is exchanged meanwhile takes them along or finds them there.
        let _turn = self.0.editing.lock().await;
        super::on_a_thread(&path.clone(), move || {
            refuse_links(&folder)?;
            if !path.exists() && names(&folder)?.len() >= MOST {
                let reason = format!("has {MOST} events already\nhint: delete one of them first");
                return Err(EditError::InTheWay { path: folder.clone(), reason });
            }
            folder::write_file(&path, text)
        })
        .await
    }

    pub async fn delete_test_event(&self, function: &str, name: &str) -> Result<(), EditError> {
        let folder = self.test_events_of(function)?;
        let path = file(&folder, name)?;
        let name = name.to_owned();
        let _turn = self.0.editing.lock().await;
        super::on_a_thread(&path.clone(), move || {
            refuse_links(&folder)?;
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(missing(&folder, &name)),
                Err(error) => return Err(EditError::Disk { path, error }),
            }
            // The last one takes its folder along.
            let _ = fs::remove_dir(&folder);
            Ok(())
        })
        .await
    }

    fn test_events_of(&self, function: &str) -> Result<PathBuf, EditError> {
        let current = self.current();
        let Some((name, _)) = current.functions.get_key_value(function) else {
            return Err(EditError::NotFound(function.to_owned()));
        };
        let sources = &self.0.sources;
        let folder = match &sources.handlers {
            Some(handlers) if self.declared_in(function).is_none() => {
                handlers.join(name.as_str()).join(TEST_EVENTS)
            }
            _ => sources.state_dir.join("events").join(name.as_str()),
        };
        Ok(std::path::absolute(&folder).unwrap_or(folder))
    }
}

fn file(folder: &Path, name: &str) -> Result<PathBuf, EditError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b' ');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
        return Err(EditError::Refused(format!(
            "`{}` is no name of a test event\nhint: letters, digits, blanks, `-` and `_`, at most 64",
            crate::logs::escape_control(name)
        )));
    }
    Ok(folder.join(format!("{name}.json")))
}

/// What is written to must be here, not where a link leads.
fn refuse_links(folder: &Path) -> Result<(), EditError> {
    match fs::symlink_metadata(folder) {
        Ok(metadata) if !metadata.is_dir() => Err(EditError::InTheWay {
            path: folder.to_owned(),
            reason: "is no folder\nhint: test events lie in one; links are not followed".to_owned(),
        }),
        _ => Ok(()),
    }
}

fn missing(folder: &Path, name: &str) -> EditError {
    let there = names(folder).unwrap_or_default();
    EditError::NoEvent { path: folder.to_owned(), id: name.to_owned(), there }
}

fn names(folder: &Path) -> Result<Vec<String>, EditError> {
    refuse_links(folder)?;
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(EditError::Unreadable { path: folder.to_owned(), reason: error.to_string() });
        }
    };
    let name = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?.strip_suffix(".json")?.to_owned();
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        (is_file && file(folder, &name).is_ok()).then_some(name)
    };
    let mut names: Vec<String> = entries.flatten().filter_map(name).collect();
    names.sort();
    Ok(names)
}

fn list(folder: &Path) -> Result<Vec<TestEvent>, EditError> {
    let mut room = MOST_LISTED;
    let mut events = Vec::new();
    for name in names(folder)?.into_iter().take(MOST) {
        let path = folder.join(format!("{name}.json"));
        let size = fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len() as usize);
        let (event, problem) = match size <= room {
            false => (None, Some("it is too large to be listed; ask for it by its name".to_owned())),
            true => match read(&path) {
                Ok(event) => (Some(event), None),
                // Taken away while the folder was read.
                Err(EditError::NoEvent { .. }) => continue,
                Err(error) => (None, Some(error.to_string())),
            },
        };
        room -= event.as_ref().map_or(0, |event| event.get().len());
        events.push(TestEvent { name, event, problem });
    }
    Ok(events)
}

fn read(path: &Path) -> Result<Box<RawValue>, EditError> {
    let unreadable = |reason: String| EditError::Unreadable { path: path.to_owned(), reason };
    let folder = path.parent().unwrap_or(path);
    refuse_links(folder)?;
    let no_link = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let opened = fs::OpenOptions::new().read(true).custom_flags(no_link.bits() as i32).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            return Err(missing(folder, &name));
        }
        Err(error) => return Err(unreadable(format!("cannot be read: {error}"))),
    };
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(unreadable("is no file".to_owned()));
    }
    let mut bytes = Vec::new();
    // One more tells that it is too large.
    let taken = file.take(LARGEST_FILE as u64 + 1).read_to_end(&mut bytes);
    taken.map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    if bytes.len() > LARGEST_FILE {
        return Err(unreadable(format!("has more than {LARGEST_FILE} bytes")));
    }
    checked_as(&bytes, LARGEST_FILE).map_err(unreadable)
}

/// With the blanks of its format an event is longer than as it is sent.
const LARGEST_FILE: usize = 4 * LARGEST;

fn checked(bytes: &[u8]) -> Result<Box<RawValue>, String> {
    checked_as(bytes, LARGEST)
}

fn checked_as(bytes: &[u8], most: usize) -> Result<Box<RawValue>, String> {
    if bytes.len() > most {
        return Err(format!("has {} bytes; the most that a function is invoked with is {most}", bytes.len()));
    }
    let text =
        std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?.trim_start_matches('\u{feff}');
    // A `RawValue` alone would take what is nested however deep.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| format!("is no JSON: {error}"))?;
    RawValue::from_string(text.trim().to_owned()).map_err(|error| format!("is no JSON: {error}"))
}

/// JSON on lines of its own; names, their order and numbers stay as they were written. What would
/// be blanks for the most part is left as it is.
fn pretty(json: &str) -> String {
    formatted(json).unwrap_or_else(|| format!("{json}\n"))
}

fn formatted(json: &str) -> Option<String> {
    let mut text = String::with_capacity(json.len() * 2);
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    let mut letters = json.chars().peekable();
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(letter) = letters.next() {
        if text.len() > LARGEST_FILE - 1024 {
            return None;
        }
        if quoted {
            text.push(letter);
            (quoted, escaped) = match letter {
                _ if escaped => (true, false),
                '\\' => (true, true),
                '"' => (false, false),
                _ => (true, false),
            };
            continue;
        }
        match letter {
            ' ' | '\t' | '\r' | '\n' => {}
            '{' | '[' => {
                text.push(letter);
                while letters.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                match letters.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => text.push(end),
                    None => {
                        depth += 1;
                        line(&mut text, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut text, depth);
                text.push(letter);
            }
            ',' => {
                text.push(letter);
                line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            letter => {
                quoted = letter == '"';
                text.push(letter);
            }
        }
    }
    text.push('\n');
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_is_written_stays_as_it_was_but_for_blanks() {
        let text = r#" {"b":1.50,"a":[ ],"c":[1e400,{"x":"a: {\",\"}"},{}],"b2":12345678901234567890123} "#;
        let formatted = pretty(text);
        assert_eq!(
            formatted,
            "{\n  \"b\": 1.50,\n  \"a\": [],\n  \"c\": [\n    1e400,\n    {\n      \"x\": \"a: {\\\",\\\"}\"\n    },\n    {}\n  ],\n  \"b2\": 12345678901234567890123\n}\n"
        );
        assert_eq!(pretty(&formatted), formatted);
        let deep = format!("{}{}0{}", "[".repeat(100), "0,".repeat(1_000_000), "]".repeat(100));
        assert_eq!(pretty(&deep).len(), deep.len() + 1);
    }

    #[test]
    fn names_are_plain() {
        let folder = Path::new("/f");
        for name in ["a", "A b-c_1", &"x".repeat(64)] {
            assert!(file(folder, name).is_ok(), "{name}");
        }
        for name in ["", "..", "a/b", "a.json", "é", "a\n", "a\0", &"x".repeat(65)] {
            assert!(file(folder, name).is_err(), "{name}");
        }
    }

    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let events = folder.path().join("events");
        fs::create_dir(&events).unwrap();
        let secret = folder.path().join("secret.json");
        fs::write(&secret, "{\"secret\": 1}").unwrap();
        std::os::unix::fs::symlink(&secret, events.join("link.json")).unwrap();
        fs::write(events.join("own.json"), "{}").unwrap();
        assert_eq!(names(&events).unwrap(), ["own"]);
        assert!(read(&events.join("link.json")).is_err());
        let link = folder.path().join("linked");
        std::os::unix::fs::symlink(&events, &link).unwrap();
        assert!(names(&link).is_err() && read(&link.join("own.json")).is_err());
    }

    #[test]
    fn what_somebody_broke_is_told_and_the_rest_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("bad.json"), "{").unwrap();
        fs::write(folder.path().join("good.json"), "\u{feff}[1]").unwrap();
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        let listed = list(folder.path()).unwrap();
        let [bad, good] = &listed[..] else { panic!("{listed:?}") };
        assert!(bad.event.is_none() && bad.problem.as_ref().unwrap().contains("is no JSON"));
        assert_eq!(good.event.as_ref().unwrap().get(), "[1]");
    }

    proptest! {
        #[test]
        fn the_same_value_whatever_it_is(text in "[\\[\\]{}\",:0-9a-z\\\\ \n.\u{e9}-]{0,40}") {
            for text in [text.clone(), format!("{{\"k\": [{text}]}}"), Value::from(text).to_string()] {
                if let Ok(value) = serde_json::from_str::<Value>(&text) {
                    let formatted = pretty(&text);
                    prop_assert_eq!(&serde_json::from_str::<Value>(&formatted).unwrap(), &value);
                    prop_assert_eq!(pretty(&formatted), formatted);
                }
            }
        }

        #[test]
        fn hostile_bytes_are_refused_or_taken(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = checked(&bytes);
        }
    }
}
