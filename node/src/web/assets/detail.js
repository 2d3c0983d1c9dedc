// One patient: the curve of each risk, why it stands there, and what was alerted. Opens over the board; the address
// names it, so that "back" closes it and a link leads to it.

import { get } from "./api.js";
import { curve } from "./chart.js";
import { byId, el, setText } from "./dom.js";
import { CARE_PROCESS, GROUPS, age, answersOf, fullTime, insufficient, level, risk, scorerName, time } from "./format.js";

const ADDRESS = /^#patient=(.+)$/;

export class Detail {
  constructor(store) {
    this.store = store;
    this.key = null;
    this.dialog = byId("detail");
    this.dialog.addEventListener("close", () => this.closed());
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
    addEventListener("hashchange", () => this.follow());
    addEventListener("resize", () => this.draw());
  }

  follow() {
    const key = ADDRESS.exec(location.hash)?.[1];
    if (key) this.open(decodeURIComponent(key));
    else if (this.dialog.open) this.dialog.close();
  }

  async open(key) {
    this.key = key;
    this.known = null;
    // The button first, so that the focus goes to it.
    this.dialog.replaceChildren(head("Loading…", "", () => this.dialog.close()));
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.scrollTop = 0;
    await this.refresh();
  }

  /** After a change of the patient on the board, or of one of the alerts. */
  async refresh() {
    const key = this.key;
    if (key === null || this.loading) return;
    this.loading = true;
    try {
      const known = await get(`/api/patients/${encodeURIComponent(key)}`);
      if (this.key === key) {
        this.known = known;
        this.draw();
      }
    } catch (error) {
      if (this.key === key && !this.known) {
        this.dialog.replaceChildren(head("Patient", "", () => this.dialog.close()), el("p", { class: "calm" }, `Not shown: ${error.message}.`));
      }
    } finally {
      this.loading = false;
      if (this.key !== null && this.key !== key) this.refresh();
    }
  }

  draw() {
    if (!this.known || !this.dialog.open) return;
    const { row, curves, alerts } = this.known;
    const place = [row.origin && `for site ${row.origin}`, row.ward, row.bed && `bed ${row.bed}`, row.id, row.data_at ? `data ${age(row.data_at)}` : "no data"];
    const hadFocus = this.dialog.querySelector("#detail-close") === document.activeElement;
    const scrolled = this.dialog.scrollTop;
    this.dialog.replaceChildren(
      head(row.name || `Patient ${row.id}`, place.filter(Boolean).join(" · "), () => this.dialog.close(), row.discharged),
      el("div", { class: "detail-body" }, row.risks.map((now) => scorer(now, curves[now.scorer] ?? [], alerts)), alertHistory(alerts)));
    this.dialog.scrollTop = scrolled;
    if (hadFocus) byId("detail-close").focus();
    // The width is known only now that the panels stand in the page.
    for (const panel of this.dialog.querySelectorAll(".panel")) panel.drawCurve?.();
  }

  closed() {
    const key = this.key;
    this.key = null;
    // Without a step back: an alert's link or a bookmark may have been the first page of this tab.
    if (ADDRESS.test(location.hash)) history.replaceState(null, "", location.pathname + location.search);
    document.querySelector(`.row[data-patient="${CSS.escape(key ?? "")}"] a`)?.focus();
  }
}

function head(name, place, close, discharged = false) {
  return el("header", { class: "detail-head" },
    el("div", {}, el("h2", { id: "detail-name" }, name, discharged ? " " : null, discharged ? el("span", { class: "pill" }, "discharged") : null),
      el("p", { class: "where" }, place)),
    el("button", { type: "button", id: "detail-close", on: { click: close } }, "Close"));
}

function scorer(now, points, alerts) {
  const readout = el("p", { class: "readout", "aria-hidden": "true" });
  const chart = el("div", { class: "chart" });
  const silent = now.risk === null;
  const panel = el("section", { class: "panel" },
    el("div", { class: "panel-head" },
      el("h3", {}, scorerName(now.scorer, now.task)),
      el("span", { class: `big ${level(now.risk, now.threshold)}` }, silent ? insufficient(now) : risk(now.risk, now.scorer)),
      el("span", { class: "limit" }, `threshold ${risk(now.threshold, now.scorer)}, ${silent ? "asked" : "scored"} ${age(now.at)}`)),
    readout, chart,
    why(now));
  const own = alerts.filter((alert) => alert.model === now.scorer);
  panel.drawCurve = () => {
    const drawn = curve(points, now.threshold, now.scorer, own, Math.max(240, chart.clientWidth), (text) => setText(readout, text));
    chart.replaceChildren(points.some((p) => p.risk !== null) ? drawn : el("p", { class: "calm" }, `No curve yet: ${now.insufficient ?? "no score so far"}.`));
  };
  return panel;
}

/** What speaks for the risk, by what it speaks of. A bedside score's parts are all of one kind. */
function why(now) {
  if (!now.reasons.length) return null;
  const list = (reasons) => el("ul", { class: "reasons" }, reasons.map((reason) => el("li", {}, reason)));
  const groups = now.by_group.filter((group) => group.reasons.length);
  const grouped = ({ group, share, reasons }) => [el("h4", { class: "group" }, `${GROUPS[group] ?? group} · ${(share * 100).toFixed(0)} %`), list(reasons)];
  return el("div", {},
    el("h3", {}, "Why"),
    now.rests_on_care_process ? el("p", { class: "caution" }, CARE_PROCESS) : null,
    groups.length > 1 || now.rests_on_care_process ? groups.map(grouped) : list(now.reasons));
}

function alertHistory(alerts) {
  const line = (alert) =>
    el("li", { class: alert.tier },
      el("span", { class: "when", title: fullTime(alert.at) }, `${time(alert.at)} · ${alert.tier}`),
      el("strong", {}, `${scorerName(alert.model, alert.task)} ${risk(alert.risk, alert.model)}`),
      el("span", {}, alert.reasons.join(" · ")),
      alert.acknowledged
        ? el("span", { class: "answer" }, answersOf(alert))
        : el("span", { class: "when" }, "not acknowledged"));
  return el("section", { class: "panel" }, el("h3", {}, "Alerts"),
    alerts.length ? el("ol", { class: "history" }, alerts.map(line)) : el("p", {}, "None so far."));
}
