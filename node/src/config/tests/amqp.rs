//! How AMQP clients sign in.

use connectors::TokenSource;
use connectors::amqp::{Auth, Broker};

use super::super::types::{Config, FeedKind, SinkKind};
use super::{RIGHT, check, load};

const HEAD: &str =
    "[[feed]]\nname = \"monitors\"\nkind = \"amqp\"\nauthority = \"HOSP\"\nqueue = \"vitals\"\n";

fn with(fields: &str) -> String {
    let sink = "[[sink]]\nname = \"pager\"\nkind = \"amqp\"\nrouting_key = \"sepsis\"\n";
    format!("{RIGHT}{HEAD}{fields}\n{sink}{fields}\n")
}

/// The feed's and the sink's, which are read alike.
fn broker(config: &Config) -> &Broker {
    let FeedKind::Amqp { broker, .. } = &config.feeds[2].kind else { panic!("an amqp feed") };
    let SinkKind::Amqp { broker: of_sink, .. } = &config.sinks[1].kind else { panic!("an amqp sink") };
    assert_eq!(broker, of_sink);
    broker
}

#[test]
fn a_certificate_or_a_token_signs_in() {
    let folder = tempfile::tempdir().expect("folder");
    let keys = raft_ledger::keys::init(&folder.path().join("tls"), &[("a", "localhost")]).expect("keys");
    let file = |name: &str| keys[0].join(name).display().to_string();
    let tls = format!(
        "tls_ca = \"{}\"\ntls_cert = \"{}\"\ntls_key = \"{}\"\n",
        file("ca-cert.pem"),
        file("tls-cert.pem"),
        file("tls-key.pem")
    );
    let url = "url = \"amqps://rabbit:5671/%2f\"\n";
    let config = load(&with(&format!("{url}{tls}auth = \"external\"")), folder.path()).expect("no findings");
    let read = broker(&config);
    assert_eq!((read.auth, read.token.is_none()), (Some(Auth::External), true));
    assert_eq!(read.tls_cert.as_ref(), Some(&keys[0].join("tls-cert.pem")));
    assert_eq!(read.tls_key.as_ref(), Some(&keys[0].join("tls-key.pem")));
    let token = "token_command = [\"sh\", \"${SASL_PASSWORD}\"]";
    let config = load(&with(&format!("{url}{token}")), folder.path()).expect("no findings");
    let Some(TokenSource::Command { arguments, .. }) = &broker(&config).token else { panic!("a command") };
    assert_eq!(arguments[0].expose(), "hunter2-hunter2");
    assert!(!format!("{config:?}").contains("hunter2"), "a command's arguments are never shown");
    // Each is found, in the feed and in the sink.
    for (fields, expected) in [
        ("auth = \"gssapi\"", "auth"),
        ("auth = \"external\"", "auth"),
        ("url = \"amqps://medulla:${SASL_PASSWORD}@rabbit/\"\ntoken_command = [\"sh\"]", "url"),
    ] {
        let fields = if expected == "url" { fields.to_owned() } else { format!("{fields}\n{url}") };
        let text = with(&fields);
        let lines = text.lines().zip(1..).filter(|(line, _)| line.starts_with(&format!("{expected} =")));
        let lines: Vec<usize> =
            lines.map(|(_, line)| line).filter(|line| *line > RIGHT.lines().count()).collect();
        let [feed, sink] = lines[..] else { panic!("{lines:?}") };
        let expected =
            format!("{feed} feed[2].{expected} value-invalid\n{sink} sink[1].{expected} value-invalid");
        let findings = check(&text, &expected);
        assert!(!format!("{findings:?}").contains("hunter2"), "{findings:?}");
    }
}
