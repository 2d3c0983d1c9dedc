//! Parts of the bedside scores that the columns allow. A part whose value is missing is NaN; a sum counts the parts
//! that are known and is NaN when none is.

/// SOFA respiration from SpO2/FiO2 in place of PaO2/FiO2 (Rice et al. 2007: 235 ≈ 200, 315 ≈ 300).
pub(super) fn sofa_respiration(sf_ratio: f32) -> f32 {
    steps(sf_ratio, |r| match r {
        r if r < 150.0 => 4.0,
        r if r < 235.0 => 3.0,
        r if r < 315.0 => 2.0,
        r if r < 400.0 => 1.0,
        _ => 0.0,
    })
}

/// Platelets in 10*3/uL (Vincent et al. 1996).
pub(super) fn sofa_coagulation(platelets: f32) -> f32 {
    steps(platelets, |p| match p {
        p if p < 20.0 => 4.0,
        p if p < 50.0 => 3.0,
        p if p < 100.0 => 2.0,
        p if p < 150.0 => 1.0,
        _ => 0.0,
    })
}

/// Total bilirubin in mg/dL.
pub(super) fn sofa_liver(bilirubin: f32) -> f32 {
    steps(bilirubin, |b| match b {
        b if b >= 12.0 => 4.0,
        b if b >= 6.0 => 3.0,
        b if b >= 2.0 => 2.0,
        b if b >= 1.2 => 1.0,
        _ => 0.0,
    })
}

/// Mean arterial pressure in mm[Hg]; vasopressors are not known here.
pub(super) fn sofa_circulation(map: f32) -> f32 {
    steps(map, |m| if m < 70.0 { 1.0 } else { 0.0 })
}

/// Creatinine in mg/dL; urine output is not known here.
pub(super) fn sofa_renal(creatinine: f32) -> f32 {
    steps(creatinine, |c| match c {
        c if c >= 5.0 => 4.0,
        c if c >= 3.5 => 3.0,
        c if c >= 2.0 => 2.0,
        c if c >= 1.2 => 1.0,
        _ => 0.0,
    })
}

/// SIRS criteria met, 0 to 4 (ACCP/SCCM 1992).
pub(super) fn sirs(temp: f32, hr: f32, resp: f32, pa_co2: f32, wbc: f32) -> f32 {
    let breathing = steps(resp, |r| flag(r > 20.0)).max(steps(pa_co2, |p| flag(p < 32.0)));
    known_sum(&[
        steps(temp, |t| flag(!(36.0..=38.0).contains(&t))),
        steps(hr, |h| flag(h > 90.0)),
        breathing,
        steps(wbc, |w| flag(!(4.0..=12.0).contains(&w))),
    ])
}

/// qSOFA without or with consciousness, 0 to 3 (Sepsis-3, 2016).
pub(super) fn qsofa(resp: f32, sbp: f32, gcs: f32) -> f32 {
    known_sum(&[
        steps(resp, |r| flag(r >= 22.0)),
        steps(sbp, |s| flag(s <= 100.0)),
        steps(gcs, |g| flag(g < 15.0)),
    ])
}

pub(super) fn known_sum(parts: &[f32]) -> f32 {
    let known = parts.iter().filter(|p| !p.is_nan());
    known.copied().fold(f32::NAN, |sum, part| if sum.is_nan() { part } else { sum + part })
}

fn flag(met: bool) -> f32 {
    f32::from(u8::from(met))
}

fn steps(value: f32, points: impl Fn(f32) -> f32) -> f32 {
    if value.is_nan() { f32::NAN } else { points(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_parts_count_and_nothing_known_is_missing() {
        let missing = f32::NAN;
        assert_eq!(sirs(38.3, 95.0, 18.0, 30.0, missing), 3.0);
        assert!(sirs(missing, missing, missing, missing, missing).is_nan());
        assert_eq!(qsofa(22.0, 100.0, missing), 2.0);
        assert_eq!([19.0, 20.0, 149.0, 150.0].map(sofa_coagulation), [4.0, 3.0, 1.0, 0.0]);
        assert_eq!([1.1, 1.2, 12.0].map(sofa_liver), [0.0, 1.0, 4.0]);
        assert!(sofa_renal(missing).is_nan());
    }
}
