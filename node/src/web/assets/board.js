// The care board: loads once, then follows the site's events.

import { Alerts, sentence } from "./alerts.js";
import * as announce from "./announce.js";
import { get } from "./api.js";
import { Detail } from "./detail.js";
import { byId } from "./dom.js";
import { Live } from "./live.js";
import { Patients, fillWards } from "./patients.js";
import { showConnection, showPage, showStatus, showTrouble } from "./shell.js";
import { Store } from "./store.js";

/** As many as the site's board keeps. */
const ALERTS_MAX = 2000;
const RENDER_MS = 250;
const AGES_MS = 10_000;
/** A connection may die without a word (a laptop that slept, a firewall): the site's number tells. */
const WATCH_MS = 20_000;
const GRACE_MS = 3000;

const store = new Store();
let user = "";
let ward = new URLSearchParams(location.search).get("ward") ?? "";
let timer = null;
let loaded = false;

const alerts = new Alerts(store, () => user);
const patients = new Patients(store);
const detail = new Detail(store);
const live = new Live(follow, (state) => showConnection(state));

function follow(name, data) {
  if (name === "reset") return reload();
  if (name === "patients") {
    store.updatePatients(data);
    if (data.some((row) => row.key === detail.key)) detail.refresh();
  } else if (name === "alert") {
    if (store.addAlert(data)) tell(data);
    if (data.patient === detail.key) detail.refresh();
  }
  renderSoon();
}

/** A board of one ward speaks of that ward. */
function tell(alert) {
  if (ward === "" || alert.ward === ward) announce.arrived(alert, sentence(alert, store.patients.get(alert.patient)));
}

/** Patients before alerts: an alert that falls between the two answers comes twice, and is shown once. */
async function load() {
  const board = await get("/api/patients");
  const rows = await get(`/api/alerts?limit=${ALERTS_MAX}`);
  // Events that arrived meanwhile are newer than the answer.
  if (board.seq >= live.seq || !loaded) store.replacePatients(board.patients);
  if (!loaded) announce.known(rows.map((row) => row.id));
  for (const row of rows.toReversed()) {
    if (store.addAlert(row)) tell(row);
  }
  store.keepAlerts(rows);
  loaded = true;
  patients.forgetCurves();
  render();
  return board.seq;
}

async function reload() {
  try {
    await load();
  } catch {
    setTimeout(reload, RENDER_MS * 8);
  }
}

async function begin() {
  try {
    const status = await showStatus();
    user = status?.user ?? "";
    live.start(await load());
    detail.follow();
  } catch (error) {
    if (error.status) showTrouble(`Not shown: ${error.message}.`);
    else showConnection("lost");
    setTimeout(begin, RENDER_MS * 8);
  }
}

/** Is the stream where the site is? Also drops patients that left without an event, such as merged ones. */
async function watch() {
  if (!loaded) return;
  try {
    const board = await get("/api/patients");
    if (live.seq <= board.seq) {
      setTimeout(() => live.seq < board.seq && live.open(), GRACE_MS);
      store.replacePatients(board.patients);
      renderSoon();
    }
  } catch (error) {
    // A stream that goes on alone would say otherwise; one that fails says so itself and retries.
    if (!error.status) live.open();
  }
}

function renderSoon() {
  timer ??= setTimeout(render, RENDER_MS);
}

function render() {
  clearTimeout(timer);
  timer = null;
  const open = alerts.render(ward);
  patients.render(ward);
  fillWards(store, ward);
  document.title = `${open > 0 ? `(${open}) ` : ""}Care board · Medulla`;
}

byId("ward").addEventListener("change", (event) => {
  ward = event.target.value;
  const query = ward === "" ? "" : `?ward=${encodeURIComponent(ward)}`;
  history.replaceState(null, "", location.pathname + query + location.hash);
  render();
});
setInterval(() => {
  alerts.tick();
  patients.tick();
}, AGES_MS);
setInterval(watch, WATCH_MS);
document.addEventListener("visibilitychange", () => document.hidden || watch());

showPage("Care board");
begin();
