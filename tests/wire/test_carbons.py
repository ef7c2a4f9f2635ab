"""tests/wire/test_carbons.py: message carbons (XEP-0280) with slixmpp and aioxmpp, unchanged, from Debian, both as
clients of one account, and what they make of the host's capabilities (XEP-0115, XEP-0390). test-timeout: 120"""
import asyncio
import base64
import unittest

import aioxmpp
import aioxmpp.carbons
import aioxmpp.carbons.xso
import aioxmpp.disco
import aioxmpp.entitycaps.caps115 as caps115
import aioxmpp.entitycaps.caps390 as caps390
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

import tap
import test_aioxmpp
import test_slixmpp
from server import HOST, TIMEOUT, Server
from test_slixmpp import with_loop
from xmpp import Client, q

MODULES = ('roster', 'presence', 'offline', 'disco', 'carboncopy', 'caps', 'ping')
CAPS, CAPS2, HASHES = 'http://jabber.org/protocol/caps', 'urn:xmpp:caps', 'urn:xmpp:hashes:2'


class Slix(test_slixmpp.User):
    KINDS = test_slixmpp.User.KINDS + ('carbon_received', 'carbon_sent')

    def __init__(self, jid):
        super().__init__(jid)
        for plugin in ('xep_0280', 'xep_0115'):
            self.register_plugin(plugin)
        self.asked = asyncio.Queue()                   # by the host
        self.register_handler(Callback('asked', StanzaPath('iq@type=get/disco_info'), self.on_asked))

    def on_asked(self, iq):
        if iq['from'] == HOST:
            self.asked.put_nowait(iq)

    async def copy(self, kind):
        m = await self.of(f'carbon_{kind}')
        self.assert_ours(m)
        return m[f'carbon_{kind}']

    def assert_ours(self, m):
        assert m['from'] == self.boundjid.bare, m
        assert m['to'] == self.boundjid.full, m


class Carbons(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(modules=MODULES).start()
        for name in ('bob', 'alice', 'carol'):
            cls.server.add_user(f'{name}@{HOST}')

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    @with_loop
    async def test_slixmpp_and_aioxmpp_copy_each_other(self):
        slix = Slix(f'bob@{HOST}/slix')
        await slix.start(self.server)
        await asyncio.wait_for(slix['xep_0280'].enable(), TIMEOUT)
        aio = await test_aioxmpp.User(self.server, f'bob@{HOST}/aio',
                                      services=(aioxmpp.CarbonsClient, aioxmpp.EntityCapsService)).start()
        carbons = aio.client.summon(aioxmpp.CarbonsClient)
        await asyncio.wait_for(carbons.enable(), TIMEOUT)      # asks disco#info first
        alice = Slix(f'alice@{HOST}/a')
        await alice.start(self.server)

        slix.send_message(alice.boundjid.full, 'from slix', mtype='chat')
        self.assertEqual((await alice.of('message'))['body'], 'from slix')
        copy = await aio.message()
        self.assertEqual(copy.from_, aio.full.bare())
        inner = copy.xep0280_sent.stanza
        self.assertEqual((str(inner.from_), inner.body.any()), (f'bob@{HOST}/slix', 'from slix'))

        await aio.say(aioxmpp.JID.fromstr(alice.boundjid.full), 'from aio')
        self.assertEqual((await alice.of('message'))['body'], 'from aio')
        self.assertEqual((await slix.copy('sent'))['body'], 'from aio')

        alice.send_message(f'bob@{HOST}/slix', 'to slix', mtype='chat')
        self.assertEqual((await slix.of('message'))['body'], 'to slix')
        inner = (await aio.message()).xep0280_received.stanza
        self.assertEqual((str(inner.to), inner.body.any()), (f'bob@{HOST}/slix', 'to slix'))
        alice.send_message(f'bob@{HOST}/aio', 'to aio', mtype='chat')
        self.assertEqual((await aio.message()).body.any(), 'to aio')
        self.assertEqual((await slix.copy('received'))['body'], 'to aio')
        alice.send_message(f'bob@{HOST}', 'to both', mtype='chat')
        self.assertEqual((await slix.of('message'))['body'], 'to both')
        self.assertEqual((await aio.message()).body.any(), 'to both')

        await asyncio.wait_for(carbons.disable(), TIMEOUT)
        await asyncio.wait_for(slix['xep_0280'].disable(), TIMEOUT)
        slix.send_message(alice.boundjid.full, 'alone', mtype='chat')
        self.assertEqual((await alice.of('message'))['body'], 'alone')
        alice.send_message(f'bob@{HOST}/aio', 'last', mtype='chat')
        self.assertEqual((await aio.message()).body.any(), 'last')
        self.assertTrue(aio.messages.empty())
        self.assertTrue(slix.queues['carbon_received'].empty())
        await aio.end()
        await slix.end()
        await alice.end()

    @with_loop
    async def test_a_reload_does_not_end_them(self):
        one, two, alice = Slix(f'carol@{HOST}/1'), Slix(f'carol@{HOST}/2'), Slix(f'alice@{HOST}/b')
        for u in (one, two, alice):
            await u.start(self.server)
        await asyncio.wait_for(two['xep_0280'].enable(), TIMEOUT)
        self.server.set('mod_time')
        self.server.ctl_ok('reload')
        one.send_message(alice.boundjid.full, 'still', mtype='chat')
        self.assertEqual((await two.copy('sent'))['body'], 'still')
        for u in (one, two, alice):
            await u.end()

    @with_loop
    async def test_both_libraries_agree_with_the_hosts_hashes(self):
        with Client(self.server).login(f'carol@{HOST}', 'secret') as raw:
            features = raw.features
        ver = features.find(q(CAPS, 'c')).get('ver')
        sha256, sha3 = [h.text for h in features.find(q(CAPS2, 'c')).findall(q(HASHES, 'hash'))]

        slix = Slix(f'bob@{HOST}/slix')
        await slix.start(self.server)
        info = (await slix['xep_0030'].get_info(HOST, timeout=TIMEOUT))['disco_info']
        self.assertEqual(slix['xep_0115'].generate_verstring(info, 'sha-1'), ver)
        await slix.end()

        aio = await test_aioxmpp.User(self.server, f'bob@{HOST}/aio').start()
        disco = aio.client.summon(aioxmpp.DiscoClient)
        info = await asyncio.wait_for(disco.query_info(aioxmpp.JID.fromstr(HOST)), TIMEOUT)
        self.assertEqual(caps115.hash_query(info, 'sha1'), ver)
        text = caps390._get_hash_input(info)
        for algo, value in (('sha-256', sha256), ('sha3-256', sha3)):
            ours = base64.b64encode(caps390._calculate_hash(algo, text)).decode()
            self.assertEqual(ours, value)
        await aio.end()

    @with_loop
    async def test_slixmpp_is_asked_once_for_its_hash(self):
        """What the first one says is believed for the second one: both made the hash that we make."""
        one, two = Slix(f'carol@{HOST}/1'), Slix(f'carol@{HOST}/2')
        await one.start(self.server)
        await one['xep_0115'].update_caps()
        node = (await asyncio.wait_for(one.asked.get(), TIMEOUT))['disco_info']['node']
        self.assertTrue(node.startswith('http://slixmpp.com/ver/'), node)
        await one['xep_0199'].ping(HOST, timeout=TIMEOUT)
        await two.start(self.server)
        await two['xep_0115'].update_caps()
        await two['xep_0199'].ping(HOST, timeout=TIMEOUT)
        self.assertTrue(two.asked.empty())
        await one.end()
        await two.end()


if __name__ == '__main__':
    tap.main()
