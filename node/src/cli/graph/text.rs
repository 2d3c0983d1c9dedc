//! A tree for the terminal, and Mermaid.

use super::plan::{Column, Plan};

pub fn tree(plan: &Plan) -> String {
    let mut text = format!("site {}\n", plan.site);
    for column in Column::ALL.into_iter().filter(|column| *column != Column::Reader) {
        let nodes: Vec<_> = plan.of_column(column).collect();
        if nodes.is_empty() {
            continue;
        }
        text.push_str(&format!("{}\n", column.title()));
        for (number, node) in nodes.iter().enumerate() {
            let is_last = number + 1 == nodes.len();
            let (branch, below) = if is_last { ("╰─ ", "     ") } else { ("├─ ", "│    ") };
            text.push_str(&format!("{branch}{}\n", node.title));
            // How a feed is read stands under it: in a tree that says more than a list of readers.
            let read = plan.edges.iter().filter(|(from, _)| *from == node.id && column == Column::Feed);
            let readers = read.flat_map(|(_, to)| plan.nodes.iter().filter(move |reader| reader.id == *to));
            let read_as: Vec<String> =
                readers.map(|reader| format!("read as {}", reader.lines.join(", "))).collect();
            for line in node.lines.iter().chain(&read_as) {
                text.push_str(&format!("{below}{line}\n"));
            }
        }
    }
    text
}

pub fn mermaid(plan: &Plan) -> String {
    let mut text = String::from("flowchart LR\n");
    for column in Column::ALL {
        if plan.of_column(column).next().is_none() {
            continue;
        }
        text.push_str(&format!("  subgraph {column:?} [\"{}\"]\n", column.title()));
        for node in plan.of_column(column) {
            let lines: Vec<String> =
                std::iter::once(&node.title).chain(&node.lines).map(|line| escape(line)).collect();
            text.push_str(&format!("    {}[\"{}\"]\n", node.id, lines.join("<br/>")));
        }
        text.push_str("  end\n");
    }
    for (from, to) in &plan.edges {
        text.push_str(&format!("  {from} --> {to}\n"));
    }
    text
}

/// Mermaid's entities: `#` begins one, and a quote would end the label.
fn escape(text: &str) -> String {
    let entity = |c: char| match c {
        '#' => "#35;".to_owned(),
        '"' => "#quot;".to_owned(),
        '<' => "#lt;".to_owned(),
        '>' => "#gt;".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(entity).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::graph::svg;

    fn plan() -> Plan {
        let folder = tempfile::tempdir().unwrap();
        raft_ledger::keys::init(&folder.path().join("keys"), &[("a", "127.0.0.1")]).unwrap();
        let text = r#"
            [site]
            name = "a"
            data = "data"
            [ledger]
            listen = "127.0.0.1:7001"
            keys = "keys/a"
            initialise = true
            peers = [ { name = "b", address = "b.example:7001" } ]
            [[feed]]
            name = "adt"
            kind = "mllp"
            listen = "127.0.0.1:2575"
            authority = "HOSP"
            [[feed]]
            name = "lab"
            kind = "amqp"
            url = "amqp://medulla:hunter2@rabbit:5671/%2f"
            queue = "q<1>&\"2\""
            dead_letter_exchange = "refused"
            on_error = { retry = 3 }
            authority = "HOSP"
            [[feed]]
            name = "api"
            kind = "http"
            authority = "OTHER"
            [[sink]]
            name = "ehr"
            kind = "webhook"
            url = "https://ehr.example/hunter2"
            [scoring]
            rules = ["news2"]
        "#;
        let file = folder.path().join("site.toml");
        std::fs::write(&file, text).unwrap();
        Plan::of(&crate::config::load(&file).unwrap())
    }

    #[test]
    fn feeds_that_are_read_alike_share_a_reader_and_everything_leads_to_the_sinks() {
        let plan = plan();
        assert_eq!(plan.of_column(Column::Reader).count(), 2);
        let ids: Vec<&str> = plan.nodes.iter().map(|node| node.id.as_str()).collect();
        for (from, to) in &plan.edges {
            assert!(ids.contains(&from.as_str()) && ids.contains(&to.as_str()), "{from} {to}");
        }
        let mut unique = ids.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), ids.len(), "{ids:?}");
        let from_rule = plan.edges.iter().filter(|(from, _)| from == "m1").count();
        assert_eq!(from_rule, 2, "board and webhook");
    }

    #[test]
    fn no_picture_has_a_secret_or_breaks_at_a_name() {
        let plan = plan();
        let json = serde_json::to_string(&plan).unwrap();
        let (tree, mermaid, svg) = (tree(&plan), mermaid(&plan), svg::draw(&plan));
        for picture in [&tree, &mermaid, &svg, &json] {
            assert!(!picture.contains("hunter2"), "{picture}");
            assert!(picture.contains("ehr.example") && picture.contains("rabbit:5671"), "{picture}");
        }
        assert!(mermaid.contains("q#lt;1#gt;&#quot;2#quot;"), "{mermaid}");
        assert!(svg.contains("q&lt;1&gt;&amp;&quot;2&quot;"), "{svg}");
        assert!(tree.contains("├─ adt\n│    mllp on 127.0.0.1:2575\n"), "{tree}");
        assert!(tree.contains("read as authority HOSP, zone UTC"), "{tree}");
        assert!(tree.contains("refused: stays in the ledger, read again by itself up to 3 times"), "{tree}");
    }
}
