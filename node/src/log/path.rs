//! Paths of C2SP tlog-tiles: `<N>[.p/<W>]`, N in groups of three digits, all but the last after an `x`.

/// Hashes or entries in a full tile or bundle.
const FULL: u16 = 256;

/// Which tile of a level, or which bundle, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub index: u64,
    /// 1 to 256.
    pub width: u16,
}

impl Part {
    /// `None` for any other spelling: one resource has one path.
    pub fn parse(path: &str) -> Option<Part> {
        let (index, width) = match path.split_once(".p/") {
            None => (path, FULL),
            Some((index, width)) => {
                (index, decimal(width)?.try_into().ok().filter(|w| (1..FULL).contains(w))?)
            }
        };
        let groups: Vec<&str> = index.split('/').collect();
        let (last, before) = groups.split_last()?;
        let mut number = 0u64;
        for (place, group) in before.iter().enumerate() {
            let group = group.strip_prefix('x')?;
            // No leading group of zeros.
            if place == 0 && group == "000" {
                return None;
            }
            number = number.checked_mul(1000)?.checked_add(three_digits(group)?)?;
        }
        let index = number.checked_mul(1000)?.checked_add(three_digits(last)?)?;
        // Beyond any tree that a u64 can count.
        (index <= u64::MAX / u64::from(FULL)).then_some(Part { index, width })
    }
}

/// 0 to 63.
pub fn level(text: &str) -> Option<u8> {
    decimal(text)?.try_into().ok().filter(|level| *level < 64)
}

fn three_digits(text: &str) -> Option<u64> {
    let valid = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    if valid { text.parse().ok() } else { None }
}

/// Without leading zeros.
fn decimal(text: &str) -> Option<u64> {
    let valid = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if valid { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_tlog_tiles() {
        let part = |index, width| Some(Part { index, width });
        for (path, expected) in [
            ("000", part(0, 256)),
            ("x001/x234/067", part(1_234_067, 256)),
            ("273.p/5", part(273, 5)),
            ("x001/000.p/255", part(1000, 255)),
            ("000.p/0", None),
            ("000.p/256", None),
            ("000.p/05", None),
            ("000.p/", None),
            ("00", None),
            ("1234", None),
            ("x000/001", None),
            ("001/x002/003", None),
            ("x001", None),
            ("", None),
            ("..", None),
            ("-01", None),
            ("x999/x999/x999/x999/x999/x999/x999/999", None),
        ] {
            assert_eq!(Part::parse(path), expected, "{path}");
        }
        assert_eq!(
            (level("0"), level("63"), level("64"), level("01"), level("")),
            (Some(0), Some(63), None, None, None)
        );
    }
}
