// The timeline of one key, or of several side by side, and numbers that keep up with what is counted. Asks this host
// alone, and draws with uPlot. Everything is there without it but the timeline.
"use strict";
(() => {
  const main = document.getElementById("stats");
  const { counter, unit } = main.dataset;
  const keys = JSON.parse(main.dataset.keys);
  const kept = main.dataset.periods.split(" ").filter(Boolean);
  if (keys.length === 0) return;

  const POLL_MS = 2000;
  // How many steps are shown, and how long one is at most.
  const STEPS = { hour: 48, day: 30, month: 24, year: 10 };
  const LENGTH_MS = { hour: 36e5, day: 864e5, month: 31 * 864e5, year: 366 * 864e5 };
  const NAMES = { hour: "Hour", day: "Day", month: "Month", year: "Year" };
  const FORMATS = {
    hour: { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false },
    day: { weekday: "short", day: "numeric", month: "short", year: "numeric" },
    month: { month: "long", year: "numeric" },
    year: { year: "numeric" },
  };
  const STANDS = {
    lagging: "lagging: events wait to be counted",
    uncertain: "uncertain: may be off until it is restored",
    restoring: "restoring: it is being made right, new events wait",
    unknown: "unknown: how fresh it is cannot be told",
  };
  const HALF_S = { hour: 1800, day: 43200, month: 15 * 86400, year: 183 * 86400 };
  const number = new Intl.NumberFormat("en");
  const chart = document.getElementById("chart");
  const point = document.getElementById("point");
  const rows = document.getElementById("rows");
  const freshness = document.getElementById("freshness");
  const buttons = [...document.querySelectorAll("[data-step]")];

  const offset = offsetHere();
  let step = kept.includes("day") ? "day" : kept[0];
  let plot, data, at = null;

  // Buckets begin at whole hours of UTC: elsewhere, and for counters without hours, UTC is what there is.
  function offsetHere() {
    const minutes = -new Date().getTimezoneOffset();
    if (minutes === 0 || minutes % 60 !== 0 || !kept.includes("hour")) return "Z";
    const hours = String(Math.abs(minutes / 60)).padStart(2, "0");
    return `${minutes < 0 ? "-" : "+"}${hours}:00`;
  }

  const address = (key, rest) =>
    `/v1/counters/${encodeURIComponent(counter)}/keys/${encodeURIComponent(key)}${rest}utc_offset=${encodeURIComponent(offset)}`;

  async function ask(path) {
    const response = await fetch(path, { cache: "no-cache" });
    if (!response.ok) throw new Error(`${response.status}`);
    return response.json();
  }

  // What clocks show there, as if it were UTC: so that the axis shows it, wherever the browser is.
  const shown = (start) => Date.parse(`${start.slice(0, 19)}Z`) / 1000;

  const words = (seconds) =>
    new Intl.DateTimeFormat("en-GB", { ...FORMATS[step], timeZone: "UTC" }).format(new Date(seconds * 1000));

  // Under the axis there is room for a few letters.
  const label = (seconds) => {
    const date = new Date(seconds * 1000);
    const as = (format) => new Intl.DateTimeFormat("en-GB", { ...format, timeZone: "UTC" }).format(date);
    if (step === "year") return as({ year: "numeric" });
    if (step === "month") return date.getUTCMonth() === 0 ? as({ year: "numeric" }) : as({ month: "short" });
    const midnight = date.getUTCHours() === 0;
    return step === "day" || midnight ? as({ day: "numeric", month: "short" }) : as({ hour: "2-digit", minute: "2-digit" });
  };

  const told = (index) => {
    const counts = keys.map((key, n) =>
      keys.length === 1 ? `${number.format(data[1][index])} ${unit}` : `${key} ${number.format(data[n + 1][index])}`);
    return `${words(data[0][index])}: ${counts.join(", ")}`;
  };

  function tell(index) {
    at = index;
    point.textContent = told(index);
    chart.setAttribute("aria-valuenow", index);
    chart.setAttribute("aria-valuetext", told(index));
  }

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function draw() {
    plot?.destroy();
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const bars = uPlot.paths.bars({ size: [0.7, 40] });
    plot = new uPlot({
      width: chart.clientWidth,
      height: chart.clientWidth < 480 ? 220 : 300,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 8 } },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      // Half a step beside the first and the last, so that their bars are whole.
      scales: { x: { range: (_, low, high) => [low - HALF_S[step], high + HALF_S[step]] }, y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.1 : 1] } },
      axes: [{ ...axis, values: (_, ticks) => ticks.map(label) }, { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => number.format(tick)) }],
      series: [{}, ...keys.map((key, n) => {
        const stroke = colour(`--series-${n + 1}`);
        return keys.length === 1
          ? { label: key, stroke, fill: stroke, width: 0, paths: bars, points: { show: false } }
          : { label: key, stroke, width: 2, points: { show: false } };
      })],
      hooks: { setCursor: [(u) => { if (u.cursor.idx != null) tell(u.cursor.idx); }] },
    }, data, chart);
    // What can be reached by keys is told by the frame around it.
    plot.root.setAttribute("aria-hidden", "true");
  }

  function go(index) {
    if (!data || data[0].length === 0) return;
    const last = data[0].length - 1;
    tell(Math.max(0, Math.min(last, index)));
    plot.setCursor({ left: plot.valToPos(data[0][at], "x"), top: 0 }, false);
  }

  function list() {
    rows.replaceChildren(...data[0].map((start, index) => {
      const row = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = words(start);
      row.append(head, ...keys.map((_, n) => {
        const cell = document.createElement("td");
        cell.textContent = number.format(data[n + 1][index]);
        return cell;
      }));
      return row;
    }).reverse());
    document.getElementById("step-name").textContent = NAMES[step];
  }

  async function series() {
    const asked = step;
    const from = new Date(Date.now() - (STEPS[asked] - 1) * LENGTH_MS[asked]).toISOString();
    const rest = `/series?granularity=${asked}&from=${encodeURIComponent(from.slice(0, 19) + "Z")}&`;
    const all = await Promise.all(keys.map((key) => ask(address(key, rest))));
    // Another step was chosen meanwhile.
    if (asked !== step) return;
    const length = Math.min(...all.map((one) => one.points.length));
    const starts = all[0].points.slice(-length).map(({ start }) => shown(start));
    const next = [starts, ...all.map((one) => one.points.slice(-length).map(({ count }) => count))];
    if (JSON.stringify(next) === JSON.stringify(data)) return;
    const again = plot && data && data[0].length === next[0].length && data[0][0] === next[0][0];
    data = next;
    chart.setAttribute("aria-valuemax", length - 1);
    if (again) plot.setData(data); else draw();
    list();
    go(again && at !== null ? at : length - 1);
  }

  async function totals() {
    const all = await Promise.all(keys.map((key) => ask(address(key, "/totals?"))));
    all.forEach((one, n) => {
      const set = (name, count) => {
        const place = document.querySelector(`[data-key="${n}"][data-count="${name}"]`);
        if (place && count != null) place.textContent = number.format(count);
      };
      set("total", one.total);
      for (const [name, period] of Object.entries(one.periods)) {
        set(name, period.count);
        set(`${name}-before`, period.before.count);
      }
    });
    const ranks = ["live", "lagging", "uncertain", "restoring", "unknown"];
    const worst = all.map((one) => one.freshness).reduce((a, b) => (ranks.indexOf(b.state) > ranks.indexOf(a.state) ? b : a));
    stands(worst.state, worst.behind_events);
  }

  function stands(state, behind) {
    const word = STANDS[state] ?? state;
    freshness.dataset.state = state;
    // Announced, so it is touched only if it differs.
    const place = document.getElementById("stands");
    if (place.textContent !== word) place.textContent = word;
    document.getElementById("behind").textContent = behind == null ? "" : ` · ${number.format(behind)} events behind`;
  }

  async function refresh() {
    try {
      await Promise.all([totals(), series()]);
    } catch {
      stands("unknown", null);
    }
  }

  async function keepUp() {
    if (!document.hidden) await refresh();
    setTimeout(keepUp, POLL_MS);
  }

  function choose(name) {
    step = name;
    at = null;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.step === step));
    refresh();
  }

  for (const button of buttons) button.addEventListener("click", () => choose(button.dataset.step));
  chart.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: -7, PageDown: 7 }[event.key];
    const to = { Home: 0, End: Infinity }[event.key] ?? (by === undefined ? undefined : (at ?? 0) + by);
    if (to === undefined) return;
    event.preventDefault();
    go(to);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (data) { draw(); go(at ?? 0); } });
  new ResizeObserver(() => {
    if (plot && chart.clientWidth !== plot.width) { draw(); go(at ?? 0); }
  }).observe(chart);
  document.getElementById("offset").textContent = offset === "Z" ? "UTC" : `UTC${offset}`;
  choose(step);
  setTimeout(keepUp, POLL_MS);
})();
