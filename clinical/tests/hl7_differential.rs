//! hl7-parser as a second opinion, on messages that both read: CR ends, standard delimiters, ASCII, no
//! escapes in odd places (it knows none of `\Xdd\`, formatting or other charsets).

use bytes::Bytes;
use clinical::hl7::{Limits, Message};
use proptest::prelude::*;

fn field() -> impl Strategy<Value = String> {
    let subcomponent = proptest::collection::vec("[A-Za-z0-9 .,-]{0,6}", 1..3).prop_map(|s| s.join("&"));
    let component = proptest::collection::vec(subcomponent, 1..4).prop_map(|c| c.join("^"));
    proptest::collection::vec(component, 1..3).prop_map(|r| r.join("~"))
}

fn message() -> impl Strategy<Value = String> {
    let segment = ("[A-Z][A-Z0-9]{2}", proptest::collection::vec(field(), 1..8))
        .prop_filter("a second header is another message", |(name, _)| {
            !["MSH", "FHS", "BHS"].contains(&name.as_str())
        })
        .prop_map(|(name, fields)| format!("{name}|{}", fields.join("|")));
    proptest::collection::vec(segment, 0..12).prop_map(|segments| {
        format!("MSH|^~\\&|APP|FAC|MED|SITE|20240715||ADT^A01|42|P|2.5\r{}", segments.join("\r"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn fields_and_parts_are_those_of_hl7_parser(text in message()) {
        let ours = Message::parse(Bytes::from(text.clone()), &Limits::default()).unwrap();
        let theirs = hl7_parser::Message::parse(&text).unwrap();
        let segments: Vec<_> = theirs.segments().collect();
        prop_assert_eq!(ours.segments().len(), segments.len());
        for (our, their) in ours.segments().zip(segments) {
            prop_assert_eq!(our.name(), their.name);
            for (number, field) in our.fields() {
                let Some(other) = their.field(number) else {
                    prop_assert!(field.is_empty());
                    continue;
                };
                prop_assert_eq!(field.raw(), other.raw_value().as_bytes());
                if our.name() == "MSH" && number < 3 {
                    continue;
                }
                prop_assert_eq!(parts(&field), other_parts(other));
            }
        }
    }
}

/// Every subcomponent with its place.
fn parts(field: &clinical::hl7::Part<'_>) -> Vec<(usize, usize, usize, String)> {
    let mut found = Vec::new();
    for (r, repetition) in field.repetitions().enumerate() {
        for (c, component) in repetition.components().enumerate() {
            for (s, subcomponent) in component.subcomponents().enumerate() {
                found.push((r, c, s, subcomponent.text().into_owned()));
            }
        }
    }
    found.retain(|(.., text)| !text.is_empty());
    found
}

fn other_parts(field: &hl7_parser::message::Field<'_>) -> Vec<(usize, usize, usize, String)> {
    let mut found = Vec::new();
    for (r, repetition) in field.repeats().enumerate() {
        for (c, component) in repetition.components().enumerate() {
            for (s, subcomponent) in component.subcomponents().enumerate() {
                found.push((r, c, s, subcomponent.raw_value().to_owned()));
            }
        }
    }
    found.retain(|(.., text)| !text.is_empty());
    found
}
