//! A sample event of every source, as AWS sends it: for trying a function out.

/// One kind of event.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// `http-api`, `sqs`, ...
    pub kind: &'static str,
    /// For people.
    pub source: &'static str,
    /// Formatted JSON.
    pub event: &'static str,
}

const fn sample(kind: &'static str, source: &'static str, event: &'static str) -> Sample {
    Sample { kind, source, event }
}

#[rustfmt::skip]
pub const SAMPLES: &[Sample] = &[
    sample("http-api", "API Gateway HTTP API, payload format 2.0", include_str!("http-api.json")),
    sample("http-api-v1", "API Gateway HTTP API, payload format 1.0", include_str!("http-api-v1.json")),
    sample("http-api-jwt", "API Gateway HTTP API behind a JWT authorizer", include_str!("http-api-jwt.json")),
    sample("rest-api", "API Gateway REST API, Lambda proxy integration", include_str!("rest-api.json")),
    sample("function-url", "Lambda function URL", include_str!("function-url.json")),
    sample("alb", "Application Load Balancer", include_str!("alb.json")),
    sample("alb-multi-value", "Application Load Balancer with multi-value headers", include_str!("alb-multi-value.json")),
    sample("websocket-connect", "API Gateway WebSocket API, $connect", include_str!("websocket-connect.json")),
    sample("websocket-message", "API Gateway WebSocket API, a message", include_str!("websocket-message.json")),
    sample("websocket-disconnect", "API Gateway WebSocket API, $disconnect", include_str!("websocket-disconnect.json")),
    sample("authorizer-token", "REST API, TOKEN authorizer", include_str!("authorizer-token.json")),
    sample("authorizer-request", "REST API, REQUEST authorizer", include_str!("authorizer-request.json")),
    sample("authorizer-http-api", "HTTP API, Lambda authorizer with payload format 2.0", include_str!("authorizer-http-api.json")),
    sample("schedule", "EventBridge rule on a schedule", include_str!("schedule.json")),
    sample("scheduler", "EventBridge Scheduler", include_str!("scheduler.json")),
    sample("eventbridge", "EventBridge, an event of your own", include_str!("eventbridge.json")),
    sample("sqs", "SQS, a batch of two messages", include_str!("sqs.json")),
    sample("sqs-fifo", "SQS FIFO queue", include_str!("sqs-fifo.json")),
    sample("sns", "SNS notification", include_str!("sns.json")),
    sample("s3-put", "S3, an object was created", include_str!("s3-put.json")),
    sample("s3-delete", "S3, an object was deleted", include_str!("s3-delete.json")),
    sample("dynamodb", "DynamoDB stream", include_str!("dynamodb.json")),
    sample("kinesis", "Kinesis stream", include_str!("kinesis.json")),
    sample("cognito-presignup", "Cognito user pool, before a sign-up", include_str!("cognito-presignup.json")),
];

pub fn of_kind(kind: &str) -> Option<&'static Sample> {
    SAMPLES.iter().find(|sample| sample.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_an_event() {
        for sample in SAMPLES {
            let event: serde_json::Value = serde_json::from_str(sample.event).unwrap();
            assert!(event.is_object(), "{}", sample.kind);
            assert_eq!(of_kind(sample.kind).unwrap().source, sample.source);
        }
    }
}
