//! SCH and AIS, AIG, AIL, AIP to Appointment.

use super::Writer;
use super::datatypes::text;
use crate::fhir::json::{Json, Object, array, object};
use crate::hl7::Segment;

impl<'m> Writer<'m> {
    pub(super) fn appointment(&mut self, sch: Segment<'m>) {
        self.finish_appointment();
        let mut body = Object::default();
        self.fill(&mut body, sch, "SCH", "Appointment");
        let id = self.id(&["Appointment", &sch.text(2, 1), &sch.text(1, 1)]);
        self.appointment = Some(self.put("Appointment", id, body));
        self.noted = self.appointment;
    }

    /// AIS says what for and when, the others who and where.
    pub(super) fn booked(&mut self, segment: Segment<'m>, name: &'static str) {
        let Some(at) = self.appointment else { return };
        if name == "AIS" {
            return self.extend(at, segment, name);
        }
        let mut participant = Object::default();
        self.fill(&mut participant, segment, name, "Appointment.participant");
        // app-1: a participant is somebody or something of a type.
        if participant.get("type").is_none() && participant.get("actor").is_none() {
            return;
        }
        participant.members.push(("status".into(), text("accepted")));
        self.push(at, "participant", Json::Object(participant));
        self.touch(at);
    }

    /// What R4 demands of an appointment, once all is known.
    pub(super) fn finish_appointment(&mut self) {
        let Some(at) = self.appointment.take() else { return };
        if self.patient.is_some() {
            let patient = object([("actor", self.subject()), ("status", text("accepted"))]);
            self.push(at, "participant", patient);
        }
        let by_trigger = match self.message.type_().split('^').nth(1).unwrap_or_default() {
            "S15" => "cancelled",
            "S17" => "entered-in-error",
            "S26" => "noshow",
            _ => "booked",
        };
        let body = &mut self.entries[at].body;
        if body.get("participant").is_none() {
            let nobody = object([("actor", object([("display", text("not named in the message"))]))]);
            let Json::Object(mut nobody) = nobody else { return };
            nobody.members.push(("status".into(), text("needs-action")));
            body.members.push(("participant".into(), array([Json::Object(nobody)])));
        }
        let (start, minutes) = (body.get("start").cloned(), body.get("minutesDuration").cloned());
        if let (Some(start), Some(Json::Number(minutes)), None) = (&start, minutes, body.get("end"))
            && let Some(end) = later(start, &minutes)
        {
            body.members.push(("end".into(), end));
        }
        let timed = body.get("start").is_some() && body.get("end").is_some();
        if !timed {
            // app-2: both or neither.
            body.members.retain(|(key, _)| !matches!(&**key, "start" | "end"));
        }
        let status = body.get("status").and_then(Json::as_str).unwrap_or(by_trigger).to_owned();
        // app-3: without a time an appointment is at most proposed.
        let fits = timed || matches!(status.as_str(), "proposed" | "cancelled" | "waitlist");
        body.members.retain(|(key, _)| &**key != "status");
        body.members.insert(0, ("status".into(), text(if fits { status } else { "proposed".to_owned() })));
    }
}

fn later(start: &Json<'_>, minutes: &str) -> Option<Json<'static>> {
    let at: jiff::Timestamp = start.as_str()?.parse().ok()?;
    let end = at.checked_add(jiff::SignedDuration::from_mins(minutes.parse().ok()?)).ok()?;
    Some(text(end.to_string()))
}
