// The priority of a job; of one that waits it can be changed where it stands.
import { api, useAction } from "../api.js";
import { html, useEffect, useRef, useState } from "../dom.js";
import { WAITING } from "../components/state.js";

export function Priority({ job, changed, editable }) {
  const [text, setText] = useState(null);
  const field = useRef(null);
  const [send, { busy, problem, clear }] = useAction(async (priority) => {
    const found = await api.patch(`/v1/jobs/${job.id}`, { body: { priority } });
    setText(null);
    changed(found);
  });
  useEffect(() => field.current?.select(), [text === null]);
  if (!editable || !WAITING.has(job.state)) return html`<span class="number">${job.priority}</span>`;
  if (text === null) {
    return html`<button type="button" class="quiet number" title="Change the priority (0 to 100, higher goes first)"
      aria-label=${`Priority ${job.priority} of ${job.id}: change`} onClick=${() => setText(String(job.priority))}>${job.priority}</button>`;
  }
  const leave = () => (setText(null), clear());
  const key = (event) => {
    if (event.key === "Escape") leave();
    if (event.key === "Enter") {
      event.preventDefault();
      if (/^\d{1,3}$/.test(text.trim())) send(Number(text));
    }
  };
  return html`<input ref=${field} class="priority" inputmode="numeric" value=${text} disabled=${busy} aria-label=${`Priority of ${job.id}`}
    aria-invalid=${problem ? "true" : null} title=${problem ? problem.message : "Enter changes it, Escape leaves it"}
    onInput=${(event) => setText(event.target.value)} onKeyDown=${key} onBlur=${() => !busy && leave()} />`;
}
