// The playground: choose a model, change its inputs, see its answer.
"use strict";

(() => {
  const LOOK_SECONDS = 10;
  const PAUSE_MILLISECONDS = 90;
  const { ago, button, copy, editorOf, element, rowOf, showAnswer, showBy, showProblem, snippet, parse, stringify } = window.mlapi;
  const find = (id) => document.getElementById(id);
  const main = find("playground");
  const state = { models: [], model: null, editor: null, language: "curl", needsKey: "needsKey" in main.dataset };

  // What is served

  async function look() {
    let board;
    try {
      const reply = await fetch(main.dataset.models, { headers: { Accept: "application/json" }, cache: "no-store" });
      board = parse(await reply.text());
      if (!reply.ok) throw new Error(board.error);
    } catch (error) {
      note(`The service is not reached. Trying again every ${LOOK_SECONDS} seconds.`);
      return;
    }
    const gone = state.models.length && !board.models.length;
    state.models = board.models;
    find("stage").hidden = board.models.length === 0;
    note(...noteOf(board));
    if (gone) choose(null);
    if (board.models.length) offer(board);
  }

  function noteOf(board) {
    const missing = Object.entries(board.missing).map(([name, reason]) => `${name}: ${reason}.`);
    if (board.models.length || missing.length) return missing;
    return [
      "No model is in service yet. Publish one: ",
      element("code", {}, "python manage.py publish_model NAME ARTIFACT --activate"),
    ];
  }

  function note(...parts) {
    find("note").hidden = parts.length === 0;
    find("note").replaceChildren(...parts);
  }

  function offer(board) {
    const names = board.models.map((model) => model.name), select = find("model");
    if (names.join("\n") !== [...select.options].map((option) => option.value).join("\n")) {
      select.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
    }
    const wanted = [state.model && state.model.name, location.hash.slice(1), board.default];
    const name = wanted.find((item) => names.includes(item)) || names[0];
    select.value = name;
    choose(board.models.find((model) => model.name === name));
  }

  function choose(model) {
    const before = state.model;
    state.model = model;
    if (!model) return;
    showModel(model, before);
    const isSame = before && before.name === model.name;
    if (isSame && stringify(before.signature) === stringify(model.signature)) {
      if (before.active_version !== model.active_version) ask();
      return;
    }
    state.editor = editorOf(model, ask);
    find("inputs").replaceChildren(state.editor.element);
    const example = button("Example", () => {
      state.editor.fill(model.signature.inputs.length && !state.editor.box ? rowOf(model) : model.example.body.features);
      ask();
    });
    find("tools").replaceChildren(...(state.editor.tools || []), example);
    find("bars").replaceChildren();
    ask();
  }

  function showModel(model, before) {
    find("about").textContent = model.description;
    find("about").hidden = !model.description;
    const moment = model.activated_at || model.loaded_at;
    const since = element("time", { datetime: moment }, ago(Date.parse(moment)));
    const digest = element("span", { className: "digest", title: `sha256 ${model.digest}` }, model.digest.slice(0, 8));
    find("served").replaceChildren(element("strong", {}, `version ${model.active_version}`), model.activated_at ? " · activated " : " · loaded ", since, " · ", digest);
    if (before && before.name === model.name && before.active_version !== model.active_version) {
      find("served").classList.remove("fresh");
      // Asked for its width, the browser notices that the class was away, and plays it again.
      void find("served").offsetWidth;
      find("served").classList.add("fresh");
    }
  }

  // The question: one under way at a time, the latest inputs win

  let isAsking = false, isStale = false, timer = 0, retry = 0;

  function ask() {
    isStale = true;
    clearTimeout(retry);
    if (!isAsking && !timer) timer = setTimeout(send, PAUSE_MILLISECONDS);
  }

  function requestOf(model, features) {
    const body = { features };
    if (model.signature.methods.includes("predict_proba")) body.probabilities = true;
    const url = `${location.origin}${main.dataset.models}/${encodeURIComponent(model.name)}/predict`;
    return { url, body, perLine: state.editor.perLine, needsKey: state.needsKey };
  }

  async function send() {
    timer = 0;
    isStale = false;
    const { model, editor } = state, features = model && editor.read();
    if (features === undefined || !model) return;
    state.request = requestOf(model, features);
    showSnippet();
    if (state.needsKey && !find("key").value.trim()) {
      showProblem("An API key is needed here. Type it above to get answers.");
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

  async function answer(model, editor) {
    const headers = { "Content-Type": "application/json" }, key = find("key").value.trim();
    if (key) headers["X-API-Key"] = key;
    let reply, content;
    try {
      reply = await fetch(state.request.url, { method: "POST", headers, body: stringify(state.request.body) });
      content = parse(await reply.text());
    } catch (error) {
      if (state.model === model) showProblem("The service is not reached.", String(error.message));
      return;
    }
    if (state.editor !== editor) return;
    if (!reply.ok) return refuse(reply, content);
    showAnswer(content);
    showBy(content.version, state.model);
    if (content.version !== state.model.active_version) look();
  }

  function refuse(reply, content) {
    showProblem(content.error, `${reply.status} · ${content.code} · request ${content.request_id}`);
    if (content.feature) state.editor.blame(content.feature, `Expected ${content.expected}.`);
    if (reply.status === 401 || reply.status === 403) showKey();
    const wait = Number(reply.headers.get("Retry-After"));
    if (wait > 0) retry = setTimeout(ask, wait * 1000);
  }

  function showKey() {
    state.needsKey = true;
    find("key-form").hidden = false;
    showSnippet();
  }

  // The same as a call

  function showSnippet() {
    if (!state.request) return;
    state.request.needsKey = state.needsKey;
    find("snippet").firstChild.textContent = snippet(state.language, state.request);
  }

  function speak(tab) {
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
    tab.addEventListener("click", () => speak(tab));
    tab.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const next = tabs[(index + 1) % tabs.length];
      next.focus();
      speak(next);
    });
  });

  find("copy").addEventListener("click", async () => {
    const label = find("copy");
    try {
      await copy(find("snippet").textContent);
      label.textContent = "Copied";
    } catch (error) {
      label.textContent = "Not allowed";
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
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  setInterval(() => { if (!document.hidden) look(); }, LOOK_SECONDS * 1000);
  look();
})();
