//! What the API's answers look like, for the OpenAPI document; a test holds them to the real types' keys.

#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};

use utoipa::ToSchema;

#[derive(ToSchema)]
pub struct FeedStatus {
    name: String,
    /// `mllp`, `kafka`, `amqp`, `http` or `file`.
    kind: String,
    /// `quorum` or `site`.
    ack: String,
    /// `connecting`, `running`, `paused` or `stopped`.
    state: String,
    received: u64,
    /// Received and not answered yet.
    in_flight: usize,
    oldest_s: f64,
    /// Waiting at the sender's side, where the transport can tell.
    lag: u64,
    /// Of the transport itself, survived: bad frames, lost connections.
    faults: u64,
    /// What silence is out of the ordinary: `auto`, `off` or a span such as `15m`.
    silence: String,
    /// Of the last message since the site began to listen, milliseconds since the Unix epoch.
    last_message_ms: Option<i64>,
    /// Present while it brings nothing and should.
    silent: Option<FeedSilent>,
    last_error: Option<String>,
}

#[derive(ToSchema)]
pub struct FeedSilent {
    /// Its last message, or when the site began to listen; milliseconds since the Unix epoch.
    since: i64,
    /// In words.
    why: String,
}

/// Where messages of feeds with `ack = "site"` wait for a quorum.
#[derive(ToSchema)]
pub struct OutboxStatus {
    /// `normal`, `warn`, `slow` or `refuse`.
    state: String,
    entries: u64,
    bytes: u64,
    limit_bytes: u64,
    /// When the oldest was put, milliseconds since the Unix epoch.
    oldest_ms: Option<i64>,
    /// Since the site began.
    forwarded: u64,
    duplicates: u64,
    /// Why nothing is forwarded, beside the want of a quorum.
    fault: Option<String>,
}

#[derive(ToSchema)]
pub struct SinkStatus {
    name: String,
    kind: String,
    /// `running`; `waiting` after several failures in a row; or `held`.
    state: String,
    /// `skip`, `hold` or `retry N`.
    on_nack: String,
    delivered: u64,
    refused: u64,
    last_error: Option<String>,
    /// The alert that it stands at until a person lets it go.
    held: Option<HeldAlert>,
}

/// An alert that its receiver refused, and that nothing follows.
#[derive(ToSchema)]
pub struct HeldAlert {
    alert: String,
    /// The alert's ledger index.
    index: u64,
    /// What the receiver answered.
    reason: String,
    /// Milliseconds since the Unix epoch.
    since: i64,
}

/// One refused message.
#[derive(ToSchema)]
pub struct ErrorRow {
    index: u64,
    feed: String,
    /// `hl7v2`, `fhir` or `unknown`.
    format: String,
    /// Stable code of the refusal.
    code: String,
    control_id: String,
    position: String,
    received_time_ms: i64,
    /// `open`, `held`, `repaired` or `discarded`.
    state: String,
    /// Retries that were refused again.
    refused_again: usize,
    /// How often it was read again by itself, to no avail.
    retried_by_itself: u8,
    /// Only a part of the message came.
    partial: bool,
    /// Indices of the messages that it became.
    became: Vec<u64>,
}

/// One patient's line on the board.
#[derive(ToSchema)]
pub struct PatientRow {
    /// Opaque; names the patient in URLs.
    key: String,
    name: String,
    id: String,
    ward: String,
    bed: String,
    risks: Vec<RiskNow>,
    /// Event time of the newest data, milliseconds since the Unix epoch.
    data_at: i64,
    discharged: bool,
    /// The site that the patient belongs to and that this one stands in for; absent: this one.
    origin: Option<String>,
}

#[derive(ToSchema)]
pub struct RiskNow {
    scorer: String,
    task: String,
    /// 0 to 1; null: insufficient data.
    risk: Option<f64>,
    /// In words, why there is no risk, such as `not in intensive care`; null where there is one.
    insufficient: Option<String>,
    threshold: f64,
    at: i64,
    /// The largest contributions in words, largest first.
    reasons: Vec<String>,
    /// The same by what they speak of, greatest share first.
    by_group: Vec<ReasonGroup>,
    /// More than half of what speaks for the risk is how care is done, and not the patient.
    rests_on_care_process: bool,
}

#[derive(ToSchema)]
pub struct ReasonGroup {
    /// `physiology`, `trend` or `care-process`.
    group: String,
    /// Of the weight that speaks for the risk.
    share: f64,
    /// In words, strongest first.
    reasons: Vec<String>,
}

/// What a model's alerts rested on, of those that this site can read: mean shares of the weight that spoke for the risk.
#[derive(ToSchema)]
pub struct AlertsRested {
    alerts: u64,
    physiology: f64,
    trend: f64,
    care_process: f64,
    /// Alerts of which more than half was the care process.
    resting: u64,
}

#[derive(ToSchema)]
pub struct RiskPoint {
    at: i64,
    risk: Option<f64>,
}

#[derive(ToSchema)]
pub struct PatientDetail {
    row: PatientRow,
    /// Per scorer, oldest first.
    curves: BTreeMap<String, Vec<RiskPoint>>,
    alerts: Vec<AlertRow>,
}

#[derive(ToSchema)]
pub struct AlertRow {
    id: String,
    /// The alert's own ledger index.
    index: u64,
    patient: String,
    patient_id: String,
    name: String,
    ward: String,
    at: i64,
    kept_at: i64,
    task: String,
    model: String,
    /// SHA-256, lowercase hex.
    model_hash: String,
    /// `watch` or `interruptive`.
    tier: String,
    risk: f64,
    threshold: f64,
    reasons: Vec<String>,
    /// More than half of what speaks for the risk is how care is done, and not the patient.
    rests_on_care_process: bool,
    /// Ledger indices; the trigger is last.
    evidence: Vec<u64>,
    /// Ledger indices of messages since that corrected or took back a value that was measured before the alert; absent
    /// where there are none.
    amended: Option<Vec<u64>>,
    delivered_to: BTreeSet<String>,
    acknowledged: Option<Answer>,
    /// Later answers that ask for silence, absent where there are none: it counts as well, the longest of all.
    later: Option<Vec<Answer>>,
    /// The site that the patient belongs to and that this one stands in for; absent: this one.
    origin: Option<String>,
}

/// What an alert said, and what comes of the same entries now.
#[derive(ToSchema)]
pub struct AlertExplained {
    id: String,
    /// The alert's own ledger index.
    index: u64,
    /// That scored.
    site: String,
    task: String,
    model: String,
    /// SHA-256, lowercase hex.
    model_hash: String,
    /// `watch` or `interruptive`.
    tier: String,
    /// The event time that was scored.
    at: i64,
    /// The last index that the alert rests on.
    as_of: u64,
    /// Entries of the patient that were folded.
    entries: u64,
    /// Entries of the patient before the alert that this site cannot read now. What they said is not in the score.
    unreadable: u64,
    threshold: f64,
    risk_alerted: f64,
    /// null: insufficient data.
    risk_recomputed: Option<f64>,
    /// To the last bit.
    equal: bool,
    /// The newest value of everything that was measured.
    evidence: Vec<Evidence>,
    /// Values that no score uses, and why: the newest of each quantity.
    set_aside: Vec<SetAsideValue>,
    /// Values that are not shown: another site's, for which this one does not stand in now.
    withheld: u64,
    /// Of the score recomputed; greatest weight first.
    contributions: Vec<Contribution>,
}

#[derive(ToSchema)]
pub struct Evidence {
    /// Such as `HR`.
    column: String,
    value: f32,
    /// UCUM.
    unit: String,
    words: String,
    at: i64,
    /// Of the entry that said so.
    index: u64,
}

#[derive(ToSchema)]
pub struct SetAsideValue {
    /// Such as `HR`.
    column: String,
    /// As it was sent.
    words: String,
    /// `implausible`, `unit not convertible`, `unit missing` or `no number`.
    why: String,
    at: i64,
    /// Of the entry that said so.
    index: u64,
}

#[derive(ToSchema)]
pub struct Contribution {
    feature: String,
    /// null: missing, which can speak too.
    value: Option<f64>,
    /// A model's: part of the margin (log-odds). A bedside score's: points.
    weight: f64,
    /// `physiology`, `trend` or `care-process`.
    group: String,
    words: String,
}

#[derive(ToSchema)]
pub struct Answer {
    by: String,
    reason: String,
    at: i64,
    /// No further alert of the patient by this scorer for so many hours.
    snooze_h: Option<u32>,
    /// The patient has what the alert warned of.
    confirmed: bool,
}

#[derive(ToSchema)]
pub struct LedgerStatus {
    site: String,
    /// `leader`, `follower`, `candidate`, `learner` or `stopped`.
    role: String,
    leader: Option<String>,
    term: u64,
    /// Leaves applied here.
    size: u64,
    /// RFC 6962 root over them, lowercase hex.
    root: String,
    /// Raft entries that each peer has yet to receive.
    lag: BTreeMap<String, u64>,
    peers: Vec<PeerStatus>,
    duplicates: u64,
    /// Raft entries that apply refused: forged, out of order, of a fenced epoch, unreadable.
    refused: u64,
    /// Raft log that is kept from here on.
    log_first_index: u64,
    in_flight_bytes: usize,
    /// The rules that entries are applied by now.
    apply_version: u32,
    /// The latest that this site's release knows.
    apply_version_known: u32,
    /// Why this site does not take part, and what to do; `null`: it does.
    notice: Option<String>,
    keys: KeyCopies,
    /// Sites that others stand in for now.
    leases: Vec<Lease>,
    /// What was found wrong with this site's ledger database.
    damage: Option<String>,
    /// Entries whose payloads were moved out of the database.
    cold: ColdStatus,
}

#[derive(ToSchema)]
pub struct Lease {
    /// The one that is gone.
    site: String,
    /// The one that stands in for it.
    holder: String,
    /// Index of the entry that it began with.
    from: u64,
}

#[derive(ToSchema)]
pub struct ColdStatus {
    files: u64,
    /// The first so many entries of the ledger.
    entries: u64,
    bytes: u64,
    /// Files that are missing or damaged, and how; they come back from a peer that has those entries.
    lost: Vec<String>,
}

/// What was moved to cold files.
#[derive(ToSchema)]
pub struct Archived {
    files: u64,
    entries: u64,
    bytes: u64,
    /// The first so many entries of the ledger are in cold files now.
    cold_entries: u64,
}

/// Subjects' keys.
#[derive(ToSchema)]
pub struct KeyCopies {
    /// Who holds this site's keys, too; `null`: no other site votes.
    partner: Option<String>,
    /// Of this site's subjects.
    own: u64,
    /// Of these, not known to be at the partner.
    not_at_partner: u64,
    /// Held for other sites, by site.
    held: BTreeMap<String, u64>,
}

/// The key store is under a new master key, or new keys begin.
#[derive(ToSchema)]
pub struct KeysRotated {
    /// Keys under the new master key, or subjects that get a new key with their next entry.
    keys: u64,
    /// The master key's file; `null`: it is in none, or was not changed.
    master: Option<String>,
}

#[derive(ToSchema)]
pub struct KeyBackup {
    keys: u64,
    made_ms: i64,
    /// From then on it is refused.
    expires_ms: i64,
}

/// A site that takes part.
#[derive(ToSchema)]
pub struct MemberStatus {
    site: String,
    /// A site that comes with another disk is another node.
    node: u64,
    /// `leader`, `voter` or `learner`.
    role: String,
    address: String,
    /// It answered the leader within the last seconds.
    reachable: bool,
    /// Raft log that it has for certain.
    matched: Option<u64>,
    /// Raft entries that it has yet to receive.
    lag: Option<u64>,
    /// The latest rules of apply that its release knows, as it last said.
    apply_version: Option<u32>,
}

/// What a backup holds, and what it took.
#[derive(ToSchema)]
pub struct Backup {
    /// Leaves.
    size: u64,
    /// RFC 6962 root over them, lowercase hex.
    root: String,
    files: usize,
    bytes: u64,
    files_copied: usize,
    bytes_copied: u64,
    /// Of an earlier backup: read again and found unchanged.
    files_reused: usize,
    bytes_reused: u64,
}

#[derive(ToSchema)]
pub struct PeerStatus {
    name: String,
    address: String,
    voter: bool,
    connected: bool,
}

/// What a verification found.
#[derive(ToSchema)]
pub struct Report {
    ok: bool,
    /// Leaves whose root was recomputed.
    size: u64,
    /// RFC 6962 root over them, lowercase hex.
    root: String,
    batches: u64,
    /// Leaves whose sealed payload was not there to check.
    payloads_absent: u64,
    keys_brought: bool,
    findings: Vec<Finding>,
    /// Findings beyond those listed.
    more_findings: u64,
}

/// What became of a patient's entries.
#[derive(ToSchema)]
pub struct PatientShredded {
    /// Ledger index of the entry that says so. Null: this site held no key of the patient, nothing was destroyed now.
    index: Option<u64>,
    /// Keys that were destroyed.
    keys: u64,
    /// Entries that name the patient and can be read by nobody any more.
    shredded: u64,
    /// Entries that name the patient and can still be read here: they are about another patient, too.
    remaining: Vec<u64>,
    /// Entries about the patient that other sites have sealed: only they can shred them. Site, entries.
    elsewhere: BTreeMap<String, u64>,
}

#[derive(ToSchema)]
pub struct Finding {
    file: String,
    /// Byte in the file at which the damaged part begins.
    offset: Option<u64>,
    /// Leaf index, where one can be told.
    index: Option<u64>,
    text: String,
}

/// The registry of models, as one site can read it.
#[derive(ToSchema)]
pub struct ModelsListed {
    /// Entries up to here are in it.
    as_of: u64,
    models: Vec<ModelRow>,
    /// Entries about models of which this site knows nothing, because others have sealed them: by site.
    sealed: BTreeMap<String, u64>,
}

#[derive(ToSchema)]
pub struct ModelRow {
    /// Empty where only other sites can read it.
    name: String,
    /// SHA-256, lowercase hex.
    hash: String,
    task: String,
    /// The card's.
    threshold: Option<f64>,
    interruptive_threshold: Option<f64>,
    /// At the site that was asked: `live`, `shadow`, `off`, `retired` or `not loaded`.
    here: String,
    /// Sites whose configuration names it among those that alert, as they said at their last start.
    loaded_by: Vec<String>,
    /// The same of those that alert nobody.
    shadow_at: Vec<String>,
    registered: Option<ModelStepRow>,
    /// What has it alert at the site that was asked, and from which thresholds on.
    promoted: Option<ModelStepRow>,
    /// Until it is registered again.
    retired: Option<ModelStepRow>,
}

/// One entry about a model.
#[derive(ToSchema)]
pub struct ModelStepRow {
    index: u64,
    /// `loaded`, `shadow`, `unloaded`, `registered`, `retired` or `promoted`.
    step: String,
    /// That wrote it.
    site: String,
    /// Milliseconds since the Unix epoch.
    at: i64,
    /// Absent where another site has sealed it, and where nobody decided.
    by: Option<String>,
    why: Option<String>,
    /// Of a promotion: the site's own thresholds.
    threshold: Option<f64>,
    interruptive_threshold: Option<f64>,
    /// Of a promotion: hash of the model whose place it takes.
    replaces: Option<String>,
}

/// What a site has brought in, beside what a model was trained on.
#[derive(ToSchema)]
pub struct DriftReport {
    model: String,
    /// SHA-256, lowercase hex.
    hash: String,
    task: String,
    /// The loudest of the findings, `quiet`, `warn` or `alarm`; else `too-few` stays, or the card has `no-baseline`.
    status: String,
    /// Of patients, that began in the window.
    stays: u64,
    /// Fewer say nothing.
    stays_min: u64,
    /// Patients' hours that have closed, of those that the model speaks of.
    hours: u64,
    /// Ledger index that the window begins with; absent while it is empty.
    since_index: Option<u64>,
    /// When that came in, in milliseconds since the Unix epoch.
    since: Option<i64>,
    /// The greatest first; a measure with too few values is left out.
    findings: Vec<DriftFinding>,
}

#[derive(ToSchema)]
pub struct DriftFinding {
    column: String,
    /// `values` as they were measured, or `rate`: how often.
    measure: String,
    /// Population stability index.
    psi: f64,
    /// `quiet`, `warn` from 0.1 on, `alarm` from 0.25 on.
    status: String,
}

/// What a model in shadow would have done at one site.
#[derive(ToSchema)]
pub struct ShadowReport {
    model: String,
    /// SHA-256, lowercase hex.
    hash: String,
    task: String,
    /// Entries behind this ledger index are counted.
    since_index: u64,
    /// When that was written, in milliseconds since the Unix epoch.
    since: i64,
    /// Stays of patients.
    patients: u64,
    /// Patients' hours in which it had a risk.
    hours_scored: u64,
    /// Patients' hours in which it had none, by why.
    hours_too_few_measurements: u64,
    hours_not_in_intensive_care: u64,
    hours_not_an_adult: u64,
    threshold: f64,
    interruptive_threshold: f64,
    /// Alerts that it would have made, through the site's alert policy.
    alerts: u64,
    watch: u64,
    /// Within a budget of its own.
    interruptive: u64,
    /// Of the hours in which it had a risk; absent while there are none.
    alerts_per_100_patient_days: Option<f64>,
    /// Beside what alerts for the same task; absent where nothing does.
    live: Option<ShadowAgreement>,
    /// Of the highest risk of each hour, to 5 % of the odds: `[share of the hours, risk]`.
    quantiles: Vec<(f64, f64)>,
    /// What other thresholds would have come to, each as the only one.
    thresholds: Vec<ShadowThreshold>,
}

#[derive(ToSchema)]
pub struct ShadowAgreement {
    against: Vec<ShadowAgainst>,
    alerts: u64,
    /// Of the hours in which it had a risk.
    alerts_per_100_patient_days: Option<f64>,
    /// Patients' hours in which both had a risk, by who reached its threshold in them.
    both: u64,
    only_live: u64,
    only_shadow: u64,
    neither: u64,
}

#[derive(ToSchema)]
pub struct ShadowAgainst {
    model: String,
    hash: String,
    threshold: f64,
}

#[derive(ToSchema)]
pub struct ShadowThreshold {
    threshold: f64,
    alerts: u64,
    alerts_per_100_patient_days: Option<f64>,
}

#[derive(ToSchema)]
pub struct ModelDetail {
    name: String,
    hash: String,
    task: String,
    threshold: Option<f64>,
    interruptive_threshold: Option<f64>,
    here: String,
    loaded_by: Vec<String>,
    shadow_at: Vec<String>,
    registered: Option<ModelStepRow>,
    promoted: Option<ModelStepRow>,
    retired: Option<ModelStepRow>,
    /// Oldest first.
    history: Vec<ModelStepRow>,
    /// `card.json`, where this site can read it.
    card: Option<serde_json::Value>,
    /// What its alerts rested on; absent where this site knows of none.
    contributions: Option<AlertsRested>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Serialize;
    use utoipa::OpenApi;

    /// The keys of a sample equal the schema's properties.
    fn check(schema: &str, sample: &impl Serialize) {
        let document = serde_json::to_value(crate::api::openapi::Document::openapi()).expect("document");
        let keys = |value: &serde_json::Value| -> BTreeSet<String> {
            value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
        };
        let described = keys(&document["components"]["schemas"][schema]["properties"]);
        let real = keys(&serde_json::to_value(sample).expect("sample"));
        assert_eq!(described, real, "{schema}");
        assert!(!real.is_empty());
    }

    #[test]
    fn schemas_describe_the_real_answers() {
        let row = crate::http::sample::patient();
        check(
            "PatientDetail",
            &actors::PatientDetail { row: row.clone(), curves: Default::default(), alerts: vec![] },
        );
        check("PatientRow", &row);
        check("RiskNow", &row.risks[0]);
        check("ReasonGroup", &row.risks[0].by_group[0]);
        check("AlertsRested", &crate::http::sample::model().contributions);
        check("AlertRow", &crate::http::sample::alert());
        let explained = crate::http::sample::explained();
        check("AlertExplained", &explained);
        check("Evidence", &explained.evidence[0]);
        check("SetAsideValue", &explained.set_aside[0]);
        check("Contribution", &explained.contributions[0]);
        check("FeedStatus", &crate::http::sample::feed());
        let sink = crate::http::sample::sink();
        check("SinkStatus", &sink);
        check("HeldAlert", &sink.held);
        check("ErrorRow", &crate::http::sample::error_row());
        check("FeedSilent", &crate::http::sample::feed().silent);
        check("OutboxStatus", &raft_ledger::OutboxStatus::default());
        let (status, leases) = (crate::http::sample::ledger(), crate::http::sample::leases());
        check("LedgerStatus", &super::super::ledger::LedgerNow { status, leases });
        check("ColdStatus", &raft_ledger::ColdStatus::default());
        check("Archived", &raft_ledger::Archived::default());
        check("Backup", &crate::http::sample::backup());
        check("PeerStatus", &crate::http::sample::ledger().peers[0]);
        check("KeyCopies", &crate::http::sample::ledger().keys);
        check("KeysRotated", &crate::http::sample::keys_rotated());
        check("KeyBackup", &crate::http::sample::key_backup());
        check("MemberStatus", &crate::http::sample::member());
        check("Report", &raft_ledger::Report::default());
        let model = crate::http::sample::model();
        check("ModelRow", &model.model);
        check("ModelStepRow", &model.history[0]);
        check("ModelDetail", &model);
        let drift = crate::http::sample::drifted();
        check("DriftReport", &drift);
        check("DriftFinding", &drift.findings[0]);
        let shadow = crate::http::sample::shadow();
        check("ShadowReport", &shadow);
        check("ShadowAgreement", &shadow.live);
        check("ShadowAgainst", &shadow.live.as_ref().map(|live| &live.against[0]));
        check("ShadowThreshold", &shadow.thresholds[0]);
        let listed = actors::ModelsListed { as_of: 8, models: vec![], sealed: Default::default() };
        check("ModelsListed", &listed);
        check("PatientShredded", &actors::PatientShredded::default());
        check("RiskPoint", &actors::RiskPoint { at: clinical::Time(1), risk: None });
    }
}
