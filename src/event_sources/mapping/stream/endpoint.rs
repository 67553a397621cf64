//! The operations that are asked of a stream, of Kinesis or of DynamoDB.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::context::Context;
use super::record::Record;
use crate::aws::AwsError;
use crate::store::Checkpoint;
use crate::trigger::{SourceKind, UNKNOWN_LABEL};

const PATIENCE: Duration = Duration::from_secs(10);
/// Pages of shards; more is an endpoint that does not come to an end.
const PAGES: usize = 1000;

#[derive(Debug, Clone)]
pub struct Shard {
    pub id: String,
    /// What it was split or merged from.
    pub parents: Vec<String>,
    /// Nothing is added to it any more.
    pub is_closed: bool,
}

/// Where reading begins that has not begun.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start {
    TrimHorizon,
    /// The end, as it was at that time.
    Latest(jiff::Timestamp),
    At(jiff::Timestamp),
}

impl Start {
    /// For the checkpoint.
    pub fn write(self) -> String {
        match self {
            Self::TrimHorizon => "TRIM_HORIZON".to_owned(),
            Self::Latest(time) => format!("LATEST {time}"),
            Self::At(time) => format!("AT_TIMESTAMP {time}"),
        }
    }

    pub fn read(text: &str) -> Self {
        let time = |text: &str| text.parse::<jiff::Timestamp>().ok();
        match text.split_once(' ') {
            Some(("LATEST", text)) => time(text).map_or(Self::TrimHorizon, Self::Latest),
            Some(("AT_TIMESTAMP", text)) => time(text).map_or(Self::TrimHorizon, Self::At),
            _ => Self::TrimHorizon,
        }
    }
}

/// What was read at once.
pub struct Page {
    pub records: Vec<Record>,
    /// `None`: the shard is closed, and has been read to its end.
    pub next: Option<String>,
    /// There is no more at the moment.
    pub is_caught_up: bool,
}

/// The ARN of a table's stream. When the endpoint made it, no template knows: then it is the latest.
async fn arn(context: &Context) -> Result<String, AwsError> {
    let declared = &context.definition.mapping.source_arn;
    if !declared.ends_with(UNKNOWN_LABEL) {
        return Ok(declared.clone());
    }
    let table = json!({"TableName": context.definition.source.name});
    let answer = context.ask("ListStreams", &table, PATIENCE).await?;
    let streams = answer["Streams"].as_array().into_iter().flatten();
    let latest = streams.filter_map(|stream| stream["StreamArn"].as_str()).max();
    // Without any, the endpoint is to say so of the one that is asked for.
    Ok(latest.unwrap_or(declared).to_owned())
}

/// All shards of the stream, oldest first.
pub async fn shards(context: &Context) -> Result<Vec<Shard>, AwsError> {
    let mut shards = Vec::new();
    let mut from: Option<String> = None;
    for _ in 0..PAGES {
        let (answer, next) = match context.definition.source.kind {
            SourceKind::DynamoDb => {
                let mut body = json!({"StreamArn": arn(context).await?});
                if let Some(from) = &from {
                    body["ExclusiveStartShardId"] = from.as_str().into();
                }
                let mut answer = context.ask("DescribeStream", &body, PATIENCE).await?;
                let mut description = answer["StreamDescription"].take();
                let next = description["LastEvaluatedShardId"].as_str().map(str::to_owned);
                (description["Shards"].take(), next)
            }
            _ => {
                let body = match &from {
                    Some(token) => json!({"NextToken": token}),
                    None => json!({"StreamName": context.definition.source.name}),
                };
                let mut answer = context.ask("ListShards", &body, PATIENCE).await?;
                let next = answer["NextToken"].as_str().map(str::to_owned);
                (answer["Shards"].take(), next)
            }
        };
        for shard in answer.as_array().into_iter().flatten() {
            let Some(id) = shard["ShardId"].as_str() else { continue };
            let parents = ["ParentShardId", "AdjacentParentShardId"];
            let parents =
                parents.iter().filter_map(|name| shard[*name].as_str()).filter(|parent| !parent.is_empty());
            shards.push(Shard {
                id: id.to_owned(),
                parents: parents.map(str::to_owned).collect(),
                is_closed: shard["SequenceNumberRange"]["EndingSequenceNumber"].is_string(),
            });
        }
        match next {
            Some(next) if !next.is_empty() && from.as_ref() != Some(&next) => from = Some(next),
            _ => break,
        }
    }
    Ok(shards)
}

/// An iterator behind what was read, or where reading begins. `at_end`: this process has seen the
/// shard's end, and nothing of it has been read yet.
pub async fn iterator(
    context: &Context,
    checkpoint: &Checkpoint,
    behind: Option<&str>,
    at_end: bool,
) -> Result<Option<String>, AwsError> {
    let is_kinesis = context.definition.source.kind == SourceKind::Kinesis;
    let time = |time: jiff::Timestamp| json!(time.as_millisecond() as f64 / 1000.0);
    let mut body = match is_kinesis {
        true => json!({"StreamName": context.definition.source.name}),
        false => json!({"StreamArn": arn(context).await?}),
    };
    body["ShardId"] = checkpoint.shard.as_str().into();
    let kind = match (behind, Start::read(&checkpoint.start)) {
        (Some(sequence), _) => {
            let name = if is_kinesis { "StartingSequenceNumber" } else { "SequenceNumber" };
            body[name] = sequence.into();
            "AFTER_SEQUENCE_NUMBER"
        }
        (None, Start::Latest(_)) if at_end => "LATEST",
        // The end as it was then. Streams of DynamoDB know no times: the reader leaves out what is older.
        (None, Start::Latest(then) | Start::At(then)) if is_kinesis => {
            body["Timestamp"] = time(then);
            "AT_TIMESTAMP"
        }
        (None, _) => "TRIM_HORIZON",
    };
    body["ShardIteratorType"] = kind.into();
    let answer = context.ask("GetShardIterator", &body, PATIENCE).await?;
    Ok(answer["ShardIterator"].as_str().map(str::to_owned))
}

pub async fn records(context: &Context, shard: &str, iterator: &str, most: usize) -> Result<Page, AwsError> {
    let is_kinesis = context.definition.source.kind == SourceKind::Kinesis;
    let most = most.clamp(1, if is_kinesis { 10_000 } else { 1000 });
    let body = json!({"ShardIterator": iterator, "Limit": most});
    let mut answer = context.ask("GetRecords", &body, PATIENCE).await?;
    let next = answer["NextShardIterator"].as_str().map(str::to_owned);
    let role = || {
        let function = context.invoker.deployments().current();
        let name = context.definition.function.split(':').next().unwrap_or_default();
        let function = function.functions.get(name).and_then(|deployed| deployed.function().cloned());
        let role = function.and_then(|function| function.configuration.role.clone());
        role.unwrap_or_else(|| format!("arn:aws:iam::{}:role/handlerd", context.invoker.account().id))
    };
    let records = match answer["Records"].take() {
        Value::Array(records) => records,
        _ => Vec::new(),
    };
    let is_caught_up = match answer["MillisBehindLatest"].as_u64() {
        Some(behind) => behind == 0,
        None => records.is_empty(),
    };
    let role = if is_kinesis && !records.is_empty() { role() } else { String::new() };
    let records = records.into_iter().map(|record| match is_kinesis {
        true => Record::of_kinesis(&record, context, shard, &role),
        false => Record::of_dynamodb(record, context),
    });
    Ok(Page { records: records.collect(), next, is_caught_up })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_kept_as_text() {
        let time = "2025-11-24T23:12:00.123Z".parse().unwrap();
        for start in [Start::TrimHorizon, Start::Latest(time), Start::At(time)] {
            assert_eq!(Start::read(&start.write()), start);
        }
        assert_eq!(Start::read("LATEST never"), Start::TrimHorizon);
    }
}
