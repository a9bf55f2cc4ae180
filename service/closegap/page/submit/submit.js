// A spec: written here or begun from an example or another job, checked while it is written, planned, submitted.
import { Problem, api, useAction, useGet } from "../api.js";
import { html, useCallback, useEffect, useId, useMemo, useState } from "../dom.js";
import { alone } from "../readable.js";
import { navigate, setQuery, to } from "../router.js";
import { useSession } from "../session.js";
import { toYaml } from "../yaml.js";
import { Empty } from "../components/empty.js";
import { Failure } from "../components/failure.js";
import { NAMES } from "../kinds/names.js";
import { Editor } from "./editor.js";
import { OWN } from "./examples.js";
import { locate } from "./locate.js";
import { Plan } from "./plan.js";

const KEPT = "closegap.spec";
const TYPED = 350;

const typeOf = (text) => (/^\s*[[{]/.test(text) ? "application/json" : "application/yaml");

export function Submit({ query }) {
  const session = useSession();
  const [text, keepText] = useState(() => sessionStorage.getItem(KEPT) ?? "");
  const setText = useCallback((value) => {
    sessionStorage.setItem(KEPT, value);
    keepText(value);
  }, []);
  // What was edited is no example any more: loading the page again keeps it.
  const edit = (value) => (setText(value), setQuery({ example: null, from: null }, { replace: true }));
  const [project, setProject] = useState(session.project);
  const [goto, setGoto] = useState(null);
  const begun = useBegin(query, setText, setProject);
  const params = useMemo(() => ({ project: project || [], scale: query.get("scale") ?? [] }), [project, query.get("scale")]);
  const checked = useChecked(text, params);
  const key = useMemo(() => crypto.randomUUID?.() ?? String(Math.random()).slice(2), [text, params]);
  const [send, sending] = useAction(async () => {
    // The key makes a submission whose answer was lost safe to send again.
    const made = await api.post("/v1/jobs", { params, body: text, type: typeOf(text), headers: { "Idempotency-Key": `page-${key}` } });
    sessionStorage.removeItem(KEPT);
    navigate(made.jobs.length === 1 ? to.job(made.jobs[0].id) : `/jobs?pipeline=${made.jobs[0].pipeline}`);
  });
  const problem = sending.problem ?? checked.problem;
  const marks = useMemo(() => new Map((problem?.errors ?? []).map((item) => [locate(text, item.pointer), item.message])), [problem, text]);

  if (!session.can("submitter")) return html`<${Empty} title="Your token may only look"><p>Submitting needs the role submitter; whoever runs the service makes such a token.</p><//>`;
  const count = checked.specs?.length ?? 0;
  const submit = () => count && !sending.busy && send();
  return html`<div class="submit-head"><h1>Submit</h1><span class="spring" /><${Beginnings} query=${query} />
      <${Into} project=${project} setProject=${setProject} /></div>
    ${begun && html`<${Failure} problem=${begun} />`}
    <div class="submit">
      <${Editor} text=${text} setText=${edit} marks=${marks} goto=${goto} submit=${submit} />
      <aside class="submit-side" aria-live="polite">
        <button type="button" class="button primary submit-button" disabled=${!count || sending.busy} onClick=${submit} title="Ctrl Enter">
          ${sending.busy ? "Submitting…" : count > 1 ? `Submit ${count} jobs` : "Submit"}</button>
        <${Verdict} text=${text} checked=${checked} problem=${problem} go=${(pointer) => setGoto({ line: locate(text, pointer) })} />
        ${checked.specs && html`<${Plan} specs=${checked.specs} plan=${checked.plan} />`}
      </aside></div>`;
}

/** What the address says to begin with: `example`, or `from` another job. */
function useBegin(query, setText, setProject) {
  const [problem, setProblem] = useState(null);
  const example = query.get("example");
  const from = query.get("from");
  useEffect(() => {
    if (!example && !from) return undefined;
    if (OWN[example]) return setText(OWN[example][1]);
    const stop = new AbortController();
    const begin = async () => {
      try {
        if (from) {
          const job = await api.get(`/v1/jobs/${encodeURIComponent(from)}`, { signal: stop.signal });
          setText(toYaml(alone(job)));
          setProject(job.project);
        } else setText((await api.get(`/v1/schemas/${encodeURIComponent(example)}`, { signal: stop.signal })).example);
        setProblem(null);
      } catch (error) {
        if (error instanceof Problem) setProblem(error);
        else if (error.name !== "AbortError") throw error;
      }
    };
    begin();
    return () => stop.abort();
  }, [example, from]);
  return problem;
}

/** Validated a moment after the last change, then planned: {specs, plan, problem}. */
function useChecked(text, params) {
  const [state, setState] = useState({});
  useEffect(() => {
    const stop = new AbortController();
    const check = async () => {
      if (!text.trim()) return setState({});
      const options = { params, body: text, type: typeOf(text), signal: stop.signal };
      try {
        const { specs } = await api.post("/v1/jobs:validate", options);
        setState((old) => ({ specs, plan: old.plan?.jobs.length === specs.length ? old.plan : null }));
        setState({ specs, plan: await api.post("/v1/jobs:plan", options) });
      } catch (problem) {
        if (problem.name === "AbortError") return undefined;
        if (!(problem instanceof Problem)) throw problem;
        setState({ problem });
      }
      return undefined;
    };
    const timer = setTimeout(check, TYPED);
    return () => (clearTimeout(timer), stop.abort());
  }, [text, params]);
  return state;
}

function Beginnings({ query }) {
  return html`<label class="beside"><span class="muted">Begin with</span><select value=${query.get("example") ?? ""} onChange=${(event) => setQuery({ example: event.target.value, from: null })}>
    <option value="" disabled>${query.get("from") ? `the spec of ${query.get("from")}` : "an example…"}</option>
    <optgroup label="Quick, on small data">${Object.entries(OWN).map(([name, [words]]) => html`<option key=${name} value=${name}>${words}</option>`)}</optgroup>
    <optgroup label="Each kind, commented">${Object.keys(NAMES).map((kind) => html`<option key=${kind} value=${kind}>${kind}</option>`)}</optgroup></select></label>`;
}

function Into({ project, setProject }) {
  const { me } = useSession();
  const { data } = useGet("/v1/projects");
  const list = useId();
  const names = [...new Set([...(data?.projects ?? []).map((one) => one.name), ...(me.projects ?? ["default"])])].sort();
  if (me.projects?.length === 1) return null;
  return html`<label class="beside"><span class="muted">Project</span><input class="into" list=${list} value=${project} placeholder="default" spellcheck=${false}
      onInput=${(event) => setProject(event.target.value.trim())} /></label>
    <datalist id=${list}>${names.map((name) => html`<option key=${name} value=${name} />`)}</datalist>`;
}

function Verdict({ text, checked, problem, go }) {
  if (!text.trim()) return html`<p class="muted">Write a spec (YAML or JSON), or begin with an example. Several specs with <code>---</code> between them are a pipeline.</p>`;
  if (problem?.errors?.length) {
    return html`<section class="verdict verdict-wrong"><h2>${problem.errors.length === 1 ? "One problem" : `${problem.errors.length} problems`}</h2>
      <ul class="pointers">${problem.errors.map((item, i) => html`<li key=${i}><button type="button" class="pointer" onClick=${() => go(item.pointer)} title="Go there"><code>${item.pointer || "/"}</code></button>
        <p>${item.message}${item.accepted && html`<span class="muted">; accepted: ${item.accepted}</span>`}</p></li>`)}</ul></section>`;
  }
  if (problem) return html`<${Failure} problem=${problem} small />`;
  if (!checked.specs) return html`<p class="muted" role="status">Checking…</p>`;
  return null;
}
