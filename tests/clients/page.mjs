// The script of page.html, run without a browser: the elements are plain objects, and tus-js-client is the one for
// Node with a store in the place of a browser's local storage.
import { readFile } from 'node:fs/promises'
import { createContext, runInContext } from 'node:vm'
import {
  check, checkEqual, checkStored, endpoint, payload, Relay, Scenarios, STALL_BYTES, STALLED_UPLOAD_BYTES, tus,
} from './support.mjs'

const html = await readFile(new URL('page.html', import.meta.url), 'utf8')
const [, source] = html.match(/<script>(.*)<\/script>/s)

// What survives a reload.
class LocalStorage {
  uploads = new Map()

  async addUpload(fingerprint, upload) {
    const urlStorageKey = `${fingerprint}::${this.uploads.size}`
    this.uploads.set(urlStorageKey, { ...upload, fingerprint, urlStorageKey })
    return urlStorageKey
  }

  async findUploadsByFingerprint(fingerprint) {
    return [...this.uploads.values()].filter((upload) => upload.fingerprint === fingerprint)
  }

  async removeUpload(urlStorageKey) {
    this.uploads.delete(urlStorageKey)
  }
}

// One visit to the page.
class Visit {
  constructor(urlStorage, address) {
    this.elements = { input: {}, progress: {}, a: {} }
    this.sent = []
    const visit = this
    class Upload extends tus.Upload {
      constructor(file, options) {
        const { onProgress, onSuccess, onError } = options
        visit.finished = new Promise((resolve) => {
          options.onSuccess = () => resolve(onSuccess())
          options.onError = (error) => resolve(onError(error))
        })
        options.onProgress = (sent, total) => {
          visit.sent.push(sent)
          onProgress(sent, total)
        }
        super(file, { ...options, endpoint: address, urlStorage })
        visit.upload = this
      }
    }
    const document = { querySelector: (name) => this.elements[name] }
    runInContext(source, createContext({ document, tus: { Upload } }))
  }

  choose(file) {
    this.elements.input.files = [file]
    return this.elements.input.onchange()
  }
}

const scenarios = new Scenarios('page.html')

await scenarios.run('a new upload', async () => {
  const file = Object.assign(payload(100_000), { name: 'notes.txt', type: 'text/plain' })
  const visit = new Visit(new LocalStorage(), endpoint)
  await visit.choose(file)
  await visit.finished
  checkEqual(visit.elements.a.textContent, 'notes.txt', 'the text of the link')
  await checkStored(visit.elements.a.href, file)
})

await scenarios.run('an upload goes on after a reload', async () => {
  const relay = await Relay.start()
  try {
    const file = Object.assign(payload(STALLED_UPLOAD_BYTES), { name: 'plan.pdf', type: 'application/pdf' })
    const storage = new LocalStorage()

    const first = new Visit(storage, relay.endpoint)
    const reached = relay.stallAfter(STALL_BYTES)
    await first.choose(file)
    await Promise.race([reached, first.finished])
    checkEqual(first.elements.a.textContent, undefined, 'the text of the link before the upload is done')
    checkEqual(first.elements.progress.max, file.length, 'the end of the progress bar')
    await first.upload.abort()
    relay.drop()

    const second = new Visit(storage, relay.endpoint)
    await second.choose(file)
    await second.finished
    const { a: link } = second.elements
    checkEqual(link.textContent, 'plan.pdf', 'the text of the link')
    checkEqual(link.href, first.upload.url, 'the URL after the reload')
    check(second.sent[0] > 0, 'it began anew after the reload')
    await checkStored(link.href, file)
    checkEqual(storage.uploads.size, 0, 'the number of uploads that are remembered')
  } finally {
    relay.stop()
  }
})

// Sockets of a failed scenario would keep the process alive.
process.exit()
