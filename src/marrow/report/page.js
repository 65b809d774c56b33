// Draws the page's figures, plays its clips, and joins the two on the map.
"use strict";

(async () => {
  const given = (name) => {
    const place = document.getElementById(name);
    return place ? JSON.parse(place.textContent) : null;
  };
  const say = (text) => { for (const place of document.querySelectorAll(".plot .waiting")) place.textContent = text; };
  if (!("DecompressionStream" in window)) {
    say("Charts need a browser of 2023 or newer; the tables say the same.");
    return;
  }

  // plotly.js comes compressed, once, where the page has figures.
  const packed = document.getElementById("plotly");
  if (packed) {
    const library = document.createElement("script");
    library.textContent = new TextDecoder().decode(await Marrow.inflate(packed.textContent.trim()));
    document.head.append(library);
  }

  const figures = given("figures") || {}, heights = {};
  for (const [name, { data, layout }] of Object.entries(figures)) {
    const place = document.getElementById(name);
    place.replaceChildren();
    if (layout.meta && layout.meta.min_width) place.style.minWidth = `${layout.meta.min_width}px`;
    if (layout.meta && layout.meta.square && place.clientWidth < layout.height) {
      // On a phone a matrix stays about square.
      layout.height = Math.max(340, place.clientWidth + 60);
      for (const trace of data) trace.showscale = false;
      place.style.minHeight = `${layout.height}px`;
    }
    heights[name] = [layout.height, layout.yaxis.tickfont.size];
    await Plotly.newPlot(place, data, layout, { displayModeBar: false, responsive: true, scrollZoom: false });
    place.querySelectorAll(".main-svg").forEach((svg) => svg.setAttribute("aria-hidden", "true"));
  }

  // Paper has its own width: figures are drawn anew for it, and again for the screen.
  const fit = (paper) => {
    for (const [name, [tall, letters]] of Object.entries(heights)) {
      const place = document.getElementById(name);
      const width = paper ? (place.closest(".three") ? 300 : 640) : place.clientWidth;
      const height = paper ? Math.min(tall, 760) : tall;
      place.style.minHeight = `${height}px`;
      const size = letters * Math.min(1, Math.max(0.55, height / tall));
      if (width > 0) Plotly.relayout(place, { width, height, autosize: !paper, "yaxis.tickfont.size": size });
    }
  };
  window.addEventListener("beforeprint", () => fit(true));
  window.addEventListener("afterprint", () => fit(false));

  const reels = {};
  for (const root of document.querySelectorAll(".players")) {
    const name = root.dataset.reel || "reel";
    reels[name] ??= given(name);
  }
  const groups = await Marrow.play(reels);
  const points = given("map-points");
  if (points) joinMap(points, groups["map-players"]);
  // A segment of a timeline says its name when it is pointed at or tapped, where no title is shown.
  for (const lines of document.querySelectorAll(".timelines")) {
    const told = lines.querySelector(".pointed");
    const tell = (event) => {
      const title = event.target.closest("svg.timeline > svg")?.querySelector("title");
      if (title) told.textContent = title.textContent;
    };
    lines.addEventListener("pointerover", tell);
    lines.addEventListener("click", tell);
  }
  document.documentElement.dataset.ready = "yes";

  // Pointing at a point of the map, or stepping with the buttons, shows its clip.
  function joinMap(points, group) {
    const plot = document.getElementById("map-plot"), caption = document.getElementById("map-caption");
    const choice = document.getElementById("map-class"), ring = plot.data.length - 1;
    let current = -1;
    const show = (index) => {
      if (index === current) return;
      current = index;
      const [clip, label, predicted, name, x, y] = points[index];
      group.stages[0].show(clip);
      group.stages[0].canvas.setAttribute("aria-label", `${label}, moving`);
      Plotly.restyle(plot, { x: [[x]], y: [[y]] }, [ring]);
      const title = document.createElement("b");
      title.textContent = label;
      const taken = predicted === null ? "" : predicted === label ? " ✓ recognised" : ` ✗ taken for ${predicted}`;
      caption.replaceChildren(title, `${taken} · ${name}`);
    };
    const chosen = (event) => {
      const index = event.points[0].customdata;
      if (index !== undefined) show(index);
    };
    plot.on("plotly_hover", chosen);
    plot.on("plotly_click", chosen);
    // Where clips have no classes, there is no choice.
    const chosenClass = () => (choice ? choice.value : "");
    if (choice) choice.addEventListener("change", () => {
      const wanted = choice.value;
      const strength = plot.data.slice(0, ring).map((trace) => (!wanted || trace.name === wanted ? 1 : 0.1));
      Plotly.restyle(plot, { opacity: strength }, strength.map((_, trace) => trace));
      if (wanted) show(points.findIndex((point) => point[1] === wanted));
    });
    for (const button of group.root.querySelectorAll("[data-step]")) {
      button.addEventListener("click", () => {
        let next = current;
        do next = (next + +button.dataset.step + points.length) % points.length;
        while (chosenClass() && points[next][1] !== chosenClass() && next !== current);
        show(next);
      });
    }
    show(0);
  }
})().catch((error) => {
  document.documentElement.dataset.ready = "failed";
  throw error;
});
