// The models: what each may do here, how it fares, and what was decided about it.

import { get } from "./api.js";
import { arrange, byId, el, setText } from "./dom.js";
import { count, fullTime, plural } from "./format.js";
import { every, showPage, showStatus } from "./shell.js";
import { driftPart, driftPill } from "./drift.js";

const REFRESH_MS = 10_000;
const HERE = {
  live: ["green", "live: scores and alerts"],
  shadow: ["amber", "shadow: scores, alerts nobody"],
  off: ["", "off: another one took its place"],
  retired: ["", "retired: does not score"],
  "not loaded": ["", "not loaded here"],
};
const GROUPS = [["physiology", "Physiology"], ["trend", "Trend"], ["care_process", "Care process"]];

const cards = new Map();
const number = (name, value, warn = false) => el("div", { class: warn ? "warn" : null }, el("dt", {}, name), el("dd", {}, value));
const entry = (index) => el("a", { href: `/messages?index=${index}` }, `entry #${index}`);
const rate = (value) => (value === null || value === undefined ? "–" : value.toFixed(1));
/** The ledger has every digit; people set two or three. */
const threshold = (value) => (value === null || value === undefined ? "–" : String(Number(value.toPrecision(3))));
const percent = (share) => `${(share * 100).toFixed(0)} %`;

/** Absent where the site says that there is none. */
async function optional(path) {
  try {
    return await get(path);
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

async function load() {
  const listed = await get("/api/models");
  const all = await Promise.all(listed.models.map(async (row) => {
    const scores = row.here === "live" || row.here === "shadow";
    const [detail, drift, shadow] = await Promise.all([
      get(`/api/models/${row.hash}`),
      scores ? optional(`/api/models/${row.hash}/drift`) : null,
      row.here === "shadow" ? optional(`/api/models/${row.hash}/shadow`) : null,
    ]);
    return { row, detail, drift, shadow };
  }));
  arrange(byId("models"), all.map(model));
  byId("no-models").hidden = listed.models.length > 0;
  showSealed(listed.sealed);
}

function showSealed(sealed) {
  const sites = Object.entries(sealed).map(([site, entries]) => `${site}: ${plural(entries, "entry", "entries")}`);
  const line = byId("sealed");
  line.hidden = sites.length === 0;
  setText(line, `Sealed by other sites, about models that this one does not know: ${sites.join(", ")}.`);
}

function model({ row, detail, drift, shadow }) {
  const item = cards.get(row.hash) ?? el("li", { class: "card model" });
  cards.set(row.hash, item);
  const open = new Set([...item.querySelectorAll("details[open]")].map((part) => part.dataset.part));
  const own = row.promoted ?? row;
  const [color, here] = HERE[row.here] ?? ["", row.here];
  item.replaceChildren(...[
    el("h2", { class: "card-name" }, row.name || "(sealed)", " ", el("small", { class: "mono" }, row.hash.slice(0, 12)), " ", el("span", { class: `pill ${color}` }, here)),
    el("dl", { class: "numbers" },
      number("Task", row.task || "–"),
      number("Watch list from", threshold(own.threshold)),
      number("Interruptive from", threshold(own.interruptive_threshold)),
      number("Drift", driftPill(drift)),
      shadow ? number("Would alert, per 100 patient-days", rate(shadow.alerts_per_100_patient_days)) : null),
    part("drift", "Drift", drift ? driftPart(drift) : null, open),
    part("shadow", "What it would have done", shadow ? shadowPart(shadow) : null, open),
    part("groups", "What its alerts rested on", detail.contributions ? groupsPart(detail.contributions) : null, open),
    part("history", "Decisions in the ledger", history(row, detail.history), open),
    part("card", "Card", detail.card ? cardPart(detail.card) : el("p", {}, "Sealed by another site."), open),
  ].filter(Boolean));
  return item;
}

function part(name, title, content, open) {
  return content && el("details", { class: "more", "data-part": name, open: open.has(name) }, el("summary", {}, title), content);
}

function table(heads, rows) {
  const cell = (tag) => (value) => el(tag, { class: typeof value === "number" ? "number" : null }, typeof value === "number" ? count(value) : value);
  return el("div", { class: "scroll" }, el("table", { class: "table" },
    el("thead", {}, el("tr", {}, heads.map(cell("th")))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map(cell("td")))))));
}

function shadowPart(report) {
  const { live } = report;
  const beside = live ? live.against.map((other) => `${other.model} ${other.hash.slice(0, 12)}, from ${threshold(other.threshold)}`).join("; ") : "nothing alerts for this task here";
  return el("div", {},
    el("p", {}, `Since ${fullTime(report.since)} (`, entry(report.since_index), `), ${plural(report.patients, "patient")}, ${plural(report.hours_scored, "hour")} with a risk; insufficient data in ${plural(report.hours_too_few_measurements + report.hours_not_in_intensive_care + report.hours_not_an_adult, "hour")}.`),
    el("p", {}, `It would have alerted ${plural(report.alerts, "time")}: ${count(report.watch)} for the watch list, ${count(report.interruptive)} interruptive. Beside it: ${beside}.`),
    live ? el("p", {}, `That one alerted ${plural(live.alerts, "time")}, ${rate(live.alerts_per_100_patient_days)} per 100 patient-days. Hours over both thresholds ${count(live.both)}, over the live one alone ${count(live.only_live)}, over this one alone ${count(live.only_shadow)}, over neither ${count(live.neither)}.`) : null,
    table(["Threshold", "Alerts", "Per 100 patient-days"],
      report.thresholds.filter((row) => row.alerts > 0).map((row) => [String(row.threshold), row.alerts, rate(row.alerts_per_100_patient_days)])));
}

/** Shares of the weight that spoke for the risk, over the alerts that this site holds. */
function groupsPart(contributions) {
  const line = ([key, name]) => el("li", {}, el("span", {}, name), el("progress", { max: 1, value: contributions[key], "aria-label": name }), el("span", {}, percent(contributions[key])));
  return el("div", {},
    el("ul", { class: "shares" }, GROUPS.map(line)),
    el("p", { class: contributions.resting > 0 ? "caution" : "dim" },
      `Of ${plural(contributions.alerts, "alert")}, ${count(contributions.resting)} rested mostly on the care process: on how often and when things were measured, not on the patient.`));
}

function history(row, steps) {
  const why = (step) => [step.by, step.why].filter(Boolean).join(": ");
  const thresholds = (step) => (step.threshold === null || step.threshold === undefined ? "" : `from ${threshold(step.threshold)}, interruptive from ${threshold(step.interruptive_threshold)}`);
  const naming = [row.loaded_by.length ? `models of ${row.loaded_by.join(", ")}` : "", row.shadow_at.length ? `shadow_models of ${row.shadow_at.join(", ")}` : ""].filter(Boolean);
  return el("div", {},
    el("p", {}, row.registered ? null : "Registered by nobody yet. ", naming.length ? `Named in ${naming.join(" and ")}.` : "Named by no site."),
    table(["Entry", "Step", "Site", "When", "Who and why", "Thresholds"],
      steps.map((step) => [entry(step.index), step.step, step.site, fullTime(step.at), why(step), thresholds(step)])));
}

function cardPart(card) {
  const text = (name, value) => (value ? el("div", {}, el("dt", {}, name), el("dd", {}, value)) : null);
  const list = (values) => (values?.length ? el("ul", {}, values.map((value) => el("li", {}, value))) : null);
  const figure = (value) => (typeof value === "number" ? value.toFixed(3) : "–");
  const held = card.held_out ?? {};
  return el("dl", { class: "facts" },
    text("Predicts", card.predicts),
    text("Intended use", card.intended_use),
    text("Setting", card.setting),
    text("No claim", list(card.must_not_claim)),
    text("Limits", list(card.limits)),
    text("Threshold chosen by", card.threshold && `${card.threshold.metric}, on ${card.threshold.chosen_on}`),
    text("On held-out patients", `AUROC ${figure(held.auroc)}, AUPRC ${figure(held.auprc)}, utility ${figure(held.utility)}, ECE ${figure(held.ece)}, of ${count(held.patients ?? 0)} patients`),
    text("Trained on", card.training_data && `${card.training_data.description}; ${count(card.training_data.patients)} patients`));
}

showPage("Models");
showStatus();
every(REFRESH_MS, load);
