//! One column seen from one row: hourly last values, windows, running extremes.

use clinical::{Column, PatientState, Time};

use super::names::Kind;

const WINDOW: usize = 12;

/// Missing is NaN everywhere.
#[derive(Clone, Copy)]
pub(super) struct View {
    pub last: f32,
    /// Rows since the last value.
    pub age_h: f32,
    previous: f32,
    /// Rows with a value.
    pub count: u32,
    pub min: f32,
    pub max: f32,
    sum: f64,
    /// Rows of the last 6 and 24 with a value.
    pub measured_6h: u32,
    pub measured_24h: u32,
    /// Values of the last rows; 0 is the scored one.
    window: [f32; WINDOW],
}

impl View {
    const EMPTY: View = View {
        last: f32::NAN,
        age_h: f32::NAN,
        previous: f32::NAN,
        count: 0,
        min: f32::NAN,
        max: f32::NAN,
        sum: 0.0,
        measured_6h: 0,
        measured_24h: 0,
        window: [f32::NAN; WINDOW],
    };

    /// Looks at rows 0 to `row` of the column; what lies before hour 0 or after the row is not seen.
    pub fn new(state: &PatientState, column: Column, start: Time, row: i64) -> View {
        let mut view = View::EMPTY;
        let mut newest_row_seen = i64::MAX;
        for (at, value) in state.newest_first(column) {
            let hour = at.hours_since(start);
            if hour < 0 {
                break;
            }
            if hour > row || hour == newest_row_seen {
                continue;
            }
            newest_row_seen = hour;
            view.add(row - hour, value);
        }
        view
    }

    /// Rows come newest first.
    fn add(&mut self, age: i64, value: f32) {
        match self.count {
            0 => (self.last, self.age_h, self.min, self.max) = (value, age as f32, value, value),
            1 => self.previous = value,
            _ => {}
        }
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.sum += f64::from(value);
        self.measured_6h += u32::from(age < 6);
        self.measured_24h += u32::from(age < 24);
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
        }
    }

    pub fn mean(&self) -> f32 {
        if self.count == 0 { f32::NAN } else { (self.sum / f64::from(self.count)) as f32 }
    }

    /// Rows of the last 12 whose value fulfils `test`; NaN when none was measured.
    pub fn hours_12h(&self, test: impl Fn(f32) -> bool) -> f32 {
        let (mut measured, mut hits) = (0u32, 0u32);
        for value in self.values(WINDOW) {
            measured += 1;
            hits += u32::from(test(value));
        }
        if measured == 0 { f32::NAN } else { hits as f32 }
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
