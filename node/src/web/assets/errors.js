// The error queue and the hold queue, and sinks that stand at a refusal.

import { get, post } from "./api.js";
import { byId, el } from "./dom.js";
import { count, fullTime, time } from "./format.js";
import { repair } from "./repair.js";
import { showConnection, showPage, showStatus } from "./shell.js";

const PAGE = 100;
const TONES = { open: "red", held: "amber", repaired: "green" };

function line(row) {
  return el("li", {},
    el("a", { href: `/errors?index=${row.index}` }, `#${row.index}`),
    el("span", { class: `pill ${TONES[row.state] ?? ""}` }, row.state),
    el("span", {}, row.code),
    el("span", { class: "dim mono" }, row.control_id),
    el("span", { class: "dim" }, row.feed),
    el("time", { class: "dim", title: fullTime(row.received_time_ms) }, time(row.received_time_ms)));
}

/** The address bar keeps its text. `from`: index that the page begins with. */
async function list(from) {
  const query = new URLSearchParams({ from, limit: PAGE });
  let state = "";
  for (const [name, value] of new FormData(byId("filter"))) {
    if (name === "state") state = value;
    else if (value !== "") query.set(name, name === "since" || name === "until" ? new Date(value).toISOString() : value);
  }
  const page = await get(`/api/errors?${query}${state ? `&${state}` : ""}`);
  const more = () => show(() => list(page.next));
  return el("section", {},
    el("h2", {}, page.errors.length ? `${count(page.errors.length)} found` : "None found"),
    el("p", { class: "dim" }, `As of size ${count(page.as_of)}.`),
    page.errors.length ? el("ul", { class: "entries" }, page.errors.map(line)) : null,
    page.next === null ? null : el("p", { class: "lookup" }, el("button", { type: "button", on: { click: more } }, "More")));
}

async function show(load) {
  try {
    const content = await load();
    showConnection("live");
    byId("errors").replaceChildren(content);
  } catch (error) {
    byId("errors").replaceChildren(el("p", { class: "calm" }, `Not shown: ${error.message}.`));
    showConnection(error.status ? "live" : "lost");
  }
}

const tell = (kind, text) => byId("told").replaceChildren(el("p", { class: `verdict ${kind}` }, text));

function heldSink(sink) {
  const reason = el("input", { name: "reason", autocomplete: "off" });
  const release = async (how) => {
    try {
      const done = await post(`/api/sinks/${sink.name}/release`, { how, index: sink.held.index, reason: reason.value });
      tell("good", `Sink ${sink.name} was let go, as entry #${done.index} says.`);
    } catch (error) {
      tell("bad", `Sink ${sink.name} was not let go: ${error.message}.`);
    }
    await sinks();
  };
  const button = (how, text, kind) => el("button", { type: "button", class: kind, on: { click: () => release(how) } }, text);
  return el("li", { class: "card" },
    el("h3", { class: "card-name" }, sink.name, " ", el("small", {}, sink.kind), " ", el("span", { class: "pill amber" }, "held")),
    el("div", {},
      el("p", {}, "The alert of entry ", el("a", { href: `/messages?index=${sink.held.index}` }, `#${sink.held.index}`), `, since ${time(sink.held.since)}: ${sink.held.reason}`),
      el("p", { class: "lookup" }, el("label", {}, "Reason ", reason), button("retry", "Send again", "primary"), button("skip", "Leave it out", null))));
}

async function sinks() {
  const held = (await get("/api/feeds")).sinks.filter((sink) => sink.held !== null);
  byId("held-sinks").hidden = held.length === 0;
  byId("sinks").replaceChildren(...held.map(heldSink));
}

const NUMBER = /^\d{1,15}$/;
const asked = new URLSearchParams(location.search).get("index");
showPage("Errors");
showStatus();
sinks().catch((error) => tell("bad", `Sinks are not shown: ${error.message}.`));
byId("filter").addEventListener("submit", (event) => {
  event.preventDefault();
  show(() => list(0));
});
if (NUMBER.test(asked ?? "")) show(() => repair(Number(asked), tell));
else show(() => list(0));
