//! JSON as XGBoost writes it: numbers are rounded to `f32` from their digits, `NaN` and `Infinity` may occur.
//! (A general JSON crate refuses the latter and rounds by way of `f64`.)

use super::ModelError;
use super::document::{DEPTH_MAX, Document, FIELDS_MAX, ListBuilder, Number};

pub(super) fn read(file: &str, bytes: &[u8]) -> Result<Document, ModelError> {
    let mut reader = Reader { file, bytes, at: 0 };
    let document = reader.value(0)?;
    reader.space();
    if reader.at != bytes.len() {
        return Err(reader.error("text after the end of the document"));
    }
    Ok(document)
}

struct Reader<'a> {
    file: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn error(&self, what: impl Into<String>) -> ModelError {
        ModelError::Syntax { file: self.file.to_owned(), offset: self.at, what: what.into() }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    fn expect(&mut self, byte: u8) -> Result<(), ModelError> {
        if self.take(byte) { Ok(()) } else { Err(self.error(format!("{:?} is expected", byte as char))) }
    }

    fn value(&mut self, depth: usize) -> Result<Document, ModelError> {
        if depth > DEPTH_MAX {
            return Err(self.error(format!("nested more than {DEPTH_MAX} deep")));
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => Ok(Document::Text(self.text()?)),
            Some(_) => self.word(),
            None => Err(self.error("the file ends here; it is cut short")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Document, ModelError> {
        self.expect(b'{')?;
        let mut fields: Vec<(String, Document)> = Vec::new();
        while !self.take(b'}') {
            if !fields.is_empty() {
                self.expect(b',')?;
            }
            self.space();
            let key = self.text()?;
            if fields.iter().any(|(seen, _)| *seen == key) {
                return Err(self.error("the same field twice"));
            }
            if fields.len() == FIELDS_MAX {
                return Err(self.error(format!("more than {FIELDS_MAX} fields in one object")));
            }
            self.expect(b':')?;
            fields.push((key, self.value(depth + 1)?));
        }
        Ok(Document::Object(fields))
    }

    fn list(&mut self, depth: usize) -> Result<Document, ModelError> {
        self.expect(b'[')?;
        let mut list = ListBuilder::default();
        let mut first = true;
        while !self.take(b']') {
            if !first {
                self.expect(b',')?;
            }
            first = false;
            list.push(self.value(depth + 1)?);
        }
        Ok(list.finish())
    }

    /// A number, or one of the words that stand bare.
    fn word(&mut self) -> Result<Document, ModelError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'+' | b'-' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')) {
            self.at += 1;
        }
        let word = std::str::from_utf8(&self.bytes[start..self.at]).unwrap_or_default();
        let special = |narrow: f32| Document::Number(Number { wide: f64::from(narrow), narrow });
        match word {
            "null" => return Ok(Document::Null),
            "true" => return Ok(Document::Flag(true)),
            "false" => return Ok(Document::Flag(false)),
            "NaN" => return Ok(special(f32::NAN)),
            "Infinity" => return Ok(special(f32::INFINITY)),
            "-Infinity" => return Ok(special(f32::NEG_INFINITY)),
            _ => {}
        }
        let number_like = word.bytes().next().is_some_and(|b| b == b'-' || b.is_ascii_digit());
        match (number_like, word.parse::<f64>(), word.parse::<f32>()) {
            (true, Ok(wide), Ok(narrow)) => Ok(Document::Number(Number { wide, narrow })),
            _ => {
                self.at = start;
                Err(self.error("a JSON value is expected"))
            }
        }
    }

    fn text(&mut self) -> Result<String, ModelError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("a string is expected"));
        }
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => return Err(self.error("the file ends inside a string")),
            }
        }
        self.at += 1;
        // Names are few, so the escapes can be left to serde_json.
        serde_json::from_slice(&self.bytes[start..self.at]).map_err(|_| {
            self.at = start;
            self.error("not a valid JSON string")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(text: &str) -> String {
        read("m.json", text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn reads_what_xgboost_writes() {
        let got = read(
            "m.json",
            br#"{"a":[1E0,-2.5E-1,NaN,-Infinity],"b":"x\"\u00e9","c":[true,false],"d":[],"e":{}}"#,
        );
        let Document::Object(fields) = got.unwrap() else { panic!("an object") };
        let Document::Numbers(a) = &fields[0].1 else { panic!("numbers") };
        assert_eq!(a[..2].iter().map(|n| n.narrow).collect::<Vec<_>>(), [1.0, -0.25]);
        assert!(a[2].narrow.is_nan() && a[3].narrow == f32::NEG_INFINITY);
        assert_eq!(fields[1].1, Document::Text("x\"é".into()));
        assert_eq!(fields[2].1, Document::List(vec![Document::Flag(true), Document::Flag(false)]));
        assert_eq!(fields[3].1, Document::Numbers(vec![]));
    }

    #[test]
    fn rounds_to_f32_once() {
        // Just above the midpoint of two f32: by way of f64 it would become the midpoint and fall to even.
        let digits = "1.000000059604644775390625000001";
        let Document::Number(number) = read("m.json", digits.as_bytes()).unwrap() else { panic!("a number") };
        assert_eq!(number.narrow, 1.0 + f32::EPSILON);
        assert_eq!(number.wide as f32, 1.0);
    }

    #[test]
    fn refuses_with_the_offset() {
        assert_eq!(fails(r#"{"a":1"#), "m.json: byte 6: ',' is expected");
        assert_eq!(fails(r#"{"a":1,"a":2}"#), "m.json: byte 10: the same field twice");
        assert_eq!(fails(r#"{"a":wrong}"#), "m.json: byte 5: a JSON value is expected");
        assert_eq!(fails(r#"[1] 2"#), "m.json: byte 4: text after the end of the document");
        assert_eq!(fails(r#"["a\"#), "m.json: byte 5: the file ends inside a string");
        assert!(fails(&"[".repeat(100_000)).contains("nested more than 32 deep"));
    }
}
