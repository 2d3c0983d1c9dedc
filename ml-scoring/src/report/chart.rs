//! Charts as SVG: nothing from outside, readable in print.

use std::fmt::Write;

use super::curves::Points;

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 48.0;
const BOTTOM: f64 = 36.0;
const MARGIN: f64 = 12.0;

pub(super) struct Chart<'a> {
    pub title: &'a str,
    pub x: &'a str,
    pub y: &'a str,
    pub lines: Vec<Line<'a>>,
    /// Vertical lines, such as a threshold, with their names.
    pub marks: Vec<(f64, &'a str)>,
    /// Axes from 0 to 1 and the diagonal.
    pub square: bool,
}

pub(super) struct Line<'a> {
    pub name: &'a str,
    pub points: Points,
}

/// Where a value lies on an axis.
#[derive(Clone, Copy)]
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>) -> Axis {
        let (low, high) = values
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        match high > low {
            true => Axis { low, high },
            false => Axis { low: 0.0, high: 1.0 },
        }
    }

    fn share(self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

impl Chart<'_> {
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        let unit = Axis { low: 0.0, high: 1.0 };
        let (x, y) = match self.square {
            true => (unit, unit),
            false => (Axis::over(points().map(|p| p.0)), Axis::over(points().map(|p| p.1))),
        };
        let place = |(px, py): (f64, f64)| {
            let across = LEFT + x.share(px) * (WIDTH - LEFT - MARGIN);
            (across, HEIGHT - BOTTOM - y.share(py) * (HEIGHT - BOTTOM - 2.0 * MARGIN))
        };
        let mut svg = format!(
            "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(self.title),
            escape(self.title)
        );
        let corners = [(x.low, y.low), (x.high, y.high)].map(place);
        let _ = write!(
            svg,
            "<path class=\"axis\" d=\"M{:.1} {:.1}V{:.1}H{:.1}\"/>",
            corners[0].0, corners[1].1, corners[0].1, corners[1].0
        );
        self.ticks(&mut svg, x, y, place);
        if self.square {
            let _ = write!(
                svg,
                "<path class=\"even\" d=\"M{:.1} {:.1}L{:.1} {:.1}\"/>",
                corners[0].0, corners[0].1, corners[1].0, corners[1].1
            );
        }
        for (value, name) in self.marks.iter().filter(|(value, _)| (x.low..=x.high).contains(value)) {
            let (at, _) = place((*value, y.low));
            let _ = write!(
                svg,
                "<path class=\"even\" d=\"M{at:.1} {:.1}V{:.1}\"/><text x=\"{at:.1}\" y=\"20\">{}</text>",
                corners[0].1,
                corners[1].1,
                escape(name)
            );
        }
        for (number, line) in self.lines.iter().enumerate() {
            let mut path = String::new();
            for (i, point) in line.points.iter().filter(|p| p.0.is_finite() && p.1.is_finite()).enumerate() {
                let (px, py) = place(*point);
                let _ = write!(path, "{}{px:.1} {py:.1}", if i == 0 { "M" } else { "L" });
            }
            let _ = write!(
                svg,
                "<path class=\"line{number}\" d=\"{path}\"><title>{}</title></path>",
                escape(line.name)
            );
        }
        svg + "</svg></figure>"
    }

    fn ticks(&self, svg: &mut String, x: Axis, y: Axis, place: impl Fn((f64, f64)) -> (f64, f64)) {
        for share in [0.0, 0.5, 1.0] {
            let (at_x, at_y) = (x.low + share * (x.high - x.low), y.low + share * (y.high - y.low));
            let (px, _) = place((at_x, y.low));
            let (_, py) = place((x.low, at_y));
            let _ = write!(
                svg,
                "<text x=\"{px:.1}\" y=\"{:.1}\" class=\"middle\">{}</text>\
                 <text x=\"{:.1}\" y=\"{:.1}\" class=\"end\">{}</text>",
                HEIGHT - BOTTOM + 14.0,
                short(at_x),
                LEFT - 4.0,
                py + 4.0,
                short(at_y)
            );
        }
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" class=\"middle\">{}</text><text x=\"{LEFT}\" y=\"10\">{}</text>",
            f64::midpoint(LEFT, WIDTH),
            HEIGHT - 6.0,
            escape(self.x),
            escape(self.y)
        );
    }
}

/// Bars that lie down, longest first as given, each with its words.
pub(super) fn bars(title: &str, bars: &[(String, f64)]) -> String {
    let most = bars.iter().map(|bar| bar.1).fold(f64::MIN_POSITIVE, f64::max);
    let mut html = format!("<figure><figcaption>{}</figcaption><table class=\"bars\">", escape(title));
    for (words, value) in bars {
        let _ = write!(
            html,
            "<tr><td>{}</td><td><div style=\"width:{:.1}%\"></div></td><td>{}</td></tr>",
            escape(words),
            100.0 * value.max(0.0) / most,
            short(*value)
        );
    }
    html + "</table></figure>"
}

/// Three digits.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 || (v >= 1.0 && v.fract() == 0.0) => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
