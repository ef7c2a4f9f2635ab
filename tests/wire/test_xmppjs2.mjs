// tests/wire/test_xmppjs2.mjs: @xmpp/client 0.14 from npm, unchanged: SASL2, Bind 2 and tokens (XEP-0388,
// 0386, 0484) as it knows them: SCRAM-SHA-1, HT-SHA-256-NONE. It wants node 20, which npm brings; with
// an older one nothing is tried.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import assert from 'node:assert/strict'
import { test, run } from './tap.mjs'

if (Number(process.versions.node.split('.')[0]) < 20) {
  console.log('1..1\nok 1 - everything # SKIP node is older than 20')
  process.exit(0)
}
const { client, xml } = await import('xmpp-client-2')

process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0' // the certificate is the test's own
process.removeAllListeners('warning')

const python = spawn('/usr/bin/python3', [`${process.env.GRAPNEL_SRC}/tests/wire/fixture.py`],
  { stdio: ['pipe', 'pipe', 'inherit'] })
const answers = createInterface({ input: python.stdout })[Symbol.asyncIterator]()

async function server (...call) {
  python.stdin.write(JSON.stringify(call) + '\n')
  const { value: line, done } = await answers.next()
  if (done) throw new Error('the fixture ended')
  const answer = JSON.parse(line)
  if (answer.error) throw new Error(`${call[0]}: ${answer.error}`)
  return answer.value
}

const fixture = await server('new', { modules: ['roster', 'presence', 'fast'] })
let { port } = await server('start')
await server('add_user', `juliet@${fixture.host}`)

const ids = ['d4565fa7-4d72-4749-b3d3-740edbf87770', '00000000-4d72-4749-b3d3-740edbf87770']

/** Logs in; what it sent and got, and the token it has in the end. */
async function login ({ password = 'secret', token = null, id = ids[0], direct = false } = {}) {
  const c = client({
    service: `${direct ? 'xmpps' : 'xmpp'}://127.0.0.1:${port}`,
    domain: fixture.host,
    resource: 'js',
    username: 'juliet',
    password,
    userAgent: xml('user-agent', { id }, xml('software', {}, 'xmpp.js'))
  })
  const sent = []
  const got = []
  const kept = { token }
  c.reconnect.stop()
  c.on('error', () => {})
  c.on('send', el => sent.push(el))
  c.on('element', el => got.push(el))
  c.fast.fetchToken = async () => kept.token
  c.fast.saveToken = async t => { kept.token = t }
  c.fast.deleteToken = async () => { kept.token = null }
  const jid = (await c.start()).toString()
  return { c, sent, got, jid, kept, mechanisms: sent.filter(e => e.is('authenticate')).map(e => e.attrs.mechanism) }
}

let token, jid

test('password_bind_and_token', async () => {
  const a = await login()
  assert.deepEqual(a.mechanisms, ['SCRAM-SHA-1'])
  assert.equal(a.sent.filter(e => e.is('iq')).length, 0, 'it had to bind by iq')
  assert.match(a.jid, /^juliet@[^/]+\/js\/[0-9a-f]{16}$/)
  assert.equal(a.kept.token.mechanism, 'HT-SHA-256-NONE')
  token = a.kept.token
  jid = a.jid
  const answer = await a.c.iqCaller.get(xml('query', 'jabber:iq:roster'))
  assert(answer)
  await a.c.stop()
})

test('token_and_the_same_resource', async () => {
  for (const direct of [false, true]) {
    const a = await login({ password: 'wrong', token, direct })
    assert.deepEqual(a.mechanisms, ['HT-SHA-256-NONE'])
    assert.equal(a.jid, jid)
    await a.c.stop()
  }
})

test('token_over_a_restart', async () => {
  ({ port } = await server('restart'))
  const a = await login({ password: 'wrong', token })
  assert.deepEqual(a.mechanisms, ['HT-SHA-256-NONE'])
  await a.c.stop()
})

test('two_clients_talk', async () => {
  const a = await login({ token })
  const b = await login({ id: ids[1] })
  const came = new Promise(resolve => b.c.on('stanza', st => st.is('message') && resolve(st)))
  await a.c.send(xml('message', { to: b.jid, type: 'chat' }, xml('body', {}, 'hello')))
  assert.equal((await came).getChildText('body'), 'hello')
  await a.c.stop()
  await b.c.stop()
})

test('server_stops_in_order', async () => {
  await server('stop')
})

await run({ limit: fixture.timeout * 1000 })
