// One ledger entry: what came over the wire, and what was read from it.

import { get } from "./api.js";
import { entryList, foundList } from "./entries.js";
import { byId, el } from "./dom.js";
import { count } from "./format.js";
import { showConnection, showPage, showStatus } from "./shell.js";
import { trace } from "./trace.js";
import { fact, issues, shownTime, wire } from "./wire.js";

function facts(entry) {
  const content = entry.content ?? {};
  const kept = ["feed", "format", "type", "control_id", "position", "code", "reader"].filter((key) => content[key] !== undefined && content[key] !== "");
  const names = { control_id: "Control id", code: "Refused with", reader: "Reader version" };
  const title = (key) => names[key] ?? key.charAt(0).toUpperCase() + key.slice(1);
  return el("dl", { class: "facts" },
    fact("Kind", el("span", { class: `pill ${entry.kind === "rejected" ? "red" : entry.kind === "alert" ? "amber" : ""}` }, entry.kind)),
    kept.map((key) => fact(title(key), String(content[key]))),
    Object.entries(content.headers ?? {}).map(([name, value]) => fact(`Header ${name}`, value)),
    fact("Event time", shownTime(entry.event_time_ms)),
    fact("Message time", shownTime(entry.message_time_ms)),
    fact("Received", shownTime(entry.received_time_ms)),
    fact("From site", `${entry.site}, epoch ${entry.epoch}, number ${count(entry.site_seq)}`));
}

function readAs(content) {
  const { issues: _, ...rest } = content;
  const body = JSON.stringify(rest.events ?? rest, null, 2);
  const title = rest.events ? `Read as ${rest.events.length} event${rest.events.length === 1 ? "" : "s"}` : "Content";
  return el("section", {}, el("h2", {}, title), el("pre", { class: "wire", tabindex: 0 }, el("span", { class: "segment" }, body)));
}

/** The alert's own evidence leads on to the messages behind it. */
function evidence(content) {
  const indices = content?.facts?.indices ?? [];
  const links = indices.flatMap((index) => [el("a", { href: `/messages?index=${index}` }, `#${index}`), " "]);
  return indices.length ? el("section", {}, el("h2", {}, "Evidence"), el("p", {}, links)) : null;
}

function show(entry) {
  const parts = [facts(entry)];
  if (entry.sealed) parts.push(el("p", { class: "calm" }, "Sealed: another site has sealed it, and only that site shows it."));
  if (entry.shredded) parts.push(el("p", { class: "calm" }, "Shredded: its site has destroyed the key. Nobody can read it any more; its proofs hold."));
  if (entry.kind === "shred") parts.push(el("p", { class: "calm" }, `A patient's keys were destroyed${entry.content?.by ? `, as ${entry.content.by} ordered` : ""}: what the site had sealed about the patient before this entry is unreadable.`));
  if (entry.content?.issues?.length) parts.push(issues(entry.content.issues));
  parts.push(evidence(entry.content));
  if (entry.raw) parts.push(wire(entry.raw));
  if (entry.raw_base64) parts.push(el("p", { class: "lead" }, "The bytes are not UTF-8; shown as base64."), wire(entry.raw_base64));
  if (entry.content) parts.push(readAs(entry.content));
  const followed = el("div", {});
  byId("entry").replaceChildren(el("article", { class: "entry" }, el("h2", {}, `Entry #${entry.index}`), parts.filter(Boolean), followed));
  if (entry.content && ["message", "rejected"].includes(entry.kind)) showTrace(entry.index, followed);
}

/** It may take longer than the entry itself: the patient's history is read for it. */
async function showTrace(index, place) {
  try {
    place.replaceChildren(await trace(index));
  } catch (error) {
    place.replaceChildren(el("p", { class: "calm" }, `What followed is not shown: ${error.message}.`));
  }
}

async function load(index) {
  byId("steps").hidden = false;
  byId("index").value = index;
  byId("previous").href = `/messages?index=${Math.max(0, index - 1)}`;
  byId("next").href = `/messages?index=${index + 1}`;
  try {
    show(await get(`/api/messages/${index}`));
    showConnection("live");
  } catch (error) {
    byId("entry").replaceChildren(el("p", { class: "calm" }, `Entry #${index} is not shown: ${error.message}.`));
    showConnection(error.status ? "live" : "lost");
  }
}

const newest = (before) => showList(async () => entryList((await get("/api/ledger")).size, before));

const find = (path) => showList(() => foundList(path, find));

/** The address bar keeps its text: what is sought may name a patient. */
function search(event) {
  event.preventDefault();
  const query = new URLSearchParams({ limit: 100 });
  for (const [name, value] of new FormData(event.target)) {
    const isTime = name.endsWith("since") || name.endsWith("until");
    if (value !== "") query.set(name, isTime ? new Date(value).toISOString() : value);
  }
  find(`/api/messages?${query}`);
}

async function showList(load) {
  try {
    const list = await load();
    showConnection("live");
    byId("entry").replaceChildren(list);
  } catch (error) {
    byId("entry").replaceChildren(el("p", { class: "calm" }, `Not shown: ${error.message}.`));
    showConnection(error.status ? "live" : "lost");
  }
}

showPage("Messages");
showStatus();
byId("search").addEventListener("submit", search);
const NUMBER = /^\d{1,15}$/;
const query = new URLSearchParams(location.search);
const asked = (name) => (NUMBER.test(query.get(name) ?? "") ? Number(query.get(name)) : null);
if (asked("index") !== null) load(asked("index"));
else newest(asked("before"));
