// What can be done with a job. Only what cannot be taken back is asked twice.
import { api, useAction } from "../api.js";
import { html, useState } from "../dom.js";
import { navigate, to } from "../router.js";
import { useSession } from "../session.js";
import { Confirm } from "../components/dialog.js";
import { Failure } from "../components/failure.js";
import { OVER } from "../components/state.js";

export function Actions({ job, got }) {
  const { can } = useSession();
  const [asking, setAsking] = useState(false);
  const [ask, asked] = useAction(async (verb) => got.put(await api.post(`/v1/jobs/${job.id}:${verb}`)));
  const [cancel, cancelling] = useAction(async () => {
    got.put(await api.post(`/v1/jobs/${job.id}:cancel`));
    setAsking(false);
  });
  const [retry, retrying] = useAction(async () => {
    const made = await api.post(`/v1/jobs/${job.id}:retry`);
    navigate(to.job(made.jobs[0].id));
  });
  const over = OVER.has(job.state);
  // Of a failure that would come again, the spec is what must change.
  const sure = ["user", "numerical"].includes(job.error?.failure);
  const again = html`<a class=${`button ${over && job.state === "failed" && sure ? "primary" : ""}`} href=${`/submit?from=${job.id}`} title="A new job, beginning with this spec">Edit and submit</a>`;
  if (!can("submitter")) return null;
  const wished = job.wish?.to;
  const holds = job.state === "paused" || wished === "paused";
  const runs = job.state === "running" || job.state === "claimed";
  const problem = asked.problem ?? retrying.problem;
  return html`<div class="actions">
    ${over && job.retried_as && html`<a class="button" href=${to.job(job.retried_as)}>Its retry</a>`}
    ${over && !job.retried_as && job.state !== "succeeded" && html`<button type="button" class=${`button ${sure ? "" : "primary"}`} disabled=${retrying.busy} onClick=${() => retry()}
      title="A new job that goes on from this one's checkpoint">Retry</button>`}
    ${again}
    ${!over && (holds
      ? html`<button type="button" class="button" disabled=${asked.busy} onClick=${() => ask("resume")}>Resume</button>`
      : html`<button type="button" class="button" disabled=${asked.busy || wished === "cancelled"} onClick=${() => ask("pause")}
          title=${runs ? "Stop at the next checkpoint and hold it" : "Hold it"}>Pause</button>`)}
    ${!over && html`<button type="button" class="button danger" disabled=${wished === "cancelled"} onClick=${() => setAsking(true)}>${wished === "cancelled" ? "Cancelling…" : "Cancel…"}</button>`}
    ${problem && html`<div class="actions-problem"><${Failure} problem=${problem} small /></div>`}
    ${asking && html`<${Confirm} title=${`Cancel ${job.name}?`} yes="Cancel the job" no="Keep it" act=${cancel} state=${cancelling} close=${() => setAsking(false)}
      words=${runs ? "It stops at its next checkpoint, within its grace time; jobs that need it do not run. A retry goes on from the checkpoint." : "It is over at once; jobs that need it do not run. It can be retried."} />`}
  </div>`;
}
