// The page of one upload: where it stands, what its time went into, and what can be done about it.

import { Refused, ask, uploadPath } from './api.js'
import { timelineOf } from './chart.js'
import { SHARES, courseOf, verdict } from './course.js'
import { confirmDelete, confirmInterrupt } from './dialogs.js'
import { bdi, become, byId, el, facts, giveUp, hrefOf, say, show } from './dom.js'
import * as words from './words.js'

const { NOTHING, STATES, bytes, count, duration, millis, moment, nameOf, percent, rate, visible } = words

// While something happens it is asked for again so often, and after each event of it.
const EVERY_MS = 2000
const LEAST_MS = 700

export class UploadView {
  #id = null
  #timer = null
  #asking = false
  #askedAt = 0
  #isDue = false
  skewMs = 0

  constructor(announce) {
    this.announce = announce
    this.root = byId('view-upload')
    this.name = bdi('')
    this.idText = el('code', { class: 'id' })
    this.state = el('span', { class: 'state' })
    this.interrupt = el('button', { type: 'button', onclick: () => this.#do(confirmInterrupt) }, 'Interrupt')
    this.delete = el('button', { type: 'button', class: 'danger', onclick: () => this.#do(confirmDelete) }, 'Delete')
    this.progress = el('progress', { max: 1 })
    this.progressWords = el('p', { class: 'progress-words number' })
    this.problem = el('p', { class: 'alert alert-bad', role: 'alert', hidden: true })
    this.body = el('div', { class: 'upload-body' })
    this.back = el('a', { href: '#/uploads' }, '← All uploads')
    this.root.append(
      el('p', null, this.back),
      el('div', { class: 'upload-head' },
        el('div', { class: 'upload-name' }, el('h1', null, this.name), this.idText),
        el('div', { class: 'tools' }, this.interrupt, this.delete)),
      this.problem,
      el('div', { class: 'upload-progress' }, this.state, this.progress, this.progressWords),
      this.body)
    window.addEventListener('resize', () => { if (this.#id && this.upload) this.#drawCourse() })
  }

  open(id) {
    this.close()
    this.#id = id
    this.upload = null
    say(this.name, visible(id))
    say(this.idText, '')
    say(this.state, '')
    say(this.progressWords, '')
    this.progress.value = 0
    delete this.root.dataset.state
    show(this.problem, false)
    this.#may({ interrupt: false, delete: false })
    this.body.replaceChildren()
    return this.refetch()
  }

  close() {
    clearTimeout(this.#timer)
    this.#id = null
  }

  hear(name, event) {
    if (!this.#id || event.id !== this.#id) return
    this.#soon(Math.max(0, LEAST_MS - (Date.now() - this.#askedAt)))
  }

  #soon(ms) {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.refetch(), ms)
  }

  async refetch() {
    const id = this.#id
    if (!id) return
    if (this.#asking) {
      this.#isDue = true
      return
    }
    this.#asking = true
    this.#askedAt = Date.now()
    try {
      const upload = await ask(uploadPath(id))
      if (id === this.#id) this.#draw(upload)
    } catch (error) {
      if (id === this.#id) this.#fail(error)
    } finally {
      this.#asking = false
      // It was closed, or another one was opened, or more happened meanwhile.
      if (this.#isDue || (this.#id && id !== this.#id)) this.#soon(this.#id === id ? LEAST_MS : 0)
      this.#isDue = false
    }
  }

  #fail(error) {
    const isGone = error instanceof Refused && [404, 410].includes(error.status)
    if (isGone) {
      say(this.problem, error.status === 410 ? 'This upload has expired.' : 'There is no such upload: it was deleted, or never was.')
      this.#may({ interrupt: false, delete: false })
      say(this.state, STATES.gone)
      this.root.dataset.state = 'gone'
    } else {
      say(this.problem, `It could not be asked for: ${error instanceof Refused ? visible(error.message) : 'no answer came'}. Trying again.`)
      this.#soon(2 * EVERY_MS)
    }
    show(this.problem, true)
  }

  /** Switches the buttons on and off. One that is switched off loses the focus, but only when the page is next drawn. */
  #may(can) {
    for (const name of ['interrupt', 'delete']) giveUp(this[name], () => (can[name] ? this[name] : this.back), () => { this[name].disabled = !can[name] })
  }

  async #do(confirmed) {
    const { upload } = this
    const done = await confirmed(upload)
    if (!done) return
    // The button that asked may have been switched off meanwhile; then the dialog can't give it the focus back.
    if (!this.root.contains(document.activeElement)) this.back.focus()
    const interrupted = done.result?.interrupted
    this.announce(interrupted === undefined ? 'The upload was deleted.' : interrupted ? 'The request was ended.' : 'Nobody was sending.')
    await this.refetch()
  }

  #draw(upload) {
    this.upload = upload
    const { id, state, offset_bytes: offset, length_bytes: length, rate_bytes_per_sec: speed } = upload
    show(this.problem, false)
    this.root.dataset.state = state
    say(this.name, nameOf(upload))
    say(this.idText, upload.filename ? visible(id) : '')
    say(this.state, STATES[state] ?? state)
    this.#may({ interrupt: state === 'receiving', delete: true })
    const done = length ? (offset ?? 0) / length : Number(length === 0)
    if (length === null) this.progress.removeAttribute('value')
    else this.progress.value = done
    this.progress.setAttribute('aria-label', `Progress: ${percent(done)}`)
    const left = state === 'receiving' && speed > 0 && length !== null ? `, ${duration(Math.round((length - offset) / speed))} left` : ''
    const pace = state === 'receiving' ? `, ${rate(speed)}` : ''
    say(this.progressWords, length === null ? `${bytes(offset)} so far; the length is not known yet${pace}` : `${bytes(offset)} of ${bytes(length)}${offset === null ? '' : ` (${percent(done)})`}${pace}${left}`)
    become(this.body, this.#sections())
    if (['receiving', 'ending', 'waiting'].includes(state)) this.#soon(EVERY_MS)
    else if (state === 'idle') this.#soon(3 * EVERY_MS)
  }

  #sections() {
    const { upload } = this
    const sections = [el('section', { class: 'card course-card', 'aria-labelledby': 'course-title' }, this.#course())]
    if (upload.owner_answered === false) {
      sections.unshift(el('p', { class: 'alert alert-warn' }, 'Its owner did not answer at once. What is shown was read without it; timeline, log and metadata are missing.'))
    }
    const columns = el('div', { class: 'columns' })
    columns.append(el('section', { class: 'card' }, el('h2', null, 'Facts'), this.#facts()))
    const { metadata } = upload
    if (metadata && Object.keys(metadata).length > 0) {
      columns.append(el('section', { class: 'card' }, el('h2', null, 'Metadata'), el('p', { class: 'hint' }, 'as the client sent it'),
        facts(Object.entries(metadata).map(([name, value]) => [bdi(visible(name, 100)), bdi(visible(value))]))))
    }
    if (upload.mailbox) {
      const { mailbox: box } = upload
      columns.append(el('section', { class: 'card' }, el('h2', null, 'Its mailbox'), facts([
        ['Waiting', `${count(box.depth)} of ${count(box.capacity)}, ${count(box.depth_peak)} at most`],
        ['Messages', `${count(box.received)} received, ${count(box.processed)} processed${box.refused ? `, ${count(box.refused)} refused` : ''}${box.dropped ? `, ${count(box.dropped)} dropped` : ''}`],
        ['Longest wait', millis(box.dwell_max_ms)],
        ['Longest work', millis(box.processing_max_ms)],
      ])))
    }
    if (upload.parts) {
      columns.append(el('section', { class: 'card' }, el('h2', null, 'Parts in S3'), el('div', { class: 'scroll tall', tabindex: '0', role: 'region', 'aria-label': 'Parts' }, el('table', null,
        el('thead', null, el('tr', null, ['Part', 'Size', 'State'].map((head) => el('th', { scope: 'col' }, head)))),
        el('tbody', null, upload.parts.map(({ number, size_bytes: size, state }) => el('tr', null,
          el('th', { scope: 'row' }, number ?? NOTHING), el('td', { class: 'number' }, bytes(size)), el('td', null, visible(state)))))))))
    }
    sections.push(columns, el('section', { class: 'card' }, el('h2', null, 'Log'), this.#log()))
    return sections
  }

  #facts() {
    const { upload } = this
    const { lease } = upload
    const kinds = { single: 'on its own', partial: 'a part of a final upload', final: 'put together from parts' }
    return facts([
      ['State', STATES[upload.state] ?? upload.state],
      ['Owner', upload.is_live ? 'in memory' : 'none: nobody asks for it'],
      ['Sent by', upload.peer && bdi(visible(upload.peer))],
      ['Request', lease && el('span', null, `since ${moment(lease.since)}`, lease.request_id && [', id ', el('code', null, visible(lease.request_id, 120))])],
      ['Kind', upload.kind && (kinds[upload.kind] ?? upload.kind)],
      ['Parts', upload.partials.length > 0 ? el('ul', { class: 'keys' }, upload.partials.map((id) => el('li', null, el('a', { href: hrefOf(id), class: 'id' }, bdi(visible(id, 80)))))) : null],
      ['Bytes changed', moment(upload.changed_at)],
      ['Expires', upload.expires_at && moment(upload.expires_at)],
    ])
  }

  #log() {
    const { log } = this.upload
    if (log.length === 0) return el('p', { class: 'empty' }, 'Nothing is remembered.')
    return el('ol', { class: 'log' }, log.map(({ at, level, message, fields }) => el('li', { class: `level-${level}` },
      el('time', { datetime: at }, moment(at)), ' ', el('span', null, visible(message)), ' ',
      Object.entries(fields).map(([name, value]) => el('span', { class: 'field' }, `${visible(name, 60)} `, el('bdi', null, visible(value)))))))
  }

  #drawCourse() {
    become(this.body.querySelector('.course-card'), this.#course())
  }

  /** Where its time went, as wide as there is room. */
  #course() {
    const { timeline, state, length_bytes: length } = this.upload
    const head = el('h2', { id: 'course-title' }, 'Where the time went')
    if (!timeline || (timeline.points.length === 0 && timeline.marks.length === 0)) {
      return [head, el('p', { class: 'empty' }, this.upload.owner_answered === false
        ? 'Its owner does not answer.' : 'Nothing is remembered: the course of an upload is kept in memory, while it has an owner and for some time after.')]
    }
    const nowMs = Date.now() + this.skewMs - new Date(timeline.since).getTime()
    const course = courseOf(timeline, { nowMs, isOpen: state === 'receiving' })
    const shares = SHARES.filter(([name]) => course.shares[name] > 0)
    const strip = el('div', { class: 'strip', role: 'img', 'aria-label': shares.map(([name, label]) => `${label} ${percent(course.shares[name] / course.end)}`).join(', ') })
    for (const [name] of shares) {
      const piece = el('span', { class: `share share-${name}` })
      piece.style.flexGrow = String(course.shares[name])
      strip.append(piece)
    }
    const table = el('table', { class: 'shares' }, el('tbody', null, SHARES.map(([name, label, meaning]) => el('tr', { 'data-share': name, 'data-ms': Math.round(course.shares[name]) },
      el('th', { scope: 'row' }, el('i', { class: `swatch share-${name}`, 'aria-hidden': 'true' }), label),
      el('td', { class: 'number' }, duration(course.shares[name] / 1000)),
      el('td', { class: 'number' }, course.end > 0 ? percent(course.shares[name] / course.end) : NOTHING),
      el('td', { class: 'hint' }, meaning)))))
    const notes = [`Pauses under ${duration(course.pauseMs / 1000)} can’t be seen, and count as bytes that came.`, `The timeline is ${visible(timeline.note)}.`]
    if (course.marksLost > 0) notes.unshift(`${count(course.marksLost)} marks made room for later ones: what is said of waits and cuts is less than there was.`)
    if (course.owners > 0) notes.unshift(`It had ${course.owners + 1} owners, one after another.`)
    if (course.setBacks > 0) notes.unshift('The offset went back: something was thrown away.')
    const width = Math.max(280, this.body.clientWidth - 36)
    return [head, el('p', { class: 'verdict' }, verdict(course, words)), strip, table,
      timelineOf(timeline, course, length, words, width), this.#marks(timeline), el('p', { class: 'hint' }, notes.join(' '))]
  }

  #marks({ marks }) {
    const told = marks.map(({ at_ms: at, kind, detail }) => el('tr', { 'data-mark': kind }, el('td', { class: 'number' }, duration(at / 1000)), el('th', { scope: 'row' }, MARKS[kind] ?? visible(kind)), el('td', null, visible(detail))))
    return el('details', { class: 'marks' }, el('summary', null, `What befell it (${count(marks.length)})`), el('div', { class: 'scroll tall', tabindex: '0', role: 'region', 'aria-label': 'What befell it' },
      el('table', null, el('thead', null, el('tr', null, ['After', 'What', 'More'].map((head) => el('th', { scope: 'col' }, head)))), el('tbody', null, told))))
  }
}

const MARKS = {
  lease: 'A request began to send',
  take_over: 'It took over from another',
  cut: 'A request was cut off',
  away: 'Nobody had been sending',
  store_wait: 'The store took its time',
  memory_wait: 'There was no memory',
  finished: 'All bytes were there',
  owner: 'A new owner',
}
