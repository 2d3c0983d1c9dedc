//! Which AMQP broker is meant, and how we sign in to it.

use connectors::Secret;
use connectors::amqp::{Auth, Broker};

use super::http::{read_tls, read_tls_ca};
use super::table::Table;
use super::{check, token};

pub fn read_broker(table: &Table) -> Option<Broker> {
    let url = table.secret("url").filter(|url| check::url(table.report(), url, &["amqp", "amqps"]));
    let (tls_ca, tls) = (read_tls_ca(table), read_tls(table));
    let (auth, token) = (read_auth(table), token::read(table));
    let (tls, token) = (tls.ok()?, token.ok()?);
    let (tls_cert, tls_key) = tls.map(|tls| (tls.cert, tls.key)).unzip();
    let url = Secret::new(url?.value.expose());
    let broker =
        Broker { url, tls_ca, tls_cert, tls_key, auth: auth.ok()?, token: token.map(|token| token.value) };
    if let Err((field, text)) = broker.check() {
        table.refuse_field(field, "value-invalid", text);
        return None;
    }
    Some(broker)
}

/// `Err`: a finding was made.
fn read_auth(table: &Table) -> Result<Option<Auth>, ()> {
    let Some(auth) = table.text("auth") else { return Ok(None) };
    match auth.value.as_str() {
        "plain" => Ok(Some(Auth::Plain)),
        "external" => Ok(Some(Auth::External)),
        _ => {
            auth.refuse(table.report(), "value-invalid", "must be \"plain\" or \"external\"");
            Err(())
        }
    }
}
