"use strict";
// Adds to a page that is complete without it: zoom, tooltips, filters, and the Vega charts.
// Text from the night is only ever set as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const MINUTE = 60e6;
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  const clock = (at) => {
    const seconds = Math.floor(at / 1e6);
    return `${two(seconds / 3600)}:${two((seconds % 3600) / 60)}:${two(seconds % 60)}`;
  };

  // Tooltips: one box for every mark; the mark keeps its words for those who do not point.
  const tooltip = document.getElementById("tooltip");
  const words = new WeakMap();
  for (const title of document.querySelectorAll("#lanes title")) {
    const mark = title.parentNode;
    words.set(mark, title.textContent);
    mark.setAttribute("aria-label", title.textContent);
    title.remove();
  }
  const say = (text, event) => {
    tooltip.hidden = !text;
    if (!text) return;
    tooltip.textContent = text;
    const box = tooltip.getBoundingClientRect();
    const left = Math.min(event.clientX + 14, innerWidth - box.width - 8);
    const below = event.clientY + 16;
    const top = below + box.height > innerHeight ? event.clientY - box.height - 12 : below;
    tooltip.style.left = `${Math.max(4, left)}px`;
    tooltip.style.top = `${Math.max(4, top)}px`;
  };
  addEventListener("scroll", () => say(""), { passive: true });

  // The lanes: what carries an instant is moved whenever the window of time changes.
  const lanes = document.getElementById("lanes");
  const number = (element, name) => Number(element.dataset[name]);
  const begin = number(lanes, "start");
  const night = { start: begin, end: Math.max(number(lanes, "end"), begin + 1) };
  const height = number(lanes, "height");
  const view = { start: night.start, end: night.end };
  const bars = [...lanes.querySelectorAll("rect[data-a]")].map((e) => [e, number(e, "a"), number(e, "b")]);
  const insides = [...lanes.querySelectorAll("text.inside")].map((e) => [
    e, number(e, "a"), number(e, "b"), number(e, "indent"), e.textContent.length * 6.3 + 3,
  ]);
  const arrows = [...lanes.querySelectorAll("path[data-a]")].map((e) => [
    e, number(e, "a"), number(e, "b"), e.dataset.y0, e.dataset.y1,
  ]);
  const marks = [...lanes.querySelectorAll("use[data-at]")].map((e) => [e, number(e, "at"), e.dataset.y]);
  const guides = [...lanes.querySelectorAll(".guide")].map((e) => [e, number(e, "t")]);
  const grid = lanes.querySelector(".grid");
  const cursor = document.getElementById("cursor");
  const plot = { left: 0, right: 0 };
  const SVG = "http://www.w3.org/2000/svg";

  const across = (at) =>
    plot.left + ((at - view.start) / (view.end - view.start)) * (plot.right - plot.left);
  const instant = (x) =>
    view.start + ((x - plot.left) / (plot.right - plot.left)) * (view.end - view.start);

  const drawGrid = () => {
    const steps = [1 / 60, 5 / 60, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440];
    const most = Math.max(3, (plot.right - plot.left) / 72);
    const minutes = steps.find((step) => (view.end - view.start) / (step * MINUTE) <= most) || 2880;
    const step = minutes * MINUTE;
    const top = number(lanes, "top");
    grid.replaceChildren();
    for (let at = Math.ceil(view.start / step) * step; at <= view.end; at += step) {
      const x = across(at);
      const line = document.createElementNS(SVG, "line");
      for (const [name, value] of [["x1", x], ["x2", x], ["y1", top - 4], ["y2", height - top + 4]]) {
        line.setAttribute(name, value);
      }
      grid.append(line);
      for (const y of [top - 10, height - top + 18]) {
        const text = document.createElementNS(SVG, "text");
        text.setAttribute("x", x);
        text.setAttribute("y", y);
        text.textContent = clock(at).replace(/^(\d+:\d+):00$/, "$1");
        grid.append(text);
      }
    }
  };
  const draw = () => {
    const width = Math.max(lanes.clientWidth || 1240, 300);
    plot.left = number(lanes, "gutter");
    plot.right = width - number(lanes, "margin");
    lanes.setAttribute("viewBox", `0 0 ${width} ${height}`);
    document.getElementById("plot-box").setAttribute("width", plot.right - plot.left);
    drawGrid();
    for (const [element, start, end] of bars) {
      const x = across(start);
      element.setAttribute("x", x);
      element.setAttribute("width", Math.max(across(end) - x, 1.6));
    }
    for (const [element, start, end, indent, room] of insides) {
      const x = Math.max(across(start), plot.left);
      const fits = Math.min(across(end), plot.right) - x > room + indent;
      element.setAttribute("x", x + indent);
      element.setAttribute("display", fits ? "inline" : "none");
    }
    for (const [element, start, end, from, to] of arrows) {
      element.setAttribute("d", `M${across(start)},${from} L${across(end)},${to}`);
    }
    for (const [element, at, y] of marks) {
      const isSeen = at >= view.start && at <= view.end;
      element.setAttribute("transform", `translate(${across(at)},${y})`);
      element.setAttribute("visibility", isSeen ? "visible" : "hidden");
    }
    for (const [element, at] of guides) {
      element.setAttribute("x1", across(at));
      element.setAttribute("x2", across(at));
    }
  };
  const look = (start, length) => {
    const whole = night.end - night.start;
    const span = Math.min(Math.max(length, MINUTE / 4), whole);
    view.start = Math.min(Math.max(start, night.start), night.end - span);
    view.end = view.start + span;
    draw();
  };
  const zoom = (factor, at) => {
    const span = (view.end - view.start) * factor;
    look(at - ((at - view.start) / (view.end - view.start)) * span, span);
  };
  const middle = () => (view.start + view.end) / 2;
  const commands = {
    in: () => zoom(1 / 2, middle()),
    out: () => zoom(2, middle()),
    all: () => look(night.start, night.end - night.start),
    left: () => look(view.start - (view.end - view.start) / 5, view.end - view.start),
    right: () => look(view.start + (view.end - view.start) / 5, view.end - view.start),
  };
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", commands[button.dataset.zoom]);
  }
  const keys = { "+": "in", "=": "in", "-": "out", 0: "all", ArrowLeft: "left", ArrowRight: "right" };
  lanes.addEventListener("keydown", (event) => {
    const command = keys[event.key];
    if (!command || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    commands[command]();
  });
  const place = (event) => event.clientX - lanes.getBoundingClientRect().left;
  lanes.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(Math.exp(event.deltaY / 300), instant(place(event)));
  }, { passive: false });
  lanes.addEventListener("dblclick", (event) => zoom(1 / 3, instant(place(event))));

  const fingers = new Map();
  let spread = 0;
  const gap = () => {
    const [one, other] = [...fingers.values()];
    return Math.max(Math.abs(one - other), 12);
  };
  const release = (event) => {
    fingers.delete(event.pointerId);
    lanes.classList.toggle("dragging", fingers.size > 0);
  };
  lanes.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, place(event));
    if (fingers.size === 2) spread = gap();
    lanes.classList.add("dragging");
    say(words.get(event.target) || "", event);
  });
  addEventListener("pointerup", release);
  addEventListener("pointercancel", release);
  lanes.addEventListener("pointermove", (event) => {
    const x = place(event);
    if (fingers.has(event.pointerId) && event.buttons) {
      const before = fingers.get(event.pointerId);
      fingers.set(event.pointerId, x);
      if (fingers.size === 2) {
        const [one, other] = [...fingers.values()];
        const wider = gap();
        zoom(spread / wider, instant((one + other) / 2));
        spread = wider;
      } else {
        look(view.start - (instant(x) - instant(before)), view.end - view.start);
      }
    }
    say(words.get(event.target) || "", event);
    const isInside = x >= plot.left && x <= plot.right;
    cursor.setAttribute("visibility", isInside ? "visible" : "hidden");
    if (!isInside) return;
    const [line, box, text] = cursor.children;
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    box.setAttribute("x", x - 32);
    text.setAttribute("x", x);
    text.textContent = clock(instant(x));
  });
  lanes.addEventListener("pointerleave", () => {
    say("");
    cursor.setAttribute("visibility", "hidden");
  });
  draw();
  new ResizeObserver(draw).observe(lanes);

  // Block maps: one machine at a time, and the place under the pointer in words.
  const heats = [...document.querySelectorAll(".heat")];
  const choice = document.getElementById("heat-machine");
  const showMachine = () => {
    for (const heat of heats) heat.hidden = heat.dataset.machine !== choice.value;
  };
  choice.addEventListener("change", showMachine);
  showMachine();
  const amount = (bytes) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let power = 0;
    let value = bytes;
    while (value >= 1000 && power < units.length - 1) {
      value /= 1024;
      power += 1;
    }
    return `${Number(value.toPrecision(4))} ${units[power]}`;
  };
  const kinds = { "68,119,170": "changed", "204,187,68": "sent but unchanged", "170,51,119": "reconciled (R)" };
  const pixels = new Map();
  const pixelsOf = (image) => {
    if (!pixels.has(image)) {
      const canvas = document.createElement("canvas");
      canvas.width = image.naturalWidth;
      canvas.height = image.naturalHeight;
      const pen = canvas.getContext("2d");
      pen.drawImage(image, 0, 0);
      pixels.set(image, pen);
    }
    return pixels.get(image);
  };
  for (const heat of heats) {
    const panel = data.panels[Number(heat.dataset.panel)];
    const image = heat.querySelector("img");
    image.addEventListener("pointermove", (event) => {
      const box = image.getBoundingClientRect();
      const within = (share, count) => Math.min(Math.max(Math.floor(share * count), 0), count - 1);
      const column = within((event.clientX - box.left) / box.width, image.naturalWidth);
      const row = within((event.clientY - box.top) / box.height, image.naturalHeight);
      const [red, green, blue, alpha] = pixelsOf(image).getImageData(column, row, 1, 1).data;
      const kind = alpha ? kinds[`${red},${green},${blue}`] : "unchanged";
      const start = column * panel.stretch;
      const end = Math.min(start + panel.stretch, panel.size);
      say(`${panel.points[row]}\n${amount(start)} to ${amount(end)}\n${kind}`, event);
    });
    image.addEventListener("pointerleave", () => say(""));
  }

  // The table of points: find, show, order.
  const table = document.getElementById("point-table");
  const rows = [...table.tBodies[0].rows];
  const find = document.getElementById("find");
  const show = document.getElementById("show");
  const filter = () => {
    const wanted = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const hints = [...row.querySelectorAll("[title]")].map((cell) => cell.title);
      const text = [row.textContent, ...hints].join(" ").toLowerCase();
      const isKind = !show.value || row.dataset.shape === show.value;
      row.hidden = !(isKind && wanted.every((word) => text.includes(word)));
      shown += row.hidden ? 0 : 1;
    }
    document.getElementById("shown").textContent = `${shown} of ${rows.length}`;
  };
  find.addEventListener("input", filter);
  show.addEventListener("change", filter);
  const scale = { B: 0, KiB: 1, MiB: 2, GiB: 3, TiB: 4, PiB: 5 };
  const weight = (text) => {
    const sized = /^([\d.e+]+) ([KMGTP]?i?B)$/.exec(text);
    if (sized) return Number(sized[1]) * 1024 ** scale[sized[2]];
    return /^[\d,]+$/.test(text) ? Number(text.replaceAll(",", "")) : NaN;
  };
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.addEventListener("click", () => {
      const turn = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", turn > 0 ? "ascending" : "descending");
      const text = (row) => row.cells[column].textContent.trim();
      const ordered = [...rows].sort((one, other) => {
        const difference = weight(text(one)) - weight(text(other));
        return turn * (Number.isNaN(difference) ? text(one).localeCompare(text(other)) : difference);
      });
      table.tBodies[0].append(...ordered);
    });
  });

  const copy = document.getElementById("copy");
  copy.addEventListener("click", async () => {
    const command = document.getElementById("replay");
    try {
      await navigator.clipboard.writeText(command.textContent);
      copy.textContent = "Copied";
    } catch {
      // A page opened from a file may not write to the clipboard; the selection can be copied by hand.
      getSelection().selectAllChildren(command);
      copy.textContent = "Selected";
    }
  });

  const places = [...document.querySelectorAll("[data-chart]")];
  Promise.all(
    places.map((where) => window.twinshotCharts.draw(where, data.charts[where.dataset.chart])),
  ).then(() => {
    document.documentElement.dataset.ready = String(places.length);
  });
})();
