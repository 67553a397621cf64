//! A template and what it can ask -> its output, within limits.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use regex::Regex;
use serde_json::{Map as JsonMap, Value as Json};

use super::methods;
use super::syntax::{Expression, Node, Operator, Reference, Step};
use super::util;
use super::value::{Arena, TooDeep, Value};
use super::{Rendered, Variables};
use crate::gateway::mapping::json_path::{Found, JsonPath};
use crate::gateway::mapping::pattern;

/// What API Gateway takes as a body.
const OUTPUT_LIMIT: usize = 10 * 1024 * 1024;
const STEP_LIMIT: usize = 250_000;
/// Of texts, lists and maps that are made on the way.
const BYTE_LIMIT: usize = 128 * 1024 * 1024;
/// AWS's limit for the rounds of a `#foreach`.
const ROUND_LIMIT: usize = 1000;
const REGEX_LIMIT: usize = 64;

/// Why there is no output.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// `$input` was asked for JSON, and the body is none.
    Body(String),
    /// The template asks for what cannot be done.
    Template { line: usize, what: String },
}

impl Failure {
    /// The line is filled in by whoever knows it.
    pub fn because(what: String) -> Self {
        Self::Template { line: 0, what }
    }

    fn at(self, line: usize) -> Self {
        match self {
            Self::Template { line: 0, what } => Self::Template { line, what },
            known => known,
        }
    }
}

impl From<TooDeep> for Failure {
    fn from(_: TooDeep) -> Self {
        Self::because("lists and maps are within each other too deeply".to_owned())
    }
}

impl From<String> for Failure {
    fn from(what: String) -> Self {
        Self::because(what)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(what) => write!(formatter, "the body is no JSON: {what}"),
            Self::Template { line, what } => write!(formatter, "line {line} of the mapping template: {what}"),
        }
    }
}

enum Flow {
    On,
    Break,
    Stop,
}

pub struct Renderer<'a> {
    pub arena: Arena,
    variables: &'a Variables<'a>,
    names: HashMap<Rc<str>, Value>,
    output: String,
    steps: usize,
    bytes: usize,
    /// The body as JSON, once it was asked for.
    body: Option<Rc<Json>>,
    regexes: HashMap<String, Regex>,
}

pub fn render(nodes: &[Node], variables: &Variables<'_>) -> Result<Rendered, Failure> {
    let mut renderer = Renderer {
        arena: Arena::default(),
        variables,
        names: HashMap::new(),
        output: String::new(),
        steps: 0,
        bytes: 0,
        body: None,
        regexes: HashMap::new(),
    };
    let context = renderer.arena.read_json(&Json::Object(variables.context.clone()));
    let stage: JsonMap<String, Json> =
        variables.stage_variables.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let stage = renderer.arena.read_json(&Json::Object(stage));
    renderer.names.insert("context".into(), context.clone());
    renderer.names.insert("stageVariables".into(), stage);
    renderer.nodes(nodes)?;
    let context = match renderer.arena.to_json(&context, STEP_LIMIT)? {
        Json::Object(context) => context,
        _ => JsonMap::new(),
    };
    Ok(Rendered { text: renderer.output, context })
}

impl Renderer<'_> {
    // ---- Limits

    pub fn spend(&mut self, steps: usize) -> Result<(), Failure> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > STEP_LIMIT {
            return Err(Failure::because(format!("it takes more than {STEP_LIMIT} steps")));
        }
        Ok(())
    }

    pub fn charge(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > BYTE_LIMIT {
            return Err(Failure::because(format!("it makes more than {BYTE_LIMIT} bytes on the way")));
        }
        Ok(())
    }

    pub fn bytes_left(&self) -> usize {
        BYTE_LIMIT - self.bytes.min(BYTE_LIMIT)
    }

    fn emit(&mut self, text: &str) -> Result<(), Failure> {
        if self.output.len() + text.len() > OUTPUT_LIMIT {
            return Err(Failure::because(format!("its output is longer than {OUTPUT_LIMIT} bytes")));
        }
        self.output.push_str(text);
        Ok(())
    }

    // ---- Statements

    fn nodes(&mut self, nodes: &[Node]) -> Result<Flow, Failure> {
        for node in nodes {
            self.spend(1)?;
            let flow = match node {
                Node::Text(text) => {
                    self.emit(text)?;
                    Flow::On
                }
                Node::Reference(reference) => {
                    self.write_reference(reference).map_err(|failure| failure.at(reference.line))?;
                    Flow::On
                }
                Node::Set { target, value } => {
                    self.set(target, value).map_err(|failure| failure.at(target.line))?;
                    Flow::On
                }
                Node::If { branches, otherwise } => self.choose(branches, otherwise)?,
                Node::Foreach { variable, list, body, line } => {
                    self.foreach(variable, list, body).map_err(|failure| failure.at(*line))?
                }
                Node::Break => Flow::Break,
                Node::Stop => Flow::Stop,
            };
            if !matches!(flow, Flow::On) {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn choose(&mut self, branches: &[(Expression, Vec<Node>)], otherwise: &[Node]) -> Result<Flow, Failure> {
        for (condition, body) in branches {
            self.spend(1)?;
            if self.expression(condition)?.is_true() {
                return self.nodes(body);
            }
        }
        self.nodes(otherwise)
    }

    fn foreach(&mut self, variable: &str, list: &Expression, body: &[Node]) -> Result<Flow, Failure> {
        let list = self.expression(list)?;
        let items = self.items(&list)?;
        if items.is_empty() {
            return Ok(Flow::On);
        }
        if items.len() > ROUND_LIMIT {
            return Err(Failure::because(format!(
                "`#foreach` over {} items; AWS goes round {ROUND_LIMIT} times at most",
                items.len()
            )));
        }
        let names: [Rc<str>; 3] = [variable.into(), "foreach".into(), "velocityCount".into()];
        let former: Vec<Option<Value>> = names.iter().map(|name| self.names.get(name).cloned()).collect();
        let progress = self.arena.map();
        if let Some(parent @ Value::Map(_)) = &former[1] {
            self.arena.maps[progress].put("parent".into(), parent.clone());
        }
        let last = items.len() - 1;
        let mut flow = Flow::On;
        for (index, item) in items.into_iter().enumerate() {
            self.spend(1)?;
            let progress_map = &mut self.arena.maps[progress];
            progress_map.put("index".into(), Value::Integer(index as i64));
            progress_map.put("count".into(), Value::Integer(index as i64 + 1));
            progress_map.put("hasNext".into(), Value::Bool(index < last));
            progress_map.put("first".into(), Value::Bool(index == 0));
            progress_map.put("last".into(), Value::Bool(index == last));
            self.names.insert(names[1].clone(), Value::Map(progress));
            self.names.insert(names[2].clone(), Value::Integer(index as i64 + 1));
            match item {
                Value::Null => drop(self.names.remove(&names[0])),
                item => drop(self.names.insert(names[0].clone(), item)),
            }
            match self.nodes(body)? {
                Flow::On => {}
                Flow::Break => break,
                Flow::Stop => {
                    flow = Flow::Stop;
                    break;
                }
            }
        }
        for (name, value) in names.into_iter().zip(former) {
            match value {
                Some(value) => drop(self.names.insert(name, value)),
                None => drop(self.names.remove(&name)),
            }
        }
        Ok(flow)
    }

    /// What a loop goes through: a list's items, a map's values; of all else nothing.
    pub fn items(&mut self, value: &Value) -> Result<Vec<Value>, Failure> {
        let items: Vec<Value> = match value {
            Value::List(list) => self.arena.lists[*list].items.clone(),
            Value::Map(map) => {
                self.arena.maps[*map].entries().iter().map(|(_, value)| value.clone()).collect()
            }
            _ => Vec::new(),
        };
        self.spend(items.len() / 16)?;
        Ok(items)
    }

    /// Nothing is set to nothing: Velocity leaves what was there.
    fn set(&mut self, target: &Reference, value: &Expression) -> Result<(), Failure> {
        let value = self.expression(value)?;
        if matches!(value, Value::Null) {
            return Ok(());
        }
        let Some((last, way)) = target.steps.split_last() else {
            self.charge(64)?;
            self.names.insert(target.name.as_str().into(), value);
            return Ok(());
        };
        let holder = self.follow(&target.name, way)?;
        match (holder, last) {
            (Value::Map(map), Step::Property(name)) => {
                self.charge(name.len() + 64)?;
                self.arena.maps[map].put(name.as_str().into(), value);
            }
            (Value::Map(map), Step::Index(index)) => {
                let index = self.expression(index)?;
                let key = self.written(&index)?;
                self.charge(key.len() + 64)?;
                self.arena.maps[map].put(key.into(), value);
            }
            (Value::List(list), Step::Index(index)) => {
                let index = self.expression(index)?;
                let place = self
                    .place(list, &index)
                    .ok_or_else(|| Failure::because(format!("`{}` is not in the list", target.source)))?;
                self.arena.lists[list].items[place] = value;
            }
            _ => return Err(Failure::because(format!("`{}` cannot be set", target.source))),
        }
        Ok(())
    }

    fn write_reference(&mut self, reference: &Reference) -> Result<(), Failure> {
        let value = self.reference(reference)?;
        let is_there = !matches!(value, Value::Null);
        let backslashes = reference.backslashes;
        if backslashes % 2 == 1 {
            self.emit(&"\\".repeat(backslashes / 2 + usize::from(!is_there)))?;
            return self.emit(&reference.source);
        }
        if is_there {
            self.emit(&"\\".repeat(backslashes / 2))?;
            let text = self.written(&value)?;
            return self.emit(&text);
        }
        self.emit(&"\\".repeat(backslashes))?;
        if reference.quiet { Ok(()) } else { self.emit(&reference.source) }
    }

    // ---- Expressions

    pub fn expression(&mut self, expression: &Expression) -> Result<Value, Failure> {
        self.spend(1)?;
        Ok(match expression {
            Expression::Bool(flag) => Value::Bool(*flag),
            Expression::Integer(integer) => Value::Integer(*integer),
            Expression::Float(float) => Value::Float(*float),
            Expression::Text(text) => {
                self.charge(text.len())?;
                Value::text(text)
            }
            Expression::Interpolated(nodes) => {
                let outer = std::mem::take(&mut self.output);
                let flow = self.nodes(nodes);
                let text = std::mem::replace(&mut self.output, outer);
                flow?;
                self.charge(text.len())?;
                Value::text(text)
            }
            Expression::List(items) => {
                let items = items.iter().map(|item| self.expression(item)).collect::<Result<Vec<_>, _>>()?;
                self.charge(items.len() * 32 + 64)?;
                self.arena.list(items, false)
            }
            Expression::Map(entries) => {
                let map = self.arena.map();
                for (key, value) in entries {
                    let key = self.expression(key)?;
                    let key = self.written(&key)?;
                    let value = self.expression(value)?;
                    self.charge(key.len() + 64)?;
                    self.arena.maps[map].put(key.into(), value);
                }
                self.charge(64)?;
                Value::Map(map)
            }
            Expression::Range(from, to) => self.range(from, to)?,
            Expression::Reference(reference) => {
                self.reference(reference).map_err(|failure| failure.at(reference.line))?
            }
            Expression::Not(inner) => Value::Bool(!self.expression(inner)?.is_true()),
            Expression::Binary(Operator::And, left, right) => {
                Value::Bool(self.expression(left)?.is_true() && self.expression(right)?.is_true())
            }
            Expression::Binary(Operator::Or, left, right) => {
                Value::Bool(self.expression(left)?.is_true() || self.expression(right)?.is_true())
            }
            Expression::Binary(operator, left, right) => {
                let left = self.expression(left)?;
                let right = self.expression(right)?;
                self.binary(*operator, &left, &right)?
            }
        })
    }

    fn range(&mut self, from: &Expression, to: &Expression) -> Result<Value, Failure> {
        let (Value::Integer(from), Value::Integer(to)) = (self.expression(from)?, self.expression(to)?)
        else {
            return Ok(Value::Null);
        };
        let length = usize::try_from(from.abs_diff(to)).unwrap_or(usize::MAX).saturating_add(1);
        self.spend(length)?;
        self.charge(length.saturating_mul(32))?;
        let items: Vec<Value> = match from <= to {
            true => (from..=to).map(Value::Integer).collect(),
            false => (to..=from).rev().map(Value::Integer).collect(),
        };
        Ok(self.arena.list(items, false))
    }

    fn binary(&mut self, operator: Operator, left: &Value, right: &Value) -> Result<Value, Failure> {
        Ok(match operator {
            Operator::Equal => Value::Bool(self.equal(left, right)?),
            Operator::NotEqual => Value::Bool(!self.equal(left, right)?),
            Operator::Less => Value::Bool(order(left, right).is_some_and(|order| order.is_lt())),
            Operator::LessOrEqual => Value::Bool(order(left, right).is_some_and(|order| order.is_le())),
            Operator::Greater => Value::Bool(order(left, right).is_some_and(|order| order.is_gt())),
            Operator::GreaterOrEqual => Value::Bool(order(left, right).is_some_and(|order| order.is_ge())),
            Operator::Add if matches!(left, Value::Text(_)) || matches!(right, Value::Text(_)) => {
                let mut text = self.written(left)?;
                text.push_str(&self.written(right)?);
                self.charge(text.len())?;
                Value::text(text)
            }
            _ => calculate(operator, left, right)?,
        })
    }

    pub fn equal(&mut self, left: &Value, right: &Value) -> Result<bool, Failure> {
        let before = STEP_LIMIT - self.steps.min(STEP_LIMIT);
        let mut left_over = before;
        let equal = self.arena.equal(left, right, &mut left_over);
        self.spend(before - left_over)?;
        Ok(equal?)
    }

    /// As it stands in the output.
    pub fn written(&mut self, value: &Value) -> Result<String, Failure> {
        let mut text = String::new();
        self.arena.write(value, &mut text, OUTPUT_LIMIT)?;
        if text.len() > OUTPUT_LIMIT {
            return Err(Failure::because(format!("a text is longer than {OUTPUT_LIMIT} bytes")));
        }
        self.charge(text.len())?;
        self.spend(text.len() / 1024)?;
        Ok(text)
    }

    // ---- References

    fn reference(&mut self, reference: &Reference) -> Result<Value, Failure> {
        let value = self.follow(&reference.name, &reference.steps)?;
        let of_aws = matches!(&*reference.name, "context" | "stageVariables") && !reference.steps.is_empty();
        Ok(if of_aws && matches!(value, Value::Null) { Value::Absent } else { value })
    }

    fn follow(&mut self, name: &str, steps: &[Step]) -> Result<Value, Failure> {
        let (mut value, steps) = match (name, steps.split_first()) {
            ("input", Some((Step::Method(method, arguments), rest))) => {
                let arguments = self.arguments(arguments)?;
                (self.input(method, &arguments)?, rest)
            }
            ("input", Some((Step::Property(_), rest))) => {
                let body = self.variables.body;
                self.charge(body.len())?;
                (Value::text(if body.is_empty() { "{}" } else { body }), rest)
            }
            ("util", Some((Step::Method(method, arguments), rest))) => {
                let arguments = self.arguments(arguments)?;
                (self.util(method, &arguments)?, rest)
            }
            _ => (self.names.get(name).cloned().unwrap_or(Value::Null), steps),
        };
        for step in steps {
            self.spend(1)?;
            if matches!(value, Value::Null) {
                break;
            }
            value = match step {
                Step::Property(name) => self.property(&value, name),
                Step::Method(name, arguments) => {
                    let arguments = self.arguments(arguments)?;
                    methods::call(self, &value, name, &arguments)?
                }
                Step::Index(index) => {
                    let index = self.expression(index)?;
                    match &value {
                        Value::List(list) => self
                            .place(*list, &index)
                            .map_or(Value::Null, |place| self.arena.lists[*list].items[place].clone()),
                        Value::Map(map) => {
                            let key = self.written(&index)?;
                            self.arena.maps[*map].get(&key).cloned().unwrap_or(Value::Null)
                        }
                        _ => Value::Null,
                    }
                }
            };
        }
        Ok(value)
    }

    fn arguments(&mut self, arguments: &[Expression]) -> Result<Vec<Value>, Failure> {
        arguments.iter().map(|argument| self.expression(argument)).collect()
    }

    /// Velocity counts from the end too.
    fn place(&self, list: usize, index: &Value) -> Option<usize> {
        let Value::Integer(index) = index else { return None };
        let length = self.arena.lists[list].items.len();
        let index = if *index < 0 { index.checked_add(length as i64)? } else { *index };
        usize::try_from(index).ok().filter(|index| *index < length)
    }

    fn property(&self, value: &Value, name: &str) -> Value {
        match value {
            Value::Map(map) => self.arena.maps[*map].get(name).cloned().unwrap_or(Value::Null),
            Value::Entry(entry) => {
                let (key, value) = &self.arena.entries[*entry];
                match name {
                    "key" => Value::Text(key.clone()),
                    "value" => value.clone(),
                    _ => Value::Null,
                }
            }
            Value::List(list) if name == "empty" => Value::Bool(self.arena.lists[*list].items.is_empty()),
            Value::Text(text) if name == "empty" => Value::Bool(text.is_empty()),
            _ => Value::Null,
        }
    }

    pub fn regex(&mut self, expression: &str) -> Result<Regex, Failure> {
        if let Some(known) = self.regexes.get(expression) {
            return Ok(known.clone());
        }
        self.spend(expression.len())?;
        let regex = pattern::compile(expression)?;
        if self.regexes.len() >= REGEX_LIMIT {
            self.regexes.clear();
            self.spend(STEP_LIMIT / 100)?;
        }
        self.regexes.insert(expression.to_owned(), regex.clone());
        Ok(regex)
    }

    // ---- AWS's own

    fn input(&mut self, method: &str, arguments: &[Value]) -> Result<Value, Failure> {
        match (method, arguments) {
            ("params", []) => {
                let parameters = &self.variables.parameters;
                let all = self.arena.map();
                for (name, values) in [
                    ("path", &parameters.path),
                    ("querystring", &parameters.query),
                    ("header", &parameters.headers),
                ] {
                    self.spend(values.len())?;
                    self.charge(values.len() * 64)?;
                    let map = self.arena.map();
                    for (key, value) in values {
                        self.arena.maps[map].put(key.as_str().into(), Value::text(value));
                    }
                    self.arena.maps[all].put(name.into(), Value::Map(map));
                }
                Ok(Value::Map(all))
            }
            ("params", [name]) => {
                let name = self.written(name)?;
                Ok(Value::text(self.variables.parameters.find(&name).unwrap_or_default()))
            }
            ("path", [path]) => match self.find(path)? {
                Found::Nothing | Found::Value(Json::Null) => Ok(Value::Absent),
                Found::Value(found) => {
                    self.charge_json(&found)?;
                    Ok(self.arena.read_json(&found))
                }
            },
            ("json", [path]) => match self.find(path)? {
                Found::Nothing => Ok(Value::text("\"\"")),
                Found::Value(found) => {
                    let text = found.to_string();
                    self.charge(text.len())?;
                    Ok(Value::text(text))
                }
            },
            ("json", []) => self.input("json", &[Value::text("$")]),
            _ => Err(Failure::because(format!("`$input.{method}` takes a JSONPath"))),
        }
    }

    fn charge_json(&mut self, json: &Json) -> Result<(), Failure> {
        let mut stack = vec![json];
        while let Some(json) = stack.pop() {
            self.spend(1)?;
            match json {
                Json::String(text) => self.charge(text.len())?,
                Json::Array(items) => {
                    self.charge(items.len() * 32)?;
                    stack.extend(items);
                }
                Json::Object(members) => {
                    self.charge(members.len() * 96)?;
                    stack.extend(members.values());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn find(&mut self, path: &Value) -> Result<Found, Failure> {
        let path = JsonPath::parse(&self.written(path)?)?;
        let body = match &self.body {
            Some(body) => body.clone(),
            None => {
                let text = self.variables.body.trim();
                let json = if text.is_empty() {
                    Ok(Json::Object(JsonMap::new()))
                } else {
                    serde_json::from_str(text)
                };
                let body = Rc::new(json.map_err(|error| Failure::Body(error.to_string()))?);
                self.body = Some(body.clone());
                body
            }
        };
        // What is found is copied.
        self.charge(self.variables.body.len())?;
        self.spend(10)?;
        path.find(&body).map_err(|error| Failure::because(error.to_string()))
    }

    fn util(&mut self, method: &str, arguments: &[Value]) -> Result<Value, Failure> {
        let [argument] = arguments else {
            return Err(Failure::because(format!("`$util.{method}` takes one argument")));
        };
        let text = match argument {
            Value::Null => return Ok(Value::Null),
            argument => self.written(argument)?,
        };
        self.charge(text.len().saturating_mul(3))?;
        Ok(match method {
            "escapeJavaScript" => Value::text(util::escape_java_script(&text)),
            "urlEncode" => Value::text(util::url_encode(&text)),
            "urlDecode" => Value::text(util::url_decode(&text)),
            "base64Encode" => Value::text(util::base64_encode(&text)),
            "base64Decode" => match util::base64_decode(&text) {
                Some(decoded) => Value::text(decoded),
                None => return Err(Failure::because("`$util.base64Decode` of what is no base64".to_owned())),
            },
            "parseJson" => match serde_json::from_str(&text) {
                Ok(json) => {
                    self.charge_json(&json)?;
                    self.arena.read_json(&json)
                }
                Err(error) => {
                    return Err(Failure::because(format!("`$util.parseJson` of what is no JSON: {error}")));
                }
            },
            _ => Value::Null,
        })
    }
}

fn order(left: &Value, right: &Value) -> Option<std::cmp::Ordering> {
    match (left, right) {
        (Value::Integer(left), Value::Integer(right)) => Some(left.cmp(right)),
        _ => number(left)?.partial_cmp(&number(right)?),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(integer) => Some(*integer as f64),
        Value::Float(float) => Some(*float),
        _ => None,
    }
}

/// What is no number, or is divided by zero, comes to nothing.
fn calculate(operator: Operator, left: &Value, right: &Value) -> Result<Value, Failure> {
    if let (Value::Integer(left), Value::Integer(right)) = (left, right) {
        let result = match operator {
            Operator::Add => left.checked_add(*right),
            Operator::Subtract => left.checked_sub(*right),
            Operator::Multiply => left.checked_mul(*right),
            _ if *right == 0 => return Ok(Value::Null),
            Operator::Divide => left.checked_div(*right),
            _ => left.checked_rem(*right),
        };
        let too_large = || Failure::because("a number becomes too large".to_owned());
        return result.map(Value::Integer).ok_or_else(too_large);
    }
    let (Some(left), Some(right)) = (number(left), number(right)) else { return Ok(Value::Null) };
    Ok(match operator {
        Operator::Add => Value::Float(left + right),
        Operator::Subtract => Value::Float(left - right),
        Operator::Multiply => Value::Float(left * right),
        _ if right == 0.0 => Value::Null,
        Operator::Divide => Value::Float(left / right),
        _ => Value::Float(left % right),
    })
}
