//! Notifications of S3 buckets.

use super::super::section::Section;
use super::super::{Builder, Status};
use super::{Context, Said};
use crate::trigger::{Bucket, Kind};

/// Types of events, and what may follow.
const EVENTS: [&str; 27] = [
    "s3:IntelligentTiering",
    "s3:LifecycleExpiration:*",
    "s3:LifecycleExpiration:Delete",
    "s3:LifecycleExpiration:DeleteMarkerCreated",
    "s3:LifecycleTransition",
    "s3:ObjectAcl:Put",
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Put",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
    "s3:ObjectRestore:*",
    "s3:ObjectRestore:Completed",
    "s3:ObjectRestore:Delete",
    "s3:ObjectRestore:Post",
    "s3:ObjectTagging:*",
    "s3:ObjectTagging:Delete",
    "s3:ObjectTagging:Put",
    "s3:ReducedRedundancyLostObject",
    "s3:Replication:*",
    "s3:Replication:OperationFailedReplication",
    "s3:Replication:OperationMissedThreshold",
    "s3:Replication:OperationNotTracked",
    "s3:Replication:OperationReplicatedAfterThreshold",
];

/// SAM's `S3`.
pub fn of_event(section: &Section<'_>, context: Context<'_>, builder: &mut Builder) -> Option<Said> {
    section.only(&["Bucket", "Events", "Filter"], builder);
    let (prefix, suffix) = filter(section, builder);
    let events = events(section, "Events", context, builder);
    let bucket = section.required("Bucket", builder)?;
    if let Some(stack) = context.place.stack {
        let known = stack.of_kind("AWS::S3::Bucket").any(|resource| resource.physical_id == bucket);
        if !known {
            let text = format!(
                "`{}` must be a bucket of this template, such as `!Ref MyBucket`, not `{bucket}`",
                section.name("Bucket")
            );
            section.error("Bucket", text, builder);
        }
    } else if let Err(reason) = check_name(bucket) {
        section.error("Bucket", format!("`{}`: {reason}", section.name("Bucket")), builder);
    }
    let bucket = bucket.to_owned();
    Some(Said { name: None, enabled: true, kind: Kind::Bucket(Bucket { bucket, events, prefix, suffix }) })
}

/// A list of types of events, or one of them.
pub fn events(section: &Section<'_>, key: &str, context: Context<'_>, builder: &mut Builder) -> Vec<String> {
    let events = match section.get(key).and_then(|node| node.text()) {
        Some(text) => vec![text.to_owned()],
        None => section.texts(key, builder).unwrap_or_default(),
    };
    if events.is_empty() {
        let text = format!("`{}` has no `{key}`, such as `s3:ObjectCreated:*`", section.owner());
        section.error(key, text, builder);
    }
    for event in &events {
        if !EVENTS.contains(&event.as_str()) {
            let hint = super::super::super::nearest::hint(event, EVENTS);
            let text = format!("`{}`: there is no event `{event}`{hint}", section.name(key));
            section.error(key, text, builder);
        }
    }
    let happens =
        |event: &&String| event.starts_with("s3:ObjectCreated:") || event.starts_with("s3:ObjectRemoved:");
    if let Some(never) = events.iter().find(|event| !happens(event)) {
        let text = format!("`{never}` never happens in a folder: objects are created and removed there");
        section.finding(key, Status::Different, &text, context.resource, builder);
    }
    events
}

/// The beginning and the end of keys.
pub fn filter(section: &Section<'_>, builder: &mut Builder) -> (Option<String>, Option<String>) {
    let (mut prefix, mut suffix) = (None, None);
    let Some(filter) = section.section("Filter", builder) else { return (None, None) };
    filter.only(&["S3Key"], builder);
    let Some(key) = filter.section("S3Key", builder) else { return (None, None) };
    key.only(&["Rules"], builder);
    let Some(items) = key.get("Rules").and_then(|rules| rules.items()) else {
        let text = format!("`{}` must be a list of `Name` and `Value`", key.name("Rules"));
        key.error("Rules", text, builder);
        return (None, None);
    };
    for (index, item) in items.iter().enumerate() {
        let rule = key.below(&format!("Rules[{index}]"), item);
        if !rule.is_map(builder) {
            continue;
        }
        rule.only(&["Name", "Value"], builder);
        let name = rule.required("Name", builder).unwrap_or_default().to_ascii_lowercase();
        let value = rule.text("Value", builder).unwrap_or_default().to_owned();
        let place = match name.as_str() {
            "prefix" => &mut prefix,
            "suffix" => &mut suffix,
            "" => continue,
            _ => {
                let text = format!("`{}` must be `prefix` or `suffix`, not `{name}`", rule.name("Name"));
                rule.error("Name", text, builder);
                continue;
            }
        };
        if place.replace(value).is_some() {
            rule.error("Name", format!("`{}`: there is a `{name}` already", rule.at), builder);
        }
    }
    (prefix, suffix)
}

/// S3's rules, which keep it a folder's name too.
fn check_name(name: &str) -> Result<(), String> {
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let ends =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = name.as_bytes();
    let good = (3..=63).contains(&name.len())
        && bytes.iter().all(|byte| valid(*byte))
        && ends(bytes.first())
        && ends(bytes.last())
        && !name.contains("..");
    if good {
        Ok(())
    } else {
        Err(format!(
            "`{name}` cannot be the name of a bucket: 3 to 63 lower-case letters, digits, `-` and `.`"
        ))
    }
}
