// One job.
import { useGet } from "../api.js";
import { html } from "../dom.js";
import { Pending } from "../components/failure.js";
import { api } from "../api.js";
import { KINDS } from "../kinds/index.js";

export function Job({ job: id }) {
  const got = useGet(`/v1/jobs/${encodeURIComponent(id)}`, { every: 5 });
  if (!got.data) return html`<${Pending} got=${got} />`;
  const View = KINDS[got.data.kind];
  return html`<h1>${got.data.name}</h1><${View} job=${got.data} api=${api} live=${null} />`;
}
