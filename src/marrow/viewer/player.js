// Plays moving skeletons on canvases. Given by the page: clips as 16-bit numbers, and the bones of their skeleton.
// Turned by dragging or with the keys; space plays and pauses, the comma and the full stop go frame by frame. A reel of
// two dimensions is flat: it is shown as it was seen, and does not turn.
"use strict";

const Marrow = (() => {
  const ABSENT = -32768;
  const COLOURS = [
    { left: "#c85200", right: "#0062a3", middle: "#3c4149" },
    { left: "#e9a15b", right: "#6aaedb", middle: "#9aa1ab" },
  ];
  const TRUTH = "#3c4149", PALE = "#c3c8d0", PREDICTED = "#c2417f", FLOOR = "#e4e7ec", OBSERVED = "#a3aab5";
  const VIEWS = {
    front: [Math.PI, 0.08],
    oblique: [Math.PI - 0.65, 0.2],
    side: [Math.PI / 2, 0.08],
    above: [Math.PI, 1.45],
  };
  const AS_SEEN = [0, 0];

  // Unpack gzip in base64.
  async function inflate(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }

  // Undo the differences in time: the clips as arrays of units, [frame, body, joint, axis] flat.
  async function unpackReel(reel) {
    const all = new Int16Array(await inflate(reel.frames));
    let first = 0;
    reel.clips = reel.clips.map(([frames, bodies, unit, seconds]) => {
      const size = bodies * reel.joints * 3;
      const values = all.subarray(first, first + frames * size);
      for (let i = size; i < values.length; i++) values[i] += values[i - size];
      first += frames * size;
      return { frames, bodies, unit, seconds, values, size, box: boxOf(values, unit) };
    });
    return reel;
  }

  // How far a clip reaches: around the vertical axis, and up and down.
  function boxOf(values, unit) {
    let around = 0.3, low = Infinity, high = -Infinity;
    for (let i = 0; i < values.length; i += 3) {
      if (values[i] === ABSENT) continue;
      around = Math.max(around, unit * Math.hypot(values[i], values[i + 2]));
      low = Math.min(low, unit * values[i + 1]);
      high = Math.max(high, unit * values[i + 1]);
    }
    return low > high ? { around, low: -1, high: 1 } : { around, low, high };
  }

  // One canvas. `group` is shared by all canvases of a section: whether it plays, how fast, from where it is seen.
  class Stage {
    constructor(canvas, reel, group) {
      Object.assign(this, { canvas, reel, group, clip: null, predicted: null, visible: null, time: 0, shown: true });
      Object.assign(this, { forecast: null, observed: 0, draws: canvas.dataset.draws });
      const { clip, predicted, visible, forecast, observed } = canvas.dataset;
      if (forecast !== undefined) [this.forecast, this.observed] = [this.reel.clips[+forecast], +observed];
      if (clip !== undefined) this.show(+clip, predicted, visible);
      canvas.addEventListener("keydown", (event) => this.onKey(event));
      canvas.addEventListener("pointerdown", (event) => this.onPointerDown(event));
      canvas.addEventListener("pointermove", (event) => this.onPointerMove(event));
      for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { this.from = null; });
    }

    // `predicted` has the joints that were hidden, `visible` those that the encoder saw; for clips with neither, none.
    show(number, predicted, visible) {
      this.clip = this.reel.clips[number];
      this.predicted = predicted === undefined ? null : this.reel.clips[+predicted];
      this.visible = visible === undefined ? null : this.reel.clips[+visible];
      this.time = 0;
      this.draw();
    }

    // Where the clip is, in frames: between two of them, joints are drawn in between.
    frame() {
      return Math.min(this.clip.frames - 1, (this.time / Math.max(this.clip.seconds, 0.01)) * (this.clip.frames - 1));
    }

    advance(seconds) {
      // Half a second of rest at the end, so that the beginning is seen as one.
      this.time = (this.time + seconds) % (this.clip.seconds + 0.5);
    }

    onKey(event) {
      const turns = { ArrowLeft: [0.2, 0], ArrowRight: [-0.2, 0], ArrowUp: [0, 0.15], ArrowDown: [0, -0.15] };
      const steps = { ",": -1, ".": 1 };
      if (event.key === " ") this.group.toggle();
      else if (event.key in turns) this.group.turn(...turns[event.key]);
      else if (event.key in steps && this.clip) {
        this.group.pause();
        const frame = (Math.round(this.frame()) + steps[event.key] + this.clip.frames) % this.clip.frames;
        this.time = (frame / Math.max(1, this.clip.frames - 1)) * this.clip.seconds;
        if (this.group.together) this.group.goTo(this.time);
        else this.draw();
      } else return;
      event.preventDefault();
    }

    onPointerDown(event) {
      this.from = [event.clientX, event.clientY];
      if (event.pointerType === "mouse") this.canvas.setPointerCapture(event.pointerId);
    }

    onPointerMove(event) {
      if (!this.from || !(event.buttons || event.pointerType === "touch")) return;
      this.group.turn((this.from[0] - event.clientX) / 80, (event.clientY - this.from[1]) / 160);
      this.from = [event.clientX, event.clientY];
    }

    // Fit the drawing surface to the canvas on the screen; returns its size in CSS pixels.
    fit() {
      const width = this.canvas.clientWidth || 240, height = this.canvas.clientHeight || 240;
      const sharp = Math.min(3, window.devicePixelRatio || 1);
      if (this.canvas.width !== Math.round(width * sharp) || this.canvas.height !== Math.round(height * sharp)) {
        this.canvas.width = Math.round(width * sharp);
        this.canvas.height = Math.round(height * sharp);
      }
      this.context = this.canvas.getContext("2d");
      this.context.setTransform(sharp, 0, 0, sharp, 0, 0);
      return [width, height];
    }

    draw() {
      const [width, height] = this.fit();
      this.context.clearRect(0, 0, width, height);
      if (this.clip) this.drawFrame(this.frame(), 0, width, height);
    }

    // For paper: moments side by side.
    drawStrip() {
      const [width, height] = this.fit();
      this.context.clearRect(0, 0, width, height);
      if (!this.clip) return;
      const count = Math.max(1, Math.min(6, Math.round(width / 110)));
      for (let i = 0; i < count; i++) {
        const frame = Math.round(((i + 0.5) / count) * (this.clip.frames - 1));
        this.drawFrame(frame, (i * width) / count, width / count, height);
      }
    }

    // The space that is shown: that of the clip, and of its forecast, which may lead elsewhere.
    box() {
      const own = this.clip.box, other = this.forecast ? this.forecast.box : own;
      return {
        around: Math.max(own.around, other.around),
        low: Math.min(own.low, other.low),
        high: Math.max(own.high, other.high),
      };
    }

    drawFrame(frame, left, width, height) {
      const { around, low, high } = this.box(), context = this.context;
      const [yaw, pitch] = [this.group.yaw, this.group.pitch];
      const tall = (high - low) * Math.cos(pitch) + 2 * around * Math.abs(Math.sin(pitch));
      const scale = Math.min((0.9 * width) / (2 * around), (0.86 * height) / Math.max(tall, 0.5));
      const middle = (low + high) / 2;
      const [cosine, sine, level, tilt] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
      const project = (x, y, z) => {
        const away = -x * sine + z * cosine;
        return [left + width / 2 + scale * (x * cosine + z * sine), height / 2 - scale * ((y - middle) * level - away * tilt)];
      };
      context.strokeStyle = FLOOR;
      context.lineWidth = 1;
      context.beginPath();
      for (let i = 0; i <= 48; i++) {
        const angle = (i / 24) * Math.PI;
        const [x, y] = project(0.8 * around * Math.cos(angle), low, 0.8 * around * Math.sin(angle));
        if (i) context.lineTo(x, y); else context.moveTo(x, y);
      }
      context.stroke();
      const points = this.project(this.clip, frame, project);
      const thick = Math.max(1.4, Math.min(4, height / 75));
      if (this.forecast) {
        this.drawForecast(points, this.project(this.forecast, frame, project), frame, left, thick, scale);
        return;
      }
      // The first body is drawn last, on top.
      for (let body = this.clip.bodies - 1; body >= 0; body--) {
        if (this.predicted) {
          const guesses = this.project(this.predicted, frame, project)[body];
          const seen = this.project(this.visible, frame, project)[body];
          this.drawPicture(points[body], guesses, seen, thick);
        } else this.drawBody(points[body], COLOURS[Math.min(body, 1)], thick, scale);
      }
    }

    project(clip, frame, project) {
      return Array.from({ length: clip.bodies }, (_, body) =>
        Array.from({ length: this.reel.joints }, (_, joint) => {
          const whole = Math.floor(frame + 1e-6), at = whole * clip.size + (body * this.reel.joints + joint) * 3;
          let [x, y, z] = clip.values.subarray(at, at + 3);
          if (x === ABSENT) return null;
          const next = whole + 1 < clip.frames ? at + clip.size : at, share = Math.max(0, frame - whole);
          if (clip.values[next] !== ABSENT) {
            x += share * (clip.values[next] - x);
            y += share * (clip.values[next + 1] - y);
            z += share * (clip.values[next + 2] - z);
          }
          return project(x * clip.unit, y * clip.unit, z * clip.unit);
        }),
      );
    }

    line(from, to, colour, thick) {
      if (!from || !to) return;
      Object.assign(this.context, { strokeStyle: colour, lineWidth: thick, lineCap: "round" });
      this.context.beginPath();
      this.context.moveTo(...from);
      this.context.lineTo(...to);
      this.context.stroke();
    }

    dot(at, radius, fill, rim) {
      if (!at) return;
      Object.assign(this.context, { fillStyle: fill, strokeStyle: rim || fill, lineWidth: 1.3 });
      this.context.beginPath();
      this.context.arc(at[0], at[1], radius, 0, 2 * Math.PI);
      this.context.fill();
      this.context.stroke();
    }

    drawBody(points, colours, thick, scale) {
      for (const [joint, parent] of this.reel.bones) {
        this.line(points[parent], points[joint], colours[this.reel.sides[joint]], thick);
      }
      if (this.reel.head >= 0) {
        const radius = Math.max(1.5 * thick, scale * 0.085);
        Object.assign(this.context, { strokeStyle: colours.middle });
        this.dot(points[this.reel.head], radius, "#ffffff", colours.middle);
      }
    }

    // What was observed is grey on all pictures; then what came, what was forecast, or both over each other.
    drawForecast(truths, forecasts, frame, left, thick, scale) {
      const future = frame > this.observed - 1 + 1e-6;
      const body = (points, colour, share) =>
        this.drawBody(points, { left: colour, right: colour, middle: colour }, share * thick, scale);
      truths.forEach((truth, number) => {
        if (!future) body(truth, OBSERVED, 1);
        else {
          if (this.draws !== "forecast") body(truth, TRUTH, 1);
          if (this.draws !== "truth") body(forecasts[number], PREDICTED, this.draws === "both" ? 0.75 : 1);
        }
      });
      const since = ((frame - this.observed + 1) * this.clip.seconds) / this.clip.frames;
      const sign = since < -0.005 ? "−" : "+";
      Object.assign(this.context, { fillStyle: future ? TRUTH : "#5b6475", font: "13px system-ui, sans-serif" });
      this.context.fillText(future ? `${sign}${Math.abs(since).toFixed(2)} s` : "observed", left + 8, 20);
    }

    // The truth: solid where it was visible, hollow where it was hidden. The prediction: in its own colour.
    drawPicture(truth, guesses, seen, thick) {
      if (this.group.truth) {
        for (const [joint, parent] of this.reel.bones) {
          const solid = seen[joint] && seen[parent];
          this.line(truth[parent], truth[joint], solid ? TRUTH : PALE, solid ? thick : 0.75 * thick);
        }
      }
      const shown = truth.map((point, joint) => guesses[joint] || point);
      for (const [joint, parent] of this.reel.bones) {
        if (guesses[joint] || guesses[parent]) this.line(shown[parent], shown[joint], PREDICTED, 0.75 * thick);
      }
      truth.forEach((point, joint) => {
        if (seen[joint]) this.dot(point, 1.25 * thick, TRUTH);
        else if (guesses[joint] && this.group.truth) this.dot(point, 0.9 * thick, "#ffffff", PALE);
      });
    }
  }

  // A section with canvases and a tool bar.
  class Group {
    constructor(root, reel) {
      this.root = root;
      this.speed = 1;
      this.truth = true;
      // Whether all canvases show the same moment, also those that are off the screen.
      this.together = "together" in root.dataset;
      this.playing = !window.matchMedia("(prefers-reduced-motion: reduce)").matches;
      this.flat = reel.flat;
      [this.yaw, this.pitch] = reel.flat ? AS_SEEN : VIEWS.oblique;
      this.stages = Array.from(root.querySelectorAll("canvas"), (canvas) => new Stage(canvas, reel, this));
      const watch = new IntersectionObserver((entries) => {
        for (const entry of entries) this.stages.find((stage) => stage.canvas === entry.target).shown = entry.isIntersecting;
      });
      for (const stage of this.stages) watch.observe(stage.canvas);
      this.button = root.querySelector("[data-do=play]");
      if (this.button) this.button.addEventListener("click", () => this.toggle());
      this.on("speed", (value) => { this.speed = +value; });
      this.on("view", (value) => { if (value in VIEWS) [this.yaw, this.pitch] = VIEWS[value]; });
      const truth = root.querySelector("[data-do=truth]");
      if (truth) truth.addEventListener("change", () => { this.truth = truth.checked; this.draw(); });
      this.label();
    }

    on(what, act) {
      const select = this.root.querySelector(`[data-do=${what}]`);
      if (select) select.addEventListener("change", () => { act(select.value); this.draw(); });
    }

    label() {
      if (!this.button) return;
      this.button.textContent = this.playing ? "❚❚ Pause" : "▶ Play";
      this.button.setAttribute("aria-pressed", String(this.playing));
    }

    toggle() { this.playing = !this.playing; this.label(); }

    pause() { if (this.playing) this.toggle(); }

    turn(yaw, pitch) {
      if (this.flat) return;
      this.yaw += yaw;
      this.pitch = Math.max(-0.3, Math.min(1.5, this.pitch + pitch));
      const view = this.root.querySelector("[data-do=view]");
      if (view) view.value = "turned";
      this.draw();
    }

    draw() { for (const stage of this.stages) stage.draw(); }

    goTo(time) {
      for (const stage of this.stages) stage.time = time;
      this.draw();
    }

    tick(seconds) {
      if (!this.playing) return;
      for (const stage of this.stages) {
        if (!stage.clip || !(stage.shown || this.together)) continue;
        stage.advance(seconds * this.speed);
        if (stage.shown) stage.draw();
      }
    }
  }

  // Begin to play everything on the page; returns the groups by their id. A group says by its name which of the reels
  // it plays; one that says nothing plays "reel".
  async function play(packed) {
    const reels = {};
    for (const [name, reel] of Object.entries(packed)) reels[name] = await unpackReel(reel);
    const roots = Array.from(document.querySelectorAll(".players")).filter((root) => (root.dataset.reel || "reel") in reels);
    const groups = roots.map((root) => new Group(root, reels[root.dataset.reel || "reel"]));
    let before = performance.now();
    const tick = (now) => {
      for (const group of groups) group.tick(Math.min(0.1, (now - before) / 1000));
      before = now;
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
    for (const group of groups) group.draw();
    window.addEventListener("resize", () => groups.forEach((group) => group.draw()));
    window.addEventListener("beforeprint", () => {
      for (const group of groups) { group.wasPlaying = group.playing; group.playing = false; }
      for (const group of groups) for (const stage of group.stages) stage.drawStrip();
    });
    window.addEventListener("afterprint", () => groups.forEach((group) => { group.playing = group.wasPlaying; group.draw(); }));
    return Object.fromEntries(groups.map((group) => [group.root.id, group]));
  }

  return { inflate, unpackReel, play };
})();
