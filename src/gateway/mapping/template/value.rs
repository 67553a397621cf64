//! What a reference can mean, and how it is written out.
//!
//! Lists and maps live in an arena, so that they can be shared and changed as Java's are, and go all
//! at once: nothing that a template builds, however deep or circular, outlives it.

use std::collections::HashMap;
use std::fmt::Write;
use std::rc::Rc;

use serde_json::Value as Json;

/// Lists and maps within each other that are written out or compared.
const DEPTH_LIMIT: usize = 150;

#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing there: the reference is written as it stands in the template.
    Null,
    /// Nothing there, where AWS writes nothing: `$context.authorizer.no`, `$input.path('$.no')`.
    Absent,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(Rc<str>),
    List(usize),
    Map(usize),
    /// Of a map.
    Entry(usize),
}

impl Value {
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::Text(text.as_ref().into())
    }

    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Null | Self::Absent)
    }

    /// Whether an `#if` passes: Velocity 1.7 lets everything pass but `false` and what is not there.
    pub fn is_true(&self) -> bool {
        !matches!(self, Self::Null | Self::Absent | Self::Bool(false))
    }
}

#[derive(Debug, Default)]
pub struct Arena {
    pub lists: Vec<List>,
    pub maps: Vec<Map>,
    pub entries: Vec<(Rc<str>, Value)>,
}

#[derive(Debug, Default)]
pub struct List {
    pub items: Vec<Value>,
    /// It came out of JSON, and is written as JSON; others are written as Java's are.
    pub is_json: bool,
}

/// In the order in which the keys came.
#[derive(Debug, Default)]
pub struct Map {
    entries: Vec<(Rc<str>, Value)>,
    places: HashMap<Rc<str>, usize>,
}

impl Map {
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.places.get(key).map(|place| &self.entries[*place].1)
    }

    pub fn put(&mut self, key: Rc<str>, value: Value) -> Option<Value> {
        match self.places.get(&key) {
            Some(place) => Some(std::mem::replace(&mut self.entries[*place].1, value)),
            None => {
                self.places.insert(key.clone(), self.entries.len());
                self.entries.push((key, value));
                None
            }
        }
    }

    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let place = self.places.remove(key)?;
        let (_, value) = self.entries.remove(place);
        for later in self.places.values_mut().filter(|later| **later > place) {
            *later -= 1;
        }
        Some(value)
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.places.clear();
    }

    pub fn entries(&self) -> &[(Rc<str>, Value)] {
        &self.entries
    }
}

/// It is nested too deeply, or in itself.
#[derive(Debug)]
pub struct TooDeep;

impl Arena {
    pub fn list(&mut self, items: Vec<Value>, is_json: bool) -> Value {
        self.lists.push(List { items, is_json });
        Value::List(self.lists.len() - 1)
    }

    pub fn map(&mut self) -> usize {
        self.maps.push(Map::default());
        self.maps.len() - 1
    }

    pub fn entry(&mut self, key: Rc<str>, value: Value) -> Value {
        self.entries.push((key, value));
        Value::Entry(self.entries.len() - 1)
    }

    /// What came out of JSON is bounded already, in size and in depth.
    pub fn read_json(&mut self, json: &Json) -> Value {
        match json {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) => match number.as_i64() {
                Some(integer) => Value::Integer(integer),
                None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::text(text),
            Json::Array(items) => {
                let items = items.iter().map(|item| self.read_json(item)).collect();
                self.list(items, true)
            }
            Json::Object(members) => {
                let map = self.map();
                for (key, member) in members {
                    let member = self.read_json(member);
                    self.maps[map].put(key.as_str().into(), member);
                }
                Value::Map(map)
            }
        }
    }

    /// At most so many values: a list can hold another twice, and that another.
    pub fn to_json(&self, value: &Value, limit: usize) -> Result<Json, TooDeep> {
        self.to_json_within(value, &mut { limit }, 0)
    }

    fn to_json_within(&self, value: &Value, left: &mut usize, depth: usize) -> Result<Json, TooDeep> {
        if depth > DEPTH_LIMIT || *left == 0 {
            return Err(TooDeep);
        }
        *left -= 1;
        Ok(match value {
            Value::Null | Value::Absent => Json::Null,
            Value::Bool(flag) => Json::Bool(*flag),
            Value::Integer(integer) => Json::from(*integer),
            Value::Float(float) => Json::from(*float),
            Value::Text(text) => Json::from(&**text),
            Value::List(list) => {
                let items = &self.lists[*list].items;
                let items = items.iter().map(|item| self.to_json_within(item, left, depth + 1));
                Json::Array(items.collect::<Result<_, _>>()?)
            }
            Value::Map(map) => {
                let mut members = serde_json::Map::new();
                for (key, member) in self.maps[*map].entries() {
                    members.insert(key.to_string(), self.to_json_within(member, left, depth + 1)?);
                }
                Json::Object(members)
            }
            Value::Entry(entry) => {
                let (key, value) = &self.entries[*entry];
                let mut members = serde_json::Map::new();
                members.insert(key.to_string(), self.to_json_within(value, left, depth + 1)?);
                Json::Object(members)
            }
        })
    }

    /// As Java's `toString`: `{a=1, b=[x, y]}`; a list out of JSON as JSON. Ends soon after `limit` bytes.
    pub fn write(&self, value: &Value, into: &mut String, limit: usize) -> Result<(), TooDeep> {
        self.write_within(value, into, limit, 0)
    }

    fn write_within(
        &self,
        value: &Value,
        into: &mut String,
        limit: usize,
        depth: usize,
    ) -> Result<(), TooDeep> {
        if depth > DEPTH_LIMIT {
            return Err(TooDeep);
        }
        if into.len() > limit {
            return Ok(());
        }
        match value {
            Value::Null => into.push_str("null"),
            Value::Absent => {}
            Value::Bool(flag) => drop(write!(into, "{flag}")),
            Value::Integer(integer) => drop(write!(into, "{integer}")),
            Value::Float(float) => write_float(*float, into),
            Value::Text(text) => into.push_str(text),
            Value::List(list) => {
                let List { items, is_json } = &self.lists[*list];
                if *is_json {
                    return self.write_json(value, into, limit, depth);
                }
                into.push('[');
                for (index, item) in items.iter().enumerate() {
                    into.push_str(if index > 0 { ", " } else { "" });
                    self.write_within(item, into, limit, depth + 1)?;
                }
                into.push(']');
            }
            Value::Map(map) => {
                into.push('{');
                for (index, (key, member)) in self.maps[*map].entries().iter().enumerate() {
                    into.push_str(if index > 0 { ", " } else { "" });
                    into.push_str(key);
                    into.push('=');
                    self.write_within(member, into, limit, depth + 1)?;
                }
                into.push('}');
            }
            Value::Entry(entry) => {
                let (key, value) = &self.entries[*entry];
                into.push_str(key);
                into.push('=');
                self.write_within(value, into, limit, depth + 1)?;
            }
        }
        Ok(())
    }

    fn write_json(
        &self,
        value: &Value,
        into: &mut String,
        limit: usize,
        depth: usize,
    ) -> Result<(), TooDeep> {
        if depth > DEPTH_LIMIT {
            return Err(TooDeep);
        }
        if into.len() > limit {
            return Ok(());
        }
        match value {
            Value::List(list) => {
                into.push('[');
                for (index, item) in self.lists[*list].items.iter().enumerate() {
                    into.push_str(if index > 0 { "," } else { "" });
                    self.write_json(item, into, limit, depth + 1)?;
                }
                into.push(']');
            }
            Value::Map(map) => {
                into.push('{');
                for (index, (key, member)) in self.maps[*map].entries().iter().enumerate() {
                    into.push_str(if index > 0 { "," } else { "" });
                    into.push_str(&Json::from(&**key).to_string());
                    into.push(':');
                    self.write_json(member, into, limit, depth + 1)?;
                }
                into.push('}');
            }
            Value::Entry(entry) => {
                let (key, value) = &self.entries[*entry];
                into.push('{');
                into.push_str(&Json::from(&**key).to_string());
                into.push(':');
                self.write_json(value, into, limit, depth + 1)?;
                into.push('}');
            }
            other => into.push_str(&self.to_json(other, 1)?.to_string()),
        }
        Ok(())
    }

    /// Numbers by what they are worth, lists and maps by what they hold, the rest by how it is written.
    pub fn equal(&self, left: &Value, right: &Value, steps: &mut usize) -> Result<bool, TooDeep> {
        self.equal_within(left, right, steps, 0)
    }

    fn equal_within(
        &self,
        left: &Value,
        right: &Value,
        steps: &mut usize,
        depth: usize,
    ) -> Result<bool, TooDeep> {
        if depth > DEPTH_LIMIT || *steps == 0 {
            return Err(TooDeep);
        }
        *steps -= 1;
        Ok(match (left, right) {
            (Value::Null, Value::Null) => true,
            (Value::Absent, other) | (other, Value::Absent) => match other {
                Value::Text(text) => text.is_empty(),
                other => other.is_nothing(),
            },
            (Value::Null, _) | (_, Value::Null) => false,
            (Value::Integer(left), Value::Integer(right)) => left == right,
            (Value::Integer(integer), Value::Float(float))
            | (Value::Float(float), Value::Integer(integer)) => *integer as f64 == *float,
            (Value::Float(left), Value::Float(right)) => left == right,
            (Value::List(left), Value::List(right)) => {
                let (left, right) = (&self.lists[*left].items, &self.lists[*right].items);
                left.len() == right.len() && {
                    for (left, right) in left.iter().zip(right) {
                        if !self.equal_within(left, right, steps, depth + 1)? {
                            return Ok(false);
                        }
                    }
                    true
                }
            }
            (Value::Map(left), Value::Map(right)) => {
                let (left, right) = (&self.maps[*left], &self.maps[*right]);
                left.entries().len() == right.entries().len() && {
                    for (key, left) in left.entries() {
                        let Some(right) = right.get(key) else { return Ok(false) };
                        if !self.equal_within(left, right, steps, depth + 1)? {
                            return Ok(false);
                        }
                    }
                    true
                }
            }
            (Value::List(_) | Value::Map(_), Value::List(_) | Value::Map(_)) => false,
            (Value::Text(left), Value::Text(right)) => left == right,
            (left, right) => {
                let mut texts = [String::new(), String::new()];
                self.write(left, &mut texts[0], *steps)?;
                self.write(right, &mut texts[1], *steps)?;
                texts[0] == texts[1]
            }
        })
    }
}

/// As Java's `Double.toString`.
fn write_float(float: f64, into: &mut String) {
    let magnitude = float.abs();
    if float.is_nan() {
        into.push_str("NaN");
    } else if float.is_infinite() {
        into.push_str(if float > 0.0 { "Infinity" } else { "-Infinity" });
    } else if float == 0.0 || (1e-3..1e7).contains(&magnitude) {
        let _ = write!(into, "{float:?}");
    } else {
        let scientific = format!("{float:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let point = if digits.contains('.') { "" } else { ".0" };
        let _ = write!(into, "{digits}{point}E{exponent}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_java_writes_them() {
        for (float, expected) in [
            (1.0, "1.0"),
            (-0.5, "-0.5"),
            (0.0, "0.0"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (1234567.5, "1234567.5"),
            (1e7, "1.0E7"),
            (1.25e21, "1.25E21"),
        ] {
            let mut text = String::new();
            write_float(float, &mut text);
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn what_holds_itself_is_not_written_for_ever() {
        let mut arena = Arena::default();
        let map = arena.map();
        arena.maps[map].put("self".into(), Value::Map(map));
        assert!(arena.write(&Value::Map(map), &mut String::new(), 1_000_000).is_err());
        assert!(arena.equal(&Value::Map(map), &Value::Map(map), &mut 1000).is_err());
        let list = arena.list(Vec::new(), true);
        let Value::List(index) = list else { panic!() };
        arena.lists[index].items = vec![list.clone(), list.clone()];
        let mut text = String::new();
        let _ = arena.write(&list, &mut text, 10_000);
        assert!(text.len() < 20_000);
        assert!(arena.to_json(&list, 1000).is_err());
    }
}
