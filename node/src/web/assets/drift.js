// Drift of one model: in a word and a colour, and column by column.

import { el } from "./dom.js";
import { count, fullTime, plural } from "./format.js";

const STATUS = {
  alarm: ["red", "alarm"],
  warn: ["amber", "warn"],
  quiet: ["green", "quiet"],
  "too-few": ["", "too few stays"],
  "no-baseline": ["", "no baseline"],
};
const MEASURES = { values: "values", rate: "how often measured" };

export function driftPill(report) {
  if (!report) return "–";
  const [color, word] = STATUS[report.status] ?? ["", report.status];
  return el("span", { class: `pill ${color}` }, word);
}

export function driftPart(report) {
  if (report.status === "no-baseline") return el("p", {}, "Its card has no baseline of its training data: there is nothing to compare with.");
  const window = report.since === null ? "" : `, since ${fullTime(report.since)}`;
  const seen = el("p", {}, `${plural(report.stays, "stay")}, ${plural(report.hours, "hour")}${window}.`);
  if (report.status === "too-few") return el("div", {}, seen, el("p", {}, `Fewer than ${count(report.stays_min)} stays say nothing; nothing is compared yet.`));
  const line = (finding) => el("tr", {},
    el("td", {}, finding.column),
    el("td", {}, MEASURES[finding.measure] ?? finding.measure),
    el("td", { class: "number" }, finding.psi.toFixed(3)),
    el("td", {}, driftPill(finding)));
  const loud = report.findings.filter((finding) => finding.status !== "quiet");
  return el("div", {}, seen,
    el("p", {}, "Population stability index against the training data: from 0.1 it warns, from 0.25 it alarms."),
    loud.length
      ? el("div", { class: "scroll" }, el("table", { class: "table" },
          el("thead", {}, el("tr", {}, ["Column", "Of", "Index", "Says"].map((head) => el("th", {}, head)))),
          el("tbody", {}, loud.map(line))))
      : null,
    el("p", { class: "dim" }, `${plural(report.findings.length - loud.length, "measure")} quiet.`));
}
