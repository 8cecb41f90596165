/* One transport for all sounds of a page: they start together on one clock, so a switch keeps the instant.

   The audio elements hold the sounds, and are plain players where scripts or Web Audio are missing. Each is
   decoded once, at the first play; a choice is a gain for every sound, so mixture = vocals + accompaniment. */
"use strict";
(() => {
  const root = document.querySelector(".transport");
  const Context = window.AudioContext || window.webkitAudioContext;
  if (!root || !Context) return;
  const find = (selector) => root.querySelector(selector);
  const [button, slider, clock, status] = [".play", ".position", ".clock", ".status"].map(find);
  const choices = [...root.querySelectorAll("input[type=radio]")];
  const players = [...root.querySelectorAll("audio")];
  const { rate, start, seconds } = Object.fromEntries(
    Object.entries(root.dataset).map(([name, value]) => [name, Number(value)])
  );
  const FADE = 0.01; // s: no click when sound starts, stops or changes
  const STEP = 5; // s of an arrow key
  let context = null, decoding = null, buffers = [], gains = [], nodes = [];
  let playing = false, offset = 0, began = 0, dragging = false;

  const clamp = (time) => Math.min(seconds, Math.max(0, time));
  const position = () => (playing ? clamp(offset + Math.max(0, context.currentTime - began)) : offset);
  const written = (time) => {
    const whole = Math.floor(time + 1e-6);
    return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  };

  // ------------------------------------------------------------- sound

  function bytes(player) {
    const text = atob(player.src.slice(player.src.indexOf(",") + 1));
    const data = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) data[i] = text.charCodeAt(i);
    return data.buffer;
  }

  async function decode() {
    try {
      context = new Context({ sampleRate: rate }); // decoded at its own rate: less memory
    } catch {
      context = new Context();
    }
    buffers = await Promise.all(players.map((player) => context.decodeAudioData(bytes(player))));
    gains = players.map(() => {
      const gain = context.createGain();
      gain.gain.value = 0;
      gain.connect(context.destination);
      return gain;
    });
    choose();
  }

  function choose() {
    const wanted = choices.find((choice) => choice.checked).dataset.gains.split(" ").map(Number);
    gains.forEach(({ gain }, i) => gain.setTargetAtTime(wanted[i], context.currentTime, FADE / 3));
  }

  function begin(time) {
    offset = time;
    began = context.currentTime + 0.03; // one instant for all sounds
    nodes = buffers.map((buffer, i) => {
      const node = context.createBufferSource();
      const fade = context.createGain();
      node.buffer = buffer;
      node.connect(fade).connect(gains[i]);
      fade.gain.setValueAtTime(0, began);
      fade.gain.linearRampToValueAtTime(1, began + FADE);
      node.start(began, Math.min(time, buffer.duration));
      return { node, fade };
    });
    playing = true;
  }

  function halt() {
    offset = position();
    const now = context.currentTime;
    for (const { node, fade } of nodes) {
      fade.gain.setTargetAtTime(0, now, FADE / 3);
      node.stop(now + 2 * FADE);
    }
    playing = false;
  }

  async function toggle() {
    if (playing) halt();
    else {
      try {
        if (!decoding) {
          button.setAttribute("aria-busy", "true");
          status.textContent = "Decoding …";
          decoding = decode();
        }
        await decoding;
        await context.resume();
      } catch (error) {
        root.classList.remove("live"); // back to the plain players
        status.textContent = `This browser cannot decode the sounds (${error.message || error}).`;
        return;
      } finally {
        button.removeAttribute("aria-busy");
      }
      status.textContent = "";
      if (playing) return; // a second click while the sounds were decoded
      begin(offset >= seconds - 0.05 ? 0 : offset);
      requestAnimationFrame(tick);
    }
    show();
  }

  function seek(time) {
    const wanted = clamp(time);
    if (playing) {
      halt();
      begin(wanted);
    }
    offset = wanted;
    show();
  }

  // ------------------------------------------------------------- pictures

  const plots = [...document.querySelectorAll(".plot[data-from]")].map((plot) => {
    const { from, to, left, right, top, bottom } = Object.fromEntries(
      Object.entries(plot.dataset).map(([name, value]) => [name, Number(value)])
    );
    const cursor = document.createElement("div");
    cursor.className = "cursor";
    cursor.hidden = true;
    cursor.style.top = `${100 * top}%`;
    cursor.style.height = `${100 * (bottom - top)}%`;
    plot.append(cursor);
    plot.classList.add("seekable");
    plot.addEventListener("click", (event) => {
      const box = plot.getBoundingClientRect();
      const share = ((event.clientX - box.left) / box.width - left) / (right - left);
      if (share >= 0 && share <= 1) seek(from + share * (to - from) - start);
    });
    const place = (time) => {
      const share = (time - from) / (to - from);
      cursor.hidden = share < 0 || share > 1;
      cursor.style.left = `${100 * (left + share * (right - left))}%`;
    };
    return place;
  });

  function show() {
    const time = position();
    if (!dragging) slider.value = time;
    const spoken = `${written(start + time)} of ${written(start + seconds)}`;
    if (slider.getAttribute("aria-valuetext") !== spoken) slider.setAttribute("aria-valuetext", spoken);
    clock.textContent = spoken.replace(" of ", " / ");
    slider.style.setProperty("--share", `${(100 * slider.value) / seconds}%`);
    plots.forEach((place) => place(start + time));
    button.setAttribute("aria-label", playing ? "Pause" : "Play");
    root.classList.toggle("playing", playing);
  }

  function tick() {
    if (!playing) return;
    if (position() >= seconds) {
      halt();
      offset = 0;
    } else requestAnimationFrame(tick);
    show();
  }

  // ------------------------------------------------------------- hands

  button.addEventListener("click", toggle);
  slider.addEventListener("input", () => {
    dragging = true;
    slider.style.setProperty("--share", `${(100 * slider.value) / seconds}%`);
    plots.forEach((place) => place(start + Number(slider.value)));
  });
  slider.addEventListener("change", () => {
    dragging = false;
    seek(Number(slider.value));
  });
  choices.forEach((choice) => choice.addEventListener("change", () => context && choose()));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { tagName, type } = event.target;
    const ours = root.contains(event.target);
    if (tagName === "INPUT" && !ours) return;
    const choice = choices[Number(event.key) - 1];
    if (choice) {
      choice.checked = true;
      choice.dispatchEvent(new Event("change"));
    } else if (event.key === " " && (type === "radio" || !/BUTTON|SUMMARY|A|AUDIO/.test(tagName))) {
      toggle();
    } else if (/^Arrow(Left|Right)$/.test(event.key) && type !== "radio" && tagName !== "AUDIO") {
      seek(position() + (event.key === "ArrowLeft" ? -STEP : STEP));
    } else return;
    event.preventDefault();
  });

  root.classList.add("live");
  show();
})();
