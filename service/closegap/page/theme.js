// Before anything is drawn: light or dark as was chosen; without a choice, as the system has it.
(() => {
  try {
    const chosen = localStorage.getItem("closegap.theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // a browser that keeps nothing: the system's
  }
})();
