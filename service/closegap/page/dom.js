// What every module builds its part of the page from: Preact, its hooks, and templates in place of JSX.
import { createContext, createElement, render } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export const html = htm.bind(createElement);
export { createContext, render };
export {
  useCallback, useContext, useEffect, useId, useLayoutEffect, useMemo, useReducer, useRef, useState,
} from "./vendor/hooks.js";

/** Class names that hold: `classes("row", {chosen: true})` is "row chosen". */
export const classes = (...parts) =>
  parts
    .flatMap((part) =>
      part && typeof part === "object" ? Object.keys(part).filter((name) => part[name]) : part || [],
    )
    .join(" ");
