//! Paths such as `PID-5.1`, `OBX[2]-5`, `PID-3[2].4.2`.

use std::str::FromStr;

use super::message::Message;
use super::view::Part;

/// Numbers count from 1; `None` is not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    segment: String,
    occurrence: usize,
    field: usize,
    repetition: Option<usize>,
    component: Option<usize>,
    subcomponent: Option<usize>,
}

impl Path {
    pub(super) fn find<'m>(&self, message: &'m Message) -> Option<Part<'m>> {
        let segment = message.all(&self.segment).nth(self.occurrence - 1)?;
        let mut part = message.segments().nth(segment.position())?.field(self.field)?;
        if let Some(repetition) = self.repetition {
            part = part.repetition(repetition)?;
        }
        if let Some(component) = self.component {
            part = part.component(component)?;
        }
        match self.subcomponent {
            Some(subcomponent) => part.subcomponent(subcomponent),
            None => Some(part),
        }
    }
}

impl FromStr for Path {
    type Err = ();

    fn from_str(text: &str) -> Result<Path, ()> {
        let (segment, rest) = text.split_once('-').ok_or(())?;
        let (segment, occurrence) = with_index(segment)?;
        let mut parts = rest.split('.');
        let (field, repetition) = with_index(parts.next().unwrap_or_default())?;
        let component = parts.next().map(number).transpose()?;
        let subcomponent = parts.next().map(number).transpose()?;
        if segment.len() != 3 || parts.next().is_some() {
            return Err(());
        }
        Ok(Path {
            segment: segment.to_owned(),
            occurrence: occurrence.unwrap_or(1),
            field: number(field)?,
            repetition,
            component,
            subcomponent,
        })
    }
}

/// `OBX[2]` → (`OBX`, 2).
fn with_index(text: &str) -> Result<(&str, Option<usize>), ()> {
    match text.split_once('[') {
        Some((name, index)) => Ok((name, Some(number(index.strip_suffix(']').ok_or(())?)?))),
        None => Ok((text, None)),
    }
}

fn number(text: &str) -> Result<usize, ()> {
    match text.parse() {
        Ok(number) if number > 0 && !text.starts_with('+') => Ok(number),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::Limits;
    use super::*;

    #[test]
    fn paths_lead_to_values() {
        let message = Message::parse(
            Bytes::from_static(
                b"MSH|^~\\&|APP|FAC\rPID|1||7^^^H&1.2&ISO~8^^^K|\"\"||DOE^J\\T\\R\rOBX|1||A\rOBX|2||B^C||5~6\r",
            ),
            &Limits::default(),
        )
        .unwrap();
        for (path, value) in [
            ("MSH-1", Some("|")),
            ("MSH-2", Some("^~\\&")),
            ("MSH-2.1", Some("^~\\&")),
            ("MSH-4", Some("FAC")),
            ("PID-3", Some("7^^^H&1.2&ISO~8^^^K")),
            ("PID-3[1]", Some("7^^^H&1.2&ISO")),
            ("PID-3.1", Some("7")),
            ("PID-3.4", Some("H&1.2&ISO")),
            ("PID-3.4.2", Some("1.2")),
            ("PID-3[2].4", Some("K")),
            ("PID-3[2].4.1", Some("K")),
            ("PID-3[3].1", None),
            ("PID-2", Some("")),
            ("PID-4", Some("\"\"")),
            ("PID-6.2", Some("J&R")),
            ("PID-7", None),
            ("OBX[2]-5[2]", Some("6")),
            ("OBX[2]-3.2", Some("C")),
            ("OBX[3]-3", None),
            ("OBX-5", None),
            ("ZZZ-1", None),
        ] {
            assert_eq!(message.get(path).as_deref(), value, "{path}");
        }
        for wrong in [
            "",
            "PID",
            "PID-",
            "PID-0",
            "PID-a",
            "PID-3.1.1.1",
            "PID-3[0]",
            "PID-3[1",
            "pid-+3",
            "-1",
            "PI-1",
        ] {
            assert!(wrong.parse::<Path>().is_err(), "{wrong}");
        }
    }
}
