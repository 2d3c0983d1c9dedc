//! A number with its unit to Quantity.

use std::borrow::Cow;

use super::datatypes::{UCUM, clean, decimal};
use super::said::Said;
use crate::fhir::json::{Json, Members, object, text};
use crate::hl7::Part;
use crate::text::trimmed;
use crate::units;

/// A Quantity before it is JSON; what is empty in it is not written.
pub(super) struct Quantity<'m> {
    digits: Cow<'m, str>,
    comparator: Cow<'m, str>,
    unit: Cow<'m, str>,
    /// Empty where the unit is not known to be UCUM; so is the code.
    system: &'static str,
    code: Cow<'m, str>,
}

impl<'m> Quantity<'m> {
    /// A number with OBX-6's unit; the coded form only where the unit is known to be UCUM.
    pub(super) fn read(
        digits: Cow<'m, str>,
        unit: Option<Part<'m>>,
        comparator: Cow<'m, str>,
    ) -> Option<Self> {
        let digits = decimal(digits)?;
        let parts = unit.map(|unit| unit.all_below()).unwrap_or([None; 2]);
        let [unit, words] =
            parts.map(|part| part.filter(Part::has_value).map(|p| p.text()).unwrap_or_default());
        let (unit, words) =
            if trimmed(&unit).is_empty() { (words, Cow::Borrowed("")) } else { (unit, words) };
        let ucum = match &unit {
            Cow::Borrowed(unit) => units::ucum(unit),
            Cow::Owned(unit) => units::ucum(unit).map(|ucum| Cow::Owned(ucum.into_owned())),
        };
        // Words for people stand beside a code alone: without one, the unit as sent is all there is.
        let shown = if ucum.is_some() && !trimmed(&words).is_empty() { words } else { unit };
        let (system, code) = ucum.map_or(("", Cow::Borrowed("")), |ucum| (UCUM, ucum));
        let (comparator, unit, code) = (clean(comparator), clean(shown), clean(code));
        Some(Quantity { digits, comparator, unit, system, code })
    }

    pub(super) fn into_json(self) -> Json<'m> {
        object([
            ("value", Json::Number(self.digits)),
            ("comparator", text(self.comparator)),
            ("unit", text(self.unit)),
            ("system", text(self.system)),
            ("code", text(self.code)),
        ])
    }

    /// The bytes of [`into_json`](Quantity::into_json).
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        Members::object(out, |members| {
            members.with("value", |out| out.extend_from_slice(self.digits.as_bytes()));
            self.each(|key, value| members.text(key, value));
        });
    }

    /// Whether it says so.
    pub(super) fn tells(&self, written: &str) -> bool {
        self.digits == written || self.unit == written || self.code == written
    }

    pub(super) fn say<'s>(&'s self, said: &mut Said<'s>) {
        said.add(&*self.digits);
        self.each(|_, value| said.hear_words(value));
    }

    /// All but the number.
    fn each<'q>(&'q self, mut see: impl FnMut(&'static str, &'q str)) {
        see("comparator", &self.comparator);
        see("unit", &self.unit);
        see("system", self.system);
        see("code", &self.code);
    }
}
