// Times: how long ago, with the exact time on hover; lengths of time. One clock for the whole page.
import { html, useEffect, useReducer } from "../dom.js";

const redraws = new Set();
let ticking = 0;

/** The component is drawn again each second. */
export function useClock(runs = true) {
  const [, redraw] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    if (!runs) return undefined;
    redraws.add(redraw);
    ticking ||= setInterval(() => document.hidden || redraws.forEach((one) => one()), 1000);
    return () => {
      redraws.delete(redraw);
      if (!redraws.size) ticking = clearInterval(ticking) ?? 0;
    };
  }, [runs]);
  return Date.now();
}

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

/** Seconds as people say them, in two units at most: "3 h 20 min", "4.2 s". */
export function span(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 0) seconds = 0;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${(Math.round(seconds * 10) / 10).toFixed(1)} s`;
  const first = UNITS.findIndex(([, size]) => seconds >= size);
  const [unit, size] = UNITS[first];
  const whole = Math.floor(seconds / size);
  const next = UNITS[first + 1];
  const rest = next ? Math.floor((seconds - whole * size) / next[1]) : 0;
  return rest && whole < 10 ? `${whole} ${unit} ${rest} ${next[0]}` : `${whole} ${unit}`;
}

/** Seconds between two times of the API; until now where the second is missing. */
export const between = (from, to) => ((to ? Date.parse(to) : Date.now()) - Date.parse(from)) / 1000;

const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
export const exact = (time) => EXACT.format(new Date(time));
export const clock = (time) => CLOCK.format(new Date(time));

/** "3 min ago", exact on hover. */
export function Ago({ time, suffix = " ago" }) {
  useClock(Boolean(time));
  if (!time) return html`<span class="muted">–</span>`;
  const passed = between(time);
  const said = passed < 2 ? "now" : `${coarse(passed)}${suffix}`;
  return html`<time datetime=${time} title=${exact(time)}>${said}</time>`;
}

function coarse(seconds) {
  const [unit, size] = UNITS.find(([, one]) => seconds >= one) ?? UNITS[3];
  return `${Math.floor(seconds / size)} ${unit}`;
}

/** How long something took, or takes by now. */
export function Took({ from, to }) {
  useClock(Boolean(from) && !to);
  return from ? html`<span class="number">${span(between(from, to))}</span>` : html`<span class="muted">–</span>`;
}
