// The bar at the top: where one can go, whose jobs are shown, light or dark, who is signed in.
import { api, useAction, useGet } from "./api.js";
import { html, useLayoutEffect, useState } from "./dom.js";
import { Dialog } from "./components/dialog.js";
import { Failure } from "./components/failure.js";
import { Icon } from "./components/icon.js";
import { navigate } from "./router.js";
import { useSession } from "./session.js";
import { isTyping } from "./keys.js";

const EVERY = 30;
const PLACES = [
  ["/jobs", "Jobs"],
  ["/models", "Models"],
  ["/workers", "Workers"],
];

export function Bar({ path }) {
  const [help, setHelp] = useState(false);
  useKeys(setHelp);
  return html`<header class="top"><div class="top-inner">
    <a class="brand" href="/jobs"><${Mark} /><span>closegap</span></a>
    <nav class="places" aria-label="Pages">${PLACES.map(
      ([address, name]) => html`<a key=${address} href=${address}
        aria-current=${path === address || path.startsWith(`${address}/`) || (path === "/" && address === "/jobs") ? "page" : null}>${name}</a>`,
    )}</nav>
    <div class="top-right">
      <${ProjectSwitch} />
      <button type="button" class="icon-button" onClick=${() => setHelp(true)} aria-label="Keyboard" title="Keyboard (?)"><${Icon} name="keys" /></button>
      <${ThemeSwitch} />
      <${Account} />
      <a class="button primary" href="/submit"><${Icon} name="plus" size=${14} /><span>Submit</span></a>
    </div></div>
    ${help && html`<${Keys} close=${() => setHelp(false)} />`}
  </header>`;
}

/** Two curves, the gap between which closes. */
const Mark = () => html`<svg class="mark" viewBox="0 0 24 24" width="22" height="22" aria-hidden="true">
  <path d="M3 5.5h18" /><path d="M3 20c4.5-.5 5-9 18-10.2" /></svg>`;

function ProjectSwitch() {
  const { me, project, setProject } = useSession();
  const { data } = useGet(me.projects?.length === 1 ? null : "/v1/projects", { every: EVERY });
  if (me.projects?.length === 1) return html`<span class="muted project-only" title="The project of your token">${me.projects[0]}</span>`;
  const names = [...new Set([...(data?.projects ?? []).map((one) => one.name), ...(me.projects ?? []), ...(project ? [project] : [])])].sort();
  if (names.length < 2 && !project) return null;
  return html`<label class="project"><span class="off-screen">Project</span>
    <select value=${project} onChange=${(event) => setProject(event.target.value)} title="Whose jobs and models are shown">
      <option value="">all projects</option>${names.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
    </select></label>`;
}

const NEXT = { auto: "light", light: "dark", dark: "auto" };
const PICTURES = { auto: "auto", light: "sun", dark: "moon" };

function ThemeSwitch() {
  const [theme, setTheme] = useState(document.documentElement.dataset.choice);
  const turn = () => {
    dispatchEvent(new CustomEvent("closegap:choose", { detail: NEXT[theme] }));
    setTheme(NEXT[theme]);
  };
  const said = `Colours: ${theme === "auto" ? "as the system" : theme}. Change to ${NEXT[theme] === "auto" ? "the system's" : NEXT[theme]}`;
  return html`<button type="button" class="icon-button" onClick=${turn} aria-label=${said} title=${said}><${Icon} name=${PICTURES[theme]} /></button>`;
}

function Account() {
  const { me, leave } = useSession();
  const [open, setOpen] = useState(false);
  const [out, leaving] = useAction(async () => {
    await api.delete("/v1/session");
    sessionStorage.clear(); // what was being written is not for whoever comes next
    leave();
    navigate("/login");
  });
  return html`<button type="button" class="account" onClick=${() => setOpen(true)} title="Who is signed in">${me.name}</button>
    ${open && html`<${Dialog} title=${me.name} close=${() => setOpen(false)}>
      <p>${me.token ? html`Token <code>${me.token}</code>` : "The service runs without authentication"}, role <strong>${me.role}</strong>, ${
        me.projects === null ? "all projects" : `project${me.projects.length === 1 ? "" : "s"} ${me.projects.join(", ")}`
      }.</p>
      ${me.expires && html`<p class="muted">The token is good until ${new Date(me.expires).toLocaleString()}.</p>`}
      ${leaving.problem && html`<${Failure} problem=${leaving.problem} small />`}
      <footer><button type="button" class="button" onClick=${() => setOpen(false)}>Close</button>
        ${me.token && html`<button type="button" class="button" disabled=${leaving.busy} onClick=${out}>Sign out</button>`}</footer><//>`}`;
}

const GO = { j: "/jobs", m: "/models", w: "/workers", s: "/submit" };

function useKeys(setHelp) {
  useLayoutEffect(() => {
    let went = -Infinity;
    const press = (event) => {
      if (isTyping(event)) return;
      if (event.key === "?") {
        setHelp(true);
        event.preventDefault();
      } else if (event.key === "g") went = event.timeStamp;
      else if (GO[event.key] && event.timeStamp - went < 1200) {
        navigate(GO[event.key]);
        event.preventDefault();
        event.stopImmediatePropagation();
        went = -Infinity;
      }
    };
    addEventListener("keydown", press, true);
    return () => removeEventListener("keydown", press, true);
  }, []);
}

const SHORTCUTS = [
  ["Anywhere", [["?", "this list"], ["g j", "jobs"], ["g m", "models"], ["g w", "workers"], ["g s", "submit"]]],
  ["Jobs", [["/", "search"], ["j  k", "down, up"], ["Enter", "open"], ["x", "select"], ["Esc", "select none"]]],
  ["Job", [["1 … 6", "its tabs"], ["u", "back to the list"]]],
];

const Keys = ({ close }) => html`<${Dialog} title="Keyboard" close=${close}>
  <div class="shortcuts">${SHORTCUTS.map(
    ([where, keys]) => html`<section key=${where}><h3>${where}</h3><dl>${keys.map(
      ([key, does]) => html`<div key=${key}><dt>${key.split(" ").filter(Boolean).map((one) => html`<kbd>${one}</kbd>`)}</dt><dd>${does}</dd></div>`,
    )}</dl></section>`,
  )}</div><//>`;
