//! One simulated patient: an admission, hourly vital signs, blood every few hours, a transfer, a discharge.

use clinical::Time;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::er7::{header, segment, timestamp};
use super::physiology::{Labs, Physiology, Vitals};

const FAMILY: [&str; 12] = [
    "Ahlgren",
    "Brunner",
    "Castelli",
    "Dubois",
    "Eriksen",
    "Fontana",
    "Gerber",
    "Hofmann",
    "Imhof",
    "Jansen",
    "Keller",
    "Lindqvist",
];
const GIVEN: [&str; 12] =
    ["Anna", "Bruno", "Clara", "David", "Elena", "Felix", "Greta", "Hugo", "Ines", "Jonas", "Karin", "Luca"];
const WARDS: [&str; 4] = ["ICU-A", "ICU-B", "MED-1", "SUR-2"];

/// What happens next to the patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Admit,
    Vitals,
    Labs,
    Transfer,
    Discharge,
}

pub struct Patient {
    pub id: String,
    pub visit: String,
    pub facility: String,
    family: &'static str,
    given: &'static str,
    born: String,
    sex: &'static str,
    ward: &'static str,
    bed: u32,
    pub admitted_at: Time,
    leaves_at: Time,
    physiology: Physiology,
    rng: ChaCha8Rng,
    orders: u32,
    discharged: bool,
}

/// One observation as it goes into an OBX.
struct Obx {
    /// OBX-3 as written.
    code: &'static str,
    kind: &'static str,
    value: String,
    unit: &'static str,
}

/// A result message, with what an amendment of it needs.
pub struct Results {
    pub body: String,
    /// The same results with a corrected first value and status C.
    pub amended: String,
}

impl Patient {
    /// Everything about the patient follows from the hospital's seed and the patient's number.
    pub fn new(seed: u64, number: u32, facility: &str, window: (Time, Time), septic: f64) -> Patient {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ (u64::from(number) << 32));
        let length_ms = window.1.0 - window.0.0;
        let admitted_at = Time(window.0.0 + rng.gen_range(0..=length_ms / 3));
        let stays_h = (window.1.0 - admitted_at.0) as f64 / Time::HOUR_MS as f64;
        let onset_h = rng.gen_bool(septic).then(|| rng.gen_range(0.55..0.9) * stays_h);
        let leaves = onset_h.is_none() && rng.gen_bool(0.3);
        let leaves_at =
            if leaves { Time(window.1.0 - length_ms / 10) } else { Time(window.1.0 + Time::HOUR_MS) };
        // ICU-A for every second patient: the sepsis model speaks of intensive care alone.
        let ward = if number.is_multiple_of(2) { "ICU-A" } else { WARDS[rng.gen_range(0..WARDS.len())] };
        Patient {
            id: format!("P{number:06}"),
            visit: format!("V{number:06}"),
            facility: facility.to_owned(),
            family: FAMILY.choose(&mut rng).copied().unwrap_or("Doe"),
            given: GIVEN.choose(&mut rng).copied().unwrap_or("Jo"),
            born: format!(
                "{}{:02}{:02}",
                rng.gen_range(1935..1995),
                rng.gen_range(1..=12),
                rng.gen_range(1..=28)
            ),
            sex: if rng.gen_bool(0.5) { "F" } else { "M" },
            ward,
            bed: rng.gen_range(1..=24),
            admitted_at,
            leaves_at,
            physiology: Physiology::new(&mut rng, onset_h),
            rng,
            orders: 0,
            discharged: false,
        }
    }

    /// When sepsis is clinically manifest, if ever.
    pub fn onset_at(&self) -> Option<Time> {
        let onset_h = self.physiology.onset_h?;
        Some(Time(self.admitted_at.0 + (onset_h * Time::HOUR_MS as f64) as i64))
    }

    pub fn gone_by(&self, at: Time) -> bool {
        self.discharged || at > self.leaves_at
    }

    pub fn leaves_at(&self) -> Time {
        self.leaves_at
    }

    /// Jitter of a schedule, so that not everybody is measured on the hour.
    pub fn jitter_ms(&mut self, spread_ms: i64) -> i64 {
        self.rng.gen_range(-spread_ms..=spread_ms)
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.rng.gen_bool(probability)
    }

    /// ADT of a movement; A08 repeats what is known.
    pub fn movement(&mut self, step: Step, at: Time, control_id: &str) -> (String, String) {
        let trigger = match step {
            Step::Admit => "A01",
            Step::Transfer => {
                self.bed = self.rng.gen_range(1..=24);
                "A02"
            }
            Step::Discharge => {
                self.discharged = true;
                "A03"
            }
            Step::Vitals | Step::Labs => "A08",
        };
        let type_ = format!("ADT^{trigger}");
        let written = format!(
            "{type_}^ADT_{}",
            if trigger == "A02" {
                "A02"
            } else if trigger == "A03" {
                "A03"
            } else {
                "A01"
            }
        );
        let mut out = header(&written, control_id, at, &self.facility);
        let time = timestamp(at);
        out += &segment("EVN", &[(1, trigger), (2, &time), (6, &time)]);
        out += &self.pid(&self.id);
        out += &self.pv1(if self.discharged { Some(at) } else { None });
        (out, type_)
    }

    /// A40: what was registered under `prior` belongs to this patient.
    pub fn merge(&self, prior: &str, at: Time, control_id: &str) -> (String, String) {
        let mut out = header("ADT^A40^ADT_A39", control_id, at, &self.facility);
        out += &segment("EVN", &[(1, "A40"), (2, &timestamp(at))]);
        out += &self.pid(&self.id);
        out += &segment("MRG", &[(1, &self.identifier(prior))]);
        (out, "ADT^A40".into())
    }

    /// ORU^R01 with the vital signs at `at`, registered under `id`.
    pub fn vitals(&mut self, at: Time, control_id: &str, id: &str) -> Results {
        let vitals = self.physiology.vitals(self.hour(at), &mut self.rng);
        let results = vital_signs(&vitals, self.ward != "ICU-B");
        self.results(("85353-1^Vital signs panel^LN", "VS"), &results, at, control_id, id)
    }

    pub fn labs(&mut self, at: Time, control_id: &str) -> Results {
        let labs = self.physiology.labs(self.hour(at), &mut self.rng);
        let results = laboratory(&labs, self.ward != "ICU-B");
        let id = self.id.clone();
        self.results(("24323-8^Laboratory panel^LN", "LAB"), &results, at, control_id, &id)
    }

    fn hour(&self, at: Time) -> f64 {
        (at.0 - self.admitted_at.0) as f64 / Time::HOUR_MS as f64
    }

    fn results(
        &mut self,
        (panel, prefix): (&str, &str),
        results: &[Obx],
        at: Time,
        control_id: &str,
        id: &str,
    ) -> Results {
        self.orders += 1;
        let filler = format!("{prefix}{}-{}", self.id, self.orders);
        let write = |control_id: &str, amend: bool| {
            let time = timestamp(at);
            let status = if amend { "C" } else { "F" };
            let mut out = header("ORU^R01^ORU_R01", control_id, at, &self.facility);
            out += &self.pid(id);
            out += &self.pv1(None);
            let obr = [(1, "1"), (3, filler.as_str()), (4, panel), (7, time.as_str()), (25, status)];
            out += &segment("OBR", &obr);
            for (number, obx) in results.iter().enumerate() {
                let value = if amend && number == 0 { nudge(&obx.value) } else { obx.value.clone() };
                let set_id = (number + 1).to_string();
                out += &segment(
                    "OBX",
                    &[
                        (1, set_id.as_str()),
                        (2, obx.kind),
                        (3, obx.code),
                        (5, &value),
                        (6, obx.unit),
                        (11, status),
                        (14, &time),
                    ],
                );
            }
            out
        };
        Results { body: write(control_id, false), amended: write(&format!("{control_id}C"), true) }
    }

    fn identifier(&self, id: &str) -> String {
        format!("{id}^^^{}^MR", self.facility)
    }

    fn pid(&self, id: &str) -> String {
        let name = format!("{}^{}", self.family, self.given);
        segment("PID", &[(1, "1"), (3, &self.identifier(id)), (5, &name), (7, &self.born), (8, self.sex)])
    }

    fn pv1(&self, discharged_at: Option<Time>) -> String {
        let location = format!("{}^{}^{}", self.ward, self.bed, self.bed % 2 + 1);
        let admitted = timestamp(self.admitted_at);
        let discharged = discharged_at.map(timestamp).unwrap_or_default();
        let mut fields =
            vec![(1, "1"), (2, "I"), (3, location.as_str()), (19, self.visit.as_str()), (44, &admitted)];
        if !discharged.is_empty() {
            fields.push((45, &discharged));
        }
        segment("PV1", &fields)
    }
}

/// A number one step off in its last digit: what a corrected typing error looks like.
fn nudge(value: &str) -> String {
    match value.parse::<f64>() {
        Ok(number) => {
            let decimals = value.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            format!("{:.*}", decimals, number + 10f64.powi(-(decimals as i32)))
        }
        Err(_) => value.to_owned(),
    }
}

/// Half of the devices speak LOINC, the others codes and units of their own.
fn vital_signs(v: &Vitals, loinc: bool) -> Vec<Obx> {
    let mut out = vec![
        if loinc { nm("8867-4^Heart rate^LN", v.hr, 0, "/min") } else { nm("1001^HR^SIM", v.hr, 0, "bpm") },
        if loinc {
            nm("9279-1^Respiratory rate^LN", v.rr, 0, "/min")
        } else {
            nm("1002^RR^SIM", v.rr, 0, "/min")
        },
        if loinc {
            nm("8310-5^Body temperature^LN", v.temp_cel, 1, "Cel")
        } else {
            nm("1003^Temp^SIM", v.temp_cel * 1.8 + 32.0, 1, "degF")
        },
        if loinc {
            nm("2708-6^Oxygen saturation^LN", v.spo2, 0, "%")
        } else {
            nm("1004^SpO2^SIM", v.spo2, 0, "%")
        },
        nm("8480-6^Systolic blood pressure^LN", v.sbp, 0, "mm[Hg]"),
        nm("8462-4^Diastolic blood pressure^LN", v.dbp, 0, "mm[Hg]"),
        nm("8478-0^Mean blood pressure^LN", v.map, 0, "mm[Hg]"),
        Obx { code: "67775-7^ACVPU^LN", kind: "ST", value: v.consciousness.to_string(), unit: "" },
    ];
    if v.oxygen {
        out.push(nm("3151-8^Inhaled oxygen flow rate^LN", 4.0, 0, "L/min"));
    }
    out
}

fn laboratory(l: &Labs, loinc: bool) -> Vec<Obx> {
    let (wbc, platelets) = (l.wbc, l.platelets);
    vec![
        if loinc {
            nm("6690-2^Leukocytes^LN", wbc, 1, "10*3/uL")
        } else {
            nm("2002^WBC^SIM", wbc, 1, "10*9/L")
        },
        if loinc {
            nm("777-3^Platelets^LN", platelets, 0, "10*3/uL")
        } else {
            nm("2003^PLT^SIM", platelets, 0, "10*9/L")
        },
        nm("718-7^Hemoglobin^LN", l.hgb, 1, "g/dL"),
        if loinc {
            nm("2160-0^Creatinine^LN", l.creatinine_mg_dl, 2, "mg/dL")
        } else {
            nm("2001^CREA^SIM", l.creatinine_mg_dl * 88.42, 0, "umol/L")
        },
        nm("3094-0^Urea nitrogen^LN", l.bun_mg_dl, 0, "mg/dL"),
        nm("2823-3^Potassium^LN", l.potassium, 1, "mmol/L"),
        nm("2345-7^Glucose^LN", l.glucose_mg_dl, 0, "mg/dL"),
        if loinc {
            nm("2524-7^Lactate^LN", l.lactate, 1, "mmol/L")
        } else {
            nm("2004^LAC^SIM", l.lactate, 1, "mmol/L")
        },
        nm("1975-2^Bilirubin.total^LN", l.bilirubin_mg_dl, 1, "mg/dL"),
        nm("2744-1^pH of Arterial blood^LN", l.ph, 2, "[pH]"),
        nm("1960-4^Bicarbonate^LN", l.hco3, 0, "mmol/L"),
    ]
}

fn nm(code: &'static str, value: f64, decimals: usize, unit: &'static str) -> Obx {
    Obx { code, kind: "NM", value: format!("{value:.decimals$}"), unit }
}
