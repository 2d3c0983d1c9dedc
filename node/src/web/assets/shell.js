// The bar on top of every page: where one is, as whom, and whether what is shown is live.

import { get } from "./api.js";
import { byId, setText } from "./dom.js";
import { clockTime } from "./format.js";

const WORDS = { connecting: "connecting", live: "live", lost: "connection lost" };

/** The role that each page's data need; an administrator has all. */
const ROLES = { "/": "care", "/feeds": "engineer", "/messages": "engineer", "/errors": "engineer", "/models": "engineer", "/ledger": "engineer" };

let lastGood = null;

export function showPage(title) {
  document.title = `${title} · Medulla`;
  for (const link of document.querySelectorAll(".tabs a")) {
    if (link.getAttribute("href") === location.pathname) link.setAttribute("aria-current", "page");
  }
}

/** Fills in site and user; gives the status, or null when the site does not answer. */
export async function showStatus() {
  try {
    const status = await get("/api/status");
    setText(byId("site"), status.site);
    setText(byId("user"), status.user);
    // Without accounts the user is whoever sits at the machine: there is nothing to sign out of.
    byId("sign-out").hidden = status.user === "local";
    showTabs(status.roles);
    return status;
  } catch {
    return null;
  }
}

/** Only what one may see; the page at hand stays. */
function showTabs(roles) {
  for (const link of document.querySelectorAll(".tabs a")) {
    const needed = ROLES[link.getAttribute("href")];
    link.hidden = !link.hasAttribute("aria-current") && !roles.includes("admin") && !roles.includes(needed);
  }
}

/** `live`, `lost` or `connecting`. */
export function showConnection(state) {
  const pill = byId("connection");
  if (state === "live") lastGood = Date.now();
  if (pill.dataset.state !== state) {
    pill.dataset.state = state;
    setText(pill, WORDS[state]);
  }
  if (state === "lost") {
    const since = lastGood === null ? "Nothing has been loaded yet." : `This page stands as of ${clockTime(lastGood)}.`;
    showTrouble(`Connection lost. ${since} Trying again by itself; nothing will be missed.`);
  } else if (state === "live") {
    showTrouble("");
  }
}

export function showTrouble(text) {
  const line = byId("trouble");
  line.hidden = text === "";
  setText(line, text);
}

/** Asks again and again, never twice at once, and shows whether the site answers. */
export function every(ms, load) {
  const turn = async () => {
    if (!document.hidden) {
      try {
        await load();
        showConnection("live");
      } catch (error) {
        if (error.status) showTrouble(error.message);
        else showConnection("lost");
      }
    }
    setTimeout(turn, ms);
  };
  turn();
}
