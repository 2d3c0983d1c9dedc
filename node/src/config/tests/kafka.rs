//! How Kafka's clients sign in.

use connectors::TokenSource;

use super::super::types::{FeedKind, SinkKind};
use super::{RIGHT, check, load};

const OPTIONS: &str = "options = { \"sasl.password\" = \"${SASL_PASSWORD}\" }";
const OAUTH: &str = "options = { \"sasl.mechanism\" = \"OAUTHBEARER\" }";

fn feed(fields: &str) -> String {
    RIGHT.replace(OPTIONS, fields)
}

#[test]
fn a_token_comes_from_a_file_or_a_command() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("token"), "").expect("token");
    let bus = "[[sink]]\nname = \"bus\"\nkind = \"kafka\"\nbrokers = \"k1:9092\"\ntopic = \"alerts\"\n";
    let command = "token_command = [\"sh\", \"-c\", \"${SASL_PASSWORD}\"]\ntoken_timeout_s = 3\n";
    let text = feed(&format!("{OAUTH}\ntoken_file = \"token\"")) + bus + OAUTH + "\n" + command;
    let config = load(&text, folder.path()).expect("no findings");
    let FeedKind::Kafka { token: Some(token), .. } = &config.feeds[1].kind else { panic!("a token") };
    assert_eq!(token, &TokenSource::File(folder.path().join("token")));
    let SinkKind::Kafka { token: Some(token), .. } = &config.sinks[1].kind else { panic!("a token") };
    let TokenSource::Command { program, arguments, timeout } = token else { panic!("a command") };
    assert_eq!((program.as_str(), arguments.len(), timeout.as_secs()), ("sh", 2, 3));
    assert_eq!(arguments[1].expose(), "hunter2-hunter2");
    assert!(!format!("{config:?}").contains("hunter2"), "a command's arguments are never shown");
}

#[test]
fn names_what_keeps_a_token_from_signing_in() {
    let line = RIGHT.lines().position(|line| line == OPTIONS).expect("options") + 1;
    let oidc = OAUTH.replace(" }", ", \"sasl.oauthbearer.method\" = \"oidc\" }");
    let option = |name: &str| format!("{line} feed[1].options.\"{name}\" value-invalid");
    let next = |rest: &str| format!("{} feed[1].{rest}", line + 1);
    for (fields, expected) in [
        (OAUTH.into(), option("sasl.mechanism")),
        (OAUTH.replace("mechanism", "mechanisms"), option("sasl.mechanisms")),
        (format!("{oidc}\ntoken_command = [\"sh\"]"), option("sasl.oauthbearer.method")),
        (oidc.clone(), option("sasl.oauthbearer.method")),
        (format!("{OPTIONS}\ntoken_command = [\"sh\"]"), next("token_command[0] value-invalid")),
        (format!("{OAUTH}\ntoken_file = \"nowhere\""), next("token_file file-unreadable")),
        (format!("{OAUTH}\ntoken_command = [\"no-such-program\"]"), next("token_command[0] command-missing")),
        (
            format!("{OAUTH}\ntoken_command = [\"sh\"]\ntoken_file = \"token\""),
            next("token_command[0] token-twice"),
        ),
    ] {
        check(&feed(&fields), &expected);
    }
}
