//! Checks of single values, and of values against each other. Each reports its own finding.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use connectors::{ConnectorError, TokenSource};
use ml_scoring::{Card, Setting};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::Secret;
use super::finding::{Finding, Report};
use super::table::{Spot, Table, nearest};
use crate::models;

/// Names stand in certificates, metric labels and file names.
pub fn name(report: &Report, name: &Spot<String>) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    let right = name.value.len() <= 63
        && name.value.chars().all(allowed)
        && name.value.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !right {
        let text =
            "must begin with a letter or digit and hold only letters, digits, `-`, `_` and `.`, at most 63";
        name.refuse(report, "value-invalid", text);
    }
    right
}

/// Reports the second and later uses of a name.
pub fn first(report: &Report, name: &Spot<String>, seen: &mut BTreeMap<String, usize>, what: &str) {
    if let Some(line) = seen.get(&name.value) {
        let text = format!("a second {what} with the name of line {line}; give it another name");
        name.refuse(report, "duplicate-name", text);
        return;
    }
    seen.insert(name.value.clone(), name.line);
}

/// The zone's name as given; unknown ones are reported.
pub fn zone(report: &Report, zone: Spot<String>) -> String {
    if zone.value.is_empty() || !clinical::is_known_zone(&zone.value) {
        let text = format!("unknown time zone `{}`; use an IANA name such as Europe/Zurich", zone.written);
        zone.refuse(report, "zone-unknown", text);
    }
    zone.value
}

/// A listening address that no other listener of the file has.
pub fn socket(report: &Report, text: Spot<String>) -> Option<Spot<SocketAddr>> {
    match text.value.parse() {
        Ok(address) => {
            if let Some(other) = report.claim(address, &text.field) {
                text.refuse(
                    report,
                    "duplicate-listen",
                    format!("listens where {other} does; use another port"),
                );
            }
            Some(text.map(|_| address))
        }
        Err(_) => {
            text.refuse(report, "value-invalid", "must be an address and port such as 127.0.0.1:8080");
            None
        }
    }
}

pub fn host_port(report: &Report, text: &Spot<String>) -> bool {
    let right = text
        .value
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
    if !right {
        text.refuse(report, "value-invalid", "must be host:port");
    }
    right
}

pub fn url(report: &Report, url: &Spot<Secret>, schemes: &[&str]) -> bool {
    let right = |url: &reqwest::Url| {
        schemes.contains(&url.scheme()) && url.host_str().is_some_and(|host| !host.is_empty())
    };
    let parsed = reqwest::Url::parse(url.value.expose()).ok().filter(right);
    match &parsed {
        None => {
            let text = format!("must be a URL that begins with {}://", schemes.join(":// or "));
            url.refuse(report, "value-invalid", text);
        }
        Some(parsed) if may_cut_a_password(parsed) => {
            let text = "has an @ behind its host, so what was taken for the host may be a part of the password; \
                        write / as %2F, ? as %3F, # as %23 and @ as %40 in user and password, and @ as %40 behind the host";
            url.refuse(report, "value-invalid", text);
        }
        Some(_) => return true,
    }
    false
}

/// A `/`, `?` or `#` in a password ends the authority there: its first part is read as the host, which is shown, and
/// connected to. A webhook's path may have an `@` where the URL names no user.
fn may_cut_a_password(url: &reqwest::Url) -> bool {
    let rest = [Some(url.path()), url.query(), url.fragment()];
    let names_user = !url.username().is_empty() || url.password().is_some();
    let is_web = matches!(url.scheme(), "http" | "https");
    (names_user || !is_web) && rest.into_iter().flatten().any(|part| part.contains('@'))
}

/// Who stands in for whom is a matter between the sites of this consortium.
pub fn no_peer(report: &Report, name: &Spot<String>) {
    let text = format!("`{}` is none of ledger.peers; name one of them", name.written);
    name.refuse(report, "takeover-unknown", text);
}

/// What librdkafka takes, as it says itself; no broker is asked.
/// By librdkafka's own word.
pub type KafkaCheck =
    fn(&BTreeMap<String, connectors::Secret>, Option<&TokenSource>) -> Result<(), ConnectorError>;

pub fn kafka_options(
    table: &Table,
    options: &BTreeMap<String, Secret>,
    token: Option<&TokenSource>,
    check: KafkaCheck,
) {
    let secret = |value: &Secret| connectors::Secret::new(value.expose());
    let options = options.iter().map(|(name, value)| (name.clone(), secret(value))).collect();
    if let Err(error) = check(&options, token) {
        table.refuse("value-invalid", error.to_string());
    }
}

pub fn unknown_kind(report: &Report, kind: &Spot<String>, known: &[&str]) {
    let hint = match nearest(&kind.value, known) {
        Some(known) => format!(" (did you mean `{known}`?)"),
        None => String::new(),
    };
    let text = format!("no kind `{}`{hint}; this build has {}", kind.written, known.join(", "));
    kind.refuse(report, "kind-unknown", text);
}

/// Whether the reader knows the encoding, in HL7's or IANA's spelling.
pub fn charset(report: &Report, charset: &Spot<String>) -> bool {
    let known = clinical::hl7::Charset::named(&charset.value).is_some();
    if !known {
        let text = format!(
            "unknown charset `{}`; use a name such as windows-1252, 8859/1 or utf-8",
            charset.written
        );
        charset.refuse(report, "value-invalid", text);
    }
    known
}

fn unreadable(report: &Report, path: &Spot<PathBuf>, error: impl std::fmt::Display) {
    path.refuse(report, "file-unreadable", format!("{} cannot be read: {error}", path.written));
}

pub fn exists(report: &Report, path: &Spot<PathBuf>) {
    if let Err(error) = std::fs::metadata(&path.value) {
        unreadable(report, path, error);
    }
}

/// It is not run: it may cost, or leave a trace.
pub fn program(table: &Table, program: &Spot<String>) {
    let name = &program.value;
    let path = (table.context.lookup)("PATH").unwrap_or_default();
    let is_in = |folder: PathBuf| folder.join(name).is_file();
    let is_there = match name.contains('/') {
        true => Path::new(name).is_file(),
        false => !name.is_empty() && std::env::split_paths(&path).any(is_in),
    };
    if !is_there {
        let text = format!("no program `{}` is found; give its path, or set PATH", program.written);
        program.refuse(table.report(), "command-missing", text);
    }
}

pub fn folder(report: &Report, path: &Spot<PathBuf>, hint: &str) {
    if let Err(error) = std::fs::read_dir(&path.value) {
        unreadable(report, path, format!("{error}; {hint}"));
    }
}

pub fn certificate(report: &Report, path: &Spot<PathBuf>) -> bool {
    let first = CertificateDer::pem_file_iter(&path.value)
        .and_then(|mut all| all.next().unwrap_or(Err(rustls_pki_types::pem::Error::NoItemsFound)));
    first.map_err(|error| unreadable(report, path, pem_text(&error, "certificate"))).is_ok()
}

pub fn private_key(report: &Report, path: &Spot<PathBuf>) -> bool {
    PrivateKeyDer::from_pem_file(&path.value)
        .map_err(|error| unreadable(report, path, pem_text(&error, "private key")))
        .is_ok()
}

/// PEM errors can quote the file; only I/O errors are passed on.
fn pem_text(error: &rustls_pki_types::pem::Error, what: &str) -> String {
    match error {
        rustls_pki_types::pem::Error::Io(error) => error.to_string(),
        _ => format!("no PEM {what} in it"),
    }
}

/// The model reads, fits its card, reproduces its golden rows, and asks for features that this build computes; and
/// there are patients whom it may speak of. `seen`: hashes of those before it, and their lines.
pub fn model(
    report: &Report,
    path: &Spot<PathBuf>,
    icu_wards: bool,
    seen: &mut BTreeMap<[u8; 32], usize>,
) -> Option<String> {
    let loaded = models::scorer(&path.value);
    let name = loaded.as_ref().ok().map(|scorer| scorer.name().to_owned());
    match loaded {
        Err(error) => path.refuse(report, "model-invalid", format!("{error:#}")),
        Ok(scorer) if seen.contains_key(&scorer.hash()) => {
            let line = seen.get(&scorer.hash()).copied().unwrap_or_default();
            let text = format!("is the model of line {line} once more; a model alerts or is in shadow");
            path.refuse(report, "duplicate-model", text);
        }
        Ok(scorer) if !icu_wards && scorer.card().is_some_and(is_for_intensive_care) => {
            let text = "is meant for intensive care and no feed names its wards, so it would never speak; set \
                        icu_wards in a [[feed]]";
            path.refuse(report, "icu-wards-missing", text);
        }
        Ok(scorer) => drop(seen.insert(scorer.hash(), path.line)),
    }
    name
}

fn is_for_intensive_care(card: &Card) -> bool {
    card.setting == Some(Setting::IntensiveCare)
}

/// The code table is readable and every line of it is right; its findings name the table's own lines.
pub fn codes(report: &Report, path: &Spot<PathBuf>) {
    let text = match std::fs::read_to_string(&path.value) {
        Ok(text) => text,
        Err(error) => return unreadable(report, path, error),
    };
    for error in clinical::CodeTable::parse(&text).err().unwrap_or_default() {
        let (file, text) = (path.value.display().to_string(), error.text);
        let line = usize::try_from(error.line).unwrap_or_default();
        report.push(Finding { file, line, field: path.field.clone(), code: "codes-invalid", text });
    }
}
