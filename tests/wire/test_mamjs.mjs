// tests/wire/test_mamjs.mjs: mod_mam with @xmpp/client from npm, unchanged, queries written by hand: pages
// forwards and backwards through 120 messages, flipped ones, filters, the latest page while messages come.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import assert from 'node:assert/strict'
import xmpp from '@xmpp/client'
import { test, run } from './tap.mjs'

const { client, xml } = xmpp
const MAM = 'urn:xmpp:mam:2'
const RSM = 'http://jabber.org/protocol/rsm'
const COUNT = 120

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

const fixture = await server('new', { modules: ['roster', 'presence', 'offline_stub', 'mam'] })
const limit = fixture.timeout * 1000
const { port } = await server('start')

/** A client, and the results that it was sent, by query. */
async function user (name) {
  await server('add_user', `${name}@${fixture.host}`)
  const u = client({ service: `xmpp://127.0.0.1:${port}`, domain: fixture.host, username: name,
    password: 'secret' })
  u.results = {}
  u.on('error', () => {})
  u.on('stanza', st => {
    const result = st.getChild('result', MAM)
    if (result) (u.results[result.attrs.queryid] ??= []).push(result)
  })
  await u.start()
  return u
}

let queries = 0
/** Bodies and ids in the order in which they came, and <fin/>. */
async function ask (u, set = [], fields = {}, ...more) {
  const queryid = `q${++queries}`
  const form = xml('x', { xmlns: 'jabber:x:data', type: 'submit' },
    ...Object.entries({ FORM_TYPE: MAM, ...fields }).map(([name, value]) =>
      xml('field', { var: name }, ...[value].flat().map(v => xml('value', {}, v)))))
  const answer = await u.iqCaller.request(xml('iq', { type: 'set' },
    xml('query', { xmlns: MAM, queryid }, form, xml('set', RSM, ...set), ...more)), limit)
  const results = u.results[queryid] ?? []
  const fin = answer.getChild('fin', MAM)
  return {
    ids: results.map(r => r.attrs.id),
    bodies: results.map(r => r.getChild('forwarded', 'urn:xmpp:forward:0')
      .getChild('message', 'jabber:client').getChildText('body')),
    complete: fin.attrs.complete === 'true',
    first: fin.getChild('set', RSM).getChildText('first'),
    last: fin.getChild('set', RSM).getChildText('last'),
    count: fin.getChild('set', RSM).getChildText('count')
  }
}

const max = n => xml('max', {}, String(n))
const numbers = (from, until) => Array.from({ length: until - from }, (_, i) => String(from + i))
let u

test('kept', async () => {
  u = await user('writer')
  for (const name of ['even', 'odd']) await server('add_user', `${name}@${fixture.host}`)
  for (let i = 0; i < COUNT; i++) {
    await u.send(xml('message', { to: `${i % 2 ? 'odd' : 'even'}@${fixture.host}`, type: 'chat' },
      xml('body', {}, String(i))))
  }
  assert.equal((await ask(u, [max(0)])).count, String(COUNT))
})

for (const size of [9, 40, 250]) {
  test(`forwards_by_${size}`, async () => {
    let page = await ask(u, [max(size)])
    const all = [...page.bodies]
    while (!page.complete) {
      page = await ask(u, [max(size), xml('after', {}, page.last)])
      all.push(...page.bodies)
    }
    assert.deepEqual(all, numbers(0, COUNT))
  })

  test(`backwards_by_${size}`, async () => {
    let page = await ask(u, [max(size), xml('before')])
    const all = [...page.bodies]
    while (!page.complete) {
      page = await ask(u, [max(size), xml('before', {}, page.first)])
      all.unshift(...page.bodies)
    }
    assert.deepEqual(all, numbers(0, COUNT))
  })
}

test('flipped', async () => {
  const page = await ask(u, [max(50), xml('before')], {}, xml('flip-page'))
  assert.deepEqual(page.bodies, numbers(COUNT - 50, COUNT).reverse())
  assert.equal(page.first, page.ids[49])
  assert.equal(page.last, page.ids[0])
})

test('filters', async () => {
  const all = await ask(u, [max(250)])
  const odd = await ask(u, [max(250)], { with: `odd@${fixture.host}` })
  assert.deepEqual(odd.bodies, numbers(0, COUNT).filter(n => n % 2))
  const between = await ask(u, [max(250)], { 'after-id': all.ids[9], 'before-id': all.ids[20] })
  assert.deepEqual(between.bodies, numbers(10, 20))
  const some = await ask(u, [], { ids: [all.ids[7], all.ids[3]] })
  assert.deepEqual(some.bodies, ['3', '7'])
  const none = await ask(u, [], { start: '2999-01-01T00:00:00Z' })
  assert.deepEqual([none.bodies, none.complete], [[], true])
})

test('errors', async () => {
  await assert.rejects(ask(u, [xml('after', {}, 'nothing')]), e => e.condition === 'item-not-found')
  await assert.rejects(ask(u, [], { '{urn:x}y': '1' }),
    e => e.condition === 'feature-not-implemented')
  await assert.rejects(ask(u, [], { start: 'now' }), e => e.condition === 'bad-request')
})

test('many_at_once', async () => {
  const pages = await Promise.all(Array.from({ length: 20 }, (_, i) =>
    ask(u, [max(5), xml('index', {}, String(i))])))
  pages.forEach((page, i) => assert.deepEqual(page.bodies, numbers(i, i + 5)))
})

test('end', async () => {
  await u.stop()
  await server('stop')
})

await run({ limit: 4 * limit })
