'use strict';
// Asks /curves, where the process keeps the last quarter of an hour, and draws it.

const COLOURS = ['#1976d2', '#e65100', '#2e7d32', '#8e24aa', '#c2185b', '#00838f', '#6d4c41'];

// Each plot: its name in /curves, what it is called, what it means, and how a value is written.
const PLOTS = [
  {
    name: 'requests',
    title: 'Requests per second',
    about: 'What each part answers; the gateway is the sum of what clients ask.',
    unit: (v) => v.toFixed(v < 10 ? 1 : 0),
  },
  {
    name: 'errors',
    title: 'Errors per second',
    about: 'Answers of 5xx by part. Nothing else than 0 is normal.',
    unit: (v) => v.toFixed(1),
  },
  {
    name: 'p99',
    title: 'p99, milliseconds',
    about: 'Of a hundred requests the slowest but one took about so long.',
    unit: (v) => v.toFixed(v < 10 ? 1 : 0),
  },
  {
    name: 'waiting',
    title: 'Events that wait',
    about: 'Not yet published (outbox), not yet read by a group (lag), given up (dead letters).',
    unit: (v) => v.toFixed(0),
  },
  {
    name: 'cores',
    title: 'Processor cores',
    about: 'What this process uses of them.',
    unit: (v) => v.toFixed(2),
  },
  {
    name: 'memory',
    title: 'Memory, MiB',
    about: 'Resident.',
    unit: (v) => v.toFixed(0),
  },
];

function element(name, attributes = {}, ...children) {
  const svg = ['svg', 'line', 'polyline'].includes(name);
  const made = svg ? document.createElementNS('http://www.w3.org/2000/svg', name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

class Plot {
  constructor(of) {
    this.of = of;
    this.svg = element('svg', { viewBox: '0 0 100 100', preserveAspectRatio: 'none', role: 'img', 'aria-label': of.title });
    this.top = element('span');
    this.legend = element('ul');
    // The scale stands beside the curves, so that it covers none of them.
    this.root = element('section', {},
      element('h2', {}, of.title), element('p', {}, of.about),
      element('div', { class: 'plot' }, this.svg),
      element('div', { class: 'scale' }, this.top, element('span', {}, '0')),
      this.legend);
  }

  // The newest point is at the right edge; where less than all is there yet, the left is empty.
  draw(lines, pointsMax) {
    const known = Object.values(lines).flat().filter((v) => v !== null);
    const most = Math.max(...known, 0) || 1;
    this.top.textContent = this.of.unit(most);
    const shapes = [0, 50, 100].map((y) => element('line', { class: 'grid', x1: 0, x2: 100, y1: y, y2: y }));
    const told = [];
    let at = 0;
    for (const [name, points] of Object.entries(lines)) {
      const colour = COLOURS[at++ % COLOURS.length];
      const drawn = points.map((v, i) => [100 - (points.length - 1 - i) * 100 / (pointsMax - 1), v])
        .filter(([, v]) => v !== null).map(([x, v]) => `${x.toFixed(2)},${(100 - v * 100 / most).toFixed(2)}`);
      shapes.push(element('polyline', { points: drawn.join(' '), stroke: colour }));
      const last = points[points.length - 1];
      const item = element('li', {}, `${name} `, element('b', {}, last === null ? '–' : this.of.unit(last)));
      item.style.setProperty('--mark', colour);
      told.push(item);
    }
    this.svg.replaceChildren(...shapes);
    this.legend.replaceChildren(...told);
  }
}

const plots = PLOTS.map((of) => new Plot(of));
const state = document.getElementById('state');
document.getElementById('curves').append(...plots.map((plot) => plot.root));

function tell(text, bad) {
  state.textContent = text;
  state.className = bad ? 'bad' : '';
}

async function look() {
  let againMs = 5000;
  try {
    const told = await (await fetch('curves')).json();
    againMs = told.everyS * 1000;
    const { version, ready, away } = told.state;
    const problems = away.length ? `, away: ${away.join(', ')}` : '';
    tell(`${version}, ${ready ? 'ready' : 'not ready'}${problems}`, !ready || away.length > 0);
    for (const plot of plots) plot.draw(told.plots[plot.of.name] || {}, told.pointsMax);
  } catch {
    tell('no answer', true);
  }
  setTimeout(look, againMs);
}

look();
