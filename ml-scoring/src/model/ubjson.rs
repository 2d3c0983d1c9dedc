//! UBJSON (draft 12) as XGBoost writes it since 1.6: big-endian, typed lists `[$d#L…`.

use super::ModelError;
use super::document::{DEPTH_MAX, Document, FIELDS_MAX, ListBuilder, Number};

pub(super) fn read(file: &str, bytes: &[u8]) -> Result<Document, ModelError> {
    let mut reader = Reader { file, bytes, at: 0 };
    let marker = reader.byte()?;
    let document = reader.value(marker, 0)?;
    if reader.at != bytes.len() {
        return Err(reader.error("bytes after the end of the document"));
    }
    Ok(document)
}

struct Reader<'a> {
    file: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, what: impl Into<String>) -> ModelError {
        ModelError::Syntax { file: self.file.to_owned(), offset: self.at, what: what.into() }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ModelError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        match end {
            Some(end) => {
                let taken = &self.bytes[self.at..end];
                self.at = end;
                Ok(taken)
            }
            None => Err(self.error(format!("{length} bytes are expected, the file is cut short"))),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, ModelError> {
        Ok(self.array::<1>()?[0])
    }

    fn number(&mut self, marker: u8) -> Result<Number, ModelError> {
        let whole = |n: i64| Number { wide: n as f64, narrow: n as f32 };
        Ok(match marker {
            b'i' => whole(i8::from_be_bytes(self.array()?).into()),
            b'U' => whole(self.byte()?.into()),
            b'I' => whole(i16::from_be_bytes(self.array()?).into()),
            b'l' => whole(i32::from_be_bytes(self.array()?).into()),
            b'L' => whole(i64::from_be_bytes(self.array()?)),
            b'd' => {
                let narrow = f32::from_be_bytes(self.array()?);
                Number { wide: f64::from(narrow), narrow }
            }
            b'D' => {
                let wide = f64::from_be_bytes(self.array()?);
                Number { wide, narrow: wide as f32 }
            }
            _ => {
                self.at -= 1;
                return Err(self.error(format!("unknown UBJSON type {:?}", marker as char)));
            }
        })
    }

    fn length(&mut self) -> Result<usize, ModelError> {
        let marker = self.byte()?;
        let n = self.number(marker)?.wide;
        // Every item takes at least a byte, so a length beyond the file is a lie.
        if n.fract() == 0.0 && n >= 0.0 && n <= self.bytes.len() as f64 {
            Ok(n as usize)
        } else {
            Err(self.error(format!("length {n} is beyond the file")))
        }
    }

    fn text(&mut self) -> Result<String, ModelError> {
        let length = self.length()?;
        let start = self.at;
        let bytes = self.take(length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => {
                self.at = start;
                Err(self.error("a string that is not UTF-8"))
            }
        }
    }

    fn value(&mut self, marker: u8, depth: usize) -> Result<Document, ModelError> {
        if depth > DEPTH_MAX {
            return Err(self.error(format!("nested more than {DEPTH_MAX} deep")));
        }
        match marker {
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'S' => Ok(Document::Text(self.text()?)),
            b'C' => Ok(Document::Text((self.byte()? as char).to_string())),
            b'Z' => Ok(Document::Null),
            b'T' => Ok(Document::Flag(true)),
            b'F' => Ok(Document::Flag(false)),
            _ => Ok(Document::Number(self.number(marker)?)),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Document, ModelError> {
        let mut fields: Vec<(String, Document)> = Vec::new();
        loop {
            match self.bytes.get(self.at) {
                Some(b'}') => break,
                Some(b'$' | b'#') => return Err(self.error("typed objects are not used by XGBoost")),
                _ => {}
            }
            let key = self.text()?;
            if fields.iter().any(|(seen, _)| *seen == key) {
                return Err(self.error("the same field twice"));
            }
            if fields.len() == FIELDS_MAX {
                return Err(self.error(format!("more than {FIELDS_MAX} fields in one object")));
            }
            let marker = self.byte()?;
            fields.push((key, self.value(marker, depth + 1)?));
        }
        self.at += 1;
        Ok(Document::Object(fields))
    }

    fn list(&mut self, depth: usize) -> Result<Document, ModelError> {
        let mut list = ListBuilder::default();
        match self.bytes.get(self.at) {
            Some(b'$') => {
                self.at += 1;
                let marker = self.byte()?;
                if self.byte()? != b'#' {
                    return Err(self.error("a typed list without its length"));
                }
                for _ in 0..self.length()? {
                    list.push(Document::Number(self.number(marker)?));
                }
            }
            Some(b'#') => {
                self.at += 1;
                for _ in 0..self.length()? {
                    let marker = self.byte()?;
                    list.push(self.value(marker, depth + 1)?);
                }
            }
            _ => loop {
                match self.byte()? {
                    b']' => break,
                    marker => list.push(self.value(marker, depth + 1)?),
                }
            },
        }
        Ok(list.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_list_form() {
        let typed = read("m.ubj", b"[$d#i\x02\x3f\x80\x00\x00\xc0\x00\x00\x00").unwrap();
        let Document::Numbers(numbers) = typed else { panic!("numbers") };
        assert_eq!(numbers.iter().map(|n| n.narrow).collect::<Vec<_>>(), [1.0, -2.0]);
        let counted = read("m.ubj", b"[#i\x02SU\x01aT").unwrap();
        assert_eq!(counted, Document::List(vec![Document::Text("a".into()), Document::Flag(true)]));
        assert_eq!(read("m.ubj", b"[#L\0\0\0\0\0\0\0\0").unwrap(), Document::Numbers(vec![]));
        let open = read("m.ubj", b"{i\x01a[I\x01\x00]}").unwrap();
        let number = Number { wide: 256.0, narrow: 256.0 };
        assert_eq!(open, Document::Object(vec![("a".into(), Document::Numbers(vec![number]))]));
    }

    #[test]
    fn refuses_lies_about_lengths() {
        let fails = |bytes: &[u8]| read("m.ubj", bytes).unwrap_err().to_string();
        assert!(fails(b"[$d#L\x00\x00\x00\x10\x00\x00\x00\x00").contains("beyond the file"));
        assert!(fails(b"[$d#i\xff").contains("length -1"));
        assert!(fails(b"[$d#i\x02\x00").contains("cut short"));
        assert!(fails(b"[$Z#i\x02").contains("unknown UBJSON type 'Z'"));
        assert!(fails(&b"[".repeat(1000)).contains("nested more than 32"));
        assert!(fails(b"").contains("cut short"));
    }
}
