//! Plausible numbers: each patient wanders around baselines of its own, and sepsis pulls them apart over hours.
//!
//! Shapes after what Sepsis-3 and the early-warning literature describe (Singer et al., JAMA 315:801, 2016;
//! Royal College of Physicians, NEWS2, 2017). A simulation to exercise the pipeline, not a model of disease.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Hours over which a septic patient deteriorates before onset.
const PRODROME_H: f64 = 9.0;

pub struct Physiology {
    hr: Wander,
    temp: Wander,
    map: Wander,
    rr: Wander,
    spo2: Wander,
    wbc: Wander,
    creatinine: Wander,
    platelets: Wander,
    /// Hours since admission at which sepsis is clinically manifest.
    pub onset_h: Option<f64>,
    /// A third of septic patients are cold, not hot.
    hypothermic: bool,
}

/// A value that drifts around its baseline (first-order autoregression, one step an observation).
struct Wander {
    baseline: f64,
    spread: f64,
    offset: f64,
}

impl Wander {
    fn new(rng: &mut ChaCha8Rng, mean: f64, between: f64, within: f64) -> Wander {
        Wander { baseline: mean + between * gauss(rng), spread: within, offset: 0.0 }
    }

    fn step(&mut self, rng: &mut ChaCha8Rng) -> f64 {
        self.offset = 0.8 * self.offset + 0.6 * self.spread * gauss(rng);
        self.baseline + self.offset
    }
}

/// One set of bedside values.
pub struct Vitals {
    pub hr: f64,
    pub spo2: f64,
    pub temp_cel: f64,
    pub sbp: f64,
    pub map: f64,
    pub dbp: f64,
    pub rr: f64,
    /// On supplemental oxygen.
    pub oxygen: bool,
    /// `A`lert or `C`onfused.
    pub consciousness: char,
}

/// One draw of blood.
pub struct Labs {
    pub wbc: f64,
    pub platelets: f64,
    pub hgb: f64,
    pub creatinine_mg_dl: f64,
    pub bun_mg_dl: f64,
    pub potassium: f64,
    pub glucose_mg_dl: f64,
    pub lactate: f64,
    pub bilirubin_mg_dl: f64,
    pub ph: f64,
    pub hco3: f64,
}

impl Physiology {
    pub fn new(rng: &mut ChaCha8Rng, onset_h: Option<f64>) -> Physiology {
        Physiology {
            hr: Wander::new(rng, 80.0, 7.0, 5.0),
            temp: Wander::new(rng, 36.8, 0.2, 0.2),
            map: Wander::new(rng, 84.0, 6.0, 5.0),
            rr: Wander::new(rng, 16.0, 1.5, 1.5),
            spo2: Wander::new(rng, 97.0, 0.8, 0.7),
            wbc: Wander::new(rng, 8.5, 1.8, 0.6),
            creatinine: Wander::new(rng, 0.9, 0.15, 0.05),
            platelets: Wander::new(rng, 240.0, 45.0, 10.0),
            hypothermic: rng.gen_bool(0.33),
            onset_h,
        }
    }

    /// 0 in health, 1 at onset, at most 1.4 after it.
    fn severity(&self, hour: f64) -> f64 {
        match self.onset_h {
            Some(onset) => ((hour - (onset - PRODROME_H)) / PRODROME_H).clamp(0.0, 1.4),
            None => 0.0,
        }
    }

    pub fn vitals(&mut self, hour: f64, rng: &mut ChaCha8Rng) -> Vitals {
        let ill = self.severity(hour);
        let map = (self.map.step(rng) - 24.0 * ill).clamp(35.0, 130.0);
        let pulse_pressure = 42.0 - 10.0 * ill + 3.0 * gauss(rng);
        let fever = if self.hypothermic { -1.3 } else { 2.0 };
        Vitals {
            hr: (self.hr.step(rng) + 38.0 * ill).clamp(35.0, 190.0),
            spo2: (self.spo2.step(rng) - 5.0 * ill).clamp(70.0, 100.0),
            temp_cel: (self.temp.step(rng) + fever * ill).clamp(33.0, 41.5),
            sbp: map + pulse_pressure * 2.0 / 3.0,
            map,
            dbp: map - pulse_pressure / 3.0,
            rr: (self.rr.step(rng) + 12.0 * ill).clamp(6.0, 45.0),
            oxygen: ill > 0.6,
            consciousness: if ill > 1.1 && rng.gen_bool(0.5) { 'C' } else { 'A' },
        }
    }

    pub fn labs(&mut self, hour: f64, rng: &mut ChaCha8Rng) -> Labs {
        let ill = self.severity(hour);
        let creatinine = (self.creatinine.step(rng) + 1.3 * ill * ill).clamp(0.3, 8.0);
        let lactate = (1.2 + 0.25 * gauss(rng) + 3.4 * ill).clamp(0.4, 15.0);
        Labs {
            wbc: (self.wbc.step(rng) + 10.0 * ill).clamp(0.5, 45.0),
            platelets: (self.platelets.step(rng) - 110.0 * ill).clamp(10.0, 600.0),
            hgb: (11.8 + 0.5 * gauss(rng)).clamp(6.0, 17.0),
            creatinine_mg_dl: creatinine,
            bun_mg_dl: (16.0 * creatinine + 2.0 * gauss(rng)).clamp(4.0, 120.0),
            potassium: (4.1 + 0.25 * gauss(rng) + 0.4 * ill).clamp(2.5, 7.0),
            glucose_mg_dl: (125.0 + 15.0 * gauss(rng) + 35.0 * ill).clamp(50.0, 400.0),
            lactate,
            bilirubin_mg_dl: (0.7 + 0.1 * gauss(rng) + 1.2 * ill * ill).clamp(0.1, 20.0),
            ph: (7.40 + 0.02 * gauss(rng) - 0.09 * ill).clamp(6.9, 7.6),
            hco3: (24.5 + 0.8 * gauss(rng) - 6.0 * ill).clamp(8.0, 35.0),
        }
    }
}

/// A standard normal number (Box and Muller, Ann. Math. Stat. 29:610, 1958).
pub fn gauss(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.r#gen::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.r#gen::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn sepsis_shows_in_the_numbers_and_health_does_not() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut mean = |onset, hour| {
            let patients = 200;
            let sum: f64 = (0..patients)
                .map(|_| {
                    let mut patient = Physiology::new(&mut rng, onset);
                    patient.vitals(hour, &mut rng).hr + patient.labs(hour, &mut rng).lactate * 10.0
                })
                .sum();
            sum / f64::from(patients)
        };
        let (well, early, late) = (mean(None, 20.0), mean(Some(20.0), 8.0), mean(Some(20.0), 20.0));
        assert!((well - early).abs() < 5.0, "well before onset a septic patient is like any other");
        assert!(late > well + 40.0, "at onset it is not");
    }
}
