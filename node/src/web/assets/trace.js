// What followed from one message: scores, alerts, deliveries.

import { get } from "./api.js";
import { el } from "./dom.js";
import { fullTime } from "./format.js";

const entry = (index) => el("a", { href: `/messages?index=${index}` }, `#${index}`);
const entries = (what, indices) => (indices.length ? el("p", {}, `${what}: `, indices.flatMap((index) => [entry(index), " "])) : null);

/** Of a message or a refused one that this site can open. */
export async function trace(index) {
  const found = await get(`/api/messages/${index}/trace`);
  const score = (row) => el("li", {}, `${row.model} (${row.task}): ${row.risk === null ? "insufficient data" : row.risk.toFixed(3)}, threshold ${row.threshold.toFixed(3)}`);
  const delivery = (row) => el("li", {}, `to ${row.sink}: ${row.refused ? `refused (${row.refused})` : "delivered"}, ${fullTime(row.at)}, `, entry(row.index));
  const answer = (row) => el("li", {}, `acknowledged by ${row.by}, ${fullTime(row.at)}, `, entry(row.index));
  const alert = (row) => el("li", {}, entry(row.index), ` ${row.task} by ${row.model}, ${row.tier}${row.is_trigger ? ", raised by this message" : ""}`,
    el("ul", {}, row.deliveries.map(delivery), row.acknowledged.map(answer)));
  return el("section", {}, el("h2", {}, "What followed"),
    found.first !== null ? el("p", {}, "A later reading of ", entry(found.first)) : null,
    entries("Read again as", found.became),
    entries("What was done with it", found.acts),
    found.scores.length ? el("ul", { class: "issues" }, found.scores.map(score)) : null,
    found.alerts.length ? el("ul", { class: "issues" }, found.alerts.map(alert)) : el("p", { class: "dim" }, "No alert rests on it."),
    found.left_out ? el("p", { class: "dim" }, `${found.left_out} patients or later alerts were too many to look into.`) : null);
}
