// What the pages need besides htmx: charts, copying, questions before what cannot be undone.
// No inline code and no inline styles anywhere: the content security policy refuses them.
(() => {
  "use strict";

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const charts = new Map();

  // Big figures on the axis are shortened; the table below the chart has every digit.
  const axisText = (value) => {
    const language = document.documentElement.lang;
    return new Intl.NumberFormat(language, { notation: "compact", maximumFractionDigits: 1 }).format(value);
  };

  const stacked = (columns) => {
    const sums = columns[0].map(() => 0);
    return columns.map((column) => column.map((value, at) => (sums[at] += value ?? 0)));
  };

  const draw = (holder) => {
    const chart = JSON.parse(holder.dataset.chart);
    charts.get(holder)?.destroy();
    holder.replaceChildren();
    if (!chart.times.length) return;
    const values = chart.series.map((one) => one.values.map(Number));
    const tops = chart.kind === "bars" ? stacked(values) : values;
    const bars = chart.kind === "bars" ? uPlot.paths.bars({ size: [0.72, 48], radius: 0.12 }) : undefined;
    const order = chart.kind === "bars" ? chart.series.map((_, at) => at).reverse() : chart.series.map((_, at) => at);
    const grid = { stroke: colour("--line"), width: 1 };
    const axis = { stroke: colour("--ink-faint"), font: "12px " + colour("--text"), grid, ticks: { show: false } };
    const step = chart.times.length > 1 ? chart.times[1] - chart.times[0] : 3600;
    const plot = new uPlot(
      {
        width: Math.max(holder.clientWidth, 200),
        height: chart.height ?? 215,
        legend: { live: false, show: chart.series.length > 1 },
        cursor: { y: false, drag: { x: false, y: false } },
        scales: {
          x: { time: false, range: () => [chart.times[0] - step / 2, chart.times.at(-1) + step / 2] },
          y: { range: (_, __, most) => [0, (most || 1) * 1.08] },
        },
        axes: [
          { ...axis, grid: { show: false }, values: (_, splits) => splits.map((at) => chart.ticks[chart.times.indexOf(at)] ?? ""), splits: () => everyNth(chart.times, holder.clientWidth), size: 30 },
          { ...axis, values: (_, splits) => splits.map(axisText), size: 56 },
        ],
        series: [
          {},
          ...order.map((at) => ({
            label: chart.series[at].label,
            stroke: colour(`--c${(at % 6) + 1}`),
            fill: chart.kind === "bars" ? colour(`--c${(at % 6) + 1}`) : undefined,
            width: chart.kind === "bars" ? 0 : 2,
            paths: bars,
            points: { show: false },
          })),
        ],
      },
      [chart.times, ...order.map((at) => tops[at])],
      holder,
    );
    charts.set(holder, plot);
  };

  const everyNth = (times, width) => {
    const nth = Math.ceil(times.length / Math.max(Math.floor(width / 72), 2));
    return times.filter((_, at) => at % nth === 0);
  };

  const drawAll = (root) => root.querySelectorAll("[data-chart]").forEach((holder) => {
    draw(holder);
    resized.observe(holder);
  });

  const resized = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      const plot = charts.get(target);
      if (plot && contentRect.width > 0 && Math.abs(plot.width - contentRect.width) > 1) draw(target);
    }
  });

  const fold = () => {
    const menu = document.querySelector(".side .menu");
    if (menu) menu.open = !matchMedia("(max-width: 60rem)").matches;
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
      button.textContent = button.dataset.copied;
    } catch {
      getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
    }
  });

  document.addEventListener("submit", (event) => {
    const question = event.submitter?.dataset.sure ?? event.target.dataset.sure;
    if (question && !confirm(question)) event.preventDefault();
  });

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
  });

  // What was swapped away leaves no chart behind. A reply that tells to sign in again loads the page.
  document.addEventListener("htmx:beforeCleanupElement", (event) => {
    charts.get(event.target)?.destroy();
    charts.delete(event.target);
  });
  document.addEventListener("htmx:afterSwap", (event) => drawAll(event.target));
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status === 401) location.reload();
  });

  // A page that nobody looks at asks for nothing.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const asked = event.detail.requestConfig?.triggeringEvent !== undefined;
    if (!asked && document.hidden) event.preventDefault();
  });

  // What is fetched by itself disturbs nobody who has a table open, or stands in it with the keyboard.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, requestConfig } = event.detail;
    const asked = requestConfig?.triggeringEvent !== undefined;
    const busy = target?.querySelector("details[open], :focus-visible");
    if (!asked && busy) event.detail.shouldSwap = false;
  });

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(document));
  matchMedia("(max-width: 60rem)").addEventListener("change", fold);
  fold();
  drawAll(document);
})();
