// Which jobs are shown: chips of states with their counts, text, kind, labels. All of it is in the address.
import { html, useEffect, useRef, useState } from "../dom.js";
import { setQuery, withQuery } from "../router.js";
import { Icon } from "../components/icon.js";
import { whole } from "../components/number.js";
import { STATES } from "../components/state.js";
import { NAMES } from "../kinds/names.js";

const TYPED = 250;

export function StateChips({ query, counts, total }) {
  const chosen = query.getAll("state");
  const without = (state) => (chosen.includes(state) ? chosen.filter((one) => one !== state) : [...chosen, state]);
  return html`<nav class="chips" aria-label="States">
    <a class="chip" aria-current=${chosen.length ? null : "true"} href=${withQuery({ state: null, cursor: null }, { path: "/jobs" })}>
      <span>All</span><span class="count number">${total === null ? "" : whole(total)}</span></a>
    ${STATES.map(
      (state) => html`<a key=${state} class=${`chip state-${state} ${counts && !counts[state] ? "none" : ""}`}
        aria-current=${chosen.includes(state) ? "true" : null} href=${withQuery({ state: without(state), cursor: null }, { path: "/jobs" })}>
        <${Icon} name=${state} size=${15} /><span class="chip-word">${state}</span><span class="count number">${counts ? whole(counts[state]) : ""}</span></a>`,
    )}</nav>`;
}

export function Filters({ query }) {
  const kinds = query.getAll("kind");
  const labels = query.getAll("label");
  return html`<div class="filters" role="search">
    <${Search} query=${query} labels=${labels} />
    <label><span class="off-screen">Kind</span><select value=${kinds[0] ?? ""} onChange=${(event) => setQuery({ kind: event.target.value, cursor: null })}>
      <option value="">every kind</option>${Object.keys(NAMES).map((kind) => html`<option key=${kind} value=${kind}>${kind}</option>`)}</select></label>
    ${labels.map(
      (label) => html`<a key=${label} class="label chosen" href=${withQuery({ label: labels.filter((one) => one !== label), cursor: null })}
        aria-label=${`Label ${label}: remove from the filter`}>${label}<${Icon} name="close" size=${12} /></a>`,
    )}
    ${query.get("pipeline") && html`<a class="label chosen" href=${withQuery({ pipeline: null, cursor: null })}
      aria-label="Pipeline: remove from the filter">${query.get("pipeline")}<${Icon} name="close" size=${12} /></a>`}
  </div>`;
}

function Search({ query, labels }) {
  const [text, setText] = useState(query.get("q") ?? "");
  const field = useRef(null);
  const timer = useRef(0);
  useEffect(() => {
    if (document.activeElement !== field.current) setText(query.get("q") ?? "");
  }, [query]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const look = (value) => setQuery({ q: value.trim() || null, cursor: null }, { replace: true });
  const typed = (event) => {
    const value = event.target.value;
    setText(value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => look(value), TYPED);
  };
  const key = (event) => {
    if (event.key === "Escape") field.current.blur();
    if (event.key !== "Enter") return;
    clearTimeout(timer.current);
    if (text.includes("=")) {
      setText("");
      setQuery({ q: null, label: [...new Set([...labels, text.trim()])], cursor: null });
    } else look(text);
  };
  return html`<label class="search"><${Icon} name="search" /><span class="off-screen">Search</span>
    <input ref=${field} type="search" data-key="/" placeholder="Name, id, or label=value" value=${text} onInput=${typed} onKeyDown=${key}
      spellcheck=${false} autocomplete="off" /><kbd aria-hidden="true">/</kbd></label>`;
}
