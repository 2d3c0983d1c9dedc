//! Why a model was refused.

use thiserror::Error;

/// Messages name the place in the file, so that whoever brings the model can repair it.
#[derive(Debug, Error)]
pub enum ModelError {
    #[error("model directory: {0}")]
    Files(String),
    #[error("{file}: byte {offset}: {what}")]
    Syntax { file: String, offset: usize, what: String },
    #[error("{place}: {what}")]
    Content { place: String, what: String },
    #[error("{place}: {name} is not supported; supported: {supported}")]
    Unsupported { place: String, name: String, supported: String },
    #[error("card.json: {0}")]
    Card(String),
    #[error("golden.json: {0}")]
    Golden(String),
    #[error(
        "golden.json: row {row}: {what} is {got} here and {want} in libxgboost; \
         the model is refused, export it again with the golden rows of the same file{hint}"
    )]
    NotReproduced { row: usize, what: String, want: f64, got: f64, hint: String },
    #[error("the row has {got} features, the model takes {want}")]
    RowLength { got: usize, want: usize },
    #[error(
        "the model {name:?} ({task}) speaks once, at the end of hour 48, from a record that no feed brings; a site cannot \
         score with it, `medulla model eval` and `medulla model score` can"
    )]
    NotForStream { name: String, task: String },
    #[error("the model takes feature {0:?}, which is not among the given ones")]
    UnknownFeature(String),
}

impl ModelError {
    pub(super) fn content(place: &str, what: impl Into<String>) -> Self {
        ModelError::Content { place: place.to_owned(), what: what.into() }
    }

    pub(super) fn unsupported(place: &str, name: &str, supported: impl Into<String>) -> Self {
        ModelError::Unsupported { place: place.to_owned(), name: clip(name), supported: supported.into() }
    }
}

/// What a file says is repeated in messages up to a bound.
pub(super) fn clip(text: &str) -> String {
    let mut shown: String = text.chars().take(60).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}
