// The events of one job as they happen. One stream for a job's page, whoever listens; it rests while the page is not
// seen (a browser has few connections) and goes on after the last event that it saw.
import { useEffect, useReducer, useState } from "./dom.js";

const CLASSES = ["state", "progress", "metric", "log", "end"];
const SOON = 1000;
const LATEST = 20_000;
const OFTEN = 100;

/** Listens to a job. `status`: "connecting", "live", "reconnecting", "resting", "over". */
export class Live {
  constructor(job) {
    this.job = job;
    this.last = "latest";
    this.status = "connecting";
    this.heard = new Set();
    this.watching = new Set();
    this.failures = 0;
    this.seen = () => (document.hidden ? this.rest() : this.open());
  }

  /** Call `hear(event)` for each event of a class ("state", "progress", "metric", "log", "end"); gives the way to stop. */
  on(type, hear) {
    const entry = { type, hear };
    this.heard.add(entry);
    return () => this.heard.delete(entry);
  }

  /** Call `hear(events)` with those of some classes, ten times a second at most; gives the way to stop. */
  onMany(types, hear) {
    let waiting = [];
    let timer = 0;
    const take = (event) => {
      waiting.push(event);
      timer ||= setTimeout(() => {
        const events = waiting;
        waiting = [];
        timer = 0;
        hear(events);
      }, OFTEN);
    };
    const ways = types.map((type) => this.on(type, take));
    return () => {
      clearTimeout(timer);
      ways.forEach((stop) => stop());
    };
  }

  /** Call `tell(status)` when the status changes. */
  onStatus(tell) {
    this.watching.add(tell);
    return () => this.watching.delete(tell);
  }

  start() {
    document.addEventListener("visibilitychange", this.seen);
    this.seen();
  }

  stop() {
    document.removeEventListener("visibilitychange", this.seen);
    this.close();
  }

  rest() {
    if (this.status === "over") return;
    this.close();
    this.say("resting");
  }

  open() {
    if (this.source || this.status === "over") return;
    clearTimeout(this.timer);
    this.say(this.failures ? "reconnecting" : "connecting");
    const source = new EventSource(`/v1/jobs/${encodeURIComponent(this.job)}/events?after=${this.last}`);
    this.source = source;
    source.onopen = () => {
      this.failures = 0;
      this.say("live");
    };
    source.onerror = () => {
      if (source !== this.source) return;
      this.failures += 1;
      this.say("reconnecting");
      // A browser comes back by itself after a cut, but not after an answer that is an error (503, 429).
      if (source.readyState === EventSource.CLOSED) {
        this.close();
        this.timer = setTimeout(() => this.open(), Math.min(SOON * 2 ** this.failures, LATEST));
      }
    };
    for (const type of CLASSES) source.addEventListener(type, (message) => this.take(type, message));
  }

  take(type, message) {
    this.last = message.lastEventId;
    const event = JSON.parse(message.data);
    for (const entry of [...this.heard]) if (entry.type === type) entry.hear(event);
    if (type === "end") {
      this.close();
      this.say("over");
    }
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  say(status) {
    if (status === this.status) return;
    this.status = status;
    for (const tell of [...this.watching]) tell(status);
  }
}

/** A Live for a job that is not over, started and stopped with the component; null for one that is over. */
export function useLive(job, over) {
  const [live, setLive] = useState(null);
  useEffect(() => {
    if (!job || over) return setLive(null);
    const one = new Live(job);
    one.start();
    setLive(one);
    return () => one.stop();
  }, [job, over]);
  return live;
}

/** The status of a Live, drawn again when it changes. */
export function useStatus(live) {
  const [, redraw] = useReducer((n) => n + 1, 0);
  useEffect(() => live?.onStatus(redraw), [live]);
  return live?.status ?? "over";
}
