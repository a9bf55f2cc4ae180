// The way in: a link with a code, which signs in at once, or a token.
import { Problem, api, useAction } from "./api.js";
import { html, useEffect, useRef, useState } from "./dom.js";
import { Copyable } from "./components/copy.js";
import { Failure } from "./components/failure.js";
import { navigate } from "./router.js";

const CODE = /^#[A-Za-z0-9_-]{43}$/;

const NOT_KEPT = {
  title: "Not signed in",
  detail: "The browser has not kept the session: cookies must be allowed, and a service that other machines reach must be opened by https.",
};

/** Only an address of this page: a link may not send whoever signs in to somewhere else. */
const next = (query) => {
  const wanted = query.get("next") ?? "";
  return /^\/(?![/\\])/.test(wanted) ? wanted : "/jobs";
};

export function Login({ query, me, signedIn }) {
  const [code] = useState(() => (CODE.test(location.hash) ? location.hash.slice(1) : ""));
  const [someone, setSomeone] = useState(me);

  const enter = async () => {
    signedIn(await api.get("/v1/whoami").catch((problem) => {
      throw problem.status === 401 ? new Problem(NOT_KEPT) : problem;
    }));
    navigate(next(query), { replace: true });
  };
  const [redeem, redeeming] = useAction(async () => {
    await api.post("/v1/session:redeem", { body: { code } });
    await enter();
  });
  const [present, presenting] = useAction(async (token) => {
    await api.post("/v1/session", { headers: { Authorization: `Bearer ${token}` } });
    await enter();
  });

  // Who is signed in already is asked first: a link of somebody else must not change who one is.
  const [look, looking] = useAction(async () => {
    try {
      setSomeone(await api.get("/v1/whoami"));
    } catch (problem) {
      if (problem.status !== 401) throw problem;
      setSomeone(null);
      redeem();
    }
  });

  useEffect(() => {
    // A link that is opened where this page is shown already changes no more than what follows the `#`.
    const linked = () => CODE.test(location.hash) && location.reload();
    addEventListener("hashchange", linked);
    return () => removeEventListener("hashchange", linked);
  }, []);
  useEffect(() => {
    if (!code) return;
    // The code leaves the address before it is used: it is in no history and no bookmark.
    history.replaceState(null, "", location.pathname + location.search);
    look();
  }, []);
  const wrong = redeeming.problem ?? looking.problem;

  return html`<main class="login">
    <h1><svg class="mark" viewBox="0 0 24 24" width="30" height="30" aria-hidden="true"><path d="M3 5.5h18" /><path d="M3 20c4.5-.5 5-9 18-10.2" /></svg>closegap</h1>
    ${code && !wrong
      ? someone
        ? html`<p>You are signed in as <strong>${someone.name}</strong> (${someone.role}). The link would sign you in as its maker.</p>
            <p class="login-actions"><button type="button" class="button primary" onClick=${() => navigate(next(query), { replace: true })}>Stay ${someone.name}</button>
            <button type="button" class="button" disabled=${redeeming.busy} onClick=${redeem}>Use the link</button></p>`
        : html`<p role="status">Signing in…</p>`
      : html`<${TokenForm} present=${present} state=${presenting} linkProblem=${wrong} />`}
  </main>`;
}

function TokenForm({ present, state, linkProblem }) {
  const [token, setToken] = useState("");
  const field = useRef(null);
  useEffect(() => field.current?.focus(), []);
  const send = (event) => {
    event.preventDefault();
    if (token.trim()) present(token.trim());
  };
  return html`${linkProblem && html`<${Failure} problem=${linkProblem} />`}
    <form onSubmit=${send} class="login-form">
      <label for="token">Access token</label>
      <div class="login-row"><input id="token" ref=${field} type="password" autocomplete="current-password" spellcheck=${false}
        placeholder="cg_…" value=${token} onInput=${(event) => setToken(event.target.value)} />
        <button class="button primary" disabled=${state.busy || !token.trim()}>${state.busy ? "…" : "Sign in"}</button></div>
      ${state.problem && html`<${Failure} problem=${state.problem} small />`}
    </form>
    <div class="login-help muted">
      <p>On the machine where the service runs, this prints a link that signs you in:</p>
      <${Copyable} text="closegap page" what="command" />
      <p>Elsewhere, ask whoever runs it for a token: <code>closegap token create NAME --role submitter</code>.</p>
    </div>`;
}
