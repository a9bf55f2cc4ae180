// Moving through the list by keys: j and k, Enter opens, x selects, / goes to the search.
import { useLayoutEffect, useRef, useState } from "../dom.js";
import { isTyping } from "../keys.js";
import { navigate, to } from "../router.js";

/** The id of the row where one is; a click on a row, beside its links and controls, opens it. */
export function useRowKeys(rows, { toggle, clear }) {
  const [at, setAt] = useState(null);
  const latest = useRef({});
  latest.current = { rows, at, toggle, clear };
  // Before it is drawn: keys count from when the rows are seen.
  useLayoutEffect(() => {
    const press = (event) => {
      if (isTyping(event) || event.defaultPrevented) return;
      const { rows, at, toggle, clear } = latest.current;
      const index = rows.findIndex((job) => job.id === at);
      const move = (step) => {
        const next = rows[Math.max(0, Math.min(rows.length - 1, index < 0 ? 0 : index + step))];
        if (!next) return;
        setAt(next.id);
        document.querySelector(`tr[data-id="${CSS.escape(next.id)}"]`)?.scrollIntoView({ block: "nearest" });
      };
      const does = {
        j: () => move(1),
        k: () => move(-1),
        x: () => at && toggle(at),
        Enter: () => at && !event.target.closest("a, button") && navigate(to.job(at)),
        Escape: () => (clear(), setAt(null)),
        "/": () => document.querySelector("[data-key='/']")?.focus(),
      }[event.key];
      if (!does) return;
      if (event.key !== "Enter") event.preventDefault();
      does();
    };
    const click = (event) => {
      const row = event.target.closest?.("tr.clickable[data-id]");
      if (!row || event.defaultPrevented || event.target.closest("a, button, input, .pick")) return;
      if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || String(getSelection())) return;
      navigate(to.job(row.dataset.id));
    };
    addEventListener("keydown", press);
    addEventListener("click", click);
    return () => {
      removeEventListener("keydown", press);
      removeEventListener("click", click);
    };
  }, []);
  return at;
}
