//! Where what a field says may stand: the elements that the field's rows of `maps.txt` write, and those that code
//! writes (`by_hand.txt`). An equal word anywhere else is chance.

use std::sync::LazyLock;

use rustc_hash::FxHashMap as HashMap;

use super::table::{self, Row, Source};

/// An element that a field's values may be looked for in.
#[derive(Debug)]
pub(super) struct Claim {
    /// Its number among all.
    pub(super) id: usize,
    /// Type of the resource; empty: any.
    type_: &'static str,
    pub(super) path: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    name: &'static str,
    /// Every element whose name begins so.
    begins: bool,
    /// The address that an extension must have.
    pub(super) url: Option<&'static str>,
}

impl Claim {
    pub(super) fn is_of(&self, type_: &str) -> bool {
        self.type_.is_empty() || self.type_ == type_
    }
}

impl Step {
    fn read(name: &'static str) -> Self {
        let (name, begins) = name.strip_suffix('*').map_or((name, false), |name| (name, true));
        Step { name, begins, url: None }
    }

    pub(super) fn is(&self, key: &str) -> bool {
        if self.begins { key.starts_with(self.name) } else { key == self.name }
    }
}

/// By segment, then by the field's number.
static CLAIMS: LazyLock<HashMap<&'static str, Vec<Vec<Claim>>>> = LazyLock::new(|| {
    let mut claims = Claims::default();
    for (segment, resource, rows) in table::all() {
        rows.iter().for_each(|row| claims.of_row(segment, resource, row));
    }
    for line in include_str!("by_hand.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let field = words.next().and_then(|field| field.split_once('-'));
        let Some((segment, Ok(field))) = field.map(|(segment, n)| (segment, n.parse())) else { continue };
        words.for_each(|element| claims.element(segment, field, element));
    }
    claims.found
});

/// The elements that may say what stands in the field; none where nothing maps it.
pub(super) fn of(segment: &str, field: usize) -> &'static [Claim] {
    CLAIMS.get(segment).and_then(|fields| fields.get(field)).map_or(&[], Vec::as_slice)
}

#[derive(Default)]
struct Claims {
    found: HashMap<&'static str, Vec<Vec<Claim>>>,
    count: usize,
}

impl Claims {
    fn of_row(&mut self, segment: &'static str, resource: &'static str, row: &'static Row) {
        let Source::Value { type_, hint, .. } = row.source else { return };
        let beside: Option<usize> = hint.parse().ok();
        let elsewhere: &[&'static str] = match (row.target, type_) {
            ("Reference", "XCN") => &["Practitioner.identifier", "Practitioner.name"],
            ("Reference", "XON" | "MANUFACTURER") => &["Organization.identifier", "Organization.name"],
            ("Reference", "PL" | "DLD") => {
                &["Location.identifier", "Location.name", "Location.managingOrganization"]
            }
            _ => &[],
        };
        elsewhere.iter().for_each(|element| self.element(segment, row.field, element));
        if !elsewhere.is_empty() {
            if let Some(address) = beside {
                self.element(segment, address, "Organization.address");
            }
            return;
        }
        // A note may be on anything; a part of a resource stands in it.
        let (type_, within) = match resource {
            "Annotation" => ("", Some("note")),
            _ => resource.split_once('.').map_or((resource, None), |(type_, part)| (type_, Some(part))),
        };
        let steps = row.path.iter().map(|step| Step { url: step.url.as_deref(), ..Step::read(step.name) });
        let path: Vec<Step> = within.map(Step::read).into_iter().chain(steps).collect();
        // The unit of a number.
        for field in [Some(row.field), beside].into_iter().flatten() {
            self.add(segment, field, type_, path.clone());
        }
    }

    fn element(&mut self, segment: &'static str, field: usize, element: &'static str) {
        let Some((type_, path)) = element.split_once('.') else { return };
        let type_ = if type_ == "*" { "" } else { type_ };
        self.add(segment, field, type_, path.split('.').map(Step::read).collect());
    }

    fn add(&mut self, segment: &'static str, field: usize, type_: &'static str, path: Vec<Step>) {
        let fields = self.found.entry(segment).or_default();
        if fields.len() <= field {
            fields.resize_with(field + 1, Vec::new);
        }
        if !fields[field].iter().any(|claim| claim.type_ == type_ && claim.path == path) {
            fields[field].push(Claim { id: self.count, type_, path });
            self.count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::schema;

    #[test]
    fn every_line_names_elements_of_r4() {
        for line in include_str!("by_hand.txt").lines().filter(|line| !line.starts_with('#')) {
            let (field, elements) = line.split_once(' ').unwrap();
            let (segment, number) = field.split_once('-').unwrap();
            assert!(!of(segment, number.parse().unwrap()).is_empty(), "{line}");
            for element in elements.split(' ') {
                let (type_, path) = element.split_once('.').unwrap();
                let step = Step::read(path.split('.').next().unwrap());
                let known =
                    |e: &schema::Element| e.name == step.name || (e.choice && step.name.starts_with(e.name));
                assert!(schema::elements(type_).unwrap().iter().any(known), "{element}");
            }
        }
    }

    #[test]
    fn a_field_claims_what_its_rows_write() {
        let paths = |segment, field| {
            let names = |claim: &Claim| {
                let path = claim.path.iter().map(|step| step.name).collect::<Vec<_>>().join(".");
                format!("{}.{path}", claim.type_)
            };
            of(segment, field).iter().map(names).collect::<Vec<_>>()
        };
        assert_eq!(paths("PV1", 14), ["Encounter.hospitalization.admitSource"]);
        assert_eq!(paths("PV1", 7), ["Practitioner.identifier", "Practitioner.name"]);
        assert_eq!(paths("DG1", 15), ["Encounter.diagnosis.rank"]);
        assert_eq!(paths("OBX", 24), ["Organization.address"]);
        assert_eq!(paths("OBX", 25), ["Practitioner.identifier", "Practitioner.name"]);
        assert_eq!(paths("NTE", 3), [".note.text", "Appointment.comment"]);
        assert!(paths("RXA", 7).contains(&"Immunization.doseQuantity".to_owned()));
        assert!(paths("PID", 10).is_empty() && paths("PV1", 41).is_empty() && paths("ZZZ", 1).is_empty());
    }
}
