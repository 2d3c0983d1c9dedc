//! UCUM units as bedside monitors and laboratories send them: spellings and conversions.
//!
//! A table and not a full UCUM grammar: it knows the units of the features and of their usual senders,
//! and answers `None` for everything else, so that a value is never converted by guess.

mod analyte;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use crate::text;

/// Converts between two UCUM units. Between mass, substance and charge concentrations the analyte decides
/// and is named by its LOINC code. `None`: not known to be the same kind of quantity.
pub fn convert(value: f64, from_ucum: &str, to_ucum: &str, loinc: &str) -> Option<f64> {
    if from_ucum == to_ucum {
        return Some(value);
    }
    let to = unit(to_ucum)?;
    let from = unit(from_ucum).or_else(|| giga_or_gram(from_ucum, to.kind))?;
    let base = (value + from.offset) * from.scale;
    let base = if from.kind == to.kind { base } else { base * between(from.kind, to.kind, loinc)? };
    Some(base / to.scale - to.offset)
}

/// Converts what one LOINC code measures to what another one names. Where they name different substances, of which one
/// mole holds one of the other (urea, and the two nitrogen atoms in it), equal units are not equal amounts.
pub fn convert_between(
    value: f64,
    (from_ucum, from_loinc): (&str, &str),
    (to_ucum, to_loinc): (&str, &str),
) -> Option<f64> {
    if !analyte::differ(from_loinc, to_loinc) {
        return convert(value, from_ucum, to_ucum, from_loinc);
    }
    let moles = convert(value, from_ucum, "mol/L", from_loinc)?;
    convert(moles, "mol/L", to_ucum, to_loinc)
}

/// The UCUM form of a unit as commonly spelt (`mmHg`, `°C`, `x10^9/L`, `bpm` …); anything unknown is
/// returned as it came, without surrounding spaces.
pub fn normalise(written: &str) -> Cow<'_, str> {
    let written = text::trimmed(written);
    if written.is_empty() || written.len() > WRITTEN_MAX || unit(written).is_some() {
        return Cow::Borrowed(written);
    }
    match FOLDED.get(&*fold(written)).filter(|_| !is_giga_or_gram(written)) {
        Some(ucum) => Cow::Borrowed(ucum),
        None => Cow::Borrowed(written),
    }
}

/// The UCUM form of a unit as commonly spelt; `None`: not known.
pub fn ucum(written: &str) -> Option<Cow<'_, str>> {
    let written = text::trimmed(written);
    if unit(written).is_some() {
        return Some(Cow::Borrowed(written));
    }
    Some(normalise(written)).filter(|ucum| is_known(ucum))
}

/// Longer text is no unit that anybody spells.
const WRITTEN_MAX: usize = 64;

/// Codes by the folded form of their spellings, and of themselves.
static FOLDED: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    let mut folded = HashMap::new();
    let spellings = SPELLINGS.iter().map(|(spelling, ucum)| ((*spelling).to_owned(), *ucum));
    for (key, ucum) in spellings.chain(UNITS.iter().map(|unit| (unit.code.to_lowercase(), unit.code))) {
        folded.entry(key).or_insert(ucum);
    }
    folded
});

/// Whether this is a UCUM unit of the table, annotations allowed.
fn is_known(ucum: &str) -> bool {
    unit(ucum).is_some()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// g/L
    Mass,
    /// mol/L
    Substance,
    /// eq/L
    Charge,
    /// U/L
    Activity,
    /// IU/L
    International,
    /// 1/L
    Number,
    /// Pa
    Pressure,
    /// K
    Temperature,
    /// 1
    Fraction,
    /// 1/s
    Frequency,
    /// s
    Time,
    /// m
    Length,
    /// g
    Weight,
    /// L
    Volume,
    /// L/s
    Flow,
    /// -log10(mol/L)
    Ph,
    /// g of a formed element's content
    CellMass,
    /// L
    CellVolume,
    /// kg/m2
    BodyMass,
    /// score
    Score,
}

struct Unit {
    code: &'static str,
    kind: Kind,
    /// base = (value + offset) × scale
    scale: f64,
    offset: f64,
}

const fn u(code: &'static str, kind: Kind, scale: f64) -> Unit {
    Unit { code, kind, scale, offset: 0.0 }
}

const MMHG_PA: f64 = 133.322_387_415;

#[rustfmt::skip]
static UNITS: &[Unit] = &[
    u("g/L", Kind::Mass, 1.0), u("g/dL", Kind::Mass, 10.0), u("mg/dL", Kind::Mass, 1e-2), u("mg/L", Kind::Mass, 1e-3),
    u("ug/dL", Kind::Mass, 1e-5), u("ug/L", Kind::Mass, 1e-6), u("ug/mL", Kind::Mass, 1e-3), u("ng/mL", Kind::Mass, 1e-6),
    u("ng/dL", Kind::Mass, 1e-8), u("ng/L", Kind::Mass, 1e-9), u("pg/mL", Kind::Mass, 1e-9), u("mg/mL", Kind::Mass, 1.0),
    u("g/mL", Kind::Mass, 1e3), u("kg/m3", Kind::Mass, 1.0),
    u("mol/L", Kind::Substance, 1.0), u("mmol/L", Kind::Substance, 1e-3), u("umol/L", Kind::Substance, 1e-6),
    u("nmol/L", Kind::Substance, 1e-9), u("pmol/L", Kind::Substance, 1e-12), u("mmol/dL", Kind::Substance, 1e-2),
    u("eq/L", Kind::Charge, 1.0), u("meq/L", Kind::Charge, 1e-3), u("meq/dL", Kind::Charge, 1e-2),
    u("U/L", Kind::Activity, 1.0), u("U/mL", Kind::Activity, 1e3), u("ukat/L", Kind::Activity, 60.0), u("nkat/L", Kind::Activity, 0.06),
    u("[IU]/L", Kind::International, 1.0), u("[IU]/mL", Kind::International, 1e3), u("m[IU]/L", Kind::International, 1e-3), u("u[IU]/mL", Kind::International, 1e-3),
    u("10*9/L", Kind::Number, 1e9), u("10*3/uL", Kind::Number, 1e9), u("10*6/mL", Kind::Number, 1e9), u("/nL", Kind::Number, 1e9),
    u("10*12/L", Kind::Number, 1e12), u("10*6/uL", Kind::Number, 1e12), u("/uL", Kind::Number, 1e6), u("10*6/L", Kind::Number, 1e6),
    u("/mL", Kind::Number, 1e3), u("/L", Kind::Number, 1.0), u("/pL", Kind::Number, 1e12), u("10*4/uL", Kind::Number, 1e10),
    u("Pa", Kind::Pressure, 1.0), u("hPa", Kind::Pressure, 100.0), u("kPa", Kind::Pressure, 1e3), u("mm[Hg]", Kind::Pressure, MMHG_PA),
    u("cm[H2O]", Kind::Pressure, 98.0665), u("mbar", Kind::Pressure, 100.0), u("bar", Kind::Pressure, 1e5),
    Unit { code: "K", kind: Kind::Temperature, scale: 1.0, offset: 0.0 },
    Unit { code: "Cel", kind: Kind::Temperature, scale: 1.0, offset: 273.15 },
    Unit { code: "[degF]", kind: Kind::Temperature, scale: 5.0 / 9.0, offset: 459.67 },
    u("1", Kind::Fraction, 1.0), u("%", Kind::Fraction, 1e-2), u("[ppth]", Kind::Fraction, 1e-3), u("L/L", Kind::Fraction, 1.0),
    u("/s", Kind::Frequency, 1.0), u("/min", Kind::Frequency, 1.0 / 60.0), u("/h", Kind::Frequency, 1.0 / 3600.0), u("Hz", Kind::Frequency, 1.0),
    u("ms", Kind::Time, 1e-3), u("s", Kind::Time, 1.0), u("min", Kind::Time, 60.0), u("h", Kind::Time, 3600.0), u("d", Kind::Time, 86_400.0),
    u("wk", Kind::Time, 604_800.0), u("mo", Kind::Time, 2_629_800.0), u("a", Kind::Time, 31_557_600.0),
    u("m", Kind::Length, 1.0), u("cm", Kind::Length, 1e-2), u("mm", Kind::Length, 1e-3), u("[in_i]", Kind::Length, 0.0254), u("[ft_i]", Kind::Length, 0.3048),
    u("kg", Kind::Weight, 1e3), u("g", Kind::Weight, 1.0), u("mg", Kind::Weight, 1e-3), u("ug", Kind::Weight, 1e-6),
    u("[lb_av]", Kind::Weight, 453.592_37), u("[oz_av]", Kind::Weight, 28.349_523_125),
    u("L", Kind::Volume, 1.0), u("dL", Kind::Volume, 0.1), u("mL", Kind::Volume, 1e-3), u("uL", Kind::Volume, 1e-6), 
    u("L/min", Kind::Flow, 1.0 / 60.0), u("mL/min", Kind::Flow, 1e-3 / 60.0), u("mL/h", Kind::Flow, 1e-3 / 3600.0), u("L/h", Kind::Flow, 1.0 / 3600.0),
    u("[pH]", Kind::Ph, 1.0), u("pg", Kind::CellMass, 1.0), u("fL", Kind::CellVolume, 1.0), u("kg/m2", Kind::BodyMass, 1.0),
    u("{score}", Kind::Score, 1.0),
];

/// Every result with a unit asks.
static BY_CODE: LazyLock<FxHashMap<&'static str, &'static Unit>> =
    LazyLock::new(|| UNITS.iter().map(|unit| (unit.code, unit)).collect());

/// Folded spelling (see `fold`) → UCUM.
#[rustfmt::skip]
static SPELLINGS: &[(&str, &str)] = &[
    ("mmhg", "mm[Hg]"), ("mm hg", "mm[Hg]"), ("torr", "mm[Hg]"), ("cmh2o", "cm[H2O]"), ("cm h2o", "cm[H2O]"),
    ("°c", "Cel"), ("degc", "Cel"), ("deg c", "Cel"), ("c", "Cel"), ("celsius", "Cel"), ("degrees c", "Cel"), ("degrees celsius", "Cel"), ("grad c", "Cel"), ("℃", "Cel"),
    ("°f", "[degF]"), ("degf", "[degF]"), ("deg f", "[degF]"), ("f", "[degF]"), ("fahrenheit", "[degF]"), ("degrees f", "[degF]"), ("degrees fahrenheit", "[degF]"), ("℉", "[degF]"),
    ("bpm", "/min"), ("beats/min", "/min"), ("beats/minute", "/min"), ("beat/min", "/min"), ("breaths/min", "/min"), ("breaths/minute", "/min"), ("breath/min", "/min"),
    ("1/min", "/min"), ("per min", "/min"), ("per minute", "/min"), ("min-1", "/min"), ("resp/min", "/min"), ("insp/min", "/min"), ("/minute", "/min"), ("brpm", "/min"), ("puls/min", "/min"),
    ("percent", "%"), ("pct", "%"), ("% sat", "%"), ("%sat", "%"), ("vol%", "%"), ("vol %", "%"), ("fraction", "1"), ("ratio", "1"),
    ("10*3/mm3", "10*3/uL"), ("k/ul", "10*3/uL"), ("k/mm3", "10*3/uL"), ("k/cumm", "10*3/uL"), ("th/mm3", "10*3/uL"), ("th/ul", "10*3/uL"), ("10*3/mm^3", "10*3/uL"), ("thou/ul", "10*3/uL"),
    ("thou/mm3", "10*3/uL"), ("thousand/ul", "10*3/uL"), ("10*3ul", "10*3/uL"), ("g/l (10*9)", "10*9/L"), ("gpt/l", "10*9/L"), ("giga/l", "10*9/L"),
    ("m/ul", "10*6/uL"), ("m/mm3", "10*6/uL"), ("10*6/mm^3", "10*6/uL"), ("mil/ul", "10*6/uL"), ("mill/ul", "10*6/uL"), ("million/ul", "10*6/uL"), ("10*6/mm3", "10*6/uL"), ("tpt/l", "10*12/L"), ("tera/l", "10*12/L"), ("t/l", "10*12/L"),
    ("cells/ul", "/uL"), ("cells/mm3", "/uL"), ("/mm3", "/uL"), ("1/ul", "/uL"), ("#/ul", "/uL"),
    ("iu/l", "[IU]/L"), ("iu/ml", "[IU]/mL"), ("miu/l", "m[IU]/L"), ("uiu/ml", "u[IU]/mL"), ("units/l", "U/L"), ("unit/l", "U/L"),
    ("mval/l", "meq/L"), ("mg%", "mg/dL"), ("g%", "g/dL"), ("gm/dl", "g/dL"), ("gms/dl", "g/dL"), ("gm/l", "g/L"), ("l/min.", "L/min"), ("lpm", "L/min"),
    ("sec", "s"), ("secs", "s"), ("second", "s"), ("seconds", "s"), ("msec", "ms"), ("minute", "min"), ("minutes", "min"), ("mins", "min"), ("hr", "h"), ("hrs", "h"), ("hour", "h"), ("hours", "h"),
    ("day", "d"), ("days", "d"), ("week", "wk"), ("weeks", "wk"), ("month", "mo"), ("months", "mo"), ("year", "a"), ("years", "a"), ("yr", "a"), ("yrs", "a"), ("y", "a"),
    ("in", "[in_i]"), ("inch", "[in_i]"), ("inches", "[in_i]"), ("ft", "[ft_i]"), ("feet", "[ft_i]"), ("lb", "[lb_av]"), ("lbs", "[lb_av]"), ("pound", "[lb_av]"), ("pounds", "[lb_av]"), ("oz", "[oz_av]"),
    ("kgs", "kg"), ("kilogram", "kg"), ("kilograms", "kg"), ("gm", "g"), ("gram", "g"), ("grams", "g"), ("liter", "L"), ("litre", "L"), ("liters", "L"), ("litres", "L"), ("cc", "mL"),
    ("ph", "[pH]"), ("ph units", "[pH]"), ("score", "{score}"), ("points", "{score}"), ("kg/m*2", "kg/m2"), ("kg/m^2", "kg/m2"),
];

/// What a base value of one kind must be multiplied with to become the other kind's base value.
fn between(from: Kind, to: Kind, loinc: &str) -> Option<f64> {
    if matches!((from, to), (Kind::Activity, Kind::International) | (Kind::International, Kind::Activity)) {
        // One enzyme unit and one international unit of an enzyme are the same; of a hormone not.
        return analyte::is_enzyme(loinc).then_some(1.0);
    }
    let analyte = analyte::of(loinc)?;
    let moles_per_base = |kind| match kind {
        Kind::Substance => Some(1.0),
        Kind::Mass => Some(1.0 / analyte.molar_mass),
        Kind::Charge if analyte.charge > 0.0 => Some(1.0 / analyte.charge),
        _ => None,
    };
    Some(moles_per_base(from)? / moles_per_base(to)?)
}

fn unit(code: &str) -> Option<&'static Unit> {
    BY_CODE.get(code).copied().or_else(|| {
        // `{beats}/min` and `mL{total}`: an annotation does not change the unit (UCUM §12).
        let (before, rest) = code.split_once('{')?;
        let (_, after) = rest.split_once('}')?;
        let plain = format!("{before}{after}");
        BY_CODE.get(plain.as_str()).copied()
    })
}

/// 10⁹/L in French laboratories, grams where a sender writes in capitals: by itself not to be guessed.
fn is_giga_or_gram(written: &str) -> bool {
    matches!(written, "G/L" | "G/l")
}

/// What is asked for says which: cells are counted and never weighed per litre, a substance the other way round.
fn giga_or_gram(written: &str, wanted: Kind) -> Option<&'static Unit> {
    let ucum = if wanted == Kind::Number { "10*9/L" } else { "g/L" };
    unit(ucum).filter(|_| is_giga_or_gram(written))
}

/// Lower case, one sign for micro, `10*n` for every way to write a power of ten.
fn fold(written: &str) -> String {
    let lower = written.to_lowercase().replace(['µ', 'μ'], "u").replace("mcg", "ug").replace("mcl", "ul");
    let lower = lower.replace("mcmol", "umol").replace('×', "x").replace('²', "^2").replace('³', "^3");
    let lower = lower.replace('⁶', "^6").replace('⁹', "^9").replace("10(3)", "10^3").replace("10(9)", "10^9");
    let lower = lower.strip_prefix("x ").or_else(|| lower.strip_prefix('x')).unwrap_or(&lower);
    let Some(power) = lower.strip_prefix("10") else { return lower.to_owned() };
    let exponent = power.trim_start_matches(['^', '*', 'e', ' ', '+']);
    match exponent.strip_prefix(|c: char| c.is_ascii_digit()) {
        Some(_) if exponent.len() < power.len() => format!("10*{}", exponent.replace(' ', "")),
        _ => lower.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(value: f64, from: &str, to: &str, loinc: &str, expected: f64) {
        let got = convert(value, from, to, loinc).expect("known conversion");
        assert!((got - expected).abs() <= expected.abs() * 2e-3 + 1e-9, "{value} {from} = {got} {to}");
    }

    #[test]
    fn conversions_of_clinical_textbooks() {
        check(98.6, "[degF]", "Cel", "8310-5", 37.0);
        check(310.15, "K", "Cel", "8310-5", 37.0);
        check(88.42, "umol/L", "mg/dL", "2160-0", 1.0);
        check(5.55, "mmol/L", "mg/dL", "2345-7", 100.0);
        check(7.14, "mmol/L", "mg/dL", "3094-0", 20.0);
        check(17.1, "umol/L", "mg/dL", "1975-2", 1.0);
        check(2.5, "mmol/L", "mg/dL", "17861-6", 10.02);
        check(1.0, "mmol/L", "mg/dL", "2777-1", 3.097);
        check(1.8, "mg/dL", "meq/L", "19123-9", 1.481);
        check(4.0, "meq/L", "mmol/L", "2823-3", 4.0);
        check(5.3, "kPa", "mm[Hg]", "2019-8", 39.75);
        check(0.21, "1", "%", "3150-0", 21.0);
        check(140.0, "g/L", "g/dL", "718-7", 14.0);
        check(8.7, "mmol/L", "g/dL", "718-7", 14.02);
        check(7.5, "10*9/L", "10*3/uL", "6690-2", 7.5);
        check(7500.0, "/uL", "10*3/uL", "6690-2", 7.5);
        check(3.0, "g/L", "mg/dL", "3255-7", 300.0);
        check(0.5, "ukat/L", "U/L", "1920-8", 30.0);
        check(40.0, "[IU]/L", "U/L", "30239-8", 40.0);
        check(2.5, "mmol/L", "mg/dL", "49765-1", 10.02);
        check(4.8, "meq/L", "mg/dL", "17861-6", 9.62);
        check(0.8, "mmol/L", "mg/dL", "2601-3", 1.944);
        check(1.11, "mmol/L", "mg/dL", "14879-1", 3.438);
        check(18.0, "mg/dL", "mmol/L", "14118-4", 1.998);
        check(5.0, "mmol/L", "mg/dL", "14743-9", 90.08);
        check(88.42, "umol/L", "mg/dL", "77140-2", 1.0);
        check(5.13, "umol/L", "mg/dL", "29760-6", 0.3);
        check(8.7, "mmol/L", "g/dL", "59260-0", 14.02);
        check(14.0, "ng/L", "ng/mL", "89579-7", 0.014);
        check(0.014, "ug/L", "ng/mL", "89579-7", 0.014);
        check(3.0, "g/L", "mg/dL", "48664-7", 300.0);
        check(0.42, "L/L", "%", "4544-3", 42.0);
        check(5.0, "kPa", "mm[Hg]", "19891-1", 37.5);
        check(1.2, "kPa", "cm[H2O]", "", 12.24);
        check(180.0, "[lb_av]", "kg", "29463-7", 81.65);
        check(72.0, "{beats}/min", "/min", "8867-4", 72.0);
    }

    #[test]
    fn urea_is_not_its_nitrogen() {
        let bun = |value, unit, loinc| convert_between(value, (unit, loinc), ("mg/dL", "3094-0")).unwrap();
        let near = |a: f64, b: f64| (a - b).abs() < 0.01;
        assert!(near(bun(10.0, "mmol/L", "22664-7"), 28.01));
        assert!(near(bun(10.0, "mmol/L", "14937-7"), 28.01));
        assert!(near(bun(60.06, "mg/dL", "3091-6"), 28.01));
        assert!(near(bun(60.06, "mg/dL", "22664-7"), 28.01), "equal units, another substance");
        assert!(near(bun(10.0, "mmol/L", "3091-6"), 28.01));
        assert!(near(bun(20.0, "mg/dL", "3094-0"), 20.0));
        let urea = convert_between(28.01, ("mg/dL", "3094-0"), ("mg/dL", "3091-6")).unwrap();
        assert!(near(urea, 60.05), "{urea}");
    }

    #[test]
    fn giga_or_gram_is_told_by_what_is_asked_for() {
        check(150.0, "G/L", "10*3/uL", "777-3", 150.0);
        check(150.0, "G/l", "10*9/L", "777-3", 150.0);
        check(140.0, "G/L", "g/dL", "718-7", 14.0);
        assert_eq!(convert(150.0, "g/L", "10*3/uL", "777-3"), None);
        assert_eq!(convert(4.5, "10*12/L", "10*6/uL", "789-8"), Some(4.5));
    }

    #[test]
    fn what_is_not_known_is_not_converted() {
        assert_eq!(convert(1.0, "mg/dL", "mmol/L", "99999-9"), None);
        assert_eq!(convert(1.0, "mm[Hg]", "/min", "8867-4"), None);
        assert_eq!(convert(1.0, "[IU]/L", "U/L", "11580-8"), None);
        assert_eq!(convert(1.0, "furlong", "m", ""), None);
        assert_eq!(convert(1.0, "furlong", "furlong", ""), Some(1.0));
    }

    #[test]
    fn common_spellings() {
        for (written, ucum) in [
            ("mmHg", "mm[Hg]"),
            ("mm Hg", "mm[Hg]"),
            ("mm(hg)", "mm(hg)"),
            ("°C", "Cel"),
            ("DegC", "Cel"),
            ("bpm", "/min"),
            (" {beats}/min ", "{beats}/min"),
            ("x10^9/L", "10*9/L"),
            ("10E3/uL", "10*3/uL"),
            ("x10(3)/uL", "10*3/uL"),
            ("kg/m²", "kg/m2"),
            ("G/L", "G/L"),
            ("G/l", "G/l"),
            ("g/l", "g/L"),
            ("T/L", "10*12/L"),
            ("10^3/mm³", "10*3/uL"),
            ("10**3/µL", "10*3/uL"),
            ("10^3/mcL", "10*3/uL"),
            ("K/uL", "10*3/uL"),
            ("MG/DL", "mg/dL"),
            ("mEq/L", "meq/L"),
            ("μmol/l", "umol/L"),
            ("IU/L", "[IU]/L"),
            ("10*3/uL", "10*3/uL"),
            ("×10³/µl", "10*3/uL"),
            ("", ""),
        ] {
            assert_eq!(normalise(written), ucum, "{written}");
        }
    }

    #[test]
    fn every_spelling_leads_to_a_known_unit_and_no_code_stands_twice() {
        for (spelling, ucum) in SPELLINGS {
            assert!(unit(ucum).is_some(), "{ucum}");
            assert_eq!(fold(spelling), *spelling, "the key is not in folded form");
        }
        for (at, one) in UNITS.iter().enumerate() {
            assert!(UNITS[at + 1..].iter().all(|other| other.code != one.code), "{}", one.code);
        }
    }

    proptest! {
        #[test]
        fn there_and_back_again(value in -1e6..1e6f64, a in 0..UNITS.len(), b in 0..UNITS.len(), analyte in 0..analyte::ALL.len()) {
            let (a, b, loinc) = (UNITS[a].code, UNITS[b].code, analyte::ALL[analyte].loinc[0]);
            if let Some(there) = convert(value, a, b, loinc) {
                let back = convert(there, b, a, loinc).expect("both ways");
                prop_assert!((back - value).abs() <= value.abs() * 1e-9 + 1e-3);
            }
        }

        #[test]
        fn any_text_is_normalised_to_a_fixed_point(text in "\\PC{0,12}") {
            let once = normalise(&text).into_owned();
            prop_assert_eq!(normalise(&once), once.as_str());
        }
    }
}
