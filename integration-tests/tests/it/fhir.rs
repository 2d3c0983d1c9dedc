//! FHIR over HTTP at a whole site: who a reference means, what each entry of a batch came to, creates under a
//! condition, and that an address answers.

use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Line, Site, SiteOptions, eventually, medulla};
use reqwest::{Method, Response};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(30);

async fn send(site: &Site, method: Method, path: &str, body: &Value) -> anyhow::Result<Response> {
    let request = reqwest::Client::new().request(method, site.url(path)).json(body);
    Ok(request.timeout(WAIT).send().await?)
}

async fn post(site: &Site, path: &str, body: &Value) -> anyhow::Result<Response> {
    send(site, Method::POST, path, body).await
}

async fn create_unless(site: &Site, condition: &str, body: &Value) -> anyhow::Result<(u16, String)> {
    let request = reqwest::Client::new().post(site.url("/fhir/Patient")).json(body);
    let answer = request.header("If-None-Exist", condition).timeout(WAIT).send().await?;
    let location = answer.headers().get("location").and_then(|at| at.to_str().ok()).unwrap_or_default();
    Ok((answer.status().as_u16(), location.to_owned()))
}

fn location(answer: &Response) -> anyhow::Result<String> {
    Ok(answer.headers().get("location").context("a Location")?.to_str()?.to_owned())
}

fn patient(id: Option<&str>, number: &str) -> Value {
    let mut patient = json!({
        "resourceType": "Patient",
        "identifier": [{"system": "urn:id:SIMHOSP", "value": number}],
        "name": [{"family": "Example", "given": ["Erin"]}],
    });
    if let Some(id) = id {
        patient["id"] = id.into();
    }
    patient
}

fn heart_rate(subject: &str, number: u32) -> Value {
    json!({
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"reference": subject},
        "effectiveDateTime": "2026-03-01T08:00:00Z",
        "valueQuantity": {"value": number, "system": "http://unitsofmeasure.org", "code": "/min"}
    })
}

async fn created(site: &Site, path: &str, body: &Value) -> anyhow::Result<String> {
    let answer = post(site, path, body).await?;
    ensure!(answer.status() == 201, "{path}: {} {}", answer.status(), answer.text().await?);
    location(&answer)
}

/// The patients on the board, as it names them.
async fn shown(site: &Site) -> anyhow::Result<Vec<String>> {
    let board = site.get("/api/patients").await?;
    let rows = board["patients"].as_array().context("patients")?;
    let mut ids: Vec<String> = rows.iter().filter_map(|row| Some(row["id"].as_str()?.to_owned())).collect();
    ids.sort();
    Ok(ids)
}

#[tokio::test]
async fn a_logical_id_means_its_patient_and_nobody_else() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    let mut line = Line::open(site.mllp).await?;
    line.send(
        "MSH|^~\\&|ADT|SIM|||20260301080000||ADT^A01|C1|P|2.5\rEVN|A01|20260301080000\r\
         PID|1||4711^^^SIMHOSP^MR||Other^Otto||19500101|M\rPV1|1|I|ICU^1^1\r",
    )
    .await?;
    ensure!(line.answers(WAIT, 1).await == ["AA C1"]);
    // Before its Patient came, and after: also by the address that the create of another one was answered with.
    created(&site, "/fhir/Observation", &heart_rate("Patient/4711", 80)).await?;
    created(&site, "/fhir/Patient", &patient(Some("4711"), "42")).await?;
    created(&site, "/fhir/Observation", &heart_rate("Patient/4711", 81)).await?;
    let erin = created(&site, "/fhir/Patient", &patient(None, "43")).await?;
    let erin = erin.split("/_history/").next().context("a versioned Location")?;
    created(&site, "/fhir/Observation", &heart_rate(erin, 82)).await?;
    let relative = erin.split("/fhir/").nth(1).context("an address below /fhir")?;
    created(&site, "/fhir/Observation", &heart_rate(relative, 83)).await?;
    let ids = eventually("three patients", WAIT, async || {
        let ids = shown(&site).await.ok()?;
        (ids.len() == 3).then_some(ids)
    })
    .await?;
    ensure!(ids == ["42", "43", "4711"], "{ids:?}");
    let config = site.config();
    let config = config.to_str().context("a plain name")?;
    // What came by the number is one patient's, what came by the logical id is another's.
    let of = |patient: &str| medulla(&["messages", "--patient", patient, "--json", "--config", config]);
    let listed = of("SIMHOSP|4711")?;
    ensure!(
        listed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).count() == 1,
        "{listed}"
    );
    // The same again changes nothing; another number for the same id is counted and not followed.
    created(&site, "/fhir/Patient", &patient(Some("4711"), "99")).await?;
    eventually("the contradiction is counted", WAIT, async || {
        let refused = site.metric("medulla_merges_refused_total{code=\"merge-contradicts\"}").await.ok()?;
        (refused == 1.0).then_some(())
    })
    .await?;
    site.stop()
}

#[tokio::test]
async fn each_entry_of_a_batch_hears_what_came_of_it() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    let post_entry =
        |resource: Value| json!({"resource": resource, "request": {"method": "POST", "url": "Patient"}});
    let batch = |entries: Vec<Value>| json!({"resourceType": "Bundle", "type": "batch", "entry": entries});
    let bad = || json!({"resourceType": "Patient", "gender": "q"});
    let delete = json!({"request": {"method": "DELETE", "url": "Patient/q"}});
    let put =
        json!({"resource": patient(Some("abc"), "44"), "request": {"method": "PUT", "url": "Patient/abc"}});
    let entries = vec![post_entry(patient(None, "45")), post_entry(bad()), delete, put];
    let answer: Value = post(&site, "/fhir", &batch(entries)).await?.json().await?;
    let responses: Vec<&Value> =
        answer["entry"].as_array().context("entries")?.iter().map(|entry| &entry["response"]).collect();
    let statuses: Vec<&str> =
        responses.iter().filter_map(|r| r["status"].as_str()?.split(' ').next()).collect();
    ensure!(statuses == ["201", "422", "405", "201"], "{answer}");
    ensure!(responses[1]["location"].is_null() && responses[2]["location"].is_null(), "{answer}");
    let expression = &responses[1]["outcome"]["issue"][0]["expression"][0];
    ensure!(expression == "Bundle.entry[1].resource.gender", "{answer}");
    ensure!(
        responses[3]["location"].as_str().is_some_and(|at| at.starts_with("Patient/abc/_history/")),
        "{answer}"
    );
    let first = responses[0]["location"].as_str().context("a location")?;
    let found = site.get(&format!("/fhir/{first}")).await?;
    ensure!(found["identifier"][0]["value"] == "45", "{found}");
    ensure!(site.get("/fhir/Patient/abc").await?["identifier"][0]["value"] == "44");
    let config = site.config();
    let config = config.to_str().context("a plain name")?;
    let open = || medulla(&["errors", "list", "--json", "--config", config]);
    let listed = open()?;
    ensure!(listed.contains("fhir-code-invalid") && listed.contains("fhir-method-unsupported"), "{listed}");
    // With nothing else in it, too.
    let lonely = json!({"resourceType": "Patient", "gender": "r"});
    let answer: Value = post(&site, "/fhir", &batch(vec![post_entry(lonely)])).await?.json().await?;
    ensure!(answer["entry"][0]["response"]["status"] == "422 Unprocessable Entity", "{answer}");
    ensure!(open()?.matches("fhir-code-invalid").count() > listed.matches("fhir-code-invalid").count());
    for (code, count) in [("fhir-code-invalid", 2.0), ("fhir-method-unsupported", 1.0)] {
        let sample = format!("medulla_rejected_total{{code=\"{code}\",feed=\"rest\"}}");
        ensure!(site.metric(&sample).await? == count, "{code}");
    }
    site.stop()
}

#[tokio::test]
async fn a_conditional_create_makes_one_resource() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    let condition = "identifier=urn:id:SIMHOSP%7C50";
    let mut second = patient(None, "50");
    second["gender"] = "female".into();
    let first = patient(None, "50");
    let (one, other) =
        tokio::join!(create_unless(&site, condition, &first), create_unless(&site, condition, &second));
    let (one, other) = (one?, other?);
    let mut statuses = [one.0, other.0];
    statuses.sort_unstable();
    ensure!(statuses == [200, 201] && one.1 == other.1 && !one.1.is_empty(), "{one:?} {other:?}");
    // One that came without a condition is found, too; of two nobody can say which one is meant.
    let known = created(&site, "/fhir/Patient", &patient(None, "51")).await?;
    let condition = "identifier=urn:id:SIMHOSP|51";
    let mut again = patient(None, "51");
    again["gender"] = "male".into();
    ensure!(create_unless(&site, condition, &again).await? == (200, known));
    created(&site, "/fhir/Patient", &again).await?;
    again["gender"] = "female".into();
    ensure!(create_unless(&site, condition, &again).await?.0 == 412);
    for unknown in ["name=Example", "identifier=51", ""] {
        ensure!(create_unless(&site, unknown, &again).await?.0 == 400, "{unknown}");
    }
    site.stop()
}

#[tokio::test]
async fn what_was_answered_can_be_read() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    let at = created(&site, "/fhir/Patient", &patient(None, "60")).await?;
    let read: Value = reqwest::get(&at).await?.error_for_status()?.json().await?;
    let (id, version) = at.rsplit_once("/_history/").context("a versioned Location")?;
    ensure!(
        id.ends_with(read["id"].as_str().context("an id")?) && read["meta"]["versionId"] == version,
        "{read}"
    );
    let answer = send(&site, Method::PUT, "/fhir/Patient/1", &patient(Some("1"), "61")).await?;
    let (status, first) = (answer.status().as_u16(), location(&answer)?);
    ensure!(status == 201 && first.contains("/fhir/Patient/1/_history/"), "{status} {first}");
    let answer = send(&site, Method::PUT, "/fhir/Patient/1", &patient(Some("1"), "62")).await?;
    ensure!(answer.status() == 200 && location(&answer)? != first, "the next version");
    let newest = site.get("/fhir/Patient/1").await?;
    ensure!(newest["identifier"][0]["value"] == "62" && newest["id"] == "1", "{newest}");
    let former: Value = reqwest::get(&first).await?.error_for_status()?.json().await?;
    ensure!(former["identifier"][0]["value"] == "61", "{former}");
    // Its index in the ledger is nobody's id.
    ensure!(reqwest::get(site.url("/fhir/Patient/2")).await?.status() == 404);
    let mismatch = send(&site, Method::PUT, "/fhir/Patient/2", &patient(Some("1"), "61")).await?;
    ensure!(mismatch.status() == 400, "{}", mismatch.status());
    for (content_type, expected) in
        [("application/fhir+json; fhirVersion=5.0", 415), ("application/fhir+xml", 415), ("text/plain", 415)]
    {
        let request =
            reqwest::Client::new().post(site.url("/fhir/Patient")).header("Content-Type", content_type);
        let answer = request.body(patient(None, "63").to_string()).send().await?;
        ensure!(answer.status() == expected, "{content_type}: {}", answer.status());
    }
    site.stop()
}

/// Nothing is kept that a retry could put over what stands.
#[tokio::test]
async fn an_update_under_a_condition_is_not_taken() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    let body = patient(Some("im1"), "60");
    ensure!(send(&site, Method::PUT, "/fhir/Patient/im1", &body).await?.status() == 201);
    let update = reqwest::Client::new().put(site.url("/fhir/Patient/im1")).json(&patient(Some("im1"), "61"));
    let answer = update.header("If-Match", "W/\"stale\"").timeout(WAIT).send().await?;
    ensure!(answer.status() == 412 && answer.text().await?.contains("If-Match"));
    ensure!(site.get("/fhir/Patient/im1").await?["identifier"][0]["value"] == "60");
    let config = site.config();
    let listed =
        medulla(&["errors", "list", "--json", "--config", config.to_str().context("a plain name")?])?;
    ensure!(listed.trim().is_empty(), "{listed}");
    site.stop()
}
