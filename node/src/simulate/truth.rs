//! What truly happened, written beside the traffic: what a test or a person holds the ledger and the alerts
//! against. Simulated people only.

use std::io::Write;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::hospital::{Expected, Hospital, Message};

pub struct Truth<W> {
    out: W,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line<'a> {
    Patient {
        id: &'a str,
        visit: &'a str,
        admitted_at: String,
        /// When sepsis is clinically manifest; null: never.
        septic_onset_at: Option<String>,
    },
    Message {
        control_id: &'a str,
        patient: &'a str,
        #[serde(rename = "type")]
        type_: &'a str,
        at: String,
        expected: Expected,
        /// Of the bytes as sent.
        sha256: String,
    },
}

impl<W: Write> Truth<W> {
    /// Begins with a line a patient.
    pub fn new(mut out: W, hospital: &Hospital) -> anyhow::Result<Truth<W>> {
        for patient in hospital.patients() {
            let line = Line::Patient {
                id: &patient.id,
                visit: &patient.visit,
                admitted_at: patient.admitted_at.to_rfc3339(),
                septic_onset_at: patient.onset_at().map(|at| at.to_rfc3339()),
            };
            write(&mut out, &line)?;
        }
        Ok(Truth { out })
    }

    pub fn note(&mut self, message: &Message) -> anyhow::Result<()> {
        let line = Line::Message {
            control_id: &message.control_id,
            patient: &message.patient,
            type_: &message.type_,
            at: message.at.to_rfc3339(),
            expected: message.expected,
            sha256: hex::encode(Sha256::digest(&message.bytes)),
        };
        write(&mut self.out, &line)
    }

    pub fn finish(mut self) -> anyhow::Result<()> {
        Ok(self.out.flush()?)
    }
}

fn write(out: &mut impl Write, line: &Line) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    Ok(out.write_all(b"\n")?)
}
