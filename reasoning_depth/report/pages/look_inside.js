'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const at = { sample: 0, loop: 0, layer: data.layers - 1, cell: 0 };
const element = (id) => document.getElementById(id);
const color = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();
// Viridis at equal distances, from 0 to 1.
const VIRIDIS = [
  [68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141],
  [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37],
];

function shade(share) {
  const x = Math.min(Math.max(share, 0), 1) * (VIRIDIS.length - 1);
  const i = Math.min(Math.floor(x), VIRIDIS.length - 2);
  const mixed = VIRIDIS[i].map((a, c) =>
    Math.round(a + (x - i) * (VIRIDIS[i + 1][c] - a)));
  return `rgb(${mixed.join(' ')})`;
}

// A canvas of this height, in CSS pixels; sharp on any screen.
function canvas(id, height) {
  const it = element(id);
  const width = it.parentElement.clientWidth;
  const scale = window.devicePixelRatio || 1;
  it.style.height = `${height}px`;
  it.width = Math.round(width * scale);
  it.height = Math.round(height * scale);
  const c = it.getContext('2d');
  c.setTransform(scale, 0, 0, scale, 0, 0);
  c.clearRect(0, 0, width, height);
  c.font = '12px system-ui, sans-serif';
  c.fillStyle = color('--ink');
  c.textBaseline = 'middle';
  return { c, width, height };
}

const sample = () => data.samples[at.sample];
const said = () => sample().said[at.loop][at.layer];
const label = (group) => data.labels[group] ??
  `${data.group_name === 'look_ahead' ? 'k' : data.group_name} = ${group}`;
const name = (cell) => data.positions[sample().at[cell]] ?? String(cell);
// Rows of a sample's answer: states of the lattice, else one row.
function answerRows(tokens) {
  const width = data.lattice ? sample().observed[0].length : tokens.length;
  const rows = [];
  for (let i = 0; i < tokens.length; i += width) {
    rows.push(tokens.slice(i, i + width));
  }
  return rows;
}

function drawOrbit() {
  const s = sample();
  const seen = data.lattice ? s.observed.map((x) => [...x].map(Number)) : [];
  const right = answerRows(s.target);
  const here = answerRows(said());
  const W = Math.max(...[...seen, ...right].map((row) => row.length));
  const left = 64;
  const room = element('orbit').parentElement.clientWidth - left;
  const size = Math.min(room / W, 22);
  const tall = Math.max(size, data.lattice ? 8 : 18);
  const gap = 8;
  const count = seen.length + 2 * right.length;
  const { c } = canvas('orbit', tall * count + 3 * gap + 4);
  let y = 2;
  const row = (tokens, text, marks) => {
    c.fillStyle = color('--ink');
    c.fillText(text, 0, y + tall / 2);
    tokens.forEach((token, i) => {
      const x = left + i * size;
      paint(c, token, x, y, size, tall);
      if (marks && token !== marks[i]) {
        c.strokeStyle = '#e4572e';
        c.lineWidth = 2;
        c.strokeRect(x + 1, y + 1, size - 2, tall - 2);
      }
    });
    y += tall;
  };
  seen.forEach((tokens, t) =>
    row(tokens, t === 0 || t === seen.length - 1 ? `seen ${t}` : ''));
  y += gap;
  right.forEach((tokens, i) => row(tokens, i ? '' : 'right'));
  y += gap;
  const top = y;
  here.forEach((tokens, i) => row(tokens, i ? '' : 'says', right[i]));
  const line = Math.floor(at.cell / W);
  c.strokeStyle = color('--link');
  c.lineWidth = 2;
  c.strokeRect(left + (at.cell % W) * size, top + line * tall, size, tall);
}

function paint(c, token, x, y, width, height) {
  if (data.lattice && (token === 0 || token === 1)) {
    c.fillStyle = color(token ? '--one' : '--zero');
    c.fillRect(x, y, width - 0.5, height - 0.5);
    return;
  }
  c.fillStyle = color('--zero');
  c.fillRect(x, y, width - 0.5, height - 0.5);
  c.fillStyle = color('--ink');
  const text = String(token);
  if (c.measureText(text).width <= width) c.fillText(text, x + 1, y + height / 2);
}

// A table of shares as colours; returns where a click is.
function grid(id, values, columns, chosen) {
  const left = 30;
  const top = columns ? 18 : 2;
  const tall = Math.min(Math.max(120 / values.length, 10), 24);
  const { c, width } = canvas(id, top + tall * values.length + 4);
  const across = values[0].length;
  const size = Math.min((width - left) / across, 60);
  values.forEach((row, n) => {
    c.fillStyle = color('--ink');
    c.textAlign = 'right';
    c.fillText(String(n + 1), left - 6, top + (n + 0.5) * tall);
    c.textAlign = 'left';
    row.forEach((share, i) => {
      c.fillStyle = share === null ? color('--tile') : shade(share);
      c.fillRect(left + i * size, top + n * tall, size - 0.5, tall - 0.5);
      if (share !== null && size > 26) {
        c.fillStyle = share > 0.6 ? '#000' : '#fff';
        c.fillText(Math.round(100 * share), left + i * size + 3, top + (n + 0.5) * tall);
      }
    });
  });
  c.fillStyle = color('--ink');
  const wide = Math.max(0, ...(columns ?? []).map((t) => c.measureText(t).width));
  const every = Math.ceil((wide + 6) / size);
  (columns ?? []).forEach((text, i) => {
    if (i % every === 0) c.fillText(text, left + i * size, 8);
  });
  if (chosen) {
    c.strokeStyle = color('--ink');
    c.lineWidth = 2;
    c.strokeRect(left + chosen[1] * size, top + chosen[0] * tall, size, tall);
  }
  return (event) => {
    const box = element(id).getBoundingClientRect();
    return [
      Math.floor((event.clientY - box.top - top) / tall),
      Math.floor((event.clientX - box.left - left) / size),
    ];
  };
}

let place = () => [-1, -1];

function drawHeat() {
  const values = sample().percent.map((loop) =>
    loop[at.layer].map((percent) => percent / 100));
  const columns = sample().at.map((_, i) => name(i));
  place = grid('heat', values, columns, [at.loop, at.cell]);
}

function drawMatch() {
  const known = data.milestones.length > 1;
  element('milestones').hidden = !known;
  if (!known) return;
  const shares = sample().said.map((loop) =>
    sample().milestones.map((tokens) => {
      const asked = tokens.map((t, i) => [t, loop[at.layer][i]])
        .filter(([t]) => t !== null);
      if (!asked.length) return null;
      return asked.filter(([t, x]) => t === x).length / asked.length;
    }));
  grid('match', shares, data.milestones, null);
}

function drawCurve() {
  const values = sample().percent.map((loop) => loop[at.layer][at.cell]);
  const { c, width, height } = canvas('curve', 130);
  const [left, bottom, top] = [36, height - 20, 8];
  const N = values.length;
  const x = (n) => left + (width - left - 12) * (N > 1 ? n / (N - 1) : 0.5);
  const y = (v) => bottom - (bottom - top) * (v / 100);
  for (const v of [0, 50, 100]) {
    c.fillText(String(v), 4, y(v));
    c.strokeStyle = color('--grid');
    c.beginPath();
    c.moveTo(left, y(v));
    c.lineTo(width - 12, y(v));
    c.stroke();
  }
  const every = Math.ceil(N / Math.max(1, (width - left) / 28));
  values.forEach((_, n) => {
    if (n % every === 0) c.fillText(String(n + 1), x(n) - 3, height - 8);
  });
  const scored = x(sample().scored_after - 1);
  c.strokeStyle = color('--grey');
  c.setLineDash([4, 4]);
  c.beginPath();
  c.moveTo(scored, top);
  c.lineTo(scored, bottom);
  c.stroke();
  c.setLineDash([]);
  c.strokeStyle = color('--link');
  c.fillStyle = color('--link');
  c.lineWidth = 2;
  c.beginPath();
  values.forEach((v, n) => (n ? c.lineTo(x(n), y(v)) : c.moveTo(x(n), y(v))));
  c.stroke();
  values.forEach((v, n) => {
    c.beginPath();
    c.arc(x(n), y(v), n === at.loop ? 6 : 3, 0, 7);
    c.fill();
  });
}

function drawSteps() {
  const steps = sample().steps;
  element('halting').hidden = !steps;
  if (!steps) return;
  const row = data.row_tokens > 1 ? data.row_tokens : Math.min(steps.length, 32);
  const [low, high] = [Math.min(...steps), Math.max(...steps)];
  const span = high - low || 1;
  const lines = Math.ceil(steps.length / row);
  const tall = 12;
  const { c, width } = canvas('steps', tall * lines + 4);
  const size = Math.min(width / row, 22);
  steps.forEach((value, i) => {
    c.fillStyle = shade((value - low) / span);
    c.fillRect((i % row) * size, 2 + Math.floor(i / row) * tall, size - 0.5, tall - 0.5);
  });
  element('steps-text').textContent =
    `From ${low.toFixed(2)} to ${high.toFixed(2)} here.`;
}

function words() {
  const s = sample();
  const here = said();
  const wrong = here.filter((token, i) => token !== s.target[i]).length;
  const final = s.answer.filter((token, i) => token !== s.target[i]).length;
  const last = at.loop + 1 === s.scored_after && at.layer + 1 === data.layers;
  const loops = `${data.loop_name} ${at.loop + 1}`;
  const where = (data.layers > 1 ? `${loops}, layer ${at.layer + 1}` : loops) +
    (last ? ' (scored)' : '');
  const cells = s.target.length;
  element('sample-text').textContent =
    `${at.sample + 1} of ${data.samples.length} (${label(s.group)}, ${final ? 'answered wrong' : 'answered right'})`;
  const beyond = data.trained_loops && at.loop >= data.trained_loops;
  element('loop-text').textContent =
    `${at.loop + 1} of ${data.loops}${beyond ? ' (more than in training)' : ''}`;
  element('layer-text').textContent = `${at.layer + 1} of ${data.layers}`;
  element('cell-text').textContent = name(at.cell);
  const percent = s.percent[at.loop][at.layer][at.cell];
  element('verdict').textContent =
    `After ${where}: ${cells - wrong} of ${cells} right. Cell ${name(at.cell)}: ` +
    `says ${here[at.cell]}, right is ${s.target[at.cell]}, which has a chance of ${percent} %. ` +
    (final ? `The model's answer is wrong in ${final} of ${cells}.` : "The model's answer is right.");
  element('tokens').hidden = data.lattice;
  if (!data.lattice) element('read').textContent = s.inputs.join(' ');
}

function draw() {
  const most = {
    sample: data.samples.length, loop: data.loops, layer: data.layers,
    cell: sample().target.length,
  };
  for (const [what, count] of Object.entries(most)) {
    at[what] = Math.min(Math.max(at[what], 0), count - 1);
    const input = element(what);
    input.max = count - 1;
    input.value = at[what];
  }
  words();
  drawOrbit();
  drawHeat();
  drawMatch();
  drawCurve();
  drawSteps();
}

function choose(what, value) {
  at[what] = Math.min(Math.max(value, 0), Number(element(what).max));
  if (what === 'sample') at.loop = sample().scored_after - 1;
  draw();
}

if (data.samples.length) {
  at.loop = sample().scored_after - 1;
  element('layers').hidden = data.layers === 1;
  for (const what of Object.keys(at)) {
    element(what).addEventListener('input', (event) =>
      choose(what, Number(event.target.value)));
  }
  for (const button of document.querySelectorAll('button[data-step]')) {
    const { step, by } = button.dataset;
    button.addEventListener('click', () => choose(step, at[step] + Number(by)));
  }
  element('heat').addEventListener('click', (event) => {
    const [loop, cell] = place(event);
    Object.assign(at, { loop, cell });
    draw();
  });
  window.addEventListener('resize', draw);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  draw();
}
