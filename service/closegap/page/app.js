// The page: its frame, who is signed in, and which screen an address is.
import { UNAUTHORIZED, api, Problem } from "./api.js";
import { html, render, useCallback, useEffect, useMemo, useState } from "./dom.js";
import { match, navigate, takeLinks, useAddress } from "./router.js";
import { Session, covers, keepProject, keptProject } from "./session.js";
import { Empty, Loading } from "./components/empty.js";
import { Failure } from "./components/failure.js";
import { Guard } from "./components/guard.js";
import { Bar as TopBar } from "./frame.js";
import { Jobs } from "./jobs/jobs.js";
import { Login } from "./login.js";

const LATER = [];
const IDLE = 2000;

/** A screen whose modules are asked for when it is first shown, or before that when there is nothing else to do. */
function later(load, name) {
  let Screen = null;
  const ask = () => load().then((module) => {
    Screen = module[name];
  });
  LATER.push(ask);
  Later.ask = ask;
  return Later;
  function Later(properties) {
    const [state, set] = useState(Screen && {});
    useEffect(() => {
      // Not whether it is there by now: it may have come between the first drawing and this.
      if (!state) ask().then(() => set({}), (error) => set({ error }));
    }, []);
    if (state?.error) throw state.error;
    return Screen ? html`<${Screen} ...${properties} />` : html`<${Loading} lines=${8} />`;
  }
}

const Job = later(() => import("./job/job.js"), "Job");
const Submit = later(() => import("./submit/submit.js"), "Submit");
const Models = later(() => import("./models.js"), "Models");
const Model = later(() => import("./model.js"), "Model");
const Workers = later(() => import("./cluster/workers.js"), "Workers");

const SCREENS = [
  ["/", Jobs, "Jobs"],
  ["/jobs", Jobs, "Jobs"],
  ["/jobs/:job", Job, ":job"],
  ["/submit", Submit, "Submit"],
  ["/models", Models, "Models"],
  ["/models/:name", Model, ":name"],
  ["/models/:name/:version", Model, ":name/:version"],
  ["/workers", Workers, "Workers"],
];

function found(path) {
  for (const [pattern, Screen, title] of SCREENS) {
    const parameters = match(pattern, path);
    if (parameters) return { Screen, parameters, title: title.replace(/:(\w+)/g, (_, name) => parameters[name]) };
  }
  return null;
}

function App() {
  const { path, query } = useAddress();
  const [me, setMe] = useState(null);
  const [problem, setProblem] = useState(null);
  const [project, choose] = useState(keptProject);

  const look = useCallback(() => {
    setProblem(null);
    api.get("/v1/whoami").then(setMe, (wrong) => {
      if (!(wrong instanceof Problem)) throw wrong;
      if (wrong.status !== 401) setProblem(wrong);
    });
  }, []);
  useEffect(() => {
    const leave = () => {
      setMe(null);
      const here = location.pathname + location.search;
      if (location.pathname !== "/login") {
        navigate(here === "/" ? "/login" : `/login?next=${encodeURIComponent(here)}`, { replace: true });
      }
    };
    addEventListener(UNAUTHORIZED, leave);
    return () => removeEventListener(UNAUTHORIZED, leave);
  }, []);
  useEffect(() => {
    if (me === null && path !== "/login") look();
  }, [path, me]);

  const session = useMemo(
    () =>
      me && {
        me,
        project: me.projects?.length === 1 ? me.projects[0] : me.projects && !me.projects.includes(project) ? "" : project,
        setProject: (name) => {
          keepProject(name);
          choose(name);
        },
        can: (role) => covers(me.role, role),
        everywhere: me.projects === null,
        leave: () => setMe(null),
      },
    [me, project],
  );
  const screen = found(path);
  useEffect(() => {
    document.title = path === "/login" ? "Sign in – closegap" : screen ? `${screen.title} – closegap` : "closegap";
  }, [path]);

  if (path === "/login") return html`<${Login} query=${query} me=${me} signedIn=${setMe} />`;
  if (problem) return html`<main class="narrow"><${Failure} problem=${problem} retry=${look} /></main>`;
  if (!session) return html`<main><${Loading} what="Signing in" /></main>`;
  return html`<${Session.Provider} value=${session}>
    <a class="skip" href="#main">To the content</a>
    <${TopBar} path=${path} />
    <main id="main" tabindex="-1"><${Guard} key=${path}>${
      screen
        ? html`<${screen.Screen} ...${screen.parameters} query=${query} />`
        : html`<${Empty} title="There is no such page">
            <p>Nothing is at <code>${path}</code>. <a href="/jobs">All jobs</a></p><//>`
    }<//></main>
  <//>`;
}

takeLinks((path) => path === "/login" || found(path) !== null);
found(location.pathname)?.Screen.ask?.().catch(() => {}); // while it is asked who this is; the screen itself tells of a failure
render(html`<${App} />`, document.getElementById("page"));
setTimeout(() => LATER.forEach((ask) => ask().catch(() => {})), IDLE);
