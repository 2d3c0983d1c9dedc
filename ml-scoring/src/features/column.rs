//! One column seen from one row: hourly last values, windows, running extremes.

use clinical::{Column, PatientState, Time};

use super::names::Kind;

const WINDOW: usize = 24;

/// Missing is NaN everywhere.
#[derive(Clone, Copy)]
pub(crate) struct View {
    pub last: f32,
    /// Rows since the last value.
    pub age_h: f32,
    previous: f32,
    /// Rows from the value before to the last.
    interval_h: f32,
    first: f32,
    /// Rows with a value.
    pub count: u32,
    pub min: f32,
    pub max: f32,
    sum: f64,
    squares: f64,
    ewma: Ewma,
    /// Rows of the last 3, 6, 12, 24 and 48 with a value.
    pub measured_3h: u32,
    pub measured_6h: u32,
    measured_12h: u32,
    pub measured_24h: u32,
    pub measured_48h: u32,
    /// Rows with a value of the six that ended 24 rows ago.
    pub measured_6h_day_before: u32,
    /// Rows of the stay, the scored one included.
    rows: u32,
    /// How many of `known` are filled.
    known_rows: usize,
    /// Values of the last rows; 0 is the scored one.
    window: [f32; WINDOW],
    /// The newest value that was known so many rows ago.
    known: [f32; WINDOW],
}

impl View {
    const EMPTY: View = View {
        last: f32::NAN,
        age_h: f32::NAN,
        previous: f32::NAN,
        interval_h: f32::NAN,
        first: f32::NAN,
        count: 0,
        min: f32::NAN,
        max: f32::NAN,
        sum: 0.0,
        squares: 0.0,
        ewma: Ewma::EMPTY,
        measured_3h: 0,
        measured_6h: 0,
        measured_12h: 0,
        measured_24h: 0,
        measured_48h: 0,
        measured_6h_day_before: 0,
        rows: 0,
        known_rows: 0,
        window: [f32::NAN; WINDOW],
        known: [f32::NAN; WINDOW],
    };

    /// Looks at rows 0 to `row` of the column; what lies before hour 0 or after the row is not seen.
    pub fn new(state: &PatientState, column: Column, start: Time, row: i64) -> View {
        View::over(state.newest_first(column).map(|(at, value)| (at.hours_since(start), value)), row)
    }

    /// The same of (hour, value), newest first.
    pub fn over(newest_first: impl Iterator<Item = (i64, f32)>, row: i64) -> View {
        let mut view = View { rows: u32::try_from(row + 1).unwrap_or(0), ..View::EMPTY };
        rows(newest_first, row).for_each(|(age, value)| view.add(age, value));
        view
    }

    /// Rows come newest first.
    fn add(&mut self, age: i64, value: f32) {
        match self.count {
            0 => (self.last, self.age_h, self.min, self.max) = (value, age as f32, value, value),
            1 => (self.previous, self.interval_h) = (value, age as f32 - self.age_h),
            _ => {}
        }
        self.first = value;
        self.ewma.add(value);
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.sum += f64::from(value);
        self.squares += f64::from(value) * f64::from(value);
        self.measured_3h += u32::from(age < 3);
        self.measured_6h += u32::from(age < 6);
        self.measured_12h += u32::from(age < 12);
        self.measured_24h += u32::from(age < 24);
        self.measured_48h += u32::from(age < 48);
        self.measured_6h_day_before += u32::from((24..30).contains(&age));
        while self.known_rows < WINDOW && self.known_rows as i64 <= age {
            self.known[self.known_rows] = value;
            self.known_rows += 1;
        }
        if let Some(slot) = usize::try_from(age).ok().and_then(|age| self.window.get_mut(age)) {
            *slot = value;
        }
    }

    pub fn of(&self, kind: Kind) -> f32 {
        match kind {
            Kind::Last => self.last,
            Kind::AgeH => self.age_h,
            Kind::Count => self.count as f32,
            Kind::Delta => self.last - self.previous,
            Kind::MinStay => self.min,
            Kind::MaxStay => self.max,
            Kind::MeanStay => self.mean(),
            Kind::Min6h => self.min_of(6),
            Kind::Max6h => self.max_of(6),
            Kind::Mean6h => self.mean_of(6),
            Kind::Slope6h => self.slope_of(6),
            Kind::Min12h => self.min_of(12),
            Kind::Max12h => self.max_of(12),
            Kind::Mean12h => self.mean_of(12),
            Kind::Std12h => self.std_of(12),
            Kind::StdStay => self.std_of_stay(),
            Kind::Min24h => self.min_of(24),
            Kind::Max24h => self.max_of(24),
            Kind::Mean24h => self.mean_of(24),
            Kind::Count12h => self.measured_12h as f32,
            Kind::Rate => self.count as f32 / self.rows as f32,
            Kind::Change2h => self.last - self.known(2),
            Kind::Change4h => self.last - self.known(4),
            Kind::Change8h => self.last - self.known(8),
            Kind::Change12h => self.last - self.known(12),
            Kind::OverFirst => self.last - self.first,
            Kind::Ewma => self.ewma.mean as f32,
            Kind::OverEwma => (f64::from(self.last) - self.ewma.mean) as f32,
            Kind::Count3h => self.measured_3h as f32,
            Kind::Count6h => self.measured_6h as f32,
            Kind::IntervalH => self.interval_h,
        }
    }

    pub fn mean(&self) -> f32 {
        if self.count == 0 { f32::NAN } else { (self.sum / f64::from(self.count)) as f32 }
    }

    /// Rows of the last 12 whose value fulfils `test`; NaN when none was measured.
    pub fn hours_12h(&self, test: impl Fn(f32) -> bool) -> f32 {
        let (mut measured, mut hits) = (0u32, 0u32);
        for value in self.values(12) {
            measured += 1;
            hits += u32::from(test(value));
        }
        if measured == 0 { f32::NAN } else { hits as f32 }
    }

    /// Whether it was measured `ago` rows ago, fewer than 24.
    pub fn measured(&self, ago: usize) -> bool {
        self.window.get(ago).is_some_and(|value| !value.is_nan())
    }

    /// The newest value that was known `rows` rows ago, fewer than 24; NaN before the first.
    pub fn known(&self, rows: usize) -> f32 {
        self.known.get(rows).copied().unwrap_or(f32::NAN)
    }

    fn std_of_stay(&self) -> f32 {
        let n = f64::from(self.count);
        if n < 2.0 {
            return f32::NAN;
        }
        // Rounding may leave a little less than nothing.
        ((self.squares - self.sum * self.sum / n) / (n - 1.0)).max(0.0).sqrt() as f32
    }

    fn values(&self, rows: usize) -> impl Iterator<Item = f32> + '_ {
        self.window.iter().take(rows).copied().filter(|v| !v.is_nan())
    }

    fn min_of(&self, rows: usize) -> f32 {
        self.values(rows).fold(f32::NAN, f32::min)
    }

    fn max_of(&self, rows: usize) -> f32 {
        self.values(rows).fold(f32::NAN, f32::max)
    }

    fn moments(&self, rows: usize) -> (f64, f64) {
        self.values(rows).fold((0.0, 0.0), |(n, sum), v| (n + 1.0, sum + f64::from(v)))
    }

    fn mean_of(&self, rows: usize) -> f32 {
        let (n, sum) = self.moments(rows);
        if n == 0.0 { f32::NAN } else { (sum / n) as f32 }
    }

    /// Sample standard deviation; needs two values.
    fn std_of(&self, rows: usize) -> f32 {
        let (n, sum) = self.moments(rows);
        if n < 2.0 {
            return f32::NAN;
        }
        let mean = sum / n;
        let squares: f64 = self.values(rows).map(|v| (f64::from(v) - mean).powi(2)).sum();
        (squares / (n - 1.0)).sqrt() as f32
    }

    /// Least squares over the measured rows; needs two.
    fn slope_of(&self, rows: usize) -> f32 {
        let (n, sum) = self.moments(rows);
        if n < 2.0 {
            return f32::NAN;
        }
        let points = || {
            self.window
                .iter()
                .take(rows)
                .enumerate()
                .filter(|(_, v)| !v.is_nan())
                .map(|(age, v)| (-(age as f64), f64::from(*v)))
        };
        let mean_x = points().map(|(x, _)| x).sum::<f64>() / n;
        let mean_y = sum / n;
        let (xy, xx) = points().fold((0.0, 0.0), |(xy, xx), (x, y)| {
            (xy + (x - mean_x) * (y - mean_y), xx + (x - mean_x).powi(2))
        });
        (xy / xx) as f32
    }
}

/// Of (hour, value), newest first, the last value of each row from `row` back to 0, with the row's age.
pub(super) fn rows(
    newest_first: impl Iterator<Item = (i64, f32)>,
    row: i64,
) -> impl Iterator<Item = (i64, f32)> {
    let mut newest_row_seen = i64::MAX;
    newest_first.take_while(|(hour, _)| *hour >= 0).filter_map(move |(hour, value)| {
        if hour > row || hour == newest_row_seen {
            return None;
        }
        newest_row_seen = hour;
        Some((row - hour, value))
    })
}

/// Exponentially weighted mean: each value takes [`Ewma::STEP`] of the way from the mean of those before it, the first is
/// its own. Values come newest first.
#[derive(Clone, Copy)]
struct Ewma {
    mean: f64,
    /// Of the values but the oldest so far, each by its weight.
    sum: f64,
    /// What is left for the oldest.
    rest: f64,
}

impl Ewma {
    /// 1 - 2^(-1/6): half of a value's weight is gone six values later.
    const STEP: f64 = 0.109_101_281_859_660_73;
    const EMPTY: Ewma = Ewma { mean: f64::NAN, sum: 0.0, rest: 1.0 };

    fn add(&mut self, value: f32) {
        let value = f64::from(value);
        self.mean = self.sum + self.rest * value;
        self.sum += Ewma::STEP * self.rest * value;
        self.rest *= 1.0 - Ewma::STEP;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinical::ObservationStatus::Final;
    use proptest::prelude::*;

    const START: Time = Time(1_000_000_123);

    fn state(hours: &[Option<u8>]) -> PatientState {
        let mut state = PatientState::default();
        // Before hour 0: in the history, not in the stay.
        state.observe(Column::Hr, Time(START.0 - 1), "", Final, 33.0);
        for (hour, value) in hours.iter().enumerate().filter_map(|(h, v)| v.map(|v| (h as i64, v))) {
            let at = START.0 + hour * Time::HOUR_MS;
            state.observe(Column::Hr, Time(at), "", Final, 300.0);
            state.observe(Column::Hr, Time(at + Time::HOUR_MS - 1), "", Final, f64::from(value));
        }
        state
    }

    /// (age in rows, value), newest first.
    fn seen(hours: &[Option<u8>], row: usize, rows: usize) -> Vec<(usize, f32)> {
        (0..=row)
            .rev()
            .filter_map(|h| Some((row - h, f32::from(hours[h]?))))
            .filter(|(age, _)| *age < rows)
            .collect()
    }

    fn same(found: f32, expected: Option<f32>) -> bool {
        expected.map_or(found.is_nan(), |expected| (found - expected).abs() <= 1e-4 * (1.0 + expected.abs()))
    }

    proptest! {
        #[test]
        fn windows_hold_what_a_plain_count_finds(
            hours in prop::collection::vec(prop::option::of(40u8..200), 1..40),
            row in 0usize..40,
        ) {
            let row = row.min(hours.len() - 1);
            let view = View::new(&state(&hours), Column::Hr, START, row as i64);
            let stay = seen(&hours, row, usize::MAX);
            let least = |v: &[(usize, f32)]| v.iter().map(|p| p.1).reduce(f32::min);
            let mean = |v: &[(usize, f32)]| (!v.is_empty()).then(|| v.iter().map(|p| p.1).sum::<f32>() / v.len() as f32);
            prop_assert!(same(view.of(Kind::Last), stay.first().map(|p| p.1)));
            prop_assert!(same(view.of(Kind::AgeH), stay.first().map(|p| p.0 as f32)));
            prop_assert_eq!(view.count as usize, stay.len());
            prop_assert!(same(view.of(Kind::Delta), stay.get(1).map(|p| stay[0].1 - p.1)));
            prop_assert!(same(view.of(Kind::MinStay), least(&stay)) && same(view.of(Kind::MeanStay), mean(&stay)));
            let six = seen(&hours, row, 6);
            prop_assert!(same(view.of(Kind::Min6h), least(&six)) && same(view.of(Kind::Mean6h), mean(&six)));
            let twelve = seen(&hours, row, 12);
            prop_assert!(same(view.of(Kind::Max12h), twelve.iter().map(|p| p.1).reduce(f32::max)));
            let variance = mean(&twelve).filter(|_| twelve.len() > 1).map(|m| {
                twelve.iter().map(|p| (p.1 - m).powi(2)).sum::<f32>() / (twelve.len() - 1) as f32
            });
            prop_assert!(same(view.of(Kind::Std12h), variance.map(f32::sqrt)));
            let day = seen(&hours, row, 24);
            prop_assert!(same(view.of(Kind::Min24h), least(&day)) && same(view.of(Kind::Mean24h), mean(&day)));
            prop_assert_eq!(view.of(Kind::Count12h) as usize, twelve.len());
            prop_assert!(same(view.of(Kind::Rate), Some(stay.len() as f32 / (row + 1) as f32)));
            let spread = mean(&stay).filter(|_| stay.len() > 1).map(|m| {
                stay.iter().map(|p| (p.1 - m).powi(2)).sum::<f32>() / (stay.len() - 1) as f32
            });
            prop_assert!(same(view.of(Kind::StdStay), spread.map(f32::sqrt)));
            prop_assert!(same(view.of(Kind::OverFirst), stay.last().map(|p| stay[0].1 - p.1)));
            prop_assert!(same(view.of(Kind::IntervalH), stay.get(1).map(|p| (p.0 - stay[0].0) as f32)));
            prop_assert_eq!(view.of(Kind::Count3h) as usize, seen(&hours, row, 3).len());
            prop_assert_eq!(view.of(Kind::Count6h) as usize, six.len());
            prop_assert_eq!(view.measured_48h as usize, seen(&hours, row, 48).len());
            let day_before = stay.iter().filter(|p| (24..30).contains(&p.0)).count();
            prop_assert_eq!(view.measured_6h_day_before as usize, day_before);
            let step = 1.0 - 0.5_f32.powf(1.0 / 6.0);
            let ewma = stay.iter().rev().map(|p| p.1).reduce(|mean, value| mean + step * (value - mean));
            prop_assert!(same(view.of(Kind::Ewma), ewma));
            prop_assert!(same(view.of(Kind::OverEwma) + view.of(Kind::Ewma), stay.first().map(|p| p.1)));
            for (kind, ago) in
                [(Kind::Change2h, 2), (Kind::Change4h, 4), (Kind::Change8h, 8), (Kind::Change12h, 12)]
            {
                let before = row.checked_sub(ago).map(|then| seen(&hours, then, usize::MAX));
                let change = before.and_then(|then| Some(stay.first()?.1 - then.first()?.1));
                prop_assert!(same(view.of(kind), change));
            }
            for ago in 0..=row.min(23) {
                prop_assert_eq!(view.measured(ago), hours[row - ago].is_some());
                let known = seen(&hours, row - ago, usize::MAX);
                prop_assert!(same(view.known(ago), known.first().map(|p| p.1)));
            }
        }
    }

    #[test]
    fn a_straight_line_has_its_slope_whatever_is_missing() {
        let hours: Vec<_> = (0..8).map(|h| (h != 5).then_some(60 + 3 * h)).collect();
        let view = View::new(&state(&hours), Column::Hr, START, 7);
        assert!((view.of(Kind::Slope6h) - 3.0).abs() < 1e-5);
        assert_eq!(view.hours_12h(|hr| hr > 70.0), 3.0);
    }
}
