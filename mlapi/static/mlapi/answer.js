// Shows a prediction: the label or number, the probabilities as bars, and the version with its time.
"use strict";

window.mlapi = window.mlapi || {};

(() => {
  const MAX_BARS = 12;
  const find = (id) => document.getElementById(id);
  const { element, percent } = window.mlapi;
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

  function shown(value) {
    if (Array.isArray(value)) return value.map(shown).join(", ");
    return String(value);
  }

  // Each output under its name; a long row of numbers, as a transformer gives, stays a row.
  function isNamed(prediction) {
    return Array.isArray(prediction) && prediction.length > 1 && prediction.length <= MAX_BARS;
  }

  function namedValues(prediction) {
    return prediction.flatMap((value, index) => [
      ...(index ? [element("span", { className: "comma" }, ", ")] : []),
      element("span", { className: "value", "data-name": nameOf(index) }, shown(value)),
    ]);
  }

  const nameOf = (index) => `Output ${index + 1}`;

  function ago(moment, now = Date.now()) {
    const seconds = (moment - now) / 1000;
    for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
      if (Math.abs(seconds) >= size) return relative.format(Math.round(seconds / size), unit);
    }
    return "just now";
  }

  // Classes keep their order while the probabilities change; of many classes, only the most likely are shown.
  function chosen(probabilities) {
    const all = Object.entries(probabilities);
    if (all.length <= MAX_BARS) return all;
    return all.sort((one, other) => other[1] - one[1]).slice(0, MAX_BARS);
  }

  function showBars(place, probabilities, likeliest, heading) {
    const rows = chosen(probabilities);
    let list = place.querySelector("ol");
    if (!list || list.children.length !== rows.length) {
      list = element("ol", { className: "bars", "aria-label": "Probability of each class" });
      rows.forEach(() => {
        const fill = element("span", { className: "fill" });
        list.append(element(
          "li", {}, element("span", { className: "class" }), element("span", { className: "track", "aria-hidden": "true" }, fill),
          element("span", { className: "share" }),
        ));
      });
      place.replaceChildren(...(heading ? [element("p", { className: "quiet" }, heading)] : []), list);
    }
    rows.forEach(([label, share], index) => {
      const [name, track, number] = list.children[index].children;
      name.textContent = label;
      name.title = label;
      track.firstChild.style.setProperty("--share", share);
      number.textContent = percent(share);
      number.title = String(share);
      list.children[index].classList.toggle("likeliest", label === likeliest);
    });
  }

  function showProbabilities(reply) {
    const place = find("bars"), given = reply.probabilities;
    if (!given) return place.replaceChildren();
    const groups = Array.isArray(given) ? given : [given];
    while (place.children.length > groups.length) place.lastChild.remove();
    groups.forEach((probabilities, index) => {
      if (!place.children[index]) place.append(element("div"));
      const label = Array.isArray(given) ? reply.prediction[index] : reply.prediction;
      showBars(place.children[index], probabilities, String(label), groups.length > 1 ? nameOf(index) : "");
    });
    return undefined;
  }

  function showAnswer(reply) {
    find("problem").hidden = true;
    find("result").hidden = false;
    const named = isNamed(reply.prediction), output = find("prediction");
    const text = shown(reply.prediction);
    // Written only if it changed: a screen reader should not repeat itself while a user draws.
    if (output.textContent !== text || output.classList.contains("named") !== named) {
      output.replaceChildren(...(named ? namedValues(reply.prediction) : [text]));
    }
    output.classList.toggle("named", named);
    output.classList.toggle("words", text.length > 12 && !named);
    output.classList.toggle("digits", !named && text.length > 18 && !text.includes(" "));
    showPeek(reply, text);
    find("took").textContent = `${Number(reply.processing_time_ms.toPrecision(3))} ms`;
    showProbabilities(reply);
  }

  // On a phone the answer may be off screen while the inputs change: a bar at the edge then shows its first line.
  function showPeek(reply, text) {
    const share = typeof reply.confidence === "number" ? element("span", {}, percent(reply.confidence)) : "";
    find("peek").replaceChildren(element("strong", {}, text), share);
  }

  // Shown only while the first line of the answer is off screen.
  new IntersectionObserver(([seen]) => {
    find("peek").hidden = seen.isIntersecting || seen.boundingClientRect.top < 0;
  }, { rootMargin: "0px 0px -112px 0px" }).observe(find("outcome"));

  function showProblem(sentence, details = "") {
    const parts = [element("p", {}, sentence)];
    if (details) parts.push(element("p", { className: "quiet" }, details));
    find("problem").replaceChildren(...parts);
    find("problem").hidden = false;
    find("result").hidden = true;
    find("peek").replaceChildren(element("span", {}, "No answer; see the reason below"));
    find("took").textContent = "";
    find("by").textContent = "";
  }

  // Shows the version that answered, and when it was activated (or loaded, if only that is known).
  function showBy(version, model) {
    const parts = ["Answered by ", element("strong", {}, `version ${version}`)];
    if (model && model.active_version === version) parts.push(model.activated_at ? ", activated " : ", loaded ", time(model.activated_at || model.loaded_at), ".");
    else parts.push(".");
    find("by").replaceChildren(...parts);
  }

  function time(text) {
    const moment = new Date(text);
    const today = moment.toDateString() === new Date().toDateString();
    const clock = moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
    const day = today ? "" : `${moment.toLocaleDateString()} `;
    return element("time", { datetime: text, title: moment.toString() }, `${day}${clock} (${ago(moment.getTime())})`);
  }

  Object.assign(window.mlapi, { isNamed, nameOf, showAnswer, showProblem, showBy, ago });
})();
