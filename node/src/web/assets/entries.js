// Lists of the ledger's entries: all of them newest first, or what a search found.

import { get } from "./api.js";
import { el } from "./dom.js";
import { count, fullTime, time } from "./format.js";

const PAGE = 50;
const TONES = { rejected: "red", alert: "amber", acknowledged: "green" };

/** Entries with an index below `before` (null: the newest). */
export async function entryList(size, before) {
  const end = Math.min(before ?? size, size);
  const from = Math.max(0, end - PAGE);
  const rows = end > from ? (await get(`/api/messages?from=${from}&limit=${end - from}`)).entries : [];
  if (rows.length === 0) return el("p", { class: "calm" }, "The ledger is empty.");
  return el("section", {},
    el("h2", {}, `Entries ${count(from)} to ${count(end - 1)} of ${count(size)}`),
    el("ul", { class: "entries" }, rows.reverse().map(line)),
    el("p", { class: "lookup" },
      from > 0 ? el("a", { class: "button", href: `/messages?before=${from}` }, "Older") : null,
      end < size ? el("a", { class: "button", href: `/messages?before=${end + PAGE}` }, "Newer") : null));
}

/** What a search found; `follow` gets the path of the next page. */
export async function foundList(path, follow) {
  const page = await get(path);
  const reach = page.linearizable ? "nothing missing that any site had" : "at this site";
  return el("section", {},
    el("h2", {}, page.entries.length ? `${count(page.entries.length)} found` : "Nothing found"),
    el("p", { class: "dim" }, `As of size ${count(page.as_of)}, ${reach}.`),
    page.entries.length ? el("ul", { class: "entries" }, page.entries.map(line)) : null,
    page.next ? el("p", { class: "lookup" }, el("button", { type: "button", on: { click: () => follow(page.next) } }, "More")) : null);
}

function line(row) {
  const what = row.shredded ? "shredded" : row.sealed ? "sealed" : [row.type, row.code].filter(Boolean).join(" ");
  return el("li", {},
    el("a", { href: `/messages?index=${row.index}` }, `#${row.index}`),
    el("span", { class: `pill ${TONES[row.kind] ?? ""}` }, row.kind),
    el("span", {}, what),
    el("span", { class: "dim mono" }, row.control_id ?? ""),
    el("span", { class: "dim" }, [row.site, row.feed].filter(Boolean).join(" / ")),
    el("time", { class: "dim", title: fullTime(row.received_time_ms) }, time(row.received_time_ms)));
}
