// The machine room: mailboxes, pools, memory, requests, and what went wrong. Tables, refreshed from `stats`.

import { ask } from './api.js'
import { bar, bdi, byId, el, hrefOf, keep, say, show } from './dom.js'
import { NOTHING, bytes, cause, count, explained, hookFailure, millis, visible } from './words.js'

/** A row of cells, the first of which is its head; `set(texts)` refreshes the others. */
function rowOf(head, cells) {
  const row = el('tr', null, el('th', { scope: 'row' }, head), cells.map((cell) => el('td', null, cell)))
  row.boxes = cells
  return row
}

const text = () => el('span')

// Failures of the store that its clients bring about: they ask for what is not there, or go away.
const ORDINARY = ['not_found', 'exists', 'too_large', 'no_such_key', 'no_such_upload', 'precondition', 'abandoned']

const kindHead = (kind) => [el('span', { class: 'kind' }, kind), explained(kind) && el('small', null, explained(kind))]

function mailboxRow(head, label) {
  const depth = text()
  const level = bar(label)
  return Object.assign(rowOf(head, [el('span', { class: 'level' }, level, depth), text(), text(), text(), text(), text()]), { depth, level })
}

function refreshMailbox(row, { depth, capacity, depth_peak: peak }, others) {
  const words = `${count(depth)} of ${count(capacity)} wait, ${count(peak)} at most`
  row.level.set(depth, capacity, peak, words)
  say(row.depth, `${count(depth)} / ${count(capacity)}`)
  ;[count(peak), ...others].forEach((words, place) => say(row.boxes[place + 1], words))
}

export class Machine {
  #first = new Map()

  constructor() {
    this.memoryBar = bar('Memory')
    this.memoryWords = text()
    byId('memory').append(el('span', { class: 'kind' }, 'Memory on its way to the store'), this.memoryBar, this.memoryWords)
    this.busiest = byId('busiest')
    this.busiest.addEventListener('toggle', () => this.singles().catch(() => {}))
  }

  draw(stats) {
    say(byId('mailboxes-hint'), `slow when messages wait over ${millis(stats.slow_after_ms)}`)
    keep(byId('mailboxes'), stats.kinds, ({ kind }) => kind, ({ kind }) => {
      const row = mailboxRow(kindHead(kind), kind)
      row.dataset.kind = kind
      return row
    }, (row, of) => {
      refreshMailbox(row, of, [millis(of.oldest_age_ms), millis(of.dwell_p99_ms), millis(of.processing_p99_ms), count(of.refused)])
      row.classList.toggle('is-bad', of.is_slow)
      row.boxes[5].classList.toggle('is-warn', of.refused > 0)
    })
    keep(byId('pools'), stats.pools, ({ pool }) => pool, ({ pool }) => {
      const level = bar(pool)
      const busy = text()
      const row = Object.assign(rowOf(kindHead(pool), [el('span', { class: 'level' }, level, busy), text(), text(), text(), text()]), { level, busy })
      row.dataset.pool = pool
      return row
    }, (row, { workers, workers_wanted: wanted, busy, queue, without_room: without, restarts }) => {
      const change = wanted === workers ? '' : ` → ${wanted}`
      show(row.level, busy !== null)
      row.level.set(busy ?? 0, workers, 0, `${count(busy)} of ${count(workers)} workers are busy`)
      say(row.busy, busy === null ? `${workers} workers` : `${busy} / ${workers}${change}`)
      const cells = [queue ? `${count(queue.depth)} / ${count(queue.capacity)}` : NOTHING, queue ? millis(queue.oldest_age_ms) : NOTHING, count(without), count(restarts)]
      cells.forEach((words, place) => say(row.boxes[place + 1], words))
      row.classList.toggle('is-bad', without > 0)
    })
    const { budget_bytes: budget, used_bytes: used, waiting } = stats.memory
    this.memoryBar.set(used, budget, 0, `${bytes(used)} of ${bytes(budget)}`)
    say(this.memoryWords, `${bytes(used)} of ${bytes(budget)}${waiting ? `, ${count(waiting)} requests wait` : ''}`)
    keep(byId('latency'), stats.latency, ({ method }) => method, ({ method }) => rowOf(method, [text(), text(), text(), text()]),
      (row, { count: requests, p50_ms: p50, p99_ms: p99, max_ms: max }) => {
        [count(requests), millis(p50), millis(p99), millis(max)].forEach((words, place) => say(row.boxes[place], words))
      })
    this.#errors(stats)
  }

  /** Refusals, cuts and failures of the store in one table, the most frequent first. */
  #errors(stats) {
    const all = [
      ...stats.errors.map(({ status, code, count: times }) => ({ key: `e${status}${code}`, head: [`${status} `, el('code', null, code)], times, isBad: status >= 500 && code !== 'ERR_READ_TIMEOUT' })),
      ...stats.interruptions.map(({ cause: name, count: times }) => ({ key: `i${name}`, head: [`Cut: ${cause(name)}`], times })),
      ...stats.store_failures.map(({ store, operation, reason, count: times }) => ({
        key: `s${store} ${operation} ${reason}`, head: [`Store ${store}: ${operation} failed, ${visible(reason)}`], times, isBad: !ORDINARY.includes(reason),
      })),
      ...(stats.hooks?.failures ?? []).map(({ hook, cause: name, count: times }) => ({ key: `h${hook} ${name}`, head: [`Hook ${hook} ${hookFailure(name)}`], times, isBad: true })),
      { key: 'died', head: ['Owners that died of a panic'], times: stats.uploads.owners_died_total, isBad: true },
      { key: 'log', head: ['Log lines dropped'], times: stats.log_lines_dropped_total, isBad: true },
    ].filter(({ times }) => times > 0)
    const isFirst = this.#first.size === 0
    if (isFirst) this.#first.set('', 0)
    for (const { key, times } of all) if (!this.#first.has(key)) this.#first.set(key, isFirst ? times : 0)
    show(byId('errors-empty'), all.length === 0)
    all.sort((one, other) => other.times - one.times || (one.key < other.key ? -1 : 1))
    keep(byId('errors'), all, ({ key }) => key, ({ head, isBad }) => {
      const row = rowOf(head, [text(), text()])
      row.classList.toggle('is-serious', Boolean(isBad))
      return row
    }, (row, { key, times }) => {
      say(row.boxes[0], count(times))
      const lately = times - this.#first.get(key)
      say(row.boxes[1], lately > 0 ? `+${count(lately)}` : NOTHING)
    })
  }

  /** Forgets what was before: another process counts anew. */
  restart() {
    this.#first.clear()
  }

  /** The single mailboxes, which no event tells of; asked for only while they are shown. */
  async singles() {
    if (!this.busiest.open) return
    const { mailboxes } = await ask('mailboxes?limit=20')
    keep(byId('single-mailboxes'), mailboxes, ({ kind, name }) => `${kind} ${name}`, ({ kind, name }) => {
      const isUpload = kind === 'upload' && name
      const head = isUpload ? el('a', { href: hrefOf(name), class: 'id' }, bdi(visible(name, 60))) : bdi(name ? `${kind} ${name}` : kind)
      return mailboxRow(head, isUpload ? name : kind)
    }, (row, of) => {
      refreshMailbox(row, of, [millis(of.oldest_age_ms), millis(of.dwell_max_ms), millis(of.processing_max_ms), count(of.received)])
    })
  }
}
