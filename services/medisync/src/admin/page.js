'use strict';
// Asks /metrics every other second, keeps some minutes of what it says, and draws curves of it.

const EVERY_MS = 2000;
const KEPT = 150;
const COLOURS = ['#1976d2', '#e65100', '#2e7d32', '#8e24aa', '#c2185b', '#00838f', '#6d4c41'];

// Each curve: what it is called, what it means, how a value is written, and its lines by name from two
// scrapes that follow one another.
const CURVES = [
  {
    title: 'Requests per second',
    about: 'What each part answers; the gateway is the sum of what clients ask.',
    unit: (v) => v.toFixed(v < 10 ? 1 : 0),
    lines: (now, before, s) => merge(
      { gateway: rate(now, before, 'gateway_requests_total', s) },
      rates(now, before, 'http_server_request_duration_seconds_count', 'service', s),
      rates(now, before, 'rpc_server_duration_seconds_count', 'service', s, ' (gRPC)')),
  },
  {
    title: 'Errors per second',
    about: 'Answers of 5xx by part. Nothing else than 0 is normal.',
    unit: (v) => v.toFixed(1),
    lines: (now, before, s) => merge(
      { gateway: rate(now, before, 'gateway_requests_total', s, (l) => l.status.startsWith('5')) },
      rates(now, before, 'http_server_request_duration_seconds_count', 'service', s, '',
        (l) => l.status.startsWith('5'))),
  },
  {
    title: 'p99, milliseconds',
    about: 'Of a hundred requests the slowest but one took about so long.',
    unit: (v) => v.toFixed(v < 10 ? 1 : 0),
    lines: (now, before) => merge(
      p99(now, before, 'gateway_request_duration_seconds', () => 'gateway'),
      p99(now, before, 'http_server_request_duration_seconds', (l) => l.service)),
  },
  {
    title: 'Events that wait',
    about: 'Not yet published (outbox), not yet read by a group (lag), given up (dead letters).',
    unit: (v) => v.toFixed(0),
    lines: (now) => merge(
      { outbox: total(now, 'outbox_pending') },
      by(now, 'event_consumer_lag', 'group', ' lag'),
      { 'dead letters': total(now, 'dead_letters') }),
  },
  {
    title: 'Processor cores',
    about: 'What this process uses of them.',
    unit: (v) => v.toFixed(2),
    lines: (now, before, s) => ({ cores: rate(now, before, 'process_cpu_seconds_total', s) }),
  },
  {
    title: 'Memory, MiB',
    about: 'Resident.',
    unit: (v) => v.toFixed(0),
    lines: (now) => ({ resident: total(now, 'process_resident_memory_bytes') / 1048576 }),
  },
];

// The text format of Prometheus: name{label="value",...} value.
function parse(text) {
  const found = new Map();
  for (const line of text.split('\n')) {
    // Auth holds these until there is something to say: they are no slow requests.
    if (line.includes('route="/.well-known/revocations"')) continue;
    const parts = /^([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? (\S+)$/i.exec(line);
    if (!parts) continue;
    const labels = {};
    for (const pair of (parts[2] || '').matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/gi)) labels[pair[1]] = pair[2];
    const key = parts[1];
    if (!found.has(key)) found.set(key, []);
    found.get(key).push({ labels, value: Number(parts[3]) });
  }
  return found;
}

const all = (scrape, name, only) => (scrape.get(name) || []).filter((it) => !only || only(it.labels));
const total = (scrape, name, only) => all(scrape, name, only).reduce((sum, it) => sum + it.value, 0);
const rate = (now, before, name, s, only) => Math.max(0, total(now, name, only) - total(before, name, only)) / s;

function by(scrape, name, label, suffix = '', only) {
  const sums = {};
  for (const it of all(scrape, name, only)) {
    const key = it.labels[label] + suffix;
    sums[key] = (sums[key] || 0) + it.value;
  }
  return sums;
}

function rates(now, before, name, label, s, suffix = '', only) {
  const [later, earlier] = [by(now, name, label, suffix, only), by(before, name, label, suffix, only)];
  for (const key of Object.keys(later)) later[key] = Math.max(0, later[key] - (earlier[key] || 0)) / s;
  return later;
}

// As Prometheus' histogram_quantile: within a bucket requests are taken to be spread evenly.
function p99(now, before, name, group) {
  const buckets = {};
  for (const [scrape, sign] of [[now, 1], [before, -1]]) {
    for (const it of all(scrape, `${name}_bucket`)) {
      const of = (buckets[group(it.labels)] ||= new Map());
      const le = it.labels.le === '+Inf' ? Infinity : Number(it.labels.le);
      of.set(le, (of.get(le) || 0) + sign * it.value);
    }
  }
  const found = {};
  for (const [key, of] of Object.entries(buckets)) {
    const sorted = [...of].sort((a, b) => a[0] - b[0]);
    const count = sorted.length ? sorted[sorted.length - 1][1] : 0;
    if (count <= 0) continue;
    let [low, below] = [0, 0];
    for (const [le, upTo] of sorted) {
      if (upTo >= count * 0.99) {
        found[key] = 1000 * (le === Infinity ? low : low + (le - low) * (count * 0.99 - below) / (upTo - below));
        break;
      }
      [low, below] = [le, upTo];
    }
  }
  return found;
}

function merge(...objects) {
  return Object.assign({}, ...objects);
}

function element(name, attributes = {}, ...children) {
  const svg = ['svg', 'line', 'polyline'].includes(name);
  const made = svg ? document.createElementNS('http://www.w3.org/2000/svg', name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

class Curve {
  constructor(of) {
    this.of = of;
    this.lines = new Map();
    this.plot = element('svg', { viewBox: '0 0 100 100', preserveAspectRatio: 'none', role: 'img', 'aria-label': of.title });
    this.top = element('span', { class: 'top' });
    this.legend = element('ul');
    this.root = element('section', {},
      element('h2', {}, of.title), element('p', {}, of.about),
      element('div', { class: 'plot' }, this.plot, this.top, element('span', { class: 'bottom' }, '0')),
      this.legend);
  }

  add(values) {
    for (const name of Object.keys(values)) if (!this.lines.has(name)) this.lines.set(name, []);
    for (const [name, points] of this.lines) {
      points.push(values[name] ?? null);
      if (points.length > KEPT) points.shift();
    }
    this.draw();
  }

  draw() {
    const known = [...this.lines.values()].flat().filter((v) => v !== null);
    const most = Math.max(...known, 0) || 1;
    this.top.textContent = this.of.unit(most);
    const shapes = [0, 50, 100].map((y) => element('line', { class: 'grid', x1: 0, x2: 100, y1: y, y2: y }));
    const told = [];
    let at = 0;
    for (const [name, points] of this.lines) {
      const colour = COLOURS[at++ % COLOURS.length];
      const drawn = points.map((v, i) => [100 - (points.length - 1 - i) * 100 / (KEPT - 1), v])
        .filter(([, v]) => v !== null).map(([x, v]) => `${x.toFixed(2)},${(100 - v * 100 / most).toFixed(2)}`);
      shapes.push(element('polyline', { points: drawn.join(' '), stroke: colour }));
      const last = points[points.length - 1];
      const item = element('li', {}, `${name} `, element('b', {}, last === null ? '–' : this.of.unit(last)));
      item.style.setProperty('--mark', colour);
      told.push(item);
    }
    this.plot.replaceChildren(...shapes);
    this.legend.replaceChildren(...told);
  }
}

const curves = CURVES.map((of) => new Curve(of));
const state = document.getElementById('state');
document.getElementById('curves').append(...curves.map((curve) => curve.root));
let before = null;

function tell(text, bad) {
  state.textContent = text;
  state.className = bad ? 'bad' : '';
}

async function look() {
  try {
    const now = { at: performance.now(), scrape: parse(await (await fetch('metrics')).text()) };
    const away = all(now.scrape, 'dependency_up').filter((it) => it.value === 0).map((it) => it.labels.dependency);
    const version = all(now.scrape, 'build_info').map((it) => it.labels.version).join();
    const ready = total(now.scrape, 'ready') > 0;
    const problems = away.length ? `, away: ${away.join(', ')}` : '';
    tell(`${version}, ${ready ? 'ready' : 'not ready'}${problems}`, !ready || away.length > 0);
    if (before) {
      const seconds = (now.at - before.at) / 1000;
      for (const curve of curves) curve.add(curve.of.lines(now.scrape, before.scrape, seconds));
    }
    before = now;
  } catch {
    tell('no answer', true);
  }
  setTimeout(look, EVERY_MS);
}

look();
