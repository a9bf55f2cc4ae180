// Before anything is drawn, and whenever it changes: light or dark as was chosen; without a choice, as the system has it.
// `data-choice` says what was chosen (auto, light, dark), `data-theme` what is shown (light, dark).
(() => {
  const KEPT = "closegap.theme";
  const page = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  const show = (choice) => {
    page.dataset.choice = choice;
    page.dataset.theme = choice === "auto" ? (system.matches ? "dark" : "light") : choice;
    dispatchEvent(new Event("closegap:theme"));
  };
  const keep = (choice) => {
    try {
      if (choice === "auto") localStorage.removeItem(KEPT);
      else localStorage.setItem(KEPT, choice);
    } catch {
      // a browser that keeps nothing: until the next page
    }
    show(choice);
  };

  let kept = null;
  try {
    kept = localStorage.getItem(KEPT);
  } catch {
    // the same: the system's
  }
  show(["light", "dark"].includes(kept) ? kept : "auto");
  system.addEventListener("change", () => show(page.dataset.choice));
  addEventListener("closegap:choose", (event) => keep(event.detail));
})();
