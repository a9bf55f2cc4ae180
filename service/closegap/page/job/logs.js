// What a job's attempts have written: followed live, searched, by attempt and rank.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../dom.js";
import { setQuery } from "../router.js";
import { Empty, Loading } from "../components/empty.js";
import { Failure } from "../components/failure.js";
import { Icon } from "../components/icon.js";
import { whole } from "../components/number.js";
import { OVER } from "../components/state.js";
import { clock, exact } from "../components/time.js";
import { usePast } from "./past.js";
import { entryOf } from "./line.js";

const TYPES = ["log", "state"];
const AT_FIRST = 1000;

export function Logs({ job, live, query }) {
  const past = usePast(job, live, TYPES, AT_FIRST);
  const [text, setText] = useState(query.get("find") ?? "");
  const [wrap, setWrap] = useState(true);
  const [follow, setFollow] = useState(!OVER.has(job.state));
  const attempt = query.get("attempt") ?? "";
  const rank = query.get("rank") ?? "";
  const entries = useMemo(() => read(past.events), [past.events]);
  const attempts = [...new Set(entries.map((entry) => entry.attempt).filter(Boolean))];
  const ranks = [...new Set(entries.map((entry) => entry.rank).filter((one) => one !== null))].sort((a, b) => a - b);
  const wanted = text.toLowerCase();
  const shown = entries.filter((entry) =>
    (!attempt || String(entry.attempt) === attempt) && (!rank || String(entry.rank) === rank) && (!wanted || entry.text.toLowerCase().includes(wanted)));
  const box = useRef(null);
  useLayoutEffect(() => {
    if (follow && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [shown.length, follow, wrap]);
  const scrolled = () => {
    const { scrollTop, scrollHeight, clientHeight } = box.current;
    const atEnd = scrollHeight - scrollTop - clientHeight < 24;
    if (atEnd !== follow) setFollow(atEnd);
  };
  useEffect(() => {
    const timer = setTimeout(() => setQuery({ find: text || null }, { replace: true }), 300);
    return () => clearTimeout(timer);
  }, [text]);

  if (past.problem && !past.events.length) return html`<${Failure} problem=${past.problem} />`;
  if (past.loading) return html`<${Loading} lines=${8} />`;
  return html`<div class="log-bar">
      <label class="search"><${Icon} name="search" /><span class="off-screen">Find in the log</span><input type="search" value=${text} onInput=${(event) => setText(event.target.value)} placeholder="Find" spellcheck=${false} /></label>
      ${attempts.length > 1 && html`<${Choice} name="attempt" all="every attempt" values=${attempts} chosen=${attempt} />`}
      ${ranks.length > 1 && html`<${Choice} name="rank" all="every rank" values=${ranks} chosen=${rank} />`}
      <label class="check"><input type="checkbox" checked=${wrap} onChange=${() => setWrap(!wrap)} />wrap</label>
      <label class="check"><input type="checkbox" checked=${follow} onChange=${() => setFollow(!follow)} />${OVER.has(job.state) ? "stay at the end" : "follow"}</label>
      <span class="spring" /><span class="muted number">${count(shown) === count(entries) ? `${whole(count(entries))} lines` : `${whole(count(shown))} of ${whole(count(entries))} lines`}</span>
      <a class="button small" href=${`/v1/jobs/${job.id}/logs`} download=${`${job.id}.log`}><${Icon} name="download" size=${14} />Save</a></div>
    ${entries.length === 0
      ? html`<${Empty} title="Nothing was written"><p>${OVER.has(job.state) ? "The attempts wrote nothing to their log." : "What the attempts write to their log is shown here as it comes."}</p><//>`
      : html`<div ref=${box} class=${`log ${wrap ? "wrap" : ""}`} tabindex="0" role="log" aria-label="Log" aria-live="off" onScroll=${scrolled}>
          ${past.more && html`<button type="button" class="button small log-earlier" onClick=${() => (setFollow(false), past.earlier())}>Earlier lines</button>`}
          ${shown.map((entry) => html`<${Line} key=${entry.id} entry=${entry} find=${wanted} />`)}
          ${shown.length === 0 && html`<p class="muted log-none">No line has it.</p>`}</div>`}`;
}

const count = (entries) => entries.filter((entry) => entry.level !== "mark").length;

function Choice({ name, all, values, chosen }) {
  return html`<label><span class="off-screen">${name}</span><select value=${chosen} onChange=${(event) => setQuery({ [name]: event.target.value }, { replace: true })}>
    <option value="">${all}</option>${values.map((value) => html`<option key=${value} value=${value}>${name} ${value}</option>`)}</select></label>`;
}

/** Lines with their attempt, and a line where an attempt begins or ends. */
function read(events) {
  let attempt = null;
  const found = [];
  for (const event of events) {
    if (event.type === "state") {
      attempt = Number(/^attempt (\d+)/.exec(event.data.reason ?? "")?.[1]) || attempt;
      found.push({ id: event.id, time: event.time, attempt, rank: null, level: "mark", text: `${event.data.to}: ${event.data.reason}` });
    } else if (event.type === "log") found.push(entryOf(event, attempt));
  }
  return found.some((entry) => entry.level !== "mark") ? found : [];
}

function Line({ entry, find }) {
  return html`<div class=${`log-line log-${entry.level}`}><time datetime=${entry.time} title=${exact(entry.time)}>${clock(entry.time)}</time>
    ${entry.rank !== null && html`<span class="log-rank" title="Rank">${entry.rank}</span>`}<span class="log-text">${find ? marked(entry.text, find) : entry.text}</span></div>`;
}

function marked(text, find) {
  const parts = [];
  let at = 0;
  const lower = text.toLowerCase();
  for (let next = lower.indexOf(find); next >= 0; next = lower.indexOf(find, at)) {
    parts.push(text.slice(at, next), html`<mark>${text.slice(next, next + find.length)}</mark>`);
    at = next + find.length;
  }
  return [...parts, text.slice(at)];
}
