//! What the text means that says where events come from: an ARN, or where there is no template, a name.

use super::super::Builder;
use super::super::section::Section;
use super::Place;

/// What the label of a stream is where nobody knows it: that of the endpoint's is found by the table.
const STREAM_LABEL: &str = "2024-01-01T00:00:00.000";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Queue,
    Topic,
    /// Kinesis.
    Stream,
    /// DynamoDB.
    TableStream,
}

impl Of {
    /// Of the service that an ARN names.
    pub fn service(service: &str) -> Option<Self> {
        match service {
            "sqs" => Some(Self::Queue),
            "sns" => Some(Self::Topic),
            "kinesis" => Some(Self::Stream),
            "dynamodb" => Some(Self::TableStream),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Queue => "an SQS queue",
            Self::Topic => "an SNS topic",
            Self::Stream => "a Kinesis stream",
            Self::TableStream => "the stream of a DynamoDB table",
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::Queue => "!GetAtt MyQueue.Arn",
            Self::Topic => "!Ref MyTopic",
            Self::Stream => "!GetAtt MyStream.Arn",
            Self::TableStream => "!GetAtt MyTable.StreamArn",
        }
    }
}

/// The kind of an ARN that events can come from.
pub fn kind(arn: &str) -> Option<Of> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, service, region, account, rest] = parts[..] else { return None };
    if [partition, region, account, rest].contains(&"") {
        return None;
    }
    let plain = |name: &str| !name.is_empty() && !name.contains([':', '/']);
    let stream = |rest: &str| {
        let mut parts = rest.split('/');
        parts.next() == Some("table")
            && parts.next().is_some_and(|table| !table.is_empty())
            && parts.next() == Some("stream")
            && parts.next().is_some_and(|label| !label.is_empty())
    };
    Of::service(service).filter(|of| match of {
        Of::Queue | Of::Topic => plain(rest),
        Of::Stream => rest.strip_prefix("stream/").is_some_and(plain),
        Of::TableStream => stream(rest),
    })
}

/// The ARN that stands behind a key.
pub fn read(
    section: &Section<'_>,
    key: &str,
    of: Of,
    place: Place<'_>,
    builder: &mut Builder,
) -> Option<String> {
    let text = section.required(key, builder)?;
    if kind(text) == Some(of) {
        return Some(text.to_owned());
    }
    if place.stack.is_none() && is_name(text, of) {
        return Some(from_name(text, of, place));
    }
    let hint = match place.stack {
        Some(_) => format!("hint: refer to it, such as `{}`", of.example()),
        None => "hint: a name of letters, digits, `-`, `_` and `.` does as well".to_owned(),
    };
    let text = format!("`{}` must be the ARN of {}, not `{text}`\n{hint}", section.name(key), of.name());
    section.error(key, text, builder);
    None
}

fn is_name(text: &str, of: Of) -> bool {
    let most = match of {
        Of::Queue => 80,
        Of::Topic => 256,
        Of::Stream => 128,
        Of::TableStream => 255,
    };
    let bare = match of {
        Of::Queue | Of::Topic => text.strip_suffix(".fifo").unwrap_or(text),
        _ => text,
    };
    let dots = matches!(of, Of::Stream | Of::TableStream);
    let valid =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (dots && byte == b'.');
    !bare.is_empty() && text.len() <= most && bare.bytes().all(valid)
}

fn from_name(name: &str, of: Of, place: Place<'_>) -> String {
    let Place { account, region, .. } = place;
    match of {
        Of::Queue => format!("arn:aws:sqs:{region}:{account}:{name}"),
        Of::Topic => format!("arn:aws:sns:{region}:{account}:{name}"),
        Of::Stream => format!("arn:aws:kinesis:{region}:{account}:stream/{name}"),
        Of::TableStream => format!("arn:aws:dynamodb:{region}:{account}:table/{name}/stream/{STREAM_LABEL}"),
    }
}
