// tests/wire/test_xmppjs.mjs: @xmpp/client from npm, unchanged: STARTTLS, direct TLS, SCRAM and PLAIN,
// roster, subscriptions, two resources, chat, messages while offline over a restart of the server.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import assert from 'node:assert/strict'
import xmpp from '@xmpp/client'
import { test, run } from './tap.mjs'

const { client, xml } = xmpp
const ROSTER = 'jabber:iq:roster'

process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0' // the certificate is the test's own
process.removeAllListeners('warning')

// ---- the server, by way of fixture.py -----------------------------------------------------------

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

const fixture = await server('new', { modules: ['roster', 'presence', 'offline', 'disco', 'ping'] })
const limit = fixture.timeout * 1000
let { port } = await server('start')

// ---- a client whose stanzas can be awaited ------------------------------------------------------

class User {
  constructor (name, { resource, password = 'secret', direct = false } = {}) {
    this.bare = `${name}@${fixture.host}`
    const service = `${direct ? 'xmpps' : 'xmpp'}://127.0.0.1:${port}`
    this.xmpp = client({ service, domain: fixture.host, resource, username: name, password })
    this.xmpp.reconnect.stop()
    this.early = []
    this.waiting = []
    this.errors = []
    this.xmpp.on('error', e => this.errors.push(e))
    this.xmpp.on('stanza', st => {
      const i = this.waiting.findIndex(w => w.fits(st))
      if (i < 0) this.early.push(st)
      else this.waiting.splice(i, 1)[0].done(st)
    })
  }

  async start ({ presence = true } = {}) {
    this.jid = (await this.xmpp.start()).toString()
    if (presence) {
      await this.items()
      await this.xmpp.send(xml('presence'))
      await this.wait('presence', { from: this.jid })
    }
    return this
  }

  /** The first such stanza; others are kept for later. */
  wait (name, { from, type } = {}, more = () => true) {
    const fits = st => st.name === name && (!from || st.attrs.from === from) &&
      st.attrs.type === type && more(st)
    const i = this.early.findIndex(fits)
    if (i >= 0) return Promise.resolve(this.early.splice(i, 1)[0])
    return new Promise((resolve, reject) => {
      const late = () => reject(new Error(`${this.bare}: no ${name} ${type} ${from}`))
      const timer = setTimeout(late, limit)
      this.waiting.push({ fits, done: st => { clearTimeout(timer); resolve(st) } })
    })
  }

  ask (type, payload, to) {
    return this.xmpp.iqCaller.request(xml('iq', { type, to }, payload), limit)
  }

  async items () {
    const answer = await this.ask('get', xml('query', ROSTER))
    const items = {}
    for (const i of answer.getChild('query', ROSTER).getChildren('item')) {
      items[i.attrs.jid] = [i.attrs.subscription, i.attrs.name,
        i.getChildren('group').map(g => g.text()).sort()]
    }
    return items
  }

  setItem (attributes, ...groups) {
    return this.ask('set', xml('query', ROSTER,
      xml('item', attributes, ...groups.map(g => xml('group', {}, g)))))
  }

  presence (type, to) {
    return this.xmpp.send(xml('presence', { type, to }))
  }

  say (to, text) {
    return this.xmpp.send(xml('message', { to, type: 'chat' }, xml('body', {}, text)))
  }

  end () {
    return this.xmpp.stop()
  }
}

let count = 0
async function user (name, options) {
  name = `${name}${++count}`
  await server('add_user', `${name}@${fixture.host}`)
  return new User(name, options)
}

async function mechanism (u) {
  const rows = await server('ctl_json', 'sessions')
  const row = rows.find(r => r.jid === u.jid)
  return [row.mechanism, row.tls]
}

async function subscribe (one, two) {
  await one.presence('subscribe', two.bare)
  await two.wait('presence', { type: 'subscribe', from: one.bare })
  await two.presence('subscribed', one.bare)
  await one.wait('presence', { type: 'subscribed', from: two.bare })
  await one.wait('presence', { from: two.jid })
}

// ---- cases --------------------------------------------------------------------------------------

test('starttls_with_scram', async () => {
  const u = await (await user('s')).start()
  assert.deepEqual(await mechanism(u), ['SCRAM-SHA-1', 'yes'])
  await u.end()
  assert.deepEqual(u.errors, [])
})

test('direct_tls', async () => {
  const u = await (await user('d', { direct: true })).start()
  assert.deepEqual(await mechanism(u), ['SCRAM-SHA-1', 'yes'])
  await u.ask('get', xml('ping', 'urn:xmpp:ping'), fixture.host)
  await u.end()
})

// The library takes the first of its own list that is offered: SCRAM-SHA-1, then PLAIN.
test('plain_where_scram_sha_1_is_not_offered', async () => {
  const section = `host ${fixture.host}`
  await server('set', section, { sasl_disable: 'SCRAM-SHA-1, SCRAM-SHA-1-PLUS' })
  await server('ctl_ok', 'reload')
  for (const direct of [false, true]) {
    const u = await (await user('p', { direct })).start()
    assert.deepEqual(await mechanism(u), ['PLAIN', 'yes'])
    await u.end()
  }
  await server('set', section, { sasl_disable: null })
  await server('ctl_ok', 'reload')
})

test('wrong_password', async () => {
  const u = await user('w', { password: 'wrong' })
  await assert.rejects(u.start(), e => e.name === 'SASLError' && e.condition === 'not-authorized')
  await u.end()
})

test('bound_resource', async () => {
  const u = await (await user('b', { resource: 'Desk 1' })).start()
  assert.equal(u.jid, `${u.bare}/Desk 1`)
  await u.end()
})

test('disco', async () => {
  const u = await (await user('i')).start()
  const ns = 'http://jabber.org/protocol/disco#info'
  const info = (await u.ask('get', xml('query', ns), fixture.host)).getChild('query', ns)
  const features = info.getChildren('feature').map(f => f.attrs.var)
  for (const f of [ns, 'urn:xmpp:ping']) assert(features.includes(f), f)
  await u.end()
})

test('unknown_request_is_an_error', async () => {
  const u = await (await user('e')).start()
  await assert.rejects(u.ask('get', xml('q', 'urn:example:q'), fixture.host),
    e => e.condition === 'service-unavailable' && e.type === 'cancel')
  await u.end()
})

test('roster_add_rename_group_remove', async () => {
  const u = await (await user('r')).start()
  const jid = 'contact@localhost'
  await u.setItem({ jid, name: 'First' }, 'Friends')
  assert.deepEqual(await u.items(), { [jid]: ['none', 'First', ['Friends']] })
  await u.setItem({ jid, name: 'Zweit\u00e4r & <x>' }, 'Friends', 'Work')
  assert.deepEqual(await u.items(), { [jid]: ['none', 'Zweit\u00e4r & <x>', ['Friends', 'Work']] })
  await u.setItem({ jid })
  assert.deepEqual(await u.items(), { [jid]: ['none', undefined, []] })
  await u.setItem({ jid, subscription: 'remove' })
  assert.deepEqual(await u.items(), {})
  await assert.rejects(u.setItem({ jid, subscription: 'remove' }),
    e => e.condition === 'item-not-found')
  await u.end()
})

test('subscription_in_four_steps_both_ways', async () => {
  const a = await (await user('a')).start()
  const b = await (await user('b')).start()
  await subscribe(a, b)
  await subscribe(b, a)
  assert.equal((await a.items())[b.bare][0], 'both')
  assert.equal((await b.items())[a.bare][0], 'both')
  await a.presence('unsubscribe', b.bare)
  await b.wait('presence', { type: 'unsubscribe', from: a.bare })
  await a.wait('presence', { type: 'unavailable', from: b.jid })
  assert.equal((await a.items())[b.bare][0], 'from')
  await a.presence('unsubscribed', b.bare)
  await b.wait('presence', { type: 'unsubscribed', from: a.bare })
  assert.equal((await b.items())[a.bare][0], 'none')
  await a.end()
  await b.end()
})

test('presence_with_two_resources', async () => {
  const a = await (await user('a')).start()
  const b1 = await (await user('b', { resource: 'one' })).start()
  await subscribe(a, b1)
  await subscribe(b1, a)
  const b2 = await new User(b1.bare.split('@')[0], { resource: 'two' }).start()
  await a.wait('presence', { from: b2.jid })
  await b1.wait('presence', { from: b2.jid })
  await b2.wait('presence', { from: b1.jid })
  await b2.wait('presence', { from: a.jid })
  await b1.xmpp.send(xml('presence', {}, xml('show', {}, 'dnd'), xml('status', {}, '\u2603')))
  const p = await a.wait('presence', { from: b1.jid }, st => st.getChildText('show') === 'dnd')
  assert.equal(p.getChildText('status'), '\u2603')
  await b1.end()
  await a.wait('presence', { type: 'unavailable', from: b1.jid })
  await b2.end()
  await a.wait('presence', { type: 'unavailable', from: b2.jid })
  await a.end()
})

test('chat', async () => {
  const a = await (await user('a')).start()
  const b = await (await user('b')).start()
  for (const to of [b.bare, b.jid]) {
    for (let i = 0; i < 20; i++) await a.say(to, `${i} <&> \u00fc\u{1F600}`)
    for (let i = 0; i < 20; i++) {
      const m = await b.wait('message', { type: 'chat', from: a.jid })
      assert.equal(m.getChildText('body'), `${i} <&> \u00fc\u{1F600}`)
    }
  }
  await b.say(a.jid, 'back')
  assert.equal((await a.wait('message', { type: 'chat' })).getChildText('body'), 'back')
  await a.end()
  await b.end()
})

test('offline_messages_over_a_restart', async () => {
  const a = await (await user('a')).start()
  let b = await user('b')
  const name = b.bare.split('@')[0]
  for (let i = 0; i < 5; i++) await a.say(b.bare, `stored ${i}`)
  await a.items()
  await a.end();
  ({ port } = await server('restart'))
  b = await new User(name).start()
  for (let i = 0; i < 5; i++) {
    const m = await b.wait('message', { type: 'chat', from: a.jid })
    assert.equal(m.getChildText('body'), `stored ${i}`)
    assert(m.getChild('delay', 'urn:xmpp:delay'))
  }
  await b.end()
  b = await new User(name).start()
  await b.items()
  assert.deepEqual(b.early.filter(st => st.name === 'message'), [], 'delivered twice')
  await b.end()
})

test('server_stops_in_order', async () => {
  await server('stop')
})

await run({ limit: 4 * limit })
