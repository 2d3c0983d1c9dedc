// Patients by risk, ward by ward.

import { get } from "./api.js";
import { bar, sparkline } from "./chart.js";
import { arrange, byId, el, setText } from "./dom.js";
import { STALE_MS, age, fullTime, insufficient, level, plural, risk, scorerName } from "./format.js";
import { urgency } from "./store.js";

const REASONS_SHOWN = 3;
/** Curves asked for at once: a big ward must not flood the site when a board opens. */
const CURVES_AT_ONCE = 2;

export class Patients {
  constructor(store) {
    this.store = store;
    this.rows = new Map();
    this.wards = new Map();
    this.curves = new Map();
    this.wanted = [];
    this.asking = 0;
    this.onSight = new IntersectionObserver((entries) => this.seen(entries), { rootMargin: "200px" });
  }

  render(ward) {
    const patients = this.store.patientsByRisk();
    for (const [key, row] of this.rows) if (!this.store.patients.has(key)) this.forget(key, row);
    const groups = Map.groupBy ? Map.groupBy(patients, (p) => p.ward) : groupBy(patients);
    const shown = [...groups].filter(([name]) => ward === "" || name === ward);
    // The ward with the sickest patient first: that is what one comes for.
    shown.sort(([, a], [, b]) => urgency(b[0]) - urgency(a[0]));
    arrange(byId("wards"), shown.map(([name, members]) => this.ward(name, members)));
    byId("no-patients").hidden = patients.length > 0;
  }

  tick() {
    for (const [key, row] of this.rows) showAge(row, this.store.patients.get(key));
  }

  /** A site that has restarted may know other curves. */
  forgetCurves() {
    this.curves.clear();
    for (const row of this.rows.values()) {
      this.onSight.unobserve(row);
      this.onSight.observe(row);
    }
  }

  ward(name, members) {
    let section = this.wards.get(name);
    if (!section) {
      section = el("section", { class: "ward" },
        el("h3", { class: "ward-head" }, el("span", {}, name || "No ward"), el("span", { class: "count" })),
        el("ul", { class: "rows" }));
      this.wards.set(name, section);
    }
    setText(section.querySelector(".count"), String(members.length));
    const list = section.querySelector(".rows");
    const rows = members.map((patient) => this.row(patient));
    // Rows do not move under the hand that is about to press one; they do as soon as it goes away.
    const held = (list.matches(":hover") || list.matches(":focus-within")) && rows.length === list.children.length;
    if (!held || rows.some((row) => row.parentNode !== list)) arrange(list, rows);
    return section;
  }

  row(patient) {
    let row = this.rows.get(patient.key);
    if (!row) {
      row = el("li", { class: "row", "data-patient": patient.key },
        el("div", {}, el("a", { href: `#patient=${encodeURIComponent(patient.key)}` }), el("div", { class: "where" })),
        el("div", { class: "risks" }), el("div", { class: "curve-place" }), el("div", { class: "why" }), el("div", { class: "age" }));
      this.rows.set(patient.key, row);
      this.onSight.observe(row);
    }
    const written = JSON.stringify(patient);
    if (row.written !== written) {
      row.written = written;
      write(row, patient);
      this.extendCurve(row, patient);
    }
    return row;
  }

  forget(key, row) {
    this.onSight.unobserve(row);
    row.remove();
    this.rows.delete(key);
    this.curves.delete(key);
  }

  extendCurve(row, patient) {
    const curves = this.curves.get(patient.key);
    if (!curves) return;
    for (const now of patient.risks) {
      const points = (curves[now.scorer] ??= []);
      const last = points[points.length - 1];
      if (!last || now.at > last.at) points.push({ at: now.at, risk: now.risk });
      else if (now.at === last.at) last.risk = now.risk;
    }
    this.drawCurve(row, patient);
  }

  drawCurve(row, patient) {
    const curves = this.curves.get(patient.key);
    const main = worst(patient);
    if (!curves || !main) return;
    const place = row.querySelector(".curve-place");
    place.replaceChildren(sparkline(curves[main.scorer] ?? [], main.threshold));
    place.title = `${scorerName(main.scorer, main.task)}, last 24 h`;
  }

  seen(entries) {
    for (const entry of entries) {
      const key = entry.target.dataset.patient;
      if (entry.isIntersecting && !this.curves.has(key) && !this.wanted.includes(key)) this.wanted.push(key);
    }
    this.askForCurves();
  }

  async askForCurves() {
    while (this.wanted.length > 0 && this.asking < CURVES_AT_ONCE) {
      const key = this.wanted.shift();
      this.asking += 1;
      get(`/api/patients/${encodeURIComponent(key)}`)
        .then((detail) => {
          this.curves.set(key, detail.curves);
          const [row, patient] = [this.rows.get(key), this.store.patients.get(key)];
          if (row && patient) this.drawCurve(row, patient);
        })
        // A row without a curve is complete; the next sight of it asks again.
        .catch(() => {})
        .finally(() => {
          this.asking -= 1;
          this.askForCurves();
        });
    }
  }
}

function write(row, patient) {
  const main = worst(patient);
  setText(row.querySelector("a"), patient.name || `Patient ${patient.id}`);
  const place = [patient.origin && `for site ${patient.origin}`, patient.bed && `bed ${patient.bed}`, patient.id].filter(Boolean);
  setText(row.querySelector(".where"), place.join(" · "));
  row.querySelector(".risks").replaceChildren(...patient.risks.map(riskLine));
  setText(row.querySelector(".why"), main ? main.reasons.slice(0, REASONS_SHOWN).join(" · ") : "");
  row.classList.toggle("over", urgency(patient) >= 1);
  showAge(row, patient);
}

function riskLine(now) {
  const name = scorerName(now.scorer, now.task);
  const label = el("span", { class: "label", title: name }, name);
  if (now.risk === null) return el("div", { class: "risk" }, label, el("span", { class: "insufficient" }, insufficient(now)));
  const text = risk(now.risk, now.scorer);
  const words = `${name} ${text}, threshold ${risk(now.threshold, now.scorer)}`;
  return el("div", { class: `risk ${level(now.risk, now.threshold)}`, title: words },
    label, bar(now.risk, now.threshold), el("span", { class: "number", "aria-label": words }, text));
}

function showAge(row, patient) {
  if (!patient) return;
  const place = row.querySelector(".age");
  const stale = Date.now() - patient.data_at > STALE_MS;
  setText(place, stale ? `stale: ${age(patient.data_at)}` : age(patient.data_at));
  place.classList.toggle("stale", stale);
  place.title = patient.data_at ? `Newest data: ${fullTime(patient.data_at)}` : "";
}

/** The scorer that stands highest over its threshold: the one to explain. */
export function worst(patient) {
  const ratio = (r) => (r.risk ?? -1) / Math.max(r.threshold, 1e-9);
  return patient.risks.reduce((best, r) => (best === null || ratio(r) > ratio(best) ? r : best), null);
}

function groupBy(patients) {
  const groups = new Map();
  for (const patient of patients) groups.set(patient.ward, [...(groups.get(patient.ward) ?? []), patient]);
  return groups;
}

export function fillWards(store, chosen) {
  const select = byId("ward");
  const wards = store.wards();
  // A chosen ward stays on offer when its last patient leaves.
  if (chosen !== "" && !wards.some(([name]) => name === chosen)) wards.push([chosen, 0]);
  const written = JSON.stringify(wards);
  if (select.dataset.written === written || select === document.activeElement) return;
  select.dataset.written = written;
  const option = ([name, members]) => el("option", { value: name }, `${name || "No ward"} (${members})`);
  select.replaceChildren(el("option", { value: "" }, `All wards (${plural(store.patients.size, "patient")})`), ...wards.map(option));
  select.value = chosen;
}
