// The model that a job works on: by the job that made it, or by its registered name.
import { useGet } from "../api.js";

/** {parity, href, name}: parity.json of the exported file, where the address of it can be told from the spec. */
export function useModel(job) {
  const said = String(job.spec.model ?? "");
  const [, need] = said.match(/^\$\{([\w-]+)\.\w+\}$/) ?? [];
  const made = need ? (job.needs?.[need] ?? null) : null;
  const named = !need && /^[A-Za-z0-9][\w.-]*([@/][\w.-]+)?$/.test(said) ? said : null;
  const [, name, sign, word] = named?.match(/^([^@/]+)(?:([@/])(.+))?$/) ?? [];
  const params = { project: job.project };
  const model = useGet(name ? `/v1/models/${encodeURIComponent(name)}` : null, { params });
  const version = sign === "/" ? word : sign === "@" ? model.data?.aliases.find((one) => one.alias === word)?.version : model.data?.versions.at(-1)?.version;
  const listed = useGet(made ? `/v1/jobs/${made}/artifacts` : version ? `/v1/models/${encodeURIComponent(name)}/versions/${version}` : null, { params: made ? {} : params });
  const files = listed.data?.artifacts?.[0]?.files ?? listed.data?.bundle?.files ?? [];
  const file = files.find((one) => one.name === "parity.json");
  const parity = useGet(file ? file.href : null, { params: made ? {} : params });
  return { parity: parity.data, name: name ?? made, href: made ? `/jobs/${made}` : null };
}
