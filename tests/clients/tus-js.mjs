// Uploads with tus-js-client on Node, one scenario per way to use it. WHARF_URL names the server.
import { createReadStream } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import {
  check, checkEqual, checkStored, head, MEBIBYTE, payload, Scenarios, STALL_BYTES, stalled,
  STALLED_UPLOAD_BYTES, Transfer, transfer, tus,
} from './support.mjs'

const scenarios = new Scenarios('tus-js-client')

await scenarios.run('single request', async () => {
  const bytes = payload(3 * MEBIBYTE + 17)
  const run = await transfer(bytes)
  run.checkRequests({ POST: 1, PATCH: 1 })
  await checkStored(run.url, bytes)
})

await scenarios.run('chunks of 1 MiB', async () => {
  const bytes = payload(4 * MEBIBYTE + 1)
  const run = await transfer(bytes, { chunkSize: MEBIBYTE })
  run.checkRequests({ POST: 1, PATCH: 5 })
  await checkStored(run.url, bytes)
})

await scenarios.run('four parallel uploads', async () => {
  const bytes = payload(8 * MEBIBYTE + 3)
  const run = await transfer(bytes, { parallelUploads: 4, metadata: { filename: 'parallel.bin' } })
  run.checkRequests({ POST: 5, PATCH: 4 })
  const final = run.made('POST').at(-1).request.getHeader('Upload-Concat')
  check(final.startsWith('final;') && final.split(' ').length === 4, `Upload-Concat was ${final}`)
  await checkStored(run.url, bytes)
})

await scenarios.run('data during creation', async () => {
  const bytes = payload(2 * MEBIBYTE + 5)
  const run = await transfer(bytes, { uploadDataDuringCreation: true })
  run.checkRequests({ POST: 1 })
  await checkStored(run.url, bytes)
})

await scenarios.run('data during creation, then chunks', async () => {
  const bytes = payload(2 * MEBIBYTE + 5)
  const run = await transfer(bytes, { uploadDataDuringCreation: true, chunkSize: MEBIBYTE })
  run.checkRequests({ POST: 1, PATCH: 2 })
  await checkStored(run.url, bytes)
})

async function deferred(bytes, stream) {
  const run = await transfer(stream, { uploadLengthDeferred: true, chunkSize: MEBIBYTE })
  const [creation] = run.made('POST')
  checkEqual(creation.request.getHeader('Upload-Defer-Length'), '1', 'Upload-Defer-Length of POST')
  const last = run.made('PATCH').at(-1)
  checkEqual(last.request.getHeader('Upload-Length'), String(bytes.length), 'Upload-Length of the last PATCH')
  await checkStored(run.url, bytes)
  return run
}

await scenarios.run('deferred length from a stream', async () => {
  const bytes = payload(2 * MEBIBYTE + 4099)
  const pieces = function* () {
    for (let start = 0; start < bytes.length; start += 10_007) yield bytes.subarray(start, start + 10_007)
  }
  const run = await deferred(bytes, Readable.from(pieces(), { objectMode: false }))
  run.checkRequests({ POST: 1, PATCH: 3 })
})

// Ends a moment after its last byte was taken, while the client sends that byte. (tus-js-client 4.3.1 waits
// for ever for a stream that ends only when it is asked for more.)
class LateEnd extends Readable {
  constructor(bytes) {
    super({ read() {} })
    this.push(bytes)
    this.push(null)
  }

  read(size) {
    const chunk = super.read(size)
    if (this.readableLength === 0) setImmediate(() => super.read())
    return chunk
  }
}

// The client learns only after the last full chunk that there is no more, and declares the length in a PATCH
// with an empty body in chunked coding.
await scenarios.run('deferred length declared without data', async () => {
  const bytes = payload(2 * MEBIBYTE)
  const run = await deferred(bytes, new LateEnd(bytes))
  run.checkRequests({ POST: 1, PATCH: 3 })
  checkEqual(run.made('PATCH')[2].request.getHeader('Upload-Offset'), String(bytes.length), 'the last offset')
})

function checkResumed(run) {
  run.checkRequests({ HEAD: 1, PATCH: 1 })
  const offset = Number(run.made('HEAD')[0].offset)
  check(offset > 0 && offset < STALL_BYTES, `HEAD answered offset ${offset}: not what the server was sent`)
  checkEqual(run.made('PATCH')[0].request.getHeader('Upload-Offset'), String(offset), 'the offset of PATCH')
}

for (const [name, reset] of [['FIN', false], ['RST', true]]) {
  await scenarios.run(`abort with ${name}, then resume by the URL`, async () => {
    const bytes = payload(STALLED_UPLOAD_BYTES)
    await stalled(bytes, {}, async (run, relay) => {
      await run.upload.abort()
      relay.drop({ reset })
      const resumed = await transfer(bytes, { uploadUrl: run.url })
      checkResumed(resumed)
      await checkStored(run.url, bytes)
    })
  })
}

await scenarios.run('resume while the stalled request is still open', async () => {
  const bytes = payload(STALLED_UPLOAD_BYTES)
  await stalled(bytes, {}, async (run) => {
    const resumed = await transfer(bytes, { uploadUrl: run.url })
    checkResumed(resumed)
    await checkStored(run.url, bytes)
  })
})

await scenarios.run('abort, then resume from the URL storage', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'wharf-tus-js-'))
  try {
    const bytes = payload(STALLED_UPLOAD_BYTES)
    const file = join(directory, 'payload')
    await writeFile(file, bytes)
    const urlStorage = new tus.FileUrlStorage(join(directory, 'urls.json'))
    await stalled(createReadStream(file), { urlStorage }, async (run, relay) => {
      await run.upload.abort()
      relay.drop()
      const resumed = new Transfer(createReadStream(file), { urlStorage, endpoint: relay.endpoint })
      const [previous] = await resumed.upload.findPreviousUploads()
      resumed.upload.resumeFromPreviousUpload(previous)
      await resumed.start()
      checkResumed(resumed)
      checkEqual(resumed.url, run.url, 'the URL')
      await checkStored(resumed.url, bytes)
    })
  } finally {
    await rm(directory, { recursive: true })
  }
})

await scenarios.run('abort with termination', async () => {
  await stalled(payload(STALLED_UPLOAD_BYTES), {}, async (run) => {
    await run.upload.abort(true)
    checkEqual(run.made('DELETE')[0].status, 204, 'the status of DELETE')
    checkEqual((await head(run.url)).status, 404, 'the status of HEAD after DELETE')
  })
})

await scenarios.run('POST in the place of PATCH', async () => {
  const bytes = payload(2 * MEBIBYTE + 9)
  const run = await transfer(bytes, { overridePatchMethod: true, chunkSize: MEBIBYTE })
  run.checkRequests({ POST: 4 })
  await checkStored(run.url, bytes)
})

await scenarios.run('empty file', async () => {
  const bytes = payload(0)
  const run = await transfer(bytes)
  run.checkRequests({ POST: 1 })
  await checkStored(run.url, bytes)
})

await scenarios.run('metadata comes back from HEAD', async () => {
  const bytes = payload(1000)
  const metadata = { filename: 'Überblick – 文件 😀.txt', filetype: 'text/plain', note: '' }
  const run = await transfer(bytes, { metadata })
  const answer = await head(run.url)
  checkEqual(answer.status, 200, 'the status of HEAD')
  const returned = {}
  for (const entry of answer.headers.get('Upload-Metadata').split(',')) {
    const [key, value = ''] = entry.trim().split(' ')
    returned[key] = Buffer.from(value, 'base64').toString('utf8')
  }
  for (const key of Object.keys(metadata)) checkEqual(returned[key], metadata[key], `metadata ${key}`)
  checkEqual(Object.keys(returned).length, 3, 'the number of metadata keys')
  await checkStored(run.url, bytes)
})

// Sockets of a failed scenario would keep the process alive.
process.exit()
