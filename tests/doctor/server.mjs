// @tus/server on a free port of 127.0.0.1, with its file store in the directory that is named: another tus server for the
// doctor. Prints its URL.

import { createRequire } from 'node:module'
import { join } from 'node:path'
import { argv, env, exit, stdout } from 'node:process'

const require = createRequire(join(env.WHARF_NODE_DIR, 'package.json'))
const { FileStore } = require('@tus/file-store')
const { Server } = require('@tus/server')

const directory = argv[2]
if (!directory) exit(2)
const tus = new Server({ path: '/files', datastore: new FileStore({ directory }), relativeLocation: true })
const server = tus.listen({ host: '127.0.0.1', port: 0 }, () => {
  stdout.write(`http://127.0.0.1:${server.address().port}/files\n`)
})
