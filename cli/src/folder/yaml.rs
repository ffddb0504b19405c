//! One YAML or JSON document (JSON is YAML) to a [`Value`], with the line of every field when asked.
//!
//! Scalars follow the core schema of YAML 1.2. Aliases and `<<` are expanded, within a bound on the number of nodes, so
//! that a few lines can't grow into gigabytes. A key that stands twice in a mapping is an error: the second value
//! would silently win.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Nodes of one document after expanding aliases.
const MOST_NODES: usize = 500_000;
/// Nesting of one document.
const MOST_DEPTH: usize = 100;

/// Why a document can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct SyntaxError {
    /// From 1, within the text that was given.
    pub(super) line: u32,
    pub(super) message: String,
}

/// The line of each field, by its path: `spec.rules[0].name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines(HashMap<String, u32>);

impl Lines {
    /// The line of `path`, or of its nearest ancestor that stands in the document; from 1, within the text.
    pub(super) fn of(&self, path: &str) -> Option<u32> {
        let mut path = path;
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            let cut = path.rfind(['.', '['])?;
            path = path.get(..cut)?;
        }
    }

    /// The line on which the document's first node stands.
    pub(super) fn start(&self) -> u32 {
        self.0.get("").copied().unwrap_or(1)
    }
}

/// The values of a text (usually one; documents can also be parted by `...`).
pub(super) fn parse(text: &str) -> Result<Vec<Value>, SyntaxError> {
    let mut builder = Builder::new(false);
    builder.read(text)?;
    Ok(builder.documents.into_iter().map(|(value, _)| value).collect())
}

/// The same with the line of every field.
pub(super) fn parse_with_lines(text: &str) -> Result<Vec<(Value, Lines)>, SyntaxError> {
    let mut builder = Builder::new(true);
    builder.read(text)?;
    Ok(builder.documents)
}

/// A value whose end has not come yet.
enum Open {
    Sequence {
        items: Vec<Value>,
        anchor: usize,
        nodes_before: usize,
    },
    Mapping {
        fields: Map<String, Value>,
        key: Option<String>,
        merged: Vec<Value>,
        anchor: usize,
        nodes_before: usize,
    },
}

struct Builder {
    wants_lines: bool,
    documents: Vec<(Value, Lines)>,
    stack: Vec<Open>,
    /// Path of the node that comes next; parallel to the stack, each entry is the length before its segment.
    path: String,
    path_lengths: Vec<usize>,
    lines: Lines,
    nodes: usize,
    /// Value and node count of each anchor of the document.
    anchors: HashMap<usize, (Value, usize)>,
}

impl Builder {
    fn new(wants_lines: bool) -> Self {
        Self {
            wants_lines,
            documents: Vec::new(),
            stack: Vec::new(),
            path: String::new(),
            path_lengths: Vec::new(),
            lines: Lines::default(),
            nodes: 0,
            anchors: HashMap::new(),
        }
    }

    fn read(&mut self, text: &str) -> Result<(), SyntaxError> {
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| {
                at_line(error.marker().line(), format!("not valid YAML: {}", error.info()))
            })?;
            self.event(event, span)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let line = span.start.line();
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
            Event::DocumentEnd => self.anchors.clear(),
            Event::Scalar(text, style, anchor, tag) => {
                if self.wants_key() {
                    return self.key(text.into_owned(), line);
                }
                let is_string =
                    tag.as_ref().is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                let plain = style == ScalarStyle::Plain && !is_string;
                let value = if plain { resolve(&text) } else { Value::String(text.into_owned()) };
                self.enter(line, 1)?;
                self.anchor(anchor, &value, 1);
                self.finish(value, line)?;
            }
            Event::Alias(anchor) => {
                let (value, nodes) = self
                    .anchors
                    .get(&anchor)
                    .cloned()
                    .ok_or_else(|| at_line(line, "an alias stands within its own anchor".to_owned()))?;
                self.enter(line, nodes)?;
                self.finish(value, line)?;
            }
            Event::SequenceStart(anchor, _) => {
                self.enter(line, 1)?;
                self.open(Open::Sequence { items: Vec::new(), anchor, nodes_before: self.nodes }, line)?;
            }
            Event::MappingStart(anchor, _) => {
                self.enter(line, 1)?;
                let (fields, merged) = (Map::new(), Vec::new());
                self.open(
                    Open::Mapping { fields, key: None, merged, anchor, nodes_before: self.nodes },
                    line,
                )?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(line)?,
        }
        Ok(())
    }

    fn wants_key(&self) -> bool {
        matches!(self.stack.last(), Some(Open::Mapping { key: None, .. }))
    }

    fn key(&mut self, name: String, line: usize) -> Result<(), SyntaxError> {
        let Some(Open::Mapping { fields, key, .. }) = self.stack.last_mut() else { return Ok(()) };
        if fields.contains_key(&name) {
            return Err(at_line(line, format!("the key {name:?} stands twice in one mapping")));
        }
        if self.wants_lines {
            let length = self.path_lengths.last().copied().unwrap_or_default();
            self.path.truncate(length);
            if length > 0 {
                self.path.push('.');
            }
            self.path.push_str(&name);
            self.lines.0.insert(self.path.clone(), line_number(line));
        }
        *key = Some(name);
        Ok(())
    }

    /// Counts a value that begins here and notes its line.
    fn enter(&mut self, line: usize, nodes: usize) -> Result<(), SyntaxError> {
        if self.wants_key() {
            return Err(at_line(line, "a key must be a plain text".to_owned()));
        }
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MOST_NODES {
            return Err(at_line(line, format!("the document has more than {MOST_NODES} values")));
        }
        if self.wants_lines {
            if let Some(Open::Sequence { items, .. }) = self.stack.last() {
                let length = self.path_lengths.last().copied().unwrap_or_default();
                let index = items.len();
                self.path.truncate(length);
                self.path.push_str(&format!("[{index}]"));
            }
            self.lines.0.entry(self.path.clone()).or_insert(line_number(line));
        }
        Ok(())
    }

    fn open(&mut self, open: Open, line: usize) -> Result<(), SyntaxError> {
        if self.stack.len() >= MOST_DEPTH {
            return Err(at_line(line, format!("more than {MOST_DEPTH} levels of nesting")));
        }
        self.stack.push(open);
        self.path_lengths.push(self.path.len());
        Ok(())
    }

    fn close(&mut self, line: usize) -> Result<(), SyntaxError> {
        let Some(open) = self.stack.pop() else { return Ok(()) };
        if let Some(length) = self.path_lengths.pop() {
            self.path.truncate(length);
        }
        let (value, anchor, nodes_before) = match open {
            Open::Sequence { items, anchor, nodes_before } => (Value::Array(items), anchor, nodes_before),
            Open::Mapping { mut fields, merged, anchor, nodes_before, .. } => {
                for (key, value) in merged.into_iter().filter_map(into_fields).flatten() {
                    fields.entry(key).or_insert(value);
                }
                (Value::Object(fields), anchor, nodes_before)
            }
        };
        let nodes = 1 + self.nodes.saturating_sub(nodes_before);
        self.anchor(anchor, &value, nodes);
        self.finish(value, line)
    }

    /// The parser numbers anchors from 1; 0 is none.
    fn anchor(&mut self, anchor: usize, value: &Value, nodes: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), nodes));
        }
    }

    /// Puts a whole value where it belongs.
    fn finish(&mut self, value: Value, line: usize) -> Result<(), SyntaxError> {
        match self.stack.last_mut() {
            None => {
                self.documents.push((value, std::mem::take(&mut self.lines)));
                self.path.clear();
                self.nodes = 0;
            }
            Some(Open::Sequence { items, .. }) => items.push(value),
            Some(Open::Mapping { fields, key, merged, .. }) => match key.take() {
                Some(key) if key == "<<" => match value {
                    Value::Array(many) => merged.extend(many),
                    one => merged.push(one),
                },
                Some(key) => drop(fields.insert(key, value)),
                None => return Err(at_line(line, "a key must be a plain text".to_owned())),
            },
        }
        Ok(())
    }
}

fn into_fields(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(fields) => Some(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    }
}

/// A plain scalar by the core schema (YAML 1.2.2 §10.3.2).
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let starts_numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    if !starts_numeric {
        return Value::String(text.to_owned());
    }
    let number = text.strip_prefix('+').unwrap_or(text);
    let whole = match (number.strip_prefix("0x"), number.strip_prefix("0o")) {
        (Some(hexadecimal), _) => i64::from_str_radix(hexadecimal, 16).ok(),
        (_, Some(octal)) => i64::from_str_radix(octal, 8).ok(),
        (None, None) => number.parse().ok(),
    };
    if let Some(whole) = whole {
        return whole.into();
    }
    if let Ok(whole) = number.parse::<u64>() {
        return whole.into();
    }
    let is_decimal = number.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'))
        && number.chars().any(|c| c.is_ascii_digit());
    let decimal = if is_decimal { number.parse::<f64>().ok() } else { None };
    match decimal.and_then(serde_json::Number::from_f64) {
        Some(decimal) => Value::Number(decimal),
        None => Value::String(text.to_owned()),
    }
}

fn at_line(line: usize, message: String) -> SyntaxError {
    SyntaxError { line: line_number(line), message }
}

fn line_number(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests;
