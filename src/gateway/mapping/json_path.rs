//! JSONPath as Jayway's library has it, in its common subset: names, indices (from the end too),
//! slices, several of them, `*`, `..`, filters, and `length()`.

use std::fmt;

use serde_json::{Map, Value};

use super::pattern;

/// Places that one path may visit.
const VISIT_LIMIT: usize = 1_000_000;
const DEPTH_LIMIT: usize = 20;

#[derive(Debug)]
pub struct JsonPath {
    segments: Vec<Segment>,
}

#[derive(Debug)]
enum Segment {
    Name(String),
    /// `['a','b']`: an object of these.
    Names(Vec<String>),
    Indices(Vec<i64>),
    Slice(Option<i64>, Option<i64>),
    All,
    /// `..`, before the segment that is looked for everywhere.
    Everywhere,
    Filter(Filter),
    Length,
}

#[derive(Debug)]
enum Filter {
    Or(Box<Filter>, Box<Filter>),
    And(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
    Exists(Operand),
    Compare(Operand, Comparison, Operand),
    Matches(Operand, regex::Regex),
}

#[derive(Debug)]
enum Operand {
    Literal(Value),
    /// `@...`: from the item; `$...`: from the root.
    Path(bool, JsonPath),
}

#[derive(Debug, Clone, Copy)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a path leads to.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// It is not there.
    Nothing,
    Value(Value),
}

/// A path visits more places than it may.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMuch;

impl fmt::Display for TooMuch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a JSONPath leads to more than {VISIT_LIMIT} places")
    }
}

impl JsonPath {
    /// Without `$` it is read as if it began with `$.`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { whole: text, rest: text.trim(), depth: 0 };
        if !parser.take("$") {
            parser.rest = text.trim();
            if !parser.rest.starts_with('[') {
                let name = parser.name()?;
                let mut path = parser.segments(false)?;
                path.segments.insert(0, Segment::Name(name));
                return Ok(path);
            }
        }
        parser.segments(false)
    }

    /// Whether it can lead to one place only.
    pub fn is_definite(&self) -> bool {
        self.segments.iter().all(|segment| match segment {
            Segment::Name(_) | Segment::Names(_) | Segment::Length => true,
            Segment::Indices(indices) => indices.len() == 1,
            _ => false,
        })
    }

    pub fn find(&self, root: &Value) -> Result<Found, TooMuch> {
        let mut visits = 0;
        let places = self.places(root, root, &mut visits)?;
        Ok(match self.is_definite() {
            true => {
                places.into_iter().next().map_or(Found::Nothing, |place| Found::Value(place.into_value()))
            }
            false => Found::Value(Value::Array(places.into_iter().map(Place::into_value).collect())),
        })
    }

    fn places<'a>(
        &self,
        from: &'a Value,
        root: &'a Value,
        visits: &mut usize,
    ) -> Result<Vec<Place<'a>>, TooMuch> {
        let mut places = vec![Place::There(from)];
        for segment in &self.segments {
            let mut next = Vec::new();
            for place in &places {
                match place {
                    Place::There(value) => segment.follow(value, root, visits, &mut next)?,
                    Place::Made(value) => {
                        // Made by `['a','b']` or `length()`: only a name can follow.
                        if let Segment::Name(name) = segment
                            && let Some(member) = value.get(name)
                        {
                            next.push(Place::Made(member.clone()));
                        }
                    }
                }
                if next.len() > VISIT_LIMIT {
                    return Err(TooMuch);
                }
            }
            places = next;
        }
        Ok(places)
    }
}

enum Place<'a> {
    There(&'a Value),
    Made(Value),
}

impl Place<'_> {
    fn into_value(self) -> Value {
        match self {
            Self::There(value) => value.clone(),
            Self::Made(value) => value,
        }
    }
}

impl Segment {
    fn follow<'a>(
        &self,
        value: &'a Value,
        root: &'a Value,
        visits: &mut usize,
        into: &mut Vec<Place<'a>>,
    ) -> Result<(), TooMuch> {
        let mut visit = || {
            *visits += 1;
            if *visits > VISIT_LIMIT { Err(TooMuch) } else { Ok(()) }
        };
        visit()?;
        match self {
            Self::Name(name) => {
                into.extend(value.as_object().and_then(|map| map.get(name)).map(Place::There))
            }
            Self::Names(names) => {
                if let Value::Object(map) = value {
                    let picked: Map<String, Value> = names
                        .iter()
                        .filter_map(|name| Some((name.clone(), map.get(name)?.clone())))
                        .collect();
                    into.push(Place::Made(Value::Object(picked)));
                }
            }
            Self::Indices(indices) => {
                if let Value::Array(items) = value {
                    for index in indices {
                        let index = if *index < 0 { index + items.len() as i64 } else { *index };
                        let item = usize::try_from(index).ok().and_then(|index| items.get(index));
                        into.extend(item.map(Place::There));
                    }
                }
            }
            Self::Slice(from, to) => {
                if let Value::Array(items) = value {
                    let length = items.len() as i64;
                    let bound = |bound: i64| {
                        (if bound < 0 { bound + length } else { bound }).clamp(0, length) as usize
                    };
                    let (from, to) = (bound(from.unwrap_or(0)), bound(to.unwrap_or(length)));
                    into.extend(items.iter().take(to).skip(from).map(Place::There));
                }
            }
            Self::All => match value {
                Value::Array(items) => into.extend(items.iter().map(Place::There)),
                Value::Object(map) => into.extend(map.values().map(Place::There)),
                _ => {}
            },
            Self::Everywhere => {
                // In the order of the document; serde_json limits how deep it can be.
                let mut stack = vec![value];
                while let Some(value) = stack.pop() {
                    visit()?;
                    into.push(Place::There(value));
                    match value {
                        Value::Array(items) => stack.extend(items.iter().rev()),
                        Value::Object(map) => stack.extend(map.values().rev()),
                        _ => {}
                    }
                }
            }
            Self::Filter(filter) => {
                let items: Box<dyn Iterator<Item = &'a Value>> = match value {
                    Value::Array(items) => Box::new(items.iter()),
                    Value::Object(_) => Box::new(std::iter::once(value)),
                    _ => Box::new(std::iter::empty()),
                };
                for item in items {
                    if filter.accepts(item, root, visits)? {
                        into.push(Place::There(item));
                    }
                }
            }
            Self::Length => {
                let length = match value {
                    Value::Array(items) => items.len(),
                    Value::Object(map) => map.len(),
                    Value::String(text) => text.encode_utf16().count(),
                    _ => return Ok(()),
                };
                into.push(Place::Made(length.into()));
            }
        }
        Ok(())
    }
}

impl Filter {
    fn accepts(&self, item: &Value, root: &Value, visits: &mut usize) -> Result<bool, TooMuch> {
        Ok(match self {
            Self::Or(left, right) => {
                left.accepts(item, root, visits)? || right.accepts(item, root, visits)?
            }
            Self::And(left, right) => {
                left.accepts(item, root, visits)? && right.accepts(item, root, visits)?
            }
            Self::Not(inner) => !inner.accepts(item, root, visits)?,
            Self::Exists(operand) => operand.value(item, root, visits)?.is_some(),
            Self::Compare(left, comparison, right) => {
                let left = left.value(item, root, visits)?;
                let right = right.value(item, root, visits)?;
                compare(left.as_ref(), *comparison, right.as_ref())
            }
            Self::Matches(operand, regex) => {
                matches!(operand.value(item, root, visits)?, Some(Value::String(text)) if regex.is_match(&text))
            }
        })
    }
}

impl Operand {
    fn value(&self, item: &Value, root: &Value, visits: &mut usize) -> Result<Option<Value>, TooMuch> {
        match self {
            Self::Literal(value) => Ok(Some(value.clone())),
            Self::Path(from_item, path) => {
                let mut places = path.places(if *from_item { item } else { root }, root, visits)?;
                Ok(match path.is_definite() {
                    true => places.pop().map(Place::into_value),
                    false if places.is_empty() => None,
                    false => Some(Value::Array(places.into_iter().map(Place::into_value).collect())),
                })
            }
        }
    }
}

fn compare(left: Option<&Value>, comparison: Comparison, right: Option<&Value>) -> bool {
    let (Some(left), Some(right)) = (left, right) else {
        return matches!(comparison, Comparison::NotEqual);
    };
    let ordering = match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64().partial_cmp(&right.as_f64()),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    };
    match comparison {
        Comparison::Equal => ordering.map_or(left == right, |ordering| ordering.is_eq()),
        Comparison::NotEqual => ordering.map_or(left != right, |ordering| ordering.is_ne()),
        Comparison::Less => ordering.is_some_and(|ordering| ordering.is_lt()),
        Comparison::LessOrEqual => ordering.is_some_and(|ordering| ordering.is_le()),
        Comparison::Greater => ordering.is_some_and(|ordering| ordering.is_gt()),
        Comparison::GreaterOrEqual => ordering.is_some_and(|ordering| ordering.is_ge()),
    }
}

struct Parser<'a> {
    whole: &'a str,
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn fail<T>(&self, what: impl fmt::Display) -> Result<T, String> {
        Err(format!("the JSONPath `{}` is not understood here: {what}", self.whole))
    }

    fn take(&mut self, expected: &str) -> bool {
        let after = self.rest.strip_prefix(expected);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn skip_white(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// To the end, or as far as a path goes within a filter.
    fn segments(&mut self, in_filter: bool) -> Result<JsonPath, String> {
        let mut segments = Vec::new();
        loop {
            if self.take("..") {
                segments.push(Segment::Everywhere);
                if self.rest.starts_with('[') {
                    continue;
                }
                segments.push(self.member()?);
            } else if self.take(".") {
                segments.push(self.member()?);
            } else if self.take("[") {
                segments.push(self.bracket()?);
            } else if self.rest.is_empty() || in_filter {
                return Ok(JsonPath { segments });
            } else {
                return self.fail(format_args!("`{}`", self.rest));
            }
        }
    }

    fn member(&mut self) -> Result<Segment, String> {
        if self.take("*") {
            return Ok(Segment::All);
        }
        let name = self.name()?;
        if self.take("(") {
            if name == "length" && self.take(")") {
                return Ok(Segment::Length);
            }
            return self.fail(format_args!("there is no function `{name}`"));
        }
        Ok(Segment::Name(name))
    }

    fn name(&mut self) -> Result<String, String> {
        let ends = |c: char| {
            c.is_whitespace()
                || matches!(c, '.' | '[' | ']' | '(' | ')' | '=' | '!' | '<' | '>' | '&' | '|' | ',')
        };
        let length = self.rest.find(ends).unwrap_or(self.rest.len());
        if length == 0 {
            return self.fail("a name is missing");
        }
        let name = self.rest[..length].to_owned();
        self.rest = &self.rest[length..];
        Ok(name)
    }

    /// Behind `[`.
    fn bracket(&mut self) -> Result<Segment, String> {
        self.skip_white();
        let segment = if self.take("*") {
            Segment::All
        } else if self.take("?") {
            self.skip_white();
            if !self.take("(") {
                return self.fail("a filter begins with `?(`");
            }
            let filter = self.filter()?;
            self.skip_white();
            if !self.take(")") {
                return self.fail(format_args!("`{}`, where `)` is expected", self.rest));
            }
            Segment::Filter(filter)
        } else if self.rest.starts_with(['\'', '"']) {
            let mut names = vec![self.quoted()?];
            self.skip_white();
            while self.take(",") {
                self.skip_white();
                names.push(self.quoted()?);
                self.skip_white();
            }
            match names.len() {
                1 => Segment::Name(names.remove(0)),
                _ => Segment::Names(names),
            }
        } else {
            self.indices()?
        };
        self.skip_white();
        if !self.take("]") {
            return self.fail(format_args!("`{}`, where `]` is expected", self.rest));
        }
        Ok(segment)
    }

    fn indices(&mut self) -> Result<Segment, String> {
        let first = self.integer();
        self.skip_white();
        if self.take(":") {
            self.skip_white();
            let to = self.integer();
            self.skip_white();
            if self.rest.starts_with(':') {
                return self.fail("a slice has no step");
            }
            return Ok(Segment::Slice(first, to));
        }
        let Some(first) = first else { return self.fail(format_args!("`[{}`", self.rest)) };
        let mut indices = vec![first];
        while self.take(",") {
            self.skip_white();
            match self.integer() {
                Some(index) => indices.push(index),
                None => return self.fail("an index is missing"),
            }
            self.skip_white();
        }
        Ok(Segment::Indices(indices))
    }

    fn integer(&mut self) -> Option<i64> {
        let sign = usize::from(self.rest.starts_with('-'));
        let length = sign + self.rest[sign..].bytes().take_while(u8::is_ascii_digit).count();
        let number = self.rest[..length].parse().ok()?;
        self.rest = &self.rest[length..];
        Some(number)
    }

    fn quoted(&mut self) -> Result<String, String> {
        let quote = match self.rest.chars().next() {
            Some(quote @ ('\'' | '"')) => quote,
            _ => return self.fail("a text in quotes is missing"),
        };
        let mut text = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((index, c)) = characters.next() {
            match c {
                '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
                c if c == quote => {
                    self.rest = &self.rest[index + 1..];
                    return Ok(text);
                }
                c => text.push(c),
            }
        }
        self.fail("a text in quotes does not end")
    }

    fn filter(&mut self) -> Result<Filter, String> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return self.fail("too much within each other");
        }
        let mut left = self.conjunction()?;
        let mut count = 0;
        while {
            self.skip_white();
            self.take("||")
        } {
            count += 1;
            if count > DEPTH_LIMIT {
                return self.fail("too many conditions");
            }
            left = Filter::Or(Box::new(left), Box::new(self.conjunction()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Filter, String> {
        let mut left = self.condition()?;
        let mut count = 0;
        while {
            self.skip_white();
            self.take("&&")
        } {
            count += 1;
            if count > DEPTH_LIMIT {
                return self.fail("too many conditions");
            }
            left = Filter::And(Box::new(left), Box::new(self.condition()?));
        }
        Ok(left)
    }

    fn condition(&mut self) -> Result<Filter, String> {
        self.skip_white();
        if self.rest.starts_with('!') && !self.rest.starts_with("!=") {
            self.take("!");
            self.depth += 1;
            if self.depth > DEPTH_LIMIT {
                return self.fail("too much within each other");
            }
            let inner = self.condition()?;
            self.depth -= 1;
            return Ok(Filter::Not(Box::new(inner)));
        }
        if self.take("(") {
            let inner = self.filter()?;
            self.skip_white();
            if !self.take(")") {
                return self.fail(format_args!("`{}`, where `)` is expected", self.rest));
            }
            return Ok(inner);
        }
        let left = self.operand()?;
        self.skip_white();
        if self.take("=~") {
            return self.matches(left);
        }
        for (text, comparison) in [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ] {
            if self.take(text) {
                return Ok(Filter::Compare(left, comparison, self.operand()?));
            }
        }
        match left {
            Operand::Path(..) if self.rest.starts_with([')', '&', '|']) => Ok(Filter::Exists(left)),
            _ => self.fail(format_args!("`{}`, where a comparison is expected", self.rest)),
        }
    }

    fn matches(&mut self, left: Operand) -> Result<Filter, String> {
        self.skip_white();
        let body = self.rest.strip_prefix('/').and_then(|rest| rest.split_once('/'));
        let Some((expression, after)) = body else { return self.fail("`=~` needs a `/regular expression/`") };
        let expression = expression.to_owned();
        self.rest = after;
        let flags = if self.take("i") { "(?i)" } else { "" };
        let regex = pattern::compile_whole(&format!("{flags}{expression}"))?;
        Ok(Filter::Matches(left, regex))
    }

    fn operand(&mut self) -> Result<Operand, String> {
        self.skip_white();
        if self.take("@") {
            self.depth += 1;
            if self.depth > DEPTH_LIMIT {
                return self.fail("too much within each other");
            }
            let path = self.segments(true)?;
            self.depth -= 1;
            return Ok(Operand::Path(true, path));
        }
        if self.take("$") {
            return Ok(Operand::Path(false, self.segments(true)?));
        }
        if self.rest.starts_with(['\'', '"']) {
            return Ok(Operand::Literal(Value::String(self.quoted()?)));
        }
        let length = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.')))
            .unwrap_or(self.rest.len());
        let literal = match &self.rest[..length] {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "null" => Some(Value::Null),
            number => serde_json::from_str::<serde_json::Number>(number).ok().map(Value::Number),
        };
        let Some(literal) = literal else {
            return self.fail(format_args!("`{}`, where a value is expected", self.rest));
        };
        self.rest = &self.rest[length..];
        Ok(Operand::Literal(literal))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn store() -> Value {
        json!({
            "a": {"b": 1, "c-d": [10, 20, 30], "e f": null},
            "books": [
                {"title": "One", "price": 8, "tags": ["x"]},
                {"title": "Two", "price": 12.5, "isbn": "2"},
                {"title": "Three", "price": 20, "isbn": "3", "tags": []}
            ],
            "limit": 12,
            "häuser": "ja"
        })
    }

    #[test]
    fn paths_lead_where_jayways_lead() {
        for (path, expected) in [
            ("$", Some(store())),
            ("$.a.b", Some(json!(1))),
            ("a.b", Some(json!(1))),
            ("$.häuser", Some(json!("ja"))),
            ("$['a']['b']", Some(json!(1))),
            ("$[\"a\"].b", Some(json!(1))),
            ("$.a['e f']", Some(json!(null))),
            ("$.a['b','e f']", Some(json!({"b": 1, "e f": null}))),
            ("$.a.missing", None),
            ("$.a.b.c", None),
            ("$.books.title", None),
            ("$.a.c-d[0]", Some(json!(10))),
            ("$.a.c-d[-1]", Some(json!(30))),
            ("$.a.c-d[3]", None),
            ("$.a.c-d[-4]", None),
            ("$.a.c-d[0,2]", Some(json!([10, 30]))),
            ("$.a.c-d[1:]", Some(json!([20, 30]))),
            ("$.a.c-d[:2]", Some(json!([10, 20]))),
            ("$.a.c-d[-2:]", Some(json!([20, 30]))),
            ("$.a.c-d[2:1]", Some(json!([]))),
            ("$.a.c-d.length()", Some(json!(3))),
            ("$.books[*].title", Some(json!(["One", "Two", "Three"]))),
            ("$.books[1].*", Some(json!(["Two", 12.5, "2"]))),
            ("$..title", Some(json!(["One", "Two", "Three"]))),
            ("$..c-d[0]", Some(json!([10]))),
            ("$..nothing", Some(json!([]))),
            ("$.books[?(@.isbn)].title", Some(json!(["Two", "Three"]))),
            ("$.books[?(!@.isbn)].title", Some(json!(["One"]))),
            ("$.books[?(@.price < 12.5)].title", Some(json!(["One"]))),
            ("$.books[?(@.price>$.limit)].title", Some(json!(["Two", "Three"]))),
            ("$.books[?(@.title == 'Two')].price", Some(json!([12.5]))),
            ("$.books[?(@['title'] != \"Two\" && @.price >= 20)].title", Some(json!(["Three"]))),
            ("$.books[?((@.price == 8) || (@.isbn == '3'))].title", Some(json!(["One", "Three"]))),
            ("$.books[?(@.title =~ /t.*/i)].title", Some(json!(["Two", "Three"]))),
            ("$.a[?(@.b == 1)].b", Some(json!([1]))),
        ] {
            let found =
                JsonPath::parse(path).unwrap_or_else(|error| panic!("{error}")).find(&store()).unwrap();
            assert_eq!(found, expected.map_or(Found::Nothing, Found::Value), "{path}");
        }
    }

    #[test]
    fn what_is_beyond_the_subset_is_refused() {
        for path in [
            "",
            "$.",
            "$..",
            "$[",
            "$['a'",
            "$[a]",
            "$.a[0:2:1]",
            "$.a.sum()",
            "$.a)",
            "$[?(@.a in [1])]",
            "$[?()]",
            "$[?(@.a == )]",
            "$ x",
            "$.books[?(@.title =~ /(/)]",
        ] {
            let error = JsonPath::parse(path).map(|_| path).unwrap_err();
            assert!(error.contains("not understood here"), "{error}");
        }
        assert!(JsonPath::parse(&format!("$[?({}@.a)]", "(".repeat(10_000))).is_err());
        assert!(JsonPath::parse(&format!("$[?({}@.a)]", "!".repeat(10_000))).is_err());
        assert!(JsonPath::parse(&"$[?(@".repeat(10_000)).is_err());
    }

    #[test]
    fn a_path_that_multiplies_comes_to_an_end() {
        let mut wide = json!([1]);
        for _ in 0..100 {
            wide = json!([wide]);
        }
        let path = JsonPath::parse(&format!("${}", "..*".repeat(20))).unwrap();
        assert_eq!(path.find(&wide), Err(TooMuch));
    }

    proptest! {
        #[test]
        fn no_path_panics(path in r#"[$@.\[\]*?()'",:!=<>&|~/ a-c0-2-]{0,40}"#) {
            if let Ok(path) = JsonPath::parse(&path) {
                let _ = path.find(&store());
            }
        }
    }
}
