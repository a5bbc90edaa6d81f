// What the tests in a browser share: wharf itself, Debian's Chromium, files to upload, and a cable that can be pulled.
import { strict as assert } from 'node:assert'
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

// run.sh installs outside the tree, where ES module imports would not look.
const modulesDirectory = process.env.WHARF_NODE_DIR ?? fileURLToPath(new URL('.', import.meta.url))
const { chromium } = createRequire(`${modulesDirectory}/package.json`)('playwright-core')

export const MEBIBYTE = 1024 * 1024
export const PATIENCE_MS = 60_000

const pause = () => new Promise((resolve) => setTimeout(resolve, 50))

/** Looks again and again until `look` gives something true, and returns that. */
export async function until(what, look) {
  const deadline = Date.now() + PATIENCE_MS
  for (;;) {
    const found = await look()
    if (found) return found
    assert.ok(Date.now() < deadline, `waited in vain until ${what}`)
    await pause()
  }
}

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex')

/** A directory for a test, gone when it ends. */
export async function directory(test) {
  const created = await mkdtemp(path.join(tmpdir(), 'wharf-browser-'))
  test.after(() => rm(created, { recursive: true, force: true }))
  return created
}

/** A file of this name in a directory of its own: where it lies, and its bytes. */
export async function file(test, name, content) {
  const bytes = typeof content === 'number' ? randomBytes(content) : Buffer.from(content)
  const place = path.join(await directory(test), name)
  await writeFile(place, bytes)
  return { name, path: place, bytes }
}

/**
 * A server of its own for a test, which must end in order when the test does. Started again, it has another port; but its
 * admin endpoint, which it has when `admin.bind` is set, stays where it is.
 */
export async function startWharf(test, settings = {}) {
  const binary = process.env.WHARF_BIN
  assert.ok(binary, 'WHARF_BIN must name the binary; tests/browser/run.sh sets it')
  const home = await mkdtemp(path.join(tmpdir(), 'wharf-browser-'))
  const set = { ...(settings['admin.bind'] ? {} : { 'admin.enabled': false }), ...settings }
  const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('WHARF__')))
  const server = { log: '', home }
  let child, ended
  server.start = async () => {
    const flags = Object.entries(set).flatMap(([key, value]) => ['--set', `${key}=${value}`])
    child = spawn(binary, ['--bind', '127.0.0.1:0', '--dir', path.join(home, 'data'), '--set', 'timeouts.shutdown_secs=1', ...flags], {
      cwd: home, env: environment, stdio: ['ignore', 'pipe', 'pipe'],
    })
    ended = once(child, 'exit')
    server.said = ''
    child.stdout.on('data', (text) => { server.said += text })
    child.stderr.on('data', (text) => { server.log += text })
    server.url = await until('wharf says where it listens', () => {
      assert.equal(child.exitCode, null, `wharf ended:\n${server.log}`)
      return server.said.match(/http:\/\/127\.0\.0\.1:\d+\/\S*/)?.[0]
    })
    server.origin = new URL(server.url).origin
    server.port = Number(new URL(server.url).port)
    if (!settings['admin.bind']) return
    server.admin = await until('wharf says where it tells of itself', () => server.said.match(/tells of itself at (http:\/\/\S+)\//)?.[1])
    set['admin.bind'] = new URL(server.admin).host
  }
  server.stop = async () => {
    child.kill('SIGTERM')
    const [status] = await ended
    assert.equal(status, 0, `wharf ended with ${status}:\n${server.log}`)
  }
  test.after(async () => {
    await server.stop()
    await rm(home, { recursive: true, force: true })
  })
  await server.start()
  return server
}

/** Asks wharf past the browser and any cable. */
export function ask(server, method, url) {
  return fetch(new URL(new URL(url).pathname, server.url), { method, headers: { 'Tus-Resumable': '1.0.0' } })
}

/** A client that sends an upload as slowly as a test wants it, over a socket of its own. */
export class Sender {
  answer = ''
  isClosed = false

  /** Creates an upload with this metadata: its URL. */
  static async create(server, { length, ...metadata }) {
    const pairs = Object.entries(metadata).map(([name, value]) => `${name} ${Buffer.from(value).toString('base64')}`)
    const headers = { 'Tus-Resumable': '1.0.0', 'Upload-Length': String(length), ...(pairs.length > 0 && { 'Upload-Metadata': pairs.join(',') }) }
    const response = await fetch(server.url, { method: 'POST', headers })
    assert.equal(response.status, 201)
    const url = new URL(response.headers.get('Location'), server.url).href
    return { url, id: decodeURIComponent(url.slice(server.url.length)), length }
  }

  /** Begins a request that sends the rest of an upload, and none of its bytes yet. */
  static async open(test, server, { url, length }, offset = 0) {
    const sender = new Sender()
    sender.socket = net.connect(server.port, '127.0.0.1')
    sender.socket.on('data', (bytes) => { sender.answer += bytes })
    sender.socket.on('error', () => {})
    sender.socket.on('close', () => { sender.isClosed = true })
    test.after(() => sender.socket.destroy())
    await once(sender.socket, 'connect')
    sender.socket.write(`PATCH ${new URL(url).pathname} HTTP/1.1\r\nHost: wharf\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: ${offset}\r\n`
      + `Content-Type: application/offset+octet-stream\r\nContent-Length: ${length - offset}\r\n\r\n`)
    return sender
  }

  send(bytes) {
    this.socket.write(typeof bytes === 'number' ? Buffer.alloc(bytes, 7) : bytes)
  }

  /** Sends a piece again and again, until it is stopped. */
  drip(test, bytes, everyMs) {
    const timer = setInterval(() => this.send(bytes), everyMs)
    test.after(() => clearInterval(timer))
    return () => clearInterval(timer)
  }

  /** Breaks off without a word. */
  cut() {
    this.socket.resetAndDestroy()
  }
}

/** Asserts that an upload is whole, and is these bytes. */
export async function assertStored(server, url, bytes) {
  const response = await ask(server, 'GET', url)
  assert.equal(response.status, 200, 'the status of GET')
  const stored = Buffer.from(await response.arrayBuffer())
  assert.equal(stored.length, bytes.length, 'how much is stored')
  assert.equal(sha256(stored), sha256(bytes), 'the SHA-256 of what is stored')
}

export function launchBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  })
}

/** What belongs to a visitor: tabs, and what the browser remembers. No page may break its own policy or throw. */
export async function newVisitor(test, browser, options = {}) {
  const context = await browser.newContext(options)
  const complaints = []
  context.on('weberror', (error) => complaints.push(String(error.error())))
  context.on('console', (message) => {
    if (/Content.Security.Policy|Trusted/i.test(message.text())) complaints.push(message.text())
  })
  test.after(async () => {
    await context.close()
    assert.deepEqual(complaints, [], 'what the page complained of')
  })
  return context
}

/** Chromium drops the keys that are pressed before a page was drawn for the first time. */
export async function hearing(page) {
  await page.evaluate(() => document.addEventListener('keydown', ({ key }) => { document.body.dataset.heard = key }))
  await until('the page hears the keyboard', async () => {
    await page.keyboard.press('Shift')
    return page.evaluate(() => document.body.dataset.heard === 'Shift')
  })
}

/** Waits until the page was drawn: only then a button that was switched off or hidden loses the focus. */
export const drawn = (page) => page.evaluate(() => new Promise((resolve) => {
  requestAnimationFrame(() => requestAnimationFrame(() => resolve()))
}))

/** Keeps a picture in WHARF_SCREENSHOTS, if that names a directory. */
export async function picture(page, name) {
  const place = process.env.WHARF_SCREENSHOTS
  if (!place) return
  await mkdir(place, { recursive: true })
  await page.screenshot({ path: path.join(place, `${name}.png`), fullPage: true })
}

/** Reads the requests in what a browser sends: their heads, and how many bytes of each body went by. */
class Reader {
  constructor(requests) {
    Object.assign(this, { requests, head: Buffer.alloc(0), left: 0 })
  }

  read(bytes) {
    while (bytes.length > 0) {
      if (this.left > 0) {
        const taken = Math.min(this.left, bytes.length)
        this.request.sent += taken
        this.left -= taken
        bytes = bytes.subarray(taken)
        continue
      }
      this.head = Buffer.concat([this.head, bytes])
      const end = this.head.indexOf('\r\n\r\n')
      if (end < 0) return
      const [line, ...fields] = this.head.subarray(0, end).toString('latin1').split('\r\n')
      const headers = Object.fromEntries(fields.map((field) => field.split(/:\s*/, 2)).map(([name, value]) => [name.toLowerCase(), value]))
      bytes = this.head.subarray(end + 4)
      this.head = Buffer.alloc(0)
      this.left = Number(headers['content-length'] ?? 0)
      const [method, target] = line.split(' ')
      this.request = { method, target, headers, sent: 0 }
      this.requests.push(this.request)
    }
  }
}

/** A network cable between the browser and wharf. */
export class Cable {
  requests = []
  #sockets = new Set()
  #port = 0
  #hold = Infinity
  #passed = 0
  #isStuck = false

  static async plug(test, server, rewrite = (text) => text) {
    const cable = new Cable()
    Object.assign(cable, { server, rewrite })
    await cable.restore()
    test.after(() => cable.cut())
    return cable
  }

  get origin() {
    return `http://127.0.0.1:${this.#port}`
  }

  /** All connections are reset, and new ones refused. */
  async cut() {
    for (const socket of this.#sockets) socket.resetAndDestroy()
    if (!this.listener) return
    const closed = once(this.listener, 'close')
    this.listener.close()
    this.listener = null
    await closed
  }

  /** New connections get through again. */
  async restore() {
    Object.assign(this, { listener: net.createServer((client) => this.#connect(client)) })
    this.#hold = Infinity
    this.#isStuck = false
    this.listener.listen(this.#port, '127.0.0.1')
    await once(this.listener, 'listening')
    this.#port = this.listener.address().port
  }

  /** Lets so many more bytes of the browser's through, and then none, without anybody being told. */
  holdAfter(bytes) {
    this.#passed = 0
    this.#hold = bytes
    return until('the cable holds', () => this.#isStuck)
  }

  /** Connections that come from now on get through; those that are stuck stay so. */
  release() {
    this.#hold = Infinity
    this.#isStuck = false
  }

  of(method) {
    return this.requests.filter((request) => request.method === method)
  }

  #connect(client) {
    const upstream = net.connect(this.server.port, '127.0.0.1')
    const pair = [client, upstream]
    const reader = new Reader(this.requests)
    let isHeld = false
    client.on('data', (bytes) => {
      if (isHeld) return
      const room = this.#hold - this.#passed
      isHeld = bytes.length > room
      const passing = isHeld ? bytes.subarray(0, room) : bytes
      this.#passed += passing.length
      reader.read(passing)
      if (!upstream.write(this.rewrite(passing))) {
        client.pause()
        upstream.once('drain', () => { if (!isHeld) client.resume() })
      }
      if (isHeld) {
        client.pause()
        this.#isStuck = true
      }
    })
    upstream.on('data', (bytes) => { if (!isHeld) client.write(bytes) })
    for (const [socket, other] of [pair, [upstream, client]]) {
      this.#sockets.add(socket)
      socket.on('error', () => {})
      socket.on('end', () => { if (!isHeld) other.end() })
      socket.on('close', () => {
        if (!isHeld) other.destroy()
        this.#sockets.delete(socket)
      })
    }
  }
}
