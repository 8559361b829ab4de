"use strict";
(() => {
  const root = document.documentElement;
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const blocks = [...document.querySelectorAll('script[id^="figure-"]')];
  const drawn = [];

  // What depends on the theme: fonts, grids, heat-map scales. Read from the style sheet.
  function themed(layout) {
    const axis = {
      gridcolor: colour("--line"), linecolor: colour("--muted"), zerolinecolor: colour("--line"),
    };
    const scale = (name) => [[0, colour(`--${name}-low`)], [1, colour(`--${name}-high`)]];
    const themedLayout = {
      ...layout,
      template: { layout: { font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("--ink") }, xaxis: axis, yaxis: axis,
        modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--muted"), activecolor: colour("--ink") },
        hoverlabel: { bgcolor: colour("--surface"), bordercolor: colour("--line"), font: { color: colour("--ink") } } } },
    };
    if (layout.coloraxis) {
      themedLayout.coloraxis = { ...layout.coloraxis, colorscale: scale("hit") };
      themedLayout.coloraxis2 = { ...layout.coloraxis2, colorscale: scale("miss") };
    }
    return themedLayout;
  }

  // A confusion matrix is square: on a narrow screen its height follows its width.
  function fitted(div, layout) {
    const height = layout.coloraxis ? Math.min(layout.height, div.clientWidth + 30) : layout.height;
    return { ...layout, height };
  }

  function draw(entry) {
    const coarse = matchMedia("(pointer: coarse)").matches || entry.div.clientWidth < 500;
    const layout = themed(fitted(entry.div, entry.layout));
    layout.dragmode = coarse ? false : "zoom";
    Plotly.react(entry.div, entry.data, layout, {
      responsive: true, displaylogo: false, displayModeBar: coarse ? false : "hover",
      modeBarButtons: [["toImage", "resetScale2d"]],
    });
  }

  function redraw() {
    drawn.forEach((entry) => { draw(entry); Plotly.Plots.resize(entry.div); });
  }

  for (const block of blocks) {
    const div = document.getElementById(block.id.replace("figure-", "plot-"));
    const figure = JSON.parse(block.textContent);
    const entry = { div, data: figure.data, layout: figure.layout };
    drawn.push(entry);
    draw(entry);
  }

  for (const group of document.querySelectorAll("[data-switches]")) {
    const entry = drawn.find(({ div }) => div.id === group.dataset.switches);
    const buttons = [...group.querySelectorAll("button")];
    buttons.forEach((button, chosen) => button.addEventListener("click", () => {
      buttons.forEach((other, i) => other.setAttribute("aria-pressed", String(i === chosen)));
      entry.data = entry.data.map((trace) => ({ ...trace, visible: trace.meta === chosen }));
      draw(entry);
    }));
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("beforeprint", () => {
    root.classList.add("paper");
    document.querySelectorAll("details").forEach((details) => { details.open = true; });
    redraw();
  });
  addEventListener("afterprint", () => { root.classList.remove("paper"); redraw(); });
})();
