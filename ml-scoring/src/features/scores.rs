//! Parts of the bedside scores that the columns allow. A part whose value is missing is NaN; a sum counts the parts
//! that are known and is NaN when none is.

use crate::bedside::{points_or_nan, qsofa, sirs, sofa};

/// Respiration by SpO2/FiO2, coagulation, liver, circulation by pressure, kidneys by creatinine.
pub(super) fn sofa(sf_ratio: f32, platelets: f32, bilirubin: f32, map: f32, creatinine: f32) -> [f32; 5] {
    [
        points_or_nan(sf_ratio, sofa::respiration_by_saturation),
        points_or_nan(platelets, sofa::coagulation),
        points_or_nan(bilirubin, sofa::liver),
        points_or_nan(map, sofa::circulation),
        points_or_nan(creatinine, sofa::renal),
    ]
}

/// SIRS criteria met, 0 to 4.
pub(super) fn sirs(temp: f32, hr: f32, resp: f32, pa_co2: f32, wbc: f32) -> f32 {
    let breathing = points_or_nan(resp, sirs::breaths).max(points_or_nan(pa_co2, sirs::carbon_dioxide));
    known_sum(&[
        points_or_nan(temp, sirs::temperature),
        points_or_nan(hr, sirs::pulse),
        breathing,
        points_or_nan(wbc, sirs::white_cells),
    ])
}

/// qSOFA without consciousness, 0 to 2.
pub(super) fn qsofa(resp: f32, sbp: f32) -> f32 {
    known_sum(&[points_or_nan(resp, qsofa::respiration), points_or_nan(sbp, qsofa::systolic)])
}

pub(super) fn known_sum(parts: &[f32]) -> f32 {
    let known = parts.iter().filter(|p| !p.is_nan());
    known.copied().fold(f32::NAN, |sum, part| if sum.is_nan() { part } else { sum + part })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_parts_count_and_nothing_known_is_missing() {
        let missing = f32::NAN;
        assert_eq!(sirs(38.3, 95.0, 18.0, 30.0, missing), 3.0);
        assert!(sirs(missing, missing, missing, missing, missing).is_nan());
        assert_eq!(qsofa(22.0, 100.0), 2.0);
        let parts = sofa(missing, 90.0, 1.2, missing, 2.0);
        assert!(parts[0].is_nan() && parts[3].is_nan());
        assert_eq!(known_sum(&parts), 2.0 + 1.0 + 2.0);
    }
}
