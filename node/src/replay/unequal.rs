//! A row of which the stream knows something else than batch does.

use std::fmt;

use ml_scoring::Features;
use ml_scoring::features::{self, Meaning};
use serde::Serialize;

/// Found at the hour's close, or once everything had come: then something of later hours was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    Close,
    End,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unequal {
    pub line: usize,
    /// Of the file; `p` where the features are equal and the probabilities are not.
    pub column: &'static str,
    pub feature: &'static str,
    pub when: When,
    /// Null: missing, or insufficient data.
    pub stream: Option<f64>,
    pub batch: Option<f64>,
    /// Further features of the row that are unequal.
    pub more: usize,
}

impl Unequal {
    /// `None`: bit for bit the same.
    pub fn of(line: usize, when: When, stream: &Features, batch: &Features) -> Option<Unequal> {
        let differs = |index: &usize| {
            let bits = |features: &Features| features.values.get(*index).map(|value| value.to_bits());
            bits(stream) != bits(batch)
        };
        let mut unequal = (0..features::N).filter(differs);
        let index = unequal.next()?;
        let feature = features::NAMES[index];
        let column = match features::meaning(index) {
            Some(Meaning::Of(column, _)) => column.name(),
            Some(Meaning::Other(_)) | None => feature,
        };
        let value = |features: &Features| {
            features.values.get(index).filter(|value| !value.is_nan()).map(|value| f64::from(*value))
        };
        let (stream, batch, more) = (value(stream), value(batch), unequal.count());
        Some(Unequal { line, column, feature, when, stream, batch, more })
    }

    pub fn of_risk(line: usize, when: When, stream: Option<f64>, batch: Option<f64>) -> Unequal {
        Unequal { line, column: "p", feature: "p", when, stream, batch, more: 0 }
    }
}

impl fmt::Display for Unequal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: Option<f64>| value.map_or("missing".to_owned(), |value| value.to_string());
        let Unequal { line, column, feature, when, more, .. } = self;
        write!(f, "{line}: column {column}: {feature} is {} in the stream", value(self.stream))?;
        write!(f, " and {} in batch", value(self.batch))?;
        match when {
            When::Close => {}
            When::End => write!(f, ", looked at after the last message")?,
        }
        if *more > 0 { write!(f, "; {more} more features differ") } else { Ok(()) }
    }
}
