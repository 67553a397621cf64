//! A template's text -> its parts, by the grammar of Velocity 1.7.
//!
//! White space, as that grammar has it: the `)` that ends a directive, `#end` and `#else` take the
//! blanks behind them and the line's end along; a `##` comment takes its line's end; `#set` takes the
//! blanks before it along unless other text stands before those. All the rest is output.
//!
//! What the grammar has and this has not is refused by its name, and so is every method that nothing
//! here knows: a template that is read can be trusted to mean what it means on AWS.

use super::methods;
use super::syntax::{Expression, Node, OPERATORS, Operator, Reference, Step};
use crate::gateway::mapping::json_path::JsonPath;
use crate::gateway::mapping::pattern;

/// AWS's limit for a mapping template.
const SIZE_LIMIT: usize = 300 * 1024;
/// Blocks, parentheses, lists and texts within each other.
const DEPTH_LIMIT: usize = 40;
/// In one expression: each makes the tree deeper by one.
const OPERATOR_LIMIT: usize = 200;

/// Velocity's directives that are not here.
const REFUSED: [&str; 6] = ["macro", "parse", "include", "evaluate", "define", "literal"];

pub fn parse(text: &str) -> Result<Vec<Node>, String> {
    if text.len() > SIZE_LIMIT {
        return Err(format!("the template has {} bytes; AWS takes up to {SIZE_LIMIT}", text.len()));
    }
    let mut parser = Parser { text, at: 0, first_line: 1, depth: 0, operators: 0, counted: (0, 0) };
    let (nodes, end) = parser.block()?;
    match end {
        End::OfText => Ok(nodes),
        End::Directive(word) => parser.fail(format!("`#{word}` without an `#if` or `#foreach`")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// Of a text within a template: the line it stands in.
    first_line: usize,
    depth: usize,
    operators: usize,
    /// Up to where lines have been counted, and how many there were.
    counted: (usize, usize),
}

/// What ended a block.
enum End {
    OfText,
    /// `end`, `else` or `elseif`.
    Directive(&'static str),
}

/// Text that is being collected.
#[derive(Default)]
struct Collected {
    nodes: Vec<Node>,
    text: String,
    /// Where the last run of plain text begins.
    run: usize,
}

impl Collected {
    /// Something that is no plain text: what follows is a run of its own.
    fn cut(&mut self) {
        self.run = self.text.len();
    }

    fn push(&mut self, node: Node) {
        self.flush();
        self.nodes.push(node);
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.nodes.push(Node::Text(std::mem::take(&mut self.text)));
        }
        self.run = 0;
    }
}

impl<'a> Parser<'a> {
    fn fail<T>(&mut self, what: impl Into<String>) -> Result<T, String> {
        let line = self.line();
        Err(format!("line {line}: {}", what.into()))
    }

    fn line(&mut self) -> usize {
        let (from, lines) = self.counted;
        let from = if from > self.at { 0 } else { from };
        let lines = if from == 0 { 0 } else { lines };
        let more = self.text.as_bytes()[from..self.at].iter().filter(|byte| **byte == b'\n').count();
        self.counted = (self.at, lines + more);
        self.first_line + self.counted.1
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn peek_after(&self, count: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + count).copied()
    }

    fn take(&mut self, expected: &str) -> bool {
        let found = self.rest().starts_with(expected);
        if found {
            self.at += expected.len();
        }
        found
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn skip_white(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Blanks and the line's end; nothing if something else stands in the line.
    fn take_line_end(&mut self) {
        let before = self.at;
        self.skip_blanks();
        if !(self.take("\r\n") || self.take("\n") || self.take("\r")) {
            self.at = before;
        }
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return self.fail(format!("more than {DEPTH_LIMIT} things within each other"));
        }
        Ok(())
    }

    fn block(&mut self) -> Result<(Vec<Node>, End), String> {
        self.deeper()?;
        let mut collected = Collected::default();
        let end = loop {
            let special = self.rest().find(['$', '#', '\\']).unwrap_or(self.rest().len());
            collected.text.push_str(&self.rest()[..special]);
            self.at += special;
            match self.peek() {
                None => break End::OfText,
                Some(b'#') => {
                    if let Some(end) = self.hash(&mut collected)? {
                        break end;
                    }
                }
                Some(_) => self.dollar_or_backslash(&mut collected)?,
            }
        };
        collected.flush();
        self.depth -= 1;
        Ok((collected.nodes, end))
    }

    /// At backslashes or a dollar.
    fn dollar_or_backslash(&mut self, collected: &mut Collected) -> Result<(), String> {
        let backslashes = self.rest().bytes().take_while(|byte| *byte == b'\\').count();
        match self.peek_after(backslashes) {
            Some(b'$') => {
                let before = self.at;
                self.at += backslashes;
                match self.reference()? {
                    Some(reference) => {
                        collected.push(Node::Reference(Reference { backslashes, ..reference }));
                    }
                    None => {
                        self.at = before + backslashes + 1;
                        collected.text.push_str(&self.text[before..self.at]);
                    }
                }
            }
            Some(b'#') if backslashes > 0 => {
                self.at += backslashes;
                let word = self.word().filter(|(word, _)| is_directive(word));
                let written = match word {
                    Some((_, length)) if backslashes % 2 == 1 => {
                        let directive = &self.rest()[..length];
                        self.at += length;
                        collected.text.push_str(&"\\".repeat((backslashes - 1) / 2));
                        collected.text.push_str(directive);
                        collected.cut();
                        return Ok(());
                    }
                    Some(_) => backslashes / 2,
                    None => backslashes,
                };
                collected.text.push_str(&"\\".repeat(written));
                collected.cut();
            }
            _ => {
                collected.text.push_str(&"\\".repeat(backslashes));
                self.at += backslashes;
            }
        }
        Ok(())
    }

    /// The word behind a `#`, and how long it is with the hash and its braces.
    fn word(&self) -> Option<(&'a str, usize)> {
        let rest = self.rest().strip_prefix('#')?;
        let braced = rest.starts_with('{');
        let name = rest.strip_prefix('{').unwrap_or(rest);
        let length = name
            .bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'@'))
            .count();
        let word = &name[..length];
        if word.is_empty() || word.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        if braced && !name[length..].starts_with('}') {
            return None;
        }
        Some((word, 1 + length + if braced { 2 } else { 0 }))
    }

    /// At a hash: a comment, a directive, or a hash.
    fn hash(&mut self, collected: &mut Collected) -> Result<Option<End>, String> {
        if self.take("##") {
            let length = self.rest().find(['\n', '\r']).unwrap_or(self.rest().len());
            self.at += length;
            self.take_line_end();
            collected.cut();
            return Ok(None);
        }
        if self.take("#*") {
            let Some(length) = self.rest().find("*#") else { return self.fail("`#*` without `*#`") };
            self.at += length + 2;
            collected.cut();
            return Ok(None);
        }
        if self.take("#[[") {
            let Some(length) = self.rest().find("]]#") else { return self.fail("`#[[` without `]]#`") };
            collected.text.push_str(&self.rest()[..length]);
            self.at += length + 3;
            collected.cut();
            return Ok(None);
        }
        let Some((word, length)) = self.word() else {
            collected.text.push('#');
            self.at += 1;
            return Ok(None);
        };
        if !is_directive(word) {
            return self.unknown_directive(word, length, collected);
        }
        self.at += length;
        let end = match word {
            "end" | "else" => {
                self.take_line_end();
                Some(End::Directive(if word == "end" { "end" } else { "else" }))
            }
            "elseif" => Some(End::Directive("elseif")),
            "if" => {
                let node = self.conditions()?;
                collected.push(node);
                None
            }
            "foreach" => {
                let node = self.foreach()?;
                collected.push(node);
                None
            }
            "set" => {
                let run = &collected.text[collected.run..];
                if run.bytes().all(|byte| matches!(byte, b' ' | b'\t')) {
                    collected.text.truncate(collected.run);
                }
                let node = self.set()?;
                collected.push(node);
                None
            }
            "stop" => {
                collected.push(Node::Stop);
                None
            }
            _ => {
                if self.peek() == Some(b'(') {
                    return self.fail("`#break` takes nothing in parentheses here");
                }
                collected.push(Node::Break);
                None
            }
        };
        Ok(end)
    }

    fn unknown_directive(
        &mut self,
        word: &str,
        length: usize,
        collected: &mut Collected,
    ) -> Result<Option<End>, String> {
        if REFUSED.contains(&word) {
            return self.fail(format!("`#{word}` is not understood here"));
        }
        if word.starts_with('@') || self.peek_after(length) == Some(b'(') {
            return self.fail(format!("`#{word}(...)` calls a macro; there are none here"));
        }
        collected.text.push_str(&self.rest()[..length]);
        self.at += length;
        Ok(None)
    }

    fn open(&mut self, directive: &str) -> Result<(), String> {
        self.skip_white();
        if self.take("(") {
            return Ok(());
        }
        self.fail(format!("`#{directive}` needs its `(`"))
    }

    fn close(&mut self, directive: &str) -> Result<(), String> {
        self.skip_white();
        if self.take(")") {
            self.take_line_end();
            return Ok(());
        }
        let found = self.found();
        self.fail(format!("`#{directive}(...` goes on with {found}, where `)` or an operator is expected"))
    }

    /// For messages.
    fn found(&self) -> String {
        match self.rest().chars().next() {
            None => "the template's end".to_owned(),
            Some('\n' | '\r') => "a new line".to_owned(),
            Some(_) => {
                let word: String = self.rest().chars().take_while(|c| !c.is_whitespace()).take(20).collect();
                format!("`{word}`")
            }
        }
    }

    /// Behind `#if`.
    fn conditions(&mut self) -> Result<Node, String> {
        let began = self.line();
        let mut branches = Vec::new();
        let mut otherwise = Vec::new();
        let mut directive = "if";
        loop {
            self.open(directive)?;
            let condition = self.expression()?;
            self.close(directive)?;
            let (body, end) = self.block()?;
            branches.push((condition, body));
            match end {
                End::Directive("elseif") => directive = "elseif",
                End::Directive("else") => {
                    let (body, end) = self.block()?;
                    otherwise = body;
                    match end {
                        End::Directive("end") => break,
                        End::Directive(word) => return self.fail(format!("`#{word}` behind `#else`")),
                        End::OfText => return Err(format!("line {began}: `#if` without `#end`")),
                    }
                }
                End::Directive(_) => break,
                End::OfText => return Err(format!("line {began}: `#if` without `#end`")),
            }
        }
        Ok(Node::If { branches, otherwise })
    }

    /// Behind `#foreach`.
    fn foreach(&mut self) -> Result<Node, String> {
        let line = self.line();
        self.open("foreach")?;
        self.skip_white();
        let variable = match self.reference()? {
            Some(reference) if reference.steps.is_empty() => reference.name,
            _ => return self.fail("`#foreach` needs a variable: `#foreach($item in $list)`"),
        };
        self.skip_white();
        if !(self.take("in")
            && matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r' | b'$' | b'[' | b'{')))
        {
            return self.fail("`#foreach` needs an `in`: `#foreach($item in $list)`");
        }
        let list = self.parameter()?;
        self.close("foreach")?;
        let (body, end) = self.block()?;
        match end {
            End::Directive("end") => Ok(Node::Foreach { variable, list, body, line }),
            End::Directive(word) => self.fail(format!("`#{word}` in a `#foreach`, without an `#if`")),
            End::OfText => Err(format!("line {line}: `#foreach` without `#end`")),
        }
    }

    /// Behind `#set`.
    fn set(&mut self) -> Result<Node, String> {
        self.open("set")?;
        self.skip_white();
        let Some(target) = self.reference()? else {
            return self.fail("`#set` needs something to set: `#set($name = ...)`");
        };
        if let Some(Step::Method(name, _)) = target.steps.last() {
            return self.fail(format!("`#set` cannot set what `{name}(...)` returns"));
        }
        if target.steps.is_empty() && ["input", "util", "context", "stageVariables"].contains(&&*target.name)
        {
            return self.fail(format!("`${}` is AWS's own; `#set` another name", target.name));
        }
        self.skip_white();
        if self.rest().starts_with("==") || !self.take("=") {
            return self.fail("`#set` needs an `=`");
        }
        let value = self.expression()?;
        self.close("set")?;
        Ok(Node::Set { target, value })
    }

    // ---- Expressions

    fn expression(&mut self) -> Result<Expression, String> {
        let operators = std::mem::take(&mut self.operators);
        let expression = self.operation(0)?;
        self.operators = operators;
        Ok(expression)
    }

    fn operation(&mut self, rank: u8) -> Result<Expression, String> {
        let mut left = self.operand()?;
        loop {
            self.skip_white();
            let Some((text, operator)) = self.operator() else { return Ok(left) };
            if operator.rank() <= rank {
                return Ok(left);
            }
            if operator == Operator::Subtract && matches!(self.peek_after(1), Some(b'0'..=b'9')) {
                return self
                    .fail("Velocity reads a minus right before a digit as part of the number; write `- 1`");
            }
            self.operators += 1;
            if self.operators > OPERATOR_LIMIT {
                return self.fail(format!("more than {OPERATOR_LIMIT} operators in one expression"));
            }
            self.at += text.len();
            let right = self.operation(operator.rank())?;
            left = Expression::Binary(operator, Box::new(left), Box::new(right));
        }
    }

    fn operator(&self) -> Option<(&'static str, Operator)> {
        OPERATORS.into_iter().find(|(text, _)| {
            let is_word = text.as_bytes()[0].is_ascii_alphabetic();
            let next = self.peek_after(text.len());
            self.rest().starts_with(text)
                && !(is_word && next.is_some_and(|next| next.is_ascii_alphanumeric() || next == b'_'))
        })
    }

    fn operand(&mut self) -> Result<Expression, String> {
        self.skip_white();
        let negated = (self.peek() == Some(b'!') && self.peek_after(1) != Some(b'=') && self.take("!"))
            || (self.rest().starts_with("not")
                && !self.peek_after(3).is_some_and(|next| next.is_ascii_alphanumeric() || next == b'_')
                && self.take("not"));
        if negated {
            self.deeper()?;
            let operand = self.operand()?;
            self.depth -= 1;
            return Ok(Expression::Not(Box::new(operand)));
        }
        if self.take("(") {
            self.deeper()?;
            let inner = self.operation(0)?;
            self.skip_white();
            if !self.take(")") {
                let found = self.found();
                return self.fail(format!("a `(` is not closed before {found}"));
            }
            self.depth -= 1;
            return Ok(inner);
        }
        self.parameter()
    }

    /// A value without operators: all that lists, maps and methods may hold.
    fn parameter(&mut self) -> Result<Expression, String> {
        self.deeper()?;
        self.skip_white();
        let expression = match self.peek() {
            Some(b'$') => match self.reference()? {
                Some(reference) => Expression::Reference(reference),
                None => return self.fail("a `$` without a name"),
            },
            Some(b'"') => self.double_quoted()?,
            Some(b'\'') => self.single_quoted()?,
            Some(b'[') => self.list_or_range()?,
            Some(b'{') => self.map()?,
            Some(b'0'..=b'9' | b'-' | b'.') => self.number()?,
            _ => self.word_value()?,
        };
        self.skip_white();
        self.depth -= 1;
        Ok(expression)
    }

    fn word_value(&mut self) -> Result<Expression, String> {
        let length = self.rest().bytes().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let value = match &self.rest()[..length] {
            "true" => Expression::Bool(true),
            "false" => Expression::Bool(false),
            "null" => {
                return self.fail(
                    "`null` is no word of Velocity; compare with a reference that is not set, like `$null`",
                );
            }
            _ => {
                let found = self.found();
                return self.fail(format!("{found}, where a value is expected"));
            }
        };
        self.at += length;
        Ok(value)
    }

    fn number(&mut self) -> Result<Expression, String> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut length = usize::from(bytes[0] == b'-');
        length += digits(length);
        let mut whole = true;
        if bytes.get(length) == Some(&b'.') && bytes.get(length + 1) != Some(&b'.') {
            let fraction = digits(length + 1);
            // `1.` is a number too, but `$list.get(1).x` never comes here.
            length += 1 + fraction;
            whole = false;
        }
        if matches!(bytes.get(length), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
            let exponent = digits(length + 1 + sign);
            if exponent > 0 {
                length += 1 + sign + exponent;
                whole = false;
            }
        }
        let text = &rest[..length];
        let value = if whole {
            text.parse().ok().map(Expression::Integer)
        } else {
            text.parse().ok().map(Expression::Float)
        };
        let Some(value) = value else {
            let found = self.found();
            return self.fail(format!("{found} is no number, or one that is too large"));
        };
        self.at += length;
        Ok(value)
    }

    fn single_quoted(&mut self) -> Result<Expression, String> {
        let inner = &self.rest()[1..];
        let Some(length) = inner.find('\'') else { return self.fail("a text in `'` does not end") };
        self.at += length + 2;
        Ok(Expression::Text(inner[..length].to_owned()))
    }

    /// A backslash keeps a quote from ending the text, and stays: so does Velocity 1.7.
    fn double_quoted(&mut self) -> Result<Expression, String> {
        let inner = &self.rest()[1..];
        let mut length = None;
        let mut escaped = false;
        for (index, byte) in inner.bytes().enumerate() {
            match byte {
                b'"' if !escaped => {
                    length = Some(index);
                    break;
                }
                b'\\' => escaped = !escaped,
                _ => escaped = false,
            }
        }
        let Some(length) = length else { return self.fail("a text in `\"` does not end") };
        let inner = &inner[..length];
        let line = self.line();
        self.at += length + 2;
        if !inner.contains(['$', '#']) {
            return Ok(Expression::Text(inner.to_owned()));
        }
        let mut parser =
            Parser { text: inner, at: 0, first_line: line, depth: self.depth, operators: 0, counted: (0, 0) };
        let (mut nodes, end) = parser.block()?;
        if let End::Directive(word) = end {
            return self.fail(format!("`#{word}` in a text, without an `#if` or `#foreach`"));
        }
        Ok(match nodes.pop() {
            None => Expression::Text(String::new()),
            Some(Node::Text(text)) if nodes.is_empty() => Expression::Text(text),
            Some(last) => {
                nodes.push(last);
                Expression::Interpolated(nodes)
            }
        })
    }

    fn list_or_range(&mut self) -> Result<Expression, String> {
        self.at += 1;
        self.skip_white();
        let mut items = Vec::new();
        if self.take("]") {
            return Ok(Expression::List(items));
        }
        loop {
            items.push(self.parameter()?);
            if items.len() == 1 && self.take("..") {
                let last = self.parameter()?;
                if !self.take("]") {
                    return self.fail("a range ends with `]`: `[1..5]`");
                }
                let first = items.remove(0);
                return Ok(Expression::Range(Box::new(first), Box::new(last)));
            }
            if self.take("]") {
                return Ok(Expression::List(items));
            }
            if !self.take(",") {
                let found = self.found();
                return self.fail(format!("{found} in a list, where `,` or `]` is expected"));
            }
        }
    }

    fn map(&mut self) -> Result<Expression, String> {
        self.at += 1;
        self.skip_white();
        let mut entries = Vec::new();
        if self.take("}") {
            return Ok(Expression::Map(entries));
        }
        loop {
            let key = self.parameter()?;
            if !self.take(":") {
                let found = self.found();
                return self.fail(format!("{found} in a map, where `:` is expected"));
            }
            entries.push((key, self.parameter()?));
            if self.take("}") {
                return Ok(Expression::Map(entries));
            }
            if !self.take(",") {
                let found = self.found();
                return self.fail(format!("{found} in a map, where `,` or `}}` is expected"));
            }
        }
    }

    // ---- References

    /// At a dollar. `None`: it is only a dollar, and nothing was taken.
    fn reference(&mut self) -> Result<Option<Reference>, String> {
        let began = self.at;
        let line = self.line();
        if !self.take("$") {
            return Ok(None);
        }
        let quiet = self.take("!");
        let braced = self.take("{");
        let Some(name) = self.identifier() else {
            self.at = began;
            return Ok(None);
        };
        let mut steps = Vec::new();
        loop {
            if self.peek() == Some(b'[') {
                self.at += 1;
                let index = self.parameter()?;
                if !self.take("]") {
                    let found = self.found();
                    return self.fail(format!("{found} behind an index of `${name}`, where `]` is expected"));
                }
                steps.push(Step::Index(index));
            } else if self.peek() == Some(b'.')
                && self.peek_after(1).is_some_and(|next| next.is_ascii_alphabetic())
            {
                self.at += 1;
                let member = self.identifier().unwrap_or_default();
                if self.take("(") {
                    steps.push(Step::Method(member.to_owned(), self.arguments(member)?));
                } else {
                    steps.push(Step::Property(member.to_owned()));
                }
            } else {
                break;
            }
        }
        if braced && !self.take("}") {
            let found = self.found();
            return self.fail(format!("{found} in `${{{name}`, where `}}` is expected"));
        }
        let source = self.text[began..self.at].to_owned();
        let reference = Reference { source, name: name.to_owned(), steps, quiet, backslashes: 0, line };
        if let Err(what) = check(&reference) {
            return Err(format!("line {line}: {what}"));
        }
        Ok(Some(reference))
    }

    fn identifier(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let first = rest.bytes().next()?;
        if !first.is_ascii_alphabetic() && first != b'_' {
            return None;
        }
        let length = rest
            .bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
            .count();
        self.at += length;
        Some(&rest[..length])
    }

    fn arguments(&mut self, method: &str) -> Result<Vec<Expression>, String> {
        let mut arguments = Vec::new();
        self.skip_white();
        if self.take(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.parameter()?);
            if self.take(")") {
                return Ok(arguments);
            }
            if !self.take(",") {
                let found = self.found();
                return self.fail(format!(
                    "{found} in `{method}(...`, where `,` or `)` is expected; Velocity does not calculate in there"
                ));
            }
        }
    }
}

fn is_directive(word: &str) -> bool {
    matches!(word, "if" | "elseif" | "else" | "end" | "foreach" | "set" | "stop" | "break")
}

/// Whether there is what a reference asks for, as far as that can be seen before it is asked.
fn check(reference: &Reference) -> Result<(), String> {
    for (index, step) in reference.steps.iter().enumerate() {
        let Step::Method(name, arguments) = step else { continue };
        let known = match (&*reference.name, index) {
            ("util", 0) => methods::UTIL.contains(&&**name),
            ("input", 0) => methods::INPUT.contains(&&**name),
            _ => methods::KNOWN.contains(&&**name),
        };
        if !known {
            return Err(format!(
                "`{}` is not understood here: nothing has a method `{name}`",
                reference.source
            ));
        }
        let text = match arguments.first() {
            Some(Expression::Text(text)) => text,
            _ => continue,
        };
        match (&*reference.name, index, &**name) {
            ("input", 0, "json" | "path") => drop(JsonPath::parse(text)?),
            (_, _, "replaceAll" | "replaceFirst" | "split" | "matches") => drop(pattern::compile(text)?),
            _ => {}
        }
    }
    match (&*reference.name, reference.steps.first()) {
        ("util", Some(Step::Property(name))) => {
            Err(format!("`$util.{name}` is not understood here: `$util` has only methods"))
        }
        ("input", Some(Step::Property(name))) if name != "body" => {
            Err(format!("`$input.{name}` is not understood here; there is `$input.body`"))
        }
        _ => Ok(()),
    }
}
