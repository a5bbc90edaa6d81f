// What is seen first: numbers, plots of the last minutes, warnings, and what has happened.

import { ask } from './api.js'
import { Plot, roundUpBytes } from './chart.js'
import { outcomeLine } from './dialogs.js'
import { bdi, byId, el, hrefOf, keep, say, show } from './dom.js'
import { bytes, cause, count, duration, events, millis, moment, nameOf, rate, visible } from './words.js'

const SPAN_MS = 600_000
const FEED = 60
// What the application hears no sooner than this is late.
const LATE_MS = 60_000
const METHODS = ['HEAD', 'POST', 'PATCH']

export class Overview {
  #samples = []
  #tiles = new Map()
  #feed = []
  #number = 0

  constructor(flight) {
    this.flight = flight
    this.plots = [
      new Plot('Throughput', [{ name: 'received', label: 'received' }], { words: rate, top: roundUpBytes, least: 1024 }),
      new Plot('Receiving now', [{ name: 'leases', label: 'uploads' }], { words: count, least: 4 }),
      new Plot('Latency, p99 of a minute', METHODS.map((name) => ({ name, label: name })), { words: millis, least: 10, isLog: true }),
      new Plot('Longest mailbox wait, p99', [{ name: 'dwell', label: 'wait' }], { words: millis, least: 10 }),
    ]
    byId('plots').append(...this.plots.map(({ node }) => node))
    for (const [name, label] of [['throughput', 'Receiving'], ['flight', 'Requests sending'], ['live', 'Uploads in memory'], ['connections', 'Connections'],
      ['requests', 'Requests'], ['finished', 'Finished'], ['memory', 'Memory in use'], ['uptime', 'Up for']]) {
      const value = el('dd', { 'data-tile': name })
      this.#tiles.set(name, value)
      byId('tiles').append(el('div', null, el('dt', null, label), value))
    }
  }

  /** The last minutes before this page was opened. */
  async refetch() {
    const { samples } = await ask('recent')
    const older = samples.map((sample) => ({
      at: new Date(sample.at).getTime(),
      received: sample.received_bytes_per_sec,
      leases: sample.leases_open,
      dwell: sample.dwell_p99_ms,
      ...Object.fromEntries(sample.latency.map(({ method, p99_ms: p99 }) => [method, p99])),
    }))
    const last = older.at(-1)?.at ?? 0
    this.#samples = [...older, ...this.#samples.filter(({ at }) => at > last)]
    this.draw()
  }

  hearStats(stats) {
    const at = new Date(stats.at).getTime()
    this.stats = stats
    // The first after nobody listened has no rate yet, and one that was told before is told again to who comes.
    if (at > (this.#samples.at(-1)?.at ?? 0)) {
      this.#samples.push({
        at,
        received: stats.received_bytes_per_sec,
        leases: stats.leases_open,
        dwell: Math.max(0, ...stats.kinds.map(({ dwell_p99_ms: p99 }) => p99)),
        ...Object.fromEntries(stats.latency.map(({ method, p99_ms: p99 }) => [method, p99])),
      })
    }
    this.#samples = this.#samples.filter((sample) => sample.at >= at - SPAN_MS)
  }

  /** Another process: what was before is no part of its course. */
  restart() {
    this.#samples = []
  }

  draw() {
    const { stats } = this
    if (!stats) return
    const now = new Date(stats.at).getTime()
    for (const plot of this.plots) plot.draw(this.#samples, now)
    const { memory } = stats
    const texts = {
      throughput: rate(stats.received_bytes_per_sec),
      flight: count(stats.leases_open),
      live: count(stats.uploads_live),
      connections: count(stats.connections),
      requests: `${stats.requests_per_sec < 10 ? Math.round(stats.requests_per_sec * 10) / 10 : count(stats.requests_per_sec)}/s`,
      finished: count(stats.uploads.finished_total),
      memory: bytes(memory.used_bytes),
      uptime: duration(stats.uptime_secs),
    }
    for (const [name, text] of Object.entries(texts)) say(this.#tiles.get(name), text)
  }

  /** What should not be so. `readiness` is what the probe answered. */
  alerts(readiness) {
    const { stats } = this
    if (!stats) return
    const alerts = []
    const add = (key, text, isBad = false) => alerts.push({ key, text, isBad })
    if (readiness?.ready === false) {
      add('ready', { shutting_down: 'The server is ending: it takes no new work.', store_unreachable: 'The store can’t be reached.' }[readiness.reason] ?? 'The server is not ready.', true)
    }
    for (const { kind, is_slow: isSlow, oldest_age_ms: oldest, dwell_p99_ms: dwell, refused } of stats.kinds) {
      if (isSlow) add(`slow ${kind}`, `Slow mailboxes: ${kind}. Messages wait ${millis(dwell)} (p99 of a minute)${oldest === null ? '' : `, the oldest one ${millis(oldest)} by now`}; the limit is ${millis(stats.slow_after_ms)}.`, true)
      else if (refused > 0) add(`refused ${kind}`, `Full mailboxes: ${kind} has refused ${count(refused)} messages since the start.`)
    }
    if (stats.memory.waiting > 0) add('memory', `${count(stats.memory.waiting)} requests wait for memory: bytes come faster than the store takes them.`)
    for (const { pool, without_room: waiting } of stats.pools) if (waiting > 0) add(`room ${pool}`, `The queue of ${pool} is full: ${count(waiting)} wait for room in it.`)
    const outbox = stats.hooks?.outbox
    if (outbox?.oldest_age_ms > LATE_MS) add('owed', `The application is still to be told of ${events(outbox.owed)}; the oldest happened ${millis(outbox.oldest_age_ms)} ago.`, true)
    if (outbox?.dropped_total > 0) add('dropped', `${events(outbox.dropped_total)} dropped since the start: hooks are called too slowly.`)
    if (stats.uploads.owners_died_total > 0) add('died', `${count(stats.uploads.owners_died_total)} owners died of a panic since the start. That is a fault in wharf; the log has it.`, true)
    keep(byId('alerts'), alerts, ({ key }) => key, ({ key }) => el('p', { 'data-alert': key }), (row, { text, isBad }) => {
      say(row, text)
      row.className = isBad ? 'alert alert-bad' : 'alert alert-warn'
    })
  }

  /** One line in the list of what has happened; progress is none. */
  note(name, event) {
    const known = this.flight.uploads.get(event.id)
    const line = {
      upload_created: ['Created', ''],
      upload_interrupted: ['Cut', cause(event.cause)],
      upload_taken_over: ['Taken over', 'a newer request goes on with it'],
      upload_finished: ['Finished', bytes(event.length_bytes)],
      upload_terminated: ['Deleted', ''],
      upload_expired: ['Expired', ''],
      pool_resized: ['Pool resized', `${event.pool}: from ${event.from} to ${event.to} workers`],
      mailbox_slow: event.is_slow ? ['Mailboxes slow', `${event.kind}: wait ${millis(event.dwell_p99_ms)} at the 99th percentile`] : ['Mailboxes quick again', event.kind],
      settings_reloaded: ['Settings read', event.problems && outcomeLine(event)],
      lost: ['Events lost', `this page was too slow for ${count(event.count)} of them; all is asked for again`],
    }[name]
    if (!line) return
    this.#feed.unshift({ key: this.#number++, at: event.at, name, id: event.id, filename: known?.filename ?? null, what: line[0], more: line[1] })
    this.#feed.length = Math.min(this.#feed.length, FEED)
  }

  drawFeed() {
    show(byId('feed-empty'), this.#feed.length === 0)
    keep(byId('feed'), this.#feed, ({ key }) => key, ({ at, name, what }) => {
      const row = el('li', { 'data-event': name }, el('time', { datetime: at }, moment(at)), el('strong', null, what), el('span', { class: 'feed-more' }))
      row.more = row.lastElementChild
      return row
    }, (row, item) => {
      // A name may become known later than its upload.
      const filename = item.filename ?? this.flight.uploads.get(item.id)?.filename ?? null
      if (row.shownName === filename && row.isDrawn) return
      Object.assign(row, { shownName: filename, isDrawn: true })
      item.filename = filename
      row.more.replaceChildren(...[item.id && el('a', { href: hrefOf(item.id), title: nameOf(item) }, bdi(nameOf(item))), item.more && el('span', null, visible(item.more))].filter(Boolean))
    })
  }
}
