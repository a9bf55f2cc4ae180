// A map of shards: a cell each, or each some of them where there are many.
import { html, useState } from "../dom.js";
import { whole } from "../components/number.js";

const MOST = 600;

export function Shards({ shards, running }) {
  const [at, setAt] = useState(null);
  const done = new Set(shards.done);
  const each = Math.max(1, Math.ceil(shards.shards / MOST));
  const cells = Array.from({ length: Math.ceil(shards.shards / each) }, (_, i) => {
    const first = i * each;
    const last = Math.min(first + each, shards.shards) - 1;
    let count = 0;
    for (let shard = first; shard <= last; shard++) count += done.has(shard);
    return { first, last, count, of: last - first + 1 };
  });
  const next = cells.findIndex((cell) => cell.count < cell.of);
  const state = (cell, i) => (cell.count === cell.of ? "done" : running && i === next ? "running" : cell.count ? "some" : "waiting");
  const words = { done: "written", running: "is being encoded", some: "in part", waiting: "waits" };
  const said = at === null ? null : cells[at];
  const rows = said && [said.first * shards.shard_rows, Math.min((said.last + 1) * shards.shard_rows, shards.rows) - 1];
  return html`<div class="shard-map" role="img" aria-label=${`${shards.done.length} of ${shards.shards} shards are written`} onPointerLeave=${() => setAt(null)}>
      ${cells.map((cell, i) => html`<span key=${cell.first} class=${`shard ${state(cell, i)}`} onPointerEnter=${() => setAt(i)} />`)}</div>
    <p class="legend"><span class="key-item"><span class="shard done" /> written</span>${running && html`<span class="key-item"><span class="shard running" /> is being encoded</span>`}
      <span class="key-item"><span class="shard waiting" /> waits</span>${each > 1 ? html`<span class="muted">a cell is ${each} shards</span>` : null}
      <span class="faint number legend-at">${said ? `shard ${said.first}${said.last > said.first ? ` to ${said.last}` : ""}, rows ${whole(rows[0])} to ${whole(rows[1])}: ${words[state(said, at)]}` : `${whole(shards.shard_rows)} rows each`}</span></p>`;
}
