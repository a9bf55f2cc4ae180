// Events of a job: the last ones there are, those before them when asked for, and those to come.
import { Problem, api } from "../api.js";
import { useCallback, useEffect, useState } from "../dom.js";
import { useEvents } from "../live.js";

const order = (id) => id.split("-").map(Number);
const after = (a, b) => {
  const [x, y] = [order(a), order(b)];
  return x[0] - y[0] || x[1] - y[1];
};

/** {events, loading, problem, more, earlier}: of these classes, oldest first, `limit` at first and with each `earlier()`. */
export function usePast(job, live, types, limit) {
  const [state, setState] = useState({ events: [], previous: undefined, problem: null });
  const fresh = useEvents(live, types);
  const ask = useCallback(async (before, signal) => {
    try {
      const found = await api.get(`/v1/jobs/${job.id}/events`, { params: { before, limit, type: types }, signal });
      setState((old) => ({ events: [...found.events, ...(before === "latest" ? [] : old.events)], previous: found.previous, problem: null }));
    } catch (problem) {
      if (problem.name === "AbortError") return;
      if (!(problem instanceof Problem)) throw problem;
      setState((old) => ({ ...old, problem }));
    }
  }, [job.id, types.join(), limit]);
  useEffect(() => {
    const stop = new AbortController();
    ask("latest", stop.signal);
    // The stream begins when it is open: what happened between is asked for once more.
    const off = live?.onStatus((status) => status === "live" && ask("latest", stop.signal));
    return () => (stop.abort(), off?.());
  }, [ask, live, job.state]);
  const last = state.events.at(-1)?.id;
  const wanted = (event) => event.type !== "end" || types.includes("end");
  const events = [...state.events, ...fresh.filter((event) => !last || after(event.id, last) > 0)].filter(wanted);
  return {
    events,
    loading: state.previous === undefined && !state.problem,
    problem: state.problem,
    more: Boolean(state.previous),
    earlier: () => ask(state.previous),
  };
}
