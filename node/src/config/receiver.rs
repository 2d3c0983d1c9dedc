//! Who is sent HL7 v2 over MLLP: alerts, or a feed's application answers.

use std::net::IpAddr;

use super::check;
use super::http::{read_tls, read_tls_ca};
use super::table::{Spot, Table};
use super::types::{Receiver, ReceiverTls};

/// Is waited for so long before the message is sent once more, over another connection.
const ANSWER_DEFAULT_S: u64 = 30;
const ANSWER_MAX_S: u64 = 600;

/// Of a table that is its own.
pub fn read(table: &Table) -> Option<Receiver> {
    let address = address(table);
    let (timeout_s, tls) = rest(table);
    Some(Receiver { address: address?.value, timeout_s, tls: tls.ok()? })
}

/// `key = "127.0.0.1:2577"`, or a table. Beyond loopback it must be a table with `tls_ca`: what is sent names patients'
/// messages. `Err`: a finding was made.
pub fn read_secure(table: &Table, key: &'static str) -> Result<Option<Receiver>, ()> {
    let (address, timeout_s, tls) = if table.is_table(key) {
        let inner = table.table(key).ok_or(())?;
        let address = address(&inner);
        let (timeout_s, tls) = rest(&inner);
        inner.finish();
        (address, timeout_s, tls)
    } else {
        let address = table.text(key).filter(|address| check::host_port(table.report(), address));
        if !table.has(key) {
            return Ok(None);
        }
        (address, ANSWER_DEFAULT_S, Ok(None))
    };
    let (address, tls) = (address.ok_or(())?, tls?);
    if tls.is_none() && !is_loopback(&address.value) {
        let text = format!(
            "sends beyond loopback without TLS; write {key} = {{ address = \"host:port\", tls_ca = \"ca.pem\" }} \
             (tls_cert and tls_key where the receiver asks for a certificate)"
        );
        address.refuse(table.report(), "insecure-receiver", text);
        return Err(());
    }
    Ok(Some(Receiver { address: address.value, timeout_s, tls }))
}

fn address(table: &Table) -> Option<Spot<String>> {
    table.required("address").filter(|address| check::host_port(table.report(), address))
}

fn rest(table: &Table) -> (u64, Result<Option<ReceiverTls>, ()>) {
    let timeout_s = table.number("timeout_s", 1..=ANSWER_MAX_S).unwrap_or(ANSWER_DEFAULT_S);
    (timeout_s, read_receiver_tls(table))
}

/// Of `host:port`.
fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// `Err`: a finding was made.
fn read_receiver_tls(table: &Table) -> Result<Option<ReceiverTls>, ()> {
    let name = table.text("tls_name");
    let given = ["tls_cert", "tls_key", "tls_name"].into_iter().find(|key| table.has(key));
    let identity = read_tls(table)?;
    match (read_tls_ca(table), given) {
        (Some(ca), _) => Ok(Some(ReceiverTls { ca, name: name.map(|name| name.value), identity })),
        (None, None) => Ok(None),
        (None, Some(key)) => {
            let text =
                format!("{key} is of no use without tls_ca: add the authority of the receiver's certificate");
            table.refuse("missing-field", text);
            Err(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_from_the_rest() {
        for address in ["127.0.0.1:2577", "127.8.0.1:1", "localhost:2577", "LocalHost:1", "[::1]:2577"] {
            assert!(is_loopback(address), "{address}");
        }
        for address in
            ["his.example:2577", "10.0.0.1:2577", "localhost.example:1", "[2001:db8::1]:1", "0.0.0.0:1"]
        {
            assert!(!is_loopback(address), "{address}");
        }
    }
}
