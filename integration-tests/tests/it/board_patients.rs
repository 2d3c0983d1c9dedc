//! Patients who are plainly ill: one message each, and NEWS2 alerts once for each.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use clinical::Time;
use integration_tests::{Site, medulla};

/// Kept apart, so that the wards' budgets of interruptive alerts leave both tiers.
const WARDS: usize = 5;

/// LOINC code, value, unit: NEWS2 18.
const VITAL_SIGNS: [(&str, &str, &str, &str); 6] = [
    ("NM", "9279-1^Respiratory rate^LN", "30", "/min"),
    ("NM", "2708-6^Oxygen saturation^LN", "85", "%"),
    ("NM", "8480-6^Systolic blood pressure^LN", "80", "mm[Hg]"),
    ("NM", "8867-4^Heart rate^LN", "140", "/min"),
    ("NM", "8310-5^Body temperature^LN", "35.0", "Cel"),
    ("ST", "67775-7^ACVPU^LN", "V", ""),
];

/// Admits each patient and sends one ORU^R01 over MLLP; every message must be accepted.
pub async fn send_sick(site: &Site, patients: Range<usize>) -> anyhow::Result<()> {
    send(site, &patients.map(sick).collect::<String>()).await
}

/// A patient of whom too little is known for a score, with names that do not fit a line.
pub async fn send_unknown(site: &Site) -> anyhow::Result<()> {
    let patient = Patient {
        number: "PATIENT-NUMBER-OF-MANY-CHARACTERS-0001".into(),
        name: "Wolfeschlegelsteinhausenbergerdorff^Hubert Blaine Maximilian Leopold".into(),
        ward: "Intermediate-Care-East-Wing".into(),
    };
    let heart_rate = observation(0, VITAL_SIGNS[3]);
    send(site, &format!("{}{}{heart_rate}", patient.admitted(), patient.measured())).await
}

/// The heart rate of a patient who was sent as sick was wrong.
pub async fn correct(site: &Site, n: usize) -> anyhow::Result<()> {
    let patient = numbered(n);
    let (kind, code, _, unit) = VITAL_SIGNS[3];
    let right = observation(3, (kind, code, "80", unit)).replace("|F|", "|C|");
    let measured = patient.measured().replace("|ORU-", "|ORU-C-");
    send(site, &format!("{measured}{right}")).await
}

/// His number goes on as that of `into`, who is called so from now on.
pub async fn merge(site: &Site, n: usize, into: (&str, &str)) -> anyhow::Result<()> {
    let prior = numbered(n);
    let survivor = Patient { number: into.0.into(), name: into.1.into(), ward: prior.ward };
    let event = format!("EVN|A40|{}\r", now());
    let (head, who) = (survivor.head("ADT^A40^ADT_A39"), survivor.person());
    send(site, &format!("{head}{event}{who}MRG|{}^^^SIMHOSP^MR\r", prior.number)).await
}

async fn send(site: &Site, messages: &str) -> anyhow::Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), messages)?;
    let address = format!("127.0.0.1:{}", site.mllp);
    let sending = move || medulla(&["send", &file.path().display().to_string(), "--to", &address]);
    tokio::task::spawn_blocking(sending).await??;
    Ok(())
}

fn numbered(n: usize) -> Patient {
    Patient {
        number: format!("S{n:03}"),
        name: format!("Sample{n:03}^Sam"),
        ward: format!("Ward{}", n % WARDS),
    }
}

fn sick(n: usize) -> String {
    let patient = numbered(n);
    let vital_signs = VITAL_SIGNS.iter().enumerate().map(|(i, sign)| observation(i, *sign));
    [patient.admitted(), patient.measured()].into_iter().chain(vital_signs).collect()
}

struct Patient {
    number: String,
    name: String,
    ward: String,
}

impl Patient {
    fn admitted(&self) -> String {
        format!("{}EVN|A01|{}\r{}", self.head("ADT^A01^ADT_A01"), now(), self.person_and_place())
    }

    /// Wants its OBX segments behind it.
    fn measured(&self) -> String {
        let panel = format!("OBR|1||{}|85353-1^Vital signs panel^LN|||{}\r", self.number, now());
        format!("{}{}{panel}", self.head("ORU^R01^ORU_R01"), self.person_and_place())
    }

    fn head(&self, message: &str) -> String {
        let kind = message.get(..3).unwrap_or_default();
        format!(
            "MSH|^~\\&|MONITOR|SIMHOSP|MEDULLA||{}||{message}|{kind}-{}|P|2.5.1||||||UNICODE UTF-8\r",
            now(),
            self.number
        )
    }

    fn person(&self) -> String {
        format!("PID|1||{}^^^SIMHOSP^MR||{}||19500101|F\r", self.number, self.name)
    }

    fn person_and_place(&self) -> String {
        let (Patient { number, ward, .. }, person) = (self, self.person());
        format!("{person}PV1|1|I|{ward}^1^1||||||||||||||||V-{number}|||||||||||||||||||||||||{}\r", now())
    }
}

fn observation(i: usize, (kind, code, value, unit): (&str, &str, &str, &str)) -> String {
    format!("OBX|{}|{kind}|{code}||{value}|{unit}|||||F|||{}\r", i + 1, now())
}

/// HL7 v2 DTM in UTC.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let digits: String =
        Time(since.as_millis() as i64).to_rfc3339().chars().filter(char::is_ascii_digit).take(14).collect();
    format!("{digits}+0000")
}
