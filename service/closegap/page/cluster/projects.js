// Projects: what each holds, and what it may hold at most.
import { api, useAction, useGet } from "../api.js";
import { html, useState } from "../dom.js";
import { to } from "../router.js";
import { useSession } from "../session.js";
import { Dialog } from "../components/dialog.js";
import { Failure, Pending } from "../components/failure.js";
import { measured, whole } from "../components/number.js";
import { Table } from "../components/table.js";

const of = (now, most) => html`<span class="number">${measured(now)}${most === null ? html` <span class="muted">of any number</span>` : html` <span class="muted">of</span> ${measured(most)}`}</span>`;

export function Projects() {
  const { can, everywhere, setProject } = useSession();
  const got = useGet("/v1/projects", { every: 5 });
  const [changing, setChanging] = useState(null);
  const columns = [
    { key: "name", head: "Project", cell: (one) => html`<a href=${to.jobs()} onClick=${() => setProject(one.name)}>${one.name}</a>` },
    { key: "jobs", head: "Jobs", class: "right number", cell: (one) => whole(one.jobs) },
    { key: "waiting", head: "Waiting", class: "right number", cell: (one) => whole(one.waiting) },
    { key: "running", head: "Running", class: "right", cell: (one) => of(one.running, one.most_running) },
    { key: "gpus", head: "GPUs", class: "right", cell: (one) => of(one.gpus, one.most_gpus) },
    ...(can("admin") && everywhere ? [{ key: "limit", head: html`<span class="off-screen">Limits</span>`, class: "right", cell: (one) => html`<button type="button" class="button small" onClick=${() => setChanging(one)}>Limits…</button>` }] : []),
  ];
  return html`<section class="section"><h2>Projects</h2>
    ${got.data ? html`<${Table} columns=${columns} rows=${got.data.projects} id=${(one) => one.name} caption="Projects" dense />` : html`<${Pending} got=${got} lines=${2} />`}
    ${got.data?.projects.length === 0 && html`<p class="muted">A project is there with its first job.</p>`}
    ${changing && html`<${Limits} project=${changing} close=${() => setChanging(null)} changed=${got.reload} />`}</section>`;
}

const number = (text) => (text.trim() === "" ? null : Number(text));

function Limits({ project, close, changed }) {
  const [running, setRunning] = useState(String(project.most_running ?? ""));
  const [gpus, setGpus] = useState(String(project.most_gpus ?? ""));
  const [save, { busy, problem }] = useAction(async () => {
    await api.put(`/v1/projects/${encodeURIComponent(project.name)}`, { body: { running: number(running), gpus: number(gpus) } });
    changed();
    close();
  });
  const send = (event) => (event.preventDefault(), save());
  return html`<${Dialog} title=${`Limits of ${project.name}`} close=${close}><form onSubmit=${send} class="form">
    <p class="muted">What its jobs may hold at a time, together; empty is without limit. Jobs over it wait, and say so.</p>
    <label>Running jobs<input inputmode="numeric" pattern="[0-9]*" value=${running} onInput=${(event) => setRunning(event.target.value)} /></label>
    <label>GPUs<input inputmode="decimal" pattern="[0-9]+([.][0-9]+)?" value=${gpus} onInput=${(event) => setGpus(event.target.value)} /></label>
    ${problem && html`<${Failure} problem=${problem} small />`}
    <footer><button type="button" class="button" onClick=${close}>Leave them</button><button class="button primary" disabled=${busy}>Save</button></footer></form><//>`;
}
