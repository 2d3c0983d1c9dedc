//! What a sender over MLLP hears: table 0155 by outcome over one connection, in its own delimiters and charset; what is wrong
//! with frames; application answers that are messages of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::ensure;
use integration_tests::{Heard, Line, Receiver, Site, SiteOptions, eventually, medulla, msa, text};

const WAIT: Duration = Duration::from_secs(30);

/// MSH-15 and MSH-16; what is said to a message that is taken, one in error, one whose type is not taken here.
const TABLE: [(&str, [&str; 3]); 17] = [
    ("|", ["AA", "AE", "AR"]),
    ("AL|AL", ["CA AA", "CE", "CR"]),
    ("AL|NE", ["CA", "CE", "CR"]),
    ("AL|ER", ["CA", "CE", "CR"]),
    ("AL|SU", ["CA AA", "CE", "CR"]),
    ("NE|AL", ["AA", "AE", "AR"]),
    ("NE|NE", ["", "", ""]),
    ("NE|ER", ["", "AE", "AR"]),
    ("NE|SU", ["AA", "", ""]),
    ("ER|AL", ["AA", "CE", "CR"]),
    ("ER|NE", ["", "CE", "CR"]),
    ("ER|ER", ["", "CE", "CR"]),
    ("ER|SU", ["AA", "CE", "CR"]),
    ("SU|AL", ["CA AA", "AE", "AR"]),
    ("SU|NE", ["CA", "", ""]),
    ("SU|ER", ["CA", "AE", "AR"]),
    ("SU|SU", ["CA AA", "", ""]),
];

/// Of the three outcomes, by the place in the row.
fn message(id: &str, asks: &str, outcome: usize) -> String {
    let kind = if outcome == 2 { "QBP^Q11" } else { "ADT^A01" };
    let patient = if outcome == 1 { "" } else { id };
    format!(
        "MSH|^~\\&|APP|FAC|MEDULLA|TEST|20260101120000||{kind}|{id}|P|2.5|||{asks}||8859/1\r\
         EVN|A01|20260101120000\rPID|1||{patient}||Example^Person\rPV1|1|I|W^1^1\r"
    )
}

/// A result without a time of its own and, as MSH-10 is empty, without a name.
fn unnamed(sent_at: &str, trigger: &str) -> String {
    format!(
        "MSH|^~\\&|LAB|FAC|||{sent_at}||ORU^{trigger}||P|2.5\rPID|1||4711||Example^Person\r\
         OBR|1|||P^Pulse^L\rOBX|1|NM|8867-4^Pulse^LN||80|/min|||||F\r"
    )
}

#[tokio::test]
async fn without_a_control_id_only_the_same_bytes_are_the_same_message() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    let mut line = Line::open(site.mllp).await?;
    let first = unnamed("20260101210000", "R01");
    let sent = [first.clone(), unnamed("20260101220000", "R01"), unnamed("20260101210000", "R30"), first];
    for message in &sent {
        line.send(message).await?;
    }
    let answers = line.answers(WAIT, sent.len()).await;
    ensure!(answers.len() == sent.len() && answers.iter().all(|a| a.starts_with("AA")), "{answers:?}");
    let kept = medulla(&["messages", "--feed", "adt", "--json", "--config", text(&site.config())])?;
    ensure!(kept.lines().count() == 3, "{kept}");
    Ok(())
}

#[tokio::test]
async fn a_sender_hears_what_it_asks_for() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    let mut line = Line::open(site.mllp).await?;
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    let mut order = Vec::new();
    for (row, (asks, outcomes)) in TABLE.iter().enumerate() {
        for (outcome, said) in outcomes.iter().enumerate() {
            let id = format!("M{row}-{outcome}");
            // All ahead of the first answer; each in delimiters of its own row.
            line.send(&in_delimiters(row, &message(&id, asks, outcome))).await?;
            if !said.is_empty() {
                order.push(id.clone());
            }
            expected.insert(id, (*said).to_owned());
        }
    }
    // Behind the AA of the last one comes no other answer: what is read is all there is.
    let last = "M0-LAST".to_owned();
    line.send(&message(&last, "AL|AL", 0)).await?;
    order.push(last.clone());
    let upto = format!("AA {last}");
    expected.insert(last, "CA AA".to_owned());
    let answers = line.messages_upto(WAIT, &upto).await?;
    let mut said: BTreeMap<String, String> = expected.keys().map(|id| (id.clone(), String::new())).collect();
    let (mut firsts, mut own_ids) = (Vec::new(), BTreeSet::new());
    for answer in &answers {
        let told = msa(answer);
        let (code, id) = told.split_once(' ').unwrap_or_default();
        let so_far = said.entry(id.to_owned()).or_default();
        if so_far.is_empty() {
            firsts.push(id.to_owned());
        }
        *so_far = format!("{so_far} {code}").trim().to_owned();
        let separator = answer.chars().nth(3).unwrap_or_default();
        let msh: Vec<&str> = answer.split('\r').next().unwrap_or_default().split(separator).collect();
        ensure!(own_ids.insert(msh[9].to_owned()), "MSH-10 twice: {answer}");
        ensure!(msh[4..6] == ["APP", "FAC"] && msh[17] == "8859/1", "to another: {answer}");
        let row: usize = id.trim_start_matches('M').split('-').next().unwrap_or_default().parse()?;
        ensure!(separator == delimiters(row)[0], "in another's delimiters: {answer}");
        let has_error = answer.contains("\rERR") && answer.contains("HL70357");
        ensure!(has_error != code.ends_with('A'), "ERR with refusals alone: {answer}");
        let place = if code.ends_with('R') { ["MSH", "1", "9"] } else { ["PID", "1", "3"] };
        let place = place.join(&delimiters(row)[1].to_string());
        ensure!(!has_error || answer.contains(&format!("{separator}{place}")), "no place {place}: {answer}");
    }
    ensure!(said == expected, "{said:#?}");
    ensure!(firsts == order, "out of order: {firsts:?}");
    Ok(())
}

/// Field and component separator of a row.
fn delimiters(row: usize) -> [char; 2] {
    if row.is_multiple_of(2) { ['|', '^'] } else { ['*', ':'] }
}

fn in_delimiters(row: usize, message: &str) -> String {
    let [field, component] = delimiters(row);
    message.replace('|', &field.to_string()).replace('^', &component.to_string())
}

#[tokio::test]
async fn faults_of_frames_are_survived_counted_and_answered() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    let good = |id: &str| message(id, "|", 0);
    let frame = |text: &str| format!("\x0b{text}\x1c\r");
    let wanting_commits = message("F8", "AL|AL", 0);
    // What is sent, and what is said to it: the last answer is to the good message behind.
    for (number, (bytes, said, faults)) in [
        (format!("GET / HTTP/1.1\r\n{}", frame(&good("F0"))), vec!["AA F0"], 1),
        (format!("\x0b{}", frame(&good("F1"))), vec!["AA F1"], 1),
        (format!("\x0b{}\x1c\x1c\r", good("F2")), vec!["AA F2"], 1),
        (format!("\x0b{}\x1c", good("F3")), vec!["AA F3"], 1),
        (format!("\x0b{}{}", good("F4"), frame(&good("F4b"))), vec!["AR F4", "AA F4b"], 1),
        ("\x0b\x1c\r".to_owned(), vec![], 1),
        (frame("PID|1||1"), vec!["AR "], 0),
        (frame(&format!("noise{}", good("F7"))), vec!["AR F7"], 0),
        // A line that belongs to no message is kept and told of; the message behind it is taken.
        (frame(&format!("OBX|9|NM|8867-4||999\r{}", good("F9"))), vec!["AE F9"], 0),
        // One that came through a batch that lost some, and one that was cut off.
        (frame(&format!("BHS|^~\\&\r{}BTS|2\r", good("F10"))), vec!["AA F10"], 0),
        (frame(&format!("BHS|^~\\&\r{}OBX|1|NM|8867-4||14", good("F11"))), vec!["AE F11"], 0),
        // One that lost all of them.
        (frame("BHS|^~\\&\rBTS|2\r"), vec!["AR "], 0),
        (format!("\x0b{wanting_commits}{}", frame(&good("F8b"))), vec!["CR F8", "AA F8b"], 1),
    ]
    .into_iter()
    .enumerate()
    {
        let before = counted(&site).await?;
        let mut line = Line::open(site.mllp).await?;
        line.send_bytes(bytes.as_bytes()).await?;
        // As a sender that waits for its answers does.
        let mut answers = line.answers(WAIT, said.len()).await;
        // On the same connection: it was survived.
        let last = format!("AA G{number}");
        line.send(&good(&format!("G{number}"))).await?;
        answers.extend(line.answers_upto(WAIT, &last).await?);
        let expected: Vec<String> = said.iter().map(|said| (*said).to_owned()).chain([last]).collect();
        ensure!(answers == expected, "{number}: {answers:?} instead of {expected:?}");
        let counted = counted(&site).await? - before;
        ensure!(counted == f64::from(faults), "{number}: {counted} faults");
    }
    // A batch of no messages that says so is in order: it is answered by one, and counted.
    let mut line = Line::open(site.mllp).await?;
    line.send("BHS|^~\\&|APP|FAC|MEDULLA|TEST|20260101120000||||B7\rBTS|0\r").await?;
    let answer = line.messages(WAIT, 1).await.join("");
    ensure!(answer.starts_with("BHS|^~\\&|MEDULLA|TEST|APP|FAC|"), "{answer}");
    ensure!(answer.ends_with("|B7\rBTS|0"), "{answer}");
    let empty = site.metric("medulla_issues_total{code=\"batch-empty\",feed=\"adt\"}").await?;
    ensure!(empty == 1.0, "{empty} empty batches");
    // Cut short by a sender that still listens.
    let mut line = Line::open(site.mllp).await?;
    line.send_bytes(format!("\x0b{}", good("CUT")).as_bytes()).await?;
    line.end().await?;
    let answers = line.answers(WAIT, 1).await;
    ensure!(answers == ["AR CUT"], "{answers:?}");
    // UTF-16 and UTF-32, whose bytes may end a frame anywhere; U+0D1C does. Each is refused, whole or cut.
    let text = good("W0").replace("Example", "Exam\u{D1C}ple");
    let cut: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf16: Vec<u8> = good("W1").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf32: Vec<u8> = message("W2", "AL|AL", 0).chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
    for (bytes, said) in [(cut, "AR W0"), (utf16, "AR W1"), (utf32, "CR W2")] {
        let mut line = Line::open(site.mllp).await?;
        line.send_bytes(&[&b"\x0b"[..], bytes.as_slice(), b"\x1c\r"].concat()).await?;
        let answers = line.answers(WAIT, 1).await;
        ensure!(answers == [said], "{answers:?} instead of {said}");
    }
    let refused = site.get("/api/messages?kind=rejected&limit=100").await?;
    let codes: BTreeSet<&str> = refused["entries"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["code"].as_str())
        .collect();
    let expected = [
        "batch-count-mismatch",
        "batch-truncated",
        "charset-unsupported",
        "mllp-cut-short",
        "mllp-unterminated",
        "msh-missing",
    ];
    ensure!(codes == BTreeSet::from(expected), "kept: {codes:?}");
    let doubted = site.get("/api/messages?kind=message&code=batch-count-mismatch").await?;
    ensure!(doubted["entries"][0]["control_id"] == "F10", "{doubted}");
    Ok(())
}

/// What was sent to test a sender, or in no version of HL7 v2, becomes nobody's patient here.
#[tokio::test]
async fn messages_that_are_not_meant_for_production_are_rejected_and_kept() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    let mut line = Line::open(site.mllp).await?;
    let sent = |id: &str, header: &str| message(id, "|", 0).replace("|P|2.5|", header);
    let headers = ["|T|2.5|", "|D|2.5|", "|X|2.5|", "|P|9.9|", "|P|2.5|", "||2.5|"];
    for (number, header) in headers.iter().enumerate() {
        line.send(&sent(&format!("H{number}"), header)).await?;
    }
    let answers = line.answers(WAIT, headers.len()).await;
    ensure!(answers == ["AR H0", "AR H1", "AR H2", "AR H3", "AA H4", "AA H5"], "{answers:?}");
    let refused = site.get("/api/messages?kind=rejected&limit=100").await?;
    let mut codes: Vec<&str> = refused["entries"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["code"].as_str())
        .collect();
    codes.sort_unstable();
    let not_taken = "processing-id-not-taken";
    ensure!(codes == [not_taken, not_taken, not_taken, "version-not-taken"], "kept: {codes:?}");
    Ok(())
}

async fn counted(site: &Site) -> anyhow::Result<f64> {
    site.metric("medulla_feed_faults_total{feed=\"adt\"}").await
}

#[tokio::test]
async fn application_answers_of_their_own_outlive_a_crash_and_wait_for_their_receiver() -> anyhow::Result<()>
{
    let folder = tempfile::tempdir()?;
    let receiver = Receiver::willing().await?;
    let acks = format!("kind = \"mllp\"\napplication_acks = \"127.0.0.1:{}\"\n", receiver.port);
    let mut options = SiteOptions::default();
    options.extra = options.extra.replacen("kind = \"mllp\"\n", &acks, 1);
    let mut site = Site::alone(folder.path(), &options).await?;

    // Its receiver is away: the first answers are none the later.
    receiver.go().await;
    let first = send(&site, "A").await?;
    site.kill_9()?;
    site.start()?;
    site.ready().await?;
    ensure!(receiver.heard().is_empty());
    receiver.come_back().await?;
    let second = send(&site, "B").await?;
    let expected: Vec<String> = first.into_iter().chain(second).collect();
    let heard = eventually("application answers", WAIT, async || {
        let heard = receiver.heard();
        (heard.len() >= expected.len()).then_some(heard)
    });
    let heard = heard.await?;
    let told: Vec<String> = heard.iter().map(|heard| msa(&heard.message)).collect();
    ensure!(told == expected, "{told:?} instead of {expected:?}");
    let ids: BTreeSet<&str> = heard.iter().map(Heard::control_id).collect();
    ensure!(ids.len() == heard.len(), "each has an MSH-10 of its own: {ids:?}");
    for one in &heard {
        let asks = [one.msh(5), one.msh(6), one.msh(15), one.msh(16), one.msh(18)];
        ensure!(asks == ["APP", "FAC", "AL", "NE", "8859/1"], "{one:?}");
    }

    // A start after all are taken sends none again, nor does a message that is known.
    site.stop()?;
    site.start()?;
    site.ready().await?;
    let mut line = Line::open(site.mllp).await?;
    line.send(&message("A1-0", "AL|AL", 0)).await?;
    line.send(&message("LAST", "AL|AL", 0)).await?;
    let answers = line.answers(WAIT, 2).await;
    ensure!(answers == ["CA A1-0", "CA LAST"], "{answers:?}");
    let last = eventually("the last one's", WAIT, async || {
        receiver.heard().iter().any(|heard| msa(&heard.message) == "AA LAST").then_some(())
    });
    last.await?;
    ensure!(receiver.heard().len() == expected.len() + 1, "{:?}", receiver.heard());
    Ok(())
}

/// The whole table; what is heard on the connection is checked. Returns what must be heard elsewhere.
async fn send(site: &Site, name: &str) -> anyhow::Result<Vec<String>> {
    let mut line = Line::open(site.mllp).await?;
    let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
    for (row, (asks, outcomes)) in TABLE.iter().enumerate() {
        for (outcome, said) in outcomes.iter().enumerate() {
            let id = format!("{name}{row}-{outcome}");
            line.send(&message(&id, asks, outcome)).await?;
            for code in said.split_whitespace() {
                let is_here = *asks == "|" || code.starts_with('C');
                let list = if is_here { &mut here } else { &mut elsewhere };
                list.push(format!("{code} {id}"));
            }
        }
    }
    // In original mode: answered here, behind all others.
    line.send(&message(&format!("{name}-LAST"), "|", 0)).await?;
    let last = format!("AA {name}-LAST");
    here.push(last.clone());
    let answers = line.answers_upto(WAIT, &last).await?;
    ensure!(answers == here, "{answers:?} instead of {here:?}");
    Ok(elsewhere)
}
