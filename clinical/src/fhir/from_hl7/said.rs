//! What elements of a resource say, word by word.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::claims::Step;
use crate::fhir::json::{Json, Object};

/// So few words are faster looked through than hashed.
pub(super) const FEW: usize = 64;

/// Texts of so many bytes are looked into for others: what is put together of several values is short.
const TEXTS_MAX: usize = 4_096;

#[derive(Default)]
pub(super) struct Said<'w> {
    words: Vec<Cow<'w, str>>,
    set: OnceCell<HashSet<Cow<'w, str>>>,
    /// Places of the words in which others may stand.
    texts: OnceCell<Vec<usize>>,
    has_oid: OnceCell<bool>,
}

impl<'w> Said<'w> {
    pub(super) fn add(&mut self, word: impl Into<Cow<'w, str>>) {
        self.words.push(word.into());
    }

    /// A text, and each of its lines.
    #[inline]
    pub(super) fn hear_words(&mut self, words: &'w str) {
        if words.is_empty() {
            return;
        }
        self.add(words);
        if words.contains('\n') {
            words.split('\n').for_each(|line| self.add(line.trim()));
        }
    }

    /// What stands where the path leads.
    pub(super) fn hear_at(&mut self, object: &'w Object<'w>, path: &[Step]) {
        let Some((step, rest)) = path.split_first() else { return };
        for (key, value) in object.members.iter().filter(|(key, _)| step.is(key)) {
            if rest.is_empty() {
                // The name of a `value[x]` is what OBX-2 says.
                if key.starts_with("value") {
                    self.add(&**key);
                }
                self.hear_member(key, value);
                continue;
            }
            let items = match value {
                Json::Array(items) => items.as_slice(),
                one => std::slice::from_ref(one),
            };
            let is_it = |item: &&Json<'_>| step.url.is_none_or(|url| item.str("url") == Some(url));
            for item in items.iter().filter(is_it) {
                if let Json::Object(inner) = item {
                    self.hear_at(inner, rest);
                }
            }
        }
    }

    fn hear_member(&mut self, key: &str, value: &'w Json<'w>) {
        match key {
            "data" => self.hear_data(value),
            "contentType" => self.hear_media_type(value),
            _ => {}
        }
        self.hear(value);
    }

    pub(super) fn hear(&mut self, value: &'w Json<'w>) {
        match value {
            // An address of ours is nothing that a message says.
            Json::Null | Json::Entry(_) => {}
            Json::Bool(yes) => self.add(if *yes { "Y" } else { "N" }),
            Json::Number(digits) => self.add(&**digits),
            Json::String(words) => self.hear_words(words),
            Json::Array(items) => items.iter().for_each(|item| self.hear(item)),
            Json::Object(object) => {
                object.members.iter().for_each(|(key, value)| self.hear_member(key, value));
            }
        }
    }

    /// An attachment's bytes: ED.4 (how they are written), and plain text line by line.
    fn hear_data(&mut self, data: &Json<'_>) {
        self.add("base64");
        let Some(bytes) = data.as_str().and_then(|data| STANDARD.decode(data).ok()) else { return };
        if let Ok(plain) = String::from_utf8(bytes) {
            plain.lines().for_each(|line| self.add(line.trim().to_owned()));
        }
    }

    /// ED.2 and ED.3 (tables 0191 and 0291) are the halves of a media type.
    fn hear_media_type(&mut self, media_type: &'w Json<'w>) {
        let Some((type_, subtype)) = media_type.as_str().and_then(|m| m.split_once('/')) else { return };
        let short = match type_ {
            "application" => "AP",
            "image" => "IM",
            "audio" => "AU",
            "text" => "FT",
            _ => type_,
        };
        [type_, subtype, short].into_iter().for_each(|word| self.add(word));
    }

    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    /// The words from this one on, as one of its own.
    pub(super) fn split_off(&mut self, from: usize) -> Self {
        Said { words: self.words.split_off(from), ..Said::default() }
    }

    pub(super) fn has(&self, word: &str) -> bool {
        if self.words.len() <= FEW {
            // What is of one length mostly differs in its last letter: that is seen without a call.
            let may_be = |w: &str| w.len() == word.len() && w.as_bytes().last() == word.as_bytes().last();
            return self.words.iter().any(|w| may_be(w) && w == word);
        }
        self.set.get_or_init(|| self.words.iter().cloned().collect()).contains(word)
    }

    pub(super) fn has_oid(&self) -> bool {
        *self.has_oid.get_or_init(|| self.words.iter().any(|word| word.starts_with("urn:oid:")))
    }

    /// Whether `word` stands in a longer text.
    pub(super) fn holds(&self, word: &str) -> bool {
        let texts = self.texts.get_or_init(|| {
            let mut left = TEXTS_MAX;
            let texts = self.words.iter().enumerate().filter(|(_, text)| has_parts(text));
            let few = texts.take_while(|(_, text)| {
                let fits = text.len() <= left;
                left = left.saturating_sub(text.len());
                fits
            });
            few.map(|(place, _)| place).collect()
        });
        texts.iter().any(|place| holds(&self.words[*place], word))
    }
}

fn has_parts(words: &str) -> bool {
    words.bytes().fold(false, |found, b| found | matches!(b, b' ' | b'\n' | b',' | b'+'))
}

/// Whether `words` stands in `text` as words of its own.
fn holds(text: &str, words: &str) -> bool {
    let boundary = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    text.match_indices(words).any(|(at, found)| {
        boundary(text[..at].chars().next_back()) && boundary(text[at + found.len()..].chars().next())
    })
}
