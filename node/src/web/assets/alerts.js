// Alert cards. A card is made once for each alert and then changes in place.

import { acknowledgeForm } from "./acknowledge.js";
import { arrange, byId, el, setText } from "./dom.js";
import { CARE_PROCESS, age, answersOf, fullTime, isoTime, plural, risk, scorerName } from "./format.js";

const HASH_SHOWN = 12;
/** On the card; the others stand with the evidence. */
const REASONS_SHOWN = 3;

export class Alerts {
  constructor(store, user) {
    this.store = store;
    this.user = user;
    this.cards = new Map();
  }

  render(ward) {
    const shown = (alert) => ward === "" || alert.ward === ward;
    const open = this.store.openAlerts().filter(shown);
    const answered = this.store.answeredAlerts().filter(shown);
    for (const id of this.cards.keys()) if (!this.store.alerts.has(id)) this.cards.delete(id);
    arrange(byId("open-alerts"), open.map((alert) => this.card(alert)));
    arrange(byId("answered-alerts"), answered.map((alert) => this.card(alert)));
    setText(byId("alert-count"), String(open.length));
    setText(byId("answered-count"), String(answered.length));
    byId("no-alerts").hidden = open.length > 0;
    byId("answered").hidden = answered.length === 0;
    return open.length;
  }

  /** Ages go on while nothing arrives. */
  tick() {
    for (const [id, card] of this.cards) {
      const alert = this.store.alerts.get(id);
      if (alert) setText(card.querySelector("time"), age(alert.at));
    }
  }

  card(alert) {
    const card = this.cards.get(alert.id) ?? this.make(alert);
    const patient = this.store.patients.get(alert.patient);
    const link = card.querySelector(".alert-who a");
    // Another one after a merge.
    const to = `#patient=${encodeURIComponent(alert.patient)}`;
    if (link.getAttribute("href") !== to) link.setAttribute("href", to);
    setText(link, patientName(alert, patient));
    setText(card.querySelector(".alert-who span"), place(alert, patient));
    setText(card.querySelector(".sent"), alert.delivered_to.length ? alert.delivered_to.join(", ") : "nobody yet");
    const amended = card.querySelector(".amended");
    const marks = alert.amended ?? [];
    amended.hidden = marks.length === 0;
    // Only what is new: links keep their focus.
    if (amended.children.length !== marks.length) amended.replaceChildren("Corrected or taken back since: ", ...marks.flatMap((index) => [entry(index), " "]));
    const answer = card.querySelector(".answer");
    answer.hidden = !alert.acknowledged;
    if (alert.acknowledged) {
      setText(answer, answersOf(alert));
      card.querySelector(".alert-open")?.remove();
    }
    return card;
  }

  make(alert) {
    const interruptive = alert.tier === "interruptive";
    const title = `alert-${alert.id}`;
    const card = el("li", { class: `alert arrives ${interruptive ? "interruptive" : "watch"}`, "data-alert-id": alert.id, "aria-labelledby": title },
      el("div", { class: "alert-top" },
        el("span", { class: `pill ${interruptive ? "red" : "amber"}` }, alert.tier),
        alert.origin ? el("span", { class: "pill amber" }, `for site ${alert.origin}`) : null,
        el("time", { datetime: isoTime(alert.at), title: fullTime(alert.at) }, age(alert.at))),
      el("h3", { class: "alert-who", id: title }, el("a"), el("span")),
      riskLine(alert),
      reasons(alert.reasons.slice(0, REASONS_SHOWN)),
      alert.rests_on_care_process ? el("p", { class: "caution" }, CARE_PROCESS) : null,
      el("p", { class: "amended caution", hidden: true }),
      el("p", { class: "answer", hidden: true }),
      this.foot(alert));
    this.cards.set(alert.id, card);
    return card;
  }

  foot(alert) {
    const place = el("div", { class: "alert-open" });
    const button = el("button", { type: "button", class: "acknowledge-open" }, "Acknowledge");
    const closed = () => {
      place.replaceChildren(button);
      button.focus();
    };
    button.addEventListener("click", () => {
      const form = acknowledgeForm(alert, this.user, closed);
      place.replaceChildren(form);
      form.querySelector("input").focus();
    });
    place.append(button);
    return el("div", { class: "alert-foot" }, proof(alert), place);
  }
}

const entry = (index) => el("a", { href: `/messages?index=${index}` }, `#${index}`);

const reasons = (list) => el("ul", { class: "reasons" }, list.map((reason) => el("li", {}, reason)));

function riskLine(alert) {
  return el("p", { class: "alert-risk" }, `${scorerName(alert.model, alert.task)} `, el("strong", {}, risk(alert.risk, alert.model)),
    el("small", {}, ` threshold ${risk(alert.threshold, alert.model)}`));
}

function proof(alert) {
  const trigger = alert.evidence.length - 1;
  const links = alert.evidence.flatMap((index, i) => [entry(index), i === trigger ? " (trigger) " : " "]);
  const further = alert.reasons.slice(REASONS_SHOWN);
  const fact = (name, ...value) => [el("dt", {}, name), el("dd", {}, value)];
  return el("details", { class: "proof" },
    el("summary", { title: plural(alert.evidence.length, "ledger entry", "ledger entries") }, `Evidence (${alert.evidence.length})`),
    el("dl", {},
      further.length ? fact("Also", reasons(further)) : null,
      fact("Entries", links),
      fact("This alert", entry(alert.index)),
      fact("Model", `${alert.model} `, el("span", { class: "mono", title: alert.model_hash }, alert.model_hash.slice(0, HASH_SHOWN))),
      fact("Time", fullTime(alert.at)),
      fact("Sent to", el("span", { class: "sent" }))));
}

export function patientName(alert, patient) {
  return patient?.name || alert.name || (patient?.id ? `Patient ${patient.id}` : "Unnamed patient");
}

function place(alert, patient) {
  const bed = patient?.bed ? `bed ${patient.bed}` : "";
  return [alert.ward || patient?.ward || "no ward", bed].filter(Boolean).join(", ");
}

/** One sentence for a screen reader. */
export function sentence(alert, patient) {
  const name = scorerName(alert.model, alert.task);
  const origin = alert.origin ? ` for site ${alert.origin}` : "";
  return `${alert.tier} alert${origin}: ${patientName(alert, patient)}, ${place(alert, patient)}. ${name} ${risk(alert.risk, alert.model)}. ${alert.reasons[0] ?? ""}`;
}
