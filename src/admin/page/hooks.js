// The hooks: how often the application was called, what it is still to be told of, and buttons to tell it now.

import { Refused, ask } from './api.js'
import { bdi, byId, el, giveUp, hrefOf, keep, say, show } from './dom.js'
import { NOTHING, count, duration, events, millis, moment, visible } from './words.js'

const ROWS = 20

const cells = (row, number) => Array.from({ length: number }, () => row.appendChild(el('td')))

export class Hooks {
  #isAsking = false

  constructor(announce) {
    this.announce = announce
    this.root = byId('hooks')
    this.problem = byId('hooks-problem')
    this.all = byId('hooks-retry')
    this.all.addEventListener('click', () => this.#retry(this.all, 'hooks/retry'))
  }

  /** What is told each second: whether there are any, and how much is owed. */
  draw(hooks) {
    const isNew = this.root.hidden && hooks
    show(this.root, Boolean(hooks))
    if (!hooks) return
    const { noted, owed, oldest_age_ms: oldest, dropped_total: dropped } = hooks.outbox
    say(byId('hooks-count'), `by ${hooks.transport}, ${count(hooks.under_way)} under way`)
    say(byId('owed-words'), [
      owed > 0 ? `The application is still to be told of ${events(owed)}; the oldest happened ${millis(oldest)} ago.` : 'The application has been told of all.',
      noted > 0 && `${count(noted)} more if their uploads end.`,
      dropped > 0 && `${count(dropped)} were dropped since the start.`,
    ].filter(Boolean).join(' '))
    if (isNew) this.refetch().catch(() => {})
  }

  /** The rest, which no event tells of; asked for only while it is shown. */
  async refetch() {
    if (this.root.hidden || this.#isAsking) return
    this.#isAsking = true
    try {
      const { calls, events: waiting } = await ask(`hooks?state=waiting&limit=${ROWS}`)
      this.#calls(calls.filter(({ count: times, under_way: running }) => times + running > 0))
      this.#owed(waiting)
    } finally {
      this.#isAsking = false
    }
  }

  #calls(calls) {
    show(byId('calls-empty'), calls.length === 0)
    keep(byId('calls'), calls, ({ hook }) => hook, ({ hook }) => {
      const row = el('tr', { 'data-hook': hook }, el('th', { scope: 'row' }, el('span', { class: 'kind' }, hook)))
      row.boxes = cells(row, 4)
      return row
    }, (row, { count: times, under_way: running, failures, took }) => {
      const failed = failures.reduce((sum, { count: some }) => sum + some, 0)
      ;[count(times), count(failed), count(running), millis(took.mean_ms)].forEach((words, place) => say(row.boxes[place], words))
      row.boxes[1].classList.toggle('is-warn', failed > 0)
    })
  }

  #owed(waiting) {
    const list = byId('owed')
    const wasInside = list.contains(document.activeElement)
    keep(list, waiting, ({ event_id: id }) => id, (event) => this.#row(event), (row, { next_try_secs: wait, tries, last_error: error }) => {
      say(row.boxes[1], count(tries))
      say(row.boxes[2], wait > 0 ? `in ${duration(wait)}` : 'when it is its turn')
      say(row.boxes[3], error === null ? NOTHING : visible(error))
    })
    // The event whose button had the focus has been told.
    if (wasInside && !list.contains(document.activeElement)) this.root.focus()
    show(byId('owed-table'), waiting.length > 0)
    giveUp(this.all, () => this.root, () => show(this.all, waiting.length > 0))
  }

  #row({ event_id: id, hook, upload_id: upload, happened_at: at }) {
    const head = el('th', { scope: 'row' }, el('span', { class: 'kind' }, hook), el('small', null, at === null ? NOTHING : moment(at)))
    const row = el('tr', { 'data-event-id': id }, head)
    row.boxes = cells(row, 5)
    row.boxes[0].append(upload ? el('a', { href: hrefOf(upload), class: 'id' }, bdi(visible(upload, 60))) : NOTHING)
    row.boxes[3].className = 'said'
    const retry = el('button', { type: 'button', 'aria-label': `Retry ${hook} of ${visible(upload, 60)}` }, 'Retry')
    retry.addEventListener('click', () => this.#retry(retry, `hooks/${encodeURIComponent(id)}/retry`))
    row.boxes[4].append(retry)
    return row
  }

  async #retry(button, path) {
    say(this.problem, '')
    giveUp(button, () => this.root, () => { button.disabled = true })
    try {
      const { retried } = await ask(path, { method: 'POST' })
      this.announce(`${events(retried)} ${retried === 1 ? 'is' : 'are'} tried again.`)
    } catch (error) {
      const isGone = error instanceof Refused && error.status === 404
      if (isGone) this.announce('It does not wait any more.')
      else say(this.problem, error instanceof Refused ? visible(error.message) : 'No answer came. It may have been done all the same.')
    }
    button.disabled = false
    await this.refetch().catch(() => {})
  }
}
