// On paper nothing can be folded out, so everything is; afterwards the page is as it was.
const folded = () => document.querySelectorAll("details:not([open])");
addEventListener("beforeprint", () => folded().forEach((one) => { one.open = true; one.dataset.printed = ""; }));
addEventListener("afterprint", () =>
  document.querySelectorAll("details[data-printed]").forEach((one) => { one.open = false; delete one.dataset.printed; }));

// The sidebar shows where the reader is.
const links = new Map([...document.querySelectorAll(".sidebar a")].map((link) => [link.hash.slice(1), link]));
const here = () => {
  const passed = [...document.querySelectorAll("main > section")].filter(
    (one) => one.getBoundingClientRect().top < innerHeight / 3);
  const current = passed.at(-1)?.id;
  links.forEach((link, id) => id === current ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current"));
};
addEventListener("scroll", here, { passive: true });
here();
