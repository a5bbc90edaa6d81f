'use strict'
// The page to upload with: a client of tus 1.0.0, the memory of what is unfinished, and the view. Names of files and words
// of the server are put on the page as text only.

const main = document.querySelector('main')
const endpoint = new URL(main.dataset.uploads, document.baseURI)
// The path as the server knows it; a proxy may serve it below another one.
const serverPath = main.dataset.uploads.startsWith('.') ? main.dataset.uploads.slice(1) : endpoint.pathname
const maxSize = Number(main.dataset.maxSize ?? Infinity)
const canDownload = 'download' in main.dataset
const canDelete = 'termination' in main.dataset

// Browsers open six connections to a server. Some stay free for HEAD and DELETE.
const AT_ONCE = 3
const RETRY_SECS = [0.5, 1, 2, 4, 8, 15, 30]
const DELETE_TRIES = 5
// A request that is silent for so long is broken off and asked after; each time that happens, it gets twice as long.
const STALL_MS = 30_000
const ANSWER_MS = 120_000
const LONGEST_MS = 600_000
// So long a request must have been silent for it to be doubted when the network comes back.
const DOUBTFUL_MS = 2_000

// ---- The protocol

/** The server answered, but not as hoped. */
class Refused extends Error {
  constructor(xhr) {
    super(xhr.responseText.split('\n')[0].slice(0, 300) || `The server answered ${xhr.status}.`)
    this.status = xhr.status
    this.retryAfter = Number(xhr.getResponseHeader('Retry-After')) || 0
  }

  get isGone() { return this.status === 404 || this.status === 410 }
  get isTakenOver() { return this.message.startsWith('ERR_UPLOAD_INTERRUPTED') && this.status === 400 }
  get mayPass() { return [408, 409, 423, 425, 429].includes(this.status) || this.status >= 500 }
}

/** No answer came. */
class Broken extends Error {
  get mayPass() { return true }
}

/**
 * One request and its answer. `doubt`, which the watcher gets, breaks it off when it has been silent for so many ms.
 */
function request(method, url, { headers = {}, body = null, signal, patience = 1, onProgress, watch } = {}) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const xhr = new XMLHttpRequest()
    let heard = Date.now()
    let timer
    const end = (settle, value) => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
      settle(value)
    }
    const fail = (error) => {
      end(reject, error)
      xhr.abort()
    }
    const abort = () => fail(signal.reason)
    const wait = (ms) => {
      heard = Date.now()
      clearTimeout(timer)
      timer = setTimeout(() => fail(Object.assign(new Broken('silent'), { isSilence: true })), Math.min(ms * patience, LONGEST_MS))
    }
    signal?.addEventListener('abort', abort)
    xhr.open(method, url)
    for (const [name, value] of Object.entries({ 'Tus-Resumable': '1.0.0', ...headers })) xhr.setRequestHeader(name, value)
    if (onProgress) {
      xhr.upload.onprogress = ({ loaded }) => {
        wait(loaded < body.size ? STALL_MS : ANSWER_MS)
        onProgress(loaded)
      }
    }
    xhr.onload = () => (xhr.status >= 200 && xhr.status < 300 ? end(resolve, xhr) : end(reject, new Refused(xhr)))
    xhr.onerror = () => end(reject, new Broken('no answer'))
    watch?.((ms) => { if (Date.now() - heard >= ms && xhr.readyState < XMLHttpRequest.DONE) fail(new Broken('doubted')) })
    wait(STALL_MS)
    xhr.send(body)
  })
}

/** The URL of a new upload: below the endpoint by which this page reaches the server. */
function uploadUrl(location) {
  const url = new URL(location, endpoint)
  if (!/^https?:$/.test(url.protocol)) throw new TypeError('Location is no web address')
  if (!url.pathname.startsWith(serverPath)) return url.href
  return new URL(`./${url.pathname.slice(serverPath.length)}${url.search}`, endpoint).href
}

function metadata(file) {
  const pairs = Object.entries({ filename: file.name, filetype: file.type }).filter(([, value]) => value)
  const encode = (text) => btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(''))
  return pairs.map(([key, value]) => `${key} ${encode(value)}`).join(',')
}

function offsetOf(xhr, size) {
  const text = xhr.getResponseHeader('Upload-Offset')
  const offset = Number(text)
  if (!/^\d+$/.test(text ?? '') || offset > size) throw new TypeError('The server told no offset that could be right.')
  return offset
}

function retrySecs(failures, error) {
  const secs = RETRY_SECS[Math.min(failures, RETRY_SECS.length) - 1] * (0.8 + 0.4 * Math.random())
  return Math.max(secs, Math.min(error.retryAfter ?? 0, 60))
}

/** Deletes an upload; one that is gone already is as good as deleted. */
async function terminate(url) {
  for (let failures = 1; ; failures++) {
    try {
      await request('DELETE', url)
      return
    } catch (error) {
      if (error.isGone) return
      if (!error.mayPass || failures === DELETE_TRIES) throw error
      await new Promise((resolve) => setTimeout(resolve, retrySecs(failures, error) * 1000))
    }
  }
}

/**
 * One file on its way. `state` is one of: waiting (for its turn), sending, broken (the next try is due at `retryAt`),
 * paused, failed, done, cancelled. `confirmed` is what the server has said it has, `sent` what went out.
 */
class Upload {
  constructor(file, changed) {
    Object.assign(this, { file, changed, size: file.size, state: 'waiting', url: null, confirmed: 0, sent: 0 })
    Object.assign(this, { reason: '', retryAt: 0, heardAt: 0, samples: [], patience: 1 })
  }

  get isOpen() { return ['waiting', 'sending', 'broken', 'paused'].includes(this.state) }

  enter(state, reason = '') {
    const before = this.state
    Object.assign(this, { state, reason })
    if (state !== 'sending') this.samples = []
    this.changed(this, before)
  }

  /** Sends what is missing, however often it takes, until the end, a refusal, a pause or a cancel. */
  async run() {
    this.stopper = new AbortController()
    const { signal } = this.stopper
    let failures = 0
    while (!signal.aborted) {
      const before = this.confirmed
      try {
        await this.advance(signal)
        if (!signal.aborted) this.enter('done')
        return
      } catch (error) {
        if (signal.aborted) return
        if (error.isSilence) this.patience *= 2
        const reason = await this.verdict(error)
        if (signal.aborted || reason === null) return
        failures = this.confirmed > before ? 1 : failures + 1
        await this.rest(retrySecs(failures, error), reason, signal)
      }
    }
  }

  /** Once through: where it stands, and all the rest in one request. */
  async advance(signal) {
    this.heardAt = Date.now()
    if (this.state !== 'broken') this.enter('sending')
    if (this.url) await this.inspect(signal)
    else await this.create()
    signal.throwIfAborted()
    this.enter('sending')
    while (this.confirmed < this.size) await this.append(signal)
  }

  /** Is never broken off by a pause: an upload whose URL isn't heard of could be neither resumed nor deleted. */
  async create() {
    this.creating ??= this.post().finally(() => { this.creating = null })
    await this.creating
  }

  async post() {
    const answer = await request('POST', endpoint.href, {
      headers: { 'Upload-Length': this.size, 'Upload-Metadata': metadata(this.file) },
      watch: (doubt) => { this.doubt = doubt },
    })
    this.url = uploadUrl(answer.getResponseHeader('Location') ?? '')
    this.confirmed = this.sent = 0
    remember(this)
  }

  async inspect(signal) {
    const answer = await request('HEAD', this.url, { signal, watch: (doubt) => { this.doubt = doubt } })
    if (Number(answer.getResponseHeader('Upload-Length') ?? this.size) !== this.size) throw Object.assign(new Broken('another file'), { isGone: true })
    this.confirmed = this.sent = offsetOf(answer, this.size)
    remember(this)
  }

  async append(signal) {
    const start = this.confirmed
    const answer = await request('PATCH', this.url, {
      headers: { 'Upload-Offset': start, 'Content-Type': 'application/offset+octet-stream' },
      body: this.file.slice(start),
      signal,
      patience: this.patience,
      watch: (doubt) => { this.doubt = doubt },
      onProgress: (loaded) => this.progressed(start + loaded),
    })
    this.confirmed = this.sent = offsetOf(answer, this.size)
    if (this.confirmed <= start) throw new Broken('nothing was taken')
    remember(this)
  }

  progressed(sent) {
    const now = Date.now()
    Object.assign(this, { sent, heardAt: now })
    this.samples = this.samples.filter(({ time }) => now - time < 6000)
    if (this.samples.length === 0 || now - this.samples.at(-1).time >= 200) this.samples.push({ time: now, sent })
  }

  /** Bytes a second over the last seconds, 0 while that can't be said. */
  get rate() {
    const [first, last] = [this.samples[0], this.samples.at(-1)]
    return first && last.time - first.time >= 400 ? Math.max(0, (last.sent - first.sent) / (last.time - first.time)) * 1000 : 0
  }

  /** Why to try again, or null when that is no use and another state has been entered. */
  async verdict(error) {
    if (error.isTakenOver) return this.give('paused', 'Goes on in another tab or on another device.')
    if (error.isGone && this.url) {
      forget(this.file)
      Object.assign(this, { url: null, confirmed: 0, sent: 0 })
      return 'The server no longer had it, so it starts anew.'
    }
    if (!error.mayPass) return this.give('failed', error.message)
    if (error instanceof Refused) return error.message
    try {
      await this.file.slice(0, 1).arrayBuffer()
      return ''
    } catch {
      return this.give('failed', 'The file has changed or can’t be read any more. Choose it again.')
    }
  }

  give(state, reason) {
    if (!this.stopper.signal.aborted) this.enter(state, reason)
    return null
  }

  /** Waits, but not for longer than it takes the network to come back. */
  rest(secs, reason, signal) {
    return new Promise((resolve) => {
      this.retryAt = Date.now() + secs * 1000
      this.enter('broken', reason)
      const go = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', go)
        resolve()
      }
      const timer = setTimeout(go, secs * 1000)
      this.wake = go
      signal.addEventListener('abort', go)
    })
  }

  /** The network may be back, or was asked after. */
  kick() {
    if (this.state === 'broken') this.wake?.()
    if (['sending', 'broken'].includes(this.state)) this.doubt?.(DOUBTFUL_MS)
  }

  pause(reason = '') {
    this.stopper?.abort()
    this.enter('paused', reason)
  }

  async cancel() {
    this.stopper?.abort()
    this.enter('cancelled')
    await this.creating?.catch(() => {})
    const { url, file } = this
    forget(file)
    if (!url || !canDelete) return
    try {
      await terminate(url)
    } catch {
      remember(this)
      notify(`${shown(file.name)} was cancelled, but the server could not be told. It is listed when this page is opened again.`)
    }
  }
}

// ---- What is unfinished, kept over visits

const PREFIX = `wharf ${endpoint.href} `
const keyOf = (file) => PREFIX + JSON.stringify([file.name, file.size, file.type, file.lastModified])

// Storage may be full or forbidden. Then nothing is remembered, and all else works.
function stored(action) {
  try {
    return action(window.localStorage)
  } catch {
    return null
  }
}

function remember({ file, url, sent, size }) {
  const record = { url, name: file.name, size, sent, saved: Date.now() }
  stored((storage) => storage.setItem(keyOf(file), JSON.stringify(record)))
}

function forget(file) {
  stored((storage) => storage.removeItem(keyOf(file)))
}

function recall(key) {
  const record = stored((storage) => JSON.parse(storage.getItem(key)))
  const isWhole = record && /^https?:/.test(record.url) && typeof record.name === 'string' && Number.isFinite(record.size)
  return isWhole ? record : null
}

/** Nothing is asked of the server: a HEAD would end a request of another tab that is sending this very upload. */
function recallAll() {
  const keys = stored((storage) => Object.keys(storage).filter((key) => key.startsWith(PREFIX))) ?? []
  const records = keys.map((key) => ({ key, ...recall(key) })).filter(({ url }) => url)
  return records.sort((one, other) => other.saved - one.saved)
}

// ---- Words

// What doesn't break between a number and its unit.
const NARROW = '\u00a0'

/** A name as it may be shown: no letter in it may turn others around or hide them. */
const shown = (name) => name.replace(/[\p{Cc}\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/gu, '\ufffd')

function bytes(count) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, count)) / 3))
  const value = count / 1000 ** power
  return `${value.toFixed(power > 0 && value < 99.95 ? 1 : 0)}${NARROW}${units[power]}`
}

function duration(secs) {
  if (secs < 59.5) return `${Math.max(1, Math.round(secs))}${NARROW}s`
  const minutes = Math.round(secs / 60)
  if (minutes < 60) return `${minutes}${NARROW}min`
  return minutes < 48 * 60 ? `${Math.floor(minutes / 60)}${NARROW}h ${minutes % 60}${NARROW}min` : `${Math.round(minutes / 1440)}${NARROW}days`
}

function percent(sent, size, isDone = false) {
  return `${isDone ? 100 : size > 0 ? Math.min(99, Math.floor((sent / size) * 100)) : 0}${NARROW}%`
}

function describe(upload) {
  const { state, reason, sent, size, rate } = upload
  const amount = `${bytes(sent)} of ${bytes(size)}`
  switch (state) {
    case 'waiting': return upload.url ? `Goes on after those before it, at ${bytes(sent)}.` : `Waits for its turn · ${bytes(size)}`
    case 'paused': return reason || `Paused at ${amount}`
    case 'failed': return reason
    case 'done': return `${bytes(size)}, all on the server`
    case 'cancelled': return 'Cancelling …'
    case 'broken': {
      if (!navigator.onLine) return 'You are offline. It goes on when the connection is back.'
      const secs = Math.ceil((upload.retryAt - Date.now()) / 1000)
      return `${reason || 'Connection lost.'} ${secs > 0 ? `Next try in ${secs} s.` : 'Trying …'}`
    }
  }
  if (sent >= size) return `${amount} · finishing …`
  if (Date.now() - upload.heardAt > 5000) return `${amount} · waiting for the network …`
  return [amount, rate > 0 && `${bytes(rate)}/s`, rate > 0 && `${duration((size - sent) / rate)} left`].filter(Boolean).join(' · ')
}

// ---- The view

const byId = (id) => document.getElementById(id)

/** Writes only what changes, so that selections stay and nothing is read out twice. */
function put(element, text) {
  if (element.textContent !== text) element.textContent = text
}

function say(text) {
  byId('spoken').textContent = text
}

function notify(text) {
  byId('notice').textContent = text
  byId('notice').hidden = !text
}

function button(text, name, action) {
  const element = document.createElement('button')
  element.type = 'button'
  element.addEventListener('click', action)
  label(element, text, name)
  return element
}

function label(element, text, name) {
  put(element, text)
  element.setAttribute('aria-label', `${text}: ${shown(name)}`)
}

function newRow(name, buttons) {
  const row = byId('row').content.cloneNode(true).firstElementChild
  const part = (selector) => row.querySelector(selector)
  put(part('.name'), shown(name))
  part('progress').setAttribute('aria-label', shown(name))
  part('.actions').append(...buttons)
  return { row, part }
}

function draw({ row, part }, { state, sent, size, status }) {
  row.dataset.state = state
  const isDone = state === 'done'
  Object.assign(part('progress'), { max: size || 1, value: isDone ? size || 1 : sent })
  put(part('.percent'), state === 'failed' && sent === 0 ? '' : percent(sent, size, isDone))
  put(part('.status'), status)
}

const rows = new Map()

const TURNS = { waiting: 'Pause', sending: 'Pause', broken: 'Try now', paused: 'Resume', failed: 'Try again' }

function show(upload) {
  const { name } = upload.file
  const turn = button('Pause', name, () => {
    if (upload.state === 'broken') upload.kick()
    else if (['waiting', 'sending'].includes(upload.state)) upload.pause()
    else upload.enter('waiting')
    pump()
  })
  const end = button('Cancel', name, () => (upload.isOpen ? cancel(upload) : remove(upload)))
  const view = newRow(name, [turn, end])
  rows.set(upload, { ...view, turn, end })
  byId('current-list').append(view.row)
  view.part('.copy').addEventListener('click', () => copy(view))
}

function update(upload) {
  const view = rows.get(upload)
  if (!view) return
  draw(view, { ...upload, status: describe(upload) })
  const turn = upload.isTooLarge ? undefined : TURNS[upload.state]
  // A button that vanishes under the reader's fingers leaves them on the one that stays.
  if (!turn && document.activeElement === view.turn) view.end.focus()
  view.turn.hidden = !turn
  if (turn) label(view.turn, turn, upload.file.name)
  label(view.end, upload.isOpen ? 'Cancel' : 'Remove', upload.file.name)
  view.end.disabled = upload.state === 'cancelled'
}

function showLink(upload) {
  const { part } = rows.get(upload)
  part('.link').hidden = false
  part('.link input').value = upload.url
  part('.link input').setAttribute('aria-label', `Link to ${shown(upload.file.name)}`)
  label(part('.copy'), 'Copy link', upload.file.name)
  const download = part('.link a')
  download.hidden = !canDownload
  Object.assign(download, { href: upload.url, download: upload.file.name })
  download.setAttribute('aria-label', `Download: ${shown(upload.file.name)}`)
}

async function copy({ part }) {
  const field = part('.link input')
  try {
    await navigator.clipboard.writeText(field.value)
  } catch {
    // Only pages that came over TLS, or from this machine, have a clipboard of that kind.
    field.select()
    if (!document.execCommand('copy')) return say('Not copied: press Ctrl+C.')
    part('.copy').focus()
  }
  put(part('.copy'), 'Copied')
  say('Link copied')
  setTimeout(() => put(part('.copy'), 'Copy link'), 2000)
}

const hasFocus = (upload) => rows.get(upload).row.contains(document.activeElement)

function remove(upload, hadFocus = hasFocus(upload)) {
  const { row } = rows.get(upload)
  const neighbour = row.nextElementSibling ?? row.previousElementSibling
  row.remove()
  rows.delete(upload)
  if (hadFocus) (neighbour?.querySelector('button:not([hidden])') ?? byId('choose')).focus()
  refresh()
}

async function cancel(upload) {
  // A button that is switched off loses the focus to nothing, but only when the page is next drawn.
  const hadFocus = hasFocus(upload)
  await upload.cancel()
  say(`${shown(upload.file.name)}: cancelled`)
  remove(upload, hasFocus(upload) || (hadFocus && document.activeElement === document.body))
}

const SAID = { broken: 'connection lost', paused: 'paused', done: 'uploaded', failed: 'failed' }

function changed(upload, before) {
  const { state, file } = upload
  if (state !== before) {
    if (state === 'sending' && before === 'broken') say(`${shown(file.name)}: goes on`)
    else if (SAID[state]) say(`${shown(file.name)}: ${SAID[state]}. ${upload.reason}`)
  }
  if (state === 'done') {
    forget(file)
    showLink(upload)
  }
  update(upload)
  refresh()
}

/** Starts those whose turn it is. */
function pump() {
  const all = [...rows.keys()]
  let free = AT_ONCE - all.filter(({ state }) => ['sending', 'broken'].includes(state)).length
  for (const upload of all.filter(({ state }) => state === 'waiting').slice(0, Math.max(0, free))) {
    upload.run().finally(pump)
  }
}

function add(files) {
  notify('')
  for (const file of files) {
    const key = keyOf(file)
    const same = [...rows.keys()].find((upload) => keyOf(upload.file) === key && (upload.isOpen || upload.state === 'failed'))
    if (same && same.state !== 'failed') {
      if (same.state === 'paused') same.enter('waiting')
      continue
    }
    if (same) remove(same)
    const upload = new Upload(file, changed)
    const record = recall(key)
    if (record) Object.assign(upload, { url: record.url, confirmed: 0, sent: Math.min(record.sent || 0, file.size) })
    show(upload)
    upload.isTooLarge = file.size > maxSize
    if (upload.isTooLarge) upload.enter('failed', `Too large: this server takes files of up to ${bytes(maxSize)}.`)
    else upload.enter('waiting')
  }
  refresh()
  pump()
}

// ---- Unfinished from before

const earlier = new Map()

function refresh() {
  const here = new Set([...rows.keys()].filter(({ state }) => state !== 'done').map(({ file }) => keyOf(file)))
  const records = recallAll().filter(({ key }) => !here.has(key))
  for (const [key, view] of earlier) {
    if (records.some((record) => record.key === key)) continue
    view.row.remove()
    earlier.delete(key)
  }
  for (const record of records) {
    if (!earlier.has(record.key)) earlier.set(record.key, showEarlier(record))
    const day = new Date(record.saved).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' })
    const status = `${bytes(record.sent)} of ${bytes(record.size)} sent until ${day}`
    draw(earlier.get(record.key), { state: 'earlier', sent: record.sent, size: record.size, status })
  }
  byId('earlier').hidden = earlier.size === 0
  byId('current').hidden = rows.size === 0
}

function showEarlier({ key, name, url }) {
  const discard = button('Discard', name, async () => {
    const hadFocus = document.activeElement === discard
    const isLeft = () => hadFocus && [document.body, discard].includes(document.activeElement)
    discard.disabled = true
    try {
      if (canDelete) await terminate(url)
      stored((storage) => storage.removeItem(key))
      say(`${shown(name)}: discarded`)
      if (isLeft()) byId('choose').focus()
    } catch (error) {
      notify(error instanceof Refused ? error.message : 'The server can’t be reached.')
    }
    discard.disabled = false
    // It lost the focus while it was switched off.
    if (isLeft()) discard.focus()
    refresh()
  })
  const view = newRow(name, [button('Choose file', name, () => choose({ key, name })), discard])
  byId('earlier-list').append(view.row)
  return view
}

// ---- Where files come from

let wanted = null

function choose(expected = null) {
  wanted = expected
  byId('files').click()
}

byId('choose').addEventListener('click', () => choose())
byId('files').addEventListener('cancel', () => { wanted = null })
byId('files').addEventListener('change', ({ target }) => {
  const files = [...target.files]
  const [expected] = [wanted, (wanted = null)]
  // The same file may be chosen again.
  target.value = ''
  if (expected && !files.some((file) => keyOf(file) === expected.key)) {
    notify(`That is not the file of this upload, or it has changed since: ${shown(expected.name)}. To upload it as a new one, choose it with the button above.`)
    return
  }
  add(files)
})

let depth = 0
const drag = (change) => {
  depth = change === 0 ? 0 : Math.max(0, depth + change)
  document.body.classList.toggle('dropping', depth > 0)
}
const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files')
addEventListener('dragenter', (event) => { if (carriesFiles(event)) drag(1) })
addEventListener('dragleave', (event) => { if (carriesFiles(event)) drag(-1) })
addEventListener('dragover', (event) => { if (carriesFiles(event)) event.preventDefault() })
addEventListener('drop', (event) => {
  if (!carriesFiles(event)) return
  event.preventDefault()
  drag(0)
  const items = [...event.dataTransfer.items].filter(({ kind }) => kind === 'file')
  const isFolder = (item) => item.webkitGetAsEntry?.()?.isDirectory
  add(items.filter((item) => !isFolder(item)).map((item) => item.getAsFile()).filter(Boolean))
  if (items.some(isFolder)) notify('Folders can’t be uploaded. Drop the files that are in them.')
})

// ---- The network, other tabs, and time

const kickAll = () => rows.forEach((_, upload) => upload.kick())
addEventListener('online', kickAll)
addEventListener('pageshow', ({ persisted }) => { if (persisted) kickAll() })

addEventListener('storage', ({ key, newValue }) => {
  // Another tab has finished, or deleted, what this one is sending.
  const taken = [...rows.keys()].find((upload) => upload.url && upload.isOpen && keyOf(upload.file) === key)
  if (taken && newValue === null) taken.pause('Finished or cancelled in another tab.')
  refresh()
})

const title = document.title
setInterval(() => {
  const open = [...rows.keys()].filter(({ state }) => ['waiting', 'sending', 'broken'].includes(state))
  for (const upload of open) {
    update(upload)
    if (upload.state === 'sending' && upload.url && upload.sent < upload.size) remember(upload)
  }
  const [sent, size] = ['sent', 'size'].map((field) => open.reduce((sum, upload) => sum + upload[field], 0))
  document.title = open.length > 0 ? `${percent(sent, size)} · ${title}` : title
}, 500)

put(byId('endpoint'), endpoint.href)
if (maxSize < Infinity) {
  put(byId('limit'), `Up to ${bytes(maxSize)} a file.`)
  byId('limit').hidden = false
}
refresh()
