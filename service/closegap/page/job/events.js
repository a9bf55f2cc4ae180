// Everything that was reported, as it was reported.
import { html, useState } from "../dom.js";
import { Empty, Loading } from "../components/empty.js";
import { Failure } from "../components/failure.js";
import { clock, exact } from "../components/time.js";
import { Coloured } from "./spec.js";
import { usePast } from "./past.js";

const CLASSES = ["state", "progress", "metric", "log"];
const ALL = [...CLASSES, "end"];

export function Events({ job, live }) {
  const [chosen, setChosen] = useState("");
  const past = usePast(job, live, chosen ? [chosen] : ALL, 200);
  if (past.problem && !past.events.length) return html`<${Failure} problem=${past.problem} />`;
  return html`<div class="log-bar"><label><span class="off-screen">Class</span><select value=${chosen} onChange=${(event) => setChosen(event.target.value)}>
      <option value="">every event</option>${CLASSES.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}</select></label>
      <span class="muted">newest first</span><span class="spring" /><a class="button small" href=${`/v1/jobs/${job.id}/events?before=latest&limit=2000`} download=${`${job.id}-events.json`}>Save the last 2,000</a></div>
    ${past.loading ? html`<${Loading} lines=${8} />` : null}
    ${!past.loading && !past.events.length ? html`<${Empty} title="No events"><p>None of this class was reported.</p><//>` : null}
    ${past.events.length > 0 && html`<ul class="events">${[...past.events].reverse().map((event) => html`<${One} key=${event.id} event=${event} />`)}</ul>`}
    ${past.more && html`<p class="pages"><button type="button" class="button" onClick=${past.earlier}>Earlier</button></p>`}`;
}

function One({ event }) {
  const [open, setOpen] = useState(false);
  const line = JSON.stringify(event.data);
  return html`<li><button type="button" class="event" aria-expanded=${open} onClick=${() => setOpen(!open)}>
      <time datetime=${event.time} title=${`${exact(event.time)} · ${event.id}`}>${clock(event.time)}</time><span class="event-type">${event.type}</span><code>${line}</code></button>
    ${open && html`<pre class="code" tabindex="0"><${Coloured} text=${JSON.stringify(event.data, null, 2)} /></pre>`}</li>`;
}
