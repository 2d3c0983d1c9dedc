// Numbers and times in words.

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** Vital signs older than this are marked: a score on them says little about now. */
export const STALE_MS = 4 * HOUR;
/** Bedside scores: what people call them, and their highest total, of which a risk is the share. */
const SCORES = { news2: ["NEWS2", 20], sirs: ["SIRS", 4], qsofa: ["qSOFA", 3], sofa: ["SOFA", 24], kdigo: ["KDIGO stage", 3] };

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

/** "14:05", or "3 Mar 14:05" when it was not today. */
export function time(ms) {
  const at = new Date(ms);
  const text = clock.format(at);
  return at.toDateString() === new Date().toDateString() ? text : `${day.format(at)} ${text}`;
}

/** Who answered an alert, when and how: the first answer, and later ones that silence further alerts. */
export const answersOf = ({ acknowledged, later = [] }) => [acknowledged, ...later].map(answerOf).join("; ");

const answerOf = ({ by, at, reason, snooze_h: hours, confirmed }) =>
  `${by}, ${time(at)}: ${reason}${confirmed ? " · confirmed" : hours ? ` · snoozed for ${hours} h` : ""}`;

/** Kinds of reasons. */
export const GROUPS = { physiology: "Physiology", trend: "Trend", "care-process": "Care process" };
export const CARE_PROCESS = "Rests mostly on the care process: on how often and when things were measured, not on the patient.";

export const clockTime = (ms) => clock.format(new Date(ms));
export const fullTime = (ms) => full.format(new Date(ms));
export const isoTime = (ms) => new Date(ms).toISOString();

/** "12 min ago". Events may lie a little ahead of this clock. */
export function age(ms, now = Date.now()) {
  if (!ms) return "no data";
  const past = now - ms;
  if (past < -MINUTE) return `in ${span(-past)}`;
  return past < MINUTE ? "just now" : `${span(past)} ago`;
}

export function span(ms) {
  if (ms < MINUTE) return `${Math.max(0, Math.round(ms / 1000))} s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`;
  if (ms < 48 * HOUR) return `${Math.floor(ms / HOUR)} h`;
  return `${Math.floor(ms / (24 * HOUR))} d`;
}

/** A bedside score's highest total; 0 for a model. */
export const pointsMax = (scorer) => SCORES[scorer]?.[1] ?? 0;

export function scorerName(scorer, task) {
  if (pointsMax(scorer)) return SCORES[scorer][0];
  const name = task || scorer;
  return name.charAt(0).toUpperCase() + name.slice(1);
}

/** A risk as the team speaks of it: a bedside score in points, a model's probability in per cent. */
export function risk(value, scorer) {
  if (pointsMax(scorer)) return String(Math.round(value * pointsMax(scorer)));
  const percent = value * 100;
  return `${percent < 10 ? percent.toFixed(1) : percent.toFixed(0)} %`;
}

/** In the place of a risk that nobody could tell. */
export const insufficient = (now) => (now.insufficient ? `insufficient data: ${now.insufficient}` : "insufficient data");

/** Where a risk stands towards its threshold: "", "near" (half of it) or "over". */
export function level(value, threshold) {
  if (value === null || value === undefined) return "";
  if (value >= threshold) return "over";
  return value >= threshold / 2 ? "near" : "";
}

export function count(number) {
  return new Intl.NumberFormat().format(number);
}

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
