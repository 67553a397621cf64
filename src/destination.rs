//! Where the record of an asynchronous invocation goes, or the event of one that failed.
//!
//! AWS's own are ARNs. Two are handlerd's: a URL that is posted to, and a table of a database.

use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// Invoked asynchronously.
    Function { arn: String, name: String, qualifier: Option<String> },
    /// An SQS queue.
    Queue { arn: String },
    /// An SNS topic.
    Topic { arn: String },
    /// A bus of EventBridge.
    Bus { arn: String },
    /// `http://...`, `https://...`: the record is posted.
    Url(String),
    /// `sqlite:PATH#TABLE`, `postgres://...#TABLE`: the record becomes a row.
    Table { database: Database, table: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Database {
    /// The path of the file, as written.
    Sqlite(String),
    /// The URL, without the fragment.
    Postgres(String),
}

impl Destination {
    /// `Err`: why it is none, in words for whoever wrote it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, table) = text.split_once('#').unwrap_or((text, ""));
        if let Some(path) = address.strip_prefix("sqlite:") {
            return Self::table(Database::Sqlite(path.to_owned()), path, table, text);
        }
        if address.starts_with("postgres://") || address.starts_with("postgresql://") {
            return Self::table(Database::Postgres(address.to_owned()), address, table, text);
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return Ok(Self::Url(text.to_owned()));
        }
        let parts: Vec<&str> = text.split(':').collect();
        let arn = text.to_owned();
        match parts[..] {
            ["arn", _, "lambda", _, _, "function", name] if !name.is_empty() => {
                Ok(Self::Function { arn, name: name.to_owned(), qualifier: None })
            }
            ["arn", _, "lambda", _, _, "function", name, qualifier] if !name.is_empty() => {
                let qualifier = Some(qualifier.to_owned()).filter(|text| !text.is_empty());
                Ok(Self::Function { arn, name: name.to_owned(), qualifier })
            }
            ["arn", _, "sqs", _, _, queue] if !queue.is_empty() => Ok(Self::Queue { arn }),
            ["arn", _, "sns", _, _, topic] if !topic.is_empty() => Ok(Self::Topic { arn }),
            ["arn", _, "events", _, _, bus] if bus.starts_with("event-bus/") => Ok(Self::Bus { arn }),
            _ => Err(format!(
                "`{}` is no destination\nhint: give the ARN of a function, an SQS queue, an SNS topic or an \
                 EventBridge bus; or `https://...`, `sqlite:FILE#TABLE`, `postgres://USER@HOST/DATABASE#TABLE`",
                without_password(text)
            )),
        }
    }

    /// For messages and logs: without a password.
    pub fn shown(&self) -> String {
        match self {
            Self::Url(_) | Self::Table { .. } => without_password(&self.to_string()),
            _ => self.to_string(),
        }
    }

    fn table(database: Database, address: &str, table: &str, text: &str) -> Result<Self, String> {
        let mut letters = table.chars();
        let valid = letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            && table.len() <= 63;
        if address.is_empty() || !valid {
            return Err(format!(
                "`{}` names no table\nhint: write its name behind a `#`, such as `sqlite:results.db#results`: \
                 letters, digits and `_`, at most 63",
                without_password(text)
            ));
        }
        Ok(Self::Table { database, table: table.to_owned() })
    }
}

/// A URL as it may be shown: what stands for the password is `***`.
pub fn without_password(url: &str) -> String {
    if crate::defences::off("passwords-not-shown") {
        return url.to_owned();
    }
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    // A password may have unescaped `/`, `?` or `#` in it where somebody has made a mistake: the last
    // `@` ends it, unless that stands in the query behind a whole address.
    let address_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let end = rest[..address_end]
        .rfind('@')
        .or_else(|| rest.rfind('@').filter(|_| rest[..address_end].contains(':')));
    let rest = match end {
        Some(end) => {
            let user = rest[..end].split(':').next().unwrap_or_default();
            let secret = if rest[..end].contains(':') { ":***" } else { "" };
            format!("{user}{secret}{}", &rest[end..])
        }
        None => rest.to_owned(),
    };
    let Some((before, query)) = rest.split_once('?') else { return format!("{scheme}://{rest}") };
    let (query, fragment) = query
        .split_once('#')
        .map_or((query, String::new()), |(query, fragment)| (query, format!("#{fragment}")));
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if name.to_ascii_lowercase().contains("password") => format!("{name}=***"),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{scheme}://{before}?{}{fragment}", pairs.join("&"))
}

/// As it was written, with its password: for keeping, not for showing (see `shown`).
impl fmt::Display for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function { arn, .. } | Self::Queue { arn } | Self::Topic { arn } | Self::Bus { arn } => {
                formatter.write_str(arn)
            }
            Self::Url(url) => formatter.write_str(url),
            Self::Table { database: Database::Sqlite(path), table } => {
                write!(formatter, "sqlite:{path}#{table}")
            }
            Self::Table { database: Database::Postgres(url), table } => write!(formatter, "{url}#{table}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_comes_back() {
        for text in [
            "arn:aws:lambda:us-east-1:123456789012:function:other",
            "arn:aws:lambda:us-east-1:123456789012:function:other:live",
            "arn:aws:sqs:us-east-1:123456789012:dead",
            "arn:aws:sns:us-east-1:123456789012:news",
            "arn:aws:events:us-east-1:123456789012:event-bus/default",
            "https://example.com/hook?a=1#part",
            "sqlite:data/results.db#results",
            "postgres://me@localhost/app#results",
        ] {
            assert_eq!(Destination::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        for (text, shown) in [
            ("postgres://me:secret@localhost/app#results", "postgres://me:***@localhost/app#results"),
            ("postgres://me@localhost/app#results", "postgres://me@localhost/app#results"),
            ("postgres://h/app?password=secret&a=1#r", "postgres://h/app?password=***&a=1#r"),
            ("postgres://me:s@cret@h/app?a=b@c#r", "postgres://me:***@h/app?a=b@c#r"),
            ("postgres://me:s/ecr?t@h/app#r", "postgres://me:***@h/app#r"),
            ("https://key:secret@example.com/hook?a=1", "https://key:***@example.com/hook?a=1"),
            ("https://example.com/hook?a=x@y", "https://example.com/hook?a=x@y"),
            ("sqlite:a:b@c.db#results", "sqlite:a:b@c.db#results"),
        ] {
            assert_eq!(Destination::parse(text).unwrap().shown(), shown);
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in
            ["", "other", "arn:aws:s3:::bucket", "sqlite:x.db", "sqlite:x.db#1 or 1", "postgres://h/d#a.b"]
        {
            Destination::parse(text).unwrap_err();
        }
        let reason = Destination::parse("postgres://me:secret@localhost/app").unwrap_err();
        assert!(reason.contains("me:***@localhost") && !reason.contains("secret"), "{reason}");
    }
}
