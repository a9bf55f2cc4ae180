// An error as the API tells it: what, where (JSON pointers), under which request id, and trying again.
import { html } from "../dom.js";
import { Copy } from "./copy.js";
import { Loading } from "./empty.js";
import { Icon } from "./icon.js";

/** `problem` is a Problem of api.js; `retry` tries again; `small` for one beside a button. */
export function Failure({ problem, retry, small = false }) {
  const items = problem.errors ?? [];
  return html`<div class=${`failure ${small ? "small" : ""}`} role="alert">
    <${Icon} name="warning" size=${small ? 15 : 18} />
    <div class="failure-words">
      <p>${small ? null : html`<strong>${problem.title || "It did not work"}</strong> `}${problem.message}</p>
      ${items.length ? html`<${Pointers} items=${items} />` : null}
      ${problem.requestId && !small
        ? html`<p class="muted">Request <code>${problem.requestId}</code> <${Copy} text=${problem.requestId} what="request id" /></p>`
        : null}
      ${retry && html`<button type="button" class="button small" onClick=${retry}>Try again</button>`}
    </div></div>`;
}

/** Every problem of a request or a spec, at its place. */
export function Pointers({ items }) {
  return html`<ul class="pointers">${items.map(
    (item, i) => html`<li key=${i}><code>${item.pointer || "/"}</code>
      <span>${item.message}${item.accepted ? html`<span class="muted">; accepted: ${item.accepted}</span>` : null}</span></li>`,
  )}</ul>`;
}

/** What a GET of `useGet` has, before there is data: loading lines, the failure, or nothing. */
export function Pending({ got, lines }) {
  if (got.problem) return html`<${Failure} problem=${got.problem} retry=${got.reload} />`;
  return html`<${Loading} lines=${lines} />`;
}

/** A line above old data whose repetition fails. */
export function Stale({ got }) {
  if (!got.problem || got.data === null) return null;
  return html`<div class="stale" role="status"><${Icon} name="warning" size=${15} />
    <span>${got.problem.message} What is shown is from ${new Date(got.at).toLocaleTimeString()}.</span></div>`;
}
