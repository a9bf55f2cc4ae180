// Who is signed in, and which project the page shows.
import { createContext, useContext } from "./dom.js";

const KEPT = "closegap.project";
export const Session = createContext(null);

/** {me, project, setProject, can}: me as /v1/whoami has it; project "" is all of them. */
export const useSession = () => useContext(Session);

const ORDER = ["viewer", "submitter", "admin"];

/** Whether this role may do what `other` may. */
export const covers = (role, other) => ORDER.indexOf(role) >= ORDER.indexOf(other);

export function keptProject() {
  try {
    return localStorage.getItem(KEPT) ?? "";
  } catch {
    return "";
  }
}

export function keepProject(name) {
  try {
    if (name) localStorage.setItem(KEPT, name);
    else localStorage.removeItem(KEPT);
  } catch {
    // a browser that keeps nothing: it is chosen again next time
  }
}
