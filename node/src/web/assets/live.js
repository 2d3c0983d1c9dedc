// The live connection to /api/stream. It comes back by itself and goes on after the last event that it got.

const EVENTS = ["patients", "alert", "reset"];
const RETRY_MS = 1000;
const RETRY_MAX_MS = 10_000;

export class Live {
  /** `onEvent(name, data)`, `onState("live" | "lost")`. */
  constructor(onEvent, onState) {
    this.onEvent = onEvent;
    this.onState = onState;
    this.seq = 0;
    this.failures = 0;
    this.source = null;
    this.timer = null;
  }

  /** Goes on after event `seq`. */
  start(seq) {
    this.seq = Math.max(this.seq, seq);
    this.open();
  }

  /** A new connection in place of the old one: also cures one that is dead without saying so. */
  open() {
    clearTimeout(this.timer);
    this.source?.close();
    const source = new EventSource(`/api/stream?since=${this.seq}`);
    this.source = source;
    source.onopen = () => {
      this.failures = 0;
      this.onState("live");
    };
    source.onerror = () => this.fail(source);
    for (const name of EVENTS) source.addEventListener(name, (event) => this.receive(source, name, event));
  }

  receive(source, name, event) {
    if (source !== this.source) return;
    const seq = Number(event.lastEventId);
    // What was missed and what is new may overlap after a reconnection.
    if (name !== "reset" && seq <= this.seq) return;
    this.seq = seq;
    this.onEvent(name, JSON.parse(event.data));
  }

  // The browser retries a broken connection but gives up on an HTTP error; here both are retried alike.
  fail(source) {
    if (source !== this.source) return;
    source.close();
    this.onState("lost");
    this.failures += 1;
    this.timer = setTimeout(() => this.open(), Math.min(RETRY_MS * this.failures, RETRY_MAX_MS));
  }
}
