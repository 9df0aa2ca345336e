// Draws a Plotly figure, and changes it in place when its data changes: the same element, no empty frame, and what the
// visitor points at stays.

const BUNDLE = "app/static/plotly-basic.min.js";
const RETRY_MS = 2_000;
const CONFIG = { displayModeBar: false, scrollZoom: false, doubleClick: false, responsive: false };
let bundle;

function plotly() {
  // Loaded once for all charts.
  bundle ??= new Promise(load);
  return bundle;
}

function load(resolve) {
  const script = document.createElement("script");
  script.src = new URL(BUNDLE, document.baseURI);
  const retry = () => {
    script.remove();
    setTimeout(load, RETRY_MS, resolve);
  };
  // A proxy can answer with a page of its own.
  script.onload = () => (window.Plotly ? resolve(window.Plotly) : retry());
  script.onerror = retry;
  document.head.append(script);
}

function themed(layout, element) {
  const style = getComputedStyle(element);
  const color = (name) => style.getPropertyValue(`--st-${name}`).trim();
  const text = color("text-color");
  const line = color("border-color");
  const font = { family: color("font"), color: text, size: 12 };
  const axis = { gridcolor: line, zerolinecolor: line, automargin: true, tickfont: font, title: {} };
  return {
    ...layout,
    font,
    paper_bgcolor: "rgba(0, 0, 0, 0)",
    plot_bgcolor: "rgba(0, 0, 0, 0)",
    hoverlabel: { bgcolor: color("secondary-background-color"), bordercolor: line, font },
    xaxis: { ...axis, showgrid: false, zeroline: false, ...layout.xaxis },
    yaxis: { ...axis, ...layout.yaxis },
  };
}

function element(parent) {
  const found = parent.querySelector(":scope > .streamapp-chart");
  if (found) {
    return found;
  }
  const made = document.createElement("div");
  made.className = "streamapp-chart";
  made.setAttribute("role", "figure");
  parent.append(made);
  return made;
}

function listen(chart, Plotly) {
  chart.on("plotly_selected", (selected) => {
    if (selected?.range?.x) {
      chart.select(selected.range.x);
      Plotly.relayout(chart, { selections: [] });
    }
  });
  chart.on("plotly_click", ({ points }) => pickTrace(chart, points[0].data));
  // An entry of the legend chooses, and does not hide.
  chart.on("plotly_legendclick", ({ data, curveNumber }) => pickTrace(chart, data[curveNumber]) && false);
  chart.on("plotly_legenddoubleclick", () => false);
  chart.addEventListener("click", (event) => pickRow(chart, event));
  chart.on("plotly_hover", ({ event }) => (chart.pointer = event));
  chart.on("plotly_unhover", ({ event }) => unhover(chart, event, Plotly));
  new ResizeObserver(() => chart.isConnected && Plotly.Plots.resize(chart)).observe(chart);
}

function unhover(chart, { clientX, clientY }, Plotly) {
  // The pointer has left only if it has moved: a redraw removes the elements below it, too.
  if (clientX === chart.pointer?.clientX && clientY === chart.pointer?.clientY) {
    requestAnimationFrame(() => pointAgain(chart, Plotly));
  } else {
    chart.pointer = null;
  }
}

function pointAgain(chart, Plotly) {
  if (chart.pointer && chart.isConnected) {
    Plotly.Fx.hover(chart, chart.pointer);
  }
}

function pickTrace(chart, { name, type }) {
  if (chart.picks === "traces" && type === "bar") {
    chart.pick(name);
  }
  return true;
}

function pickRow(chart, { clientY }) {
  // Anywhere in a row: its name and its number too, for a bar can be short.
  const { margin, yaxis } = chart.layout;
  const { top: above, height } = chart.getBoundingClientRect();
  const share = (clientY - above - margin.t) / (height - margin.t - margin.b);
  const [bottom, top] = yaxis.range ?? [];
  const picked = Array.isArray(chart.picks) ? chart.picks[Math.round(top + share * (bottom - top))] : null;
  if (picked != null) {
    chart.pick(picked);
  }
}

// A chart that is not on the screen is drawn again when it comes there.
const visibility = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    target.isOnScreen = isIntersecting;
    update(target);
  }
});

function update(chart) {
  // One drawing after the other, also after one that failed: an older one must not end last.
  chart.drawn = (chart.drawn ?? Promise.resolve()).catch(() => {}).then(() => draw(chart));
}

async function draw(chart) {
  await drawWith(await plotly(), chart, chart.isOnScreen);
}

async function drawWith(Plotly, chart, isSeen) {
  const isNew = !chart.isDrawn;
  const { data } = chart.figure;
  const layout = themed(chart.figure.layout, chart);
  // The browser calls this also when a chart comes on the screen that has changed nothing meanwhile.
  const description = JSON.stringify([data, layout]);
  if (!isNew && (!isSeen || description === chart.description)) {
    return;
  }
  await Plotly.react(chart, data, layout, CONFIG);
  chart.description = description;
  if (isNew) {
    chart.isDrawn = true;
    listen(chart, Plotly);
    visibility.observe(chart);
  } else {
    pointAgain(chart, Plotly);
  }
}

// What is printed is the whole page, as it is when this ends.
addEventListener("beforeprint", () => {
  for (const chart of document.querySelectorAll(".streamapp-chart")) {
    if (chart.isDrawn) {
      drawWith(window.Plotly, chart, true);
    }
  }
});

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const chart = element(parentElement);
  chart.setAttribute("aria-label", data.alt);
  // Before Plotly is loaded, so that nothing below moves when it is.
  chart.style.height = `${data.figure.layout.height}px`;
  chart.select = (ends) => setTriggerValue("selected", ends);
  chart.picks = data.picks;
  chart.pick = (value) => setTriggerValue("picked", value);
  chart.classList.toggle("streamapp-picks", data.picks.length > 0);
  chart.figure = data.figure;
  update(chart);
}
