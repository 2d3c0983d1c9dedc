//! A picture: five columns of boxes, joined by curves.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::plan::{Column, Node, Plan};

const LINE: usize = 18;
const PAD: usize = 12;
const GAP: usize = 16;
/// Between two columns.
const AISLE: usize = 56;
const MARGIN: usize = 24;
const HEAD: usize = 40;
/// Of the fonts that browsers take, a little more than the mean.
const CHARACTER: usize = 8;

#[derive(Clone, Copy)]
struct Place {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

pub fn draw(plan: &Plan) -> String {
    let (places, heads, width, height) = arrange(plan);
    let mut svg = String::new();
    let title = escape(&format!("Medulla, site {}", plan.site));
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>"
    );
    for (column, x) in heads {
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{}\" fill=\"#475569\" font-weight=\"600\">{}</text>",
            MARGIN + PAD,
            column.title()
        );
    }
    for (from, to) in &plan.edges {
        let (Some(from), Some(to)) = (places.get(from.as_str()), places.get(to.as_str())) else { continue };
        let (x1, y1) = (from.x + from.width, from.y + from.height / 2);
        let (x2, y2) = (to.x, to.y + to.height / 2);
        let middle = x1 + x2.saturating_sub(x1) / 2;
        let _ = writeln!(
            svg,
            "<path d=\"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}\" fill=\"none\" stroke=\"#64748b\" \
             stroke-width=\"1.5\"/>"
        );
    }
    for node in &plan.nodes {
        if let Some(place) = places.get(node.id.as_str()) {
            draw_node(&mut svg, node, *place);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_node(svg: &mut String, node: &Node, Place { x, y, width, height }: Place) {
    let fill = match node.column {
        Column::Feed => "#e0f2fe",
        Column::Reader => "#f1f5f9",
        Column::Ledger => "#fef3c7",
        Column::Scorer => "#ede9fe",
        Column::Sink => "#dcfce7",
    };
    let _ = writeln!(
        svg,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"{fill}\" \
         stroke=\"#64748b\"/>"
    );
    let baseline = |number: usize| y + PAD + LINE * number + LINE - 5;
    let (left, title) = (x + PAD, escape(&node.title));
    let _ = writeln!(
        svg,
        "<text x=\"{left}\" y=\"{}\" fill=\"#0f172a\" font-weight=\"600\">{title}</text>",
        baseline(0)
    );
    for (number, line) in (1..).zip(&node.lines) {
        let _ = writeln!(
            svg,
            "<text x=\"{left}\" y=\"{}\" fill=\"#334155\">{}</text>",
            baseline(number),
            escape(line)
        );
    }
}

type Arranged<'p> = (BTreeMap<&'p str, Place>, Vec<(Column, usize)>, usize, usize);

/// Columns as wide as their longest line; the shorter ones stand in the middle of the longest.
fn arrange(plan: &Plan) -> Arranged<'_> {
    let height_of = |node: &Node| 2 * PAD + LINE * (1 + node.lines.len());
    let stack = |column| {
        let nodes = plan.of_column(column);
        nodes.map(|node| height_of(node) + GAP).sum::<usize>().saturating_sub(GAP)
    };
    let tallest = Column::ALL.into_iter().map(stack).max().unwrap_or_default();
    let (mut places, mut heads, mut x) = (BTreeMap::new(), Vec::new(), MARGIN);
    for column in Column::ALL {
        let lines = plan.of_column(column).flat_map(|node| std::iter::once(&node.title).chain(&node.lines));
        let Some(longest) = lines.map(|line| line.chars().count()).max() else { continue };
        let width = longest.max(column.title().len()) * CHARACTER + 2 * PAD;
        heads.push((column, x));
        let mut y = MARGIN + HEAD + (tallest - stack(column)) / 2;
        for node in plan.of_column(column) {
            let height = height_of(node);
            places.insert(node.id.as_str(), Place { x, y, width, height });
            y += height + GAP;
        }
        x += width + AISLE;
    }
    (places, heads, x.saturating_sub(AISLE) + MARGIN, MARGIN + HEAD + tallest + MARGIN)
}

fn escape(text: &str) -> String {
    let entity = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        // XML 1.0 has no other control characters, not even as references.
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(entity).collect()
}
