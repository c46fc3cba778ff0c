// The playground: choose a model, change its inputs, see its prediction.
"use strict";

(() => {
  const REFRESH_SECONDS = 10;
  const PAUSE_MILLISECONDS = 90;
  const MAX_TABLE_ROWS = 50;
  const {
    ago, allowExplanation, button, copy, editorOf, element, parse, percent, refuseExplanation, rowOf, showAnswer, showBy, showExplanation, showProblem, snippet,
    stringify, isNamed, nameOf,
  } = window.mlapi;
  const find = (id) => document.getElementById(id);
  const main = find("playground");
  const trial = Number(new URLSearchParams(location.search).get("version")) || null;
  const state = { models: [], model: null, editor: null, language: "curl", needsKey: "needsKey" in main.dataset };

  // Served models

  // A version that is not active: the registry's API returns its schema, and predicts with it in a sandbox.
  async function readTrial() {
    const name = decodeURIComponent(location.hash.slice(1)), url = `/api/models/${encodeURIComponent(name)}/versions/${trial}`;
    const reply = await fetch(url, { headers: { Accept: "application/json" }, cache: "no-store" });
    const found = parse(await reply.text());
    if (reply.status === 401 || reply.status === 403) return { error: [`${found.error} `, element("a", { href: `${main.dataset.admin}?next=${encodeURIComponent(location.pathname + location.search + location.hash)}` }, "Log in")] };
    if (!reply.ok) return { error: [found.error] };
    if (!found.signature || found.state !== "ready") return { error: [`${name} version ${trial} is ${found.state}. Only a version that passed its validation can be tried.`] };
    const model = {
      name, active_version: found.number, digest: found.digest, description: found.description, signature: found.signature,
      example: { body: { features: found.example } }, samples: found.samples, loaded_at: found.checked_at, trialUrl: `${location.origin}${url}/try`,
    };
    return { model };
  }

  async function showTrial() {
    try {
      const { model, error } = await readTrial();
      find("stage").hidden = !model;
      if (!model) return note(...error);
      const registered = await fetch(`/api/models/${encodeURIComponent(model.name)}`, { headers: { Accept: "application/json" }, cache: "no-store" });
      const other = (parse(await registered.text()) || {}).active_version ? [element("a", { href: `/#${model.name}` }, "Use the active version")] : [];
      note(`Version ${trial} runs in a sandbox, so an answer takes a few seconds. `, ...other);
      find("model").replaceChildren(element("option", { value: model.name }, model.name));
      find("model").disabled = true;
      state.models = [model];
      choose(model);
    } catch (error) {
      note("The service is unavailable. Reload the page.");
    }
    return undefined;
  }

  async function refreshModels() {
    let catalogue;
    try {
      const reply = await fetch(`${main.dataset.models}?limit=1000`, { headers: { Accept: "application/json" }, cache: "no-store" });
      catalogue = parse(await reply.text());
      if (!reply.ok) throw new Error(catalogue.error);
    } catch (error) {
      note(`The service is unavailable. This page tries again every ${REFRESH_SECONDS} seconds.`);
      return;
    }
    const gone = state.models.length && !catalogue.models.length;
    state.models = catalogue.models;
    find("stage").hidden = catalogue.models.length === 0;
    note(...noteOf(catalogue));
    if (gone) choose(null);
    if (catalogue.models.length) offer(catalogue);
  }

  function noteOf(catalogue) {
    const missing = Object.entries(catalogue.missing).map(([name, reason]) => `${name}: ${reason}.`);
    if (catalogue.models.length || missing.length) return missing;
    return [
      "No model is active yet. ", element("a", { href: main.dataset.upload }, "Upload one"), ", or publish one: ",
      element("code", {}, "python manage.py publish_model NAME ARTIFACT --activate"),
    ];
  }

  function note(...parts) {
    find("note").hidden = parts.length === 0;
    find("note").replaceChildren(...parts);
  }

  function offer(catalogue) {
    const names = catalogue.models.map((model) => model.name), select = find("model");
    if (names.join("\n") !== [...select.options].map((option) => option.value).join("\n")) {
      select.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
    }
    const wanted = [state.model && state.model.name, location.hash.slice(1), catalogue.default];
    const name = wanted.find((item) => names.includes(item)) || names[0];
    select.value = name;
    choose(catalogue.models.find((model) => model.name === name));
  }

  function choose(model) {
    const before = state.model;
    state.model = model;
    if (!model) return;
    showModel(model, before);
    const isSame = before && before.name === model.name;
    if (isSame && stringify(before.signature) === stringify(model.signature)) {
      if (before.active_version === model.active_version) return;
      allowExplanation();
      ask();
      return;
    }
    allowExplanation();
    state.editor = editorOf(model, ask);
    find("inputs").replaceChildren(state.editor.element);
    let shown = 0;
    const samples = model.samples && model.samples.length ? model.samples : [model.example.body.features];
    const example = button(samples.length > 1 ? "Next example" : "Example", () => {
      shown = (shown + 1) % samples.length;
      state.editor.fill(model.signature.inputs.length && !state.editor.box ? rowOf(model, samples[shown]) : samples[shown]);
      ask();
    });
    find("tools").replaceChildren(...(state.editor.tools || []), example);
    find("no-sample").hidden = Boolean(model.samples && model.samples.length);
    find("table").replaceChildren();
    find("bars").replaceChildren();
    ask();
  }

  function pageOf(model) {
    const page = main.dataset.page.replace("NAME", encodeURIComponent(model.name));
    return trial ? `${page}?version=${trial}` : page;
  }

  function showModel(model, before) {
    find("about").textContent = model.description;
    find("about").hidden = !model.description;
    const moment = model.activated_at || model.loaded_at, was = model.trialUrl ? " · validated " : model.activated_at ? " · activated " : " · loaded ";
    const since = element("time", { datetime: moment }, ago(Date.parse(moment)));
    const digest = element("span", { className: "digest", title: `sha256 ${model.digest}` }, model.digest.slice(0, 8));
    const page = element("a", { href: pageOf(model) }, "in the admin");
    find("served").replaceChildren(element("strong", {}, `version ${model.active_version}`), was, since, " · ", digest, " · ", page);
    if (before && before.name === model.name && before.active_version !== model.active_version) {
      find("served").classList.remove("fresh");
      // Reading the width makes the browser notice the removed class, so that the animation restarts.
      void find("served").offsetWidth;
      find("served").classList.add("fresh");
    }
  }

  // The prediction request: one at a time, with the latest inputs

  let isAsking = false, isStale = false, timer = 0, retry = 0;

  function ask() {
    isStale = true;
    clearTimeout(retry);
    if (!isAsking && !timer) timer = setTimeout(send, PAUSE_MILLISECONDS);
  }

  function requestOf(model, features) {
    const body = { features };
    if (model.signature.methods.includes("predict_proba")) body.probabilities = true;
    if (find("explain").checked && !model.trialUrl) body.explain = true;
    const url = model.trialUrl || `${location.origin}${main.dataset.models}/${encodeURIComponent(model.name)}/predict`;
    return { url, body, perLine: state.editor.perLine, needsKey: state.needsKey && !model.trialUrl, needsToken: Boolean(model.trialUrl) };
  }

  async function send() {
    timer = 0;
    isStale = false;
    const { model, editor } = state, features = model && editor.read();
    if (features === undefined || !model) return;
    state.request = requestOf(model, features);
    showSnippet();
    if (state.request.needsKey && !find("key").value.trim()) {
      showProblem("An API key is required. Enter it above to get predictions.");
      return;
    }
    isAsking = true;
    try {
      await answer(model, editor);
    } finally {
      isAsking = false;
      if (isStale) ask();
    }
  }

  function credentials(model) {
    // The session's CSRF token.
    if (model.trialUrl) return { "X-CSRFToken": (document.cookie.match(/(?:^|; )csrftoken=([^;]+)/) || [])[1] || "" };
    const key = find("key").value.trim();
    return key ? { "X-API-Key": key } : {};
  }

  async function answer(model, editor) {
    const headers = { ...credentials(model), "Content-Type": "application/json" };
    let reply, content;
    try {
      reply = await fetch(state.request.url, { method: "POST", headers, body: stringify(state.request.body) });
      content = parse(await reply.text());
    } catch (error) {
      if (state.model === model) showProblem("The service did not answer. Change an input to try again.", String(error.message));
      return;
    }
    if (state.editor !== editor) return;
    if (!reply.ok) return refuse(reply, content);
    showAnswer(content);
    if (!find("explain").disabled) showExplanation(content.explanation);
    showBy(content.version, state.model);
    if (content.version !== state.model.active_version && !trial) refreshModels();
  }

  function refuse(reply, content) {
    if (content.code === "no_explanation") {
      refuseExplanation(content.error);
      ask();
      return;
    }
    showProblem(content.error, `${reply.status} · ${content.code} · request ${content.request_id}`);
    if (content.feature) state.editor.markInvalid(content.feature, `Expected ${content.expected}.`);
    if (!trial && (reply.status === 401 || reply.status === 403)) showKey();
    const wait = Number(reply.headers.get("Retry-After"));
    if (wait > 0) retry = setTimeout(ask, wait * 1000);
  }

  function showKey() {
    state.needsKey = true;
    find("key-form").hidden = false;
    showSnippet();
  }

  // A table of rows: a dropped or selected CSV

  async function sendTable(file) {
    const { model } = state, place = find("table");
    if (!file || !model) return;
    place.replaceChildren(element("p", { className: "quiet" }, `Predicting the rows of ${file.name}.`));
    const url = model.trialUrl || `${location.origin}${main.dataset.models}/${encodeURIComponent(model.name)}/invocations?probabilities=${model.signature.methods.includes("predict_proba")}`;
    const headers = { ...credentials(model), "Content-Type": "text/csv; header=present" };
    try {
      const text = await file.text();
      const reply = await fetch(url, { method: "POST", headers, body: text });
      const content = parse(await reply.text());
      if (!reply.ok) place.replaceChildren(element("p", { className: "problem" }, content.error || content.message));
      else place.replaceChildren(...tableOf(text, content));
    } catch (error) {
      place.replaceChildren(element("p", { className: "problem" }, `The service did not answer (${error.message}). Choose the file again.`));
    }
  }

  function tableOf(text, content) {
    const lines = text.split(/\r?\n/).filter(Boolean), shown = content.predictions.slice(0, MAX_TABLE_ROWS);
    const named = shown.length > 0 && isNamed(shown[0]), chances = (content.probabilities || []).filter((row) => !Array.isArray(row));
    const lineOf = (tag, words) => element("tr", {}, ...words.map((word) => element(tag, {}, String(word))));
    const rows = shown.map((prediction, index) => {
      const most = chances.length ? [percent(Math.max(...Object.values(chances[index])))] : [];
      return lineOf("td", [...(named ? prediction : [prediction]), ...most, lines[index + 1] || ""]);
    });
    const head = lineOf("th", [...(named ? shown[0].map((_, index) => nameOf(index)) : ["Prediction"]), ...(chances.length ? ["Highest probability"] : []), lines[0]]);
    const note = content.predictions.length > shown.length ? `${content.predictions.length} rows. The table shows the first ${shown.length}.` : `${content.predictions.length} rows.`;
    return [element("p", { className: "quiet", role: "status" }, note), element("div", { className: "scroll" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)))];
  }

  const chooser = find("csv");
  chooser.addEventListener("change", () => { sendTable(chooser.files[0]); chooser.value = ""; });
  const target = find("drop");
  target.addEventListener("dragover", (event) => { event.preventDefault(); target.classList.add("over"); });
  target.addEventListener("dragleave", () => target.classList.remove("over"));
  target.addEventListener("drop", (event) => {
    event.preventDefault();
    target.classList.remove("over");
    sendTable(event.dataTransfer.files[0]);
  });

  // Code

  function showSnippet() {
    if (!state.request) return;
    state.request.needsKey = state.needsKey && !trial;
    find("snippet").firstChild.textContent = snippet(state.language, state.request);
  }

  function selectLanguage(tab) {
    document.querySelectorAll("[data-language]").forEach((other) => {
      other.setAttribute("aria-selected", String(other === tab));
      other.tabIndex = other === tab ? 0 : -1;
    });
    find("snippet").setAttribute("aria-labelledby", tab.id);
    state.language = tab.dataset.language;
    showSnippet();
  }

  const tabs = [...document.querySelectorAll("[data-language]")];
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => selectLanguage(tab));
    tab.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const step = event.key === "ArrowRight" ? 1 : tabs.length - 1;
      const next = tabs[(index + step) % tabs.length];
      next.focus();
      selectLanguage(next);
    });
  });

  find("copy").addEventListener("click", async () => {
    const label = find("copy");
    try {
      await copy(find("snippet").textContent);
      label.textContent = "Copied";
    } catch (error) {
      label.textContent = "Copy by hand";
    }
    setTimeout(() => { label.textContent = "Copy"; }, 1500);
  });

  find("model").addEventListener("change", () => {
    history.replaceState(null, "", `#${find("model").value}`);
    choose(state.models.find((model) => model.name === find("model").value));
  });
  find("inputs").addEventListener("submit", (event) => event.preventDefault());
  find("key-form").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  find("key").addEventListener("input", ask);
  find("key-form").hidden = !state.needsKey;
  find("explain").addEventListener("change", ask);
  find("explain-choice").hidden = Boolean(trial);
  if (trial) {
    showTrial();
  } else {
    document.addEventListener("visibilitychange", () => { if (!document.hidden) refreshModels(); });
    setInterval(() => { if (!document.hidden) refreshModels(); }, REFRESH_SECONDS * 1000);
    refreshModels();
  }
})();
