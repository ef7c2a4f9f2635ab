"""tests/wire/test_slixmpp.py: slixmpp, unchanged, from Debian: logging in by STARTTLS and direct TLS,
roster, subscriptions, presence of several resources, chat, messages while offline over a restart of
the server, registration.  test-timeout: 240"""
import asyncio
import logging
import os
import ssl
import unittest

import slixmpp

import tap
from server import HOST, TIMEOUT, TMP, Server, certificate

logging.basicConfig(level=logging.ERROR)
if os.environ.get('WIRE_DEBUG'):
    logging.getLogger().setLevel(logging.DEBUG)

MODULES = ('roster', 'presence', 'offline', 'disco', 'ping', 'version', 'register')


class User(slixmpp.ClientXMPP):
    """A client whose events can be awaited, one queue for each kind."""

    KINDS = ('session_start', 'failed_auth', 'message', 'presence', 'presence_subscribe',
             'presence_subscribed',
             'presence_unsubscribe', 'presence_unsubscribed', 'roster_update', 'disconnected',
             'register', 'stream_error', 'connection_failed')

    def __init__(self, jid, password='secret', mechanism=None):
        super().__init__(jid, password, sasl_mech=mechanism)
        self.queues = {kind: asyncio.Queue() for kind in self.KINDS}
        for kind in self.KINDS:
            self.add_event_handler(kind, self.queues[kind].put_nowait)
        self.early = []
        self.ssl_context = ssl.create_default_context(cafile=certificate(HOST) + '.crt')
        self.ssl_context.check_hostname = False
        self.get_ssl_context = lambda: self.ssl_context
        self.auto_authorize = None
        self.auto_subscribe = False
        self.register_plugin('xep_0199')
        self.register_plugin('xep_0030')

    async def of(self, kind):
        return await asyncio.wait_for(self.queues[kind].get(), TIMEOUT)

    async def start(self, server, direct=False, presence=True):
        self.connect(('127.0.0.1', server.port), use_ssl=direct, disable_starttls=direct)
        await self.of('session_start')
        roster = await self.get_roster()
        if presence:
            self.send_presence()
            await self.presence_from(self.boundjid.full)
        return roster

    async def presence_from(self, full, kind=None):
        """The next of that sender and type (None: available); the others are kept for later."""
        def fits(p):
            return str(p['from']) == full and p.xml.get('type') == kind

        for p in self.early:
            if fits(p):
                self.early.remove(p)
                return p
        while True:
            p = await self.of('presence')
            if fits(p):
                return p
            self.early.append(p)

    async def end(self):
        self.disconnect(wait=1)
        await self.of('disconnected')

    async def until(self, jid, subscription):
        while self.client_roster[jid]['subscription'] != subscription:
            await self.of('roster_update')

    def item(self, jid):
        item = self.client_roster[jid]
        return item['subscription'], item['name'], sorted(item['groups'])


def with_loop(f):
    """A case that is a coroutine, in a loop that slixmpp finds."""
    def case(self):
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(asyncio.wait_for(f(self), 4 * TIMEOUT))
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
    case.__name__ = f.__name__
    return case


class Slixmpp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(modules=MODULES).start()
        cls.count = 0

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def user(self, name, resource=''):
        """A fresh account for every case."""
        jid = f'{name}-{self._testMethodName.replace("test_", "")[:40]}@{HOST}'
        if jid not in getattr(self, 'made', ()):
            self.server.add_user(jid)
            self.made = {jid} | getattr(self, 'made', set())
        return User(f'{jid}/{resource}' if resource else jid)

    async def friends(self, a, b):
        """Both subscribed to each other, by the four steps."""
        a.send_presence_subscription(b.boundjid.bare, ptype='subscribe')
        await b.of('presence_subscribe')
        b.send_presence_subscription(a.boundjid.bare, ptype='subscribed')
        await a.of('presence_subscribed')
        b.send_presence_subscription(a.boundjid.bare, ptype='subscribe')
        await a.of('presence_subscribe')
        a.send_presence_subscription(b.boundjid.bare, ptype='subscribed')
        await b.of('presence_subscribed')

    async def log_in_with(self, mechanisms):
        for mechanism in mechanisms:
            u = self.user('m')
            u['feature_mechanisms'].use_mech = mechanism
            await u.start(self.server)
            self.assertIn('starttls', u.features)
            if mechanism:
                self.assertEqual(u['feature_mechanisms'].mech.name, mechanism)
            await u.end()

    @with_loop
    async def test_starttls_with_channel_binding_and_plain(self):
        await self.log_in_with((None, 'SCRAM-SHA-1-PLUS', 'SCRAM-SHA-256-PLUS', 'SCRAM-SHA-512-PLUS',
                                'PLAIN'))

    @with_loop
    async def test_starttls_without_channel_binding(self):
        """slixmpp says "y" then: the server must not have offered any."""
        self.server.set(f'host {HOST}', sasl_disable=', '.join(
            f'SCRAM-SHA-{n}-PLUS' for n in (1, 256, 512)))
        self.server.ctl_ok('reload')
        try:
            await self.log_in_with((None, 'SCRAM-SHA-1', 'SCRAM-SHA-256', 'SCRAM-SHA-512', 'PLAIN'))
        finally:
            del self.server.sections[f'host {HOST}']['sasl_disable']
            self.server.write_config()
            self.server.ctl_ok('reload')

    @with_loop
    async def test_direct_tls(self):
        u = self.user('d')
        await u.start(self.server, direct=True)
        self.assertNotIn('starttls', u.features)
        await u['xep_0199'].ping(HOST)
        await u.end()

    @with_loop
    async def test_wrong_password(self):
        u = self.user('w')
        u.password = 'wrong'
        u.connect(('127.0.0.1', self.server.port))
        await u.of('failed_auth')
        u.abort()

    @with_loop
    async def test_bound_resource(self):
        u = self.user('b', 'Desk 1')
        await u.start(self.server)
        self.assertEqual(u.boundjid.resource, 'Desk 1')
        await u.end()

    @with_loop
    async def test_disco_and_version(self):
        self.assertTrue(self.server.ctl_json('modules'))
        u = self.user('i')
        await u.start(self.server)
        info = await u['xep_0030'].get_info(jid=HOST)
        features = info['disco_info'].get_features()
        self.assertIn('http://jabber.org/protocol/disco#info', features)
        self.assertIn('urn:xmpp:ping', features)
        u.register_plugin('xep_0092')
        version = await u['xep_0092'].get_version(HOST)
        self.assertTrue(version['software_version']['name'])
        await u.end()

    @with_loop
    async def test_roster_add_rename_group_remove(self):
        u = self.user('r', 'one')
        other = self.user('r', 'two')
        await u.start(self.server)
        await other.start(self.server)
        contact = 'contact@' + HOST
        await u.update_roster(contact, name='First', groups=['Friends'])
        await other.of('roster_update')
        while other.item(contact) != ('none', 'First', ['Friends']):
            await other.of('roster_update')
        await u.update_roster(contact, name='Zweit\u00e4r & <x>', groups=['Friends', 'Work'])
        while other.item(contact) != ('none', 'Zweit\u00e4r & <x>', ['Friends', 'Work']):
            await other.of('roster_update')
        await u.update_roster(contact, name='', groups=[])
        while other.item(contact) != ('none', '', []):
            await other.of('roster_update')
        await u.end()
        again = self.user('r', 'three')
        roster = await again.start(self.server)
        self.assertEqual(set(roster['roster'].get_items()), {slixmpp.JID(contact)})
        await again.del_roster_item(contact)
        while contact in again.client_roster.keys():
            await again.of('roster_update')
        await again.end()
        await other.end()

    @with_loop
    async def test_subscription_in_four_steps_both_ways(self):
        a, b = self.user('a'), self.user('b')
        await a.start(self.server)
        await b.start(self.server)
        await self.friends(a, b)
        await a.presence_from(b.boundjid.full)
        await b.presence_from(a.boundjid.full)
        for one, two in ((a, b), (b, a)):
            await one.until(two.boundjid.bare, 'both')
        a.send_presence_subscription(b.boundjid.bare, ptype='unsubscribe')
        await b.of('presence_unsubscribe')
        await a.until(b.boundjid.bare, 'from')
        a.send_presence_subscription(b.boundjid.bare, ptype='unsubscribed')
        await b.of('presence_unsubscribed')
        await b.until(a.boundjid.bare, 'none')
        await a.end()
        await b.end()

    @with_loop
    async def test_subscription_request_waits_for_the_login(self):
        a, b = self.user('a'), self.user('b')
        await a.start(self.server)
        a.send_presence_subscription(b.boundjid.bare, ptype='subscribe', pnick='me')
        await a.get_roster()
        await b.start(self.server)
        p = await b.of('presence_subscribe')
        self.assertEqual(p['from'].bare, a.boundjid.bare)
        b.send_presence_subscription(a.boundjid.bare, ptype='subscribed')
        await a.of('presence_subscribed')
        await a.presence_from(b.boundjid.full)
        await a.end()
        await b.end()

    @with_loop
    async def test_presence_with_two_resources(self):
        a, b1, b2 = self.user('a'), self.user('b', 'one'), self.user('b', 'two')
        await a.start(self.server)
        await b1.start(self.server)
        await self.friends(a, b1)
        await a.presence_from(b1.boundjid.full)
        await b2.start(self.server)
        await a.presence_from(b2.boundjid.full)
        await b1.presence_from(b2.boundjid.full)
        await b2.presence_from(b1.boundjid.full)
        await b2.presence_from(a.boundjid.full)
        b1.send_presence(pshow='dnd', pstatus='busy \u2603', ppriority=5)
        p = await a.presence_from(b1.boundjid.full)
        self.assertEqual((p['show'], p['status'], p['priority']), ('dnd', 'busy \u2603', 5))
        await b1.end()
        await a.presence_from(b1.boundjid.full, 'unavailable')
        b2.abort()                                      # without a word
        await a.presence_from(b2.boundjid.full, 'unavailable')
        await a.end()

    @with_loop
    async def test_chat(self):
        a, b = self.user('a'), self.user('b', 'desk')
        await a.start(self.server)
        await b.start(self.server)
        for to in (b.boundjid.bare, b.boundjid.full):
            for i in range(20):
                a.send_message(to, f'{i} <&> \u00fc\U0001f600', mtype='chat')
            for i in range(20):
                m = await b.of('message')
                self.assertEqual(m['body'], f'{i} <&> \u00fc\U0001f600')
                self.assertEqual(m['from'].full, a.boundjid.full)
        m.reply('back').send()
        self.assertEqual((await a.of('message'))['body'], 'back')
        await a.end()
        await b.end()

    @with_loop
    async def test_offline_messages_over_a_restart(self):
        a, b = self.user('a'), self.user('b')
        await a.start(self.server)
        for i in range(5):
            a.send_message(b.boundjid.bare, f'stored {i}', mtype='chat')
        await a.get_roster()
        await a.end()
        self.server.restart()
        await b.start(self.server)
        b.register_plugin('xep_0203')
        for i in range(5):
            m = await b.of('message')
            self.assertEqual((m['body'], m['from'].bare), (f'stored {i}', a.boundjid.bare))
            self.assertIsNotNone(m.xml.find('{urn:xmpp:delay}delay'))
        await b.end()
        again = self.user('b')
        await again.start(self.server)
        await again['xep_0199'].ping(HOST)
        self.assertTrue(again.queues['message'].empty(), 'delivered twice')
        await again.end()

    @with_loop
    async def test_registration(self):
        jid = f'fresh-slixmpp@{HOST}'
        u = User(jid, 'new password')
        u.register_plugin('xep_0077')
        u._always_send_everything = True               # 1.8.3 holds back what comes before bind
        done = asyncio.get_event_loop().create_future()

        async def register(form):
            iq = u.Iq()
            iq['type'] = 'set'
            iq['register']['username'] = u.boundjid.user
            iq['register']['password'] = u.password
            await iq.send(timeout=TIMEOUT)
            done.set_result(form['register'].get_fields())

        u.add_event_handler('register', register)
        await u.start(self.server)
        self.assertEqual(set(await done), {'username', 'password'})
        await u.end()
        again = User(jid, 'new password')
        again.register_plugin('xep_0077')
        again['xep_0077'].create_account = False
        await again.start(self.server)
        await again['xep_0077'].change_password('other password', timeout=TIMEOUT)
        await again.end()
        again = User(jid, 'other password')
        again.register_plugin('xep_0077')
        again['xep_0077'].create_account = False
        await again.start(self.server)
        await again['xep_0077'].cancel_registration(timeout=TIMEOUT)
        await again.of('disconnected')
        rows = self.server.ctl_json('user', 'list', HOST, '--limit', '10000')
        self.assertNotIn(jid, [r['jid'] for r in rows])


if __name__ == '__main__':
    os.chdir(TMP)
    tap.main()
