// Where a JSON pointer of a problem is in the text of a spec: YAML or JSON, one document or several.

const indentOf = (line) => line.length - line.trimStart().length;
const escaped = (name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** The documents of a text: [first line, line after the last]. */
function documents(lines) {
  const marks = lines.flatMap((line, i) => (/^---(\s|$)/.test(line) ? [i] : []));
  const starts = [0, ...marks.map((i) => i + 1)];
  const found = starts.map((start, i) => [start, marks[i] ?? lines.length]);
  return found.filter(([start, end]) => lines.slice(start, end).some((line) => line.trim() && !line.trim().startsWith("#")));
}

/** The number of a line, from 0, that is or holds what the pointer names; its document's first line where none is found. */
export function locate(text, pointer) {
  const lines = text.split("\n");
  const parts = pointer.split("/").slice(1).map((part) => part.replace(/~1/g, "/").replace(/~0/g, "~"));
  const pieces = documents(lines);
  let [start, end] = pieces[0] ?? [0, lines.length];
  if (/^\d+$/.test(parts[0] ?? "") && pieces.length > 1) [start, end] = pieces[Number(parts.shift())] ?? [start, end];
  let at = lines.findIndex((line, i) => i >= start && line.trim() && !line.trim().startsWith("#"));
  let from = Math.max(at, start);
  for (const part of parts) {
    const next = /^\d+$/.test(part) ? item(lines, from, end, Number(part)) : key(lines, from, end, part);
    if (next === null) break;
    at = next.line;
    from = next.line;
    end = next.end;
  }
  return Math.max(at, 0);
}

function key(lines, from, end, name) {
  const wanted = new RegExp(`(^|[\\s{,-])["']?${escaped(name)}["']?\\s*:`);
  const candidates = [];
  for (let i = from; i < end; i++) if (wanted.test(lines[i].replace(/\s#.*$/, ""))) candidates.push(i);
  if (!candidates.length) return null;
  const line = candidates.reduce((best, i) => (indentOf(lines[i]) < indentOf(lines[best]) ? i : best));
  return { line, end: blockEnd(lines, line, end) };
}

function item(lines, from, end, index) {
  let depth = null;
  let count = -1;
  for (let i = from; i < end; i++) {
    if (!/^\s*-(\s|$)/.test(lines[i])) continue;
    depth ??= indentOf(lines[i]);
    if (indentOf(lines[i]) === depth && ++count === index) return { line: i, end: blockEnd(lines, i, end) };
  }
  return null;
}

function blockEnd(lines, line, end) {
  const depth = indentOf(lines[line]);
  for (let i = line + 1; i < end; i++) {
    const text = lines[i].trim();
    if (text && !text.startsWith("#") && indentOf(lines[i]) <= depth && !/^[\]}]/.test(text)) return i;
  }
  return end;
}
