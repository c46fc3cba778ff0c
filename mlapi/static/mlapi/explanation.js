// Shows each feature's contribution to a prediction, as bars to the left and right of zero.
"use strict";

window.mlapi = window.mlapi || {};

(() => {
  const MAX_BARS = 12;
  const OUTPUTS = {
    value: "the prediction", probability: "the probability", log_odds: "the log-odds", decision_function: "the score", raw_score: "the raw score",
  };
  const find = (id) => document.getElementById(id);
  const { element } = window.mlapi;
  const digits = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

  // Three digits; ≈ marks a rounded number.
  function rounded(value, sign = value < 0 ? "\u2212" : "") {
    const text = digits.format(Math.abs(value));
    const isExact = Number(text.replaceAll(",", "")) === Math.abs(value);
    return `${isExact ? "" : "\u2248\u202f"}${sign}${text}`;
  }

  function signed(value) {
    return rounded(value, value < 0 ? "\u2212" : "+");
  }

  // Largest first; small contributions share one line, so that the lines add up.
  function linesOf(contributions) {
    const all = Object.entries(contributions).sort((one, other) => Math.abs(other[1]) - Math.abs(one[1]));
    if (all.length <= MAX_BARS) return all;
    const others = all.slice(MAX_BARS - 1);
    return [...all.slice(0, MAX_BARS - 1), [`${others.length} other features`, others.reduce((sum, [, value]) => sum + value, 0)]];
  }

  function lineOf([name, value], largest) {
    const fill = element("span", { className: "fill" });
    fill.style.setProperty("--share", largest > 0 ? Math.abs(value) / largest : 0);
    return element(
      "li", { className: value < 0 ? "down" : "up" }, element("span", { className: "class", title: name }, name),
      element("span", { className: "sides", "aria-hidden": "true" }, fill), element("span", { className: "share", title: String(value) }, signed(value)),
    );
  }

  function showExplanation(explanation) {
    const place = find("explanation");
    if (!explanation) return place.replaceChildren();
    const lines = linesOf(explanation.contributions), largest = Math.max(...lines.map(([, value]) => Math.abs(value)));
    const of = "class" in explanation ? ` of ${explanation.class}` : "";
    const list = element("ol", { className: "moves", "aria-label": "Contribution of each feature" }, ...lines.map((line) => lineOf(line, largest)));
    const output = `${OUTPUTS[explanation.output]}${of}`;
    const sum = `Base value ${rounded(explanation.base_value)}. With these contributions, ${output} is ${rounded(explanation.value)}:`;
    return place.replaceChildren(element("p", { className: "quiet" }, sum), list);
  }

  // Explanations of this model are refused: shows the reason.
  function refuseExplanation(sentence) {
    find("explain").checked = false;
    find("explain").disabled = true;
    find("explanation").replaceChildren(element("p", { className: "quiet", role: "status" }, sentence));
  }

  function allowExplanation() {
    find("explain").disabled = false;
    find("explanation").replaceChildren();
  }

  Object.assign(window.mlapi, { showExplanation, refuseExplanation, allowExplanation });
})();
