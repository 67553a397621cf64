//! What can be done with texts, numbers, lists and maps: the methods of Java's that templates use.

use std::rc::Rc;

use super::evaluate::{Failure, Renderer};
use super::value::Value;
use crate::gateway::mapping::pattern;

/// Of anything; what is not here is refused when the template is read.
pub const KNOWN: [&str; 57] = [
    "add",
    "addAll",
    "charAt",
    "clear",
    "compareTo",
    "concat",
    "contains",
    "containsKey",
    "containsValue",
    "doubleValue",
    "endsWith",
    "entrySet",
    "equals",
    "equalsIgnoreCase",
    "get",
    "getCount",
    "getIndex",
    "getKey",
    "getOrDefault",
    "getValue",
    "hasNext",
    "indexOf",
    "intValue",
    "isEmpty",
    "isFirst",
    "isLast",
    "keySet",
    "lastIndexOf",
    "length",
    "longValue",
    "matches",
    "parseDouble",
    "parseInt",
    "put",
    "putAll",
    "remove",
    "replace",
    "replaceAll",
    "replaceFirst",
    "set",
    "size",
    "split",
    "startsWith",
    "subList",
    "substring",
    "toLowerCase",
    "toString",
    "toUpperCase",
    "trim",
    "strip",
    "valueOf",
    "values",
    "putIfAbsent",
    "isBlank",
    "compareToIgnoreCase",
    "parseLong",
    "parseBoolean",
];

pub const UTIL: [&str; 6] =
    ["escapeJavaScript", "parseJson", "urlEncode", "urlDecode", "base64Encode", "base64Decode"];

pub const INPUT: [&str; 3] = ["json", "path", "params"];

/// What a byte costs that a regular expression has made, measured in bytes that are copied.
const REGEX_COST: usize = 8;

/// A method of a value; one that this kind of value has not means nothing.
pub fn call(
    renderer: &mut Renderer<'_>,
    target: &Value,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Failure> {
    match (name, arguments) {
        ("toString", []) => return Ok(Value::text(renderer.written(target)?)),
        ("equals", [other]) => return Ok(Value::Bool(renderer.equal(target, other)?)),
        _ => {}
    }
    match target {
        Value::Text(text) => of_text(renderer, text, name, arguments),
        // What AWS writes as nothing can be asked like an empty text.
        Value::Absent => of_text(renderer, "", name, arguments),
        Value::Integer(_) | Value::Float(_) | Value::Bool(_) => of_number(target, name, arguments),
        Value::List(list) => of_list(renderer, *list, name, arguments),
        Value::Map(map) => of_map(renderer, *map, name, arguments),
        Value::Entry(entry) => {
            let (key, value) = &renderer.arena.entries[*entry];
            Ok(match (name, arguments) {
                ("getKey", []) => Value::Text(key.clone()),
                ("getValue", []) => value.clone(),
                _ => Value::Null,
            })
        }
        Value::Null => Ok(Value::Null),
    }
}

fn of_text(
    renderer: &mut Renderer<'_>,
    text: &str,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Failure> {
    renderer.charge(text.len())?;
    let written: Vec<String> =
        arguments.iter().map(|argument| renderer.written(argument)).collect::<Result<_, _>>()?;
    let texts: Vec<&str> = written.iter().map(String::as_str).collect();
    let position =
        |index: Option<usize>| Value::Integer(index.map_or(-1, |index| units(&text[..index]) as i64));
    Ok(match (name, &texts[..]) {
        ("length", []) => Value::Integer(units(text) as i64),
        ("isEmpty", []) => Value::Bool(text.is_empty()),
        ("isBlank", []) => Value::Bool(text.trim().is_empty()),
        ("toLowerCase", []) => Value::text(text.to_lowercase()),
        ("toUpperCase", []) => Value::text(text.to_uppercase()),
        ("trim", []) => Value::text(text.trim_matches(|c| c <= ' ')),
        ("strip", []) => Value::text(text.trim()),
        ("contains", [other]) => Value::Bool(text.contains(other)),
        ("startsWith", [other]) => Value::Bool(text.starts_with(other)),
        ("endsWith", [other]) => Value::Bool(text.ends_with(other)),
        ("equalsIgnoreCase", [other]) => Value::Bool(text.to_lowercase() == other.to_lowercase()),
        ("compareTo", [other]) => Value::Integer(compare(text, other)),
        ("compareToIgnoreCase", [other]) => {
            Value::Integer(compare(&text.to_lowercase(), &other.to_lowercase()))
        }
        ("indexOf", [other]) => position(text.find(other)),
        ("lastIndexOf", [other]) => position(text.rfind(other)),
        ("concat", [other]) => {
            renderer.charge(other.len())?;
            Value::text(format!("{text}{other}"))
        }
        ("charAt", [_]) => {
            let at = whole(&arguments[0]).ok_or_else(|| wrong(name))?;
            slice(text, at, at.saturating_add(1))?
        }
        ("substring", [_]) => {
            let from = whole(&arguments[0]).ok_or_else(|| wrong(name))?;
            slice(text, from, units(text) as i64)?
        }
        ("substring", [_, _]) => {
            let from = whole(&arguments[0]).ok_or_else(|| wrong(name))?;
            let to = whole(&arguments[1]).ok_or_else(|| wrong(name))?;
            slice(text, from, to)?
        }
        ("replace", [from, to]) => {
            let times = text.matches(from).count();
            renderer.charge(times.saturating_mul(to.len()))?;
            Value::text(text.replace(from, to))
        }
        ("replaceAll" | "replaceFirst", [expression, replacement]) => {
            let regex = renderer.regex(expression)?;
            let limit = renderer.bytes_left() / REGEX_COST;
            let replaced = pattern::replace(&regex, text, replacement, name == "replaceAll", limit)?;
            renderer.charge(replaced.len().saturating_mul(REGEX_COST))?;
            Value::text(replaced)
        }
        ("matches", [expression]) => {
            let regex = renderer.regex(&format!(r"\A(?:{expression})\z"))?;
            Value::Bool(regex.is_match(text))
        }
        ("split", [expression] | [expression, _]) => {
            let regex = renderer.regex(expression)?;
            let limit = arguments.get(1).and_then(whole).unwrap_or(0);
            let parts: Vec<Value> =
                pattern::split(&regex, text, limit).into_iter().map(Value::text).collect();
            renderer.spend(parts.len())?;
            renderer.charge(parts.len() * 32)?;
            renderer.arena.list(parts, false)
        }
        ("valueOf", [other]) => Value::text(*other),
        _ => Value::Null,
    })
}

/// Java counts in UTF-16.
fn units(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

fn compare(left: &str, right: &str) -> i64 {
    let mut left = left.encode_utf16();
    let mut right = right.encode_utf16();
    loop {
        return match (left.next(), right.next()) {
            (None, None) => 0,
            (Some(one), Some(other)) if one == other => continue,
            (Some(one), Some(other)) => i64::from(one) - i64::from(other),
            (Some(_), None) => 1 + left.count() as i64,
            (None, Some(_)) => -1 - right.count() as i64,
        };
    }
}

fn slice(text: &str, from: i64, to: i64) -> Result<Value, Failure> {
    let length = units(text);
    let bounds = usize::try_from(from).ok().zip(usize::try_from(to).ok());
    let Some((from, to)) = bounds.filter(|(from, to)| from <= to && *to <= length) else {
        return Err(Failure::because(format!(
            "the range {from} to {to} is not in a text of {length} characters"
        )));
    };
    if text.is_ascii() {
        return Ok(Value::text(&text[from..to]));
    }
    let units: Vec<u16> = text.encode_utf16().skip(from).take(to - from).collect();
    Ok(Value::text(String::from_utf16_lossy(&units)))
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(integer) => Some(*integer),
        _ => None,
    }
}

fn wrong(method: &str) -> Failure {
    Failure::because(format!("`{method}` takes whole numbers"))
}

fn of_number(target: &Value, name: &str, arguments: &[Value]) -> Result<Value, Failure> {
    let float = match target {
        Value::Integer(integer) => *integer as f64,
        Value::Float(float) => *float,
        _ => f64::NAN,
    };
    let whole = match target {
        Value::Integer(integer) => *integer,
        _ => float as i64,
    };
    Ok(match (name, arguments) {
        ("intValue", []) if !matches!(target, Value::Bool(_)) => Value::Integer(i64::from(whole as i32)),
        ("longValue", []) if !matches!(target, Value::Bool(_)) => Value::Integer(whole),
        ("doubleValue", []) if !matches!(target, Value::Bool(_)) => Value::Float(float),
        ("compareTo", [Value::Integer(other)]) => Value::Integer(whole.cmp(other) as i64),
        ("compareTo", [Value::Float(other)]) => {
            Value::Integer(float.partial_cmp(other).map_or(0, |ordering| ordering as i64))
        }
        // Java's static methods, asked of any number at hand.
        ("parseInt" | "parseLong" | "valueOf", [Value::Text(text)])
            if matches!(target, Value::Integer(_)) =>
        {
            let parsed = text.parse().map(Value::Integer);
            parsed.map_err(|_| Failure::because(format!("`{text}` is no whole number")))?
        }
        ("parseDouble" | "valueOf", [Value::Text(text)]) if matches!(target, Value::Float(_)) => {
            let parsed = text.trim().parse().map(Value::Float);
            parsed.map_err(|_| Failure::because(format!("`{text}` is no number")))?
        }
        ("parseBoolean" | "valueOf", [Value::Text(text)]) if matches!(target, Value::Bool(_)) => {
            Value::Bool(text.eq_ignore_ascii_case("true"))
        }
        ("valueOf", [value @ (Value::Integer(_) | Value::Float(_) | Value::Bool(_))]) => value.clone(),
        _ => Value::Null,
    })
}

fn of_list(
    renderer: &mut Renderer<'_>,
    list: usize,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Failure> {
    let length = renderer.arena.lists[list].items.len();
    let place = |value: &Value, limit: usize| {
        whole(value)
            .and_then(|index| usize::try_from(index).ok())
            .filter(|index| *index < limit)
            .ok_or_else(|| Failure::because(format!("there is no such place in a list of {length}")))
    };
    Ok(match (name, arguments) {
        ("size", []) => Value::Integer(length as i64),
        ("isEmpty", []) => Value::Bool(length == 0),
        ("get", [index]) => renderer.arena.lists[list].items[place(index, length)?].clone(),
        ("add", [value]) => {
            renderer.charge(32)?;
            renderer.arena.lists[list].items.push(value.clone());
            Value::Bool(true)
        }
        ("add", [index, value]) => {
            let place = place(index, length + 1)?;
            renderer.spend(length / 64)?;
            renderer.charge(32)?;
            renderer.arena.lists[list].items.insert(place, value.clone());
            Value::Null
        }
        ("addAll", [other]) => {
            let more = renderer.items(other)?;
            renderer.charge(more.len() * 32)?;
            let changed = !more.is_empty();
            renderer.arena.lists[list].items.extend(more);
            Value::Bool(changed)
        }
        ("set", [index, value]) => {
            let place = place(index, length)?;
            std::mem::replace(&mut renderer.arena.lists[list].items[place], value.clone())
        }
        ("remove", [index @ Value::Integer(_)]) => {
            let place = place(index, length)?;
            renderer.spend(length / 64)?;
            renderer.arena.lists[list].items.remove(place)
        }
        ("remove", [value]) => match find(renderer, list, value)? {
            Some(place) => {
                renderer.arena.lists[list].items.remove(place);
                Value::Bool(true)
            }
            None => Value::Bool(false),
        },
        ("contains", [value]) => Value::Bool(find(renderer, list, value)?.is_some()),
        ("indexOf", [value]) => Value::Integer(find(renderer, list, value)?.map_or(-1, |place| place as i64)),
        ("subList", [from, to]) => {
            let (from, to) = (place(from, length + 1)?, place(to, length + 1)?);
            if from > to {
                return Err(Failure::because("a part of a list ends before it begins".to_owned()));
            }
            renderer.spend(to - from)?;
            renderer.charge((to - from) * 32)?;
            let (items, is_json) = {
                let list = &renderer.arena.lists[list];
                (list.items[from..to].to_vec(), list.is_json)
            };
            renderer.arena.list(items, is_json)
        }
        ("clear", []) => {
            renderer.arena.lists[list].items.clear();
            Value::Null
        }
        _ => Value::Null,
    })
}

fn find(renderer: &mut Renderer<'_>, list: usize, wanted: &Value) -> Result<Option<usize>, Failure> {
    for index in 0..renderer.arena.lists[list].items.len() {
        let item = renderer.arena.lists[list].items[index].clone();
        if renderer.equal(&item, wanted)? {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

fn of_map(
    renderer: &mut Renderer<'_>,
    map: usize,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Failure> {
    let size = renderer.arena.maps[map].entries().len();
    if matches!(name, "keySet" | "values" | "entrySet" | "putAll" | "containsValue" | "remove") {
        renderer.spend(size)?;
        renderer.charge(size * 32)?;
    }
    let key = match arguments.first() {
        Some(key) if !matches!(name, "putAll" | "containsValue") => Rc::<str>::from(renderer.written(key)?),
        _ => Rc::default(),
    };
    let target = &mut renderer.arena.maps[map];
    let list = |renderer: &mut Renderer<'_>, items: Vec<Value>| renderer.arena.list(items, false);
    Ok(match (name, arguments) {
        ("size", []) => Value::Integer(size as i64),
        ("isEmpty", []) => Value::Bool(size == 0),
        ("get", [_]) => target.get(&key).cloned().unwrap_or(Value::Null),
        ("getOrDefault", [_, otherwise]) => target.get(&key).unwrap_or(otherwise).clone(),
        ("containsKey", [_]) => Value::Bool(target.get(&key).is_some()),
        ("put", [_, value]) => {
            let former = target.put(key.clone(), value.clone());
            renderer.charge(key.len() + 64)?;
            former.unwrap_or(Value::Null)
        }
        ("putIfAbsent", [_, value]) => match target.get(&key).cloned() {
            Some(there) if !there.is_nothing() => there,
            _ => {
                target.put(key.clone(), value.clone());
                renderer.charge(key.len() + 64)?;
                Value::Null
            }
        },
        ("remove", [_]) => target.remove(&key).unwrap_or(Value::Null),
        ("clear", []) => {
            target.clear();
            Value::Null
        }
        ("putAll", [Value::Map(other)]) => {
            let more = renderer.arena.maps[*other].entries().to_vec();
            renderer.spend(more.len())?;
            renderer.charge(more.len() * 64)?;
            for (key, value) in more {
                renderer.arena.maps[map].put(key, value);
            }
            Value::Null
        }
        ("keySet", []) => {
            let keys = target.entries().iter().map(|(key, _)| Value::Text(key.clone())).collect();
            list(renderer, keys)
        }
        ("values", []) => {
            let values = target.entries().iter().map(|(_, value)| value.clone()).collect();
            list(renderer, values)
        }
        ("entrySet", []) => {
            let entries = target.entries().to_vec();
            let entries = entries.into_iter().map(|(key, value)| renderer.arena.entry(key, value)).collect();
            list(renderer, entries)
        }
        ("containsValue", [wanted]) => {
            let values: Vec<Value> = target.entries().iter().map(|(_, value)| value.clone()).collect();
            for value in values {
                if renderer.equal(&value, wanted)? {
                    return Ok(Value::Bool(true));
                }
            }
            Value::Bool(false)
        }
        // `$foreach` is such a map.
        ("hasNext", []) => target.get("hasNext").cloned().unwrap_or(Value::Null),
        ("getIndex", []) => target.get("index").cloned().unwrap_or(Value::Null),
        ("getCount", []) => target.get("count").cloned().unwrap_or(Value::Null),
        ("isFirst", []) => target.get("first").cloned().unwrap_or(Value::Null),
        ("isLast", []) => target.get("last").cloned().unwrap_or(Value::Null),
        _ => Value::Null,
    })
}
