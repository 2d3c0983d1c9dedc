//! Golden answers.

use std::borrow::Cow;

use bytes::Bytes;

use super::*;
use crate::{Issue, Severity, Time};

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
        text(refuse(&to, Mode::Application, &issues, NOW, "A1")),
        "MSH|^~\\&|||APP|FAC|20240715120000+0000||ACK^A01^ACK|A1|P|2.5\nMSA|AE|7|time-invalid at OBX[2]-14.1\n\
         ERR||PID^1^3^1|101^Required field missing^HL70357|E|patient-id-missing^^L|||say a\\F\\b \\T\\ c\n\
         ERR||OBX^2^14^1^1|102^Data type error^HL70357|E|time-invalid^^L|||say a\\F\\b \\T\\ c\n"
    );
}

#[test]
fn older_versions_read_msa_3_and_newer_ones_do_not() {
    let answer = |version: &str| {
        let to = message(&format!("MSH*:+!%*APP*FAC***20240101**ADT:A01*7*P*{version}\r"));
        text(refuse(&to, Mode::Application, &[issue("type-unsupported", "MSH-9")], NOW, "A1"))
    };
    assert_eq!(
        answer("2.3"),
        "MSH*:+!%***APP*FAC*20240715120000+0000**ACK:A01*A1*P*2.3\nMSA*AR*7*type-unsupported at MSH-9\n\
         ERR*MSH:1:9:200%Unsupported message type%HL70357\n"
    );
    assert!(answer("2.1").contains("**ACK*A1*P*2.1\n"));
    let new = answer("2.8");
    assert!(new.contains("\nMSA*AR*7\nERR**MSH:1:9:1*200:Unsupported message type:HL70357*E*"), "{new}");
    assert!(new.contains("*say a|b & c\n"), "other delimiters are text here: {new}");
}

/// What is said to be v2.5 holds v2.5's segments.
#[test]
fn without_a_version_the_answer_is_whole_in_the_one_that_it_names() {
    for version in ["", "\"\""] {
        let to = message(&format!("MSH|^~\\&|APP|FAC|||20240101||ADT^A01|7||{version}\r"));
        assert_eq!(
            text(refuse(&to, Mode::Application, &[issue("patient-id-missing", "PID-3")], NOW, "A1")),
            "MSH|^~\\&|||APP|FAC|20240715120000+0000||ACK^A01^ACK|A1|P|2.5\nMSA|AE|7|patient-id-missing at PID-3\n\
             ERR||PID^1^3^1|101^Required field missing^HL70357|E|patient-id-missing^^L|||say a\\F\\b \\T\\ c\n"
        );
    }
}

#[test]
fn what_is_not_meant_for_here_is_rejected_and_not_in_error() {
    for (msh, code, err) in [
        ("T|2.5", "processing-id-not-taken", "MSH^1^11^1|202^Unsupported processing id^HL70357"),
        ("P|9.9", "version-not-taken", "MSH^1^12^1|203^Unsupported version id^HL70357"),
    ] {
        let to = message(&format!("MSH|^~\\&|APP|FAC|||20240101||ADT^A08|7|{msh}\rPID|||1^^^H||A\r"));
        let feed = crate::Feed { processing_ids: vec!["P".into()], ..crate::Feed::default() };
        let (_, issues) = crate::hl7::to_events(&to, &feed, NOW);
        let answer = text(refuse(&to, Mode::Application, &issues, NOW, "A1"));
        assert!(answer.contains("\nMSA|AR|7") && answer.contains(err) && answer.contains(code), "{answer}");
        assert_eq!(read(&refuse(&to, Mode::Commit, &issues, NOW, "A1")).unwrap().code, AckCode::CommitReject);
    }
}

#[test]
fn bytes_that_are_no_message_are_answered_too() {
    let issues = [ParseError::MshMissing.to_issue()];
    let nothing = text(refuse_bytes(b"\x01\x02 rubbish", &issues, NOW, "A1").unwrap());
    assert!(
        nothing.starts_with("MSH|^~\\&|||||20240715120000+0000||ACK|A1|P|2.5\nMSA|AR||msh-missing at MSH\n")
    );
    let some = text(
        refuse_bytes(b"rubbish MSH|^~\\&|APP|FAC|||2024||ADT^A01|77|P|2.3\nPID", &issues, NOW, "A1").unwrap(),
    );
    assert!(some.contains("MSA|AR|77|"), "{some}");
    assert!(some.starts_with("MSH|^~\\&|||APP|FAC|"), "{some}");
}

#[test]
fn a_batch_of_no_messages_is_answered_by_one() {
    let answer = |batch: &'static str| text(empty_batch(&Bytes::from_static(batch.as_bytes()), NOW, "A1"));
    assert_eq!(
        answer("BHS|^~\\&|APP|FAC|MED|SITE|20240101||nightly||B7\rBTS|0\r"),
        "BHS|^~\\&|MED|SITE|APP|FAC|20240715120000+0000||||A1|B7\nBTS|0\n"
    );
    assert_eq!(
        answer(
            "FHS*^~\\&*APP****2024****F\\F\\1\rBHS*^~\\&*********B1\rBTS*0\rBHS*^~\\&*********B2\rBTS*0\rFTS*2\r"
        ),
        "FHS*^~\\&***APP**20240715120000+0000****A1*F\\F\\1\nBHS*^~\\&*****20240715120000+0000****A1*B1\nBTS*0\nFTS*1\n"
    );
    assert_eq!(
        answer("BHS|a|\rBTS|0\r"),
        "BHS|^~\\&|||||20240715120000+0000||||A1\nBTS|0\n",
        "delimiters that none can read"
    );
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
    let answer = refuse(&to, Mode::Commit, &[issue("time-invalid", "EVN-2")], NOW, "A1");
    let ack = read(&answer).unwrap();
    assert_eq!(ack, Ack { code: AckCode::CommitError, control_id: "M|7".into(), text: "say a|b & c".into() });
    let plain = read(b"\x0bMSH|^~\\&|\rMSA|aa|9\r\x1c\r").unwrap();
    assert!(plain.code.is_positive() && plain.control_id == "9" && plain.text.is_empty());
    assert_eq!(read(b"MSH|^~\\&|\rMSA|ZZ|9\r"), Err(ParseError::NotAnAcknowledgement));
    assert_eq!(read(b"MSH|^~\\&|\r"), Err(ParseError::NotAnAcknowledgement));
}

/// HL7 table 0155 by outcome: what is answered, in original mode and for all sixteen pairs of MSH-15 and MSH-16.
#[test]
fn sixteen_pairs_and_original_mode() {
    let fields = "MSH|^~\\&|APP|FAC|||20240101||ADT^A01|7|P|2.5|||";
    let fault = [issue("patient-id-missing", "PID-3")];
    let unsupported = [issue("type-unsupported", "MSH-9")];
    let code = |answer: Bytes| read(&answer).unwrap().code.text();
    // MSH-15, MSH-16; taken (now, later); in error; refused by its header; bytes that are no message.
    for (pair, taken, in_error, by_header, unread) in [
        ("|", "- AA", "AE", "AR", "AR"),
        ("AL|AL", "CA AA", "CE", "CR", "CR"),
        ("AL|NE", "CA -", "CE", "CR", "CR"),
        ("AL|ER", "CA -", "CE", "CR", "CR"),
        ("AL|SU", "CA AA", "CE", "CR", "CR"),
        ("NE|AL", "- AA", "AE", "AR", "AR"),
        ("NE|NE", "- -", "-", "-", "-"),
        ("NE|ER", "- -", "AE", "AR", "AR"),
        ("NE|SU", "- AA", "-", "-", "-"),
        ("ER|AL", "- AA", "CE", "CR", "CR"),
        ("ER|NE", "- -", "CE", "CR", "CR"),
        ("ER|ER", "- -", "CE", "CR", "CR"),
        ("ER|SU", "- AA", "CE", "CR", "CR"),
        ("SU|AL", "CA AA", "AE", "AR", "AR"),
        ("SU|NE", "CA -", "-", "-", "-"),
        ("SU|ER", "CA -", "AE", "AR", "AR"),
        ("SU|SU", "CA AA", "-", "-", "-"),
        // Empty beside a valued one is never.
        ("AL|", "CA -", "CE", "CR", "CR"),
        ("|AL", "- AA", "AE", "AR", "AR"),
    ] {
        let header = format!("{fields}{pair}");
        let to = message(&format!("{header}\rPID|1\r"));
        let asked = asked(&to);
        let said = |is_wanted: bool, mode| {
            if is_wanted { code(accept(&to, mode, NOW, "A1")) } else { "-" }
        };
        let now = said(asked.accept.wants(true), Mode::Commit);
        let later = said(asked.application.wants(true), Mode::Application);
        assert_eq!(format!("{now} {later}"), taken, "{pair}: taken");
        let refused =
            |issues: &[Issue]| asked.refusal().map_or("-", |mode| code(refuse(&to, mode, issues, NOW, "A1")));
        assert_eq!(refused(&fault), in_error, "{pair}: in error");
        assert_eq!(refused(&unsupported), by_header, "{pair}: refused by its header");
        let bytes = format!("\x01{header}\rPID|1\r");
        let cut = [issue("mllp-unterminated", "message")];
        let answer = refuse_bytes(bytes.as_bytes(), &cut, NOW, "A1").map_or("-", code);
        assert_eq!(answer, unread, "{pair}: no message");
    }
}

#[test]
fn an_application_answer_of_its_own_asks_to_be_taken_over() {
    let to = message("MSH|^~\\&|APP|FAC|||20240101||ADT^A01|7|P|2.5|||AL|AL||8859/1\rPID|1\r");
    assert_eq!(
        text(application(&to, &[], NOW, "A1")),
        "MSH|^~\\&|||APP|FAC|20240715120000+0000||ACK^A01^ACK|A1|P|2.5|||AL|NE||8859/1\nMSA|AA|7\n"
    );
    let answer = read(&application(&to, &[issue("patient-id-missing", "PID-3")], NOW, "A1")).unwrap();
    assert_eq!(answer.code, AckCode::Error);
}

#[test]
fn older_versions_have_their_errors_in_one_field() {
    let issues = [issue("patient-id-missing", "PID-3.1"), issue("unusable", "message")];
    let to = message("MSH|^~\\&|APP|FAC|||20240101||ADT^A01|7|P|2.4\r");
    let answer = text(refuse(&to, Mode::Application, &issues, NOW, "A1"));
    let err = "\nERR|PID^1^3^101&Required field missing&HL70357~^^^207&Application internal error&HL70357\n";
    assert!(answer.ends_with(err), "{answer}");
    let oldest = message("MSH|^~\\&|APP|FAC|||20240101||ADT^A01|7|P|2.1\r");
    assert!(!text(refuse(&oldest, Mode::Application, &issues, NOW, "A1")).contains("ERR"));
}
