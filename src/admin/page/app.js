// The dashboard: which view is shown, who may look, and what comes of the events.

import { Refused, Stream, ask, whenUnauthorized } from './page/api.js'
import { dismiss, reloadSettings } from './page/dialogs.js'
import { byId, say, show } from './page/dom.js'
import { Flight } from './page/flight.js'
import { Hooks } from './page/hooks.js'
import { List } from './page/list.js'
import { Machine } from './page/machine.js'
import { Overview } from './page/overview.js'
import { UploadView } from './page/upload.js'
import { duration, visible } from './page/words.js'

const READY_EVERY_MS = 10_000
const SINGLES_EVERY_MS = 3_000

const announce = (text) => say(byId('spoken'), text)

const flight = new Flight()
const overview = new Overview(flight)
const machine = new Machine()
const hooks = new Hooks(announce)
const list = new List()
const upload = new UploadView(announce)
const stream = new Stream(hear, linkIs)

let isIn = false
let isLive = false
let lastHeard = null
let began = null
let readiness = null
let isDrawDue = false

// ---- Views

const VIEWS = ['login', 'overview', 'uploads', 'upload']

function showView(name) {
  const focused = document.activeElement
  for (const view of VIEWS) show(byId(`view-${view}`), view === name)
  // Who was in a view that is hidden now would be left nowhere.
  if (focused?.closest('[hidden]')) byId(`view-${name}`).focus()
  document.body.dataset.view = name
  for (const link of document.querySelectorAll('[data-nav]')) {
    if (link.dataset.nav === name || (link.dataset.nav === 'uploads' && name === 'upload')) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
}

/** An id in the address, or nothing when it can't be read. */
function decoded(text) {
  try {
    return decodeURIComponent(text)
  } catch {
    return null
  }
}

function route() {
  if (!isIn) return
  const [path, query = ''] = location.hash.split('?')
  const id = path.startsWith('#/upload/') ? decoded(path.slice('#/upload/'.length)) : null
  upload.close()
  list.close()
  if (id) {
    showView('upload')
    document.title = 'Upload · wharf'
    upload.open(id)
  } else if (path === '#/uploads') {
    showView('uploads')
    document.title = 'Uploads · wharf'
    list.open(new URLSearchParams(query))
  } else {
    showView('overview')
    document.title = 'wharf'
    drawSoon()
  }
}

// ---- Who may look

function logIn() {
  isIn = false
  stream.stop()
  flight.stop()
  upload.close()
  list.close()
  dismiss()
  showView('login')
  linkIs('off')
  say(byId('login-problem'), '')
  byId('token').focus()
}

function enter() {
  isIn = true
  linkIs('starting')
  route()
  stream.start()
}

async function start() {
  try {
    const { needs_token: needsToken, is_admitted: isAdmitted } = await ask('session')
    show(byId('logout'), needsToken && isAdmitted)
    if (isAdmitted) enter()
    else logIn()
  } catch (error) {
    linkIs('lost')
    if (error instanceof Refused) say(byId('stale'), visible(error.message))
    setTimeout(start, 3000)
  }
}

byId('login').addEventListener('submit', async (event) => {
  event.preventDefault()
  const field = byId('token')
  const button = event.target.querySelector('button')
  button.disabled = true
  say(byId('login-problem'), '')
  try {
    await ask('login', { method: 'POST', form: { token: field.value } })
    field.value = ''
    await start()
  } catch (error) {
    say(byId('login-problem'), !(error instanceof Refused) ? 'No answer came. Try again.' : error.status === 401 ? 'That is not the token.' : visible(error.message))
    field.focus()
    field.select()
  } finally {
    button.disabled = false
  }
})

byId('logout').addEventListener('click', async () => {
  try {
    await ask('logout', { method: 'POST' })
    show(byId('logout'), false)
    logIn()
  } catch {
    announce('Logging out did not work.')
  }
})

byId('reload').addEventListener('click', reloadSettings)
whenUnauthorized(() => { if (isIn) logIn() })

// ---- The connection

function linkIs(state) {
  const before = byId('link').dataset.link
  byId('link').dataset.link = state
  document.body.classList.toggle('is-stale', state === 'lost')
  show(byId('link'), state !== 'off')
  show(byId('top').querySelector('nav'), state !== 'off')
  show(byId('reload'), state !== 'off')
  isLive = state === 'live'
  if (state === 'off') {
    show(byId('stale'), false)
    show(byId('alerts'), false)
    show(byId('logout'), false)
  }
  drawLink()
  if (state === 'lost' && before !== 'lost') announce('The connection to wharf is lost.')
  if (state === 'live') {
    show(byId('alerts'), true)
    if (before === 'lost') announce('Connected again.')
    // Whatever happened meanwhile was not heard.
    refetch()
  }
}

function drawLink() {
  const { link } = byId('link').dataset
  say(byId('link-words'), { live: 'Live', lost: 'Disconnected', starting: 'Connecting…', off: '' }[link])
  if (link !== 'lost') {
    show(byId('stale'), false)
    return
  }
  show(byId('stale'), true)
  const since = lastHeard === null ? '' : ` What is shown is ${duration(Math.max(1, Math.round((Date.now() - lastHeard) / 1000)))} old.`
  say(byId('stale'), `The connection to wharf is lost. Trying to reconnect.${since}`)
}

function refetch() {
  const failed = (error) => { if (!(error instanceof Refused)) return; announce(visible(error.message)) }
  flight.refetch().catch(failed)
  overview.refetch().catch(failed)
  ready()
  if (document.body.dataset.view === 'upload') upload.refetch()
}

async function ready() {
  if (!isIn) return
  try {
    readiness = await ask('readyz')
  } catch (error) {
    readiness = error instanceof Refused && error.status === 503 ? error.body : null
  }
  drawSoon()
}

// ---- Events

function hear(name, event) {
  lastHeard = Date.now()
  if (name === 'stats') {
    flight.skewMs = upload.skewMs = new Date(event.at).getTime() - Date.now()
    const beganAt = new Date(event.at).getTime() - event.uptime_secs * 1000
    if (began !== null && beganAt - began > 5000) {
      overview.restart()
      machine.restart()
      flight.uploads.clear()
      flight.later(0)
    }
    began = beganAt
    overview.hearStats(event)
    say(byId('version'), event.version)
  } else {
    flight.hear(name, event)
    upload.hear(name, event)
    overview.note(name, event)
    if (name === 'lost') refetch()
    if (name === 'mailbox_slow' && event.is_slow) announce(`Mailboxes of ${event.kind} are slow.`)
  }
  drawSoon()
}

/** However much happens, the page is drawn once a frame at most, and not at all while nobody sees it. */
function drawSoon() {
  if (isDrawDue) return
  isDrawDue = true
  requestAnimationFrame(() => {
    isDrawDue = false
    overview.alerts(readiness)
    if (document.body.dataset.view !== 'overview') return
    overview.draw()
    overview.drawFeed()
    flight.draw()
    if (!overview.stats) return
    machine.draw(overview.stats)
    hooks.draw(overview.stats.hooks)
  })
}

setInterval(() => { if (isLive) ready() }, READY_EVERY_MS)
setInterval(() => {
  drawLink()
  if (isLive && document.body.dataset.view === 'overview') {
    drawSoon()
  }
}, 1000)
setInterval(() => {
  if (!isLive || document.body.dataset.view !== 'overview') return
  machine.singles().catch(() => {})
  hooks.refetch().catch(() => {})
}, SINGLES_EVERY_MS)

addEventListener('hashchange', route)
linkIs('starting')
start()
