//! A site is killed before it has scored what it committed: its partner alerts for it, its sink hears, and nobody hears
//! anything twice when the site is back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::ensure;
use integration_tests::{Consortium, Site, SiteOptions, eventually};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::board_patients::send_sick;
use crate::explain::{explain, explained};

const WAIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_partner_alerts_for_a_killed_site_and_nothing_is_delivered_twice() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (of_a, of_b, of_c) = (Receiver::start().await?, Receiver::start().await?, Receiver::start().await?);
    let options = |name: &str, scoring: &str| {
        let mut options = SiteOptions { scoring: scoring.into(), ..SiteOptions::default() };
        options.ledger.push_str("takeover_after_s = 8\n");
        let (receiver, also) = match name {
            "a" => (&of_a, ""),
            "b" => (&of_b, "takeover_for = [\"a\"]\n"),
            // Not marked: it must hear nothing of `a`.
            _ => (&of_c, ""),
        };
        let sink = format!("url = \"http://127.0.0.1:{}/\"\n{also}", receiver.port);
        options.extra.push_str(&format!("[[sink]]\nname = \"pager\"\nkind = \"webhook\"\n{sink}"));
        options
    };
    let news2 = "[scoring]\nrules = [\"news2\"]\n";
    // What `a` takes in it does not score: so it was committed, and nobody alerted.
    let mut sites =
        Consortium::start(folder.path(), |name| options(name, if name == "a" { "" } else { news2 })).await?;
    send_sick(&sites.sites[0], 1..4).await?;
    sites.agree().await?;
    ensure!(alerts_of(&sites.sites[1]).await?.is_empty(), "a living site alerts for itself");
    sites.sites[0].kill_9()?;

    of_b.hears(&["S001", "S002", "S003"]).await?;
    let stood_in = alerts_of(&sites.sites[1]).await?;
    for alert in &stood_in {
        ensure!(alert["origin"] == "a", "{alert}");
    }
    explained_where_made(&sites.sites, &stood_in, true)?;
    let board = sites.sites[1].get("/api/patients").await?;
    let origins: Vec<&Value> =
        board["patients"].as_array().into_iter().flatten().map(|row| &row["origin"]).collect();
    ensure!(origins == ["a", "a", "a"], "{board}");
    ensure!(sites.sites[1].metric("medulla_takeover_active{origin=\"a\"}").await? == 1.0);
    ensure!(alerts_of(&sites.sites[2]).await?.is_empty(), "c stands in for nobody");
    // A sender of `a` goes to its partner: a known patient and a new one.
    send_sick(&sites.sites[1], 3..5).await?;
    of_b.hears(&["S001", "S002", "S003", "S004"]).await?;

    // It comes back, and scores now what it did not before; a new patient of its own shows that it delivers.
    let peers: Vec<(String, u16)> =
        sites.sites[1..].iter().map(|peer| (peer.name.clone(), peer.raft)).collect();
    sites.sites[0].write_config(&peers, true, &options("a", news2))?;
    sites.sites[0].start()?;
    sites.sites[0].ready().await?;
    eventually("the return", WAIT, async || {
        let active = sites.sites[1].metric("medulla_takeover_active{origin=\"a\"}").await.ok()?;
        (active == 0.0).then_some(())
    })
    .await?;
    send_sick(&sites.sites[0], 1..4).await?;
    send_sick(&sites.sites[0], 5..6).await?;
    // Alerts are delivered in their order: with this one those before it are decided on.
    of_a.hears(&["S005"]).await?;
    let kept = alerts_of(&sites.sites[0]).await?;
    let mut patients: Vec<&str> = kept.iter().filter_map(|alert| alert["patient_id"].as_str()).collect();
    patients.sort_unstable();
    ensure!(patients == ["S001", "S002", "S003", "S005"], "its own people see all of them: {kept:?}");
    let hidden = alerts_of(&sites.sites[1]).await?;
    ensure!(hidden.iter().all(|alert| alert["patient_id"] == "S004"), "no longer shown at b: {hidden:?}");
    explained_where_made(&sites.sites, &stood_in, false)?;
    explained_where_made(&sites.sites, &hidden, true)?;
    sites.agree().await?;
    of_b.hears(&["S001", "S002", "S003", "S004"]).await?;
    ensure!(of_c.heard().is_empty(), "{:?}", of_c.heard());
    sites.sites.iter_mut().try_for_each(Site::stop)?;
    of_a.hears(&["S005"]).await?;
    of_b.hears(&["S001", "S002", "S003", "S004"]).await
}

/// `b` computes its alerts again, also when `a` is back; it shows the values of what is sealed by `a` only until then. `c`
/// can open none of it.
fn explained_where_made(sites: &[Site], alerts: &[Value], shown: bool) -> anyhow::Result<()> {
    for alert in alerts {
        let id = alert["id"].as_str().unwrap_or_default();
        let (code, explained) = explained(&sites[1], id)?;
        ensure!(code == Some(0) && explained["equal"] == true && explained["site"] == "b", "{explained}");
        let values = explained["evidence"].as_array().map_or(0, Vec::len);
        ensure!((values > 0) == shown && (explained["withheld"] == 0) == shown, "{explained}");
        let refused = explain(&sites[2], id, &[])?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(refused.status.code() == Some(1) && said.contains("[sealed]"), "{said}");
    }
    ensure!(!alerts.is_empty());
    Ok(())
}

async fn alerts_of(site: &Site) -> anyhow::Result<Vec<Value>> {
    let alerts = site.get("/api/alerts").await?;
    Ok(alerts.as_array().cloned().unwrap_or_default())
}

/// Takes alerts over HTTP and keeps their patients, each as often as it was told.
pub struct Receiver {
    pub port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    pub async fn start() -> anyhow::Result<Receiver> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let (port, heard) = (listener.local_addr()?.port(), Arc::new(Mutex::new(Vec::new())));
        let kept = heard.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let kept = kept.clone();
                tokio::spawn(async move {
                    let body = body_of_request(&mut stream).await;
                    let patients =
                        (1..10).map(|n| format!("S{n:03}")).filter(|id| body.contains(id.as_str()));
                    kept.lock().expect("heard").extend(patients);
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                        .await;
                });
            }
        });
        Ok(Receiver { port, heard })
    }

    fn heard(&self) -> Vec<String> {
        let mut heard = self.heard.lock().expect("heard").clone();
        heard.sort_unstable();
        heard
    }

    /// Of exactly these, each once.
    pub async fn hears(&self, patients: &[&str]) -> anyhow::Result<()> {
        eventually("alerts", WAIT, async || (self.heard().len() >= patients.len()).then_some(())).await?;
        ensure!(self.heard() == patients, "{:?}, expected {patients:?}", self.heard());
        Ok(())
    }
}

async fn body_of_request(stream: &mut tokio::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some(end) = text.find("\r\n\r\n") {
            let head = text[..end].to_lowercase();
            let length = head.split("content-length:").nth(1).and_then(|rest| rest.lines().next());
            let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return text.get(end..).unwrap_or_default().to_owned();
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return String::new();
        }
    }
}
