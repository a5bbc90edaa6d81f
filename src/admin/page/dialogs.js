// Questions before something is done, and what came of reading the settings again.

import { Refused, ask, uploadPath } from './api.js'
import { bdi, byId, el, say, show } from './dom.js'
import { nameOf, visible } from './words.js'

const dialog = byId('dialog')
const action = byId('dialog-do')
// The number of the latest question: what was asked before it and has an answer only now must leave it alone.
let latest = 0

/** Asks, and does it when that is wanted; stays open with the reason when it can't be done. Gives what it gave, or nothing. */
function confirm({ title, body, label, isDangerous = true, run }) {
  const number = ++latest
  const isAsked = () => number === latest && dialog.open
  say(byId('dialog-title'), title)
  byId('dialog-body').replaceChildren(...body)
  say(byId('dialog-problem'), '')
  say(action, label)
  show(action, Boolean(run))
  action.className = isDangerous ? 'danger' : 'primary'
  action.disabled = false
  say(byId('dialog-cancel'), run ? 'Cancel' : 'Close')
  if (!dialog.open) dialog.showModal()
  // What does no harm has the focus.
  byId('dialog-cancel').focus()
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(undefined)
    action.onclick = async () => {
      action.disabled = true
      say(byId('dialog-problem'), '')
      try {
        const result = await run()
        if (isAsked()) {
          dialog.onclose = null
          dialog.close()
        }
        resolve({ result })
      } catch (error) {
        if (!isAsked()) return
        say(byId('dialog-problem'), error instanceof Refused ? visible(error.message) : 'No answer came. It may have been done all the same.')
        action.disabled = false
        // While it was switched off it lost the focus.
        action.focus()
      }
    }
  })
}

/** Takes the question away, unanswered. */
export const dismiss = () => { if (dialog.open) dialog.close() }

const subject = (upload) => el('p', { class: 'subject' }, bdi(nameOf(upload)), upload.filename && el('code', null, visible(upload.id, 80)))

export const confirmInterrupt = (upload) => confirm({
  title: 'Interrupt this upload?',
  body: [subject(upload), el('p', null, 'The request that sends to it is ended. What has arrived is kept, and most clients come back by themselves.')],
  label: 'Interrupt',
  run: () => ask(`${uploadPath(upload.id)}/interrupt`, { method: 'POST' }),
})

export const confirmDelete = (upload) => confirm({
  title: 'Delete this upload?',
  body: [subject(upload), el('p', null, upload.state === 'finished'
    ? 'The file is deleted. It can’t be had back.' : 'What has arrived is deleted, and its client is told that the upload is gone. It can’t be had back.')],
  label: 'Delete',
  run: () => ask(uploadPath(upload.id), { method: 'DELETE' }),
})

const keys = (list) => el('ul', { class: 'keys' }, list)

function outcome({ unchanged, applied, needs_restart: needsRestart, overridden }) {
  const parts = []
  if (unchanged) parts.push(el('p', null, 'Nothing in the settings asks for anything else than what runs.'))
  const section = (title, list, className) => list.length > 0 && parts.push(el('h3', { class: className }, title), keys(list))
  section('In effect now', applied.map((key) => el('li', null, el('code', null, visible(key)))), 'good')
  section('Needs a restart', needsRestart.map((key) => el('li', null, el('code', null, visible(key)))), 'warn')
  section('Overridden, so without effect', overridden.map(({ key, by }) => el('li', null, el('code', null, visible(key)), ' by ', el('code', null, visible(by)))), 'warn')
  return parts
}

const problemsOf = (problems) => [
  el('h3', { class: 'bad' }, 'The settings are wrong, and nothing has changed'),
  keys(problems.map(({ key, place, message }) => el('li', null, key && [el('code', null, visible(key)), ': '], visible(message), el('small', null, visible(place))))),
]

/** Has the settings read again, and shows what became of them. */
export async function reloadSettings() {
  const asked = await confirm({
    title: 'Reload the settings?',
    body: [el('p', null, 'The settings file is read again. What can change takes effect at once, and no request is dropped. A file with a mistake changes nothing.')],
    label: 'Reload',
    isDangerous: false,
    run: async () => {
      try {
        return outcome(await ask('reload', { method: 'POST' }))
      } catch (error) {
        if (error.status === 422 && error.body?.problems) return problemsOf(error.body.problems)
        throw error
      }
    },
  })
  if (asked) await confirm({ title: 'Settings', body: asked.result })
}

/** One line of what a reading of the settings came to. */
export function outcomeLine({ unchanged, applied, needs_restart: needsRestart, overridden, problems }) {
  if (problems.length > 0) return `refused: ${problems.map(({ key, message }) => `${key ? `${key}: ` : ''}${message}`).join('; ')}`
  if (unchanged) return 'nothing has changed'
  const parts = [['in effect', applied], ['needs a restart', needsRestart], ['overridden', overridden.map(({ key }) => key)]]
  return parts.filter(([, list]) => list.length > 0).map(([words, list]) => `${words}: ${list.join(', ')}`).join('; ')
}
