// One job: what it is and how it does, live, and everything that is known of it in tabs.
import { useGet } from "../api.js";
import { html, useEffect, useLayoutEffect } from "../dom.js";
import { isTyping } from "../keys.js";
import { useLive } from "../live.js";
import { lastList, navigate, to, withQuery } from "../router.js";
import { KINDS } from "../kinds/index.js";
import { NAMES } from "../kinds/names.js";
import { Pending, Stale } from "../components/failure.js";
import { Guard } from "../components/guard.js";
import { OVER } from "../components/state.js";
import { Tabs } from "../components/tabs.js";
import { Artifacts } from "./artifacts.js";
import { Events } from "./events.js";
import { Header } from "./header.js";
import { History } from "./history.js";
import { Logs } from "./logs.js";
import { Notice } from "./notice.js";
import { Pipeline } from "./pipeline.js";
import { Spec } from "./spec.js";

const TABS = [["spec", "Spec", Spec], ["history", "History", History], ["logs", "Logs", Logs], ["events", "Events", Events], ["artifacts", "Artifacts", Artifacts]];
const EVERY = 15;

export function Job({ job: name, query }) {
  const got = useGet(`/v1/jobs/${encodeURIComponent(name)}`, { every: EVERY });
  const job = got.data;
  const over = !job || OVER.has(job.state);
  const live = useLive(job?.id, over);
  useEffect(() => {
    if (!live) return undefined;
    const moved = () => got.reload();
    const progressed = (event) => got.change((now) => ({ ...now, progress: { rate: null, eta: null, total: null, ...event.data, updated: event.time } }));
    const ways = [live.on("state", moved), live.on("end", moved), live.on("progress", progressed),
      live.onStatus((status) => status === "live" && got.reload())];
    return () => ways.forEach((stop) => stop());
  }, [live]);
  useEffect(() => {
    if (job && job.id !== name) navigate(to.job(job.id) + location.search, { replace: true });
    if (job) document.title = `${job.name} · ${job.state} – closegap`;
  }, [job?.id, job?.state]);
  useTabKeys();

  if (!job) return html`<${Pending} got=${got} lines=${8} />`;
  const chosen = TABS.some(([key]) => key === query.get("tab")) ? query.get("tab") : "work";
  const tabs = [{ key: "work", head: NAMES[job.kind] }, ...TABS.map(([key, head]) => ({ key, head }))];
  const View = chosen === "work" ? KINDS[job.kind] : TABS.find(([key]) => key === chosen)[2];
  return html`<${Header} job=${job} live=${live} got=${got} />
    <${Stale} got=${got} />
    <${Notice} job=${job} />
    <${Pipeline} job=${job} />
    <${Tabs} tabs=${tabs} chosen=${chosen} label="Of this job" />
    <${Guard} key=${`${job.id}/${chosen}`}><${View} job=${job} live=${live} query=${query} /><//>`;
}

/** 1 to 6 choose a tab, u goes back to the list. */
function useTabKeys() {
  useLayoutEffect(() => {
    const press = (event) => {
      if (isTyping(event)) return;
      const tab = [null, ...TABS.map(([key]) => key)][Number(event.key) - 1];
      if (tab !== undefined) navigate(withQuery({ tab }, { query: new URLSearchParams() }));
      if (event.key === "u") navigate(lastList());
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}
