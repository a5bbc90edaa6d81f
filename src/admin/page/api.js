// The admin endpoint: requests, and the stream of events with its reconnecting.

const ANSWER_MS = 20_000
// `stats` come each second; a stream that is silent for so long is dead, whatever the socket says.
const SILENCE_MS = 8_000
const RETRY_MS = [500, 1000, 2000, 4000, 8000]

/** An answer that says no. */
export class Refused extends Error {
  constructor(status, body) {
    super(body?.message ?? `The server answered ${status}.`)
    Object.assign(this, { status, body })
  }
}

let onUnauthorized = () => {}
export const whenUnauthorized = (then) => { onUnauthorized = then }

/** One request. Paths are relative, so that a proxy may serve all of it below another one. */
export async function ask(path, { method = 'GET', form, signal } = {}) {
  const timeout = AbortSignal.timeout(ANSWER_MS)
  const stopper = new AbortController()
  const stop = (event) => stopper.abort(event.target.reason)
  for (const reason of [timeout, signal]) reason?.addEventListener('abort', stop)
  if (signal?.aborted) throw signal.reason
  const body = form && new URLSearchParams(form)
  const response = await fetch(path, { method, body, signal: stopper.signal, cache: 'no-store', credentials: 'same-origin' })
  const text = await response.text()
  const isJson = response.headers.get('Content-Type')?.startsWith('application/json')
  const told = isJson && text ? JSON.parse(text) : null
  if (response.ok) return told
  if (response.status === 401 && path !== 'login') onUnauthorized()
  throw new Refused(response.status, told)
}

export const uploadPath = (id) => `uploads/${encodeURIComponent(id)}`

/** All uploads that have an owner, up to a limit: those, and whether there are more. */
export async function liveUploads(most, signal) {
  const uploads = []
  let next = null
  do {
    const query = new URLSearchParams({ live: 'true', limit: String(Math.min(most, 1000)), ...(next && { cursor: next }) })
    const page = await ask(`uploads?${query}`, { signal })
    uploads.push(...page.uploads)
    next = page.next
  } while (next && uploads.length < most)
  return { uploads, isAll: !next }
}

const NAMES = ['upload_created', 'upload_progress', 'upload_interrupted', 'upload_taken_over', 'upload_finished', 'upload_terminated',
  'upload_expired', 'pool_resized', 'mailbox_slow', 'settings_reloaded', 'stats', 'lost']

/**
 * The stream of events. Tells `hear(name, data)` of each, and `state(is, why)` of what becomes of the connection: `live`, or
 * `lost`, after which it tries again by itself until it is stopped.
 */
export class Stream {
  #failures = 0
  #timers = new Set()
  #source = null
  #isStopped = true

  constructor(hear, state) {
    Object.assign(this, { hear, state })
  }

  start() {
    if (!this.#isStopped) return
    this.#isStopped = false
    // Whoever starts it waits to be told that it is live, also when it was before it was stopped.
    this.isLive = false
    this.#failures = 0
    this.#open()
  }

  stop() {
    this.#isStopped = true
    this.#close()
  }

  #close() {
    this.#source?.close()
    this.#source = null
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }

  #after(ms, then) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      then()
    }, ms)
    this.#timers.add(timer)
    return timer
  }

  #watch() {
    clearTimeout(this.watch)
    this.#timers.delete(this.watch)
    this.watch = this.#after(SILENCE_MS, () => this.#fail())
  }

  #open() {
    this.#close()
    const source = new EventSource('events')
    this.#source = source
    this.#watch()
    for (const name of NAMES) {
      source.addEventListener(name, (event) => {
        if (source !== this.#source) return
        this.#watch()
        if (name === 'stats' && this.isLive !== true) {
          this.#failures = 0
          this.isLive = true
          this.state('live')
        }
        this.hear(name, JSON.parse(event.data))
      })
    }
    source.onerror = () => { if (source === this.#source) this.#fail() }
  }

  /** The browser says nothing of why, so it is asked for once more by other means. */
  async #fail() {
    this.#close()
    const wait = RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)]
    this.isLive = false
    this.state('lost')
    this.#after(wait, async () => {
      try {
        const { is_admitted: isAdmitted } = await ask('session')
        if (this.#isStopped) return
        if (isAdmitted) this.#open()
        else onUnauthorized()
      } catch {
        if (!this.#isStopped) this.#fail()
      }
    })
  }
}
