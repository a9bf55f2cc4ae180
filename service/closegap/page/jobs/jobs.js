// All jobs, newest first: live, filtered by the address, a page at a time.
import { useGet } from "../api.js";
import { html, useEffect, useMemo, useState } from "../dom.js";
import { setQuery, withQuery } from "../router.js";
import { useSession } from "../session.js";
import { Empty } from "../components/empty.js";
import { Pending, Stale } from "../components/failure.js";
import { Icon } from "../components/icon.js";
import { whole } from "../components/number.js";
import { STATES } from "../components/state.js";
import { Table } from "../components/table.js";
import { Bulk } from "./bulk.js";
import { Filters, StateChips } from "./filters.js";
import { FirstSteps } from "./first.js";
import { columns } from "./columns.js";
import { useRowKeys } from "./rowkeys.js";

export const PAGE = 50;
const EVERY = 2;
const ID = /^[a-z]+-[0-9a-f]{3,8}$/;

/** What the address asks for, as the API takes it. */
function asked(query, project) {
  const text = query.get("q")?.trim() ?? "";
  return {
    state: query.getAll("state").filter((one) => STATES.includes(one)),
    kind: query.getAll("kind"),
    label: query.getAll("label"),
    name: text ? (text.includes("*") ? text : `*${text}*`) : [],
    pipeline: query.get("pipeline") ?? [],
    project: (!query.get("pipeline") && project) || [], // a pipeline is of one, whichever is chosen
  };
}

export function Jobs({ query }) {
  const session = useSession();
  const { project } = session;
  const filter = asked(query, project);
  const cursor = query.get("cursor") ?? [];
  const got = useGet("/v1/jobs", {
    params: { ...filter, cursor, waiting: true, specs: false, limit: PAGE },
    every: EVERY,
  });
  const counts = useGet("/v1/jobs:count", { params: { project: filter.project }, every: EVERY });
  const text = query.get("q")?.trim() ?? "";
  const byId = useGet(ID.test(text) ? `/v1/jobs/${text}` : null);
  const [chosen, setChosen] = useState(() => new Map());
  const [everything, setEverything] = useState(false);
  const filtered = ["state", "kind", "label", "q", "pipeline"].some((name) => query.has(name));
  const where = query.toString();
  useEffect(() => {
    setChosen(new Map());
    setEverything(false);
  }, [where, project]);

  const rows = useMemo(() => {
    const found = got.data?.jobs ?? [];
    const extra = byId.data && !found.some((job) => job.id === byId.data.id) ? [byId.data] : [];
    return [...extra, ...found];
  }, [got.data, byId.data]);
  const toggle = (id) => {
    const job = rows.find((row) => row.id === id);
    setEverything(false);
    setChosen((old) => {
      const next = new Map(old);
      if (!next.delete(id) && job) next.set(id, job);
      return next;
    });
  };
  // As they are now; one that newer jobs have moved off this page is as it was when it was chosen.
  const picked = [...chosen.values()].map((job) => rows.find((row) => row.id === job.id) ?? job);
  const at = useRowKeys(rows, { toggle, clear: () => (setChosen(new Map()), setEverything(false)) });
  const changed = () => (got.reload(), counts.reload());
  const shown = useMemo(
    () => columns({ waiting: got.data?.waiting ?? {}, chosen, toggle, rows, setChosen, session, changed }),
    [got.data, chosen, rows, session],
  );

  const total = counts.data ? Object.values(counts.data.states).reduce((a, b) => a + b, 0) : null;
  const first = got.data && !rows.length && !filtered && !query.has("cursor");
  if (first && total === 0) return html`<${FirstSteps} />`;
  return html`<h1 class="off-screen">Jobs</h1>
    <${StateChips} query=${query} counts=${counts.data?.states} total=${total} />
    <${Filters} query=${query} />
    <${Stale} got=${got} />
    ${picked.length > 0 &&
    html`<${Bulk} picked=${picked} page=${rows.every((job) => chosen.has(job.id))} everything=${everything} setEverything=${setEverything} filter=${filter}
      filtered=${filtered} more=${Boolean(got.data?.next_cursor) || query.has("cursor")}
      done=${() => { setChosen(new Map()); setEverything(false); changed(); }} />`}
    ${!got.data
      ? html`<${Pending} got=${got} lines=${12} />`
      : rows.length
        ? html`<${Table} columns=${shown} rows=${rows} name="jobs" caption="Jobs, newest first" rowProps=${(job) => ({
            class: `clickable${chosen.has(job.id) ? " chosen" : ""}${at === job.id ? " at" : ""}`,
            "data-id": job.id,
          })} />`
        : html`<${Nothing} query=${query} />`}
    <${Pages} got=${got} query=${query} rows=${rows} />`;
}

function Nothing({ query }) {
  const without = withQuery({ state: null, kind: null, label: null, q: null, pipeline: null, cursor: null });
  return html`<${Empty} title=${query.has("cursor") ? "No older jobs" : "No job matches"}>
    <p>${query.has("cursor") ? "This is the end of the list." : "Every filter must hold; the text is looked for in names, and ids are found whole."}</p>
    <p><a class="button" href=${query.has("cursor") ? withQuery({ cursor: null }) : without}>${query.has("cursor") ? "Newest" : "Remove all filters"}</a></p><//>`;
}

function Pages({ got, query, rows }) {
  const following = got.data?.next_cursor;
  if (!following && !query.has("cursor")) return rows.length ? html`<p class="muted pages-end">${whole(rows.length)} job${rows.length === 1 ? "" : "s"}</p>` : null;
  return html`<nav class="pages" aria-label="Pages of the list">
    ${query.has("cursor") && html`<a class="button" href=${withQuery({ cursor: null })}><${Icon} name="up" size=${14} />Newest</a>`}
    ${following && html`<a class="button" href=${withQuery({ cursor: following })} rel="next">Older<${Icon} name="right" size=${14} /></a>`}
  </nav>`;
}
