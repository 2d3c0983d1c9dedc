//! Writes HL7 v2 messages as a simulated sender does.

use clinical::Time;

/// Fields by number; the gaps between them are empty.
pub fn segment(name: &str, fields: &[(usize, &str)]) -> String {
    let mut out = name.to_owned();
    let mut at = 0;
    for (number, value) in fields {
        while at < *number {
            out.push('|');
            at += 1;
        }
        out.push_str(value);
    }
    out.push('\r');
    out
}

pub fn header(type_: &str, control_id: &str, at: Time, facility: &str) -> String {
    // MSH-1 is the separator itself, so MSH-n stands after n-1 separators.
    let time = timestamp(at);
    let fields = [
        (1, "^~\\&"),
        (2, "SIMULATOR"),
        (3, facility),
        (4, "MEDULLA"),
        (6, time.as_str()),
        (8, type_),
        (9, control_id),
        (10, "P"),
        (11, "2.5.1"),
        (17, "UNICODE UTF-8"),
    ];
    segment("MSH", &fields)
}

/// `YYYYMMDDHHMMSS+0000`.
pub fn timestamp(at: Time) -> String {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(at) => at.strftime("%Y%m%d%H%M%S+0000").to_string(),
        Err(_) => String::new(),
    }
}
