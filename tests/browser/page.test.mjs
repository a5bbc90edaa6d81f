// The page to upload with, as a visitor uses it.
import { strict as assert } from 'node:assert'
import { appendFile } from 'node:fs/promises'
import path from 'node:path'
import { after, before, test as declare } from 'node:test'
import {
  ask, assertStored, Cable, directory, drawn, file, hearing, launchBrowser, MEBIBYTE, newVisitor, PATIENCE_MS, picture, startWharf, until,
} from './support.mjs'

// More than all sockets between the browser and wharf can hide: a transfer that is held there is in its middle.
const HELD_BYTES = 24 * MEBIBYTE
const LARGE_BYTES = 48 * MEBIBYTE

let browser
before(async () => { browser = await launchBrowser() })
after(() => browser?.close())

const test = (name, body) => declare(name, { timeout: 3 * PATIENCE_MS }, body)

async function open(visitor, origin) {
  const page = await visitor.newPage()
  page.setDefaultTimeout(PATIENCE_MS)
  await page.goto(`${origin}/`)
  return page
}

/** A server, and a visitor who looks at its page. */
async function visit(test, { settings, ...options } = {}) {
  const server = await startWharf(test, settings)
  const visitor = await newVisitor(test, browser, options)
  return { server, visitor, page: await open(visitor, server.origin) }
}

/** The same through a cable that holds in the middle of what is sent first. */
async function visitByCable(test, { settings, ...options } = {}) {
  const server = await startWharf(test, settings)
  const cable = await Cable.plug(test, server)
  const visitor = await newVisitor(test, browser, options)
  return { server, cable, visitor, page: await open(visitor, cable.origin) }
}

const choose = (page, ...files) => page.locator('#files').setInputFiles(files.map(({ path }) => path))

const row = (page, { name }, list = '#current-list') =>
  page.locator(`${list} .upload`).filter({ has: page.locator('.name').getByText(name, { exact: true }) })

const inState = (page, file, state) => row(page, file).and(page.locator(`[data-state="${state}"]`)).waitFor()

const linkOf = (page, file) => row(page, file).locator('.link a').getAttribute('href')

const press = (page, file, label, list) => row(page, file, list).getByRole('button', { name: `${label}: ${file.name}`, exact: true }).click()

async function assertUploaded(page, server, file) {
  await inState(page, file, 'done')
  await assertStored(server, await linkOf(page, file), file.bytes)
}

/** What is kept over visits. */
const remembered = (page) => page.evaluate(() => Object.values(localStorage).map((record) => JSON.parse(record)))

/** Begins to send a large file, and comes back when it is stuck in its middle. */
async function beginLarge(test, page, cable, name = 'film.mp4') {
  const large = await file(test, name, LARGE_BYTES)
  const held = cable.holdAfter(HELD_BYTES)
  await choose(page, large)
  await held
  return large
}

/** How far an upload has come, once nothing arrives any more. HEAD ends a request, so it is asked for when none runs. */
const offset = async (server, url) => Number((await ask(server, 'HEAD', url)).headers.get('upload-offset'))

test('a file is uploaded, and can be downloaded under its name', async (test) => {
  const { server, page } = await visit(test)
  await picture(page, 'empty')
  const notes = await file(test, 'notes.txt', 'hello')
  await choose(page, notes)
  await assertUploaded(page, server, notes)
  await picture(page, 'done')
  const downloading = page.waitForEvent('download')
  await row(page, notes).getByRole('link', { name: 'Download: notes.txt' }).click()
  assert.equal((await downloading).suggestedFilename(), 'notes.txt')
  assert.deepEqual(await remembered(page), [], 'a finished upload is not remembered')
  const info = await ask(server, 'HEAD', await linkOf(page, notes))
  assert.equal(info.headers.get('upload-metadata'), `filename ${btoa('notes.txt')},filetype ${btoa('text/plain')}`)
})

test('the link is copied', async (test) => {
  const { page } = await visit(test, { permissions: ['clipboard-read', 'clipboard-write'] })
  const notes = await file(test, 'notes.txt', 'hello')
  await choose(page, notes)
  await inState(page, notes, 'done')
  await press(page, notes, 'Copy link')
  await row(page, notes).getByText('Copied').waitFor()
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await linkOf(page, notes))
})

test('several files at once, an empty one among them', async (test) => {
  const { server, page } = await visit(test)
  const files = await Promise.all([0, 1, 100_000, 3 * MEBIBYTE, 5 * MEBIBYTE, 70_000].map((size, index) => file(test, `file ${index}.bin`, size)))
  await choose(page, ...files)
  for (const each of files) await assertUploaded(page, server, each)
  assert.equal(await page.locator('#current-list .upload').count(), files.length)
})

test('files can be dropped anywhere on the page', async (test) => {
  const { server, page } = await visit(test)
  const carried = await page.evaluateHandle(() => {
    const transfer = new DataTransfer()
    for (const name of ['one.txt', 'two.txt']) transfer.items.add(new File([`this is ${name}`], name, { type: 'text/plain' }))
    return transfer
  })
  await page.dispatchEvent('h1', 'dragenter', { dataTransfer: carried })
  assert.equal(await page.locator('body.dropping').count(), 1)
  await page.dispatchEvent('h1', 'drop', { dataTransfer: carried })
  for (const name of ['one.txt', 'two.txt']) await assertUploaded(page, server, { name, bytes: Buffer.from(`this is ${name}`) })
  assert.equal(await page.locator('body.dropping').count(), 0)
})

test('a hostile name is nothing but text', async (test) => {
  const { server, page } = await visit(test)
  const names = [`<img src=x onerror=window.hacked=1>"'&amp;.txt`, '\u202egpj.exe', 'javascript:alert(1)', 'ünïcödé 🦭 "quoted".txt']
  for (const name of names) {
    const hostile = { ...await file(test, name, `content of ${name}`), name: name.replace('\u202e', '\ufffd') }
    await choose(page, hostile)
    await assertUploaded(page, server, hostile)
    const state = await ask(server, 'HEAD', await linkOf(page, hostile))
    const [, encoded] = state.headers.get('upload-metadata').match(/^filename ([^,]*)/)
    assert.equal(Buffer.from(encoded, 'base64').toString(), name)
  }
  assert.equal(await page.locator('.uploads img').count(), 0)
  assert.equal(await page.evaluate(() => window.hacked), undefined)
  await picture(page, 'hostile')
})

test('pause lets go, and resume sends only the rest', async (test) => {
  const { server, cable, page } = await visitByCable(test)
  const large = await beginLarge(test, page, cable)
  await picture(page, 'sending')
  await press(page, large, 'Pause')
  await inState(page, large, 'paused')
  cable.release()
  const [{ url }] = await remembered(page)
  const stored = await until('something is stored', () => offset(server, url))
  await press(page, large, 'Resume')
  await assertUploaded(page, server, large)
  assert.deepEqual(cable.of('PATCH').map(({ headers }) => Number(headers['upload-offset'])), [0, stored])
})

test('after a cut of the network the upload goes on by itself', async (test) => {
  const { server, cable, page } = await visitByCable(test)
  const large = await beginLarge(test, page, cable)
  await cable.cut()
  await inState(page, large, 'broken')
  await picture(page, 'broken')
  const [{ url }] = await remembered(page)
  const stored = await offset(server, url)
  assert.ok(stored > 0 && stored < LARGE_BYTES, `${stored} bytes are stored`)
  const [before] = cable.of('PATCH')
  await cable.restore()
  await assertUploaded(page, server, large)
  // What was stored is not sent again: the rest begins where the server said, and the whole is what was sent, but for
  // what was under way when the cable was cut.
  const after = cable.of('PATCH').slice(1)
  assert.deepEqual(after.map(({ headers }) => Number(headers['upload-offset'])), [stored])
  assert.equal(after[0].sent, LARGE_BYTES - stored)
  assert.ok(before.sent >= stored, 'no more is stored than was sent')
  assert.equal(cable.of('POST').length, 1)
  const order = cable.requests.map(({ method }) => method)
  assert.ok(order.lastIndexOf('HEAD') > order.indexOf('PATCH') && order.lastIndexOf('HEAD') < order.lastIndexOf('PATCH'), order.join(' '))
})

test('when the server is stopped and started again, the upload goes on', async (test) => {
  const { server, cable, page } = await visitByCable(test)
  const large = await beginLarge(test, page, cable)
  const [{ url }] = await remembered(page)
  await server.stop()
  await cable.cut()
  await inState(page, large, 'broken')
  await server.start()
  const stored = await offset(server, url)
  assert.ok(stored > 0 && stored < LARGE_BYTES, `${stored} bytes are stored`)
  await cable.restore()
  await assertUploaded(page, server, large)
  assert.deepEqual(cable.of('PATCH').map(({ headers }) => Number(headers['upload-offset'])), [0, stored])
})

test('a refusal that may pass is waited out', async (test) => {
  const { server, page } = await visit(test)
  const refusals = [423, 503, 409]
  await page.route(`${server.url}*`, (route) => {
    if (route.request().method() !== 'PATCH' || refusals.length === 0) return route.continue()
    return route.fulfill({ status: refusals.shift(), body: 'ERR_BUSY: try again\n' })
  })
  const notes = await file(test, 'notes.txt', 'hello')
  await choose(page, notes)
  await row(page, notes).getByText('ERR_BUSY: try again').waitFor()
  await assertUploaded(page, server, notes)
  assert.deepEqual(refusals, [])
})

test('a refusal for good ends the upload, and says why', async (test) => {
  const { server, page } = await visit(test)
  await page.route(server.url, (route) => route.fulfill({ status: 403, body: 'ERR_FORBIDDEN: <b>not</b> you\n' }), { times: 1 })
  const notes = await file(test, 'notes.txt', 'hello')
  await choose(page, notes)
  await inState(page, notes, 'failed')
  await row(page, notes).getByText('ERR_FORBIDDEN: <b>not</b> you').waitFor()
  await press(page, notes, 'Try again')
  await assertUploaded(page, server, notes)
})

test('a connection that fell silent is given up when the network is back', async (test) => {
  const { server, cable, page } = await visitByCable(test)
  const large = await beginLarge(test, page, cable)
  cable.release()
  // Nobody was told that the cable was pulled, so only the event, and the silence before it, tell.
  await until('the upload goes on', async () => {
    await page.evaluate(() => dispatchEvent(new Event('online')))
    return await row(page, large).getAttribute('data-state') === 'done'
  })
  await assertUploaded(page, server, large)
  const offsets = cable.of('PATCH').map(({ headers }) => Number(headers['upload-offset']))
  assert.ok(offsets.length >= 2 && offsets[1] > 0, `offsets ${offsets}`)
})

test('an upload goes on after the tab was closed', async (test) => {
  const { server, cable, visitor, page } = await visitByCable(test)
  const large = await beginLarge(test, page, cable)
  await until('its progress is remembered', async () => (await remembered(page))[0].sent > 0)
  await page.close()
  cable.release()
  const again = await open(visitor, cable.origin)
  await row(again, large, '#earlier-list').getByText(/ of 50\.3\sMB sent until /).waitFor()
  await picture(again, 'earlier')
  const [{ url }] = await remembered(again)
  const stored = await offset(server, url)

  // Another file is not taken for this one.
  const other = await file(test, 'other.bin', 100)
  const [chooser] = await Promise.all([again.waitForEvent('filechooser'), press(again, large, 'Choose file', '#earlier-list')])
  await chooser.setFiles(other.path)
  await again.getByText('That is not the file of this upload').waitFor()
  assert.equal(await again.locator('#current-list .upload').count(), 0)

  const [next] = await Promise.all([again.waitForEvent('filechooser'), press(again, large, 'Choose file', '#earlier-list')])
  await next.setFiles(large.path)
  await assertUploaded(again, server, large)
  assert.equal(await linkOf(again, large), url)
  assert.equal(await again.locator('#earlier').isVisible(), false)
  assert.deepEqual(cable.of('PATCH').map(({ headers }) => Number(headers['upload-offset'])), [0, stored])
  assert.equal(cable.of('POST').length, 1)
})

test('what is unfinished can be discarded', async (test) => {
  const { server, cable, visitor, page } = await visitByCable(test)
  const large = await beginLarge(test, page, cable)
  await page.close()
  cable.release()
  const again = await open(visitor, cable.origin)
  const [{ url }] = await remembered(again)
  // Refused once, by a server that takes longer than the page takes to be drawn.
  await again.route(url, async (route) => {
    await drawn(again)
    await route.fulfill({ status: 403, body: 'ERR_FORBIDDEN: not you\n' })
  }, { times: 1 })
  await press(again, large, 'Discard', '#earlier-list')
  await again.getByText('ERR_FORBIDDEN: not you').waitFor()
  assert.equal(await again.evaluate(() => document.activeElement.ariaLabel), 'Discard: film.mp4')
  await press(again, large, 'Discard', '#earlier-list')
  await row(again, large, '#earlier-list').waitFor({ state: 'detached' })
  assert.ok([404, 410].includes((await ask(server, 'HEAD', url)).status))
  assert.deepEqual(await remembered(again), [])
})

test('cancel deletes what was sent', async (test) => {
  const { server, cable, page } = await visitByCable(test)
  const large = await beginLarge(test, page, cable)
  const [{ url }] = await remembered(page)
  cable.release()
  await press(page, large, 'Cancel')
  await row(page, large).waitFor({ state: 'detached' })
  assert.ok([404, 410].includes((await ask(server, 'HEAD', url)).status))
  assert.deepEqual(await remembered(page), [])
  assert.equal(cable.of('DELETE').length, 1)
})

test('an upload that is gone from the server starts anew', async (test) => {
  const { server, cable, page } = await visitByCable(test)
  const large = await beginLarge(test, page, cable)
  await press(page, large, 'Pause')
  const [{ url }] = await remembered(page)
  assert.equal((await ask(server, 'DELETE', url)).status, 204)
  cable.release()
  await press(page, large, 'Resume')
  await assertUploaded(page, server, large)
  assert.notEqual(await linkOf(page, large), url)
})

test('a second tab takes over, and the first one lets it', async (test) => {
  const { server, cable, visitor, page } = await visitByCable(test)
  const large = await beginLarge(test, page, cable)
  const second = await open(visitor, server.origin)
  // The other tab came by another origin, so it is told of the upload by hand.
  const [key, record] = await page.evaluate(() => Object.entries(localStorage)[0])
  const url = new URL(new URL(JSON.parse(record).url).pathname, server.url).href
  await second.evaluate(([key, record]) => localStorage.setItem(key, record),
    [key.replace(cable.origin, server.origin), JSON.stringify({ ...JSON.parse(record), url })])
  await second.reload()
  await choose(second, large)
  await assertUploaded(second, server, large)
  assert.equal(await linkOf(second, large), url)
  cable.release()
  // The first tab has heard of nothing. It may have begun to doubt, if all this took long; told to look, it finds the end.
  await until('the first one sees it', async () => {
    await page.evaluate(() => dispatchEvent(new Event('online')))
    return await row(page, large).getAttribute('data-state') === 'done'
  })
  await assertUploaded(page, server, large)
})

test('a file that changes under way is not sent on', async (test) => {
  const { cable, page } = await visitByCable(test)
  const large = await beginLarge(test, page, cable)
  await press(page, large, 'Pause')
  await appendFile(large.path, 'more')
  cable.release()
  await press(page, large, 'Resume')
  await inState(page, large, 'failed')
  await row(page, large).getByText('The file has changed').waitFor()
})

test('what is too large is said at once, and nothing is sent', async (test) => {
  const { server, page } = await visit(test, { settings: { 'tus.max_size_bytes': 1000 } })
  await page.getByText('Up to 1.0 kB a file.').waitFor()
  const [fits, large] = [await file(test, 'fits.bin', 1000), await file(test, 'large.bin', 1001)]
  await choose(page, large, fits)
  await assertUploaded(page, server, fits)
  await row(page, large).getByText('Too large: this server takes files of up to 1.0 kB.').waitFor()
  assert.equal(await row(page, large).getByRole('button').count(), 1, 'to try again would be no use')
  await press(page, large, 'Remove')
  await row(page, large).waitFor({ state: 'detached' })
})

test('what the server cannot do is not offered', async (test) => {
  const { page } = await visit(test, { settings: { 'tus.download': false, 'tus.termination': false } })
  const notes = await file(test, 'notes.txt', 'hello')
  await choose(page, notes)
  await inState(page, notes, 'done')
  assert.equal(await row(page, notes).locator('.link a').isVisible(), false)
})

test('uploads go wherever the base path says', async (test) => {
  const notes = await file(test, 'notes.txt', 'hello')
  const { server, page } = await visit(test, { settings: { 'server.base_path': '/a/b&c:d/' } })
  await choose(page, notes)
  await assertUploaded(page, server, notes)

  // A whole URL: the page, reached by another name, uploads to that one.
  const whole = await startWharf(test, { 'server.base_path': 'http://127.0.0.1:1/up/' })
  const visitor = await newVisitor(test, browser)
  await visitor.route('http://127.0.0.1:1/**', async (route) => {
    const response = await route.fetch({ url: route.request().url().replace('http://127.0.0.1:1/', `${whole.origin}/`) })
    await route.fulfill({ response })
  })
  const elsewhere = await open(visitor, whole.origin)
  await choose(elsewhere, notes)
  await inState(elsewhere, notes, 'done')
  const link = await linkOf(elsewhere, notes)
  assert.ok(link.startsWith('http://127.0.0.1:1/up/'), link)
  await assertStored(whole, link, notes.bytes)
})

test('a proxy may serve all of it below a path', async (test) => {
  const server = await startWharf(test)
  // Takes the prefix away, as `location /wharf/ { proxy_pass http://wharf/; }` does.
  const cable = await Cable.plug(test, server, (bytes) => Buffer.from(bytes.toString('latin1').replace(/^([A-Z]+) \/wharf\//, '$1 /'), 'latin1'))
  const visitor = await newVisitor(test, browser)
  const page = await open(visitor, `${cable.origin}/wharf`)
  const notes = await file(test, 'notes.txt', 'hello')
  await choose(page, notes)
  await inState(page, notes, 'done')
  const link = await linkOf(page, notes)
  assert.ok(link.startsWith(`${cable.origin}/wharf/files/`), link)
  assert.equal(await (await fetch(link)).text(), 'hello')
})

test('a keyboard is enough, and nothing is said twice', async (test) => {
  const { cable, page } = await visitByCable(test)
  // Waited for from the start: what catches the chooser must be in its place before the key is pressed.
  const choosing = page.waitForEvent('filechooser')
  await page.bringToFront()
  await hearing(page)
  await page.keyboard.press('Tab')
  assert.equal(await page.evaluate(() => document.activeElement.id), 'choose')
  await page.keyboard.press('Enter')
  const chooser = await choosing
  const large = await file(test, 'film.mp4', LARGE_BYTES)
  const held = cable.holdAfter(HELD_BYTES)
  await chooser.setFiles(large.path)
  await held
  await page.keyboard.press('Tab')
  assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), 'Pause: film.mp4')
  await page.keyboard.press('Space')
  await inState(page, large, 'paused')
  await page.getByRole('status').getByText('film.mp4: paused.').waitFor()
  assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), 'Resume: film.mp4')
  await page.getByRole('progressbar', { name: 'film.mp4' }).waitFor()
  cable.release()
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await row(page, large).waitFor({ state: 'detached' })
  assert.equal(await page.evaluate(() => document.activeElement.id), 'choose')
})

/** The contrast between an element's text and what is behind it (WCAG 2.2, 1.4.3). */
const contrast = (element) => {
  const channels = (color) => color.match(/[\d.]+/g).map(Number)
  const luminance = ([red, green, blue]) => [red, green, blue].map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0)
  let behind = element
  while (channels(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement
  const [one, other] = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor].map(channels).map(luminance)
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)
}

for (const [name, options] of [
  ['light', { colorScheme: 'light' }],
  ['dark', { colorScheme: 'dark' }],
  ['phone', { colorScheme: 'light', viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }],
  ['phone-dark', { colorScheme: 'dark', viewport: { width: 320, height: 640 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }],
]) {
  test(`all of it is readable: ${name}`, async (test) => {
    const { server, cable, visitor, page } = await visitByCable(test, { settings: { 'tus.max_size_bytes': 60 * MEBIBYTE }, ...options })
    const left = await beginLarge(test, page, cable, 'holiday film, first part.mp4')
    await page.close()
    cable.release()
    const again = await open(visitor, cable.origin)
    const files = [
      await file(test, 'report.pdf', 70_000),
      await file(test, `${'a-very-long-name-without-a-space'.repeat(5)}.tar.gz`, 61 * MEBIBYTE),
      await file(test, 'paused.iso', 20_000),
    ]
    await choose(again, files[0])
    await assertUploaded(again, server, files[0])
    await choose(again, files[1])
    const stuck = await beginLarge(test, again, cable, 'on its way.mkv')
    await choose(again, files[2])
    await press(again, files[2], 'Pause')
    await inState(again, files[2], 'paused')
    await row(again, left, '#earlier-list').waitFor()
    // It is doubted when it has been stuck for long, which looking at all that follows may take.
    await inState(again, stuck, 'sending')
    await again.locator('summary').click()
    await picture(again, name)
    const width = await again.evaluate(() => document.documentElement.scrollWidth)
    assert.equal(width, again.viewportSize().width, 'nothing is wider than the screen')
    for (const element of await again.locator('h1, h2, p:visible, .name, .percent, button:visible, .button:visible, .link input, summary, code, li').all()) {
      if (!(await element.isVisible())) continue
      const ratio = await element.evaluate(contrast)
      assert.ok(ratio >= 4.5, `${ratio} for ${await element.evaluate((element) => element.outerHTML)}`)
    }
    for (const element of await again.locator('button:visible, .button:visible').all()) {
      const { height } = await element.boundingBox()
      assert.ok(Math.round(height) >= 36, `a button ${height} pixels high`)
    }
  })
}
