// Dark or light: what the reader chose here before, else light where the system asks for it, else dark.

const KEY = "hilum-theme", root = document.documentElement;
const stored = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
const preferred = matchMedia("(prefers-color-scheme: light)");

const apply = () => { root.dataset.theme = stored() ?? (preferred.matches ? "light" : "dark"); };
apply();
preferred.addEventListener("change", apply);

addEventListener("DOMContentLoaded", () => {
  const button = document.getElementById("theme");
  const name = () => button.setAttribute("aria-pressed", String(root.dataset.theme === "light"));
  name();
  button.addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "light" ? "dark" : "light";
    try { localStorage.setItem(KEY, root.dataset.theme); } catch { /* the choice then lasts until the page is closed */ }
    name();
    dispatchEvent(new Event("theme"));
  });
});
