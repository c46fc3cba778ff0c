// Keyboard shortcuts on every page of the admin.
"use strict";

// The page is hidden until Alpine has started, and a hidden field cannot get the focus.
document.addEventListener("alpine:initialized", () => {
  requestAnimationFrame(() => {
    if (document.activeElement === document.body) document.querySelector("[autofocus]")?.focus();
  });
});

// Ctrl+K: Enter opens the first result, even before the palette has loaded it.

(() => {
  const input = () => document.getElementById("search-input-command");
  const isShown = (text) => document.getElementById("command-results-list")?.dataset.asked === text;

  const open = async (text) => {
    const url = new URL(input().getAttribute("hx-get"), location.href);
    url.searchParams.set("s", text);
    const response = await fetch(url, { redirect: "error" });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const first = page.querySelector("#command-results-list a");
    // The palette itself reports that there is no result; a changed text needs a new Enter.
    if (response.ok && first && input().value === text) location.assign(first.getAttribute("href"));
  };

  document.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Enter" || event.target !== input()) return;
      const text = input().value;
      if (isShown(text)) return; // the palette opens the result that is chosen
      event.preventDefault();
      event.stopImmediatePropagation();
      if (text.trim()) open(text);
    },
    true,
  );
})();
