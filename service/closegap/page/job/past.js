// Events of a job: the last ones there are, those before them when asked for, and those to come, without a gap.
import { Problem, api } from "../api.js";
import { useCallback, useEffect, useState } from "../dom.js";

const MOST = 5000; // as the service keeps of a job
const NONE = { events: [], previous: undefined, problem: null };

/** Whether the event with the first id came after that with the second. */
function isAfter(first, second) {
  const [[a, b], [c, d]] = [first, second].map((id) => id.split("-").map(Number));
  return (a - c || b - d) > 0;
}

/** {events, loading, problem, more, earlier}: of these classes, oldest first, `limit` at first and with each `earlier()`. */
export function usePast(job, live, types, limit) {
  const key = `${job.id} ${types.join()}`;
  const [kept, setKept] = useState({ key, ...NONE });
  const { events, previous, problem } = kept.key === key ? kept : NONE;
  const change = useCallback((edit) => setKept((old) => ({ ...edit(old.key === key ? old : NONE), key })), [key]);
  const ask = useCallback(async (before, join, signal) => {
    try {
      const found = await api.get(`/v1/jobs/${job.id}/events`, { params: { before, limit, type: types }, signal });
      change((old) => ({ ...join(old, { ...found, events: wanted(found.events, types) }), problem: null }));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Problem)) throw error;
      change((old) => ({ ...old, problem: error }));
    }
  }, [change, limit]);
  useEffect(() => {
    const stop = new AbortController();
    const latest = () => ask("latest", joined, stop.signal);
    latest();
    if (!live) return () => stop.abort();
    // The stream begins when it is open: what happened between is asked for once more.
    const ways = [
      live.onStatus((status) => status === "live" && latest()),
      live.onMany(types, (fresh) => change((old) => followed(old, wanted(fresh, types)))),
    ];
    return () => {
      stop.abort();
      ways.forEach((off) => off());
    };
  }, [ask, live]);
  return {
    events,
    loading: previous === undefined && !problem,
    problem,
    more: Boolean(previous),
    earlier: () => ask(previous, (old, found) => (old.previous === previous ? { events: [...found.events, ...old.events], previous: found.previous } : old)),
  };
}

// The end is told in every class; it is an event to be shown only where it is asked for.
const wanted = (events, types) => events.filter((event) => event.type !== "end" || types.includes("end"));

/** The last events that there are, with those that were known before them and those that came meanwhile. */
function joined(old, { events, previous }) {
  if (!events.length) return { ...old, previous: old.previous ?? previous };
  const [first, last] = [events[0].id, events.at(-1).id];
  const before = old.events.filter((event) => isAfter(first, event.id));
  const after = old.events.filter((event) => isAfter(event.id, last));
  const meets = before.length + after.length < old.events.length;
  return meets && before.length ? { events: [...before, ...events, ...after], previous: old.previous } : { events: [...events, ...after], previous };
}

/** With those that came; of many the first are let go of, to be asked for again. */
function followed(old, fresh) {
  const last = old.events.at(-1)?.id;
  const events = [...old.events, ...fresh.filter((event) => !last || isAfter(event.id, last))];
  return events.length > MOST ? { ...old, events: events.slice(-MOST), previous: events.at(-MOST).id } : { ...old, events };
}
