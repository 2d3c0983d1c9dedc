//! Who we are to a real broker: `eval "$(integration-tests/brokers/rabbitmq.sh start)"`. Its vhost `medulla` lets in
//! the user whom a certificate names, and those of tokens, and no guest. Says so and passes when AMQPS_SIGN_IN is not
//! set.

mod common;
#[path = "common/token.rs"]
mod token;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{commit, next, number, running};
use connectors::amqp::{self, Auth, Broker, Config, Sink, SinkConfig, Wanted};
use connectors::{Outbound, Refusal, Reply, Secret, Sink as _, SinkError, Source as _, TokenSource};
use token::{now_s, unsecured};

/// Of the broker that the tests were started with.
struct Real {
    url: String,
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
    script: String,
}

fn real() -> Option<Real> {
    let Ok(url) = std::env::var("AMQPS_SIGN_IN") else {
        println!("skipped: set AMQPS_SIGN_IN (integration-tests/brokers/rabbitmq.sh start)");
        return None;
    };
    let file = |name: &str| PathBuf::from(std::env::var(name).unwrap());
    let script = std::env::var("AMQP_TOKEN_SCRIPT").unwrap();
    Some(Real { url, ca: file("AMQPS_CA"), cert: file("AMQPS_CERT"), key: file("AMQPS_KEY"), script })
}

impl Real {
    fn broker(&self) -> Broker {
        Broker { tls_ca: Some(self.ca.clone()), ..Broker::new(&self.url) }
    }

    fn shows(&self, cert: &Path, key: &Path) -> Broker {
        Broker { tls_cert: Some(cert.to_owned()), tls_key: Some(key.to_owned()), ..self.broker() }
    }

    /// A token that the broker takes for so long.
    fn token(&self, life_s: u64) -> TokenSource {
        let arguments = ["token".to_owned(), life_s.to_string()].map(Secret::new).to_vec();
        TokenSource::Command { program: self.script.clone(), arguments, timeout: Duration::from_secs(10) }
    }
}

fn unique(name: &str) -> String {
    format!("{name}-{}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos())
}

fn out(number: u64) -> Outbound {
    let body = number.to_string().into();
    Outbound { id: number.to_string(), key: "k".into(), content_type: "x", body }
}

/// Feed, sink and dead letters by one sign-in, for so long: each second a message, the fourth refused.
async fn moves(broker: &Broker, name: &str, span: Duration) {
    let queue = unique(name);
    let dead = format!("{queue}-dead");
    let mut config = Config::new(broker.clone(), &queue);
    config.declare = true;
    config.dead_letter_exchange = Some(dead.clone());
    let mut source = amqp::source(config).unwrap();
    running(&source).await;
    let mut sink = Sink::new(SinkConfig::new(broker.clone(), "", &queue)).unwrap();
    let (begun, mut count) = (Instant::now(), 0);
    while count < 4 || begun.elapsed() < span {
        sink.deliver(&out(count)).await.unwrap();
        let inbound = next(&mut source).await;
        assert_eq!(number(&inbound), usize::try_from(count).unwrap());
        match count {
            3 => inbound.receipt.rejected(Refusal { code: "x".into(), reason: "y".into() }, Reply::default()),
            _ => commit(inbound),
        }
        count += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let status = source.status();
    assert_eq!((status.faults.load(Ordering::Relaxed), status.get().1), (0, None), "no connection was lost");
    source.finish().await;
    let found = amqp::probe(broker, &[Wanted::Queue(&queue), Wanted::Queue(&dead)], false).await.unwrap();
    let expected = format!("signed in, queue {queue}: 0 messages wait, queue {dead}: 1 messages wait");
    assert_eq!(found, expected);
}

async fn refused(broker: &Broker) -> String {
    let error = amqp::probe(broker, &[], false).await.unwrap_err().to_string();
    println!("{error}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_signs_in() {
    let Some(real) = real() else { return };
    let broker = real.shows(&real.cert, &real.key);
    moves(&broker, "certificate", Duration::ZERO).await;
    let asked = Broker { auth: Some(Auth::External), ..broker.clone() };
    assert_eq!(amqp::probe(&asked, &[], false).await.unwrap(), "signed in");
    // The certificate is shown, and somebody else signs in.
    let guest = Broker { auth: Some(Auth::Plain), ..broker };
    assert!(refused(&guest).await.contains("NOT_ALLOWED"));
    assert!(refused(&real.broker()).await.contains("NOT_ALLOWED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_does_not_sign_in_is_named() {
    let Some(real) = real() else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let stranger = rcgen::generate_simple_self_signed(["medulla".to_owned()]).unwrap();
    std::fs::write(file("cert.pem"), stranger.cert.pem()).unwrap();
    std::fs::write(file("key.pem"), stranger.signing_key.serialize_pem()).unwrap();
    for (cert, key) in [(file("cert.pem"), file("key.pem")), (real.cert.clone(), file("key.pem"))] {
        let error = refused(&real.shows(&cert, &key)).await;
        assert!(error.contains(&format!("with the certificate {}", cert.display())), "{error}");
        let sink =
            Sink::new(SinkConfig::new(real.shows(&cert, &key), "", "any")).unwrap().deliver(&out(1)).await;
        assert!(matches!(sink, Err(SinkError::Unreachable(_))), "{sink:?}");
    }
    let error = refused(&real.shows(&file("nowhere.pem"), &real.key)).await;
    assert!(error.contains("nowhere.pem"), "{error}");
}

/// The broker refuses everything once a token has ended, unless it was given the next one: connections outlive several.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_signs_in_and_is_renewed_before_it_ends() {
    const LIFE_S: u64 = 10;
    let Some(real) = real() else { return };
    let broker = Broker { token: Some(real.token(LIFE_S)), ..real.broker() };
    moves(&broker, "token", Duration::from_secs(3 * LIFE_S)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_does_not_sign_in_is_told_of_and_never_shown() {
    let Some(real) = real() else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let broker = Broker { token: Some(TokenSource::File(file.clone())), ..real.broker() };
    let missing = refused(&broker).await;
    assert!(missing.contains("token_file") && missing.contains("cannot be read"), "{missing}");
    for (ends_at_s, expected) in [(now_s() - 60, "ended 6"), (now_s() + 600, "ACCESS_REFUSED")] {
        let text = unsecured(&serde_json::json!({ "sub": "medulla", "aud": "medulla", "exp": ends_at_s }));
        std::fs::write(&file, &text).unwrap();
        let error = refused(&broker).await;
        assert!(error.contains(expected) && error.contains(&file.display().to_string()), "{error}");
        assert!(!error.contains(&text), "{error}");
    }
    // Read anew for each connection.
    let TokenSource::Command { program, arguments, .. } = real.token(600) else { panic!("a command") };
    let printed = tokio::process::Command::new(program).args(arguments.iter().map(Secret::expose)).output();
    std::fs::write(&file, printed.await.unwrap().stdout).unwrap();
    assert_eq!(amqp::probe(&broker, &[], false).await.unwrap(), "signed in");
}
