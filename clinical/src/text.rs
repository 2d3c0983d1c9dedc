//! What both standards do with text.

use std::borrow::Cow;

/// Without white space around it; nothing is copied that was not.
pub(crate) fn trim(text: Cow<'_, str>) -> Cow<'_, str> {
    // Most text has none: a look at two bytes.
    let bytes = text.as_bytes();
    if let (Some(b'!'..=b'~'), Some(b'!'..=b'~')) = (bytes.first(), bytes.last()) {
        return text;
    }
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}
