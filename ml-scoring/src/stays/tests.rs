//! Made-up stays: what is read of them, what is refused, and what their features may know.

use clinical::Column;
use proptest::prelude::*;

use super::*;
use crate::features as stream;

const LONG: &str = "set,RecordID,Time,Parameter,Value\n";
const OUTCOMES: &str = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n";

/// Two stays as the set writes them.
const TWO: &str = "a,1,00:00,RecordID,1\na,1,00:00,Age,54\na,1,00:00,Gender,0\na,1,00:00,Height,-1\n\
a,1,00:00,ICUType,4\na,1,00:00,Weight,-1\na,1,00:07,GCS,15\na,1,00:07,NISysABP,147\na,1,00:37,SysABP,140\n\
a,1,00:50,NISysABP,151\na,1,01:10,Urine,60\na,1,01:40,Urine,90\na,1,47:59,HR,88\na,1,48:00,HR,190\n\
a,2,00:00,RecordID,2\na,2,00:00,Age,90\na,2,00:00,Gender,1\na,2,00:00,Height,170.2\na,2,00:00,ICUType,2\n\
a,2,00:00,Weight,80\na,2,03:00,pH,735\na,2,03:30,pH,7.35\na,2,04:00,Temp,-17.8\na,2,04:00,MechVent,1\n\
a,2,05:00,Na,138\n";
const TWO_OUTCOMES: &str = "1,6,-1,5,-1,0\n2,-1,8,9,7,1\n";

fn read(long: &str, outcomes: &str) -> Result<Vec<Stay>, crate::dataset::DatasetError> {
    let files = [("long.csv", format!("{LONG}{long}")), ("outcomes.csv", format!("{OUTCOMES}{outcomes}"))];
    open(files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes())))?.collect()
}

fn value(stay: &Stay, name: &str) -> f32 {
    let place = names().position(|known| known == name).unwrap_or_else(|| panic!("no feature {name}"));
    stay.close().values()[place]
}

#[test]
fn stays_come_whole_with_what_was_set_aside() {
    let stays = read(TWO, TWO_OUTCOMES).unwrap();
    let [first, second] = stays.as_slice() else { panic!("{} stays", stays.len()) };
    let of = |stay: &Stay, column: Column, hour: usize| stay.patient.rows[hour].values[column as usize];
    assert_eq!((first.patient.pid.as_str(), first.patient.age, first.patient.gender), ("1", 54.0, 0.0));
    assert_eq!((first.icu_type, second.icu_type), (Some(IcuType::Surgical), Some(IcuType::CardiacSurgery)));
    assert!(first.height_cm.is_nan() && of(first, Column::Weight, 0).is_nan(), "-1 is missing");
    assert!(first.set_aside.is_empty(), "and not implausible");
    assert_eq!(of(first, Column::Sbp, 0), 140.0, "the arterial line counts, although the cuff came later");
    assert_eq!(of(first, Column::Urine, 1), 150.0, "volumes of an hour add up");
    assert_eq!(of(first, Column::Hr, 47), 88.0, "48:00 is after the last hour");
    assert_eq!((of(second, Column::Ph, 3), second.height_cm), (7.35, 170.2));
    assert!(of(second, Column::Temp, 4).is_nan());
    assert_eq!(second.set_aside, BTreeMap::from([("Temp", 1), ("pH", 1)]));
    let outcome = Outcome { died: false, saps_i: Some(6), sofa: None };
    assert_eq!(first.outcome, Some(outcome));
    assert_eq!(second.outcome, Some(Outcome { died: true, saps_i: None, sofa: Some(8) }));
    assert_eq!(first.patient.rows.len(), HOURS, "also hours in which nothing was measured");
    assert!(read(TWO, "2,-1,8,9,7,1\n").unwrap()[0].outcome.is_none());
}

#[test]
fn features_are_the_stream_s_and_what_a_whole_stay_shows() {
    let stays = read(TWO, TWO_OUTCOMES).unwrap();
    let (first, second) = (&stays[0], &stays[1]);
    let close = first.close();
    assert_eq!(close.values().len(), N);
    let batch = first.patient.features();
    let same = close.features.values.iter().zip(&batch[HOURS - 1].values);
    assert!(same.clone().count() == stream::N && same.clone().all(|(a, b)| a.to_bits() == b.to_bits()));
    let of = |name: &str| value(first, name);
    assert_eq!((of("SBP"), of("SBP_age_h"), of("HR"), of("ICULOS")), (140.0, 47.0, 88.0, 48.0));
    assert_eq!((of("GCS"), of("GCS_age_h"), of("GCS_count")), (15.0, 47.0, 1.0));
    assert_eq!((of("urine_48h"), of("urine_day1"), of("icu_surgical")), (150.0, 150.0, 1.0));
    assert!(of("urine_24h").is_nan() && of("BMI").is_nan() && of("Na").is_nan() && of("pf_ratio").is_nan());
    // Age 54: 1; GCS 15, pulse 88, systolic 140: 0; urine 150 mL in the day: 4.
    assert_eq!((of("saps_parts_day1"), of("saps_parts_day2")), (5.0, 1.0));
    assert_eq!((value(second, "ventilated_hours"), value(second, "ventilated_age_h")), (1.0, 43.0));
    assert!((value(second, "BMI") - 80.0 / 1.702_f32.powi(2)).abs() < 1e-4);
    assert_eq!((value(second, "Na_mean_stay"), value(second, "pH_max_24h").is_nan()), (138.0, true));
}

#[test]
fn a_name_is_one_feature_and_has_its_unit() {
    let all: Vec<&str> = names().collect();
    let distinct: std::collections::HashSet<&str> = all.iter().copied().collect();
    assert_eq!((all.len(), distinct.len()), (N, N));
    assert_eq!(all[..stream::N], stream::NAMES);
    assert_eq!((unit(0), unit(N)), (None, None));
    assert!((stream::N..N).all(|index| !unit(index).unwrap().is_empty()));
    let of = |name: &str| unit(all.iter().position(|known| *known == name).unwrap()).unwrap();
    assert_eq!([of("Na"), of("Na_age_h"), of("PaO2_min_24h"), of("BMI")], ["mmol/L", "h", "mm[Hg]", "kg/m2"]);
}

/// What became of a patient, and what came after hour 48, changes no feature.
#[test]
fn nothing_leaks() {
    let bits = |stays: &[Stay]| -> Vec<Vec<u32>> {
        stays.iter().map(|stay| stay.close().values().iter().map(|value| value.to_bits()).collect()).collect()
    };
    let told = bits(&read(TWO, TWO_OUTCOMES).unwrap());
    assert_eq!(told, bits(&read(TWO, "1,30,20,1,2,1\n2,0,0,99,-1,0\n").unwrap()));
    assert_eq!(told, bits(&read(&TWO.replace("a,1,48:00,HR,190\n", ""), TWO_OUTCOMES).unwrap()));
    assert_ne!(told, bits(&read(&TWO.replace("47:59,HR,88", "47:59,HR,89"), TWO_OUTCOMES).unwrap()));
}

#[test]
fn mistakes_are_named_by_file_and_line() {
    let error = |long: &str, outcomes: &str| read(long, outcomes).map(|_| ()).unwrap_err().to_string();
    let with = |from: &str, to: &str| {
        assert!(TWO.contains(from), "{from}");
        error(&TWO.replacen(from, to, 1), TWO_OUTCOMES)
    };
    assert_eq!(with("00:07,GCS,15", "00:07,GCS,x"), "long.csv: line 8, column Value: not a number");
    assert_eq!(with("00:07,GCS,15", "00:07,GCS,inf"), "long.csv: line 8, column Value: not a number");
    let time = "long.csv: line 8, column Time: not a time hh:mm from 00:00 to 48:00";
    for wrong in ["48:01", "0:07", "00:60", "00:+7", "noon"] {
        assert_eq!(with("00:07,GCS,15", &format!("{wrong},GCS,15")), time);
    }
    assert_eq!(with("GCS,15", "GSC,15"), "long.csv: line 8, column Parameter: not one of the 2012 set's");
    assert_eq!(
        with("a,1,00:07,GCS", "a,b,00:07,GCS"),
        "long.csv: line 8, column RecordID: not a whole number"
    );
    assert_eq!(with("GCS,15", "GCS,15,1"), "long.csv: line 8: 6 fields; expected 5");
    assert!(with("RecordID,2", "RecordID,1").starts_with("long.csv: line 16, column Value: differs"));
    assert!(
        error(&format!("{TWO}a,1,40:00,HR,80\n"), "")
            .starts_with("long.csv: line 27, column RecordID: its lines")
    );
    assert!(error(&"9".repeat(5000), "").starts_with("long.csv: line 2: longer than"));
    assert_eq!(
        error(TWO, "1,6,1,5,-1,2\n"),
        "outcomes.csv: line 2, column In-hospital_death: neither 0 nor 1"
    );
    assert!(
        error(TWO, "1,6,1,5,-1,0\n1,6,1,5,-1,0\n").starts_with("outcomes.csv: line 3, column RecordID: has")
    );
    assert!(error(TWO, "1,6000,1,5,-1,0\n").starts_with("outcomes.csv: line 2, column SAPS-I"));
    let other = open([("x.csv".to_owned(), crate::dataset::HEADER.as_bytes())]).map(|_| ()).unwrap_err();
    assert!(other.to_string().starts_with("x.csv: line 1: no file of the 2012 set"), "{other}");
    assert!(std::error::Error::source(&other).is_none(), "or it is told twice");
}

proptest! {
    /// Lines of a stay that differ in time may come in any order.
    #[test]
    fn the_order_of_a_stay_s_lines_does_not_matter(
        values in prop::collection::btree_map((0u32..2880, 0usize..6), 20u32..300, 1..60),
        seed in any::<u64>(),
    ) {
        let parameters = ["HR", "SysABP", "NISysABP", "Urine", "Na", "Weight"];
        let mut lines: Vec<String> = values.iter().map(|((minute, parameter), value)| {
            format!("b,7,{:02}:{:02},{},{value}\n", minute / 60, minute % 60, parameters[*parameter])
        }).collect();
        let told = read(&lines.concat(), "").unwrap();
        // As good as any shuffle that the seed names.
        lines.sort_by_key(|line| line.bytes().fold(seed, |hash, byte| hash.rotate_left(7) ^ u64::from(byte) ^ (hash >> 3)));
        let again = read(&lines.concat(), "").unwrap();
        let bits = |stays: &[Stay]| -> Vec<u32> { stays[0].close().values().iter().map(|v| v.to_bits()).collect() };
        prop_assert_eq!(bits(&told), bits(&again));
    }

    #[test]
    fn whatever_a_file_holds_is_read_or_refused(text in "(a,1,[0-9]{2}:[0-9]{2},(HR|Urine|pH|Age),-?[0-9.e]{1,6}\n){0,6}\\PC{0,40}") {
        if let Ok(stays) = read(&text, "") {
            prop_assert!(stays.iter().all(|stay| stay.close().values().len() == N));
        }
        let _ = read("", &text);
    }
}
