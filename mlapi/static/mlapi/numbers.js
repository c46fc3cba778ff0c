// Numbers as in the API: whole numbers above 2^53 keep every digit, and rounded numbers are marked.
"use strict";

window.mlapi = window.mlapi || {};

(() => {
  // Matches a string, or a number outside of strings.
  const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
  const WHOLE = /^[+-]?\d+$/;
  // A random prefix, so that no string of a model starts with it.
  const MARK = `whole number ${Math.random()} `;
  const MARKED = new RegExp(`"${MARK.replaceAll(".", "\\.")}(-?\\d+)"`, "g");

  function isLarge(text) {
    return WHOLE.test(text) && !Number.isSafeInteger(Number(text));
  }

  // Returns the number in a text: a BigInt if a JavaScript number would round it.
  function numberOf(text) {
    const trimmed = text.trim();
    return isLarge(trimmed) ? BigInt(trimmed) : Number(trimmed);
  }

  function parse(text) {
    const marked = text.replace(TOKEN, (token) => (isLarge(token) ? `"${MARK}${token}"` : token));
    return JSON.parse(marked, (key, value) => (
      typeof value === "string" && value.startsWith(MARK) ? BigInt(value.slice(MARK.length)) : value
    ));
  }

  function stringify(value, indent) {
    const mark = (key, item) => (typeof item === "bigint" ? `${MARK}${item}` : item);
    return JSON.stringify(value, mark, indent).replace(MARKED, "$1");
  }

  // Returns a share as a percentage with one digit; ≈, < and > mark a rounded number.
  function percent(share) {
    if (share > 0 && share < 0.001) return "<\u202f0.1\u00a0%";
    if (share < 1 && share > 0.999) return ">\u202f99.9\u00a0%";
    const text = (share * 100).toFixed(1);
    return `${Number(text) / 100 === share ? "" : "\u2248\u202f"}${text}\u00a0%`;
  }

  Object.assign(window.mlapi, { numberOf, parse, stringify, percent });
})();
