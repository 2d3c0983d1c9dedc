//! The columns of the state: the 34 time-varying ones of the PhysioNet/CinC Challenge 2019, in its order,
//! then what bedside scores need beside them. A state's checkpoint counts on the order: append, never reorder.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::{Code, CodeSystem};

macro_rules! columns {
    ($($name:ident $text:literal $unit:literal $low:literal..=$high:literal $words:literal [$($loinc:literal)*];)*) => {
        /// One quantity that changes over time.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Column { $($name,)* }

        /// All columns, in their stable order: `COLUMNS[c as usize] == c`.
        pub const COLUMNS: &[Column] = &[$(Column::$name,)*];

        const SPECS: &[Spec] = &[$(Spec {
            text: $text, unit: $unit, low: $low, high: $high, words: $words, loincs: &[$($loinc,)*],
        },)*];
    };
}

struct Spec {
    text: &'static str,
    unit: &'static str,
    low: f64,
    high: f64,
    words: &'static str,
    /// The first is the one to write; the others are usual alternates, among them molar forms that the unit
    /// conversion brings to the column's unit. Troponin T is not troponin I, ionised calcium not the total, a share
    /// of exhaled gas not its pressure: they have no column.
    loincs: &'static [&'static str],
}

/// How many of [`COLUMNS`] are the columns of the 2019 set; they come first.
pub const COLUMNS_2019: usize = 34;

columns! {
    Hr "HR" "/min" 10.0..=350.0 "heart rate" ["8867-4" "8889-8" "76282-3"];
    // 2708-6 is FHIR R4's vital-signs code for oxygen saturation, whatever its LOINC name says.
    O2Sat "O2Sat" "%" 10.0..=100.0 "oxygen saturation" ["59408-5" "2708-6" "2710-2"];
    Temp "Temp" "Cel" 20.0..=45.0 "temperature"
        ["8310-5" "8331-1" "8332-9" "8333-7" "8334-5" "8329-5" "8328-7" "75539-7"];
    Sbp "SBP" "mm[Hg]" 20.0..=320.0 "systolic blood pressure" ["8480-6" "76215-3" "76534-7"];
    Map "MAP" "mm[Hg]" 10.0..=320.0 "mean arterial pressure" ["8478-0" "76214-6" "76536-2"];
    Dbp "DBP" "mm[Hg]" 10.0..=320.0 "diastolic blood pressure" ["8462-4" "76213-8" "76535-4"];
    Resp "Resp" "/min" 1.0..=100.0 "respiratory rate" ["9279-1" "76270-8"];
    EtCo2 "EtCO2" "mm[Hg]" 2.0..=120.0 "end-tidal CO2" ["19891-1"];
    BaseExcess "BaseExcess" "mmol/L" -50.0..=100.0 "base excess" ["1925-7" "11555-0"];
    Hco3 "HCO3" "mmol/L" 1.0..=80.0 "bicarbonate" ["1963-8" "1960-4" "1959-6" "2028-9"];
    // 0.15: below room air only by rounding and altitude; 0 and 10 occur in the 2019 set and are no fractions.
    FiO2 "FiO2" "1" 0.15..=1.0 "inspired oxygen fraction" ["3150-0" "19994-3"];
    Ph "pH" "[pH]" 6.5..=8.0 "pH" ["2744-1" "11558-4"];
    PaCo2 "PaCO2" "mm[Hg]" 5.0..=200.0 "arterial CO2 pressure" ["2019-8" "11557-6"];
    SaO2 "SaO2" "%" 10.0..=100.0 "arterial oxygen saturation" ["20564-1" "51733-4" "2713-6"];
    Ast "AST" "U/L" 1.0..=50000.0 "AST" ["1920-8" "30239-8"];
    // Also what urea itself is reported under: the conversion is by moles, a value of urea in mg/dL no value of BUN.
    Bun "BUN" "mg/dL" 0.5..=400.0 "urea nitrogen" ["3094-0" "6299-2" "14937-7" "59570-2" "3091-6" "22664-7" "20977-5" "72903-8"];
    AlkalinePhos "Alkalinephos" "U/L" 1.0..=10000.0 "alkaline phosphatase" ["6768-6"];
    Calcium "Calcium" "mg/dL" 0.5..=40.0 "calcium" ["17861-6" "49765-1" "2000-8"];
    Chloride "Chloride" "mmol/L" 20.0..=200.0 "chloride" ["2075-0" "2069-3"];
    Creatinine "Creatinine" "mg/dL" 0.05..=60.0 "creatinine"
        ["2160-0" "38483-4" "14682-9" "59826-8" "77140-2"];
    BilirubinDirect "Bilirubin_direct" "mg/dL" 0.0..=80.0 "direct bilirubin" ["1968-7" "15152-2" "14629-0" "29760-6"];
    Glucose "Glucose" "mg/dL" 5.0..=2500.0 "glucose"
        ["2345-7" "2339-0" "2340-8" "2341-6" "41653-7" "1558-6" "14749-6" "15074-8" "14743-9"];
    Lactate "Lactate" "mmol/L" 0.05..=50.0 "lactate" ["2524-7" "32693-4" "2518-9" "2519-7" "14118-4" "59032-3"];
    Magnesium "Magnesium" "mg/dL" 0.1..=20.0 "magnesium" ["19123-9" "2601-3" "21377-7"];
    Phosphate "Phosphate" "mg/dL" 0.1..=30.0 "phosphate" ["2777-1" "14879-1" "24519-1"];
    Potassium "Potassium" "mmol/L" 0.5..=30.0 "potassium" ["2823-3" "6298-4" "32713-0"];
    BilirubinTotal "Bilirubin_total" "mg/dL" 0.0..=100.0 "total bilirubin" ["1975-2" "14631-6" "42719-5"];
    TroponinI "TroponinI" "ng/mL" 0.0..=1000.0 "troponin I" ["10839-9" "42757-5" "49563-0" "89579-7"];
    Hct "Hct" "%" 2.0..=80.0 "haematocrit" ["4544-3" "20570-8" "48703-3"];
    Hgb "Hgb" "g/dL" 1.0..=35.0 "haemoglobin" ["718-7" "20509-6" "59260-0" "30313-1" "30350-3"];
    Ptt "PTT" "s" 5.0..=300.0 "partial thromboplastin time" ["14979-9" "3173-2"];
    Wbc "WBC" "10*3/uL" 0.05..=600.0 "white cell count" ["6690-2" "26464-8" "804-5"];
    Fibrinogen "Fibrinogen" "mg/dL" 10.0..=2500.0 "fibrinogen" ["3255-7" "48664-7"];
    Platelets "Platelets" "10*3/uL" 1.0..=3000.0 "platelets" ["777-3" "26515-7" "778-1"];
    // Beyond the 2019 set.
    Gcs "GCS" "{score}" 3.0..=15.0 "Glasgow coma score" ["9269-2"];
    Consciousness "ACVPU" "{score}" 0.0..=4.0 "consciousness (ACVPU)" ["67775-7" "80288-4" "11454-6"];
    OxygenFlow "O2Flow" "L/min" 0.0..=100.0 "oxygen flow" ["3151-8"];
    PaO2 "PaO2" "mm[Hg]" 10.0..=800.0 "arterial oxygen pressure" ["2703-7" "19255-9"];
    // Each volume is what came since the one before; sums of 8 or 24 h would count it again.
    Urine "Urine" "mL" 0.0..=5000.0 "urine" ["9187-6"];
    Weight "Weight" "kg" 0.3..=500.0 "body weight" ["29463-7" "3141-9"];
}

/// Every observation asks.
static BY_LOINC: LazyLock<HashMap<&'static str, Column>> = LazyLock::new(|| {
    let loincs =
        |column: &Column| column.spec().loincs.iter().map(|loinc| (*loinc, *column)).collect::<Vec<_>>();
    COLUMNS.iter().flat_map(loincs).collect()
});

impl Column {
    /// The 2019 set's name of the column, such as `O2Sat`.
    pub fn name(self) -> &'static str {
        self.spec().text
    }

    /// UCUM unit in which the state holds the column.
    pub fn unit(self) -> &'static str {
        self.spec().unit
    }

    /// What to call it in a sentence.
    pub fn words(self) -> &'static str {
        self.spec().words
    }

    /// The LOINC code to write it with.
    pub fn loinc(self) -> &'static str {
        self.loincs().first().copied().unwrap_or_default()
    }

    /// All that it is read from.
    pub(crate) fn loincs(self) -> &'static [&'static str] {
        self.spec().loincs
    }

    pub fn from_name(name: &str) -> Option<Column> {
        COLUMNS.iter().copied().find(|c| c.name() == name)
    }

    pub fn from_code(code: &Code) -> Option<Column> {
        match code.system {
            CodeSystem::Loinc => BY_LOINC.get(code.code.as_str()).copied(),
            CodeSystem::Snomed | CodeSystem::Other(_) => None,
        }
    }

    /// Whether a value in the column's unit can come from a living patient and a working instrument.
    pub fn plausible(self, value: f64) -> bool {
        (self.spec().low..=self.spec().high).contains(&value)
    }

    fn spec(self) -> &'static Spec {
        &SPECS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_order_is_the_2019_sets_and_no_loinc_means_two_things() {
        let names: Vec<_> = COLUMNS.iter().map(|c| c.name()).collect();
        assert_eq!(
            names[..COLUMNS_2019].join(","),
            "HR,O2Sat,Temp,SBP,MAP,DBP,Resp,EtCO2,BaseExcess,HCO3,FiO2,pH,PaCO2,SaO2,AST,BUN,Alkalinephos,Calcium,\
             Chloride,Creatinine,Bilirubin_direct,Glucose,Lactate,Magnesium,Phosphate,Potassium,Bilirubin_total,\
             TroponinI,Hct,Hgb,PTT,WBC,Fibrinogen,Platelets"
        );
        let mut seen = HashSet::new();
        for (i, column) in COLUMNS.iter().enumerate() {
            assert_eq!(*column as usize, i);
            assert_eq!(Column::from_name(column.name()), Some(*column));
            assert!(
                column.spec().loincs.iter().all(|loinc| seen.insert(*loinc)),
                "{column:?} shares a LOINC"
            );
        }
    }
}
