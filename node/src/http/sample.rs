//! Answers of a small site, for tests.

use actors::entry::{Contribution, Format};
use actors::{
    AlertExplained, AlertRow, AlertsRested, Answer, DriftFinding, DriftReport, DriftStatus, ErrorRow,
    ErrorState, Evidence, FeedSilent, FeedStatus, HeldAlert, ModelDetail, ModelRow, ModelStepRow, PatientRow,
    RiskNow, SetAsideValue, ShadowAgainst, ShadowAgreement, ShadowReport, ShadowThreshold, SinkStatus,
};
use clinical::Time;
use ml_scoring::ReasonGroup;
use ml_scoring::drift;
use ml_scoring::features::Group;
use raft_ledger::{
    Backup, CosignedCheckpoint, KeyBackup, KeyCopies, KeysRotated, Lease, MemberRole, MemberStatus,
    PeerStatus, Role, Status,
};

pub fn patient() -> PatientRow {
    PatientRow {
        key: "ab12".into(),
        name: "Ada Example".into(),
        id: "1".into(),
        ward: "ICU".into(),
        bed: "3".into(),
        risks: vec![RiskNow {
            scorer: "sepsis".into(),
            task: "sepsis".into(),
            risk: None,
            insufficient: Some("too few recent measurements".into()),
            threshold: 0.2,
            at: Time(5),
            reasons: Vec::new(),
            by_group: vec![ReasonGroup { group: Group::Trend, share: 1.0, reasons: vec!["pulse up".into()] }],
            rests_on_care_process: false,
        }],
        data_at: Time(5),
        discharged: false,
        origin: Some("b".into()),
        amended: Vec::new(),
    }
}

pub fn alert() -> AlertRow {
    AlertRow {
        id: "a1".into(),
        index: 7,
        patient: "ab12".into(),
        patient_id: "1".into(),
        name: "Ada Example".into(),
        ward: "ICU".into(),
        at: Time(5),
        kept_at: Time(5),
        task: "sepsis".into(),
        model: "sepsis".into(),
        model_hash: "00".into(),
        tier: "interruptive".into(),
        risk: 0.5,
        threshold: 0.2,
        reasons: vec!["lactate 4.1 mmol/L".into()],
        rests_on_care_process: false,
        evidence: vec![3, 6],
        amended: vec![9],
        delivered_to: Default::default(),
        acknowledged: None,
        later: vec![Answer {
            by: "night".into(),
            reason: String::new(),
            at: Time(6),
            snooze_h: Some(4),
            confirmed: false,
        }],
        origin: Some("b".into()),
    }
}

pub fn explained() -> AlertExplained {
    AlertExplained {
        id: "a1".into(),
        index: 7,
        site: "a".into(),
        task: "sepsis".into(),
        model: "sepsis".into(),
        model_hash: "00".into(),
        tier: "interruptive".into(),
        at: Time(5),
        as_of: 6,
        entries: 2,
        unreadable: 0,
        threshold: 0.2,
        risk_alerted: 0.5,
        risk_recomputed: Some(0.5),
        equal: true,
        evidence: vec![Evidence {
            column: "Lactate".into(),
            value: 4.1,
            unit: "mmol/L".into(),
            words: "lactate 4.1 mmol/L".into(),
            at: Time(5),
            index: 6,
        }],
        set_aside: vec![SetAsideValue {
            column: "HR".into(),
            words: "heart rate 720 /min".into(),
            why: "implausible".into(),
            at: Time(5),
            index: 6,
        }],
        withheld: 0,
        contributions: vec![Contribution {
            feature: "Lactate".into(),
            value: Some(4.1),
            weight: 0.7,
            group: Group::Physiology,
            words: "lactate 4.1 mmol/L".into(),
        }],
    }
}

pub fn feed() -> FeedStatus {
    FeedStatus {
        name: "adt".into(),
        kind: "mllp".into(),
        ack: "quorum".into(),
        state: "running".into(),
        received: 12,
        in_flight: 0,
        oldest_s: 0.0,
        lag: 0,
        faults: 0,
        silence: "15m".into(),
        last_message_ms: Some(5),
        silent: Some(FeedSilent { since: Time(5), why: "no message for 15m".into() }),
        last_error: None,
    }
}

/// It stands at a refusal.
pub fn sink() -> SinkStatus {
    SinkStatus {
        name: "pager".into(),
        kind: "mllp".into(),
        state: "held".into(),
        on_nack: "hold".into(),
        delivered: 3,
        refused: 0,
        last_error: Some("refused by the receiver: AE".into()),
        held: Some(HeldAlert { alert: "a1".into(), index: 7, reason: "AE".into(), since: Time(5) }),
    }
}

pub fn error_row() -> ErrorRow {
    ErrorRow {
        index: 4,
        feed: "adt".into(),
        format: Format::Hl7v2,
        code: "patient-id-missing".into(),
        control_id: "C1".into(),
        position: "127.0.0.1:1 #1".into(),
        received_time_ms: 5,
        state: ErrorState::Held,
        refused_again: 1,
        retried_by_itself: 0,
        partial: false,
        became: Vec::new(),
    }
}

pub fn model() -> ModelDetail {
    let step = ModelStepRow {
        index: 3,
        step: "registered",
        site: "a".into(),
        at: Time(5),
        by: Some("ada".into()),
        why: Some("validated".into()),
        threshold: None,
        interruptive_threshold: None,
        replaces: None,
    };
    let model = ModelRow {
        name: "sepsis".into(),
        hash: "00".repeat(32),
        task: "sepsis".into(),
        threshold: Some(0.2),
        interruptive_threshold: Some(0.4),
        here: "live",
        loaded_by: vec!["a".into()],
        shadow_at: vec!["b".into()],
        registered: Some(step.clone()),
        promoted: None,
        retired: None,
    };
    let contributions =
        AlertsRested { alerts: 4, physiology: 0.6, trend: 0.3, care_process: 0.1, resting: 0 };
    ModelDetail { model, history: vec![step], card: None, contributions: Some(contributions) }
}

pub fn drifted() -> DriftReport {
    DriftReport {
        model: "sepsis".into(),
        hash: "00".repeat(32),
        task: "sepsis".into(),
        status: DriftStatus::Warn,
        stays: 240,
        stays_min: 200,
        hours: 9_000,
        since_index: Some(7),
        since: Some(Time(9)),
        findings: vec![DriftFinding {
            column: "Lactate".into(),
            measure: drift::Measure::Rate,
            psi: 0.17,
            status: drift::Status::Warn,
        }],
    }
}

pub fn shadow() -> ShadowReport {
    ShadowReport {
        model: "sepsis".into(),
        hash: "00".repeat(32),
        task: "sepsis".into(),
        since_index: 3,
        since: Time(5),
        patients: 2,
        hours_scored: 48,
        hours_too_few_measurements: 1,
        hours_not_in_intensive_care: 7,
        hours_not_an_adult: 2,
        threshold: 0.2,
        interruptive_threshold: 0.4,
        alerts: 1,
        watch: 1,
        interruptive: 0,
        alerts_per_100_patient_days: Some(50.0),
        live: Some(ShadowAgreement {
            against: vec![ShadowAgainst { model: "sepsis".into(), hash: "11".repeat(32), threshold: 0.1 }],
            alerts: 2,
            alerts_per_100_patient_days: Some(100.0),
            both: 1,
            only_live: 1,
            only_shadow: 0,
            neither: 46,
        }),
        quantiles: vec![(0.5, 0.01)],
        thresholds: vec![ShadowThreshold {
            threshold: 0.1,
            alerts: 2,
            alerts_per_100_patient_days: Some(100.0),
        }],
    }
}

pub fn leases() -> Vec<Lease> {
    vec![Lease { site: "c".into(), holder: "a".into(), from: 5 }]
}

pub fn ledger() -> Status {
    Status {
        site: "a".into(),
        role: Role::Leader,
        leader: Some("a".into()),
        term: 3,
        size: 8,
        root: "00".into(),
        lag: [("b".to_owned(), 0)].into(),
        peers: vec![PeerStatus {
            name: "b".into(),
            address: "127.0.0.1:7002".into(),
            voter: true,
            connected: true,
        }],
        duplicates: 1,
        refused: 0,
        log_first_index: 0,
        in_flight_bytes: 0,
        apply_version: 0,
        apply_version_known: 1,
        notice: None,
        keys: KeyCopies {
            partner: Some("b".into()),
            own: 7,
            not_at_partner: 1,
            held: [("b".to_owned(), 3)].into(),
        },
        damage: None,
        cold: Default::default(),
    }
}

pub fn keys_rotated() -> KeysRotated {
    KeysRotated { keys: 7, master: Some("master-key.hex".into()) }
}

pub fn key_backup() -> KeyBackup {
    KeyBackup { keys: 7, made_ms: 1, expires_ms: 2 }
}

pub fn member() -> MemberStatus {
    MemberStatus {
        site: "b".into(),
        node: 1,
        role: MemberRole::Voter,
        address: "127.0.0.1:7002".into(),
        reachable: true,
        matched: Some(9),
        lag: Some(0),
        apply_version: Some(1),
    }
}

pub fn backup() -> Backup {
    Backup {
        size: 8,
        root: "00".into(),
        files: 2,
        bytes: 20,
        files_copied: 1,
        bytes_copied: 5,
        files_reused: 1,
        bytes_reused: 15,
    }
}

pub fn checkpoint() -> CosignedCheckpoint {
    CosignedCheckpoint {
        size: 8,
        root: [1; 32],
        note: "c/group/1\n8\nAQ==\n\n".into(),
        cosigners: vec!["c/site/a".into(), "c/site/b".into()],
        made_at_s: 5,
    }
}
