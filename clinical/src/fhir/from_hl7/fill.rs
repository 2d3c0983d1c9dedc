//! Fills a resource from the rows of a map.

use super::Writer;
use super::convert::Asked;
use super::table::{Condition, Row, Source, Step, rows};
use crate::fhir::common::{coding, concept};
use crate::fhir::json::{self, Json, Object};
use crate::hl7::{Part, Segment};

/// Of one field: more are kept as they were sent, for to tell equal ones takes time that grows with the square.
pub(super) const REPETITIONS_MAX: usize = 1_000;

/// Which item of a repeating element belongs to which label and repetition.
type Labels = Vec<((&'static str, &'static str, &'static str, usize), usize)>;

impl<'m> Writer<'m> {
    /// Adds to `into` what the map `name` makes of `segment`; `resource` is a type or a part of one.
    pub(super) fn fill(
        &mut self,
        into: &mut Object<'m>,
        segment: Segment<'m>,
        name: &'static str,
        resource: &'static str,
    ) {
        let mut labels = Labels::new();
        for row in rows(name, resource) {
            if row.condition.as_ref().is_some_and(|c| !holds(c, segment)) {
                continue;
            }
            match &row.source {
                Source::Constant(system, code) => {
                    let times = match row.field {
                        0 => 1,
                        field => segment
                            .field(field)
                            .into_iter()
                            .flat_map(|f| f.repetitions())
                            .take(REPETITIONS_MAX)
                            .count(),
                    };
                    for repetition in 0..times {
                        // A constant speaks of a value: without that it would stand alone.
                        if row.field == 0 || speaks(&labels, row, segment, repetition) {
                            let value = constant(row.target, system, code);
                            place(into, &row.path, repetition, value, &mut labels, "");
                        }
                    }
                }
                Source::Value { .. } if segment.valued(row.field).is_none() => {}
                Source::Value { type_, hint, concepts } => {
                    let asked = Asked { type_, hint, concepts: *concepts, row, segment };
                    for (repetition, part) in parts(segment, row, type_) {
                        let value = self.convert(&asked, part);
                        place(into, &row.path, repetition, value, &mut labels, "");
                    }
                }
            }
        }
    }
}

/// Whether the map may make something of the segment: one of its fields says something.
pub(super) fn adds(segment: Segment<'_>, rows: &[Row]) -> bool {
    rows.iter().any(|row| row.field == 0 || segment.valued(row.field).is_some())
}

/// The repetitions of the row's field (or one component of each) that say something, numbered from 0.
fn parts<'m>(segment: Segment<'m>, row: &Row, type_: &str) -> impl Iterator<Item = (usize, Part<'m>)> {
    let component = row.component;
    let whole = type_ == "LINES";
    let field = segment.field(row.field);
    let lines = field.filter(|_| whole).map(|f| (0, f));
    let each =
        field.filter(|_| !whole).into_iter().flat_map(|f| f.repetitions()).take(REPETITIONS_MAX).enumerate();
    let each = each.filter_map(move |(at, part)| {
        Some((at, if component == 0 { part } else { part.component(component)? }))
    });
    lines.into_iter().chain(each).filter(|(_, part)| part.has_value())
}

fn holds(condition: &Condition, segment: Segment<'_>) -> bool {
    let field = segment.valued(condition.field);
    let part = match condition.component {
        0 => field,
        n => field.and_then(|f| f.component(n)).filter(Part::has_value),
    };
    let holds = match (part, condition.values.is_empty()) {
        (None, _) => false,
        (Some(_), true) => true,
        (Some(part), false) => part.component(1).is_some_and(|p| condition.values.contains(&p.text().trim())),
    };
    holds != condition.unless
}

/// Whether the item that a labelled constant speaks of was written, or else its field says something.
fn speaks(labels: &Labels, row: &Row, segment: Segment<'_>, repetition: usize) -> bool {
    let labelled = row.path.iter().find_map(|step| Some((step.name, step.label?)));
    let Some((name, label)) = labelled else { return segment.valued(row.field).is_some() };
    labels.iter().any(|((_, n, l, r), _)| *n == name && *l == label && *r == repetition)
}

fn constant(target: &str, system: &'static str, code: &'static str) -> Json<'static> {
    match target {
        "CodeableConcept" => concept(coding(system, code, ""), ""),
        "Coding" => coding(system, code, ""),
        _ => json::text(code),
    }
}

/// Puts `value` where the steps lead. What is filled already stays.
fn place<'m>(
    object: &mut Object<'m>,
    steps: &'static [Step],
    repetition: usize,
    value: Json<'m>,
    labels: &mut Labels,
    parent: &'static str,
) {
    let Some((step, rest)) = steps.split_first() else { return };
    if json::is_empty(&value) || is_taken(object, step) {
        return;
    }
    if rest.is_empty() && !step.many {
        if object.get(step.name).is_none() {
            object.members.push((step.name.into(), value));
        }
        return;
    }
    let member = object.member(step.name, if step.many { Json::Array(vec![]) } else { json::object([]) });
    match member {
        Json::Object(inner) => place(inner, rest, repetition, value, labels, parent),
        Json::Array(items) if rest.is_empty() && items.contains(&value) => {}
        Json::Array(items) if rest.is_empty() => items.push(value),
        Json::Array(items) => {
            let item = item(items, step, repetition, labels, parent);
            if let Json::Object(inner) = item {
                place(inner, rest, repetition, value, labels, step.label.unwrap_or_default());
            }
        }
        _ => {}
    }
}

/// Another choice of the same `[x]` is there.
fn is_taken(object: &Object<'_>, step: &Step) -> bool {
    let Some(choice) = step.choice else { return false };
    object.members.iter().any(|(key, _)| {
        let suffix = key.strip_prefix(choice);
        **key != *step.name && suffix.is_some_and(|s| s.starts_with(|c: char| c.is_ascii_uppercase()))
    })
}

/// The item that a step further up leads through.
fn item<'j, 'm>(
    items: &'j mut Vec<Json<'m>>,
    step: &'static Step,
    repetition: usize,
    labels: &mut Labels,
    parent: &'static str,
) -> &'j mut Json<'m> {
    let at = match step.label {
        None => 0,
        Some(label) => {
            let key = (parent, step.name, label, repetition);
            match labels.iter().find(|(k, _)| *k == key) {
                Some((_, at)) => *at,
                None => {
                    labels.push((key, items.len()));
                    items.len()
                }
            }
        }
    };
    if at >= items.len() {
        let url = step.url.as_deref().map_or(Json::Null, json::text);
        items.push(json::object([("url", url)]));
    }
    let last = items.len() - 1;
    &mut items[at.min(last)]
}
