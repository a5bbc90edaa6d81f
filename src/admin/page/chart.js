// Small drawings: plots over the last minutes, and the timeline of one upload. Colours come from the style sheet.

import { el, say, svg } from './dom.js'
import { visible } from './words.js'

const WIDTH = 320
const HEIGHT = 96
const EDGE = { left: 4, right: 4, top: 8, bottom: 4 }

/** A round number no smaller than this. */
export function roundUp(value) {
  if (!(value > 0)) return 1
  const step = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 5, 10].map((factor) => factor * step).find((round) => round >= value)
}

/** The same in steps of two, for bytes. */
export const roundUpBytes = (value) => 2 ** Math.ceil(Math.log2(Math.max(1024, value)))

/**
 * A plot over the last minutes. `series` are `{ name, label }`; its samples are `{ at, [name]: value }`, in order of time. Gaps
 * of more than `gapMs` are left open.
 */
export class Plot {
  constructor(title, series, { words, top = roundUp, least = 1, spanMs = 600_000, gapMs = 15_000, isLog = false }) {
    Object.assign(this, { title, series, words, top, least, spanMs, gapMs, isLog })
    this.value = el('span', { class: 'plot-value' })
    this.most = el('span', { class: 'plot-most' })
    this.lines = series.map(({ name }, place) => svg('path', { class: `line line-${place + 1}`, 'data-series': name, 'vector-effect': 'non-scaling-stroke' }))
    this.area = series.length === 1 ? svg('path', { class: 'area' }) : null
    const grid = [0.25, 0.5, 0.75].map((part) => svg('line', {
      class: 'grid', x1: 0, x2: WIDTH, y1: this.y(part), y2: this.y(part), 'vector-effect': 'non-scaling-stroke',
    }))
    this.drawing = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': title },
      grid, this.area, this.lines)
    this.keys = series.map(({ label }, place) => ({ node: el('span', null), swatch: el('i', { class: `swatch swatch-${place + 1}`, 'aria-hidden': 'true' }), label }))
    this.legend = series.length > 1 ? el('p', { class: 'legend' }, this.keys.map(({ node, swatch }) => el('span', null, swatch, node))) : null
    this.node = el('figure', { class: 'plot' },
      el('figcaption', null, el('span', null, title), this.value),
      el('div', { class: 'plot-box' }, this.drawing, this.most),
      el('div', { class: 'plot-foot' }, el('span', null, `${Math.round(spanMs / 60_000)} min ago`), el('span', null, 'now')),
      this.legend)
  }

  y(part) {
    return EDGE.top + (1 - part) * (HEIGHT - EDGE.top - EDGE.bottom)
  }

  draw(samples, now) {
    const start = now - this.spanMs
    const shown = samples.filter(({ at }) => at >= start)
    const highest = Math.max(this.least, ...shown.flatMap((sample) => this.series.map(({ name }) => sample[name] ?? 0)))
    const top = this.top(highest)
    // On a logarithmic scale the bottom is a ten-thousandth of the top.
    const part = (value) => (this.isLog ? Math.max(0, 1 + Math.log10(Math.max(value, top / 1e4) / top) / 4) : value / top)
    const x = (at) => EDGE.left + ((at - start) / this.spanMs) * (WIDTH - EDGE.left - EDGE.right)
    this.series.forEach(({ name }, place) => {
      let path = ''
      let area = ''
      let before = null
      let first = null
      const close = () => { if (before !== null) area += `L${x(before).toFixed(1)} ${this.y(0)}L${x(first).toFixed(1)} ${this.y(0)}Z` }
      for (const sample of shown) {
        const value = sample[name]
        if (value === null || value === undefined) continue
        const isFirst = before === null || sample.at - before > this.gapMs
        const spot = `${x(sample.at).toFixed(1)} ${this.y(part(value)).toFixed(1)}`
        if (isFirst) {
          close()
          first = sample.at
        }
        path += `${isFirst ? 'M' : 'L'}${spot}`
        area += `${isFirst ? 'M' : 'L'}${spot}`
        before = sample.at
      }
      close()
      this.lines[place].setAttribute('d', path)
      this.area?.setAttribute('d', area)
    })
    const last = shown.at(-1)
    const value = (name) => (last?.[name] === undefined ? '–' : this.words(last[name]))
    if (this.legend) this.keys.forEach(({ node, label }, place) => say(node, `${label} ${value(this.series[place].name)}`))
    else say(this.value, value(this.series[0].name))
    say(this.most, this.words(top))
    this.drawing.setAttribute('aria-label', `${this.title}: ${this.series.map(({ name, label }) => `${label} ${value(name)}`).join(', ')}`)
    this.node.dataset.points = String(shown.length)
  }
}

const TIMELINE = { height: 240, left: 8, right: 8, top: 26, bottom: 8 }

const SIGNS = { lease: '', take_over: 'T', cut: '×', finished: '✓', owner: 'O' }

/** The timeline of an upload: the offset over time, what the time went into behind it, and what befell it above. */
export function timelineOf({ points, marks }, course, length, { duration, bytes }, width) {
  const { height, left, right, top, bottom } = TIMELINE
  const end = Math.max(course.end, 1)
  const highest = Math.max(length ?? 0, ...points.map(({ offset_bytes: offset }) => offset), 1)
  const x = (at) => left + (Math.min(at, end) / end) * (width - left - right)
  const y = (offset) => height - bottom - (offset / highest) * (height - top - bottom)
  const bands = Object.entries(course.spans).filter(([name]) => name !== 'moving').flatMap(([name, spans]) => spans.map(([from, to]) => svg('rect', {
    class: `band band-${name}`, 'data-band': name, x: x(from).toFixed(1), y: top, width: Math.max(0.7, x(to) - x(from)).toFixed(1), height: height - top - bottom,
  })))
  let path = points.length > 0 && points[0].at_ms > 0 ? `M${x(0).toFixed(1)} ${y(0).toFixed(1)}` : ''
  let before = points[0]?.at_ms > 0 ? 0 : null
  for (const { at_ms: at, offset_bytes: offset } of points) {
    const spot = `${x(at).toFixed(1)} ${y(offset).toFixed(1)}`
    // Where nothing came the offset stood still: a step, no slope.
    path += path === '' ? `M${spot}` : at - before >= course.pauseMs ? `H${x(at).toFixed(1)}L${spot}` : `L${spot}`
    before = at
  }
  if (path !== '' && !course.isFinished) path += `H${x(end).toFixed(1)}`
  const signs = marks.filter(({ kind }) => kind in SIGNS).map(({ at_ms: at, kind, detail }) => svg('g', { class: `mark mark-${kind}`, 'data-mark': kind },
    svg('line', { x1: x(at), x2: x(at), y1: kind === 'lease' ? top - 5 : top - 8, y2: kind === 'lease' ? top : height - bottom }),
    SIGNS[kind] && svg('text', { x: Math.min(Math.max(x(at), 8), width - 8), y: 13, 'text-anchor': 'middle' }, SIGNS[kind]),
    svg('title', null, `${kind.replace('_', ' ')} after ${duration(at / 1000)}${detail ? `: ${visible(detail)}` : ''}`)))
  return el('div', { class: 'timeline' },
    svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': `Offset over ${duration(end / 1000)}, up to ${bytes(highest)}` },
      bands,
      length ? svg('line', { class: 'goal', x1: left, x2: width - right, y1: y(length), y2: y(length) }) : null,
      svg('path', { class: 'course', d: path, 'vector-effect': 'non-scaling-stroke', 'data-points': points.length }),
      signs),
    el('div', { class: 'plot-foot' }, el('span', null, '0'), el('span', null, `${bytes(highest)} high`), el('span', null, duration(end / 1000))))
}
