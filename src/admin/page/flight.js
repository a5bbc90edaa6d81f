// The uploads that have an owner: what is known of them, kept in step with the events; and their list.

import { liveUploads } from './api.js'
import { byId, giveUp, hrefOf, keep, part, say, show } from './dom.js'
import { NOTHING, STATES, bytes, count, duration, nameOf, percent, rate } from './words.js'

// More than anybody reads; the search finds the others.
const MOST = 2000
const PER_PAGE = 25
// What is finished stays for a moment, so that the end is seen.
const LINGER_MS = 8_000
// Progress is told twice a second while there is any.
const SILENT_MS = 3_000
const REFRESH_MS = 10_000
// Where there are more than are asked for, one of which nothing is heard for so long is forgotten.
const FORGET_MS = 60_000

export class Flight {
  uploads = new Map()
  #rows = PER_PAGE
  #isAll = true
  #asked = null
  #due = null
  #isStopped = true

  constructor() {
    this.list = byId('flight')
    this.order = byId('flight-order')
    this.order.addEventListener('change', () => this.draw())
    const more = byId('flight-more')
    more.addEventListener('click', () => {
      const shown = this.#rows
      this.#rows += 4 * PER_PAGE
      giveUp(more, () => (more.hidden ? this.list.children[shown]?.querySelector('a') : more), () => this.draw())
    })
  }

  /** Asks for all of them again; what comes by events meanwhile wins. */
  async refetch() {
    this.#isStopped = false
    if (this.#asked) return
    clearTimeout(this.#due)
    const asked = (this.#asked = Date.now())
    try {
      const { uploads, isAll } = await liveUploads(MOST)
      this.#isAll = isAll
      const known = new Set(uploads.map(({ id }) => id))
      for (const line of uploads) {
        const before = this.uploads.get(line.id)
        const isNewer = before && before.heardAt > asked
        const moved = !before || before.offset_bytes !== line.offset_bytes
        this.uploads.set(line.id, {
          ...before,
          ...line,
          ...(isNewer && { offset_bytes: before.offset_bytes, rate_bytes_per_sec: before.rate_bytes_per_sec, state: before.state }),
          heardAt: before?.heardAt ?? 0,
          movedAt: before && !moved ? before.movedAt : new Date(line.changed_at).getTime() - this.skewMs,
        })
      }
      for (const [id, upload] of this.uploads) {
        const isOld = upload.heardAt < (isAll ? asked : asked - FORGET_MS)
        if (!known.has(id) && isOld && !upload.goneAt) this.uploads.delete(id)
      }
      this.draw()
    } finally {
      this.#asked = null
      this.later(REFRESH_MS)
    }
  }

  later(ms) {
    clearTimeout(this.#due)
    // Who is not let in any more must not go on asking.
    if (this.#isStopped) return
    // A failure shows as a lost connection; there is nothing to add here.
    this.#due = setTimeout(() => this.refetch().catch(() => {}), ms)
  }

  /** Until it is asked to refetch again. */
  stop() {
    this.#isStopped = true
    clearTimeout(this.#due)
  }

  /** By how much the server's clock is ahead. */
  skewMs = 0

  hear(name, event) {
    const known = this.uploads.get(event.id)
    const now = Date.now()
    const change = (fields) => this.uploads.set(event.id, {
      id: event.id, filename: null, length_bytes: null, peer: null, rate_bytes_per_sec: 0, movedAt: now, ...known, heardAt: now, ...fields,
    })
    const offset = { offset_bytes: event.offset_bytes }
    switch (name) {
      case 'upload_created':
        change({ state: 'idle', offset_bytes: 0, length_bytes: event.length_bytes })
        break
      case 'upload_progress':
        change({ ...offset, state: 'receiving', length_bytes: event.length_bytes, rate_bytes_per_sec: event.rate_bytes_per_sec, movedAt: now, goneAt: undefined })
        break
      case 'upload_interrupted':
        change({ ...offset, state: 'idle', rate_bytes_per_sec: 0 })
        break
      case 'upload_taken_over':
        change({ ...offset, state: 'receiving' })
        break
      case 'upload_finished':
        change({ state: 'finished', offset_bytes: event.length_bytes, length_bytes: event.length_bytes, rate_bytes_per_sec: null, goneAt: now })
        break
      case 'upload_terminated':
      case 'upload_expired':
        if (known) change({ state: 'gone', rate_bytes_per_sec: null, goneAt: now })
        return
      default:
        return
    }
    // Events have no file names.
    if (!known && name !== 'upload_finished') this.later(name === 'upload_created' ? 300 : 100)
  }

  #sorted() {
    const all = Array.from(this.uploads.values())
    const missing = ({ length_bytes: length, offset_bytes: offset }) => (length ?? 0) - (offset ?? 0)
    const keys = {
      came: () => 0,
      slow: (upload) => (upload.state === 'receiving' ? this.rateOf(upload) : Infinity),
      left: (upload) => -missing(upload) / Math.max(1, this.rateOf(upload)),
      large: ({ length_bytes: length }) => -(length ?? 0),
    }
    const key = keys[this.order.value] ?? keys.came
    const group = ({ state }) => (state === 'receiving' || state === 'finished' || state === 'gone' ? 0 : 1)
    return all.map((upload) => [group(upload), key(upload), upload])
      .sort((one, other) => one[0] - other[0] || one[1] - other[1] || 0).map(([, , upload]) => upload)
  }

  /** How fast it is now: the server tells of no rate while nothing comes. */
  rateOf({ state, rate_bytes_per_sec: told, movedAt }) {
    return state === 'receiving' && Date.now() - movedAt < SILENT_MS ? told ?? 0 : 0
  }

  draw() {
    const now = Date.now()
    for (const [id, { goneAt }] of this.uploads) {
      if (goneAt && now - goneAt > LINGER_MS) this.uploads.delete(id)
    }
    const uploads = this.#sorted()
    const receiving = uploads.filter(({ state }) => state === 'receiving').length
    say(byId('flight-count'), uploads.length ? `${count(receiving)} receiving, ${count(uploads.length - receiving)} other${this.#isAll ? '' : ', and more'}` : '')
    show(byId('flight-empty'), uploads.length === 0)
    const template = byId('flight-row').content.firstElementChild
    keep(this.list, uploads.slice(0, this.#rows), ({ id }) => id, () => template.cloneNode(true), (row, upload) => this.#refresh(row, upload, now))
    const more = byId('flight-more')
    show(more, uploads.length > this.#rows)
    say(more, `Show more (${count(uploads.length - this.#rows)} hidden)`)
  }

  #refresh(row, upload, now) {
    const { id, state, offset_bytes: offset, length_bytes: length, movedAt } = upload
    const name = nameOf(upload)
    say(part(row, 'name'), name)
    const link = part(row, 'link')
    if (link.getAttribute('href') !== hrefOf(id)) {
      link.setAttribute('href', hrefOf(id))
      row.dataset.id = id
    }
    link.title = name
    const silentMs = now - movedAt
    const isSilent = state === 'receiving' && silentMs >= SILENT_MS
    row.dataset.state = isSilent ? 'silent' : state
    say(part(row, 'state'), isSilent ? `Silent for ${duration(Math.floor(silentMs / 1000))}` : STATES[state] ?? state)
    const progress = part(row, 'progress')
    const done = length ? offset / length : length === 0 ? 1 : null
    if (done === null || offset === null) progress.removeAttribute('value')
    else if (progress.value !== done || !progress.hasAttribute('value')) progress.value = done
    progress.setAttribute('aria-label', `${name}: ${done === null ? 'of unknown length' : percent(done)}`)
    say(part(row, 'size'), length === null ? bytes(offset) : `${bytes(offset)} of ${bytes(length)}`)
    const speed = this.rateOf(upload)
    say(part(row, 'rate'), state === 'receiving' ? rate(speed) : '')
    say(part(row, 'left'), state !== 'receiving' ? '' : speed > 0 && length !== null ? `${duration(Math.round((length - offset) / speed))} left` : NOTHING)
  }
}
