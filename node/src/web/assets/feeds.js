// Feeds and sinks for the integration engineer.

import { get } from "./api.js";
import { arrange, byId, el } from "./dom.js";
import { count, span } from "./format.js";
import { every, showPage, showStatus } from "./shell.js";

const REFRESH_MS = 2000;
const RATE_WINDOW_MS = 10_000;

const STATES = { running: "green", connecting: "amber", paused: "amber", stopped: "red" };

const samples = new Map();
const cards = new Map();

/** Messages a second over the window; null until there are two samples. */
function rate(key, total, now) {
  const kept = (samples.get(key) ?? []).filter((sample) => now - sample.now <= RATE_WINDOW_MS + REFRESH_MS / 2);
  // The site counts from its start: after a restart the old samples say nothing.
  const own = kept.some((sample) => sample.total > total) ? [] : kept;
  own.push({ now, total });
  samples.set(key, own);
  const [first] = own;
  return own.length < 2 ? null : ((total - first.total) * 1000) / (now - first.now);
}

function perSecond(value) {
  if (value === null) return "…";
  return `${value > 0 && value < 10 ? value.toFixed(1) : count(Math.round(value))} /s`;
}

const number = (name, value, warn = false) => el("div", { class: warn ? "warn" : null }, el("dt", {}, name), el("dd", {}, value));

function card(key, content) {
  const item = cards.get(key) ?? el("li", { class: "card" });
  cards.set(key, item);
  item.replaceChildren(...content.filter(Boolean));
  return item;
}

const lastError = (text) => (text ? el("p", { class: "last-error" }, `Last error: ${text}`) : null);

function feed(row, now) {
  return card(`feed ${row.name}`, [
    el("h3", { class: "card-name" }, row.name, " ", el("small", {}, row.ack === "site" ? `${row.kind}, ack at site` : row.kind), " ", el("span", { class: `pill ${STATES[row.state] ?? ""}` }, row.state), row.silent ? el("span", { class: "pill red" }, "silent") : ""),
    el("dl", { class: "numbers" },
      number("Rate", perSecond(rate(`feed ${row.name}`, row.received, now))),
      number("Received", count(row.received)),
      number("Lag", count(row.lag), row.lag > 0),
      number("Faults", count(row.faults)),
      number("In flight", count(row.in_flight)),
      number("Oldest", row.in_flight > 0 ? span(row.oldest_s * 1000) : "–", row.oldest_s > 5)),
    row.silent ? el("p", { class: "last-error" }, `Silent since ${new Date(row.silent.since).toLocaleString()}: ${row.silent.why}`) : null,
    lastError(row.last_error),
  ]);
}

const SINK_STATES = { running: "green", waiting: "amber", held: "red" };

function sink(row, now) {
  return card(`sink ${row.name}`, [
    el("h3", { class: "card-name" }, row.name, " ", el("small", {}, row.kind), " ", el("span", { class: `pill ${SINK_STATES[row.state] ?? ""}` }, row.state)),
    el("dl", { class: "numbers" },
      number("Rate", perSecond(rate(`sink ${row.name}`, row.delivered, now))),
      number("Delivered", count(row.delivered)),
      number("Refused", count(row.refused), row.refused > 0)),
    row.held ? el("p", { class: "last-error" }, el("a", { href: "/errors" }, `Holds the alert of entry #${row.held.index}`), `: ${row.held.reason}`) : null,
    lastError(row.last_error),
  ]);
}

const OUTBOX_STATES = { normal: "green", warn: "amber", slow: "amber", refuse: "red" };

function outbox(row, now) {
  const full = row.limit_bytes > 0 ? (100 * row.bytes) / row.limit_bytes : 0;
  return card("outbox", [
    el("h3", { class: "card-name" }, "outbox ", el("span", { class: `pill ${OUTBOX_STATES[row.state] ?? ""}` }, row.state)),
    el("dl", { class: "numbers" },
      number("Rate", perSecond(rate("outbox", row.forwarded, now))),
      number("Waiting", count(row.entries)),
      number("Bytes", count(row.bytes)),
      number("Full", `${full.toFixed(1)} %`, row.state !== "normal"),
      number("Oldest", row.oldest_ms === null ? "–" : span(Date.now() - row.oldest_ms), row.oldest_ms !== null && Date.now() - row.oldest_ms > 60_000)),
    lastError(row.fault),
  ]);
}

async function load() {
  const answer = await get("/api/feeds");
  const now = performance.now();
  arrange(byId("outbox"), [outbox(answer.outbox, now)]);
  arrange(byId("feeds"), answer.feeds.map((row) => feed(row, now)));
  arrange(byId("sinks"), answer.sinks.map((row) => sink(row, now)));
  byId("no-feeds").hidden = answer.feeds.length > 0;
  byId("no-sinks").hidden = answer.sinks.length > 0;
}

showPage("Feeds");
showStatus();
every(REFRESH_MS, load);
