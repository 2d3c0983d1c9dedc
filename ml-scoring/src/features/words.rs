//! A feature and its value as a person would say it.

use clinical::Column;

use super::is_measured;
use super::names::{Beyond, Kind, Meaning, Other, beyond, meaning};

/// `lactate 3.1 mmol/L, up 1.2`; `values` is the whole row, `index` the feature to speak of.
pub fn words(index: usize, values: &[f32]) -> String {
    let value = values.get(index).copied().unwrap_or(f32::NAN);
    match meaning(index) {
        Some(Meaning::Of(column, kind)) => of_column(column, kind, value, trend(index, column, kind, values)),
        Some(Meaning::Other(other)) => match beyond(other) {
            Some((column, kind)) if is_measured(column, values) => of_limit(name_of(other), kind, value),
            Some((column, _)) => format!("{} not measured", column.words()),
            None => of_other(other, value),
        },
        None => String::new(),
    }
}

/// A column's newest value alone: `lactate 3.1 mmol/L`.
pub fn words_of_value(column: Column, value: f32) -> String {
    of_column(column, Kind::Last, value, String::new())
}

/// What `_delta`, three places after the value itself, adds to it.
fn trend(index: usize, column: Column, kind: Kind, values: &[f32]) -> String {
    if kind != Kind::Last {
        return String::new();
    }
    match values.get(index + 3).copied() {
        Some(delta) if delta > 0.0 => format!(", up {}", number(column, delta)),
        Some(delta) if delta < 0.0 => format!(", down {}", number(column, -delta)),
        _ => String::new(),
    }
}

fn of_column(column: Column, kind: Kind, value: f32, trend: String) -> String {
    let name = column.words();
    if value.is_nan() {
        return match kind {
            Kind::Last | Kind::AgeH => format!("{name} not measured"),
            Kind::Delta
            | Kind::Slope6h
            | Kind::Std12h
            | Kind::StdStay
            | Kind::Change2h
            | Kind::Change4h
            | Kind::Change8h
            | Kind::Change12h => format!("{name}: too few values for a trend"),
            Kind::IntervalH => format!("{name} measured fewer than twice"),
            Kind::Min6h | Kind::Max6h | Kind::Mean6h => format!("{name} not measured in 6 h"),
            Kind::Min12h | Kind::Max12h | Kind::Mean12h => format!("{name} not measured in 12 h"),
            Kind::Min24h | Kind::Max24h | Kind::Mean24h => format!("{name} not measured in 24 h"),
            Kind::Count
            | Kind::MinStay
            | Kind::MaxStay
            | Kind::MeanStay
            | Kind::Count12h
            | Kind::Rate
            | Kind::OverFirst
            | Kind::Ewma
            | Kind::OverEwma
            | Kind::Count3h
            | Kind::Count6h => format!("{name} not measured"),
        };
    }
    let quantity = format!("{}{}", number(column, value), unit(column));
    let change = format!("{}{}", signed(column, value), unit(column));
    let changed = |hours| format!("{name} {change} against {hours} h before");
    match kind {
        Kind::Last => format!("{name} {quantity}{trend}"),
        Kind::AgeH if value == 0.0 => format!("{name} measured within the hour"),
        Kind::AgeH => format!("{name} last measured {value} h ago"),
        Kind::Count if value == 1.0 => format!("{name} measured in one hour of the stay"),
        Kind::Count => format!("{name} measured in {value} hours of the stay"),
        Kind::Delta => format!("{name} changed by {change}"),
        Kind::Slope6h => format!("{name} {change} per hour over 6 h"),
        Kind::Std12h => format!("{name} varied by {quantity} (SD) over 12 h"),
        Kind::MinStay => format!("lowest {name} of the stay {quantity}"),
        Kind::MaxStay => format!("highest {name} of the stay {quantity}"),
        Kind::MeanStay => format!("mean {name} of the stay {quantity}"),
        Kind::Min6h => format!("lowest {name} in 6 h {quantity}"),
        Kind::Max6h => format!("highest {name} in 6 h {quantity}"),
        Kind::Mean6h => format!("mean {name} over 6 h {quantity}"),
        Kind::Min12h => format!("lowest {name} in 12 h {quantity}"),
        Kind::Max12h => format!("highest {name} in 12 h {quantity}"),
        Kind::Mean12h => format!("mean {name} over 12 h {quantity}"),
        Kind::StdStay => format!("{name} varied by {quantity} (SD) over the stay"),
        Kind::Min24h => format!("lowest {name} in 24 h {quantity}"),
        Kind::Max24h => format!("highest {name} in 24 h {quantity}"),
        Kind::Mean24h => format!("mean {name} over 24 h {quantity}"),
        Kind::Count12h => format!("{name} measured in {value:.0} of the last 12 hours"),
        Kind::Rate => format!("{name} measured in {:.0} % of the hours of the stay", value * 100.0),
        Kind::Change2h => changed(2),
        Kind::Change4h => changed(4),
        Kind::Change8h => changed(8),
        Kind::Change12h => changed(12),
        Kind::OverFirst => format!("{name} {change} against the first of the stay"),
        Kind::Ewma => format!("smoothed {name} {quantity}"),
        Kind::OverEwma => format!("{name} {change} against its smoothed course"),
        Kind::Count3h => format!("{name} measured in {value:.0} of the last 3 hours"),
        Kind::Count6h => format!("{name} measured in {value:.0} of the last 6 hours"),
        Kind::IntervalH => format!("last two measurements of {name} {value:.0} h apart"),
    }
}

/// `sign` has the limit with it.
fn of_limit(sign: &str, kind: Beyond, value: f32) -> String {
    match kind {
        Beyond::AgeH if value == 0.0 => format!("{sign} within the hour"),
        Beyond::AgeH if !value.is_nan() => format!("{sign} last {value:.0} h ago"),
        Beyond::Hours if value > 0.0 => format!("{sign} in {value:.0} h of the stay"),
        Beyond::AgeH | Beyond::Hours => format!("{sign} in no hour of the stay"),
    }
}

fn of_other(other: Other, value: f32) -> String {
    let whole = format!("{value:.0}");
    let two = format!("{value:.2}");
    if value.is_nan() {
        return format!("{} not known", name_of(other));
    }
    match other {
        Other::AgeYears => format!("age {whole} years"),
        Other::Male => (if value == 1.0 { "male" } else { "female" }).into(),
        Other::Iculos => format!("hour {whole} in intensive care"),
        // + 0.0: nobody says minus zero.
        Other::HospAdmTime => format!("{:.0} h in hospital before intensive care", (-value).round() + 0.0),
        Other::MedicalUnit => (if value == 1.0 { "medical unit" } else { "surgical unit" }).into(),
        Other::HrOverStayMean
        | Other::MapOverStayMean
        | Other::TempOverStayMean
        | Other::RespOverStayMean => {
            format!("{} {value:+.1}", name_of(other))
        }
        Other::ShockIndex
        | Other::BunCreatinine
        | Other::CreatinineOverMin
        | Other::PlateletsOverMax
        | Other::SirsMean12h
        | Other::QsofaMean12h
        | Other::ShockIndexMax12h
        | Other::WbcPlatelets
        | Other::MapShockIndex
        | Other::HctHgb
        | Other::PulsePressureShare
        | Other::BilirubinDirectShare
        | Other::LabsRate
        | Other::VitalsRate => {
            format!("{} {two}", name_of(other))
        }
        Other::HypotensionHours12h
        | Other::FeverHours12h
        | Other::TachycardiaHours12h
        | Other::TachypnoeaHours12h => format!("{} in {whole} of the last 12 h", name_of(other)),
        Other::Labs6hOverDayBefore => format!("{} {value:+.0}", name_of(other)),
        _ => format!("{} {whole}", name_of(other)),
    }
}

fn name_of(other: Other) -> &'static str {
    match other {
        Other::AgeYears => "age",
        Other::Male => "sex",
        Other::Iculos => "time in intensive care",
        Other::HospAdmTime => "time in hospital before intensive care",
        Other::MedicalUnit => "kind of unit",
        Other::ShockIndex => "shock index (heart rate / systolic pressure)",
        Other::AgeShockIndex => "age × shock index",
        Other::PulsePressure => "pulse pressure in mm[Hg]",
        Other::SfRatio => "SpO2/FiO2",
        Other::BunCreatinine => "urea nitrogen / creatinine",
        Other::SofaRespiration => "SOFA points for respiration",
        Other::SofaCoagulation => "SOFA points for coagulation",
        Other::SofaLiver => "SOFA points for the liver",
        Other::SofaCirculation => "SOFA points for circulation",
        Other::SofaRenal => "SOFA points for the kidneys",
        Other::SofaParts => "known SOFA points",
        Other::Sirs => "SIRS criteria met",
        Other::QsofaParts => "known qSOFA points",
        Other::NewsParts => "known NEWS2 points",
        Other::CreatinineOverMin => "creatinine against its lowest of the stay",
        Other::PlateletsOverMax => "platelets against their highest of the stay",
        Other::HrOverStayMean => "heart rate against its mean of the stay",
        Other::MapOverStayMean => "mean arterial pressure against its mean of the stay",
        Other::TempOverStayMean => "temperature against its mean of the stay",
        Other::RespOverStayMean => "respiratory rate against its mean of the stay",
        Other::TachycardiaHours12h => "heart rate above 90",
        Other::TachypnoeaHours12h => "respiratory rate above 20",
        Other::Vitals6h => "vital signs charted in 6 h:",
        Other::Labs6h => "laboratory values in 6 h:",
        Other::Labs24h => "laboratory values in 24 h:",
        Other::LabAgeH => "hours since the last laboratory value:",
        Other::LabColumns => "different laboratory values of the stay:",
        Other::HoursInHospital => "hours in hospital:",
        Other::SirsMean12h => "SIRS criteria met, mean of 12 h:",
        Other::SirsMax12h => "SIRS criteria met, most in 12 h:",
        Other::QsofaMean12h => "known qSOFA points, mean of 12 h:",
        Other::ShockIndexMax12h => "highest shock index in 12 h",
        Other::SofaOverMin24h => "known SOFA points above the lowest of 24 h:",
        Other::WbcPlatelets => "white cells / platelets",
        Other::MapShockIndex => "heart rate / mean arterial pressure",
        Other::HctHgb => "haematocrit / haemoglobin",
        Other::PulsePressureShare => "pulse pressure / systolic pressure",
        Other::Rox => "SpO2/FiO2 per respiratory rate",
        Other::ChlorideBicarbonate => "chloride and bicarbonate together, mmol/L:",
        Other::BilirubinDirectShare => "direct / total bilirubin",
        Other::LabsRising6h => "laboratory values in 6 h above the pace of 24 h:",
        Other::LabColumns24h => "different laboratory values in 24 h:",
        Other::LabsRate => "laboratory values per hour of the stay:",
        Other::VitalsRate => "vital signs charted per hour of the stay:",
        Other::NewLabs6h => "laboratory values first measured within 6 h:",
        Other::NewLabs24h => "laboratory values first measured within 24 h:",
        Other::Labs3h => "laboratory values drawn in 3 h:",
        Other::LabRows24h => "hours of the last 24 with a laboratory value:",
        Other::LabsDayBefore => "laboratory values from 48 to 24 h ago:",
        Other::LabsLastDraw => "laboratory values of the last draw:",
        Other::Labs6hOverDayBefore => "laboratory values in 6 h above those of a day before:",
        Other::HypotensionHours12h | Other::HypotensionAgeH | Other::HypotensionHours => {
            "mean arterial pressure below 65"
        }
        Other::LowSystolicAgeH => "systolic pressure below 100",
        Other::FeverHours12h | Other::FeverAgeH | Other::FeverHours => "temperature above 38",
        Other::ColdAgeH => "temperature below 36",
        Other::TachycardiaAgeH | Other::TachycardiaHours => "heart rate above 100",
        Other::TachypnoeaHours => "respiratory rate above 22",
        Other::DesaturationHours => "oxygen saturation below 92 %",
    }
}

fn unit(column: Column) -> String {
    match column {
        Column::FiO2 | Column::Ph | Column::Gcs => String::new(),
        Column::Temp => " °C".into(),
        Column::Map | Column::Sbp | Column::Dbp | Column::EtCo2 | Column::PaCo2 | Column::PaO2 => {
            " mmHg".into()
        }
        Column::Wbc | Column::Platelets => " 10³/µL".into(),
        _ => format!(" {}", column.unit()),
    }
}

fn decimals(column: Column) -> usize {
    match column {
        Column::FiO2 | Column::Ph | Column::Creatinine | Column::TroponinI => 2,
        Column::Hr
        | Column::Sbp
        | Column::Map
        | Column::Dbp
        | Column::Resp
        | Column::O2Sat
        | Column::SaO2
        | Column::Gcs => 0,
        Column::Ast | Column::AlkalinePhos | Column::Fibrinogen | Column::Platelets | Column::Glucose => 0,
        _ => 1,
    }
}

fn number(column: Column, value: f32) -> String {
    format!("{value:.*}", decimals(column))
}

fn signed(column: Column, value: f32) -> String {
    format!("{value:+.*}", decimals(column).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::{N, NAMES, index_of};

    #[test]
    fn a_value_is_said_with_its_unit_and_its_trend() {
        let mut values = vec![f32::NAN; N];
        let lactate = index_of("Lactate").unwrap();
        assert_eq!(words(lactate, &values), "lactate not measured");
        values[lactate] = 3.1;
        assert_eq!(words(lactate, &values), "lactate 3.1 mmol/L");
        values[index_of("Lactate_delta").unwrap()] = 1.2;
        assert_eq!(words(lactate, &values), "lactate 3.1 mmol/L, up 1.2");
        values[index_of("MAP_min_12h").unwrap()] = 58.2;
        assert_eq!(
            words(index_of("MAP_min_12h").unwrap(), &values),
            "lowest mean arterial pressure in 12 h 58 mmHg"
        );
    }

    #[test]
    fn every_feature_has_words_known_or_not() {
        let (missing, ones) = (vec![f32::NAN; N], vec![1.0; N]);
        for (i, name) in NAMES.iter().enumerate() {
            assert!(words(i, &missing).len() > 2 && words(i, &ones).len() > 2, "{name}");
            assert!(!words(i, &missing).contains("NaN"), "{name}");
        }
        assert_eq!(words(N, &ones), "");
    }
}
