"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const probe = document.body.appendChild(document.createElement("i"));
  probe.hidden = true;
  // A custom property reads back as it was written; as the colour of an element it reads back resolved.
  const resolve = (value) => {
    if (typeof value === "string" && value.startsWith("var(")) {
      probe.style.color = value;
      return getComputedStyle(probe).color;
    }
    if (Array.isArray(value)) return value.map(resolve);
    if (value && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, resolve(inner)]));
    return value;
  };
  const draw = () => {
    for (const [id, figure] of Object.entries(figures)) {
      const { data, layout } = resolve(figure);
      layout.font.family = getComputedStyle(document.body).fontFamily;
      Plotly.react(id, data, layout, {
        responsive: true, displaylogo: false, displayModeBar: false, doubleClick: "reset+autosize",
      });
    }
  };
  const root = document.documentElement;
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", draw);
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : scheme.matches;
    root.dataset.theme = dark ? "light" : "dark";
    draw();
  });
  if (location.hash === "#dark" || location.hash === "#light") root.dataset.theme = location.hash.slice(1);
  draw();
})();
