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

/// Sends one ORU^R01 for each patient over MLLP; every one must be accepted.
pub async fn send_sick(site: &Site, patients: Range<usize>) -> anyhow::Result<()> {
    send(site, &patients.map(sick).collect::<String>()).await
}

/// A patient of whom too little is known for a score, with names that do not fit a line.
pub async fn send_unknown(site: &Site) -> anyhow::Result<()> {
    let name = "Wolfeschlegelsteinhausenbergerdorff^Hubert Blaine Maximilian Leopold";
    let heart_rate = observation(0, VITAL_SIGNS[3]);
    let head = head("unknown", "PATIENT-NUMBER-OF-MANY-CHARACTERS-0001", name, "Intermediate-Care-East-Wing");
    send(site, &format!("{head}{heart_rate}")).await
}

async fn send(site: &Site, messages: &str) -> anyhow::Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), messages)?;
    let address = format!("127.0.0.1:{}", site.mllp);
    let sending = move || medulla(&["send", &file.path().display().to_string(), "--to", &address]);
    tokio::task::spawn_blocking(sending).await??;
    Ok(())
}

fn sick(n: usize) -> String {
    let head = head(&format!("sick-{n}"), &format!("S{n:03}"), &sick_name(n), &format!("Ward{}", n % WARDS));
    let vital_signs = VITAL_SIGNS.iter().enumerate().map(|(i, sign)| observation(i, *sign));
    [head].into_iter().chain(vital_signs).collect()
}

fn sick_name(n: usize) -> String {
    format!("Sample{n:03}^Sam")
}

fn head(control_id: &str, patient: &str, name: &str, ward: &str) -> String {
    let now = now();
    format!(
        "MSH|^~\\&|MONITOR|SIMHOSP|MEDULLA||{now}||ORU^R01^ORU_R01|{control_id}|P|2.5.1\r\
         PID|1||{patient}^^^SIMHOSP^MR||{name}||19500101|F\r\
         PV1|1|I|{ward}^1^1||||||||||||||||V-{patient}\r\
         OBR|1||{control_id}|85353-1^Vital signs panel^LN|||{now}\r"
    )
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
