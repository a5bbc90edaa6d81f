// The panel of hooks on the dashboard, over an application that is out of order at first: what it was not told, why, and that
// it is told when an operator wants it.
import { strict as assert } from 'node:assert'
import { once } from 'node:events'
import http from 'node:http'
import { after, before, test as declare } from 'node:test'
import { drawn, launchBrowser, newVisitor, PATIENCE_MS, picture, Sender, startWharf, until } from './support.mjs'

const HOSTILE = '<img src=x onerror="window.hacked=1">\u202Egpj'

let browser
before(async () => { browser = await launchBrowser() })
after(() => browser?.close())

const test = (name, body) => declare(name, { timeout: 4 * PATIENCE_MS }, body)

/** An application that answers each call with an error, until it is mended. */
async function startApplication(test) {
  const application = { isMended: false, heard: [] }
  const server = http.createServer(async (request, response) => {
    for await (const chunk of request) void chunk
    application.heard.push(request.headers['x-wharf-event-id'])
    response.writeHead(application.isMended ? 200 : 500, { 'Content-Type': 'application/json' })
    response.end(application.isMended ? '{}' : HOSTILE)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  test.after(() => { server.closeAllConnections(); server.close() })
  application.url = `http://127.0.0.1:${server.address().port}/hooks`
  return application
}

async function look(test, server) {
  const visitor = await newVisitor(test, browser, { viewport: { width: 1360, height: 900 } })
  const page = await visitor.newPage()
  page.setDefaultTimeout(PATIENCE_MS)
  await page.goto(server.admin)
  await page.locator('#link[data-link="live"]').waitFor()
  return page
}

const ownText = (locator) => locator.textContent({ timeout: 1000 }).catch(() => '')

test('what was not told is shown with its error, and told at a press', async (test) => {
  const application = await startApplication(test)
  const server = await startWharf(test, {
    'admin.bind': '127.0.0.1:0', 'hooks.http.url': application.url, 'hooks.events': 'post-finish', 'hooks.http.attempts': 1,
  })
  const page = await look(test, server)
  await page.locator('#calls-empty').waitFor()
  assert.ok(await page.locator('#hooks-retry').isHidden())
  const upload = await Sender.create(server, { length: 5 })
  ;(await Sender.open(test, server, upload)).send('hello')

  const row = page.locator('#owed tr')
  await until('its error is shown', async () => (await ownText(row.locator('.said'))).includes('500'))
  const error = await row.locator('.said').textContent()
  assert.ok(error.includes('<img src=x') && error.includes('\\u{202e}'), error)
  assert.equal(await page.evaluate(() => window.hacked), undefined)
  assert.equal(await page.locator('#owed img').count(), 0)
  assert.equal(await row.getByRole('link').getAttribute('href'), `#/upload/${upload.id}`)
  await until('it is counted', async () => /^[1-9]/.test(await ownText(page.locator('#calls [data-hook="post-finish"] td').nth(1))))
  await page.locator('#errors').getByText('Hook post-finish said that it failed').waitFor()
  await picture(page, 'dashboard-hooks')

  const before = application.heard.length
  await row.getByRole('button', { name: `Retry post-finish of ${upload.id}` }).click()
  await until('the application is called again', () => application.heard.length > before)
  await until('one more try is shown', async () => Number(await ownText(row.locator('td').nth(1))) > before)
  application.isMended = true
  await page.getByRole('button', { name: 'Retry all now' }).click()
  await row.waitFor({ state: 'detached' })
  await page.locator('#owed-words').getByText('The application has been told of all.').waitFor()
  assert.equal(new Set(application.heard).size, 1, 'each try has the same name')
  await page.locator('#hooks-retry').waitFor({ state: 'hidden' })
  await drawn(page)
  assert.equal(await page.evaluate(() => document.activeElement.id), 'hooks')
})

test('without hooks there is no panel', async (test) => {
  const server = await startWharf(test, { 'admin.bind': '127.0.0.1:0' })
  const page = await look(test, server)
  await until('all else is drawn', async () => (await page.locator('#pools tr').count()) > 0)
  assert.ok(await page.locator('#hooks').isHidden())
})
