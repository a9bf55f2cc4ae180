// The aliases of a model: what each stands for, who set it and when; setting and removing them.
import { api, useAction } from "../api.js";
import { html, useState } from "../dom.js";
import { Confirm } from "../components/dialog.js";
import { Failure } from "../components/failure.js";
import { Icon } from "../components/icon.js";
import { Table } from "../components/table.js";
import { Ago } from "../components/time.js";
import { to } from "../router.js";
import { useSession } from "../session.js";

export function Aliases({ model, shown, params, changed }) {
  const { can } = useSession();
  const [leaving, setLeaving] = useState(null);
  const [word, setWord] = useState("");
  const [version, setVersion] = useState(shown);
  const path = (alias) => api.url(`/v1/models/${encodeURIComponent(model.name)}/aliases/${encodeURIComponent(alias)}`, params);
  const [set, setting] = useAction(async () => {
    await api.put(path(word), { body: { version: Number(version) } });
    setWord("");
    changed();
  });
  const [remove, removing] = useAction(async () => {
    await api.delete(path(leaving.alias));
    setLeaving(null);
    changed();
  });
  const columns = [
    { key: "alias", head: "Alias", cell: (row) => html`<strong>@${row.alias}</strong>` },
    { key: "version", head: "Version", class: "number", cell: (row) => html`<a href=${to.model(model.name, row.version, model.project)}>${row.version}</a>` },
    { key: "actor", head: "Set by", cell: (row) => row.actor },
    { key: "updated", head: "When", class: "nowrap", cell: (row) => html`<${Ago} time=${row.updated} />` },
    ...(can("submitter") ? [{ key: "remove", head: html`<span class="off-screen">Remove</span>`, class: "right", cell: (row) => html`<button type="button" class="icon-button" onClick=${() => setLeaving(row)} aria-label=${`Remove @${row.alias}`} title="Remove"><${Icon} name="close" /></button>` }] : []),
  ];
  return html`${model.aliases.length ? html`<${Table} columns=${columns} rows=${model.aliases} id=${(row) => row.alias} caption="Aliases" dense />` : html`<p class="muted">None yet.</p>`}
    ${can("submitter") && html`<form class="alias-form" onSubmit=${(event) => { event.preventDefault(); set(); }}>
      <label>Let <input value=${word} onInput=${(event) => setWord(event.currentTarget.value)} placeholder="best" aria-label="Alias" required pattern="[A-Za-z0-9][A-Za-z0-9_\\-]*" maxlength="63" /></label>
      <label>stand for version <select value=${version} onChange=${(event) => setVersion(event.currentTarget.value)}>${[...model.versions].reverse().map((one) => html`<option key=${one.version} value=${one.version}>${one.version}</option>`)}</select></label>
      <button class="button" disabled=${setting.busy || !word}>${model.aliases.some((one) => one.alias === word) ? "Move alias" : "Set alias"}</button></form>`}
    ${setting.problem && html`<${Failure} problem=${setting.problem} small />`}
    ${leaving && html`<${Confirm} title=${`Remove @${leaving.alias}?`} words=${`Specs and requests that say ${model.name}@${leaving.alias} will fail. Version ${leaving.version} stays.`} yes="Remove" act=${remove} state=${removing} close=${() => setLeaving(null)} />`}`;
}
