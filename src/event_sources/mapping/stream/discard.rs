//! Tells the failure destination of records that were given up.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::super::context::{BackOff, Context, Waited};
use super::batch::Dealt;
use crate::delivery::Message;
use crate::destination::Destination;
use crate::invocation::{Asker, Invocation};
use crate::trigger::SourceKind;

/// A destination that cannot be reached keeps the shard waiting for so long: some minutes.
const TRIES: u32 = 12;

/// The last invocation of what is given up.
#[derive(Debug, Clone)]
pub struct Last {
    pub request_id: String,
    pub executed_version: String,
    /// `Unhandled`; `None`: the function has ended well and reported failures.
    pub error: Option<&'static str>,
}

#[derive(Debug, Clone, Copy)]
pub enum Condition {
    RetryAttemptsExhausted,
    RecordAgeExceeded,
}

impl Condition {
    fn name(self) -> &'static str {
        match self {
            Self::RetryAttemptsExhausted => "RetryAttemptsExhausted",
            Self::RecordAgeExceeded => "RecordAgeExceeded",
        }
    }
}

/// Returns when the destination knows of it, or never will. `false`: the mapping is to stop, and it
/// does not know.
pub async fn tell(
    context: &Context,
    shard: &str,
    records: &[Dealt],
    condition: Condition,
    invocations: u32,
    last: Option<&Last>,
) -> bool {
    let (Some(first), Some(end)) = (records.first(), records.last()) else { return true };
    let count = records.len();
    let range = format!("{count} records of {shard} ({} to {})", first.record.sequence, end.record.sequence);
    let Some(destination) = &context.definition.mapping.stream.on_failure else {
        tracing::warn!("{}: gives up {range}: {}", context.title(), condition.name());
        return true;
    };
    let shown = destination.shown();
    tracing::warn!("{}: gives up {range}: {}; {shown} is told", context.title(), condition.name());
    let message = Message {
        body: record(context, shard, records, condition, invocations, last).to_string(),
        attributes: Vec::new(),
        function_arn: context.definition.function_arn.clone(),
        request_id: last.map_or_else(Invocation::new_request_id, |last| last.request_id.clone()),
        succeeded: false,
        trace_id: Invocation::new_trace_id(
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        )
        .for_function(),
    };
    let mut pause = BackOff::new(Duration::from_secs(1), Duration::from_secs(30));
    for _ in 0..TRIES {
        let (reason, transient) = match send(context, destination, &message).await {
            Ok(()) => return true,
            Err(failed) => failed,
        };
        context.problem(&format!("{shown} cannot be told of records that were given up: {reason}")).await;
        if !transient {
            break;
        }
        if context.sleep(pause.next()).await == Waited::Stopped {
            return false;
        }
    }
    tracing::error!("{}: {shown} was never told that {range} were given up", context.title());
    true
}

async fn send(context: &Context, destination: &Destination, message: &Message) -> Result<(), (String, bool)> {
    let Destination::Function { arn, name, qualifier } = destination else {
        let sent = context.invoker.delivery().send(destination, message).await;
        return sent.map_err(|error| (error.reason, error.transient));
    };
    let function = match qualifier {
        Some(qualifier) => format!("{name}:{qualifier}"),
        None => name.clone(),
    };
    let invocation = Invocation {
        request_id: Invocation::new_request_id(),
        trace_id: message.trace_id.clone(),
        function_arn: arn.clone(),
        client_context: None,
        event: message.body.clone().into_bytes(),
        asker: Asker::Event,
    };
    context.invoker.accept(&function, invocation).await.map_err(|error| (error.to_string(), true))
}

/// What AWS sends: no data of the records, but where they are.
fn record(
    context: &Context,
    shard: &str,
    records: &[Dealt],
    condition: Condition,
    invocations: u32,
    last: Option<&Last>,
) -> Value {
    let mut record = json!({
        "requestContext": {
            "requestId": last.map_or_else(Invocation::new_request_id, |last| last.request_id.clone()),
            "functionArn": context.definition.function_arn,
            "condition": condition.name(),
            "approximateInvokeCount": invocations,
        },
    });
    if let Some(last) = last {
        record["responseContext"] = json!({
            "statusCode": 200, "executedVersion": last.executed_version, "functionError": last.error,
        });
    }
    record["version"] = "1.0".into();
    record["timestamp"] = time(jiff::Timestamp::now().as_millisecond()).into();
    let name = match context.definition.source.kind {
        SourceKind::DynamoDb => "DDBStreamBatchInfo",
        _ => "KinesisBatchInfo",
    };
    record[name] = batch(shard, records, &context.definition.mapping.source_arn);
    record
}

fn batch(shard: &str, records: &[Dealt], arn: &str) -> Value {
    let (first, last) = (&records[0].record, &records[records.len() - 1].record);
    json!({
        "shardId": shard,
        "startSequenceNumber": first.sequence,
        "endSequenceNumber": last.sequence,
        "approximateArrivalOfFirstRecord": time(first.arrived),
        "approximateArrivalOfLastRecord": time(last.arrived),
        "batchSize": records.len(),
        "streamArn": arn,
    })
}

fn time(milliseconds: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_sources::mapping::stream::record::Record;

    #[test]
    fn the_batch_is_described_as_aws_does() {
        let record = Record {
            sequence: "49590338271490256608559692538361571095921575989136588898".to_owned(),
            key: "k".to_owned(),
            arrived: "2025-11-24T23:12:00.123Z".parse::<jiff::Timestamp>().unwrap().as_millisecond(),
            json: String::new(),
            wanted: true,
        };
        let dealt = Dealt { number: 0, read: std::time::Instant::now(), record };
        let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders";
        assert_eq!(
            batch("shardId-000000000000", &[dealt], arn).to_string(),
            r#"{"shardId":"shardId-000000000000","startSequenceNumber":"49590338271490256608559692538361571095921575989136588898","endSequenceNumber":"49590338271490256608559692538361571095921575989136588898","approximateArrivalOfFirstRecord":"2025-11-24T23:12:00.123Z","approximateArrivalOfLastRecord":"2025-11-24T23:12:00.123Z","batchSize":1,"streamArn":"arn:aws:kinesis:eu-west-1:123456789012:stream/orders"}"#
        );
    }
}
