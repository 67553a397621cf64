//! Java's regular expressions, as far as they can be had in linear time.

use regex::{Captures, Regex, RegexBuilder};

/// Compiled, in bytes.
const SIZE_LIMIT: usize = 1024 * 1024;
/// As written.
const LENGTH_LIMIT: usize = 4096;

/// What Java has and this has not (a look ahead or behind, a back reference) is refused.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    build(pattern, pattern)
}

/// As Java's `matches`: all of a text.
pub fn compile_whole(pattern: &str) -> Result<Regex, String> {
    build(&format!(r"\A(?:{pattern})\z"), pattern)
}

fn build(expression: &str, written: &str) -> Result<Regex, String> {
    if written.len() > LENGTH_LIMIT {
        return Err(format!(
            "a regular expression of {} characters; up to {LENGTH_LIMIT} are read",
            written.len()
        ));
    }
    RegexBuilder::new(expression)
        .size_limit(SIZE_LIMIT)
        .dfa_size_limit(SIZE_LIMIT)
        .nest_limit(100)
        .build()
        .map_err(|error| {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("the regular expression `{written}` is not understood here: {reason}")
        })
}

/// `replaceAll` and `replaceFirst`, at most this long.
pub fn replace(
    regex: &Regex,
    text: &str,
    replacement: &str,
    all: bool,
    limit: usize,
) -> Result<String, String> {
    let mut replaced = String::with_capacity(text.len());
    let mut end = 0;
    for captures in regex.captures_iter(text).take(if all { usize::MAX } else { 1 }) {
        let whole = captures.get(0).expect("group 0 is the whole match");
        replaced.push_str(&text[end..whole.start()]);
        expand(replacement, &captures, &mut replaced)?;
        end = whole.end();
        if replaced.len() > limit {
            return Err(format!("a text becomes longer than {limit} bytes"));
        }
    }
    replaced.push_str(&text[end..]);
    Ok(replaced)
}

/// `$1` and `${name}` are groups; a backslash takes the meaning away from what follows.
fn expand(replacement: &str, captures: &Captures<'_>, into: &mut String) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("the replacement `{replacement}` {what}"));
    let mut rest = replacement;
    while let Some(special) = rest.find(['\\', '$']) {
        into.push_str(&rest[..special]);
        let is_group = rest.as_bytes()[special] == b'$';
        rest = &rest[special + 1..];
        if !is_group {
            let Some(next) = rest.chars().next() else { return wrong("ends with a backslash") };
            into.push(next);
            rest = &rest[next.len_utf8()..];
        } else if let Some(braced) = rest.strip_prefix('{') {
            let Some((name, after)) = braced.split_once('}') else { return wrong("has a `${` without `}`") };
            into.push_str(captures.name(name).map_or("", |group| group.as_str()));
            rest = after;
        } else {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count().min(4);
            // As many digits as still name a group, as Java takes them.
            let group = (1..=digits).rev().find_map(|length| {
                let number: usize = rest[..length].parse().ok()?;
                (number < captures.len()).then_some((number, length))
            });
            let Some((number, length)) = group else { return wrong("names a group that is not there") };
            into.push_str(captures.get(number).map_or("", |group| group.as_str()));
            rest = &rest[length..];
        }
    }
    into.push_str(rest);
    Ok(())
}

/// `split`: nothing empty at the end unless a limit says otherwise.
pub fn split<'a>(regex: &Regex, text: &'a str, limit: i64) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let mut from = 0;
    for found in regex.find_iter(text) {
        if limit > 0 && parts.len() as i64 == limit - 1 {
            break;
        }
        if found.end() == 0 || (found.is_empty() && found.start() == text.len()) {
            continue;
        }
        parts.push(&text[from..found.start()]);
        from = found.end();
    }
    if parts.is_empty() {
        return vec![text];
    }
    parts.push(&text[from..]);
    if limit == 0 {
        while parts.last().is_some_and(|part| part.is_empty()) {
            parts.pop();
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_as_java_does() {
        for (pattern, text, replacement, expected) in [
            (r"\\'", r"it\'s", "'", "it's"),
            ("\"", "a\"b", r#"\\""#, r#"a\"b"#),
            ("(a)(b)?", "ab a", "<$1$2>", "<ab> <a>"),
            ("a", "banana", r"\$", "b$n$n$"),
            ("(?<x>n)", "banana", "${x}${x}", "bannanna"),
            ("(a)", "a", "$12", "a2"),
        ] {
            let regex = compile(pattern).unwrap();
            assert_eq!(replace(&regex, text, replacement, true, 1000).unwrap(), expected, "{pattern}");
        }
        assert_eq!(replace(&compile("a").unwrap(), "banana", "o", false, 1000).unwrap(), "bonana");
        assert!(replace(&compile("a").unwrap(), "a", "$1", true, 1000).is_err());
        assert!(replace(&compile("").unwrap(), "aaaa", "12345", true, 10).is_err());
    }

    #[test]
    fn splits_as_java_does() {
        for (pattern, text, limit, expected) in [
            (",", "a,b,,c,,", 0, &["a", "b", "", "c"][..]),
            (",", "a,b,,c,,", -1, &["a", "b", "", "c", "", ""]),
            (",", "a,b,c", 2, &["a", "b,c"]),
            ("", "abc", 0, &["a", "b", "c"]),
            (",", "", 0, &[""]),
            (",", ",", 0, &[]),
            (r"\.", "1.2", 0, &["1", "2"]),
        ] {
            assert_eq!(split(&compile(pattern).unwrap(), text, limit), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_needs_more_than_linear_time_is_refused() {
        for pattern in ["a(?=b)", r"(a)\1", "(", "(((a{1000}){1000}){1000})"] {
            let error = compile(pattern).unwrap_err();
            assert!(error.contains("is not understood here"), "{error}");
        }
        assert!(compile_whole("(?i).*error.*").unwrap().is_match("An ERROR it is"));
        assert!(!compile_whole("error.*").unwrap().is_match("an error"));
        assert!(!compile_whole(".*").unwrap().is_match("two\nlines"));
    }
}
