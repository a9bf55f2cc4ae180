// The table of a sweep's trials: sorted by any column, rows drawn where they are seen.
import { html, useEffect, useMemo, useRef, useState } from "../dom.js";
import { Like } from "../components/state.js";
import { measured } from "../components/number.js";
import { saidOf } from "./parts.js";

const ROW = 30;
const SHOWN = 14;
const LIKE = { waiting: "queued", running: "running", completed: "succeeded", stopped: "paused", failed: "failed" };

export function Trials({ trials, best, at, setAt }) {
  const [by, setBy] = useState({ key: "value", down: true });
  const [state, setState] = useState("");
  const [top, setTop] = useState(0);
  const frame = useRef(null);
  const names = useMemo(() => [...new Set(trials.flatMap((trial) => Object.keys(trial.params)))], [trials]);
  const rows = useMemo(() => sorted(trials.filter((trial) => !state || trial.state === state), by), [trials, by, state]);
  const first = Math.max(0, Math.min(Math.floor(top / ROW) - 5, rows.length - SHOWN - 10));
  const seen = rows.slice(first, first + SHOWN + 10);
  useEffect(() => {
    const place = at === null ? -1 : rows.findIndex((trial) => trial.id === at);
    const box = frame.current;
    if (place < 0 || !box || box.matches(":hover")) return;
    const y = place * ROW;
    if (y < box.scrollTop || y > box.scrollTop + box.clientHeight - 3 * ROW) box.scrollTop = Math.max(y - 3 * ROW, 0);
  }, [at]);
  const head = (key, name, right) => html`<th scope="col" class=${right ? "right" : ""} aria-sort=${by.key === key ? (by.down ? "descending" : "ascending") : "none"}>
    <button type="button" class="sort" onClick=${() => setBy({ key, down: by.key === key ? !by.down : right })}>${name}${by.key === key ? (by.down ? " ↓" : " ↑") : ""}</button></th>`;
  const states = [...new Set(trials.map((trial) => trial.state))];
  return html`<div class="trials-top">${states.length > 1 && html`<label>State <select value=${state} onChange=${(event) => setState(event.target.value)}>
      <option value="">all (${trials.length})</option>${states.map((one) => html`<option key=${one} value=${one}>${one} (${trials.filter((trial) => trial.state === one).length})</option>`)}</select></label>`}</div>
    <div class="table-frame trials" ref=${frame} tabindex="0" onScroll=${(event) => setTop(event.currentTarget.scrollTop)} onMouseLeave=${() => setAt(null)}>
    <table class="table dense"><caption class="off-screen">Trials</caption>
      <thead><tr>${head("id", "Trial", true)}${head("state", "State")}${head("value", "ELBO (nats)", true)}${head("epoch", "Epoch", true)}${names.map((name) => head(`params.${name}`, name))}</tr></thead>
      <tbody><tr class="spacer"><td colspan=${4 + names.length} style=${{ height: `${first * ROW}px` }} /></tr>
      ${seen.map((trial) => html`<tr key=${trial.id} class=${`${trial.id === at ? "at" : ""} ${trial.id === best ? "best-row" : ""}`} onMouseEnter=${() => setAt(trial.id)}>
        <td class="right number">${trial.id}${trial.id === best ? html` <span title="the best">★</span>` : ""}</td>
        <td title=${trial.failure?.message ?? null}><${Like} state=${LIKE[trial.state] ?? "queued"} word=${trial.state} /></td>
        <td class="right number">${measured(trial.value, 6)}</td><td class="right number">${trial.epoch} / ${trial.epochs}</td>
        ${names.map((name) => html`<td key=${name} class="number nowrap">${trial.params[name] === undefined ? "–" : saidOf(trial.params[name])}</td>`)}</tr>`)}
      <tr class="spacer"><td colspan=${4 + names.length} style=${{ height: `${Math.max(rows.length - first - seen.length, 0) * ROW}px` }} /></tr></tbody></table></div>`;
}

function sorted(trials, { key, down }) {
  const of = (trial) => (key.startsWith("params.") ? trial.params[key.slice(7)] : trial[key]);
  const sign = down ? -1 : 1;
  return [...trials].sort((a, b) => {
    const [x, y] = [of(a), of(b)];
    const [none, other] = [x === null || x === undefined, y === null || y === undefined];
    if (none || other) return none - other; // what has no value is last, whichever way
    if (typeof x === "number" && typeof y === "number") return sign * (x - y) || a.id - b.id;
    return sign * saidOf(x).localeCompare(saidOf(y), "en", { numeric: true }) || a.id - b.id;
  });
}
