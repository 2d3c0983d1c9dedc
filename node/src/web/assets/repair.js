// One refused message: what it is, what was done with it, and what one can do now.

import { get, post } from "./api.js";
import { el } from "./dom.js";
import { fullTime } from "./format.js";
import { fact, issues, shownTime, wire } from "./wire.js";

const decode = (base64) => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));

function encode(text) {
  let bytes = "";
  for (const byte of new TextEncoder().encode(text)) bytes += String.fromCharCode(byte);
  return btoa(bytes);
}

/** The text; null where the bytes are not UTF-8, and so no text may go back in their place. */
function textOf(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** What ends its lines; null where that is mixed. An editor in a page knows line feeds alone. */
function lineEnd(text) {
  const rest = text.replaceAll("\r\n", "");
  const found = [["\r\n", text.includes("\r\n")], ["\r", rest.includes("\r")], ["\n", rest.includes("\n")]].filter(([, is]) => is);
  return found.length > 1 ? null : (found[0]?.[0] ?? "\n");
}

function editor(text) {
  const end = text === null ? null : lineEnd(text);
  if (end === null) return { node: el("p", { class: "lead" }, "Its bytes are not UTF-8, or its lines end in different ways: edit it with `medulla errors show --raw`."), edited: () => null };
  const shown = text.replaceAll(end, "\n");
  const area = el("textarea", { name: "raw", class: "mono editor", rows: 12, spellcheck: "false", "aria-label": "The message" });
  area.value = shown;
  const edited = () => (area.value === shown ? null : encode(area.value.replaceAll("\n", end)));
  return { node: area, edited };
}

function done([index, act]) {
  const words = { accepted: "read again and taken", refused: "read again and refused", discarded: "discarded" };
  const why = act.reason ? `: ${act.reason}` : "";
  return el("li", {}, el("a", { href: `/messages?index=${index}` }, `#${index}`), ` ${fullTime(act.at)}, ${act.by}, ${words[act.act] ?? act.act}${act.released ? ", no longer held" : ""}${why}`);
}

function facts({ row }) {
  const became = row.became.flatMap((index) => [el("a", { href: `/messages?index=${index}` }, `#${index}`), " "]);
  return el("dl", { class: "facts" },
    fact("State", row.state),
    fact("Refused with", row.code),
    fact("Feed", row.feed),
    fact("Control id", row.control_id || "–"),
    fact("Position", row.position),
    fact("Received", shownTime(row.received_time_ms)),
    row.retried_by_itself ? fact("Retried by itself", String(row.retried_by_itself)) : null,
    became.length ? fact("Became", became) : null);
}

const said = (list) => list.filter((issue) => issue.severity === "error").map((issue) => `${issue.location}: ${issue.text} (${issue.code})`).join("; ");

/** `tell` says what came of an act. */
export async function repair(index, tell) {
  const detail = await get(`/api/errors/${index}`);
  const text = textOf(decode(detail.raw_base64));
  const { node, edited } = editor(text);
  const reason = el("input", { name: "reason", autocomplete: "off" });
  const view = el("div", {});
  const place = el("div", {});
  const again = async () => place.replaceWith(await repair(index, tell));
  const act = async (path, body, words) => {
    try {
      const answer = await post(`/api/errors/${index}/${path}`, { ...body, reason: reason.value }, 40_000);
      const [good, told] = words(answer);
      tell(good ? "good" : "bad", told);
      if (!body.dry_run) await again();
    } catch (error) {
      tell("bad", `Nothing was done: ${error.message}.`);
    }
  };
  const read = (path, dry_run) => () => act(path, { raw_base64: edited(), dry_run }, (answer) => {
    if (!answer.accepted) return [false, `${dry_run ? "It would be refused" : "Refused"} again: ${said(answer.issues)}`];
    return [true, dry_run ? `It would be taken, as ${answer.messages} message${answer.messages === 1 ? "" : "s"}.` : `Taken, as entry ${answer.became.map((at) => `#${at}`).join(", ")}.`];
  });
  const discard = () => act("discard", {}, (answer) => [true, `Discarded, as entry #${answer.index} says.`]);
  const look = (name) => async () => {
    try {
      view.replaceChildren(wire((await get(`/api/errors/${index}?view=${name}`)).text));
    } catch (error) {
      view.replaceChildren(el("p", { class: "calm" }, `Not shown: ${error.message}.`));
    }
  };
  const button = (name, click, kind = null) => el("button", { type: "button", class: kind, on: { click } }, name);
  const isHeld = detail.row.state === "held";
  const acts = el("section", { class: "repair" },
    el("h2", {}, "Repair"),
    node,
    el("p", { class: "lookup" },
      el("label", {}, "Reason ", reason),
      button("Try", read("retry", true)),
      isHeld ? button("Release", read("release", false), "primary") : button("Retry", read("retry", false), "primary"),
      button("Discard", discard)));
  place.append(el("article", { class: "entry" },
    el("h2", {}, `Refused message #${index}`),
    facts(detail),
    detail.issues.length ? issues(detail.issues) : null,
    detail.acts.length ? el("section", {}, el("h2", {}, "What was done"), el("ul", { class: "acts" }, detail.acts.map(done))) : null,
    wire(text ?? detail.raw_base64),
    el("p", { class: "lookup" }, button("Fields", look("tree")), button("FHIR", look("fhir")), el("a", { class: "button", href: "/errors" }, "All of them")),
    view,
    isHeld || detail.row.state === "open" ? acts : null));
  return place;
}
