//! Golden answers.

use std::borrow::Cow;

use bytes::Bytes;

use super::*;

/// 2024-07-15T12:00:00Z.
const NOW: Time = Time(1_721_044_800_000);

fn message(text: &str) -> Message {
    Message::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default()).unwrap()
}

fn text(answer: Bytes) -> String {
    String::from_utf8(answer.to_vec()).unwrap().replace('\r', "\n")
}

fn issue(code: &'static str, location: &str) -> Issue {
    Issue {
        severity: Severity::Error,
        code: Cow::Borrowed(code),
        location: location.into(),
        text: "say a|b & c".into(),
    }
}

#[test]
fn accept_swaps_the_parties_and_echoes_the_control_id() {
    let to = message(
        "MSH|^~\\&|APP^1.2^ISO|FAC|MED|SITE|20240101||ORU^R01^ORU_R01|M\\F\\7|T|2.5.1|||AL|NE||8859/1\rPID|1\r",
    );
    assert_eq!(
        text(accept(&to, Mode::Commit, NOW, "A1")),
        "MSH|^~\\&|MED|SITE|APP^1.2^ISO|FAC|20240715120000+0000||ACK^R01^ACK|A1|T|2.5.1||||||8859/1\nMSA|CA|M\\F\\7\n"
    );
}

#[test]
fn errors_are_err_segments_from_2_5_on() {
    let to = message("MSH|^~\\&|APP|FAC|||20240101||ADT^A01|7|P|2.5\r");
    let issues = [issue("patient-id-missing", "PID-3"), issue("time-invalid", "OBX[2]-14.1")];
    assert_eq!(
        text(error(&to, Mode::Application, &issues, NOW, "A1")),
        "MSH|^~\\&|||APP|FAC|20240715120000+0000||ACK^A01^ACK|A1|P|2.5\nMSA|AE|7|time-invalid at OBX[2]-14.1\n\
         ERR||PID^1^3^1|101^Required field missing^HL70357|E|patient-id-missing^^L|||say a\\F\\b \\T\\ c\n\
         ERR||OBX^2^14^1^1|102^Data type error^HL70357|E|time-invalid^^L|||say a\\F\\b \\T\\ c\n"
    );
}

#[test]
fn older_versions_read_msa_3_and_newer_ones_do_not() {
    let answer = |version: &str| {
        let to = message(&format!("MSH*:+!%*APP*FAC***20240101**ADT:A01*7*P*{version}\r"));
        text(reject(&to, Mode::Application, &[issue("type-unsupported", "MSH-9")], NOW, "A1"))
    };
    assert_eq!(
        answer("2.3"),
        "MSH*:+!%***APP*FAC*20240715120000+0000**ACK:A01*A1*P*2.3\nMSA*AR*7*type-unsupported at MSH-9\n"
    );
    assert!(answer("2.1").contains("**ACK*A1*P*2.1\n"));
    let new = answer("2.8");
    assert!(new.contains("\nMSA*AR*7\nERR**MSH:1:9:1*200:Unsupported message type:HL70357*E*"), "{new}");
    assert!(new.contains("*say a|b & c\n"), "other delimiters are text here: {new}");
}

#[test]
fn bytes_that_are_no_message_are_answered_too() {
    let issues = [ParseError::MshMissing.to_issue()];
    let nothing = text(reject_bytes(b"\x01\x02 rubbish", &issues, NOW, "A1"));
    assert!(
        nothing.starts_with("MSH|^~\\&|||||20240715120000+0000||ACK|A1|P|2.5\nMSA|AR||msh-missing at MSH\n")
    );
    let some =
        text(reject_bytes(b"rubbish MSH|^~\\&|APP|FAC|||2024||ADT^A01|77|P|2.3\nPID", &issues, NOW, "A1"));
    assert!(some.contains("MSA|AR|77|"), "{some}");
    assert!(some.starts_with("MSH|^~\\&|||APP|FAC|"), "{some}");
}

#[test]
fn answers_asked_for() {
    let asked = |tail: &str| asked(&message(&format!("MSH|^~\\&|||||||ADT^A01|7|P|2.5|||{tail}\r")));
    let original = asked("");
    assert!(!original.enhanced && original.application.wants(true) && !original.accept.wants(true));
    assert_eq!(
        asked("AL|ER"),
        Asked { enhanced: true, accept: Condition::Always, application: Condition::OnError }
    );
    assert_eq!(
        asked("|SU"),
        Asked { enhanced: true, accept: Condition::Never, application: Condition::OnSuccess }
    );
    assert!(Condition::OnError.wants(false) && !Condition::OnError.wants(true));
    assert!(Condition::OnSuccess.wants(true) && !Condition::OnSuccess.wants(false));
}

#[test]
fn answers_read_back() {
    let to = message("MSH|^~\\&|APP|FAC|||20240101||ADT^A01|M\\F\\7|P|2.8\r");
    let answer = error(&to, Mode::Commit, &[issue("time-invalid", "EVN-2")], NOW, "A1");
    let ack = read(&answer).unwrap();
    assert_eq!(ack, Ack { code: AckCode::CommitError, control_id: "M|7".into(), text: "say a|b & c".into() });
    let plain = read(b"\x0bMSH|^~\\&|\rMSA|aa|9\r\x1c\r").unwrap();
    assert!(plain.code.is_positive() && plain.control_id == "9" && plain.text.is_empty());
    assert_eq!(read(b"MSH|^~\\&|\rMSA|ZZ|9\r"), Err(ParseError::NotAnAcknowledgement));
    assert_eq!(read(b"MSH|^~\\&|\r"), Err(ParseError::NotAnAcknowledgement));
}
