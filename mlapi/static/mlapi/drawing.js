// A grid of pixels on which a user draws with the pointer, by touch, or with the keyboard.
"use strict";

window.mlapi = window.mlapi || {};

(() => {
  const LARGEST_SIDE = 32;
  const PIXEL_NAME = /^(pixel|px)[ _-]?\d/i;

  // Returns {side, max} if the inputs are a square picture, else null.
  function pictureOf(inputs, row) {
    const side = Math.sqrt(inputs.length);
    if (!Number.isInteger(side) || side < 4 || side > LARGEST_SIDE) return null;
    if (!inputs.every((input) => input.type === "float" && !input.categories)) return null;
    const seen = inputs.flatMap((input, index) => (input.range || [row[index]]).map((value) => Number(value) || 0));
    const low = Math.min(...seen), high = Math.max(...seen);
    const isNamed = inputs.every((input) => PIXEL_NAME.test(input.name));
    const isDigit = side === 8 && low >= 0 && high <= 16 && high > 1;
    if (!isNamed && !isDigit) return null;
    return { side, max: high > 16 ? 255 : high > 1 || high === 0 ? 16 : 1 };
  }

  class Drawing {
    constructor({ side, max }, values, onChange) {
      this.side = side;
      this.max = max;
      this.values = values.map((value) => Number(value) || 0);
      this.onChange = onChange;
      this.erases = false;
      this.at = Math.floor(side / 2) * side + Math.floor(side / 2);
      this.element = this.build();
      this.cells.forEach((_, index) => this.paintCell(index));
    }

    build() {
      const grid = document.createElement("div");
      grid.className = "drawing";
      grid.style.setProperty("--side", this.side);
      grid.setAttribute("role", "grid");
      grid.setAttribute("aria-label", `Picture of ${this.side} by ${this.side} pixels`);
      grid.setAttribute("aria-describedby", "drawing-help");
      this.cells = [];
      for (let y = 0; y < this.side; y += 1) {
        const line = document.createElement("div");
        line.setAttribute("role", "row");
        for (let x = 0; x < this.side; x += 1) {
          const cell = document.createElement("div");
          cell.setAttribute("role", "gridcell");
          cell.className = "cell";
          cell.tabIndex = this.cells.length === this.at ? 0 : -1;
          this.cells.push(cell);
          line.append(cell);
        }
        grid.append(line);
      }
      grid.addEventListener("pointerdown", (event) => this.start(event));
      grid.addEventListener("pointermove", (event) => this.drag(event));
      grid.addEventListener("pointerup", () => { this.last = null; });
      grid.addEventListener("pointercancel", () => { this.last = null; });
      grid.addEventListener("contextmenu", (event) => event.preventDefault());
      grid.addEventListener("keydown", (event) => this.key(event));
      grid.addEventListener("focusin", (event) => {
        const index = this.cells.indexOf(event.target);
        if (index >= 0) this.moveTo(index, false);
      });
      return grid;
    }

    set(values) {
      this.values = values.map((value) => Number(value) || 0);
      this.cells.forEach((_, index) => this.paintCell(index));
      this.onChange();
    }

    paintCell(index) {
      const value = this.values[index];
      const row = Math.floor(index / this.side) + 1, column = (index % this.side) + 1;
      this.cells[index].style.setProperty("--ink", Math.min(1, Math.max(0, value / this.max)));
      this.cells[index].setAttribute("aria-label", `row ${row}, column ${column}: ${value} of ${this.max}`);
    }

    change(index, value) {
      const rounded = this.max > 1 ? Math.round(value) : value;
      if (this.values[index] === rounded) return false;
      this.values[index] = rounded;
      this.paintCell(index);
      return true;
    }

    position(event) {
      const box = this.element.getBoundingClientRect();
      const unit = box.width / this.side;
      return [(event.clientX - box.left) / unit - 0.5, (event.clientY - box.top) / unit - 0.5];
    }

    start(event) {
      if (event.button !== 0 && event.button !== 2) return;
      this.element.setPointerCapture(event.pointerId);
      this.last = this.position(event);
      this.wipes = this.erases || event.button === 2;
      const [x, y] = this.last.map((value) => Math.min(this.side - 1, Math.max(0, Math.round(value))));
      this.moveTo(y * this.side + x, true);
      event.preventDefault();
      if (this.dab(this.last)) this.onChange();
    }

    // Pointer events have gaps: the line between two positions is drawn too.
    drag(event) {
      if (!this.last) return;
      const next = this.position(event), [fromX, fromY] = this.last;
      const steps = Math.max(1, Math.ceil(Math.hypot(next[0] - fromX, next[1] - fromY) * 3));
      let changed = false;
      for (let step = 1; step <= steps; step += 1) {
        const part = step / steps;
        changed = this.dab([fromX + (next[0] - fromX) * part, fromY + (next[1] - fromY) * part]) || changed;
      }
      this.last = next;
      if (changed) this.onChange();
    }

    // A soft pen, because the training pictures of such models are scaled down from larger ones.
    dab([x, y]) {
      let changed = false;
      for (let row = Math.max(0, Math.floor(y) - 1); row <= Math.min(this.side - 1, Math.ceil(y) + 1); row += 1) {
        for (let column = Math.max(0, Math.floor(x) - 1); column <= Math.min(this.side - 1, Math.ceil(x) + 1); column += 1) {
          const distance = Math.hypot(column - x, row - y), index = row * this.side + column;
          if (this.wipes) {
            if (distance < 0.75) changed = this.change(index, 0) || changed;
            continue;
          }
          const ink = Math.min(1, Math.max(0, 1.3 - distance)) * this.max;
          if (ink > this.values[index]) changed = this.change(index, ink) || changed;
        }
      }
      return changed;
    }

    moveTo(index, focus) {
      this.cells[this.at].tabIndex = -1;
      this.at = index;
      this.cells[index].tabIndex = 0;
      if (focus) this.cells[index].focus({ preventScroll: true });
    }

    key(event) {
      const { side, at } = this, x = at % side, y = Math.floor(at / side), last = side - 1;
      const moves = {
        ArrowLeft: [Math.max(0, x - 1), y], ArrowRight: [Math.min(last, x + 1), y],
        ArrowUp: [x, Math.max(0, y - 1)], ArrowDown: [x, Math.min(last, y + 1)],
        Home: [0, y], End: [last, y], PageUp: [x, 0], PageDown: [x, last],
      };
      const value = this.values[at], step = this.max / 8;
      const changes = {
        " ": value > this.max / 2 ? 0 : this.max, Enter: value > this.max / 2 ? 0 : this.max,
        "+": Math.min(this.max, value + step), "-": Math.max(0, value - step), Delete: 0, Backspace: 0,
      };
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key in moves) this.moveTo(moves[event.key][1] * side + moves[event.key][0], true);
      else if (event.key in changes) { if (this.change(at, changes[event.key])) this.onChange(); }
      else return;
      event.preventDefault();
    }
  }

  Object.assign(window.mlapi, { Drawing, pictureOf });
})();
