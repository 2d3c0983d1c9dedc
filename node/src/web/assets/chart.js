// Curves of the risk as inline SVG: a sparkline for a row, and a chart with times for the detail.

import { svg } from "./dom.js";
import { clockTime, pointsMax, risk, time } from "./format.js";

const HOUR = 3_600_000;
/** The sparkline's window. */
const SPARK_MS = 24 * HOUR;

/** Times the threshold at which a bar is full. */
const BAR_FULL = 4;

/**
 * A bar whose threshold stands in the middle for every scorer, so that rows compare at a glance: the left half is
 * 0 to threshold, the right half goes to four times the threshold (NEWS2: 5 and 20 points). The number stands beside.
 */
export function bar(value, threshold) {
  const ratio = value / Math.max(threshold, 1e-9);
  const x = ratio <= 1 ? 50 * ratio : 50 + (50 * (ratio - 1)) / (BAR_FULL - 1);
  return svg("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "track", x: 0, y: 2, width: 100, height: 6 }),
    svg("rect", { class: "fill", x: 0, y: 2, width: Math.max(1, Math.min(100, x)).toFixed(1), height: 6 }),
    svg("line", { class: "mark", x1: 50, x2: 50, y1: 0, y2: 10, "vector-effect": "non-scaling-stroke" }));
}

export function sparkline(points, threshold) {
  const [width, height] = [120, 32];
  const known = points.filter((p) => p.risk !== null);
  const last = known[known.length - 1];
  const box = svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  if (!last) return box;
  const end = Math.max(Date.now(), last.at);
  const start = end - SPARK_MS;
  const seen = points.filter((p) => p.at >= start);
  const top = Math.max(threshold * 1.6, ...seen.map((p) => p.risk ?? 0));
  const x = (at) => 2 + (width - 6) * Math.max(0, (at - start) / SPARK_MS);
  const y = (value) => height - 3 - (height - 6) * (value / top);
  box.append(svg("line", { class: "threshold", x1: 0, x2: width, y1: y(threshold), y2: y(threshold) }));
  for (const run of runs(seen)) box.append(svg("path", { class: "line", d: path(run, x, y) }));
  if (last.at >= start) box.append(svg("circle", { class: "now", cx: x(last.at), cy: y(last.risk), r: 2.5 }));
  if (last.risk >= threshold) box.classList.add("over");
  return box;
}

/** The chart of one scorer. `readout(text)` is told what lies under the pointer. */
export function curve(points, threshold, scorer, alerts, width, readout) {
  const height = 176;
  const edge = { left: 40, right: 10, top: 12, bottom: 22 };
  const box = svg("svg", { class: "curve", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": describe(points, threshold, scorer) });
  const known = points.filter((p) => p.risk !== null);
  if (known.length === 0) return box;
  const end = points[points.length - 1].at;
  const start = Math.min(points[0].at, end - HOUR);
  const highest = Math.max(threshold * 1.5, ...known.map((p) => p.risk * 1.1));
  const steps = pointsMax(scorer);
  const top = Math.min(1, steps ? Math.ceil(highest * steps) / steps : highest);
  const x = (at) => edge.left + (width - edge.left - edge.right) * ((at - start) / (end - start));
  const y = (value) => height - edge.bottom - (height - edge.top - edge.bottom) * (Math.min(value, top) / top);
  grid(box, { start, end, top, scorer, width, edge, x, y });
  for (const run of runs(points)) drawRun(box, run, x, y);
  const line = y(threshold);
  box.append(svg("line", { class: "threshold", x1: edge.left, x2: width - edge.right, y1: line, y2: line }),
    svg("text", { class: "threshold-label", x: width - edge.right, y: line - 5, "text-anchor": "end" }, `threshold ${risk(threshold, scorer)}`));
  for (const alert of alerts.filter((a) => a.at >= start && a.at <= end)) {
    const at = x(alert.at);
    box.append(svg("path", { class: "alert-mark", d: `M${at - 5} ${edge.top - 10}h10l-5 8z` }, svg("title", {}, `${alert.tier} alert, ${time(alert.at)}`)));
  }
  follow(box, known, scorer, x, { width, top: edge.top, bottom: height - edge.bottom, readout });
  return box;
}

function grid(box, { start, end, top, scorer, width, edge, x, y }) {
  const steps = pointsMax(scorer);
  for (const share of [0, 0.5, 1]) {
    const value = steps ? Math.round(top * share * steps) / steps : top * share;
    box.append(svg("line", { class: "grid", x1: edge.left, x2: width - edge.right, y1: y(value), y2: y(value) }),
      svg("text", { x: edge.left - 6, y: y(value) + 4, "text-anchor": "end" }, risk(value, scorer)));
  }
  const count = width < 420 ? 3 : 5;
  for (let i = 0; i < count; i++) {
    const at = start + ((end - start) * i) / (count - 1);
    const anchor = i === 0 ? "start" : i === count - 1 ? "end" : "middle";
    box.append(svg("text", { x: x(at), y: y(0) + 16, "text-anchor": anchor }, clockTime(at)));
  }
}

function drawRun(box, run, x, y) {
  const line = path(run, x, y);
  if (run.length === 1) {
    box.append(svg("circle", { class: "point", cx: x(run[0].at), cy: y(run[0].risk), r: 3 }));
    return;
  }
  const [first, last] = [run[0], run[run.length - 1]];
  box.append(svg("path", { class: "area", d: `${line}L${x(last.at)} ${y(0)}L${x(first.at)} ${y(0)}Z` }),
    svg("path", { class: "line", d: line }),
    svg("circle", { class: "point", cx: x(last.at), cy: y(last.risk), r: 3.5 }));
}

function follow(box, known, scorer, x, { width, top, bottom, readout }) {
  const cursor = svg("line", { class: "cursor", y1: top, y2: bottom, visibility: "hidden" });
  box.prepend(cursor);
  box.addEventListener("pointermove", (event) => {
    const frame = box.getBoundingClientRect();
    const at = ((event.clientX - frame.left) / frame.width) * width;
    const nearest = known.reduce((best, p) => (Math.abs(x(p.at) - at) < Math.abs(x(best.at) - at) ? p : best));
    for (const side of ["x1", "x2"]) cursor.setAttribute(side, x(nearest.at));
    cursor.setAttribute("visibility", "visible");
    readout(`${time(nearest.at)}: ${risk(nearest.risk, scorer)}`);
  });
  box.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    readout("");
  });
}

/** Stretches without a gap: where the data were insufficient, no line is drawn. */
function runs(points) {
  const all = [];
  let run = [];
  for (const point of [...points, { risk: null }]) {
    if (point.risk !== null) run.push(point);
    else if (run.length) {
      all.push(run);
      run = [];
    }
  }
  return all;
}

/** A score holds until the next one: steps, no slope that nobody measured. */
function path(run, x, y) {
  return run.map((p, i) => (i === 0 ? `M${x(p.at).toFixed(1)} ${y(p.risk).toFixed(1)}` : `H${x(p.at).toFixed(1)}V${y(p.risk).toFixed(1)}`)).join("");
}

function describe(points, threshold, scorer) {
  const known = points.filter((p) => p.risk !== null);
  if (known.length === 0) return "insufficient data";
  const values = known.map((p) => p.risk);
  const [low, high, now] = [Math.min(...values), Math.max(...values), values[values.length - 1]].map((v) => risk(v, scorer));
  return `Since ${time(known[0].at)} between ${low} and ${high}, last ${now}; threshold ${risk(threshold, scorer)}`;
}
