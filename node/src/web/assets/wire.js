// A message as it came, and what its reader found in it.

import { el } from "./dom.js";
import { fullTime } from "./format.js";

export const fact = (name, ...value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));

export const shownTime = (ms) => (ms ? fullTime(ms) : "–");

export function issues(list) {
  const line = (issue) => el("li", { class: issue.severity }, el("strong", {}, issue.code), ` ${issue.location ? `${issue.location}: ` : ""}${issue.text}`);
  return el("section", {}, el("h2", {}, "Issues"), el("ul", { class: "issues" }, list.map(line)));
}

/** HL7 v2 by segments, JSON indented, anything else as it is. */
export function wire(raw) {
  const lines = /^(MSH|FHS|BHS)/.test(raw) ? raw.split(/\r\n|\r|\n/).filter((line) => line !== "") : [pretty(raw)];
  const segment = (line) => {
    const name = /^[A-Z][A-Z0-9]{2}(?=.)/.exec(line)?.[0] ?? "";
    return el("span", { class: "segment" }, name ? el("b", {}, name) : null, line.slice(name.length));
  };
  return el("section", {}, el("h2", {}, "On the wire"), el("pre", { class: "wire", tabindex: 0 }, lines.map(segment)));
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
