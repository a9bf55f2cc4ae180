// Requests to the API: JSON in and out, every error a Problem, nothing goes on when its page was left.
import { useCallback, useEffect, useRef, useState } from "./dom.js";

export const UNAUTHORIZED = "closegap:unauthorized";

/** An error as the API tells it (RFC 9457), or one of the way there: then `status` is 0. */
export class Problem extends Error {
  constructor({ status = 0, code = "", detail = "", title = "", errors = [], request_id = "", retry = 0 }) {
    super(detail || title);
    Object.assign(this, { status, code, title, errors, requestId: request_id, retrySeconds: retry });
  }
}

const query = (parameters) => {
  const pairs = Object.entries(parameters ?? {}).flatMap(([name, value]) =>
    [value ?? []].flat().map((one) => [name, String(one)]),
  );
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
};

async function request(method, path, { params, body, type, headers, signal } = {}) {
  const init = { method, signal, headers: { Accept: "application/json", "X-Closegap-Page": "1", ...headers } };
  if (body !== undefined) {
    init.headers["Content-Type"] = type ?? "application/json";
    init.body = type ? body : JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path + query(params), init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ code: "unreachable", detail: "The service does not answer.", title: "No connection" });
  }
  if (answer.ok || answer.status === 304) return answer;
  let said = {};
  try {
    said = await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  const problem = new Problem({
    title: answer.statusText, detail: `The service answered ${answer.status}.`, ...said,
    status: answer.status, retry: Number(answer.headers.get("Retry-After")) || 0,
    request_id: said.request_id ?? answer.headers.get("X-Request-Id") ?? "",
  });
  if (problem.status === 401 && !path.startsWith("/v1/session")) dispatchEvent(new Event(UNAUTHORIZED));
  throw problem;
}

/** The body of an answer, read by `how`; one that is cut short, or is no JSON, is a Problem as no answer is. */
async function bodyOf(answer, how = "json") {
  try {
    return await answer[how]();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ code: "unreadable", detail: "The service's answer broke off.", title: "No connection" });
  }
}

const json = async (...given) => {
  const answer = await request(...given);
  return answer.status === 204 ? null : bodyOf(answer);
};

/** Options of all: `params` (lists repeat a name), `signal`, `headers`; of post, put, patch also `body`, `type`. */
export const api = {
  get: (path, options) => json("GET", path, options),
  post: (path, options) => json("POST", path, options),
  put: (path, options) => json("PUT", path, options),
  patch: (path, options) => json("PATCH", path, options),
  delete: (path, options) => json("DELETE", path, options),
  /** Bytes of a file, for pictures that a script shows. */
  bytes: async (path, options) => bodyOf(await request("GET", path, { ...options, headers: { Accept: "*/*" } }), "arrayBuffer"),
  /** {data, tag}; data is null where the answer still is what `tag` names. */
  fresh: async (path, tag, options) => {
    const answer = await request("GET", path, { ...options, headers: tag ? { "If-None-Match": tag } : {} });
    return answer.status === 304 ? { data: null, tag } : { data: await bodyOf(answer), tag: answer.headers.get("ETag") };
  },
  url: (path, params) => path + query(params),
};

/**
 * What a GET answers: {data, problem, loading, reload, put}. Asked again whenever path or parameters change, and each
 * `every` seconds while the page is seen; what is there stays shown meanwhile, also when a repetition fails.
 * `put(data)` shows what a change has answered at once, `change(edit)` what `edit` makes of the data. A path of null asks nothing.
 */
export function useGet(path, { params, every = 0 } = {}) {
  const address = path === null ? null : path + query(params);
  const [state, setState] = useState({ address, data: null, problem: null, at: 0 });
  const tag = useRef(null);
  const [turn, setTurn] = useState(0);

  useEffect(() => {
    if (address === null) return undefined;
    const stop = new AbortController();
    let timer = 0;
    let busy = false;
    tag.current = null;
    const ask = async () => {
      if (busy) return;
      busy = true;
      clearTimeout(timer);
      let wait = every;
      try {
        const found = await api.fresh(address, tag.current, { signal: stop.signal });
        if (stop.signal.aborted) return;
        tag.current = found.tag;
        if (found.data !== null) setState({ address, data: found.data, problem: null, at: Date.now() });
        else setState((old) => (old.problem ? { ...old, problem: null } : old));
      } catch (problem) {
        if (problem.name === "AbortError" || stop.signal.aborted) return;
        if (!(problem instanceof Problem)) throw problem;
        wait = every && Math.max(every, problem.retrySeconds, 3);
        setState((old) => ({ ...old, address, data: old.address === address ? old.data : null, problem }));
      } finally {
        busy = false;
      }
      if (wait && !document.hidden) timer = setTimeout(ask, wait * 1000);
    };
    const seen = () => !document.hidden && every && ask();
    document.addEventListener("visibilitychange", seen);
    ask();
    return () => {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, [address, every, turn]);

  const reload = useCallback(() => setTurn((n) => n + 1), []);
  const put = useCallback((data) => {
    tag.current = null;
    setState((old) => ({ ...old, data, problem: null, at: Date.now() }));
  }, []);
  const change = useCallback((edit) => setState((old) => (old.data ? { ...old, data: edit(old.data) } : old)), []);
  const mine = state.address === address;
  const data = mine ? state.data : null;
  const problem = mine ? state.problem : null;
  return { data, problem, loading: address !== null && data === null && problem === null, reload, put, change, at: state.at };
}

/** Doing something: [act, {busy, problem, clear}]. `act` gives its result, or undefined; while it runs it does not begin again. */
export function useAction(action) {
  const [state, setState] = useState({ busy: false, problem: null });
  const latest = useRef(action);
  latest.current = action;
  const alive = useRef(true);
  useEffect(() => () => { alive.current = false; }, []);
  const busy = useRef(false);
  const act = useCallback(async (...given) => {
    if (busy.current) return undefined;
    busy.current = true;
    setState({ busy: true, problem: null });
    try {
      const result = await latest.current(...given);
      if (alive.current) setState({ busy: false, problem: null });
      return result;
    } catch (problem) {
      if (alive.current) setState({ busy: false, problem: problem.name === "AbortError" ? null : problem });
      if (!(problem instanceof Problem) && problem.name !== "AbortError") throw problem;
      return undefined;
    } finally {
      busy.current = false;
    }
  }, []);
  const clear = useCallback(() => setState({ busy: false, problem: null }), []);
  return [act, { ...state, clear }];
}
