// Print shows every folded part; afterwards the page is as before.
const closed = () => document.querySelectorAll("details:not([open])");
addEventListener("beforeprint", () =>
  closed().forEach((details) => { details.open = true; details.dataset.printed = ""; }));
addEventListener("afterprint", () =>
  document.querySelectorAll("details[data-printed]").forEach((details) => { details.open = false; delete details.dataset.printed; }));

// The sidebar marks the current section.
const links = new Map([...document.querySelectorAll(".sidebar a")].map((link) => [link.hash.slice(1), link]));
const mark = () => {
  const passed = [...document.querySelectorAll("main > section")].filter(
    (section) => section.getBoundingClientRect().top < innerHeight / 3);
  const current = passed.at(-1)?.id;
  links.forEach((link, id) => id === current ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current"));
};
addEventListener("scroll", mark, { passive: true });
mark();
