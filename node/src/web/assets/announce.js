// Tells screen readers and the page's title of new alerts: each once, many together as a number.

import { byId, el } from "./dom.js";
import { plural } from "./format.js";

const GATHER_MS = 800;

const announced = new Set();
let waiting = [];
let timer = null;

/** These were there before: nothing to announce. */
export function known(ids) {
  for (const id of ids) announced.add(id);
}

export function arrived(alert, words) {
  if (announced.has(alert.id)) return;
  announced.add(alert.id);
  waiting.push({ urgent: alert.tier === "interruptive", words });
  timer ??= setTimeout(speak, GATHER_MS);
}

function speak() {
  const alerts = waiting;
  const urgent = alerts.filter((alert) => alert.urgent).length;
  waiting = [];
  timer = null;
  const text = alerts.length === 1 ? alerts[0].words : `${plural(alerts.length, "new alert")}, ${urgent} interruptive`;
  // A new element each time: the same words twice are two announcements.
  byId(urgent > 0 ? "announce-urgent" : "announce-calm").replaceChildren(el("p", {}, text));
}
