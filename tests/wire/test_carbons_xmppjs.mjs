// tests/wire/test_carbons_xmppjs.mjs: message carbons (XEP-0280) with @xmpp/client from npm, unchanged. It has no
// support of its own for them: what it sends and gets are elements.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import assert from 'node:assert/strict'
import xmpp from '@xmpp/client'
import { test, run } from './tap.mjs'

const { client, xml } = xmpp
const CARBONS = 'urn:xmpp:carbons:2'

process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0' // the certificate is the test's own
process.removeAllListeners('warning')

const python = spawn('/usr/bin/python3', [`${process.env.GRAPNEL_SRC}/tests/wire/fixture.py`],
  { stdio: ['pipe', 'pipe', 'inherit'] })
const answers = createInterface({ input: python.stdout })[Symbol.asyncIterator]()

async function server (...call) {
  python.stdin.write(JSON.stringify(call) + '\n')
  const answer = JSON.parse((await answers.next()).value)
  if (answer.error) throw new Error(`${call[0]}: ${answer.error}`)
  return answer.value
}

const fixture = await server('new', { modules: ['roster', 'presence', 'disco', 'carboncopy'] })
const limit = fixture.timeout * 1000
const { port } = await server('start')

/** A client online with that resource; its messages in order. */
async function login (name, resource) {
  const u = client({ service: `xmpp://127.0.0.1:${port}`, domain: fixture.host, resource, username: name,
    password: 'secret' })
  const messages = []
  let wake = () => {}
  u.reconnect.stop()
  u.on('error', e => console.log(`#   ${e}`))
  u.on('stanza', st => { if (st.is('message')) { messages.push(st); wake() } })
  u.message = async () => {
    while (!messages.length) await new Promise(resolve => { wake = resolve })
    return messages.shift()
  }
  u.waiting = () => messages.length
  u.carbons = what => u.iqCaller.request(xml('iq', { type: 'set' }, xml(what, CARBONS)), limit)
  u.say = (to, text, ...more) => u.send(xml('message', { to, type: 'chat' }, xml('body', {}, text), ...more))
  u.full = (await u.start()).toString()
  await u.send(xml('presence'))
  return u
}

function inner (copy, direction, bare) {
  assert.equal(copy.attrs.from, bare)
  assert.equal(copy.attrs.type, 'chat')
  return copy.getChild(direction, CARBONS).getChild('forwarded', 'urn:xmpp:forward:0').getChild('message')
}

test('copies_of_sent_and_received_messages', async () => {
  await server('add_user', `bob@${fixture.host}`)
  await server('add_user', `alice@${fixture.host}`)
  const one = await login('bob', 'one')
  const two = await login('bob', 'two')
  const alice = await login('alice', 'a')
  const bob = `bob@${fixture.host}`

  await one.carbons('enable')
  await two.carbons('enable')
  await one.say(alice.full, 'sent')
  assert.equal((await alice.message()).getChildText('body'), 'sent')
  let copy = inner(await two.message(), 'sent', bob)
  assert.deepEqual([copy.attrs.from, copy.attrs.to, copy.getChildText('body')], [one.full, alice.full, 'sent'])
  assert.equal(copy.getNS(), 'jabber:client')
  await alice.say(one.full, 'received')
  assert.equal((await one.message()).getChildText('body'), 'received')
  copy = inner(await two.message(), 'received', bob)
  assert.deepEqual([copy.attrs.from, copy.attrs.to], [alice.full, one.full])

  await alice.say(one.full, 'private', xml('private', CARBONS), xml('no-copy', 'urn:xmpp:hints'))
  assert.equal((await one.message()).getChildText('body'), 'private')
  await two.carbons('disable')
  await alice.say(one.full, 'no more')
  assert.equal((await one.message()).getChildText('body'), 'no more')
  await alice.say(two.full, 'to two')
  assert.equal((await two.message()).getChildText('body'), 'to two')
  assert.equal(two.waiting(), 0)
  for (const u of [one, two, alice]) await u.stop()
})

test('server_stops_in_order', async () => {
  await server('stop')
})

await run({ limit: 4 * limit })
