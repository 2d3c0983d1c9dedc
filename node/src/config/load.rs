//! The file as a whole: sections, and what must hold between them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ml_scoring::Bedside;
use raft_ledger::MasterKey;
use sha2::{Digest, Sha256};
use toml::de::DeTable;

use super::check;
use super::contents::Contents;
use super::env::Lookup;
use super::finding::{Finding, Report};
use super::table::{Context, Spot, Table, base_of};
use super::types::{Alerts, Config, Ledger, Log, Peer, Retention, Scoring, Site};
use super::{feed, http, master, sink};

/// 64 KiB to 1 PiB.
const OUTBOX_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 50;
const OUTBOX_BYTES_DEFAULT: u64 = 8 << 30;
/// A leader that is replaced is silent for two seconds; whoever restarts, for some more.
const TAKEOVER_AFTER_S: std::ops::RangeInclusive<u64> = 3..=24 * 3600;
const TAKEOVER_AFTER_S_DEFAULT: u64 = 60;

/// A day to a century.
const RETENTION_DAYS: std::ops::RangeInclusive<u64> = 1..=36_500;
const KEY_BACKUP_DAYS: u32 = 7;

/// Alerts of a day.
const BUDGET: std::ops::RangeInclusive<u64> = 0..=10_000;

/// Reads and checks a configuration with the process's environment.
///
/// # Errors
/// Every mistake found, in file order; never empty.
pub fn load(file: &Path) -> Result<Config, Vec<Finding>> {
    load_with(file, &|name| std::env::var(name).ok())
}

/// [`load`] with an environment of the caller's.
pub fn load_with(file: &Path, lookup: Lookup) -> Result<Config, Vec<Finding>> {
    with_file(file, lookup, read)
}

/// [`load`], and the SHA-256 of the very bytes that were read.
pub fn load_hashed(file: &Path) -> Result<(Config, [u8; 32]), Vec<Finding>> {
    let text = read_text(file)?;
    let config = with_text(file, &text, &|name| std::env::var(name).ok(), read)?;
    Ok((config, Sha256::digest(&text).into()))
}

fn with_file<T>(
    file: &Path,
    lookup: Lookup,
    read: impl FnOnce(Table) -> Option<T>,
) -> Result<T, Vec<Finding>> {
    with_text(file, &read_text(file)?, lookup, read)
}

fn read_text(file: &Path) -> Result<String, Vec<Finding>> {
    std::fs::read_to_string(file).map_err(|error| {
        let report = Report::new(file, "");
        report.add(0, "", "file-unreadable", format!("cannot be read: {error}"));
        report.into_findings()
    })
}

fn with_text<T>(
    file: &Path,
    text: &str,
    lookup: Lookup,
    read: impl FnOnce(Table) -> Option<T>,
) -> Result<T, Vec<Finding>> {
    let report = Report::new(file, text);
    let (tree, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let line = error.span().map_or(0, |span| report.line_of(span.start));
        report.add(line, "", "toml-syntax", error.message().to_owned());
    }
    if !errors.is_empty() {
        return Err(report.into_findings());
    }
    let context = Context { report, lookup, base: base_of(file) };
    let value = read(Table::root(&context, tree.get_ref()));
    let findings = context.report.into_findings();
    match value {
        Some(value) if findings.is_empty() => Ok(value),
        _ => Err(findings),
    }
}

/// Where a site keeps its things: all that commands beside a running site need, so that they work without the
/// secrets of its environment.
pub struct Place {
    pub data: PathBuf,
    pub keys: PathBuf,
    pub cold: Option<PathBuf>,
    pub archive_after_days: Option<u64>,
    pub master: Option<MasterKey>,
    /// After so many days a backup of the key store is refused.
    pub key_backup_days: u32,
}

/// Reads these fields alone.
pub fn place(file: &Path) -> Result<Place, Vec<Finding>> {
    with_file(file, &|name| std::env::var(name).ok(), |root| {
        let data = root.required_table("site").and_then(|site| site.required_path("data"));
        let ledger = root.required_table("ledger")?;
        let (keys, source) = (ledger.required_path("keys"), master::read(&ledger).ok());
        let master = source?.map(|(master, _)| master);
        let key_backup_days = read_backup_days(&ledger);
        let retention = ledger.table("retention").map(read_retention).unwrap_or_default();
        let (cold, archive_after_days) = (retention.dir, retention.after_days);
        let (data, keys) = (data?.value, keys?.value);
        Some(Place { data, keys, cold, archive_after_days, master, key_backup_days })
    })
}

/// The alert policy alone, for who evaluates it elsewhere than at the site.
pub fn alerts(file: &Path) -> Result<Alerts, Vec<Finding>> {
    with_file(file, &|name| std::env::var(name).ok(), |root| Some(read_alerts(root.table("alerts"), None)))
}

fn read(root: Table) -> Option<Config> {
    let site = root.required_table("site").and_then(read_site);
    let zone = site.as_ref().map_or("UTC", |site| &site.zone).to_owned();
    let name = site.as_ref().map(|site| site.name.clone());
    let http = http::read(root.table("http"));
    let ledger = root.required_table("ledger").and_then(|table| read_ledger(table, name.as_deref()));
    let log = match root.table("log") {
        Some(table) => read_log(table).map(Some),
        None => Some(None),
    };
    let feeds = feed::read_all(root.tables("feed"), &zone);
    let peers = ledger.as_ref().map(|ledger| ledger.peers.as_slice());
    let sinks = sink::read_all(root.tables("sink"), peers);
    // Without a feed there is nobody to score; feeds that do not read are told of themselves.
    let icu_wards = feeds
        .as_ref()
        .is_none_or(|feeds| feeds.is_empty() || feeds.iter().any(|feed| !feed.icu_wards.is_empty()));
    let (scoring, scorers) = read_scoring(root.table("scoring"), icu_wards);
    let alerts = read_alerts(root.table("alerts"), scorers.as_deref());
    root.finish();
    Some(Config {
        site: site?,
        http: http?,
        ledger: ledger?,
        log: log?,
        feeds: feeds?,
        sinks: sinks?,
        scoring,
        alerts,
    })
}

fn read_site(table: Table) -> Option<Site> {
    let name = table.required("name").filter(|name| check::name(table.report(), name));
    let data = table.required_path("data");
    let zone = table.text("zone");
    if let Some(data) = &data
        && data.value.exists()
        && !data.value.is_dir()
    {
        data.refuse(
            table.report(),
            "file-unreadable",
            "is not a folder; name a folder, it is made when missing",
        );
    }
    let zone = match zone {
        Some(zone) => check::zone(table.report(), zone),
        None => "UTC".into(),
    };
    table.finish();
    Some(Site { name: name?.value, data: data?.value, zone })
}

fn read_ledger(table: Table, site: Option<&str>) -> Option<Ledger> {
    let listen = table.required("listen").and_then(|text| check::socket(table.report(), text));
    let keys = table.required_path("keys");
    if let Some(keys) = &keys {
        check::folder(table.report(), keys, "make it with `medulla keys init`");
    }
    let source = master::read(&table);
    if let Ok(source) = &source {
        master::check(&table, source);
    }
    // For its findings: commands beside the site read it in `place`.
    read_backup_days(&table);
    let initialise = table.flag("initialise").unwrap_or(false);
    let outbox_max_bytes = table.number("outbox_max_bytes", OUTBOX_BYTES).unwrap_or(OUTBOX_BYTES_DEFAULT);
    let retention = table.table("retention").map(read_retention).unwrap_or_default();
    let takeover_after_s =
        table.number("takeover_after_s", TAKEOVER_AFTER_S).unwrap_or(TAKEOVER_AFTER_S_DEFAULT);
    let takeover = table.text("takeover");
    let mut seen = BTreeMap::new();
    let peers: Vec<Option<Peer>> =
        table.tables("peers").into_iter().map(|peer| read_peer(peer, site, &mut seen)).collect();
    if let Some(partner) = &takeover
        && !seen.contains_key(&partner.value)
    {
        check::no_peer(table.report(), partner);
    }
    table.finish();
    Some(Ledger {
        listen: listen?.value,
        keys: keys?.value,
        master: source.ok()?.map(|(master, _)| master),
        initialise,
        peers: peers.into_iter().collect::<Option<_>>()?,
        takeover: takeover.map(|takeover| takeover.value),
        outbox_max_bytes,
        retention,
        takeover_after_s,
    })
}

fn read_retention(table: Table) -> Retention {
    let after_days = table.number("after_days", RETENTION_DAYS);
    let dir = table.path("dir");
    if let Some(dir) = &dir
        && dir.value.exists()
        && !dir.value.is_dir()
    {
        dir.refuse(table.report(), "file-unreadable", "is not a folder; name the folder of the cold files");
    }
    table.finish();
    Retention { after_days, dir: dir.map(|dir| dir.value) }
}

fn read_backup_days(table: &Table) -> u32 {
    let days = table.number("key_backup_days", 1..=90).and_then(|days| u32::try_from(days).ok());
    days.unwrap_or(KEY_BACKUP_DAYS)
}

fn read_peer(table: Table, site: Option<&str>, seen: &mut BTreeMap<String, usize>) -> Option<Peer> {
    let name = table.required("name").filter(|name| check::name(table.report(), name));
    if let Some(name) = &name {
        if Some(name.value.as_str()) == site {
            name.refuse(
                table.report(),
                "peer-is-self",
                "a site is no peer of its own; list the other sites only",
            );
        }
        check::first(table.report(), name, seen, "peer");
    }
    let address = table.required("address").filter(|address| check::host_port(table.report(), address));
    table.finish();
    Some(Peer { name: name?.value, address: address?.value })
}

/// Open to everybody on purpose: what it serves is signed and names nobody.
fn read_log(table: Table) -> Option<Log> {
    let listen = table.required("listen").and_then(|text| check::socket(table.report(), text));
    let tls = http::read_tls(&table);
    table.finish();
    Some(Log { listen: listen?.value, tls: tls.ok()? })
}

/// And the names of the scorers, unless one of them cannot be read.
fn read_scoring(table: Option<Table>, icu_wards: bool) -> (Scoring, Option<Vec<String>>) {
    let Some(table) = table else { return (Scoring::default(), Some(Vec::new())) };
    let rules = table.texts("rules");
    for rule in &rules {
        if Bedside::from_name(&rule.value).is_none() {
            let names = Bedside::ALL.map(Bedside::name).join(", ");
            let text = format!("no rule `{}`; this build has: {names}", rule.written);
            rule.refuse(table.report(), "rule-unknown", text);
        }
    }
    let base = table.context.base.clone();
    let mut seen = BTreeMap::new();
    let mut names: Vec<Option<String>> = rules.iter().map(|rule| Some(rule.value.clone())).collect();
    let mut folders = |key: &'static str| -> Vec<PathBuf> {
        let folders: Vec<Spot<PathBuf>> =
            table.texts(key).into_iter().map(|text| text.map(|path| base.join(path))).collect();
        names.extend(folders.iter().map(|folder| check::model(table.report(), folder, icu_wards, &mut seen)));
        folders.into_iter().map(|spot| spot.value).collect()
    };
    let (models, shadow_models) = (folders("models"), folders("shadow_models"));
    table.finish();
    let rules = rules.into_iter().map(|spot| spot.value).collect();
    let contents = Contents::of_models(models.iter().chain(&shadow_models));
    (Scoring { rules, models, shadow_models, contents }, names.into_iter().collect())
}

/// `scorers`: names of those that have a budget; where they are not known none is refused.
fn read_alerts(table: Option<Table>, scorers: Option<&[String]>) -> Alerts {
    let defaults = Alerts::default();
    let Some(table) = table else { return defaults };
    let number = |key, default: u32, range| {
        table.number(key, range).and_then(|number| u32::try_from(number).ok()).unwrap_or(default)
    };
    let own = table.numbers("scorer_budgets", BUDGET);
    for spot in own.iter().filter(|spot| scorers.is_some_and(|names| !names.contains(&spot.written))) {
        let names = scorers.unwrap_or_default().join(", ");
        let text = format!("`{}` is no scorer of [scoring], which has: {names}", spot.written);
        spot.refuse(table.report(), "scorer-unknown", text);
    }
    let own = own.into_iter().map(|spot| spot.value);
    let alerts = Alerts {
        per_ward_budget_per_day: number("per_ward_budget_per_day", defaults.per_ward_budget_per_day, BUDGET),
        scorer_budgets: own.filter_map(|(name, number)| Some((name, u32::try_from(number).ok()?))).collect(),
        refractory_h: number("refractory_h", defaults.refractory_h, 0..=168),
        rearm_below_percent: number("rearm_below_percent", defaults.rearm_below_percent, 1..=100),
        quiet_after_confirmation_h: number(
            "quiet_after_confirmation_h",
            defaults.quiet_after_confirmation_h,
            0..=720,
        ),
    };
    table.finish();
    alerts
}
