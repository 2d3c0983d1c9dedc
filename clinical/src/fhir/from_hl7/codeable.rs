//! CWE and CE to CodeableConcept (v2.9 ch. 2A §2.A.13).

use std::borrow::Cow;

use super::datatypes::{LOINC, clean, code_system, single_blanks};
use super::said::Said;
use crate::Feed;
use crate::fhir::json::{Json, Members, object, text, trim};
use crate::hl7::Part;

/// What is read of a CWE.
pub(super) type Components<'m> = [Option<Part<'m>>; 9];

/// A CodeableConcept before it is JSON; what is empty in it is not written.
#[derive(Clone, Default)]
pub(super) struct Codeable<'m> {
    /// Mostly there is one, which needs no memory of its own.
    first: Option<Coding<'m>>,
    more: Vec<Coding<'m>>,
    text: Cow<'m, str>,
}

#[derive(Clone)]
struct Coding<'m> {
    system: Cow<'m, str>,
    version: Cow<'m, str>,
    code: Cow<'m, str>,
    display: Cow<'m, str>,
}

impl<'m> Codeable<'m> {
    /// What the feed's table knows it as, then both triples as sent.
    pub(super) fn read(cwe: Part<'m>, feed: &'m Feed) -> Self {
        Codeable::of_parts(cwe.all_below(), feed)
    }

    fn of_parts(parts: Components<'m>, feed: &'m Feed) -> Self {
        let part = |n: usize| match parts[n - 1] {
            Some(part) if part.has_value() => trim(part.text()),
            _ => Cow::Borrowed(""),
        };
        let words = [9, 2, 5, 1].into_iter().map(part).find(|words| !words.is_empty());
        let mut codeable = Codeable::words(clean(words.unwrap_or_default()));
        let is_loinc = |n: usize| !part(n).is_empty() && code_system(part(n + 2)) == LOINC;
        if !feed.codes.is_empty() && ![1, 4].into_iter().any(is_loinc) {
            let mapped = [1, 4].into_iter().find_map(|n| feed.codes.map(&part(n), &part(n + 2)));
            codeable.first = mapped.map(|mapped| Coding {
                system: Cow::Borrowed(LOINC),
                version: Cow::Borrowed(""),
                code: trim(Cow::Borrowed(&mapped.loinc)),
                display: trim(Cow::Borrowed(&mapped.display)),
            });
        }
        for (n, version) in [(1, 7), (4, 8)] {
            let code = single_blanks(part(n));
            if !code.is_empty() {
                let (display, system) = (clean(part(n + 1)), clean(code_system(part(n + 2))));
                codeable.add(Coding { system, version: clean(part(version)), code: clean(code), display });
            }
        }
        codeable
    }

    fn add(&mut self, coding: Coding<'m>) {
        match &self.first {
            None => self.first = Some(coding),
            Some(_) => self.more.push(coding),
        }
    }

    fn codings(&self) -> impl Iterator<Item = &Coding<'m>> {
        self.first.iter().chain(&self.more)
    }

    /// As [`read`](Codeable::read) for an element that FHIR requires: where the sender left it out, that is said.
    pub(super) fn required(code: Option<Components<'m>>, feed: &'m Feed) -> Self {
        let found = code.map(|code| Codeable::of_parts(code, feed)).unwrap_or_default();
        if found.is_empty() { Codeable::words(Cow::Borrowed("not named in the message")) } else { found }
    }

    /// One coding, and words for it.
    pub(super) fn of(
        system: impl Into<Cow<'m, str>>,
        code: Cow<'m, str>,
        display: Cow<'m, str>,
        words: Cow<'m, str>,
    ) -> Self {
        let (system, version) = (system.into(), Cow::Borrowed(""));
        Codeable { first: Some(Coding { system, version, code, display }), ..Codeable::words(words) }
    }

    /// Words alone.
    pub(super) fn words(text: Cow<'m, str>) -> Self {
        Codeable { first: None, more: Vec::new(), text }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.text.is_empty()
    }

    pub(super) fn into_json(self) -> Json<'m> {
        let codings = self.first.into_iter().chain(self.more).map(|coding| {
            object([
                ("system", text(coding.system)),
                ("version", text(coding.version)),
                ("code", text(coding.code)),
                ("display", text(coding.display)),
            ])
        });
        object([("coding", Json::Array(codings.collect())), ("text", text(self.text))])
    }

    /// The bytes of [`into_json`](Codeable::into_json).
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        Members::object(out, |members| {
            members.array("coding", self.codings(), |coding, out| {
                Members::object(out, |members| {
                    coding.each(|key, value| members.text(key, value));
                });
            });
            members.text("text", &self.text);
        });
    }

    /// Whether it says each value of the CWE by its one coding.
    pub(super) fn tells(&self, cwe: Part<'_>) -> bool {
        let Some(coding) = self.first.as_ref().filter(|_| self.more.is_empty()) else { return false };
        cwe.leaves().filter(|(_, leaf)| leaf.has_value()).all(|(component, leaf)| {
            let written = leaf.trimmed();
            match component {
                1 => coding.code == written,
                2 => coding.display == written,
                3 => coding.system == code_system(written),
                _ => false,
            }
        })
    }

    /// Whether its first coding has this code.
    pub(super) fn is_coded(&self, code: &str) -> bool {
        self.first.as_ref().is_some_and(|coding| coding.code == code)
    }

    pub(super) fn say<'s>(&'s self, said: &mut Said<'s>) {
        self.codings().for_each(|coding| coding.each(|_, value| said.hear_words(value)));
        said.hear_words(&self.text);
    }
}

impl Coding<'_> {
    fn each<'c>(&'c self, mut see: impl FnMut(&'static str, &'c str)) {
        see("system", &self.system);
        see("version", &self.version);
        see("code", &self.code);
        see("display", &self.display);
    }
}
