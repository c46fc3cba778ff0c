// The request as code to paste: curl, Python and JavaScript.
"use strict";

window.mlapi = window.mlapi || {};

(() => {
  // Returns JSON on one line; a list longer than `perLine`, such as a picture, on several lines.
  function json(value, perLine = 0) {
    return literal(value, perLine, { true: "true", false: "false", null: "null" });
  }

  function python(value, perLine = 0) {
    return literal(value, perLine, { true: "True", false: "False", null: "None" });
  }

  function literal(value, perLine, words) {
    if (Array.isArray(value)) return list(value, perLine, words);
    if (value !== null && typeof value === "object") {
      const parts = Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${literal(item, perLine, words)}`);
      return `{${parts.join(", ")}}`;
    }
    return typeof value === "boolean" || value === null ? words[String(value)] : window.mlapi.stringify(value);
  }

  function list(value, perLine, words) {
    const parts = value.map((item) => literal(item, perLine, words));
    if (!perLine || parts.length <= perLine) return `[${parts.join(", ")}]`;
    const width = Math.max(...parts.map((part) => part.length)), lines = [];
    for (let start = 0; start < parts.length; start += perLine) {
      lines.push(parts.slice(start, start + perLine).map((part) => part.padStart(width)).join(", "));
    }
    return `[\n  ${lines.join(",\n  ")}\n]`;
  }

  function curl(request) {
    const lines = [`curl -s ${request.url}`, "-H 'Content-Type: application/json'"];
    if (request.needsKey) lines.push('-H "X-API-Key: $MLAPI_KEY"');
    if (request.needsToken) lines.push('-H "Authorization: Bearer $MLAPI_TOKEN"');
    lines.push(`-d '${json(request.body, request.perLine).replaceAll("'", "'\\''")}'`);
    return lines.join(" \\\n  ");
  }

  function script(request) {
    const lines = request.needsKey || request.needsToken ? ["import os", ""] : [];
    lines.push("import requests", "", "answer = requests.post(", `    ${JSON.stringify(request.url)},`);
    if (request.needsKey) lines.push('    headers={"X-API-Key": os.environ["MLAPI_KEY"]},');
    if (request.needsToken) lines.push('    headers={"Authorization": "Bearer " + os.environ["MLAPI_TOKEN"]},');
    lines.push(`    json=${python(request.body, request.perLine).replaceAll("\n", "\n    ")},`, ")", "print(answer.json())");
    return lines.join("\n");
  }

  function browser(request) {
    const lines = [`const answer = await fetch(${JSON.stringify(request.url)}, {`, '  method: "POST",'];
    const headers = ['"Content-Type": "application/json"'];
    if (request.needsKey) headers.push('"X-API-Key": process.env.MLAPI_KEY');
    if (request.needsToken) headers.push('Authorization: `Bearer ${process.env.MLAPI_TOKEN}`');
    lines.push(`  headers: { ${headers.join(", ")} },`);
    lines.push(`  body: JSON.stringify(${json(request.body, request.perLine).replaceAll("\n", "\n  ")}),`, "});");
    lines.push("console.log(await answer.json());");
    return lines.join("\n");
  }

  const LANGUAGES = { curl, python: script, javascript: browser };

  // Returns the code in a language for {url, body, perLine, needsKey, needsToken}.
  function snippet(language, request) {
    return LANGUAGES[language](request);
  }

  async function copy(text) {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    // Without TLS, a browser only allows copying selected text.
    const box = window.mlapi.element("textarea", { className: "aside", value: text, readOnly: true });
    document.body.append(box);
    box.select();
    const done = document.execCommand("copy");
    box.remove();
    if (!done) throw new Error("The browser does not allow copying.");
    return undefined;
  }

  Object.assign(window.mlapi, { snippet, copy });
})();
