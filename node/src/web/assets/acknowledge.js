// The answer to an alert: a reason and the signed-in name, kept in the ledger before it shows as given.

import { post } from "./api.js";
import { el, setText } from "./dom.js";

const CHOICES = [
  "Seen, going to the patient",
  "Assessed, treatment started",
  "Assessed, no change needed",
  "Known, plan in place",
  "Data wrong",
];
/** What is wanted of further alerts of this patient by the same scorer. */
const THEN = [
  ["", "Alert again as before", {}],
  ["4", "Snooze for 4 h", { snooze_h: 4 }],
  ["12", "Snooze for 12 h", { snooze_h: 12 }],
  ["confirmed", "Confirmed: the patient has it", { confirmed: true }],
];
/** With the choice before it, within what the API takes. */
const TEXT_CHARS_MAX = 400;

export function acknowledgeForm(alert, user, close) {
  const name = `reason-${alert.id}`;
  const choice = (text, i) =>
    el("label", { class: "choice" }, el("input", { type: "radio", name, value: text, required: true, checked: i === 0 }), el("span", {}, text));
  const more = el("textarea", { "aria-label": "In your own words", placeholder: "In your own words (optional)", maxlength: TEXT_CHARS_MAX });
  const then = el("select", { "aria-label": "Further alerts" }, THEN.map(([value, text]) => el("option", { value }, text)));
  const error = el("p", { class: "error", role: "alert", hidden: true });
  const send = el("button", { class: "primary", type: "submit" }, "Acknowledge");
  const form = el("form", { class: "acknowledge" },
    el("fieldset", {}, el("legend", {}, "Reason"), CHOICES.map(choice)),
    more,
    then,
    el("p", { class: "as" }, "Recorded in the ledger as ", el("strong", {}, user())),
    error,
    el("div", { class: "actions" }, send, el("button", { type: "button", on: { click: close } }, "Cancel")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const picked = new FormData(form).get(name);
    send.disabled = true;
    error.hidden = true;
    setText(send, "Recording…");
    try {
      await post(`/api/alerts/${encodeURIComponent(alert.id)}/acknowledge`, { reason: reasonOf(picked, more.value), ...wanted(then.value) });
      // The card folds away when the ledger's own event says so, here as on every other board.
      setText(send, "Recorded");
    } catch (failure) {
      setText(error, `Not recorded: ${failure.message}.`);
      error.hidden = false;
      send.disabled = false;
      setText(send, "Try again");
    }
  });
  return form;
}

const wanted = (value) => THEN.find(([known]) => known === value)[2];

function reasonOf(picked, text) {
  const own = text.trim();
  return own === "" ? picked : `${picked}: ${own}`;
}
