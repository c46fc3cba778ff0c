// Builds a form from a schema, and reads a row from the form.
"use strict";

window.mlapi = window.mlapi || {};

(() => {
  const MAX_FIELDS = 200;
  const MISSING = "\u2014 missing \u2014";
  const { numberOf, parse, stringify } = window.mlapi;

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "className" || key === "value" || typeof value !== "string") made[key] = value;
      else made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  function button(text, onClick, attributes = {}) {
    const made = element("button", { type: "button", ...attributes }, text);
    made.addEventListener("click", onClick);
    return made;
  }

  // Returns the next step of 1, 2 or 5 times a power of ten that is not below a value.
  function roundStep(value) {
    const power = 10 ** Math.floor(Math.log10(value));
    return [1, 2, 5, 10].find((step) => step * power >= value * 0.999) * power;
  }

  // The range of a slider: the sample's range plus a quarter on each side, or a range around the only known value.
  function span(input, value) {
    const near = typeof value === "bigint" ? Number(value) : value, known = Number.isFinite(near) ? near : 0;
    let [low, high] = input.range ? input.range.map(Number) : (known === 0 ? [-3, 3] : known > 0 ? [0, 2 * known] : [2 * known, 0]);
    if (low === high) [low, high] = known === 0 ? [-3, 3] : [Math.min(0, 2 * low), Math.max(0, 2 * high)];
    const step = input.type === "integer" ? Math.max(1, roundStep((high - low) / 200)) : roundStep((high - low) / 200);
    const room = input.range ? (high - low) / 4 : 0;
    const from = low >= 0 ? Math.max(0, low - room) : low - room, to = high <= 0 ? Math.min(0, high + room) : high + room;
    return { low: round(Math.floor(from / step) * step), high: round(Math.ceil(to / step) * step), step };
  }

  function round(value) {
    return Number(value.toPrecision(12));
  }

  // Each field: an element, read() -> {value} or {problem}, and write(value).
  function numberField(input, id, value) {
    const { low, high, step } = span(input, value);
    const slider = element("input", {
      type: "range", min: String(low), max: String(high), step: String(step), tabIndex: -1, "aria-hidden": "true",
    });
    const number = element("input", {
      id, type: "number", step: "any", inputmode: "decimal", placeholder: input.nullable ? "missing" : "",
    });
    slider.addEventListener("input", () => { number.value = String(round(Number(slider.value))); });
    number.addEventListener("input", () => { if (number.value !== "") slider.value = number.value; });
    return {
      className: "number",
      parts: [slider, number],
      read() {
        if (number.validity.badInput) return { problem: "Enter a number." };
        if (number.value === "") return input.nullable ? { value: null } : { problem: "Enter a number." };
        const read = numberOf(number.value);
        if (input.type === "integer" && typeof read !== "bigint" && !Number.isInteger(read)) return { problem: "Enter a whole number." };
        return { value: read };
      },
      write(given) {
        number.value = given === null || given === undefined ? "" : String(given);
        if (number.value !== "") slider.value = number.value;
      },
    };
  }

  function choiceField(input, id, options) {
    const all = input.nullable ? [...options, null] : options;
    const select = element("select", { id });
    all.forEach((option, index) => {
      select.append(element("option", { value: String(index) }, option === null ? MISSING : String(option)));
    });
    return {
      className: "chosen",
      parts: [select],
      read: () => ({ value: all[Number(select.value)] }),
      write(given) {
        // 1 and 0 are also accepted as booleans.
        const index = all.findIndex((option) => option === given || (typeof option === "boolean" && Number(option) === given));
        select.value = String(Math.max(0, index));
      },
    };
  }

  function textField(input, id, { isLong, example }) {
    const box = isLong ? element("textarea", { id, rows: "4" }) : element("input", { id, type: "text" });
    if (input.type === "datetime") box.placeholder = "2024-05-01T12:30:00";
    const parts = [box];
    if (input.categories) {
      const list = element("datalist", { id: `${id}-known` });
      input.categories.slice(0, 500).forEach((item) => list.append(element("option", { value: String(item) })));
      box.setAttribute("list", list.id);
      parts.push(list);
    }
    return {
      className: isLong ? "long" : "text",
      parts,
      read() {
        if (box.value === "" && input.nullable) return { value: null };
        if (input.type === "float") {
          return box.value !== "" && Number.isFinite(Number(box.value))
            ? { value: numberOf(box.value) } : { problem: "Enter a number." };
        }
        if (input.type !== "any" || typeof example === "string") return { value: box.value };
        if (box.value === "true" || box.value === "false") return { value: box.value === "true" };
        const isNumber = box.value.trim() !== "" && Number.isFinite(Number(box.value));
        return { value: isNumber ? numberOf(box.value) : box.value };
      },
      write(given) { box.value = given === null || given === undefined ? "" : String(given); },
    };
  }

  function fieldOf(input, id, value, isOnly) {
    if (input.categories && input.closed) return choiceField(input, id, input.categories);
    if (input.type === "boolean") return choiceField(input, id, [true, false]);
    if (input.categories || ["string", "datetime", "any"].includes(input.type)) {
      return textField(input, id, { isLong: isOnly && !input.categories && input.type === "string", example: value });
    }
    return numberField(input, id, value);
  }

  // A form with one field per input. `isNamed` tells whether the row is sent by name.
  class Fields {
    constructor(inputs, row, isNamed, onChange) {
      this.inputs = inputs;
      this.isNamed = isNamed;
      this.fields = inputs.map((input, index) => fieldOf(input, `input-${index}`, row[index], inputs.length === 1));
      this.element = element("div", { className: "fields" }, ...this.fields.map((field, index) => this.wrap(field, index)));
      this.element.addEventListener("input", onChange);
      this.fill(row);
    }

    wrap(field, index) {
      const input = this.inputs[index], id = `input-${index}`;
      field.problem = element("p", { className: "wrong", id: `${id}-problem`, hidden: true });
      field.control = field.parts.find((part) => part.id === id);
      field.control.setAttribute("aria-describedby", field.problem.id);
      return element(
        "div", { className: `field ${field.className}` },
        element("label", { for: id }, input.name), ...field.parts, field.problem,
      );
    }

    fill(row) {
      this.fields.forEach((field, index) => field.write(row[index]));
    }

    // Returns the value of `features`, or undefined if a field has an invalid value.
    read() {
      const answers = this.fields.map((field) => field.read());
      answers.forEach((answer, index) => this.mark(index, answer.problem));
      if (answers.some((answer) => answer.problem)) return undefined;
      const row = answers.map((answer) => answer.value);
      return this.isNamed ? Object.fromEntries(this.inputs.map((input, index) => [input.name, row[index]])) : row;
    }

    mark(index, problem) {
      const field = this.fields[index];
      field.control.setAttribute("aria-invalid", String(Boolean(problem)));
      field.problem.hidden = !problem;
      field.problem.textContent = problem || "";
    }

    markInvalid(name, sentence) {
      const index = this.inputs.findIndex((input) => input.name === name);
      if (index >= 0) this.mark(index, sentence);
    }
  }

  // A row of pixels as a picture to draw on.
  class Picture {
    constructor(picture, row, onChange) {
      this.drawing = new window.mlapi.Drawing(picture, row, onChange);
      this.perLine = picture.side;
      const help = "Draw with the pointer, or move with the arrow keys and press space. + and \u2212 make a pixel darker or lighter.";
      this.element = element(
        "div", { className: "picture" }, this.drawing.element, element("p", { className: "quiet", id: "drawing-help" }, help),
      );
      const pens = [["Draw", false], ["Erase", true]].map(([text, erases]) => {
        const pen = button(text, () => {
          this.drawing.erases = erases;
          pens.forEach((other) => other.setAttribute("aria-pressed", String(other === pen)));
        });
        pen.setAttribute("aria-pressed", String(!erases));
        return pen;
      });
      this.tools = [
        element("div", { className: "tabs", role: "group", "aria-label": "Pen" }, ...pens),
        button("Clear", () => this.drawing.set(row.map(() => 0))),
      ];
    }

    fill(row) { this.drawing.set(row); }

    read() { return [...this.drawing.values]; }

    markInvalid() { /* a pixel always holds a number of the right range */ }
  }

  // A JSON editor, for rows with arbitrary names and for rows of more than MAX_FIELDS features.
  class Json {
    constructor(example, onChange) {
      this.box = element("textarea", { id: "input-json", rows: "8", spellcheck: "false", "aria-describedby": "json-problem" });
      this.problem = element("p", { className: "wrong", id: "json-problem", hidden: true });
      this.element = element(
        "div", { className: "field long" }, element("label", { for: "input-json" }, "features, as JSON"), this.box, this.problem,
      );
      this.box.addEventListener("input", onChange);
      this.fill(example);
    }

    fill(example) { this.box.value = stringify(example, 2); }

    read() {
      try {
        const value = parse(this.box.value);
        this.problem.hidden = true;
        return value;
      } catch (error) {
        this.problem.textContent = `This is not valid JSON: ${error.message}`;
        this.problem.hidden = false;
        return undefined;
      }
    }

    markInvalid() { /* the answer shows the error */ }
  }

  // Returns the editor that fits a model's schema, filled with its example.
  function editorOf(model, onChange) {
    const { inputs } = model.signature, example = model.example.body.features;
    if (inputs.length === 0 || inputs.length > 1024) return new Json(example, onChange);
    const row = rowOf(model);
    const picture = window.mlapi.pictureOf(inputs, row);
    if (picture) return new Picture(picture, row, onChange);
    if (inputs.length > MAX_FIELDS) return new Json(example, onChange);
    return new Fields(inputs, row, !Array.isArray(example), onChange);
  }

  // Returns a row in the schema's order, by default the model's example.
  function rowOf(model, example = model.example.body.features) {
    const { inputs } = model.signature;
    if (Array.isArray(example)) return example;
    if (example === null || typeof example !== "object") return [example];
    return inputs.map((input) => example[input.name]);
  }

  Object.assign(window.mlapi, { element, button, editorOf, rowOf });
})();
