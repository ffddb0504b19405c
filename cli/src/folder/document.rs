//! One document: the objects in it and what is wrong with it.
//!
//! Comes in: the text of one piece. Goes out: the typed objects, and a small record of them that the folder keeps, so
//! that the text need not be parsed again until it changes. Lines are found by a second parse, only when there is
//! something to tell.

use super::few::Few;
use super::virtual_service;
use super::yaml::{self, Lines};
use crate::finding::Severity;
use serde_json::Value;
use sluice_crds::{Object, ObjectRef, Parsed};
use std::num::NonZeroU32;

/// What the folder remembers of a document.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) entries: Few<Entry>,
    /// Nearly always absent: a folder has thousands of documents, and few with something to tell.
    remarks: Option<Box<Remarks>>,
}

/// What there is to tell of a document.
#[derive(Debug, Default, PartialEq, Eq)]
struct Remarks {
    mistakes: Vec<Mistake>,
    ignored: Vec<String>,
    spoiled: Spoiled,
}

impl Contents {
    /// Puts shared references in the place of the entries' own.
    pub(super) fn share(&mut self, mut shared: impl FnMut(ObjectRef) -> ObjectRef) {
        let entries = std::mem::take(&mut self.entries).into_vec().into_iter();
        let entries = entries.map(|it| Entry { reference: shared(it.reference), ..it });
        self.entries = entries.collect::<Vec<_>>().into();
    }

    pub(super) fn mistakes(&self) -> impl Iterator<Item = &Mistake> {
        self.remarks.iter().flat_map(|it| &it.mistakes)
    }

    /// Kinds that are not read.
    pub(super) fn ignored(&self) -> impl Iterator<Item = &String> {
        self.remarks.iter().flat_map(|it| &it.ignored)
    }

    pub(super) fn spoiled(&self) -> &Spoiled {
        self.remarks.as_ref().map_or(&Spoiled::Nothing, |it| &it.spoiled)
    }
}

/// One object of a document.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) reference: ObjectRef,
    pub(super) spot: Spot,
}

/// Where in a piece a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spot {
    /// Which document of the piece, from 0; nearly always 0.
    pub(super) document: u32,
    /// Which item, from 1, when the document is a List.
    item: Option<NonZeroU32>,
}

impl Spot {
    fn document(document: u32) -> Self {
        Self { document, item: None }
    }

    fn item_of(document: u32, item: u32) -> Self {
        Self { document, item: NonZeroU32::MIN.checked_add(item) }
    }

    /// Which item, from 0, when the document is a List.
    pub(super) fn item(self) -> Option<u32> {
        self.item.map(|item| item.get() - 1)
    }

    /// The path of a field within the whole document.
    pub(super) fn path(self, field: &str) -> String {
        match self.item() {
            None => field.to_owned(),
            Some(item) if field.is_empty() => format!("items[{item}]"),
            Some(item) => format!("items[{item}].{field}"),
        }
    }
}

/// What is wrong, with its line within the piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) line: u32,
    pub(super) object: String,
    pub(super) field: String,
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) next_step: String,
}

/// Which objects a document failed to define.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Spoiled {
    /// None.
    #[default]
    Nothing,
    /// These.
    Objects(Vec<ObjectRef>),
    /// Nobody can tell.
    Unknown,
}

impl Spoiled {
    fn add(&mut self, reference: Option<ObjectRef>) {
        match (std::mem::take(self), reference) {
            (Self::Unknown, _) | (_, None) => *self = Self::Unknown,
            (Self::Nothing, Some(one)) => *self = Self::Objects(vec![one]),
            (Self::Objects(mut many), Some(one)) => {
                many.push(one);
                *self = Self::Objects(many);
            }
        }
    }
}

/// Reads the text of one piece. The objects stand in the order of `Contents::entries`.
pub(super) fn read(text: &str, namespace: &str) -> (Contents, Vec<Object>) {
    let mut reader = Reader {
        text,
        namespace,
        lines: None,
        entries: Vec::new(),
        remarks: Remarks::default(),
        objects: Vec::new(),
    };
    match yaml::parse(text) {
        Ok(documents) => reader.documents(documents),
        Err(error) => {
            reader.remarks.spoiled = Spoiled::Unknown;
            reader.remarks.mistakes.push(Mistake {
                line: error.line,
                object: String::new(),
                field: String::new(),
                severity: Severity::Error,
                message: error.message,
                next_step: "nothing of this document is used".to_owned(),
            });
        }
    }
    let Reader { entries, remarks, objects, .. } = reader;
    let remarks = (remarks != Remarks::default()).then(|| Box::new(remarks));
    (Contents { entries: entries.into(), remarks }, objects)
}

/// The object at one spot of a text, if it is still there.
pub(super) fn object_at(text: &str, spot: Spot, namespace: &str) -> Option<Object> {
    let (contents, objects) = read(text, namespace);
    contents.entries.iter().zip(objects).find(|(entry, _)| entry.spot == spot).map(|(_, object)| object)
}

struct Reader<'a> {
    text: &'a str,
    namespace: &'a str,
    /// Of each document, once they are needed.
    lines: Option<Vec<Lines>>,
    entries: Vec<Entry>,
    remarks: Remarks,
    objects: Vec<Object>,
}

impl Reader<'_> {
    fn documents(&mut self, documents: Vec<Value>) {
        for (document, value) in (0..).zip(documents) {
            match value {
                Value::Null => {}
                Value::Object(mut fields) if is_list(&fields) => {
                    let items = fields.remove("items").map(|items| match items {
                        Value::Array(items) => items,
                        one => vec![one],
                    });
                    for (item, value) in (0..).zip(items.into_iter().flatten()) {
                        self.value(value, Spot::item_of(document, item));
                    }
                }
                value => self.value(value, Spot::document(document)),
            }
        }
    }

    fn value(&mut self, value: Value, spot: Spot) {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if virtual_service::is(text("/apiVersion"), text("/kind")) {
            let object = format!("VirtualService {}", text("/metadata/name"));
            self.legacy(&object, &value, spot);
        }
        match Object::parse(value, self.namespace) {
            Ok(Parsed::Ignored { kind, .. }) => self.remarks.ignored.push(kind),
            Ok(parsed) => self.known(parsed, spot),
            Err(error) => {
                let object = error.object.as_ref().map(ToString::to_string).unwrap_or_default();
                let next_step = "the object is not used until this is right";
                self.tell(spot, Severity::Error, object, error.path, error.message, next_step);
                self.remarks.spoiled.add(error.object);
            }
        }
    }

    /// An object with fields that nobody reads is refused, as `kubectl apply` does: without a misspelt `matches` a
    /// rule takes every request.
    fn known(&mut self, parsed: Parsed, spot: Spot) {
        let guess = |field: &str| parsed.suggestion(field);
        let Parsed::Known { unknown_fields, .. } = &parsed else { return };
        let unknown: Vec<_> = unknown_fields.iter().map(|field| (field.clone(), guess(field))).collect();
        let Parsed::Known { object, .. } = parsed else { return };
        let reference = object.reference();
        for (field, guess) in &unknown {
            let name = field.rsplit('.').next().unwrap_or(field);
            let message = match guess {
                Some(guess) => format!("unknown field {name:?}, did you mean {guess:?}?"),
                None => format!("unknown field {name:?}"),
            };
            let next_step = "the object is not used until this is right";
            self.tell(spot, Severity::Error, reference.to_string(), field.clone(), message, next_step);
        }
        if unknown.is_empty() {
            self.entries.push(Entry { reference, spot });
            self.objects.push(object);
        } else {
            self.remarks.spoiled.add(Some(reference));
        }
    }

    /// What the fields of a VirtualService are called in Gateway API.
    fn legacy(&mut self, object: &str, value: &Value, spot: Spot) {
        let message = "is not served: Gateway API's routes take its place".to_owned();
        let next_step = "see the notes on its fields";
        self.tell(spot, Severity::Warning, object.to_owned(), String::new(), message, next_step);
        for way in virtual_service::ways(value) {
            let message = "has no effect".to_owned();
            self.tell(spot, Severity::Note, object.to_owned(), way.field, message, way.instead);
        }
    }

    fn tell(
        &mut self,
        spot: Spot,
        severity: Severity,
        object: String,
        field: String,
        message: String,
        next_step: &str,
    ) {
        let text = self.text;
        let lines = self.lines.get_or_insert_with(|| {
            let documents = yaml::parse_with_lines(text).unwrap_or_default();
            documents.into_iter().map(|(_, lines)| lines).collect()
        });
        let lines = lines.get(spot.document as usize);
        self.remarks.mistakes.push(Mistake {
            line: lines.map_or(1, |lines| lines.of(&spot.path(&field)).unwrap_or_else(|| lines.start())),
            object,
            field,
            severity,
            message,
            next_step: next_step.to_owned(),
        });
    }
}

/// `kind: List`, or `kind: HTTPRouteList` as `kubectl get -o yaml` may print.
fn is_list(fields: &serde_json::Map<String, Value>) -> bool {
    let kind = fields.get("kind").and_then(Value::as_str).unwrap_or_default();
    kind.ends_with("List") && fields.contains_key("items")
}
