// What the Node scripts share: the client under test, one line per scenario, the way to see what the
// server holds, and a relay that can hold a connection up at an exact byte.
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import net from 'node:net'
import { fileURLToPath } from 'node:url'

// run.sh installs outside the tree, where ES module imports would not look.
const modulesDirectory = process.env.WHARF_NODE_DIR ?? fileURLToPath(new URL('.', import.meta.url))
export const tus = createRequire(`${modulesDirectory}/package.json`)('tus-js-client')

export const endpoint = process.env.WHARF_URL
if (!endpoint?.startsWith('http://')) {
  throw new Error('WHARF_URL must hold the http:// address of the uploads, like http://127.0.0.1:8080/files/')
}

export const MEBIBYTE = 1024 * 1024

// A request is stalled after this many bytes: more than the sockets' buffers can hide (Linux by default:
// 4 MiB to send and 6 MiB to receive), so that the server must have read a good part of them.
export const STALL_BYTES = 24 * MEBIBYTE
export const STALLED_UPLOAD_BYTES = 32 * MEBIBYTE

const SCENARIO_LIMIT_MS = 60_000

export function payload(size) {
  return randomBytes(size)
}

export function sha256(bytes) {
  return createHash('sha256').update(bytes).digest('hex')
}

export function check(condition, message) {
  if (!condition) throw new Error(message)
}

export function checkEqual(actual, expected, what) {
  check(actual === expected, `${what} is ${actual}, not ${expected}`)
}

// The upload's address without any relay in between.
export function direct(url) {
  return new URL(new URL(url).pathname, endpoint).toString()
}

export async function checkStored(url, bytes) {
  const response = await fetch(direct(url))
  checkEqual(response.status, 200, 'the status of GET')
  const stored = Buffer.from(await response.arrayBuffer())
  checkEqual(stored.length, bytes.length, 'the length of what GET returns')
  checkEqual(sha256(stored), sha256(bytes), 'the SHA-256 of what GET returns')
}

export function head(url) {
  return fetch(direct(url), { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0' } })
}

// Runs scenarios one by one and prints `ok NAME` or `FAIL NAME: why`, which run.sh counts.
export class Scenarios {
  constructor(client) {
    this.client = client
  }

  async run(name, body) {
    const line = `${this.client}: ${name}`
    let timer
    const limit = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done after ${SCENARIO_LIMIT_MS} ms`)), SCENARIO_LIMIT_MS)
    })
    try {
      await Promise.race([body(), limit])
      console.log(`ok ${line}`)
    } catch (error) {
      process.exitCode = 1
      console.log(`FAIL ${line}: ${String(error?.message ?? error).replaceAll(/\s+/g, ' ')}`)
    } finally {
      clearTimeout(timer)
    }
  }
}

// One run of tus-js-client that remembers every request it made and every answer it got.
export class Transfer {
  constructor(source, options = {}) {
    this.requests = []
    this.done = new Promise((resolve, reject) => {
      this.upload = new tus.Upload(source, {
        endpoint,
        // No retries unless a scenario is about them: they would hide what went wrong.
        retryDelays: null,
        ...options,
        onBeforeRequest: (request) => {
          this.requests.push({ method: request.getMethod(), request, status: null, offset: null })
        },
        onAfterResponse: (request, response) => {
          const entry = this.requests.find((candidate) => candidate.request === request)
          entry.status = response.getStatus()
          entry.offset = response.getHeader('Upload-Offset')
        },
        onSuccess: resolve,
        onError: reject,
      })
    })
    // A transfer that is aborted on purpose is awaited by nobody.
    this.done.catch(() => {})
  }

  get url() {
    return this.upload.url
  }

  start() {
    this.upload.start()
    return this.done
  }

  made(method) {
    return this.requests.filter((entry) => entry.method === method)
  }

  // `counts` is like `{ POST: 1, PATCH: 3 }`; methods that it leaves out must not have been used.
  checkRequests(counts) {
    const made = {}
    for (const { method } of this.requests) made[method] = (made[method] ?? 0) + 1
    const sorted = (record) => JSON.stringify(Object.entries(record).sort())
    checkEqual(sorted(made), sorted(counts), 'the count of requests')
  }
}

export async function transfer(source, options) {
  const run = new Transfer(source, options)
  await run.start()
  return run
}

// Starts a transfer, lets it stand still in the middle of a PATCH, and hands it to `body` with the relay.
export async function stalled(source, options, body) {
  const relay = await Relay.start()
  const run = new Transfer(source, { ...options, endpoint: relay.endpoint })
  try {
    const reached = relay.stallAfter(STALL_BYTES)
    await Promise.race([reached, run.start()])
    checkEqual(run.made('PATCH').at(-1).status, null, 'the status of the stalled PATCH')
    await body(run, relay)
  } finally {
    await run.upload.abort()
    relay.stop()
  }
}

// A relay before the server. It passes a number of bytes on to the server and then holds up the connection that
// brought them, so that a request stands still in its middle for as long as a scenario needs.
export class Relay {
  #server = net.createServer((client) => this.#carry(client))
  #connections = new Set()
  #remaining = Infinity
  #open = () => {}
  #gate = Promise.resolve()
  #reached = () => {}

  static async start() {
    const relay = new Relay()
    relay.#server.listen(0, '127.0.0.1')
    await once(relay.#server, 'listening')
    return relay
  }

  get endpoint() {
    const url = new URL(endpoint)
    url.hostname = '127.0.0.1'
    url.port = this.#server.address().port
    return url.toString()
  }

  // Resolves when `limit` bytes have been handed to the kernel for the server and the connection of the last
  // one stands still. Other connections go on.
  stallAfter(limit) {
    this.#remaining = limit
    this.#gate = new Promise((resolve) => {
      this.#open = resolve
    })
    return new Promise((resolve) => {
      this.#reached = resolve
    })
  }

  // What was held back flows on, and nothing is held back any more.
  release() {
    this.#remaining = Infinity
    this.#open()
  }

  // Ends all connections as a lost network does, with FIN or, if `reset`, with RST.
  drop({ reset = false } = {}) {
    for (const socket of this.#connections) {
      if (reset) socket.resetAndDestroy()
      else socket.destroy()
    }
    this.release()
  }

  stop() {
    this.drop()
    this.#server.close()
  }

  async #carry(client) {
    const { hostname, port } = new URL(endpoint)
    const server = net.connect({ host: hostname, port: Number(port || 80), allowHalfOpen: true })
    for (const [socket, other] of [[client, server], [server, client]]) {
      this.#connections.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => this.#connections.delete(socket))
    }
    server.pipe(client)
    try {
      for await (const chunk of client) {
        const free = Math.min(chunk.length, this.#remaining)
        this.#remaining -= free
        if (free > 0) await this.#pass(server, chunk.subarray(0, free))
        if (free < chunk.length) {
          this.#remaining = Infinity
          this.#reached()
          await this.#gate
          await this.#pass(server, chunk.subarray(free))
        }
      }
      server.end()
    } catch {
      server.destroy()
    }
  }

  #pass(server, bytes) {
    return new Promise((resolve, reject) => {
      server.write(bytes, (error) => (error ? reject(error) : resolve()))
    })
  }
}
