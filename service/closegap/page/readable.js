// A normalised spec as people write one: in their order, without what is absent anyway.

// Null says something only of these: everywhere else it is what is meant where nothing stands.
const MEANT = new Set(["ais", "infrastructure", "numerical", "refinement", "user"]);
const FIRST = ["kind", "name", "needs", "data", "model", "decoder", "inference", "train", "space", "search", "scheduler", "training"];
const LAST = ["resources", "priority", "preemptible", "retries", "labels", "register"];

const place = (name) => (FIRST.includes(name) ? FIRST.indexOf(name) : LAST.includes(name) ? 100 + LAST.indexOf(name) : 50);

function absent(name, value) {
  if (value === null) return !MEANT.has(name);
  if (Array.isArray(value)) return name === "needs" && !value.length;
  return typeof value === "object" && !Object.keys(value).length;
}

function brief(value) {
  if (Array.isArray(value)) return value.map(brief);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).filter(([name, one]) => !absent(name, one)).map(([name, one]) => [name, brief(one)]));
}

/** The same spec: read back it has the same digest. */
export const readable = (spec) => Object.fromEntries(Object.entries(brief(spec)).sort(([a], [b]) => place(a) - place(b)));

/** The spec of a job, to be submitted by itself: what it takes from jobs of its pipeline it takes from these very jobs. */
export function alone(job) {
  const taken = (text) => text.replace(/\$\{([A-Za-z0-9_-]+)\./g, (all, name) => (job.needs[name] ? `\${${job.needs[name]}.` : all));
  const replaced = (value) => {
    if (typeof value === "string") return taken(value);
    if (Array.isArray(value)) return value.map(replaced);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, replaced(one)]));
  };
  const spec = readable(job.spec);
  const needs = (spec.needs ?? []).map((name) => job.needs[name] ?? name);
  return { ...replaced(spec), ...(needs.length ? { needs } : {}) };
}
