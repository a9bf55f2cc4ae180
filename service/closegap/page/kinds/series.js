// The numbers of a job as curves: what there is, and then each event as it comes.
import { useGet } from "../api.js";
import { useEffect, useMemo, useReducer, useRef } from "../dom.js";

const POINTS = 600;
const MOST = 2000;
const SOON = 2000;

/** {got, of, last}: `of(name)` is [[x, y], …], `last(name)` the last y. Events of type `event` are added to it. */
export function useSeries(job, live, event = "epoch", x = "epoch") {
  const got = useGet(`/v1/jobs/${job.id}/metrics`, { params: { points: POINTS } });
  const heard = useHeard(live, event);
  const listened = useRef(null);
  useEffect(() => {
    // What came between the first answer and the end is asked for once more, whole.
    if (!live && listened.current) got.reload();
    listened.current = live;
  }, [live]);
  // What happened between the first answer and the first event is asked for, too.
  const missed = Boolean(got.data) && heard.length > 0 && heard[0][x] > 1 + (lastOf(got.data, event) ?? 0);
  useEffect(() => {
    if (missed) got.reload();
  }, [missed]);
  const curves = useMemo(() => {
    const found = new Map();
    for (const one of got.data?.series ?? []) if (one.event === event) found.set(one.name, one.points);
    const added = new Set();
    for (const data of heard) {
      for (const [name, value] of numbers(data)) {
        if (name === x || data[x] <= (found.get(name)?.at(-1)[0] ?? -Infinity)) continue;
        if (!added.has(name)) found.set(name, [...(found.get(name) ?? [])]);
        added.add(name);
        found.get(name).push([data[x], value]);
      }
    }
    return found;
  }, [got.data, heard, event, x]);
  const of = (name) => curves.get(name) ?? [];
  return { got, curves, of, last: (name) => of(name).findLast(([, y]) => y !== null)?.[1] };
}

const lastOf = (data, event) => data.series.find((one) => one.event === event)?.points.at(-1)?.[0];

/** The data of the last events of one type since the component was there; drawn again four times a second at most. */
export function useHeard(live, type) {
  const kept = useRef([]);
  const [, redraw] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    if (!live) return undefined; // over: what was heard stays
    kept.current = [];
    let timer = 0;
    const stop = live.on("metric", (event) => {
      if (event.type !== type) return;
      kept.current.push(event.data);
      timer ||= setTimeout(() => {
        timer = 0;
        kept.current = kept.current.slice(-MOST); // those before are there by asking
        redraw();
      }, 250);
    });
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, [live, type]);
  return kept.current;
}

function numbers(value, prefix = "") {
  return Object.entries(value).flatMap(([name, item]) => {
    const path = prefix ? `${prefix}.${name}` : name;
    if (item === null || typeof item === "number") return [[path, item]];
    return item && typeof item === "object" && !Array.isArray(item) ? numbers(item, path) : [];
  });
}

/** Asked for again when `turn` has changed, every two seconds at most, however often it does; otherwise as `useGet`. */
export function useFollowed(path, turn, options) {
  const got = useGet(path, options);
  const shown = useRef(turn);
  const timer = useRef(0);
  useEffect(() => {
    if (turn === shown.current) return;
    shown.current = turn;
    timer.current ||= setTimeout(() => {
      timer.current = 0;
      got.reload();
    }, SOON);
  }, [turn]);
  useEffect(() => () => clearTimeout(timer.current), []);
  return got;
}
