// The dashboard of the admin endpoint, as an operator uses it: over a wharf that really works, with clients that are slow,
// stalled, cut off and taken over.
import { strict as assert } from 'node:assert'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { after, before, test as declare } from 'node:test'
import { ask, drawn, hearing, launchBrowser, MEBIBYTE, newVisitor, PATIENCE_MS, picture, Sender, startWharf, until } from './support.mjs'

const TOKEN = 'a-token-of-a-test'
const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true }
const DESKTOP = { viewport: { width: 1360, height: 900 } }

let browser
before(async () => { browser = await launchBrowser() })
after(() => browser?.close())

const test = (name, body) => declare(name, { timeout: 4 * PATIENCE_MS }, body)

const start = (test, settings) => startWharf(test, { 'admin.bind': '127.0.0.1:0', ...settings })

async function look(test, server, place = '/', options = DESKTOP) {
  const visitor = await newVisitor(test, browser, options)
  const page = await visitor.newPage()
  page.setDefaultTimeout(PATIENCE_MS)
  await page.goto(`${server.admin}${place}`)
  return page
}

const isLive = (page) => page.locator('#link[data-link="live"]').waitFor()

const row = (page, { id }) => page.locator(`#flight [data-id="${id}"]`)

const uploadPlace = ({ id }) => `/#/upload/${encodeURIComponent(id)}`

const told = async (server, { id }) => (await fetch(`${server.admin}/uploads/${encodeURIComponent(id)}`)).json()

const offset = async (server, upload) => (await told(server, upload)).offset_bytes

/** An upload that is on its way: some bytes have come, and its client is silent. */
async function stalled(test, server, { length = 4 * MEBIBYTE, sent = MEBIBYTE, ...metadata } = {}) {
  const upload = await Sender.create(server, { length, ...metadata })
  const sender = await Sender.open(test, server, upload)
  sender.send(sent)
  await until('its first bytes are stored', async () => (await offset(server, upload)) === sent)
  return { upload, sender }
}

/** What has the focus, once the page was drawn. */
async function focused(page) {
  await drawn(page)
  return page.evaluate(() => document.activeElement.tagName)
}

/** Presses a button until the dialog is there: a warning that comes above it moves it away from under the mouse. */
const bringUp = (button, dialog) => until('the dialog is there', async () => {
  await button.click({ timeout: 5000 }).catch(() => {})
  return dialog.isVisible()
})

async function assertNoSidewaysScroll(page, where) {
  const [width, room] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth])
  assert.ok(width <= room, `${where} is ${width} wide in ${room}`)
}

/** Clients of all sorts, so that there is something to look at. */
async function crowd(test, server, size) {
  const names = ['talk.mp4', 'backup-2026-11-26.tar.zst', 'holiday photos.zip', 'scan_000481.tiff', 'interview, second take.wav', 'dataset.parquet']
  const uploads = []
  for (let number = 0; number < size; number++) {
    const length = (number % 7 + 1) * 40 * MEBIBYTE
    const upload = await Sender.create(server, { length, filename: `${number}-${names[number % names.length]}` })
    uploads.push(upload)
    if (number % 9 === 8) continue
    const sender = await Sender.open(test, server, upload)
    sender.send(200_000 + 100_000 * (number % 5))
    if (number % 4 !== 3) sender.drip(test, 3_000 * (number % 6 + 1), 120)
    if (number % 11 === 10) await until('it can be cut', async () => (await offset(server, upload)) > 0).then(() => sender.cut())
  }
  const done = await Sender.create(server, { length: 5, filename: 'finished.txt' })
  ;(await Sender.open(test, server, done)).send('hello')
  await fetch(`${server.url}none`, { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0' } })
  return uploads
}

test('progress moves, and the end is seen', async (test) => {
  const server = await start(test)
  const page = await look(test, server)
  await isLive(page)
  await page.locator('#flight-empty').waitFor()
  // So long that it is not at its end before all is seen, however slow this machine is.
  const length = 32 * MEBIBYTE
  const upload = await Sender.create(server, { length, filename: 'talk.mp4' })
  const sender = await Sender.open(test, server, upload)
  const line = row(page, upload)
  await line.getByText('talk.mp4', { exact: true }).waitFor()
  const progress = () => line.locator('progress').evaluate((bar) => bar.value)
  sender.send(length / 4)
  await until('a quarter is shown', async () => (await progress()) === 0.25)
  const stop = sender.drip(test, 30_000, 100)
  await until('more is shown', async () => (await progress()) > 0.26)
  await until('a rate and the time left are shown', async () => /B\/s/.test(await line.locator('[data-part="rate"]').textContent())
    && /left$/.test(await line.locator('[data-part="left"]').textContent()))
  stop()
  await line.and(page.locator('[data-state="silent"]')).waitFor()
  const missing = length - await until('nothing more comes', async () => {
    const [one, other] = [await offset(server, upload), sender.socket.bytesWritten]
    return other >= one && sender.socket.writableLength === 0 && one === await offset(server, upload) && one
  })
  sender.send(missing)
  await line.and(page.locator('[data-state="finished"]')).waitFor()
  await page.locator('#feed [data-event="upload_finished"]').getByText('talk.mp4').waitFor()
  await until('it is counted', async () => (await page.locator('[data-tile="finished"]').textContent()) === '1')
  await line.waitFor({ state: 'detached' })
})

test('mailboxes, pools, plots and errors have what the server tells', async (test) => {
  const server = await start(test)
  const page = await look(test, server)
  await isLive(page)
  await stalled(test, server, { filename: 'talk.mp4' })
  const { kinds } = await (await fetch(`${server.admin}/mailboxes`)).json()
  const { pools } = await (await fetch(`${server.admin}/pools`)).json()
  await until('all kinds are there', async () => (await page.locator('#mailboxes tr').count()) === kinds.length)
  assert.deepEqual(await page.locator('#mailboxes tr').evaluateAll((rows) => rows.map((row) => row.dataset.kind)), kinds.map(({ kind }) => kind))
  assert.deepEqual(await page.locator('#pools tr').evaluateAll((rows) => rows.map((row) => row.dataset.pool)), pools.map(({ pool }) => pool))
  const owner = page.locator('#mailboxes [data-kind="upload"]')
  await until('a peak is drawn', async () => (await owner.locator('.bar-peak:not([hidden])').count()) === 1)
  await until('none waits any more', async () => /^upload: 0 of 64 wait, [1-9]\d* at most$/.test(await owner.locator('.bar').getAttribute('aria-label')))
  await page.locator('#latency').getByRole('rowheader', { name: 'POST' }).waitFor()
  await until('each plot has points', async () => (await page.locator('.plot').evaluateAll((plots) => plots.map((plot) => Number(plot.dataset.points)))).every((points) => points > 2))
  assert.match(await page.locator('.plot path[data-series="received"]').getAttribute('d'), /^M[\d.]+ [\d.]+L/)
  await page.getByText('The busiest single mailboxes').click()
  await page.locator('#single-mailboxes a').first().waitFor()
  assert.equal((await ask(server, 'HEAD', `${server.url}none`)).status, 404)
  await page.locator('#errors').getByRole('row', { name: 'ERR_UPLOAD_NOT_FOUND 1 +1' }).waitFor()
})

test('plots begin with what was before the page was opened', async (test) => {
  const server = await start(test)
  await until('there is a past', async () => (await (await fetch(`${server.admin}/recent`)).json()).samples.length >= 2)
  const page = await look(test, server)
  await isLive(page)
  await until('it is drawn', async () => Number(await page.locator('.plot').first().getAttribute('data-points')) >= 3)
})

test('the page of an upload says where its time went', async (test) => {
  const server = await start(test)
  const upload = await Sender.create(server, { length: 4 * MEBIBYTE, filename: 'slow.bin', project: 'tide' })
  const first = await Sender.open(test, server, upload)
  first.send(MEBIBYTE)
  await until('the first quarter is stored', async () => (await offset(server, upload)) === MEBIBYTE)
  const page = await look(test, server, uploadPlace(upload))
  const share = (name) => page.locator(`[data-share="${name}"]`).evaluate((row) => Number(row.dataset.ms))
  await until('the silence is seen', async () => (await page.locator('[data-share="silent"]').count()) === 1 && (await share('silent')) > 1500)
  // It is taken over, cut off, left alone for a while, and finished.
  const second = await Sender.open(test, server, upload, MEBIBYTE)
  await until('the first one is told', () => first.answer.includes('ERR_UPLOAD_INTERRUPTED'))
  second.send(MEBIBYTE)
  await until('the second quarter is stored', async () => (await offset(server, upload)) === 2 * MEBIBYTE)
  second.cut()
  await until('the absence is seen', async () => (await share('away')) > 1500)
  assert.match(await page.locator('.verdict').textContent(), /2 requests were cut off, 1 of them for a newer one.* It is not finished/)
  const third = await Sender.open(test, server, upload, 2 * MEBIBYTE)
  third.send(2 * MEBIBYTE)
  await page.locator('#view-upload[data-state="finished"]').waitFor()
  const { timeline } = await told(server, upload)
  await until('all of it is drawn', async () => (await page.locator('.timeline [data-mark="finished"]').count()) === 1)
  for (const [kind, least] of [['lease', 3], ['take_over', 1], ['cut', 2], ['finished', 1]]) {
    assert.equal(await page.locator(`.timeline [data-mark="${kind}"]`).count(), least, kind)
  }
  assert.ok(await page.locator('.timeline [data-band="silent"]').count() >= 1)
  assert.ok(await page.locator('.timeline [data-band="away"]').count() >= 1)
  assert.equal(Number(await page.locator('.course').getAttribute('data-points')), timeline.points.length)
  const shares = await page.locator('[data-share]').evaluateAll((rows) => rows.map((row) => Number(row.dataset.ms)))
  const end = timeline.marks.find(({ kind }) => kind === 'finished').at_ms
  assert.ok(Math.abs(shares.reduce((sum, ms) => sum + ms, 0) - end) <= 5, `${shares} make ${end}`)
  // On a slow machine there may be more absences than the one that was meant, and the store may have had something to do in them.
  const toldMs = (wanted) => timeline.marks.filter(({ kind }) => kind === wanted).reduce((sum, { detail }) => sum + Number(/(\d+) ms$/.exec(detail)[1]), 0)
  const [away, most, store] = [await share('away'), toldMs('away'), toldMs('store_wait')]
  assert.ok(most >= 1000 && away <= most + 2 && away >= most - store - 2, `${away} of ${most}, the store ${store}`)
  await page.getByText('tide', { exact: true }).waitFor()
  await page.locator('.log').getByText('upload interrupted').first().waitFor()
  await picture(page, 'dashboard-upload')
})

test('interrupting asks first, and then really ends the request', async (test) => {
  const server = await start(test)
  const { upload, sender } = await stalled(test, server, { filename: 'talk.mp4' })
  const page = await look(test, server, uploadPlace(upload))
  await page.locator('#view-upload[data-state="receiving"]').waitFor()
  // The state may come by an event, before the rest; the dialog says what is known when it opens.
  await page.locator('#view-upload').getByText('talk.mp4').first().waitFor()
  const button = page.getByRole('button', { name: 'Interrupt', exact: true }).first()
  const dialog = page.getByRole('dialog', { name: 'Interrupt this upload?' })
  await bringUp(button, dialog)
  await dialog.getByText('talk.mp4').waitFor()
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Cancel')
  await picture(page, 'dashboard-dialog')
  await page.keyboard.press('Enter')
  await dialog.waitFor({ state: 'hidden' })
  assert.equal((await told(server, upload)).state, 'receiving')
  assert.equal(sender.answer, '')
  await bringUp(button, dialog)
  await dialog.getByRole('button', { name: 'Interrupt' }).click()
  await until('the client is told', () => sender.answer.includes('ERR_UPLOAD_INTERRUPTED'))
  await page.locator('#view-upload[data-state="idle"]').waitFor()
  assert.ok(await button.isDisabled())
  assert.equal(await offset(server, upload), MEBIBYTE, 'what has arrived is kept')
  await page.locator('.log').getByText(/interrupted by an operator/).waitFor()
  // The button that had the focus is switched off.
  assert.equal(await focused(page), 'A')
})

test('deleting asks first, and then really deletes', async (test) => {
  const server = await start(test)
  const { upload } = await stalled(test, server, { filename: 'talk.mp4' })
  const page = await look(test, server, uploadPlace(upload))
  const button = page.locator('#view-upload').getByRole('button', { name: 'Delete', exact: true })
  const dialog = page.getByRole('dialog', { name: 'Delete this upload?' })
  await bringUp(button, dialog)
  await page.keyboard.press('Escape')
  await dialog.waitFor({ state: 'hidden' })
  assert.equal((await told(server, upload)).state, 'receiving')
  await bringUp(button, dialog)
  await dialog.getByRole('button', { name: 'Delete' }).click()
  await page.locator('#view-upload[data-state="gone"]').waitFor()
  await page.getByText('There is no such upload').waitFor()
  assert.equal((await ask(server, 'HEAD', upload.url)).status, 404)
})

test('hostile names are nothing but text', async (test) => {
  const server = await start(test)
  const names = ['<img src=x onerror="window.hacked=1">', '\u202egpj.exe\u0000\n', `${'very-long-'.repeat(60)}.bin`, '"><script>window.hacked=1</script>', 'مرحبا.txt']
  const uploads = []
  for (const name of names) uploads.push((await stalled(test, server, { length: 100, sent: 10, filename: name, [`k${uploads.length}`]: name })).upload)
  const page = await look(test, server)
  await isLive(page)
  for (const [place, upload] of uploads.entries()) {
    await row(page, upload).waitFor()
    if (place === 1) assert.equal(await row(page, upload).locator('bdi').textContent(), '\\u{202e}gpj.exe\\u{0}\\u{a}')
  }
  await assertNoSidewaysScroll(page, 'the overview')
  await row(page, uploads[0]).locator('a').click()
  await page.getByRole('heading', { name: names[0] }).waitFor()
  await picture(page, 'dashboard-hostile')
  await page.getByRole('link', { name: 'Uploads', exact: true }).click()
  await until('all are listed', async () => (await page.locator('#list tr').count()) === names.length)
  await page.goto(`${server.admin}/#/upload/%E0%A4%A`)
  await page.goto(`${server.admin}${uploadPlace(uploads[3])}`)
  await page.locator('.facts').getByText(names[3]).first().waitFor()
  assert.equal(await page.locator('main img, main script').count(), 0)
  assert.equal(await page.evaluate(() => window.hacked), undefined)
})

test('with a token one logs in, and out again', async (test) => {
  const server = await start(test, { 'admin.token': TOKEN })
  const page = await look(test, server)
  const field = page.getByLabel('Token')
  await field.fill('not the token')
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByText('That is not the token.').waitFor()
  await picture(page, 'dashboard-login')
  assert.doesNotMatch(server.log, /admin request refused.*session/)
  await field.fill(TOKEN)
  await field.press('Enter')
  await isLive(page)
  await page.locator('#mailboxes tr').first().waitFor()
  await page.reload()
  await isLive(page)
  assert.equal(await field.isVisible(), false)
  const [cookie] = await page.context().cookies()
  assert.ok(cookie.httpOnly && !cookie.value.includes(TOKEN))
  await page.getByRole('button', { name: 'Log out' }).click()
  await field.waitFor()
  assert.equal(await page.evaluate(async () => (await fetch('pools')).status), 401)
  await field.fill(TOKEN)
  await field.press('Enter')
  await isLive(page)
  assert.notEqual(await focused(page), 'BODY', 'who has logged in has the focus somewhere')
  // It ends elsewhere, while the page looks on.
  const [{ name, value }] = await page.context().cookies()
  const out = await fetch(`${server.admin}/logout`, { method: 'POST', headers: { Origin: server.admin, Cookie: `${name}=${value}` } })
  assert.equal(out.status, 204)
  await field.waitFor()
  await page.reload()
  await field.waitFor()
})

test('who is not let in any more stops asking', async (test) => {
  const server = await start(test, { 'admin.token': TOKEN })
  const page = await (await newVisitor(test, browser, DESKTOP)).newPage()
  page.setDefaultTimeout(PATIENCE_MS)
  await page.clock.install()
  let lists = 0
  await page.route(/live=true/, (route) => {
    lists++
    return route.fulfill({ status: 401, contentType: 'application/json', body: '{"error":"unauthorized","message":"a token is needed"}' })
  })
  await page.goto(server.admin)
  const field = page.getByLabel('Token')
  await field.fill(TOKEN)
  await field.press('Enter')
  await until('the list was refused', () => lists === 1)
  await field.waitFor()
  await page.clock.fastForward(60_000)
  await page.evaluate(() => fetch('healthz'))
  assert.equal(lists, 1)
})

test('what has the focus keeps it while all around it changes', async (test) => {
  const server = await start(test)
  const first = await stalled(test, server, { filename: 'first.bin' })
  const page = await look(test, server)
  await row(page, first.upload).waitFor()
  const second = await stalled(test, server, { filename: 'second.bin' })
  const link = row(page, second.upload).locator('a')
  await link.focus()
  assert.equal((await fetch(`${server.admin}/uploads/${encodeURIComponent(first.upload.id)}`, { method: 'DELETE' })).status, 204)
  await row(page, first.upload).waitFor({ state: 'detached' })
  assert.ok(await link.evaluate((node) => node === document.activeElement))

  let asked = 0
  page.on('response', (response) => { asked += new URL(response.url()).pathname.startsWith('/uploads/') })
  await link.press('Enter')
  await page.locator('#view-upload[data-state="receiving"]').waitFor()
  assert.notEqual(await focused(page), 'BODY', 'the view that came has the focus')
  await page.locator('.marks summary').click()
  const marks = page.locator('.marks .scroll')
  await marks.focus()
  const before = asked
  await until('it was asked for again', () => asked >= before + 2)
  await page.locator('.shares').waitFor()
  assert.ok(await marks.evaluate((node) => node === document.activeElement && node.checkVisibility()))
})

test('of more uploads than are asked for, those that nothing is heard of are forgotten', async (test) => {
  const server = await start(test)
  const page = await (await newVisitor(test, browser, DESKTOP)).newPage()
  page.setDefaultTimeout(PATIENCE_MS)
  await page.clock.install()
  // As many as it asks for, and there are more: what is in none of the pages may be there all the same.
  const uploads = Array.from({ length: 1000 }, (_, number) => ({
    id: String(number), state: 'idle', offset_bytes: 1, length_bytes: 2, filename: null, is_live: true, rate_bytes_per_sec: 0, peer: null, changed_at: new Date().toISOString(),
  }))
  await page.route(/live=true/, (route) => {
    const isFirst = !route.request().url().includes('cursor=')
    const page = uploads.map((upload) => ({ ...upload, id: `${isFirst ? 'a' : 'b'}${upload.id}` }))
    return route.fulfill({ json: { uploads: page, next: 'l1x61' } })
  })
  await page.goto(server.admin)
  const count = page.locator('#flight-count')
  await count.getByText('0 receiving, 2,000 other, and more').waitFor()
  const { sender } = await stalled(test, server)
  await count.getByText('1 receiving, 2,000 other, and more').waitFor()
  sender.cut()
  await count.getByText('0 receiving, 2,001 other, and more').waitFor()
  await page.clock.fastForward(90_000)
  await count.getByText('0 receiving, 2,000 other, and more').waitFor()
})

test('an answer that comes late leaves the next question alone', async (test) => {
  const server = await start(test)
  const { upload } = await stalled(test, server, { filename: 'talk.mp4' })
  const page = await look(test, server, uploadPlace(upload))
  let answer
  const isAsked = new Promise((resolve) => {
    page.route(/\/uploads\/[^?]+$/, (route) => {
      if (route.request().method() !== 'DELETE') return route.continue()
      answer = () => route.fulfill({ status: 503, contentType: 'application/json', body: '{"error":"unavailable","message":"too slow"}' })
      return resolve()
    })
  })
  const dialog = page.getByRole('dialog')
  await bringUp(page.locator('#view-upload').getByRole('button', { name: 'Delete', exact: true }), dialog)
  await dialog.getByRole('button', { name: 'Delete' }).click()
  await isAsked
  await page.keyboard.press('Escape')
  await dialog.waitFor({ state: 'hidden' })
  await page.getByRole('button', { name: 'Reload settings' }).click()
  await dialog.getByText('Reload the settings?').waitFor()
  const answered = page.waitForResponse((response) => response.status() === 503)
  await answer()
  await answered
  await page.evaluate(() => fetch('healthz'))
  assert.equal(await dialog.getByText('too slow').count(), 0)
  assert.ok(await dialog.getByRole('button', { name: 'Reload' }).isVisible())
})

test('a list that could not be had can be asked for again', async (test) => {
  const server = await start(test)
  const { upload } = await stalled(test, server, { filename: 'talk.mp4' })
  const page = await (await newVisitor(test, browser, DESKTOP)).newPage()
  page.setDefaultTimeout(PATIENCE_MS)
  const failure = { status: 503, contentType: 'application/json', body: '{"error":"unavailable","message":"too slow"}' }
  await page.route(/\/uploads\?/, (route) => (new URL(route.request().url()).searchParams.has('live') ? route.continue() : route.fulfill(failure)))
  await page.goto(`${server.admin}/#/uploads`)
  await page.getByText('The list could not be had: too slow').waitFor()
  assert.equal(await page.getByText('No upload is like that.').isVisible(), false)
  await page.unroute(/\/uploads\?/)
  await page.locator('#list-more').click()
  await page.locator(`#list [data-id="${upload.id}"]`).waitFor()
})

test('uploads are searched for, page by page, finished ones among them', async (test) => {
  const server = await start(test)
  for (let number = 0; number < 130; number++) {
    const response = await fetch(server.url, {
      method: 'POST',
      body: 'x'.repeat(number + 1),
      headers: {
        'Tus-Resumable': '1.0.0', 'Content-Type': 'application/offset+octet-stream', 'Upload-Length': String(number + 1),
        'Upload-Metadata': `filename ${Buffer.from(`File ${number}.txt`).toString('base64')}`,
      },
    })
    assert.equal(response.status, 201)
  }
  const { upload } = await stalled(test, server, { filename: 'Going.txt' })
  const page = await look(test, server)
  // Smaller pages than it asks for, from a server that takes longer than the page takes to be drawn.
  const lists = /\/uploads\?.*limit=\d+/
  await page.route(lists, async (route) => {
    if (route.request().url().includes('cursor=')) await drawn(page)
    await route.continue({ url: route.request().url().replace(/limit=\d+/, 'limit=60') })
  })
  await page.goto(`${server.admin}/#/uploads`)
  const rows = page.locator('#list tr')
  // One look can take several pages, and each brings rows: only what is there after a look says whether there is more.
  const looked = page.locator('#list[aria-busy="false"]')
  await looked.waitFor()
  let looks = 0
  while (await page.locator('#list-more').isVisible()) {
    const count = await rows.count()
    await page.locator('#list-more').press('Enter')
    await looked.waitFor()
    assert.ok((await rows.count()) > count, 'there was to be more')
    looks++
    assert.notEqual(await focused(page), 'BODY', 'who pressed it has the focus still')
  }
  assert.ok(looks >= 2, `${looks} more looks were taken`)
  await page.unroute(lists)
  assert.equal(await rows.count(), 131)
  await page.getByLabel('Name or id').fill('fILE 12')
  await page.getByRole('button', { name: 'Search' }).click()
  await until('eleven are left', async () => (await rows.count()) === 11 && (await page.locator('#list-words').textContent()) === '11 found')
  await page.getByLabel('Name or id').fill('')
  await page.getByLabel('State').selectOption('receiving')
  await until('one is left', async () => (await rows.count()) === 1 && (await rows.first().getAttribute('data-id')) === upload.id)
  await page.reload()
  await until('the address remembers', async () => (await rows.count()) === 1)
  await page.getByLabel('Name or id').fill('nothing like that')
  await page.getByRole('button', { name: 'Search' }).click()
  await page.getByText('No upload is like that.').waitFor()
  await page.getByLabel('State').selectOption('finished')
  await page.getByLabel('Name or id').fill('File 129')
  await page.getByLabel('Name or id').press('Enter')
  await until('the finished one is there', async () => (await rows.count()) === 1)
  await rows.getByRole('link').click()
  await page.locator('#view-upload[data-state="finished"]').waitFor()
  assert.ok(await page.getByRole('button', { name: 'Interrupt' }).isDisabled())
})

test('settings are reloaded, and what came of it is said', async (test) => {
  const server = await start(test, { 'log.level': 'debug' })
  const settings = (text) => writeFile(path.join(server.home, 'settings.toml'), text)
  await settings('')
  // Only a file that is there at the start is read again.
  await server.stop()
  await server.start()
  const page = await look(test, server)
  await isLive(page)
  const dialog = page.getByRole('dialog')
  const reload = async () => {
    await page.getByRole('button', { name: 'Reload settings' }).click()
    await dialog.getByRole('button', { name: 'Reload' }).click()
  }
  const list = (title) => dialog.locator('h3', { hasText: title }).locator('+ ul')
  const says = (title, key) => list(title).getByText(key).waitFor()
  let size = 123456
  // A file that has changed is also read without being asked to, and that may come first.
  await until('the file is read because of the button', async () => {
    await settings(`[tus]\nmax_size_bytes = ${++size}\n[server]\nlisten_backlog = 99\n[log]\nlevel = "error"\n`)
    await reload()
    await dialog.getByRole('button', { name: 'Close' }).waitFor()
    if (await list('In effect now').getByText('tus.max_size_bytes').isVisible()) return true
    await dialog.getByRole('button', { name: 'Close' }).click()
    return false
  })
  await says('Needs a restart', 'server.listen_backlog')
  await says('Overridden', 'log.level')
  await picture(page, 'dashboard-reload')
  await dialog.getByRole('button', { name: 'Close' }).click()
  await settings('[tus]\nmax_size_bytes = "much"\n')
  await reload()
  await dialog.getByText('The settings are wrong, and nothing has changed').waitFor()
  await says('The settings are wrong', 'tus.max_size_bytes')
  await dialog.getByRole('button', { name: 'Close' }).click()
  await page.locator('#feed [data-event="settings_reloaded"]').getByText(/refused/).first().waitFor()
})

test('a lost connection is said, and comes back by itself', async (test) => {
  const server = await start(test)
  const { upload } = await stalled(test, server, { filename: 'talk.mp4' })
  const page = await look(test, server)
  await isLive(page)
  await row(page, upload).waitFor()
  await server.stop()
  await page.getByText(/The connection to wharf is lost. Trying to reconnect. What is shown is \d/).waitFor()
  assert.equal(await page.locator('body.is-stale').count(), 1)
  await row(page, upload).waitFor()
  await picture(page, 'dashboard-lost')
  await server.start()
  await isLive(page)
  await page.locator('#stale').waitFor({ state: 'hidden' })
  assert.equal(await page.locator('body.is-stale').count(), 0)
  // The new process has no owner for it until somebody comes.
  await row(page, upload).waitFor({ state: 'detached' })
  const again = await Sender.open(test, server, { ...upload, url: new URL(new URL(upload.url).pathname, server.url).href }, MEBIBYTE)
  again.send(1000)
  await row(page, upload).and(page.locator('[data-state="receiving"], [data-state="silent"]')).waitFor()
})

test('slow mailboxes and lost events are told of', async (test) => {
  const server = await start(test)
  const page = await (await newVisitor(test, browser, DESKTOP)).newPage()
  page.setDefaultTimeout(PATIENCE_MS)
  // A stream of its own, so that what is rare happens: real stats, with one kind slow, and some events lost.
  const stream = await fetch(`${server.admin}/events?only=stats`)
  const reader = stream.body.getReader()
  let text = ''
  while (!/^data: .*\n\n/m.test(text)) text += Buffer.from((await reader.read()).value)
  await reader.cancel()
  const stats = JSON.parse(text.match(/^data: (.*)$/m)[1])
  Object.assign(stats.kinds.find(({ kind }) => kind === 'disk_write'), { is_slow: true, dwell_p99_ms: 320, oldest_age_ms: 2100, depth: 250 })
  const at = stats.at
  const event = (name, data) => `event: ${name}\ndata: ${JSON.stringify({ at, ...data })}\n\n`
  const body = event('stats', stats) + event('mailbox_slow', { kind: 'disk_write', is_slow: true, dwell_p99_ms: 320, oldest_age_ms: 2100 }) + event('lost', { count: 1234 })
  await page.route('**/events', (route) => route.fulfill({ contentType: 'text/event-stream', body }))
  let lists = 0
  page.on('request', (request) => { lists += request.url().includes('live=true') })
  await page.goto(server.admin)
  await page.locator('[data-alert="slow disk_write"]').getByText('Messages wait 320 ms (p99 of a minute), the oldest one 2.1 s by now; the limit is 200 ms.').waitFor()
  await page.locator('#mailboxes [data-kind="disk_write"].is-bad').waitFor()
  assert.equal(await page.locator('#mailboxes [data-kind="disk_write"] .bar.is-high').count(), 1)
  await page.locator('#feed [data-event="lost"]').getByText(/1,234/).first().waitFor()
  await until('all is asked for again', () => lists >= 2)
  await picture(page, 'dashboard-slow')
})

test('with plenty of uploads it fits a desk and a phone, by day and by night', async (test) => {
  // None of them may go before all has been looked at.
  const server = await start(test, { 'timeouts.idle_owner_secs': 3600, 'timeouts.body_read_secs': 3600 })
  const uploads = await crowd(test, server, 60)
  await Sender.create(server, { length: 1, filename: `${'x'.repeat(300)}.bin` })
  for (const [device, options] of [['desktop', DESKTOP], ['phone', PHONE]]) {
    for (const colorScheme of ['light', 'dark']) {
      const page = await look(test, server, '/', { ...options, colorScheme, reducedMotion: 'reduce' })
      await isLive(page)
      await until('many are shown', async () => (await page.locator('#flight .flight-row').count()) === 25)
      await until('plots have points', async () => Number(await page.locator('.plot').first().getAttribute('data-points')) > 5)
      await assertNoSidewaysScroll(page, `the overview on a ${device}`)
      const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor)
      const [red] = ground.match(/\d+/g).map(Number)
      assert.ok(colorScheme === 'dark' ? red < 60 : red > 200, `${ground} when ${colorScheme}`)
      await picture(page, `dashboard-${device}-${colorScheme}`)
      await page.locator('#flight-more').click()
      await until('more are shown', async () => (await page.locator('#flight .flight-row').count()) > 50)
      assert.equal(await focused(page), 'A', 'the first of those that came has the focus')
      await page.goto(`${server.admin}/#/uploads`)
      await until('the list is there', async () => (await page.locator('#list tr').count()) >= 61)
      await assertNoSidewaysScroll(page, `the list on a ${device}`)
      await picture(page, `dashboard-${device}-${colorScheme}-list`)
      await page.goto(`${server.admin}${uploadPlace(uploads[1])}`)
      await page.locator('.timeline .course').waitFor()
      await assertNoSidewaysScroll(page, `an upload on a ${device}`)
      await picture(page, `dashboard-${device}-${colorScheme}-upload`)
      await page.context().close()
    }
  }
})

test('a keyboard reaches all that can be pressed', async (test) => {
  const server = await start(test)
  const { upload } = await stalled(test, server, { filename: 'talk.mp4' })
  const page = await look(test, server)
  await row(page, upload).waitFor()
  await hearing(page)
  const reached = []
  for (let step = 0; step < 12; step++) {
    await page.keyboard.press('Tab')
    reached.push(await page.evaluate(() => document.activeElement.textContent.trim().split('\n')[0]))
  }
  for (const wanted of ['Overview', 'Uploads', 'Reload settings', 'talk.mp4']) assert.ok(reached.includes(wanted), `${wanted} is not in ${reached}`)
  await row(page, upload).locator('a').focus()
  await page.keyboard.press('Enter')
  await page.locator('#view-upload[data-state="receiving"]').waitFor()
  const unlabelled = await page.evaluate(() => Array.from(document.querySelectorAll('button, select, input, a'))
    .filter((node) => node.checkVisibility() && !(node.textContent.trim() || node.getAttribute('aria-label') || node.labels?.length)).length)
  assert.equal(unlabelled, 0)
})
