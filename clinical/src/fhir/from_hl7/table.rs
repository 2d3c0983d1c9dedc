//! `maps.txt`, read once and joined with R4's element table: what a field becomes, and where.

use std::sync::LazyLock;

use rustc_hash::FxHashMap as HashMap;

use crate::fhir::schema;

const CORE: &str = "http://hl7.org/fhir/StructureDefinition/";
const TERMINOLOGY: &str = "http://terminology.hl7.org/CodeSystem/";

/// One row: a field, and the element that takes it.
#[derive(Debug)]
pub(super) struct Row {
    /// 0: the row does not depend on a field (`*`).
    pub(super) field: usize,
    /// 0: the whole field.
    pub(super) component: usize,
    pub(super) source: Source,
    pub(super) path: Vec<Step>,
    /// FHIR type of the last step.
    pub(super) target: &'static str,
    pub(super) condition: Option<Condition>,
}

#[derive(Debug)]
pub(super) enum Source {
    /// The field's v2 type, what stands behind `:` or `/`, the concept map.
    Value { type_: &'static str, hint: &'static str, concepts: Option<&'static str> },
    /// Code system (empty for a plain code or text), code.
    Constant(String, &'static str),
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) name: &'static str,
    /// The choice this member is one of (`value` for `valueString`), so that only one is written.
    pub(super) choice: Option<&'static str>,
    pub(super) many: bool,
    pub(super) label: Option<&'static str>,
    /// The address of an extension.
    pub(super) url: Option<String>,
}

#[derive(Debug)]
pub(super) struct Condition {
    pub(super) unless: bool,
    pub(super) field: usize,
    pub(super) component: usize,
    /// Empty: any value.
    pub(super) values: Vec<&'static str>,
}

/// Rows by (segment, resource or part of one).
static MAPS: LazyLock<HashMap<(&'static str, &'static str), Vec<Row>>> = LazyLock::new(|| {
    let mut maps: HashMap<_, Vec<Row>> = HashMap::default();
    let mut current = ("", "");
    for line in include_str!("maps.txt").lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        match line.strip_prefix("  ") {
            None => current = line.split_once(' ').unwrap_or((line, "")),
            Some(row) => maps.entry(current).or_default().extend(read(row, current.1)),
        }
    }
    maps
});

/// The rows of a map; none where there is no such map.
pub(super) fn rows(segment: &'static str, resource: &'static str) -> &'static [Row] {
    MAPS.get(&(segment, resource)).map_or(&[], Vec::as_slice)
}

/// Every map: segment, resource or part of one, rows.
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static str, &'static [Row])> {
    MAPS.iter().map(|((segment, resource), rows)| (*segment, *resource, rows.as_slice()))
}

/// A field, and a concept map that rows use for it.
type FieldMap = (usize, &'static str);

/// The concept maps that rows use for a segment.
pub(super) fn concept_maps(segment: &str) -> &'static [FieldMap] {
    CONCEPTS.get(segment).map_or(&[], Vec::as_slice)
}

static CONCEPTS: LazyLock<HashMap<&'static str, Vec<FieldMap>>> = LazyLock::new(|| {
    let mut found: HashMap<_, Vec<_>> = HashMap::default();
    for ((segment, _), rows) in MAPS.iter() {
        for row in rows {
            if let Source::Value { concepts: Some(map), .. } = row.source {
                found.entry(*segment).or_default().push((row.field, map));
            }
        }
    }
    found
});

/// `None`: not a row. A test holds that every line is one.
fn read(line: &'static str, resource: &'static str) -> Option<Row> {
    let mut words = line.split(' ');
    let (field, component) = place(words.next()?)?;
    let type_ = words.next()?;
    let (path, target) = path(words.next()?, resource)?;
    let mut row = Row { field, component, source: source(type_), path, target, condition: None };
    if type_ == "=" {
        row.source = constant(words.next()?);
    }
    while let Some(word) = words.next() {
        match word.strip_prefix('@') {
            Some(name) => {
                let Source::Value { concepts, .. } = &mut row.source else { return None };
                *concepts = Some(name);
            }
            None => row.condition = Some(condition(word, words.next()?)?),
        }
    }
    Some(row)
}

/// `17.2` → (17, 2); `*` → (0, 0).
fn place(text: &str) -> Option<(usize, usize)> {
    if text == "*" {
        return Some((0, 0));
    }
    let (field, component) = text.split_once('.').unwrap_or((text, "0"));
    Some((field.parse().ok()?, component.parse().ok()?))
}

fn source(type_: &'static str) -> Source {
    let (type_, hint) = type_.split_once([':', '/']).unwrap_or((type_, ""));
    Source::Value { type_, hint, concepts: None }
}

fn constant(value: &'static str) -> Source {
    let (system, code) = value.split_once('#').unwrap_or(("", value));
    let bare = !system.is_empty() && !system.contains(':');
    Source::Constant(if bare { format!("{TERMINOLOGY}{system}") } else { system.to_owned() }, code)
}

fn condition(word: &str, test: &'static str) -> Option<Condition> {
    let (field, values) = test.split_once('=').map_or((test, vec![]), |(f, v)| (f, v.split(',').collect()));
    let (field, component) = place(field)?;
    let unless = match word {
        "if" => false,
        "unless" => true,
        _ => return None,
    };
    Some(Condition { unless, field, component, values })
}

/// Walks R4's elements from `resource` on.
fn path(path: &'static str, resource: &'static str) -> Option<(Vec<Step>, &'static str)> {
    let mut type_ = resource;
    let mut steps = Vec::new();
    for word in path.split('.') {
        let (name, label) = match word.split_once('(') {
            Some((name, label)) => (name, Some(label.strip_suffix(')')?)),
            None => (word, None),
        };
        if name == "extension" {
            let label = label?;
            let url = if label.contains('-') { format!("{CORE}{label}") } else { label.to_owned() };
            steps.push(Step { name, choice: None, many: true, label: Some(label), url: Some(url) });
            type_ = "Extension";
            continue;
        }
        // `_birthDate` holds the extensions of a primitive element.
        let plain_name = name.strip_prefix('_').unwrap_or(name);
        let (element, of_choice) = schema::elements(type_)?.iter().find_map(|element| {
            let suffix = plain_name.strip_prefix(element.name)?;
            let plain = (!element.choice && suffix.is_empty()).then(|| element.types.first().copied());
            let chosen = || element.types.iter().copied().find(|t| element.choice && capitalised(t, suffix));
            Some((element, plain.flatten().or_else(chosen)?))
        })?;
        type_ = of_choice;
        let choice = element.choice.then_some(element.name);
        steps.push(Step { name, choice, many: element.many, label, url: None });
    }
    Some((steps, type_))
}

fn capitalised(type_: &str, suffix: &str) -> bool {
    let (mut type_, mut suffix) = (type_.chars(), suffix.chars());
    let same = type_.next().map(|c| c.to_ascii_uppercase()) == suffix.next();
    same && type_.as_str() == suffix.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_row_of_the_element_it_names() {
        let (mut resource, mut read_rows) = ("", 0);
        for line in include_str!("maps.txt").lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
            match line.strip_prefix("  ") {
                None => resource = line.split_once(' ').unwrap().1,
                Some(row) => {
                    let row_read = read(row, resource).unwrap_or_else(|| panic!("{resource}: {row}"));
                    if let Source::Value { concepts: Some(name), .. } = row_read.source {
                        assert!(super::super::tables::is_known(name), "{resource}: {row}");
                    }
                    read_rows += 1;
                }
            }
        }
        assert_eq!(read_rows, MAPS.values().map(Vec::len).sum::<usize>());
    }

    #[test]
    fn rows_say_what_they_say() {
        let row = read("8 XCN performer(surgeon).actor @ProviderRole unless 20=D,E", "Procedure").unwrap();
        assert_eq!((row.field, row.component, row.target), (8, 0, "Reference"));
        assert!(row.path[0].many && row.path[0].label == Some("surgeon") && !row.path[1].many);
        let condition = row.condition.unwrap();
        assert!(condition.unless && condition.field == 20 && condition.values == ["D", "E"]);
        let row = read("5 DTM onsetDateTime", "Condition").unwrap();
        assert_eq!((row.target, row.path[0].choice), ("dateTime", Some("onset")));
        let row = read("* = status v2-0443#AP", "Coverage").unwrap();
        assert!(matches!(&row.source, Source::Constant(s, "AP") if s.ends_with("CodeSystem/v2-0443")));
        for wrong in ["x ST code", "5 DTM onsetYear", "5 ST code.nothing", "5 ST code sometimes 3", "5 ST"] {
            assert!(read(wrong, "Condition").is_none(), "{wrong}");
        }
    }
}
