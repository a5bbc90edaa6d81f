// Serves @tus/server with its file store: node tus-server.mjs PORT DIRECTORY, from a directory that has both installed.
import { createRequire } from 'node:module'
import http from 'node:http'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [port, directory, installed] = process.argv.slice(2)
const require = createRequire(path.join(path.resolve(installed), 'package.json'))
const load = async (name) => import(pathToFileURL(require.resolve(name)))
const { Server } = await load('@tus/server')
const { FileStore } = await load('@tus/file-store')

const uploads = new Server({ path: '/files', datastore: new FileStore({ directory }) })
http.createServer((request, response) => uploads.handle(request, response)).listen(Number(port), '127.0.0.1')
