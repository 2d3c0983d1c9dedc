//! The 2012 set's parameters: what the patient state has a column for, and what this set alone has.

use clinical::Column;

/// How a parameter changes over time and within an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Held {
    /// The state's column has its unit and plausible range.
    Column(Column),
    Other(Other),
}

macro_rules! others {
    ($($name:ident $text:literal $unit:literal $low:literal..=$high:literal;)*) => {
        /// What the state has no column for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Other { $($name,)* }

        pub(super) const OTHERS: &[Other] = &[$(Other::$name,)*];

        impl Other {
            pub(super) fn name(self) -> &'static str {
                match self { $(Other::$name => $text,)* }
            }

            /// UCUM.
            pub(super) fn unit(self) -> &'static str {
                match self { $(Other::$name => $unit,)* }
            }

            fn plausible(self, value: f64) -> bool {
                match self { $(Other::$name => ($low..=$high).contains(&value),)* }
            }
        }
    };
}

others! {
    Albumin "Albumin" "g/dL" 0.5..=7.0;
    Alt "ALT" "U/L" 1.0..=50000.0;
    Cholesterol "Cholesterol" "mg/dL" 10.0..=1000.0;
    Sodium "Na" "mmol/L" 80.0..=200.0;
    TroponinT "TroponinT" "ug/L" 0.0..=100.0;
    // 1 = on a ventilator; the set never writes 0.
    Ventilated "MechVent" "1" 0.0..=1.0;
}

/// What changes during a stay. Of two that measure the same in one hour, the later one here counts: arterial pressures
/// before those of a cuff.
///
/// Units are those of the state: values of Mg, published as mmol/L, are mg/dL by their size, and FiO2 is a fraction.
pub(super) const PARAMETERS: [(&str, Held); 37] = [
    ("ALP", Held::Column(Column::AlkalinePhos)),
    ("ALT", Held::Other(Other::Alt)),
    ("AST", Held::Column(Column::Ast)),
    ("Albumin", Held::Other(Other::Albumin)),
    ("BUN", Held::Column(Column::Bun)),
    ("Bilirubin", Held::Column(Column::BilirubinTotal)),
    ("Cholesterol", Held::Other(Other::Cholesterol)),
    ("Creatinine", Held::Column(Column::Creatinine)),
    ("NIDiasABP", Held::Column(Column::Dbp)),
    ("DiasABP", Held::Column(Column::Dbp)),
    ("FiO2", Held::Column(Column::FiO2)),
    ("GCS", Held::Column(Column::Gcs)),
    ("Glucose", Held::Column(Column::Glucose)),
    ("HCO3", Held::Column(Column::Hco3)),
    ("HCT", Held::Column(Column::Hct)),
    ("HR", Held::Column(Column::Hr)),
    ("K", Held::Column(Column::Potassium)),
    ("Lactate", Held::Column(Column::Lactate)),
    ("NIMAP", Held::Column(Column::Map)),
    ("MAP", Held::Column(Column::Map)),
    ("MechVent", Held::Other(Other::Ventilated)),
    ("Mg", Held::Column(Column::Magnesium)),
    ("NISysABP", Held::Column(Column::Sbp)),
    ("SysABP", Held::Column(Column::Sbp)),
    ("Na", Held::Other(Other::Sodium)),
    ("PaCO2", Held::Column(Column::PaCo2)),
    ("PaO2", Held::Column(Column::PaO2)),
    ("pH", Held::Column(Column::Ph)),
    ("Platelets", Held::Column(Column::Platelets)),
    ("RespRate", Held::Column(Column::Resp)),
    ("SaO2", Held::Column(Column::SaO2)),
    ("Temp", Held::Column(Column::Temp)),
    ("TroponinI", Held::Column(Column::TroponinI)),
    ("TroponinT", Held::Other(Other::TroponinT)),
    ("Urine", Held::Column(Column::Urine)),
    ("WBC", Held::Column(Column::Wbc)),
    ("Weight", Held::Column(Column::Weight)),
];

/// Where a parameter stands in [`PARAMETERS`].
pub(super) fn place(name: &str) -> Option<usize> {
    PARAMETERS.iter().position(|(known, _)| *known == name)
}

impl Held {
    pub fn plausible(self, value: f64) -> bool {
        match self {
            Held::Column(column) => column.plausible(value),
            Held::Other(other) => other.plausible(value),
        }
    }

    /// Whether the values of an hour add up; else the last one is the hour's.
    pub fn adds_up(self) -> bool {
        self == Held::Column(Column::Urine)
    }
}

/// What is said once of a stay; -1 is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fixed {
    Age,
    Gender,
    Height,
    IcuType,
}

impl Fixed {
    pub const ALL: [(&'static str, Fixed); 4] = [
        ("Age", Fixed::Age),
        ("Gender", Fixed::Gender),
        ("Height", Fixed::Height),
        ("ICUType", Fixed::IcuType),
    ];

    pub fn named(name: &str) -> Option<Fixed> {
        Fixed::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, fixed)| fixed)
    }

    /// Heights in metres and inches occur; a bed has no grown-up below 120 cm or above 230.
    pub fn plausible(self, value: f64) -> bool {
        match self {
            Fixed::Age => (0.0..=120.0).contains(&value),
            Fixed::Gender => value == 0.0 || value == 1.0,
            Fixed::Height => (120.0..=230.0).contains(&value),
            Fixed::IcuType => [1.0, 2.0, 3.0, 4.0].contains(&value),
        }
    }
}
