// This site's replica, and how the others stand to it.

import { get, post } from "./api.js";
import { arrange, byId, el, setText } from "./dom.js";
import { count, plural } from "./format.js";
import { every, showPage, showStatus } from "./shell.js";

const REFRESH_MS = 2000;
/** Verifying reads everything that is stored. */
const VERIFY_TIMEOUT_MS = 3_600_000;
const ROLES = { leader: "green", follower: "green", learner: "amber", candidate: "amber", stopped: "red" };

const cards = new Map();
const fact = (name, ...value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));
const number = (name, value, warn) => el("div", { class: warn ? "warn" : null }, el("dt", {}, name), el("dd", {}, value));

function facts(ledger) {
  const role = String(ledger.role).toLowerCase();
  byId("facts").replaceChildren(
    fact("Site", ledger.site),
    fact("Role", el("span", { class: `pill ${ROLES[role] ?? ""}` }, role)),
    fact("Leader", ledger.leader ?? "none known: nothing can be committed"),
    fact("Term", count(ledger.term)),
    fact("Size", plural(ledger.size, "leaf", "leaves")),
    fact("Root (RFC 6962)", el("span", { class: "mono" }, ledger.root)),
    fact("Duplicates", `${count(ledger.duplicates)}, acknowledged with their first one's index`),
    fact("Refused in apply", plural(ledger.refused, "raft entry", "raft entries")),
    fact("In flight", `${count(ledger.in_flight_bytes)} bytes`));
}

function peer(row, lag) {
  const item = cards.get(row.name) ?? el("li", { class: "card" });
  cards.set(row.name, item);
  const state = el("span", { class: `pill ${row.connected ? "green" : "red"}` }, row.connected ? "connected" : "not connected");
  item.replaceChildren(
    el("h3", { class: "card-name" }, row.name, " ", el("small", {}, row.voter ? "voter" : "learner"), " ", state),
    el("dl", { class: "numbers" }, number("Address", row.address), number("Lag", lag === undefined ? "known to the leader" : count(lag), lag > 0)));
  return item;
}

async function load() {
  const ledger = await get("/api/ledger");
  facts(ledger);
  arrange(byId("peers"), ledger.peers.map((row) => peer(row, ledger.lag[row.name])));
  byId("no-peers").hidden = ledger.peers.length > 0;
}

async function verify() {
  const [button, verdict] = [byId("verify"), byId("verdict")];
  const say = (kind, text) => verdict.replaceChildren(el("p", { class: `verdict ${kind}` }, text));
  button.disabled = true;
  setText(button, "Verifying…");
  try {
    const report = await post("/api/ledger/verify", {}, VERIFY_TIMEOUT_MS);
    const what = `${plural(report.size, "leaf", "leaves")}, ${plural(report.batches, "batch", "batches")}, root ${report.root}`;
    if (report.ok) say("good", `Passed: ${what}`);
    else {
      say("bad", `Failed: ${plural(report.findings.length + report.more_findings, "finding")}`);
      const line = (f) => el("li", { class: "error" }, `${f.file}${f.offset === null ? "" : ` at byte ${f.offset}`}: ${f.text}`);
      verdict.append(el("ul", { class: "issues" }, report.findings.map(line)));
    }
  } catch (error) {
    say("bad", `Not verified: ${error.message}.`);
  }
  button.disabled = false;
  setText(button, "Verify this replica");
}

showPage("Ledger");
showStatus();
byId("verify").addEventListener("click", verify);
every(REFRESH_MS, load);
