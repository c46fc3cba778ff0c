// Copies an element's text: <button data-copy="id of the element">.
"use strict";

(() => {
  const SHOWN_MILLISECONDS = 1500;

  const copy = async (source) => {
    if (navigator.clipboard) return navigator.clipboard.writeText(source.textContent);
    // Without TLS, a browser only allows copying selected text.
    getSelection().selectAllChildren(source);
    if (!document.execCommand("copy")) throw new Error("The browser does not allow copying.");
    return undefined;
  };

  const offer = (button) => {
    const source = document.getElementById(button.dataset.copy);
    const label = button.textContent;
    button.addEventListener("click", async () => {
      try {
        await copy(source);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(source);
        button.textContent = "Selected: copy it by hand";
      }
      setTimeout(() => { button.textContent = label; }, SHOWN_MILLISECONDS);
    });
  };

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-copy]").forEach(offer));
})();
