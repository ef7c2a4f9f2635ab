"""tests/wire/test_blocking.py: blocking with slixmpp (XEP-0191, XEP-0016) and aioxmpp (XEP-0191), both
unchanged, over a restart of the server; and one account used with both.  test-timeout: 240"""
import asyncio
import unittest

import aioxmpp
import aioxmpp.blocking
import slixmpp
from slixmpp.exceptions import IqError

import tap
import test_aioxmpp
import test_slixmpp
from server import HOST, TIMEOUT, Server
from test_slixmpp import with_loop

MODULES = ('roster', 'presence', 'offline', 'disco', 'ping', 'privacy', 'blocking')


class Slix(test_slixmpp.User):
    KINDS = (*test_slixmpp.User.KINDS, 'blocked', 'unblocked', 'message_error')

    def __init__(self, jid):
        super().__init__(jid)
        self.register_plugin('xep_0191')
        self.register_plugin('xep_0016')

    async def blocklist(self):
        return {str(j) for j in (await self['xep_0191'].get_blocked())['blocklist']['items']}

    async def privacy(self, kind, build):
        """An iq of the library's own elements, sent; the plugin's functions do not wait for answers."""
        iq = self.make_iq_get() if kind == 'get' else self.make_iq_set()
        iq.enable('privacy')
        build(iq['privacy'])
        return (await iq.send())['privacy']

    async def edit(self, name, *items):
        def build(query):
            query['list']['name'] = name
            for value, action, order, what in items:
                query['list'].add_item(value, action, order, itype='jid', **{w: True for w in what})
        await self.privacy('set', build)

    async def choose(self, what, name):
        def build(query):
            query[what]['name'] = name
        await self.privacy('set', build)


class Aio(test_aioxmpp.User):
    def __init__(self, server, jid):
        super().__init__(server, jid)
        self.blocking = self.client.summon(aioxmpp.BlockingClient)
        self.pushes = asyncio.Queue()
        self.blocking.on_jids_blocked.connect(lambda j: self.pushes.put_nowait(('block', j)))
        self.blocking.on_jids_unblocked.connect(lambda j: self.pushes.put_nowait(('unblock', j)))

    async def push(self):
        kind, jids = await asyncio.wait_for(self.pushes.get(), TIMEOUT)
        return kind, {str(j) for j in jids}


class Blocking(unittest.TestCase):
    def setUp(self):
        self.server = Server(modules=MODULES).start()
        for name in ('alice', 'bob'):
            self.server.add_user(f'{name}@{HOST}')

    def tearDown(self):
        self.server.stop()

    async def friends(self, a, b):
        for one, two in ((a, b), (b, a)):
            one.send_presence_subscription(two.boundjid.bare, ptype='subscribe')
            await two.of('presence_subscribe')
            two.send_presence_subscription(one.boundjid.bare, ptype='subscribed')
            await one.of('presence_subscribed')
            await one.presence_from(two.boundjid.full)

    @with_loop
    async def test_slixmpp_blocks_a_contact(self):
        alice, bob = Slix(f'alice@{HOST}/a'), Slix(f'bob@{HOST}/b')
        await alice.start(self.server)
        await bob.start(self.server)
        await self.friends(alice, bob)
        self.assertEqual(await alice.blocklist(), set())
        await alice['xep_0191'].block(slixmpp.JID(bob.boundjid.bare))
        push = await alice.of('blocked')
        self.assertEqual({str(j) for j in push['block']['items']}, {bob.boundjid.bare})
        await bob.presence_from(alice.boundjid.full, 'unavailable')
        bob.send_message(alice.boundjid.bare, 'can you hear me?', mtype='chat')
        self.assertEqual((await bob.of('message_error'))['error']['condition'],
                         'service-unavailable')
        with self.assertRaises(IqError) as caught:
            await bob['xep_0199'].send_ping(alice.boundjid.full)
        self.assertEqual(caught.exception.iq['error']['condition'], 'service-unavailable')
        alice.send_message(bob.boundjid.bare, 'hello?', mtype='chat')
        error = await alice.of('message_error')
        self.assertEqual(error['error']['condition'], 'not-acceptable')
        self.assertIsNotNone(error.xml.find('.//{urn:xmpp:blocking:errors}blocked'))
        await alice['xep_0191'].unblock(slixmpp.JID(bob.boundjid.bare))
        await alice.of('unblocked')
        await bob.presence_from(alice.boundjid.full)
        bob.send_message(alice.boundjid.bare, 'and now?', mtype='chat')
        self.assertEqual((await alice.of('message'))['body'], 'and now?')
        await alice.end()
        await bob.end()

    @with_loop
    async def test_slixmpp_privacy_lists(self):
        alice, bob = Slix(f'alice@{HOST}/a'), Slix(f'bob@{HOST}/b')
        await alice.start(self.server)
        await bob.start(self.server)
        await self.friends(alice, bob)
        await alice.edit('quiet', (bob.boundjid.bare, 'deny', '1', ('message',)),
                         ('spam.example', 'deny', '2', ()))
        await alice.choose('default', 'quiet')
        self.assertEqual(await alice.blocklist(), {'spam.example'})
        names = await alice.privacy('get', lambda query: None)
        self.assertEqual(names['default']['name'], 'quiet')
        bob.send_message(alice.boundjid.bare, 'psst', mtype='chat')
        self.assertEqual((await bob.of('message_error'))['error']['condition'],
                         'service-unavailable')
        await bob['xep_0199'].send_ping(alice.boundjid.full)     # only messages are denied
        with self.assertRaises(IqError) as caught:
            await alice.choose('active', 'no such list')
        self.assertEqual(caught.exception.iq['error']['condition'], 'item-not-found')
        await alice.edit('hidden', (bob.boundjid.bare, 'deny', '1', ()))
        await alice.choose('active', 'hidden')
        await bob.presence_from(alice.boundjid.full, 'unavailable')
        await alice.edit('hidden', (bob.boundjid.bare, 'allow', '1', ()))
        await bob.presence_from(alice.boundjid.full)
        bob.send_message(alice.boundjid.bare, 'now', mtype='chat')
        self.assertEqual((await alice.of('message'))['body'], 'now')
        await alice.end()
        await bob.end()

    @with_loop
    async def test_aioxmpp_and_a_restart(self):
        bob = f'bob@{HOST}'
        alice = await Aio(self.server, f'alice@{HOST}/a').start()
        other = await Aio(self.server, f'alice@{HOST}/other').start()
        self.assertEqual(alice.blocking.blocklist, frozenset())
        await alice.blocking.block_jids([aioxmpp.JID.fromstr(bob), aioxmpp.JID.fromstr('spam.example')])
        for u in (alice, other):
            self.assertEqual(await u.push(), ('block', {bob, 'spam.example'}))
        await other.blocking.unblock_jids([aioxmpp.JID.fromstr('spam.example')])
        for u in (alice, other):
            self.assertEqual(await u.push(), ('unblock', {'spam.example'}))
        await alice.end()
        await other.end()
        self.server.stop()
        self.server.start()
        sender = await Aio(self.server, f'{bob}/b').start()
        await sender.say(aioxmpp.JID.fromstr(f'alice@{HOST}'), 'while you were away')
        error = await sender.message()
        self.assertEqual(error.type_, aioxmpp.MessageType.ERROR)
        alice = await Aio(self.server, f'alice@{HOST}/a').start()
        self.assertEqual({str(j) for j in alice.blocking.blocklist}, {bob})
        self.assertTrue(alice.messages.empty())
        await alice.blocking.unblock_all()
        self.assertEqual(await alice.push(), ('unblock', {bob}))
        await sender.say(aioxmpp.JID.fromstr(f'alice@{HOST}'), 'welcome')
        self.assertEqual((await alice.message()).body.any(), 'welcome')
        await alice.end()
        await sender.end()

    @with_loop
    async def test_both_libraries_see_the_same(self):
        slix = Slix(f'alice@{HOST}/slix')
        await slix.start(self.server)
        aio = await Aio(self.server, f'alice@{HOST}/aio').start()
        await slix['xep_0191'].block(slixmpp.JID('one.example'))
        self.assertEqual(await aio.push(), ('block', {'one.example'}))
        await slix.edit('blocked', ('two.example', 'deny', '1', ()))
        self.assertEqual(await aio.push(), ('unblock', {'one.example'}))
        self.assertEqual(await aio.push(), ('block', {'two.example'}))
        self.assertEqual(await slix.blocklist(), {'two.example'})
        await slix.end()
        await aio.end()


if __name__ == '__main__':
    tap.main()
