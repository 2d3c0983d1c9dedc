// What the board knows. Patients are replaced as they come; an alert is one thing for ever, found by its id, and
// what has happened to it never un-happens, whichever of two answers arrives last.

export class Store {
  constructor() {
    this.patients = new Map();
    this.alerts = new Map();
  }

  replacePatients(rows) {
    this.patients = new Map(rows.map((row) => [row.key, row]));
  }

  updatePatients(rows) {
    for (const row of rows) {
      if (row.discharged) this.patients.delete(row.key);
      else this.patients.set(row.key, row);
    }
  }

  /** Gives true when the alert was not known. */
  addAlert(row) {
    const known = this.alerts.get(row.id);
    this.alerts.set(row.id, known ? merge(known, row) : row);
    return known === undefined;
  }

  /** Drops what the site no longer keeps, except alerts newer than its answer. */
  keepAlerts(rows) {
    const ids = new Set(rows.map((row) => row.id));
    const newest = rows.reduce((max, row) => Math.max(max, row.index), -1);
    for (const alert of this.alerts.values()) {
      if (!ids.has(alert.id) && alert.index <= newest) this.alerts.delete(alert.id);
    }
  }

  wards() {
    const counts = new Map();
    for (const { ward } of this.patients.values()) counts.set(ward, (counts.get(ward) ?? 0) + 1);
    return [...counts].sort(([a], [b]) => a.localeCompare(b, undefined, { numeric: true }));
  }

  /** Highest risk over threshold first, as the site orders them. */
  patientsByRisk() {
    return [...this.patients.values()].sort((a, b) => urgency(b) - urgency(a) || a.key.localeCompare(b.key));
  }

  /** Interruptive before watch, newest first. */
  openAlerts() {
    const rank = (alert) => (alert.tier === "interruptive" ? 0 : 1);
    return this.list(false).sort((a, b) => rank(a) - rank(b) || b.index - a.index);
  }

  /** Newest answer first. */
  answeredAlerts() {
    return this.list(true).sort((a, b) => b.acknowledged.at - a.acknowledged.at || b.index - a.index);
  }

  list(answered) {
    return [...this.alerts.values()].filter((alert) => Boolean(alert.acknowledged) === answered);
  }
}

function merge(known, row) {
  return {
    ...row,
    name: row.name || known.name,
    acknowledged: known.acknowledged ?? row.acknowledged,
    later: longer(known.later, row.later),
    amended: longer(known.amended, row.amended),
    delivered_to: [...new Set([...known.delivered_to, ...row.delivered_to])],
  };
}

const longer = (known, now) => ((known ?? []).length > (now ?? []).length ? known : now);

export function urgency(row) {
  const ratios = row.risks.filter((r) => r.risk !== null).map((r) => r.risk / Math.max(r.threshold, 1e-9));
  return Math.max(-1, ...ratios);
}
