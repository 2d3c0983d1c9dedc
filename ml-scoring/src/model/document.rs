//! A model file as a tree of values, whichever of the two encodings it came in, and views of it that know their place.

use super::{ModelError, error::clip};

/// Deeper nesting than any XGBoost writes is refused while reading.
pub(super) const DEPTH_MAX: usize = 32;
/// The widest object of XGBoost's, a tree, has 19; attributes are the user's.
pub(super) const FIELDS_MAX: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Number {
    pub wide: f64,
    /// Rounded from the file's digits once, as libxgboost does it.
    pub narrow: f32,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Document {
    Null,
    Flag(bool),
    Number(Number),
    Text(String),
    /// Lists of numbers are most of a model; the empty list is one of them.
    Numbers(Vec<Number>),
    List(Vec<Document>),
    Object(Vec<(String, Document)>),
}

/// Collects a list and keeps it compact as long as there are only numbers in it.
#[derive(Default)]
pub(super) struct ListBuilder {
    numbers: Vec<Number>,
    mixed: Option<Vec<Document>>,
}

impl ListBuilder {
    pub fn push(&mut self, value: Document) {
        match (&mut self.mixed, value) {
            (None, Document::Number(number)) => self.numbers.push(number),
            (None, value) => {
                let mut mixed: Vec<_> = self.numbers.drain(..).map(Document::Number).collect();
                mixed.push(value);
                self.mixed = Some(mixed);
            }
            (Some(mixed), value) => mixed.push(value),
        }
    }

    pub fn finish(self) -> Document {
        match self.mixed {
            Some(mixed) => Document::List(mixed),
            None => Document::Numbers(self.numbers),
        }
    }
}

/// A value and where it stands in the file, like `learner.objective.name`.
#[derive(Clone)]
pub(super) struct View<'a> {
    value: &'a Document,
    place: String,
}

impl<'a> View<'a> {
    pub fn root(value: &'a Document) -> Self {
        View { value, place: String::new() }
    }

    pub fn place(&self) -> &str {
        if self.place.is_empty() { "model" } else { &self.place }
    }

    pub fn error(&self, what: impl Into<String>) -> ModelError {
        ModelError::content(self.place(), what)
    }

    pub fn fields(&self) -> Result<&'a [(String, Document)], ModelError> {
        match self.value {
            Document::Object(fields) => Ok(fields),
            _ => Err(self.error("an object is expected")),
        }
    }

    pub fn optional(&self, name: &str) -> Result<Option<View<'a>>, ModelError> {
        let place = if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) };
        let found = self.fields()?.iter().find(|(key, _)| key == name);
        Ok(found.map(|(_, value)| View { value, place }))
    }

    pub fn field(&self, name: &str) -> Result<View<'a>, ModelError> {
        self.optional(name)?.ok_or_else(|| self.error(format!("field {name:?} is missing")))
    }

    /// A field that we do not know could change what the model means.
    pub fn only(&self, known: &[&str]) -> Result<(), ModelError> {
        match self.fields()?.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, _)) => {
                let name = format!("field {}", clip(key));
                Err(ModelError::Unsupported {
                    place: self.place().to_owned(),
                    name,
                    supported: known.join(", "),
                })
            }
        }
    }

    pub fn text(&self) -> Result<&'a str, ModelError> {
        match self.value {
            Document::Text(text) => Ok(text),
            _ => Err(self.error("a string is expected")),
        }
    }

    /// Parameters are written as strings, `"num_class":"3"`.
    pub fn parameter<T: std::str::FromStr>(&self) -> Result<T, ModelError> {
        let text = self.text()?;
        text.parse().map_err(|_| self.error(format!("{} is not a number in range", clip(text))))
    }

    pub fn items(&self) -> Result<Vec<View<'a>>, ModelError> {
        let items = match self.value {
            Document::List(items) => items.as_slice(),
            Document::Numbers(numbers) if numbers.is_empty() => &[],
            _ => return Err(self.error("a list is expected")),
        };
        let view = |(i, value)| View { value, place: format!("{}[{i}]", self.place()) };
        Ok(items.iter().enumerate().map(view).collect())
    }

    fn numbers(&self) -> Result<&'a [Number], ModelError> {
        match self.value {
            Document::Numbers(numbers) => Ok(numbers),
            _ => Err(self.error("a list of numbers is expected")),
        }
    }

    pub fn floats(&self) -> Result<Vec<f32>, ModelError> {
        Ok(self.numbers()?.iter().map(|number| number.narrow).collect())
    }

    pub fn integers(&self) -> Result<Vec<i64>, ModelError> {
        let whole = |(i, number): (usize, &Number)| {
            let n = number.wide;
            if n.fract() == 0.0 && n.abs() < 9e15 {
                Ok(n as i64)
            } else {
                Err(self.error(format!("item {i} is {n}, a whole number is expected")))
            }
        };
        self.numbers()?.iter().enumerate().map(whole).collect()
    }

    /// 0 and 1 since 1.4, booleans before.
    pub fn flags(&self) -> Result<Vec<bool>, ModelError> {
        if let Document::Numbers(numbers) = self.value {
            return Ok(numbers.iter().map(|number| number.wide != 0.0).collect());
        }
        let flag = |item: View<'a>| match item.value {
            Document::Flag(flag) => Ok(*flag),
            _ => Err(item.error("a boolean is expected")),
        };
        self.items()?.into_iter().map(flag).collect()
    }

    pub fn texts(&self) -> Result<Vec<String>, ModelError> {
        self.items()?.iter().map(|item| item.text().map(str::to_owned)).collect()
    }
}
