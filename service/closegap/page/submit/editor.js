// A field for specs: numbers of lines, marks at lines that have a problem, Tab indents.
import { html, useEffect, useRef } from "../dom.js";

/** `marks`: Map of line (from 0) to what is wrong there; `goto`: {line} to be shown, new each time. */
export function Editor({ text, setText, marks, goto, submit }) {
  const area = useRef(null);
  const gutter = useRef(null);
  const count = text.split("\n").length;
  useEffect(() => {
    if (!goto) return;
    const lines = text.split("\n");
    const from = lines.slice(0, goto.line).reduce((sum, line) => sum + line.length + 1, 0);
    area.current.focus();
    area.current.setSelectionRange(from, from + (lines[goto.line]?.length ?? 0));
    area.current.scrollTop = Math.max(0, (goto.line - 6) * 20);
  }, [goto]);
  const key = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      submit();
    } else if (event.key === "Tab" && !event.shiftKey && !event.ctrlKey && area.current.selectionStart !== 0) {
      event.preventDefault();
      const { selectionStart: from, selectionEnd: to } = area.current;
      area.current.setRangeText("  ", from, to, "end");
      setText(area.current.value);
    } else if (event.key === "Escape") area.current.blur();
  };
  return html`<div class="editor">
    <div class="editor-gutter number" ref=${gutter} aria-hidden="true">${Array.from({ length: count }, (_, i) => html`<div key=${i}
      class=${marks.has(i) ? "editor-marked" : ""} title=${marks.get(i)}>${i + 1}</div>`)}</div>
    <textarea ref=${area} aria-label="Spec" spellcheck=${false} autocomplete="off" autocapitalize="off" wrap="off" value=${text} rows=${26}
      aria-invalid=${marks.size ? "true" : null} onInput=${(event) => setText(event.target.value)} onKeyDown=${key}
      onScroll=${() => { gutter.current.scrollTop = area.current.scrollTop; }} /></div>`;
}
