// All uploads, those in the store among them: a search with pages.

import { ask } from './api.js'
import { bdi, byId, el, giveUp, hrefOf, show, say } from './dom.js'
import { NOTHING, STATES, bytes, count, moment, nameOf, percent, rate, visible } from './words.js'

// A page holds what was looked at and fits: few of it may be left, so some are looked through for one that is shown.
const LOOKED_AT = 200
const SHOWN = 50
const PAGES_AT_ONCE = 20

export class List {
  #next = null
  #asking = null
  // By id: one whose owner ends between two pages comes twice.
  #found = new Set()
  #looked = 0

  constructor() {
    this.form = byId('filter')
    this.form.addEventListener('submit', (event) => {
      event.preventDefault()
      location.hash = this.#hash()
      this.search()
    })
    this.form.addEventListener('change', (event) => { if (event.target.tagName === 'SELECT') this.form.requestSubmit() })
    byId('list-more').addEventListener('click', () => this.#look())
  }

  #query() {
    const { text, state, age, size } = Object.fromEntries(new FormData(this.form))
    const query = new URLSearchParams()
    if (text.trim()) query.set('text', text.trim())
    if (state) query.set('state', state)
    for (const pair of [age, size]) if (pair) query.set(...pair.split('='))
    return query
  }

  #hash() {
    const query = this.#query().toString()
    return query ? `#/uploads?${query}` : '#/uploads'
  }

  /** Shows what the address asks for. */
  open(query) {
    if (this.#hash().split('?')[1] !== query.toString() || this.#found.size === 0) {
      const { elements } = this.form
      elements.text.value = query.get('text') ?? ''
      for (const name of ['state', 'age', 'size']) {
        const wanted = Array.from(elements[name].options, ({ value }) => value)
          .find((value) => value && (name === 'state' ? query.get('state') === value : query.get(value.split('=')[0]) === value.split('=')[1]))
        elements[name].value = wanted ?? ''
      }
    }
    this.search()
  }

  close() {
    this.#asking?.abort()
  }

  search() {
    this.#found.clear()
    this.#looked = 0
    this.#next = null
    byId('list').replaceChildren()
    return this.#look()
  }

  async #look() {
    this.#asking?.abort()
    const asking = (this.#asking = new AbortController())
    const more = byId('list-more')
    byId('list').ariaBusy = 'true'
    show(byId('list-problem'), false)
    show(byId('list-empty'), false)
    say(byId('list-words'), 'Looking…')
    const query = this.#query()
    const before = this.#found.size
    let hasFailed = false
    try {
      for (let page = 0; page < PAGES_AT_ONCE; page++) {
        query.set('limit', String(page === 0 && this.#looked === 0 ? LOOKED_AT / 2 : LOOKED_AT))
        if (this.#next) query.set('cursor', this.#next)
        const { uploads, next } = await ask(`uploads?${query}`, { signal: asking.signal })
        this.#looked++
        const fresh = uploads.filter(({ id }) => !this.#found.has(id))
        for (const { id } of fresh) this.#found.add(id)
        byId('list').append(...fresh.map(rowOf))
        this.#next = next
        if (!next || this.#found.size - before >= SHOWN) break
      }
    } catch (error) {
      if (asking.signal.aborted) return
      hasFailed = true
      say(byId('list-problem'), `The list could not be had: ${visible(error.message)}`)
      show(byId('list-problem'), true)
    }
    if (asking !== this.#asking) return
    // A first page that could not be had can be asked for again.
    const isMore = this.#next !== null || hasFailed
    giveUp(more, () => (isMore ? more : byId('list').children[before]?.querySelector('a') ?? this.form.elements.text), () => show(more, isMore))
    show(byId('list-empty'), this.#found.size === 0 && !isMore)
    byId('list').ariaBusy = 'false'
    say(byId('list-words'), `${count(this.#found.size)} found${this.#next ? '; there is more to look through' : ''}`)
  }
}

function rowOf(upload) {
  const { id, state, offset_bytes: offset, length_bytes: length, is_live: isLive, rate_bytes_per_sec: speed, changed_at: at } = upload
  const done = length ? percent(offset / length) : length === 0 ? percent(1) : NOTHING
  const name = nameOf(upload)
  return el('tr', { 'data-id': id, 'data-state': state },
    el('th', { scope: 'row' }, el('a', { href: hrefOf(id), title: name }, bdi(name)), upload.filename && el('small', null, bdi(visible(id, 80)))),
    el('td', { 'data-label': 'State' }, el('span', { class: 'state' }, STATES[state] ?? state)),
    el('td', { 'data-label': 'Progress', class: 'number' }, offset === null ? NOTHING : done),
    el('td', { 'data-label': 'Size', class: 'number' }, length === null ? `${bytes(offset)} so far` : bytes(length)),
    el('td', { 'data-label': 'Rate', class: 'number' }, isLive && state === 'receiving' ? rate(speed) : NOTHING),
    el('td', { 'data-label': 'Changed', class: 'number' }, moment(at)))
}
