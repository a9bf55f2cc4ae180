// The address is the page's state: what it shows is a function of the path and the query, so links, reload, back and
// forward work. Anchors are ordinary anchors; clicks on them are taken here.
import { useEffect, useMemo, useState } from "./dom.js";

const CHANGED = "closegap:moved";

/** Go to an address of the page. `replace` for what nobody wants to go back to, such as a filter while it is typed. */
export function navigate(address, { replace = false } = {}) {
  const target = new URL(address, location.href);
  if (target.href === location.href) return;
  const elsewhere = target.pathname !== location.pathname;
  history[replace ? "replaceState" : "pushState"]({ list: lastList() }, "", target);
  dispatchEvent(new Event(CHANGED));
  if (!replace && elsewhere) scrollTo(0, 0);
}

/** The list of jobs that one is at, or has come from, with its filters. */
export const lastList = () => (["/", "/jobs"].includes(location.pathname) ? location.href : (history.state?.list ?? to.jobs()));

/** {path, query} of now; the component is drawn again when it changes. */
export function useAddress() {
  const [href, setHref] = useState(location.href);
  useEffect(() => {
    const moved = () => setHref(location.href);
    addEventListener("popstate", moved);
    addEventListener(CHANGED, moved);
    return () => {
      removeEventListener("popstate", moved);
      removeEventListener(CHANGED, moved);
    };
  }, []);
  return useMemo(() => {
    const url = new URL(href);
    return { path: url.pathname, query: url.searchParams };
  }, [href]);
}

/** Change some parameters of the query: null or "" removes one, a list gives it several times. */
export function setQuery(changes, options) {
  navigate(withQuery(changes), options);
}

/** The address that `setQuery` would go to, for an anchor. */
export function withQuery(changes, { path = location.pathname, query = new URLSearchParams(location.search) } = {}) {
  const next = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    next.delete(name);
    for (const one of [value ?? []].flat()) if (one !== "" && one !== false) next.append(name, one);
  }
  const text = next.toString();
  return text ? `${path}?${text}` : path;
}

/** The parameters of a path by a pattern such as "/jobs/:job", or null. */
export function match(pattern, path) {
  const wanted = pattern.split("/");
  const found = path.replace(/(.)\/$/, "$1").split("/");
  if (wanted.length !== found.length) return null;
  const parameters = {};
  for (let i = 0; i < wanted.length; i++) {
    if (wanted[i].startsWith(":") && found[i]) {
      try {
        parameters[wanted[i].slice(1)] = decodeURIComponent(found[i]);
      } catch {
        return null;
      }
    } else if (wanted[i] !== found[i]) return null;
  }
  return parameters;
}

/** Addresses of things. */
export const to = {
  jobs: (query) => withQuery(query ?? {}, { path: "/jobs", query: "" }),
  job: (id, tab) => `/jobs/${encodeURIComponent(id)}${tab ? `?tab=${encodeURIComponent(tab)}` : ""}`,
  model: (name, version, project) =>
    `/models/${encodeURIComponent(name)}${version ? `/${version}` : ""}` +
    (project ? `?project=${encodeURIComponent(project)}` : ""),
};

/** Take clicks on links within the page; those with a modifier, to files, or to the API go their own way. */
export function takeLinks(isOurs) {
  document.addEventListener("click", (event) => {
    const anchor = event.target.closest?.("a[href]");
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!anchor || !plain || event.defaultPrevented) return;
    if (anchor.target || anchor.hasAttribute("download") || anchor.origin !== location.origin) return;
    if (!isOurs(anchor.pathname)) return;
    event.preventDefault();
    navigate(anchor.href);
  });
}
