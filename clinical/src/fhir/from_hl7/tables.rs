//! HL7 v2 tables to FHIR codes, after the guide's concept maps. A code that has no row is not guessed.

fn find(table: &[(&str, &'static str)], code: &str) -> Option<&'static str> {
    table.iter().find(|(v2, _)| *v2 == code.trim()).map(|(_, fhir)| *fhir)
}

/// Table 0001 to administrative-gender.
pub(super) fn gender(code: &str) -> Option<&'static str> {
    find(
        &[
            ("F", "female"),
            ("M", "male"),
            ("O", "other"),
            ("A", "other"),
            ("N", "other"),
            ("X", "other"),
            ("U", "unknown"),
        ],
        code,
    )
}

/// Table 0200 to name-use.
pub(super) fn name_use(code: &str) -> Option<&'static str> {
    find(
        &[
            ("BAD", "old"),
            ("D", "usual"),
            ("L", "official"),
            ("M", "maiden"),
            ("MSK", "anonymous"),
            ("N", "nickname"),
            ("NAV", "temp"),
            ("R", "official"),
            ("TEMP", "temp"),
        ],
        code,
    )
}

/// Table 0190 to address-use.
pub(super) fn address_use(code: &str) -> Option<&'static str> {
    find(
        &[("BA", "old"), ("BI", "billing"), ("C", "temp"), ("B", "work"), ("H", "home"), ("O", "work")],
        code,
    )
}

/// Table 0190 to address-type.
pub(super) fn address_type(code: &str) -> Option<&'static str> {
    find(&[("M", "postal"), ("SH", "postal")], code)
}

/// Table 0201 to contact-point-use.
pub(super) fn contact_use(code: &str) -> Option<&'static str> {
    find(&[("PRN", "home"), ("ORN", "home"), ("VHN", "home"), ("WPN", "work"), ("PRS", "mobile")], code)
}

/// Table 0202 to contact-point-system.
pub(super) fn contact_system(code: &str) -> Option<&'static str> {
    find(
        &[
            ("PH", "phone"),
            ("CP", "phone"),
            ("SAT", "phone"),
            ("FX", "fax"),
            ("BP", "pager"),
            ("Internet", "email"),
            ("X.400", "email"),
            ("TDD", "other"),
            ("TTY", "other"),
            ("MD", "other"),
        ],
        code,
    )
}

/// Table 0002 to v3-MaritalStatus, as far as both mean the same.
pub(super) fn marital_status(code: &str) -> Option<&'static str> {
    find(&[("D", "D"), ("I", "I"), ("L", "L"), ("M", "M"), ("S", "S"), ("W", "W"), ("P", "T")], code)
}

/// Table 0004 to v3-ActCode.
pub(super) fn encounter_class(code: &str) -> Option<(&'static str, &'static str)> {
    let code =
        find(&[("I", "IMP"), ("B", "IMP"), ("O", "AMB"), ("R", "AMB"), ("E", "EMER"), ("P", "PRENC")], code)?;
    let display = find(
        &[
            ("IMP", "inpatient encounter"),
            ("AMB", "ambulatory"),
            ("EMER", "emergency"),
            ("PRENC", "pre-admission"),
        ],
        code,
    )?;
    Some((code, display))
}

/// The trigger event to encounter-status.
pub(super) fn encounter_status(trigger: &str) -> &'static str {
    let moving = &[
        ("A01", "in-progress"),
        ("A02", "in-progress"),
        ("A04", "in-progress"),
        ("A06", "in-progress"),
        ("A07", "in-progress"),
        ("A08", "in-progress"),
        ("A12", "in-progress"),
        ("A13", "in-progress"),
        ("A03", "finished"),
        ("A05", "planned"),
        ("A11", "cancelled"),
    ];
    find(moving, trigger).unwrap_or("unknown")
}

/// Table 0085 to observation-status.
pub(super) fn observation_status(code: &str) -> &'static str {
    find(
        &[
            ("A", "amended"),
            ("C", "corrected"),
            ("D", "entered-in-error"),
            ("F", "final"),
            ("U", "final"),
            ("V", "final"),
            ("B", "final"),
            ("I", "registered"),
            ("O", "registered"),
            ("P", "preliminary"),
            ("R", "preliminary"),
            ("S", "preliminary"),
            ("X", "cancelled"),
            ("W", "entered-in-error"),
        ],
        code,
    )
    .unwrap_or("unknown")
}

/// Table 0123 to diagnostic-report-status.
pub(super) fn report_status(code: &str) -> &'static str {
    find(
        &[
            ("O", "registered"),
            ("I", "registered"),
            ("S", "registered"),
            ("A", "partial"),
            ("P", "preliminary"),
            ("C", "corrected"),
            ("M", "corrected"),
            ("R", "partial"),
            ("F", "final"),
            ("X", "cancelled"),
        ],
        code,
    )
    .unwrap_or("unknown")
}

/// Table 0038 (order status), else 0119 (order control) to request-status.
pub(super) fn request_status(order_status: &str, order_control: &str) -> &'static str {
    let status = find(
        &[
            ("A", "active"),
            ("CA", "revoked"),
            ("CM", "completed"),
            ("DC", "revoked"),
            ("ER", "entered-in-error"),
            ("HD", "on-hold"),
            ("IP", "active"),
            ("RP", "revoked"),
            ("SC", "active"),
        ],
        order_status,
    );
    // The guide leaves a cancelled or held request active until it is confirmed.
    let control = || {
        find(
            &[
                ("AF", "active"),
                ("CA", "active"),
                ("CR", "revoked"),
                ("DC", "revoked"),
                ("DF", "revoked"),
                ("DR", "revoked"),
                ("FU", "completed"),
                ("HD", "active"),
                ("HR", "on-hold"),
                ("NW", "active"),
                ("OC", "revoked"),
                ("OD", "revoked"),
                ("OH", "on-hold"),
                ("OK", "active"),
                ("PR", "active"),
                ("PY", "active"),
                ("RL", "active"),
                ("RO", "active"),
                ("RQ", "active"),
            ],
            order_control,
        )
    };
    status.or_else(control).unwrap_or("unknown")
}
