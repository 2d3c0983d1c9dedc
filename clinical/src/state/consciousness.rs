//! Level of consciousness on the ACVPU scale (Royal College of Physicians, NEWS2, 2017).

use crate::{Code, Value};

/// Alert, new Confusion, responds to Voice, to Pain, Unresponsive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Acvpu {
    Alert = 0,
    Confused = 1,
    Voice = 2,
    Pain = 3,
    Unresponsive = 4,
}

impl Acvpu {
    /// From what a nurse's chart sends: a letter, a word, or a LOINC answer of 67775-7. `None`: not understood.
    pub fn from_value(value: &Value) -> Option<Acvpu> {
        match value {
            Value::Text(text) => Acvpu::from_text(text),
            Value::Coded(Code { code, display, .. }) => Acvpu::from_answer(code)
                .or_else(|| Acvpu::from_text(display))
                .or_else(|| Acvpu::from_text(code)),
            Value::Quantity { .. } | Value::Absent => None,
        }
    }

    fn from_text(text: &str) -> Option<Acvpu> {
        let text = text.trim().to_ascii_lowercase();
        let first_word = text.split(|c: char| !c.is_ascii_alphanumeric()).find(|word| !word.is_empty())?;
        match first_word {
            "a" | "alert" | "awake" => Some(Acvpu::Alert),
            "c" | "confused" | "confusion" | "new" | "delirium" => Some(Acvpu::Confused),
            "v" | "voice" | "verbal" => Some(Acvpu::Voice),
            "p" | "pain" | "painful" => Some(Acvpu::Pain),
            "u" | "unresponsive" => Some(Acvpu::Unresponsive),
            "responds" | "response" | "responsive" if text.contains("voice") || text.contains("verbal") => {
                Some(Acvpu::Voice)
            }
            "responds" | "response" | "responsive" if text.contains("pain") => Some(Acvpu::Pain),
            _ => None,
        }
    }

    fn from_answer(code: &str) -> Option<Acvpu> {
        match code {
            "LA9340-6" => Some(Acvpu::Alert),
            "LA9341-4" => Some(Acvpu::Voice),
            "LA9342-2" => Some(Acvpu::Pain),
            "LA9343-0" => Some(Acvpu::Unresponsive),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_are_understood_and_the_rest_is_not_guessed() {
        let of = |text: &str| Acvpu::from_value(&Value::Text(text.into()));
        assert_eq!(of(" A "), Some(Acvpu::Alert));
        assert_eq!(of("New confusion"), Some(Acvpu::Confused));
        assert_eq!(of("Responds to voice"), Some(Acvpu::Voice));
        assert_eq!(of("responds to Pain"), Some(Acvpu::Pain));
        assert_eq!(of("U"), Some(Acvpu::Unresponsive));
        assert_eq!(of("apnoea"), None);
        assert_eq!(of(""), None);
    }
}
