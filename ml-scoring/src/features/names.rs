//! The fixed list of features. A model's card names the features it was trained on; order and meaning of a name
//! never change, new ones are appended with a new card.

use clinical::Column;

/// What a feature speaks of, so that a reader sees when a score rests on habits of care rather than on the patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    Physiology,
    Trend,
    /// How often and when things were measured, where the patient lies, how long he has been there. Of a patient also every
    /// feature that is missing, whatever it would have spoken of.
    CareProcess,
}

impl Group {
    pub const ALL: [Group; 3] = [Group::Physiology, Group::Trend, Group::CareProcess];
}

/// What is computed of a column. Windows hold the last n rows, the scored one included; a row's value is the last
/// one observed in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Newest value, however old.
    Last,
    /// Rows since it was measured; 0 = in this row.
    AgeH,
    /// Rows of the stay in which it was measured.
    Count,
    /// Newest minus the one before.
    Delta,
    MinStay,
    MaxStay,
    MeanStay,
    Min6h,
    Max6h,
    Mean6h,
    /// Least-squares slope per hour.
    Slope6h,
    Min12h,
    Max12h,
    Mean12h,
    Std12h,
    StdStay,
    Min24h,
    Max24h,
    Mean24h,
    /// Rows of the last 12 in which it was measured.
    Count12h,
    /// Share of the rows of the stay in which it was measured.
    Rate,
    /// Newest minus the newest that was known so many rows ago.
    Change2h,
    Change4h,
    Change8h,
    Change12h,
    /// Newest minus the first of the stay.
    OverFirst,
    /// Mean that begins with the stay's first value and goes 11 % of the way to each later one: what changes for good is half
    /// followed after six values.
    Ewma,
    /// Newest minus [`Kind::Ewma`].
    OverEwma,
    /// Rows of the last 3 and 6 in which it was measured.
    Count3h,
    Count6h,
    /// Rows from the last but one in which it was measured to the last.
    IntervalH,
}

impl Kind {
    pub fn group(self) -> Group {
        match self {
            Kind::AgeH
            | Kind::Count
            | Kind::Count12h
            | Kind::Rate
            | Kind::Count3h
            | Kind::Count6h
            | Kind::IntervalH => Group::CareProcess,
            Kind::Delta
            | Kind::Slope6h
            | Kind::Std12h
            | Kind::StdStay
            | Kind::Change2h
            | Kind::Change4h
            | Kind::Change8h
            | Kind::Change12h
            | Kind::OverFirst
            | Kind::OverEwma => Group::Trend,
            _ => Group::Physiology,
        }
    }

    /// What stands behind the column's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Kind::Last => "",
            Kind::AgeH => "_age_h",
            Kind::Count => "_count",
            Kind::Delta => "_delta",
            Kind::MinStay => "_min_stay",
            Kind::MaxStay => "_max_stay",
            Kind::MeanStay => "_mean_stay",
            Kind::Min6h => "_min_6h",
            Kind::Max6h => "_max_6h",
            Kind::Mean6h => "_mean_6h",
            Kind::Slope6h => "_slope_6h",
            Kind::Min12h => "_min_12h",
            Kind::Max12h => "_max_12h",
            Kind::Mean12h => "_mean_12h",
            Kind::Std12h => "_std_12h",
            Kind::StdStay => "_std_stay",
            Kind::Min24h => "_min_24h",
            Kind::Max24h => "_max_24h",
            Kind::Mean24h => "_mean_24h",
            Kind::Count12h => "_count_12h",
            Kind::Rate => "_rate",
            Kind::Change2h => "_change_2h",
            Kind::Change4h => "_change_4h",
            Kind::Change8h => "_change_8h",
            Kind::Change12h => "_change_12h",
            Kind::OverFirst => "_over_first",
            Kind::Ewma => "_ewma",
            Kind::OverEwma => "_over_ewma",
            Kind::Count3h => "_count_3h",
            Kind::Count6h => "_count_6h",
            Kind::IntervalH => "_interval_h",
        }
    }

    /// UCUM, of a quantity in `unit`.
    pub fn unit(self, unit: &str) -> String {
        match self {
            Kind::AgeH | Kind::IntervalH => "h".into(),
            Kind::Count | Kind::Count12h | Kind::Rate | Kind::Count3h | Kind::Count6h => "1".into(),
            Kind::Slope6h => format!("{unit} per h"),
            _ => unit.into(),
        }
    }
}

macro_rules! features {
    (
        vitals: [$($v:ident $vn:literal)*], tracked: [$($t:ident $tn:literal)*], labs: [$($l:ident $ln:literal)*],
        counted: [$($c:ident $cn:literal)*],
        others: [$($o:ident $on:literal $og:ident;)*], more: [$($m:ident $mn:literal $mg:ident;)*],
        later: [$($n:ident $nn:literal $ng:ident;)*]
    ) => {
        /// The names, in the order of [`crate::Features::values`].
        pub const NAMES: [&str; N] = [
            $($vn, concat!($vn, "_age_h"), concat!($vn, "_count"), concat!($vn, "_delta"),
              concat!($vn, "_min_stay"), concat!($vn, "_max_stay"), concat!($vn, "_mean_stay"),
              concat!($vn, "_min_6h"), concat!($vn, "_max_6h"), concat!($vn, "_mean_6h"), concat!($vn, "_slope_6h"),
              concat!($vn, "_min_12h"), concat!($vn, "_max_12h"), concat!($vn, "_mean_12h"), concat!($vn, "_std_12h"),)*
            $($tn, concat!($tn, "_age_h"), concat!($tn, "_count"), concat!($tn, "_delta"),
              concat!($tn, "_min_stay"), concat!($tn, "_max_stay"),)*
            $($ln, concat!($ln, "_age_h"), concat!($ln, "_count"), concat!($ln, "_delta"),)*
            $($on,)*
            $(concat!($vn, "_std_stay"), concat!($vn, "_min_24h"), concat!($vn, "_max_24h"), concat!($vn, "_mean_24h"),)*
            $(concat!($tn, "_mean_stay"), concat!($tn, "_count_12h"), concat!($tn, "_rate"),)*
            $(concat!($ln, "_mean_stay"), concat!($ln, "_min_stay"), concat!($ln, "_max_stay"),
              concat!($ln, "_count_12h"), concat!($ln, "_rate"),)*
            $($mn,)*
            $(concat!($vn, "_change_2h"), concat!($vn, "_change_4h"), concat!($vn, "_change_8h"),
              concat!($vn, "_change_12h"), concat!($vn, "_over_first"), concat!($vn, "_ewma"),
              concat!($vn, "_over_ewma"),)*
            $(concat!($tn, "_over_first"), concat!($tn, "_interval_h"),)*
            $(concat!($cn, "_count_3h"), concat!($cn, "_count_6h"),)*
            $($nn,)*
        ];

        pub(super) const VITALS: &[Column] = &[$(Column::$v,)*];
        pub(super) const TRACKED: &[Column] = &[$(Column::$t,)*];
        pub(super) const LABS: &[Column] = &[$(Column::$l,)*];
        /// How often they were measured within few hours says how closely somebody looks at the patient.
        const COUNTED: &[Column] = &[$(Column::$c,)*];

        /// Features that are not of one column.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Other { $($o,)* $($m,)* $($n,)* }

        const OTHERS: &[(Other, Group)] = &[$((Other::$o, Group::$og),)*];
        const MORE_OTHERS: &[(Other, Group)] = &[$((Other::$m, Group::$mg),)*];
        const LATER_OTHERS: &[(Other, Group)] = &[$((Other::$n, Group::$ng),)*];
    };
}

const VITAL_KINDS: &[Kind] = &[
    Kind::Last,
    Kind::AgeH,
    Kind::Count,
    Kind::Delta,
    Kind::MinStay,
    Kind::MaxStay,
    Kind::MeanStay,
    Kind::Min6h,
    Kind::Max6h,
    Kind::Mean6h,
    Kind::Slope6h,
    Kind::Min12h,
    Kind::Max12h,
    Kind::Mean12h,
    Kind::Std12h,
];
const TRACKED_KINDS: &[Kind] =
    &[Kind::Last, Kind::AgeH, Kind::Count, Kind::Delta, Kind::MinStay, Kind::MaxStay];
const LAB_KINDS: &[Kind] = &[Kind::Last, Kind::AgeH, Kind::Count, Kind::Delta];

/// What came later, behind the first list's others.
const MORE_VITAL_KINDS: &[Kind] = &[Kind::StdStay, Kind::Min24h, Kind::Max24h, Kind::Mean24h];
const MORE_TRACKED_KINDS: &[Kind] = &[Kind::MeanStay, Kind::Count12h, Kind::Rate];
const MORE_LAB_KINDS: &[Kind] = &[Kind::MeanStay, Kind::MinStay, Kind::MaxStay, Kind::Count12h, Kind::Rate];

/// What came later still.
const LATER_VITAL_KINDS: &[Kind] = &[
    Kind::Change2h,
    Kind::Change4h,
    Kind::Change8h,
    Kind::Change12h,
    Kind::OverFirst,
    Kind::Ewma,
    Kind::OverEwma,
];
const LATER_TRACKED_KINDS: &[Kind] = &[Kind::OverFirst, Kind::IntervalH];
const COUNTED_KINDS: &[Kind] = &[Kind::Count3h, Kind::Count6h];

/// One part of the list: columns times kinds, or features of no single column.
#[derive(Clone, Copy)]
pub(super) enum Section {
    Columns(&'static [Column], &'static [Kind]),
    Others(&'static [(Other, Group)]),
}

/// The whole list, in its order.
pub(super) const SECTIONS: [Section; 12] = [
    Section::Columns(VITALS, VITAL_KINDS),
    Section::Columns(TRACKED, TRACKED_KINDS),
    Section::Columns(LABS, LAB_KINDS),
    Section::Others(OTHERS),
    Section::Columns(VITALS, MORE_VITAL_KINDS),
    Section::Columns(TRACKED, MORE_TRACKED_KINDS),
    Section::Columns(LABS, MORE_LAB_KINDS),
    Section::Others(MORE_OTHERS),
    Section::Columns(VITALS, LATER_VITAL_KINDS),
    Section::Columns(TRACKED, LATER_TRACKED_KINDS),
    Section::Columns(COUNTED, COUNTED_KINDS),
    Section::Others(LATER_OTHERS),
];

impl Section {
    const fn len(self) -> usize {
        match self {
            Section::Columns(columns, kinds) => columns.len() * kinds.len(),
            Section::Others(others) => others.len(),
        }
    }
}

/// How many features stand before section `section`.
const fn before(section: usize) -> usize {
    let (mut i, mut sum) = (0, 0);
    while i < section {
        sum += SECTIONS[i].len();
        i += 1;
    }
    sum
}

/// How many features there are.
pub const N: usize = before(SECTIONS.len());

features! {
    vitals: [Hr "HR" O2Sat "O2Sat" Temp "Temp" Sbp "SBP" Map "MAP" Dbp "DBP" Resp "Resp"],
    tracked: [
        BaseExcess "BaseExcess" Hco3 "HCO3" FiO2 "FiO2" Ph "pH" PaCo2 "PaCO2" Bun "BUN" Creatinine "Creatinine"
        Glucose "Glucose" Lactate "Lactate" Potassium "Potassium" BilirubinTotal "Bilirubin_total" Hgb "Hgb"
        Wbc "WBC" Platelets "Platelets"
    ],
    labs: [
        EtCo2 "EtCO2" SaO2 "SaO2" Ast "AST" AlkalinePhos "Alkalinephos" Calcium "Calcium" Chloride "Chloride"
        BilirubinDirect "Bilirubin_direct" Magnesium "Magnesium" Phosphate "Phosphate" TroponinI "TroponinI"
        Hct "Hct" Ptt "PTT" Fibrinogen "Fibrinogen"
    ],
    counted: [FiO2 "FiO2" Temp "Temp" Resp "Resp" Hr "HR" Glucose "Glucose" Lactate "Lactate"],
    others: [
        AgeYears "Age" Physiology;
        Male "Gender" Physiology;
        Iculos "ICULOS" CareProcess;
        HospAdmTime "HospAdmTime" CareProcess;
        MedicalUnit "Unit1" CareProcess;
        ShockIndex "shock_index" Physiology;
        AgeShockIndex "age_shock_index" Physiology;
        PulsePressure "pulse_pressure" Physiology;
        SfRatio "sf_ratio" Physiology;
        BunCreatinine "bun_creatinine" Physiology;
        SofaRespiration "sofa_respiration" Physiology;
        SofaCoagulation "sofa_coagulation" Physiology;
        SofaLiver "sofa_liver" Physiology;
        SofaCirculation "sofa_circulation" Physiology;
        SofaRenal "sofa_renal" Physiology;
        SofaParts "sofa_parts" Physiology;
        Sirs "sirs" Physiology;
        QsofaParts "qsofa_parts" Physiology;
        NewsParts "news_parts" Physiology;
        CreatinineOverMin "creatinine_over_min" Trend;
        PlateletsOverMax "platelets_over_max" Trend;
        HrOverStayMean "hr_over_stay_mean" Trend;
        MapOverStayMean "map_over_stay_mean" Trend;
        TempOverStayMean "temp_over_stay_mean" Trend;
        RespOverStayMean "resp_over_stay_mean" Trend;
        HypotensionHours12h "map_below_65_hours_12h" Physiology;
        FeverHours12h "temp_above_38_hours_12h" Physiology;
        TachycardiaHours12h "hr_above_90_hours_12h" Physiology;
        TachypnoeaHours12h "resp_above_20_hours_12h" Physiology;
        Vitals6h "vitals_6h" CareProcess;
        Labs6h "labs_6h" CareProcess;
        Labs24h "labs_24h" CareProcess;
        LabAgeH "lab_age_h" CareProcess;
        LabColumns "lab_columns" CareProcess;
    ],
    more: [
        HoursInHospital "hours_in_hospital" CareProcess;
        SirsMean12h "sirs_mean_12h" Physiology;
        SirsMax12h "sirs_max_12h" Physiology;
        QsofaMean12h "qsofa_mean_12h" Physiology;
        ShockIndexMax12h "shock_index_max_12h" Physiology;
        SofaOverMin24h "sofa_over_min_24h" Trend;
        WbcPlatelets "wbc_platelets" Physiology;
        MapShockIndex "map_shock_index" Physiology;
        HctHgb "hct_hgb" Physiology;
        PulsePressureShare "pulse_pressure_share" Physiology;
        Rox "rox" Physiology;
        ChlorideBicarbonate "chloride_bicarbonate" Physiology;
        BilirubinDirectShare "bilirubin_direct_share" Physiology;
        LabsRising6h "labs_rising_6h" CareProcess;
        LabColumns24h "lab_columns_24h" CareProcess;
        LabsRate "labs_rate" CareProcess;
        VitalsRate "vitals_rate" CareProcess;
    ],
    later: [
        NewLabs6h "new_labs_6h" CareProcess;
        NewLabs24h "new_labs_24h" CareProcess;
        Labs3h "labs_drawn_3h" CareProcess;
        LabRows24h "lab_rows_24h" CareProcess;
        LabsDayBefore "labs_day_before" CareProcess;
        LabsLastDraw "labs_last_draw" CareProcess;
        Labs6hOverDayBefore "labs_6h_over_day_before" CareProcess;
        HypotensionAgeH "map_below_65_age_h" Physiology;
        LowSystolicAgeH "sbp_below_100_age_h" Physiology;
        FeverAgeH "temp_above_38_age_h" Physiology;
        ColdAgeH "temp_below_36_age_h" Physiology;
        TachycardiaAgeH "hr_above_100_age_h" Physiology;
        HypotensionHours "map_below_65_hours" Physiology;
        FeverHours "temp_above_38_hours" Physiology;
        TachycardiaHours "hr_above_100_hours" Physiology;
        TachypnoeaHours "resp_above_22_hours" Physiology;
        DesaturationHours "o2sat_below_92_hours" Physiology;
    ]
}

/// What feature `index` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    Of(Column, Kind),
    Other(Other),
}

/// The section that feature `index` stands in, and its place there; `None` beyond the list.
fn section(index: usize) -> Option<(Section, usize)> {
    let mut rest = index;
    for section in SECTIONS {
        if rest < section.len() {
            return Some((section, rest));
        }
        rest -= section.len();
    }
    None
}

/// `None` beyond the list.
pub fn meaning(index: usize) -> Option<Meaning> {
    Some(match section(index)? {
        (Section::Columns(columns, kinds), place) => {
            Meaning::Of(columns[place / kinds.len()], kinds[place % kinds.len()])
        }
        (Section::Others(others), place) => Meaning::Other(others[place].0),
    })
}

/// `None` beyond the list.
pub fn group(index: usize) -> Option<Group> {
    Some(match section(index)? {
        (Section::Columns(_, kinds), place) => kinds[place % kinds.len()].group(),
        (Section::Others(others), place) => others[place].1,
    })
}

/// Index of what is computed of a column; `None` where that is not in the list.
pub(crate) fn index_of_column(column: Column, kind: Kind) -> Option<usize> {
    let mut first = 0;
    for section in SECTIONS {
        if let Section::Columns(columns, kinds) = section {
            let places = (columns.iter().position(|c| *c == column), kinds.iter().position(|k| *k == kind));
            if let (Some(of_column), Some(of_kind)) = places {
                return Some(first + of_column * kinds.len() + of_kind);
            }
        }
        first += section.len();
    }
    None
}

/// What a feature says of a sign and a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// Rows since it was beyond; missing where it never was.
    AgeH,
    /// Rows of the stay in which it was.
    Hours,
}

/// The sign of a feature that speaks of a limit.
pub(crate) fn beyond(other: Other) -> Option<(Column, Beyond)> {
    match other {
        Other::HypotensionAgeH => Some((Column::Map, Beyond::AgeH)),
        Other::LowSystolicAgeH => Some((Column::Sbp, Beyond::AgeH)),
        Other::FeverAgeH | Other::ColdAgeH => Some((Column::Temp, Beyond::AgeH)),
        Other::TachycardiaAgeH => Some((Column::Hr, Beyond::AgeH)),
        Other::HypotensionHours => Some((Column::Map, Beyond::Hours)),
        Other::FeverHours => Some((Column::Temp, Beyond::Hours)),
        Other::TachycardiaHours => Some((Column::Hr, Beyond::Hours)),
        Other::TachypnoeaHours => Some((Column::Resp, Beyond::Hours)),
        Other::DesaturationHours => Some((Column::O2Sat, Beyond::Hours)),
        _ => None,
    }
}

pub fn index_of_other(other: Other) -> usize {
    let place = other as usize;
    match place.checked_sub(OTHERS.len()) {
        None => before(3) + place,
        Some(more) if more < MORE_OTHERS.len() => before(7) + more,
        Some(more) => before(11) + more - MORE_OTHERS.len(),
    }
}

/// Index of a feature's name.
pub fn index_of(name: &str) -> Option<usize> {
    NAMES.iter().position(|n| *n == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_mean_what_they_say() {
        assert_eq!(NAMES.iter().collect::<HashSet<_>>().len(), N);
        for (i, name) in NAMES.iter().enumerate() {
            match meaning(i) {
                Some(Meaning::Of(column, kind)) => {
                    assert_eq!(*name, format!("{}{}", column.name(), kind.suffix()));
                    assert_eq!(index_of_column(column, kind), Some(i));
                }
                Some(Meaning::Other(other)) => assert_eq!(i, index_of_other(other)),
                None => panic!("{name} has no meaning"),
            }
            assert!(group(i).is_some());
        }
        assert_eq!((meaning(N), group(N)), (None, None));
        assert_eq!(
            index_of("Lactate_delta").and_then(meaning),
            Some(Meaning::Of(Column::Lactate, Kind::Delta))
        );
    }
}
