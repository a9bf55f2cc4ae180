// Colours of charts: the page's own, read where they are drawn, so that light and dark change them.
import { useEffect, useReducer } from "../dom.js";

/** The value of a custom property, such as `--series-1`, as it is now. */
export const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export const SERIES = 7;

/** The colour of the series with this number, from 0. */
export const series = (number) => token(`--series-${(number % SERIES) + 1}`);

/** `colour` with an opacity from 0 to 1. */
export const faded = (colour, opacity) => `color-mix(in srgb, ${colour} ${Math.round(opacity * 100)}%, transparent)`;

/** Call `redraw` when light became dark or dark light. */
export function onTheme(redraw) {
  addEventListener("closegap:theme", redraw);
  return () => removeEventListener("closegap:theme", redraw);
}

/** The component is drawn again when the colours change; the number says which time it is. */
export function useTheme() {
  const [turn, redraw] = useReducer((n) => n + 1, 0);
  useEffect(() => onTheme(redraw), []);
  return turn;
}

const RAMP = {
  light: ["#cfd8e3", "#86b6c9", "#3a8a9e", "#15607a", "#0b2f57"],
  dark: ["#38424f", "#3f6f86", "#3fa0a6", "#8fd0a0", "#f4f0a8"],
};

/** A colour for 0 … 1, of one order of lightness, so that it is read without hue, too. */
export function ramp(share) {
  const stops = RAMP[document.documentElement.dataset.theme];
  const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(place), stops.length - 2);
  const [a, b] = [stops[low], stops[low + 1]].map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  return `rgb(${a.map((part, i) => Math.round(part + (b[i] - part) * (place - low))).join(" ")})`;
}
