// Panics in the owner of an upload while tus-js-client uploads: it must lose no byte and no upload.
//
// WHARF_URL names a server built with `--features faults`, and WHARF_FAULTS the file in which that server
// looks, at every message to an owner, for lines of the form `panic KIND COUNT`: the next COUNT messages of
// that kind panic. Each kind is used once, so it does not matter whether the server counts down in the file or
// in memory.
import { rename, writeFile } from 'node:fs/promises'
import {
  check, checkEqual, checkStored, direct, MEBIBYTE, payload, Scenarios, stalled,
  STALLED_UPLOAD_BYTES,
} from './support.mjs'

const controlFile = process.env.WHARF_FAULTS
if (!controlFile) throw new Error('WHARF_FAULTS must hold the path of the control file')

// Two chunks are acknowledged and the third is under way when the upload stands still.
const CHUNK_BYTES = 10 * MEBIBYTE
const ACKNOWLEDGED_BYTES = 2 * CHUNK_BYTES

const options = { chunkSize: CHUNK_BYTES, retryDelays: [100, 200, 400, 800, 1600] }

async function setFaults(lines) {
  await writeFile(`${controlFile}.new`, lines)
  await rename(`${controlFile}.new`, controlFile)
}

// Uploads under one panic. `provoke` sets things going again after the control file has been written, and
// `checkPanicked` makes sure that the panic took place: without it a scenario would show nothing.
async function survive(kind, provoke, checkPanicked) {
  const bytes = payload(STALLED_UPLOAD_BYTES)
  await stalled(bytes, options, async (run, relay) => {
    const url = run.url
    await setFaults(`panic ${kind} 1\n`)
    try {
      const provoked = await provoke(run, relay)
      await run.done
      checkPanicked(run, provoked)
    } finally {
      await setFaults('')
    }
    checkEqual(run.made('POST').length, 1, 'the number of uploads made')
    checkEqual(run.url, url, 'the URL')
    const known = run.made('HEAD').filter((entry) => entry.status === 200)
    check(known.length > 0, 'the client never asked for the offset: no request of it failed')
    for (const { offset } of known) {
      check(offset >= ACKNOWLEDGED_BYTES, `offset ${offset} lies below the ${ACKNOWLEDGED_BYTES} acknowledged bytes`)
      check(offset < STALLED_UPLOAD_BYTES, `offset ${offset} counts bytes that were never stored`)
    }
    await checkStored(url, bytes)
  })
}

const scenarios = new Scenarios('tus-js-client with a panic')

await scenarios.run('under PATCH', () =>
  survive(
    'append',
    (_, relay) => relay.release(),
    (run) => check(run.made('PATCH')[2].status !== 204, 'the PATCH went through: nothing panicked'),
  ),
)

await scenarios.run('under HEAD', () =>
  survive(
    'inspect',
    // The client loses its connection, and the panic meets the HEAD with which it wants to resume.
    (_, relay) => relay.drop({ reset: true }),
    (run) => checkEqual(run.made('HEAD')[0].status, 423, 'the status of the first HEAD'),
  ),
)

await scenarios.run('under GET', () =>
  survive(
    'read',
    async (run, relay) => {
      const answer = await fetch(direct(run.url))
      await answer.arrayBuffer()
      relay.release()
      return answer.status
    },
    (_, status) => checkEqual(status, 500, 'the status of GET'),
  ),
)

// Sockets of a failed scenario would keep the process alive.
process.exit()
