//! The Bundle in bytes. A result that is complete is written at once, so that a message of many needs no memory for
//! the tree of all of them.

use super::finder::{Body, Finder};
use super::kept::{Spot, keep};
use super::{Entry, Writer, repair};
use crate::fhir::json::end;

/// An Observation that notes may be added to, and where in [`Writer::touched`] its segments begin.
pub(super) struct Open {
    place: usize,
    touched_from: usize,
}

/// More notes on one result than anybody sends.
const SEGMENTS_MAX: usize = 64;

impl<'m> Writer<'m> {
    /// After a segment: writes the open Observation if notes are no longer about it, and gives the one that is open
    /// now. `before` are the lengths of `entries` and `touched` before the segment.
    pub(super) fn settle(&mut self, open: Option<Open>, before: (usize, usize)) -> Option<Open> {
        let (entries, touched) = before;
        if let Some(open) = open {
            if self.noted == Some(open.place) {
                return Some(open);
            }
            self.write_result(&open, touched);
        }
        let begun = self.noted.filter(|at| *at >= entries);
        let is_result = |at: &usize| self.entries.get(*at).is_some_and(|e| e.type_ == "Observation");
        begun.filter(is_result).map(|place| Open { place, touched_from: touched })
    }

    /// Not where one of its segments had a part in other resources too: what it says may stand there.
    fn write_result(&mut self, open: &Open, touched_to: usize) {
        let Open { place, touched_from } = *open;
        let touched = self.touched.get(touched_from..touched_to).unwrap_or_default();
        if touched.len() > SEGMENTS_MAX || touched.iter().any(|(_, of)| *of != place) {
            return;
        }
        let entry = &mut self.entries[place];
        if entry.plain.is_none() {
            repair::repair("Observation", &mut entry.body);
        }
        let Entry { body, plain, .. } = &self.entries[place];
        let spots = || {
            let segments = touched.iter().filter_map(|(at, _)| self.message.segment(*at));
            segments.zip(touched.chunks(1)).map(|(segment, one)| Spot::new(self, segment, one))
        };
        let mut kept = Vec::new();
        let is_told = |spot: &Spot<'_, 'm>, number, field| {
            plain.as_ref().is_some_and(|plain| spot.name == "OBX" && plain.tells(number, field))
        };
        if !spots().all(|spot| spot.fields().all(|(number, field)| is_told(&spot, number, field))) {
            let body = |at: usize| {
                let here = || plain.as_deref().map_or(Body::Tree(body), Body::Plain);
                (at == place).then(here)
            };
            let finder = Finder::new(self, &body, None);
            spots().for_each(|spot| keep(&spot, &finder, is_told, &mut kept));
        }
        self.kept.extend(kept);
        if self.settled.is_empty() {
            self.settled.reserve(self.message.bytes().len() * 14);
        }
        let mut out = std::mem::take(&mut self.settled);
        let from = out.len();
        self.write_entry(place, &mut out);
        let entry = &mut self.entries[place];
        (entry.written, entry.body.members, entry.plain) = (Some(from..out.len()), Vec::new(), None);
        self.settled = out;
    }

    /// One entry of the Bundle, with the comma before it.
    fn write_entry(&self, place: usize, out: &mut Vec<u8>) {
        let Some(Entry { id, type_, body, plain, .. }) = self.entries.get(place) else { return };
        let (id, type_) = (id.as_bytes(), type_.as_bytes());
        if place > 0 {
            out.push(b',');
        }
        let begin: [&[u8]; 7] = [
            b"{\"fullUrl\":\"urn:uuid:",
            id,
            b"\",\"resource\":{\"resourceType\":\"",
            type_,
            b"\",\"id\":\"",
            id,
            b"\",",
        ];
        begin.iter().for_each(|part| out.extend_from_slice(part));
        match plain {
            Some(plain) => plain.write_members(out, &|place| self.url(place)),
            None => body.write_members(out, &|place| self.url(place)),
        }
        end(out, b'}');
        let request: [&[u8]; 5] = [b",\"request\":{\"method\":\"PUT\",\"url\":\"", type_, b"/", id, b"\"}}"];
        request.iter().for_each(|part| out.extend_from_slice(part));
    }

    pub(super) fn url(&self, place: usize) -> &[u8] {
        self.entries.get(place).map_or(&[], |entry| entry.id.as_bytes())
    }

    /// Written as it goes: a tree of the whole Bundle would be built to be read once. Takes what is settled.
    pub(super) fn bundle(&mut self) -> Vec<u8> {
        let mut rest = vec![b'{'];
        self.envelope().write_members(&mut rest, &|place| self.url(place));
        rest.extend_from_slice(b",\"entry\":[");
        // Where among the settled entries how much of the rest has its place.
        let mut cuts: Vec<(usize, usize)> = Vec::new();
        for (place, entry) in self.entries.iter().enumerate() {
            match &entry.written {
                None => self.write_entry(place, &mut rest),
                Some(at) if cuts.last().is_none_or(|(_, before)| *before < rest.len()) => {
                    cuts.push((at.start, rest.len()));
                }
                Some(_) => {}
            }
        }
        rest.extend_from_slice(b"]}");
        insert(std::mem::take(&mut self.settled), &rest, &cuts)
    }
}

/// Inserts parts of `rest` into `out`: each cut is a place in `out`, and the end of the part that goes before it; what
/// is left goes behind. From the end on, so that every byte is moved once and none is overwritten.
fn insert(mut out: Vec<u8>, rest: &[u8], cuts: &[(usize, usize)]) -> Vec<u8> {
    let (mut out_to, mut rest_to) = (out.len(), rest.len());
    out.resize(out_to + rest_to, 0);
    let mut to = out.len();
    for &(at, before) in cuts.iter().rev() {
        let part = &rest[before..rest_to];
        to -= part.len();
        out[to..to + part.len()].copy_from_slice(part);
        to -= out_to - at;
        out.copy_within(at..out_to, to);
        (out_to, rest_to) = (at, before);
    }
    out[..rest_to].copy_from_slice(&rest[..rest_to]);
    out
}

#[cfg(test)]
mod tests {
    use super::insert;

    #[test]
    fn parts_are_inserted_where_they_belong() {
        let inserted = |cuts: &[(usize, usize)]| String::from_utf8(insert(b"abcdef".into(), b"1234", cuts));
        assert_eq!(inserted(&[(0, 1), (2, 3)]).unwrap(), "1ab23cdef4");
        assert_eq!(inserted(&[(0, 0)]).unwrap(), "abcdef1234");
        assert_eq!(inserted(&[(0, 4)]).unwrap(), "1234abcdef");
        assert_eq!(insert(Vec::new(), b"1234", &[]), b"1234");
    }
}
