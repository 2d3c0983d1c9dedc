//! What one mole of a laboratory's substances weighs and carries, by the LOINC codes under which they are reported.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

/// One substance. Its codes may be of any property (mass, moles) and any blood (serum, whole blood): the unit says
/// which of them a value is.
pub(super) struct Analyte {
    pub loinc: &'static [&'static str],
    /// g/mol
    pub molar_mass: f64,
    /// Of one ion; 0: equivalents mean nothing.
    pub charge: f64,
}

#[rustfmt::skip]
pub(super) static ALL: &[Analyte] = &[
    // glucose
    Analyte { loinc: &["2345-7", "2339-0", "2340-8", "15074-8", "14749-6", "41653-7", "14743-9", "2341-6", "1558-6"], molar_mass: 180.156, charge: 0.0 },
    // creatinine
    Analyte { loinc: &["2160-0", "14682-9", "38483-4", "59826-8", "77140-2"], molar_mass: 113.12, charge: 0.0 },
    // urea nitrogen: two nitrogen atoms a molecule of urea, so one mole of urea is one of these
    Analyte { loinc: &["3094-0", "6299-2", "14937-7", "59570-2"], molar_mass: 28.0134, charge: 0.0 },
    // urea
    Analyte { loinc: &["3091-6", "22664-7", "20977-5", "72903-8"], molar_mass: 60.056, charge: 0.0 },
    // bilirubin, total, direct and conjugated
    Analyte { loinc: &["1975-2", "14631-6", "1968-7", "14629-0", "15152-2", "29760-6", "42719-5"], molar_mass: 584.66, charge: 0.0 },
    // lactate, by mass as lactic acid
    Analyte { loinc: &["2524-7", "32693-4", "14118-4", "2518-9", "2519-7", "59032-3"], molar_mass: 90.08, charge: 1.0 },
    // calcium, total and ionised
    Analyte { loinc: &["17861-6", "49765-1", "2000-8", "1994-3", "1995-0", "17864-0", "29265-6", "38230-9"], molar_mass: 40.078, charge: 2.0 },
    // magnesium
    Analyte { loinc: &["19123-9", "2601-3", "21377-7"], molar_mass: 24.305, charge: 2.0 },
    // phosphate, by mass as phosphorus
    Analyte { loinc: &["2777-1", "14879-1", "24519-1"], molar_mass: 30.974, charge: 0.0 },
    // potassium
    Analyte { loinc: &["2823-3", "6298-4", "32713-0"], molar_mass: 39.098, charge: 1.0 },
    // sodium
    Analyte { loinc: &["2951-2", "2947-0", "32717-1"], molar_mass: 22.990, charge: 1.0 },
    // chloride
    Analyte { loinc: &["2075-0", "2069-3"], molar_mass: 35.453, charge: 1.0 },
    // bicarbonate, total CO2 and base excess
    Analyte { loinc: &["1963-8", "1959-6", "1960-4", "14627-4", "2028-9", "1925-7", "11555-0"], molar_mass: 61.017, charge: 1.0 },
    // haemoglobin by its iron, one atom a monomer, as laboratories report mmol/L; moles of the tetramer are a quarter
    Analyte { loinc: &["718-7", "59260-0", "30313-1", "30350-3", "20509-6"], molar_mass: 16_114.5, charge: 0.0 },
    // albumin
    Analyte { loinc: &["1751-7", "54347-0"], molar_mass: 66_438.0, charge: 0.0 },
];

/// AST (also with pyridoxal phosphate), ALT, alkaline phosphatase, lactate dehydrogenase, creatine kinase, gamma-GT,
/// amylase, lipase.
static ENZYMES: &[&str] =
    &["1920-8", "30239-8", "1742-6", "6768-6", "2532-0", "14804-9", "2157-6", "2324-2", "1798-8", "3040-3"];

/// Every result asks.
static BY_LOINC: LazyLock<FxHashMap<&'static str, &'static Analyte>> =
    LazyLock::new(|| ALL.iter().flat_map(|a| a.loinc.iter().map(move |loinc| (*loinc, a))).collect());

pub(super) fn of(loinc: &str) -> Option<&'static Analyte> {
    BY_LOINC.get(loinc).copied()
}

/// Whether both are known, and are of different substances.
pub(super) fn differ(one: &str, other: &str) -> bool {
    match (of(one), of(other)) {
        (Some(one), Some(other)) => !std::ptr::eq(one, other),
        _ => false,
    }
}

/// Whether it measures the activity of an enzyme.
pub(super) fn is_enzyme(loinc: &str) -> bool {
    ENZYMES.contains(&loinc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::COLUMNS;

    #[test]
    fn codes_are_loinc_and_stand_for_one_substance() {
        let all = || ALL.iter().flat_map(|a| a.loinc).chain(ENZYMES);
        for loinc in all() {
            assert!(crate::codes::is_loinc(loinc), "{loinc}");
            assert_eq!(all().filter(|other| *other == loinc).count(), 1, "{loinc}");
        }
    }

    #[test]
    fn all_codes_of_a_column_convert_or_none_does() {
        for column in COLUMNS {
            let codes = column.loincs();
            let known = codes.iter().filter(|loinc| of(loinc).is_some()).count();
            assert!(known == 0 || known == codes.len(), "{column:?}: some of its codes would not convert");
            let enzymes = codes.iter().filter(|loinc| is_enzyme(loinc)).count();
            assert!(enzymes == 0 || enzymes == codes.len(), "{column:?}");
        }
    }
}
